//! Pacing: the intended start of every task, relative to the release of the barrier. Pure.

use std::time::Duration;

use super::draws::{Draws, Purpose};
use sshchurn_core::scenario::{ArrivalShape, Scenario};

/// Intended starts of all tasks of a round in task order, relative to the release, already scaled.
#[must_use]
pub fn intended_starts(scenario: &Scenario, repetition: u32) -> Vec<Duration> {
    let tasks = scenario.tasks;
    match &scenario.arrival.shape {
        ArrivalShape::Burst => vec![Duration::ZERO; tasks as usize],
        ArrivalShape::Ramp { over } => {
            let over = scenario.scaled(*over);
            // First at zero, last at the end: the gaps are one fewer than the tasks.
            let gaps = tasks.saturating_sub(1).max(1);
            (0..tasks).map(|task| over * task / gaps).collect()
        }
        ArrivalShape::Batches { size, every } => {
            let every = scenario.scaled(*every);
            (0..tasks)
                .map(|task| every.saturating_mul(task / size.max(&1)))
                .collect()
        }
        ArrivalShape::Recorded {
            offsets,
            resolution,
        } => {
            let mut draws = Draws::for_repetition(scenario.seed, repetition, Purpose::Arrival);
            let mut starts: Vec<Duration> = offsets
                .iter()
                .map(|offset| scenario.scaled(*offset + draws.duration(*resolution)))
                .collect();
            // The tasks of one step have drawn in any order.
            starts.sort_unstable();
            starts
        }
        ArrivalShape::Poisson { rate_per_s } => {
            let mut draws = Draws::for_repetition(scenario.seed, repetition, Purpose::Arrival);
            let mut at = Duration::ZERO;
            (0..tasks)
                .map(|_| {
                    at = at.saturating_add(scenario.scaled(draws.exponential(*rate_per_s)));
                    at
                })
                .collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::scenario;
    use sshchurn_core::scenario::StrategyKind;

    #[test]
    fn poisson_arrivals_come_in_order_and_at_their_rate() {
        let mut scenario = scenario(StrategyKind::OneShot, 10_000);
        scenario.arrival.shape = ArrivalShape::Poisson { rate_per_s: 50.0 };
        let starts = intended_starts(&scenario, 1);
        assert!(starts.windows(2).all(|pair| pair[0] <= pair[1]));
        // The mean of 10 000 gaps of 20 ms: one per cent is its standard deviation, and the draws are always the same.
        let last = starts.last().expect("tasks").as_secs_f64();
        assert!((last - 200.0).abs() < 6.0, "{last}");
    }

    #[test]
    fn arrivals_too_rare_to_be_written_down_are_late_and_no_panic() {
        let mut scenario = scenario(StrategyKind::OneShot, 3);
        scenario.arrival.shape = ArrivalShape::Poisson { rate_per_s: 1e-300 };
        assert_eq!(intended_starts(&scenario, 1), [Duration::MAX; 3]);
    }

    fn starts(shape: ArrivalShape, tasks: u32, time_scale: f64) -> Vec<Duration> {
        let mut scenario = scenario(StrategyKind::PerCommand, tasks);
        scenario.arrival.shape = shape;
        scenario.time_scale = time_scale;
        intended_starts(&scenario, 0)
    }

    #[test]
    fn burst_intends_every_start_at_once() {
        assert_eq!(
            starts(ArrivalShape::Burst, 3, 1.0),
            [Duration::ZERO, Duration::ZERO, Duration::ZERO]
        );
    }

    #[test]
    fn ramp_begins_at_once_ends_at_its_end_and_is_even_between() {
        let over = Duration::from_secs(8);
        assert_eq!(
            starts(ArrivalShape::Ramp { over }, 5, 0.5),
            [0, 1, 2, 3, 4].map(Duration::from_secs)
        );
        assert_eq!(
            starts(ArrivalShape::Ramp { over }, 1, 1.0),
            [Duration::ZERO],
            "one task has nothing to wait for"
        );
    }

    #[test]
    fn batches_begin_together_and_the_last_one_may_be_smaller() {
        let every = Duration::from_secs(4);
        assert_eq!(
            starts(ArrivalShape::Batches { size: 3, every }, 7, 0.5),
            [0, 0, 0, 2, 2, 2, 4].map(Duration::from_secs)
        );
    }

    #[test]
    fn recorded_arrivals_begin_as_they_were_seen() {
        let offsets = [0, 350, 350, 4000].map(Duration::from_millis).to_vec();
        let resolution = Duration::ZERO;
        assert_eq!(
            starts(
                ArrivalShape::Recorded {
                    offsets,
                    resolution
                },
                4,
                0.5
            ),
            [0, 175, 175, 2000].map(Duration::from_millis)
        );
    }

    #[test]
    fn starts_recorded_by_a_coarse_clock_are_drawn_within_its_step() {
        let second = Duration::from_secs(1);
        let offsets: Vec<Duration> = (0..1000).map(|task| second * (task / 100)).collect();
        let shape = ArrivalShape::Recorded {
            offsets: offsets.clone(),
            resolution: second,
        };
        let mut scenario = scenario(StrategyKind::OneShot, 1000);
        scenario.arrival.shape = shape;
        let starts = intended_starts(&scenario, 0);
        assert!(starts.windows(2).all(|pair| pair[0] <= pair[1]));
        for (start, offset) in starts.iter().zip(&offsets) {
            assert!((*offset..*offset + second).contains(start), "{start:?}");
        }
        // The mean of 1000 uniform draws: four standard errors of it are 37 ms.
        let mean: f64 = starts.iter().map(Duration::as_secs_f64).sum::<f64>() / 1000.0;
        assert!((mean - 5.0).abs() < 0.037, "{mean}");
        assert_eq!(intended_starts(&scenario, 0), starts, "by the seed");
        assert_ne!(
            intended_starts(&scenario, 1),
            starts,
            "and anew in each round"
        );
    }

    /// Gaps between neighbours, the first counted from the release, seconds.
    fn gaps(starts: &[Duration]) -> Vec<f64> {
        let before = std::iter::once(&Duration::ZERO).chain(starts);
        before
            .zip(starts)
            .map(|(before, start)| {
                start
                    .checked_sub(*before)
                    .expect("starts are in task order")
                    .as_secs_f64()
            })
            .collect()
    }

    #[test]
    fn poisson_arrivals_have_exponential_gaps_of_the_rate() {
        const TASKS: u32 = 4_000;
        let rate_per_s = 20.0;
        let gaps = gaps(&starts(ArrivalShape::Poisson { rate_per_s }, TASKS, 1.0));
        let count = f64::from(TASKS);
        let mean = gaps.iter().sum::<f64>() / count;
        // Four standard errors; mean and standard deviation of one gap are both 1 / rate.
        let error = 4.0 / count.sqrt();
        assert!((mean * rate_per_s - 1.0).abs() < error, "mean {mean} s");
        // What tells them from even or uniform gaps: a share of exp(-k) is longer than k means.
        for k in [0.5, 1.0, 2.0, 3.0] {
            let longer = gaps.iter().filter(|gap| **gap * rate_per_s > k).count();
            let share = f64::from(u32::try_from(longer).expect("few")) / count;
            let expected = f64::exp(-k);
            let error = 4.0 * (expected * (1.0 - expected) / count).sqrt();
            assert!(
                (share - expected).abs() < error,
                "{share} of the gaps are longer than {k} means, not {expected}"
            );
        }
    }

    #[test]
    fn poisson_arrivals_are_shrunk_with_everything_else() {
        let shape = ArrivalShape::Poisson { rate_per_s: 2.0 };
        let whole = starts(shape.clone(), 50, 1.0);
        let tenth = starts(shape, 50, 0.1);
        for (whole, tenth) in whole.iter().zip(&tenth) {
            // Each gap is rounded to a nanosecond.
            let difference = whole.as_secs_f64() / 10.0 - tenth.as_secs_f64();
            assert!(difference.abs() < 1e-6, "{whole:?} and {tenth:?}");
        }
    }

    #[test]
    fn poisson_arrivals_are_the_seeds_and_the_repetitions() {
        let mut scenario = scenario(StrategyKind::PerCommand, 20);
        scenario.arrival.shape = ArrivalShape::Poisson { rate_per_s: 5.0 };
        let first = intended_starts(&scenario, 0);
        assert_eq!(
            intended_starts(&scenario, 0),
            first,
            "the same seed, the same starts"
        );
        assert_ne!(intended_starts(&scenario, 1), first);
        // Strategies of one repetition meet the same arrivals.
        scenario.strategies[0].kind = StrategyKind::ReusedSession;
        assert_eq!(intended_starts(&scenario, 0), first);
        scenario.seed += 1;
        assert_ne!(intended_starts(&scenario, 0), first);
    }
}
