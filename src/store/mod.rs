//! A store on disk: folders, files that appear whole or not at all,
//! `store.toml`, and the catalog (`formats/store.md`).

pub mod atomic;
pub mod layout;
pub mod places;
