//! What a header group says about its member, for listing and for choosing
//! members by name. Nothing here affects what is restored.

use super::extensions::{Extension, extensions};
use super::header::{Header, is_old_sparse, octal};
use super::pax::{decimal, records};
use super::{BLOCK, Globals};

/// What a member is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Member {
    /// The type of its main header.
    pub type_flag: u8,
    /// The name, as bytes.
    pub name: Vec<u8>,
    /// The target of a link, as bytes.
    pub link: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Number of the owner.
    pub uid: u64,
    /// Number of the group.
    pub gid: u64,
    /// Name of the owner, perhaps empty.
    pub user: Vec<u8>,
    /// Name of the group, perhaps empty.
    pub group: Vec<u8>,
    /// Bytes of the body as the headers state them; of a sparse file without
    /// its holes.
    pub stored_size: u64,
    /// Bytes of the file when it is extracted.
    pub size: u64,
    /// When it was last changed, in seconds since 1970.
    pub mtime: i64,
    /// Nanoseconds to add to that.
    pub mtime_nanos: u32,
    /// Major and minor number of a device.
    pub device: (u64, u64),
}

impl Member {
    /// The member whose header group is `group`, or begins a longer run of
    /// bytes; `None` if no main header stands in it. `globals`: what earlier
    /// `g` headers said.
    #[must_use]
    pub fn parse(group: &[u8], globals: &Globals) -> Option<Self> {
        let mut found: Vec<Extension<'_>> = Vec::new();
        let mut main = 0;
        for extension in extensions(group) {
            main = extension.range.end;
            found.push(extension);
        }
        let block = group.get(main..)?.first_chunk()?;
        let mut member = Self::of_block(block)?;
        member.apply(globals.records());
        for extension in found.iter().filter(|extension| extension.is_global()) {
            member.apply(pairs(extension.body));
        }
        for extension in &found {
            match extension.type_flag {
                b'L' => member.name = text(extension.body),
                b'K' => member.link = text(extension.body),
                _ => {}
            }
        }
        for extension in found.iter().filter(|extension| extension.is_pax()) {
            member.apply(pairs(extension.body));
        }
        if member.type_flag == 0 && member.name.ends_with(b"/") {
            member.type_flag = b'5';
        }
        Some(member)
    }

    /// The member, as its main header alone describes it.
    fn of_block(block: &[u8; BLOCK]) -> Option<Self> {
        let header = Header::parse(block)?;
        let size = header.size;
        let mut member = Self {
            type_flag: header.type_flag,
            name: text(&block[..100]),
            link: text(&block[157..257]),
            mode: u32::try_from(number(&block[100..108]) & 0o7777).unwrap_or(0),
            uid: unsigned(&block[108..116]),
            gid: unsigned(&block[116..124]),
            mtime: number(&block[136..148]),
            stored_size: size,
            size,
            ..Self::default()
        };
        let gnu = &block[257..265] == b"ustar  \0";
        if gnu && is_old_sparse(header.type_flag) {
            member.size = unsigned(&block[483..495]);
        }
        if &block[257..262] == b"ustar" {
            member.user = text(&block[265..297]);
            member.group = text(&block[297..329]);
            member.device = (unsigned(&block[329..337]), unsigned(&block[337..345]));
        }
        if &block[257..263] == b"ustar\0" {
            // Behind a shorter prefix star keeps times.
            let star = &block[508..] == b"tar\0";
            let end = if star { 476 } else { 500 };
            let prefix = text(&block[345..end]);
            if !prefix.is_empty() {
                member.name = [&prefix, &b"/"[..], &member.name].concat();
            }
        }
        Some(member)
    }

    /// Applies pax records, the last ones first in rank. An empty value says nothing.
    fn apply<'a>(&mut self, pairs: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
        let (mut real_size, mut real_name) = (None, None);
        for (key, value) in pairs.filter(|(_, value)| !value.is_empty()) {
            match key {
                b"path" => self.name = value.to_vec(),
                b"GNU.sparse.name" => real_name = Some(value.to_vec()),
                b"linkpath" => self.link = value.to_vec(),
                b"uname" => self.user = value.to_vec(),
                b"gname" => self.group = value.to_vec(),
                b"uid" => set(&mut self.uid, decimal(value)),
                b"gid" => set(&mut self.gid, decimal(value)),
                b"size" => {
                    set(&mut self.stored_size, decimal(value));
                    set(&mut self.size, decimal(value));
                }
                b"GNU.sparse.size" | b"GNU.sparse.realsize" | b"SCHILY.realsize" => {
                    real_size = decimal(value).or(real_size);
                }
                b"SCHILY.devmajor" => set(&mut self.device.0, decimal(value)),
                b"SCHILY.devminor" => set(&mut self.device.1, decimal(value)),
                b"mtime" => {
                    if let Some((seconds, nanos)) = time(value) {
                        (self.mtime, self.mtime_nanos) = (seconds, nanos);
                    }
                }
                _ => {}
            }
        }
        set(&mut self.size, real_size);
        if let Some(name) = real_name {
            self.name = name;
        }
    }

    /// The letter that `ls -l` and `tar -tv` show for what it is.
    #[must_use]
    pub const fn letter(&self) -> char {
        match self.type_flag {
            0 | b'0' | b'S' | b's' => '-',
            b'1' => 'h',
            b'2' => 'l',
            b'3' => 'c',
            b'4' => 'b',
            b'5' | b'D' => 'd',
            b'6' => 'p',
            b'7' => 'C',
            b'V' => 'V',
            b'M' => 'M',
            _ => '?',
        }
    }

    /// Whether it is a character or block device.
    #[must_use]
    pub const fn is_device(&self) -> bool {
        matches!(self.type_flag, b'3' | b'4')
    }
}

fn set(field: &mut u64, value: Option<u64>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// Keys and values of pax records.
pub(super) fn pairs(body: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    records(body).map(|record| (record.key, record.value))
}

/// The bytes up to the first zero byte.
fn text(field: &[u8]) -> Vec<u8> {
    field
        .split(|&byte| byte == 0)
        .next()
        .unwrap_or(field)
        .to_vec()
}

/// The number in a field, octal or binary; 0 if it cannot be read.
fn number(field: &[u8]) -> i64 {
    let Some((&first @ 0x80.., rest)) = field.split_first() else {
        return octal(field).map_or(0, |value| i64::try_from(value).unwrap_or(i64::MAX));
    };
    // The highest bit is the mark, the one below it the sign.
    let start = if first & 0x40 == 0 {
        i128::from(first & 0x3f)
    } else {
        i128::from(first | 0x80) - 256
    };
    let value = rest
        .iter()
        .fold(start, |value, &byte| value << 8 | i128::from(byte));
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// The same; 0 if it is negative.
fn unsigned(field: &[u8]) -> u64 {
    u64::try_from(number(field)).unwrap_or(0)
}

/// Seconds since 1970, perhaps negative, perhaps with a fraction.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut parts = text.splitn(2, |&byte| byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    let mut nanos = 0;
    for place in 0..9 {
        let digit = fraction.get(place).copied().unwrap_or(b'0');
        nanos = nanos * 10 + u32::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?);
    }
    Some(match (negative, nanos) {
        (false, _) => (seconds, nanos),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanos),
    })
}

#[cfg(test)]
mod tests {
    use super::super::header::tests::{extension, header, seal};
    use super::super::pax::tests::record;
    use super::*;

    fn parse(pieces: &[&[u8]]) -> Member {
        Member::parse(&pieces.concat(), &Globals::default()).unwrap()
    }

    #[test]
    fn a_ustar_header_says_it_all() {
        let mut block = header(b'3', 7);
        block[100..136].copy_from_slice(b"0104755\x000000012\x00   17  \x0000000000007\0");
        block[157..161].copy_from_slice(b"link");
        block[265..269].copy_from_slice(b"root");
        block[297..302].copy_from_slice(b"wheel");
        block[329..345].copy_from_slice(b"0000010\x000000003\0");
        block[345..348].copy_from_slice(b"a/b");
        seal(&mut block);
        let member = parse(&[&block]);
        let expected = Member {
            type_flag: b'3',
            name: b"a/b/name".to_vec(),
            link: b"link".to_vec(),
            mode: 0o4755,
            uid: 10,
            gid: 15,
            user: b"root".to_vec(),
            group: b"wheel".to_vec(),
            stored_size: 7,
            size: 7,
            mtime: 0o14_000_000_000,
            mtime_nanos: 0,
            device: (8, 3),
        };
        assert_eq!(member, expected);
        assert_eq!(member.letter(), 'c');
    }

    #[test]
    fn what_is_no_prefix_is_not_taken_for_one() {
        let mut gnu = header(b'0', 0);
        gnu[257..265].copy_from_slice(b"ustar  \0");
        gnu[345..350].copy_from_slice(b"12345");
        seal(&mut gnu);
        assert_eq!(parse(&[&gnu]).name, b"name");
        let mut v7 = header(b'0', 0);
        v7[257..265].fill(0);
        v7[345..350].copy_from_slice(b"12345");
        seal(&mut v7);
        assert_eq!(parse(&[&v7]).name, b"name");
        let mut star = header(b'0', 0);
        star[508..].copy_from_slice(b"tar\0");
        star[476..487].copy_from_slice(b"14000000000");
        star[345] = b'p';
        seal(&mut star);
        assert_eq!(parse(&[&star]).name, b"p/name");
    }

    #[test]
    fn long_names_come_before_and_pax_records_above_all() {
        let long = extension(b'L', b"long name\0");
        let target = extension(b'K', b"target\0\0");
        let pax = [
            record("path", "pax"),
            record("mtime", "12.5"),
            record("uid", "4000000000"),
            record("gname", "staff"),
            record("uname", ""),
            record("size", "9"),
        ];
        let pax = extension(b'x', &pax.concat());
        let main = header(b'2', 0);
        let member = parse(&[&long, &target, &main]);
        assert_eq!(member.name, b"long name");
        assert_eq!(member.link, b"target");
        let member = parse(&[&pax, &long, &target, &main]);
        assert_eq!(member.name, b"pax");
        assert_eq!(member.link, b"target");
        assert_eq!((member.mtime, member.mtime_nanos), (12, 500_000_000));
        assert_eq!((member.uid, member.size), (4_000_000_000, 9));
        assert_eq!(member.group, b"staff");
    }

    #[test]
    fn global_records_are_defaults() {
        let global = extension(b'g', &[record("gname", "g"), record("uname", "u")].concat());
        let pax = extension(b'x', &record("gname", "x"));
        let main = header(b'0', 0);
        let mut globals = Globals::default();
        globals.read(&global);
        let group = [&pax[..], &main].concat();
        let member = Member::parse(&group, &globals).unwrap();
        assert_eq!(
            (&member.user[..], &member.group[..]),
            (&b"u"[..], &b"x"[..])
        );
        let member = parse(&[&pax, &global, &main]);
        assert_eq!(
            (&member.user[..], &member.group[..]),
            (&b"u"[..], &b"x"[..])
        );
    }

    #[test]
    fn sparse_members_have_two_sizes() {
        let pax = [
            record("GNU.sparse.name", "real"),
            record("path", "GNUSparseFile.1/real"),
            record("GNU.sparse.realsize", "10000"),
            record("size", "1024"),
        ];
        let member = parse(&[&extension(b'x', &pax.concat()), &header(b'0', 1_024)]);
        assert_eq!((member.stored_size, member.size), (1_024, 10_000));
        assert_eq!(member.name, b"real");
        let mut old = header(b'S', 512);
        old[257..265].copy_from_slice(b"ustar  \0");
        old[483..495].copy_from_slice(b"00000020000\0");
        seal(&mut old);
        let member = parse(&[&old]);
        assert_eq!((member.stored_size, member.size), (512, 8_192));
    }

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000017\0"), 15);
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\x02"), 258);
        assert_eq!(number(&[0xff; 8]), -1);
        assert_eq!(
            number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]),
            -2
        );
        assert_eq!(number(&[0xbf; 12]), i64::MAX);
        assert_eq!(number(&[0xc0; 12]), i64::MIN);
        assert_eq!(number(b"garbage!"), 0);
        assert_eq!(unsigned(&[0xff; 8]), 0);
    }

    #[test]
    fn times_have_fractions_and_signs() {
        assert_eq!(time(b"12"), Some((12, 0)));
        assert_eq!(time(b"12."), Some((12, 0)));
        assert_eq!(time(b"12.0000000019"), Some((12, 1)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-1"), Some((-1, 0)));
        for bad in [&b""[..], b".", b"x", b"1.x", b"--1", b"1.2.3"] {
            assert_eq!(time(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_name_with_a_slash_is_a_directory_in_old_headers() {
        let mut block = header(0, 0);
        block[4] = b'/';
        seal(&mut block);
        assert_eq!(parse(&[&block]).letter(), 'd');
    }

    #[test]
    fn without_a_main_header_there_is_no_member() {
        let lone = extension(b'x', b"text");
        let globals = Globals::default();
        assert_eq!(Member::parse(&lone, &globals), None);
        assert_eq!(Member::parse(b"", &globals), None);
        assert_eq!(Member::parse(&[0; BLOCK], &globals), None);
    }
}
