//! What is known of this host: which file systems it shares, and when it was started.

use std::path::Path;

use crate::{Error, Result};

/// The name of the network file system on which `dir` lies, if it is one: locks and
/// memory maps hold within one host only there.
///
/// # Errors
/// [`Error::Io`] if `dir` cannot be examined.
#[cfg(target_os = "linux")]
pub(super) fn network_name(dir: &Path) -> Result<Option<&'static str>> {
    Ok(name_of(magic(dir)?))
}

/// Whether other hosts may see the file system on which `dir` lies: their locks may not
/// show here then.
///
/// # Errors
/// [`Error::Io`] if `dir` cannot be examined.
#[cfg(target_os = "linux")]
pub(super) fn may_be_shared(dir: &Path) -> Result<bool> {
    /// Of FUSE and virtiofs, and of 9P: some are shared, and none says which.
    const OTHERS: [u32; 2] = [0x6573_5546, 0x0102_1997];
    let magic = magic(dir)?;
    Ok(name_of(magic).is_some() || OTHERS.contains(&magic))
}

#[cfg(target_os = "linux")]
fn magic(dir: &Path) -> Result<u32> {
    let kind = rustix::fs::statfs(dir)
        .map_err(|error| Error::io("examine the file system of", dir)(error.into()))?
        .f_type;
    // The kernel's magic numbers have 32 bits; the field's width and sign differ by platform.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the low 32 bits are the magic number on every platform"
    )]
    Ok(kind as u32)
}

/// Elsewhere the kinds of file system have no common numbers.
#[cfg(not(target_os = "linux"))]
pub(super) fn network_name(_dir: &Path) -> Result<Option<&'static str>> {
    Ok(None)
}

/// Elsewhere any may be.
#[cfg(not(target_os = "linux"))]
pub(super) fn may_be_shared(_dir: &Path) -> Result<bool> {
    Ok(true)
}

/// The name of a network file system: statfs(2), linux/magic.h, and for Lustre
/// and GPFS their own headers.
const fn name_of(magic: u32) -> Option<&'static str> {
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

/// What tells this start of the machine from others; empty if there is nothing.
pub(super) fn boot_id() -> Vec<u8> {
    let id = std::fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = id.trim_ascii();
    id[..id.len().min(crate::format::note::MAX_BOOT_ID_LENGTH)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_name() {
        assert_eq!(name_of(0x6969), Some("NFS"));
        assert_eq!(name_of(0xff53_4d42), Some("CIFS"));
        assert_eq!(name_of(0xef53), None, "ext4 is local");
    }
}
