//! One task from its start to its end: a job submitted, watched and cleaned up by policy, slots held, or one command run;
//! killed on purpose or interrupted.

use std::future::ready;
use std::time::Duration;

use futures::FutureExt;

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

/// What is decided about a task beforehand, and is its own.
pub(crate) struct TaskPlan<S: Session> {
    pub(crate) job: Job,
    /// Killed this long after submission; always before the job can complete.
    pub(crate) kill_after: Option<Duration>,
    pub(crate) waits: Draws,
    /// Its part in a connection that it shares with other tasks.
    pub(crate) part: Option<Part<S>>,
}

impl<S: Session> TaskPlan<S> {
    fn hands<'a, C: Connector>(&'a mut self, link: &'a Link<C>) -> Hands<'a, C> {
        Hands {
            link,
            job: &self.job,
            waits: &mut self.waits,
        }
    }
}

/// The task's entry in the ledger: scheduled once, ended once, also when the future is dropped, before it began or after.
pub(crate) struct TaskEntry {
    collector: Collector,
    round: RoundId,
    task: TaskId,
    policy: CleanupPolicy,
    started: bool,
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
            started: false,
            ended: false,
        }
    }

    pub(crate) fn started(&mut self) {
        self.started = true;
        self.collector.record(Event::TaskStarted {
            round: self.round,
            task: self.task,
        });
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
        match (self.started, self.ended) {
            (_, true) => {}
            (true, false) => self.end_without_cleanup(TaskFate::Interrupted),
            (false, false) => {
                self.end(TaskFate::NotStarted, false, CleanupResult::NotRequired);
            }
        }
    }
}

/// Runs a task that has been started to its end. Dropping the future interrupts it.
///
/// What a task does is in boxes, each as large as it is: a million tasks that wait for their first connection have no room for what
/// comes later.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function has room twice for what it is given"
)]
pub(crate) fn run_task<'a, C: Connector>(
    link: &'a Link<C>,
    strategy: &'a Strategy,
    plan: &'a mut TaskPlan<C::Session>,
    others: &'a Rendezvous,
    entry: &'a mut TaskEntry,
) -> impl Future<Output = ()> + Send + 'a {
    async move {
        let phase = match strategy.life() {
            Life::Job(life) => return run_job(life, link, strategy, plan, entry).await,
            Life::Failing => None,
            Life::Hold(_) | Life::Once | Life::Shared | Life::Program => {
                Some(link.phase(Phase::Submit))
            }
        };
        let part = plan.part.take();
        let mut hands = plan.hands(link);
        let jobless = match strategy.life() {
            Life::Hold(life) => strategy.occupy(life, &mut hands, others).boxed(),
            Life::Once => strategy.run_once(&mut hands).boxed(),
            Life::Shared => match part {
                Some(part) => strategy.run_shared(&mut hands, part).boxed(),
                // A round gives every task its part.
                None => ready(Err(TaskFailure::SubmitConnect)).boxed(),
            },
            Life::Failing => strategy.fail(&hands).boxed(),
            // Programs are started elsewhere, without a connection of ours: one that is given to this side is not run.
            Life::Program | Life::Job(_) => ready(Err(TaskFailure::ClientStart)).boxed(),
        };
        let jobless = jobless.await;
        drop(phase);
        let fate = match jobless {
            Ok(()) => TaskFate::Succeeded,
            Err(failure) => TaskFate::Failed { failure },
        };
        entry.end(fate, false, CleanupResult::NotRequired);
    }
}

/// A task whose life is a job.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function has room twice for what it is given"
)]
fn run_job<'a, C: Connector>(
    life: JobLife,
    link: &'a Link<C>,
    strategy: &'a Strategy,
    plan: &'a mut TaskPlan<C::Session>,
    entry: &'a mut TaskEntry,
) -> impl Future<Output = ()> + Send + 'a {
    async move {
        let kill_after = plan.kill_after;
        let mut hands = plan.hands(link);
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
            let mut monitor = strategy.monitor(life, &mut hands);
            match kill_after {
                None => monitor.await,
                // Dropping the monitor abandons its connection without a word, as a killed process would.
                Some(after) => tokio::select! {
                    biased;
                    () = link.pause(after).boxed() => Err(TaskFailure::Killed),
                    monitored = &mut monitor => monitored,
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

        let required = match entry.policy {
            CleanupPolicy::Never => false,
            CleanupPolicy::OnSuccess => fate == TaskFate::Succeeded,
            CleanupPolicy::Always => true,
        };
        let cleanup = if required {
            let _phase = link.phase(Phase::Cleanup);
            strategy.cleanup(&mut hands).boxed().await
        } else {
            CleanupResult::NotRequired
        };
        entry.end(fate, required, cleanup);
    }
}
