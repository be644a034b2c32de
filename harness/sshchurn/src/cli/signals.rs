//! Interrupts. While there is something to measure the first SIGINT drains, the second aborts, and SIGTERM and SIGHUP
//! abort at once. After that nothing is left to cut short but the report, which takes moments: the first signal of any
//! kind lets it be written whole, the second gives it up ([`Closing`]).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::console::Console;
use sshchurn_engine::{StopController, StopLevel, StopSignal};

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
    /// Reports being closed now: 0 or 1.
    closing: Arc<AtomicU32>,
    /// Whether the run under way has anything to report.
    measuring: Arc<AtomicBool>,
    given_up: watch::Receiver<bool>,
    _watch: AbortOnDrop,
}

impl Interrupts {
    /// Installs the handlers; from here on no signal ends the process before its teardown.
    pub(super) fn install(console: Console) -> std::io::Result<Self> {
        let (stop, signal) = StopController::new();
        let (give_up, given_up) = watch::channel(false);
        let handler = Handler {
            signals: Signals::listen()?,
            stop,
            reason: StopReason::default(),
            closing: Arc::default(),
            measuring: Arc::default(),
            give_up,
            console,
        };
        Ok(Interrupts {
            signal,
            reason: handler.reason.clone(),
            closing: Arc::clone(&handler.closing),
            measuring: Arc::clone(&handler.measuring),
            given_up,
            _watch: AbortOnDrop(tokio::spawn(handler.run())),
        })
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

    /// A run begins; until [`Interrupts::measuring`] a report of it would be empty.
    pub(super) fn nothing_measured_yet(&self) {
        self.measuring.store(false, SeqCst);
    }

    /// From here on whatever happens to the run is reported.
    pub(super) fn measuring(&self) {
        self.measuring.store(true, SeqCst);
    }

    /// From here until the answer is dropped there is nothing to drain or abort, only a report to be written.
    pub(super) fn closing(&self) -> Closing<'_> {
        self.closing.fetch_add(1, SeqCst);
        Closing(self)
    }
}

/// A task that ends with its owner.
pub(super) struct AbortOnDrop(pub(super) JoinHandle<()>);

impl Drop for AbortOnDrop {
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
}

/// Listens for the life of the command.
struct Handler {
    signals: Signals,
    stop: StopController,
    reason: StopReason,
    closing: Arc<AtomicU32>,
    measuring: Arc<AtomicBool>,
    give_up: watch::Sender<bool>,
    console: Console,
}

impl Handler {
    async fn run(mut self) {
        // Signals that came while a report was being closed.
        let mut while_closing = 0;
        loop {
            let (name, level) = tokio::select! {
                Some(()) = self.signals.interrupt.recv() => ("SIGINT", next_level(&self.stop)),
                Some(()) = self.signals.terminate.recv() => ("SIGTERM", StopLevel::Abort),
                Some(()) = self.signals.hang_up.recv() => ("SIGHUP", StopLevel::Abort),
                () = drain_deadline(&self.stop) => ("drain deadline", StopLevel::Abort),
            };
            if self.closing.load(SeqCst) > 0 {
                // What is measured is measured; but no further run begins.
                self.reason.set(name);
                self.stop.raise(StopLevel::Abort);
                while_closing += 1;
                if while_closing == 1 {
                    self.console.note(
                        "the report is written all the same; interrupt once more to do without it",
                    );
                } else {
                    self.give_up.send_replace(true);
                }
                continue;
            }
            self.reason.set(name);
            self.stop.raise(level);
            match level {
                _ if !self.measuring.load(SeqCst) => self
                    .console
                    .note("stopping now; this run has measured nothing yet and gets no report"),
                StopLevel::Drain => self.console.note(&format!(
                    "interrupted: letting running tasks finish (at most {} s); press Ctrl-C again to stop now",
                    DRAIN_WITHIN.as_secs()
                )),
                _ => self.console.note("stopping now; the partial report follows"),
            }
        }
    }
}

/// From the last round on, and all of `sshchurn report`: one signal changes nothing, a second gives the report up.
pub(super) struct Closing<'a>(&'a Interrupts);

impl Closing<'_> {
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
        let mut given_up = self.0.given_up.clone();
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

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.closing.fetch_sub(1, SeqCst);
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
