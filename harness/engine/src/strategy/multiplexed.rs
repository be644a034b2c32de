//! multiplexed: tasks share connections, a channel each, all at the same time. What ControlMaster and ControlPersist do, and
//! the best that a client can do against `MaxStartups`; `MaxSessions` (session.c, `session_new`) is then what limits it.
//!
//! Owns the one command of a task, and what its end means. No job directory, nothing to watch and nothing to remove.

use super::{Caller, Hands, Strategy, operator};
use crate::share::Part;
use crate::ssh::{Command, Connector};
use sshchurn_core::vocabulary::{Phase, TaskFailure};

/// Runs the task's command on the shared connection, which its first task makes. A channel that the server refuses fails
/// the task: this client makes no connection of its own instead, as `ssh` would.
pub(super) async fn run<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
    part: Part<C::Session>,
) -> Result<(), TaskFailure> {
    if part.is_first() {
        let connection = operator::connect(strategy, hands, Phase::Submit, Caller::Passing).await;
        part.say(connection.ok());
    }
    let ran = match part.hear().await {
        None => Err(TaskFailure::SubmitConnect),
        Some(connection) => {
            let command = Command::Run(&strategy.tunables.command);
            let within = strategy.tunables.command_timeout;
            match hands.link.run_on(&connection, command, within).await {
                Ok(output) if output.exit_status == 0 => Ok(()),
                Ok(_) => Err(TaskFailure::JobExit),
                Err(_) => Err(TaskFailure::SubmitCommand),
            }
        }
    };
    part.finish().await;
    ran
}
