//! What all formats share: integers, `uv`, prefix, check, fields
//! (`formats/README.md`).

use std::fmt;

/// Length of the prefix that begins every structure.
pub const PREFIX_LENGTH: usize = 16;
/// Length of a check.
pub const CHECK_LENGTH: usize = 16;
/// The only major version so far.
pub const MAJOR_VERSION: u16 = 1;
/// The longest `uv`.
pub const UV_MAX_LENGTH: usize = 10;

/// What is wrong with a structure, before it is known in which file it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The structure, in the words of `formats/`.
    pub structure: &'static str,
    /// The field in it.
    pub field: &'static str,
    /// Offset of the field: from the start of the decoded bytes, until
    /// [`DecodeError::moved_by`] makes it an offset in the file.
    pub offset: u64,
    /// What kind of fault it is.
    pub fault: Fault,
}

/// The kinds of fault in a structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The magic is another: this is not the structure at all.
    Magic {
        /// The bytes that stand there.
        found: Vec<u8>,
    },
    /// Written by a newer dtar.
    Version {
        /// Its major version.
        found: u16,
    },
    /// An incompatible-feature bit that this dtar does not know.
    FeatureBit {
        /// Number of the lowest such bit.
        bit: u32,
    },
    /// A critical field that this dtar does not know.
    CriticalField {
        /// Its tag.
        tag: String,
    },
    /// The bytes end too early.
    Truncated {
        /// How many bytes were needed.
        needed: u64,
        /// How many there were.
        found: u64,
    },
    /// A check, a seal or a tag does not verify.
    Check,
    /// A value that cannot be.
    Value {
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
}

impl Fault {
    /// Whether the bytes are damaged, rather than written by a newer dtar.
    #[must_use]
    pub const fn is_damage(&self) -> bool {
        !matches!(
            self,
            Self::Version { .. } | Self::FeatureBit { .. } | Self::CriticalField { .. }
        )
    }
}

impl DecodeError {
    /// A value that cannot be.
    pub fn value(
        structure: &'static str,
        field: &'static str,
        offset: u64,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self {
            structure,
            field,
            offset,
            fault: Fault::Value {
                expected: expected.to_string(),
                found: found.to_string(),
            },
        }
    }

    /// The same error `base` bytes further on: from an offset in a structure to one in a file.
    #[must_use]
    pub fn moved_by(mut self, base: u64) -> Self {
        self.offset = self.offset.saturating_add(base);
        self
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            structure,
            field,
            offset,
            fault,
        } = self;
        write!(out, "{structure}, {field} at byte {offset}: ")?;
        match fault {
            Fault::Magic { found } => {
                write!(out, "not a {structure} (found {})", found.escape_ascii())
            }
            Fault::Version { found } => write!(
                out,
                "version {found} was written by a newer dtar (this one reads up to {MAJOR_VERSION}); use a newer dtar"
            ),
            Fault::FeatureBit { bit } => write!(
                out,
                "needs feature bit {bit}, which this dtar does not know; use a newer dtar"
            ),
            Fault::CriticalField { tag } => write!(
                out,
                "needs field {tag}, which this dtar does not know; use a newer dtar"
            ),
            Fault::Truncated { needed, found } => {
                write!(out, "cut short: expected {needed} bytes, found {found}")
            }
            Fault::Check => write!(out, "damaged: the checksum does not match the bytes"),
            Fault::Value { expected, found } => {
                write!(out, "expected {expected}, found {found}")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// The result of decoding.
pub type DecodeResult<T> = Result<T, DecodeError>;

/// How many bytes [`put_uv`] takes for `value`.
#[must_use]
pub const fn uv_length(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends `value` as `uv`, in its shortest form.
pub fn put_uv(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Appends a prefix of version 1 without feature bits.
pub fn put_prefix(out: &mut Vec<u8>, magic: &[u8; 8]) {
    out.extend_from_slice(magic);
    out.extend_from_slice(&MAJOR_VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 6]);
}

/// The check over `bytes`.
#[must_use]
pub fn check(bytes: &[u8]) -> [u8; CHECK_LENGTH] {
    let mut check = [0; CHECK_LENGTH];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..CHECK_LENGTH]);
    check
}

/// Appends the check over `out[start..]`.
pub fn put_check(out: &mut Vec<u8>, start: usize) {
    let check = check(&out[start..]);
    out.extend_from_slice(&check);
}

/// Reads a structure from front to back; every error says where it stands.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    structure: &'static str,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Decoder<'a> {
    /// A decoder of `structure` (a name for errors) over `bytes`.
    #[must_use]
    pub const fn new(structure: &'static str, bytes: &'a [u8]) -> Self {
        Self {
            structure,
            bytes,
            position: 0,
        }
    }

    /// Where the next byte stands.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.position
    }

    /// The bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    /// Whether all is read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.position == self.bytes.len()
    }

    /// An error at the next byte.
    #[must_use]
    pub fn error(
        &self,
        field: &'static str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> DecodeError {
        DecodeError::value(self.structure, field, self.position as u64, expected, found)
    }

    fn fault(&self, field: &'static str, fault: Fault) -> DecodeError {
        DecodeError {
            structure: self.structure,
            field,
            offset: self.position as u64,
            fault,
        }
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// Fails if there are fewer.
    pub fn bytes(&mut self, field: &'static str, length: usize) -> DecodeResult<&'a [u8]> {
        let rest = self.rest();
        if rest.len() < length {
            return Err(self.fault(
                field,
                Fault::Truncated {
                    needed: length as u64,
                    found: rest.len() as u64,
                },
            ));
        }
        self.position += length;
        Ok(&rest[..length])
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// Fails if there are fewer.
    pub fn array<const N: usize>(&mut self, field: &'static str) -> DecodeResult<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(field, N)?);
        Ok(array)
    }

    /// A `u8`.
    ///
    /// # Errors
    /// Fails at the end of the bytes.
    pub fn u8(&mut self, field: &'static str) -> DecodeResult<u8> {
        Ok(self.array::<1>(field)?[0])
    }

    /// A `u16`.
    ///
    /// # Errors
    /// Fails at the end of the bytes.
    pub fn u16(&mut self, field: &'static str) -> DecodeResult<u16> {
        self.array(field).map(u16::from_le_bytes)
    }

    /// A `u32`.
    ///
    /// # Errors
    /// Fails at the end of the bytes.
    pub fn u32(&mut self, field: &'static str) -> DecodeResult<u32> {
        self.array(field).map(u32::from_le_bytes)
    }

    /// A `u64`.
    ///
    /// # Errors
    /// Fails at the end of the bytes.
    pub fn u64(&mut self, field: &'static str) -> DecodeResult<u64> {
        self.array(field).map(u64::from_le_bytes)
    }

    /// A `uv`.
    ///
    /// # Errors
    /// Fails at the end of the bytes, on a form that is not the shortest, and past 64 bits.
    pub fn uv(&mut self, field: &'static str) -> DecodeResult<u64> {
        let mut value = 0;
        for (count, &byte) in self.rest().iter().take(UV_MAX_LENGTH).enumerate() {
            let last = byte < 0x80;
            if count == UV_MAX_LENGTH - 1 && byte > 1 {
                return Err(self.error(field, "a number below 2^64", "a greater one"));
            }
            if last && byte == 0 && count > 0 {
                return Err(self.error(field, "the shortest form of a number", "a longer one"));
            }
            value |= u64::from(byte & 0x7f) << (7 * count);
            if last {
                self.position += count + 1;
                return Ok(value);
            }
        }
        let found = self.rest().len() as u64;
        Err(self.fault(
            field,
            Fault::Truncated {
                needed: found + 1,
                found,
            },
        ))
    }

    /// A `uv` that must lie in `range`.
    ///
    /// # Errors
    /// As [`Decoder::uv`], and for a value outside of `range`.
    pub fn uv_in(
        &mut self,
        field: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> DecodeResult<u64> {
        let start = self.position;
        let value = self.uv(field)?;
        self.within(field, start, value, range)
    }

    /// A `u32` that must lie in `range`.
    ///
    /// # Errors
    /// As [`Decoder::u32`], and for a value outside of `range`.
    pub fn u32_in(
        &mut self,
        field: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> DecodeResult<u32> {
        let start = self.position;
        let value = self.u32(field)?;
        self.within(field, start, u64::from(value), range)?;
        Ok(value)
    }

    fn within(
        &self,
        field: &'static str,
        offset: usize,
        value: u64,
        range: std::ops::RangeInclusive<u64>,
    ) -> DecodeResult<u64> {
        if range.contains(&value) {
            return Ok(value);
        }
        Err(DecodeError::value(
            self.structure,
            field,
            offset as u64,
            format_args!("{} to {}", range.start(), range.end()),
            value,
        ))
    }

    /// A prefix with `magic`, of a version and with features that this dtar knows.
    ///
    /// # Errors
    /// Another magic, a newer version, an unknown incompatible-feature bit.
    pub fn prefix(&mut self, magic: &[u8; 8]) -> DecodeResult<()> {
        let found = self.bytes("magic", 8)?;
        if found != magic {
            self.position -= 8;
            let found = found.to_vec();
            return Err(self.fault("magic", Fault::Magic { found }));
        }
        let found = self.u16("version")?;
        if found != MAJOR_VERSION {
            self.position -= 2;
            return Err(self.fault("version", Fault::Version { found }));
        }
        let _compatible = self.u16("compatible features")?;
        let incompatible = self.u32("incompatible features")?;
        if incompatible != 0 {
            self.position -= 4;
            let bit = incompatible.trailing_zeros();
            return Err(self.fault("incompatible features", Fault::FeatureBit { bit }));
        }
        Ok(())
    }

    /// The check over all bytes from `start` up to here.
    ///
    /// # Errors
    /// Fails if it does not match.
    pub fn check(&mut self, start: usize) -> DecodeResult<()> {
        let expected = check(&self.bytes[start..self.position]);
        let found: [u8; CHECK_LENGTH] = self.array("check")?;
        if found == expected {
            return Ok(());
        }
        self.position -= CHECK_LENGTH;
        Err(self.fault("check", Fault::Check))
    }

    /// The fields up to the end of the bytes: calls `known` for each, which
    /// returns whether it knows the tag.
    ///
    /// # Errors
    /// A critical tag that `known` does not know, a repeated tag, an error of `known`.
    pub fn fields(
        &mut self,
        mut known: impl FnMut(u8, Decoder<'a>) -> DecodeResult<bool>,
    ) -> DecodeResult<()> {
        let mut seen = [false; 256];
        while !self.is_empty() {
            let start = self.position;
            let tag = self.u8("field tag")?;
            let length = self.uv("field length")?;
            let limit = self.rest().len() as u64;
            if length > limit {
                return Err(self.fault(
                    "field length",
                    Fault::Truncated {
                        needed: length,
                        found: limit,
                    },
                ));
            }
            if std::mem::replace(&mut seen[usize::from(tag)], true) {
                self.position = start;
                return Err(self.error(
                    "field tag",
                    "each field once",
                    format_args!("{tag} again"),
                ));
            }
            let value_start = self.position;
            self.position += usize::try_from(length).unwrap_or(usize::MAX);
            let value = Decoder {
                structure: self.structure,
                bytes: &self.bytes[..self.position],
                position: value_start,
            };
            if !known(tag, value)? && tag >= 128 {
                self.position = start;
                let tag = tag.to_string();
                return Err(self.fault("field tag", Fault::CriticalField { tag }));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_longer_form_is_refused() {
        for bytes in [&[0x80, 0][..], &[0xff, 0x80, 0], &[0xff; 10], &[0x80], &[]] {
            assert!(
                Decoder::new("test", bytes).uv("number").is_err(),
                "{bytes:?}"
            );
        }
    }

    #[test]
    fn lengths_are_known_beforehand() {
        for value in (0..64)
            .flat_map(|bit| [(1 << bit) - 1, 1_u64 << bit])
            .chain([u64::MAX])
        {
            let mut bytes = Vec::new();
            put_uv(&mut bytes, value);
            assert_eq!(uv_length(value), bytes.len(), "{value}");
        }
    }

    #[test]
    fn unknown_incompatible_bits_are_named() {
        let mut bytes = Vec::new();
        put_prefix(&mut bytes, b"dtarTEST");
        bytes[12] = 0b100;
        let error = Decoder::new("test", &bytes)
            .prefix(b"dtarTEST")
            .unwrap_err();
        assert_eq!(error.fault, Fault::FeatureBit { bit: 2 });
    }

    #[test]
    fn unknown_fields_are_skipped_unless_critical() {
        let skip = [5, 1, 9];
        Decoder::new("test", &skip)
            .fields(|_, _| Ok(false))
            .unwrap();
        for bad in [&[200, 1, 9][..], &[5, 0, 5, 0], &[5, 9, 1]] {
            assert!(Decoder::new("test", bad).fields(|_, _| Ok(false)).is_err());
        }
    }

    proptest! {
        #[test]
        fn uv_round_trips(value: u64) {
            let mut bytes = Vec::new();
            put_uv(&mut bytes, value);
            let mut decoder = Decoder::new("test", &bytes);
            prop_assert_eq!(decoder.uv("number"), Ok(value));
            prop_assert!(decoder.is_empty());
        }
    }
}
