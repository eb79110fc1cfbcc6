//! Whether a container is what a set may be told that it is.

use super::catalog::Head;
use super::header::{padded, whole};
use super::read::{Container, Walk};
use crate::archive::Monitor;
use crate::error::{Error, Exit, Result};
use crate::format::container::{CATALOG, LABEL, MemberName, Sum};

/// Offset and length of a body, and name.
pub(super) type Placed = (u64, u64, MemberName);

/// Reads a container from front to back, and returns its sum and its members: each brick has
/// the hash that its name says, and the catalog at the end lists these members, and of the
/// containers before what `head` knows.
///
/// What is entered in a store's catalog counts as packed. So nothing is taken from a file
/// that anybody may have put into the folder, or that was damaged there, but what is in it.
///
/// # Errors
/// [`Error::Refused`] that says where it is wrong, and what to do.
pub(super) fn check(
    container: &Container,
    head: &Head,
    monitor: &Monitor,
) -> Result<(Sum, Vec<Placed>)> {
    let check = Check { container, monitor };
    let members = check.members()?;
    check.catalog(head, &members)?;
    Ok((container.sum(monitor)?, members))
}

struct Check<'a> {
    container: &'a Container,
    monitor: &'a Monitor,
}

impl Check<'_> {
    fn wrong(&self, offset: u64, what: &str) -> Error {
        Error::Refused {
            path: self.container.path.clone(),
            message: format!(
                "at byte {offset}: {what}; it is not entered in its set. All that it should hold \
                 is still in the store: delete it, and run `dtar pack` again"
            ),
            exit: Exit::Damaged,
        }
    }

    /// The members, as their headers and bodies say.
    fn members(&self) -> Result<Vec<Placed>> {
        let container = self.container;
        let mut walk = Walk::new(container.file(), &container.path);
        walk.go_to(0)?;
        let mut members = Vec::new();
        loop {
            self.monitor.check()?;
            let here = walk.position();
            let found = match walk.next_header() {
                Err(Error::Refused { .. }) => None,
                found => found?,
            };
            let Some((name, length, offset)) = found else {
                let end = container.length;
                return Err(self.wrong(here.min(end), "expected the header of a member"));
            };
            let end = offset.saturating_add(padded(length));
            if name == CATALOG {
                if whole(end) != container.length {
                    let what = format!("expected an end at {}", whole(end));
                    return Err(self.wrong(container.length, &what));
                }
                return Ok(members);
            }
            if end > container.length {
                return Err(self.wrong(container.length, &format!("{name} is cut off")));
            }
            let Ok(member) = name.parse::<MemberName>() else {
                if name != LABEL && name != "store.toml" && !name.starts_with("formats/") {
                    return Err(
                        self.wrong(here, &format!("a member {name:?}, which dtar knows not"))
                    );
                }
                walk.go_to(end)?;
                continue;
            };
            if let Some(promised) = member.promised_hash()
                && walk.hash(length)? != promised
            {
                let what = format!("{member} has not the BLAKE3 that its name says");
                return Err(self.wrong(offset, &what));
            }
            members.push((offset, length, member));
            walk.go_to(end)?;
        }
    }

    /// Whether the catalog at the end says the same.
    fn catalog(&self, head: &Head, members: &[Placed]) -> Result<()> {
        let mut listed = Vec::new();
        let scanned = match self.container.by_catalog(&mut listed) {
            Ok(Some(scanned)) => scanned,
            Ok(None) => {
                return Err(self.wrong(self.container.length, "no catalog is at its end"));
            }
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => {
                return Err(self.wrong(self.container.length, &format!("its catalog: {error}")));
            }
        };
        let other = listed.iter().zip(members).find(|(a, b)| a != b);
        let other = other.map(|((offset, ..), _)| *offset);
        if let Some(offset) = other.or((listed.len() != members.len()).then_some(scanned.header)) {
            return Err(self.wrong(offset, "its catalog does not list what is in it"));
        }
        let found = &scanned.head;
        let before = found.containers.split_last().map(|(_, before)| before);
        let same = (found.set, found.store) == (head.set, head.store)
            && before == Some(&head.containers[..]);
        if same {
            return Ok(());
        }
        let what = "its catalog knows other containers before it than that of the store";
        Err(self.wrong(scanned.header, what))
    }
}
