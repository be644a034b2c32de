//! What moves while a round runs, for whoever draws it.
//!
//! Owns that it can only be read: the generator never waits for a display.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use sshchurn_engine::collector::{Collector, LiveCounts};

use super::notice::RoundCounts;

/// The live counts of a round. Cheap to clone; sampling them costs the generator nothing.
#[derive(Clone)]
pub struct Live(Collector);

impl Live {
    pub(super) fn of(collector: &Collector) -> Self {
        Live(collector.clone())
    }

    /// The counts of the round that runs, or of the last one.
    #[must_use]
    pub fn counts(&self) -> &LiveCounts {
        self.0.live()
    }

    /// What the round that has just ended came to.
    pub(super) fn at_end(&self, under_test: bool) -> RoundCounts {
        let counts = self.counts();
        RoundCounts {
            tasks_succeeded: counts.tasks_succeeded.load(Relaxed),
            attempts: (!under_test).then(|| {
                (
                    counts.attempts.load(Relaxed),
                    counts.banner_eof.load(Relaxed),
                )
            }),
        }
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Live").field(self.counts()).finish()
    }
}
