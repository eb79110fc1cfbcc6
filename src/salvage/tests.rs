use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::brick::{
    BrickSealer, CompressedFrame, Compressor, FrameBuilder, OpenFrame, OpenScratch, Pad, footer,
    frame_header_length, open_brick_toc, open_sidecar,
};
use crate::format::brick::{BrickHeader, FOOTER_LENGTH, Footer};
use crate::format::frame::FrameHeader;
use crate::format::toc::{Toc, TocChunk};
use crate::format::wire::check;
use crate::id::{BrickName, ChunkHash, Epoch, WriterId};
use crate::store::testing::noise;

const STORE: StoreId = StoreId([1; 16]);
static KEY: LazyLock<Key> = LazyLock::new(|| Key::generate().unwrap());

/// A brick as archiving would write it, and where its frames stand.
#[derive(Clone)]
struct Made {
    bytes: Vec<u8>,
    frames: Vec<Range<usize>>,
}

impl Made {
    /// Each frame holds one chunk of noise of the given length.
    fn new(seed: u64, lengths: &[usize]) -> Self {
        Self::of_store(STORE, Class::Data, seed, lengths)
    }

    fn of_store(store: StoreId, class: Class, seed: u64, lengths: &[usize]) -> Self {
        Self::sealed_to(store, &[&KEY], class, seed, lengths)
    }

    fn sealed_to(
        store: StoreId,
        recipients: &[&Key],
        class: Class,
        seed: u64,
        lengths: &[usize],
    ) -> Self {
        let keys = KEY.put_keys(store, Epoch::FIRST).unwrap();
        let public = recipients.iter().map(|key| key.public_key().unwrap());
        let recipients: Vec<_> = public.collect();
        let sealer = BrickSealer::new(store, Epoch::FIRST, class, &recipients).unwrap();
        let mut toc = Toc::new(class, WriterId([9; 16]));
        let (mut bytes, mut frames) = (sealer.header(), Vec::new());
        for (number, &length) in (0..).zip(lengths) {
            let chunk = noise(seed * 1000 + u64::from(number), length);
            let mut builder = FrameBuilder::new();
            builder.push(&chunk);
            let mut frame = CompressedFrame::new();
            builder
                .compress(
                    &mut Compressor::new(),
                    1,
                    frame_header_length(recipients.len()),
                    Pad::None,
                    &mut frame,
                )
                .unwrap();
            sealer.seal_frame(number, &mut frame).unwrap();
            let hash = ChunkHash(*blake3::hash(&chunk).as_bytes());
            let id = match class {
                Class::Data => keys.chunk_id.id(&hash),
                Class::Metadata => keys.metadata_id.id(&hash),
            };
            let length = u32::try_from(length).unwrap();
            toc.push_frame(
                u32::try_from(frame.bytes.len()).unwrap(),
                frame.plain_length,
                [TocChunk { id, length }],
            )
            .unwrap();
            frames.push(bytes.len()..bytes.len() + frame.bytes.len());
            bytes.extend_from_slice(&frame.bytes);
        }
        let offset = bytes.len() as u64;
        let toc = sealer.seal_toc(&keys, &toc).unwrap();
        bytes.extend_from_slice(&toc);
        bytes.extend_from_slice(&footer(offset, toc.len() as u64));
        Self { bytes, frames }
    }

    fn frame(&self, number: usize) -> &[u8] {
        &self.bytes[self.frames[number].clone()]
    }

    fn all_frames(&self) -> BTreeSet<Vec<u8>> {
        let frames = self.frames.iter();
        frames
            .map(|range| self.bytes[range.clone()].to_vec())
            .collect()
    }

    fn name(&self) -> BrickName {
        BrickName(*blake3::hash(&self.bytes).as_bytes())
    }
}

fn options(input: &Path, to: &Path) -> SalvageOptions {
    SalvageOptions {
        inputs: vec![input.to_owned()],
        to: Some(to.to_owned()),
        dry_run: false,
        store: None,
        block_size: None,
        brick_size: 64 << 20,
        remember_chunks: false,
    }
}

/// An input, and what came of it.
struct Trial {
    dir: tempfile::TempDir,
}

impl Trial {
    fn new(input: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("input"), input).unwrap();
        Self { dir }
    }

    fn input(&self) -> PathBuf {
        self.dir.path().join("input")
    }

    fn to(&self) -> PathBuf {
        self.dir.path().join("to")
    }

    fn run(&self, key: Option<&Key>) -> SalvageSummary {
        Self::run_with(key, &options(&self.input(), &self.to()))
    }

    fn run_with(key: Option<&Key>, options: &SalvageOptions) -> SalvageSummary {
        salvage(options, key, &Monitor::default(), &mut |_| {})
            .unwrap()
            .summary
    }

    /// The files of the output, without those in the making.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = Files::new(&[self.to()]);
        let mut found = Vec::new();
        while let Some(file) = files.next().unwrap() {
            found.push(file);
        }
        found
    }

    /// The frames in the output's bricks, of which each is checked in every way and
    /// stands but once.
    fn frames(&self) -> BTreeSet<Vec<u8>> {
        let all: Vec<_> = self.bricks().collect();
        let found: BTreeSet<_> = all.iter().flatten().cloned().collect();
        let count: usize = all.iter().map(BTreeSet::len).sum();
        assert_eq!(found.len(), count, "a frame stands twice");
        found
    }

    /// The same, where a whole brick may hold frames that were found before it.
    fn frames_perhaps_twice(&self) -> BTreeSet<Vec<u8>> {
        self.bricks().flatten().collect()
    }

    fn bricks(&self) -> impl Iterator<Item = BTreeSet<Vec<u8>>> {
        let layout = Layout::new(self.to());
        let is_brick = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "brick");
        let bricks = self.files().into_iter().filter(is_brick);
        bricks.map(move |path| {
            let mut found = BTreeSet::new();
            check_brick(&path, &layout, &mut found);
            found
        })
    }
}

/// Fails unless a brick is sound to its last byte, and its sidecar too.
fn check_brick(path: &Path, layout: &Layout, found: &mut BTreeSet<Vec<u8>>) {
    let bytes = fs::read(path).unwrap();
    let name = BrickName(*blake3::hash(&bytes).as_bytes());
    let header = BrickHeader::decode(&bytes).unwrap();
    assert_eq!(path, layout.brick_path(&name, header.class));
    let keys = KEY.put_keys(header.store_id, header.epoch).unwrap();
    let (body, last) = bytes.split_last_chunk::<FOOTER_LENGTH>().unwrap();
    let footer = Footer::decode(last, bytes.len() as u64).unwrap();
    let offset = usize::try_from(footer.toc_offset).unwrap();
    let toc = open_brick_toc(&keys, &header, &body[offset..], &footer).unwrap();
    let sidecar = fs::read(layout.toc_path(&name)).unwrap();
    assert_eq!(open_sidecar(&keys, &name, &sidecar).unwrap(), toc);
    let opener = KEY.opener(header.store_id).unwrap();
    let (mut scratch, mut open) = (OpenScratch::new(), OpenFrame::new());
    for frame in toc.frames() {
        let start = usize::try_from(frame.offset).unwrap();
        let bytes = &bytes[start..start + frame.length as usize];
        header
            .require_frame(&FrameHeader::decode(bytes).unwrap())
            .unwrap();
        opener
            .open(&mut bytes.to_vec(), &mut scratch, &mut open)
            .unwrap();
        assert_eq!(open.plain.len(), frame.plain_length as usize);
        assert_eq!(open.chunk_count(), frame.chunk_count);
        for (place, told) in (0..).zip(toc.chunks_of(frame)) {
            let chunk = open.chunk(place).unwrap();
            let hash = ChunkHash(*blake3::hash(chunk).as_bytes());
            let key = match header.class {
                Class::Data => &keys.chunk_id,
                Class::Metadata => &keys.metadata_id,
            };
            assert_eq!(
                (told.id, told.length as usize),
                (key.id(&hash), chunk.len())
            );
        }
        assert!(found.insert(bytes.to_vec()), "a frame stands twice");
    }
}

#[test]
fn a_brick_that_is_whole_is_kept_byte_for_byte() {
    let made = Made::new(1, &[3000, 10, 70_000]);
    let trial = Trial::new(&[&noise(1, 777)[..], &made.bytes, &noise(2, 10)].concat());
    let summary = trial.run(Some(&KEY));
    assert_eq!(
        (summary.whole_bricks.number, summary.new_bricks.number),
        (1, 0)
    );
    assert_eq!((summary.sound.number, summary.damaged), (3, 0));
    let path = Layout::new(trial.to()).brick_path(&made.name(), Class::Data);
    assert_eq!(fs::read(path).unwrap(), made.bytes);
    assert_eq!(trial.frames(), made.all_frames());
    assert_eq!(trial.files().len(), 2, "a brick and its sidecar");
}

#[test]
fn frames_survive_without_header_toc_or_footer() {
    let made = Made::new(2, &[3000, 10, 70_000]);
    let end = made.frames[2].end;
    for zeroed in [
        0..80,
        end..made.bytes.len(),
        0..16,
        end..end + 16,
        made.bytes.len() - 64..made.bytes.len(),
    ] {
        let mut bytes = made.bytes.clone();
        bytes[zeroed].fill(0);
        let trial = Trial::new(&bytes);
        let summary = trial.run(Some(&KEY));
        assert_eq!(
            (summary.whole_bricks.number, summary.new_bricks.number),
            (0, 1)
        );
        assert_eq!(trial.frames(), made.all_frames());
    }
}

#[test]
fn a_damaged_frame_costs_itself_alone() {
    let made = Made::new(3, &[3000, 5000, 70_000]);
    for at in [0, 10, 40, 200, 1284, 5000] {
        let mut bytes = made.bytes.clone();
        bytes[made.frames[1].start + at] ^= 0x10;
        let trial = Trial::new(&bytes);
        let summary = trial.run(Some(&KEY));
        assert_eq!(summary.sound.number, 2, "{at}");
        let mut expected = made.all_frames();
        expected.remove(made.frame(1));
        assert_eq!(trial.frames(), expected);
    }
}

#[test]
fn a_damaged_toc_of_a_brick_never_comes_out_with_it() {
    let made = Made::new(4, &[300, 300]);
    let toc = made.frames[1].end;
    let mut bytes = made.bytes.clone();
    bytes[toc + 100] ^= 1;
    let trial = Trial::new(&bytes);
    assert_eq!(trial.run(Some(&KEY)).whole_bricks.number, 0);
    assert_eq!(trial.frames(), made.all_frames());
}

#[test]
fn frames_found_twice_are_written_once() {
    let made = Made::new(5, &[3000, 10]);
    let (half, rest) = made.bytes.split_at(made.frames[1].start);
    let trial = Trial::new(&[half, half, rest, rest, half].concat());
    let summary = trial.run(Some(&KEY));
    // The second half and the first rest make the brick whole.
    assert_eq!(summary.whole_bricks.number, 1);
    let frames: BTreeSet<_> = made.all_frames();
    let layout = Layout::new(trial.to());
    let mut whole = BTreeSet::new();
    check_brick(
        &layout.brick_path(&made.name(), Class::Data),
        &layout,
        &mut whole,
    );
    assert_eq!(whole, frames);

    let zeroed = vec![0; 80];
    let loose = [&zeroed, &made.bytes[80..], &zeroed, &made.bytes[80..]].concat();
    let trial = Trial::new(&loose);
    let summary = trial.run(Some(&KEY));
    assert_eq!((summary.sound.number, summary.again.number), (4, 2));
    assert_eq!(trial.frames(), frames);
}

#[test]
fn another_run_goes_on_without_harm() {
    let (one, other) = (Made::new(6, &[3000, 10]), Made::new(7, &[500]));
    let trial = Trial::new(&[&one.bytes[80..], &other.bytes].concat());
    trial.run(Some(&KEY));
    let before: Vec<_> = trial.files();
    let kept: Vec<_> = before.iter().map(|path| fs::read(path).unwrap()).collect();
    let summary = trial.run(Some(&KEY));
    assert_eq!((summary.sound.number, summary.again.number), (3, 3));
    assert_eq!(
        (summary.whole_bricks.number, summary.new_bricks.number),
        (0, 0)
    );
    assert_eq!(trial.files(), before);
    // What a crash between brick and sidecar has left is mended.
    for path in before
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "toc"))
    {
        fs::remove_file(path).unwrap();
    }
    trial.run(Some(&KEY));
    assert_eq!(trial.files(), before);
    let again: Vec<_> = before.iter().map(|path| fs::read(path).unwrap()).collect();
    assert_eq!(again, kept);
}

#[test]
fn without_a_key_frames_wait_for_one() {
    let (one, other) = (Made::new(8, &[3000, 10]), Made::new(9, &[500]));
    let mut bytes = [&one.bytes[80..], &other.bytes].concat();
    // Nobody can tell without the key.
    bytes[2000] ^= 1;
    let trial = Trial::new(&bytes);
    let summary = trial.run(None);
    assert_eq!((summary.unverified.number, summary.sound.number), (3, 0));
    assert_eq!((summary.whole_bricks.number, summary.loose.number), (1, 1));
    assert_eq!(trial.files().len(), 2, "no sidecar without a key");
    assert_eq!(trial.run(None).again.number, 3);
    assert_eq!(trial.files().len(), 2);
    trial.run(Some(&KEY));
    let expected = [one.frame(1), other.frame(0)].map(<[u8]>::to_vec);
    assert_eq!(trial.frames(), BTreeSet::from(expected));
}

#[test]
fn a_put_key_vouches_for_tocs_and_no_more() {
    let made = Made::new(10, &[3000, 10]);
    let put_key = KEY
        .to_put_key(STORE, Epoch::FIRST, &[KEY.public_key().unwrap()])
        .unwrap();
    let mut false_toc = made.bytes.clone();
    let at = made.frames[1].end + 100;
    false_toc[at] ^= 1;
    let trial = Trial::new(&[&false_toc[..], &made.bytes].concat());
    let summary = trial.run(Some(&put_key));
    assert_eq!(
        (summary.whole_bricks.number, summary.unverified.number),
        (1, 4)
    );
    let layout = Layout::new(trial.to());
    let mut found = BTreeSet::new();
    check_brick(
        &layout.brick_path(&made.name(), Class::Data),
        &layout,
        &mut found,
    );
    assert_eq!(found, made.all_frames());
}

#[test]
fn what_is_of_another_store_or_key_is_left_alone() {
    let mine = Made::new(11, &[300]);
    let other = Made::of_store(StoreId([2; 16]), Class::Data, 12, &[400]);
    let trial = Trial::new(&[&mine.bytes[..], &other.bytes].concat());
    let summary = trial.run(Some(&KEY));
    assert_eq!((summary.sound.number, summary.other_store), (1, 1));
    assert_eq!(summary.other_stores, [StoreId([2; 16])]);
    assert_eq!(trial.frames(), mine.all_frames());
    let stranger = Key::generate().unwrap();
    let trial = Trial::new(&mine.bytes);
    let summary = trial.run(Some(&stranger));
    assert_eq!((summary.sound.number, summary.other_key), (0, 1));
    assert_eq!(trial.files().len(), 0);
}

#[test]
fn a_key_in_escrow_verifies_frames_and_seals_no_toc() {
    let escrow = Key::generate().unwrap();
    let seal = |seed| Made::sealed_to(STORE, &[&KEY, &escrow], Class::Data, seed, &[300, 20]);
    let (one, other) = (seal(40), seal(41));
    let mut bytes = [&one.bytes[80..], &other.bytes].concat();
    let damaged = one.frames[0].end - 80 - 1;
    bytes[damaged] ^= 1;
    let trial = Trial::new(&bytes);
    let summary = trial.run(Some(&escrow));
    assert_eq!((summary.sound.number, summary.damaged), (3, 1));
    assert_eq!(
        (summary.whole_bricks.number, summary.new_bricks.number),
        (1, 0)
    );
    let layout = Layout::new(trial.to());
    let brick = layout.brick_path(&other.name(), Class::Data);
    assert_eq!(fs::read(&brick).unwrap(), other.bytes);
    assert!(!layout.tocs_dir().exists());
    let mut loose = trial.files();
    loose.retain(|path| *path != brick);
    let [loose] = &loose[..] else {
        panic!("{loose:?}")
    };
    assert_eq!(fs::read(loose).unwrap(), one.frame(1));
    // The store's own key goes on from there.
    fs::write(trial.input(), b"").unwrap();
    trial.run(Some(&KEY));
    let mut expected = &one.all_frames() | &other.all_frames();
    expected.remove(one.frame(0));
    assert_eq!(trial.frames(), expected);
}

#[test]
fn what_lies_across_a_gap_is_cut() {
    let made = Made::new(42, &[3000, 500]);
    let (half, rest) = made.bytes.split_at(made.frames[0].start + 2000);
    let mut scanner = Scanner::new(made.bytes.len());
    let mut found = Vec::new();
    for (offset, bytes) in [(0, half), (half.len() as u64 + 100, rest)] {
        scanner.begin(offset);
        scanner.room()[..bytes.len()].copy_from_slice(bytes);
        scanner.advance(bytes.len());
        scanner.end();
        found.extend(std::iter::from_fn(|| scanner.next_found()));
    }
    let structures = found.iter().map(|found| match *found {
        Found::Whole {
            structure, offset, ..
        } => (true, structure, offset),
        Found::Cut { structure, offset } => (false, structure, offset),
        Found::Refused { .. } => panic!("{found:?}"),
    });
    let [first, second] = [0, 1].map(|number| made.frames[number].clone());
    let end = |at: usize| at as u64 + 100;
    assert_eq!(
        structures.collect::<Vec<_>>(),
        [
            (true, Structure::BrickHeader, 0),
            (false, Structure::Frame, first.start as u64),
            (true, Structure::Frame, end(second.start)),
            (true, Structure::Toc, end(second.end)),
            (true, Structure::Footer, end(made.bytes.len() - 64)),
        ]
    );
}

#[test]
fn classes_stay_apart() {
    let data = Made::new(13, &[300, 200]);
    let metadata = Made::of_store(STORE, Class::Metadata, 14, &[400]);
    let bytes = [&data.bytes[80..], &metadata.bytes[80..]].concat();
    let trial = Trial::new(&bytes);
    assert_eq!(trial.run(Some(&KEY)).new_bricks.number, 2);
    let expected = &data.all_frames() | &metadata.all_frames();
    assert_eq!(trial.frames(), expected);
}

#[test]
fn new_bricks_keep_to_their_size() {
    let made = Made::new(15, &[30_000; 10]);
    let trial = Trial::new(&made.bytes[80..]);
    let mut options = options(&trial.input(), &trial.to());
    options.brick_size = 100_000;
    assert_eq!(Trial::run_with(Some(&KEY), &options).new_bricks.number, 4);
    assert_eq!(trial.frames(), made.all_frames());
    for path in trial.files() {
        assert!(fs::metadata(path).unwrap().len() <= 100_000);
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let (one, other) = (Made::new(16, &[3000, 10]), Made::new(17, &[500]));
    let trial = Trial::new(&[&one.bytes[80..], &other.bytes].concat());
    let mut options = options(&trial.input(), &trial.to());
    options.dry_run = true;
    let dry = Trial::run_with(Some(&KEY), &options);
    assert!(!trial.to().exists());
    let wet = trial.run(Some(&KEY));
    assert_eq!(dry.sound, wet.sound);
    assert_eq!(dry.whole_bricks, wet.whole_bricks);
    assert_eq!(dry.new_bricks, wet.new_bricks);
}

#[test]
fn folders_that_cannot_be_are_refused() {
    let trial = Trial::new(b"");
    let refused = |to: &Path, input: &Path| {
        let options = options(input, to);
        let result = salvage(&options, Some(&KEY), &Monitor::default(), &mut |_| {});
        assert_eq!(result.err().unwrap().exit(), Exit::Usage, "{to:?}");
    };
    let dir = trial.dir.path();
    refused(&dir.join("new/below"), dir);
    refused(dir, &trial.input());
    refused(&trial.input(), &trial.input());
    let store = dir.join("store");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("store.toml"), b"").unwrap();
    refused(&store, &trial.input());
}

/// A header of a frame with a good check, and lengths of its own.
fn false_header(like: &[u8], sealed: u32) -> Vec<u8> {
    let length = FrameHeader::decode(like).unwrap().length as usize;
    let mut header = like[..length].to_vec();
    header[20..24].copy_from_slice(&sealed.to_le_bytes());
    let end = length - 16;
    let check = check(&header[..end]);
    header[end..].copy_from_slice(&check);
    header
}

#[test]
fn false_headers_keep_no_frame_out() {
    let made = Made::new(18, &[3000, 40_000]);
    let huge = false_header(made.frame(0), 68_157_440);
    let close = false_header(made.frame(0), 5000);
    let mut magic = b"dtarFRAM\x01\0\0\0\0\0\0\0".to_vec();
    magic.extend_from_slice(&65_536_u32.to_le_bytes());
    let junk = [
        &huge[..],
        &magic,
        &huge,
        &close,
        &noise(1, 100),
        &magic,
        &magic,
    ]
    .concat();
    let input = [&junk, made.frame(0), &junk, made.frame(1), &junk].concat();
    let trial = Trial::new(&input);
    let summary = trial.run(Some(&KEY));
    assert_eq!(summary.sound.number, 2);
    assert_eq!(trial.frames(), made.all_frames());
}

#[test]
fn headers_without_end_take_neither_memory_nor_time() {
    let made = Made::new(19, &[3000]);
    let huge = false_header(made.frame(0), 68_157_440);
    let mut scanner = Scanner::new(64 << 10);
    let mut cut = 0;
    for _ in 0..2000 {
        for piece in huge.chunks(64 << 10) {
            scanner.room()[..piece.len()].copy_from_slice(piece);
            scanner.advance(piece.len());
            while let Some(found) = scanner.next_found() {
                assert!(matches!(found, Found::Cut { .. }));
                cut += 1;
            }
        }
    }
    assert_eq!(cut, 1999);
    assert!(scanner.memory() < 1 << 20);
}

#[test]
fn a_frame_may_begin_in_the_last_bytes_of_a_false_one() {
    let made = Made::new(20, &[3000]);
    let header = made.frame(0).len() - 3000;
    for overlap in 0..10 {
        // Claims to end so many bytes behind the start of the next.
        let claimed = u32::try_from(500 + overlap).unwrap();
        let outer = false_header(made.frame(0), claimed);
        assert!(outer.len() < header);
        let input = [
            &outer[..],
            &noise(3, 500),
            made.frame(0),
            &noise(4, overlap),
        ]
        .concat();
        let trial = Trial::new(&input);
        assert_eq!(trial.run(Some(&KEY)).sound.number, 1, "{overlap}");
    }
}

/// A change to bytes.
#[derive(Debug, Clone)]
enum Change {
    Flip(usize),
    Zero(usize, usize),
    Remove(usize, usize),
    Insert(usize, usize),
    Repeat(usize, usize),
    Truncate(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let range = |at: usize, length: usize, bytes: &[u8]| {
            let at = at % (bytes.len() + 1);
            at..bytes.len().min(at + length)
        };
        match *self {
            Self::Flip(at) => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1;
                }
            }
            Self::Zero(at, length) => {
                let range = range(at, length, bytes);
                bytes[range].fill(0);
            }
            Self::Remove(at, length) => drop(bytes.drain(range(at, length, bytes))),
            Self::Insert(at, length) => {
                let at = at % (bytes.len() + 1);
                bytes.splice(at..at, noise(length as u64, length));
            }
            Self::Repeat(at, length) => {
                let piece = bytes[range(at, length, bytes)].to_vec();
                bytes.extend_from_slice(&piece);
            }
            Self::Truncate(length) => bytes.truncate(length),
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let at = 0..30_000_usize;
    let length = 1..6000_usize;
    prop_oneof![
        at.clone().prop_map(Change::Flip),
        (at.clone(), length.clone()).prop_map(|(at, length)| Change::Zero(at, length)),
        (at.clone(), length.clone()).prop_map(|(at, length)| Change::Remove(at, length)),
        (at.clone(), length.clone()).prop_map(|(at, length)| Change::Insert(at, length)),
        (at, length).prop_map(|(at, length)| Change::Repeat(at, length)),
        (10_000..40_000_usize).prop_map(Change::Truncate),
    ]
}

/// Two bricks, one behind the other.
static BRICKS: LazyLock<[Made; 2]> = LazyLock::new(|| {
    [
        Made::new(30, &[100, 3000, 1, 7000]),
        Made::new(31, &[900, 5000]),
    ]
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_frame_that_is_intact_is_kept_and_nothing_else(
        changes in prop::collection::vec(change(), 0..6),
    ) {
        let mut bytes = [&BRICKS[0].bytes[..], &BRICKS[1].bytes].concat();
        for change in &changes {
            change.apply(&mut bytes);
        }
        let mut expected = &BRICKS[0].all_frames() | &BRICKS[1].all_frames();
        expected.retain(|frame| memchr::memmem::find(&bytes, frame).is_some());
        let trial = Trial::new(&bytes);
        let summary = trial.run(Some(&KEY));
        // A brick that is whole holds all its frames, though some were found before.
        let found = trial.frames_perhaps_twice();
        prop_assert_eq!(found, expected);
        prop_assert_eq!(summary.other_key + summary.other_store + summary.unverified.number, 0);
    }

    #[test]
    fn how_bytes_are_read_does_not_matter(
        changes in prop::collection::vec(change(), 0..4),
        piece in 1..5000_usize,
    ) {
        let mut bytes = BRICKS[0].bytes.clone();
        for change in &changes {
            change.apply(&mut bytes);
        }
        prop_assert_eq!(scanned(&bytes, piece), scanned(&bytes, bytes.len().max(1)));
    }
}

/// All that a scanner finds if it is given so many bytes at a time.
fn scanned(bytes: &[u8], piece: usize) -> Vec<Found> {
    let mut scanner = Scanner::new(piece);
    let mut found = Vec::new();
    for piece in bytes.chunks(piece) {
        scanner.room()[..piece.len()].copy_from_slice(piece);
        scanner.advance(piece.len());
        found.extend(std::iter::from_fn(|| scanner.next_found()));
    }
    scanner.end();
    found.extend(std::iter::from_fn(|| scanner.next_found()));
    found
}
