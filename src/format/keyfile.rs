//! Key files: bech32m text and what it holds (`formats/keys.md#key-file`).

use std::fmt;
use std::path::Path;

use bech32::primitives::checksum::Checksum;
use bech32::primitives::decode::{CharError, UncheckedHrpstring, UncheckedHrpstringError};
use bech32::{Bech32m, Fe1024, Hrp};
use zeroize::Zeroizing;

use super::lock::{Inside, Locked};
use super::wire::DecodeError;
use crate::error::{Error, Exit};
use crate::id::{Epoch, StoreId};

/// The longest key file, in bytes.
pub const MAX_LENGTH: usize = 16 * 1024;

/// Bech32m without the limit on the length (BIP 350 has 90 characters, the crate
/// 1,023; a public key takes 1,967).
enum LongBech32m {}

impl Checksum for LongBech32m {
    type MidstateRepr = u32;
    type CorrectionField = Fe1024;
    const ROOT_GENERATOR: Fe1024 = Bech32m::ROOT_GENERATOR;
    const ROOT_EXPONENTS: std::ops::RangeInclusive<usize> = Bech32m::ROOT_EXPONENTS;
    const CODE_LENGTH: usize = MAX_LENGTH;
    const CHECKSUM_LENGTH: usize = Bech32m::CHECKSUM_LENGTH;
    const GENERATOR_SH: [u32; 5] = Bech32m::GENERATOR_SH;
    const TARGET_RESIDUE: u32 = Bech32m::TARGET_RESIDUE;
}

/// What a key string holds: its human-readable part says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A master secret.
    Secret,
    /// A put key.
    Put,
    /// A key under a passphrase.
    Locked,
    /// A public key.
    Public,
}

impl KeyKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Secret, Self::Put, Self::Locked, Self::Public];

    /// The human-readable part, in lower case.
    #[must_use]
    pub const fn readable_part(self) -> &'static str {
        match self {
            Self::Secret => "dtar-secret-key-",
            Self::Put => "dtar-put-key-",
            Self::Locked => "dtar-locked-key-",
            Self::Public => "dtar-public-key-",
        }
    }

    /// Length of the data in bytes. That of a locked key depends on what is inside,
    /// and [`Locked::decode`] checks it.
    const fn length(self) -> Option<usize> {
        match self {
            Self::Secret => Some(Inside::Secret.length()),
            Self::Put => Some(Inside::Put.length()),
            Self::Locked => None,
            Self::Public => Some(1216),
        }
    }

    fn hrp(self) -> Hrp {
        Hrp::parse_unchecked(self.readable_part())
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Secret => "a secret key",
            Self::Put => "a put key",
            Self::Locked => "a key under a passphrase",
            Self::Public => "a public key",
        })
    }
}

/// What is wrong with a key file or a key string. None of these shows any of its data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// Too long to be one.
    #[error("a key file has at most {MAX_LENGTH} bytes, this file has {found}")]
    TooLarge {
        /// Its length in bytes.
        found: u64,
    },
    /// Nothing but comments and empty lines.
    #[error("no key in it: expected one line that begins with DTAR-SECRET-KEY- or the like")]
    NoKey,
    /// More than one key.
    #[error("a second key in line {line}: keep one key in a file")]
    SecondKey {
        /// Its line, counted from 1.
        line: usize,
    },
    /// Not a bech32 string.
    #[error("not a key: {reason}; expected a line that begins with DTAR-SECRET-KEY- or the like")]
    NotAKey {
        /// Why not.
        reason: &'static str,
    },
    /// Upper and lower case.
    #[error("the key is in mixed case: write it all in upper or all in lower case")]
    MixedCase,
    /// Damaged, or mistyped.
    #[error("the key's checksum does not match: a character is wrong, missing or too many")]
    Checksum,
    /// Another human-readable part.
    #[error(
        "unknown kind of key {found:?}; this dtar knows dtar-secret-key-, dtar-put-key-, dtar-locked-key-, dtar-public-key-"
    )]
    UnknownKind {
        /// The human-readable part.
        found: String,
    },
    /// The wrong number of bytes.
    #[error("{kind} has {expected} bytes, this one {found}")]
    Length {
        /// What it is.
        kind: KeyKind,
        /// How many bytes that has.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A good key of a kind that does not do here.
    #[error("expected {expected}, found {found}")]
    OtherKind {
        /// The kind that is wanted.
        expected: KeyKind,
        /// The kind that it is.
        found: KeyKind,
    },
    /// A put key of epoch 0, which is none.
    #[error("the put key is for epoch 0; epochs begin with 1")]
    EpochZero,
    /// A public key that is none.
    #[error("the public key is not a valid X-Wing key")]
    InvalidPublicKey,
    /// The container of a key under a passphrase is not right.
    #[error("{0}")]
    Locked(DecodeError),
    /// Others can read it.
    #[error("others may read or write this key file (mode {mode:04o}); run `chmod 600` on it")]
    Mode {
        /// Its mode bits.
        mode: u32,
    },
}

impl KeyFileError {
    /// The error of the library that says this about a file.
    #[must_use]
    pub fn into_error(self, path: &Path) -> Error {
        let exit = match self {
            Self::Checksum => Exit::Damaged,
            _ => Exit::Failed,
        };
        match self {
            Self::Locked(source) => Error::Decode {
                path: path.to_owned(),
                source,
            },
            other => Error::Refused {
                path: path.to_owned(),
                message: other.to_string(),
                exit,
            },
        }
    }
}

/// Refuses the mode of a file that holds a secret, if group or others have any access.
///
/// # Errors
/// [`KeyFileError::Mode`].
pub const fn check_mode(mode: u32) -> Result<(), KeyFileError> {
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Mode {
            mode: mode & 0o7777,
        });
    }
    Ok(())
}

/// What a key file holds.
pub enum KeyMaterial {
    /// A secret key.
    Secret {
        /// The master secret.
        master: Zeroizing<[u8; 32]>,
    },
    /// A put key.
    Put {
        /// The store that it serves.
        store_id: StoreId,
        /// The epoch of the put secret.
        epoch: Epoch,
        /// The put secret.
        put_secret: Zeroizing<[u8; 32]>,
        /// The gear key, the same for all stores of the secret key.
        gear_key: Zeroizing<[u8; 32]>,
        /// BLAKE3-256 of the store's own public key.
        public_key_hash: [u8; 32],
        /// BLAKE3-256 of all public keys of the store, its own first.
        recipients_hash: [u8; 32],
    },
    /// A key under a passphrase.
    Locked(Locked),
    /// A public key.
    Public(Box<[u8; 1216]>),
}

impl KeyMaterial {
    /// Reads the bytes of a key file.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(file: &[u8]) -> Result<Self, KeyFileError> {
        let (kind, data) = decode_line(only_line(file)?)?;
        match kind {
            KeyKind::Secret => Self::decode_inside(Inside::Secret, &data),
            KeyKind::Put => Self::decode_inside(Inside::Put, &data),
            KeyKind::Locked => {
                let locked = Locked::decode(&data).map_err(KeyFileError::Locked)?;
                Ok(Self::Locked(locked))
            }
            KeyKind::Public => match <[u8; 1216]>::try_from(data.as_slice()) {
                Ok(bytes) => Ok(Self::Public(Box::new(bytes))),
                Err(_) => Err(KeyFileError::NoKey),
            },
        }
    }

    /// Reads the data of a secret key or a put key.
    ///
    /// # Errors
    /// [`KeyFileError::Length`]; [`KeyFileError::EpochZero`].
    pub fn decode_inside(inside: Inside, data: &[u8]) -> Result<Self, KeyFileError> {
        let (kind, material) = match inside {
            Inside::Secret => (KeyKind::Secret, Self::decode_secret(data)),
            Inside::Put => (KeyKind::Put, Self::decode_put(data)),
        };
        match material {
            Some(Self::Put {
                epoch: Epoch(0), ..
            }) => Err(KeyFileError::EpochZero),
            Some(material) => Ok(material),
            None => Err(KeyFileError::Length {
                kind,
                expected: inside.length(),
                found: data.len(),
            }),
        }
    }

    fn decode_secret(data: &[u8]) -> Option<Self> {
        let master = copy_secret(data)?;
        Some(Self::Secret { master })
    }

    fn decode_put(data: &[u8]) -> Option<Self> {
        let (store_id, rest) = data.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (put_secret, rest) = rest.split_at_checked(32)?;
        let (gear_key, rest) = rest.split_at_checked(32)?;
        let (public_key_hash, recipients_hash) = rest.split_first_chunk()?;
        Some(Self::Put {
            store_id: StoreId(*store_id),
            epoch: Epoch(u32::from_le_bytes(*epoch)),
            put_secret: copy_secret(put_secret)?,
            gear_key: copy_secret(gear_key)?,
            public_key_hash: *public_key_hash,
            recipients_hash: recipients_hash.try_into().ok()?,
        })
    }

    /// The data of a secret key or a put key; `None` for the other kinds.
    #[must_use]
    pub fn inside(&self) -> Option<(Inside, Zeroizing<Vec<u8>>)> {
        let mut data = Zeroizing::new(Vec::with_capacity(Inside::Put.length()));
        let inside = match self {
            Self::Secret { master } => {
                data.extend_from_slice(master.as_slice());
                Inside::Secret
            }
            Self::Put {
                store_id,
                epoch,
                put_secret,
                gear_key,
                public_key_hash,
                recipients_hash,
            } => {
                data.extend_from_slice(store_id.as_bytes());
                data.extend_from_slice(&epoch.0.to_le_bytes());
                data.extend_from_slice(put_secret.as_slice());
                data.extend_from_slice(gear_key.as_slice());
                data.extend_from_slice(public_key_hash);
                data.extend_from_slice(recipients_hash);
                Inside::Put
            }
            Self::Locked(_) | Self::Public(_) => return None,
        };
        Some((inside, data))
    }

    /// The one line of the key file, in upper case, without newline.
    #[must_use]
    pub fn encode(&self) -> Zeroizing<String> {
        match (self, self.inside()) {
            (Self::Locked(locked), _) => encode_upper(KeyKind::Locked, locked.as_bytes()),
            (Self::Public(bytes), _) => encode_upper(KeyKind::Public, bytes.as_slice()),
            (Self::Put { .. }, Some((_, data))) => encode_upper(KeyKind::Put, &data),
            (_, data) => encode_upper(
                KeyKind::Secret,
                &data.map(|(_, data)| data).unwrap_or_default(),
            ),
        }
    }
}

fn copy_secret(bytes: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    bytes.try_into().ok().map(Zeroizing::new)
}

/// The only line of a key file that is neither empty nor a comment.
fn only_line(file: &[u8]) -> Result<&str, KeyFileError> {
    if file.len() > MAX_LENGTH {
        return Err(KeyFileError::TooLarge {
            found: file.len() as u64,
        });
    }
    let mut lines = file
        .split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with(b"#"));
    let (_, only) = lines.next().ok_or(KeyFileError::NoKey)?;
    if let Some((index, _)) = lines.next() {
        return Err(KeyFileError::SecondKey { line: index + 1 });
    }
    std::str::from_utf8(only).map_err(|_| KeyFileError::NotAKey {
        reason: "it is not text",
    })
}

/// Reads one key string: its kind, and its data.
///
/// # Errors
/// Says what is wrong with it.
pub fn decode_line(line: &str) -> Result<(KeyKind, Zeroizing<Vec<u8>>), KeyFileError> {
    let string = UncheckedHrpstring::new(line).map_err(|error| match error {
        UncheckedHrpstringError::Char(CharError::MixedCase) => KeyFileError::MixedCase,
        UncheckedHrpstringError::Char(CharError::InvalidChar(_)) => KeyFileError::NotAKey {
            reason: "a character in it is in no key",
        },
        _ => KeyFileError::NotAKey {
            reason: "it has no human-readable part",
        },
    })?;
    let found = string.hrp().as_str().to_ascii_lowercase();
    let checked = string
        .validate_and_remove_checksum::<LongBech32m>()
        .map_err(|_| KeyFileError::Checksum)?;
    let kind = KeyKind::ALL
        .into_iter()
        .find(|kind| kind.readable_part() == found)
        .ok_or(KeyFileError::UnknownKind { found })?;
    let mut data = Zeroizing::new(Vec::with_capacity(line.len()));
    data.extend(checked.byte_iter());
    let expected = kind.length().unwrap_or(data.len());
    // The last character may hold bits beyond the last byte. They are zero in what
    // encoding yields, and one key has one spelling.
    let same = encode_lower_secret(kind, &data).eq_ignore_ascii_case(line);
    if data.len() != expected || !same {
        return Err(KeyFileError::Length {
            kind,
            expected,
            found: data.len() + usize::from(data.len() == expected),
        });
    }
    Ok((kind, data))
}

/// One key string in lower case, for what is not secret.
#[must_use]
pub fn encode_lower(kind: KeyKind, data: &[u8]) -> String {
    std::mem::take(&mut *encode_lower_secret(kind, data))
}

fn encode_lower_secret(kind: KeyKind, data: &[u8]) -> Zeroizing<String> {
    let mut text = room_for(data);
    // Writing to a string cannot fail, and no key is longer than the code.
    let _ = bech32::encode_lower_to_fmt::<LongBech32m, _>(&mut *text, kind.hrp(), data);
    text
}

fn encode_upper(kind: KeyKind, data: &[u8]) -> Zeroizing<String> {
    let mut text = room_for(data);
    // As above.
    let _ = bech32::encode_upper_to_fmt::<LongBech32m, _>(&mut *text, kind.hrp(), data);
    text
}

/// A string that need not grow, which would leave copies of a secret behind.
fn room_for(data: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(String::with_capacity(2 * data.len() + 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Zeroizing<String> {
        encode_upper(KeyKind::Secret, &[0x5a; 32])
    }

    fn error(file: &[u8]) -> KeyFileError {
        KeyMaterial::decode(file).err().unwrap()
    }

    #[test]
    fn the_long_checksum_is_bech32m() {
        LongBech32m::sanity_check();
        let short = bech32::encode_upper::<Bech32m>(KeyKind::Secret.hrp(), &[0x5a; 32]).unwrap();
        assert_eq!(*secret(), short);
    }

    #[test]
    fn comments_and_empty_lines_are_ignored() {
        let text = [b"# a key\r\n\n", secret().as_bytes(), b"\r\n\n# \xff\n"].concat();
        assert!(matches!(
            KeyMaterial::decode(&text),
            Ok(KeyMaterial::Secret { master }) if *master == [0x5a; 32]
        ));
        assert!(KeyMaterial::decode(secret().to_ascii_lowercase().as_bytes()).is_ok());
    }

    #[test]
    fn every_fault_has_its_name() {
        let good = secret();
        assert_eq!(error(b"# nothing\n"), KeyFileError::NoKey);
        assert_eq!(
            error(format!("{}\n#\n{}\n", *good, *good).as_bytes()),
            KeyFileError::SecondKey { line: 3 }
        );
        assert_eq!(
            error(good.replace("DTAR", "dtar").as_bytes()),
            KeyFileError::MixedCase
        );
        assert!(matches!(
            error(&vec![b'#'; MAX_LENGTH + 1]),
            KeyFileError::TooLarge { .. }
        ));
        assert!(matches!(error(b"hello"), KeyFileError::NotAKey { .. }));
        assert!(matches!(error(b"\xff"), KeyFileError::NotAKey { .. }));
        let other = bech32::encode_upper::<Bech32m>(Hrp::parse("dtar-odd-key-").unwrap(), &[1; 32]);
        assert!(matches!(
            error(other.unwrap().as_bytes()),
            KeyFileError::UnknownKind { found } if found == "dtar-odd-key-"
        ));
        for length in [31, 33] {
            assert!(matches!(
                error(encode_upper(KeyKind::Secret, &vec![1; length]).as_bytes()),
                KeyFileError::Length { expected: 32, found, .. } if found == length
            ));
        }
    }

    #[test]
    fn every_wrong_character_is_noticed() {
        let good = secret();
        for index in KeyKind::Secret.readable_part().len() + 1..good.len() {
            let mut bad = good.as_bytes().to_vec();
            bad[index] = if bad[index] == b'Q' { b'P' } else { b'Q' };
            assert_eq!(error(&bad), KeyFileError::Checksum, "{index}");
        }
    }

    #[test]
    fn bits_beyond_the_last_byte_are_refused() {
        use bech32::primitives::iter::{ByteIterExt, Fe32IterExt};
        let hrp = KeyKind::Secret.hrp();
        let mut symbols: Vec<_> = [0x5a; 32].into_iter().bytes_to_fes().collect();
        let last = symbols.pop().unwrap().to_u8();
        symbols.push(bech32::Fe32::try_from(last | 1).unwrap());
        let text: String = symbols
            .into_iter()
            .with_checksum::<LongBech32m>(&hrp)
            .chars()
            .collect();
        assert!(matches!(
            error(text.as_bytes()),
            KeyFileError::Length { .. }
        ));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        assert_eq!(check_mode(0o100_600), Ok(()));
        assert_eq!(check_mode(0o100_400), Ok(()));
        for mode in [0o640, 0o604, 0o620, 0o601] {
            assert_eq!(
                check_mode(0o100_000 | mode),
                Err(KeyFileError::Mode { mode })
            );
        }
    }
}
