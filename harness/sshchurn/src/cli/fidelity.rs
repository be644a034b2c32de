//! `sshchurn fidelity`: a report in, a model beside the client that it models out.
//!
//! Owns which two strategies are meant.

use super::args::FidelityArgs;
use super::console::Console;
use super::error::CliError;
use crate::session::replay;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::ids::StrategyName;
use sshchurn_core::scenario::StrategyKind;
use sshchurn_report::{RunReport, fidelity};

/// `sshchurn fidelity`.
pub(super) fn command(args: &FidelityArgs, console: &Console) -> Result<ExitCode, CliError> {
    let report = replay::report_at(&args.run)?;
    let real = chosen(&report, "real", args.real.as_deref(), |kind| {
        kind == StrategyKind::Command
    })?;
    let model = chosen(&report, "model", args.model.as_deref(), |kind| {
        kind != StrategyKind::Command
    })?;
    let Some(held) = fidelity::fidelity(&report, &real, &model) else {
        return Err(CliError::Usage(format!(
            "no round of `{real}` or `{model}` was run"
        )));
    };
    console.show(&held, args.format, args.file.out.as_deref())?;
    Ok(held.exit)
}

/// The strategy that is named, or the only one of its kind.
fn chosen(
    report: &RunReport,
    which: &str,
    named: Option<&str>,
    of_kind: impl Fn(StrategyKind) -> bool,
) -> Result<StrategyName, CliError> {
    let strategies = &report.scenario.strategies;
    let list = |names: Vec<&str>| names.join(", ");
    if let Some(name) = named {
        return match strategies.iter().find(|strategy| strategy.name.0 == name) {
            Some(strategy) => Ok(strategy.name.clone()),
            None => Err(CliError::Usage(format!(
                "--{which} {name}: the run has no such strategy; it has {}",
                list(
                    strategies
                        .iter()
                        .map(|strategy| strategy.name.0.as_str())
                        .collect()
                )
            ))),
        };
    }
    let fitting: Vec<&StrategyName> = strategies
        .iter()
        .filter(|strategy| of_kind(strategy.kind))
        .map(|strategy| &strategy.name)
        .collect();
    match fitting[..] {
        [only] => Ok(only.clone()),
        [] => Err(CliError::Usage(format!(
            "the run has no {}; name one with `--{which}`",
            if which == "real" {
                "client under test"
            } else {
                "strategy of sshchurn's own"
            }
        ))),
        _ => Err(CliError::Usage(format!(
            "which one? Name it with `--{which}`: {}",
            list(fitting.iter().map(|name| name.0.as_str()).collect())
        ))),
    }
}
