//! `sshchurn doctor`: every check of this machine, printed with its fix.

use super::args::DoctorArgs;
use super::console::Console;
use super::error::CliError;
use crate::doctor::{self, Finding, Status};
use crate::session::connection_needs;
use crate::shipped::SCENARIOS;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_server::{self as server, ServerChoice};

/// Prints every finding with its fix.
pub(super) async fn command(args: DoctorArgs, console: Console) -> Result<ExitCode, CliError> {
    let (scenario, _) = SCENARIOS
        .resolve(&args.scenario)
        .map_err(|errors| CliError::Scenario(errors.render()))?;
    let mut findings = doctor::check(connection_needs(&scenario, ServerChoice::Auto));
    findings.push(doctor::client_bounds());
    findings.extend(servers().await);
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

/// Which servers could be started here.
async fn servers() -> Vec<Finding> {
    let docker = match server::docker::probe(&crate::shipped::RECIPE).await {
        Ok(found) => Finding::ok("Docker engine", found),
        Err(error) => missing("Docker engine", &error),
    };
    let sshd = match server::local::probe().await {
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
fn missing(check: &'static str, error: &server::ServerError) -> Finding {
    match error {
        server::ServerError::Unavailable { what, fix } => {
            Finding::warning(check, what.clone(), fix.clone())
        }
        other => Finding::warning(check, other.to_string(), "see the message"),
    }
}
