//! `sshchurn compare`: reports in, comparison out.
//!
//! Owns what the arguments of a comparison mean, for the baseline of `sshchurn run` as well.

use super::args::{CompareArgs, CompareSettingsArgs};
use super::console::Console;
use super::error::CliError;
use crate::session::{SessionError, experiment_differences, replay};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::compare::{Difference, GateMetric, MinimumEffect};
use sshchurn_core::ids::StrategyName;
use sshchurn_report::comparison::{self, CompareRequest};

/// `sshchurn compare`.
pub(super) fn command(args: &CompareArgs, console: &Console) -> Result<ExitCode, CliError> {
    let base = replay::report_at(&args.base)?;
    let new = replay::report_at(&args.new)?;
    let request = request(&args.settings, &base.scenario.strategy_names())?;
    let compared = comparison::compare(&base, &new, &request);
    let differences = experiment_differences(&compared.differences);
    if compared.refused {
        return Err(SessionError::OtherExperiment(differences).into());
    }
    warn(&differences, console);
    console.show(&compared, args.format, args.file.out.as_deref())?;
    Ok(compared.exit)
}

/// What is asked for, its metrics checked against the strategies there are.
pub(super) fn request(
    settings: &CompareSettingsArgs,
    strategies: &[StrategyName],
) -> Result<CompareRequest, CliError> {
    let gates = settings
        .gate_on
        .iter()
        .map(|text| {
            GateMetric::parse(text, strategies)
                .map_err(|error| CliError::Usage(format!("--gate-on {text}: {}", error.problem)))
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
        varied: settings.varied.clone(),
    })
}

/// Different experiments compared on request: said on stderr too, where it is not lost with the table.
pub(super) fn warn(differences: &[Difference], console: &Console) {
    for difference in differences {
        console.note(&format!(
            "warning: another experiment is compared: {}",
            difference.text()
        ));
    }
}
