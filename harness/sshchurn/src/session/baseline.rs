//! The run that another is compared with: read and checked before anything is started, judged at the end.
//!
//! Owns that order and which differences forbid it. Statistics are `core`'s, documents are `report`'s.

use sshchurn_core::gate::compare::{
    Difference, LEAST_ROUNDS, Weight, kind_difference, scenario_differences,
};
use sshchurn_core::ids::RunId;
use sshchurn_core::manifest::{ScenarioRecord, ServerKind};
use sshchurn_report::RunReport;
use sshchurn_report::comparison::{self, CompareReport, CompareRequest};
use sshchurn_server::ServerChoice;

use super::directory::{RunDirectory, RunFile};
use super::error::SessionError;

/// A baseline that has been read and checked, for a run that has not begun.
#[derive(Debug)]
pub struct Baseline {
    report: RunReport,
    request: CompareRequest,
    differences: Vec<Difference>,
}

impl Baseline {
    /// Checks what can be checked before the server is there.
    ///
    /// # Errors
    /// [`SessionError::OtherExperiment`] unless the request allows that, and [`SessionError::TooFewRounds`].
    pub fn new(
        report: RunReport,
        request: CompareRequest,
        scenario: &ScenarioRecord,
        server: ServerChoice,
    ) -> Result<Self, SessionError> {
        let mut differences = scenario_differences(&report.scenario, scenario);
        differences
            .extend(kind(server).and_then(|server| kind_difference(report.target.kind, server)));
        request.weigh(&mut differences);
        let differences = experiment_differences(&differences);
        if !differences.is_empty() && !request.allow_different {
            return Err(SessionError::OtherExperiment(differences));
        }
        let rounds = report.strategies.iter().map(|s| s.per_round.len()).min();
        let (before, now) = (rounds.unwrap_or(0), scenario.rounds as usize);
        if before < LEAST_ROUNDS || now < LEAST_ROUNDS {
            return Err(SessionError::TooFewRounds { before, now });
        }
        Ok(Baseline {
            report,
            request,
            differences,
        })
    }

    /// Name of the baseline's run.
    #[must_use]
    pub fn run_id(&self) -> RunId {
        self.report.run_id.clone()
    }

    /// What makes it another experiment; it is compared all the same, since that was asked for.
    #[must_use]
    pub fn differences(&self) -> &[Difference] {
        &self.differences
    }

    /// Compares the new run and lets the comparison join its verdict.
    pub(super) fn judge(&self, report: &mut RunReport) -> CompareReport {
        let compared = comparison::compare(&self.report, report, &self.request);
        comparison::join(report, &compared);
        compared
    }
}

/// Lets the comparison that was made at the end of a run join its report again; the baseline need not be there any more,
/// but what was found then must be: without it a run that failed would pass.
pub(super) fn rejoin(
    directory: &RunDirectory,
    baseline: Option<&RunId>,
    report: &mut RunReport,
) -> Result<Option<CompareReport>, SessionError> {
    let compared = directory.comparison()?;
    match (&compared, baseline) {
        (Some(compared), _) => comparison::join(report, compared),
        (None, Some(baseline)) => comparison::lost(report, baseline, RunFile::Comparison.name()),
        (None, None) => {}
    }
    Ok(compared)
}

/// Those that make two runs different experiments.
#[must_use]
pub fn experiment_differences(differences: &[Difference]) -> Vec<Difference> {
    differences
        .iter()
        .filter(|difference| difference.weight == Weight::Experiment)
        .cloned()
        .collect()
}

fn kind(server: ServerChoice) -> Option<ServerKind> {
    match server {
        // Known when it has been chosen; the comparison at the end sees it.
        ServerChoice::Auto => None,
        ServerChoice::Docker => Some(ServerKind::Docker),
        ServerChoice::Local => Some(ServerKind::Local),
        ServerChoice::Embedded => Some(ServerKind::Embedded),
        ServerChoice::External => Some(ServerKind::External),
        ServerChoice::Simulated => Some(ServerKind::Simulated),
    }
}
