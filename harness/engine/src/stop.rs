//! The stop rule: why and how hard a run is being stopped.
//!
//! Levels only rise: `Run` → `Drain` (no new tasks, those under way may finish) → `Abort` (now).

use tokio::sync::watch;

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
pub struct StopController(watch::Sender<StopLevel>);

/// Sees the level.
#[derive(Debug, Clone)]
pub struct StopSignal(watch::Receiver<StopLevel>);

impl StopController {
    /// A controller at `Run` and its signal.
    #[must_use]
    pub fn new() -> (StopController, StopSignal) {
        let (sender, receiver) = watch::channel(StopLevel::Run);
        (StopController(sender), StopSignal(receiver))
    }

    /// Raises the level to `level`; a lower one than the present changes nothing.
    pub fn raise(&self, level: StopLevel) {
        self.0.send_if_modified(|present| {
            let higher = level > *present;
            if higher {
                *present = level;
            }
            higher
        });
    }

    /// The present level.
    #[must_use]
    pub fn level(&self) -> StopLevel {
        *self.0.borrow()
    }
}

impl StopSignal {
    /// The present level.
    #[must_use]
    pub fn level(&self) -> StopLevel {
        *self.0.borrow()
    }

    /// Waits until the level is at least `level`; for ever when it never is.
    pub async fn at_least(&self, level: StopLevel) {
        let mut receiver = self.0.clone();
        let reached = receiver.wait_for(|present| *present >= level).await.is_ok();
        if !reached {
            // The controller is gone: nobody can stop the run any more.
            std::future::pending::<()>().await;
        }
    }
}
