//! What the tasks of a round have in common: what they do, where their jobs are, and when each may begin.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::clock::RunClock;
use super::job::Jobs;
use super::rendezvous::{Rendezvous, Word};
use super::stop::{StopLevel, StopSignal};
use super::strategy::Strategy;
use sshchurn_core::instant::RunInstant;

pub(crate) struct Common {
    pub(crate) strategy: Strategy,
    pub(crate) jobs: Jobs,
    /// The barrier.
    pub(crate) ready: Rendezvous,
    /// Those who have had their answers, where tasks wait for all to have them.
    pub(crate) others: Rendezvous,
    /// The release, with its instant.
    pub(crate) release: Word<RunInstant>,
    /// Where only so many tasks may run at once.
    pub(crate) slots: Option<Arc<Semaphore>>,
    pub(crate) clock: RunClock,
    pub(crate) stop: StopSignal,
}

/// A task's leave to run, in a box since only few scenarios have it.
pub(crate) type Slot = Option<Box<OwnedSemaphorePermit>>;

/// Nothing new is to begin.
pub(crate) struct Drained;

impl Common {
    /// Waits until the time of a task has come, so long after the release, or nothing new is to begin.
    pub(crate) async fn due(&self, offset: Duration) {
        let intended = self.release.hear().await + offset;
        tokio::select! {
            biased;
            () = self.stop.at_least(StopLevel::Drain) => {}
            () = self.clock.sleep_until(intended) => {}
        }
    }

    /// Waits until a task's time has come and it may run.
    ///
    /// # Errors
    /// It may not: nothing new is to begin.
    pub(crate) async fn turn(&self, offset: Duration) -> Result<Slot, Drained> {
        self.due(offset).await;
        let slot = async {
            match &self.slots {
                Some(slots) => Arc::clone(slots).acquire_owned().await.ok().map(Box::new),
                None => None,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.at_least(StopLevel::Drain) => Err(Drained),
            slot = slot => Ok(slot),
        }
    }
}
