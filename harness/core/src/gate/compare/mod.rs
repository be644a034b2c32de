//! Two runs side by side: what regressed, what improved, what cannot be said. Pure.
//!
//! `side` is a run as it is compared, value by value and round by round; `conditions` says whether two runs may be
//! compared; `estimate` is the statistics of one metric, `holm` the correction for many, `policy` what gates and how large
//! a change has to be, `pace` whether the machine was as
//! fast, `judge` the words and the verdict. The method and what was measured of it are in
//! `reports/README.md`.

mod conditions;
mod estimate;
mod holm;
mod judge;
mod pace;
mod policy;
mod side;

use pace::Pace;

pub use super::selector::GateMetric;
pub use conditions::{Difference, Weight, kind_difference, scenario_differences};
pub use estimate::{COVERAGE, Estimate, LEAST_ROUNDS, LEVEL, SideValues};
pub use judge::{AGREEMENT, BLIND, Comparison, Finding, MetricComparison, compare};
pub use policy::{DEFAULT_GATES, MinimumEffect};
pub use side::{Side, StrategyRounds};

/// Everything that differs between two runs, the gravest first.
#[must_use]
pub fn differences(base: &Side<'_>, new: &Side<'_>) -> Vec<Difference> {
    let mut all = scenario_differences(base.scenario, new.scenario);
    all.extend(conditions::target_differences(base.target, new.target));
    all.extend(conditions::environment_differences(
        base.environment,
        new.environment,
    ));
    for base in &base.strategies {
        let pace = new
            .strategy(&base.strategy)
            .and_then(|new| Pace::of(base, new));
        if let Some(pace) = pace.filter(|pace| pace.factor() > 1.0) {
            all.push(conditions::pace_difference(&base.strategy, pace));
        }
    }
    all.sort_by_key(|difference| difference.weight);
    all
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
