//! The versioned comparison document: what was compared, by which rules, with what result.
//!
//! Owns the shape that other programs read. A change that an older reader could misread raises
//! [`COMPARE_SCHEMA_VERSION`].

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::ToolReport;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::Verdict;
use sshchurn_core::gate::compare::{Difference, MetricComparison, MinimumEffect};
use sshchurn_core::ids::RunId;
use sshchurn_core::manifest::StandIn;

/// Version of the document.
pub const COMPARE_SCHEMA_VERSION: u32 = 1;

/// A new run beside its baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareReport {
    /// Version of this document.
    pub schema_version: u32,
    /// What made it.
    pub tool: ToolReport,
    /// The baseline.
    pub base: ComparedRun,
    /// The new run.
    pub new: ComparedRun,
    /// The rules.
    pub settings: CompareSettings,
    /// Verdict.
    pub verdict: Verdict,
    /// Exit code, as a word.
    pub exit: ExitCode,
    /// Exit code, as the number given to the operating system.
    pub exit_code: u8,
    /// Every reason against a pass, strongest first.
    pub reasons: Vec<String>,
    /// The runs are different experiments, and nothing was compared.
    pub refused: bool,
    /// What stood in for an OpenSSH server in either run.
    pub stand_in: Option<StandIn>,
    /// What is not the same in both, the gravest first.
    pub differences: Vec<Difference>,
    /// Every metric either has: gating ones first, then by strategy.
    pub metrics: Vec<MetricComparison>,
}

/// One of the two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComparedRun {
    /// Name of the run.
    pub run_id: RunId,
    /// Start of the run, RFC 3339, UTC.
    pub started_at: String,
    /// Version of the program that made it.
    pub tool_version: String,
    /// Name of the scenario.
    pub scenario: String,
    /// Tasks per round.
    pub tasks: u32,
    /// Rounds of each strategy.
    pub rounds: u32,
    /// Kind of target.
    pub target: String,
    /// Release, or identification string, of the server.
    pub release: String,
    /// The release that was asked for, where it was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_release: Option<String>,
    /// Its own verdict, by its thresholds.
    pub verdict: Verdict,
}

/// The rules of the comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CompareSettings {
    /// What intervals cover: 0.9 leaves 5 % out on each side.
    pub interval: f64,
    /// Share of comparisons of a build with itself that may raise an alarm, over all gating metrics.
    pub false_alarms: f64,
    /// Share of the pairs of rounds that have to agree.
    pub agreement: f64,
    /// `unchanged` excludes a worsening of this many minimum effects.
    pub blind: f64,
    /// The smallest change that counts.
    pub minimum: MinimumEffect,
    /// Gating metrics: `[strategy.][phase.]metric`.
    pub gates: Vec<String>,
    /// Different experiments were compared on request.
    pub allow_different: bool,
}
