//! `dtar parity`, alone and beside gc, with the real binary.

#[path = "../common/mod.rs"]
mod common;

mod collection;
mod commands;
mod crashes;
mod merging;
mod scene;
mod several;
mod together;
