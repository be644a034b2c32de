//! `sshchurn scenario`: check, list and show.

use super::args::ScenarioCommand;
use super::console::Console;
use super::error::CliError;
use crate::exit_code::ExitCode;
use crate::scenario::{Scenario, library};

pub(super) fn command(command: &ScenarioCommand, console: &Console) -> Result<ExitCode, CliError> {
    match command {
        ScenarioCommand::Check { scenarios } => Ok(check(scenarios, console)),
        ScenarioCommand::List => {
            let mut text = String::new();
            for scenario in library::all() {
                text.push_str(&format!("{:<20} {}\n", scenario.name, scenario.description));
            }
            console.result(&text);
            Ok(ExitCode::Success)
        }
        ScenarioCommand::Show { scenario } => {
            let (scenario, _) = Scenario::resolve(scenario)
                .map_err(|errors| CliError::Scenario(errors.render()))?;
            console.result(&scenario.to_toml());
            Ok(ExitCode::Success)
        }
    }
}

/// Checks all of them, so that one wrong file does not hide another.
fn check(scenarios: &[String], console: &Console) -> ExitCode {
    let mut code = ExitCode::Success;
    for name in scenarios {
        match Scenario::resolve(name) {
            Ok((scenario, origin)) => {
                console.result(&format!("{name}: ok ({}, {origin})", scenario.name))
            }
            Err(errors) => {
                console.note(&errors.render());
                code = ExitCode::Usage;
            }
        }
    }
    code
}
