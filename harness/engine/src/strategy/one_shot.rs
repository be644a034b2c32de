//! one-shot: one connection, one command, the end. What git over ssh, rsync, cron and Ansible without ControlPersist do,
//! most of which try once and then give up (`conn_retry_attempts` 1).
//!
//! Owns the one command and what its end means for the task. No job directory, nothing to watch and nothing to remove.

use super::{Caller, Hands, Strategy, operator};
use crate::ssh::{Command, Connector};
use sshchurn_core::vocabulary::{Phase, TaskFailure};

/// Connects, runs the command and closes. An exit status other than 0 fails the task, as it fails whoever waits for it.
pub(super) async fn run<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
) -> Result<(), TaskFailure> {
    let session = operator::connect(strategy, hands, Phase::Submit, Caller::Passing)
        .await
        .map_err(|_| TaskFailure::SubmitConnect)?;
    let ran = session
        .run(
            Command::Run(&strategy.tunables.command),
            strategy.tunables.command_timeout,
        )
        .await;
    session.close().await;
    match ran {
        Ok(output) if output.exit_status == 0 => Ok(()),
        Ok(_) => Err(TaskFailure::JobExit),
        Err(_) => Err(TaskFailure::SubmitCommand),
    }
}
