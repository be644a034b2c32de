//! A run that is to be made: everything that is fixed before anything is started.
//!
//! Owns the order and what the manifest says of it. Executing it is `run`'s.

use std::path::Path;
use std::time::UNIX_EPOCH;

use sshchurn_core::analysis::summary::RunSummary;
use sshchurn_core::gate::Threshold;
use sshchurn_core::ids::{RunId, StrategyName};
use sshchurn_core::manifest::{
    FailingRecord, Manifest, ScenarioRecord, ServerDescription, StrategyRecord,
};
use sshchurn_core::quantity::nanoseconds;
use sshchurn_core::scenario::{Life, Scenario};
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::ssh::keys::KeyPair;
use sshchurn_server::{ServerChoice, ServerOptions};

use super::baseline::Baseline;
use super::clients;
use super::directory::RunDirectory;
use super::error::SessionError;
use super::notice::Notice;
use super::replay;
use super::simulate::Simulation;
use super::stop::Interrupts;
use crate::doctor::{self, Finding};

/// One run that is to be made.
#[derive(Debug)]
pub struct RunOrder {
    /// What to run, every change applied.
    pub scenario: Scenario,
    /// Where it came from: `built-in` or a path.
    pub origin: String,
    /// On which server.
    pub server: ServerChoice,
    /// … and how it is made.
    pub options: ServerOptions,
    /// What a simulated server goes by; of no use to a real one.
    pub simulation: Simulation,
    /// Its name; also the label of everything that is made for it.
    pub run_id: RunId,
    /// Where it is recorded; nothing is in it.
    pub directory: RunDirectory,
    /// What the checks before it found, for the report.
    pub findings: Vec<Finding>,
    /// What it is compared with at its end.
    pub baseline: Option<Baseline>,
}

impl RunOrder {
    /// The first record of its ledger.
    pub(super) fn manifest(
        &self,
        server: ServerDescription,
        task_keys: &[KeyPair],
        clock: &RunClock,
    ) -> Manifest {
        Manifest {
            run_id: self.run_id.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_unix_ns: clock
                .wall_anchor()
                .duration_since(UNIX_EPOCH)
                .map_or(0, nanoseconds),
            scenario: scenario_record(&self.scenario, &self.origin),
            baseline: self.baseline.as_ref().map(Baseline::run_id),
            target: server,
            environment: doctor::environment(&self.findings),
            task_keys: task_keys.iter().map(KeyPair::fingerprint).collect(),
        }
    }
}

/// A run that is only a means: nobody is told of it, and of it only the numbers are kept.
pub(super) struct Quietly<'a> {
    /// Who wants it.
    pub origin: &'static str,
    /// On which server.
    pub server: ServerChoice,
    /// … and how it is made.
    pub options: &'a ServerOptions,
    /// Where it is recorded.
    pub folder: &'a Path,
}

impl Quietly<'_> {
    /// Makes it; `None` when the user has stopped it.
    ///
    /// # Errors
    /// [`SessionError`] when the server cannot be had.
    pub(super) async fn run(
        &self,
        scenario: Scenario,
        interrupts: &Interrupts,
    ) -> Result<Option<RunSummary>, SessionError> {
        let order = RunOrder {
            origin: self.origin.to_owned(),
            server: self.server,
            options: self.options.clone(),
            simulation: Simulation::assumed(),
            run_id: run_id(&scenario.name),
            directory: RunDirectory::create(Some(self.folder), &scenario.name)?,
            findings: Vec::new(),
            baseline: None,
            scenario,
        };
        let quiet = |_: Notice| {};
        if order.run(interrupts, &quiet).await?.is_none() || interrupts.requested() {
            return Ok(None);
        }
        replay::summary(&order.directory).map(Some)
    }
}

/// `<name>-<UTC time>`, the time to the second in basic ISO 8601 form.
#[must_use]
pub fn run_id(name: &str) -> RunId {
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    let now = time::OffsetDateTime::now_utc()
        .format(&format)
        .unwrap_or_default();
    RunId(format!("{name}-{now}"))
}

/// The scenario as it is executed, for the manifest and for a baseline to be checked against.
#[must_use]
pub fn scenario_record(scenario: &Scenario, origin: &str) -> ScenarioRecord {
    ScenarioRecord {
        name: scenario.name.clone(),
        description: scenario.description.clone(),
        origin: origin.to_owned(),
        effective_toml: scenario.to_toml(),
        tasks: scenario.tasks,
        max_in_flight: scenario.arrival.max_in_flight,
        shortest_deadline_ns: scenario.shortest_deadline().map_or(u64::MAX, nanoseconds),
        holders: scenario.holders.map_or(0, |holders| holders.count),
        rounds: scenario.rounds,
        seed: scenario.seed,
        time_scale: scenario.time_scale,
        strategies: scenario
            .strategies
            .iter()
            .map(|strategy| StrategyRecord {
                name: strategy.name.clone(),
                kind: strategy.kind,
                program: strategy
                    .program
                    .as_ref()
                    .map(|program| clients::record(scenario, program)),
                failing: (strategy.kind.life() == Life::Failing).then(|| FailingRecord {
                    logins: strategy.tunables.logins,
                    spacing_ns: strategy
                        .tunables
                        .spacing
                        .iter()
                        .copied()
                        .map(nanoseconds)
                        .collect(),
                }),
            })
            .collect(),
        max_startups: scenario.sshd.max_startups.to_string(),
        thresholds: scenario.gate.clone(),
        expectations: scenario.expectations.clone(),
    }
}

/// Parses thresholds against the strategies of a scenario. A run judges them at its end: call it before one begins, so
/// that a typing error does not cost it.
///
/// # Errors
/// [`SessionError::Thresholds`] with all problems at once.
pub fn parse_thresholds(
    texts: &[String],
    strategies: &[StrategyName],
) -> Result<Vec<Threshold>, SessionError> {
    Threshold::parse_all(texts, strategies).map_err(SessionError::Thresholds)
}

/// As [`parse_thresholds`], for a scenario that is about to be run: what it can never have data for is an error too.
///
/// # Errors
/// As [`parse_thresholds`], and [`SessionError::PhaseOfClient`].
pub fn check_thresholds(scenario: &Scenario) -> Result<(), SessionError> {
    let all: Vec<String> = scenario
        .gate
        .iter()
        .chain(&scenario.expectations)
        .cloned()
        .collect();
    let thresholds = parse_thresholds(&all, &scenario.strategy_names())?;
    let clients: Vec<StrategyName> = scenario
        .programs()
        .map(|(strategy, _)| strategy.name.clone())
        .collect();
    for threshold in thresholds {
        if let Some((phase, strategy)) = threshold.asks_for_phase_of(&clients) {
            return Err(SessionError::PhaseOfClient {
                threshold: threshold.text,
                phase: phase.as_str(),
                strategy,
            });
        }
    }
    Ok(())
}
