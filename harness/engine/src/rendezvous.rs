//! Where the tasks of a round wait for each other, and for the word to begin.
//!
//! Whoever waits longest is woken first: an order of waking that is drawn by chance, as tokio's `watch` and `Barrier` draw
//! it, would make two rounds of the same draws differ. Must not know what is waited for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use tokio::sync::Notify;

/// Complete when as many have arrived as were expected.
#[derive(Debug)]
pub(crate) struct Rendezvous {
    expected: u32,
    arrived: AtomicU32,
    complete: Notify,
}

impl Rendezvous {
    pub(crate) fn new(expected: u32) -> Self {
        Rendezvous {
            expected,
            arrived: AtomicU32::new(0),
            complete: Notify::new(),
        }
    }

    /// One more has arrived, or will not come any more.
    pub(crate) fn arrive(&self) {
        if self.arrived.fetch_add(1, SeqCst) + 1 >= self.expected {
            self.complete.notify_waiters();
        }
    }

    /// Waits until all have.
    pub(crate) async fn complete(&self) {
        // Made before the count is read, so that an arrival between the two is not missed.
        let complete = self.complete.notified();
        if self.arrived.load(SeqCst) < self.expected {
            complete.await;
        }
    }
}

/// A word that is said once and heard by all.
#[derive(Debug)]
pub(crate) struct Word<T> {
    said: OnceLock<T>,
    heard: Notify,
}

impl<T: Copy> Word<T> {
    pub(crate) fn new() -> Self {
        Word {
            said: OnceLock::new(),
            heard: Notify::new(),
        }
    }

    /// Says it; what was said first stands.
    pub(crate) fn say(&self, word: T) {
        self.said.get_or_init(|| word);
        self.heard.notify_waiters();
    }

    /// Waits for it.
    pub(crate) async fn hear(&self) -> T {
        loop {
            // Made before the word is looked for, so that one said between the two is not missed.
            let heard = self.heard.notified();
            if let Some(word) = self.said.get() {
                return *word;
            }
            heard.await;
        }
    }
}
