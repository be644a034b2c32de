//! Interrupts. While there is something to measure the first SIGINT drains, the second aborts, and SIGTERM and SIGHUP
//! abort at once ([`install`]). After that nothing is left to cut short but the report, which takes moments: the first
//! signal of any kind lets it be written whole, the second gives it up ([`Closing`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

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

/// A task that listens for signals for as long as this is there. The handlers stay for the life of the process: what
/// nobody listens for any more is ignored.
pub(super) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The signals that a person or a CI system ends a process with.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for any of them.
    async fn any(&mut self) {
        tokio::select! {
            Some(()) = self.interrupt.recv() => {}
            Some(()) = self.terminate.recv() => {}
            Some(()) = self.hang_up.recv() => {}
        }
    }
}

/// Installs the handlers; from here on no signal ends the process before its teardown.
pub(super) fn install(
    stop: StopController,
    reason: StopReason,
    console: Console,
) -> std::io::Result<Watch> {
    let mut signals = Signals::listen()?;
    Ok(Watch(tokio::spawn(async move {
        loop {
            let (name, level) = tokio::select! {
                Some(()) = signals.interrupt.recv() => ("SIGINT", next_level(&stop)),
                Some(()) = signals.terminate.recv() => ("SIGTERM", StopLevel::Abort),
                Some(()) = signals.hang_up.recv() => ("SIGHUP", StopLevel::Abort),
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
    })))
}

/// From the last round on, and all of `sshchurn report`: one signal changes nothing, a second gives the report up.
pub(super) struct Closing {
    given_up: watch::Receiver<bool>,
    _watch: Watch,
}

impl Closing {
    /// Listens from here on.
    pub(super) fn begin(console: Console) -> std::io::Result<Self> {
        let mut signals = Signals::listen()?;
        let (sender, given_up) = watch::channel(false);
        let task = tokio::spawn(async move {
            signals.any().await;
            console
                .note("the report is written all the same; interrupt once more to do without it");
            signals.any().await;
            sender.send_replace(true);
            // The channel must stay open: its end is not a signal.
            std::future::pending::<()>().await;
        });
        Ok(Closing {
            given_up,
            _watch: Watch(task),
        })
    }

    /// Does `work` on a thread of its own. `None` when it was given up before it was done: the thread is then left
    /// behind, so `work` must be nothing that may not be cut off at any point.
    pub(super) async fn unless_given_up<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, done) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            // Nobody receives it when it was given up.
            let _ = sender.send(work());
        });
        let mut given_up = self.given_up.clone();
        tokio::select! {
            biased;
            done = done => match done {
                Ok(done) => Some(done),
                Err(_) => match thread.join() {
                    Err(panic) => std::panic::resume_unwind(panic),
                    // A thread that ends without a panic has sent.
                    Ok(()) => None,
                },
            },
            _ = given_up.wait_for(|given_up| *given_up) => None,
        }
    }
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
