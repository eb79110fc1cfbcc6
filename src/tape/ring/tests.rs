use super::*;
use crate::format::tape::TapeFile;
use crate::tape::drive::Opened;

/// A drive that keeps what is written, and can be slow or end.
#[derive(Default)]
struct Memory {
    blocks: Vec<Vec<u8>>,
    room: Option<usize>,
    closed: bool,
    next: usize,
}

impl Drive for Memory {
    fn name(&self) -> String {
        "memory".into()
    }
    fn load(&mut self) -> Result<()> {
        Ok(())
    }
    fn unload(&mut self) -> Result<()> {
        Ok(())
    }
    fn block(&self) -> u32 {
        512
    }
    fn set_block(&mut self, _block: u32) {}
    fn capacity(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
    fn used(&mut self) -> Result<Option<u64>> {
        Ok(None)
    }
    fn open(&mut self, _number: u32) -> Result<Opened> {
        Ok(Opened::File(None))
    }
    fn read(&mut self, buffer: &mut [u8]) -> Result<Read> {
        let Some(block) = self.blocks.get(self.next) else {
            return Ok(Read::End);
        };
        self.next += 1;
        buffer[..block.len()].copy_from_slice(block);
        Ok(Read::Data(block.len()))
    }
    fn skip(&mut self, _bytes: u64) -> Result<u64> {
        Ok(0)
    }
    fn erase(&mut self) -> Result<()> {
        Ok(())
    }
    fn create(&mut self, _file: TapeFile) -> Result<()> {
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> std::result::Result<(), WriteFault> {
        if self.room == Some(self.blocks.len()) {
            return Err(WriteFault::Full);
        }
        self.blocks.push(bytes.to_vec());
        Ok(())
    }
    fn close(&mut self) -> std::result::Result<(), WriteFault> {
        self.closed = true;
        Ok(())
    }
    fn abandon(&mut self) -> Result<()> {
        Ok(())
    }
    fn finish(&mut self) -> std::result::Result<(), WriteFault> {
        Ok(())
    }
}

const STREAM: Stream = Stream {
    memory: 8 * 512,
    heed_warning: true,
};

fn content(length: usize) -> Vec<u8> {
    let byte = |at| u8::try_from(at * 31 % 251).unwrap();
    (0..length).map(byte).collect()
}

fn write_pieces(out: &mut dyn Write, content: &[u8], step: usize) -> Result<()> {
    content.chunks(step).try_for_each(|bytes| {
        out.write_all(bytes)
            .map_err(Error::io("write", "the test's tape"))
    })
}

#[test]
fn what_is_written_arrives_and_is_read_back() {
    for length in [0, 1, 511, 512, 513, 5000, 100_000] {
        let content = content(length);
        let (mut drive, monitor) = (Memory::default(), Monitor::default());
        let (whole, pace) = STREAM
            .write(&mut drive, &monitor, |out| write_pieces(out, &content, 777))
            .unwrap();
        assert!(drive.closed);
        assert_eq!(drive.blocks.concat(), content);
        assert_eq!((whole.length, pace.bytes), (length as u64, length as u64));
        assert_eq!(whole.sha256, Sha256Sum::of(&content));
        let mut back = Vec::new();
        let pace = STREAM
            .read(&mut drive, &monitor, |piece| {
                if let Piece::Data(bytes) = piece {
                    back.extend_from_slice(bytes);
                }
                Ok(Go::On)
            })
            .unwrap();
        assert_eq!(back, content);
        assert_eq!(pace.bytes, length as u64);
    }
}

#[test]
fn a_tape_that_ends_stops_the_source_and_is_the_reason() {
    let mut drive = Memory {
        room: Some(20),
        ..Memory::default()
    };
    let result = STREAM.write(&mut drive, &Monitor::default(), |out| {
        write_pieces(out, &content(1 << 20), 4096)
    });
    assert!(
        matches!(result, Err(WriteFailure::Tape(WriteFault::Full))),
        "{result:?}"
    );
    assert!(!drive.closed);
}

#[test]
fn a_source_that_fails_leaves_the_file_open() {
    let mut drive = Memory::default();
    let result = STREAM.write(&mut drive, &Monitor::default(), |out| {
        write_pieces(out, &content(10_000), 4096)?;
        Err(Error::Damaged("brick 3f is damaged".into()))
    });
    let Err(WriteFailure::Source(error)) = result else {
        panic!("{result:?}");
    };
    assert_eq!(error.to_string(), "brick 3f is damaged");
    assert!(!drive.closed);
}

#[test]
fn a_source_that_pauses_is_an_underrun() {
    let mut drive = Memory::default();
    let (_, pace) = STREAM
        .write(&mut drive, &Monitor::default(), |out| {
            for _ in 0..20 {
                write_pieces(out, &content(6 * 512), 512)?;
                thread::sleep(Duration::from_millis(20));
            }
            Ok(())
        })
        .unwrap();
    // A busy machine may hide some of the pauses, but not all.
    assert!((1..=20).contains(&pace.underruns), "{pace:?}");
}

#[test]
fn a_run_that_is_to_stop_stops() {
    let monitor = Monitor::default();
    monitor.stop();
    let result = STREAM.write(&mut Memory::default(), &monitor, |out| {
        write_pieces(out, &content(10_000), 4096)
    });
    assert!(matches!(result, Err(WriteFailure::Source(_))), "{result:?}");
}
