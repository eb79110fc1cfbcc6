//! Where a catalog may lie: on a file system of this host only.

use std::path::Path;

use crate::error::Exit;
use crate::store::host;
use crate::{Error, Result};

/// Refuses a folder on a file system that hosts share: LMDB's locks and its
/// memory map hold within one host only.
pub(super) fn refuse_network(dir: &Path) -> Result<()> {
    match host::network_name(dir)? {
        Some(name) => Err(refused(dir, name)),
        None => Ok(()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do() {
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
