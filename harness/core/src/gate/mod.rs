//! Thresholds and the verdict. Pure.
//!
//! `selector` reads which number is meant; `threshold` is the grammar with its `problem`s, parsed and type-checked before a run; `judge` evaluates on the unrounded values
//! the report shows; `verdict` weighs gates, books and validity into one verdict and exit code;
//! `compare` sets a run beside its baseline.

pub mod compare;
mod judge;
mod problem;
mod selector;
mod threshold;
mod verdict;

pub use judge::{GateCheck, GateOutcome, GateResult, judge};
pub use problem::{ThresholdError, ThresholdProblem};
pub use selector::{GateMetric, Selector};
pub use threshold::{Bound, Operator, Threshold, parse_all};
pub use verdict::{Decision, Reason, ReasonId, Verdict, decide, join};

pub use crate::analysis::catalogue::{Aggregate, CATALOGUE, Metric, Unit};

#[cfg(test)]
mod tests;
