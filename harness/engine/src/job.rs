//! The remote job of one task: its name and its place, from the scenario and the task's draws.
//!
//! Owns naming. What is done with a job is the strategies', how it reads as shell text the connector's.

use super::draws::{Draws, Purpose};
use crate::ssh::Job;
use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::scenario::Scenario;

/// The job of one task below `base`: named like the provider's, `af_<dag>_<task>_<run>_try<k>_<8 of a-z0-9>`.
pub(crate) fn of_task(
    base: &str,
    scenario: &Scenario,
    repetition: u32,
    round: RoundId,
    task: TaskId,
) -> Job {
    let mut draws = Draws::for_task(scenario.seed, repetition, task, Purpose::Name);
    let id = format!(
        "af_{}_t{}_r{}_try1_{}",
        sanitised(&scenario.name),
        task,
        round,
        draws.token(8)
    );
    Job {
        directory: format!("{}/{id}", base.trim_end_matches('/')),
        id,
        duration: scenario.scaled(scenario.job.duration),
        log_lines: scenario.job.log_lines,
        log_bytes: scenario.job.log_bytes,
        exit_code: scenario.job.exit_code,
    }
}

/// A name part reduced to `[A-Za-z0-9_]` and cut at 50 characters, as the provider does.
fn sanitised(part: &str) -> String {
    part.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(50)
        .collect()
}
