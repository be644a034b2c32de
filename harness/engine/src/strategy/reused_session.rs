//! reused-session: one connection for detect and submit, one held through the whole poll loop, one for cleanup
//! (Airflow SSH provider 5.0.3 and later, apache/airflow#68115).
//!
//! Any failure of the monitoring connection, in connecting or in a command, costs one unit of a budget that only
//! a whole successful poll restores: a connection that authenticates but whose channels are refused
//! (`MaxSessions`) must still run out.

use futures::FutureExt;

use super::{Caller, Hands, LogPosition, Strategy, number, operator};
use crate::link::LinkSession;
use crate::ssh::{Command, Connector, Job, Session};
use sshchurn_core::scenario::Tunables;
use sshchurn_core::vocabulary::{CommandOutcome, Phase, RetryKind, TaskFailure};

/// Detect and submit on one connection.
pub(super) fn submit<'a, 'h, C: Connector>(
    strategy: &'a Strategy,
    hands: &'a mut Hands<'h, C>,
) -> impl Future<Output = Result<(), TaskFailure>> + Send + use<'a, 'h, C> {
    async move {
        let session = operator::connect(strategy, hands, Phase::Submit, Caller::Operator)
            .await
            .map_err(|_| TaskFailure::SubmitConnect)?;
        // In a box: whoever waits for a connection has no room for what it is good for.
        submit_on(session, strategy, hands.job).boxed().await
    }
}

async fn submit_on<S: Session>(
    session: LinkSession<S>,
    strategy: &Strategy,
    job: &Job,
) -> Result<(), TaskFailure> {
    let Tunables {
        detect_timeout,
        submit_timeout,
        ..
    } = strategy.tunables;
    let mut done = operator::submit_step(&session, Command::Detect, detect_timeout).await;
    if done.is_ok() {
        done = operator::submit_step(&session, Command::Submit(job), submit_timeout).await;
    }
    session.close().await;
    done
}

/// Polls over one connection, made anew when it fails, until the exit code is seen or the budget is spent.
pub(super) async fn monitor<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
) -> Result<i32, TaskFailure> {
    let mut position = LogPosition::default();
    let mut held: Option<LinkSession<C::Session>> = None;
    let mut failures = 0_u32;
    // Tries at the connection that is wanted now. Failures are more: a command's cost an established connection, and the
    // next one is another.
    let mut tries = 0_u32;
    loop {
        let connected = match held.take() {
            Some(session) => Ok(session),
            None => {
                tries += 1;
                let limits = &strategy.monitor;
                let connected = hands.link.connect(Phase::Poll, tries, limits).await;
                if connected.is_ok() {
                    tries = 0;
                }
                connected
            }
        };
        let polled = match connected {
            Err(_) => None,
            Ok(mut session) => match poll(strategy, hands, &mut session, position).await {
                Ok(polled) => {
                    held = Some(session);
                    Some(polled)
                }
                Err(_) => {
                    session.close().await;
                    None
                }
            },
        };
        let Some((exit_code, offset)) = polled else {
            failures += 1;
            if failures > strategy.tunables.max_reconnect_attempts {
                return Err(TaskFailure::Monitor);
            }
            let base = strategy.seconds(
                2_f64
                    .powi(i32::try_from(failures - 1).unwrap_or(i32::MAX))
                    .min(30.0),
            );
            let wait = base + hands.waits.duration(base);
            hands
                .link
                .wait_to_retry(Phase::Poll, RetryKind::Reconnect, wait)
                .await;
            continue;
        };
        failures = 0;
        hands.link.poll_ended(
            if offset == position.offset { 2 } else { 3 },
            exit_code.is_some(),
        );
        if let Some(exit_code) = exit_code {
            if let Some(session) = held {
                session.close().await;
            }
            return Ok(exit_code);
        }
        position.offset = offset;
        let wait = strategy.until_next_poll(hands.waits);
        hands.link.pause(wait).await;
    }
}

/// One whole poll on the held connection: check, size, and read when the log has grown.
async fn poll<C: Connector>(
    strategy: &Strategy,
    hands: &Hands<'_, C>,
    session: &mut LinkSession<C::Session>,
    position: LogPosition,
) -> Result<(Option<i32>, u64), CommandOutcome> {
    let within = strategy.tunables.command_timeout;
    let check = session.run(Command::Check(hands.job), within).await?;
    let exit_code = number(check.stdout.kept()).and_then(|code| i32::try_from(code).ok());
    let size = session.run(Command::Size(hands.job), within).await?;
    let size = number(size.stdout.kept()).unwrap_or(0);
    if size <= position.offset {
        return Ok((exit_code, position.offset));
    }
    let count = (size - position.offset).min(strategy.tunables.log_chunk_size);
    let read = Command::Read {
        job: hands.job,
        offset: position.offset,
        count,
    };
    session.run(read, within).await?;
    Ok((exit_code, position.offset + count))
}
