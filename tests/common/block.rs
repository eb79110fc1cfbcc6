//! Tar blocks made by hand, regular and awkward ones alike.

/// Length of a block.
pub const BLOCK: usize = 512;

/// One header block; every field can be set to any bytes.
#[derive(Clone)]
pub struct Header(pub [u8; BLOCK]);

impl Header {
    /// A ustar header of a regular file, mode 0644, with a good checksum.
    pub fn file(name: &str, size: u64) -> Self {
        let mut header = Self([0; BLOCK]);
        header.0[..name.len()].copy_from_slice(name.as_bytes());
        header
            .field(100, b"0000644\0")
            .field(108, b"0001750\0")
            .field(116, b"0001750\0")
            .field(124, format!("{size:011o}\0").as_bytes())
            .field(136, b"14512345670\0")
            .field(156, b"0")
            .field(257, b"ustar\x0000")
            .field(265, b"user")
            .field(297, b"group")
            .sum()
    }

    /// The same as the old GNU format has it.
    pub fn gnu(name: &str, size: u64) -> Self {
        Self::file(name, size).field(257, b"ustar  \0").sum()
    }

    /// An extension header (`x`, `g`, `L`, `K` …) for a body of that size.
    pub fn extension(typeflag: u8, size: usize) -> Self {
        Self::file("././@PaxHeader", size as u64).typeflag(typeflag)
    }

    /// Overwrites bytes from `offset` on; the checksum is left as it is.
    pub fn field(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.0[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Sets the type, and the checksum anew.
    pub fn typeflag(self, typeflag: u8) -> Self {
        self.field(156, &[typeflag]).sum()
    }

    /// Sets the link name, and the checksum anew.
    pub fn link(self, name: &str) -> Self {
        self.field(157, name.as_bytes()).sum()
    }

    /// Sets the twelve bytes of the size field, and the checksum anew.
    pub fn size_field(self, bytes: &[u8; 12]) -> Self {
        self.field(124, bytes).sum()
    }

    /// Sets the checksum to what is right, six digits, zero byte, space.
    pub fn sum(self) -> Self {
        let sum = self.checksum(|byte| i64::from(*byte));
        self.field(148, format!("{sum:06o}\0 ").as_bytes())
    }

    /// Sets the checksum as old writers did, which took bytes for signed ones.
    pub fn signed_sum(self) -> Self {
        let sum = self.checksum(|byte| i64::from(byte.cast_signed()));
        assert!(sum >= 0, "a negative sum has no octal form");
        self.field(148, format!("{sum:06o}\0 ").as_bytes())
    }

    fn checksum(&self, value: impl Fn(&u8) -> i64) -> i64 {
        let outside = self.0[..148].iter().chain(&self.0[156..]);
        outside.map(value).sum::<i64>() + 8 * i64::from(b' ')
    }
}

/// A stream being put together.
#[derive(Clone, Default)]
pub struct Stream(pub Vec<u8>);

impl Stream {
    /// An empty stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a header.
    pub fn header(self, header: &Header) -> Self {
        self.raw(&header.0)
    }

    /// Adds bytes as they are.
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds bytes and zeros up to the next block.
    pub fn body(self, bytes: &[u8]) -> Self {
        self.raw(bytes).pad(0)
    }

    /// Adds `byte` up to the next block.
    pub fn pad(mut self, byte: u8) -> Self {
        let length = self.0.len().next_multiple_of(BLOCK);
        self.0.resize(length, byte);
        self
    }

    /// Adds a regular file.
    pub fn file(self, name: &str, body: &[u8]) -> Self {
        self.header(&Header::file(name, body.len() as u64))
            .body(body)
    }

    /// Adds a pax header for the member that follows (`x`) or for all (`g`).
    pub fn pax(self, typeflag: u8, records: &[(&str, &[u8])]) -> Self {
        let body: Vec<u8> = records
            .iter()
            .flat_map(|(key, value)| pax_record(key, value))
            .collect();
        self.header(&Header::extension(typeflag, body.len()))
            .body(&body)
    }

    /// Adds that many zero blocks.
    pub fn zeros(mut self, blocks: usize) -> Self {
        self.0.resize(self.0.len() + blocks * BLOCK, 0);
        self
    }

    /// Adds the two zero blocks that end an archive.
    pub fn end(self) -> Vec<u8> {
        self.zeros(2).0
    }
}

/// One pax record: its length counts its own digits.
pub fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// A number in base 256, as GNU tar writes what octal digits cannot hold.
pub fn base256(value: u64) -> [u8; 12] {
    let mut field = [0; 12];
    field[0] = 0x80;
    field[4..].copy_from_slice(&value.to_be_bytes());
    field
}
