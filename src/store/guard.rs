//! What somebody else may have planted among the files of a store: links that lead out of
//! it, and what is no file (`formats/threat-model.md#planted-links-and-pipes`).

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use crate::error::{Error, Exit, Result};

/// Opens a file to read it. What is no regular file is refused: to open a pipe is to wait
/// for its writer, and a device may never end.
///
/// # Errors
/// Those of the system; of the kind [`io::ErrorKind::InvalidInput`] for what is no file.
pub fn open_file(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    let kind = io::ErrorKind::InvalidInput;
    Err(io::Error::new(kind, "it is no file"))
}

/// Refuses a folder of the store in `base` if it, or one above it in the store, is a
/// symbolic link: what is written or deleted through one may lie anywhere. `base` itself
/// may be a link. To be asked before each write and each deletion.
///
/// # Errors
/// [`Error::Refused`]; [`Error::Io`] if that cannot be told.
pub fn refuse_links(base: &Path, folder: &Path) -> Result<()> {
    for path in folder.ancestors().take_while(|path| *path != base) {
        if !path.starts_with(base) {
            break;
        }
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() => return Err(refused(path)),
            Err(error) if !super::is_missing(&error) => {
                return Err(Error::io("examine", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn refused(path: &Path) -> Error {
    Error::Refused {
        path: path.to_owned(),
        message: "a symbolic link, where a store has a folder: nothing is written or deleted \
                  through it, since it may lead anywhere; put a folder in its place"
            .into(),
        exit: Exit::Failed,
    }
}

/// As [`refuse_links`], for the folder in which `file` stands.
///
/// # Errors
/// As [`refuse_links`].
pub fn refuse_links_to(base: &Path, file: &Path) -> Result<()> {
    file.parent()
        .map_or(Ok(()), |folder| refuse_links(base, folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_behind_a_link_is_refused_but_not_a_store_behind_one() {
        let dir = tempfile::tempdir().unwrap();
        let (store, elsewhere) = (dir.path().join("store"), dir.path().join("elsewhere"));
        fs::create_dir_all(elsewhere.join("ab")).unwrap();
        fs::create_dir_all(store.join("tocs/ab")).unwrap();
        symlink(&elsewhere, store.join("bricks")).unwrap();
        symlink(&elsewhere, store.join("tocs/cd")).unwrap();
        symlink(&store, dir.path().join("link")).unwrap();
        for base in [store, dir.path().join("link")] {
            for folder in ["tocs/ab", "tocs/ef", "tocs", "meta/ab"] {
                refuse_links(&base, &base.join(folder)).unwrap();
            }
            for folder in ["bricks", "bricks/ab", "tocs/cd"] {
                let error = refuse_links(&base, &base.join(folder)).unwrap_err();
                assert!(error.to_string().contains("symbolic link"), "{error}");
            }
            refuse_links_to(&base, &base.join("bricks")).unwrap();
            refuse_links_to(&base, &base.join("bricks/x")).unwrap_err();
        }
    }

    #[test]
    fn only_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (file, pipe) = (dir.path().join("file"), dir.path().join("pipe"));
        fs::write(&file, b"x").unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        open_file(&file).unwrap();
        for other in [&pipe, dir.path(), Path::new("/dev/zero")] {
            let error = open_file(other).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        assert_eq!(
            open_file(&dir.path().join("none")).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
