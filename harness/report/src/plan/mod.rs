//! A plan: which value of one setting meets a goal, what speaks for it, and how it compares with reality.
//!
//! `document` is the plan as data, `text` shows it to a person. How it was found is the session's.

mod document;
mod text;

pub use document::{
    Answer, Expected, Metric, Neighbour, PLAN_VERSION, PlanReport, Regime, Sensitivity, Setting,
    StrategyPlan, Verified,
};
pub use text::{explained, render};

use super::json::pretty;

/// The document, pretty, with one final newline.
#[must_use]
pub fn json(report: &PlanReport) -> String {
    pretty(report)
}
