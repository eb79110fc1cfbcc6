//! Bricks in cold storage: asked for, and waited for.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::bucket::{Asked, Bucket, State};
use super::download::brick_path;
use super::parallel::{each_in_parallel, lock};
use crate::archive::Monitor;
use crate::error::{Error, Result};
use crate::id::BrickName;

/// How often to look, at first and at most: a thaw takes minutes to days.
const FIRST_LOOK: Duration = Duration::from_secs(1);
const LAST_LOOK: Duration = Duration::from_secs(300);
/// How long to sleep at once, so that a signal is heard.
const NAP: Duration = Duration::from_millis(100);

/// Says what is waited for, and that it has come.
pub type Tell<'a> = dyn Fn(Waiting<'_>) + Sync + 'a;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting<'a> {
    /// It thaws.
    Thawing(&'a str),
    /// It is cold, and nobody has asked for it.
    Cold(&'a str),
}

/// Whether and how to wait for bricks that thaw.
pub struct Waiter<'a> {
    /// Whether to wait at all.
    pub waits: bool,
    /// Called once for each brick that has to be waited for.
    pub tell: &'a Tell<'a>,
}

impl Waiter<'_> {
    /// Whether an object can be read; waits for that if it is to. One that is not there
    /// can be: to read it says so.
    ///
    /// # Errors
    /// What the server or the network says; [`Error::Interrupted`].
    pub fn is_readable(&self, bucket: &Bucket, path: &str, monitor: &Monitor) -> Result<bool> {
        let mut pause = FIRST_LOOK;
        let mut told = None;
        loop {
            let state = bucket.look_at(path)?.map(|object| object.state);
            let shown = bucket.place().show(path);
            let waiting = match state {
                None | Some(State::Hot | State::Thawed(_)) => return Ok(true),
                Some(State::Thawing) => Waiting::Thawing(&shown),
                Some(State::Cold) => Waiting::Cold(&shown),
            };
            if !self.waits {
                return Ok(false);
            }
            let is_cold = matches!(waiting, Waiting::Cold(_));
            if told != Some(is_cold) {
                (self.tell)(waiting);
                told = Some(is_cold);
            }
            sleep(pause, monitor)?;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }
}

/// Sleeps, unless somebody asks to stop.
pub(crate) fn sleep(time: Duration, monitor: &Monitor) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        monitor.check()?;
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Ok(());
        }
        std::thread::sleep(rest.min(NAP));
    }
}

/// How to thaw.
#[derive(Debug, Clone)]
pub struct ThawOptions {
    /// `Bulk`, `Standard` or `Expedited`.
    pub tier: String,
    /// For so many days.
    pub days: u32,
    /// Requests at the same time.
    pub jobs: usize,
    /// Only look, and ask for nothing.
    pub dry_run: bool,
    /// Wait until all can be read.
    pub wait: bool,
}

/// What came of asking for bricks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ThawSummary {
    /// Bricks that were asked for now; on a dry run, that would be.
    pub asked: u64,
    /// Bytes in them.
    pub asked_bytes: u64,
    /// Bricks that were on their way already.
    pub under_way: u64,
    /// Bricks that can be read now, or could be from the beginning.
    pub readable: u64,
    /// Bricks that the bucket does not have.
    pub missing: Vec<BrickName>,
}

/// Asks for exactly these bricks; those that can be read, or were asked for, are left
/// alone. To do it again changes nothing.
///
/// # Errors
/// The first failure of the server or the network. What was asked for until then is.
pub fn thaw(
    bucket: &Bucket,
    bricks: &[BrickName],
    options: &ThawOptions,
    tell: &Tell<'_>,
    monitor: &Monitor,
) -> Result<ThawSummary> {
    let missing = Mutex::new(Vec::new());
    let counts: [AtomicU64; 4] = Default::default();
    let [asked, asked_bytes, under_way, readable] = &counts;
    let add = |counter: &AtomicU64, amount| {
        counter.fetch_add(amount, Ordering::Relaxed);
    };
    let mut names = bricks.iter();
    let ask = |name: &BrickName| {
        let path = brick_path(name);
        let Some(object) = bucket.look_at(&path)? else {
            lock(&missing).push(*name);
            return Ok(());
        };
        match object.state {
            State::Hot | State::Thawed(_) => add(readable, 1),
            State::Thawing => add(under_way, 1),
            State::Cold => {
                let is_asked = options.dry_run
                    || bucket.thaw(&path, object.class.as_deref(), &options.tier, options.days)?
                        == Asked::Accepted;
                if is_asked {
                    add(asked, 1);
                    add(asked_bytes, object.length);
                } else {
                    add(under_way, 1);
                }
            }
        }
        Ok(())
    };
    each_in_parallel(options.jobs, monitor, &mut || Ok(names.next()), &ask)?;
    let missing = missing.into_inner().unwrap_or_default();
    if options.wait && !options.dry_run {
        let waiter = Waiter { waits: true, tell };
        for name in bricks.iter().filter(|name| !missing.contains(name)) {
            waiter.is_readable(bucket, &brick_path(name), monitor)?;
        }
    }
    let [asked, asked_bytes, under_way, readable] = counts.map(AtomicU64::into_inner);
    Ok(ThawSummary {
        asked,
        asked_bytes,
        under_way,
        readable,
        missing,
    })
}

/// The name of a tier as the server knows it.
///
/// # Errors
/// [`Error::Usage`] for another.
pub fn tier(text: &str) -> Result<String> {
    let tiers = ["Bulk", "Standard", "Expedited"];
    let found = tiers
        .into_iter()
        .find(|tier| tier.eq_ignore_ascii_case(text));
    found.map(str::to_owned).ok_or_else(|| {
        Error::Usage(format!(
            "--tier {text}: expected bulk, standard or expedited"
        ))
    })
}
