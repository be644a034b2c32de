//! `sshchurn report`, and how the end of every run is shown.
//!
//! Owns what goes to stdout in which format, and that a finished run is shown whatever file could not be written.

use std::path::Path;

use super::args::ReportArgs;
use super::console::Console;
use super::error::CliError;
use super::signals;
use crate::session::{Conclusion, Interrupts, RunDirectory, SessionError, Stage, conclude};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_report::format::{self, Format};
use sshchurn_report::{RunReport, comparison};

/// `sshchurn report`.
pub(super) async fn command(args: ReportArgs, console: Console) -> Result<ExitCode, CliError> {
    let interrupts = signals::interrupts(&console)?;
    interrupts.enter(Stage::Closing);
    let directory = RunDirectory::open(&args.run_dir)?;
    let Some(concluded) = conclude(&directory, None, &interrupts, &console).await? else {
        return Ok(ExitCode::Interrupted);
    };
    let exit = concluded.exit();
    let printed = print(concluded.report, args.format, &console, &interrupts).await?;
    tell(concluded.problems, directory.path(), &console);
    Ok(printed.unwrap_or(exit))
}

/// The end of `sshchurn run`: report, comparison, what went wrong, and where it all is.
pub(super) async fn show(
    concluded: Conclusion,
    format: &'static Format<RunReport>,
    directory: &Path,
    interrupts: &Interrupts,
    console: &Console,
) -> Result<ExitCode, CliError> {
    let exit = concluded.exit();
    let shown = print(concluded.report, format, console, interrupts).await;
    let compared = concluded.comparison.map_or(Ok(()), |compared| {
        print_comparison(&compared, format, console)
    });
    // Also where it could not be shown: it is written.
    tell(concluded.problems, directory, console);
    console.aside(&format!("run directory: {}", directory.display()));
    compared?;
    Ok(shown?.unwrap_or(exit))
}

/// What went wrong after everything was measured, and what can be done about it.
pub(super) fn tell(problems: Vec<SessionError>, directory: &Path, console: &Console) {
    let unwritten = problems
        .iter()
        .any(|problem| matches!(problem, SessionError::Write(_)));
    for problem in problems {
        console.note(&CliError::from(problem).text());
    }
    if unwritten {
        console.note(&format!(
            "the run is recorded: `sshchurn report {0}` writes what is missing once there is room for it, or in a copy of \
             {0} elsewhere",
            directory.display()
        ));
    }
}

/// Puts a report on stdout. Whoever reads it may have stopped reading: an exit code when it was given up.
async fn print(
    report: RunReport,
    format: &'static Format<RunReport>,
    console: &Console,
    interrupts: &Interrupts,
) -> Result<Option<ExitCode>, CliError> {
    let printer = console.clone();
    let print = move || printer.show(&report, format, None);
    match interrupts.unless_given_up(print).await {
        Some(printed) => printed.map(|()| None),
        None => Ok(Some(ExitCode::Interrupted)),
    }
}

/// Puts the comparison after the report, where that is for people; what a program reads stays one document.
fn print_comparison(
    compared: &comparison::CompareReport,
    format: &'static Format<RunReport>,
    console: &Console,
) -> Result<(), CliError> {
    match format::named(format::COMPARISON, format.name) {
        Some(form) if ["text", "md"].contains(&form.name) => {
            console.result("")?;
            console.show(compared, form, None)
        }
        _ => Ok(()),
    }
}
