//! Two reports become a comparison.
//!
//! Owns the translation of a report into a side and of the result into a document, and how the result joins the new
//! run's own verdict.

use super::document::{COMPARE_SCHEMA_VERSION, CompareReport, CompareSettings, ComparedRun};
use crate::document::{RunReport, ToolReport};
use sshchurn_core::analysis::laws::{self, Law};
use sshchurn_core::analysis::validity::CheckStatus;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::compare::{
    self, AGREEMENT, BLIND, COVERAGE, Comparison, DEFAULT_GATES, Difference, GateMetric, LEVEL,
    MinimumEffect, Side, StrategyRounds, Weight,
};
use sshchurn_core::gate::{Reason, ReasonId, Verdict};
use sshchurn_core::ids::RunId;
use sshchurn_core::ledger::{RoundEnd, RunEnd};
use sshchurn_core::manifest::ServerKind;

/// How to compare.
#[derive(Debug, Clone, Default)]
pub struct CompareRequest {
    /// The gating metrics; empty for the default ones.
    pub gates: Vec<GateMetric>,
    /// The smallest change that counts.
    pub minimum: MinimumEffect,
    /// Compare different experiments, with a warning.
    pub allow_different: bool,
    /// Keys of the scenario that the comparison is about: a difference in them is shown, and refuses nothing.
    pub varied: Vec<String>,
}

impl CompareRequest {
    /// Takes what the comparison is about out of what would refuse it.
    pub fn weigh(&self, differences: &mut [Difference]) {
        for difference in differences {
            if self
                .varied
                .iter()
                .any(|key| is_about(key, &difference.what))
            {
                difference.weight = Weight::Varied;
            }
        }
    }
}

/// Compares a new report with its baseline. Pure: the same arguments give the same document.
#[must_use]
pub fn compare(base: &RunReport, new: &RunReport, request: &CompareRequest) -> CompareReport {
    let (base_side, new_side) = (side(base), side(new));
    let mut differences = compare::differences(&base_side, &new_side);
    request.weigh(&mut differences);
    let refused = !request.allow_different && differences.iter().any(is_experiment);
    let Comparison {
        verdict,
        reasons,
        metrics,
    } = if refused {
        refusal(&differences)
    } else {
        compare::compare(&base_side, &new_side, &request.gates, &request.minimum)
    };
    let exit = match verdict {
        Verdict::Pass | Verdict::Measured => ExitCode::Success,
        Verdict::Fail => ExitCode::GateFailed,
        Verdict::Inconclusive => ExitCode::Inconclusive,
    };
    CompareReport {
        schema_version: COMPARE_SCHEMA_VERSION,
        tool: ToolReport {
            name: "sshchurn".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        },
        base: compared(base),
        new: compared(new),
        settings: CompareSettings {
            interval: COVERAGE,
            false_alarms: LEVEL,
            agreement: AGREEMENT,
            blind: BLIND,
            minimum: request.minimum,
            gates: if request.gates.is_empty() {
                DEFAULT_GATES.map(str::to_owned).to_vec()
            } else {
                request.gates.iter().map(ToString::to_string).collect()
            },
            allow_different: request.allow_different,
        },
        verdict,
        exit,
        exit_code: exit.code(),
        reasons,
        refused,
        stand_in: base.stand_in.or(new.stand_in),
        differences,
        metrics,
    }
}

/// Whether a difference is one in this key of a scenario, written with its table or without. MaxStartups is told by the
/// server as well.
fn is_about(key: &str, what: &str) -> bool {
    let last = |path: &str| path.rsplit('.').next() == Some(key);
    what == key || last(what) || (key.ends_with("max_startups") && what == "MaxStartups in force")
}

fn is_experiment(difference: &Difference) -> bool {
    difference.weight == Weight::Experiment
}

fn refusal(differences: &[Difference]) -> Comparison {
    Comparison {
        verdict: Verdict::Inconclusive,
        reasons: differences
            .iter()
            .filter(|difference| is_experiment(difference))
            .map(|difference| format!("not the same experiment: {}", difference.text()))
            .collect(),
        metrics: Vec::new(),
    }
}

/// Lets a comparison with a baseline join the new run's own verdict; the run's own reasons come first.
pub fn join(report: &mut RunReport, compared: &CompareReport) {
    let decision = sshchurn_core::gate::join(report.verdict, report.exit, compared.verdict);
    (report.verdict, report.exit) = decision;
    report.exit_code = report.exit.code();
    report.baseline = Some(compared.base.run_id.clone());
    let against = &compared.base.run_id;
    let reasons = compared.reasons.iter();
    report.reasons.extend(reasons.map(|reason| {
        let text = format!("against the baseline {against}: {reason}");
        Reason::new(ReasonId::Baseline, text)
    }));
    report.advise();
}

/// Says that the comparison with a baseline, which was to join the report, is not there: `file` of the run directory.
pub fn lost(report: &mut RunReport, baseline: &RunId, file: &str) {
    (report.verdict, report.exit) =
        sshchurn_core::gate::join(report.verdict, report.exit, Verdict::Inconclusive);
    report.exit_code = report.exit.code();
    report.baseline = Some(baseline.clone());
    let text = format!(
        "against the baseline {baseline}: {file} is not there, so that what was found is not known; \
         `sshchurn compare BASELINE RUNDIR` compares them again"
    );
    report.reasons.push(Reason::new(ReasonId::Baseline, text));
    report.advise();
}

fn compared(report: &RunReport) -> ComparedRun {
    let target = &report.target;
    ComparedRun {
        run_id: report.run_id.clone(),
        started_at: report.started_at.clone(),
        tool_version: report.tool.version.clone(),
        scenario: report.scenario.name.clone(),
        tasks: report.scenario.tasks,
        rounds: report.scenario.rounds,
        target: target.kind.as_str().to_owned(),
        release: match target.kind {
            ServerKind::Embedded => "stand-in".to_owned(),
            ServerKind::Simulated => "model".to_owned(),
            _ => target
                .release
                .clone()
                .unwrap_or_else(|| target.identification.clone()),
        },
        asked_release: target
            .substitution
            .as_ref()
            .map(|substitution| substitution.asked.clone()),
        verdict: report.verdict,
    }
}

/// A report as a side of a comparison: complete rounds only.
fn side(report: &RunReport) -> Side<'_> {
    Side {
        faults: faults(report),
        scenario: &report.scenario,
        target: &report.target,
        environment: &report.environment,
        strategies: report
            .strategies
            .iter()
            .map(|strategy| StrategyRounds {
                strategy: strategy.strategy.clone(),
                rounds: strategy
                    .per_round
                    .iter()
                    .filter(|round| round.end == Some(RoundEnd::Complete))
                    .map(|round| &round.values)
                    .collect(),
            })
            .collect(),
    }
}

fn faults(report: &RunReport) -> Vec<String> {
    let mut faults = Vec::new();
    match report.run_end {
        Some(RunEnd::Complete) => {}
        Some(RunEnd::Interrupted) => faults.push("it was interrupted".to_owned()),
        Some(RunEnd::OutOfTime) => faults.push("it ran out of time".to_owned()),
        Some(RunEnd::ServerLost) => faults.push("its server was lost".to_owned()),
        None => faults.push("its ledger was not closed".to_owned()),
    }
    let broken: Vec<&Law> = laws::broken(&report.laws).collect();
    for law in broken {
        faults.push(format!("a cross-check of it failed: {}", law.description));
    }
    for check in &report.validity {
        // The end of the run is said above in better words.
        if check.status == CheckStatus::Invalid && report.run_end == Some(RunEnd::Complete) {
            let advice = check.advice.as_deref().unwrap_or_default();
            faults.push(format!("it is invalid ({}): {advice}", check.actual));
        }
    }
    faults
}
