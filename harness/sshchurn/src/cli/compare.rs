//! `sshchurn compare`, and the baseline of `sshchurn run`: reports in, comparison out.
//!
//! Owns where the two reports come from and where the comparison goes. What is read is checked before anything is
//! started.

use std::path::{Path, PathBuf};

use super::args::{CompareArgs, CompareFormatArg, CompareSettingsArgs, FormatArg, TargetArg};
use super::console::Console;
use super::error::CliError;
use super::load;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::compare::{
    Difference, GateMetric, LEAST_ROUNDS, MinimumEffect, Weight, kind_difference,
    scenario_differences,
};
use sshchurn_core::ids::{RunId, StrategyName};
use sshchurn_core::manifest::{ScenarioRecord, ServerKind};
use sshchurn_report::comparison::{self, CompareReport, CompareRequest};
use sshchurn_report::json::{self, ReadError};
use sshchurn_report::{self as report, RunReport};

/// Name of the report in a run directory.
const REPORT: &str = "report.json";
/// Name of the comparison with the baseline in a run directory.
const COMPARISON: &str = "comparison.json";

/// `sshchurn compare`.
pub(super) fn command(args: &CompareArgs, console: &Console) -> Result<ExitCode, CliError> {
    let base = read_report(&args.base)?;
    let new = read_report(&args.new)?;
    let request = request(&args.settings, &base.scenario.strategy_names())?;
    let compared = comparison::compare(&base, &new, &request);
    if compared.refused {
        return Err(refused(&compared.differences));
    }
    warn(&compared.differences, console);
    console.result(&match args.format {
        CompareFormatArg::Text => comparison::terminal::render_with(&compared, console.colour()),
        CompareFormatArg::Json => json::render_comparison(&compared),
        CompareFormatArg::Md => comparison::markdown::render(&compared),
    })?;
    Ok(compared.exit)
}

/// A baseline that has been read and checked, for a run that has not begun.
pub(super) struct Baseline {
    report: RunReport,
    request: CompareRequest,
}

impl Baseline {
    /// Reads the baseline named by the arguments, if any, and checks what can be checked before the target is there.
    pub(super) fn prepare(
        path: Option<&Path>,
        settings: &CompareSettingsArgs,
        scenario: &ScenarioRecord,
        target: TargetArg,
        console: &Console,
    ) -> Result<Option<Baseline>, CliError> {
        let Some(path) = path else {
            return Ok(None);
        };
        let report = read_report(path)?;
        let request = request(settings, &scenario.strategy_names())?;
        let mut differences = scenario_differences(&report.scenario, scenario);
        differences
            .extend(kind(target).and_then(|target| kind_difference(report.target.kind, target)));
        if differences.iter().any(is_experiment) {
            if !request.allow_different {
                return Err(refused(&differences));
            }
            warn(&differences, console);
        }
        too_few_rounds(&report, scenario)?;
        Ok(Some(Baseline { report, request }))
    }

    /// Name of the baseline's run.
    pub(super) fn run_id(&self) -> RunId {
        self.report.run_id.clone()
    }

    /// Compares the new run, keeps the comparison in its directory and lets it join the verdict.
    pub(super) fn judge(&self, directory: &Path, report: &mut RunReport) -> Result<(), CliError> {
        let compared = comparison::compare(&self.report, report, &self.request);
        report::write_file(
            &directory.join(COMPARISON),
            json::render_comparison(&compared).as_bytes(),
        )?;
        comparison::join(report, &compared);
        Ok(())
    }
}

/// Lets the comparison that was made at the end of a run join its report again; the baseline need not be there any more,
/// but what was found then must be: without it a run that failed would pass.
pub(super) fn rejoin(
    directory: &Path,
    baseline: Option<&RunId>,
    report: &mut RunReport,
) -> Result<(), CliError> {
    match (made(directory)?, baseline) {
        (Some(compared), _) => comparison::join(report, &compared),
        (None, Some(baseline)) => comparison::lost(report, baseline, COMPARISON),
        (None, None) => {}
    }
    Ok(())
}

/// The comparison in a run directory, when there is one.
fn made(directory: &Path) -> Result<Option<CompareReport>, CliError> {
    let path = directory.join(COMPARISON);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CliError::io("read", &path, source)),
    };
    json::parse_comparison(&text)
        .map(Some)
        .map_err(|source| CliError::Document { path, source })
}

/// Puts the comparison of a run directory after its report; JSON on stdout stays one document.
pub(super) fn show(directory: &Path, format: FormatArg, console: &Console) -> Result<(), CliError> {
    let Some(compared) = made(directory)? else {
        return Ok(());
    };
    match format {
        FormatArg::Text => console.result(&format!(
            "\n{}",
            comparison::terminal::render_with(&compared, console.colour())
        )),
        FormatArg::Json | FormatArg::Junit | FormatArg::Openmetrics => Ok(()),
        FormatArg::Md => console.result(&format!("\n{}", comparison::markdown::render(&compared))),
    }
}

/// Reads a report, or that of a run directory; one without it is computed from its ledger.
fn read_report(path: &Path) -> Result<RunReport, CliError> {
    let file = if path.is_dir() {
        let file = path.join(REPORT);
        if !file.exists() && path.join(load::LEDGER).exists() {
            return load::load(path).map(|loaded| loaded.report);
        }
        file
    } else {
        path.to_path_buf()
    };
    let text = std::fs::read_to_string(&file).map_err(|source| CliError::Unreadable {
        path: file.clone(),
        source,
    })?;
    json::parse(&text).map_err(|source| document(file, source))
}

fn document(path: PathBuf, source: ReadError) -> CliError {
    CliError::Document { path, source }
}

fn request(
    settings: &CompareSettingsArgs,
    strategies: &[StrategyName],
) -> Result<CompareRequest, CliError> {
    let gates = settings
        .gate_on
        .iter()
        .map(|text| {
            GateMetric::parse(text, strategies)
                .map_err(|error| CliError::Usage(format!("--gate-on {text}: {error}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let default = MinimumEffect::default();
    Ok(CompareRequest {
        gates,
        minimum: MinimumEffect {
            relative: settings.min_relative.unwrap_or(default.relative),
            per_task: settings.min_per_task.unwrap_or(default.per_task),
            tasks_share: settings.min_tasks.unwrap_or(default.tasks_share),
            ..default
        },
        allow_different: settings.allow_different,
    })
}

fn kind(target: TargetArg) -> Option<ServerKind> {
    match target {
        // Known when it has been chosen; the comparison at the end sees it.
        TargetArg::Auto => None,
        TargetArg::Docker => Some(ServerKind::Docker),
        TargetArg::Local => Some(ServerKind::Local),
        TargetArg::Embedded => Some(ServerKind::Embedded),
        TargetArg::External => Some(ServerKind::External),
    }
}

/// One round has no spread: such a comparison would say nothing at its end.
fn too_few_rounds(baseline: &RunReport, scenario: &ScenarioRecord) -> Result<(), CliError> {
    let rounds = baseline.strategies.iter().map(|s| s.per_round.len()).min();
    let (before, now) = (rounds.unwrap_or(0), scenario.rounds);
    if before >= LEAST_ROUNDS && now as usize >= LEAST_ROUNDS {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "a comparison needs {LEAST_ROUNDS} rounds of each strategy on either side: the baseline has {before}, this run \
         would have {now}; use `--rounds`"
    )))
}

fn is_experiment(difference: &Difference) -> bool {
    difference.weight == Weight::Experiment
}

fn refused(differences: &[Difference]) -> CliError {
    let lines: Vec<String> = differences
        .iter()
        .filter(|difference| is_experiment(difference))
        .map(|difference| format!("\n  {}", difference.text()))
        .collect();
    CliError::Usage(format!(
        "the baseline is another experiment:{}\nmake a baseline of this one, or compare them all the same with `--allow-different`",
        lines.concat()
    ))
}

/// Different experiments compared on request: said on stderr too, where it is not lost with the table.
fn warn(differences: &[Difference], console: &Console) {
    for difference in differences.iter().filter(|found| is_experiment(found)) {
        console.note(&format!(
            "warning: another experiment is compared: {}",
            difference.text()
        ));
    }
}
