//! `dtar key`: make and show keys.

use std::path::Path;

use serde_json::json;
use zeroize::Zeroizing;

use super::args::{GlobalArgs, KeyCommand};
use super::say::Say;
use super::setup;
use dtar::crypto::Key;
use dtar::error::{Error, Exit, Result};
use dtar::key_file;
use dtar::store::Store;

pub fn run(command: &KeyCommand, global: &GlobalArgs, say: Say) -> Result<Exit> {
    match command {
        KeyCommand::New { file, passphrase } => {
            let path = file.clone().map_or_else(|| setup::key_path(global), Ok)?;
            let key = Key::generate()?;
            if *passphrase {
                key_file::create_locked(&path, &key, &new_passphrase(&path)?)?;
            } else {
                key_file::create(&path, &key)?;
            }
            say.note(&format!(
                "made a key, {}: keep a copy of it in a safe place; without it nothing can be restored",
                path.display()
            ));
        }
        KeyCommand::Put { file } => put(file, global, say)?,
        KeyCommand::Passphrase { remove } => {
            let path = setup::key_path(global)?;
            let key = setup::key(global)?;
            if *remove {
                key_file::replace(&path, &key, None)?;
                say.note(&format!("{}: has no passphrase now", path.display()));
            } else {
                let passphrase = new_passphrase(&path)?;
                key_file::replace(&path, &key, Some(&passphrase))?;
                say.note(&format!("{}: has a new passphrase", path.display()));
            }
        }
        KeyCommand::Show { secret } => return show(*secret, global, say),
    }
    Ok(Exit::Done)
}

fn put(file: &Path, global: &GlobalArgs, say: Say) -> Result<()> {
    let key = setup::key(global)?;
    let store = Store::open(&setup::store_path(global)?, &key)?;
    let put = key.to_put_key(store.epoch())?;
    key_file::create(file, &put)?;
    say.note(&format!(
        "made a put key, {}: it archives into store {}, but cannot read",
        file.display(),
        store.id()
    ));
    Ok(())
}

fn show(secret: bool, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let path = setup::key_path(global)?;
    let key = setup::key(global)?;
    let kind = if key.is_put_key() {
        "put key"
    } else {
        "secret key"
    };
    let public = key.public_key().map(|public| public.to_text());
    let secret = secret.then(|| key_file::secret_text(&key));
    let secret = secret.as_ref().map(|text| text.as_str());
    let text = if say.is_json() {
        let value = json!({
            "file": path.display().to_string(),
            "kind": kind,
            "key_id": key.key_id().to_string(),
            "public_key": public,
            "secret": secret,
        });
        format!("{value}\n")
    } else if let Some(secret) = secret {
        format!("{secret}\n")
    } else {
        let mut text = format!("# {}: {kind}, key id {}\n", path.display(), key.key_id());
        if let Some(public) = public {
            text += "# Its public key, for `dtar init --recipient`:\n";
            text += &public;
            text.push('\n');
        }
        text
    };
    super::print(Zeroizing::new(text).as_bytes())
}

/// A new passphrase, asked for twice.
fn new_passphrase(path: &Path) -> Result<Zeroizing<String>> {
    let variable = "DTAR_NEW_PASSPHRASE";
    if let Ok(passphrase) = std::env::var(variable) {
        return not_empty(Zeroizing::new(passphrase));
    }
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt)
            .map(Zeroizing::new)
            .map_err(|error| {
                Error::Usage(format!(
                    "no terminal to ask for a passphrase on ({error}); set {variable}"
                ))
            })
    };
    let first = ask(&format!("New passphrase for {}: ", path.display()))?;
    let second = ask("Again: ")?;
    if first != second {
        return Err(Error::Usage(
            "the two passphrases differ; nothing was changed".into(),
        ));
    }
    not_empty(first)
}

fn not_empty(passphrase: Zeroizing<String>) -> Result<Zeroizing<String>> {
    if passphrase.is_empty() {
        return Err(Error::Usage(
            "an empty passphrase protects nothing; nothing was changed".into(),
        ));
    }
    Ok(passphrase)
}
