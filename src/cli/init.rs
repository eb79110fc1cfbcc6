//! `dtar init`: make a store on purpose.

use std::path::Path;

use super::args::{GlobalArgs, InitArgs};
use super::say::Say;
use super::setup;
use dtar::crypto::PublicKey;
use dtar::error::{Error, Exit, Result};
use dtar::key_file;

pub fn run(args: &InitArgs, global: &GlobalArgs, say: Say) -> Result<Exit> {
    let path = setup::store_path(global)?;
    if path.join("store.toml").exists() {
        return Err(Error::Refused {
            path,
            message: "a store already; nothing was changed".into(),
            exit: Exit::Failed,
        });
    }
    let recipients = args
        .recipient
        .iter()
        .map(|text| recipient(text))
        .collect::<Result<Vec<_>>>()?;
    setup::make(global, say, &recipients)?;
    Ok(Exit::Done)
}

/// A public key: the text itself, or a file that holds it.
fn recipient(text: &str) -> Result<PublicKey> {
    let path = Path::new(text);
    if path.exists() {
        return key_file::load_public(path);
    }
    text.parse().map_err(|error| {
        Error::Usage(format!(
            "--recipient: neither a file nor a public key ({error}); `dtar key show` prints one"
        ))
    })
}
