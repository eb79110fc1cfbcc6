//! Bad input of every kind: the message says what is wrong, where, and what
//! to do; the exit code is the documented one; and nothing unverified comes out.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 3 data damaged or missing, 130
//! interrupted.

#[path = "../common/mod.rs"]
mod common;

mod bricks;
mod config;
mod forge;
mod forged;
mod index;
mod interrupted;
mod keep_going;
mod keys;
mod made;
mod room;
mod sidecars;
mod usage;
