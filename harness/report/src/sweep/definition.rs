//! What a sweep is: its scenario, its points, its server and its repeats. Two processes that have the same work on the same sweep.
//!
//! Owns what makes two sweeps the same, and the words for what differs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use sshchurn_core::ids::StrategyName;
use sshchurn_core::sweep::{Job, Setting, Shard, label, order};

/// Version of the documents of a sweep: its definition, its records and `sweep.json`.
pub const SWEEP_SCHEMA_VERSION: u32 = 1;

/// A sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepDefinition {
    /// Version of this document.
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Where it came from: a path, or `built-in`.
    pub origin: String,
    /// The scenario that the points change, the command line's changes applied, as TOML.
    pub effective_toml: String,
    /// Its seed: that of the first repeat, and of the order of the runs.
    pub seed: u64,
    /// The server asked for.
    pub server: AskedServer,
    /// Runs of each point.
    pub repeats: u32,
    /// The points, numbered from 1 in this order.
    pub points: Vec<DefinedPoint>,
}

/// The server that a sweep asks for, by the words of the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AskedServer {
    /// `--target`.
    pub target: String,
    /// Every other option of it that was given, as `--release 9.2`.
    pub options: Vec<String>,
}

/// A point of a sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefinedPoint {
    /// What it changes.
    pub settings: Vec<Setting>,
    /// The strategies that run in it.
    pub strategies: Vec<StrategyName>,
}

impl SweepDefinition {
    /// The keys that are varied, in the order in which they were given.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = Vec::new();
        for setting in self.points.iter().flat_map(|point| &point.settings) {
            if !keys.contains(&setting.key) {
                keys.push(setting.key.clone());
            }
        }
        keys
    }

    /// The runs of a shard, in their order.
    #[must_use]
    pub fn jobs(&self, shard: Shard) -> Vec<Job> {
        let points = u32::try_from(self.points.len()).unwrap_or(u32::MAX);
        shard.part(&order(points, self.repeats, self.seed))
    }

    /// The point of that number.
    #[must_use]
    pub fn point(&self, number: u32) -> Option<&DefinedPoint> {
        self.points.get((number as usize).checked_sub(1)?)
    }

    /// What makes this, which is there already, another sweep than `asked`; empty where they are the same. Where the scenario's file
    /// lies makes no difference.
    #[must_use]
    pub fn differences(&self, asked: &SweepDefinition) -> Vec<String> {
        let mut differences = Vec::new();
        let mut differ = |what: &str, there: String, here: String| {
            if there != here {
                differences.push(format!("{what}: there {there}, here {here}"));
            }
        };
        differ("scenario", self.scenario.clone(), asked.scenario.clone());
        differ(
            "repeats",
            self.repeats.to_string(),
            asked.repeats.to_string(),
        );
        differ("server", self.server.words(), asked.server.words());
        differ(
            "points",
            self.points.len().to_string(),
            asked.points.len().to_string(),
        );
        let unlike = self
            .points
            .iter()
            .zip(&asked.points)
            .position(|(there, here)| there != here);
        if let (true, Some(index)) = (self.points.len() == asked.points.len(), unlike) {
            let words = |of: &SweepDefinition| label(&of.points[index].settings);
            differ(&format!("point {}", index + 1), words(self), words(asked));
        }
        let line = |text: &str, index: usize| {
            let line = text.lines().nth(index).map(str::trim);
            line.map_or_else(|| "nothing".to_owned(), |line| format!("`{line}`"))
        };
        let lines = self
            .effective_toml
            .lines()
            .count()
            .max(asked.effective_toml.lines().count());
        if let Some(first) = (0..lines)
            .find(|index| line(&self.effective_toml, *index) != line(&asked.effective_toml, *index))
        {
            differ(
                "the scenario's settings",
                line(&self.effective_toml, first),
                line(&asked.effective_toml, first),
            );
        }
        differences
    }
}

impl AskedServer {
    /// As they are typed.
    pub(super) fn words(&self) -> String {
        let mut words = vec![format!("--target {}", self.target)];
        words.extend(self.options.iter().cloned());
        words.join(" ")
    }
}
