//! The runs that a store knows of, and how to name one.

use std::path::PathBuf;
use std::str::FromStr;

use jiff::Zoned;

use super::moment::{Moment, ParseMomentError};
use crate::crypto::PutKeys;
use crate::error::{Error, Exit, Result};
use crate::format::root::{Root, SnapshotRef};
use crate::store::layout::RunName;
use crate::store::{Store, is_missing};

/// A finished run with a snapshot.
#[derive(Debug, Clone)]
pub struct Run {
    /// What its root and its snapshot are named.
    pub name: RunName,
    /// Its root.
    pub root: Root,
    /// What the root says of the snapshot.
    pub snapshot: SnapshotRef,
}

impl Run {
    /// Reads the root of a run. `None`: the run made no snapshot, or has been forgotten
    /// since it was listed.
    ///
    /// # Errors
    /// As [`Store::read_root`].
    pub fn read(store: &Store, keys: &PutKeys, name: RunName) -> Result<Option<Self>> {
        let path = store.layout().root_path(&name);
        let root = match store.read_root(keys, &path, name.time) {
            Err(Error::Io { source, .. }) if is_missing(&source) => return Ok(None),
            root => root?,
        };
        Ok(root.snapshot.map(|snapshot| Self {
            name,
            root,
            snapshot,
        }))
    }
}

/// The runs that have a root, the oldest first, from `since` to `until` (nanoseconds
/// since 1970, both included). Their roots are not read.
///
/// # Errors
/// [`Error::Io`].
pub fn runs(store: &Store, since: u64, until: u64) -> Result<Vec<RunName>> {
    let mut runs = store.layout().runs()?;
    runs.retain(|run| (since..=until).contains(&run.time));
    Ok(runs)
}

/// Which run is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The newest (1), the one before (2), and so on.
    Newest(usize),
    /// The last that ended at this time or before.
    At(Moment),
    /// The one whose name begins so.
    Name(String),
    /// The newest with this label.
    Label(String),
    /// The newest of this host.
    Host(String),
}

impl Selector {
    /// Whether `text` is meant as a selector, and not as the name of a file.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.starts_with('@')
    }

    /// Reads a selector: `@latest`, `@2` (the one before the newest), `@TIME`, `@NAME`
    /// or as much of a name's start as is unique, `@label:TEXT`, `@host:NAME`.
    ///
    /// # Errors
    /// A text of another form.
    pub fn parse(text: &str, now: &Zoned) -> Result<Self, ParseMomentError> {
        let text = text.strip_prefix('@').unwrap_or(text);
        if let Some(label) = text.strip_prefix("label:") {
            return Ok(Self::Label(label.to_owned()));
        }
        if let Some(host) = text.strip_prefix("host:") {
            return Ok(Self::Host(host.to_owned()));
        }
        if text == "latest" {
            return Ok(Self::Newest(1));
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Names begin with a zero until the year 2286.
        if digits
            && !text.starts_with('0')
            && text.len() <= 9
            && let Ok(number) = text.parse()
        {
            return Ok(Self::Newest(number));
        }
        let named = text.starts_with('0') && text.len() >= 4;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if named && text.bytes().all(|byte| hex(byte) || byte == b'-') {
            return Ok(Self::Name(text.to_owned()));
        }
        Moment::parse(text, now).map(Self::At)
    }
}

impl FromStr for Selector {
    type Err = ParseMomentError;

    fn from_str(text: &str) -> Result<Self, ParseMomentError> {
        Self::parse(text, &Zoned::now())
    }
}

/// The run that is meant.
///
/// # Errors
/// [`Error::Refused`] if there is none, or if a name is not unique; what is wrong with a
/// root that had to be read.
pub fn select(store: &Store, keys: &PutKeys, selector: &Selector) -> Result<Run> {
    let mut names = runs(store, 0, u64::MAX)?;
    let mut newer = 0;
    match selector {
        Selector::At(time) => names.retain(|name| name.time <= time.end()),
        Selector::Name(start) => {
            names.retain(|name| name.to_string().starts_with(start.as_str()));
            if names.len() > 1 {
                let message = format!("{} runs are named @{start}…: give more of it", names.len());
                return Err(refused(store.layout().roots_dir(), message, Exit::Failed));
            }
        }
        _ => {}
    }
    for name in names.into_iter().rev() {
        let Some(run) = Run::read(store, keys, name)? else {
            continue;
        };
        let meant = match selector {
            Selector::Newest(number) => {
                newer += 1;
                newer == *number
            }
            Selector::Label(label) => run.root.label == label.as_bytes(),
            Selector::Host(host) => run.root.host == host.as_bytes(),
            Selector::At(_) | Selector::Name(_) => true,
        };
        if meant {
            return Ok(run);
        }
    }
    let what = match selector {
        Selector::Newest(1) => "no snapshot in this store".to_owned(),
        Selector::Newest(number) => format!("no snapshot {number}: there are {newer}"),
        Selector::At(_) => "no snapshot from that time or before".to_owned(),
        Selector::Name(start) => format!("no snapshot is named @{start}…"),
        Selector::Label(label) => format!("no snapshot has the label {label:?}"),
        Selector::Host(host) => format!("no snapshot is of the host {host:?}"),
    };
    let message = format!("{what}; `dtar snapshots` lists what there is");
    Err(refused(store.path().to_owned(), message, Exit::Failed))
}

pub(super) fn refused(path: PathBuf, message: String, exit: Exit) -> Error {
    Error::Refused {
        path,
        message,
        exit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_told_apart() {
        let now: jiff::Timestamp = "2026-11-21T10:30:00Z".parse().unwrap();
        let now = now.to_zoned(jiff::tz::TimeZone::UTC);
        for (text, selector) in [
            ("@latest", Selector::Newest(1)),
            ("@3", Selector::Newest(3)),
            ("@label:2", Selector::Label("2".into())),
            ("@host:a b", Selector::Host("a b".into())),
            ("@0179525", Selector::Name("0179525".into())),
            (
                "@01795257495644099488-96c1",
                Selector::Name("01795257495644099488-96c1".into()),
            ),
        ] {
            assert_eq!(Selector::parse(text, &now), Ok(selector), "{text}");
        }
        for (text, end) in [
            ("@1970-01-01", 86_399_999_999_999),
            ("@1970-01-01T00:00:01Z", 1_999_999_999),
        ] {
            let Ok(Selector::At(moment)) = Selector::parse(text, &now) else {
                panic!("{text}");
            };
            assert_eq!(moment.end(), end, "{text}");
        }
        for text in ["@", "@newest", "@01x", "@-1", "@99999999999"] {
            assert!(Selector::parse(text, &now).is_err(), "{text}");
        }
    }
}
