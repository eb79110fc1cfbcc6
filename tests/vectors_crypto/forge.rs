//! A second, plain implementation of the writing side, from the pages in `formats/`
//! alone. It writes what the library must not write, too.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hpke::aead::ChaCha20Poly1305 as HpkeAead;
use hpke::kdf::HkdfSha256;
use hpke::kem::XWing;
use hpke::{Deserializable, Kem, OpModeS, Serializable};
use std::convert::Infallible;

pub const STORE: [u8; 16] = *b"a store of tests";
pub const WRITER: [u8; 16] = *b"a writer of test";

/// The master secret of most vectors: 00 01 02 … 1f.
pub fn master() -> [u8; 32] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

/// Random bytes that follow from a name.
pub struct Random(blake3::OutputReader);

impl Random {
    pub fn new(name: &str) -> Self {
        Self(blake3::Hasher::new().update(name.as_bytes()).finalize_xof())
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }
}

impl rand_core::TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.array()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.array()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Random {}

pub fn kdf(name: &str, input: &[&[u8]]) -> [u8; 32] {
    blake3::derive_key(&format!("dtar 2026-11 {name} v1"), &input.concat())
}

/// The put secret of the store [`STORE`].
pub fn put_secret(master: &[u8], epoch: u32) -> [u8; 32] {
    kdf("put secret", &[master, &STORE, &epoch.to_le_bytes()])
}

/// The data of a put key: `recipients` are master secrets, that of the store first.
pub fn put_data(store: &[u8; 16], epoch: u32, recipients: &[[u8; 32]]) -> Vec<u8> {
    let master = &recipients[0];
    let public: Vec<_> = recipients.iter().map(|key| public_key(key)).collect();
    [
        &store[..],
        &epoch.to_le_bytes(),
        &kdf("put secret", &[master, store, &epoch.to_le_bytes()]),
        &kdf("gear key", &[master]),
        blake3::hash(&public[0]).as_bytes(),
        blake3::hash(&public.concat()).as_bytes(),
    ]
    .concat()
}

/// What `store.toml` says as `recipients-auth`, of the store [`STORE`].
pub fn recipients_auth(epoch: u32, recipients: &[[u8; 32]]) -> blake3::Hash {
    let key = kdf("recipients key", &[&recipients[0], &STORE]);
    let public: Vec<_> = recipients.iter().map(|key| public_key(key)).collect();
    blake3::keyed_hash(&key, &[&epoch.to_le_bytes()[..], &public.concat()].concat())
}

pub fn private_key(master: &[u8]) -> <XWing as Kem>::PrivateKey {
    <XWing as Kem>::PrivateKey::from_bytes(&kdf("x-wing seed", &[master])).unwrap()
}

pub fn public_key(master: &[u8]) -> Vec<u8> {
    XWing::sk_to_pk(&private_key(master)).to_bytes().to_vec()
}

pub fn prefix(magic: &[u8]) -> Vec<u8> {
    [magic, &[1, 0, 0, 0, 0, 0, 0, 0]].concat()
}

pub fn check(bytes: &[u8]) -> [u8; 16] {
    blake3::hash(bytes).as_bytes()[..16].try_into().unwrap()
}

/// Puts the right check at the end again, after a change before it.
pub fn recheck(bytes: &mut [u8]) {
    let (before, last) = bytes.split_last_chunk_mut().unwrap();
    *last = check(before);
}

pub fn uv(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value > 127 {
        bytes.push((value % 128) as u8 | 128);
        value /= 128;
    }
    bytes.push((value % 128) as u8);
    bytes
}

/// SIV and key of a content: `kind` is the first word of the contexts, `name` that of
/// the key, `input` what both follow from. Other bytes than the content's, `of`, may
/// make the SIV.
pub fn content_key(
    [kind, name]: [&str; 2],
    input: &[&[u8]],
    number: &[u8],
    of: &[u8],
) -> ([u8; 16], [u8; 32]) {
    let siv_key = kdf(&format!("{kind} siv key"), input);
    let hash = blake3::keyed_hash(&siv_key, &[number, of].concat());
    let siv: [u8; 16] = hash.as_bytes()[..16].try_into().unwrap();
    let key = kdf(name, &[&input.concat(), number, &siv]);
    (siv, key)
}

pub fn aead_seal(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    ChaCha20Poly1305::new(key.into())
        .encrypt(&nonce.into(), Payload { msg, aad })
        .unwrap()
}

/// A recipient entry.
pub fn entry(
    recipient: &[u8],
    store: &[u8; 16],
    salt: &[u8; 16],
    brick_key: &[u8; 32],
    random: &mut Random,
) -> Vec<u8> {
    let public = public_key(recipient);
    let (encapsulation, wrapped) = hpke::single_shot_seal_with_rng::<HpkeAead, HkdfSha256, XWing>(
        &OpModeS::Base,
        &<XWing as Kem>::PublicKey::from_bytes(&public).unwrap(),
        &[b"dtar 2026-11 brick key v1", &store[..], salt].concat(),
        brick_key,
        b"",
        random,
    )
    .unwrap();
    [
        &blake3::hash(&public).as_bytes()[..16],
        &0x647a_u16.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &3_u16.to_le_bytes(),
        &1120_u16.to_le_bytes(),
        &48_u16.to_le_bytes(),
        &encapsulation.to_bytes(),
        &wrapped,
    ]
    .concat()
}

/// A frame in the making.
pub struct Frame {
    pub store: [u8; 16],
    pub salt: [u8; 16],
    pub brick_key: [u8; 32],
    pub number: u32,
    pub codec: u8,
    pub entries: Vec<Vec<u8>>,
    pub fields: Vec<u8>,
    /// The bytes that make the SIV, if not those under the seal.
    pub siv_of: Option<Vec<u8>>,
}

impl Frame {
    /// A frame sealed to `recipients`, given by their master secrets. Draws salt, brick
    /// key, and what HPKE takes, in this order.
    pub fn new(name: &str, recipients: &[[u8; 32]]) -> Self {
        let mut random = Random::new(name);
        let salt = random.array();
        let brick_key = random.array();
        let entries = recipients
            .iter()
            .map(|recipient| entry(recipient, &STORE, &salt, &brick_key, &mut random))
            .collect();
        Self {
            store: STORE,
            salt,
            brick_key,
            number: 5,
            codec: 0,
            entries,
            fields: Vec::new(),
            siv_of: None,
        }
    }

    /// The frame that holds `opened`, with `edit` done to its header before the check
    /// is made and the seal applied.
    pub fn seal(&self, opened: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let entries = self.entries.concat();
        let number = self.number.to_le_bytes();
        let (siv, key) = content_key(
            ["frame", "frame key"],
            &[&self.brick_key, &self.store, &self.salt],
            &number,
            self.siv_of.as_deref().unwrap_or(opened),
        );
        let length = u32::try_from(88 + entries.len() + self.fields.len() + 16).unwrap();
        let mut header = [
            &prefix(b"dtarFRAM")[..],
            &length.to_le_bytes(),
            &u32::try_from(opened.len() + 16).unwrap().to_le_bytes(),
            &self.store,
            &self.salt,
            &number,
            &1_u32.to_le_bytes(),
            &[0, self.codec, 1, u8::try_from(self.entries.len()).unwrap()],
            &[0; 4],
            &siv,
            &entries,
            &self.fields,
            &[0; 16],
        ]
        .concat();
        edit(&mut header);
        recheck(&mut header);
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&number);
        let sealed = aead_seal(&key, nonce, &header, opened);
        [header, sealed].concat()
    }
}

/// What stands under the seal of a frame.
pub fn opened(plain: usize, chunks: usize, table: usize, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [content.len(), plain, chunks, table] {
        bytes.extend_from_slice(&u32::try_from(number).unwrap().to_le_bytes());
    }
    bytes.extend_from_slice(content);
    bytes
}

/// Stored content: these chunks and their table.
pub fn stored(chunks: &[&[u8]]) -> Vec<u8> {
    let table: Vec<u8> = chunks
        .iter()
        .flat_map(|chunk| uv(chunk.len() as u64))
        .collect();
    let plain = [chunks.concat(), table.clone()].concat();
    opened(plain.len(), chunks.len(), table.len(), &plain)
}

/// A block of a zstd frame (RFC 8878).
pub enum Block<'a> {
    Raw(&'a [u8]),
    Repeat(u8, usize),
}

/// A zstd frame of these blocks, without content size: it may yield what it likes.
pub fn zstd(blocks: &[Block<'_>]) -> Vec<u8> {
    // Magic, descriptor, window of 2 MiB.
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 11 << 3];
    for (index, block) in blocks.iter().enumerate() {
        let (kind, length, content) = match block {
            Block::Raw(content) => (0, content.len(), content.to_vec()),
            Block::Repeat(byte, length) => (1, *length, vec![*byte]),
        };
        let last = usize::from(index + 1 == blocks.len());
        let header = u32::try_from(last | kind << 1 | length << 3).unwrap();
        bytes.extend_from_slice(&header.to_le_bytes()[..3]);
        bytes.extend_from_slice(&content);
    }
    bytes
}

pub fn brick_header(salt: &[u8; 16]) -> Vec<u8> {
    brick_header_of(salt, &STORE, 1, 0)
}

pub fn brick_header_of(salt: &[u8; 16], store: &[u8; 16], epoch: u32, class: u8) -> Vec<u8> {
    let mut bytes = [
        &prefix(b"dtarBRIK")[..],
        store,
        salt,
        &epoch.to_le_bytes(),
        &[class],
        &[0; 11],
        &[0; 16],
    ]
    .concat();
    recheck(&mut bytes);
    bytes
}

pub fn footer(toc_offset: u64, toc_length: u64, length: u64) -> Vec<u8> {
    let mut bytes = [
        &prefix(b"dtarFOOT")[..],
        &toc_offset.to_le_bytes(),
        &toc_length.to_le_bytes(),
        &length.to_le_bytes(),
        &[0; 8],
        &[0; 16],
    ]
    .concat();
    recheck(&mut bytes);
    bytes
}

/// Id and length of a chunk.
pub type TocChunk = ([u8; 16], u64);
/// Length, plain length and chunks of a frame.
pub type TocFrame<'a> = (u64, u64, &'a [TocChunk]);

/// The opened bytes of a TOC.
pub fn toc_plain(frames: &[TocFrame<'_>]) -> Vec<u8> {
    let chunks: usize = frames.iter().map(|(_, _, chunks)| chunks.len()).sum();
    let mut bytes = [
        &u32::try_from(frames.len()).unwrap().to_le_bytes()[..],
        &u32::try_from(chunks).unwrap().to_le_bytes(),
        &[0; 4],
        &WRITER,
    ]
    .concat();
    for (length, plain, chunks) in frames {
        for number in [*length, *plain, chunks.len() as u64] {
            bytes.extend(uv(number));
        }
        for (id, length) in *chunks {
            bytes.extend_from_slice(id);
            bytes.extend(uv(*length));
        }
    }
    bytes
}

/// A sealed TOC of the brick with this salt, with `edit` done to its header.
pub fn toc(salt: &[u8; 16], plain: &[u8], edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    toc_with_siv(salt, plain, plain, edit)
}

/// The same, with the SIV of other bytes.
pub fn toc_with_siv(
    salt: &[u8; 16],
    plain: &[u8],
    siv_of: &[u8],
    edit: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let toc_key = kdf("toc key", &[&put_secret(&master(), 1)]);
    let names = ["toc", "brick toc key"];
    let (siv, key) = content_key(names, &[&toc_key, salt], &[], siv_of);
    let mut header = [
        &prefix(b"dtarTOC1")[..],
        &u32::try_from(plain.len() + 16).unwrap().to_le_bytes(),
        &1_u32.to_le_bytes(),
        &STORE,
        salt,
        &siv,
        &[0; 16],
    ]
    .concat();
    edit(&mut header);
    recheck(&mut header);
    let sealed = aead_seal(&key, [0; 12], &header, plain);
    [header, sealed].concat()
}

/// The last 32 bytes of a sidecar.
pub fn sidecar_seal(name: &[u8; 32], toc: &[u8]) -> [u8; 32] {
    let key = kdf("sidecar key", &[&put_secret(&master(), 1)]);
    blake3::keyed_hash(&key, &[name, toc].concat()).into()
}

/// The opened bytes of a root.
pub fn root_plain(host: &[u8], label: &[u8], bricks: &[([u8; 32], &[u8])]) -> Vec<u8> {
    let mut bytes = [
        &1_700_000_000_123_456_789_u64.to_le_bytes()[..],
        &WRITER,
        &10_240_u64.to_le_bytes(),
        &0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_le_bytes(),
        &uv(host.len() as u64),
        host,
        &uv(label.len() as u64),
        label,
        &uv(bricks.len() as u64),
    ]
    .concat();
    for (name, bitmap) in bricks {
        bytes.extend_from_slice(name);
        bytes.extend(uv(bitmap.len() as u64));
        bytes.extend_from_slice(bitmap);
    }
    bytes
}

/// A sealed root with this salt, with `edit` done to its header.
pub fn root(salt: &[u8; 16], plain: &[u8], edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    root_with_siv(salt, plain, plain, edit)
}

/// The same, with the SIV of other bytes.
pub fn root_with_siv(
    salt: &[u8; 16],
    plain: &[u8],
    siv_of: &[u8],
    edit: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let names = ["root", "one root key"];
    salted(b"dtarROOT", names, salt, plain, siv_of, edit)
}

/// The opened bytes of a note.
pub fn note_plain(kind: u8, texts: [&[u8]; 3], bricks: &[[u8; 32]]) -> Vec<u8> {
    let mut bytes = [
        &[kind, 0, 0, 0][..],
        &4711_u32.to_le_bytes(),
        &1_700_000_000_123_456_789_u64.to_le_bytes(),
        b"a random",
        &WRITER,
    ]
    .concat();
    for text in texts {
        bytes.extend(uv(text.len() as u64));
        bytes.extend_from_slice(text);
    }
    bytes.extend(uv(bricks.len() as u64));
    bytes.extend(bricks.concat());
    bytes
}

/// A sealed note with this salt, with `edit` done to its header, and the SIV of `siv_of`.
pub fn note(salt: &[u8; 16], plain: &[u8], siv_of: &[u8], edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let names = ["note", "one note key"];
    salted(b"dtarNOTE", names, salt, plain, siv_of, edit)
}

/// A root or a note: `names` are the first word of the contexts and the name of its key.
fn salted(
    magic: &[u8],
    names: [&str; 2],
    salt: &[u8; 16],
    plain: &[u8],
    siv_of: &[u8],
    edit: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let secret = kdf(&format!("{} key", names[0]), &[&put_secret(&master(), 1)]);
    let (siv, key) = content_key(names, &[&secret, salt], &[], siv_of);
    let mut header = [
        &prefix(magic)[..],
        &(plain.len() as u64 + 16).to_le_bytes(),
        &1_u32.to_le_bytes(),
        &[0; 4],
        &STORE,
        salt,
        &siv,
        &[0; 16],
    ]
    .concat();
    edit(&mut header);
    recheck(&mut header);
    let sealed = aead_seal(&key, [0; 12], &header, plain);
    [header, sealed].concat()
}

/// A key string in upper case.
pub fn key_text(kind: &str, data: &[u8]) -> String {
    key_text_lower(kind, data).to_ascii_uppercase()
}

/// A key string: bech32m by hand, since the crate has a limit on the length.
pub fn key_text_lower(kind: &str, data: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let mut symbols = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in data {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            symbols.push((bits >> count & 31) as u8);
        }
        bits &= 0xff;
    }
    if count > 0 {
        symbols.push((bits << (5 - count) & 31) as u8);
    }
    let readable = kind.bytes();
    let mut input: Vec<u8> = readable.clone().map(|byte| byte >> 5).collect();
    input.push(0);
    input.extend(readable.map(|byte| byte & 31));
    input.extend(&symbols);
    input.extend([0; 6]);
    let sum = input.iter().fold(1_u32, |sum, symbol| {
        let top = sum >> 25;
        let generators = [
            0x3b6a_57b2,
            0x2650_8e6d,
            0x1ea1_19fa,
            0x3d42_33dd,
            0x2a14_62b3,
        ];
        (0..5)
            .filter(|bit| top >> bit & 1 == 1)
            .fold((sum & 0x01ff_ffff) << 5 ^ u32::from(*symbol), |sum, bit| {
                sum ^ generators[bit]
            })
    }) ^ 0x2bc8_30a3;
    symbols.extend((0..6).map(|place| (sum >> (5 * (5 - place)) & 31) as u8));
    let data: String = symbols
        .iter()
        .map(|symbol| char::from(ALPHABET[usize::from(*symbol)]))
        .collect();
    format!("{kind}1{data}")
}

/// The container of a key under a passphrase, with `edit` done to its header.
pub fn locked(
    inside: u8,
    secret: &[u8],
    passphrase: &[u8],
    cost: [u32; 3],
    salt: &[u8; 32],
    edit: impl FnOnce(&mut [u8]),
) -> Vec<u8> {
    let mut header = [&prefix(b"dtarLOCK")[..], &[1, inside, 0, 0]].concat();
    for number in cost {
        header.extend_from_slice(&number.to_le_bytes());
    }
    header.extend_from_slice(salt);
    edit(&mut header);
    let params = argon2::Params::new(cost[0], cost[1], cost[2], Some(32)).unwrap();
    let mut key = [0; 32];
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(passphrase, salt, &mut key)
        .unwrap();
    let sealed = aead_seal(&key, [0; 12], &header, secret);
    [header, sealed].concat()
}
