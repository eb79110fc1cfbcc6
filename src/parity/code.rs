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

use std::ops::Range;

use rayon::prelude::*;
use reed_solomon_simd::engine::{DefaultEngine, Engine, ShardsRefMut};
use reed_solomon_simd::rate::{DecoderWork, HighRateDecoder, RateDecoder};

use crate::error::{Error, Result};

/// Bytes that the decoder may take for its transform.
const SOLVE_BYTES: usize = 32 << 20;
/// Most threads that solve at once: each takes 4 MiB at least for the largest stripes.
const MOST_SOLVERS: usize = 8;
/// What the code counts in: 32 symbols.
const BLOCK: usize = 64;
/// About how many bytes are transformed at a time: what a processor's own cache holds.
const SLICE_BYTES: usize = 1 << 20;

/// The sums over the originals of one stripe, and a buffer for the next originals.
///
/// Columns do not depend on each other, so sums are kept in slices of a few columns: a
/// slice of all shards of a run fits a processor's cache, and slices are worked on in
/// parallel.
pub struct Sums {
    engine: DefaultEngine,
    /// Recovery shards.
    recovery: usize,
    /// The same rounded up to a power of two: shards in a run.
    run: usize,
    /// Blocks in a shard.
    blocks: usize,
    /// Blocks of a shard in a slice; the last slice may be narrower.
    slice: usize,
    /// Slice by slice until finished, then shard by shard.
    sum: Vec<[u8; BLOCK]>,
    /// Shard by shard.
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
            slice: (SLICE_BYTES / run / BLOCK).clamp(1, blocks.max(1)),
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

    /// Adds the first `count` originals in the buffer, on the current pool of threads. All
    /// runs but the last are full.
    pub fn add_run(&mut self, count: usize) {
        let count = count.min(self.run);
        self.next_run += 1;
        let skew = self.next_run * self.run;
        let (engine, run, blocks, slice) = (&self.engine, self.run, self.blocks, self.slice);
        let buffer = &self.buffer;
        let add = |scratch: &mut Vec<[u8; BLOCK]>, (number, sum): (usize, &mut [[u8; BLOCK]])| {
            let (start, width) = (number * slice, sum.len() / run);
            scratch.clear();
            for shard in buffer.chunks(blocks).take(count) {
                scratch.extend_from_slice(shard.get(start..start + width).unwrap_or_default());
            }
            scratch.resize(run * width, [0; BLOCK]);
            let mut shards = ShardsRefMut::new(run, width, scratch);
            engine.ifft(&mut shards, 0, run, count, skew);
            add_blocks(sum, scratch);
        };
        let slices = self.sum.par_chunks_mut(run * slice);
        slices.enumerate().for_each_init(Vec::new, add);
    }

    /// Turns the sums into recovery shards, on the current pool of threads. No run may be
    /// added after this.
    pub fn finish(&mut self) {
        let (engine, run, recovery) = (&self.engine, self.run, self.recovery);
        let slices = self.sum.par_chunks_mut(run * self.slice);
        slices.for_each(|sum| {
            let width = sum.len() / run;
            let mut shards = ShardsRefMut::new(run, width, sum);
            engine.fft(&mut shards, 0, run, recovery, 0);
        });
        for (number, sum) in self.sum.chunks(run * self.slice).enumerate() {
            let (start, width) = (number * self.slice, sum.len() / run);
            for (shard, part) in self.buffer.chunks_mut(self.blocks).zip(sum.chunks(width)) {
                if let Some(target) = shard.get_mut(start..start + width) {
                    target.copy_from_slice(part);
                }
            }
        }
        std::mem::swap(&mut self.sum, &mut self.buffer);
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
    /// shards `have`, which must be as many at least; on the current pool of threads. They
    /// are in the buffer then, in this order.
    ///
    /// # Errors
    /// [`Error::Internal`] if the numbers are not as said.
    pub fn solve(&mut self, originals: usize, lost: &[usize], have: &[usize]) -> Result<()> {
        let threads = rayon::current_num_threads().clamp(1, MOST_SOLVERS);
        let width = self.width(originals, threads);
        let length = self.blocks * BLOCK;
        let starts: Vec<usize> = (0..length).step_by(width).collect();
        let mut columns: Vec<Columns> = (0..threads).map(|_| Columns::default()).collect();
        for starts in starts.chunks(threads) {
            let this = &*self;
            let jobs = columns.par_iter_mut().zip(starts);
            jobs.try_for_each(|(columns, start)| {
                let width = width.min(length - start);
                this.solve_columns(columns, originals, (lost, have), *start..start + width)
            })?;
            for (columns, start) in columns.iter().zip(starts) {
                let width = width.min(length - start);
                let shards = self.buffer.as_flattened_mut().chunks_mut(length);
                for (shard, found) in shards.zip(columns.found.chunks(width)) {
                    if let Some(target) = shard.get_mut(*start..start + width) {
                        target.copy_from_slice(found);
                    }
                }
            }
        }
        Ok(())
    }

    /// Columns, in bytes, that are solved at a time by each of `threads`.
    fn width(&self, originals: usize, threads: usize) -> usize {
        let points = (self.run + originals).next_power_of_two();
        let most = (SOLVE_BYTES / threads / points / BLOCK).max(1) * BLOCK;
        most.min(self.blocks * BLOCK)
    }

    /// Solves for the bytes `range` of all lost shards.
    fn solve_columns(
        &self,
        columns: &mut Columns,
        originals: usize,
        (lost, have): (&[usize], &[usize]),
        range: Range<usize>,
    ) -> Result<()> {
        let (engine, work) = (DefaultEngine::new(), columns.work.take());
        let (recovery, width) = (self.recovery, range.len());
        let mut decoder =
            HighRateDecoder::new(originals, recovery, width, engine, work).map_err(internal)?;
        columns.zeros.resize(width, 0);
        let mut missing = lost.iter().peekable();
        for number in 0..originals {
            if missing.next_if(|lost| **lost == number).is_none() {
                let given = decoder.add_original_shard(number, &columns.zeros);
                given.map_err(internal)?;
            }
        }
        for &number in have.iter().take(lost.len()) {
            let at = number * self.blocks * BLOCK;
            let remainder = self
                .sum
                .as_flattened()
                .get(at + range.start..at + range.end);
            let given = decoder.add_recovery_shard(number, remainder.unwrap_or_default());
            given.map_err(internal)?;
        }
        let result = decoder.decode().map_err(internal)?;
        columns.found.clear();
        for &number in lost {
            let found = result.restored_original(number);
            let found = found
                .ok_or_else(|| Error::Internal(format!("shard {number} did not come back")))?;
            columns.found.extend_from_slice(found);
        }
        drop(result);
        columns.work = Some(decoder.into_parts().1);
        Ok(())
    }
}

/// What one thread solves with, and what it found.
#[derive(Default)]
struct Columns {
    work: Option<DecoderWork>,
    zeros: Vec<u8>,
    /// The columns of all lost shards, shard by shard.
    found: Vec<u8>,
}

/// Adds, which is XOR.
fn add_blocks(sums: &mut [[u8; BLOCK]], blocks: &[[u8; BLOCK]]) {
    for (sum, block) in sums.iter_mut().zip(blocks) {
        for (sum, byte) in sum.iter_mut().zip(block) {
            *sum ^= byte;
        }
    }
}

fn internal(error: reed_solomon_simd::Error) -> Error {
    Error::Internal(format!("parity: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::noise;
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

    fn shards(count: usize, length: usize) -> Vec<Vec<u8>> {
        (0..count).map(|seed| noise(seed as u64, length)).collect()
    }

    #[test]
    fn runs_sum_up_to_what_the_crate_computes_at_once() {
        use reed_solomon_simd::rate::{HighRateEncoder, RateEncoder};
        // The last needs several slices of columns, of which the last is narrower.
        for (count, recovery, length) in [
            (1, 1, 192),
            (1, 5, 192),
            (3, 2, 192),
            (8, 4, 192),
            (9, 4, 192),
            (100, 7, 192),
            (5, 9, 192),
            (3000, 1500, 704),
        ] {
            let originals = shards(count, length);
            let sums = encode(&originals, recovery, &[]);
            let engine = DefaultEngine::new();
            let mut encoder = HighRateEncoder::new(count, recovery, length, engine, None).unwrap();
            for shard in &originals {
                encoder.add_original_shard(shard).unwrap();
            }
            let result = encoder.encode().unwrap();
            let expected: Vec<u8> = result.recovery_iter().flatten().copied().collect();
            assert_eq!(sums.recovery(), expected, "{count} and {recovery}");
        }
    }

    #[test]
    fn columns_are_solved_for_in_slices() {
        let (count, length) = (20_000, 704);
        let originals = shards(count, length);
        let lost = [0, 777, 19_999];
        let whole = encode(&originals, 4, &[]);
        let mut sums = encode(&originals, 4, &lost);
        assert!(sums.width(count, 1) > sums.width(count, 16));
        for number in [0, 1, 3] {
            sums.add_to_recovery(number, &whole.recovery()[number * length..][..length]);
        }
        let pool = crate::threads::pool(16).unwrap();
        pool.install(|| sums.solve(count, &lost, &[0, 1, 3]))
            .unwrap();
        for (found, number) in sums.buffer().chunks(length).zip(lost) {
            assert!(found == originals[number], "{number}");
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
