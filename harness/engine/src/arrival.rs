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
