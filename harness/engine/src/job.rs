//! The remote jobs of a round: their names and their place, from the scenario and each task's draws.
//!
//! Owns naming. What is done with a job is the strategies', how it reads as shell text the connector's.

use std::sync::Arc;

use super::draws::{Draws, Purpose};
use crate::ssh::{Job, JobWork};
use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::scenario::Scenario;

/// The jobs of a round: what they have in common, and what their names follow from.
pub(crate) struct Jobs {
    work: Arc<JobWork>,
    name: String,
    seed: u64,
    repetition: u32,
    round: RoundId,
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
                duration: scenario.scaled(scenario.job.duration),
                log_lines: scenario.job.log_lines,
                log_bytes: scenario.job.log_bytes,
                exit_code: scenario.job.exit_code,
            }),
            name: sanitised(&scenario.name),
            seed: scenario.seed,
            repetition,
            round,
        }
    }

    /// The job of one task, named like the provider's: `af_<dag>_<task>_<run>_try<k>_<8 of a-z0-9>`. It is made anew, and the same,
    /// whenever it is asked for.
    pub(crate) fn of_task(&self, task: TaskId) -> Job {
        let mut draws = Draws::for_task(self.seed, self.repetition, task, Purpose::Name);
        let Jobs { name, round, .. } = self;
        Job {
            id: format!("af_{name}_t{task}_r{round}_try1_{}", draws.token(8)).into_boxed_str(),
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
