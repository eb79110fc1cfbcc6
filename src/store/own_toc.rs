//! The table of contents in a brick itself: for where its sidecar is missing.

use std::io::ErrorKind;
use std::path::Path;

use crate::brick::open_brick_toc;
use crate::crypto::PutKeys;
use crate::error::{Error, Exit, Result};
use crate::format::brick::{BrickHeader, FOOTER_LENGTH, Footer, HEADER_LENGTH};
use crate::format::toc::Toc;
use crate::store::ReadAt;

/// Header and table of contents of the brick in `file`. `buffer` is overwritten.
///
/// # Errors
/// [`Error::Io`]; a brick that is cut short; header, footer or table that are damaged or
/// of another store.
pub fn read_own_toc(
    file: &impl ReadAt,
    path: &Path,
    keys: &PutKeys,
    buffer: &mut Vec<u8>,
) -> Result<(BrickHeader, Toc)> {
    let length = file.length().map_err(Error::io("read", path))?;
    let end = length.saturating_sub(FOOTER_LENGTH as u64);
    let mut footer = [0; FOOTER_LENGTH];
    read_brick(file, path, end, &mut footer)?;
    let footer = Footer::decode(&footer, length).map_err(Error::decode(path, end))?;
    let mut header = [0; HEADER_LENGTH];
    read_brick(file, path, 0, &mut header)?;
    let header = BrickHeader::decode(&header).map_err(Error::decode(path, 0))?;
    let toc_length = footer
        .require_toc_length()
        .map_err(Error::decode(path, end))?;
    buffer.resize(toc_length, 0);
    read_brick(file, path, footer.toc_offset, buffer)?;
    let toc = open_brick_toc(keys, &header, buffer, &footer)
        .map_err(Error::decode(path, footer.toc_offset))?;
    Ok((header, toc))
}

/// Fills `bytes` from a brick; one that ends before is damaged.
///
/// # Errors
/// [`Error::Refused`] with [`Exit::Damaged`] if it is cut short; [`Error::Io`].
pub fn read_brick(file: &impl ReadAt, path: &Path, offset: u64, bytes: &mut [u8]) -> Result<()> {
    file.fill_from(offset, bytes).map_err(|error| {
        if error.kind() == ErrorKind::UnexpectedEof {
            let message = format!(
                "brick cut short: expected {} bytes from byte {offset} on; take another copy of \
                 this file",
                bytes.len()
            );
            return Error::Refused {
                path: path.to_owned(),
                message,
                exit: Exit::Damaged,
            };
        }
        Error::io("read", path)(error)
    })
}
