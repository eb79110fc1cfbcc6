//! Checking members of a container while it streams by.

use super::catalog::Member;
use crate::format::container::MemberName;

/// Hashes those members whose name is their BLAKE3, as the bytes of a container come.
#[derive(Debug)]
pub struct Checker<'a> {
    members: &'a [Member],
    /// The member that is passing, or the next one.
    current: usize,
    at: u64,
    hash: blake3::Hasher,
    /// Whether bytes of the current one are missing.
    hole: bool,
    damaged: Vec<&'a MemberName>,
    sound: u64,
}

impl<'a> Checker<'a> {
    /// A checker of these members, in order of their offsets.
    #[must_use]
    pub fn new(members: &'a [Member]) -> Self {
        Self {
            members,
            current: 0,
            at: 0,
            hash: blake3::Hasher::new(),
            hole: false,
            damaged: Vec::new(),
            sound: 0,
        }
    }

    /// The next bytes of the container.
    pub fn update(&mut self, bytes: &[u8]) {
        self.pass(bytes.len() as u64, Some(bytes));
    }

    /// So many bytes of the container cannot be had.
    pub fn miss(&mut self, length: u64) {
        self.pass(length, None);
    }

    fn pass(&mut self, length: u64, bytes: Option<&[u8]>) {
        let (start, end) = (self.at, self.at.saturating_add(length));
        self.at = end;
        while let Some(member) = self.members.get(self.current) {
            let member_end = member.offset.saturating_add(member.length);
            let from = start.max(member.offset);
            let to = end.min(member_end);
            if from < to {
                match bytes.and_then(|bytes| part(bytes, from - start, to - start)) {
                    Some(part) => {
                        self.hash.update(part);
                    }
                    None => self.hole = true,
                }
            }
            if end < member_end {
                return;
            }
            self.end_member(member);
        }
    }

    fn end_member(&mut self, member: &'a Member) {
        let wrong = member
            .name
            .promised_hash()
            .is_some_and(|promised| self.hash.finalize() != promised);
        if wrong || self.hole {
            self.damaged.push(&member.name);
        } else {
            self.sound += 1;
        }
        self.hash.reset();
        self.hole = false;
        self.current += 1;
    }

    /// Which members are damaged so far.
    #[must_use]
    pub fn damaged(&self) -> &[&'a MemberName] {
        &self.damaged
    }

    /// The container is at its end: which members are damaged, those among them that did
    /// not come.
    #[must_use]
    pub fn finish(mut self) -> Vec<&'a MemberName> {
        let missing = self.members.get(self.current..).unwrap_or_default();
        self.damaged
            .extend(missing.iter().map(|member| &member.name));
        self.damaged
    }
}

fn part(bytes: &[u8], from: u64, to: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
}

/// Names for a message: all, or the first ones and how many more.
#[must_use]
pub fn list(names: &[&MemberName]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<_> = names.iter().take(SHOWN).map(ToString::to_string).collect();
    let shown = shown.join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BrickName;

    fn brick(content: &[u8], offset: u64) -> Member {
        Member {
            offset,
            length: content.len() as u64,
            name: MemberName::Brick(BrickName(*blake3::hash(content).as_bytes())),
        }
    }

    #[test]
    fn damaged_and_missing_members_are_named_whatever_the_steps() {
        let bodies = [vec![1_u8; 1000], vec![2; 1], vec![3; 5000]];
        let mut container = vec![0; 1536];
        let mut members = Vec::new();
        for body in &bodies {
            members.push(brick(body, container.len() as u64));
            container.extend_from_slice(body);
            container.resize(container.len().next_multiple_of(512) + 512, 0);
        }
        let name = |number: usize| members[number].name.clone();
        for step in [1, 100, 512, 10_000] {
            let check = |container: &[u8]| {
                let mut checker = Checker::new(&members);
                container
                    .chunks(step)
                    .for_each(|bytes| checker.update(bytes));
                checker
                    .finish()
                    .iter()
                    .map(|name| (*name).clone())
                    .collect::<Vec<_>>()
            };
            assert!(check(&container).is_empty());
            let mut flipped = container.clone();
            flipped[1536] ^= 1;
            assert_eq!(check(&flipped), [name(0)]);
            assert_eq!(check(&container[..container.len() - 2000]), [name(2)]);
            let mut between = container.clone();
            between[1536 + 1100] ^= 1;
            assert!(check(&between).is_empty());
        }
        let mut checker = Checker::new(&members);
        checker.update(&container[..2000]);
        checker.miss(100);
        checker.update(&container[2100..]);
        assert_eq!(checker.finish(), [&name(0)]);
    }
}
