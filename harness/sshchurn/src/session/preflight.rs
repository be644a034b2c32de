//! What a run needs of this machine, and the checks before it.
//!
//! Owns the translation of a scenario into numbers; the limits are `doctor`'s.

use sshchurn_core::scenario::Scenario;
use sshchurn_server::ServerChoice;

use super::clients;
use super::error::SessionError;
use crate::doctor::{self, Finding, Needs, Status};

/// The checks of the client's side before a run; their findings go into its order.
///
/// # Errors
/// [`SessionError::Preflight`] when one of them forbids the run.
pub fn preflight(scenario: &Scenario, server: ServerChoice) -> Result<Vec<Finding>, SessionError> {
    let mut findings = doctor::check(connection_needs(scenario, server));
    if scenario.programs().next().is_some() {
        findings.push(doctor::client_bounds());
    }
    findings.extend(clients::missing(scenario));
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
        },
        loopback: server != ServerChoice::External,
    }
}
