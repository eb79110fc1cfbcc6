//! Runs a vector through the library, and says what came of it: `ok`, or the class of
//! the error with the field that is at fault.

use dtar::brick::{
    FrameError, OpenFrame, OpenScratch, open_brick_toc, open_note, open_root, open_sidecar,
    open_snapshot, open_toc,
};
use dtar::crypto::{Key, KeyFile, PutKeys, UnlockError};
use dtar::error::Error;
use dtar::format::brick::{BrickHeader, Footer};
use dtar::format::frame::FrameHeader;
use dtar::format::keyfile::{KeyFileError, check_mode};
use dtar::format::note::Note;
use dtar::format::record::Item;
use dtar::format::root::Root;
use dtar::format::toc::Toc;
use dtar::id::{BrickName, ChunkHash, Epoch, StoreId};
use dtar::snapshot::{STREAMS, Splitter, Streams, join};
use dtar::store::config::StoreConfig;
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeR, Serializable};
use std::convert::Infallible;
use std::path::Path;

use super::forge;
use super::harness::decode_class;
use super::vector::{Vector, hex};

pub fn run(kind: &str, vector: &Vector) -> String {
    let result = match kind {
        "brick-footer" => brick_footer(vector),
        "brick-header" => brick_header(vector),
        "encapsulation" => encapsulation(vector),
        "frame" => frame(vector),
        "key-derivation" => {
            key_derivation(vector);
            Ok(())
        }
        "key-file" => key_file(vector),
        "passphrase" => passphrase(vector),
        "note" => note(vector),
        "root" => root(vector),
        "sidecar" => sidecar(vector),
        "snapshot" => snapshot(vector),
        "snapshot-join" => snapshot_join(vector),
        "store-config" => store_config(vector),
        "toc" => toc(vector),
        other => panic!("no test runs vectors of the kind {other}"),
    };
    result.err().unwrap_or_else(|| "ok".into())
}

type Outcome = Result<(), String>;

fn key_file_class(error: &KeyFileError) -> String {
    let class = match error {
        KeyFileError::TooLarge { .. } => "too large",
        KeyFileError::NoKey => "no key",
        KeyFileError::SecondKey { .. } => "second key",
        KeyFileError::NotAKey { .. } => "not a key",
        KeyFileError::MixedCase => "mixed case",
        KeyFileError::Checksum => "bad checksum",
        KeyFileError::UnknownKind { .. } => "unknown kind",
        KeyFileError::Length { .. } => "wrong length",
        KeyFileError::OtherKind { .. } => "other kind",
        KeyFileError::EpochZero => "epoch 0",
        KeyFileError::InvalidPublicKey => "invalid public key",
        KeyFileError::Mode { .. } => "mode",
        KeyFileError::Locked(error) => return decode_class(error),
    };
    class.into()
}

/// The key that a key string holds.
pub fn parse_key(text: &str) -> Key {
    match KeyFile::parse(text.as_bytes()) {
        Ok(KeyFile::Key(key)) => key,
        other => panic!("{other:?}"),
    }
}

fn key(vector: &Vector) -> Key {
    parse_key(&forge::key_text(
        "dtar-secret-key-",
        &vector.bytes("master"),
    ))
}

fn put_keys(vector: &Vector) -> PutKeys {
    key(vector)
        .put_keys(StoreId(forge::STORE), Epoch::FIRST)
        .unwrap()
}

fn key_derivation(vector: &Vector) {
    let key = key(vector);
    let epoch = Epoch(u32::try_from(vector.number("epoch")).unwrap());
    let store_id = StoreId(vector.array("store-id"));
    let keys = key.put_keys(store_id, epoch).unwrap();
    let public = key.public_key().unwrap();
    assert_eq!(public.as_bytes()[..], vector.bytes("public-key"));
    assert_eq!(public.hash(), vector.array("public-key-hash"));
    assert_eq!(hex(key.key_id().as_bytes()), vector.text("key-id"));

    let put_data = [
        &store_id.0[..],
        &epoch.0.to_le_bytes(),
        &vector.bytes("put-secret"),
        &vector.bytes("gear-key"),
        &vector.bytes("public-key-hash"),
        &vector.bytes("public-key-hash"),
    ]
    .concat();
    let recipients = [public];
    let put_key = key.to_put_key(store_id, epoch, &recipients).unwrap();
    let auth = [&epoch.0.to_le_bytes()[..], recipients[0].as_bytes()].concat();
    assert_eq!(
        key.authenticate_recipients(store_id, epoch, &recipients)
            .unwrap(),
        *blake3::keyed_hash(&vector.array("recipients-key"), &auth).as_bytes()
    );
    assert_eq!(
        *put_key.to_text(),
        forge::key_text("dtar-put-key-", &put_data)
    );

    // The library shows no key, but what it does with it.
    let input = vector.bytes("input");
    let keyed = |name: &str| blake3::keyed_hash(&vector.array(name), &input);
    assert_eq!(
        keys.store.authenticate(&input),
        *keyed("store-key").as_bytes()
    );
    assert!(keys.store.verify(&input, keyed("store-key").as_bytes()));
    assert!(!keys.store.verify(&input, &[0; 32]));
    assert_eq!(
        keys.index.hasher().update(&input).finalize(),
        keyed("index-key")
    );
    let hash: [u8; 32] = input[..].try_into().unwrap();
    let id = keys.chunk_id.id(&ChunkHash(hash));
    assert_eq!(id.as_bytes(), &keyed("chunk-id-key").as_bytes()[..16]);
    assert_eq!(hex(id.as_bytes()), vector.text("chunk-id"));
    let id = keys.metadata_id.id(&ChunkHash(hash));
    assert_eq!(id.as_bytes(), &keyed("metadata-id-key").as_bytes()[..16]);
    assert_eq!(hex(id.as_bytes()), vector.text("metadata-id"));
    let name = BrickName([0; 32]);
    let bound = blake3::keyed_hash(
        &vector.array("sidecar-key"),
        &[&name.0[..], &input].concat(),
    );
    assert_eq!(keys.sidecar.bind(&name, &input), *bound.as_bytes());
    let gear: Vec<u8> = keys
        .gear
        .table()
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect();
    let mut expected = [0; 2048];
    blake3::Hasher::new_keyed(&vector.array("gear-key"))
        .update(b"gear v1")
        .finalize_xof()
        .fill(&mut expected);
    assert_eq!(gear, expected);
    assert_eq!(hex(&gear[..16]), vector.text("gear-table-start"));
}

fn key_file(vector: &Vector) -> Outcome {
    let file = vector.bytes("file");
    let parsed = KeyFile::parse(&file).map_err(|error| key_file_class(&error))?;
    if let Some(mode) = vector.find("mode")
        && parsed.is_secret()
    {
        let mode = u32::from_str_radix(mode, 8).unwrap();
        check_mode(mode).map_err(|error| key_file_class(&error))?;
    }
    let text = match &parsed {
        KeyFile::Key(key) => {
            assert_eq!(key.is_put_key(), vector.text("kind") == "dtar-put-key-");
            key.to_text().to_string()
        }
        KeyFile::Public(key) => {
            assert_eq!(vector.text("kind"), "dtar-public-key-");
            assert_eq!(key.to_text().parse(), Ok(key.clone()));
            key.to_text().to_ascii_uppercase()
        }
        KeyFile::Locked(_) => return Ok(()),
    };
    assert_eq!(
        text,
        forge::key_text(vector.text("kind"), &vector.bytes("data"))
    );
    Ok(())
}

fn passphrase(vector: &Vector) -> Outcome {
    let parsed = KeyFile::parse(&vector.bytes("file")).map_err(|error| key_file_class(&error))?;
    let KeyFile::Locked(locked) = parsed else {
        panic!("not a locked key");
    };
    let key = locked
        .unlock(&vector.bytes("passphrase"))
        .map_err(|error| match error {
            UnlockError::WrongPassphrase => "wrong passphrase".to_owned(),
            UnlockError::NotAKey(error) => key_file_class(&error),
            other @ UnlockError::Derivation { .. } => other.to_string(),
        })?;
    let expected = forge::key_text(vector.text("kind"), &vector.bytes("data"));
    assert_eq!(*key.to_text(), expected);
    Ok(())
}

/// Random bytes that are given.
struct Given(Vec<u8>);

impl rand_core::TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.copy_from_slice(&self.0.drain(..bytes.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Given {}

fn encapsulation(vector: &Vector) -> Outcome {
    match vector.text("what") {
        "x-wing" => x_wing(vector),
        "hpke" => hpke_base(vector),
        "recipient entry" => return recipient_entry(vector),
        other => panic!("unknown: {other}"),
    }
    Ok(())
}

fn x_wing(vector: &Vector) {
    let private = <XWing as Kem>::PrivateKey::from_bytes(&vector.bytes("seed")).unwrap();
    let public = XWing::sk_to_pk(&private);
    assert_eq!(public.to_bytes()[..], vector.bytes("public-key"));
    let (secret, encapsulation) =
        XWing::encap_with_rng(&public, None, &mut Given(vector.bytes("random"))).unwrap();
    assert_eq!(encapsulation.to_bytes()[..], vector.bytes("encapsulation"));
    assert_eq!(secret.0[..], vector.bytes("shared-secret"));
    let secret = XWing::decap(&private, None, &encapsulation).unwrap();
    assert_eq!(secret.0[..], vector.bytes("shared-secret"));
}

fn hpke_base(vector: &Vector) {
    let private = <XWing as Kem>::PrivateKey::from_bytes(&vector.bytes("private-key")).unwrap();
    let encapsulation = vector.bytes("encapsulation");
    let opened = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, XWing>(
        &OpModeR::Base,
        &private,
        &<XWing as Kem>::EncappedKey::from_bytes(&encapsulation).unwrap(),
        &vector.bytes("info"),
        &vector.bytes("sealed"),
        &vector.bytes("aad"),
    );
    assert_eq!(opened.unwrap(), vector.bytes("plaintext"));
}

/// A frame that is sealed under the brick key opens with the entry, and only then.
fn recipient_entry(vector: &Vector) -> Outcome {
    let frame = forge::Frame {
        store: vector.array("store-id"),
        salt: vector.array("salt"),
        brick_key: vector.array("brick-key"),
        number: 0,
        codec: 0,
        entries: vec![vector.bytes("entry")],
        fields: Vec::new(),
        siv_of: None,
    };
    let mut bytes = frame.seal(&forge::stored(&[b"chunk"]), |_| ());
    open_frame(vector, &mut bytes).map(|_| ())
}

fn open_frame(vector: &Vector, bytes: &mut [u8]) -> Result<OpenFrame, String> {
    let opener = key(vector)
        .opener(StoreId(vector.array("store-id")))
        .unwrap();
    let mut out = OpenFrame::new();
    opener
        .open(bytes, &mut OpenScratch::new(), &mut out)
        .map(|()| out)
        .map_err(|error| match error {
            FrameError::Header(error) => format!("header, {}", decode_class(&error)),
            FrameError::Content(error) => format!("content, {}", decode_class(&error)),
            FrameError::OtherStore { .. } => "other store".into(),
            FrameError::OtherKey { found, .. } => {
                let entries: Vec<_> = found.iter().map(|id| hex(id.as_bytes())).collect();
                let expected: Vec<_> = vector.all("recipient").collect();
                assert_eq!(entries, expected);
                "not sealed to this key".into()
            }
            FrameError::Seal => "seal".into(),
        })
}

fn frame(vector: &Vector) -> Outcome {
    let mut bytes = vector.bytes("frame");
    if vector.find("brick-header").is_some() {
        let brick = BrickHeader::decode(&vector.bytes("brick-header")).unwrap();
        let header = FrameHeader::decode(&bytes).unwrap();
        brick
            .require_frame(&header)
            .map_err(|error| format!("header, {}", decode_class(&error)))?;
    }
    let opened = open_frame(vector, &mut bytes)?;
    let chunks: Vec<_> = (0..opened.chunk_count())
        .map(|place| opened.chunk(place).unwrap().to_vec())
        .collect();
    assert_eq!(chunks, vector.list("chunk"));
    Ok(())
}

fn brick_header(vector: &Vector) -> Outcome {
    let header =
        BrickHeader::decode(&vector.bytes("header")).map_err(|error| decode_class(&error))?;
    assert_eq!(hex(header.store_id.as_bytes()), vector.text("store-id"));
    assert_eq!(hex(header.salt.as_bytes()), vector.text("salt"));
    assert_eq!(u64::from(header.epoch.0), vector.number("epoch"));
    assert_eq!(u64::from(header.class as u8), vector.number("class"));
    Ok(())
}

fn brick_footer(vector: &Vector) -> Outcome {
    let bytes = vector.array("footer");
    let footer = Footer::decode(&bytes, vector.number("brick-length"))
        .map_err(|error| decode_class(&error))?;
    assert_eq!(footer.toc_offset, vector.number("toc-offset"));
    assert_eq!(footer.toc_length, vector.number("toc-length"));
    Ok(())
}

fn same_toc(vector: &Vector, toc: &Toc) {
    assert_eq!(hex(toc.writer().as_bytes()), vector.text("writer"));
    let mut lines = Vec::new();
    for (number, frame) in toc.frames().iter().enumerate() {
        lines.push(format!(
            "frame at {} length {} plain {}",
            frame.offset, frame.length, frame.plain_length
        ));
        for (brick, place) in toc.origins().into_iter().flat_map(|all| all.of(number)) {
            lines.push(format!("origin {brick} place {place}"));
        }
        for chunk in toc.chunks_of(frame) {
            lines.push(format!("chunk {} length {}", chunk.id, chunk.length));
        }
    }
    let expected: Vec<_> = vector.all("holds").collect();
    assert_eq!(lines, expected);
}

fn toc(vector: &Vector) -> Outcome {
    let (keys, bytes) = (put_keys(vector), vector.bytes("toc"));
    let opened = if vector.find("toc-offset").is_some() {
        let footer = Footer {
            toc_offset: vector.number("toc-offset"),
            toc_length: bytes.len() as u64,
        };
        let header = BrickHeader::decode(&vector.bytes("brick-header")).unwrap();
        open_brick_toc(&keys, &header, &bytes, &footer)
    } else {
        open_toc(&keys, &bytes)
    };
    same_toc(vector, &opened.map_err(|error| decode_class(&error))?);
    Ok(())
}

fn sidecar(vector: &Vector) -> Outcome {
    let name = BrickName(vector.array("brick-name"));
    let toc = open_sidecar(&put_keys(vector), &name, &vector.bytes("sidecar"))
        .map_err(|error| decode_class(&error))?;
    same_toc(vector, &toc);
    Ok(())
}

fn root(vector: &Vector) -> Outcome {
    let Root {
        time,
        writer,
        stream_length,
        stream_xxh3,
        host,
        label,
        bricks,
        snapshot,
        stored,
    } = open_root(&put_keys(vector), &vector.bytes("root"))
        .map_err(|error| decode_class(&error))?;
    assert_eq!(time, vector.number("time"));
    assert_eq!(hex(writer.as_bytes()), vector.text("writer"));
    assert_eq!(stream_length, vector.number("stream-length"));
    assert_eq!(hex(&stream_xxh3.to_le_bytes()), vector.text("stream-xxh3"));
    assert_eq!(host, vector.bytes("host"));
    assert_eq!(label, vector.bytes("label"));
    let bricks: Vec<_> = bricks
        .iter()
        .map(|(name, frames)| format!("{name} {}", hex(frames.bitmap())))
        .collect();
    let expected: Vec<_> = vector.all("brick").collect();
    assert_eq!(bricks, expected);
    assert_eq!(
        snapshot.is_some(),
        vector.all("snapshot-hash").next().is_some()
    );
    if let Some(snapshot) = snapshot {
        assert_eq!(snapshot.hash, vector.array("snapshot-hash"));
        assert_eq!(snapshot.index_length, vector.number("index-length"));
    }
    assert_eq!(stored.is_some(), vector.all("stored-data").next().is_some());
    if let Some(stored) = stored {
        assert_eq!(stored.data, vector.number("stored-data"));
        assert_eq!(stored.metadata, vector.number("stored-metadata"));
    }
    Ok(())
}

fn note(vector: &Vector) -> Outcome {
    let Note {
        kind,
        process,
        time,
        random,
        writer,
        host,
        boot_id,
        text,
        bricks,
    } = open_note(&put_keys(vector), &vector.bytes("note"))
        .map_err(|error| decode_class(&error))?;
    assert_eq!(kind as u64, vector.number("kind"));
    assert_eq!(u64::from(process), vector.number("process"));
    assert_eq!(time, vector.number("time"));
    assert_eq!(hex(&random), vector.text("random"));
    assert_eq!(hex(writer.as_bytes()), vector.text("writer"));
    assert_eq!(host, vector.bytes("host"));
    assert_eq!(boot_id, vector.bytes("boot-id"));
    assert_eq!(text, vector.bytes("text"));
    let bricks: Vec<_> = bricks.iter().map(ToString::to_string).collect();
    let expected: Vec<_> = vector.all("brick").collect();
    assert_eq!(bricks, expected);
    Ok(())
}

fn store_config(vector: &Vector) -> Outcome {
    let key = parse_key(vector.text("key"));
    let path = Path::new("store.toml");
    let config = StoreConfig::decode(path, &vector.bytes("file"), &key)
        .map_err(|error| config_class(&error))?;
    assert_eq!(hex(config.store_id.as_bytes()), vector.text("store-id"));
    assert_eq!(u64::from(config.epoch.0), vector.number("epoch"));
    assert_eq!(config.created, vector.text("created"));
    let recipients: Vec<_> = config
        .recipients
        .iter()
        .map(|key| hex(key.key_id().as_bytes()))
        .collect();
    let expected: Vec<_> = vector.all("recipient").collect();
    assert_eq!(recipients, expected);
    Ok(())
}

fn config_class(error: &Error) -> String {
    let message = match error {
        Error::WrongKey { .. } => return "wrong key".into(),
        Error::OtherStorePutKey { .. } => return "put key of another store".into(),
        Error::WrongEpoch { .. } => return "put key of another epoch".into(),
        Error::Refused { path, message, .. } => {
            assert_eq!(path, Path::new("store.toml"));
            message
        }
        other => panic!("{other}"),
    };
    let known = [
        ("unreadable: ", "unreadable"),
        ("altered: ", "altered"),
        ("store of a newer format ", "newer format"),
        ("the store needs the feature ", "unknown feature"),
        ("the store uses the chunker ", "unknown chunker"),
    ];
    if let Some((_, class)) = known.iter().find(|(begin, _)| message.starts_with(begin)) {
        return (*class).into();
    }
    let field = message.split_once(':').map(|(field, _)| field);
    field
        .filter(|field| field.starts_with("field "))
        .unwrap_or(message)
        .into()
}

fn snapshot(vector: &Vector) -> Outcome {
    let opener = key(vector).opener(StoreId(forge::STORE)).unwrap();
    let path = Path::new("a snapshot");
    let snapshot =
        open_snapshot(&opener, path, vector.bytes("snapshot")).map_err(|error| match error {
            Error::Decode { source, .. } => decode_class(&source),
            other => panic!("{other}"),
        })?;
    assert_eq!(snapshot.time, vector.number("time"));
    assert_eq!(hex(snapshot.writer.as_bytes()), vector.text("writer"));
    assert_eq!(snapshot.index_length, vector.number("index-length"));
    let mut lines = Vec::new();
    for (number, stream) in snapshot.streams.iter().enumerate() {
        lines.push(format!("stream {number} length {}", stream.length));
        lines.extend(stream.items.iter().map(|item| match item {
            Item::Chunk { length, hash } => format!("chunk {hash} length {length}"),
            Item::List(list) => {
                let counts: Vec<_> = list.counts[..usize::from(list.level)]
                    .iter()
                    .map(u64::to_string)
                    .collect();
                let (hash, length, covers) = (list.hash, list.length, list.covers);
                let counts = counts.join(" ");
                format!("list {hash} length {length} covers {covers} counts {counts}")
            }
            other => panic!("{other:?}"),
        }));
    }
    let expected: Vec<_> = vector.all("holds").collect();
    assert_eq!(lines, expected);
    Ok(())
}

/// Streams are joined; where `split` stands, the index is also split into just these.
fn snapshot_join(vector: &Vector) -> Outcome {
    let streams: Streams = std::array::from_fn(|number| vector.bytes(&format!("stream-{number}")));
    assert_eq!(streams.len(), STREAMS);
    let mut index = Vec::new();
    let mut readers = streams.each_ref().map(Vec::as_slice);
    join(&mut readers, &mut index, vector.number("index-length")).map_err(|error| {
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
        "broken streams".to_owned()
    })?;
    assert_eq!(hex(&index), vector.text("index"));
    if vector.find("split").is_some() {
        let mut split = Streams::default();
        let mut splitter = Splitter::new();
        splitter.push(&index, &mut split);
        splitter.finish(&mut split);
        assert!(split == streams, "it is split into other streams");
    }
    Ok(())
}
