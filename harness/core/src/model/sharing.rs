//! Jobs that share processors equally: capacitated processor sharing (R-PS), in O(log n) for each arrival and each end.
//!
//! Every job in service gets the same rate, so that one number, the service that a job present from the beginning would have
//! got, orders all their ends; nothing is touched when the rate changes (the attained-service argument of Kleinrock, *Queueing
//! Systems*, vol. 2, 1976, ch. 4). Owns that order. What the rate is, the caller says.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Service that is owed when a job counts as done, nanoseconds: less than the grain of the clock, more than what adding up
/// fractions can lose.
const ROUNDING: f64 = 1e-3;

/// Jobs in service. `J` breaks ties between jobs that end together, so that their order never depends on who came first.
#[derive(Debug, Clone)]
pub struct Sharing<J> {
    /// Service that a job present since the pool was last empty has got, nanoseconds.
    attained: f64,
    jobs: BinaryHeap<Reverse<Share<J>>>,
}

#[derive(Debug, Clone)]
struct Share<J> {
    /// The attained service at which it is done.
    due: f64,
    job: J,
}

impl<J: Ord> Ord for Share<J> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.due
            .total_cmp(&other.due)
            .then_with(|| self.job.cmp(&other.job))
    }
}

impl<J: Ord> PartialOrd for Share<J> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<J: Ord> PartialEq for Share<J> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<J: Ord> Eq for Share<J> {}

impl<J: Ord> Default for Sharing<J> {
    fn default() -> Self {
        Sharing {
            attained: 0.0,
            jobs: BinaryHeap::new(),
        }
    }
}

impl<J: Ord> Sharing<J> {
    /// Jobs in service.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Takes a job that needs `work` nanoseconds of a processor of its own.
    pub fn add(&mut self, work: f64, job: J) {
        if self.jobs.is_empty() {
            // Sums stay small, and exact, over days of simulated time.
            self.attained = 0.0;
        }
        let due = self.attained + work.max(0.0);
        self.jobs.push(Reverse(Share { due, job }));
    }

    /// Gives every job `service` nanoseconds.
    pub fn serve(&mut self, service: f64) {
        self.attained += service;
    }

    /// What the job that is done next still needs, nanoseconds.
    #[must_use]
    pub fn least(&self) -> Option<f64> {
        let Reverse(next) = self.jobs.peek()?;
        Some((next.due - self.attained).max(0.0))
    }

    /// A job that has got what it needed, the earliest first.
    pub fn done(&mut self) -> Option<J> {
        let Reverse(next) = self.jobs.peek()?;
        if next.due - self.attained > ROUNDING {
            return None;
        }
        self.jobs.pop().map(|Reverse(share)| share.job)
    }
}
