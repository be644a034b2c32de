//! The virtual clock: time stands still until somebody moves it, and remembers who waits for which instant.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use sshchurn_core::instant::RunInstant;
use sshchurn_core::model::agenda::Agenda;

/// A clock that only its executor moves. Clones read the same time.
#[derive(Debug, Clone)]
pub struct VirtualTime(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    now: AtomicU64,
    anchor: SystemTime,
    /// Timers go off at multiples of this, nanoseconds.
    grain: u64,
    timers: Mutex<Timers>,
}

#[derive(Debug, Default)]
struct Timers {
    /// Timers of one instant go off in the order in which they were set.
    set: u64,
    waiting: Agenda<Timer>,
}

#[derive(Debug)]
struct Timer {
    order: u64,
    waker: Waker,
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order.cmp(&other.order)
    }
}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == std::cmp::Ordering::Equal
    }
}

impl Eq for Timer {}

impl VirtualTime {
    /// A clock at zero; `anchor` is the time of day that its zero is said to be.
    #[must_use]
    pub fn starting_at(anchor: SystemTime) -> Self {
        VirtualTime(Arc::new(Shared {
            now: AtomicU64::new(0),
            anchor,
            grain: 1,
            timers: Mutex::default(),
        }))
    }

    /// A clock whose timers are as coarse as another one's.
    #[cfg(test)]
    pub(super) fn in_grains(self, grain: u64) -> Self {
        VirtualTime(Arc::new(Shared {
            now: AtomicU64::new(0),
            anchor: self.0.anchor,
            grain,
            timers: Mutex::default(),
        }))
    }

    /// The time of day at zero.
    #[must_use]
    pub fn anchor(&self) -> SystemTime {
        self.0.anchor
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> RunInstant {
        RunInstant(self.0.now.load(Relaxed))
    }

    /// Waits until `at`; ready at once when it has passed.
    #[must_use]
    pub fn sleep_until(&self, at: RunInstant) -> VirtualSleep {
        VirtualSleep {
            time: self.clone(),
            at: at.0.div_ceil(self.0.grain) * self.0.grain,
            set_for: None,
        }
    }

    /// The first instant that somebody waits for.
    pub(super) fn next(&self) -> Option<u64> {
        self.timers().waiting.next()
    }

    /// Moves the clock.
    pub(super) fn move_to(&self, at: u64) {
        self.0.now.fetch_max(at, Relaxed);
    }

    /// Wakes whoever waited for an instant that has come.
    pub(super) fn wake(&self) {
        let RunInstant(now) = self.now();
        loop {
            let due = self.timers().waiting.take(now);
            match due {
                Some(timer) => timer.waker.wake(),
                None => return,
            }
        }
    }

    fn timers(&self) -> MutexGuard<'_, Timers> {
        self.0.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait on the virtual clock.
#[derive(Debug)]
pub struct VirtualSleep {
    time: VirtualTime,
    at: u64,
    /// Whom its timer will wake.
    set_for: Option<Waker>,
}

impl Future for VirtualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.time.now().0 >= self.at {
            return Poll::Ready(());
        }
        let known = self
            .set_for
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()));
        if !known {
            let waker = context.waker().clone();
            {
                let mut timers = self.time.timers();
                let order = timers.set;
                timers.set += 1;
                let timer = Timer {
                    order,
                    waker: waker.clone(),
                };
                timers.waiting.put(self.at, timer);
            }
            self.set_for = Some(waker);
        }
        Poll::Pending
    }
}
