//! Cold storage: containers, and what reads them.

#[path = "../common/mod.rs"]
mod common;

mod containers;
mod hostile;
mod moved;
mod planned;
mod resumed;
mod scene;
mod spoiled;
