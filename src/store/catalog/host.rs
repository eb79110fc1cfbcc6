//! Where a catalog may lie: on a file system of this host only.

use std::path::Path;

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
}
