//! One task from behind the barrier to its end: a job submitted, watched and cleaned up by policy, slots held, or one command run;
//! killed on purpose or interrupted.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Either, select};

use super::common::Common;
use super::draws::Draws;
use super::link::{Ending, Link};
use super::rendezvous::Rendezvous;
use super::share::Part;
use super::strategy::{Hands, Strategy};
use crate::ssh::{Connector, Job, Session};
use sshchurn_core::scenario::Life;
use sshchurn_core::vocabulary::{CleanupPolicy, CleanupResult, Phase, TaskFailure, TaskFate};

/// A task of a round.
pub(crate) struct Task<C: Connector> {
    pub(crate) entry: TaskEntry<C>,
    pub(crate) plan: TaskPlan<C::Session>,
    /// From the round's release to its start, nanoseconds.
    pub(crate) offset_ns: u64,
    pub(crate) round: Arc<Common>,
}

/// What is decided about a task beforehand, and is its own.
pub(crate) struct TaskPlan<S: Session> {
    pub(crate) job: Job,
    pub(crate) waits: Draws,
    /// In a box, since few tasks have it.
    pub(crate) special: Option<Box<Special<S>>>,
}

/// What is decided beforehand about few tasks.
pub(crate) struct Special<S: Session> {
    /// Killed this long after submission; always before the job can complete.
    pub(crate) kill_after: Option<Duration>,
    /// Its part in a connection that it shares with other tasks.
    pub(crate) part: Option<Part<S>>,
}

/// The task's entry in the ledger, and its way to the network: scheduled once, ended once, also when it is dropped, before it began or
/// after.
pub(crate) struct TaskEntry<C: Connector> {
    link: Link<C>,
    policy: CleanupPolicy,
    started: bool,
    ended: bool,
}

impl<C: Connector> TaskEntry<C> {
    /// Opens the entry; the caller records `TaskScheduled` itself, with the intended start.
    pub(crate) fn new(link: Link<C>, policy: CleanupPolicy) -> Self {
        TaskEntry {
            link,
            policy,
            started: false,
            ended: false,
        }
    }

    fn started(&mut self) {
        self.started = true;
        self.link.task_started();
    }

    fn end(&mut self, ending: Ending) {
        self.ended = true;
        self.link.task_ended(ending);
    }
}

impl Ending {
    /// Of a task that had no chance to clean up: what it owes.
    fn without_cleanup(policy: CleanupPolicy, fate: TaskFate) -> Self {
        let removal_required = policy == CleanupPolicy::Always;
        let cleanup = match removal_required {
            true => CleanupResult::NotAttempted,
            false => CleanupResult::NotRequired,
        };
        Ending {
            fate,
            removal_required,
            cleanup,
        }
    }

    /// Of a task that has nothing to clean up.
    fn with_nothing_to_clean_up(fate: TaskFate) -> Self {
        Ending {
            fate,
            removal_required: false,
            cleanup: CleanupResult::NotRequired,
        }
    }
}

impl<C: Connector> Drop for TaskEntry<C> {
    fn drop(&mut self) {
        match (self.started, self.ended) {
            (_, true) => {}
            (true, false) => self.end(Ending::without_cleanup(self.policy, TaskFate::Interrupted)),
            (false, false) => self.end(Ending::with_nothing_to_clean_up(TaskFate::NotStarted)),
        }
    }
}

impl<C: Connector> Task<C> {
    /// Runs it. Dropping the future interrupts it.
    ///
    /// A million simulated tasks may wait in one, most of them for their first connection: whatever else a task waits for is in a box
    /// of its own size, so that there is no room for what comes later.
    pub(crate) fn run(mut self) -> impl Future<Output = ()> + Send + 'static {
        async move {
            // A generator that cannot even make a socket says so again, recorded, at the first attempt.
            let _ = self.entry.link.prepare();
            self.round.ready.arrive();
            let offset = Duration::from_nanos(self.offset_ns);
            let Ok(_slot) = self.round.turn(offset).boxed().await else {
                // Tasks that hold their slots until all have their answers must not wait for this one.
                self.round.others.arrive();
                return;
            };
            self.entry.started();
            let mut hands = Hands {
                link: &self.entry.link,
                job: &self.plan.job,
                waits: &mut self.plan.waits,
            };
            let strategy = &self.round.strategy;
            let Life::Job(life) = strategy.life() else {
                let phase = (strategy.life() != Life::Failing)
                    .then(|| self.entry.link.phase(Phase::Submit));
                let special = self.plan.special.take();
                let part = special.and_then(|special| special.part);
                let done = jobless(strategy, &mut hands, part, &self.round.others).await;
                drop(phase);
                let fate = done.map_or_else(failed, |()| TaskFate::Succeeded);
                self.entry.end(Ending::with_nothing_to_clean_up(fate));
                return;
            };
            let submitted = {
                let _phase = self.entry.link.phase(Phase::Submit);
                strategy.submit(life, &mut hands).await
            };
            if let Err(failure) = submitted {
                // The provider raises before it defers: nothing is monitored and nothing is cleaned up.
                let policy = self.entry.policy;
                self.entry
                    .end(Ending::without_cleanup(policy, failed(failure)));
                return;
            }

            let monitored = {
                let _phase = self.entry.link.phase(Phase::Poll);
                let special = self.plan.special.as_ref();
                let monitor = match special.and_then(|special| special.kill_after) {
                    None => strategy.monitor(life, &mut hands),
                    Some(after) => {
                        let its_time = hands.link.pause(after);
                        killed(its_time, strategy.monitor(life, &mut hands))
                    }
                };
                monitor.await
            };
            let policy = self.entry.policy;
            let fate = match monitored {
                Ok(0) => TaskFate::Succeeded,
                Ok(_) => failed(TaskFailure::JobExit),
                Err(failure) => failed(failure),
            };
            if monitored == Err(TaskFailure::Killed) {
                self.entry.end(Ending::without_cleanup(policy, fate));
                return;
            }

            let removal_required = match policy {
                CleanupPolicy::Never => false,
                CleanupPolicy::OnSuccess => fate == TaskFate::Succeeded,
                CleanupPolicy::Always => true,
            };
            let cleanup = if removal_required {
                let _phase = self.entry.link.phase(Phase::Cleanup);
                strategy.cleanup(&mut hands).boxed().await
            } else {
                CleanupResult::NotRequired
            };
            self.entry.end(Ending {
                fate,
                removal_required,
                cleanup,
            });
        }
    }
}

fn failed(failure: TaskFailure) -> TaskFate {
    TaskFate::Failed { failure }
}

/// The life of a task that has no job.
fn jobless<'a, C: Connector>(
    strategy: &'a Strategy,
    hands: &'a mut Hands<'_, C>,
    part: Option<Part<C::Session>>,
    others: &'a Rendezvous,
) -> BoxFuture<'a, Result<(), TaskFailure>> {
    match strategy.life() {
        Life::Hold(life) => strategy.occupy(life, hands, others).boxed(),
        Life::Once => strategy.run_once(hands).boxed(),
        Life::Shared => match part {
            Some(part) => strategy.run_shared(hands, part).boxed(),
            // A round gives every task its part.
            None => ready(Err(TaskFailure::SubmitConnect)).boxed(),
        },
        Life::Failing => strategy.fail(hands).boxed(),
        // Programs are started elsewhere, without a connection of ours: one that is given to this side is not run.
        Life::Program | Life::Job(_) => ready(Err(TaskFailure::ClientStart)).boxed(),
    }
}

/// Watches a job until its time comes to be killed. Dropping what watches it abandons its connection without a word, as a killed
/// process would.
fn killed<'a>(
    its_time: impl Future<Output = ()> + Send + 'a,
    monitor: BoxFuture<'a, Result<i32, TaskFailure>>,
) -> BoxFuture<'a, Result<i32, TaskFailure>> {
    select(Box::pin(its_time), monitor)
        .map(|first| match first {
            Either::Left(_) => Err(TaskFailure::Killed),
            Either::Right((monitored, _)) => monitored,
        })
        .boxed()
}
