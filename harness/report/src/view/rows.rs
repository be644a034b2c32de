//! Rows of the side-by-side table: a label, then one cell for each strategy.
//!
//! Owns their shape, and how a count and its spread are written.

use super::decimal;
use crate::document::{NumbersReport, StrategyReport};

/// A cell without a value.
pub(super) const NONE: &str = "–";

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// What it shows; indented by two spaces where it belongs to the section above.
    pub(crate) label: String,
    /// One cell for each strategy; empty in the title of a section.
    pub(crate) cells: Vec<String>,
}

/// The side-by-side table under construction: a label, then one cell for each strategy.
pub(super) struct Rows<'a> {
    pub(super) rows: Vec<Row>,
    pub(super) strategies: &'a [StrategyReport],
}

impl Rows<'_> {
    pub(super) fn row(&mut self, label: &str, cell: impl Fn(&StrategyReport) -> String) {
        self.rows.push(Row {
            label: label.to_owned(),
            cells: self.strategies.iter().map(cell).collect(),
        });
    }

    pub(super) fn section(&mut self, title: &str) {
        self.row(title, |_| String::new());
    }

    /// A count with its spread between rounds.
    pub(super) fn metric(
        &mut self,
        label: &str,
        name: &str,
        value: impl Fn(&NumbersReport) -> Option<u64>,
    ) {
        self.row(label, |strategy| match value(&strategy.totals) {
            None => NONE.to_owned(),
            Some(total) => format!("{total}{}", spread(strategy, name)),
        });
    }
}

/// ` [min median max]` between rounds, when there is more than one.
fn spread(strategy: &StrategyReport, name: &str) -> String {
    match strategy.spread.get(name) {
        Some(spread) if strategy.rounds > 1 => format!(
            "  [{} {} {}]",
            decimal(spread.min),
            decimal(spread.median),
            decimal(spread.max)
        ),
        _ => String::new(),
    }
}
