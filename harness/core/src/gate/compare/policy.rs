//! What gates, and how large a change has to be to matter.
//!
//! Owns the defaults and their reading from the command line's texts.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::catalogue::{self, Better, Metric, Unit, Variation};
use crate::ids::StrategyName;
use crate::vocabulary::Phase;

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

/// A gating metric as asked for: `[strategy.][phase.]metric`.
#[derive(Debug, Clone, PartialEq)]
pub struct GateMetric {
    /// Strategy; `None` is every strategy.
    pub strategy: Option<StrategyName>,
    /// Phase; `None` is all phases together.
    pub phase: Option<Phase>,
    /// Metric.
    pub metric: &'static Metric,
}

/// Why a gating metric cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GateMetricError {
    /// No such metric.
    #[error("unknown metric in `{text}`{}", nearest.map_or_else(String::new, |near| format!("; did you mean `{near}`?")))]
    Unknown {
        /// As written.
        text: String,
        /// The nearest name.
        nearest: Option<&'static str>,
    },
    /// What stands before the metric is neither a strategy nor a phase.
    #[error("unknown strategy or phase `{name}`; the strategies are {known}")]
    UnknownStrategy {
        /// As written.
        name: String,
        /// The strategies there are.
        known: String,
    },
    /// The metric is not kept by phase.
    #[error("`{metric}` is not kept by phase")]
    NotByPhase {
        /// The metric.
        metric: &'static str,
    },
    /// The metric has no better side.
    #[error("`{metric}` cannot regress: neither more nor less of it is better")]
    NoDirection {
        /// The metric.
        metric: &'static str,
    },
}

impl GateMetric {
    /// Parses `[strategy.][phase.]metric`. The value compared is a round's: the total of counts, the mean of rates and
    /// per-task metrics, the median of latencies.
    ///
    /// # Errors
    /// [`GateMetricError`] for a name that is none, or a metric that cannot gate.
    pub fn parse(text: &str, strategies: &[StrategyName]) -> Result<GateMetric, GateMetricError> {
        let strategy = strategies
            .iter()
            .filter(|name| {
                text.strip_prefix(name.0.as_str())
                    .is_some_and(|rest| rest.starts_with('.'))
            })
            .max_by_key(|name| name.0.len());
        let rest = strategy.map_or(text, |name| &text[name.0.len() + 1..]);
        let in_phase = Phase::ALL.into_iter().find_map(|phase| {
            let rest = rest.strip_prefix(phase.as_str())?.strip_prefix('.')?;
            Some((phase, rest))
        });
        let (phase, name) = in_phase.map_or((None, rest), |(phase, rest)| (Some(phase), rest));
        let metric = catalogue::metric(name).ok_or_else(|| match name.rsplit_once('.') {
            Some((other, metric)) if catalogue::metric(metric).is_some() => {
                let known: Vec<&str> = strategies.iter().map(|name| name.0.as_str()).collect();
                GateMetricError::UnknownStrategy {
                    name: other.to_owned(),
                    known: known.join(", "),
                }
            }
            _ => GateMetricError::Unknown {
                text: text.to_owned(),
                nearest: catalogue::nearest(name),
            },
        })?;
        let name = metric.name;
        if phase.is_some() && !metric.by_phase {
            return Err(GateMetricError::NotByPhase { metric: name });
        }
        if metric.better == Better::Neither {
            return Err(GateMetricError::NoDirection { metric: name });
        }
        Ok(GateMetric {
            strategy: strategy.cloned(),
            phase,
            metric,
        })
    }

    pub(super) fn is(
        &self,
        strategy: &StrategyName,
        metric: &Metric,
        phase: Option<Phase>,
    ) -> bool {
        self.metric == metric
            && self.phase == phase
            && self.strategy.as_ref().is_none_or(|name| name == strategy)
    }
}

impl fmt::Display for GateMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(strategy) = &self.strategy {
            write!(f, "{strategy}.")?;
        }
        f.write_str(&self.metric.key(self.phase))
    }
}

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
