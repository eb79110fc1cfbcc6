//! `store.toml`: what a store is, authenticated with the key
//! (`formats/store.md#storetoml`).

use std::collections::HashSet;
use std::fmt::{Display, Write};
use std::path::Path;
use std::str::FromStr;

use toml::{Table, Value};

use crate::crypto::{Key, PublicKey, RecipientsError, StoreKey};
use crate::error::Exit;
use crate::id::{Epoch, KeyId, StoreId};
use crate::{Error, Result};

/// The version that this dtar writes and reads.
const FORMAT: i64 = 1;
/// The chunker that this dtar has.
const CHUNKER: &str = "fastcdc-2020-gear-1";
/// The most recipients besides the store's own key.
const MAX_RECIPIENTS: usize = 31;
/// The longest `store.toml` in bytes.
pub(super) const MAX_LENGTH: u64 = 1 << 20;

/// What a store is.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Its name.
    pub store_id: StoreId,
    /// The epoch of the put secret in use.
    pub epoch: Epoch,
    /// Whom bricks are sealed to: the store's own key first.
    pub recipients: Vec<PublicKey>,
    /// When it was made, RFC 3339.
    pub created: String,
}

impl StoreConfig {
    /// The text of `store.toml`, with its last line.
    ///
    /// # Errors
    /// [`Error::Usage`] without any recipient, with more than 32, and for one that
    /// stands twice; [`Error::PutKey`] unless `key` is a secret key.
    pub fn encode(&self, key: &Key) -> Result<String> {
        check_recipients(&self.recipients).map_err(Error::Usage)?;
        let Some((own, others)) = self.recipients.split_first() else {
            return Err(Error::Usage("a store needs a public key".to_owned()));
        };
        let recipients_auth =
            key.authenticate_recipients(self.store_id, self.epoch, &self.recipients)?;
        let others: Vec<_> = others
            .iter()
            .map(|key| Value::String(key.to_text()))
            .collect();
        let lines = [
            ("format", Value::Integer(FORMAT)),
            ("features", Value::Array(Vec::new())),
            ("store-id", Value::String(self.store_id.to_string())),
            ("epoch", Value::Integer(self.epoch.0.into())),
            ("key-id", Value::String(own.key_id().to_string())),
            ("public-key", Value::String(own.to_text())),
            ("recipients", Value::Array(others)),
            ("recipients-auth", Value::String(hex(recipients_auth))),
            ("chunker", Value::String(CHUNKER.to_owned())),
            ("created", Value::String(self.created.clone())),
        ];
        let mut text = String::from(
            "# A dtar store. Changes to this file make it useless: its last line is made with the key.\n",
        );
        for (name, value) in lines {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} = {value}");
        }
        let keys = key.put_keys(self.store_id, self.epoch)?;
        text.push_str(&auth_line(&keys.store, text.as_bytes()));
        Ok(text)
    }

    /// The store id in a `store.toml`, of which nothing is verified.
    ///
    /// # Errors
    /// [`Error::Refused`] if it cannot be read, is of a newer format, or needs an
    /// unknown feature.
    pub fn unverified_id(path: &Path, bytes: &[u8]) -> Result<StoreId> {
        let fields = Fields::parse(path, bytes)?;
        fields.check_version()?;
        fields.parsed("store-id")
    }

    /// Reads `store.toml`, which stands at `path`, with the key in use.
    ///
    /// # Errors
    /// [`Error::Refused`] if it cannot be read, is of a newer format, needs an
    /// unknown feature, or was altered; [`Error::WrongKey`];
    /// [`Error::OtherStorePutKey`] and [`Error::WrongEpoch`] for a put key of another
    /// store or epoch.
    pub fn decode(path: &Path, bytes: &[u8], key: &Key) -> Result<Self> {
        let fields = Fields::parse(path, bytes)?;
        fields.check_version()?;
        let key_id: KeyId = fields.parsed("key-id")?;
        if key_id != key.key_id() {
            return Err(Error::WrongKey {
                path: path.to_owned(),
                expected: vec![key_id],
                found: key.key_id(),
            });
        }
        let (store_id, epoch) = (fields.parsed("store-id")?, fields.epoch()?);
        fields.authenticate(bytes, &key.put_keys(store_id, epoch)?.store)?;

        // From here on the file is what somebody with a put key wrote. That is not
        // enough for the public keys.
        let chunker = fields.text("chunker")?;
        if chunker != CHUNKER {
            let problem = format!(
                "the store uses the chunker {chunker:?}, which this dtar does not have; use a newer dtar"
            );
            return Err(fields.refused(Exit::Failed, problem));
        }
        let recipients = fields.recipients()?;
        let recipients_auth = fields.hash("recipients-auth")?;
        key.verify_recipients(store_id, epoch, &recipients, &recipients_auth)
            .map_err(|error| fields.forged(error))?;
        Ok(Self {
            store_id,
            epoch,
            recipients,
            created: fields.text("created")?.to_owned(),
        })
    }
}

/// Says what is wrong with a store's public keys, its own first.
fn check_recipients(keys: &[PublicKey]) -> Result<(), String> {
    let others = keys.len().saturating_sub(1);
    if others > MAX_RECIPIENTS {
        return Err(format!(
            "a store has at most {MAX_RECIPIENTS} recipients besides its own key, but these are {others}"
        ));
    }
    let mut seen = HashSet::new();
    let Some(twice) = keys.iter().find(|key| !seen.insert(key.key_id())) else {
        return Ok(());
    };
    let id = twice.key_id();
    Err(if keys.first() == Some(twice) {
        format!(
            "recipient {id} is the store's own key, to which all is sealed anyway: leave it out"
        )
    } else {
        format!("recipient {id} stands twice: name it once")
    })
}

fn hex(hash: [u8; 32]) -> String {
    blake3::Hash::from_bytes(hash).to_hex().to_string()
}

fn unhex(digits: &[u8]) -> Option<[u8; 32]> {
    let lower = digits.iter().all(|digit| !digit.is_ascii_uppercase());
    let hash = blake3::Hash::from_hex(digits).ok().filter(|_| lower)?;
    Some(hash.into())
}

/// The last line: keyed BLAKE3 over all bytes before it.
fn auth_line(key: &StoreKey, before: &[u8]) -> String {
    format!("auth = \"{}\"\n", hex(key.authenticate(before)))
}

/// The bytes before the last line, and what that says, if it has the one form that it may have.
fn split_auth(bytes: &[u8]) -> Option<(&[u8], [u8; 32])> {
    let lines = bytes.strip_suffix(b"\n")?;
    let start = lines.iter().rposition(|&byte| byte == b'\n')? + 1;
    let (before, line) = lines.split_at_checked(start)?;
    let digits = line.strip_prefix(b"auth = \"")?.strip_suffix(b"\"")?;
    Some((before, unhex(digits)?))
}

/// The fields of a `store.toml`, not yet to be relied upon.
struct Fields<'a> {
    path: &'a Path,
    table: Table,
}

impl<'a> Fields<'a> {
    fn parse(path: &'a Path, bytes: &[u8]) -> Result<Self> {
        let refused = |problem: String| Error::Refused {
            path: path.to_owned(),
            message: format!("unreadable: {problem}; bring back a copy of this file"),
            exit: Exit::Damaged,
        };
        let text = std::str::from_utf8(bytes)
            .map_err(|error| refused(format!("no text from byte {}", error.valid_up_to())))?;
        let table = Table::from_str(text).map_err(|error| {
            let place = error.span().map_or(0, |span| span.start);
            refused(format!("{} at byte {place}", error.message()))
        })?;
        Ok(Self { path, table })
    }

    fn refused(&self, exit: Exit, message: impl Into<String>) -> Error {
        Error::Refused {
            path: self.path.to_owned(),
            message: message.into(),
            exit,
        }
    }

    fn wrong(&self, name: &str, expected: &str) -> Error {
        let found = self.table.get(name).map_or("nothing".to_owned(), |value| {
            value.to_string().chars().take(80).collect()
        });
        self.broken(name, &format!("expected {expected}, found {found}"))
    }

    fn broken(&self, name: &str, problem: &dyn Display) -> Error {
        let message = format!("field {name}: {problem}; bring back a copy of this file");
        self.refused(Exit::Damaged, message)
    }

    fn check_version(&self) -> Result<()> {
        match self.table.get("format").and_then(Value::as_integer) {
            Some(FORMAT) => {}
            Some(newer) if newer > FORMAT => {
                let problem = format!(
                    "store of a newer format ({newer}; this dtar reads up to {FORMAT}); use a newer dtar"
                );
                return Err(self.refused(Exit::Failed, problem));
            }
            _ => return Err(self.wrong("format", "the number of a format")),
        }
        let features = self.strings("features")?;
        match features.first() {
            None => Ok(()),
            Some(feature) => Err(self.refused(
                Exit::Failed,
                format!("the store needs the feature {feature:?}, which this dtar does not know; use a newer dtar"),
            )),
        }
    }

    fn epoch(&self) -> Result<Epoch> {
        let number = self.table.get("epoch").and_then(Value::as_integer);
        number
            .and_then(|number| u32::try_from(number).ok())
            .filter(|&number| number >= Epoch::FIRST.0)
            .map(Epoch)
            .ok_or_else(|| self.wrong("epoch", "a number from 1 to 4294967295"))
    }

    /// Compares the last line, from the last newline but one on, with the bytes before it.
    fn authenticate(&self, bytes: &[u8], key: &StoreKey) -> Result<()> {
        // Behind the head of a table the last line would be a field of that table.
        self.text("auth")?;
        let verified = split_auth(bytes).is_some_and(|(before, auth)| key.verify(before, &auth));
        if verified {
            return Ok(());
        }
        Err(self.refused(
            Exit::Damaged,
            "altered: the last line does not match the rest of the file; bring back a copy of this file",
        ))
    }

    fn text(&self, name: &str) -> Result<&str> {
        let text = self.table.get(name).and_then(Value::as_str);
        text.ok_or_else(|| self.wrong(name, "a text"))
    }

    fn parsed<T: FromStr>(&self, name: &str) -> Result<T>
    where
        T::Err: Display,
    {
        self.text(name)?
            .parse()
            .map_err(|error: T::Err| self.broken(name, &error))
    }

    fn strings(&self, name: &str) -> Result<Vec<&str>> {
        let strings = match self.table.get(name) {
            Some(Value::Array(values)) => values.iter().map(Value::as_str).collect(),
            _ => None,
        };
        strings.ok_or_else(|| self.wrong(name, "an array of texts"))
    }

    fn hash(&self, name: &str) -> Result<[u8; 32]> {
        unhex(self.text(name)?.as_bytes()).ok_or_else(|| self.wrong(name, "64 hex digits"))
    }

    /// All public keys, the store's own first.
    fn recipients(&self) -> Result<Vec<PublicKey>> {
        let mut keys = vec![self.parsed("public-key")?];
        let broken = |error: &dyn Display| self.broken("recipients", error);
        for text in self.strings("recipients")? {
            keys.push(PublicKey::from_str(text).map_err(|error| broken(&error))?);
        }
        check_recipients(&keys).map_err(|problem| broken(&problem))?;
        Ok(keys)
    }

    /// Public keys for which nobody vouches: whoever archived would seal to a stranger.
    fn forged(&self, error: RecipientsError) -> Error {
        let problem = match error {
            RecipientsError::OwnKey => {
                "field public-key: not the public key of the key in use, although key-id is that \
                 of its key; somebody altered it. Do not archive into this store; bring back a \
                 copy of this file"
            }
            RecipientsError::NotAuthentic => {
                "field recipients-auth: does not match the public keys in this file; somebody \
                 without the secret key altered them. Do not archive into this store; bring back a \
                 copy of this file"
            }
            RecipientsError::OtherThanPutKey => {
                "field recipients: not the keys that the put key in use was made for. Do not archive \
                 into this store with it: with the secret key, `dtar store` says whether they are \
                 genuine, and `dtar key put` then makes a new put key"
            }
        };
        self.refused(Exit::Damaged, problem)
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
