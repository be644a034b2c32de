//! Where the tasks of a round wait for each other: complete when every one of them has arrived.

use tokio::sync::watch;

/// Counts arrivals up to an expected number.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    expected: u32,
    arrived: watch::Sender<u32>,
}

impl Rendezvous {
    pub(crate) fn new(expected: u32) -> Self {
        Rendezvous {
            expected,
            arrived: watch::Sender::new(0),
        }
    }

    /// One more has arrived, or will not come any more.
    pub(crate) fn arrive(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
    }

    /// Waits until all have.
    pub(crate) async fn complete(&self) {
        let mut arrived = self.arrived.subscribe();
        // The sender lives in `self`: the wait cannot fail.
        let _ = arrived.wait_for(|arrived| *arrived >= self.expected).await;
    }
}
