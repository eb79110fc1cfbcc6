//! Header groups rewritten for the index, where a record stands in place of
//! the body, and back (`formats/stream.md#what-stands-in-the-index`,
//! `formats/index.md#patches`).
//!
//! A record holds what undoes the rewriting, so its length depends on that,
//! and the rewriting depends on the record's length. Hence two steps:
//! [`Undo::of`] tells what the record must hold, whatever the new size may be;
//! [`write_size`] writes that size, once the record is encoded.

use super::header::{CHECKSUM_FIELD, SIZE_FIELD, checksum};
use super::{BLOCK, BodyHead};
use crate::format::record::{Patch, Record};
use crate::format::wire::{DecodeError, DecodeResult};

/// How the digits of a numeric field end.
type Form = (usize, &'static [u8]);

/// The size forms, from 1 on: number of digits, then what follows them.
const SIZE_FORMS: [Form; 3] = [(11, b"\0"), (11, b" "), (12, b"")];
/// The checksum forms, from 1 on.
const CHECKSUM_FORMS: [Form; 4] = [(6, b"\0 "), (6, b" \0"), (7, b"\0"), (7, b" ")];

/// What a record must hold so that a group can be restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undo {
    /// How the size field was written; 0: it is patched.
    pub size_form: u8,
    /// How the checksum field was written; 0: it is patched.
    pub checksum_form: u8,
    /// The bytes that no form yields, in the order in which they stand in the group.
    pub patches: Vec<Patch>,
}

/// Where a member's record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// Behind the group.
    InPlace,
    /// To `RECS` in the trailer.
    Aside,
}

impl Undo {
    /// What undoes any rewriting of `group`, which `head` describes.
    #[must_use]
    pub fn of(group: &[u8], head: &BodyHead) -> Self {
        let mut undo = Self::default();
        for range in &head.pax_sizes {
            undo.patch(group, range.start as usize, range.end as usize);
        }
        if head.main + BLOCK == head.group_length {
            undo.find_forms(&group[head.main..], head.declared);
        }
        for (form, field) in [
            (undo.size_form, SIZE_FIELD),
            (undo.checksum_form, CHECKSUM_FIELD),
        ] {
            if form == 0 {
                undo.patch(group, head.main + field.start, head.main + field.end);
            }
        }
        undo
    }

    fn patch(&mut self, group: &[u8], start: usize, end: usize) {
        self.patches.push(Patch {
            distance: (group.len() - start) as u64,
            bytes: group[start..end].to_vec(),
        });
    }

    fn find_forms(&mut self, main: &[u8], declared: u64) {
        let Some(block) = main.first_chunk() else {
            return;
        };
        let sum = checksum(block);
        self.size_form = find_form(&SIZE_FORMS, &block[SIZE_FIELD], declared);
        self.checksum_form = find_form(&CHECKSUM_FORMS, &block[CHECKSUM_FIELD], sum);
    }
}

/// The number of the form in which `field` holds `value`; 0 if there is none.
fn find_form(forms: &[Form], field: &[u8], value: u64) -> u8 {
    let mut written = [0; SIZE_FIELD.end - SIZE_FIELD.start];
    let written = &mut written[..field.len()];
    (1..)
        .zip(forms)
        .find(|(_, form)| put_form(written, **form, value).is_some() && written == field)
        .map_or(0, |(number, _)| number)
}

/// Writes `value` into the whole of `field`; `None` if it does not fit.
fn put_form(field: &mut [u8], (digits, end): Form, value: u64) -> Option<()> {
    let (number, rest) = field.split_at_mut_checked(digits)?;
    rest.copy_from_slice(end);
    put_digits(number, value, 8)
}

/// Writes `value` into the whole of `field`, with leading zeros; `None` if it
/// does not fit.
fn put_digits(field: &mut [u8], mut value: u64, base: u64) -> Option<()> {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % base).ok()?;
        value /= base;
    }
    (value == 0).then_some(())
}

/// Whether `value` fits as many decimal digits as the range has bytes.
fn fits_digits(value: u64, range: &std::ops::Range<u32>) -> bool {
    let power = 10_u64.checked_pow(range.end.saturating_sub(range.start));
    power.is_none_or(|power| value < power)
}

/// Where the record of the member goes, if it is so many bytes long.
#[must_use]
pub fn place(head: &BodyHead, record_length: usize) -> Placement {
    let length = in_index(head, Placement::InPlace, record_length);
    let fits = head
        .pax_sizes
        .iter()
        .all(|range| fits_digits(length, range));
    if fits && !head.bodyless && !(head.sparse && record_length as u64 > head.declared) {
        Placement::InPlace
    } else {
        Placement::Aside
    }
}

/// The body's length in the index, in bytes: map blocks, and the record if it
/// is in place.
fn in_index(head: &BodyHead, placement: Placement, record_length: usize) -> u64 {
    let record_length = match placement {
        Placement::InPlace => record_length,
        Placement::Aside => 0,
    };
    (head.map_length + record_length) as u64
}

/// Rewrites `group`, which `head` describes, for a record of so many bytes.
pub fn write_size(group: &mut [u8], head: &BodyHead, placement: Placement, record_length: usize) {
    let length = in_index(head, placement, record_length);
    for range in &head.pax_sizes {
        if fits_digits(length, range) {
            let digits = &mut group[range.start as usize..range.end as usize];
            put_digits(digits, length, 10);
        }
    }
    if let Some(main) = group[head.main..].first_chunk_mut() {
        // Neither can fail: a map and a record are at most 17 MiB.
        put_form(&mut main[SIZE_FIELD], SIZE_FORMS[0], length);
        write_checksum(main, CHECKSUM_FORMS[0]);
    }
}

/// Makes the checksum of `block` right.
fn write_checksum(block: &mut [u8; BLOCK], form: Form) {
    // 512 bytes add up to less than seven digits.
    let sum = checksum(block);
    put_form(&mut block[CHECKSUM_FIELD], form, sum);
}

/// Corrects the verbatim run before `record`, or as much of its end as the
/// patches reach, to what stood in the stream.
///
/// # Errors
/// A patch or a form that reaches beyond the run, a form that cannot hold the
/// number. Offsets in the error are 0: the fault lies between fields.
pub fn restore(run: &mut [u8], record: &Record) -> DecodeResult<()> {
    for patch in &record.patches {
        restore_patch(run, patch)?;
    }
    if record.size_form == 0 && record.checksum_form == 0 {
        return Ok(());
    }
    let length = run.len();
    let Some(main) = run.last_chunk_mut() else {
        return Err(error("size form", "a block before the record", length));
    };
    if let Some(form) = find(&SIZE_FORMS, record.size_form) {
        let size = record.declared.unwrap_or(record.body_length);
        put_form(&mut main[SIZE_FIELD], form, size)
            .ok_or_else(|| error("size form", "one that holds the body length", size))?;
    }
    if let Some(form) = find(&CHECKSUM_FORMS, record.checksum_form) {
        write_checksum(main, form);
    }
    Ok(())
}

fn restore_patch(run: &mut [u8], patch: &Patch) -> DecodeResult<()> {
    let length = run.len();
    usize::try_from(patch.distance)
        .ok()
        .and_then(|distance| length.checked_sub(distance))
        .and_then(|start| run.get_mut(start..start.checked_add(patch.bytes.len())?))
        .map(|bytes| bytes.copy_from_slice(&patch.bytes))
        .ok_or_else(|| {
            let run = format_args!("a patch inside the run of {length} bytes").to_string();
            error("patch distance", run, patch.distance)
        })
}

fn find(forms: &[Form], number: u8) -> Option<Form> {
    let index = usize::from(number).checked_sub(1)?;
    forms.get(index).copied()
}

fn error(
    field: &'static str,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> DecodeError {
    DecodeError::value("body record", field, 0, expected, found)
}
