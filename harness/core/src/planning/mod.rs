//! Planning: which value of one setting meets a goal in so many of a hundred rounds.
//!
//! Owns the search and what may be said of its result. Pure: what a round comes to, the caller says.

use std::cmp::Reverse;
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

/// Rounds that are tried together at least.
const BATCH: usize = 8;

/// Where a value is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The smallest value that there is.
    pub from: u64,
    /// The largest.
    pub to: u64,
    /// Where to look first: the closer to the answer, the fewer rounds it takes.
    pub near: u64,
}

/// Searches for the value; `None` where none within the bounds meets the goal. `rounds(value, numbers)` says of each of these rounds
/// whether a value meets the goal in it; rounds of one number share their draws over all values, so that values differ by what they
/// are and not by luck.
///
/// A value that misses often is passed over after a few rounds: those that missed with the easiest values so far come first.
///
/// # Errors
/// The first that `round` gives.
pub fn search<E>(
    wanted: Wanted,
    bounds: Bounds,
    demand: Demand,
    mut rounds: impl FnMut(u64, &[u32]) -> Result<Vec<bool>, E>,
) -> Result<Option<u64>, E> {
    let span = bounds.to.saturating_sub(bounds.from);
    // From here on values are counted from the hardest to the easiest.
    let value = |ease: u64| match wanted {
        Wanted::Smallest => bounds.from + ease,
        Wanted::Largest => bounds.to - ease,
    };
    let near = bounds.near.clamp(bounds.from, bounds.to);
    let near = match wanted {
        Wanted::Smallest => near - bounds.from,
        Wanted::Largest => bounds.to - near,
    };
    let mut trials = Trying {
        demand,
        tried: BTreeMap::new(),
        missed_at: vec![None; demand.rounds as usize],
        rounds: |ease: u64, numbers: &[u32]| rounds(value(ease), numbers),
    };
    // What a glance has found is decided by all rounds.
    let Some(glimpsed) = edge(near, span, |ease| trials.holds(ease, demand.glance))? else {
        return Ok(None);
    };
    let found = edge(glimpsed, span, |ease| trials.holds(ease, demand.rounds))?;
    Ok(found.map(value))
}

/// The first of `0..=last` that is good, given that all beyond it are: outwards from `near` in growing strides, then by halves.
fn edge<E>(
    near: u64,
    last: u64,
    mut good: impl FnMut(u64) -> Result<bool, E>,
) -> Result<Option<u64>, E> {
    let (mut at, mut stride) = (near.min(last), 1);
    // The answer is one of `low..=high`.
    let (mut low, mut high) = (0, None);
    loop {
        match good(at)? {
            true if low > 0 || at == 0 => {
                high = Some(at);
                break;
            }
            true => {
                high = Some(at);
                at = at.saturating_sub(stride);
            }
            false => {
                low = at + 1;
                if high.is_some() {
                    break;
                }
                if at == last {
                    return Ok(None);
                }
                at = at.saturating_add(stride).min(last);
            }
        }
        stride *= 2;
    }
    while let Some(known) = high
        && low < known
    {
        let middle = low.midpoint(known);
        match good(middle)? {
            true => high = Some(middle),
            false => low = middle + 1,
        }
    }
    Ok(high)
}

/// Rounds that were tried, by how easy their value was and by their number.
struct Trying<F> {
    demand: Demand,
    tried: BTreeMap<u64, BTreeMap<u32, bool>>,
    /// The easiest value with which each round missed the goal.
    missed_at: Vec<Option<u64>>,
    rounds: F,
}

impl<E, F: FnMut(u64, &[u32]) -> Result<Vec<bool>, E>> Trying<F> {
    /// Whether a value holds in enough rounds, as far as the hardest `of` of them tell.
    fn holds(&mut self, ease: u64, of: u32) -> Result<bool, E> {
        let may_miss = self.demand.may_miss(self.demand.rounds) as usize;
        let mut order: Vec<u32> = (0..self.demand.rounds).collect();
        order.sort_by_key(|number| Reverse(self.missed_at[*number as usize]));
        order.truncate(of as usize);
        let tried = self.tried.entry(ease).or_default();
        loop {
            if tried.values().filter(|held| !**held).count() > may_miss {
                return Ok(false);
            }
            // As many again as were tried already: a value that misses often is done with soon, one that holds on all cores.
            let left = order.iter().filter(|number| !tried.contains_key(number));
            let next: Vec<u32> = left.copied().take(tried.len().max(BATCH)).collect();
            if next.is_empty() {
                return Ok(true);
            }
            for (number, held) in next.iter().zip((self.rounds)(ease, &next)?) {
                tried.insert(*number, held);
                let missed_at = &mut self.missed_at[*number as usize];
                if !held {
                    *missed_at = (*missed_at).max(Some(ease));
                }
            }
        }
    }
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
    ) -> impl Fn(u64, &[u32]) -> Result<Vec<bool>, ()> {
        move |value, rounds| {
            let held = rounds.iter().map(|round| {
                // The same draw for every value.
                let draw = f64::from(round.wrapping_mul(2_654_435_761) % 1000) / 1000.0;
                value >= edge || draw < below(value)
            });
            Ok(held.collect())
        }
    }

    fn within(from: u64, to: u64, near: u64) -> Bounds {
        Bounds { from, to, near }
    }

    proptest! {
        #[test]
        fn sharp_edge_is_found_wherever_it_is_and_wherever_the_search_begins(edge in 0_u64..3000, near in 0_u64..4000) {
            let sharp = world(edge, |_| 0.0);
            let found = search(Wanted::Smallest, within(0, 3000, near), DEMAND, &sharp).unwrap();
            prop_assert_eq!(found, Some(edge));
            let found = search(Wanted::Largest, within(0, 3000, near), DEMAND, |value, rounds| {
                sharp(3000 - value, rounds)
            }).unwrap();
            prop_assert_eq!(found, Some(3000 - edge));
        }

        #[test]
        fn value_that_is_found_meets_the_goal_and_the_next_harder_one_does_not(
            slope in 0.001_f64..0.2,
            edge in 20_u64..300,
            near in 1_u64..1000,
        ) {
            let rounds = world(edge, move |value| 1.0 - slope * (edge - value) as f64);
            let value = search(Wanted::Smallest, within(1, 1000, near), DEMAND, &rounds).unwrap().unwrap();
            let all: Vec<u32> = (0..200).collect();
            let missed = |value| rounds(value, &all).unwrap().iter().filter(|held| !**held).count();
            prop_assert!(missed(value) <= 2, "{value}: {}", missed(value));
            prop_assert!(missed(value - 1) > 2);
        }
    }

    #[test]
    fn goal_that_nothing_meets_has_no_value() {
        let mut tried = Vec::new();
        let found = search(
            Wanted::Smallest,
            within(1, 50, 1),
            DEMAND,
            |value, rounds| {
                tried.push(value);
                Ok::<_, ()>(vec![false; rounds.len()])
            },
        );
        assert_eq!(found, Ok(None));
        assert!(tried.contains(&50));
    }

    #[test]
    fn what_misses_with_one_value_is_tried_first_with_the_next() {
        // Rounds 150 to 152 miss below 40, all of them below 10.
        let mut after_the_first_miss = 0;
        let found = search(
            Wanted::Smallest,
            within(1, 100, 60),
            DEMAND,
            |value, rounds| {
                if value == 39 {
                    after_the_first_miss += rounds.len();
                }
                let held =
                    |round: &u32| value >= 40 || (value >= 10 && !(150..153).contains(round));
                Ok::<_, ()>(rounds.iter().map(held).collect())
            },
        );
        assert_eq!(found, Ok(Some(40)));
        assert!(after_the_first_miss <= 2 * BATCH, "{after_the_first_miss}");
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
