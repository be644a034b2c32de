//! Planning: which value of one setting meets a goal in so many of a hundred rounds.
//!
//! Owns the search and what may be said of its result. Pure: what a round comes to, the caller says.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which way the setting is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The smallest value that meets the goal: larger ones meet it too.
    Smallest,
    /// The largest one: smaller ones meet it too.
    Largest,
}

/// Rounds tried with one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trials {
    /// Rounds.
    pub rounds: u32,
    /// Of those, the ones in which the goal was met.
    pub held: u32,
}

impl Trials {
    /// The share that met the goal.
    #[must_use]
    pub fn share(self) -> f64 {
        f64::from(self.held) / f64::from(self.rounds.max(1))
    }

    /// The 95 % interval of that share (Wilson 1927).
    #[must_use]
    pub fn interval(self) -> (f64, f64) {
        const Z: f64 = 1.959_964;
        let n = f64::from(self.rounds.max(1));
        let p = self.share();
        let middle = p + Z * Z / (2.0 * n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let scale = 1.0 + Z * Z / n;
        (
            ((middle - half) / scale).max(0.0),
            ((middle + half) / scale).min(1.0),
        )
    }
}

/// How sure it has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// Share of rounds in which the goal must be met, above 0 and below 1.
    pub reliability: f64,
    /// Rounds that decide over a value.
    pub rounds: u32,
    /// Rounds that are enough to pass over a value on the way.
    pub glance: u32,
}

impl Demand {
    /// Rounds of `of` that may miss the goal.
    fn may_miss(self, of: u32) -> u32 {
        // A share such as 0.99 is no exact number: 200 rounds may miss it in 2, not in 1.
        ((1.0 - self.reliability) * f64::from(of) + 1e-9).floor() as u32
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The value; `None` where none within the bounds meets the goal.
    pub value: Option<u64>,
    /// Every value that was tried.
    pub tried: BTreeMap<u64, Trials>,
}

/// Searches `from..=to`. `round(value, number)` says whether a value meets the goal in a round; rounds of one number share their
/// draws over all values, so that values differ by what they are and not by luck.
///
/// # Errors
/// The first that `round` gives.
pub fn search<E>(
    wanted: Wanted,
    (from, to): (u64, u64),
    demand: Demand,
    mut rounds: impl FnMut(u64, std::ops::Range<u32>) -> Result<u32, E>,
) -> Result<Found, E> {
    let mut tried: BTreeMap<u64, Trials> = BTreeMap::new();
    let mut holds = |value: u64, of: u32| -> Result<bool, E> {
        let trials = tried.entry(value).or_default();
        let may_miss = demand.may_miss(of);
        while trials.rounds < of && trials.rounds - trials.held <= may_miss {
            // A few at a time: a value that misses often is done with soon.
            let next = trials.rounds..(trials.rounds + 8).min(of);
            let count = next.end - next.start;
            trials.held += rounds(value, next)?;
            trials.rounds += count;
        }
        Ok(trials.rounds - trials.held <= may_miss)
    };
    // From the small end outwards in growing strides: small values cost little to try, and the answer is mostly among them.
    let good = |holds: bool| match wanted {
        Wanted::Smallest => holds,
        Wanted::Largest => !holds,
    };
    let (mut below, mut step) = (None, 0);
    let mut above = loop {
        let value = from + step;
        if good(holds(value, demand.glance)?) {
            break Some(value);
        }
        below = Some(value);
        if value == to {
            break None;
        }
        step = (step * 2).max(1).min(to - from);
    };
    // The edge lies between the last value below it and the first above.
    while let (Some(low), Some(high)) = (below, above)
        && high - low > 1
    {
        let middle = low.midpoint(high);
        match good(holds(middle, demand.glance)?) {
            true => above = Some(middle),
            false => below = Some(middle),
        }
    }
    let glimpsed = match wanted {
        Wanted::Smallest => above,
        Wanted::Largest => below,
    };
    // What a glance has found is decided by all rounds, in the direction in which the goal gets easier, then in the other.
    let easier = |value: u64| match wanted {
        Wanted::Smallest => (value < to).then(|| value + 1),
        Wanted::Largest => (value > from).then(|| value - 1),
    };
    let harder = |value: u64| match wanted {
        Wanted::Smallest => (value > from).then(|| value - 1),
        Wanted::Largest => (value < to).then(|| value + 1),
    };
    let mut value = glimpsed;
    while let Some(tried) = value
        && !holds(tried, demand.rounds)?
    {
        value = easier(tried);
    }
    while let Some(next) = value.and_then(harder)
        && holds(next, demand.rounds)?
    {
        value = Some(next);
    }
    Ok(Found { value, tried })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEMAND: Demand = Demand {
        reliability: 0.99,
        rounds: 200,
        glance: 40,
    };

    /// Meets the goal from `edge` on, and below it in a share of the rounds.
    fn world(
        edge: u64,
        below: impl Fn(u64) -> f64,
    ) -> impl Fn(u64, std::ops::Range<u32>) -> Result<u32, ()> {
        move |value, rounds| {
            Ok(rounds
                .filter(|round| {
                    // The same draw for every value.
                    let draw = f64::from(round.wrapping_mul(2_654_435_761) % 1000) / 1000.0;
                    value >= edge || draw < below(value)
                })
                .count() as u32)
        }
    }

    proptest! {
        #[test]
        fn sharp_edge_is_found_wherever_it_is(edge in 0_u64..3000) {
            let found = search(Wanted::Smallest, (0, 3000), DEMAND, world(edge, |_| 0.0)).unwrap();
            prop_assert_eq!(found.value, Some(edge));
            let found = search(Wanted::Largest, (0, 3000), DEMAND, |value, rounds| {
                world(edge, |_| 0.0)(3000 - value, rounds)
            }).unwrap();
            prop_assert_eq!(found.value, Some(3000 - edge));
        }

        #[test]
        fn value_that_is_found_meets_the_goal_and_the_next_harder_one_does_not(slope in 0.001_f64..0.2, edge in 20_u64..300) {
            let rounds = world(edge, move |value| 1.0 - slope * (edge - value) as f64);
            let found = search(Wanted::Smallest, (1, 1000), DEMAND, &rounds).unwrap();
            let value = found.value.unwrap();
            let missed = |value| 200 - rounds(value, 0..200).unwrap();
            prop_assert!(missed(value) <= 2, "{value}: {}", missed(value));
            prop_assert!(missed(value - 1) > 2);
        }
    }

    #[test]
    fn goal_that_nothing_meets_has_no_value() {
        let found = search(Wanted::Smallest, (1, 50), DEMAND, |_, _| Ok::<_, ()>(0)).unwrap();
        assert_eq!(found.value, None);
        assert!(found.tried.contains_key(&50));
    }

    #[test]
    fn intervals_are_wilsons() {
        let trials = Trials {
            rounds: 20,
            held: 19,
        };
        let (low, high) = trials.interval();
        assert!(
            (low - 0.764).abs() < 0.001 && (high - 0.991).abs() < 0.001,
            "{low} {high}"
        );
    }
}
