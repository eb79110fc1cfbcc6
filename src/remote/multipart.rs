//! Uploads in parts: begun, taken up where a run was cut off, ended or given up.

use std::collections::HashMap;

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, StorageClass};
use bytes::Bytes;

use super::bucket::{Bucket, is_kms};
use super::checksum::Checksums;
use super::fault::{Fault, Kind};
use crate::error::Result;

const STANDARD: &str = "STANDARD";
/// Uploads that are remembered at most, of those that were never ended.
const MOST_OPEN: usize = 100_000;

/// An upload in parts that was begun.
#[derive(Debug)]
pub(super) struct Multipart {
    /// The path in the store.
    pub(super) path: String,
    id: String,
    /// Parts that the server has already, from an earlier run.
    parts: HashMap<i32, Found>,
}

#[derive(Debug)]
struct Found {
    length: u64,
    etag: String,
    sha256: Option<String>,
}

/// A part that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: i32,
    etag: String,
    sha256: String,
    /// It was there from an earlier run.
    pub(super) was_there: bool,
}

/// Uploads that were never ended, by the path in the store: the newest of each that has,
/// or may have, the checksums that this sends.
pub(super) type Open = HashMap<String, Unfinished>;

/// An upload that was never ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Unfinished {
    id: String,
    /// Seconds since 1970.
    begun: i64,
    class: String,
    /// The server says that its parts have the checksums that this sends.
    has_sums: bool,
}

impl Bucket {
    /// The uploads that were begun and neither ended nor given up.
    pub(super) fn open_uploads(&self) -> Result<Open> {
        let place = self.place();
        let mut open = Open::new();
        let (mut key_marker, mut id_marker) = (None, None);
        loop {
            let request = self
                .client()
                .list_multipart_uploads()
                .bucket(place.bucket())
                .prefix(place.key(""))
                .set_key_marker(key_marker.clone())
                .set_upload_id_marker(id_marker.clone());
            let answer = match self.send(request.send()) {
                Ok(answer) => answer,
                Err(fault) if fault.kind == Kind::Passing => {
                    return Err(self.error(fault, "", "list unfinished uploads in it"));
                }
                // Not all servers can tell, or do so to all. Then parts are sent again.
                Err(_) => break,
            };
            for upload in answer.uploads() {
                let path = upload.key().and_then(|key| place.path_of(key));
                let (Some(path), Some(id)) = (path, upload.upload_id()) else {
                    continue;
                };
                let sums = upload.checksum_algorithm();
                if sums.is_some_and(|sums| *sums != ChecksumAlgorithm::Sha256) {
                    continue;
                }
                let found = Unfinished {
                    id: id.to_owned(),
                    begun: upload.initiated().map_or(0, DateTime::secs),
                    class: upload
                        .storage_class()
                        .map_or(STANDARD, StorageClass::as_str)
                        .to_owned(),
                    has_sums: sums.is_some(),
                };
                let newest = open.entry(path.to_owned()).or_default();
                if newest.begun <= found.begun {
                    *newest = found;
                }
            }
            let more = answer.is_truncated() == Some(true) && open.len() < MOST_OPEN;
            let next_key = answer.next_key_marker().filter(|_| more).map(str::to_owned);
            let next_id = answer.next_upload_id_marker().map(str::to_owned);
            // One that gives the same page again would do so for ever.
            if next_key.is_none() || (&next_key, &next_id) == (&key_marker, &id_marker) {
                break;
            }
            (key_marker, id_marker) = (next_key, next_id);
        }
        Ok(open)
    }

    /// Begins an upload, or takes one up that was cut off.
    pub(super) fn begin(
        &self,
        path: &str,
        class: Option<&str>,
        open: Option<&Unfinished>,
    ) -> Result<Multipart> {
        if let Some(found) = open
            && found.class == class.unwrap_or(STANDARD)
            && let Some(parts) = self.parts_of(path, &found.id)?
            && (found.has_sums
                || !parts.is_empty() && parts.values().all(|part| part.sha256.is_some()))
        {
            return Ok(Multipart {
                path: path.to_owned(),
                id: found.id.clone(),
                parts,
            });
        }
        let request = self
            .client()
            .create_multipart_upload()
            .bucket(self.place().bucket())
            .key(self.place().key(path))
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .set_storage_class(class.map(StorageClass::from));
        let answer = self
            .send(request.send())
            .map_err(|fault| self.error(fault, path, "begin to write it"))?;
        let Some(id) = answer.upload_id().filter(|id| !id.is_empty()) else {
            let fault = Fault::new(Kind::Final, "the server does not name the upload");
            return Err(self.error(fault, path, "begin to write it"));
        };
        Ok(Multipart {
            path: path.to_owned(),
            id: id.to_owned(),
            parts: HashMap::new(),
        })
    }

    /// The parts of an upload; `None` if it was ended meanwhile, or the server cannot tell.
    fn parts_of(&self, path: &str, id: &str) -> Result<Option<HashMap<i32, Found>>> {
        let mut parts = HashMap::new();
        let mut marker: Option<String> = None;
        loop {
            let request = self
                .client()
                .list_parts()
                .bucket(self.place().bucket())
                .key(self.place().key(path))
                .upload_id(id)
                .set_part_number_marker(marker.clone());
            let answer = match self.send(request.send()) {
                Ok(answer) => answer,
                Err(fault) if fault.kind == Kind::Passing => {
                    return Err(self.error(fault, path, "list its parts"));
                }
                // It is gone, or the server cannot tell: then all is sent again.
                Err(_) => return Ok(None),
            };
            for part in answer.parts() {
                let (Some(number), Some(etag)) = (part.part_number(), part.e_tag()) else {
                    continue;
                };
                let found = Found {
                    length: part
                        .size()
                        .and_then(|size| u64::try_from(size).ok())
                        .unwrap_or(0),
                    etag: etag.to_owned(),
                    sha256: part.checksum_sha256().map(str::to_owned),
                };
                parts.insert(number, found);
            }
            let next = answer.next_part_number_marker().map(str::to_owned);
            if answer.is_truncated() != Some(true) || next.is_none() || next == marker {
                return Ok(Some(parts));
            }
            marker = next;
        }
    }

    /// Writes a part of a file of `length` bytes, unless the server has it.
    pub(super) fn write_part(
        &self,
        upload: &Multipart,
        number: i32,
        bytes: &Bytes,
        length: u64,
    ) -> Result<Part> {
        let checksums = Checksums::of(bytes);
        let part = |etag: &str, was_there| Part {
            number,
            etag: etag.to_owned(),
            sha256: checksums.sha256(),
            was_there,
        };
        if let Some(found) = upload.parts.get(&number)
            && found.length == bytes.len() as u64
            && checksums.are(found.sha256.as_deref(), Some(&found.etag))
        {
            return Ok(part(&found.etag, true));
        }
        let request = self
            .client()
            .upload_part()
            .bucket(self.place().bucket())
            .key(self.place().key(&upload.path))
            .upload_id(&upload.id)
            .part_number(number)
            .content_length(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
            .content_md5(checksums.md5())
            .checksum_sha256(checksums.sha256())
            .body(self.body(bytes));
        let answer = match self.send(request.send()) {
            Ok(answer) => answer,
            // Another push has taken the same upload up, and ended it.
            Err(_) if matches!(self.has(&upload.path, length), Ok(true)) => {
                return Ok(part("", false));
            }
            Err(fault) => return Err(self.error(fault, &upload.path, "write a part of it")),
        };
        let is_kms = is_kms(answer.server_side_encryption());
        let sha256 = answer.checksum_sha256();
        if !is_kms && !checksums.may_be(answer.e_tag())
            || sha256.is_some_and(|sha256| sha256 != checksums.sha256())
        {
            return Err(self.altered(&upload.path));
        }
        Ok(part(answer.e_tag().unwrap_or_default(), false))
    }

    /// Makes an object of all its parts, and looks at what came of it.
    pub(super) fn complete(
        &self,
        upload: &Multipart,
        mut parts: Vec<Part>,
        length: u64,
    ) -> Result<()> {
        parts.sort_unstable_by_key(|part| part.number);
        let parts = parts.into_iter().map(|part| {
            CompletedPart::builder()
                .part_number(part.number)
                .e_tag(part.etag)
                .checksum_sha256(part.sha256)
                .build()
        });
        let all = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.collect()))
            .build();
        let request = self
            .client()
            .complete_multipart_upload()
            .bucket(self.place().bucket())
            .key(self.place().key(&upload.path))
            .upload_id(&upload.id)
            .multipart_upload(all);
        match self.send(request.send()) {
            Ok(_) => {}
            // Done at the attempt before, whose answer was lost, or by another push.
            Err(_) if matches!(self.has(&upload.path, length), Ok(true)) => return Ok(()),
            Err(fault) => return Err(self.error(fault, &upload.path, "finish it")),
        }
        // That it says so is not enough: an error may hide in an answer that says 200.
        if self.has(&upload.path, length)? {
            return Ok(());
        }
        let fault = Fault::new(
            Kind::Passing,
            "the server says that it has put its parts together, and has not: run this again",
        );
        Err(self.error(fault, &upload.path, "finish it"))
    }

    /// Whether there is an object of this length.
    fn has(&self, path: &str, length: u64) -> Result<bool> {
        let found = self.look_at(path)?;
        Ok(found.is_some_and(|object| object.length == length))
    }

    /// Gives an upload up: its parts are deleted. That it fails does no harm.
    pub(super) fn give_up(&self, upload: &Multipart) {
        let request = self
            .client()
            .abort_multipart_upload()
            .bucket(self.place().bucket())
            .key(self.place().key(&upload.path))
            .upload_id(&upload.id);
        let _ = self.send(request.send());
    }
}
