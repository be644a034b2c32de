//! The run clock: monotonic instants relative to the start of the run, one wall-clock anchor, and every wait of a
//! strategy.
//!
//! Every instant in the ledger comes from here, and nothing that a strategy runs on reads another clock or sleeps by
//! another one: whoever replaces it replaces time. It must know nothing of ours.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::future::Either;

use crate::simulation::VirtualTime;
use sshchurn_core::instant::RunInstant;
use tokio::time::Instant;

use sshchurn_core::quantity::nanoseconds;

/// A monotonic clock with its zero at the start of the run. Cheap to clone; every clone reads the same time.
#[derive(Debug, Clone)]
pub enum RunClock {
    /// Time as it passes, by tokio's timer: a paused test clock pauses it too.
    Wall(Arc<WallClock>),
    /// Time that jumps to whatever happens next.
    Virtual(VirtualTime),
}

/// Tokio's clock since a moment.
#[derive(Debug)]
pub struct WallClock {
    zero: Instant,
    anchor: SystemTime,
    /// Tokio's time for each unit of the run's: its timers count in milliseconds, and a paused clock may be read finer.
    stretch: u64,
}

impl RunClock {
    /// Starts a wall clock now and takes the one wall-clock reading of the run.
    #[must_use]
    pub fn start() -> Self {
        RunClock::Wall(Arc::new(WallClock {
            zero: Instant::now(),
            anchor: SystemTime::now(),
            stretch: 1,
        }))
    }

    /// A wall clock of which one microsecond takes tokio's paused clock a millisecond.
    #[cfg(test)]
    pub(crate) fn start_stretched() -> Self {
        RunClock::Wall(Arc::new(WallClock {
            zero: Instant::now(),
            anchor: SystemTime::now(),
            stretch: 1000,
        }))
    }

    /// The wall-clock time at which the run clock read zero.
    #[must_use]
    pub fn wall_anchor(&self) -> SystemTime {
        match self {
            RunClock::Wall(clock) => clock.anchor,
            RunClock::Virtual(time) => time.anchor(),
        }
    }

    /// The current instant.
    #[must_use]
    pub fn now(&self) -> RunInstant {
        match self {
            RunClock::Wall(clock) => RunInstant(nanoseconds(clock.zero.elapsed()) / clock.stretch),
            RunClock::Virtual(time) => time.now(),
        }
    }

    /// Waits until `at`; ready at once when it has passed.
    pub fn sleep_until(&self, at: RunInstant) -> impl Future<Output = ()> + Send + use<> {
        match self {
            RunClock::Wall(clock) => {
                let since = Duration::from_nanos(at.0.saturating_mul(clock.stretch));
                // In a box: tokio's has many times the size of ours, and a simulated round has a million of them.
                Either::Left(Box::pin(tokio::time::sleep_until(clock.zero + since)))
            }
            RunClock::Virtual(time) => Either::Right(time.sleep_until(at)),
        }
    }

    /// Waits for `duration`.
    pub fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + use<> {
        self.sleep_until(self.now() + duration)
    }
}
