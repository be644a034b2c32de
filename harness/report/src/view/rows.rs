//! Rows of the side-by-side table: a label, then one cell for each strategy.
//!
//! Owns their shape, and how a count and its spread are written.

use super::words::NONE;
use super::words::decimal;
use crate::document::StrategyReport;

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

    /// A metric of all rounds together, by its name in the catalogue, with its spread between rounds.
    pub(crate) fn metric(&mut self, level: u8, label: &str, key: &str) {
        self.row(level, label, |strategy| match strategy.value(key, "all") {
            None => NONE.to_owned(),
            Some(total) => format!("{}{}", decimal(total), spread(strategy, key)),
        });
    }

    /// The same of one that has a row only where it is not 0.
    pub(crate) fn rare(&mut self, level: u8, label: &str, key: &str) {
        if self.any(key) {
            self.metric(level, label, key);
        }
    }

    /// Whether a metric is not 0 for any strategy.
    pub(crate) fn any(&self, key: &str) -> bool {
        let some = |s: &StrategyReport| s.value(key, "all").is_some_and(|value| value > 0.0);
        self.strategies.iter().any(some)
    }

    /// Several values in one cell, each of a metric over all rounds in a word of it.
    pub(crate) fn values<const N: usize>(
        &mut self,
        level: u8,
        label: &str,
        values: [(&str, &str); N],
        shown: fn(f64) -> String,
    ) {
        self.row(level, label, |strategy| {
            let values = values.map(|(key, word)| strategy.value(key, word));
            match values.iter().all(Option::is_none) {
                true => NONE.to_owned(),
                false => values
                    .map(|value| value.map_or_else(|| NONE.to_owned(), shown))
                    .join(" / "),
            }
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
