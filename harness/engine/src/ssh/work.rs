//! The work of a client that has few threads: its connections wait for each other, and each keeps its startup slot
//! meanwhile.
//!
//! Owns the waiting. A client written in Python takes milliseconds of CPU for a handshake, on one event loop or under one
//! interpreter lock; ours takes little and has every core. A strategy that models such a client waits as that one does.
//! It sleeps instead of computing: what the real client takes away from sshd by sharing its cores is not modelled.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

/// Work that falls due between the stages of every connection, on the threads that all connections of a client share.
#[derive(Debug, Clone)]
pub struct ClientWork {
    part: Duration,
    count: u32,
    threads: Arc<Semaphore>,
}

/// Before key exchange, after it, after the server has named its methods, and once logged in: the command and its end.
const PARTS: u32 = 4;

impl ClientWork {
    /// `connection` of work for each connection in all, on so many threads; `None` where there is nothing to do.
    #[must_use]
    pub fn new(connection: Duration, threads: u32) -> Option<Self> {
        (!connection.is_zero()).then(|| ClientWork {
            part: connection / PARTS,
            count: threads.max(1),
            threads: Arc::new(Semaphore::new(threads.max(1) as usize)),
        })
    }

    /// One part of the work, and how many threads there are for it.
    pub(crate) fn shape(&self) -> (Duration, u32) {
        (self.part, self.count)
    }

    /// Waits for a thread, first come first served, and keeps it for one part of the work.
    pub(super) async fn part(&self) {
        // Never closed.
        let _thread = self.threads.acquire().await;
        tokio::time::sleep(self.part).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn connections_wait_for_each_other_on_one_thread_and_not_on_as_many() {
        for (threads, expected) in [(1, 40), (2, 20), (4, 10), (9, 10)] {
            let work = ClientWork::new(Duration::from_millis(40), threads).expect("work");
            let begun = Instant::now();
            let parts = (0..4).map(|_| {
                let work = work.clone();
                async move { work.part().await }
            });
            futures::future::join_all(parts).await;
            // Timers of tokio count in milliseconds and are never early.
            let took = begun.elapsed().as_millis();
            assert!(
                (expected..=expected + 4).contains(&took),
                "{threads}: {took} ms"
            );
        }
    }

    #[test]
    fn no_work_is_none() {
        assert!(ClientWork::new(Duration::ZERO, 1).is_none());
    }
}
