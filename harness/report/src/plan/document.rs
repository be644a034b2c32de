//! The plan as data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::model::calibration::Calibration;
use sshchurn_core::model::server::ClientPlace;
use sshchurn_core::planning::Trials;

/// Version of the document.
pub const PLAN_VERSION: u32 = 1;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// The smallest `start` of MaxStartups.
    Start,
    /// The largest number of tasks.
    Tasks,
    /// The shortest time over which the tasks begin, in milliseconds.
    StaggerMs,
    /// The shortest poll interval, in milliseconds.
    PollIntervalMs,
    /// The fewest connect attempts before a client gives up.
    Attempts,
}

/// How near to its limits the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Regime {
    /// At most 5 % of connection attempts are refused.
    Headroom,
    /// Up to 30 % are.
    NearTheKnee,
    /// More are.
    Saturated,
    /// The listen queue of 128 overflows: the kernel delays connections before sshd sees them.
    ListenQueue,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanReport {
    /// Version of this document.
    pub schema_version: u32,
    /// Version of the program.
    pub tool_version: String,
    /// The workload: name of the scenario.
    pub scenario: String,
    /// Its tasks in a round; of a plan for the number of tasks, those of the scenario.
    pub tasks: u32,
    /// What is looked for.
    pub setting: Setting,
    /// Thresholds that must hold, as written.
    pub goals: Vec<String>,
    /// In which share of rounds.
    pub reliability: f64,
    /// Where the clients compute.
    pub clients: ClientPlace,
    /// By what the model went; `null` where its costs are assumed.
    pub calibration: Option<Calibration>,
    /// Release whose behaviour the model has.
    pub release: String,
    /// `rate` of MaxStartups, and `full` by `start`.
    pub rate: u32,
    /// See `rate`.
    pub full_by_start: f64,
    /// The scenario's own MaxStartups, where `start` is not what is looked for.
    pub max_startups: String,
    /// The plan of each strategy.
    pub strategies: Vec<StrategyPlan>,
    /// What the calling process is told.
    pub exit: ExitCode,
    /// As a number.
    pub exit_code: u8,
}

/// The plan of one strategy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrategyPlan {
    /// The strategy.
    pub strategy: String,
    /// The answer; `null` where no value meets the goals.
    pub answer: Option<Answer>,
    /// Where none does: the easiest value, and what became of it.
    pub missed: Option<Neighbour>,
}

/// A value with what speaks for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The value.
    pub value: u64,
    /// The line for sshd_config, where it is one.
    pub sshd_config: Option<String>,
    /// Simulated rounds with it.
    pub trials: Trials,
    /// The same for the next harder value, all rounds of it.
    pub next: Option<Neighbour>,
    /// The value with which the goals are met in half of the rounds.
    pub even: Option<Neighbour>,
    /// How near to its limits the server is with it.
    pub regime: Regime,
    /// What a round comes to with it.
    pub expected: Expected,
    /// The same question on longer paths, and with slower logins.
    pub sensitivity: Vec<Sensitivity>,
    /// Memory for as many logins under way as `full` allows, bytes; `null` where it was not measured.
    pub memory_bytes: Option<u64>,
    /// Real rounds, where they were asked for.
    pub verified: Vec<Verified>,
}

/// Another value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Neighbour {
    /// The value.
    pub value: u64,
    /// Simulated rounds with it.
    pub trials: Trials,
}

/// A number of a round, over the simulated rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Mean.
    pub mean: f64,
    /// 2.5th percentile.
    pub low: f64,
    /// 97.5th percentile.
    pub high: f64,
}

impl Metric {
    /// Of the values of some rounds.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values
                .get(rank.clamp(1, values.len().max(1)) - 1)
                .copied()
                .unwrap_or(0.0)
        };
        Metric {
            mean: values.iter().sum::<f64>() / (values.len() as f64).max(1.0),
            low: at(0.025),
            high: at(0.975),
        }
    }
}

/// What a round comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Connection attempts.
    pub attempts: Metric,
    /// Logins.
    pub handshakes: Metric,
    /// Attempts that were refused.
    pub banner_eof: Metric,
    /// Tasks that failed.
    pub tasks_failed: Metric,
    /// The most slots in use.
    pub startups_peak: Metric,
    /// 99th percentile of the time until a task is submitted, nanoseconds.
    pub submit_p99_ns: Metric,
    /// SYNs that the kernel dropped since the listen queue was full.
    pub syns_dropped: Metric,
}

/// The answer under another assumption.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sensitivity {
    /// Which.
    pub assumption: String,
    /// The value; `null` where none meets the goals.
    pub value: Option<u64>,
    /// Nobody has held the model against a real path of that kind.
    pub validated: bool,
}

/// Real rounds with a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// The value.
    pub value: u64,
    /// Rounds, and those that met the goals.
    pub measured: Trials,
    /// The share of rounds that the model gives.
    pub predicted: f64,
    /// Means over the rounds: attempts, refusals, most slots; predicted, then measured.
    pub attempts: [f64; 2],
    /// Refusals.
    pub banner_eof: [f64; 2],
    /// Most slots in use.
    pub startups_peak: [f64; 2],
}
