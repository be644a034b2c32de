//! Pacing: the intended start of every task, relative to the release of the barrier. Pure.

use std::time::Duration;

use super::draws::{Draws, Purpose};
use sshchurn_core::scenario::{ArrivalShape, Scenario};

/// Intended starts of all tasks of a round in task order, relative to the release, already scaled.
pub(crate) fn intended_starts(scenario: &Scenario, repetition: u32) -> Vec<Duration> {
    let tasks = scenario.tasks;
    match &scenario.arrival.shape {
        ArrivalShape::Burst => vec![Duration::ZERO; tasks as usize],
        ArrivalShape::Ramp { over } => {
            let over = scenario.scaled(*over);
            // First at zero, last at the end: the gaps are one fewer than the tasks.
            let gaps = tasks.saturating_sub(1).max(1);
            (0..tasks).map(|task| over * task / gaps).collect()
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
}
