//! The Reed-Solomon code of one stripe (`formats/parity.md#code`).
//!
//! The code is linear, and a run of `m` originals contributes to the recovery shards on
//! its own: the inverse transform of the run, added to that of all others, transformed
//! back at the end. So originals pass through one buffer of `m` shards, and memory does
//! not depend on how many there are.
//!
//! What is lost comes back in the same manner. Encode the originals with zeros for the
//! lost ones, and add the recovery shards that are there: what remains is the part of
//! the lost originals alone ([`Sums::add_to_recovery`]), and a decoder to which all
//! others are zeros yields them ([`Sums::solve`]).

use reed_solomon_simd::engine::{DefaultEngine, Engine, ShardsRefMut};
use reed_solomon_simd::rate::{DecoderWork, HighRateDecoder, RateDecoder};

use crate::error::{Error, Result};

/// Bytes that the decoder may take for its transform.
const SOLVE_BYTES: usize = 32 << 20;
/// What the code counts in: 32 symbols.
const BLOCK: usize = 64;

/// The sums over the originals of one stripe, and a buffer for the next originals.
pub struct Sums {
    engine: DefaultEngine,
    /// Recovery shards.
    recovery: usize,
    /// The same rounded up to a power of two: shards in a run.
    run: usize,
    /// Blocks in a shard.
    blocks: usize,
    sum: Vec<[u8; BLOCK]>,
    buffer: Vec<[u8; BLOCK]>,
    /// Number of the next run, counted from 0.
    next_run: usize,
}

impl Sums {
    /// For stripes of `recovery` recovery shards of `shard_length` bytes, which keep the
    /// limits of the formats page.
    pub fn new(recovery: u32, shard_length: u32) -> Self {
        let recovery = recovery as usize;
        let run = recovery.next_power_of_two();
        let blocks = shard_length as usize / BLOCK;
        Self {
            engine: DefaultEngine::new(),
            recovery,
            run,
            blocks,
            sum: vec![[0; BLOCK]; run * blocks],
            buffer: vec![[0; BLOCK]; run * blocks],
            next_run: 0,
        }
    }

    /// Shards in a run.
    pub const fn run(&self) -> usize {
        self.run
    }

    /// Begins another stripe.
    pub fn clear(&mut self) {
        self.sum.fill([0; BLOCK]);
        self.next_run = 0;
    }

    /// Where the next run of originals goes: [`Sums::run`] shards.
    pub fn buffer(&mut self) -> &mut [u8] {
        self.buffer.as_flattened_mut()
    }

    /// Adds the first `count` originals in the buffer. All runs but the last are full.
    pub fn add_run(&mut self, count: usize) {
        let count = count.min(self.run);
        if let Some(rest) = self.buffer.get_mut(count * self.blocks..) {
            rest.fill([0; BLOCK]);
        }
        self.next_run += 1;
        let mut shards = ShardsRefMut::new(self.run, self.blocks, &mut self.buffer);
        let skew = self.next_run * self.run;
        self.engine.ifft(&mut shards, 0, self.run, count, skew);
        for (sum, block) in self.sum.iter_mut().zip(&self.buffer) {
            for (sum, byte) in sum.iter_mut().zip(block) {
                *sum ^= byte;
            }
        }
    }

    /// Turns the sums into recovery shards. No run may be added after this.
    pub fn finish(&mut self) {
        let mut shards = ShardsRefMut::new(self.run, self.blocks, &mut self.sum);
        self.engine.fft(&mut shards, 0, self.run, self.recovery, 0);
    }

    /// The recovery shards, once finished, in a row.
    pub fn recovery(&self) -> &[u8] {
        let all = self.sum.as_flattened();
        all.get(..self.recovery * self.blocks * BLOCK)
            .unwrap_or(all)
    }

    /// Adds `shard`, as long as a shard, to recovery shard `number`: what remains is the
    /// part of the lost originals.
    pub fn add_to_recovery(&mut self, number: usize, shard: &[u8]) {
        let length = self.blocks * BLOCK;
        let at = number * length;
        if let Some(sum) = self.sum.as_flattened_mut().get_mut(at..at + length) {
            for (sum, byte) in sum.iter_mut().zip(shard) {
                *sum ^= byte;
            }
        }
    }

    /// Brings back the originals `lost` of `originals`, with the remainders of the recovery
    /// shards `have`, which must be as many at least. They are in the buffer then, in this
    /// order.
    ///
    /// # Errors
    /// [`Error::Internal`] if the numbers are not as said.
    pub fn solve(&mut self, originals: usize, lost: &[usize], have: &[usize]) -> Result<()> {
        let width = self.width(originals);
        let length = self.blocks * BLOCK;
        let zeros = vec![0; width];
        let mut work = Some(DecoderWork::new());
        let mut start = 0;
        while start < length {
            // The last columns may be fewer.
            let width = width.min(length - start);
            let zeros = zeros.get(..width).unwrap_or_default();
            let mut decoder = HighRateDecoder::new(
                originals,
                self.recovery,
                width,
                DefaultEngine::new(),
                work.take(),
            )
            .map_err(internal)?;
            self.give(&mut decoder, originals, (lost, have), (start, zeros))?;
            self.take(&mut decoder, lost, start)?;
            work = Some(decoder.into_parts().1);
            start += width;
        }
        Ok(())
    }

    /// Columns, in bytes, that are solved at a time.
    fn width(&self, originals: usize) -> usize {
        let points = (self.run + originals).next_power_of_two();
        let most = (SOLVE_BYTES / points / BLOCK).max(1) * BLOCK;
        most.min(self.blocks * BLOCK)
    }

    fn give(
        &self,
        decoder: &mut HighRateDecoder<DefaultEngine>,
        originals: usize,
        (lost, have): (&[usize], &[usize]),
        (start, zeros): (usize, &[u8]),
    ) -> Result<()> {
        let mut missing = lost.iter().peekable();
        for number in 0..originals {
            if missing.next_if(|lost| **lost == number).is_none() {
                decoder
                    .add_original_shard(number, zeros)
                    .map_err(internal)?;
            }
        }
        for &number in have.iter().take(lost.len()) {
            let at = number * self.blocks * BLOCK + start;
            let columns = self.sum.as_flattened().get(at..at + zeros.len());
            let columns = columns.unwrap_or_default();
            decoder
                .add_recovery_shard(number, columns)
                .map_err(internal)?;
        }
        Ok(())
    }

    fn take(
        &mut self,
        decoder: &mut HighRateDecoder<DefaultEngine>,
        lost: &[usize],
        start: usize,
    ) -> Result<()> {
        let length = self.blocks * BLOCK;
        let result = decoder.decode().map_err(internal)?;
        for (place, &number) in lost.iter().enumerate() {
            let columns = result.restored_original(number).unwrap_or_default();
            let at = place * length + start;
            let target = self.buffer.as_flattened_mut();
            match target.get_mut(at..at + columns.len()) {
                Some(target) if !columns.is_empty() => target.copy_from_slice(columns),
                _ => return Err(Error::Internal(format!("shard {number} did not come back"))),
            }
        }
        Ok(())
    }
}

fn internal(error: reed_solomon_simd::Error) -> Error {
    Error::Internal(format!("parity: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Recovery shards of `originals`, all of one length.
    fn encode(originals: &[Vec<u8>], recovery: usize, lost: &[usize]) -> Sums {
        let length = originals[0].len();
        let (count, shard_length) = (u32::try_from(recovery), u32::try_from(length));
        let mut sums = Sums::new(count.unwrap(), shard_length.unwrap());
        let numbered: Vec<_> = originals.iter().enumerate().collect();
        for run in numbered.chunks(sums.run()) {
            for (slot, (number, shard)) in sums.buffer().chunks_mut(length).zip(run) {
                if lost.contains(number) {
                    slot.fill(0);
                } else {
                    slot.copy_from_slice(shard);
                }
            }
            sums.add_run(run.len());
        }
        sums.finish();
        sums
    }

    fn random(length: usize, seed: u64) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_le_bytes());
        hasher.finalize_xof().fill(&mut bytes);
        bytes
    }

    fn shards(count: usize, length: usize) -> Vec<Vec<u8>> {
        (0..count).map(|seed| random(length, seed as u64)).collect()
    }

    #[test]
    fn runs_sum_up_to_what_the_crate_computes_at_once() {
        use reed_solomon_simd::rate::{HighRateEncoder, RateEncoder};
        for (count, recovery) in [(1, 1), (1, 5), (3, 2), (8, 4), (9, 4), (100, 7), (5, 9)] {
            let originals = shards(count, 192);
            let sums = encode(&originals, recovery, &[]);
            let engine = DefaultEngine::new();
            let mut encoder = HighRateEncoder::new(count, recovery, 192, engine, None).unwrap();
            for shard in &originals {
                encoder.add_original_shard(shard).unwrap();
            }
            let result = encoder.encode().unwrap();
            let expected: Vec<u8> = result.recovery_iter().flatten().copied().collect();
            assert_eq!(sums.recovery(), expected, "{count} and {recovery}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn as_many_as_there_are_recovery_shards_come_back(
            count in 1_usize..60,
            recovery in 1_usize..20,
            picks in prop::collection::vec(any::<prop::sample::Index>(), 1..20),
            gone in any::<prop::sample::Index>(),
        ) {
            let originals = shards(count, 128);
            let mut lost: Vec<usize> = picks.iter().map(|pick| pick.index(count)).collect();
            lost.sort_unstable();
            lost.dedup();
            lost.truncate(recovery);
            let whole = encode(&originals, recovery, &[]);
            let mut sums = encode(&originals, recovery, &lost);
            let start = gone.index(recovery - lost.len() + 1);
            let have: Vec<usize> = (start..recovery).collect();
            for &number in &have {
                sums.add_to_recovery(number, &whole.recovery()[number * 128..][..128]);
            }
            sums.solve(count, &lost, &have).unwrap();
            for (found, number) in sums.buffer().chunks(128).zip(&lost) {
                prop_assert_eq!(found, &originals[*number]);
            }
        }
    }
}
