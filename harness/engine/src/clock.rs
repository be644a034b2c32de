//! The run clock: monotonic instants relative to the start of the run, and one wall-clock anchor.
//!
//! Every instant in the ledger comes from here. It reads tokio's clock, so a paused test clock pauses
//! it too. It must know nothing of ours.

use std::time::{Duration, SystemTime};

use sshchurn_core::instant::RunInstant;
use tokio::time::Instant;

use sshchurn_core::quantity::nanoseconds;

/// A monotonic clock with its zero at the start of the run.
#[derive(Debug, Clone, Copy)]
pub struct RunClock {
    zero: Instant,
    wall: SystemTime,
}

impl RunClock {
    /// Starts the clock now and takes the one wall-clock reading of the run.
    #[must_use]
    pub fn start() -> Self {
        RunClock {
            zero: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// The wall-clock time at which the run clock read zero.
    #[must_use]
    pub fn wall_anchor(&self) -> SystemTime {
        self.wall
    }

    /// The current instant.
    #[must_use]
    pub fn now(&self) -> RunInstant {
        RunInstant(nanoseconds(self.zero.elapsed()))
    }

    /// Waits until `at`; returns at once when it has passed.
    pub async fn sleep_until(&self, at: RunInstant) {
        tokio::time::sleep_until(self.zero + Duration::from_nanos(at.0)).await;
    }

    /// Waits for `duration`.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
