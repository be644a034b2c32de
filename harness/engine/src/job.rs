//! The remote jobs of a round: their names and their place, from the scenario and each task's draws.
//!
//! Owns naming. What is done with a job is the strategies', how it reads as shell text the connector's.

use std::sync::Arc;

use super::draws::{Draws, Purpose};
use crate::ssh::{Job, JobWork};
use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::scenario::Scenario;

/// The jobs of a round: what they have in common, and what the rest of their names follows from.
pub(crate) struct Jobs {
    work: Arc<JobWork>,
    seed: u64,
    repetition: u32,
}

impl Jobs {
    /// Those of a round, below `base`.
    pub(crate) fn of_round(
        base: &str,
        scenario: &Scenario,
        repetition: u32,
        round: RoundId,
    ) -> Self {
        Jobs {
            work: Arc::new(JobWork {
                base: base.trim_end_matches('/').to_owned(),
                name: sanitised(&scenario.name),
                round,
                duration: scenario.scaled(scenario.job.duration),
                log_lines: scenario.job.log_lines,
                log_bytes: scenario.job.log_bytes,
                exit_code: scenario.job.exit_code,
            }),
            seed: scenario.seed,
            repetition,
        }
    }

    /// The job of one task. It is made anew, and the same, whenever it is asked for.
    pub(crate) fn of_task(&self, task: TaskId) -> Job {
        let mut draws = Draws::for_task(self.seed, self.repetition, task, Purpose::Name);
        Job {
            task,
            token: draws.token(),
            work: Arc::clone(&self.work),
        }
    }
}

/// A name part reduced to `[A-Za-z0-9_]` and cut at 50 characters, as the provider does.
fn sanitised(part: &str) -> String {
    part.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(50)
        .collect()
}
