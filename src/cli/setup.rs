//! Finds store, key and catalog, and makes them on first use.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::args::GlobalArgs;
use super::say::Say;
use dtar::archive::Monitor;
use dtar::container::Shelf;
use dtar::crypto::{Key, PutKeys};
use dtar::error::{Error, Exit, Result};
use dtar::id::Epoch;
use dtar::index::{IndexFile, Trailer};
use dtar::key_file;
use dtar::restore::{Tocs, is_sealed_with};
use dtar::snapshot::Selector;
use dtar::store::catalog::{Catalog, Unentered};
use dtar::store::last_run::LastRun;
use dtar::store::layout::{Layout, RunName};
use dtar::store::{Store, places, runs};

/// Where the store is or will be.
pub fn store_path(global: &GlobalArgs) -> Result<PathBuf> {
    let Some(path) = &global.store else {
        return places::default_store();
    };
    if path.starts_with("s3:") {
        return Err(Error::Usage(format!(
            "{}: only `dtar restore` reads from an object store; archive into a folder and push \
             it there with `dtar push`, or bring what is there here with `dtar sync`",
            path.display()
        )));
    }
    Ok(path.clone())
}

/// Where the key is or will be.
pub fn key_path(global: &GlobalArgs) -> Result<PathBuf> {
    global.key.clone().map_or_else(places::default_key, Ok)
}

/// The key in use.
pub fn key(global: &GlobalArgs) -> Result<Key> {
    let path = key_path(global)?;
    if !exists(&path)? {
        return Err(Error::Refused {
            path,
            message: "no key here: name the key file with --key FILE or DTAR_KEY, \
                      or make a new one with `dtar key new`"
                .into(),
            exit: Exit::Failed,
        });
    }
    key_file::load(&path, &mut ask_passphrase)
}

/// The store and key in use, which must both be there.
pub fn open(global: &GlobalArgs) -> Result<(Store, Key)> {
    let key = key(global)?;
    let store = Store::open(&store_path(global)?, &key)?;
    Ok((store, key))
}

/// Refuses a put key where content is to be read.
pub fn require_secret(global: &GlobalArgs, key: &Key) -> Result<()> {
    if !key.is_put_key() {
        return Ok(());
    }
    Err(Error::Refused {
        path: key_path(global)?,
        message: "this is a put key: it can archive, but not read; name the secret key that it \
                  was made from with --key FILE or DTAR_KEY"
            .into(),
        exit: Exit::Failed,
    })
}

/// The snapshot that is meant by `@…`; `None` for what is the name of a file.
pub fn selector_of(path: &Path) -> Result<Option<Selector>> {
    let text = path.to_str().filter(|text| Selector::is_meant(text));
    text.map(selector).transpose()
}

/// The run in the store that is meant by `text`, which begins with `@`.
pub fn selector(text: &str) -> Result<Selector> {
    text.parse().map_err(|error| {
        Error::Usage(format!(
            "{text}: {error}; or @latest, @2 (the one before it), @label:TEXT, @host:NAME, or the \
             start of a name of `dtar snapshots --json`. A file of such a name is ./{text}"
        ))
    })
}

/// Refuses an index whose seal the key in use cannot check.
pub fn not_the_own_key(index: &IndexFile, trailer: &Trailer, key: &Key) -> Error {
    Error::Refused {
        path: index.path().to_owned(),
        message: format!(
            "wrong key: the index is sealed with key {}, its store's own, but the key in use is \
             {}; give the right one with --key. If this is one of the store's further \
             recipients, such as a key in escrow, use --unauthenticated",
            trailer.summary.key_id,
            key.key_id(),
        ),
        exit: Exit::Failed,
    }
}

/// Refuses an index of the store in `path` that names another key as that store's own,
/// although `store.toml` proves that it is `key`: somebody wants its seal not to be
/// looked at.
pub fn refuse_disowned(index: &IndexFile, trailer: &Trailer, path: &Path, key: &Key) -> Result<()> {
    match Store::open(path, key) {
        Ok(store) if *store.id() == trailer.summary.store_id => Err(Error::Refused {
            path: index.path().to_owned(),
            message: format!(
                "index altered: it names {} as the own key of its store, but that is {}, the \
                 key in use; nothing in it can be trusted. Take another copy of the index",
                trailer.summary.key_id,
                key.key_id(),
            ),
            exit: Exit::Damaged,
        }),
        _ => Ok(()),
    }
}

/// The store and key in use; makes them if this is their first use.
pub fn open_or_make(global: &GlobalArgs, say: Say) -> Result<(Store, Key)> {
    let path = store_path(global)?;
    if !is_vacant(&path)? {
        return open(global);
    }
    make(global, say, &[]).or_else(|error| {
        // Another first run may have been faster. Then this one found key or store there.
        let is_late = match &error {
            Error::Refused { .. } => true,
            Error::Io { source, .. } => source.kind() == io::ErrorKind::AlreadyExists,
            _ => false,
        };
        if is_late && wait_for_store(&path) {
            open(global)
        } else {
            Err(error)
        }
    })
}

/// Whether a store stands at `path`, perhaps one that is being made at this moment.
fn wait_for_store(path: &Path) -> bool {
    const TRIES: u32 = 20;
    let config = path.join("store.toml");
    (0..TRIES).any(|_| {
        let stands = config.exists();
        if !stands {
            thread::sleep(Duration::from_millis(50));
        }
        stands
    })
}

/// Makes a store, and a key if there is none yet.
pub fn make(
    global: &GlobalArgs,
    say: Say,
    recipients: &[dtar::crypto::PublicKey],
) -> Result<(Store, Key)> {
    let path = store_path(global)?;
    let key_path = key_path(global)?;
    let key = if exists(&key_path)? {
        let key = key_file::load(&key_path, &mut ask_passphrase)?;
        key_file::settle(&key_path)?;
        key
    } else {
        let key = Key::generate()?;
        key_file::create(&key_path, &key)?;
        say.note(&format!(
            "made a key, {}: keep a copy of it in a safe place. Without it nothing can be \
             restored, by anyone (`dtar key show --secret` prints it for paper)",
            key_path.display()
        ));
        key
    };
    let store = Store::create(&path, &key, recipients, Epoch::FIRST)?;
    say.note(&format!("made a store, {}", path.display()));
    Ok((store, key))
}

/// Whether nothing stands at `path`, or an empty folder, or what is left of a
/// first run that was interrupted before it had made the store.
fn is_vacant(path: &Path) -> Result<bool> {
    let layout = Layout::new(path);
    match path.read_dir() {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(Error::io("list", path))?;
                if !dtar::store::is_left_of_making(&layout, &entry.path())? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(Error::Refused {
            path: path.to_owned(),
            message: "not a dtar store: expected a folder, found something else; name the \
                      store with --store DIR or DTAR_STORE"
                .into(),
            exit: Exit::Failed,
        }),
        Err(error) => Err(Error::io("open the store", path)(error)),
    }
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists().map_err(Error::io("look for", path))
}

/// Whether a key stands where it should.
pub fn has_key(global: &GlobalArgs) -> Result<bool> {
    exists(&key_path(global)?)
}

/// Removes what is left of runs that are gone, and says whose they were, and which of
/// them have left roots.
pub fn clean_up(say: Say, store: &Store, keys: &PutKeys) -> Result<()> {
    let ended = runs::clean_up(store, keys)?;
    for (_, lease) in &ended {
        say.note(&format!(
            "removed what was left of a run on {} that was cut off",
            String::from_utf8_lossy(&lease.host)
        ));
    }
    if ended.is_empty() {
        return Ok(());
    }
    let layout = store.layout();
    for run in layout.runs()? {
        // One that does not open is for verify to report.
        let Ok(root) = store.read_root(keys, &layout.root_path(&run), run.time) else {
            continue;
        };
        if ended.iter().any(|(_, lease)| lease.writer == root.writer) {
            warn_root_of_ended(say, &run);
        }
    }
    Ok(())
}

/// Says that a run that was cut off was so far that it has left a root.
pub fn warn_root_of_ended(say: Say, run: &RunName) {
    say.warn(&format!(
        "a run that was cut off has left a root: if there is no index of it, give it up with \
         `dtar forget @{run}`"
    ));
}

/// The TOCs that are at hand of the store of an index, if `key` opens them.
pub fn tocs(
    trailer: &Trailer,
    key: &Key,
    layout: &Layout,
    bricks_in: &[PathBuf],
    shelf: &Arc<Shelf>,
) -> Result<Option<Tocs>> {
    if !is_sealed_with(trailer, key) {
        return Ok(None);
    }
    let keys = key.put_keys(trailer.summary.store_id, trailer.summary.epoch)?;
    Ok(Some(Tocs::new(layout, bricks_in, Arc::clone(shelf), keys)))
}

/// What is remembered of the last run from here; nothing, if there is no place for it.
pub fn last_run(global: &GlobalArgs, store: &Store) -> Option<LastRun> {
    Some(LastRun::new(&catalog_dir(global).ok()?, store))
}

/// Warns if the last root that was written from here is gone.
pub fn warn_if_set_back(global: &GlobalArgs, say: Say, store: &Store) -> Result<()> {
    let last = last_run(global, store);
    if let Some(run) = last.map(|last| last.missing()).transpose()?.flatten() {
        say.warn(&format!(
            "{} is gone, which the last run from here wrote: unless somebody has given it up with \
             `dtar forget`, this store is not as that run left it, but an older copy perhaps, and \
             newer runs of others may be missing too",
            store.layout().root_path(&run).display()
        ));
    }
    Ok(())
}

/// The catalog, brought up to date. Damaged sidecars are warned about.
pub fn catalog(global: &GlobalArgs, say: Say, store: &Store, keys: &PutKeys) -> Result<Catalog> {
    let dir = catalog_dir(global)?;
    let (catalog, report) = Catalog::open(&dir, store, keys)?;
    if let Some(why) = &report.rebuilt {
        say.note(&format!(
            "the catalog in {} was of no use ({why}) and is made anew from the store",
            dir.display()
        ));
    }
    if let Some(unentered) = &report.unentered {
        warn_unentered(global, say, unentered)?;
    }
    if report.newly_vanished > 0 {
        let one = report.newly_vanished == 1;
        say.note(&format!(
            "{}: {} brick{} no sidecar any more, because of a gc or a loss; what {} is stored \
             again where it is needed: if it was a loss, bring the sidecar{} back to prevent that",
            store.layout().tocs_dir().display(),
            report.newly_vanished,
            if one { " has" } else { "s have" },
            if one { "it held" } else { "they held" },
            if one { "" } else { "s" },
        ));
    }
    warn_unsealed(say, &report.unsealed);
    for (path, reason) in &report.damaged {
        say.warn(&format!(
            "{}: {reason}; its brick is left out of deduplication: bring back a copy of this \
             sidecar",
            path.display()
        ));
    }
    Ok(catalog)
}

/// Says which marks of damage count although no holder of a key has made them.
pub fn warn_unsealed(say: Say, marks: &[PathBuf]) {
    if let Some(path) = marks.first() {
        say.warn(&format!(
            "{}: this mark of damage{} not sealed: set without a key, or by somebody else; what \
             it marks is stored again where it is needed: `dtar verify` takes it away if the \
             brick is whole",
            path.display(),
            match marks.len() {
                1 => " is".to_owned(),
                count => format!(" and {} more are", count - 1),
            }
        ));
    }
}

/// The folder of catalogs.
pub fn catalog_dir(global: &GlobalArgs) -> Result<PathBuf> {
    let dir = global.catalog.clone();
    dir.map_or_else(places::default_catalog, Ok)
}

/// Says that the catalog has no room: nothing is lost, but chunks may be stored again.
pub fn warn_unentered(global: &GlobalArgs, say: Say, unentered: &Unentered) -> Result<()> {
    let dir = catalog_dir(global)?;
    let (dir, reason) = (dir.display(), &unentered.reason);
    let remedy = "make room there, or move it with --catalog DIR";
    say.warn(&match unentered.bricks {
        0 => format!("the catalog in {dir} cannot be put in order ({reason}): {remedy}"),
        1 => format!(
            "the catalog in {dir} could not take in a brick ({reason}); until it has, what the \
             brick holds may be stored again: {remedy}"
        ),
        bricks => format!(
            "the catalog in {dir} could not take in {bricks} bricks ({reason}); until it has, \
             what they hold may be stored again: {remedy}"
        ),
    });
    Ok(())
}

/// Asks for a passphrase: `DTAR_PASSPHRASE`, or on the terminal.
pub fn ask_passphrase(path: &Path) -> Result<zeroize::Zeroizing<String>> {
    if let Ok(passphrase) = std::env::var("DTAR_PASSPHRASE") {
        return Ok(zeroize::Zeroizing::new(passphrase));
    }
    let prompt = format!("Passphrase for {}: ", path.display());
    rpassword::prompt_password(prompt)
        .map(zeroize::Zeroizing::new)
        .map_err(|source| Error::Refused {
            path: path.to_owned(),
            message: format!(
                "the key needs its passphrase, and there is no terminal to ask on ({source}); \
                 set DTAR_PASSPHRASE"
            ),
            exit: Exit::Failed,
        })
}

/// Standard input, without the lock and the buffer that Rust puts around it.
pub fn input() -> impl Read + Send + 'static {
    let input = io::stdin();
    // A larger pipe means fewer switches between the two programs; not every
    // input is a pipe, and not every user may have one as large.
    let _ = rustix::pipe::fcntl_setpipe_size(&input, 1 << 20);
    raw(input.as_fd()).unwrap_or_else(|| Box::new(io::stdin()))
}

fn raw(fd: std::os::fd::BorrowedFd<'_>) -> Option<Box<dyn Read + Send>> {
    let fd = fd.try_clone_to_owned().ok()?;
    Some(Box::new(File::from(fd)))
}

/// Standard output, without the line buffer that Rust puts around it.
pub fn output() -> Result<File> {
    io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .map(File::from)
        .map_err(Error::io("write to", "standard output"))
}

/// How long a run may take to stop by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Asks the run to stop at Ctrl-C, and when the system asks to end. A run that
/// cannot look, since it waits for whoever reads its output, ends at the second
/// signal, or after [`GRACE`] without one: what is half written has no name yet,
/// and the next run removes it.
pub fn stop_on_signals(monitor: &Arc<Monitor>, say: Say) -> Result<()> {
    let monitor = Arc::clone(monitor);
    let end = move || {
        say.error(&Error::Interrupted);
        std::process::exit(Exit::Interrupted as i32);
    };
    ctrlc::set_handler(move || {
        if monitor.check().is_err() {
            end();
        }
        monitor.stop();
        // Without this thread it takes the second signal.
        let _ = thread::Builder::new().spawn(move || {
            thread::sleep(GRACE);
            end();
        });
    })
    .map_err(|error| Error::Internal(format!("cannot handle signals: {error}")))
}
