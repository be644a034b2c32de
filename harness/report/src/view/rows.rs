//! Rows of the side-by-side table: a label, then one cell for each strategy.
//!
//! Owns their shape, and how a count and its spread are written.

use super::words::NONE;
use super::words::decimal;
use crate::document::{NumbersReport, StrategyReport};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    /// 0 for what stands by itself, 1 for what belongs to the row of level 0 above, 2 for a part of that.
    pub(crate) level: u8,
    /// What it shows.
    pub(crate) label: String,
    /// One cell for each strategy; `None` in the title of a section.
    pub(crate) cells: Option<Vec<String>>,
}

/// The side-by-side table under construction: a label, then one cell for each strategy.
pub(crate) struct Rows<'a> {
    pub(crate) rows: Vec<Row>,
    pub(crate) strategies: &'a [StrategyReport],
}

impl Rows<'_> {
    pub(crate) fn row(&mut self, level: u8, label: &str, cell: impl Fn(&StrategyReport) -> String) {
        self.rows.push(Row {
            level,
            label: label.to_owned(),
            cells: Some(self.strategies.iter().map(cell).collect()),
        });
    }

    pub(crate) fn section(&mut self, title: &str) {
        self.rows.push(Row {
            level: 0,
            label: title.to_owned(),
            cells: None,
        });
    }

    /// A count with its spread between rounds.
    pub(crate) fn metric(
        &mut self,
        level: u8,
        label: &str,
        name: &str,
        value: impl Fn(&NumbersReport) -> Option<u64>,
    ) {
        self.row(level, label, |strategy| match value(&strategy.totals) {
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
