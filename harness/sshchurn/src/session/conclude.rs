//! The end of a run, and all of rendering one again: its directory is read, compared with its baseline and written.
//!
//! Owns that order and what an interrupt does to it. A document that cannot be written is no reason to keep the result
//! from its reader: it is told beside it.

use sshchurn_core::exit_code::ExitCode;
use sshchurn_report::RunReport;
use sshchurn_report::comparison::CompareReport;

use super::baseline::{self, Baseline};
use super::directory::{LogExport, RunDirectory};
use super::error::SessionError;
use super::notice::{Notice, Observer};
use super::replay::{Replayed, replay_with_log};
use super::stop::Interrupts;

/// A run that is over.
#[derive(Debug)]
pub struct Conclusion {
    /// Its report, the comparison's verdict included.
    pub report: RunReport,
    /// The comparison with its baseline, when one was made.
    pub comparison: Option<CompareReport>,
    /// What went wrong after everything was measured: documents that could not be written, a server that could not be
    /// taken down. To be told after the report was shown.
    pub problems: Vec<SessionError>,
}

impl Conclusion {
    /// What the calling process is told: the report's own verdict, or that the environment failed, whichever weighs more.
    #[must_use]
    pub fn exit(&self) -> ExitCode {
        let failed = (!self.problems.is_empty()).then_some(ExitCode::Environment);
        failed
            .into_iter()
            .chain([self.report.exit])
            .max_by_key(|code| code.severity())
            .unwrap_or(self.report.exit)
    }
}

impl Conclusion {
    /// The report, where all of it could be written down.
    ///
    /// # Errors
    /// The last of its problems.
    pub fn into_report(mut self) -> Result<RunReport, SessionError> {
        match self.problems.pop() {
            None => Ok(self.report),
            Some(problem) => Err(problem),
        }
    }
}

/// Computes and writes the report of a run directory. An interrupt does not change its outcome; a second one ends it,
/// with no report (`None`) or a whole one. Without a baseline, the comparison that was made when the run ended counts.
///
/// # Errors
/// [`SessionError`] when the directory cannot be read. What cannot be written is in the conclusion.
pub async fn conclude(
    directory: &RunDirectory,
    baseline: Option<&Baseline>,
    interrupts: &Interrupts,
    observer: &dyn Observer,
) -> Result<Option<Conclusion>, SessionError> {
    let recorded = directory.clone();
    let read = move || replay_with_log(&recorded);
    let Some(read) = interrupts.unless_given_up(read).await else {
        observer.notice(Notice::ReportGivenUp(directory.path().to_path_buf()));
        return Ok(None);
    };
    // Here and not on a thread that may be left behind: what has begun to be written is finished.
    let (replayed, log) = read?;
    written(directory, baseline, replayed, Some(log)).map(Some)
}

/// Compares a report with its baseline and writes all of it down, with the server's log where there is one.
///
/// # Errors
/// [`SessionError`] when an earlier comparison cannot be read. What cannot be written is in the conclusion.
pub(super) fn written(
    directory: &RunDirectory,
    baseline: Option<&Baseline>,
    replayed: Replayed,
    log: Option<LogExport>,
) -> Result<Conclusion, SessionError> {
    let mut report = replayed.report;
    let mut unwritten = Vec::new();
    let comparison = match baseline {
        Some(baseline) => {
            let compared = baseline.judge(&mut report);
            unwritten.extend(directory.write_comparison(&compared).err());
            Some(compared)
        }
        None => baseline::rejoin(directory, replayed.baseline.as_ref(), &mut report)?,
    };
    unwritten.extend(log.and_then(|log| log.finish().err()));
    unwritten.extend(directory.write_report(&report, &replayed.latencies));
    Ok(Conclusion {
        report,
        comparison,
        problems: unwritten.into_iter().map(SessionError::Write).collect(),
    })
}
