//! Who gets how much of a processor: sshd's processes, and the clients where they run on the same machine.
//!
//! Linux shares a machine fairly between groups of processes (sched(7), autogroup): every process of sshd's is a session of its
//! own and so a group, the clients under test are one group together. Where there is room for all, everybody computes at full
//! speed.

use super::costs::Shares;
use crate::model::sharing::Sharing;

/// Those who compute.
#[derive(Debug, Clone, Copy)]
pub enum Worker {
    /// The listener, one thing at a time.
    Listener,
    /// A process of sshd's for a connection, or of a command.
    Server,
    /// A client, on the server's machine.
    Client,
}

/// Kinds of them; in this order they are done who are done at the same time.
const KINDS: usize = 3;

/// So much earlier than computed a job may be done, nanoseconds: what adding up fractions loses must not move an end that falls on a
/// whole nanosecond, however often somebody looks in between. Less than what `Sharing` takes for done.
const EARLY: f64 = 5e-4;

/// The machine.
#[derive(Debug)]
pub struct Cores<J> {
    cores: f64,
    /// Of one of each kind, but of all clients together: to the scheduler they are one. The listener's grows with the others' number
    /// (see [`Shares::listener`]).
    weights: [f64; KINDS],
    jobs: [Sharing<J>; KINDS],
    /// How fast a job of each kind computes, as a share of a core.
    rates: [f64; KINDS],
    /// Cores in use.
    busy: f64,
    /// Time from the last change until the next job is done, given that nothing changes, nanoseconds; infinite where there is none.
    next: f64,
    /// The same in whole nanoseconds: the first at which the job counts as done.
    next_ns: u64,
    /// Time since the last change that nobody has been served for yet: fractions are added up at changes only, so that they do not
    /// depend on how often somebody looked in between.
    passed: u64,
}

impl<J: Ord> Cores<J> {
    /// An idle machine.
    #[must_use]
    pub fn new(cores: u32, shares: Shares) -> Self {
        Cores {
            cores: f64::from(cores.max(1)),
            weights: [shares.listener, 1.0, shares.clients],
            jobs: Default::default(),
            rates: [1.0; KINDS],
            busy: 0.0,
            next: f64::INFINITY,
            next_ns: u64::MAX,
            passed: 0,
        }
    }

    /// Somebody computes for `work` nanoseconds.
    pub fn add(&mut self, who: Worker, work: f64, job: J) {
        self.serve();
        self.jobs[who as usize].add(work, job);
        self.changed();
    }

    fn changed(&mut self) {
        let computing: usize = self.jobs.iter().map(Sharing::len).sum();
        let least = self.jobs.each_ref().map(Sharing::least);
        let next = if computing as f64 <= self.cores {
            // By far the most frequent case, and nothing to divide.
            self.rates = [1.0; KINDS];
            self.busy = computing as f64;
            least.into_iter().flatten().fold(f64::INFINITY, f64::min)
        } else {
            self.rates = self.shared();
            let jobs = self.jobs.iter().zip(self.rates);
            self.busy = jobs.map(|(jobs, rate)| rate * jobs.len() as f64).sum();
            let next = least.into_iter().zip(self.rates);
            next.filter_map(|(least, rate)| Some(least? / rate))
                .fold(f64::INFINITY, f64::min)
        };
        self.next = next;
        self.next_ns = whole(next - EARLY);
    }

    /// How fast one of a kind computes now, as a share of a core.
    #[must_use]
    pub fn rate(&self, who: Worker) -> f64 {
        self.rates[who as usize]
    }

    /// Whether nothing is computed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.jobs.iter().all(Sharing::is_empty)
    }

    /// Cores in use.
    #[must_use]
    pub fn busy(&self) -> f64 {
        self.busy
    }

    /// More compute than there are cores: everybody gets a share by weight, and nobody more than it can use. What one leaves is for
    /// the others.
    fn shared(&self) -> [f64; KINDS] {
        let mut rates = [1.0; KINDS];
        let most: [f64; KINDS] = std::array::from_fn(|who| self.jobs[who].len() as f64);
        let mut weights: [f64; KINDS] = std::array::from_fn(|who| match most[who] > 0.0 {
            true if who == Worker::Client as usize => self.weights[who],
            true if who == Worker::Listener as usize => {
                self.weights[who] * most[Worker::Server as usize].max(1.0).sqrt()
            }
            _ => self.weights[who] * most[who],
        });
        let mut left = self.cores;
        loop {
            let all: f64 = weights.iter().sum();
            if all <= 0.0 {
                return rates;
            }
            let unit = left / all;
            // Whoever cannot use all of its share gets what it can use, at full speed.
            let full =
                (0..KINDS).find(|who| weights[*who] > 0.0 && weights[*who] * unit >= most[*who]);
            match full {
                Some(who) => {
                    left -= most[who];
                    weights[who] = 0.0;
                }
                None => {
                    for who in (0..KINDS).filter(|who| weights[*who] > 0.0) {
                        rates[who] = weights[who] * unit / most[who];
                    }
                    return rates;
                }
            }
        }
    }

    /// When the next job is done, given that nothing changes.
    #[must_use]
    pub fn next(&self, now: u64) -> Option<u64> {
        let from_now = self.next_ns.saturating_sub(self.passed);
        (self.next_ns < u64::MAX).then(|| now.saturating_add(from_now))
    }

    /// Time passes.
    pub fn pass(&mut self, time: u64) {
        self.passed += time;
    }

    fn serve(&mut self) {
        if self.passed == 0 {
            return;
        }
        let time = std::mem::take(&mut self.passed) as f64;
        for (jobs, rate) in self.jobs.iter_mut().zip(self.rates) {
            jobs.serve(time * rate);
        }
        self.next = (self.next - time).max(0.0);
    }

    /// A job that is done.
    pub fn done(&mut self) -> Option<J> {
        if self.next_ns > self.passed {
            return None;
        }
        self.serve();
        let done = self.jobs.iter_mut().find_map(Sharing::done);
        // What was taken off bit by bit may have come to nothing a moment too early: then the next one is looked for anew, too.
        self.changed();
        done
    }
}

/// The least whole number that is not less; the largest there is for infinity.
fn whole(number: f64) -> u64 {
    let below = number as u64;
    below + u64::from((below as f64) < number && below < u64::MAX)
}
