//! `sshchurn doctor`, and the same checks before each run.

use super::args::{DoctorArgs, TargetArg};
use super::console::Console;
use super::error::CliError;
use crate::doctor::{self, Finding, Needs, Status};
use crate::shipped::SCENARIOS;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::scenario::Scenario;
use sshchurn_server as target;

/// Prints every finding with its fix.
pub(super) async fn command(args: DoctorArgs, console: Console) -> Result<ExitCode, CliError> {
    let (scenario, _) = SCENARIOS
        .resolve(&args.scenario)
        .map_err(|errors| CliError::Scenario(errors.render()))?;
    let mut findings = doctor::check(needs(&scenario, TargetArg::Auto));
    findings.extend(targets().await);
    for finding in &findings {
        let mark = match finding.status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Failure => "FAILURE",
        };
        console.result(&format!(
            "{mark:<8} {:<16} {}",
            finding.check, finding.found
        ))?;
        if let Some(fix) = &finding.fix {
            console.result(&format!("{:<25} → {fix}", ""))?;
        }
    }
    let worst = findings.iter().map(|finding| finding.status).max();
    Ok(if worst == Some(Status::Failure) {
        ExitCode::Environment
    } else {
        ExitCode::Success
    })
}

/// The checks of the client's side before a run; a failure stops it.
pub(super) fn preflight(scenario: &Scenario, target: TargetArg) -> Result<Vec<Finding>, CliError> {
    let findings = doctor::check(needs(scenario, target));
    let failures: Vec<String> = findings
        .iter()
        .filter(|finding| finding.status == Status::Failure)
        .map(Finding::sentence)
        .collect();
    if failures.is_empty() {
        Ok(findings)
    } else {
        Err(CliError::Preflight(failures.join("\n")))
    }
}

fn needs(scenario: &Scenario, target: TargetArg) -> Needs {
    Needs {
        connections: scenario
            .arrival
            .max_in_flight
            .unwrap_or(scenario.tasks)
            .min(scenario.tasks),
        // The embedded server has the other end of every connection, and three pipes for each running command.
        descriptors_per_connection: match target {
            TargetArg::Embedded | TargetArg::Auto => 6,
            TargetArg::Docker | TargetArg::Local | TargetArg::External => 2,
        },
        loopback: target != TargetArg::External,
    }
}

/// Which servers could be started here.
async fn targets() -> Vec<Finding> {
    let docker = match target::docker::probe(&crate::shipped::RECIPE).await {
        Ok(found) => Finding::ok("Docker engine", found),
        Err(error) => missing("Docker engine", &error),
    };
    let sshd = match target::local::probe().await {
        Ok(found) => Finding::ok("sshd", found),
        Err(error) => missing("sshd", &error),
    };
    let mut findings = vec![docker, sshd];
    if findings.iter().all(|finding| finding.status != Status::Ok) {
        findings.push(Finding::warning(
            "target",
            "neither Docker nor sshd: runs would use the embedded stand-in",
            "install one of them for numbers of a real OpenSSH",
        ));
    }
    findings
}

/// A server that cannot be had is a warning: there are others.
fn missing(check: &'static str, error: &target::ServerError) -> Finding {
    match error {
        target::ServerError::Unavailable { what, fix } => {
            Finding::warning(check, what.clone(), fix.clone())
        }
        other => Finding::warning(check, other.to_string(), "see the message"),
    }
}
