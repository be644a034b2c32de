//! Seeded randomness: every task has its own streams, one for each purpose.
//!
//! Same seed, same draws per task, whatever the interleaving and however often another task retries; rounds of
//! different strategies with the same repetition number share them (common random numbers), so that a
//! difference between strategies is not a difference in luck.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use sshchurn_core::ids::TaskId;

/// What a stream of draws is for. Separate streams keep one purpose's consumption from shifting another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Gaps of a Poisson arrival process.
    Arrival,
    /// Whether and when the task is killed.
    Kill,
    /// The random part of the job's name.
    Name,
    /// Waits between connect attempts and backoff.
    Waits,
    /// Order of strategies within a repetition.
    Order,
}

/// A stream of draws: which one, and how far it is. The generator itself is ten times as large and is made for each draw, since
/// every task of a round keeps a stream and hardly ever draws.
#[derive(Debug, Clone)]
pub(crate) struct Draws {
    seed: u64,
    stream: u64,
    /// Words of the stream that are used up.
    drawn: u64,
}

impl Draws {
    /// The stream of one task for one purpose in one repetition.
    pub(crate) fn for_task(seed: u64, repetition: u32, task: TaskId, purpose: Purpose) -> Self {
        Draws {
            seed,
            stream: (u64::from(repetition) << 40) | (u64::from(task.0) << 8) | purpose as u64,
            drawn: 0,
        }
    }

    fn draw<T>(&mut self, of: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.stream);
        rng.set_word_pos(u128::from(self.drawn));
        let drawn = of(&mut rng);
        self.drawn = rng.get_word_pos() as u64;
        drawn
    }

    /// The stream of a whole repetition for one purpose.
    pub(crate) fn for_repetition(seed: u64, repetition: u32, purpose: Purpose) -> Self {
        Draws::for_task(seed, repetition, TaskId(u32::MAX), purpose)
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        self.draw(|rng| rng.random())
    }

    /// Uniform in `[0, below)`.
    pub(crate) fn duration(&mut self, below: Duration) -> Duration {
        below.mul_f64(self.unit())
    }

    /// Uniform integer in `[0, below)`; `below` must be positive.
    pub(crate) fn index(&mut self, below: usize) -> usize {
        self.draw(|rng| rng.random_range(0..below))
    }

    /// Exponentially distributed with mean `1 / rate_per_s` seconds (gaps of a Poisson process).
    pub(crate) fn exponential(&mut self, rate_per_s: f64) -> Duration {
        // 1 - u lies in (0, 1], so the logarithm is finite.
        Duration::try_from_secs_f64(-(1.0 - self.unit()).ln() / rate_per_s).unwrap_or(Duration::MAX)
    }

    /// Characters of `a-z0-9`.
    pub(crate) fn token<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        const ALPHABET: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
        self.draw(|rng| std::array::from_fn(|_| ALPHABET[rng.random_range(0..ALPHABET.len())]))
    }
}
