//! per-command: a new connection for every command (Airflow SSH provider up to 5.0.2).
//!
//! The old monitor tells two kinds of errors apart. OS-level errors (refused, RST, timeout) are retried per
//! command, three tries in all, and end the task when spent; SSH-level errors (an EOF before the
//! identification string among them) are logged and swallowed, and the next poll comes one interval later.
//! So the same refusal takes different paths as RST and as EOF.

use std::time::Duration;

use futures::FutureExt;

use super::{Caller, Hands, LogPosition, Strategy, number, operator};
use crate::link::LinkSession;
use crate::ssh::{
    Command, CommandOutput, Connector, Session, Severity, severity_of_attempt, severity_of_command,
};
use sshchurn_core::vocabulary::{Phase, RetryKind, TaskFailure};

/// One connection for detect, one for submit.
pub(super) fn submit<'a, 'h, C: Connector>(
    strategy: &'a Strategy,
    hands: &'a mut Hands<'h, C>,
) -> impl Future<Output = Result<(), TaskFailure>> + Send + use<'a, 'h, C> {
    async move {
        let mut detected = false;
        loop {
            let session = operator::connect(strategy, hands, Phase::Submit, Caller::Operator)
                .await
                .map_err(|_| TaskFailure::SubmitConnect)?;
            let (command, within) = match detected {
                false => (Command::Detect, strategy.tunables.detect_timeout),
                true => (Command::Submit(hands.job), strategy.tunables.submit_timeout),
            };
            // In a box: whoever waits for a connection has no room for what it is good for.
            submit_on(session, command, within).boxed().await?;
            if std::mem::replace(&mut detected, true) {
                return Ok(());
            }
        }
    }
}

async fn submit_on<S: Session>(
    session: LinkSession<S>,
    command: Command<'_>,
    within: Duration,
) -> Result<(), TaskFailure> {
    let done = operator::submit_step(&session, command, within).await;
    session.close().await;
    done
}

/// Polls with a connection for each command until the exit code is seen.
pub(super) async fn monitor<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
) -> Result<i32, TaskFailure> {
    let mut position = LogPosition::default();
    loop {
        let exit_code = check(strategy, hands).await?;
        let new_offset = read_log(strategy, hands, position).await?;
        // What the poll would have cost undisturbed; retries are counted as attempts, not here.
        let commands = if new_offset == position.offset { 2 } else { 3 };
        hands.link.poll_ended(commands, exit_code.is_some());
        if let Some(exit_code) = exit_code {
            return Ok(exit_code);
        }
        position.offset = new_offset;
        let wait = strategy.until_next_poll(hands.waits);
        hands.link.pause(wait).await;
    }
}

/// The exit code when there is one; a swallowed error counts as still running.
async fn check<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
) -> Result<Option<i32>, TaskFailure> {
    let output = with_retries(strategy, hands, Command::Check(hands.job)).await?;
    Ok(output
        .and_then(|output| number(output.stdout.kept()))
        .and_then(|code| i32::try_from(code).ok()))
}

/// Size, then read when the log has grown; the retry of the read wraps the retry of the size, so that a read
/// that met an OS-level error asks for the size again.
async fn read_log<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
    position: LogPosition,
) -> Result<u64, TaskFailure> {
    let mut tries = 1;
    // Tries at the read's own connection: a try may have ended before, with the size.
    let mut reads = 0;
    loop {
        let read = read_log_once(strategy, hands, position, &mut reads).await;
        match read {
            Ok(offset) => return Ok(offset),
            Err(()) if tries >= strategy.tunables.command_attempts => {
                return Err(TaskFailure::Monitor);
            }
            Err(()) => {
                wait(strategy, hands, tries).await;
                tries += 1;
            }
        }
    }
}

/// One try of size and read; `Err` is an OS-level error of either (the size's own tries are spent by then).
async fn read_log_once<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
    position: LogPosition,
    reads: &mut u32,
) -> Result<u64, ()> {
    let size = with_retries(strategy, hands, Command::Size(hands.job))
        .await
        .map_err(|_| ())?
        .and_then(|output| number(output.stdout.kept()))
        .unwrap_or(0);
    if size <= position.offset {
        return Ok(position.offset);
    }
    let count = (size - position.offset).min(strategy.tunables.log_chunk_size);
    let command = Command::Read {
        job: hands.job,
        offset: position.offset,
        count,
    };
    *reads += 1;
    match once(strategy, hands, command, *reads).await {
        Ok(_) => Ok(position.offset + count),
        Err(Severity::Ssh) => Ok(position.offset),
        Err(Severity::Os) => Err(()),
    }
}

/// One command with its tries; `None` is a swallowed SSH-level error.
async fn with_retries<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
    command: Command<'_>,
) -> Result<Option<CommandOutput>, TaskFailure> {
    let mut tries = 1;
    loop {
        match once(strategy, hands, command, tries).await {
            Ok(output) => return Ok(Some(output)),
            Err(Severity::Ssh) => return Ok(None),
            Err(Severity::Os) if tries >= strategy.tunables.command_attempts => {
                return Err(TaskFailure::Monitor);
            }
            Err(Severity::Os) => {
                wait(strategy, hands, tries).await;
                tries += 1;
            }
        }
    }
}

/// One connection, one command.
async fn once<C: Connector>(
    strategy: &Strategy,
    hands: &mut Hands<'_, C>,
    command: Command<'_>,
    ordinal: u32,
) -> Result<CommandOutput, Severity> {
    // No keepalive on the old monitor's connections.
    let limits = &strategy.monitor_once;
    let session = hands
        .link
        .connect(Phase::Poll, ordinal, limits)
        .await
        .map_err(|outcome| severity_of_attempt(&outcome))?;
    let result = session
        .run(command, strategy.tunables.command_timeout)
        .await;
    session.close().await;
    result.map_err(|outcome| severity_of_command(&outcome))
}

/// Exponential: 1 s after the first try, 2 s after the second, at least 1 s, at most 10 s.
async fn wait<C: Connector>(strategy: &Strategy, hands: &mut Hands<'_, C>, tries: u32) {
    let seconds = 2_f64
        .powi(i32::try_from(tries).unwrap_or(i32::MAX) - 1)
        .clamp(1.0, 10.0);
    let wait: Duration = strategy.seconds(seconds);
    hands
        .link
        .wait_to_retry(Phase::Poll, RetryKind::Command, wait)
        .await;
}
