//! Any bytes in, the same bytes out; and the index lists like the stream.
//!
//! The real binary archives and restores streams from GNU tar, bsdtar and
//! Python, hand-made awkward ones, the corpus beside the repository, and
//! large ones that are made while they are read.

#[path = "../common/mod.rs"]
mod common;

mod awkward;
mod bsd;
mod check;
mod corpus;
mod extensions;
mod gnu;
mod large;
mod mutated;
mod python;
mod selected;
mod sparse;
mod stable;
mod tree;
