//! A round: one strategy, N tasks, everything prepared behind a barrier, then started as the arrival pattern says.

use std::iter::{repeat, repeat_with};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;

use super::arrival::intended_starts;
use super::common::Common;
use super::draws::{Draws, Purpose};
use super::job::Jobs;
use super::link::Link;
use super::rendezvous::{Rendezvous, Word};
use super::share::{Part, Share};
use super::spawner::{Spawner, TokioSpawner};
use super::stop::{StopLevel, StopSignal};
use super::strategy::Strategy;
use super::task::{Special, Task, TaskEntry, TaskPlan};
use crate::collector::Collector;
use crate::ssh::{Connector, Session};
use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::ledger::{Event, RoundEnd};
use sshchurn_core::quantity::nanoseconds;
use sshchurn_core::scenario::{Life, Scenario, StrategyConfig};

/// Between the last preparation and the release: long enough to write all intended starts into the ledger before
/// the first of them is due.
const RELEASE_LEAD: Duration = Duration::from_millis(50);

/// One round of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RoundPlan {
    /// Its number in execution order.
    pub round: RoundId,
    /// Which repetition of its strategy, from 1.
    pub repetition: u32,
    /// The strategy.
    pub strategy: StrategyConfig,
}

/// All rounds of a scenario in execution order: strategies interleaved within each repetition, in seeded order, so
/// that neither a drift of the machine nor the position after the other strategy favours one of them.
#[must_use]
pub fn plan_rounds(scenario: &Scenario) -> Vec<RoundPlan> {
    let mut plans = Vec::new();
    for repetition in 1..=scenario.rounds {
        let mut draws = Draws::for_repetition(scenario.seed, repetition, Purpose::Order);
        let mut remaining: Vec<&StrategyConfig> = scenario.strategies.iter().collect();
        while !remaining.is_empty() {
            let strategy = remaining.remove(draws.index(remaining.len())).clone();
            let round = RoundId(u32::try_from(plans.len()).unwrap_or(u32::MAX) + 1);
            plans.push(RoundPlan {
                round,
                repetition,
                strategy,
            });
        }
    }
    plans
}

/// Executes rounds of one scenario, one at a time.
pub struct Engine {
    scenario: Scenario,
    jobs_directory: String,
    collector: Collector,
    stop: StopSignal,
    may_ban: bool,
}

impl Engine {
    /// An engine for `scenario` whose jobs live under `jobs_directory` on the target.
    #[must_use]
    pub fn new(
        scenario: Scenario,
        jobs_directory: String,
        collector: Collector,
        stop: StopSignal,
    ) -> Self {
        Engine {
            scenario,
            jobs_directory,
            collector,
            stop,
            may_ban: false,
        }
    }

    pub(crate) fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    pub(crate) fn stop(&self) -> &StopSignal {
        &self.stop
    }

    /// A way to the network for one task, or one holder, of a round.
    pub(crate) fn link<C: Connector>(&self, connector: C, round: RoundId, task: TaskId) -> Link<C> {
        Link::new(connector, self.collector.clone(), round, task)
    }

    /// Says that the server may ban addresses for what their clients do, whatever the scenario says: it has a configuration of
    /// its own.
    #[must_use]
    pub fn on_a_server_that_may_ban(mut self, may_ban: bool) -> Self {
        self.may_ban = may_ban;
        self
    }

    /// Runs one round to its end; `connector` makes one connector for each task. The caller records
    /// `RoundStarted` and `RoundEnded`, which say what only it can know about the target.
    pub async fn run_round<C: Connector>(
        &self,
        plan: &RoundPlan,
        connector: impl Fn() -> C,
    ) -> RoundEnd {
        self.run_round_on(&TokioSpawner, plan, connector).await
    }

    /// As [`Engine::run_round`], with the tasks run by `spawner`.
    pub async fn run_round_on<C: Connector, S: Spawner>(
        &self,
        spawner: &S,
        plan: &RoundPlan,
        connector: impl Fn() -> C,
    ) -> RoundEnd {
        let starts = intended_starts(&self.scenario, plan.repetition);
        let tasks = self.scenario.tasks;
        let in_flight = self.scenario.arrival.max_in_flight;
        let strategy = Strategy::new(&self.scenario, &plan.strategy).penalised_too(self.may_ban);
        let (seed, cleanup) = (self.scenario.seed, plan.strategy.tunables.cleanup);
        let round = Arc::new(Common {
            strategy,
            jobs: Jobs::of_round(
                &self.jobs_directory,
                &self.scenario,
                plan.repetition,
                plan.round,
            ),
            ready: Rendezvous::new(tasks),
            others: Rendezvous::new(tasks),
            release: Word::new(),
            slots: in_flight.map(|limit| Arc::new(Semaphore::new(limit as usize))),
            clock: self.collector.clock().clone(),
            stop: self.stop.clone(),
        });
        let kills = kill_times(&self.scenario, plan.repetition).into_iter();
        let parts = parts::<C::Session>(&self.scenario, &plan.strategy);
        let each = (0..tasks)
            .map(TaskId)
            .zip(&starts)
            .zip(kills.chain(repeat(None)))
            .zip(parts.map(Some).chain(repeat_with(|| None)));
        let arriving = stream::iter(each).then(async |each| {
            if !S::AHEAD {
                let (((_, offset), _), _) = &each;
                round.due(**offset).await;
            }
            each
        });
        let running = arriving.map(|(((task, offset), kill_after), part)| {
            let task = Task {
                entry: TaskEntry::new(self.link(connector(), plan.round, task), cleanup),
                plan: TaskPlan {
                    job: round.jobs.of_task(task),
                    waits: Draws::for_task(seed, plan.repetition, task, Purpose::Waits),
                    special: (kill_after.is_some() || part.is_some())
                        .then(|| Box::new(Special { kill_after, part })),
                },
                offset_ns: nanoseconds(*offset),
                round: Arc::clone(&round),
            };
            task.run()
        });
        let begin = async {
            if S::AHEAD {
                round.ready.complete().await;
            }
            let release_at = self.collector.clock().now() + RELEASE_LEAD;
            for (task, offset) in (0..tasks).map(TaskId).zip(&starts) {
                self.collector.record(Event::TaskScheduled {
                    round: plan.round,
                    task,
                    intended: release_at + *offset,
                    job_id: round.jobs.of_task(task).id(),
                });
            }
            round.release.say(release_at);
        };
        // Both at once: tasks that nobody else runs come to the barrier only when they are polled here.
        let abort = self.stop.at_least(StopLevel::Abort);
        join(begin, spawner.run_all(running, abort)).await;
        match self.stop.level() {
            StopLevel::Run => RoundEnd::Complete,
            StopLevel::Drain => RoundEnd::Drained,
            StopLevel::Abort => RoundEnd::Aborted,
        }
    }
}

/// The parts of all tasks, in their order, in the connections that they share; none where they share none.
fn parts<S: Session>(
    scenario: &Scenario,
    strategy: &StrategyConfig,
) -> impl Iterator<Item = Part<S>> {
    let (tasks, sharing) = match strategy.kind.life() {
        Life::Shared => (
            scenario.tasks,
            strategy.tunables.sessions_per_connection.max(1),
        ),
        Life::Job(_) | Life::Hold(_) | Life::Once | Life::Failing | Life::Program => (0, 1),
    };
    (0..tasks.div_ceil(sharing))
        .flat_map(move |group| Share::among(sharing.min(tasks - group * sharing)))
}

/// When each task is killed, after its submission: exactly `killed_share` of the tasks, chosen by their draws, at a
/// moment before the job can complete. Empty where none is.
fn kill_times(scenario: &Scenario, repetition: u32) -> Vec<Option<Duration>> {
    let tasks = scenario.tasks as usize;
    let killed = (scenario.job.killed_share * f64::from(scenario.tasks)).round() as usize;
    if killed == 0 {
        return Vec::new();
    }
    let mut draws: Vec<(f64, Duration)> = (0..scenario.tasks)
        .map(|task| {
            let mut draws = Draws::for_task(scenario.seed, repetition, TaskId(task), Purpose::Kill);
            let rank = draws.unit();
            (rank, scenario.scaled(draws.duration(scenario.job.duration)))
        })
        .collect();
    let mut ranks: Vec<usize> = (0..tasks).collect();
    ranks.sort_by(|a, b| draws[*a].0.total_cmp(&draws[*b].0));
    let mut kills = vec![None; tasks];
    for index in ranks.into_iter().take(killed) {
        kills[index] = Some(std::mem::take(&mut draws[index].1));
    }
    kills
}
