//! The collector: the one place that stamps events with time and order, and numbers what they are about.
//!
//! Recording takes one short lock and one channel send; writing is done by a thread of its own, so that
//! a slow disk never delays the generator. Nothing is dropped: `close` returns only when every event is
//! on disk, or says why not.

use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use sshchurn_core::ids::{AttemptId, CommandId};
use sshchurn_core::ledger::{Event, LedgerError, LedgerSink, Record};
use sshchurn_core::vocabulary::{AttemptOutcome, CommandOutcome, Phase, TaskFate};
use tokio::sync::watch;

use crate::clock::RunClock;
use sshchurn_core::instant::RunInstant;

/// How long the writer lets events gather. A writer that waits for each is woken by each, and takes a core from the
/// generator thousands of times just when a burst begins.
const BETWEEN_BATCHES: Duration = Duration::from_millis(10);

/// Stamps, orders and forwards events. Cheap to clone.
#[derive(Clone)]
pub struct Collector {
    shared: Arc<Shared>,
}

struct Shared {
    clock: RunClock,
    order: Mutex<Order>,
    live: LiveCounts,
    attempts: AtomicU64,
    commands: AtomicU64,
}

struct Order {
    next: u64,
    last: RunInstant,
    taker: Option<Taker>,
}

/// Who takes the records.
enum Taker {
    /// Another thread.
    Channel(mpsc::Sender<Record>),
    /// Whoever records, while it happens.
    Here(Box<dyn FnMut(Record) + Send>),
}

impl Collector {
    /// A collector whose records go to `sender`.
    #[must_use]
    pub fn new(clock: RunClock, sender: mpsc::Sender<Record>) -> Self {
        Self::into(clock, Taker::Channel(sender))
    }

    /// A collector that hands each record to `fold` at once, under its lock: for rounds that nobody waits for.
    #[must_use]
    pub fn folding(clock: RunClock, fold: impl FnMut(Record) + Send + 'static) -> Self {
        Self::into(clock, Taker::Here(Box::new(fold)))
    }

    fn into(clock: RunClock, taker: Taker) -> Self {
        Collector {
            shared: Arc::new(Shared {
                clock,
                order: Mutex::new(Order {
                    next: 0,
                    last: RunInstant::default(),
                    taker: Some(taker),
                }),
                live: LiveCounts::default(),
                attempts: AtomicU64::new(0),
                commands: AtomicU64::new(0),
            }),
        }
    }

    /// The clock that stamps the events.
    #[must_use]
    pub fn clock(&self) -> &RunClock {
        &self.shared.clock
    }

    /// The number of an attempt that begins: the run has no other of it.
    pub(crate) fn next_attempt(&self) -> AttemptId {
        AttemptId(self.shared.attempts.fetch_add(1, Relaxed))
    }

    /// The same of a command.
    pub(crate) fn next_command(&self) -> CommandId {
        CommandId(self.shared.commands.fetch_add(1, Relaxed))
    }

    /// Running counts for a progress display; sampling them costs the generator nothing.
    #[must_use]
    pub fn live(&self) -> &LiveCounts {
        &self.shared.live
    }

    /// Records an event: stamps it, gives it its place in the order and hands it on.
    pub fn record(&self, event: Event) {
        self.shared.live.count(&event);
        told(&event);
        let mut order = self
            .shared
            .order
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // The stamp is taken under the lock, so that order and time agree.
        let at = self.shared.clock.now().max(order.last);
        let record = Record {
            seq: order.next,
            at,
            event,
        };
        match &mut order.taker {
            // A closed receiver means the writer failed; `LedgerWriter::close` reports that.
            Some(Taker::Channel(sender)) => drop(sender.send(record)),
            Some(Taker::Here(fold)) => fold(record),
            None => {}
        }
        order.next += 1;
        order.last = at;
    }

    /// Stops accepting events; the receiving side sees the end of the stream.
    pub fn finish(&self) {
        self.shared
            .order
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .taker = None;
    }
}

/// The thread that writes the ledger file.
pub struct LedgerWriter {
    collector: Collector,
    thread: Option<JoinHandle<Result<u64, LedgerError>>>,
    failed: watch::Receiver<bool>,
}

impl LedgerWriter {
    /// Creates the file and starts the writer thread.
    ///
    /// # Errors
    /// [`LedgerError::Io`] when the file cannot be created or the thread cannot be started.
    pub fn start(path: &Path, clock: RunClock) -> Result<Self, LedgerError> {
        let mut sink = LedgerSink::create(path)?;
        let (sender, receiver) = mpsc::channel::<Record>();
        let (fail, failed) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(move || {
                let mut written = 0;
                let mut write_all = || -> Result<(), LedgerError> {
                    while let Ok(first) = receiver.recv() {
                        for record in std::iter::once(first).chain(receiver.try_iter()) {
                            sink.append(&record)?;
                            written += 1;
                            // A round's end is a durable point: a run killed later keeps what was complete.
                            if matches!(
                                record.event,
                                Event::RoundEnded { .. } | Event::RunStarted { .. }
                            ) {
                                sink.flush()?;
                            }
                        }
                        std::thread::sleep(BETWEEN_BATCHES);
                    }
                    Ok(())
                };
                if let Err(error) = write_all() {
                    let _ = fail.send(true);
                    return Err(error);
                }
                sink.finish().inspect_err(|_| {
                    let _ = fail.send(true);
                })?;
                Ok(written)
            })
            .map_err(|source| LedgerError::Io {
                action: "start writer of",
                path: path.to_path_buf(),
                source,
            })?;
        Ok(LedgerWriter {
            collector: Collector::new(clock, sender),
            thread: Some(thread),
            failed,
        })
    }

    /// The collector that feeds this file.
    #[must_use]
    pub fn collector(&self) -> &Collector {
        &self.collector
    }

    /// Turns true as soon as writing has failed: the run must stop, since its record is no longer complete.
    #[must_use]
    pub fn failed(&self) -> watch::Receiver<bool> {
        self.failed.clone()
    }

    /// Waits until every recorded event is on disk and returns their number.
    ///
    /// # Errors
    /// The first [`LedgerError`] the writer met.
    pub fn close(mut self) -> Result<u64, LedgerError> {
        self.collector.finish();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(0),
        }
    }
}

impl Drop for LedgerWriter {
    fn drop(&mut self) {
        self.collector.finish();
    }
}

/// Counts that move while a round runs. They serve the progress display only; the report counts the ledger.
#[derive(Debug, Default)]
pub struct LiveCounts {
    /// Tasks now in each phase, indexed like [`Phase::ALL`].
    in_phase: [AtomicI64; 3],
    /// Tasks that ended, whatever their fate.
    pub tasks_ended: AtomicU64,
    /// Tasks that succeeded.
    pub tasks_succeeded: AtomicU64,
    /// Attempts begun.
    pub attempts: AtomicU64,
    /// Attempts that became a handshake.
    pub handshakes: AtomicU64,
    /// Refusals.
    pub banner_eof: AtomicU64,
    /// Startup slots in use, as the listener's gauge said last.
    pub slots: AtomicU64,
    /// `start` of the server's `MaxStartups`; 0 until its gauge was read.
    pub start: AtomicU64,
    /// … and `full`.
    pub full: AtomicU64,
}

impl LiveCounts {
    /// Tasks now in `phase`.
    #[must_use]
    pub fn in_phase(&self, phase: Phase) -> i64 {
        self.in_phase[phase as usize].load(Relaxed)
    }

    fn count(&self, event: &Event) {
        match event {
            Event::RoundStarted { .. } => self.reset(),
            Event::PhaseStarted { phase, .. } => {
                self.in_phase[*phase as usize].fetch_add(1, Relaxed);
            }
            Event::PhaseEnded { phase, .. } => {
                self.in_phase[*phase as usize].fetch_sub(1, Relaxed);
            }
            Event::TaskEnded { fate, .. } => {
                self.tasks_ended.fetch_add(1, Relaxed);
                if *fate == TaskFate::Succeeded {
                    self.tasks_succeeded.fetch_add(1, Relaxed);
                }
            }
            Event::AttemptStarted { .. } => {
                self.attempts.fetch_add(1, Relaxed);
            }
            Event::AttemptEnded { outcome, .. } => match outcome {
                AttemptOutcome::Handshake => {
                    self.handshakes.fetch_add(1, Relaxed);
                }
                AttemptOutcome::BannerEof { .. } => {
                    self.banner_eof.fetch_add(1, Relaxed);
                }
                _ => {}
            },
            Event::StartupsChanged {
                slots, start, full, ..
            } => {
                self.slots.store(u64::from(*slots), Relaxed);
                self.start.store(u64::from(*start), Relaxed);
                self.full.store(u64::from(*full), Relaxed);
            }
            _ => {}
        }
    }

    fn reset(&self) {
        for phase in &self.in_phase {
            phase.store(0, Relaxed);
        }
        for counter in [
            &self.tasks_ended,
            &self.tasks_succeeded,
            &self.attempts,
            &self.handshakes,
            &self.banner_eof,
            &self.slots,
            &self.start,
            &self.full,
        ] {
            counter.store(0, Relaxed);
        }
    }
}

/// Events for whoever watches a run (`-vv`: what went wrong, `-vvv`: all of them); free of charge where nobody does.
fn told(event: &Event) {
    match event {
        Event::AttemptEnded { outcome, .. } | Event::HolderEnded { outcome, .. }
            if *outcome != AttemptOutcome::Handshake =>
        {
            tracing::debug!(?event);
        }
        Event::CommandEnded { outcome, .. }
            if !matches!(outcome, CommandOutcome::Completed { exit_status: 0 }) =>
        {
            tracing::debug!(?event);
        }
        Event::RetryScheduled { .. } | Event::Warned { .. } | Event::StopRequested { .. } => {
            tracing::debug!(?event);
        }
        Event::RoundStarted { .. } | Event::RoundEnded { .. } | Event::RunEnded { .. } => {
            tracing::info!(?event);
        }
        _ => tracing::trace!(?event),
    }
}

#[cfg(test)]
mod tests;
