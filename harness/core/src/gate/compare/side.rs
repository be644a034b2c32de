//! One side of a comparison: a run's values, round by round, and what it was made on.

use std::collections::BTreeMap;

use crate::ids::StrategyName;
use crate::manifest::{EnvironmentRecord, ScenarioRecord, ServerDescription};

/// A run to compare.
#[derive(Debug, Clone)]
pub struct Side<'a> {
    /// Why the run is no measurement: broken books, an invalid generator, an early end. Empty for a sound one.
    pub faults: Vec<String>,
    /// What was run.
    pub scenario: &'a ScenarioRecord,
    /// On what server.
    pub target: &'a ServerDescription,
    /// On what machine.
    pub environment: &'a EnvironmentRecord,
    /// Its strategies.
    pub strategies: Vec<StrategyRounds<'a>>,
}

/// The rounds of one strategy.
#[derive(Debug, Clone)]
pub struct StrategyRounds<'a> {
    /// Strategy.
    pub strategy: StrategyName,
    /// The values of each round by [`key`](crate::analysis::catalogue::Metric::key).
    pub rounds: Vec<&'a BTreeMap<String, f64>>,
}

impl<'a> Side<'a> {
    pub(super) fn strategy(&self, name: &StrategyName) -> Option<&StrategyRounds<'a>> {
        self.strategies
            .iter()
            .find(|strategy| strategy.strategy == *name)
    }
}
