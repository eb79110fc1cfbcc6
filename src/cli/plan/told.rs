//! A plan, added up.

use std::collections::{BTreeMap, HashMap};

use super::super::cold_args::ListWhat;
use super::super::size;
use dtar::id::BrickName;
use dtar::plan::{Load, Plan, Planned, loads};

/// Bricks and bytes.
#[derive(Debug, Default, Clone, Copy)]
pub struct Amount {
    pub bricks: u64,
    pub bytes: u64,
}

impl Amount {
    pub const fn add(&mut self, bytes: u64) {
        self.bricks += 1;
        self.bytes += bytes;
    }

    const fn plus(self, more: Self) -> Self {
        Self {
            bricks: self.bricks + more.bricks,
            bytes: self.bytes + more.bytes,
        }
    }
}

/// Where a brick is to come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// It is at hand.
    Here,
    /// The bucket with this number in the plan.
    Bucket(usize),
    /// Numbers of the load, and of the tape file on that tape.
    Tape(usize, u32),
    /// The file of a container.
    Container(String),
    /// The store has not given it up, but nobody says where it is.
    Somewhere,
    Nowhere,
}

impl From {
    fn is(&self, what: ListWhat) -> bool {
        match what {
            ListWhat::All => *self != Self::Here,
            ListWhat::Tape => matches!(self, Self::Tape(..)),
            ListWhat::Bucket => matches!(self, Self::Bucket(_)),
            ListWhat::Container => matches!(self, Self::Container(_)),
            ListWhat::Nowhere => matches!(self, Self::Somewhere | Self::Nowhere),
        }
    }
}

/// A plan with its sums.
pub struct Told<'a> {
    pub plan: &'a Plan,
    pub loads: Vec<Load>,
    /// Of each brick of the plan.
    pub from: Vec<From>,
    pub all: Amount,
    /// Bytes of the frames.
    pub used: u64,
    pub frames: u64,
    pub here: Amount,
    pub buckets: Vec<Amount>,
    pub on_tape: Amount,
    /// In containers of which no tape is known, by file.
    pub containers: BTreeMap<String, Amount>,
    pub somewhere: Amount,
    pub nowhere: Amount,
}

impl<'a> Told<'a> {
    /// `tapes`: load tapes for what was pushed, too.
    pub fn new(plan: &'a Plan, tapes: bool) -> Self {
        let (loads, _) = loads(plan, tapes);
        let mut on_tape: HashMap<BrickName, (usize, u32)> = HashMap::new();
        for (number, load) in loads.iter().enumerate() {
            for file in &load.files {
                let bricks = file.bricks.iter();
                on_tape.extend(bricks.map(|(_, name)| (*name, (number, file.file))));
            }
        }
        let mut told = Self {
            plan,
            loads,
            from: Vec::with_capacity(plan.bricks.len()),
            all: Amount::default(),
            used: 0,
            frames: 0,
            here: Amount::default(),
            buckets: vec![Amount::default(); plan.buckets.len()],
            on_tape: Amount::default(),
            containers: BTreeMap::new(),
            somewhere: Amount::default(),
            nowhere: Amount::default(),
        };
        for planned in &plan.bricks {
            told.enter(planned, on_tape.get(&planned.need.brick).copied());
        }
        told
    }

    fn enter(&mut self, planned: &Planned, on_tape: Option<(usize, u32)>) {
        let (need, place) = (&planned.need, &planned.place);
        self.all.add(need.length);
        self.used += need.used;
        self.frames += u64::from(need.frame_count);
        let bucket = place.buckets.first().copied();
        let (from, amount) = if place.here.is_some() {
            (From::Here, &mut self.here)
        } else if let Some((load, file)) = on_tape {
            (From::Tape(load, file), &mut self.on_tape)
        } else if let Some((bucket, amount)) =
            bucket.and_then(|at| Some((at, self.buckets.get_mut(at)?)))
        {
            (From::Bucket(bucket), amount)
        } else if let Some(at) = place.containers.first() {
            let set = at.set.to_string();
            let set = set.get(..8).unwrap_or_default();
            let file = format!("{set}-{:06}.tar", at.container);
            let amount = self.containers.entry(file.clone()).or_default();
            (From::Container(file), amount)
        } else if place.stands {
            (From::Somewhere, &mut self.somewhere)
        } else {
            (From::Nowhere, &mut self.nowhere)
        };
        amount.add(need.length);
        self.from.push(from);
    }

    /// The bricks, and where each is to come from.
    pub fn bricks(&self) -> impl Iterator<Item = (&Planned, &From)> {
        self.plan.bricks.iter().zip(&self.from)
    }

    /// One object a line.
    pub fn list(&self, what: ListWhat) -> String {
        let wanted = self.bricks().filter(|(_, from)| from.is(what));
        let lines = wanted.map(|(planned, _)| {
            let name = planned.need.brick;
            format!("bricks/{:02x}/{name}.brick\n", name.as_bytes()[0])
        });
        lines.collect()
    }

    pub fn pushed(&self) -> Amount {
        let sum = Amount::default();
        self.buckets.iter().copied().fold(sum, Amount::plus)
    }

    /// What is in no place that is known.
    pub const fn unknown(&self) -> Amount {
        self.somewhere.plus(self.nowhere)
    }

    /// What is to be paid for: what was pushed, and what other tools have put into an object
    /// store perhaps, since nobody says where it is.
    pub fn to_pay(&self) -> Amount {
        self.pushed().plus(self.unknown())
    }
}

/// What share one number is of another, rounded.
pub fn percent(part: u64, whole: u64) -> String {
    let (part, whole) = (u128::from(part), u128::from(whole).max(1));
    match (part * 200 + whole) / (whole * 2) {
        0 if part > 0 => "<1 %".to_owned(),
        percent => format!("{percent} %"),
    }
}

/// In words.
pub fn bricks(amount: Amount) -> String {
    size::count(amount.bricks, "brick")
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn shares_are_rounded() {
        let shares = [(0, 0), (0, 9), (1, 900), (1, 3), (2, 3), (999, 1000)];
        let shares = shares.map(|(part, whole)| percent(part, whole));
        assert_eq!(shares, ["0 %", "0 %", "<1 %", "33 %", "67 %", "100 %"]);
    }
}
