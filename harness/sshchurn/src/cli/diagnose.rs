//! `sshchurn diagnose`: logs in, what sshd refused out.
//!
//! Owns what the arguments mean.

use super::args::{DiagnoseArgs, DiagnoseFormatArg};
use super::console::Console;
use super::error::CliError;
use crate::session::{SessionError, logs};
use sshchurn_core::diagnosis::{DiagnosisThreshold, judge};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::parse_all;
use sshchurn_report::diagnose;

/// `sshchurn diagnose`.
pub(super) fn command(args: &DiagnoseArgs, console: &Console) -> Result<ExitCode, CliError> {
    let thresholds =
        parse_all(&args.thresholds, DiagnosisThreshold::parse).map_err(SessionError::Thresholds)?;
    if args
        .logs
        .iter()
        .filter(|path| path.as_os_str() == "-")
        .count()
        > 1
    {
        return Err(CliError::Usage(
            "standard input (`-`) can be read only once".to_owned(),
        ));
    }
    let read = logs::diagnose(&args.logs, args.max_startups, args.release)?;
    let judged = judge(&thresholds, &read.diagnosis);
    let report = diagnose::report(read.inputs, read.diagnosis, judged);
    console.result(&match args.format {
        DiagnoseFormatArg::Text => diagnose::text(&report),
        DiagnoseFormatArg::Json => diagnose::json(&report),
        DiagnoseFormatArg::Md => diagnose::markdown(&report),
        DiagnoseFormatArg::Html => diagnose::html(&report),
    })?;
    Ok(report.exit)
}
