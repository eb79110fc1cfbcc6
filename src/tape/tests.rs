//! Whole runs over simulated tapes.

mod faults;
mod reading;
mod scene;
mod writing;
