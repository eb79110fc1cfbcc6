//! Runs a vector through the library, and says what came of it: `ok`, or the class of
//! the error with the field that is at fault.

use std::path::Path;
use std::sync::Arc;

use dtar::archive::Monitor;
use dtar::crypto::{Key, KeyFile};
use dtar::error::Error;
use dtar::format::record::{Item, Kind, List, Record, decode_list};
use dtar::format::trailer::End;
use dtar::format::wire::Decoder;
use dtar::id::{Epoch, StoreId};
use dtar::index::IndexFile;
use dtar::restore::{Listing, Origin, RestoreOptions, open_index, restore};
use dtar::store::Store;
use dtar::store::config::StoreConfig;
use dtar::tar::rewrite;
use tempfile::TempDir;

use super::forge;
use super::harness::decode_class;
use super::tokens::{from_tokens, to_tokens};
use super::vector::{Vector, hex};

type Outcome = Result<(), String>;

/// A store, for indexes to be restored from.
pub struct Runner {
    folder: TempDir,
    origin: Origin,
    key: Key,
}

impl Runner {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = forge::key_text("dtar-secret-key-", &forge::master());
        let Ok(KeyFile::Key(key)) = KeyFile::parse(text.as_bytes()) else {
            panic!("not a secret key");
        };
        let config = StoreConfig {
            store_id: StoreId(forge::STORE),
            epoch: Epoch::FIRST,
            recipients: vec![key.public_key().unwrap()],
            created: "2026-11-01T00:00:00Z".into(),
        };
        let store = folder.path().join("store");
        std::fs::create_dir(&store).unwrap();
        std::fs::write(store.join("store.toml"), config.encode(&key).unwrap()).unwrap();
        let store = Store::open(&store, &key).unwrap();
        let origin = Origin::from(&store);
        Self {
            folder,
            origin,
            key,
        }
    }

    pub fn run(&self, kind: &str, vector: &Vector) -> String {
        let result = match kind {
            "body-list" => list(vector),
            "body-record" => record(vector),
            "body-run" => run(vector),
            "index-end" => end(vector),
            "uv" => uv(vector),
            _ if kind.starts_with("index-") => self.index(vector),
            other => panic!("no test runs vectors of the kind {other}"),
        };
        result.err().unwrap_or_else(|| "ok".into())
    }

    /// Restores an index, from a folder with its bricks.
    fn index(&self, vector: &Vector) -> Outcome {
        assert_eq!(vector.bytes("master"), forge::master());
        assert_eq!(vector.bytes("store-id"), forge::STORE);
        let path = self.folder.path().join("index");
        std::fs::write(&path, from_tokens(vector.text("index"))).unwrap();
        let bricks = tempfile::tempdir_in(self.folder.path()).unwrap();
        for brick in vector.all("brick") {
            let brick = from_tokens(brick);
            let name = format!("{}.brick", blake3::hash(&brick));
            std::fs::write(bricks.path().join(name), brick).unwrap();
        }
        let options = RestoreOptions {
            bricks_in: vec![bricks.path().to_owned()],
            patterns: vector.all("select").map(str::to_owned).collect(),
            threads: 1,
            ..RestoreOptions::default()
        };
        let mut out = Vec::new();
        let restored = self.restore(&path, &options, &mut out);
        let stream = vector.find("stream").map(from_tokens);
        match restored {
            Ok(()) => assert!(Some(&out) == stream.as_ref(), "{}", to_tokens(&out)),
            // What comes out before a fault is found is a true beginning.
            Err(_) => assert!(stream.is_none_or(|stream| stream.starts_with(&out))),
        }
        let listed = self.list(&path).map_err(|error| class(&error));
        restored.map_err(|error| class(&error))?;
        assert_eq!(listed, Ok(()));
        Ok(())
    }

    fn restore(
        &self,
        path: &Path,
        options: &RestoreOptions,
        out: &mut Vec<u8>,
    ) -> dtar::Result<()> {
        let index = IndexFile::open(path)?;
        let monitor = Arc::new(Monitor::default());
        let origin = &self.origin;
        restore(&index, origin, &self.key, out, options, None, &monitor).map(|summary| {
            assert_eq!((summary.hits, summary.closed_early), (0, false));
        })
    }

    fn list(&self, path: &Path) -> dtar::Result<()> {
        let index = IndexFile::open(path)?;
        let (trailer, _) = open_index(&index, &self.origin, &self.key)?;
        let mut listing = Listing::new(&index, &trailer);
        while listing.next(&mut |_| ())? {}
        Ok(())
    }
}

/// Errors that have only a message: words of it, and how vectors call them.
const CLASSES: [(&str, &str); 11] = [
    ("nor is there the copy of this chunk list", "list and copy"),
    ("incomplete index", "incomplete index"),
    ("not a dtar index", "not a dtar index"),
    ("index altered", "index altered"),
    (
        "compressed index cut short or damaged",
        "damaged compression",
    ),
    ("broken index: no hints", "no hints"),
    ("in the list of chunks", "chunk list"),
    ("its frame is sound, but", "other chunk"),
    ("brick cut short", "brick cut short"),
    (" is missing: ", "missing brick"),
    ("frame 5 at byte 80: ", "damaged frame"),
];

fn class(error: &Error) -> String {
    match error {
        Error::Decode { source, .. } => decode_class(source),
        Error::WrongKey { .. } => "wrong key".into(),
        Error::OtherStore { .. } => "other store".into(),
        Error::BrickMissing { .. } => "missing brick".into(),
        Error::Damaged(_) => "other stream".into(),
        Error::Refused { message, .. } => CLASSES
            .iter()
            .find(|(words, _)| message.contains(words))
            .map_or(message.as_str(), |(_, class)| class)
            .to_owned(),
        other => panic!("not an error of bytes: {other}"),
    }
}

fn uv(vector: &Vector) -> Outcome {
    let bytes = vector.bytes("bytes");
    let mut decoder = Decoder::new("number", &bytes);
    let value = decoder.uv("number").map_err(|error| decode_class(&error))?;
    assert!(decoder.is_empty());
    assert_eq!(value, vector.number("value"));
    let mut again = Vec::new();
    dtar::format::wire::put_uv(&mut again, value);
    assert_eq!(again, bytes);
    Ok(())
}

/// An item, in the words of the vectors.
pub fn show_item(item: &Item) -> String {
    match item {
        Item::Whole => "whole".into(),
        Item::Chunk { length, hash } => format!("chunk {length} {hash}"),
        Item::List(List {
            level,
            length,
            hash,
            covers,
            counts,
        }) => {
            let counts: Vec<_> = counts[..usize::from(*level)]
                .iter()
                .map(ToString::to_string)
                .collect();
            let counts = counts.join(" ");
            format!("list level {level} length {length} {hash} covers {covers} below {counts}")
        }
        Item::Zeros { length } => format!("zeros {length}"),
    }
}

/// The items, equal ones that follow one another once, with their number.
fn show_items(items: &[Item]) -> Vec<String> {
    items
        .chunk_by(|one, next| one == next)
        .map(|equal| match equal {
            [item] => show_item(item),
            _ => format!("{} times {}", equal.len(), show_item(&equal[0])),
        })
        .collect()
}

fn same_items(vector: &Vector, items: &[Item]) {
    let expected: Vec<_> = vector.all("item").collect();
    assert_eq!(show_items(items), expected);
}

fn record(vector: &Vector) -> Outcome {
    let bytes = from_tokens(vector.text("record"));
    let record = Record::decode(&bytes).map_err(|error| decode_class(&error))?;
    let kind = match record.kind {
        Kind::Member => "member",
        Kind::Opaque => "opaque",
        Kind::Tail => "tail",
    };
    assert_eq!(kind, vector.text("kind"));
    let forms = format!("{} {}", record.size_form, record.checksum_form);
    assert_eq!(forms, vector.text("forms"));
    assert_eq!(record.body_length, vector.number("body-length"));
    assert_eq!(hex(record.body_hash.as_bytes()), vector.text("body-hash"));
    same_items(vector, &record.items);
    let patches: Vec<_> = record
        .patches
        .iter()
        .map(|patch| format!("{} {}", patch.distance, hex(&patch.bytes)))
        .collect();
    let expected: Vec<_> = vector.all("patch").collect();
    assert_eq!(patches, expected);
    assert_eq!(record.padding(), from_tokens(vector.text("padding")));
    let declared = vector.find("declared").map(|text| text.parse().unwrap());
    assert_eq!(record.declared, declared);
    if vector.find("not-written").is_none() {
        let mut again = Vec::new();
        record.encode(&mut again);
        assert_eq!(hex(&again), hex(&bytes));
    }
    Ok(())
}

fn run(vector: &Vector) -> Outcome {
    let record = Record::decode(&from_tokens(vector.text("record")))
        .map_err(|error| decode_class(&error))?;
    let mut run = from_tokens(vector.text("run"));
    rewrite::restore(&mut run, &record).map_err(|error| decode_class(&error))?;
    assert_eq!(to_tokens(&run), vector.text("corrected"));
    Ok(())
}

/// A list and the item that stands for it, which is read from a record.
fn list(vector: &Vector) -> Outcome {
    let record = Record::decode(&from_tokens(vector.text("record"))).unwrap();
    let [Item::List(list)] = record.items[..] else {
        panic!("the record holds one list");
    };
    let bytes = from_tokens(vector.text("list"));
    assert_eq!(bytes.len() as u64, u64::from(list.length));
    assert_eq!(*blake3::hash(&bytes).as_bytes(), *list.hash.as_bytes());
    let items = decode_list(&bytes, &list).map_err(|error| decode_class(&error))?;
    same_items(vector, &items);
    let mut again = Vec::new();
    for item in &items {
        item.encode(&mut again);
    }
    assert_eq!(again, bytes);
    Ok(())
}

fn end(vector: &Vector) -> Outcome {
    let bytes = vector.bytes("end");
    let length = vector.number("index-length");
    let end = End::decode(&bytes, length).map_err(|error| decode_class(&error))?;
    assert_eq!(end.trailer_offset, vector.number("trailer-offset"));
    assert_eq!(end.trailer_length, vector.number("trailer-length"));
    assert_eq!(end.index_length, length);
    if vector.find("not-written").is_none() {
        assert_eq!(end.encode(), bytes);
    }
    Ok(())
}
