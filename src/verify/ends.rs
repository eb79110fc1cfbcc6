//! The ends of a brick's file: header, footer, table of contents.

use std::fs::File;
use std::path::Path;

use super::copy::{Inspected, Inspection, Scratch};
use super::finding::{Fault, Kind};
use super::read::{Unread, read_at};
use crate::brick::{open_brick_toc, open_toc};
use crate::format::brick::{BrickHeader, FOOTER_LENGTH, Footer, HEADER_LENGTH};
use crate::format::toc::{Toc, TocHeader};
use crate::format::wire::DecodeError;

impl Inspection<'_> {
    pub(super) fn header(
        &self,
        file: &File,
        length: u64,
        found: &mut Inspected,
    ) -> Option<BrickHeader> {
        let mut bytes = Vec::new();
        let part = usize::try_from(length).unwrap_or(usize::MAX);
        let part = part.min(HEADER_LENGTH);
        if let Err(unread) = read_at(file, 0, part, &mut bytes) {
            self.unread(
                found,
                Kind::Header,
                "the header",
                (0, HEADER_LENGTH as u64),
                length,
                &unread,
            );
            return None;
        }
        let header = match BrickHeader::decode(&bytes) {
            Ok(header) => header,
            Err(error) => {
                self.decoding(found, Kind::Header, 0, error);
                return None;
            }
        };
        if let Some(store) = self.means.store_id
            && store != header.store_id
        {
            let message = format!("belongs to store {}, not to store {store}", header.store_id);
            self.fault(found, Kind::Header, message);
        }
        if let Some(folder) = self.copy.folder
            && folder != header.class
        {
            let dir = self.means.layout.bricks_dir(header.class);
            let message = format!(
                "a brick of class {} belongs into {}",
                header.class,
                dir.display()
            );
            self.fault(found, Kind::Header, message);
        }
        Some(header)
    }

    pub(super) fn footer(&self, file: &File, length: u64, found: &mut Inspected) -> Option<Footer> {
        let start = length.saturating_sub(FOOTER_LENGTH as u64);
        let mut bytes = Vec::new();
        let outcome = read_at(file, start, FOOTER_LENGTH, &mut bytes);
        let Some(bytes) = bytes.first_chunk().filter(|_| outcome.is_ok()) else {
            let unread = outcome.err().unwrap_or(Unread::Short);
            let span = (start, FOOTER_LENGTH as u64);
            self.unread(found, Kind::Footer, "the footer", span, length, &unread);
            return None;
        };
        match Footer::decode(bytes, length) {
            Ok(footer) => Some(footer),
            Err(error) => {
                self.decoding(found, Kind::Footer, start, error);
                None
            }
        }
    }

    /// Reads the table of contents into `scratch.toc`, and opens it if there is a key.
    pub(super) fn table(
        &self,
        file: &File,
        header: Option<&BrickHeader>,
        footer: Option<&Footer>,
        scratch: &mut Scratch,
        found: &mut Inspected,
    ) -> Option<Toc> {
        let footer = footer?;
        let at = footer.toc_offset;
        let length = match footer.require_toc_length() {
            Ok(length) => length,
            Err(error) => {
                let place = footer.brick_length() - FOOTER_LENGTH as u64;
                self.decoding(found, Kind::Footer, place, error);
                return None;
            }
        };
        if let Err(unread) = read_at(file, at, length, &mut scratch.toc) {
            scratch.toc.clear();
            let (what, span) = ("the table of contents", (at, footer.toc_length));
            self.unread(found, Kind::Toc, what, span, footer.brick_length(), &unread);
            return None;
        }
        let opened = match (&self.means.keyed, header) {
            (None, _) => TocHeader::decode(&scratch.toc).map(|_| None),
            (Some(keyed), Some(header)) => {
                open_brick_toc(&keyed.keys, header, &scratch.toc, footer).map(Some)
            }
            (Some(keyed), None) => open_toc(&keyed.keys, &scratch.toc).map(Some),
        };
        opened.unwrap_or_else(|error| {
            self.decoding(found, Kind::Toc, at, error);
            None
        })
    }

    pub(super) fn fault(&self, found: &mut Inspected, kind: Kind, message: String) {
        let fault = Fault::new(kind, &self.copy.path, message);
        found.faults.push(fault.of(self.name));
    }

    pub(super) fn decoding(
        &self,
        found: &mut Inspected,
        kind: Kind,
        base: u64,
        error: DecodeError,
    ) {
        let path: &Path = &self.copy.path;
        let fault = Fault::decoding(kind, path, base, error);
        found.faults.push(fault.of(self.name));
    }

    /// `span`: where what could not be read begins, and its length.
    pub(super) fn unread(
        &self,
        found: &mut Inspected,
        kind: Kind,
        what: &str,
        (start, size): (u64, u64),
        length: u64,
        unread: &Unread,
    ) {
        let message = unread.message(what, start.saturating_add(size), length);
        let fault = Fault::new(kind, &self.copy.path, message);
        found.faults.push(fault.at(start).of(self.name));
    }
}
