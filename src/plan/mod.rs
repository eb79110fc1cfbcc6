//! What a restore needs, and where that is, before anything is thawed or loaded.
//!
//! ```text
//! index -> needed bricks -> which are here, in which containers, on which tapes, in which bucket -> what it costs
//! ```

mod cost;
mod places;
mod tapes;

pub use cost::{Cost, EXAMPLE, PriceError, Prices, Tier};
pub use places::{InContainer, Place, Places, Plan, Planned};
pub use tapes::{Load, TapeFile, loads};
