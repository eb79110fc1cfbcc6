//! A second, plain implementation of what writes records and indexes, from
//! `formats/index.md` alone. It writes what the library must not write, too.

use std::collections::BTreeMap;

use super::forge::{self, prefix, uv};

/// What stands in a record or a list, and the body that it yields.
#[derive(Clone, Default)]
pub struct Items {
    /// The items' bytes.
    pub bytes: Vec<u8>,
    /// How many they are.
    pub count: u64,
    /// What they yield.
    pub body: Vec<u8>,
    /// Chunks that they need, with their levels, in the order of use.
    pub uses: Vec<(u8, Vec<u8>)>,
}

impl Items {
    pub fn none() -> Self {
        Self::default()
    }

    /// An item's bytes as they are, for a body of zeros.
    pub fn raw(mut self, item: &[u8], covers: usize) -> Self {
        self.bytes.extend_from_slice(item);
        self.count += 1;
        self.body.resize(self.body.len() + covers, 0);
        self
    }

    pub fn whole(mut self, body: &[u8]) -> Self {
        self = self.raw(&[0], 0);
        self.yields(body)
    }

    pub fn chunk(mut self, body: &[u8]) -> Self {
        self = self.raw(&chunk_item(body.len() as u64), 0);
        let hash = self.bytes.len() - 32;
        self.bytes[hash..].copy_from_slice(blake3::hash(body).as_bytes());
        self.yields(body)
    }

    pub fn zeros(self, length: usize) -> Self {
        self.raw(&zeros_item(length as u64), length)
    }

    /// A list of `level` that holds `inner`.
    pub fn list(self, level: u8, inner: &Self) -> Self {
        let covers = inner.body.len() as u64;
        self.list_that_states(level, inner, &inner.bytes, covers, &inner.counts(level))
    }

    /// A list of these bytes that states what it likes.
    pub fn list_that_states(
        mut self,
        level: u8,
        inner: &Self,
        bytes: &[u8],
        covers: u64,
        counts: &[u64],
    ) -> Self {
        let hash = blake3::hash(bytes);
        let item = list_item(level, bytes.len() as u64, hash.as_bytes(), covers, counts);
        self = self.raw(&item, 0);
        self.uses.push((level, bytes.to_vec()));
        self.uses.extend_from_slice(&inner.uses);
        let end = self.body.len() + usize::try_from(covers).unwrap();
        self.body.extend_from_slice(&inner.body);
        self.body.resize(end, 0);
        self
    }

    /// How many chunks of the levels below `level` they need.
    pub fn counts(&self, level: u8) -> Vec<u64> {
        let mut counts = vec![0; level.into()];
        for (used, _) in &self.uses {
            counts[usize::from(*used)] += 1;
        }
        counts
    }

    fn yields(mut self, body: &[u8]) -> Self {
        self.uses.push((0, body.to_vec()));
        self.body.extend_from_slice(body);
        self
    }
}

/// An item of kind 1 for a chunk of so many bytes, its hash 32 zeros.
pub fn chunk_item(length: u64) -> Vec<u8> {
    [&[1][..], &uv(length), &[0; 32]].concat()
}

pub fn list_item(level: u8, length: u64, hash: &[u8], covers: u64, counts: &[u64]) -> Vec<u8> {
    let counts: Vec<u8> = counts.iter().flat_map(|count| uv(*count)).collect();
    [&[2, level][..], &uv(length), hash, &uv(covers), &counts].concat()
}

pub fn zeros_item(length: u64) -> Vec<u8> {
    [&[3][..], &uv(length)].concat()
}

pub fn field(tag: u8, value: &[u8]) -> Vec<u8> {
    [&[tag][..], &uv(value.len() as u64), value].concat()
}

/// The field *patches*.
pub fn patches(patches: &[(u64, &[u8])]) -> Vec<u8> {
    let value: Vec<u8> = patches
        .iter()
        .flat_map(|(distance, bytes)| [&uv(*distance), &uv(bytes.len() as u64), *bytes].concat())
        .collect();
    field(128, &value)
}

/// The kinds of body.
pub const MEMBER: u8 = 0;
pub const OPAQUE: u8 = 1;
pub const TAIL: u8 = 2;

/// A record in the making.
#[derive(Clone, Default)]
pub struct Record {
    pub kind: u8,
    pub forms: [u8; 2],
    pub items: Items,
    pub fields: Vec<u8>,
    /// Stated instead of the length of what the items yield.
    pub body_length: Option<u64>,
    /// Stated instead of the number of items.
    pub count: Option<u64>,
    /// Stated instead of the hash of what the items yield.
    pub hash: Option<[u8; 32]>,
}

impl Record {
    pub fn new(kind: u8, items: Items) -> Self {
        Self {
            kind,
            items,
            ..Self::default()
        }
    }

    pub fn fields(self, fields: &[Vec<u8>]) -> Self {
        let fields = fields.concat();
        Self { fields, ..self }
    }

    pub fn forms(self, size: u8, checksum: u8) -> Self {
        let forms = [size, checksum];
        Self { forms, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let body = &self.items.body;
        let hash = self.hash.unwrap_or_else(|| blake3::hash(body).into());
        let rest = [
            &[self.kind, self.forms[0], self.forms[1], 0][..],
            &uv(self.body_length.unwrap_or(body.len() as u64)),
            &hash,
            &uv(self.count.unwrap_or(self.items.count)),
            &self.items.bytes,
            &self.fields,
        ]
        .concat();
        let length = u32::try_from(20 + rest.len()).unwrap();
        [&prefix(b"dtarBODY")[..], &length.to_le_bytes(), &rest].concat()
    }
}

/// A step of the map.
pub const IN_PLACE: u64 = 0;
pub const ASIDE: u64 = 1;
pub const MARKER: u64 = 2;

pub fn marker() -> Vec<u8> {
    [&prefix(b"dtarOPAQ")[..], &[0xff; 496]].concat()
}

/// Bytes, and zeros up to the next block.
pub fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A used frame: number, offset, length and plain length.
pub type UsedFrame = [u64; 4];

/// A section: magic, flags, payload.
pub type Section = ([u8; 4], u32, Vec<u8>);

/// An index in the making, step by step.
#[derive(Clone, Default)]
pub struct Archive {
    pub members: Vec<u8>,
    pub records: Vec<u8>,
    pub steps: Vec<u64>,
    pub stream: Vec<u8>,
    pub member_count: u64,
    uses: BTreeMap<u8, Vec<Vec<u8>>>,
}

impl Archive {
    /// A run of the stream as it is, and a record; both yield what stands in the index.
    pub fn step(self, place: u64, run: &[u8], record: &Record) -> Self {
        let missing = match record.kind {
            MEMBER => record.items.body.len().wrapping_neg() % 512,
            _ => 0,
        };
        self.step_of(place, run, run, record, &vec![0; missing])
    }

    /// A step that yields `true_run` instead of `run`, and this padding.
    pub fn step_of(
        mut self,
        place: u64,
        run: &[u8],
        true_run: &[u8],
        record: &Record,
        padding: &[u8],
    ) -> Self {
        self.members.extend_from_slice(run);
        match place {
            IN_PLACE => self.members.extend(padded(record.bytes())),
            _ => self.records.extend(record.bytes()),
        }
        if place == MARKER {
            self.members.extend(marker());
        }
        self.steps.push(run.len() as u64 / 512 * 4 + place);
        for part in [true_run, &record.items.body, padding] {
            self.stream.extend_from_slice(part);
        }
        self.member_count += u64::from(record.kind == MEMBER);
        for (level, chunk) in &record.items.uses {
            self.uses.entry(*level).or_default().push(chunk.clone());
        }
        self
    }

    /// The tail: two zero blocks.
    pub fn end(self) -> Self {
        self.step(ASIDE, &[], &Record::new(TAIL, Items::none().zeros(1024)))
    }

    /// All chunks, each once.
    pub fn chunks(&self) -> Vec<Vec<u8>> {
        let mut chunks: Vec<Vec<u8>> = Vec::new();
        for chunk in self.uses.values().flatten() {
            if !chunks.contains(chunk) {
                chunks.push(chunk.clone());
            }
        }
        chunks
    }

    /// Where all chunks of `level` lie, if those of `chunks` lie in one frame: places.
    pub fn places(&self, level: u8, chunks: &[Vec<u8>]) -> Vec<u64> {
        let place = |chunk| chunks.iter().position(|known| known == chunk).unwrap() as u64;
        self.uses[&level].iter().map(place).collect()
    }

    pub fn levels(&self) -> Vec<u8> {
        self.uses.keys().copied().collect()
    }

    pub fn summary(&self) -> Vec<u8> {
        let xxh3 = xxhash_rust::xxh3::xxh3_128(&self.stream);
        [
            &forge::STORE[..],
            &key_id(),
            &1_u32.to_le_bytes(),
            &[0; 4],
            &(self.stream.len() as u64).to_le_bytes(),
            &xxh3.to_le_bytes(),
            &(self.members.len() as u64).to_le_bytes(),
            &self.member_count.to_le_bytes(),
        ]
        .concat()
    }

    /// The map, equal steps joined.
    pub fn map(&self) -> Vec<u8> {
        self.steps
            .chunk_by(|one, next| one == next)
            .flat_map(|equal| [uv(equal[0]), uv(equal.len() as u64)].concat())
            .collect()
    }

    /// The index, with its bricks and hints.
    pub fn index(&self, bricks: Vec<u8>, hints: Vec<Vec<u8>>) -> Index {
        let mut sections = vec![
            (*b"SUMM", 1, self.summary()),
            (*b"RECS", 1, self.records.clone()),
            (*b"MAPS", 1, self.map()),
            (*b"BRIK", 1, bricks),
        ];
        sections.extend(hints.into_iter().map(|hints| (*b"HINT", 1, hints)));
        sections.push((*b"DONE", 1, Vec::new()));
        Index {
            members: self.members.clone(),
            zero_blocks: vec![0; 1024],
            head: [&prefix(b"dtarTRLR")[..], &[0; 8]].concat(),
            offset: None,
            sections,
            padding: None,
            sealed_epoch: 1,
        }
    }

    /// The index of a stream without chunks.
    pub fn plain(&self) -> Index {
        self.index(vec![0], Vec::new())
    }

    /// The index, and the brick that holds all chunks in its one frame.
    pub fn with_brick(&self) -> (Index, Vec<u8>) {
        let chunks = self.chunks();
        let (brick, used) = brick(&chunks);
        let hints = self.levels().into_iter().map(|level| {
            let places = self.places(level, &chunks);
            let runs: Vec<[u64; 3]> = places
                .chunk_by(|one, next| one + 1 == *next)
                .map(|run| [0, run[0], run.len() as u64])
                .collect();
            hints(level, &[&runs])
        });
        let bricks = brick_table(&[(&brick, &[used])]);
        (self.index(bricks, hints.collect()), brick)
    }
}

/// The key id of the store's own key.
pub fn key_id() -> [u8; 16] {
    forge::check(&forge::public_key(&forge::master()))
}

/// As much of a brick as restoring needs, and where its frame lies.
pub fn brick(chunks: &[Vec<u8>]) -> (Vec<u8>, UsedFrame) {
    let frame = forge::Frame::new("index", &[forge::master()]);
    let chunks: Vec<&[u8]> = chunks.iter().map(Vec::as_slice).collect();
    let opened = forge::stored(&chunks);
    let sealed = frame.seal(&opened, |_| ());
    let plain = u32::from_le_bytes(opened[4..8].try_into().unwrap());
    let used = [frame.number.into(), 80, sealed.len() as u64, plain.into()];
    let brick = [forge::brick_header(&frame.salt), sealed].concat();
    (brick, used)
}

/// The payload of `BRIK`: bricks and their used frames.
pub fn brick_table(bricks: &[(&[u8], &[UsedFrame])]) -> Vec<u8> {
    let mut bytes = uv(bricks.len() as u64);
    for (brick, frames) in bricks {
        let name = blake3::hash(brick);
        bytes.extend(brick_entry(name.as_bytes(), brick.len() as u64, frames));
    }
    bytes
}

pub fn brick_entry(name: &[u8; 32], length: u64, frames: &[UsedFrame]) -> Vec<u8> {
    let mut bytes = [&name[..], &uv(length), &uv(frames.len() as u64)].concat();
    let (mut next, mut end) = (0, 80);
    for [number, offset, length, plain] in frames {
        for value in [number - next, offset - end, *length, *plain] {
            bytes.extend(uv(value));
        }
        (next, end) = (number + 1, offset + length);
    }
    bytes
}

/// The payload of `HINT`: pages of runs of frame ordinal, place and number of chunks.
pub fn hints(level: u8, pages: &[&[[u64; 3]]]) -> Vec<u8> {
    let count = |page: &[[u64; 3]]| page.iter().map(|run| run[2]).sum::<u64>();
    let all = pages.iter().map(|page| count(page)).sum();
    let mut bytes = [&[level][..], &uv(all)].concat();
    let mut before = 0;
    for page in pages {
        bytes.extend(hint_page(before, count(page), &hint_runs(page)));
        before += count(page);
    }
    bytes
}

pub fn hint_page(before: u64, count: u64, runs: &[u8]) -> Vec<u8> {
    [
        &u32::try_from(runs.len()).unwrap().to_le_bytes()[..],
        &u32::try_from(count).unwrap().to_le_bytes(),
        &before.to_le_bytes(),
        runs,
    ]
    .concat()
}

fn hint_runs(page: &[[u64; 3]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut last = 0;
    for &[frame, place, count] in page {
        let zigzag = if frame >= last {
            2 * (frame - last)
        } else {
            2 * (last - frame) - 1
        };
        for value in [zigzag, place, count] {
            bytes.extend(uv(value));
        }
        last = frame;
    }
    bytes
}

/// The parts of an index, to be changed before it is sealed.
#[derive(Clone)]
pub struct Index {
    pub members: Vec<u8>,
    pub zero_blocks: Vec<u8>,
    /// What stands before the sections; the offset is filled in.
    pub head: Vec<u8>,
    /// An offset that is not the trailer's.
    pub offset: Option<u64>,
    pub sections: Vec<Section>,
    /// Other bytes than the zeros behind the sections.
    pub padding: Option<Vec<u8>>,
    /// The epoch whose key seals.
    pub sealed_epoch: u32,
}

impl Index {
    /// The payload of a section.
    pub fn section(&mut self, magic: [u8; 4]) -> &mut Vec<u8> {
        let place = self.place(magic);
        &mut self.sections[place].2
    }

    /// The place of a section among all.
    pub fn place(&self, magic: [u8; 4]) -> usize {
        let found = self.sections.iter().position(|(found, ..)| *found == magic);
        found.expect("a section of this kind")
    }

    /// The same with a change.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The same with another payload of one section.
    pub fn with_section(self, magic: [u8; 4], payload: Vec<u8>) -> Self {
        self.with(|index| *index.section(magic) = payload)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = [&self.members[..], &self.zero_blocks].concat();
        let trailer = bytes.len();
        let offset = self.offset.unwrap_or(trailer as u64);
        bytes.extend_from_slice(&self.head[..16]);
        bytes.extend_from_slice(&offset.to_le_bytes());
        for (magic, flags, payload) in &self.sections {
            bytes.extend_from_slice(magic);
            bytes.extend_from_slice(&flags.to_le_bytes());
            bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
            bytes.extend_from_slice(payload);
        }
        match &self.padding {
            Some(padding) => bytes.extend_from_slice(padding),
            None => bytes.resize((bytes.len() + 96).next_multiple_of(512) - 96, 0),
        }
        let length = bytes.len() as u64 + 96;
        let trailer = trailer as u64;
        let end = end([trailer, length - 64 - trailer, length, 0], |_| ());
        bytes.extend_from_slice(&seal(self.sealed_epoch, &bytes, &end));
        bytes.extend(end);
        bytes
    }
}

/// The seal over the bytes before it and the end behind it.
pub fn seal(epoch: u32, before: &[u8], end: &[u8]) -> [u8; 32] {
    let secret = forge::put_secret(&forge::master(), epoch);
    let sealed = [before, end].concat();
    blake3::keyed_hash(&forge::kdf("index key", &[&secret]), &sealed).into()
}

/// The last 64 bytes, with `edit` done before the check is made.
pub fn end(numbers: [u64; 4], edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
    let mut bytes = [&prefix(b"dtarIEND")[..], &numbers, &[0; 16]].concat();
    edit(&mut bytes);
    forge::recheck(&mut bytes);
    bytes
}
