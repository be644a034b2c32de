//! What gates, and how large a change has to be to matter.
//!
//! Owns the defaults.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::catalogue::{Metric, Unit, Variation};

/// The metrics that gate when none are named, each in total over all phases and for every strategy: what a client does to
/// a server, and what becomes of its tasks. Everything else is shown as information. Few, because every further one
/// makes proof harder for all; `retries` is left out since it follows `banner_eof`, `…_per_task` since it is `attempts` and
/// `handshakes` again, latencies since they measure the machine as much as the client.
pub const DEFAULT_GATES: [&str; 5] = [
    "attempts",
    "handshakes",
    "banner_eof",
    "tasks_failed",
    "leftover_dirs",
];

/// The smallest change that counts as one. A change has to reach the relative and the absolute part.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MinimumEffect {
    /// Share of the baseline: 0.1 is 10 %.
    pub relative: f64,
    /// Connections, commands and the like, for each task.
    pub per_task: f64,
    /// Tasks and directories, for each task.
    pub tasks_share: f64,
    /// Tasks and directories, in each round.
    pub tasks_at_least: f64,
    /// Latencies and CPU times, nanoseconds.
    pub duration_ns: f64,
}

impl Default for MinimumEffect {
    /// 10 %, and half a connection for each task. A round of 120 tasks differs from the next by a quarter of a connection
    /// per task or so (one standard deviation; see `reports/README.md`), so that twice that is what two or three
    /// rounds can tell from chance; one task in twenty and two a round for tasks that end badly.
    fn default() -> Self {
        MinimumEffect {
            relative: 0.1,
            per_task: 0.5,
            tasks_share: 0.05,
            tasks_at_least: 2.0,
            duration_ns: 1e6,
        }
    }
}

impl MinimumEffect {
    /// The smallest change of this metric that counts, in the metric's unit. `tasks` are those of a round; `divided`
    /// says that values have been divided by them.
    pub(super) fn of(&self, metric: &Metric, base: f64, tasks: f64, divided: bool) -> f64 {
        let absolute = match (metric.unit, metric.variation()) {
            (Unit::Nanoseconds, _) => self.duration_ns,
            (Unit::PerTask, _) | (_, Variation::EventsPerTask) => self.per_task,
            (Unit::PerSecond, _) | (_, Variation::Level) => 0.0,
            (Unit::Count, Variation::Events | Variation::Amount) => {
                let of_round = if of_tasks(metric.name) {
                    (self.tasks_share * tasks).max(self.tasks_at_least)
                } else {
                    self.per_task * tasks
                };
                if divided { of_round / tasks } else { of_round }
            }
        };
        absolute.max(self.relative * base.abs())
    }
}

/// Counts of what becomes of tasks: at most one of each for a task.
fn of_tasks(name: &str) -> bool {
    name.starts_with("tasks_") || name == "leftover_dirs" || name == "kept_by_policy"
}
