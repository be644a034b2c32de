//! One task from its start to its end: a job submitted, watched and cleaned up by policy, slots held, or one command run;
//! killed on purpose or interrupted.

use std::sync::Arc;
use std::time::Duration;

use super::draws::Draws;
use super::link::Link;
use super::rendezvous::Rendezvous;
use super::share::Part;
use super::strategy::{Hands, Strategy};
use crate::collector::Collector;
use crate::ssh::{Connector, Job, Session};
use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::ledger::Event;
use sshchurn_core::scenario::{JobLife, Life};
use sshchurn_core::vocabulary::{CleanupPolicy, CleanupResult, Phase, TaskFailure, TaskFate};

/// Everything that is decided about a task beforehand.
pub(crate) struct TaskPlan<S: Session> {
    pub(crate) task: TaskId,
    pub(crate) job: Job,
    pub(crate) strategy: Arc<Strategy>,
    pub(crate) cleanup: CleanupPolicy,
    /// Killed this long after submission; always before the job can complete.
    pub(crate) kill_after: Option<Duration>,
    pub(crate) waits: Draws,
    /// Its part in a connection that it shares with other tasks.
    pub(crate) part: Option<Part<S>>,
}

/// The task's entry in the ledger: scheduled once, ended once, also when the future is dropped.
pub(crate) struct TaskEntry {
    collector: Collector,
    round: RoundId,
    task: TaskId,
    policy: CleanupPolicy,
    ended: bool,
}

impl TaskEntry {
    /// Opens the entry; the caller records `TaskScheduled` itself, with the intended start.
    pub(crate) fn new(
        collector: Collector,
        round: RoundId,
        task: TaskId,
        policy: CleanupPolicy,
    ) -> Self {
        TaskEntry {
            collector,
            round,
            task,
            policy,
            ended: false,
        }
    }

    pub(crate) fn started(&self) {
        self.collector.record(Event::TaskStarted {
            round: self.round,
            task: self.task,
        });
    }

    pub(crate) fn not_started(mut self) {
        self.end(TaskFate::NotStarted, false, CleanupResult::NotRequired);
    }

    fn end(&mut self, fate: TaskFate, removal_required: bool, cleanup: CleanupResult) {
        self.ended = true;
        self.collector.record(Event::TaskEnded {
            round: self.round,
            task: self.task,
            fate,
            removal_required,
            cleanup,
        });
    }

    /// What a task that ended without a chance to clean up owes.
    fn end_without_cleanup(&mut self, fate: TaskFate) {
        let required = self.policy == CleanupPolicy::Always;
        let cleanup = if required {
            CleanupResult::NotAttempted
        } else {
            CleanupResult::NotRequired
        };
        self.end(fate, required, cleanup);
    }
}

impl Drop for TaskEntry {
    fn drop(&mut self) {
        if !self.ended {
            self.end_without_cleanup(TaskFate::Interrupted);
        }
    }
}

/// Runs a task that has been started to its end. Dropping the future interrupts it.
pub(crate) async fn run_task<C: Connector>(
    link: &Link<C>,
    plan: &mut TaskPlan<C::Session>,
    others: &Rendezvous,
    mut entry: TaskEntry,
) {
    let mut hands = Hands {
        link,
        job: &plan.job,
        waits: &mut plan.waits,
    };
    let strategy = &plan.strategy;
    let jobless = match strategy.life() {
        Life::Job(life) => {
            return run_job(life, hands, strategy, plan.cleanup, plan.kill_after, entry).await;
        }
        Life::Hold(life) => {
            let _phase = link.phase(Phase::Submit);
            strategy.occupy(life, &mut hands, others).await
        }
        Life::Once => {
            let _phase = link.phase(Phase::Submit);
            strategy.run_once(&mut hands).await
        }
        Life::Shared => match plan.part.take() {
            Some(part) => {
                let _phase = link.phase(Phase::Submit);
                strategy.run_shared(&mut hands, part).await
            }
            // A round gives every task its part.
            None => Err(TaskFailure::SubmitConnect),
        },
        Life::Failing => strategy.fail(&hands).await,
        // Programs are started elsewhere, without a connection of ours: one that is given to this side is not run.
        Life::Program => Err(TaskFailure::ClientStart),
    };
    let fate = match jobless {
        Ok(()) => TaskFate::Succeeded,
        Err(failure) => TaskFate::Failed { failure },
    };
    entry.end(fate, false, CleanupResult::NotRequired);
}

/// A task whose life is a job.
async fn run_job<C: Connector>(
    life: JobLife,
    mut hands: Hands<'_, C>,
    strategy: &Strategy,
    policy: CleanupPolicy,
    kill_after: Option<Duration>,
    mut entry: TaskEntry,
) {
    let link = hands.link;
    let submitted = {
        let _phase = link.phase(Phase::Submit);
        strategy.submit(life, &mut hands).await
    };
    if let Err(failure) = submitted {
        // The provider raises before it defers: nothing is monitored and nothing is cleaned up.
        entry.end_without_cleanup(TaskFate::Failed { failure });
        return;
    }

    let monitored = {
        let _phase = link.phase(Phase::Poll);
        let monitor = strategy.monitor(life, &mut hands);
        match kill_after {
            None => monitor.await,
            // Dropping the monitor abandons its connection without a word, as a killed process would.
            Some(after) => tokio::select! {
                biased;
                () = link.pause(after) => Err(TaskFailure::Killed),
                monitored = monitor => monitored,
            },
        }
    };
    let fate = match monitored {
        Ok(0) => TaskFate::Succeeded,
        Ok(_) => TaskFate::Failed {
            failure: TaskFailure::JobExit,
        },
        Err(failure) => TaskFate::Failed { failure },
    };
    if monitored == Err(TaskFailure::Killed) {
        entry.end_without_cleanup(fate);
        return;
    }

    let required = match policy {
        CleanupPolicy::Never => false,
        CleanupPolicy::OnSuccess => fate == TaskFate::Succeeded,
        CleanupPolicy::Always => true,
    };
    let cleanup = if required {
        let _phase = link.phase(Phase::Cleanup);
        strategy.cleanup(&mut hands).await
    } else {
        CleanupResult::NotRequired
    };
    entry.end(fate, required, cleanup);
}
