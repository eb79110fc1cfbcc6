//! What must hold before a file is mapped: it lies on a local file system,
//! and it is as long as it says.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::fault::{Fault, Step};
use crate::error::Exit;
use crate::{Error, Result};

/// Refuses a folder on a file system that hosts share: LMDB's locks and its
/// memory map hold within one host only.
#[cfg(target_os = "linux")]
pub(super) fn refuse_network(dir: &Path) -> Result<()> {
    let kind = rustix::fs::statfs(dir)
        .map_err(|error| Error::io("examine the file system of", dir)(error.into()))?
        .f_type;
    // The kernel's magic numbers have 32 bits; the field's width and sign differ by platform.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the low 32 bits are the magic number on every platform"
    )]
    match network_name(kind as u32) {
        Some(name) => Err(refused(dir, name)),
        None => Ok(()),
    }
}

/// Elsewhere the kinds of file system have no common numbers.
#[cfg(not(target_os = "linux"))]
pub(super) fn refuse_network(_dir: &Path) -> Result<()> {
    Ok(())
}

fn refused(dir: &Path, name: &str) -> Error {
    Error::Refused {
        path: dir.to_owned(),
        message: format!(
            "the catalog cannot lie on a network file system ({name}); name a local folder with --catalog DIR"
        ),
        exit: Exit::Failed,
    }
}

/// The name of a network file system: statfs(2), linux/magic.h, and for Lustre
/// and GPFS their own headers.
const fn network_name(magic: u32) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "NFS",
        0x517b => "SMB",
        0xff53_4d42 => "CIFS",
        0xfe53_4d42 => "SMB2",
        0x5346_414f | 0x6b41_4653 => "AFS",
        0x00c3_6400 => "Ceph",
        0x0bd0_0bd0 => "Lustre",
        0x4750_4653 => "GPFS",
        _ => return None,
    })
}

const WORD: usize = size_of::<usize>();
/// `MDB_page`: page number (a word), padding and flags (`u16` each), eight more bytes
/// on 64-bit hosts and four on others.
const PAGE_HEADER: usize = WORD + 8;
/// `MDB_db`: padding `u32`, flags and depth (`u16` each), five words; the last is the root page.
const TABLE: usize = 8 + 5 * WORD;
/// `MDB_meta`: magic and version (`u32` each), address, map size, two tables, last page, transaction.
const META: usize = 8 + 2 * WORD + 2 * TABLE + 2 * WORD;
const MAGIC: u32 = 0xbeef_c0de;

/// Checks that a data file of LMDB covers its last used page, for reading a
/// page that is not there would kill the process. An empty or missing file is
/// good: LMDB begins anew.
///
/// LMDB may leave out final pages that are on the free list; such a file is
/// taken for damaged, too, which costs time only.
pub(super) fn check_data_file(path: &Path) -> Step<()> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("open", path)(error).into()),
    };
    let read = |error| Fault::Other(Error::io("read", path)(error));
    let length = file.metadata().map_err(read)?.len();
    if length == 0 {
        return Ok(());
    }
    let mut page_size = 0;
    for number in 0..2 {
        let mut page = [0; PAGE_HEADER + META];
        match file.read_exact_at(&mut page, page_size * number) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Fault::Corrupt("cut short"));
            }
            result => result.map_err(read)?,
        }
        page_size = check_meta(&page[PAGE_HEADER..], length)?;
    }
    Ok(())
}

/// Checks one of the two meta pages, and returns the page size.
fn check_meta(meta: &[u8], length: u64) -> Step<u64> {
    let tables = 8 + 2 * WORD;
    if number::<4>(meta, 0) != u64::from(MAGIC) {
        return Err(Fault::Corrupt("not a catalog"));
    }
    let page_size = number::<4>(meta, tables);
    if !page_size.is_power_of_two() || !(256..=65_536).contains(&page_size) {
        return Err(Fault::Corrupt("impossible page size"));
    }
    let last_page = number::<WORD>(meta, tables + 2 * TABLE);
    let roots = [1, 2].map(|table| number::<WORD>(meta, tables + table * TABLE - WORD));
    // A table without entries has the root -1.
    if roots
        .iter()
        .any(|&root| root > last_page && root != usize::MAX as u64)
    {
        return Err(Fault::Corrupt("a root page beyond the last"));
    }
    match last_page
        .checked_add(1)
        .and_then(|pages| pages.checked_mul(page_size))
    {
        Some(needed) if needed <= length => Ok(page_size),
        _ => Err(Fault::Corrupt("cut short")),
    }
}

/// The number of `SIZE` bytes at `offset`, in the host's byte order; 0 beyond the end.
fn number<const SIZE: usize>(bytes: &[u8], offset: usize) -> u64 {
    let field = bytes.get(offset..offset + SIZE).unwrap_or_default();
    let mut wide = [0; 8];
    for (to, from) in wide.iter_mut().zip(field.iter()) {
        *to = *from;
    }
    if cfg!(target_endian = "big") {
        u64::from_be_bytes(wide) >> (8 * (8 - SIZE))
    } else {
        u64::from_le_bytes(wide)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_name() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xff53_4d42), Some("CIFS"));
        assert_eq!(network_name(0xef53), None, "ext4 is local");
        let text = refused(Path::new("/c"), "NFS").to_string();
        assert!(
            text.contains("NFS") && text.contains("--catalog DIR"),
            "{text}"
        );
    }

    #[test]
    fn a_local_folder_is_accepted() {
        let dir = tempfile::tempdir().unwrap();
        refuse_network(dir.path()).unwrap();
    }

    #[test]
    fn a_missing_or_empty_file_is_good() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.mdb");
        check_data_file(&path).unwrap();
        std::fs::write(&path, b"").unwrap();
        check_data_file(&path).unwrap();
    }
}
