//! Seals the frames and the TOC of one brick.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rand_core::{CryptoRng, Rng as _};

use super::builder::CompressedFrame;
use crate::crypto::{FrameKeys, PublicKey, PutKeys, Random, Secret, TAG_LENGTH, wrap_brick_key};
use crate::error::{Error, Result};
use crate::format::brick::{BrickHeader, MAX_FRAMES};
use crate::format::frame::{
    FrameFields, MAX_RECIPIENTS, MAX_SEALED_LENGTH, MIN_SEALED_LENGTH, header_length,
};
use crate::format::toc::{MAX_SEALED_TOC_LENGTH, TOC_HEADER_LENGTH, Toc, TocHeader};
use crate::id::{Class, Epoch, Salt, StoreId};

/// Length of a frame's header for so many recipients. Compression leaves room for it
/// before it is known in which brick the frame will stand.
#[must_use]
pub const fn frame_header_length(recipients: usize) -> usize {
    header_length(recipients)
}

/// The secrets of one brick while it is written; workers share it. The brick key is
/// drawn here, and nobody but the recipients knows it once this is dropped.
pub struct BrickSealer {
    header: BrickHeader,
    frame_keys: FrameKeys,
    recipients: u8,
    entries: Vec<u8>,
    /// Which numbers were used: one bit each. No nonce must be used twice.
    numbers: Box<[AtomicU64]>,
    toc_sealed: AtomicBool,
}

impl BrickSealer {
    /// The sealer of a new brick: draws salt and brick key from the operating system
    /// and wraps the key to each recipient.
    ///
    /// # Errors
    /// Fails if there are no recipients or more than 32, or if the operating system has
    /// no random bytes.
    pub fn new(
        store_id: StoreId,
        epoch: Epoch,
        class: Class,
        recipients: &[PublicKey],
    ) -> Result<Self> {
        Self::with_random(store_id, epoch, class, recipients, &mut Random::from_os()?)
    }

    /// As [`BrickSealer::new`], with random bytes from `random`: for test vectors.
    /// Draws the salt, the brick key, and 64 bytes for each recipient.
    ///
    /// # Errors
    /// As [`BrickSealer::new`].
    #[doc(hidden)]
    pub fn with_random(
        store_id: StoreId,
        epoch: Epoch,
        class: Class,
        recipients: &[PublicKey],
        random: &mut impl CryptoRng,
    ) -> Result<Self> {
        if !(1..=MAX_RECIPIENTS).contains(&recipients.len()) {
            return Err(Error::Usage(format!(
                "a brick is sealed to 1 to {MAX_RECIPIENTS} keys, not to {}",
                recipients.len()
            )));
        }
        let mut salt = Salt([0; Salt::SIZE]);
        random.fill_bytes(&mut salt.0);
        let brick_key = Secret::random(random);
        let mut entries = Vec::new();
        for recipient in recipients {
            wrap_brick_key(&brick_key, recipient, store_id, salt, random, &mut entries)?;
        }
        Ok(Self {
            header: BrickHeader {
                store_id,
                salt,
                epoch,
                class,
            },
            frame_keys: FrameKeys::new(&brick_key, store_id, salt),
            recipients: u8::try_from(recipients.len()).unwrap_or(u8::MAX),
            entries,
            numbers: (0..MAX_FRAMES.div_ceil(u64::BITS))
                .map(|_| AtomicU64::new(0))
                .collect(),
            toc_sealed: AtomicBool::new(false),
        })
    }

    /// Length of the header of this brick's frames.
    #[must_use]
    pub fn frame_header_length(&self) -> usize {
        frame_header_length(usize::from(self.recipients))
    }

    /// The brick's first 80 bytes.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        self.header.encode()
    }

    /// The brick's salt.
    #[must_use]
    pub const fn salt(&self) -> Salt {
        self.header.salt
    }

    /// Seals a frame under `number`, the first being 0: writes its header, encrypts in
    /// place, appends the tag. `frame.bytes` are then the frame.
    ///
    /// # Errors
    /// [`Error::Internal`] if the number was used before, or if `frame` was compressed
    /// for another header length or breaks a limit.
    pub fn seal_frame(&self, number: u32, frame: &mut CompressedFrame) -> Result<()> {
        let refuse = |what: &str| Error::Internal(format!("cannot seal a frame: {what}"));
        let header_length = self.frame_header_length();
        let sealed_length = frame
            .bytes
            .len()
            .checked_sub(header_length)
            .and_then(|length| u32::try_from(length + TAG_LENGTH).ok())
            .filter(|length| (MIN_SEALED_LENGTH..=MAX_SEALED_LENGTH).contains(length))
            .filter(|_| frame.header_length == header_length)
            .ok_or_else(|| refuse("its length"))?;
        let (place, content) = frame
            .bytes
            .split_at_mut_checked(header_length)
            .ok_or_else(|| refuse("its header"))?;
        self.use_number(number)?;
        let sealing = self.frame_keys.begin(number, content);
        let fields = FrameFields {
            store_id: self.header.store_id,
            salt: self.header.salt,
            number,
            epoch: self.header.epoch,
            class: self.header.class,
            codec: frame.codec,
            siv: sealing.siv(),
        };
        let mut header = Vec::with_capacity(header_length);
        fields.encode(sealed_length, self.recipients, &self.entries, &mut header);
        if header.len() != place.len() {
            return Err(refuse("its header"));
        }
        place.copy_from_slice(&header);
        let tag = sealing.finish(place)?;
        frame.bytes.extend_from_slice(&tag);
        Ok(())
    }

    /// Marks a number as used; fails if it was.
    fn use_number(&self, number: u32) -> Result<()> {
        let bit = 1 << (number % u64::BITS);
        self.numbers
            .get((number / u64::BITS) as usize)
            .filter(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
            .map(|_| ())
            .ok_or_else(|| Error::Internal(format!("frame number {number} is not to be used")))
    }

    /// Seals the TOC: header and sealed bytes, as they stand in the brick.
    ///
    /// # Errors
    /// [`Error::Internal`] the second time, if the TOC has no frames or another class,
    /// and if the keys are of another store or epoch.
    pub fn seal_toc(&self, keys: &PutKeys, toc: &Toc) -> Result<Vec<u8>> {
        let plain = encode_toc(&self.header, keys, toc)?;
        if self.toc_sealed.swap(true, Ordering::Relaxed) {
            return Err(no_toc("the brick has one already"));
        }
        seal_encoded_toc(&self.header, keys, plain)
    }
}

/// A brick of frames that were sealed elsewhere: they keep header and bytes, and the
/// brick has a salt and a TOC of its own (`formats/frame.md#seal`). No recipients are
/// needed, for nothing but the TOC is sealed.
pub struct MovedBrick {
    header: BrickHeader,
}

impl MovedBrick {
    /// A new brick: draws its salt.
    ///
    /// # Errors
    /// Fails if the operating system has no random bytes.
    pub fn new(store_id: StoreId, epoch: Epoch, class: Class) -> Result<Self> {
        let mut salt = Salt([0; Salt::SIZE]);
        Random::from_os()?.fill_bytes(&mut salt.0);
        let header = BrickHeader {
            store_id,
            salt,
            epoch,
            class,
        };
        Ok(Self { header })
    }

    /// The brick's first 80 bytes.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        self.header.encode()
    }

    /// Seals the TOC: header and sealed bytes, as they stand in the brick.
    ///
    /// # Errors
    /// [`Error::Internal`] if the TOC has no frames or another class, and if the keys are
    /// of another store or epoch.
    pub fn seal_toc(self, keys: &PutKeys, toc: &Toc) -> Result<Vec<u8>> {
        let plain = encode_toc(&self.header, keys, toc)?;
        seal_encoded_toc(&self.header, keys, plain)
    }
}

fn no_toc(what: &str) -> Error {
    Error::Internal(format!("cannot seal a TOC: {what}"))
}

/// The content of the TOC of the brick with this header.
fn encode_toc(header: &BrickHeader, keys: &PutKeys, toc: &Toc) -> Result<Vec<u8>> {
    let brick = (header.store_id, header.epoch, header.class);
    if (keys.store_id, keys.epoch, toc.class()) != brick {
        return Err(no_toc("its store, epoch or class is not that of the brick"));
    }
    let mut plain = Vec::new();
    toc.encode(&mut plain)?;
    if plain.len() + TAG_LENGTH > MAX_SEALED_TOC_LENGTH as usize {
        return Err(no_toc("it is too long"));
    }
    Ok(plain)
}

/// Seals what [`encode_toc`] gave. The caller sees to it that a brick gets one TOC.
fn seal_encoded_toc(header: &BrickHeader, keys: &PutKeys, mut plain: Vec<u8>) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(TOC_HEADER_LENGTH + plain.len() + TAG_LENGTH);
    let sealed_length = u32::try_from(plain.len() + TAG_LENGTH).unwrap_or(u32::MAX);
    let sealing = keys.toc.begin(header.salt, &mut plain);
    TocHeader {
        sealed_length,
        epoch: header.epoch,
        store_id: header.store_id,
        salt: header.salt,
        siv: sealing.siv(),
    }
    .encode(&mut out);
    let tag = sealing.finish(&out)?;
    out.extend_from_slice(&plain);
    out.extend_from_slice(&tag);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::super::builder::{Compressor, FrameBuilder};
    use super::super::pad::Pad;
    use super::*;
    use crate::crypto::Key;
    use crate::format::toc::TocChunk;
    use crate::id::{ChunkId, WriterId};

    fn sealer(key: &Key) -> BrickSealer {
        let recipient = key.public_key().unwrap();
        BrickSealer::new(StoreId([1; 16]), Epoch::FIRST, Class::Data, &[recipient]).unwrap()
    }

    fn frame(header_length: usize) -> CompressedFrame {
        let mut builder = FrameBuilder::new();
        builder.push(b"chunk");
        let mut frame = CompressedFrame::new();
        builder
            .compress(
                &mut Compressor::new(),
                1,
                header_length,
                Pad::None,
                &mut frame,
            )
            .unwrap();
        frame
    }

    #[test]
    fn no_number_is_used_twice() {
        let sealer = sealer(&Key::generate().unwrap());
        let seal = |number| sealer.seal_frame(number, &mut frame(sealer.frame_header_length()));
        assert!(seal(0).is_ok() && seal(64).is_ok() && seal(65_535).is_ok());
        assert!(seal(0).is_err() && seal(64).is_err() && seal(65_536).is_err());
    }

    #[test]
    fn a_sealed_frame_is_not_sealed_again_by_mistake() {
        let sealer = sealer(&Key::generate().unwrap());
        let mut other = frame(sealer.frame_header_length() + 1);
        assert!(sealer.seal_frame(0, &mut other).is_err());
    }

    #[test]
    fn a_brick_gets_one_toc_of_its_class_and_epoch() {
        let key = Key::generate().unwrap();
        let sealer = sealer(&key);
        let keys = key.put_keys(StoreId([1; 16]), Epoch::FIRST).unwrap();
        let toc = |class| {
            let mut toc = Toc::new(class, WriterId([1; 16]));
            let id = ChunkId([2; 16]);
            toc.push_frame(1400, 6, [TocChunk { id, length: 5 }])
                .unwrap();
            toc
        };
        let later = key.put_keys(StoreId([1; 16]), Epoch(2)).unwrap();
        assert!(sealer.seal_toc(&later, &toc(Class::Data)).is_err());
        assert!(sealer.seal_toc(&keys, &toc(Class::Metadata)).is_err());
        assert!(sealer.seal_toc(&keys, &toc(Class::Data)).is_ok());
        assert!(sealer.seal_toc(&keys, &toc(Class::Data)).is_err());
    }

    /// The same bytes whenever it is made: what a machine that was set back draws.
    struct Again(blake3::OutputReader);

    impl rand_core::TryRng for Again {
        type Error = std::convert::Infallible;

        fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
            unreachable!("only bytes are drawn")
        }

        fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
            unreachable!("only bytes are drawn")
        }

        fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
            self.0.fill(bytes);
            Ok(())
        }
    }

    impl rand_core::TryCryptoRng for Again {}

    #[test]
    fn a_machine_that_is_set_back_uses_no_key_for_two_contents() {
        let key = Key::generate().unwrap();
        let recipients = [key.public_key().unwrap()];
        let (store, epoch) = (StoreId([1; 16]), Epoch::FIRST);
        let keys = key.put_keys(store, epoch).unwrap();
        let seal = |chunk: u8| {
            let mut random = Again(blake3::Hasher::new().finalize_xof());
            let sealer =
                BrickSealer::with_random(store, epoch, Class::Data, &recipients, &mut random)
                    .unwrap();
            let mut frame = CompressedFrame::new();
            let length = sealer.frame_header_length();
            let mut builder = FrameBuilder::new();
            builder.push(blake3::hash(&[chunk]).as_bytes());
            let compressor = &mut Compressor::new();
            builder
                .compress(compressor, 1, length, Pad::None, &mut frame)
                .unwrap();
            sealer.seal_frame(0, &mut frame).unwrap();
            let mut toc = Toc::new(Class::Data, WriterId([1; 16]));
            let id = ChunkId([chunk; 16]);
            toc.push_frame(1400, 33, [TocChunk { id, length: 32 }])
                .unwrap();
            let toc = sealer.seal_toc(&keys, &toc).unwrap();
            // Behind the headers: content header or counts, which are alike in both.
            let (frame, toc) = (&frame.bytes[length..], &toc[TOC_HEADER_LENGTH..]);
            (sealer.header(), frame[..16].to_vec(), toc[..28].to_vec())
        };
        let (one, two) = (seal(1), seal(2));
        assert_eq!(one, seal(1));
        assert_eq!(one.0, two.0, "the same salt, and so the same brick key");
        for (one, two) in [(one.1, two.1), (one.2, two.2)] {
            let same = one.iter().zip(&two).filter(|(one, two)| one == two).count();
            assert!(same < one.len() / 2, "{same} of {}", one.len());
        }
    }

    #[test]
    fn a_brick_needs_one_to_thirty_two_recipients() {
        let recipient = Key::generate().unwrap().public_key().unwrap();
        for count in [0, 33] {
            let recipients = vec![recipient.clone(); count];
            let sealer = BrickSealer::new(StoreId([1; 16]), Epoch(1), Class::Data, &recipients);
            assert!(sealer.is_err());
        }
    }
}
