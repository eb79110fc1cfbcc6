//! The digits of times in pax records (`formats/snapshot.md#pax-times`): they change often,
//! and what is around them hardly ever.

use super::Stream;

/// What stands before a time, and the stream that takes its digits.
const KEYS: [(&[u8], Stream); 3] = [
    (b" mtime", Stream::Times),
    (b" atime", Stream::Accesses),
    (b" ctime", Stream::Changes),
];

/// Calls `each` with each digit of a time in `block`, the stream that takes it first.
///
/// Which bytes these are does not depend on their values, if they stay digits.
pub(super) fn digits<E>(
    block: &mut [u8],
    mut each: impl FnMut(Stream, &mut u8) -> Result<(), E>,
) -> Result<(), E> {
    let mut at = 0;
    while let Some(equals) = block[at..].iter().position(|&byte| byte == b'=') {
        let (before, value) = block.split_at_mut(at + equals + 1);
        at += equals + 1;
        let key = &before[..before.len() - 1];
        let Some((_, stream)) = KEYS.iter().find(|(known, _)| key.ends_with(known)) else {
            continue;
        };
        for byte in value {
            match byte {
                b'0'..=b'9' => each(*stream, byte)?,
                b'.' => {}
                _ => break,
            }
            at += 1;
        }
    }
    Ok(())
}
