//! `dtar ls`: lists an index, like `tar tv`.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::args::{GlobalArgs, LsArgs};
use super::indexes::Indexes;
use super::say::Say;
use dtar::error::{Error, Exit, Result};
use dtar::restore::{Listing, Selection};
use dtar::tar::Member;

pub fn run(args: &LsArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let mut indexes = Indexes::new(global, say, args.unauthenticated, &args.bricks);
    let (index, trailer) = indexes.open(&args.index)?;
    let mut selection = Selection::new(&args.patterns)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let zone = TimeZone::system();
    let mut listing = Listing::new(&index, &trailer);
    let mut failed = None;
    let mut width = LEAST_WIDTH;
    while failed.is_none()
        && listing.next(&mut |listed| {
            let member = listed.member;
            if selection
                .as_mut()
                .is_some_and(|selection| !selection.wants(&member.name))
            {
                return;
            }
            let line = if say.is_json() {
                member_line(member).to_string().into_bytes()
            } else {
                line(member, &zone, &mut width)
            };
            if failed.is_none() {
                failed = out
                    .write_all(&line)
                    .and_then(|()| out.write_all(b"\n"))
                    .err();
            }
        })?
    {}
    let outcome = failed.map_or_else(|| out.flush(), Err);
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Error::io("write to", "standard output")(error));
        }
        _ => {}
    }
    let unmatched: Vec<_> = selection.iter().flat_map(Selection::unmatched).collect();
    for pattern in &unmatched {
        say.error_text(&format!(
            "{pattern}: no member of the index has such a name"
        ));
    }
    Ok(if unmatched.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Columns for owner and size together, at first.
pub const LEAST_WIDTH: usize = 19;

/// A line; `width` grows with the longest owner and size so far, as in GNU tar.
pub fn line(member: &Member, zone: &TimeZone, width: &mut usize) -> Vec<u8> {
    let owner = format!(
        "{}/{}",
        name_or_number(&member.user, member.uid),
        name_or_number(&member.group, member.gid),
    );
    let size = if member.is_device() {
        format!("{},{}", member.device.0, member.device.1)
    } else {
        member.size.to_string()
    };
    let owner_width = owner.chars().count();
    *width = (*width).max(owner_width + 1 + size.len());
    let rest = *width - owner_width;
    let mut line = format!(
        "{}{} {owner}{size:>rest$} {} ",
        member.letter(),
        mode(member.mode),
        time(member.mtime, zone),
    )
    .into_bytes();
    escape(&member.name, &mut line);
    match member.type_flag {
        b'1' => {
            line.extend_from_slice(b" link to ");
            escape(&member.link, &mut line);
        }
        b'2' => {
            line.extend_from_slice(b" -> ");
            escape(&member.link, &mut line);
        }
        _ => {}
    }
    line
}

/// A terminal must not obey what a name says: what does not print is escaped as GNU tar does it.
pub fn escape(name: &[u8], line: &mut Vec<u8>) {
    for chunk in name.utf8_chunks() {
        for character in chunk.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = character.encode_utf8(&mut bytes).as_bytes();
            if character == '\\' || character.is_control() {
                escape_bytes(bytes, line);
            } else {
                line.extend_from_slice(bytes);
            }
        }
        escape_bytes(chunk.invalid(), line);
    }
}

fn escape_bytes(bytes: &[u8], line: &mut Vec<u8>) {
    for &byte in bytes {
        let letter = match byte {
            0x07 => b'a',
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0b => b'v',
            0x0c => b'f',
            b'\r' => b'r',
            b'\\' => b'\\',
            _ => {
                line.extend_from_slice(format!("\\{byte:03o}").as_bytes());
                continue;
            }
        };
        line.extend_from_slice(&[b'\\', letter]);
    }
}

fn name_or_number(name: &[u8], number: u64) -> String {
    if name.is_empty() {
        return number.to_string();
    }
    let mut escaped = Vec::new();
    escape(name, &mut escaped);
    String::from_utf8_lossy(&escaped).into_owned()
}

fn mode(mode: u32) -> String {
    let mut text = String::with_capacity(9);
    for (shift, special, set) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift & 7;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, false) => set.to_ascii_uppercase(),
            (true, true) => set,
        });
    }
    text
}

fn time(seconds: i64, zone: &TimeZone) -> String {
    Timestamp::from_second(seconds).map_or_else(
        |_| seconds.to_string(),
        |time| {
            let time = time.to_zoned(zone.clone());
            time.strftime("%Y-%m-%d %H:%M").to_string()
        },
    )
}

/// What a line of JSON says of a member.
pub fn member_line(member: &Member) -> Value {
    let mut value = json!({
        "type": member.letter().to_string(),
        "mode": format!("{:04o}", member.mode),
        "uid": member.uid,
        "gid": member.gid,
        "size": member.size,
        "mtime": member.mtime,
        "mtime_ns": member.mtime_nanos,
    });
    put_text(&mut value, "name", &member.name);
    put_text(&mut value, "user", &member.user);
    put_text(&mut value, "group", &member.group);
    if !member.link.is_empty() {
        put_text(&mut value, "link", &member.link);
    }
    if member.is_device() {
        value["device"] = json!([member.device.0, member.device.1]);
    }
    value
}

/// Puts bytes that should be text; also in hex where they are not, for JSON cannot hold them.
pub fn put_text(value: &mut Value, key: &str, bytes: &[u8]) {
    value[key] = json!(String::from_utf8_lossy(bytes));
    if std::str::from_utf8(bytes).is_err() {
        let mut hex = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        value[format!("{key}_hex")] = json!(hex);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_move_the_cursor() {
        for (name, text) in [
            (&b"plain name"[..], "plain name"),
            ("ä€".as_bytes(), "ä€"),
            (b"a\\b\nc\x1b\x07\x7f", "a\\\\b\\nc\\033\\a\\177"),
            (b"\xff\xc3", "\\377\\303"),
            ("\u{9b}".as_bytes(), "\\302\\233"),
        ] {
            let mut line = Vec::new();
            escape(name, &mut line);
            assert_eq!(line, text.as_bytes());
        }
    }

    #[test]
    fn modes_read_as_in_ls() {
        for (bits, text) in [
            (0o755, "rwxr-xr-x"),
            (0o4755, "rwsr-xr-x"),
            (0o2644, "rw-r-Sr--"),
            (0o1777, "rwxrwxrwt"),
            (0o1000, "--------T"),
            (0, "---------"),
        ] {
            assert_eq!(mode(bits), text);
        }
    }
}
