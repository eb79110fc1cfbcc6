//! Keys: derivation, key files, passphrases, recipient entries.

use super::super::forge::{self, Random, kdf, key_text, key_text_lower, master};
use super::super::run;
use super::super::vector::Vector;
use super::{Made, damaged};

/// What SIVs are made of.
const CONTENT: &[u8] = b"a content";

pub fn derivation() -> Made {
    let mut made = Made::new("key-derivation");
    for (name, master, epoch) in [
        ("first-epoch", master(), 1),
        ("second-epoch", master(), 2),
        ("all-ones", [0xff; 32], u32::MAX),
    ] {
        let public = forge::public_key(&master);
        let hash = blake3::hash(&public);
        let put = forge::put_secret(&master, epoch);
        let input = *blake3::hash(b"input").as_bytes();
        let mut vector = Vector::new("all keys that follow from a master secret", "ok")
            .with_hex("master", master)
            .with_hex("store-id", forge::STORE)
            .with("epoch", epoch)
            .with_hex("put-secret", put)
            .with_hex(
                "recipients-key",
                kdf("recipients key", &[&master, &forge::STORE]),
            )
            .with_hex("x-wing-seed", kdf("x-wing seed", &[&master]))
            .with_hex("public-key", &public)
            .with_hex("public-key-hash", hash.as_bytes())
            .with_hex("key-id", &hash.as_bytes()[..16]);
        for key in [
            "chunk id key",
            "metadata id key",
            "toc key",
            "sidecar key",
            "root key",
            "note key",
            "index key",
            "store key",
        ] {
            vector = vector.with_hex(&key.replace(' ', "-"), kdf(key, &[&put]));
        }
        let salt = [0x5a; 16];
        let gear_key = kdf("gear key", &[&master]);
        let gear = blake3::Hasher::new_keyed(&gear_key)
            .update(b"gear v1")
            .finalize_xof();
        let mut start = [0; 16];
        { gear }.fill(&mut start);
        let id = blake3::keyed_hash(&kdf("chunk id key", &[&put]), &input);
        let metadata_id = blake3::keyed_hash(&kdf("metadata id key", &[&put]), &input);
        let brick_key = [0xa5; 32];
        let [toc_key, root_key, note_key] =
            ["toc key", "root key", "note key"].map(|name| kdf(name, &[&put]));
        vector = vector
            .with_hex("salt", salt)
            .with_hex("brick-key", brick_key)
            .with("number", 7)
            .with_hex("content", CONTENT);
        let of_frame: [&[u8]; 3] = [&brick_key, &forge::STORE, &salt];
        for (kind, name, input, number) in [
            ("frame", "frame key", &of_frame[..], &[7, 0, 0, 0][..]),
            ("toc", "brick toc key", &[&toc_key, &salt], &[]),
            ("root", "one root key", &[&root_key, &salt], &[]),
            ("note", "one note key", &[&note_key, &salt], &[]),
        ] {
            let siv_key = kdf(&format!("{kind} siv key"), input);
            let (siv, key) = forge::content_key([kind, name], input, number, CONTENT);
            vector = vector
                .with_hex(&format!("{kind}-siv-key"), siv_key)
                .with_hex(&format!("{kind}-siv"), siv)
                .with_hex(&name.replace(' ', "-"), key);
        }
        vector = vector
            .with_hex("gear-key", gear_key)
            .with_hex("gear-table-start", start)
            .with_hex("input", input)
            .with_hex("chunk-id", &id.as_bytes()[..16])
            .with_hex("metadata-id", &metadata_id.as_bytes()[..16]);
        made.add(name, vector);
    }
    made
}

fn put_data() -> Vec<u8> {
    forge::put_data(&forge::STORE, 3, &[master(), [9; 32]])
}

pub fn files() -> Made {
    let mut made = Made::new("key-file");
    let secret = key_text("dtar-secret-key-", &master());
    let file = |comment: &str, expect: &str, file: &[u8]| {
        Vector::new(comment, expect).with_hex("file", file)
    };
    let good = |comment: &str, text: &str, kind: &str, data: &[u8]| {
        file(comment, "ok", text.as_bytes())
            .with("kind", kind)
            .with_hex("data", data)
    };
    let kind = "dtar-secret-key-";
    made.add(
        "secret",
        good("a secret key", &format!("{secret}\n"), kind, &master()).with("mode", "600"),
    );
    made.add(
        "secret-lower-case",
        good(
            "the same in lower case, without newline",
            &secret.to_lowercase(),
            kind,
            &master(),
        ),
    );
    made.add(
        "secret-with-comments",
        good(
            "comments and empty lines are ignored",
            &format!("# dtar key\n\n{secret}\n# end\n\n"),
            kind,
            &master(),
        ),
    );
    made.add(
        "secret-carriage-return",
        good(
            "lines that end with carriage return and line feed",
            &format!("# dtar key\r\n\r\n{secret}\r\n"),
            kind,
            &master(),
        ),
    );
    let put = key_text("dtar-put-key-", &put_data());
    made.add(
        "put",
        good(
            "a put key of epoch 3, with one recipient",
            &put,
            "dtar-put-key-",
            &put_data(),
        ),
    );
    let public = forge::public_key(&master());
    let text = key_text_lower("dtar-public-key-", &public);
    made.add(
        "public",
        good(
            "a public key may have any mode",
            &text,
            "dtar-public-key-",
            &public,
        )
        .with("mode", "644"),
    );
    negative_files(&mut made, &secret, &file);
    made
}

fn negative_files(made: &mut Made, secret: &str, file: &dyn Fn(&str, &str, &[u8]) -> Vector) {
    for mode in ["640", "604", "620", "602", "610", "601"] {
        let vector = file(
            "a secret that others have access to",
            "mode",
            secret.as_bytes(),
        );
        made.add(&format!("mode-{mode}"), vector.with("mode", mode));
    }
    let flipped = |at: usize| {
        let mut bytes = secret.as_bytes().to_vec();
        bytes[at] = if bytes[at] == b'Q' { b'P' } else { b'Q' };
        bytes
    };
    let last = secret.len() - 1;
    let lower = key_text_lower("dtar-secret-key-", &master());
    let mut cases: Vec<(&str, &str, &str, Vec<u8>)> = vec![
        (
            "checksum-data",
            "one wrong character in the data",
            "bad checksum",
            flipped(20),
        ),
        (
            "checksum-sum",
            "one wrong character in the checksum",
            "bad checksum",
            flipped(last),
        ),
        (
            "checksum-cut",
            "the last character is missing",
            "bad checksum",
            secret.as_bytes()[..last].to_vec(),
        ),
        (
            "mixed-case",
            "human-readable part in upper, data in lower case",
            "mixed case",
            [&secret.as_bytes()[..17], &lower.as_bytes()[17..]].concat(),
        ),
        (
            "unknown-kind",
            "another human-readable part",
            "unknown kind",
            key_text("dtar-other-key-", &master()).into(),
        ),
        (
            "second-key",
            "two keys",
            "second key",
            format!("{secret}\n# and\n{secret}\n").into(),
        ),
        (
            "space-behind",
            "a space behind the key",
            "not a key",
            format!("{secret} \n").into(),
        ),
        (
            "space-line",
            "a line with nothing but a space",
            "second key",
            format!("{secret}\n \n").into(),
        ),
        (
            "second-line",
            "a key and some other line",
            "second key",
            format!("{secret}\nhello\n").into(),
        ),
        (
            "no-key",
            "only a comment",
            "no key",
            b"# nothing\n".to_vec(),
        ),
        ("empty", "an empty file", "no key", Vec::new()),
        (
            "not-a-key",
            "a line that is no bech32 string",
            "not a key",
            b"hello\n".to_vec(),
        ),
        (
            "not-text",
            "a line that is not text",
            "not a key",
            b"\xff\xfe\n".to_vec(),
        ),
    ];
    for (name, kind, length) in [
        ("length-secret-short", "dtar-secret-key-", 31),
        ("length-secret-long", "dtar-secret-key-", 33),
        ("length-put-short", "dtar-put-key-", 147),
        ("length-put-long", "dtar-put-key-", 149),
        ("length-public-short", "dtar-public-key-", 1215),
        ("length-public-long", "dtar-public-key-", 1217),
    ] {
        let text = key_text(kind, &vec![1; length]);
        cases.push((
            name,
            "a byte too few or too many",
            "wrong length",
            text.into(),
        ));
    }
    let zero = forge::put_data(&forge::STORE, 0, &[master()]);
    cases.push((
        "put-epoch-zero",
        "a put key of epoch 0",
        "epoch 0",
        key_text("dtar-put-key-", &zero).into(),
    ));
    // Twelve bits of all ones where an ML-KEM coefficient, at most 3,328, should be.
    let invalid = key_text("dtar-public-key-", &[0xff; 1216]);
    cases.push((
        "public-invalid",
        "no X-Wing key looks like this",
        "invalid public key",
        invalid.into(),
    ));
    for (name, comment, expect, bytes) in cases {
        made.add(name, file(comment, expect, &bytes));
    }
    let long = [secret.as_bytes(), b"\n", &[b'#'; 16_384]].concat();
    made.add("too-large", file("longer than 16 KiB", "too large", &long));
}

const CHEAP: [u32; 3] = [64, 2, 2];

pub fn passphrases() -> Made {
    let mut made = Made::new("passphrase");
    let lock = |name: &str, inside, secret: &[u8], edit: &dyn Fn(&mut [u8])| {
        let salt = Random::new(name).array();
        forge::locked(inside, secret, b"open sesame", CHEAP, &salt, edit)
    };
    let vector = |comment: &str, expect: &str, container: &[u8]| {
        let text = key_text("dtar-locked-key-", container);
        Vector::new(comment, expect)
            .with_hex("file", text)
            .with_hex("passphrase", b"open sesame")
    };
    for (name, inside, kind, data) in [
        ("secret", 1, "dtar-secret-key-", master().to_vec()),
        ("put", 2, "dtar-put-key-", put_data()),
    ] {
        let container = lock(name, inside, &data, &|_| ());
        let good = |comment, container: &[u8]| {
            vector(comment, "ok", container)
                .with("kind", kind)
                .with_hex("data", &data)
        };
        made.add(name, good("64 KiB, 2 passes, 2 lanes", &container));
        assert_eq!(
            library_locks(name, kind, &data),
            key_text("dtar-locked-key-", &container)
        );
        let reserved = lock(name, inside, &data, &|header| header[18] = 1);
        made.add(
            &format!("{name}-reserved"),
            good("reserved bytes are ignored, but sealed", &reserved),
        );
    }
    let zero = forge::put_data(&forge::STORE, 0, &[master()]);
    for (name, comment, expect, data) in [
        (
            "put-epoch-zero",
            "a put key of epoch 0",
            "epoch 0",
            &zero[..],
        ),
        (
            "put-cut",
            "shorter than a put key",
            "value: sealed secret",
            &put_data()[..147],
        ),
        (
            "put-longer",
            "longer than a put key",
            "value: sealed secret",
            &[&put_data()[..], &[0]].concat(),
        ),
    ] {
        let container = lock(name, 2, data, &|_| ());
        made.add(name, vector(comment, expect, &container));
    }
    let good = lock("faults", 1, &master(), &|_| ());
    let edited = |offset: usize, bytes: &[u8]| {
        let mut container = good.clone();
        container[offset..offset + bytes.len()].copy_from_slice(bytes);
        container
    };
    let number = |offset, number: u32| edited(offset, &number.to_le_bytes());
    for (name, comment, expect, offset, byte) in super::PREFIX_FAULTS {
        if expect != "ok" {
            made.add(name, vector(comment, expect, &edited(offset, &[byte])));
        }
    }
    for (name, comment, expect, container) in [
        ("kdf", "an unknown KDF", "value: KDF", edited(16, &[2])),
        (
            "kind",
            "an unknown kind of key",
            "value: kind of key",
            edited(17, &[3]),
        ),
        (
            "memory-small",
            "less memory than 8 KiB",
            "value: memory",
            number(20, 7),
        ),
        (
            "memory-large",
            "more memory than 4 GiB",
            "value: memory",
            number(20, 4_194_305),
        ),
        (
            "memory-lanes",
            "less memory than 8 KiB a lane",
            "value: memory",
            number(20, 15),
        ),
        ("passes-none", "no passes", "value: passes", number(24, 0)),
        (
            "passes-many",
            "more than 64 passes",
            "value: passes",
            number(24, 65),
        ),
        ("lanes-none", "no lanes", "value: lanes", number(28, 0)),
        (
            "lanes-many",
            "more than 16 lanes",
            "value: lanes",
            number(28, 17),
        ),
        (
            "cut",
            "cut short",
            "value: sealed secret",
            good[..111].to_vec(),
        ),
        (
            "longer",
            "longer than a secret key",
            "value: sealed secret",
            [&good[..], &[0]].concat(),
        ),
        (
            "other-salt",
            "another salt gives another key",
            "wrong passphrase",
            edited(40, &[0xee]),
        ),
        (
            "other-cost",
            "another cost gives another key",
            "wrong passphrase",
            number(24, 3),
        ),
        (
            "tag",
            "a damaged tag",
            "wrong passphrase",
            edited(111, &[good[111] ^ 1]),
        ),
    ] {
        made.add(name, vector(comment, expect, &container));
    }
    let other = Vector::new("another passphrase", "wrong passphrase")
        .with_hex("file", key_text("dtar-locked-key-", &good))
        .with_hex("passphrase", b"open sesam");
    made.add("other-passphrase", other);
    made
}

fn library_locks(name: &str, kind: &str, data: &[u8]) -> String {
    let cost = dtar::format::lock::Cost {
        memory_kib: CHEAP[0],
        passes: CHEAP[1],
        lanes: CHEAP[2],
    };
    run::parse_key(&key_text(kind, data))
        .lock_with_random(b"open sesame", cost, &mut Random::new(name))
        .unwrap()
        .to_string()
}

pub fn entries() -> Made {
    let mut made = Made::new("encapsulation");
    let name = "dtar recipient entry";
    let mut random = Random::new(name);
    let (salt, brick_key) = (random.array(), random.array());
    let good = forge::entry(&master(), &forge::STORE, &salt, &brick_key, &mut random);
    let key_id = &blake3::hash(&forge::public_key(&master())).as_bytes()[..16].to_vec();
    let vector = |comment: &str, expect: &str, salt: &[u8; 16], entry: &[u8]| {
        Vector::new(comment, expect)
            .with("what", "recipient entry")
            .with_hex("master", master())
            .with_hex("store-id", forge::STORE)
            .with_hex("salt", salt)
            .with_hex("brick-key", brick_key)
            .with_hex("entry", entry)
    };
    made.add("entry", vector("a brick key, wrapped", "ok", &salt, &good));
    let other = [0; 16];
    made.add(
        "entry-other-salt",
        vector("wrapped for another salt", "seal", &other, &good),
    );
    for (name, comment, offset) in [
        ("entry-encapsulation", "a damaged encapsulation", 500),
        ("entry-wrapped-key", "a damaged wrapped key", 1150),
        ("entry-tag", "a damaged tag", 1193),
    ] {
        let bad = damaged(&good, offset);
        made.add(name, vector(comment, "seal", &salt, &bad));
    }
    let expect = "not sealed to this key";
    for (name, comment, offset) in [
        ("entry-kem", "an unknown KEM is skipped", 16),
        ("entry-kdf", "an unknown KDF is skipped", 18),
        ("entry-aead", "an unknown AEAD is skipped", 20),
    ] {
        let mut bad = good.clone();
        bad[offset] ^= 0x40;
        made.add(
            name,
            vector(comment, expect, &salt, &bad).with_hex("recipient", key_id),
        );
    }
    // The same bytes, split elsewhere.
    let mut bad = good.clone();
    bad[22..24].copy_from_slice(&1119_u16.to_le_bytes());
    bad[24..26].copy_from_slice(&49_u16.to_le_bytes());
    made.add(
        "entry-lengths",
        vector(
            "lengths that no known suite has are skipped",
            expect,
            &salt,
            &bad,
        )
        .with_hex("recipient", key_id),
    );
    made
}
