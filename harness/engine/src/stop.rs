//! The stop rule: why and how hard a run is being stopped.
//!
//! Levels only rise: `Run` → `Drain` (no new tasks, those under way may finish) → `Abort` (now).

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// How hard to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StopLevel {
    /// Not at all.
    Run,
    /// Start nothing new; let tasks under way finish.
    Drain,
    /// Abandon everything.
    Abort,
}

/// Raises the level.
#[derive(Debug, Clone)]
pub struct StopController(Arc<Shared>);

/// Sees the level.
#[derive(Debug, Clone)]
pub struct StopSignal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    level: Mutex<StopLevel>,
    /// Wakes in the order of waiting, so that what is recorded of a stop has an order too.
    raised: Notify,
}

impl Shared {
    fn level(&self) -> StopLevel {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StopController {
    /// A controller at `Run` and its signal.
    #[must_use]
    pub fn new() -> (StopController, StopSignal) {
        let shared = Arc::new(Shared {
            level: Mutex::new(StopLevel::Run),
            raised: Notify::new(),
        });
        (StopController(Arc::clone(&shared)), StopSignal(shared))
    }

    /// Raises the level to `level`; a lower one than the present changes nothing.
    pub fn raise(&self, level: StopLevel) {
        let mut present = self.0.level.lock().unwrap_or_else(PoisonError::into_inner);
        if level > *present {
            *present = level;
            drop(present);
            self.0.raised.notify_waiters();
        }
    }

    /// The present level.
    #[must_use]
    pub fn level(&self) -> StopLevel {
        self.0.level()
    }
}

impl StopSignal {
    /// The present level.
    #[must_use]
    pub fn level(&self) -> StopLevel {
        self.0.level()
    }

    /// Waits until the level is at least `level`; for ever when it never is.
    pub async fn at_least(&self, level: StopLevel) {
        loop {
            // Made before the level is read, so that a raise between the two is not missed.
            let raised = self.0.raised.notified();
            if self.level() >= level {
                return;
            }
            raised.await;
        }
    }
}
