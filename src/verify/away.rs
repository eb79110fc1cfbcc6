//! Bricks that were pushed, by the lists in `away/` (`formats/push.md#away-lists`).

use super::{Finding, Found};
use crate::error::Result;
use crate::id::BrickName;
use crate::store::away;
use crate::store::layout::Layout;

/// The bricks that lists say are in some bucket. Lists are hints: one may be out of date.
#[derive(Debug, Default)]
pub(super) struct Pushed(Vec<BrickName>);

impl Pushed {
    /// Reads all lists; one that is damaged is left out and told.
    pub(super) fn read(layout: &Layout, found: &Found<'_>) -> Result<Self> {
        let mut names = Vec::new();
        let mut warn = |text| found(Finding::Warning(text));
        away::each(layout, &mut warn, &mut |_, name, _| {
            names.push(name);
            Ok(())
        })?;
        names.sort_unstable();
        names.dedup();
        Ok(Self(names))
    }

    /// Whether a list names this one.
    pub(super) fn holds(&self, name: &BrickName) -> bool {
        self.0.binary_search(name).is_ok()
    }
}
