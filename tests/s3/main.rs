//! Object stores, through the binary and a real server on loopback: what goes up, comes
//! down, thaws, and what networks and servers do at times.
#![cfg(feature = "s3")]

#[path = "../common/mod.rs"]
mod common;
mod faults;
mod garage;
mod hostile;
mod lists;
mod moved;
mod proxy;
mod pulling;
mod pushing;
mod recipes;
mod scene;
mod server;
mod stopped;
mod thawing;
