//! Opens frames: finds the key, checks the seal, decompresses, finds the chunks.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::crypto::{DecapsulationKey, FrameKeys, Key, unwrap_brick_key};
use crate::error::{Error, Result};
use crate::format::frame::{Codec, ContentHeader, FrameHeader, decode_chunk_table};
use crate::format::recipient::Recipient;
use crate::format::wire::{DecodeError, DecodeResult, Fault};
use crate::id::{KeyId, StoreId};

/// How many unwrapped keys are kept: one for each brick in which frames were sealed.
/// Restore reads brick by brick; even after much moving of frames this is enough, and
/// a key that was forgotten is unwrapped again.
const CACHED_KEYS: usize = 1024;

/// Why a frame does not open (`formats/frame.md#what-a-reader-does-with-a-fault`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Its header is damaged, not one, or of a newer dtar.
    #[error("{0}")]
    Header(DecodeError),
    /// It belongs to another store.
    #[error("frame of store {found}, not of store {expected}")]
    OtherStore {
        /// The store in use.
        expected: StoreId,
        /// The store that the frame names.
        found: StoreId,
    },
    /// The key in use is not among its recipients.
    #[error("frame is not sealed to this key ({key}), but to {}", list(.found))]
    OtherKey {
        /// The key in use.
        key: KeyId,
        /// Those whom it is sealed to.
        found: Vec<KeyId>,
    },
    /// The seal does not verify, or the SIV is not that of the content: damaged or forged.
    #[error("frame is damaged: its seal does not verify")]
    Seal,
    /// The seal is good, but what is under it is not what it should be: no accident.
    #[error("frame was made wrongly: {0}")]
    Content(DecodeError),
}

fn list(ids: &[KeyId]) -> String {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

impl FrameError {
    /// The error of the library that says this about the frame at `offset` in a file.
    #[must_use]
    pub fn into_error(self, path: &Path, offset: u64) -> Error {
        let path = path.to_owned();
        match self {
            Self::Header(source) | Self::Content(source) => Error::Decode {
                path,
                source: source.moved_by(offset),
            },
            Self::OtherStore { expected, found } => Error::OtherStore {
                path,
                expected,
                found,
            },
            Self::OtherKey { key, found } => Error::WrongKey {
                path,
                expected: found,
                found: key,
            },
            Self::Seal => Error::Decode {
                path,
                source: DecodeError {
                    structure: "frame",
                    field: "seal",
                    offset,
                    fault: Fault::Check,
                },
            },
        }
    }
}

/// Opens the frames of one store; threads share it.
pub struct FrameOpener {
    store_id: StoreId,
    key_id: KeyId,
    key: DecapsulationKey,
    unwrapped: Mutex<KeyCache>,
}

impl Key {
    /// An opener of the frames of a store.
    ///
    /// # Errors
    /// [`Error::PutKey`]: a put key cannot read.
    pub fn opener(&self, store_id: StoreId) -> Result<FrameOpener> {
        let key = self
            .decapsulation()
            .ok_or(Error::PutKey { action: "read" })?;
        Ok(FrameOpener {
            store_id,
            key_id: self.key_id(),
            key: key.clone(),
            unwrapped: Mutex::new(KeyCache::default()),
        })
    }
}

impl FrameOpener {
    /// Opens the frame that `bytes` are, no more and no less, and decrypts it in place.
    ///
    /// # Errors
    /// [`FrameError`]; `out` then holds no chunk.
    pub fn open(
        &self,
        bytes: &mut [u8],
        scratch: &mut OpenScratch,
        out: &mut OpenFrame,
    ) -> Result<(), FrameError> {
        out.ends.clear();
        let header = FrameHeader::decode(bytes).map_err(FrameError::Header)?;
        let (fields, header_length) = (header.fields, header.length);
        check_length(bytes, header.frame_length()).map_err(FrameError::Header)?;
        let keys = self.frame_keys(header)?;
        let (header, sealed) = bytes
            .split_at_mut_checked(header_length as usize)
            .ok_or(FrameError::Seal)?;
        let opened = keys
            .open(fields.number, fields.siv, header, sealed)
            .map_err(|_| FrameError::Seal)?;
        out.fill(fields.codec, opened, scratch).map_err(|error| {
            out.ends.clear();
            FrameError::Content(error.moved_by(u64::from(header_length)))
        })
    }

    /// The keys of the brick in which a frame was sealed: from the cache, or unwrapped
    /// from the entry of this key.
    fn frame_keys(&self, header: FrameHeader<'_>) -> Result<Arc<FrameKeys>, FrameError> {
        let FrameHeader {
            fields, recipients, ..
        } = header;
        if fields.store_id != self.store_id {
            return Err(FrameError::OtherStore {
                expected: self.store_id,
                found: fields.store_id,
            });
        }
        let entry = recipients
            .clone()
            .find(|entry| entry.key_id == self.key_id && entry.is_known())
            .ok_or_else(|| FrameError::OtherKey {
                key: self.key_id,
                found: recipients.map(|entry| entry.key_id).collect(),
            })?;
        let name = KeyCache::name(&fields.salt.0, &entry);
        if let Some(keys) = self.cache().keys.get(&name) {
            return Ok(Arc::clone(keys));
        }
        let brick_key = unwrap_brick_key(&self.key, &entry, fields.store_id, fields.salt)
            .map_err(|_| FrameError::Seal)?;
        let keys = Arc::new(FrameKeys::new(&brick_key, fields.store_id, fields.salt));
        self.cache().insert(name, Arc::clone(&keys));
        Ok(keys)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, KeyCache> {
        // A thread that panicked cannot have left it half changed in a way that matters.
        self.unwrapped
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_length(bytes: &[u8], expected: u32) -> DecodeResult<()> {
    let found = bytes.len() as u64;
    let fault = match u64::from(expected).cmp(&found) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Greater => Fault::Truncated {
            needed: expected.into(),
            found,
        },
        std::cmp::Ordering::Less => Fault::Value {
            expected: format!("a frame of {found} bytes"),
            found: expected.to_string(),
        },
    };
    Err(DecodeError {
        structure: "frame",
        field: "length",
        offset: 0,
        fault,
    })
}

/// Keys of frames by BLAKE3 of salt and recipient entry, the oldest forgotten first.
#[derive(Default)]
struct KeyCache {
    keys: HashMap<[u8; 32], Arc<FrameKeys>>,
    order: VecDeque<[u8; 32]>,
}

impl KeyCache {
    /// What keys are kept under: all that they follow from, but for the store id, which
    /// is the opener's, and our own key.
    fn name(salt: &[u8; 16], entry: &Recipient<'_>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update(salt)
            .update(entry.encapsulation)
            .update(entry.wrapped_key);
        hasher.finalize().into()
    }

    fn insert(&mut self, name: [u8; 32], keys: Arc<FrameKeys>) {
        if self.keys.insert(name, keys).is_some() {
            return;
        }
        self.order.push_back(name);
        if self.order.len() > CACHED_KEYS
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

/// What opening needs besides the frame, one for each worker: its memory is reused.
#[derive(Default)]
pub struct OpenScratch {
    zstd: zstd::bulk::Decompressor<'static>,
}

impl OpenScratch {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The chunks of an opened frame. To be reused.
#[derive(Default)]
pub struct OpenFrame {
    /// The chunks one after another, then their table.
    pub plain: Vec<u8>,
    ends: Vec<u32>,
}

impl OpenFrame {
    /// One without chunks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One with these chunks and no table.
    #[cfg(test)]
    pub(crate) fn of(chunks: &[&[u8]]) -> Self {
        let mut end = 0;
        let ends = chunks.iter().map(|chunk| {
            end += u32::try_from(chunk.len()).unwrap();
            end
        });
        Self {
            ends: ends.collect(),
            plain: chunks.concat(),
        }
    }

    /// The chunk at `place`, the first being 0.
    #[must_use]
    pub fn chunk(&self, place: u32) -> Option<&[u8]> {
        let place = place as usize;
        let end = *self.ends.get(place)?;
        let start = match place.checked_sub(1) {
            Some(before) => *self.ends.get(before)?,
            None => 0,
        };
        self.plain.get(start as usize..end as usize)
    }

    /// How many chunks there are.
    #[must_use]
    pub fn chunk_count(&self) -> u32 {
        u32::try_from(self.ends.len()).unwrap_or(u32::MAX)
    }

    /// Takes over what stood under the seal.
    fn fill(&mut self, codec: Codec, opened: &[u8], scratch: &mut OpenScratch) -> DecodeResult<()> {
        let (header, content) = ContentHeader::decode(opened)?;
        let plain_length = header.plain_length as usize;
        let refuse = |found: &str| {
            let expected = format_args!("{plain_length} bytes as {codec}");
            Err(DecodeError::value(
                "frame content",
                "content",
                16,
                expected,
                found,
            ))
        };
        match codec {
            Codec::Stored if content.len() != plain_length => {
                return refuse("another number of bytes");
            }
            Codec::Stored => {
                self.plain.clear();
                self.plain.extend_from_slice(content);
            }
            Codec::Zstd => {
                if zstd::zstd_safe::find_frame_compressed_size(content) != Ok(content.len()) {
                    return refuse("something other than one zstd frame");
                }
                if let Ok(Some(size)) = zstd::zstd_safe::get_frame_content_size(content)
                    && size != plain_length as u64
                {
                    return refuse("a zstd frame of another size");
                }
                // A slice, not the vector: its capacity may be greater, and zstd must
                // stop at the plain length whatever the content goes on to yield.
                self.plain.resize(plain_length, 0);
                let decompressed = scratch
                    .zstd
                    .decompress_to_buffer(content, self.plain.as_mut_slice());
                match decompressed {
                    Ok(length) if length == plain_length => {}
                    Ok(_) => return refuse("fewer"),
                    Err(error) => return refuse(&error.to_string()),
                }
            }
        }
        // The table has no offset in the file; the content has.
        decode_chunk_table(&header, &self.plain, &mut self.ends).map_err(|error| DecodeError {
            offset: 16,
            ..error
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BrickSealer, CompressedFrame, Compressor, FrameBuilder, Pad};
    use super::*;
    use crate::crypto::PublicKey;
    use crate::id::{Class, Epoch};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    const STORE: StoreId = StoreId([1; 16]);
    static KEY: LazyLock<Key> = LazyLock::new(|| Key::generate().unwrap());

    fn sealed_to(recipients: &[PublicKey], chunks: &[&[u8]], pad: Pad) -> Vec<u8> {
        let sealer = BrickSealer::new(STORE, Epoch::FIRST, Class::Data, recipients).unwrap();
        let mut builder = FrameBuilder::new();
        for chunk in chunks {
            builder.push(chunk);
        }
        let mut frame = CompressedFrame::new();
        let length = sealer.frame_header_length();
        builder
            .compress(&mut Compressor::new(), 3, length, pad, &mut frame)
            .unwrap();
        sealer.seal_frame(7, &mut frame).unwrap();
        frame.bytes
    }

    fn sealed(chunks: &[&[u8]], pad: Pad) -> Vec<u8> {
        sealed_to(&[KEY.public_key().unwrap()], chunks, pad)
    }

    fn open_with(opener: &FrameOpener, mut frame: Vec<u8>) -> Result<OpenFrame, FrameError> {
        let mut out = OpenFrame::new();
        opener
            .open(&mut frame, &mut OpenScratch::new(), &mut out)
            .map(|()| out)
    }

    fn open(frame: &[u8]) -> Result<OpenFrame, FrameError> {
        open_with(&KEY.opener(STORE).unwrap(), frame.to_vec())
    }

    #[test]
    fn a_damaged_byte_anywhere_is_noticed() {
        let frame = sealed(&[b"one", b"two"], Pad::None);
        assert!(open(&frame).is_ok());
        for position in 0..frame.len() {
            let mut bad = frame.clone();
            bad[position] ^= 0x10;
            assert!(open(&bad).is_err(), "{position}");
        }
    }

    #[test]
    fn other_keys_and_other_stores_are_named() {
        let frame = sealed(&[b"one"], Pad::None);
        let other = Key::generate().unwrap();
        let error = open_with(&other.opener(STORE).unwrap(), frame.clone()).err();
        let expected = FrameError::OtherKey {
            key: other.key_id(),
            found: vec![KEY.key_id()],
        };
        assert_eq!(error, Some(expected));
        let elsewhere = KEY.opener(StoreId([2; 16])).unwrap();
        assert!(matches!(
            open_with(&elsewhere, frame).err(),
            Some(FrameError::OtherStore { found: STORE, .. })
        ));
    }

    #[test]
    fn a_put_key_does_not_read() {
        let own = [KEY.public_key().unwrap()];
        let put = KEY.to_put_key(STORE, Epoch::FIRST, &own).unwrap();
        assert!(matches!(put.opener(STORE), Err(Error::PutKey { .. })));
    }

    #[test]
    fn every_recipient_opens() {
        let second = Key::generate().unwrap();
        let recipients = [KEY.public_key().unwrap(), second.public_key().unwrap()];
        let frame = sealed_to(&recipients, &[b"one"], Pad::None);
        for key in [&*KEY, &second] {
            let opened = open_with(&key.opener(STORE).unwrap(), frame.clone()).unwrap();
            assert_eq!(opened.chunk(0), Some(&b"one"[..]));
        }
    }

    #[test]
    fn a_frame_is_as_long_as_it_says() {
        let frame = sealed(&[b"one"], Pad::None);
        let longer = [&frame[..], &[0]].concat();
        for bad in [&frame[..frame.len() - 1], &longer] {
            assert!(matches!(open(bad).err(), Some(FrameError::Header(_))));
        }
    }

    #[test]
    fn the_cache_forgets_the_oldest_key() {
        let mut cache = KeyCache::default();
        let key = || {
            let secret = crate::crypto::Secret::copy_of(&[0; 32]);
            Arc::new(FrameKeys::new(&secret, STORE, crate::id::Salt([0; 16])))
        };
        let name = |number: usize| blake3::hash(&number.to_le_bytes()).into();
        for number in 0..=CACHED_KEYS {
            cache.insert(name(number), key());
            cache.insert(name(number), key());
        }
        assert_eq!(cache.keys.len(), CACHED_KEYS);
        assert!(!cache.keys.contains_key(&name(0)) && cache.keys.contains_key(&name(1)));
    }

    #[test]
    fn a_failed_frame_leaves_no_chunks_behind() {
        let opener = KEY.opener(STORE).unwrap();
        let (mut scratch, mut out) = (OpenScratch::new(), OpenFrame::new());
        let good = sealed(&[b"one"], Pad::None);
        opener
            .open(&mut good.clone(), &mut scratch, &mut out)
            .unwrap();
        assert_eq!(out.chunk_count(), 1);
        assert!(opener.open(&mut [], &mut scratch, &mut out).is_err());
        assert_eq!((out.chunk_count(), out.chunk(0)), (0, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn chunks_come_back(
            chunks in prop::collection::vec(prop::collection::vec(0u8..4, 1..300), 1..20),
            pad in prop::sample::select(vec![Pad::None, Pad::Blocks, Pad::Padme]),
        ) {
            let slices: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
            let opened = open(&sealed(&slices, pad)).unwrap();
            prop_assert_eq!(opened.chunk_count() as usize, chunks.len());
            for (place, chunk) in (0..).zip(slices) {
                prop_assert_eq!(opened.chunk(place), Some(chunk));
            }
            prop_assert_eq!(opened.chunk(opened.chunk_count()), None);
        }
    }
}
