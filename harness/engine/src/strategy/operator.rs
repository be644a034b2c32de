//! The operator side, the same in all strategies that log in: connect attempts with a fixed wait plus jitter, and the
//! cleanup rounds. Only the numbers differ (3 attempts and 1 round before, 5 and 3 after).

use std::time::Duration;

use futures::FutureExt;

use super::{Caller, Hands, Strategy};
use crate::link::LinkSession;
use crate::ssh::{Command, Connector, Session};
use sshchurn_core::vocabulary::{AttemptOutcome, CleanupResult, Phase, RetryKind, TaskFailure};

/// Up to `conn_retry_attempts` attempts, waiting `conn_retry_wait` plus uniform(0, `conn_retry_jitter`) between.
pub(super) fn connect<'a, 'h, C: Connector>(
    strategy: &'a Strategy,
    hands: &'a mut Hands<'h, C>,
    phase: Phase,
    caller: Caller,
) -> impl Future<Output = Result<LinkSession<C::Session>, AttemptOutcome>> + Send + use<'a, 'h, C> {
    async move {
        let mut ordinal = 1;
        loop {
            let connecting = hands.link.connect(phase, ordinal, strategy.limits(caller));
            match connecting.await {
                Ok(session) => return Ok(session),
                Err(outcome) if ordinal >= strategy.tunables.conn_retry_attempts => {
                    return Err(outcome);
                }
                Err(_) => {}
            }
            let jitter = strategy.tunables.conn_retry_jitter;
            let wait = strategy.tunables.conn_retry_wait + hands.waits.duration(jitter);
            hands
                .link
                .wait_to_retry(phase, RetryKind::Connect, wait)
                .await;
            ordinal += 1;
        }
    }
}

/// Runs one submitting command on an established connection; its failure fails the task.
pub(super) fn submit_step<'a, S: Session>(
    session: &'a LinkSession<S>,
    command: Command<'a>,
    within: Duration,
) -> impl Future<Output = Result<(), TaskFailure>> + Send + use<'a, S> {
    session.run(command, within).map(|ran| match ran {
        Ok(output) if output.exit_status == 0 => Ok(()),
        _ => Err(TaskFailure::SubmitCommand),
    })
}

/// `cleanup_retries` rounds, each with its own connect attempts, `min(2^round, 10)` s between rounds; then given
/// up and the directory stays.
pub(super) async fn cleanup<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
) -> CleanupResult {
    let rounds = strategy.tunables.cleanup_retries;
    let mut result = CleanupResult::ConnectFailed;
    for round in 1..=rounds {
        result = cleanup_round(strategy, hands).await;
        if result == CleanupResult::Removed {
            break;
        }
        if round < rounds {
            let wait = strategy.seconds(
                2_f64
                    .powi(i32::try_from(round).unwrap_or(i32::MAX))
                    .min(10.0),
            );
            hands
                .link
                .wait_to_retry(Phase::Cleanup, RetryKind::CleanupRound, wait)
                .await;
        }
    }
    result
}

async fn cleanup_round<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
) -> CleanupResult {
    let connected = connect(strategy, hands, Phase::Cleanup, Caller::Operator).await;
    let Ok(session) = connected else {
        return CleanupResult::ConnectFailed;
    };
    let removed = session
        .run(
            Command::Cleanup(hands.job),
            strategy.tunables.cleanup_timeout,
        )
        .await;
    session.close().await;
    match removed {
        Ok(output) if output.exit_status == 0 => CleanupResult::Removed,
        _ => CleanupResult::CommandFailed,
    }
}
