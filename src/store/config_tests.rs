use std::path::Path;

use super::*;
use crate::store::testing::{self, key};

const PATH: &str = "store.toml";

fn config(number: u8, others: &[u8]) -> StoreConfig {
    let public = |&number: &u8| key(number).public_key().unwrap();
    let mut recipients = vec![public(&number)];
    recipients.extend(others.iter().map(public));
    StoreConfig {
        store_id: STORE,
        epoch: Epoch::FIRST,
        recipients,
        created: "2026-11-21T04:24:10Z".to_owned(),
    }
}

const STORE: StoreId = StoreId([7; 16]);

fn store_key(number: u8) -> StoreKey {
    key(number).put_keys(STORE, Epoch::FIRST).unwrap().store
}

/// The put key for [`text`].
fn put_key() -> Key {
    let recipients = config(1, &[2, 3]).recipients;
    testing::put_key(1, STORE, Epoch::FIRST, &recipients)
}

fn text() -> String {
    config(1, &[2, 3]).encode(&key(1)).unwrap()
}

fn decode(text: &str, key: &Key) -> Result<StoreConfig> {
    StoreConfig::decode(Path::new(PATH), text.as_bytes(), key)
}

/// The text with one line changed, and a last line that fits.
fn forged(from: &str, to: &str) -> String {
    let text = text();
    let body = text.rsplit_once("auth =").unwrap().0;
    assert!(body.contains(from));
    let mut forged = body.replace(from, to);
    forged.push_str(&auth_line(&store_key(1), forged.as_bytes()));
    forged
}

fn message(text: &str) -> String {
    decode(text, &key(1)).unwrap_err().to_string()
}

#[test]
fn a_config_goes_both_ways() {
    let text = text();
    for used in [key(1), put_key()] {
        let found = decode(&text, &used).unwrap();
        assert_eq!(found.encode(&key(1)).unwrap(), text);
        assert_eq!(found.recipients.len(), 3);
    }
}

#[test]
fn a_change_in_any_line_is_found() {
    let text = text();
    let lines: Vec<_> = text.lines().collect();
    for number in 0..lines.len() {
        let mut changed: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
        // The last digit or letter of the line, so that most lines stay well-formed.
        let at = changed[number]
            .rfind(|c: char| c.is_ascii_alphanumeric())
            .unwrap();
        let other = if &lines[number][at..=at] == "2" {
            "3"
        } else {
            "2"
        };
        changed[number].replace_range(at..=at, other);
        let changed = changed.join("\n") + "\n";
        assert!(decode(&changed, &key(1)).is_err(), "{changed}");
        let mut gone = lines.clone();
        gone.remove(number);
        let gone = gone.join("\n") + "\n";
        assert!(decode(&gone, &key(1)).is_err(), "{gone}");
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let text = text();
    for at in (0..text.len()).step_by(7) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1 << (at % 8);
        assert!(
            StoreConfig::decode(Path::new(PATH), &bytes, &key(1)).is_err(),
            "byte {at}"
        );
    }
}

#[test]
fn changes_that_toml_does_not_see_are_found() {
    let text = text();
    for changed in [
        text.replace("epoch = 1", "epoch  = 1"),
        text.replace("epoch = 1", "epoch = 1 # one"),
        text.trim_end().to_owned(),
        text.clone() + "\n",
        text.replace("auth = ", "auth  = "),
        text.replace('\n', "\r\n"),
    ] {
        let message = message(&changed);
        assert!(message.contains("altered"), "{message}");
    }
}

#[test]
fn unknown_keys_are_ignored() {
    decode(&forged("epoch", "later = [1, { a = 2 }]\nepoch"), &key(1)).unwrap();
}

#[test]
fn a_newer_format_is_said_before_anything_else() {
    for other in ["format = 2", "format = 2\nnonsense = true"] {
        let text = text().replace("format = 1", other);
        let error = decode(&text, &key(9)).unwrap_err();
        assert!(error.to_string().contains("newer format (2"), "{error}");
        assert_eq!(error.exit(), Exit::Failed);
    }
    assert!(message(&text().replace("format = 1", "format = 0")).contains("field format"));
    assert!(message(&text().replace("format = 1", "")).contains("field format"));
}

#[test]
fn an_unknown_feature_is_named() {
    let text = text().replace("features = []", "features = [\"deltas\"]");
    assert!(message(&text).contains("the feature \"deltas\""));
    let text = text.replace("[\"deltas\"]", "[1]");
    assert!(message(&text).contains("field features"));
}

#[test]
fn another_key_is_a_wrong_key_and_names_both() {
    let error = decode(&text(), &key(2)).unwrap_err();
    let (expected, found) = (key(1).key_id(), key(2).key_id());
    assert!(
        matches!(&error, Error::WrongKey { expected: e, found: f, .. } if *e == [expected] && *f == found),
        "{error}"
    );
}

#[test]
fn a_key_id_of_another_key_does_not_help() {
    let stolen = text().replace(&key(1).key_id().to_string(), &key(2).key_id().to_string());
    let error = decode(&stolen, &key(2)).unwrap_err();
    assert!(error.to_string().contains("altered"), "{error}");
}

#[test]
fn a_swapped_public_key_is_refused_even_with_a_good_last_line() {
    let text = forged(
        &key(1).public_key().unwrap().to_text(),
        &key(9).public_key().unwrap().to_text(),
    );
    for key in [key(1), put_key()] {
        let error = decode(&text, &key).unwrap_err();
        assert!(error.to_string().contains("field public-key"), "{error}");
        assert_eq!(error.exit(), Exit::Damaged);
    }
}

/// A thief of a put key makes a last line that verifies. It adds, drops, and swaps.
#[test]
fn other_recipients_are_refused_even_with_a_good_last_line() {
    let [own, two, three, four] = [1, 2, 3, 4].map(|number| {
        let public = key(number).public_key().unwrap();
        format!("\"{}\"", public.to_text())
    });
    let recipients = format!("{two}, {three}");
    for other in [
        format!("{two}, {three}, {four}"),
        format!("{two}, {four}"),
        format!("{three}, {two}"),
        two.clone(),
        String::new(),
    ] {
        let text = forged(&recipients, &other);
        for (key, field) in [(key(1), "recipients-auth"), (put_key(), "recipients")] {
            let error = decode(&text, &key).unwrap_err();
            let expected = format!("{PATH}: field {field}:");
            assert!(error.to_string().starts_with(&expected), "{error}");
            assert_eq!(error.exit(), Exit::Damaged);
        }
    }
    for (other, problem) in [
        (format!("{two}, {three}, {two}"), "stands twice"),
        (format!("{two}, {three}, {own}"), "own key"),
    ] {
        let message = message(&forged(&recipients, &other));
        assert!(message.contains("field recipients:"), "{message}");
        assert!(message.contains(problem), "{message}");
    }
}

#[test]
fn recipients_auth_is_of_this_store_and_epoch() {
    let of = |store, epoch| {
        let store_id = StoreId([store; 16]);
        let text = StoreConfig {
            store_id,
            epoch: Epoch(epoch),
            ..config(1, &[2, 3])
        }
        .encode(&key(1))
        .unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("recipients-auth"));
        line.unwrap().to_owned()
    };
    assert_eq!(forged(&of(7, 1), &of(7, 1)), text());
    for other in [of(8, 1), of(7, 2)] {
        let message = message(&forged(&of(7, 1), &other));
        assert!(message.contains("field recipients-auth"), "{message}");
    }
}

#[test]
fn a_missing_or_misshapen_recipients_auth_is_refused() {
    for (from, to) in [
        ("recipients-auth", "recipients-other"),
        ("recipients-auth = \"", "recipients-auth = \"0"),
        ("recipients-auth = ", "recipients-auth = 1\nother = "),
    ] {
        let text = forged(from, to);
        for key in [key(1), put_key()] {
            let error = decode(&text, &key).unwrap_err();
            assert!(
                error.to_string().contains("field recipients-auth"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_put_key_of_another_store_is_refused() {
    let other = testing::put_key(1, StoreId([8; 16]), Epoch::FIRST, &[]);
    let error = decode(&text(), &other).unwrap_err();
    assert!(
        matches!(error, Error::OtherStorePutKey { expected: STORE, found } if found.0 == [8; 16]),
        "{error}"
    );
}

#[test]
fn only_a_secret_key_writes_it() {
    let error = config(1, &[2, 3]).encode(&put_key()).unwrap_err();
    assert!(matches!(error, Error::PutKey { .. }), "{error}");
}

#[test]
fn a_put_key_of_another_epoch_is_refused() {
    let error = decode(&text(), &testing::put_key(1, STORE, Epoch(2), &[])).unwrap_err();
    assert!(matches!(error, Error::WrongEpoch { .. }), "{error}");
    for bad in ["0", "-1", "4294967296", "\"1\"", "1.0"] {
        let message = message(&text().replace("epoch = 1", &format!("epoch = {bad}")));
        assert!(message.contains("field epoch"), "{message}");
    }
}

#[test]
fn broken_fields_are_named_even_behind_a_good_last_line() {
    let own = key(1).public_key().unwrap().to_text();
    for (field, from, to) in [
        ("store-id", "0707", "07"),
        ("public-key", own.as_str(), "nonsense"),
        ("recipients", "recipients = [", "recipients = [1, "),
        (
            "recipients",
            "recipients = [",
            "recipients = [\"nonsense\", ",
        ),
        (
            "created",
            "created = \"2026-11-21T04:24:10Z\"",
            "created = 2026-11-21T04:24:10Z",
        ),
    ] {
        let message = message(&forged(from, to));
        assert!(message.contains(&format!("field {field}")), "{message}");
    }
    let message = message(&forged("fastcdc-2020-gear-1", "fastcdc-2030"));
    assert!(message.contains("chunker \"fastcdc-2030\""), "{message}");
}

#[test]
fn what_is_no_toml_is_unreadable() {
    for bytes in [&b"\xff"[..], b"format = ", b"format = 1\nformat = 1\n"] {
        let error = StoreConfig::decode(Path::new(PATH), bytes, &key(1)).unwrap_err();
        assert!(error.to_string().contains("unreadable"), "{error}");
        assert_eq!(error.exit(), Exit::Damaged);
    }
    assert!(decode("", &key(1)).is_err());
}

#[test]
fn the_last_line_stands_in_no_table() {
    let message = message(&forged("epoch = 1", "epoch = 1\n[later]"));
    assert!(message.contains("field"), "{message}");
    let text = forged(
        "created = \"2026-11-21T04:24:10Z\"\n",
        "created = \"now\"\n[later]\n",
    );
    let message = self::message(&text);
    assert!(message.contains("field auth"), "{message}");
}

#[test]
fn at_most_31_further_recipients() {
    let many = |count: u8| config(1, &(2..2 + count).collect::<Vec<_>>());
    let text = many(31).encode(&key(1)).unwrap();
    assert_eq!(decode(&text, &key(1)).unwrap().recipients.len(), 32);
    assert!(matches!(many(32).encode(&key(1)), Err(Error::Usage(_))));
    let one_more = key(40).public_key().unwrap().to_text();
    let body = text.rsplit_once("auth =").unwrap().0;
    let mut body = body.replace("recipients = [", &format!("recipients = [\"{one_more}\", "));
    body.push_str(&auth_line(&store_key(1), body.as_bytes()));
    assert!(message(&body).contains("at most 31"));
}
