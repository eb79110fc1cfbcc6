//! Away lists: which bricks were put into an object store, and where
//! (`formats/push.md#away-lists`).
//!
//! They are hints for whoever plans, and spare requests; nothing is ever deleted because
//! of them alone. So they are plain text, and one that is damaged is left out.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use super::atomic::{self, TempFile};
use super::guard;
use super::layout::{Layout, list};
use crate::id::BrickName;
use crate::{Error, Result};

const FIRST_LINE: &str = "dtar away list 1";
const ENDING: &str = ".s3";
/// The longest line, without its end: a URL may be long.
const MOST_LINE: usize = 8 << 10;
/// Lines before the names, at most.
const MOST_FIELDS: usize = 64;

/// Where bricks are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct AwayPlace {
    /// Such as `s3://bucket/prefix`.
    pub url: String,
    /// The URL of the server, if it is not Amazon's.
    pub endpoint: Option<String>,
    /// The storage class, unless it is the standard one.
    pub class: Option<String>,
}

impl AwayPlace {
    /// Whether both mean the same bucket and prefix, whatever the class.
    #[must_use]
    pub fn is_same_place(&self, other: &Self) -> bool {
        (&self.url, &self.endpoint) == (&other.url, &other.endpoint)
    }

    /// 16 hex digits that stand for the place.
    fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.url.as_bytes());
        hasher.update(b"\n");
        hasher.update(self.endpoint.as_deref().unwrap_or_default().as_bytes());
        hasher.finalize().to_hex().chars().take(16).collect()
    }

    fn is_writable(&self) -> bool {
        let texts = [Some(&self.url), self.endpoint.as_ref(), self.class.as_ref()];
        let mut texts = texts.into_iter().flatten();
        texts.all(|text| text.len() < MOST_LINE / 2 && !text.contains(char::is_control))
    }
}

impl Layout {
    /// The folder of the away lists.
    #[must_use]
    pub fn away_dir(&self) -> PathBuf {
        self.path().join("away")
    }
}

/// Writes a list, durably, and returns its path. `bricks` come sorted, with their lengths.
///
/// # Errors
/// [`Error::Io`]; [`Error::Usage`] for a place whose name cannot stand on a line.
pub fn write(layout: &Layout, place: &AwayPlace, bricks: &[(BrickName, u64)]) -> Result<PathBuf> {
    if !place.is_writable() {
        return Err(Error::Usage(format!(
            "{:?}: not a name for a place",
            place.url
        )));
    }
    let dir = layout.away_dir();
    let random = atomic::random_name(&dir)?;
    let path = dir.join(format!("{}-{random}{ENDING}", place.digest()));
    let temp_dir = layout.temp_dir();
    guard::refuse_links(layout.path(), &temp_dir)?;
    guard::refuse_links_to(layout.path(), &path)?;
    let mut out = Hashed {
        file: io::BufWriter::new(TempFile::create(&temp_dir)?),
        hasher: blake3::Hasher::new(),
    };
    write_text(&mut out, place, bricks).map_err(Error::io("write", &path))?;
    let file = out
        .file
        .into_inner()
        .map_err(io::IntoInnerError::into_error);
    file.map_err(Error::io("write", &path))?
        .publish_new(&path)?;
    Ok(path)
}

fn write_text(out: &mut Hashed, place: &AwayPlace, bricks: &[(BrickName, u64)]) -> io::Result<()> {
    writeln!(out, "{FIRST_LINE}\nurl {}", place.url)?;
    if let Some(endpoint) = &place.endpoint {
        writeln!(out, "endpoint {endpoint}")?;
    }
    if let Some(class) = &place.class {
        writeln!(out, "storage-class {class}")?;
    }
    writeln!(out)?;
    for (name, length) in bricks {
        writeln!(out, "{name} {length}")?;
    }
    let check = out.hasher.finalize().to_hex();
    writeln!(out, "end {} {}", bricks.len(), &check[..32])
}

struct Hashed {
    file: io::BufWriter<TempFile>,
    hasher: blake3::Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The lists of a store, in no order.
///
/// # Errors
/// [`Error::Io`] if the folder is there and cannot be listed.
pub fn lists(layout: &Layout) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    list(&layout.away_dir(), |file, entry| {
        if is_list(file) {
            paths.push(entry.path());
        }
        Ok(())
    })?;
    Ok(paths)
}

/// Whether a file in the folder is named like a list.
pub(super) fn is_list(file: &str) -> bool {
    let is_hex = |text: &str| {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        text.len() == 16 && text.bytes().all(digit)
    };
    let stem = file.strip_suffix(ENDING);
    stem.and_then(|stem| stem.split_once('-'))
        .is_some_and(|(place, random)| is_hex(place) && is_hex(random))
}

/// Calls `each` with place, name and length of the bricks in all lists of a store, some
/// perhaps again and again, and `warn` with what is wrong with a list that is left out.
/// Takes no more memory than a line.
///
/// # Errors
/// [`Error::Io`] if the folder cannot be listed; those of `each`.
pub fn each(
    layout: &Layout,
    warn: &mut dyn FnMut(String),
    each: &mut dyn FnMut(&AwayPlace, BrickName, u64) -> Result<()>,
) -> Result<()> {
    for path in lists(layout)? {
        // Once for the check, before anything of it is believed.
        match read(&path, &mut |_, _, _| Ok(())).and_then(|()| read(&path, each)) {
            Ok(()) | Err(Failure::Gone) => {}
            Err(Failure::Here(error)) => return Err(error),
            Err(Failure::Damaged(why)) => warn(format!(
                "{}: {why}; this list of what was pushed is left out: delete it, and `dtar push \
                 --check` makes a new one",
                path.display()
            )),
        }
    }
    Ok(())
}

/// The bricks that lists say are in `place`, sorted, with their lengths: 40 bytes each.
///
/// # Errors
/// As [`each`].
pub fn known(
    layout: &Layout,
    place: &AwayPlace,
    warn: &mut dyn FnMut(String),
) -> Result<Vec<(BrickName, u64)>> {
    let mut bricks = Vec::new();
    each(layout, warn, &mut |found, name, length| {
        if found.is_same_place(place) {
            bricks.push((name, length));
        }
        Ok(())
    })?;
    bricks.sort_unstable();
    bricks.dedup_by_key(|(name, _)| *name);
    Ok(bricks)
}

enum Failure {
    /// Deleted since it was listed.
    Gone,
    Damaged(String),
    /// Of whoever takes the names.
    Here(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if super::is_missing(&error) {
            return Self::Gone;
        }
        Self::Damaged(format!("cannot read it: {error}"))
    }
}

fn read(
    path: &Path,
    each: &mut dyn FnMut(&AwayPlace, BrickName, u64) -> Result<()>,
) -> Result<(), Failure> {
    let mut lines = Lines {
        file: BufReader::new(guard::open_file(path)?),
        hasher: blake3::Hasher::new(),
        line: Vec::new(),
        number: 0,
    };
    if lines.next()? != FIRST_LINE {
        return Err(lines.wrong(&format!("expected {FIRST_LINE:?}")));
    }
    let place = read_place(&mut lines)?;
    let mut count: u64 = 0;
    loop {
        let check = lines.hasher.finalize().to_hex();
        let line = lines.next()?;
        if let Some(end) = line.strip_prefix("end ") {
            if end == format!("{count} {}", &check[..32]) {
                return Ok(());
            }
            return Err(lines.wrong("its check does not match"));
        }
        let Some(brick) = parse(line) else {
            return Err(lines.wrong("expected the name and the length of a brick"));
        };
        each(&place, brick.0, brick.1).map_err(Failure::Here)?;
        count += 1;
    }
}

fn read_place(lines: &mut Lines) -> Result<AwayPlace, Failure> {
    let mut place = AwayPlace::default();
    for _ in 0..MOST_FIELDS {
        match lines.next()?.split_once(' ') {
            None => return Ok(place),
            Some(("url", url)) => url.clone_into(&mut place.url),
            Some(("endpoint", url)) => place.endpoint = Some(url.to_owned()),
            Some(("storage-class", class)) => place.class = Some(class.to_owned()),
            // Of a later version.
            Some(_) => {}
        }
    }
    Err(lines.wrong("expected an empty line"))
}

fn parse(line: &str) -> Option<(BrickName, u64)> {
    let (name, length) = line.split_once(' ')?;
    Some((name.parse().ok()?, length.parse().ok()?))
}

/// Lines of limited length, hashed as they come.
struct Lines {
    file: BufReader<File>,
    hasher: blake3::Hasher,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    fn next(&mut self) -> Result<&str, Failure> {
        self.line.clear();
        self.number += 1;
        let limit = MOST_LINE as u64 + 1;
        io::Read::take(&mut self.file, limit).read_until(b'\n', &mut self.line)?;
        self.hasher.update(&self.line);
        let whole = self.line.strip_suffix(b"\n").map(<[u8]>::len);
        match whole.and_then(|length| std::str::from_utf8(&self.line[..length]).ok()) {
            // Plans show what it says on terminals.
            Some(line) if !line.contains(char::is_control) => Ok(line),
            _ => Err(Failure::Damaged(format!(
                "line {}: cut short, too long, or no plain text",
                self.number
            ))),
        }
    }

    fn wrong(&self, why: &str) -> Failure {
        Failure::Damaged(format!("line {}: {why}", self.number))
    }
}

/// Deletes lists, after others that say the same were written. One that is gone is no
/// failure.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(layout: &Layout, paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        guard::refuse_links_to(layout.path(), path)?;
        match fs::remove_file(path) {
            Err(error) if !super::is_missing(&error) => {
                return Err(Error::io("remove", path)(error));
            }
            _ => {}
        }
    }
    atomic::sync_dir_if_there(&layout.away_dir())
}

/// The lists that name this place.
///
/// # Errors
/// [`Error::Io`] if the folder is there and cannot be listed.
pub fn lists_of(layout: &Layout, place: &AwayPlace) -> Result<Vec<PathBuf>> {
    let digest = place.digest();
    let mut paths = lists(layout)?;
    paths.retain(|path| {
        let file = path.file_name().and_then(|file| file.to_str());
        file.is_some_and(|file| file.starts_with(&digest))
    });
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(class: Option<&str>) -> AwayPlace {
        AwayPlace {
            url: "s3://bucket/prefix".into(),
            endpoint: Some("http://localhost:1".into()),
            class: class.map(str::to_owned),
        }
    }

    fn name(byte: u8) -> BrickName {
        BrickName([byte; 32])
    }

    fn all(layout: &Layout) -> (Vec<(AwayPlace, BrickName, u64)>, Vec<String>) {
        let (mut found, mut warnings) = (Vec::new(), Vec::new());
        each(
            layout,
            &mut |why| warnings.push(why),
            &mut |place, name, length| {
                found.push((place.clone(), name, length));
                Ok(())
            },
        )
        .unwrap();
        found.sort();
        (found, warnings)
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        assert_eq!(all(&layout), (vec![], vec![]));
        let (cold, hot) = (place(Some("DEEP_ARCHIVE")), place(None));
        let other = AwayPlace {
            url: "s3://other".into(),
            ..AwayPlace::default()
        };
        write(&layout, &cold, &[(name(1), 10), (name(2), 20)]).unwrap();
        write(&layout, &hot, &[(name(2), 20), (name(3), 30)]).unwrap();
        write(&layout, &other, &[(name(4), 40)]).unwrap();
        let (found, warnings) = all(&layout);
        assert_eq!(found.len(), 5);
        assert!(warnings.is_empty());
        assert!(found.contains(&(cold.clone(), name(1), 10)));
        let known = known(&layout, &hot, &mut |_| ()).unwrap();
        assert_eq!(known, [(name(1), 10), (name(2), 20), (name(3), 30)]);
        assert_eq!(lists_of(&layout, &cold).unwrap().len(), 2);
        remove(&layout, &lists_of(&layout, &cold).unwrap()).unwrap();
        assert_eq!(all(&layout).0, [(other, name(4), 40)]);
    }

    #[test]
    fn of_a_damaged_list_nothing_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let path = write(
            &layout,
            &place(Some("GLACIER")),
            &[(name(1), 10), (name(2), 20)],
        )
        .unwrap();
        let sound = fs::read(&path).unwrap();
        let mut damaged = 0;
        for at in 0..sound.len() {
            let mut bytes = sound.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let (found, warnings) = all(&layout);
            assert!(found.is_empty() && warnings.len() == 1, "{at}: {found:?}");
            fs::write(&path, &sound[..at]).unwrap();
            assert_eq!(all(&layout).1.len(), 1, "cut at {at}");
            damaged += 2;
        }
        assert_eq!(damaged, 2 * sound.len());
        fs::write(&path, &sound).unwrap();
        assert_eq!(all(&layout).0.len(), 2);
    }

    #[test]
    fn names_of_lists_are_strict() {
        assert!(is_list("0123456789abcdef-0123456789abcdef.s3"));
        for bad in [
            "0123456789abcdef.s3",
            "0123456789abcdef-0123456789abcdeF.s3",
            "x-y.s3",
        ] {
            assert!(!is_list(bad), "{bad}");
        }
    }

    #[test]
    fn a_place_that_does_not_fit_on_a_line_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let bad = AwayPlace {
            url: "s3://a\nb".into(),
            ..AwayPlace::default()
        };
        write(&Layout::new(dir.path()), &bad, &[]).unwrap_err();
    }
}
