//! The life of a run: server, ledger, rounds, conclusion.
//!
//! Owns the order in which they begin and end, so that the server is taken down and the ledger closed on every way out.
//! What belongs to one round is `round`'s.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use sshchurn_core::ledger::{Event, RoundEnd, RunEnd};
use sshchurn_core::manifest::{ServerDescription, ServerKind};
use sshchurn_core::quantity::nanoseconds;
use sshchurn_core::vocabulary::AttemptOutcome;
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::collector::{Collector, LedgerWriter};
use sshchurn_engine::ssh::RusshConnector;
use sshchurn_engine::ssh::keys::KeyPair;
use sshchurn_engine::{self as engine, Calibration, Engine, HealthSampler, Refusals, StopLevel};
use sshchurn_server::{
    self as server, Cores, Kept, ListenOn, LogWatch, RunningServer, ServerChoice, ServerRequest,
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::clients::{self, Clients};
use super::conclude::{Conclusion, conclude};
use super::directory::RunFile;
use super::error::SessionError;
use super::notice::{Notice, Observer};
use super::order::RunOrder;
use super::round::Rounds;
use super::stop::{Interrupts, RunStop, Stage, StopCause};

/// How long a server may take to become ready. Building an image from packages comes on top.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long it takes at most to see that a server has died.
const DEATH_KNOWN_WITHIN: Duration = Duration::from_secs(2);
/// The login shell's share of a command below which it is not worth a word: its clock has a resolution of 10 ms.
const SHELL_WORTH_A_WARNING: Duration = Duration::from_millis(30);

impl RunOrder {
    /// Makes the run, from its server's start to its written report; `None` when the user stopped it before anything was
    /// measured, or gave its report up.
    ///
    /// # Errors
    /// [`SessionError`] when the server cannot be had or lets nobody in, and when the ledger cannot be written. Nothing is
    /// left of a run that measured nothing, its directory neither.
    pub async fn run(
        &self,
        interrupts: &Interrupts,
        observer: &dyn Observer,
    ) -> Result<Option<Conclusion>, SessionError> {
        if self.server == ServerChoice::Simulated {
            return self.simulate(&self.simulation, interrupts, observer).await;
        }
        interrupts.enter(Stage::Preparing);
        let stop = RunStop::new();
        let following = interrupts.follow(&stop);
        let task_keys = clients::task_keys(&self.scenario, self.server)
            .inspect_err(|_| self.directory.discard())?;
        let (cores, _kept) = self
            .cores()
            .inspect_err(|_| self.directory.discard())?
            .unzip();
        let ledger = LedgerWriter::start(&self.directory.file(RunFile::Ledger), RunClock::start())
            .inspect_err(|_| self.directory.discard())?;
        let running = Running {
            order: self,
            collector: ledger.collector(),
            stop: &stop,
            observer,
            task_keys,
            cores,
        };
        observer.notice(Notice::ScenarioBegins {
            name: self.scenario.name.clone(),
            description: self.scenario.description.clone(),
        });

        let server = match running.start_server().await {
            Ok(Some(server)) => server,
            nothing => {
                drop(ledger);
                // Nothing was measured, so there is nothing to report, and nothing to be in the way of another try in the
                // same directory; the server's own teardown is done.
                self.directory.discard();
                return nothing.map(|_| None);
            }
        };
        interrupts.enter(Stage::Measuring);
        observer.notice(Notice::ServerReady(Box::new(server.description().clone())));
        tracing::info!(description = ?server.description(), "server is ready");
        let calibrated = running.calibrated(&server).await;
        let nothing_begun = calibrated.is_err();
        let measured = match calibrated {
            Ok(description) => running.measure(&server, description, ledger.failed()).await,
            Err(error) => Err(error),
        };
        interrupts.enter(Stage::Closing);
        drop(following);
        let stopped = server.stop().await;
        ledger.close()?;
        if nothing_begun {
            self.directory.discard();
        }
        measured?;

        let concluded = conclude(
            &self.directory,
            self.baseline.as_ref(),
            interrupts,
            observer,
        );
        let mut concluded = concluded.await?;
        match (&mut concluded, stopped) {
            (_, Ok(())) => {}
            // What was measured is shown all the same.
            (Some(concluded), Err(error)) => concluded.problems.push(error.into()),
            (None, Err(error)) => return Err(error.into()),
        }
        Ok(concluded)
    }

    /// Gives the clients their CPUs, where they are to have their own; the server's are given to it when it starts.
    fn cores(&self) -> Result<Option<(Cores, Kept)>, SessionError> {
        if !self.scenario.sshd.separate_cores {
            return Ok(None);
        }
        let cores = Cores::divide()?;
        let kept = cores.keep_clients().map_err(|source| {
            SessionError::io(
                "pin the clients to CPUs of their own through",
                Path::new("/proc/self/task"),
                source,
            )
        })?;
        Ok(Some((cores, kept)))
    }
}

/// What a server that refused some of the few logins before the first round is like, and what could not be measured of it.
fn was_busy(measured: &Calibration) -> Option<String> {
    let unknown: Vec<&str> = [
        (measured.round_trip.is_none(), "the round-trip time"),
        (measured.exec.is_none(), "the cost of a command"),
    ]
    .into_iter()
    .filter_map(|(missing, what)| missing.then_some(what))
    .collect();
    let missing = match unknown[..] {
        [] => String::new(),
        _ => format!("; {} could not be measured", unknown.join(" and ")),
    };
    (measured.refused.count > 0).then(|| {
        format!(
            "the server was busy: it refused {} before the first round, so some of what it refused in the rounds may not be \
             the rounds' doing{missing}",
            measured.refused.sentence()
        )
    })
}

/// A key that changes between connections is another server: behind a balancer, or one that took the address over.
fn several_host_keys(server: &RunningServer) -> Option<String> {
    let shown = server.host_keys_shown();
    (shown.len() > 1).then(|| {
        format!(
            "{} different host keys were shown at one address during the run: {}. More than one server answers there (a load \
             balancer), or the key was changed; the numbers are not those of one server",
            shown.len(),
            shown.join(", ")
        )
    })
}

/// What a server may be that let nobody in before the first round.
fn refused_throughout(refused: &Refusals, last_drop: Option<&str>) -> String {
    let why = match last_drop {
        Some(line) => format!("its log says `{line}`"),
        None => String::from(
            "a ban of this address (PerSourcePenalties), a full server or a limit per source; from outside they look the same, \
             and the server's log (`--log`, `--log-command`) tells them apart",
        ),
    };
    format!(
        "the server refused every login before the first round, {}: {why}. The round-trip time and the cost of a command could \
         not be measured",
        refused.sentence()
    )
}

/// What the steps of one run share.
struct Running<'a> {
    order: &'a RunOrder,
    collector: &'a Collector,
    stop: &'a RunStop,
    observer: &'a dyn Observer,
    /// What the tasks of clients under test log in with; none where there are no such clients.
    task_keys: Arc<[KeyPair]>,
    /// Whose CPUs are whose, where that was asked for.
    cores: Option<Cores>,
}

impl Running<'_> {
    /// Starts the server; `None` when the user stopped the run meanwhile.
    async fn start_server(&self) -> Result<Option<RunningServer>, SessionError> {
        let request = ServerRequest {
            sshd: self.order.scenario.sshd.clone(),
            run_id: self.order.run_id.to_string(),
            ready_within: READY_WITHIN,
            listen: match self.order.scenario.programs().next() {
                Some(_) => ListenOn::AllOfLoopback,
                None => ListenOn::OneAddress,
            },
            task_keys: Arc::clone(&self.task_keys),
            cores: self.cores.clone(),
        };
        let progress = |text: &str| {
            self.observer
                .notice(Notice::ServerBeingMade(text.to_owned()));
        };
        let starting = server::start(self.order.server, &request, &self.order.options, &progress);
        tokio::select! {
            biased;
            // Dropping the start removes what it has made so far.
            () = self.stop.signal().at_least(StopLevel::Drain) => Ok(None),
            server = starting => Ok(Some(server?)),
        }
    }

    /// Everything on a running server. An error here still lets the caller stop the server and close the ledger.
    async fn measure(
        &self,
        server: &RunningServer,
        description: ServerDescription,
        mut ledger_failed: watch::Receiver<bool>,
    ) -> Result<(), SessionError> {
        if let Some(config) = &server.description().sshd_config {
            self.order.directory.write_server_config(config)?;
        }
        let connector = server.endpoint().connector();
        for warning in &description.warnings {
            self.observer.notice(Notice::Warning(warning.clone()));
        }
        let manifest = self
            .order
            .manifest(description, &self.task_keys, self.collector.clock());
        self.collector.record(Event::RunStarted {
            manifest: Box::new(manifest),
        });
        let log = self.follow_log(server);
        let health = HealthSampler::start(self.collector.clone());
        let _deadline = self.watch_deadline();
        let end = tokio::select! {
            end = self.all_rounds(server, &connector, log.as_ref()) => end?,
            // The record is no longer complete: nothing that follows could be trusted.
            Ok(_) = ledger_failed.wait_for(|failed| *failed) => {
                self.observer.notice(Notice::LedgerLost);
                return Ok(());
            }
        };
        health.stop().await;
        if let Some(text) = several_host_keys(server) {
            self.observer.notice(Notice::Warning(text.clone()));
            self.collector.record(Event::Warned { text });
        }
        // Nothing comes after the last event.
        drop(log);
        self.collector.record(Event::RunEnded { end });
        Ok(())
    }

    /// Puts every line of the server's log into the ledger as it is read.
    fn follow_log(&self, server: &RunningServer) -> Option<LogWatch> {
        let collector = self.collector.clone();
        server.follow_log(move |line| {
            collector.record(Event::ServerLogged {
                line: line.to_owned(),
            });
        })
    }

    /// One round after the other, until something ends them.
    async fn all_rounds(
        &self,
        server: &RunningServer,
        connector: &RusshConnector,
        log: Option<&LogWatch>,
    ) -> Result<RunEnd, SessionError> {
        let scenario = &self.order.scenario;
        let plans = engine::plan_rounds(scenario);
        let engine = Engine::new(
            scenario.clone(),
            server.description().jobs_directory.clone(),
            self.collector.clone(),
            self.stop.signal().clone(),
        )
        .on_a_server_that_may_ban(server.description().may_ban());
        let clients = Clients::prepare(
            scenario,
            server.endpoint(),
            &self.task_keys,
            &self.order.directory,
        )?;
        let rounds = Rounds {
            engine: &engine,
            clients: clients.as_ref(),
            signal: self.stop.signal(),
            penalises: scenario.sshd.penalises(),
            server,
            connector,
            collector: self.collector,
            stop: self.stop,
            observer: self.observer,
            log,
            log_ended: AtomicBool::new(false),
            of: plans.len(),
        };
        let mut complete = 0;
        for plan in &plans {
            if self.stop.level() > StopLevel::Run {
                break;
            }
            let finished = match rounds.round(plan, scenario.tasks).await {
                // A server that is gone answers nothing any more; what was measured until then is still reported.
                Err(error) => self.lost(server, error).await?,
                Ok(end) => end,
            };
            match finished {
                RoundEnd::ServerLost => return Ok(RunEnd::ServerLost),
                RoundEnd::Complete => complete += 1,
                RoundEnd::Drained | RoundEnd::Aborted | RoundEnd::OutOfTime => {}
            }
        }
        // An interrupt after the last round has cut nothing short.
        Ok(match self.stop.cause() {
            _ if complete == plans.len() => RunEnd::Complete,
            Some(StopCause::OutOfTime) => RunEnd::OutOfTime,
            Some(StopCause::Signal(_) | StopCause::DrainDeadline | StopCause::ServerDied)
            | None => RunEnd::Interrupted,
        })
    }

    /// Whether an error of the server means that it is gone; if not, it is the run's own error.
    async fn lost(
        &self,
        server: &RunningServer,
        error: SessionError,
    ) -> Result<RoundEnd, SessionError> {
        let SessionError::Server(error) = error else {
            return Err(error);
        };
        match tokio::time::timeout(DEATH_KNOWN_WITHIN, server.died()).await {
            Ok(death) => {
                self.observer.notice(Notice::ServerLost(death.to_string()));
                Ok(RoundEnd::ServerLost)
            }
            Err(_) => Err(error.into()),
        }
    }

    /// Measures what one connect and one exec cost, before anything else happens on the server, and has the server forget
    /// that it was asked.
    async fn calibrated(&self, server: &RunningServer) -> Result<ServerDescription, SessionError> {
        let mut description = server.description().clone();
        let connector = server.endpoint().connector();
        let measured = tokio::select! {
            biased;
            measured = engine::calibrate(self.collector.clock(), &connector) => measured,
            death = server.died() => return Err(death.into()),
        };
        let measured = match measured {
            Ok(measured) => measured,
            // Somebody else's server that is being throttled is what people want to know about.
            Err(nobody)
                if description.kind == ServerKind::External
                    && matches!(nobody.outcome, AttemptOutcome::BannerEof { .. }) =>
            {
                description.warnings.push(refused_throughout(
                    &nobody.refused,
                    server.last_drop().as_deref(),
                ));
                return Ok(description);
            }
            Err(nobody) => {
                return Err(SessionError::ServerRefusesClient {
                    outcome: nobody.outcome.metric(),
                    log: server.log_tail().await,
                });
            }
        };
        let begun = Instant::now();
        if server.forget_sources().await? {
            description.restart_ns = Some(nanoseconds(begun.elapsed()));
        }
        if description.kind == ServerKind::External {
            description.warnings.extend(was_busy(&measured));
        }
        if let (true, Some(line)) = (
            description.identification.is_empty(),
            measured.identification,
        ) {
            description.identification = line;
        }
        description.round_trip_ns = measured.round_trip.map(nanoseconds);
        description.exec_cost_ns = measured.exec.map(nanoseconds);
        description.login_shell_cost_ns = measured.login_shell.map(nanoseconds);
        if let (Some(exec), Some(shell)) = (measured.exec, measured.login_shell)
            && shell >= SHELL_WORTH_A_WARNING
            && shell * 2 > exec
        {
            description.warnings.push(format!(
                "the login shell's start-up files take {} of the {} ms that one command costs; every command of \
                 every task pays that: make them return early when not interactive",
                shell.as_millis(),
                exec.as_millis()
            ));
        }
        Ok(description)
    }

    /// Bounds the run by `max_duration`.
    fn watch_deadline(&self) -> AbortOnDropHandle<()> {
        let (stop, limit) = (self.stop.clone(), self.order.scenario.max_duration);
        AbortOnDropHandle::new(tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            stop.ask(StopCause::OutOfTime, StopLevel::Abort);
        }))
    }
}
