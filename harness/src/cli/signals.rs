//! Interrupts: the first SIGINT drains, the second aborts; SIGTERM and SIGHUP abort at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::console::Console;
use crate::engine::{StopController, StopLevel};

/// How long tasks under way may go on after the first interrupt before they are abandoned.
pub(super) const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// Why the run is being stopped; the first reason wins.
#[derive(Debug, Clone, Default)]
pub(super) struct StopReason(Arc<Mutex<Option<String>>>);

impl StopReason {
    /// Sets the reason unless there is one.
    pub(super) fn set(&self, reason: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| reason.to_owned());
    }

    /// The reason, when the user stopped the run.
    pub(super) fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Installs the handlers; from here on no signal ends the process before its teardown.
pub(super) fn install(
    stop: StopController,
    reason: StopReason,
    console: Console,
) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        loop {
            let (name, level) = tokio::select! {
                Some(()) = interrupt.recv() => ("SIGINT", next_level(&stop)),
                Some(()) = terminate.recv() => ("SIGTERM", StopLevel::Abort),
                Some(()) = hang_up.recv() => ("SIGHUP", StopLevel::Abort),
                () = drain_deadline(&stop) => ("drain deadline", StopLevel::Abort),
            };
            reason.set(name);
            stop.raise(level);
            match level {
                StopLevel::Drain => console.note(&format!(
                    "interrupted: letting running tasks finish (at most {} s); press Ctrl-C again to stop now",
                    DRAIN_WITHIN.as_secs()
                )),
                _ => console.note("stopping now; the partial report follows"),
            }
        }
    });
    Ok(())
}

fn next_level(stop: &StopController) -> StopLevel {
    match stop.level() {
        StopLevel::Run => StopLevel::Drain,
        StopLevel::Drain | StopLevel::Abort => StopLevel::Abort,
    }
}

/// Passes when a drain has taken too long; never when there is no drain.
async fn drain_deadline(stop: &StopController) {
    if stop.level() == StopLevel::Drain {
        tokio::time::sleep(DRAIN_WITHIN).await;
    } else {
        std::future::pending::<()>().await;
    }
}
