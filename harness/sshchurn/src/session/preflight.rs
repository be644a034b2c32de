//! What a run needs of this machine, and the checks before it.
//!
//! Owns the translation of a scenario into numbers; the limits are `doctor`'s, and what a server needs of its machine is the
//! server's to know.

use sshchurn_core::scenario::Scenario;
use sshchurn_server::{ServerChoice, ServerError, missing_here};

use super::clients;
use super::error::SessionError;
use crate::doctor::{self, Finding, Needs, Status};

/// Most tasks of a round on a real server.
const MOST_TASKS: u32 = 100_000;

/// The checks of the client's side before a run, and of the server's where this machine is its machine too; their findings go into its order.
///
/// # Errors
/// [`SessionError::Preflight`] when one of them forbids the run, [`SessionError::TooManyTasks`].
pub fn preflight(scenario: &Scenario, server: ServerChoice) -> Result<Vec<Finding>, SessionError> {
    if server == ServerChoice::Simulated {
        // It opens nothing, and waits for nothing.
        return Ok(Vec::new());
    }
    if scenario.tasks > MOST_TASKS {
        return Err(SessionError::TooManyTasks {
            tasks: scenario.tasks,
            most: MOST_TASKS,
        });
    }
    let mut findings = doctor::check(connection_needs(scenario, server));
    if scenario.programs().next().is_some() {
        findings.push(doctor::client_bounds());
    }
    findings.extend(clients::missing(scenario));
    findings.extend(
        missing_here(server, &scenario.sshd)
            .into_iter()
            .map(server_lacks),
    );
    let failures: Vec<Finding> = findings
        .iter()
        .filter(|finding| finding.status == Status::Failure)
        .cloned()
        .collect();
    if failures.is_empty() {
        Ok(findings)
    } else {
        Err(SessionError::Preflight(failures))
    }
}

/// What the server's machine lacks, or could not be asked for.
fn server_lacks(error: ServerError) -> Finding {
    const CHECK: &str = "server";
    match error {
        ServerError::Unavailable { what, fix } => Finding::failure(CHECK, what, fix),
        other => {
            let why = std::error::Error::source(&other)
                .map_or_else(String::new, |cause| format!(": {cause}"));
            Finding::failure(
                CHECK,
                format!("{other}{why}"),
                "fix that, or use `--target docker`",
            )
        }
    }
}

/// What a scenario needs on a kind of server.
#[must_use]
pub fn connection_needs(scenario: &Scenario, server: ServerChoice) -> Needs {
    Needs {
        connections: scenario
            .arrival
            .max_in_flight
            .unwrap_or(scenario.tasks)
            .min(scenario.tasks),
        // The embedded server has the other end of every connection, and three pipes for each running command.
        descriptors_per_connection: match server {
            ServerChoice::Embedded | ServerChoice::Auto => 6,
            ServerChoice::Docker | ServerChoice::Local | ServerChoice::External => 2,
            ServerChoice::Simulated => 0,
        },
        loopback: server != ServerChoice::External,
    }
}
