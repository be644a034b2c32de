//! A sweep before it is run: which points there are, in which order they are run, and which shard runs which.
//!
//! `values` reads what is varied from the command line, `list` from a file. Owns the plan, which must be the same on every
//! machine and in every later version, since a sweep goes on where another process has stopped. It must not know how a point is
//! run.

mod list;
mod values;

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use list::{ListError, parse_list};
pub use values::{Axis, AxisError, MOST_VALUES, RepeatedKey, grid};

/// Keys that are no keys of a scenario: which of its strategies run, and the OpenSSH release of the server.
pub const OTHER_KEYS: [&str; 2] = [STRATEGY, RELEASE];
/// Which strategy of the scenario runs.
pub const STRATEGY: &str = "strategy";
/// The OpenSSH release of the server.
pub const RELEASE: &str = "release";

/// A key and the value that a point gives it, both as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The key: a dotted path of the scenario, `strategy` or `release`.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A setting from its two parts.
#[must_use]
pub fn setting(key: &str, value: &str) -> Setting {
    Setting {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

/// Settings in one line, as `tasks=30, max_startups=10:30:100`.
#[must_use]
pub fn label(settings: &[Setting]) -> String {
    let texts: Vec<String> = settings.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// One run of a sweep: a point, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job {
    /// Number of the point, from 1.
    pub point: u32,
    /// Which of its repeats, from 1.
    pub repeat: u32,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "point-{:05}-repeat-{:03}", self.point, self.repeat)
    }
}

/// All runs in the order of execution: the first repeat of every point, shuffled, then the second of every point, shuffled anew,
/// and so on, so that a machine that becomes slower favours no point.
#[must_use]
pub fn order(points: u32, repeats: u32, seed: u64) -> Vec<Job> {
    let mut jobs = Vec::new();
    for repeat in 1..=repeats {
        let mut shuffled: Vec<u32> = (1..=points).collect();
        let mut draws = SplitMix(seed_of(seed, repeat) ^ 0x5357_4545_5021);
        for last in (1..shuffled.len()).rev() {
            shuffled.swap(last, draws.below(last + 1));
        }
        jobs.extend(shuffled.into_iter().map(|point| Job { point, repeat }));
    }
    jobs
}

/// The seed of a repeat. The first has the scenario's own, so that one point run once is what `run` does; all points have the same
/// seed in the same repeat, so that they differ by their settings only.
#[must_use]
pub fn seed_of(seed: u64, repeat: u32) -> u64 {
    if repeat <= 1 {
        return seed;
    }
    // Scenarios take no seed beyond this, which TOML could not hold.
    SplitMix(seed.wrapping_add(u64::from(repeat) << 32)).next() & (u64::MAX >> 1)
}

/// SplitMix64 (Steele, Lea and Flood, 2014). Of our own, because a library's may change between its versions, and the order of a
/// sweep must not.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is small against 2^64: the bias is not worth a loop.
    fn below(&mut self, bound: usize) -> usize {
        let scaled = (u128::from(self.next()) * bound as u128) >> 64;
        usize::try_from(scaled).unwrap_or(0)
    }
}

/// A part of a sweep's runs: every `of`-th in the order of execution, so that each shard has its share of every repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// All of it.
    pub const WHOLE: Shard = Shard { index: 1, of: 1 };

    /// Its part of all runs, in their order.
    #[must_use]
    pub fn part(self, jobs: &[Job]) -> Vec<Job> {
        let skipped = (self.index - 1) as usize;
        let part = jobs.iter().skip(skipped).step_by(self.of as usize);
        part.copied().collect()
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Not a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write it as `i/K`, such as 2/8: the second of eight, counted from 1")]
pub struct InvalidShard;

impl FromStr for Shard {
    type Err = InvalidShard;

    fn from_str(text: &str) -> Result<Self, InvalidShard> {
        let (index, of) = text.split_once('/').ok_or(InvalidShard)?;
        match (index.parse(), of.parse()) {
            (Ok(index), Ok(of)) if 1 <= index && index <= of => Ok(Shard { index, of }),
            _ => Err(InvalidShard),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn repeats_are_interleaved_and_each_is_shuffled_anew_by_the_seed() {
        let jobs = order(20, 3, 7);
        let points = |repeat: u32| -> Vec<u32> {
            jobs.iter()
                .skip(20 * (repeat as usize - 1))
                .take(20)
                .map(|job| {
                    assert_eq!(job.repeat, repeat);
                    job.point
                })
                .collect()
        };
        let in_order: Vec<u32> = (1..=20).collect();
        for repeat in 1..=3 {
            let mut sorted = points(repeat);
            assert_ne!(sorted, in_order);
            sorted.sort_unstable();
            assert_eq!(sorted, in_order);
        }
        assert_ne!(points(1), points(2));
        assert_eq!(order(20, 3, 7), jobs);
        assert_ne!(order(20, 3, 8), jobs);
    }

    /// Another order, or other seeds, and a sweep that an older version began would go on as another one.
    #[test]
    fn order_and_seeds_are_those_of_every_version() {
        let points: Vec<u32> = order(6, 1, 1).iter().map(|job| job.point).collect();
        insta::assert_debug_snapshot!((points, seed_of(1, 1), seed_of(1, 2), seed_of(1, 3)));
        assert!((1..100).all(|repeat| i64::try_from(seed_of(u64::MAX >> 1, repeat)).is_ok()));
    }

    #[test]
    fn shard_reads_back_and_counts_from_one() {
        for text in ["1/1", "2/8", "8/8"] {
            assert_eq!(
                text.parse::<Shard>().map(|shard| shard.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in ["0/2", "3/2", "1/0", "1", "a/b", "", "1/2/3"] {
            assert_eq!(text.parse::<Shard>(), Err(InvalidShard), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn shards_part_all_runs_evenly_without_one_twice(
            points in 1_u32..40, repeats in 1_u32..5, of in 1_u32..12, seed: u64,
        ) {
            let jobs = order(points, repeats, seed);
            let parts: Vec<Vec<Job>> = (1..=of).map(|index| Shard { index, of }.part(&jobs)).collect();
            let together: BTreeSet<Job> = parts.iter().flatten().copied().collect();
            prop_assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), jobs.len());
            prop_assert_eq!(together, jobs.iter().copied().collect());
            let (least, most) = (parts.iter().map(Vec::len).min(), parts.iter().map(Vec::len).max());
            prop_assert!(most.unwrap_or(0) - least.unwrap_or(0) <= 1);
        }

        #[test]
        fn repeats_have_different_seeds(seed in 0..=i64::MAX.cast_unsigned()) {
            let seeds: BTreeSet<u64> = (1..=50).map(|repeat| seed_of(seed, repeat)).collect();
            prop_assert_eq!(seeds.len(), 50);
        }
    }
}
