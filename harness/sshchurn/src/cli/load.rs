//! From a run directory back to its report: ledger and server log in, `RunReport` out. `run` takes the very same way,
//! so that what is shown is what can be rendered again.
//!
//! It must not write or show anything.

use std::path::Path;

use super::error::CliError;
use sshchurn_core::analysis::admission::{self, AdmissionCurve};
use sshchurn_core::analysis::summary::{RunSummary, Summarizer};
use sshchurn_core::analysis::{interval_log, laws, validity};
use sshchurn_core::gate::{self, Threshold, ThresholdError};
use sshchurn_core::ids::{RunId, StrategyName};
use sshchurn_core::ledger::{Event, LedgerReader};
use sshchurn_core::manifest::Manifest;
use sshchurn_core::model::Admission;
use sshchurn_core::scenario::MaxStartups;
use sshchurn_core::server_log::{DropRule, ServerLogCounts};
use sshchurn_report::{self as report, Findings, RunReport};

/// Name of the ledger in a run directory.
pub(super) const LEDGER: &str = "events.jsonl.zst";

/// Parses thresholds against the strategies of a scenario; all problems at once.
pub(super) fn thresholds(
    texts: &[String],
    strategies: &[StrategyName],
) -> Result<Vec<Threshold>, CliError> {
    Threshold::parse_all(texts, strategies).map_err(|errors| {
        CliError::Thresholds(
            errors
                .iter()
                .map(ThresholdError::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
        )
    })
}

/// What a run directory says.
pub(super) struct Loaded {
    /// The report.
    pub(super) report: RunReport,
    /// Every distribution of times, as an HdrHistogram interval log: the report has only their summaries.
    pub(super) latencies: String,
    /// The run that this one was to be compared with.
    pub(super) baseline: Option<RunId>,
}

/// The admission curves of a run directory beside another expectation than the server's own configuration.
pub(super) struct Curves {
    /// Of connections held one by one.
    pub(super) held: Option<AdmissionCurve>,
    /// Of sshd's own draws.
    pub(super) draws: Option<AdmissionCurve>,
}

/// Holds a run directory against an expected `MaxStartups`.
pub(super) fn curves(directory: &Path, expected: MaxStartups) -> Result<Curves, CliError> {
    let (manifest, run) = fold(directory, Summarizer::new().with_rule(expected))?;
    let rule = DropRule::of(&manifest).map(|rule| DropRule {
        max_startups: Admission::new(expected),
        ..rule
    });
    let logs: Vec<&ServerLogCounts> = run
        .strategies
        .iter()
        .flat_map(|strategy| &strategy.rounds)
        .filter_map(|round| round.server_log.as_ref())
        .collect();
    Ok(Curves {
        held: admission::of_staircases(&run, expected),
        draws: rule
            .filter(|_| !logs.is_empty())
            .and_then(|rule| admission::of_logs(rule, &logs)),
    })
}

/// Computes the report of a run directory.
pub(super) fn load(directory: &Path) -> Result<Loaded, CliError> {
    let (manifest, run) = fold(directory, Summarizer::new())?;
    let thresholds = thresholds(
        &manifest.scenario.thresholds,
        &manifest.scenario.strategy_names(),
    )?;
    let laws = laws::check(&run);
    let validity = validity::check(&run);
    let gates = gate::judge(&thresholds, &run);
    let decision = gate::decide(&run, &laws, &validity, &gates);
    let report = report::build(
        &manifest,
        &run,
        Findings {
            laws,
            validity,
            gates,
            decision,
        },
    );
    Ok(Loaded {
        report,
        latencies: interval_log::render(&run),
        baseline: manifest.baseline.clone(),
    })
}

/// Folds the ledger of a run directory.
fn fold(
    directory: &Path,
    mut summarizer: Summarizer,
) -> Result<(Box<Manifest>, RunSummary), CliError> {
    if !directory.join(LEDGER).exists() {
        return Err(CliError::NoRunDirectory(directory.to_path_buf()));
    }
    let mut manifest: Option<Box<Manifest>> = None;
    for record in LedgerReader::open(&directory.join(LEDGER))? {
        let record = record?;
        if let Event::RunStarted { manifest: found } = &record.event {
            manifest = Some(found.clone());
        }
        summarizer.fold(&record);
    }
    let Some(manifest) = manifest else {
        return Err(CliError::NothingMeasured(directory.to_path_buf()));
    };
    Ok((manifest, summarizer.finish()))
}
