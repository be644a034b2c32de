//! `sshchurn diagnose`: logs in, what sshd refused out.
//!
//! Owns what the arguments mean.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use super::args::DiagnoseArgs;
use super::console::Console;
use super::error::CliError;
use crate::session::{SessionError, logs};
use sshchurn_core::diagnosis::{ArrivalWindow, Arrivals, Diagnosis, DiagnosisThreshold, judge};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::parse_all;
use sshchurn_core::scenario::MaxStartups;
use sshchurn_report::diagnose::{self, RecordedScenario};

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
    if let Some(path) = &args.write_scenario
        && path.exists()
    {
        return Err(CliError::Usage(format!(
            "--write-scenario {}: this file exists, and is not overwritten",
            path.display()
        )));
    }
    let window = args.write_scenario.is_some().then_some(ArrivalWindow {
        from: args.from,
        to: args.to,
    });
    let read = logs::diagnose(&args.logs, args.max_startups, args.release, window)?;
    let scenario = args
        .write_scenario
        .as_deref()
        .zip(read.arrivals)
        .map(|(path, arrivals)| {
            (
                path,
                arrivals.map(|it| {
                    recorded(path, &read.inputs, &it, &read.diagnosis, args.max_startups)
                }),
            )
        });
    let judged = judge(&thresholds, &read.diagnosis);
    let report = diagnose::report(read.inputs, read.diagnosis, judged);
    console.show(&report, args.format, args.file.out.as_deref())?;
    // After the report: what the log says does not depend on it.
    if let Some((path, scenario)) = scenario {
        let path = path.to_path_buf();
        let scenario = scenario.map_err(|source| CliError::NoArrivals {
            path: path.clone(),
            source,
        })?;
        File::create_new(&path)
            .and_then(|mut file| file.write_all(scenario.toml.as_bytes()))
            .map_err(|source| SessionError::Io {
                action: "write",
                path: path.clone(),
                source,
            })?;
        console.aside(&format!("{}: {}", path.display(), scenario.said));
    }
    Ok(report.exit)
}

/// The scenario under the name of its file, as far as a scenario can have it.
fn recorded(
    path: &Path,
    inputs: &[String],
    arrivals: &Arrivals,
    diagnosis: &Diagnosis,
    max_startups: Option<MaxStartups>,
) -> RecordedScenario {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let name: String = stem
        .chars()
        .take(60)
        .map(|c| if fits(c) { c } else { '-' })
        .collect();
    let name = if name.is_empty() { "recorded" } else { &name };
    diagnose::scenario(name, inputs, arrivals, &diagnosis.drops, max_startups)
}
