//! Recipient entries: a brick key, wrapped to one public key
//! (`formats/keys.md#encapsulation`).

use super::wire::{DecodeResult, Decoder};
use crate::id::KeyId;

/// The only KEM so far: X-Wing.
pub const KEM_X_WING: u16 = 0x647a;
/// The only KDF so far: HKDF-SHA256.
pub const KDF_HKDF_SHA256: u16 = 0x0001;
/// The only AEAD so far: ChaCha20-Poly1305.
pub const AEAD_CHACHA20_POLY1305: u16 = 0x0003;
/// Length of an encapsulation of X-Wing.
pub const ENCAPSULATION_LENGTH: usize = 1120;
/// Length of a wrapped brick key.
pub const WRAPPED_KEY_LENGTH: usize = 48;
/// Length of an entry as dtar writes it.
pub const ENTRY_LENGTH: usize = 26 + ENCAPSULATION_LENGTH + WRAPPED_KEY_LENGTH;

/// A recipient entry. Its ids and lengths may be unknown ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipient<'a> {
    /// Whose key opens it.
    pub key_id: KeyId,
    /// Number of the KEM.
    pub kem: u16,
    /// Number of the KDF.
    pub kdf: u16,
    /// Number of the AEAD.
    pub aead: u16,
    /// The encapsulation.
    pub encapsulation: &'a [u8],
    /// The wrapped brick key.
    pub wrapped_key: &'a [u8],
}

impl<'a> Recipient<'a> {
    /// An entry of the only suite so far.
    #[must_use]
    pub const fn known(key_id: KeyId, encapsulation: &'a [u8], wrapped_key: &'a [u8]) -> Self {
        Self {
            key_id,
            kem: KEM_X_WING,
            kdf: KDF_HKDF_SHA256,
            aead: AEAD_CHACHA20_POLY1305,
            encapsulation,
            wrapped_key,
        }
    }

    /// Whether this dtar can open it: entries with other ids or lengths are skipped.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        matches!(
            (self.kem, self.kdf, self.aead),
            (KEM_X_WING, KDF_HKDF_SHA256, AEAD_CHACHA20_POLY1305)
        ) && self.encapsulation.len() == ENCAPSULATION_LENGTH
            && self.wrapped_key.len() == WRAPPED_KEY_LENGTH
    }

    /// Appends the entry. Encapsulation and wrapped key are shorter than 64 KiB.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(self.key_id.as_bytes());
        for number in [
            self.kem,
            self.kdf,
            self.aead,
            length(self.encapsulation),
            length(self.wrapped_key),
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(self.encapsulation);
        out.extend_from_slice(self.wrapped_key);
    }

    fn decode(decoder: &mut Decoder<'a>) -> DecodeResult<Self> {
        let key_id = KeyId(decoder.array("recipient's key id")?);
        let kem = decoder.u16("recipient's KEM")?;
        let kdf = decoder.u16("recipient's KDF")?;
        let aead = decoder.u16("recipient's AEAD")?;
        let encapsulation = decoder.u16("length of the encapsulation")?;
        let wrapped_key = decoder.u16("length of the wrapped key")?;
        Ok(Self {
            key_id,
            kem,
            kdf,
            aead,
            encapsulation: decoder.bytes("encapsulation", usize::from(encapsulation))?,
            wrapped_key: decoder.bytes("wrapped key", usize::from(wrapped_key))?,
        })
    }
}

/// The recipient entries of a frame, known to be whole.
#[derive(Debug, Clone)]
pub struct Recipients<'a> {
    decoder: Decoder<'a>,
    count: u8,
}

impl<'a> Recipients<'a> {
    /// Reads `count` entries; `decoder` stands behind them afterwards.
    ///
    /// # Errors
    /// Fails if they do not fit.
    pub fn decode(decoder: &mut Decoder<'a>, count: u8) -> DecodeResult<Self> {
        let start = decoder.clone();
        for _ in 0..count {
            Recipient::decode(decoder)?;
        }
        Ok(Self {
            decoder: start,
            count,
        })
    }
}

impl<'a> Iterator for Recipients<'a> {
    type Item = Recipient<'a>;

    fn next(&mut self) -> Option<Recipient<'a>> {
        self.count = self.count.checked_sub(1)?;
        Recipient::decode(&mut self.decoder).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_both_ways() {
        let (encapsulation, wrapped) = ([1; ENCAPSULATION_LENGTH], [2; WRAPPED_KEY_LENGTH]);
        let known = Recipient::known(KeyId([3; 16]), &encapsulation, &wrapped);
        let unknown = Recipient {
            kem: 0x10,
            encapsulation: &[9; 5],
            ..known
        };
        let mut bytes = Vec::new();
        known.encode(&mut bytes);
        assert_eq!(bytes.len(), ENTRY_LENGTH);
        unknown.encode(&mut bytes);
        let mut decoder = Decoder::new("test", &bytes);
        let recipients: Vec<_> = Recipients::decode(&mut decoder, 2).unwrap().collect();
        assert_eq!(recipients, [known, unknown]);
        assert!(decoder.is_empty());
        assert!(known.is_known() && !unknown.is_known());
        let mut decoder = Decoder::new("test", &bytes);
        assert!(Recipients::decode(&mut decoder, 3).is_err());
    }
}
