//! What is kept of one run of a sweep: its place, how it ended, and the value of every metric.
//!
//! Owns what a sweep knows of a run; the run's own report is not kept.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::definition::SWEEP_SCHEMA_VERSION;
use super::values;
use crate::document::RunReport;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::{GateOutcome, Selector, Verdict};
use sshchurn_core::ids::StrategyName;
use sshchurn_core::join::Views;
use sshchurn_core::manifest::StandIn;
use sshchurn_core::sweep::{Job, Setting};

/// One run of a sweep that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepRecord {
    /// Version of this document.
    pub schema_version: u32,
    /// Number of its point, from 1.
    pub point: u32,
    /// Which of the point's repeats, from 1.
    pub repeat: u32,
    /// What the point changes.
    pub settings: Vec<Setting>,
    /// The seed that it ran with.
    pub seed: u64,
    /// Version of the program that made it.
    pub tool_version: String,
    /// From its order to its report, nanoseconds: the server's start and end included.
    pub took_ns: u64,
    /// Whether there is a report.
    pub state: RecordState,
    /// Why there is none.
    pub error: Option<String>,
    /// Its own exit code, as a word.
    pub exit: ExitCode,
    /// … as a number.
    pub exit_code: u8,
    /// Its verdict; `null` without a report.
    pub verdict: Option<Verdict>,
    /// Every reason against a pass, strongest first.
    pub reasons: Vec<String>,
    /// Thresholds that do not hold.
    pub failed_thresholds: Vec<String>,
    /// When it began, RFC 3339, UTC; `null` without a report.
    pub started_at: Option<String>,
    /// What served it: the release of its sshd, or what it called itself.
    pub server: Option<String>,
    /// Whether that was the embedded stand-in and not OpenSSH.
    pub stand_in: Option<StandIn>,
    /// The machine of its client: kernel and number of CPUs.
    pub machine: Option<String>,
    /// Its strategies in the order of the scenario.
    pub strategies: Vec<RecordedStrategy>,
}

/// Whether a run has a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordState {
    /// It has.
    Ran,
    /// It could not be made.
    Failed,
}

/// One strategy of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordedStrategy {
    /// Its name.
    pub strategy: StrategyName,
    /// Rounds that it ran.
    pub rounds: u32,
    /// Values by `[phase.]metric.aggregate`, durations in nanoseconds. A metric without data is absent. Of one round, only the total
    /// of what adds up.
    pub values: BTreeMap<String, f64>,
    /// Why metrics are absent: each reason with the `[phase.]metric` that it is the reason of.
    pub missing: BTreeMap<String, Vec<String>>,
}

impl SweepRecord {
    /// A run that has a report.
    #[must_use]
    pub fn ran(
        job: Job,
        settings: &[Setting],
        seed: u64,
        took_ns: u64,
        report: &RunReport,
    ) -> Self {
        let target = &report.target;
        let failed = report
            .gates
            .iter()
            .filter(|gate| gate.outcome == GateOutcome::Fail);
        SweepRecord {
            verdict: Some(report.verdict),
            reasons: crate::view::words::reason_texts(&report.reasons),
            failed_thresholds: failed.map(|gate| gate.expression.clone()).collect(),
            started_at: Some(report.started_at.clone()),
            server: Some(
                target
                    .release
                    .clone()
                    .unwrap_or_else(|| target.identification.clone()),
            ),
            stand_in: report.stand_in,
            machine: Some(format!(
                "{}, {}",
                report.environment.kernel,
                crate::view::words::counted(u64::from(report.environment.cpus), "CPU")
            )),
            strategies: report
                .strategies
                .iter()
                .map(|strategy| RecordedStrategy {
                    strategy: strategy.strategy.clone(),
                    rounds: strategy.rounds,
                    values: values::all(strategy),
                    missing: values::missing(strategy, views(report, &strategy.strategy)),
                })
                .collect(),
            tool_version: report.tool.version.clone(),
            ..SweepRecord::empty(job, settings, seed, took_ns, RecordState::Ran, report.exit)
        }
    }

    /// A run that could not be made.
    #[must_use]
    pub fn failed(
        job: Job,
        settings: &[Setting],
        seed: u64,
        took_ns: u64,
        error: String,
        exit: ExitCode,
    ) -> Self {
        SweepRecord {
            error: Some(error),
            ..SweepRecord::empty(job, settings, seed, took_ns, RecordState::Failed, exit)
        }
    }

    fn empty(
        job: Job,
        settings: &[Setting],
        seed: u64,
        took_ns: u64,
        state: RecordState,
        exit: ExitCode,
    ) -> Self {
        SweepRecord {
            schema_version: SWEEP_SCHEMA_VERSION,
            point: job.point,
            repeat: job.repeat,
            settings: settings.to_vec(),
            seed,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            took_ns,
            state,
            error: None,
            exit,
            exit_code: exit.code(),
            verdict: None,
            reasons: Vec::new(),
            failed_thresholds: Vec::new(),
            started_at: None,
            server: None,
            stand_in: None,
            machine: None,
            strategies: Vec::new(),
        }
    }

    /// Which run it is of.
    #[must_use]
    pub fn job(&self) -> Job {
        Job {
            point: self.point,
            repeat: self.repeat,
        }
    }

    /// Whether it is not to be run again. A run that could not be made is, and one whose server or machine failed in it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == RecordState::Ran && self.exit != ExitCode::Environment
    }

    /// A value, or why there is none.
    pub(super) fn value(
        &self,
        strategy: &StrategyName,
        selector: &Selector,
    ) -> Result<f64, String> {
        if let Some(error) = &self.error {
            return Err(format!("the run could not be made: {error}"));
        }
        let found = self.strategies.iter().find(|it| it.strategy == *strategy);
        let Some(found) = found else {
            return Err("the run did not come to this strategy".to_owned());
        };
        if let Some(value) = values::select(&found.values, found.rounds, selector) {
            return Ok(value);
        }
        let key = selector.metric.key(selector.phase);
        let why = found.missing.iter().find(|(_, keys)| keys.contains(&key));
        Err(why.map_or_else(
            || format!("no {} of it: a round lacks it", selector.aggregate),
            |(reason, _)| reason.clone(),
        ))
    }
}

/// The witnesses of a strategy's attempts in a run.
fn views(report: &RunReport, name: &StrategyName) -> Views {
    let strategies = &report.scenario.strategies;
    let found = strategies.iter().find(|strategy| strategy.name == *name);
    found.map_or(Views::NONE, |strategy| {
        Views::of(strategy.kind, &report.target)
    })
}
