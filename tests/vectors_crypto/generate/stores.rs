//! `store.toml`.

use dtar::id::{Epoch, StoreId};
use dtar::store::config::StoreConfig;

use super::super::forge::{self, key_text, key_text_lower, master};
use super::super::run;
use super::super::vector::{Vector, hex};
use super::Made;

const CREATED: &str = "2026-11-21T04:24:10Z";
const FIRST: [u8; 32] = [9; 32];
const SECOND: [u8; 32] = [8; 32];
const STRANGER: [u8; 32] = [7; 32];

/// The public keys of a store, given by their master secrets, its own first.
fn all() -> [[u8; 32]; 3] {
    [master(), FIRST, SECOND]
}

fn public_text(master: &[u8; 32]) -> String {
    let text = key_text_lower("dtar-public-key-", &forge::public_key(master));
    format!("\"{text}\"")
}

fn key_id(master: &[u8; 32]) -> String {
    hex(&blake3::hash(&forge::public_key(master)).as_bytes()[..16])
}

/// All lines but the last, as dtar writes them.
fn lines() -> String {
    let others = [public_text(&FIRST), public_text(&SECOND)].join(", ");
    [
        "# A dtar store. Changes to this file make it useless: its last line is made with the key."
            .to_owned(),
        "format = 1".into(),
        "features = []".into(),
        format!("store-id = \"{}\"", hex(&forge::STORE)),
        "epoch = 1".into(),
        format!("key-id = \"{}\"", key_id(&master())),
        format!("public-key = {}", public_text(&master())),
        format!("recipients = [{others}]"),
        format!("recipients-auth = \"{}\"", recipients_auth(1, &all())),
        "chunker = \"fastcdc-2020-gear-1\"".into(),
        format!("created = \"{CREATED}\"\n"),
    ]
    .join("\n")
}

fn recipients_auth(epoch: u32, recipients: &[[u8; 32]]) -> String {
    forge::recipients_auth(epoch, recipients)
        .to_hex()
        .to_string()
}

/// The lines with a last line that fits them: who holds a put key can make it.
fn sealed(lines: &str) -> String {
    let key = forge::kdf("store key", &[&forge::put_secret(&master(), 1)]);
    let auth = blake3::keyed_hash(&key, lines.as_bytes());
    format!("{lines}auth = \"{}\"\n", auth.to_hex())
}

fn secret_key() -> String {
    key_text("dtar-secret-key-", &master())
}

fn put_key(store: &[u8; 16], epoch: u32) -> String {
    key_text("dtar-put-key-", &forge::put_data(store, epoch, &all()))
}

fn vector(comment: &str, expect: &str, key: &str, file: &str) -> Vector {
    Vector::new(comment, expect)
        .with("key", key)
        .with_hex("file", file)
}

fn holds(vector: Vector) -> Vector {
    let vector = vector
        .with_hex("store-id", forge::STORE)
        .with("epoch", 1)
        .with("created", CREATED);
    all().iter().fold(vector, |vector, recipient| {
        vector.with("recipient", key_id(recipient))
    })
}

fn library_writes() -> String {
    let key = |master: &[u8; 32]| run::parse_key(&key_text("dtar-secret-key-", master));
    let config = StoreConfig {
        store_id: StoreId(forge::STORE),
        epoch: Epoch::FIRST,
        recipients: all()
            .map(|master| key(&master).public_key().unwrap())
            .into(),
        created: CREATED.into(),
    };
    config.encode(&key(&master())).unwrap()
}

pub fn configs() -> Made {
    let mut made = Made::new("store-config");
    let good = sealed(&lines());
    assert_eq!(library_writes(), good);
    let both = [("", secret_key()), ("-put-key", put_key(&forge::STORE, 1))];
    for (with, key) in &both {
        let comment = "a store with two recipients";
        made.add(
            &format!("good{with}"),
            holds(vector(comment, "ok", key, &good)),
        );
    }
    let later = lines().replace("epoch = 1", "epoch = 1\nlater = [1, { a = 2 }]");
    made.add(
        "unknown-key",
        holds(vector(
            "unknown keys are ignored",
            "ok",
            &secret_key(),
            &sealed(&later),
        )),
    );
    keys(&mut made, &good);
    altered(&mut made, &good);
    fields(&mut made);
    for (with, key) in both {
        recipients(&mut made, with, &key);
    }
    made
}

fn keys(made: &mut Made, good: &str) {
    for (name, comment, expect, key) in [
        (
            "wrong-key",
            "another secret key",
            "wrong key",
            key_text("dtar-secret-key-", &STRANGER),
        ),
        (
            "put-key-other-store",
            "a put key of another store of the same key",
            "put key of another store",
            put_key(b"some other store", 1),
        ),
        (
            "put-key-other-epoch",
            "a put key of another epoch",
            "put key of another epoch",
            put_key(&forge::STORE, 2),
        ),
    ] {
        made.add(name, vector(comment, expect, &key, good));
    }
}

/// Changes without the key.
fn altered(made: &mut Made, good: &str) {
    for (name, comment, expect, from, to) in [
        (
            "altered-created",
            "a byte was altered",
            "altered",
            "04:24:10",
            "04:24:11",
        ),
        (
            "altered-store-id",
            "the store id was altered: its put secret is another",
            "altered",
            "store-id = \"61",
            "store-id = \"62",
        ),
        (
            "altered-epoch",
            "the epoch was altered: its put secret is another",
            "altered",
            "epoch = 1",
            "epoch = 2",
        ),
        (
            "altered-space",
            "a space that TOML does not see",
            "altered",
            "format = 1",
            "format =  1",
        ),
        (
            "altered-auth",
            "the last line was altered",
            "altered",
            "\nauth = \"",
            "\nauth = \"0",
        ),
        (
            "auth-missing",
            "no last line",
            "field auth",
            "\nauth = \"",
            "\n#auth = \"",
        ),
        (
            "format-newer",
            "a newer format, whatever else stands there",
            "newer format",
            "format = 1",
            "format = 2\nother = 1",
        ),
        (
            "format-zero",
            "no format of that number",
            "field format",
            "format = 1",
            "format = 0",
        ),
        (
            "feature",
            "a feature that nobody knows",
            "unknown feature",
            "features = []",
            "features = [\"deltas\"]",
        ),
        (
            "epoch-zero",
            "epochs begin with 1",
            "field epoch",
            "epoch = 1",
            "epoch = 0",
        ),
        (
            "epoch-long",
            "an epoch of more than 32 bits",
            "field epoch",
            "epoch = 1",
            "epoch = 4294967296",
        ),
        (
            "not-toml",
            "no TOML",
            "unreadable",
            "format = 1",
            "format : 1",
        ),
    ] {
        let file = replaced(good, from, to);
        made.add(name, vector(comment, expect, &secret_key(), &file));
    }
}

/// Changes by somebody with a put key, who can make the last line.
fn fields(made: &mut Made) {
    for (name, comment, expect, from, to) in [
        (
            "chunker",
            "a chunker that nobody knows",
            "unknown chunker",
            "fastcdc-2020-gear-1",
            "fastcdc-2030",
        ),
        (
            "recipients-auth-missing",
            "no recipients-auth",
            "field recipients-auth",
            "recipients-auth",
            "recipients-other",
        ),
        (
            "recipients-auth-long",
            "recipients-auth of 65 digits",
            "field recipients-auth",
            "recipients-auth = \"",
            "recipients-auth = \"0",
        ),
        (
            "public-key-not",
            "a public key that is none",
            "field public-key",
            "public-key = \"dtar",
            "public-key = \"dtaq",
        ),
        (
            "recipient-not",
            "a recipient that is no public key",
            "field recipients",
            "recipients = [",
            "recipients = [\"nobody\", ",
        ),
    ] {
        let file = sealed(&replaced(&lines(), from, to));
        made.add(name, vector(comment, expect, &secret_key(), &file));
    }
    for (name, comment, auth) in [
        (
            "recipients-auth-other-epoch",
            "recipients-auth of another epoch",
            recipients_auth(2, &all()),
        ),
        (
            "recipients-auth-other-keys",
            "recipients-auth of other public keys",
            recipients_auth(1, &all()[..2]),
        ),
    ] {
        let file = sealed(&replaced(&lines(), &recipients_auth(1, &all()), &auth));
        let expect = "field recipients-auth";
        made.add(name, vector(comment, expect, &secret_key(), &file));
    }
}

/// Other recipients, again with a last line that fits.
fn recipients(made: &mut Made, with: &str, key: &str) {
    let [one, two] = [public_text(&FIRST), public_text(&SECOND)];
    let (own, stranger) = (public_text(&master()), public_text(&STRANGER));
    let forged = match with {
        "" => "field recipients-auth",
        _ => "field recipients",
    };
    let twice = "field recipients";
    for (name, comment, expect, recipients) in [
        (
            "recipient-added",
            "a recipient was added",
            forged,
            vec![&one, &two, &stranger],
        ),
        (
            "recipient-swapped",
            "a recipient was swapped for another",
            forged,
            vec![&one, &stranger],
        ),
        (
            "recipient-gone",
            "a recipient was left out",
            forged,
            vec![&one],
        ),
        (
            "recipients-order",
            "the recipients stand in another order",
            forged,
            vec![&two, &one],
        ),
        (
            "recipient-twice",
            "a recipient stands twice",
            twice,
            vec![&one, &two, &one],
        ),
        (
            "recipient-own",
            "the store's own key is a recipient",
            twice,
            vec![&one, &two, &own],
        ),
    ] {
        let list = recipients
            .into_iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let file = sealed(&replaced(&lines(), &format!("{one}, {two}"), &list));
        made.add(
            &format!("{name}{with}"),
            vector(comment, expect, key, &file),
        );
    }
    let file = sealed(&replaced(
        &lines(),
        &format!("public-key = {own}"),
        &format!("public-key = {stranger}"),
    ));
    made.add(
        &format!("public-key-swapped{with}"),
        vector(
            "the store's own public key was swapped",
            "field public-key",
            key,
            &file,
        ),
    );
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from}");
    text.replace(from, to)
}
