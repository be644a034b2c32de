//! A round with everything that belongs to it: idle before, tasks, idle after, inventory, log.
//!
//! Owns the order of these and which of them a dead server excuses. How tasks run is the engine's.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sshchurn_core::ledger::{Event, RoundEnd};
use sshchurn_core::manifest::ServerKind;
use sshchurn_core::scenario::client::Pattern;
use sshchurn_engine::collector::Collector;
use sshchurn_engine::ssh::RusshConnector;
use sshchurn_engine::{Engine, Leaving, RoundPlan, StopLevel, StopSignal};
use sshchurn_server::{Idle, LogLost, LogWatch, RunningServer, ServerError};

use super::clients::Clients;
use super::error::SessionError;
use super::live::Live;
use super::notice::{Notice, Observer, RoundTitle};
use super::stop::{RunStop, StopCause};
use super::witness::RoundWitness;

/// How long a server may take to become idle before or after a round.
const IDLE_WITHIN: Duration = Duration::from_secs(30);

/// Executes the rounds of one run on its server.
pub(super) struct Rounds<'a> {
    pub(super) engine: &'a Engine,
    /// The clients under test, where there are any.
    pub(super) clients: Option<&'a Clients<'a>>,
    pub(super) signal: &'a StopSignal,
    /// Whether the scenario has the server ban sources.
    pub(super) penalises: bool,
    pub(super) server: &'a RunningServer,
    pub(super) connector: &'a RusshConnector,
    pub(super) collector: &'a Collector,
    pub(super) stop: &'a RunStop,
    pub(super) observer: &'a dyn Observer,
    pub(super) of: usize,
    /// The server's log on its way into the ledger; `None` where there is none.
    pub(super) log: Option<&'a LogWatch>,
    /// The command that prints somebody else's log has ended, and that was said.
    pub(super) log_ended: AtomicBool,
}

impl Rounds<'_> {
    /// One round of `tasks`.
    pub(super) async fn round(
        &self,
        plan: &RoundPlan,
        tasks: u32,
    ) -> Result<RoundEnd, SessionError> {
        self.server.clear_jobs().await?;
        let before = self.left_by_clients(plan).await?;
        let idle = self.server.wait_idle(IDLE_WITHIN).await?;
        // What was logged until now, by the calibration for one, is no round's: it must come before this one's beginning.
        self.take_log().await;
        self.collector.record(Event::RoundStarted {
            round: plan.round,
            repetition: plan.repetition,
            strategy: plan.strategy.name.clone(),
            cleanup: plan.strategy.tunables.cleanup,
            tasks,
            proven_idle: idle == Idle::Proven,
        });
        let witness = RoundWitness::start(self.server.witness(), self.collector, plan.round).await;
        let title = RoundTitle {
            round: plan.round,
            of: self.of,
            strategy: plan.strategy.name.clone(),
            tasks,
            under_test: plan.strategy.program.is_some(),
        };
        let (end, death) = self.tasks(plan, &title).await?;
        self.after_tasks(plan, end, before, witness).await?;
        self.observer.notice(Notice::RoundRecorded { title });
        if let Some(death) = death {
            self.observer.notice(Notice::ServerLost(death.to_string()));
        }
        Ok(end)
    }

    /// The tasks of a round, and what stopped them; the error is that of a server that died under them.
    async fn tasks(
        &self,
        plan: &RoundPlan,
        title: &RoundTitle,
    ) -> Result<(RoundEnd, Option<ServerError>), SessionError> {
        let live = Live::of(self.collector);
        self.observer.notice(Notice::RoundStarted {
            title: title.clone(),
            live: live.clone(),
        });
        let started = Instant::now();
        let running = self.executed(plan);
        tokio::pin!(running);
        let (end, death) = tokio::select! {
            end = &mut running => (self.named(end?), None),
            error = self.server.died() => {
                self.collector.record(Event::StopRequested { reason: error.to_string(), abort: true });
                self.stop.ask(StopCause::ServerDied, StopLevel::Abort);
                running.await?;
                (RoundEnd::ServerLost, Some(error))
            }
        };
        self.observer.notice(Notice::RoundEnded {
            title: title.clone(),
            counts: live.at_end(title.under_test),
            end,
            took: started.elapsed(),
        });
        Ok((end, death))
    }

    /// Runs the tasks, by a strategy of ours or a client under test, beside the scenario's holders.
    async fn executed(&self, plan: &RoundPlan) -> Result<RoundEnd, SessionError> {
        let connector = || self.connector.for_another_task();
        let tasks = async {
            match (&plan.strategy.program, self.clients) {
                (Some(program), Some(clients)) => {
                    let end = clients.run(program, plan, self.collector, self.signal);
                    Ok(end.await?)
                }
                (Some(_), None) | (None, _) => Ok(self.engine.run_round(plan, connector).await),
            }
        };
        // Of somebody else's server nobody knows whether it bans.
        let somebody_elses = self.server.description().kind == ServerKind::External;
        let leaving = match self.penalises || somebody_elses {
            true => Leaving::LoggingIn,
            false => Leaving::Closing,
        };
        self.engine
            .beside_holders(plan.round, leaving, connector, tasks)
            .await
    }

    /// What fits the pattern of what the client under test must not leave; `None` of another strategy, or where the server
    /// cannot be looked at.
    async fn left_by_clients(&self, plan: &RoundPlan) -> Result<Option<Vec<String>>, ServerError> {
        let pattern = plan
            .strategy
            .program
            .as_ref()
            .and_then(|program| Pattern::parse(program.leftovers.as_deref()?).ok());
        match pattern {
            Some(pattern) => self.server.files_like(&pattern).await,
            None => Ok(None),
        }
    }

    /// The end of a round that was not the server's, with what stopped it on record.
    fn named(&self, end: RoundEnd) -> RoundEnd {
        if end == RoundEnd::Complete {
            return end;
        }
        let cause = self.stop.cause();
        self.collector.record(Event::StopRequested {
            reason: cause.map_or("", StopCause::as_str).to_owned(),
            abort: self.stop.level() == StopLevel::Abort,
        });
        if cause == Some(StopCause::OutOfTime) {
            RoundEnd::OutOfTime
        } else {
            end
        }
    }

    /// The server's side of a round whose tasks have ended: idle again, its directories, its log.
    async fn after_tasks(
        &self,
        plan: &RoundPlan,
        end: RoundEnd,
        before: Option<Vec<String>>,
        witness: RoundWitness,
    ) -> Result<(), ServerError> {
        let gone = end == RoundEnd::ServerLost;
        let proven_idle = !gone
            && match self.server.wait_idle(IDLE_WITHIN).await {
                Ok(idle) => idle == Idle::Proven,
                // A server that stays busy is a fact about this round, not a reason to lose it.
                Err(error) => {
                    self.collector.record(Event::Warned {
                        text: error.to_string(),
                    });
                    false
                }
            };
        witness.finish().await;
        let found = match (&plan.strategy.program, before) {
            // Only what was not there before it.
            (Some(_), Some(before)) => unless_gone(gone, self.left_by_clients(plan).await)?
                .map(|after| without(after, &before)),
            (Some(_), None) => None,
            (None, _) => unless_gone(gone, self.server.job_directories().await)?
                .map(|found| found.into_iter().map(|directory| directory.name).collect()),
        };
        for name in found.iter().flatten() {
            self.collector.record(Event::DirectoryFound {
                round: plan.round,
                name: name.clone(),
            });
        }
        let log_taken = self.take_log().await;
        self.collector.record(Event::RoundEnded {
            round: plan.round,
            end,
            proven_idle,
            inventory_taken: found.is_some(),
            log_taken,
        });
        Ok(())
    }

    /// Waits until every line that the server has logged by now is in the ledger; whether they all are.
    async fn take_log(&self) -> bool {
        let Some(log) = self.log else {
            return false;
        };
        let caught_up = log.caught_up().await;
        for (address, port) in log.take_marks() {
            self.collector.record(Event::LogMarked { address, port });
        }
        let Err(lost) = caught_up else {
            return true;
        };
        let ended = matches!(lost, LogLost::CommandEnded { .. });
        // Nothing follows that; once said, it holds for every later round.
        if !ended || !self.log_ended.swap(true, Relaxed) {
            let text = lost.to_string();
            self.observer.notice(Notice::Warning(text.clone()));
            self.collector.record(Event::Warned { text });
        }
        match lost {
            // What was read before and since is there; the attempts whose lines are not will be told by their ports.
            LogLost::Replaced { .. } => true,
            LogLost::Ended | LogLost::CommandEnded { .. } | LogLost::Late { .. } => false,
        }
    }
}

fn without(mut names: Vec<String>, others: &[String]) -> Vec<String> {
    names.retain(|name| !others.contains(name));
    names
}

/// A server that has died may not answer any more; that is then no error of its own.
fn unless_gone<T>(
    gone: bool,
    answer: Result<Option<T>, ServerError>,
) -> Result<Option<T>, ServerError> {
    match answer {
        Err(_) if gone => Ok(None),
        answer => answer,
    }
}
