//! The end of `run`, and all of `report`: a run directory is loaded, compared with its baseline, written and shown.
//!
//! Owns that order and what an interrupt does to it.

use std::path::Path;

use super::args::{FormatArg, ReportArgs};
use super::compare::{self, Baseline};
use super::console::Console;
use super::error::CliError;
use super::load::{Loaded, load};
use super::signals::{Closing, Interrupts};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_report::{self as report, RunReport};

/// `sshchurn report`.
pub(super) async fn report_command(
    args: ReportArgs,
    console: Console,
) -> Result<ExitCode, CliError> {
    let interrupts = Interrupts::install(console.clone()).map_err(CliError::Signals)?;
    let closing = interrupts.closing();
    let Some(report) = conclude(&args.run_dir, None, &closing, &console).await? else {
        return Ok(ExitCode::Interrupted);
    };
    show(report, args.format, &console, &closing).await
}

/// Computes and writes the report of a run directory: the end of `run` and most of `report`. An interrupt does not change
/// its outcome; a second one ends it, with no report (`None`) or a whole one.
pub(super) async fn conclude(
    directory: &Path,
    baseline: Option<&Baseline>,
    closing: &Closing<'_>,
    console: &Console,
) -> Result<Option<RunReport>, CliError> {
    let recorded = directory.to_path_buf();
    let Some(loaded) = closing.unless_given_up(move || load(&recorded)).await else {
        console.note(&format!(
            "no report was written; `sshchurn report {}` computes it",
            directory.display()
        ));
        return Ok(None);
    };
    let mut loaded = loaded?;
    match baseline {
        Some(baseline) => baseline.judge(directory, &mut loaded.report)?,
        None => compare::rejoin(directory, loaded.baseline.as_ref(), &mut loaded.report)?,
    }
    // Here and not on a thread that may be left behind: what has begun to be written is finished.
    write_report(directory, &loaded)?;
    Ok(Some(loaded.report))
}

/// Puts a report on stdout and returns its exit code. Whoever reads it may have stopped reading.
pub(super) async fn show(
    report: RunReport,
    format: FormatArg,
    console: &Console,
    closing: &Closing<'_>,
) -> Result<ExitCode, CliError> {
    let exit = report.exit;
    let printer = console.clone();
    let print = move || match format {
        FormatArg::Text => {
            printer.result(&report::terminal::render_with(&report, printer.colour()))
        }
        FormatArg::Json => printer.result(&report::json::render(&report)),
        FormatArg::Md => printer.result(&report::markdown::render(&report)),
        FormatArg::Junit => printer.result(&report::junit::render(&report)),
        FormatArg::Openmetrics => printer.result(&report::openmetrics::render(&report)),
    };
    match closing.unless_given_up(print).await {
        Some(printed) => printed.map(|()| exit),
        None => Ok(ExitCode::Interrupted),
    }
}

/// Writes everything that is rendered into the run directory.
fn write_report(directory: &Path, loaded: &Loaded) -> Result<(), CliError> {
    let report = &loaded.report;
    let files = [
        ("report.json", report::json::render(report)),
        ("report.html", report::html::render(report)),
        ("report.md", report::markdown::render(report)),
        ("junit.xml", report::junit::render(report)),
        ("metrics.txt", report::openmetrics::render(report)),
        ("latencies.hlog", loaded.latencies.clone()),
    ];
    for (name, text) in files {
        report::write_file(&directory.join(name), text.as_bytes())?;
    }
    Ok(())
}
