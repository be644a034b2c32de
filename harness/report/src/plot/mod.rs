//! The plots of a report, drawn with plotters as SVG, each with its data as a table.
//!
//! Owns what is drawn and how. A plot whose data is missing is a sentence that says so. Computes nothing but the sums of
//! neighbouring bins.

mod admission;
mod bars;
mod canvas;
pub(crate) mod curves;
mod fates;
pub(crate) mod heat_map;
mod latency;
mod rate;
mod timeline;

use serde::Serialize;

pub(crate) use self::canvas::Picture;
use self::canvas::{Fault, Ink};
use super::document::{RoundReport, RunReport, StrategyReport};
use sshchurn_core::quantity::number;

/// A plot with everything that makes it readable without seeing it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// Unique in the page.
    pub(crate) id: String,
    /// What it shows.
    pub(crate) title: String,
    /// How to read it, one or two sentences.
    pub(crate) caption: String,
    /// The drawing; `None` where there is nothing to draw.
    pub(crate) picture: Option<Picture>,
    /// Why there is no drawing, a sentence.
    pub(crate) missing: Option<String>,
    /// Marks and what they stand for.
    pub(crate) legend: Vec<LegendEntry>,
    /// The data.
    pub(crate) data: DataTable,
    /// Whether it takes the whole width of a page.
    pub(crate) wide: bool,
}

/// One mark of a legend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LegendEntry {
    /// The CSS variable of its colour.
    pub(crate) ink: String,
    /// Its shape: a class of the page.
    pub(crate) mark: &'static str,
    /// What it stands for.
    pub(crate) text: String,
}

/// The numbers behind a plot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct DataTable {
    /// Column names with their units.
    pub(crate) head: Vec<String>,
    /// Rows.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Figure {
    fn new(id: &str, title: &str, caption: &str) -> Figure {
        Figure {
            id: id.to_owned(),
            title: title.to_owned(),
            caption: caption.to_owned(),
            picture: None,
            missing: None,
            legend: Vec::new(),
            data: DataTable::default(),
            wide: false,
        }
    }

    fn drawn(mut self, picture: Result<Picture, Fault>) -> Figure {
        match picture {
            Ok(picture) => self.picture = Some(picture),
            Err(fault) => self.missing = Some(format!("This plot could not be drawn: {fault}.")),
        }
        self
    }

    fn without(mut self, why: &str) -> Figure {
        self.missing = Some(why.to_owned());
        self
    }

    fn mark(&mut self, ink: Ink, mark: &'static str, text: &str) {
        self.legend.push(LegendEntry {
            ink: ink.variable(),
            mark,
            text: text.to_owned(),
        });
    }
}

/// The plots of the strategies beside each other.
pub(crate) fn comparison(report: &RunReport) -> Vec<Figure> {
    vec![
        bars::figure(report),
        admission::figure(report),
        latency::figure(report),
        rate::figure(report),
    ]
}

/// The tasks by their fate.
pub(crate) fn fates(report: &RunReport) -> Figure {
    fates::figure(report)
}

/// The course of one round.
pub(crate) fn time_line(round: &RoundReport, strategy: &StrategyReport, index: usize) -> Figure {
    timeline::figure(round, strategy, index)
}

/// The CSS variable of a strategy's colour.
pub(crate) fn strategy_ink(index: usize) -> String {
    Ink::Strategy(index).variable()
}

/// Neighbours summed, so that not more than `most` values are left; with the number that was summed into each.
fn pooled(values: &[u32], most: usize) -> (Vec<u64>, usize) {
    let width = values.len().div_ceil(most.max(1)).max(1);
    let sums = values
        .chunks(width)
        .map(|chunk| chunk.iter().map(|value| u64::from(*value)).sum())
        .collect();
    (sums, width)
}
