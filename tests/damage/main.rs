//! Damage of every kind to every kind of file: `verify` finds it and names it,
//! `rebuild` mends what can be mended, and what is restored is right or refused.

#[path = "../common/mod.rs"]
mod common;
#[path = "../bad_input/made.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of bad input, which use all of it"
)]
mod made;

mod checked;
mod collected;
mod copies;
mod faults;
mod healing;
mod hostile;
mod indexes;
mod matrix;
mod moved;
mod rebuilt;
mod rules;
mod scene;
mod structures;
mod sweep;
mod targets;
mod yard;
