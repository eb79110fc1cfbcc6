//! `dtar ls`: lists an index, like `tar tv`.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::args::{GlobalArgs, LsArgs};
use super::say::Say;
use super::setup;
use dtar::error::{Error, Exit, Result};
use dtar::index::IndexFile;
use dtar::restore::{Listing, Selection, open_index};
use dtar::store::Store;
use dtar::tar::Member;

pub fn run(args: &LsArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let index = IndexFile::open(&args.index)?;
    let trailer = index.trailer()?;
    check_seal(&index, global, say)?;
    let mut selection = Selection::new(&args.patterns)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let zone = TimeZone::system();
    let mut listing = Listing::new(&index, &trailer);
    let mut failed = None;
    while failed.is_none()
        && listing.next(&mut |member| {
            if selection
                .as_mut()
                .is_some_and(|selection| !selection.wants(&member.name))
            {
                return;
            }
            let line = if say.is_json() {
                json_line(member).to_string().into_bytes()
            } else {
                line(member, &zone)
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

/// Checks the seal if store and key are at hand; says so if not.
fn check_seal(index: &IndexFile, global: &GlobalArgs, say: Say) -> Result<()> {
    let at_hand = setup::key_path(global)?.exists() && setup::store_path(global)?.exists();
    if !at_hand {
        say.note("no key or no store here: the index could not be checked for changes");
        return Ok(());
    }
    let key = setup::key(global)?;
    let store = Store::open(&setup::store_path(global)?, &key)?;
    open_index(index, &store, &key).map(drop)
}

fn line(member: &Member, zone: &TimeZone) -> Vec<u8> {
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
    let width = 19_usize
        .saturating_sub(owner.chars().count())
        .max(size.len() + 1);
    let mut line = format!(
        "{}{} {owner}{size:>width$} {} ",
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

/// A terminal must not obey what a name says.
fn escape(name: &[u8], line: &mut Vec<u8>) {
    for &byte in name {
        if byte < 0x20 || byte == 0x7f || byte == b'\\' {
            line.extend(std::ascii::escape_default(byte));
        } else {
            line.push(byte);
        }
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

fn json_line(member: &Member) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // Only where the text is not the name: JSON cannot hold all names.
    let raw = |bytes: &[u8]| {
        std::str::from_utf8(bytes).is_err().then(|| {
            let mut hex = String::new();
            for byte in bytes {
                hex.extend(
                    [byte >> 4, byte & 15]
                        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)])),
                );
            }
            hex
        })
    };
    let mut value = json!({
        "name": text(&member.name),
        "type": member.letter().to_string(),
        "mode": format!("{:04o}", member.mode),
        "uid": member.uid,
        "gid": member.gid,
        "user": text(&member.user),
        "group": text(&member.group),
        "size": member.size,
        "mtime": member.mtime,
        "mtime_ns": member.mtime_nanos,
    });
    if let Some(name) = raw(&member.name) {
        value["name_hex"] = json!(name);
    }
    if !member.link.is_empty() {
        value["link"] = json!(text(&member.link));
    }
    if member.is_device() {
        value["device"] = json!([member.device.0, member.device.1]);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

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
