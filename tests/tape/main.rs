//! `dtar tape` with the real binary, on simulated tapes and in folders.

#[path = "../common/mod.rs"]
mod common;

mod hostile;
mod messages;
mod mounted;
mod scene;
mod story;
