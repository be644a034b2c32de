//! The versioned report document: units in key names, snake_case, nothing computed here.
//!
//! Owns the shape that other programs read. A change that an older reader could misread raises
//! [`SCHEMA_VERSION`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::view::advice::{Advice, next_step};
use sshchurn_core::analysis::admission::AdmissionCurve;
use sshchurn_core::analysis::burst::StalledBurst;
use sshchurn_core::analysis::failing::FailingLogins;
use sshchurn_core::analysis::latency::{LatencySummary, Stage};
use sshchurn_core::analysis::laws::Law;
use sshchurn_core::analysis::reconciliation::Reconciliation;
use sshchurn_core::analysis::summary::{
    BannerEofSplit, Clients, Counts, FailureCounts, Holders, Leftovers, Makers, RetriesByKind,
    Spread, TaskCounts,
};
use sshchurn_core::analysis::timeline::{TaskEnd, TimeLine};
use sshchurn_core::analysis::validity::Check;
use sshchurn_core::analysis::witness::{KernelCounters, ServerCost, Startups};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::{GateResult, Reason, ReasonId, Verdict};
use sshchurn_core::ids::{RoundId, RunId, StrategyName};
use sshchurn_core::ledger::{RoundEnd, RunEnd};
use sshchurn_core::manifest::{
    EnvironmentRecord, ScenarioRecord, ServerDescription, ServerKind, StandIn,
};
use sshchurn_core::server_log::DropCounts;
use sshchurn_core::vocabulary::CleanupPolicy;

/// Version of the document.
pub const SCHEMA_VERSION: u32 = 8;

/// Everything a run has to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunReport {
    /// Version of this document.
    pub schema_version: u32,
    /// What made it.
    pub tool: ToolReport,
    /// Name of the run.
    pub run_id: RunId,
    /// Start of the run, RFC 3339, UTC.
    pub started_at: String,
    /// From the start of the run to its last record, nanoseconds.
    pub duration_ns: u64,
    /// How the run ended; `null` when its ledger was not closed.
    pub run_end: Option<RunEnd>,
    /// Verdict.
    pub verdict: Verdict,
    /// Exit code, as a word.
    pub exit: ExitCode,
    /// Exit code, as the number given to the operating system.
    pub exit_code: u8,
    /// Every reason against a pass, strongest first.
    pub reasons: Vec<Reason>,
    /// What to do next.
    pub next_step: NextStep,
    /// The run that this one was compared with, and whose comparison has joined the verdict; `null` without a baseline.
    pub baseline: Option<RunId>,
    /// What stood in for an OpenSSH server; `null` where it was one.
    pub stand_in: Option<StandIn>,
    /// Thresholds with their actual values.
    pub gates: Vec<GateResult>,
    /// What the scenario expects to show, with actual values; decides nothing.
    pub expectations: Vec<GateResult>,
    /// The machine of the client.
    pub environment: EnvironmentRecord,
    /// The server under test.
    pub target: ServerDescription,
    /// What was run.
    pub scenario: ScenarioRecord,
    /// The strategies in the order of the scenario.
    pub strategies: Vec<StrategyReport>,
    /// What sshd refused at each number of slots in use, beside what `MaxStartups` implies; all rounds together.
    pub admission: Option<AdmissionCurve>,
    /// The same from a client that held its connections one by one (`staircase`); `null` without one.
    pub admission_held: Option<AdmissionCurve>,
    /// The `MaxStartups` under which its answers are most likely, `start:rate:full`; an estimate.
    pub most_likely_max_startups: Option<String>,
    /// Why there is no admission curve, when there is none.
    pub admission_missing: Option<String>,
    /// Stalled bursts beside what `MaxStartups` implies.
    pub stalled_bursts: Vec<StalledBurst>,
    /// The conservation laws.
    pub laws: Vec<Law>,
    /// Whether the generator could measure this.
    pub validity: Vec<Check>,
    /// Warnings of target, environment and run.
    pub warnings: Vec<String>,
}

/// Advice, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NextStep {
    /// Its kind.
    pub id: Advice,
    /// The same in a sentence.
    pub text: String,
}

impl From<Advice> for NextStep {
    fn from(id: Advice) -> Self {
        NextStep {
            id,
            text: id.text().to_owned(),
        }
    }
}

impl RunReport {
    /// Says anew what to do next, after what it follows from has changed.
    pub(crate) fn advise(&mut self) {
        self.next_step = next_step(self).into();
    }

    /// Whether the comparison with a baseline is all that keeps the run from a verdict.
    #[must_use]
    pub fn undecided_by_baseline(&self) -> bool {
        let of_baseline = |reason: &Reason| reason.id == ReasonId::Baseline;
        self.exit == ExitCode::Inconclusive
            && !self.reasons.is_empty()
            && self.reasons.iter().all(of_baseline)
    }

    /// What stood in for an OpenSSH server, in a word.
    #[must_use]
    pub fn stand_in_word(&self) -> &'static str {
        self.stand_in.map_or("none", StandIn::as_str)
    }

    /// `MaxStartups` in force, or as requested of a server of ours; `None` of a server that is somebody else's.
    #[must_use]
    pub fn max_startups(&self) -> Option<&str> {
        let ours = self.target.kind != ServerKind::External;
        self.target
            .effective_max_startups
            .as_deref()
            .or_else(|| ours.then_some(self.scenario.max_startups.as_str()))
    }
}

/// The program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolReport {
    /// Name.
    pub name: String,
    /// Version that made the run.
    pub version: String,
}

/// One strategy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrategyReport {
    /// Its name.
    pub strategy: StrategyName,
    /// Cleanup policy in force; decides what is a leftover.
    pub cleanup: Option<CleanupPolicy>,
    /// Rounds executed.
    pub rounds: u32,
    /// Sum over rounds.
    pub totals: NumbersReport,
    /// The metrics over all rounds together, by metric name and by `phase.metric`: `all` of what is counted or measured, `mean` and
    /// `peak` of rates, `min`, `mean` and `max` of per-task metrics; durations in nanoseconds. Times between two instants are in
    /// `totals`. A metric without data is absent.
    pub overall: BTreeMap<String, BTreeMap<String, f64>>,
    /// Minimum, median and maximum over rounds, by metric name and by `phase.metric`: of totals for counts, of means
    /// for rates and per-task metrics, of medians for latencies (nanoseconds). A metric that one round lacks is absent.
    pub spread: BTreeMap<String, Spread>,
    /// Each round.
    pub per_round: Vec<RoundReport>,
}

impl StrategyReport {
    /// A metric over all rounds together, by its name or `phase.metric`, in a word of [`StrategyReport::overall`].
    #[must_use]
    pub fn value(&self, key: &str, word: &str) -> Option<f64> {
        self.overall.get(key)?.get(word).copied()
    }
}

/// The numbers of one round, or of all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumbersReport {
    /// Tasks and polls.
    pub tasks: TaskCounts,
    /// Failed tasks by cause.
    pub failures: FailureCounts,
    /// All phases together.
    pub total: ScopeReport,
    /// Phase by phase.
    pub phases: PhasesReport,
    /// Job directories; `null` unless the inventory was taken.
    pub leftovers: Option<LeftoverReport>,
    /// What sshd's log says.
    pub server: ServerLogReport,
    /// Burst rounds: from the first task's first `connect()` to the last task's, nanoseconds; worst round.
    pub start_spread_ns: Option<u64>,
    /// Clients under test; `null` of a strategy that is none.
    pub clients: Option<Clients>,
    /// Silent clients beside the tasks; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holders: Option<Holders>,
    /// `failing-login`: tasks whose source sshd banned; absent of other strategies, and without sshd's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks_banned: Option<u64>,
    /// `failing-login`: the number of the first login that a ban refused, of each banned task; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_banned_attempt: Option<PerTaskReport>,
    /// `failing-login`: the smallest spacing that never banned, of which no larger one did either, nanoseconds; the worst
    /// round. Absent where there is none, or where one was not tried to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbanned_spacing_ns: Option<u64>,
}

/// The phases of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PhasesReport {
    /// Detect and submit.
    pub submit: ScopeReport,
    /// Watch the job.
    pub poll: ScopeReport,
    /// Remove its directory.
    pub cleanup: ScopeReport,
}

/// One phase, or all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScopeReport {
    /// Attempts, commands and waits.
    pub counts: Counts,
    /// Refusals by how they ended; on loopback the split is timing.
    pub banner_eof_split: BannerEofSplit,
    /// Texts that came with refusals, and how often.
    pub banner_eof_texts: BTreeMap<String, u64>,
    /// Refusals by who refused, and what else the kernel kept from sshd; `null` unless every witness was heard.
    pub makers: Option<Makers>,
    /// Retries by kind.
    pub retries_by_kind: RetriesByKind,
    /// Handshakes per second; `null` when nothing was attempted.
    pub handshake_rate_per_s: Option<RateReport>,
    /// Attempts of each started task; `null` without tasks.
    pub attempts_per_task: Option<PerTaskReport>,
    /// Handshakes of each started task; `null` without tasks.
    pub handshakes_per_task: Option<PerTaskReport>,
    /// Times by stage, nanoseconds; stages without a value are absent.
    pub times: TimesReport,
}

/// Times by stage.
pub type TimesReport = BTreeMap<Stage, LatencySummary>;

/// Handshakes per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateReport {
    /// Over the active window: first `connect()` to the last attempt's end.
    pub mean: f64,
    /// Most within any one second.
    pub peak: u64,
    /// The active window, summed over rounds, nanoseconds.
    pub window_ns: u64,
}

/// Spread over tasks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerTaskReport {
    /// Smallest; `null` where connections cannot be told apart by task.
    pub min: Option<u64>,
    /// Mean.
    pub mean: f64,
    /// Largest; likewise.
    pub max: Option<u64>,
}

/// Job directories found.
pub type LeftoverReport = Leftovers;

/// sshd's side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerLogReport {
    /// Authentications; `null` unless the log was read.
    pub server_accepted: Option<u64>,
    /// Refusals; `null` unless the log was read and has them all.
    pub server_drops: Option<u64>,
    /// Refusals by cause.
    pub server_drops_by_cause: Option<DropCounts>,
    /// Most startup slots in use; `null` without a gauge.
    pub startups_peak: Option<u64>,
    /// CPU time of sshd, nanoseconds; `null` where it cannot be read.
    pub server_cpu_ns: Option<u64>,
    /// … per handshake, nanoseconds.
    pub server_cpu_per_handshake_ns: Option<u64>,
    /// … per scheduled task, nanoseconds.
    pub server_cpu_per_task_ns: Option<u64>,
    /// How often sshd looked keys up by a command (`sshd.slow_auth`); absent without one, and where the log does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_commands: Option<u64>,
}

/// One round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoundReport {
    /// Round, in order of execution over all strategies.
    pub round: RoundId,
    /// Repetition, from 1.
    pub repetition: u32,
    /// How it ended; `null` when the ledger breaks off in it.
    pub end: Option<RoundEnd>,
    /// Start, nanoseconds since the start of the run.
    pub started_ns: u64,
    /// End, nanoseconds since the start of the run.
    pub ended_ns: u64,
    /// The target was seen idle before and after.
    pub proven_idle: bool,
    /// Its numbers.
    pub numbers: NumbersReport,
    /// The value of every metric of the catalogue, by metric name and by `phase.metric`: the total of counts, the mean of
    /// rates and per-task metrics, the median of latencies (nanoseconds). A metric without data is absent. Comparisons
    /// are made of these.
    pub values: BTreeMap<String, f64>,
    /// What became of each task, in the order of their numbers.
    pub task_ends: Vec<TaskEnd>,
    /// Connections of each task of a client under test, in the order of their numbers; `null` of another strategy, and where
    /// they cannot be told apart by task.
    pub task_connections: Option<Vec<u64>>,
    /// What each task of `failing-login` saw, in the order of their numbers; absent of other strategies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingLogins>,
    /// Its course.
    pub timeline: TimeLine,
    /// Startup slots in use; `null` without a gauge.
    pub startups: Option<Startups>,
    /// What it cost the server; `null` where it cannot be read.
    pub server_cost: Option<ServerCost>,
    /// The kernel's counters of the server's network namespace; `null` where they cannot be read.
    pub kernel: Option<KernelCounters>,
    /// The client's attempts joined to sshd's log; `null` without the log.
    pub reconciliation: Option<Reconciliation>,
}
