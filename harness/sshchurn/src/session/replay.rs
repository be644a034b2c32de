//! From a run directory back to its report: the ledger in, `RunReport` out. A run takes the very same way at its end, so
//! that what is shown is what can be rendered again.
//!
//! It must not write or show anything.

use std::path::Path;

use sshchurn_core::analysis::admission::{self, AdmissionCurve};
use sshchurn_core::analysis::climb::{self, Climbs};
use sshchurn_core::analysis::summary::{RunSummary, Summarizer};
use sshchurn_core::analysis::{interval_log, laws, validity};
use sshchurn_core::gate;
use sshchurn_core::ids::RunId;
use sshchurn_core::ledger::{Event, LedgerReader, Record};
use sshchurn_core::manifest::Manifest;
use sshchurn_core::model::Admission;
use sshchurn_core::scenario::MaxStartups;
use sshchurn_core::server_log::{DropRule, ServerLogCounts};
use sshchurn_report::{self as report, Findings, RunReport, json};

use super::directory::{LogExport, RunDirectory, RunFile};
use super::error::SessionError;
use super::order::parse_thresholds;

/// What a run directory says.
#[derive(Debug)]
pub struct Replayed {
    /// The report, without the comparison with a baseline.
    pub report: RunReport,
    /// Every distribution of times, as an HdrHistogram interval log: the report has only their summaries.
    pub latencies: String,
    /// The run that this one was to be compared with.
    pub baseline: Option<RunId>,
}

/// The admission curves of a run directory beside another expectation than the server's own configuration.
#[derive(Debug)]
pub struct Curves {
    /// Of connections held one by one.
    pub held: Option<AdmissionCurve>,
    /// Of sshd's own draws.
    pub draws: Option<AdmissionCurve>,
    /// How far the climbs went that `held` comes from, and what else they met.
    pub climbs: Climbs,
}

/// Computes the report of a run directory.
///
/// # Errors
/// [`SessionError`] when there is no run in it, its ledger cannot be read, or a threshold in it is none of this
/// program's.
pub fn replay(directory: &RunDirectory) -> Result<Replayed, SessionError> {
    let (manifest, run) = fold(directory, Summarizer::new(), |_| {})?;
    judged(&manifest, &run)
}

/// The numbers of a run directory, nothing judged.
///
/// # Errors
/// As [`replay`].
pub fn summary(directory: &RunDirectory) -> Result<RunSummary, SessionError> {
    fold(directory, Summarizer::new(), |_| {}).map(|(_, run)| run)
}

/// The same, and the server's log as it is to be written beside it.
pub(super) fn replay_with_log(
    directory: &RunDirectory,
) -> Result<(Replayed, LogExport), SessionError> {
    let mut log = directory.log_export();
    let (manifest, run) = fold(directory, Summarizer::new(), |record| {
        if let Event::ServerLogged { line } = &record.event {
            log.line(line);
        }
    })?;
    Ok((judged(&manifest, &run)?, log))
}

/// Reads a report, or that of a run directory; one without it is computed from its ledger.
///
/// # Errors
/// [`SessionError::Unreadable`] when there is none, [`SessionError::Document`] when it is none of this version, and those
/// of [`replay`].
pub fn report_at(path: &Path) -> Result<RunReport, SessionError> {
    let file = if path.is_dir() {
        match RunDirectory::open(path) {
            Ok(directory) if !directory.has(RunFile::Report) => {
                return replay(&directory).map(|replayed| replayed.report);
            }
            // Someone kept only the report.
            Ok(_) | Err(_) => path.join(RunFile::Report.name()),
        }
    } else {
        path.to_path_buf()
    };
    let text = std::fs::read_to_string(&file).map_err(|source| SessionError::Unreadable {
        path: file.clone(),
        source,
    })?;
    json::parse(&text).map_err(|source| SessionError::Document { path: file, source })
}

/// Holds a run directory against an expected `MaxStartups`.
///
/// # Errors
/// As [`replay`].
pub fn curves(directory: &RunDirectory, expected: MaxStartups) -> Result<Curves, SessionError> {
    // Which limit refused is told by the server's own rule, whatever is expected of it; one reading serves both.
    let mut asked = Summarizer::new().with_rule(expected);
    let (manifest, own) = fold(directory, Summarizer::new(), |record| {
        asked.fold(record.clone())
    })?;
    let run = asked.finish();
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
        held: admission::of_staircases(&own, expected),
        climbs: climb::of_run(&own, expected),
        draws: rule
            .filter(|_| !logs.is_empty())
            .and_then(|rule| admission::of_logs(rule, &logs)),
    })
}

/// The report of numbers, with every judgement.
///
/// # Errors
/// [`SessionError`] when a threshold is none of this program's.
pub(super) fn judged(manifest: &Manifest, run: &RunSummary) -> Result<Replayed, SessionError> {
    let names = manifest.scenario.strategy_names();
    let thresholds = parse_thresholds(&manifest.scenario.thresholds, &names)?;
    let expectations = parse_thresholds(&manifest.scenario.expectations, &names)?;
    let laws = laws::check(run);
    let validity = validity::check(run);
    let gates = gate::judge(&thresholds, run);
    let decision = gate::decide(run, &laws, &validity, &gates);
    let report = report::build(
        manifest,
        run,
        Findings {
            laws,
            validity,
            gates,
            expectations: gate::judge(&expectations, run),
            decision,
        },
    );
    Ok(Replayed {
        report,
        latencies: interval_log::render(run),
        baseline: manifest.baseline.clone(),
    })
}

/// Folds the ledger of a run directory; every record is handed to `also` in passing.
fn fold(
    directory: &RunDirectory,
    mut summarizer: Summarizer,
    mut also: impl FnMut(&Record),
) -> Result<(Box<Manifest>, RunSummary), SessionError> {
    let mut manifest: Option<Box<Manifest>> = None;
    for record in LedgerReader::open(&directory.file(RunFile::Ledger))? {
        let record = record?;
        if let Event::RunStarted { manifest: found } = &record.event {
            manifest = Some(found.clone());
        }
        also(&record);
        summarizer.fold(record);
    }
    let Some(manifest) = manifest else {
        return Err(SessionError::NothingMeasured(
            directory.path().to_path_buf(),
        ));
    };
    Ok((manifest, summarizer.finish()))
}
