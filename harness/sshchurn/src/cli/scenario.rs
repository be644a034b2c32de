//! `sshchurn scenario`: check, list and show.

use super::args::ScenarioCommand;
use super::console::Console;
use super::error::CliError;
use crate::session::{SessionError, parse_thresholds};
use crate::shipped::SCENARIOS;
use sshchurn_core::exit_code::ExitCode;

pub(super) fn command(command: &ScenarioCommand, console: &Console) -> Result<ExitCode, CliError> {
    match command {
        ScenarioCommand::Check { scenarios } => check(scenarios, console),
        ScenarioCommand::List => {
            let mut text = String::new();
            for scenario in SCENARIOS.all() {
                text.push_str(&format!("{:<20} {}\n", scenario.name, scenario.description));
            }
            console.result(&text)?;
            Ok(ExitCode::Success)
        }
        ScenarioCommand::Show { scenario } => {
            let (scenario, _) = SCENARIOS
                .resolve(scenario)
                .map_err(|errors| CliError::Scenario(errors.render()))?;
            console.result(&scenario.to_toml())?;
            Ok(ExitCode::Success)
        }
    }
}

/// Checks all of them, so that one wrong file does not hide another: everything that `run` checks before it starts.
fn check(scenarios: &[String], console: &Console) -> Result<ExitCode, CliError> {
    let mut code = ExitCode::Success;
    for name in scenarios {
        let checked = SCENARIOS
            .resolve(name)
            .map_err(|errors| CliError::Scenario(errors.render()))
            .and_then(|(scenario, origin)| {
                parse_thresholds(&scenario.gate, &scenario.strategy_names())?;
                Ok((scenario, origin))
            });
        match checked {
            Ok((scenario, origin)) => {
                console.result(&format!("{name}: ok ({}, {origin})", scenario.name))?;
            }
            Err(error @ CliError::Session(SessionError::Thresholds(_))) => {
                console.note(&format!("{name}: [[gate]] threshold:\n{error}"));
                code = ExitCode::Usage;
            }
            Err(error) => {
                console.note(&error.to_string());
                code = ExitCode::Usage;
            }
        }
    }
    Ok(code)
}
