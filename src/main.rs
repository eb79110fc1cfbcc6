//! The `dtar` command.
fn main() {}
