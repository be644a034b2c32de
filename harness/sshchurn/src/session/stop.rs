//! The stop protocol: what a signal does, which depends on how far the run is.
//!
//! While there is something to measure the first SIGINT drains, the second aborts, and SIGTERM and SIGHUP abort at
//! once. After that nothing is left to cut short but the report, which takes moments: the first signal of any kind lets
//! it be written whole, the second gives it up. Owns these rules, in [`State::answer`] alone. Where signals come from is
//! the process's business; the words a user reads are the observer's.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use sshchurn_engine::{StopController, StopLevel, StopSignal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::AbortOnDropHandle;

use super::notice::{Notice, Observer};

/// How long tasks under way may go on after the first interrupt before they are abandoned.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(30);

/// What a person or a CI system ends a process with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
    /// SIGHUP.
    HangUp,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Until the server is ready: a report would be empty.
    Preparing,
    /// Whatever happens to the run is reported.
    Measuring,
    /// From the end of the last round on, and all of rendering a report: nothing is left to drain or abort.
    Closing,
}

/// What a signal has led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignalAnswer {
    /// Nothing was measured yet: the run ends now, without a report.
    EndsWithoutReport,
    /// Tasks under way may finish within [`DRAIN_WITHIN`].
    Drains,
    /// Tasks under way are abandoned; a partial report follows.
    Aborts,
    /// The report is written all the same.
    ReportGoesOn,
    /// The report is given up.
    ReportGivenUp,
    /// The sweep ends with the run under way.
    EndsAfterSweepRun,
    /// The sweep ends now; the run under way is abandoned and not recorded.
    AbandonsSweepRun,
}

/// Why a run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StopCause {
    Signal(Signal),
    DrainDeadline,
    OutOfTime,
    ServerDied,
}

impl StopCause {
    /// The word in the ledger.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            StopCause::Signal(Signal::Interrupt) => "SIGINT",
            StopCause::Signal(Signal::Terminate) => "SIGTERM",
            StopCause::Signal(Signal::HangUp) => "SIGHUP",
            StopCause::DrainDeadline => "drain deadline",
            StopCause::OutOfTime => "max_duration",
            StopCause::ServerDied => "the server under test died",
        }
    }
}

/// Everything the protocol remembers.
#[derive(Debug, Clone, Copy)]
struct State {
    stage: Stage,
    level: StopLevel,
    /// The first one.
    cause: Option<StopCause>,
    /// What became of the report that is being closed.
    report: Report,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Report {
    Undisturbed,
    InsistedOn,
    GivenUp,
}

impl State {
    /// Takes a signal, or that a drain has lasted too long; `None` where that changes nothing.
    fn answer(&mut self, cause: StopCause) -> Option<SignalAnswer> {
        let level = match (cause, self.level) {
            // A drain that ended in time.
            (StopCause::DrainDeadline, StopLevel::Run | StopLevel::Abort) => return None,
            (StopCause::Signal(Signal::Interrupt), StopLevel::Run) => StopLevel::Drain,
            (
                StopCause::Signal(_)
                | StopCause::DrainDeadline
                | StopCause::OutOfTime
                | StopCause::ServerDied,
                _,
            ) => StopLevel::Abort,
        };
        self.cause.get_or_insert(cause);
        match self.stage {
            Stage::Preparing => {
                self.level = level;
                Some(SignalAnswer::EndsWithoutReport)
            }
            Stage::Measuring => {
                self.level = level;
                Some(match level {
                    StopLevel::Run | StopLevel::Drain => SignalAnswer::Drains,
                    StopLevel::Abort => SignalAnswer::Aborts,
                })
            }
            Stage::Closing => {
                // What is measured is measured; but no further run begins.
                self.level = StopLevel::Abort;
                if cause == StopCause::DrainDeadline {
                    return None;
                }
                Some(match self.report {
                    Report::Undisturbed => {
                        self.report = Report::InsistedOn;
                        SignalAnswer::ReportGoesOn
                    }
                    Report::InsistedOn | Report::GivenUp => {
                        self.report = Report::GivenUp;
                        SignalAnswer::ReportGivenUp
                    }
                })
            }
        }
    }
}

/// What the user wants of a whole command, which may be several runs. Each run has a stop of its own that follows it,
/// so that what ends one run (its deadline, its server's death) does not end the next.
#[derive(Debug)]
pub struct Interrupts {
    state: watch::Sender<State>,
    _listening: AbortOnDropHandle<()>,
}

impl Interrupts {
    /// Takes signals from `signals` and tells `observer` what they led to. Must be called within a tokio runtime.
    #[must_use]
    pub fn listen(
        mut signals: mpsc::UnboundedReceiver<Signal>,
        observer: impl Observer + 'static,
    ) -> Self {
        let (state, _) = watch::channel(State {
            stage: Stage::Preparing,
            level: StopLevel::Run,
            cause: None,
            report: Report::Undisturbed,
        });
        let shared = state.clone();
        let listening = async move {
            loop {
                let cause = tokio::select! {
                    Some(signal) = signals.recv() => StopCause::Signal(signal),
                    () = drain_deadline(&shared) => StopCause::DrainDeadline,
                    else => return,
                };
                let mut answer = None;
                shared.send_modify(|state| answer = state.answer(cause));
                if let Some(answer) = answer {
                    observer.notice(Notice::Interrupted(answer));
                }
            }
        };
        Interrupts {
            state,
            _listening: AbortOnDropHandle::new(tokio::spawn(listening)),
        }
    }

    /// Nobody can interrupt. Must be called within a tokio runtime.
    #[must_use]
    pub fn none() -> Self {
        let (_, signals) = mpsc::unbounded_channel();
        Interrupts::listen(signals, |_: Notice| {})
    }

    /// Whether the user has asked to stop.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.state.borrow().level > StopLevel::Run
    }

    /// Passes when the user has asked to stop.
    pub async fn asked(&self) {
        let mut state = self.state.subscribe();
        // The sender is this struct's own.
        let _ = state.wait_for(|state| state.level > StopLevel::Run).await;
    }

    /// Says how far the run is. Rendering a report outside a run is [`Stage::Closing`] from its beginning.
    pub fn enter(&self, stage: Stage) {
        self.state.send_modify(|state| state.stage = stage);
    }

    /// Hands on to one run what the user asks for, for as long as the answer is kept.
    pub(super) fn follow(&self, stop: &RunStop) -> AbortOnDropHandle<()> {
        let (mut state, stop) = (self.state.subscribe(), stop.clone());
        let already = *state.borrow();
        if let Some(cause) = already.cause {
            stop.ask(cause, already.level);
        }
        AbortOnDropHandle::new(tokio::spawn(async move {
            for level in [StopLevel::Drain, StopLevel::Abort] {
                let Ok(asked) = state
                    .wait_for(|state| state.level >= level)
                    .await
                    .map(|state| *state)
                else {
                    return;
                };
                if let Some(cause) = asked.cause {
                    stop.ask(cause, asked.level);
                }
            }
        }))
    }

    /// Does `work` of closing a run on a thread of its own. `None` when it was given up before it was done: the thread
    /// is then left behind, so `work` must be nothing that may not be cut off at any point.
    pub async fn unless_given_up<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (sender, done) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            // Nobody receives it when it was given up.
            let _ = sender.send(work());
        });
        let mut state = self.state.subscribe();
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
            _ = state.wait_for(|state| state.report == Report::GivenUp) => None,
        }
    }
}

/// Passes when a drain has taken too long; never when there is none.
async fn drain_deadline(state: &watch::Sender<State>) {
    if state.borrow().level == StopLevel::Drain {
        tokio::time::sleep(DRAIN_WITHIN).await;
    } else {
        std::future::pending::<()>().await;
    }
}

/// The stop of one run.
#[derive(Debug, Clone)]
pub(super) struct RunStop {
    controller: StopController,
    signal: StopSignal,
    cause: Arc<OnceLock<StopCause>>,
}

impl RunStop {
    pub(super) fn new() -> Self {
        let (controller, signal) = StopController::new();
        RunStop {
            controller,
            signal,
            cause: Arc::default(),
        }
    }

    /// Stops the run; the first cause stays.
    pub(super) fn ask(&self, cause: StopCause, level: StopLevel) {
        // Before the level, so that whoever sees that finds a cause.
        let _ = self.cause.set(cause);
        self.controller.raise(level);
    }

    pub(super) fn signal(&self) -> &StopSignal {
        &self.signal
    }

    pub(super) fn level(&self) -> StopLevel {
        self.signal.level()
    }

    pub(super) fn cause(&self) -> Option<StopCause> {
        self.cause.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(stage: Stage) -> State {
        State {
            stage,
            level: StopLevel::Run,
            cause: None,
            report: Report::Undisturbed,
        }
    }

    const INTERRUPT: StopCause = StopCause::Signal(Signal::Interrupt);
    const TERMINATE: StopCause = StopCause::Signal(Signal::Terminate);

    #[test]
    fn first_interrupt_drains_second_aborts_and_the_first_cause_stays() {
        let mut state = at(Stage::Measuring);
        assert_eq!(state.answer(INTERRUPT), Some(SignalAnswer::Drains));
        assert_eq!(state.level, StopLevel::Drain);
        assert_eq!(state.answer(TERMINATE), Some(SignalAnswer::Aborts));
        assert_eq!(state.level, StopLevel::Abort);
        assert_eq!(state.cause, Some(INTERRUPT));
    }

    #[test]
    fn terminate_aborts_at_once_and_before_the_server_is_ready_there_is_no_report() {
        let mut state = at(Stage::Measuring);
        assert_eq!(state.answer(TERMINATE), Some(SignalAnswer::Aborts));
        let mut state = at(Stage::Preparing);
        assert_eq!(
            state.answer(INTERRUPT),
            Some(SignalAnswer::EndsWithoutReport)
        );
        assert!(state.level > StopLevel::Run);
    }

    #[test]
    fn report_survives_one_signal_and_not_two_and_no_further_run_begins() {
        let mut state = at(Stage::Closing);
        assert_eq!(state.answer(INTERRUPT), Some(SignalAnswer::ReportGoesOn));
        assert_eq!(state.level, StopLevel::Abort);
        assert_eq!(state.report, Report::InsistedOn);
        assert_eq!(state.answer(TERMINATE), Some(SignalAnswer::ReportGivenUp));
        assert_eq!(state.report, Report::GivenUp);
    }

    #[test]
    fn drain_deadline_aborts_a_drain_and_is_no_signal_to_a_report() {
        let mut state = at(Stage::Measuring);
        assert_eq!(state.answer(StopCause::DrainDeadline), None);
        assert_eq!(state.answer(INTERRUPT), Some(SignalAnswer::Drains));
        assert_eq!(
            state.answer(StopCause::DrainDeadline),
            Some(SignalAnswer::Aborts)
        );
        let mut state = at(Stage::Measuring);
        state.answer(INTERRUPT);
        state.stage = Stage::Closing;
        assert_eq!(state.answer(StopCause::DrainDeadline), None);
        assert_eq!(state.level, StopLevel::Abort);
        assert_eq!(state.report, Report::Undisturbed);
    }

    #[tokio::test]
    async fn run_follows_what_the_user_asks_for_and_keeps_the_first_cause() {
        let (sender, signals) = mpsc::unbounded_channel();
        let interrupts = Interrupts::listen(signals, |_: Notice| {});
        interrupts.enter(Stage::Measuring);
        let stop = RunStop::new();
        let _following = interrupts.follow(&stop);
        sender.send(Signal::Interrupt).expect("listening");
        stop.signal().at_least(StopLevel::Drain).await;
        assert_eq!(stop.level(), StopLevel::Drain);
        sender.send(Signal::HangUp).expect("listening");
        stop.signal().at_least(StopLevel::Abort).await;
        assert_eq!(stop.cause(), Some(INTERRUPT));
        // Its own bound is no wish of the user's.
        let other = RunStop::new();
        other.ask(StopCause::OutOfTime, StopLevel::Abort);
        assert_eq!(other.cause(), Some(StopCause::OutOfTime));
    }

    #[tokio::test]
    async fn work_that_is_given_up_is_left_behind() {
        let (sender, signals) = mpsc::unbounded_channel();
        let interrupts = Interrupts::listen(signals, |_: Notice| {});
        interrupts.enter(Stage::Closing);
        assert_eq!(interrupts.unless_given_up(|| 7).await, Some(7));
        let (release, held) = std::sync::mpsc::channel::<()>();
        sender.send(Signal::Interrupt).expect("listening");
        sender.send(Signal::Interrupt).expect("listening");
        let given_up = interrupts
            .unless_given_up(move || held.recv().is_ok())
            .await;
        assert_eq!(given_up, None);
        drop(release);
    }
}
