//! Key files on disk (`formats/keys.md`, "Key file").

use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::crypto::{Key, KeyFile, PublicKey};
use crate::error::{Error, Exit, Result};
use crate::format::keyfile::{KeyFileError, check_mode};
use crate::format::lock::Cost;
use crate::store::atomic;

/// A key file is at most so long.
const MOST: u64 = 16 << 10;
const MODE: u32 = 0o600;

/// Asks for the passphrase of the key file with this name.
pub type AskPassphrase<'a> = &'a mut dyn FnMut(&Path) -> Result<Zeroizing<String>>;

/// Reads a secret key or a put key; asks for its passphrase if it has one.
///
/// # Errors
/// A file that cannot be read, that others may read, that holds no key; a
/// wrong passphrase.
pub fn load(path: &Path, ask: AskPassphrase<'_>) -> Result<Key> {
    match read(path)? {
        KeyFile::Key(key) => Ok(key),
        KeyFile::Locked(locked) => {
            let passphrase = ask(path)?;
            locked
                .unlock(passphrase.as_bytes())
                .map_err(|error| error.into_error(path))
        }
        KeyFile::Public(_) => Err(refused(
            path,
            "this is a public key: it can only be a recipient (`dtar init --recipient`); name \
             a secret key or a put key with --key FILE or DTAR_KEY",
        )),
    }
}

/// Reads a public key.
///
/// # Errors
/// A file that cannot be read, or that holds no public key.
pub fn load_public(path: &Path) -> Result<PublicKey> {
    match read(path)? {
        KeyFile::Public(key) => Ok(key),
        KeyFile::Key(key) => key
            .public_key()
            .ok_or_else(|| refused(path, "a put key; expected a public key")),
        KeyFile::Locked(_) => Err(refused(
            path,
            "a key under a passphrase; expected a public key, as `dtar key show` prints it",
        )),
    }
}

/// Reads a key file. One that holds a secret must be its owner's alone, whatever is
/// wanted of it.
fn read(path: &Path) -> Result<KeyFile> {
    let file = File::open(path).map_err(Error::io("open the key", path))?;
    let mode = file
        .metadata()
        .map_err(Error::io("look at the key", path))?
        .mode();
    let mut text = Zeroizing::new(Vec::with_capacity(16 << 10));
    file.take(MOST + 1)
        .read_to_end(&mut text)
        .map_err(Error::io("read the key", path))?;
    let parsed = KeyFile::parse(&text).map_err(|error| unreadable(path, error))?;
    let mode = mode & 0o7777;
    if parsed.is_secret() && check_mode(mode).is_err() {
        return Err(refused(
            path,
            &format!(
                "others may read or write this key (mode {mode:04o}, expected 0600): \
                 run `chmod 600 {}`; if somebody may have read it, make a new key",
                path.display()
            ),
        ));
    }
    Ok(parsed)
}

/// Writes a key to a new file.
///
/// # Errors
/// A file that stands there already, and I/O errors.
pub fn create(path: &Path, key: &Key) -> Result<()> {
    create_text(path, &text(key, &key.to_text()))
}

/// Writes a key to a new file, under a passphrase.
///
/// # Errors
/// As [`create`]; too little memory for Argon2id.
pub fn create_locked(path: &Path, key: &Key, passphrase: &str) -> Result<()> {
    let line = key.lock(passphrase.as_bytes(), Cost::default())?;
    create_text(path, &text(key, &line))
}

/// Puts the key into its file anew, with or without a passphrase.
///
/// # Errors
/// I/O errors; the old file then still stands.
pub fn replace(path: &Path, key: &Key, passphrase: Option<&str>) -> Result<()> {
    let line = match passphrase {
        Some(passphrase) => key.lock(passphrase.as_bytes(), Cost::default())?,
        None => key.to_text(),
    };
    whole_file(path, &text(key, &line), |temp| {
        temp.persist(path).map_err(|error| error.error)
    })
}

/// The key as one line, for paper.
#[must_use]
pub fn secret_text(key: &Key) -> Zeroizing<String> {
    key.to_text()
}

fn text(key: &Key, line: &str) -> Zeroizing<String> {
    let kind = match key.store_id() {
        Some(store) => format!("put key: archives into store {store}, cannot read"),
        None => {
            "secret key: keep a copy in a safe place; without it nothing can be restored".into()
        }
    };
    Zeroizing::new(format!(
        "# dtar {kind}\n# key id {}\n{line}\n",
        key.key_id()
    ))
}

fn create_text(path: &Path, text: &str) -> Result<()> {
    let dir = folder_of(path);
    atomic::create_dir(dir)?;
    atomic::sync_way_to(dir)?;
    let taken = || refused(path, "stands there already, and keys are never overwritten");
    // Asked first, so that nothing is written in vain, and for a message of its own.
    if path.symlink_metadata().is_ok() {
        return Err(taken());
    }
    whole_file(path, text, |temp| {
        temp.persist_noclobber(path).map_err(|error| error.error)
    })
    .map_err(|error| match error {
        Error::Io { source, .. } if source.kind() == ErrorKind::AlreadyExists => taken(),
        other => other,
    })
}

/// A key that appears whole or not at all: half a key file would keep every later run
/// from making one. The file is its owner's alone from the first.
fn whole_file(
    path: &Path,
    text: &str,
    settle: impl FnOnce(NamedTempFile) -> io::Result<File>,
) -> Result<()> {
    let dir = folder_of(path);
    let mut temp = tempfile::Builder::new()
        .prefix(".dtar-key-")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(dir)
        .map_err(Error::io("make a file in", dir))?;
    temp.write_all(text.as_bytes())
        .and_then(|()| temp.as_file().sync_all())
        .map_err(Error::io("write the key", path))?;
    settle(temp).map_err(Error::io("write the key", path))?;
    atomic::sync_dir(dir)
}

/// Makes the name of a key file durable, before something depends on the key: whoever
/// made it may have been cut off before he did.
///
/// # Errors
/// [`Error::Io`]; but a folder in which this user can make nothing is no fault.
pub fn settle(path: &Path) -> Result<()> {
    match atomic::sync_dir(folder_of(path)) {
        Err(Error::Io { source, .. }) if atomic::is_foreign(&source) => Ok(()),
        result => result,
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    }
}

/// What is wrong with a key file, and what to do.
fn unreadable(path: &Path, error: KeyFileError) -> Error {
    match error.into_error(path) {
        Error::Refused {
            path,
            message,
            exit,
        } => Error::Refused {
            path,
            message: format!(
                "{message}; name the right key file with --key FILE or DTAR_KEY, or bring back \
                 a copy of this one"
            ),
            exit,
        },
        other => other,
    }
}

fn refused(path: &Path, message: &str) -> Error {
    Error::Refused {
        path: path.to_owned(),
        message: message.to_owned(),
        exit: Exit::Failed,
    }
}
