//! A tape drive made of folders, for trials and tests: with faults on demand.
//!
//! ```text
//! LIBRARY/loaded             the name of the tape that is in the drive; empty or not there: none
//! LIBRARY/NAME/tape.toml     what the tape is like, and what is wrong with it: [`Settings`]
//! LIBRARY/NAME/data          its blocks, one behind the other
//! LIBRARY/NAME/layout        a line for each block (its length) and filemark (`mark`)
//! ```
//! To change the tape is to write another name into `loaded`: the [`Robot`] does it.

mod device;
mod robot;
mod settings;
mod tape;

pub use device::SimDevice;
pub use robot::Robot;
pub use settings::{Broken, Settings};

#[cfg(test)]
mod tests;
