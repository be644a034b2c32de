//! What a signal does to a sweep: the first Ctrl-C lets the run under way end, so that nothing is lost; the second, SIGTERM and SIGHUP
//! abandon it at once.
//!
//! Owns that rule. What abandoning does to a run is the run's own stop protocol.

use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::super::notice::{Notice, Observer};
use super::super::stop::{Interrupts, Signal, SignalAnswer};

/// How far the user wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    All,
    RunUnderWay,
    Nothing,
}

/// What the user wants of a sweep.
#[derive(Debug)]
pub struct SweepStop {
    wanted: watch::Receiver<Wanted>,
    interrupts: Interrupts,
    _listening: AbortOnDropHandle<()>,
}

impl SweepStop {
    /// Takes signals from `signals` and tells `observer` what they led to. Must be called within a tokio runtime.
    #[must_use]
    pub fn listen(
        mut signals: mpsc::UnboundedReceiver<Signal>,
        observer: impl Observer + 'static,
    ) -> Self {
        let (want, wanted) = watch::channel(Wanted::All);
        let (to_run, of_run) = mpsc::unbounded_channel();
        let listening = async move {
            while let Some(signal) = signals.recv().await {
                let before = *want.borrow();
                let now = match (signal, before) {
                    (Signal::Interrupt, Wanted::All) => Wanted::RunUnderWay,
                    _ => Wanted::Nothing,
                };
                if now > before {
                    observer.notice(Notice::Interrupted(match now {
                        Wanted::Nothing => SignalAnswer::AbandonsSweepRun,
                        Wanted::All | Wanted::RunUnderWay => SignalAnswer::EndsAfterSweepRun,
                    }));
                }
                want.send_replace(now);
                if now == Wanted::Nothing {
                    // Not drained: what it has measured is thrown away.
                    let _ = to_run.send(Signal::Terminate);
                }
            }
        };
        SweepStop {
            wanted,
            // A run's own words about its report would be wrong here.
            interrupts: Interrupts::listen(of_run, |_: Notice| {}),
            _listening: AbortOnDropHandle::new(tokio::spawn(listening)),
        }
    }

    /// Nobody can interrupt. Must be called within a tokio runtime.
    #[must_use]
    pub fn none() -> Self {
        let (_, signals) = mpsc::unbounded_channel();
        SweepStop::listen(signals, |_: Notice| {})
    }

    /// Whether no further run is to begin.
    #[must_use]
    pub fn requested(&self) -> bool {
        *self.wanted.borrow() > Wanted::All
    }

    /// Whether the run under way is not to end by itself either.
    pub(super) fn abandons_run(&self) -> bool {
        *self.wanted.borrow() == Wanted::Nothing
    }

    /// What a run follows.
    pub(super) fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::NoticeLog;

    async fn after(signals: &[Signal]) -> (SweepStop, Vec<SignalAnswer>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let log = NoticeLog::default();
        let stop = SweepStop::listen(receiver, log.clone());
        for signal in signals {
            sender.send(*signal).expect("it listens");
        }
        let last = match signals {
            [Signal::Interrupt] => Wanted::RunUnderWay,
            _ => Wanted::Nothing,
        };
        let mut wanted = stop.wanted.clone();
        wanted
            .wait_for(|wanted| *wanted >= last)
            .await
            .expect("it listens");
        if last == Wanted::Nothing {
            stop.interrupts.asked().await;
        }
        let answers = log.notices().into_iter().filter_map(|notice| match notice {
            Notice::Interrupted(answer) => Some(answer),
            _ => None,
        });
        (stop, answers.collect())
    }

    #[tokio::test]
    async fn first_interrupt_lets_the_run_end_and_the_second_abandons_it() {
        let (stop, told) = after(&[Signal::Interrupt]).await;
        assert!(stop.requested() && !stop.abandons_run() && !stop.interrupts().requested());
        assert_eq!(told, [SignalAnswer::EndsAfterSweepRun]);
        let (stop, told) = after(&[Signal::Interrupt, Signal::Interrupt]).await;
        assert!(stop.requested() && stop.abandons_run());
        assert_eq!(
            told,
            [
                SignalAnswer::EndsAfterSweepRun,
                SignalAnswer::AbandonsSweepRun
            ]
        );
    }

    #[tokio::test]
    async fn other_signals_abandon_the_run_at_once() {
        for signal in [Signal::Terminate, Signal::HangUp] {
            let (stop, told) = after(&[signal]).await;
            assert!(stop.abandons_run() && stop.interrupts().requested());
            assert_eq!(told, [SignalAnswer::AbandonsSweepRun]);
        }
    }
}
