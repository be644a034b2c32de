//! Thresholds against a run.
//!
//! Owns evaluation, on the same unrounded values the report shows. No data is inconclusive, never a pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::selector::Selector;
use super::threshold::{Bound, Threshold};
use crate::analysis::catalogue::Unit;
use crate::analysis::summary::{RunSummary, StrategySummary};
use crate::ids::StrategyName;

/// How a gate ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum GateOutcome {
    /// It holds.
    Pass,
    /// There is no data to judge it by.
    Inconclusive,
    /// It does not hold.
    Fail,
}

/// A threshold applied to one strategy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateCheck {
    /// Strategy of the left side.
    pub strategy: StrategyName,
    /// Value of the left side, unrounded; durations in nanoseconds. `None` without data.
    pub actual: Option<f64>,
    /// Value of the right side in the same unit. `None` without data.
    pub limit: Option<f64>,
    /// How it ended.
    pub outcome: GateOutcome,
}

/// A judged threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateResult {
    /// The threshold as written.
    pub expression: String,
    /// The operator's sign.
    pub operator: String,
    /// Whether values are durations in nanoseconds rather than plain numbers.
    pub is_duration: bool,
    /// How it ended: the worst of its checks.
    pub outcome: GateOutcome,
    /// Each strategy it was applied to.
    pub checks: Vec<GateCheck>,
}

/// Judges every threshold; none is skipped, and a duplicate is judged twice.
#[must_use]
pub fn judge(thresholds: &[Threshold], run: &RunSummary) -> Vec<GateResult> {
    thresholds
        .iter()
        .map(|threshold| judge_one(threshold, run))
        .collect()
}

fn judge_one(threshold: &Threshold, run: &RunSummary) -> GateResult {
    let strategies: Vec<StrategyName> = match &threshold.left.strategy {
        Some(name) => vec![name.clone()],
        None => run
            .strategies
            .iter()
            .map(|strategy| strategy.strategy.clone())
            .collect(),
    };
    let checks: Vec<GateCheck> = strategies
        .into_iter()
        .map(|strategy| check(threshold, run, strategy))
        .collect();
    GateResult {
        expression: threshold.text.clone(),
        operator: threshold.operator.as_str().to_owned(),
        is_duration: threshold.left.metric.unit == Unit::Nanoseconds,
        // No strategy at all is no data.
        outcome: checks
            .iter()
            .map(|check| check.outcome)
            .max()
            .unwrap_or(GateOutcome::Inconclusive),
        checks,
    }
}

fn check(threshold: &Threshold, run: &RunSummary, strategy: StrategyName) -> GateCheck {
    let summary = run.strategy(&strategy);
    let actual = value(&threshold.left, summary);
    // Connections that the kernel turned away are in no log: the true number may be larger, so that only its being too
    // large already, or its being large enough, is known.
    let open = |of: &Selector, strategy: Option<&StrategySummary>| {
        of.metric.counts_connections()
            && strategy
                .and_then(|strategy| strategy.numbers.clients.as_ref())
                .is_some_and(|clients| clients.lower_bound)
    };
    let left_open = open(&threshold.left, summary);
    let (limit, right_open) = match &threshold.bound {
        Bound::Value(value) => (Some(*value), false),
        Bound::Multiple { factor, of } => {
            let other = match &of.strategy {
                Some(name) => run.strategy(name),
                None => summary,
            };
            (
                value(of, other).map(|value| factor * value),
                open(of, other),
            )
        }
    };
    let outcome = match (actual, limit) {
        (Some(actual), Some(limit)) => {
            let holds = threshold.operator.holds(actual, limit);
            if !threshold.operator.certain(holds, left_open, right_open) {
                GateOutcome::Inconclusive
            } else if holds {
                GateOutcome::Pass
            } else {
                GateOutcome::Fail
            }
        }
        _ => GateOutcome::Inconclusive,
    };
    GateCheck {
        strategy,
        actual,
        limit,
        outcome,
    }
}

fn value(selector: &Selector, strategy: Option<&StrategySummary>) -> Option<f64> {
    selector
        .metric
        .value(strategy?, selector.phase, selector.aggregate)
}
