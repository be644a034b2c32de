//! Interrupts: the first SIGINT drains, the second aborts; SIGTERM and SIGHUP abort at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use tokio::task::JoinHandle;

use super::console::Console;
use crate::engine::{StopController, StopLevel, StopSignal};

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

/// What the user wants of the whole command. Each run has a stop of its own that follows it, so that what ends one run
/// (its deadline, its server's death) does not end the next.
pub(super) struct Interrupts {
    signal: StopSignal,
    reason: StopReason,
}

impl Interrupts {
    /// Installs the handlers; from here on no signal ends the process before its teardown.
    pub(super) fn install(console: Console) -> std::io::Result<Self> {
        let (stop, signal) = StopController::new();
        let reason = StopReason::default();
        install(stop, reason.clone(), console)?;
        Ok(Interrupts { signal, reason })
    }

    /// Whether the user has asked to stop.
    pub(super) fn requested(&self) -> bool {
        self.signal.level() > StopLevel::Run
    }

    /// Hands on to one run what the user asks for, for as long as the answer is kept.
    pub(super) fn follow(&self, stop: &StopController, reason: &StopReason) -> AbortOnDrop {
        let (signal, why) = (self.signal.clone(), self.reason.clone());
        let (stop, reason) = (stop.clone(), reason.clone());
        AbortOnDrop(tokio::spawn(async move {
            for level in [StopLevel::Drain, StopLevel::Abort] {
                signal.at_least(level).await;
                if let Some(name) = why.get() {
                    reason.set(&name);
                }
                stop.raise(level);
            }
        }))
    }
}

/// A task that ends with its owner.
pub(super) struct AbortOnDrop(pub(super) JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn install(stop: StopController, reason: StopReason, console: Console) -> std::io::Result<()> {
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
