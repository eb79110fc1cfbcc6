//! Parity files, written from `formats/parity.md` alone.

use super::field::Field;

/// A set: what its description says, and the bricks.
pub struct Set {
    pub shard_length: usize,
    pub stripes: usize,
    pub recovery: usize,
    pub per_file: usize,
    /// In millionths.
    pub share: usize,
    /// Ascending by name.
    pub bricks: Vec<Vec<u8>>,
}

fn prefix(magic: [u8; 8]) -> Vec<u8> {
    [&magic[..], &[1, 0, 0, 0, 0, 0, 0, 0]].concat()
}

fn check(bytes: &[u8]) -> [u8; 16] {
    blake3::hash(bytes).as_bytes()[..16].try_into().unwrap()
}

fn number(value: usize) -> [u8; 4] {
    u32::try_from(value).unwrap().to_le_bytes()
}

fn uv(out: &mut Vec<u8>, mut value: usize) {
    while value >= 128 {
        out.push(u8::try_from(value % 128).unwrap() | 128);
        value /= 128;
    }
    out.push(u8::try_from(value).unwrap());
}

/// A head with any numbers.
pub fn head(set: [u8; 32], description: u64, numbers: [usize; 4]) -> Vec<u8> {
    let mut out = prefix(*b"dtarPARI");
    out.extend(set);
    out.extend(description.to_le_bytes());
    out.extend(numbers.into_iter().flat_map(number));
    out.resize(80, 0);
    out.extend(check(&out));
    out
}

impl Set {
    /// The recovery shards of each stripe.
    pub fn recovery_shards(&self) -> Vec<Vec<Vec<u8>>> {
        let field = Field::new();
        let stripe = |t: usize| {
            let mut originals = Vec::new();
            for brick in &self.bricks {
                let shards: Vec<&[u8]> = brick.chunks(self.shard_length).collect();
                let n = shards.len();
                let part = &shards[n * t / self.stripes..n * (t + 1) / self.stripes];
                originals.extend(part.iter().map(|shard| {
                    let mut shard = shard.to_vec();
                    shard.resize(self.shard_length, 0);
                    shard
                }));
            }
            field.recovery(&originals, self.recovery)
        };
        (0..self.stripes).map(stripe).collect()
    }

    /// The fixed part of the description.
    pub fn description_start(&self) -> Vec<u8> {
        let mut out = prefix(*b"dtarPSET");
        let numbers = [
            self.shard_length,
            self.stripes,
            self.recovery,
            self.per_file,
            self.bricks.len(),
            self.share,
        ];
        out.extend(numbers.into_iter().flat_map(number));
        out
    }

    pub fn description(&self) -> Vec<u8> {
        let mut out = self.description_start();
        for brick in &self.bricks {
            out.push(0);
            out.extend(blake3::hash(brick).as_bytes());
            uv(&mut out, brick.len());
        }
        for brick in &self.bricks {
            out.extend(brick.chunks(self.shard_length).flat_map(check));
        }
        let recovery = self.recovery_shards();
        out.extend(recovery.iter().flatten().flat_map(|shard| check(shard)));
        out
    }

    /// The parity files.
    pub fn files(&self) -> Vec<Vec<u8>> {
        let description = self.description();
        let set = *blake3::hash(&description).as_bytes();
        let recovery = self.recovery_shards();
        let file = |first: usize| {
            let count = self.per_file.min(self.recovery - first);
            let numbers = [self.shard_length, self.stripes, first, count];
            let head = head(set, description.len() as u64, numbers);
            let mut out = [&head[..], &description].concat();
            for stripe in &recovery {
                out.extend(stripe[first..first + count].concat());
            }
            out.extend(&description);
            out.extend(&head);
            out
        };
        (0..self.recovery)
            .step_by(self.per_file)
            .map(file)
            .collect()
    }
}
