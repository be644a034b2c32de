//! `sshchurn run`: the data flow from top to bottom. Scenario → target → engine → ledger → analysis → gate → report.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::args::{RunArgs, TargetArg};
use super::compare::{self, Baseline};
use super::conclude;
use super::console::Console;
use super::doctor::preflight;
use super::error::CliError;
use super::load::{self, LEDGER};
use super::overrides::{self, Resolved};
use super::progress::RoundDisplay;
use super::run_directory;
use super::signals::{AbortOnDrop, Interrupts, StopReason};
use super::target_choice;
use super::witness::RoundWitness;
use crate::doctor;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::ids::RunId;
use sshchurn_core::ledger::{Event, RoundEnd, RunEnd};
use sshchurn_core::manifest::{Manifest, ScenarioRecord, ServerDescription, StrategyRecord};
use sshchurn_core::quantity::nanoseconds;
use sshchurn_core::scenario::Scenario;
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::collector::{Collector, LedgerWriter};
use sshchurn_engine::ssh::RusshConnector;
use sshchurn_engine::{
    self as engine, Engine, HealthSampler, RoundPlan, StopController, StopLevel, StopSignal,
};
use sshchurn_report::RunReport;
use sshchurn_server::{
    self as target, Idle, LogWatch, RunningServer, ServerChoice, ServerError, ServerOptions,
    ServerRequest,
};

/// How long a target may take to become ready. Building an image from packages comes on top.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// How long a target may take to become idle before or after a round.
const IDLE_WITHIN: Duration = Duration::from_secs(30);

/// How long it takes at most to see that a server has died.
const DEATH_KNOWN_WITHIN: Duration = Duration::from_secs(2);
/// The login shell's share of a command below which it is not worth a word: its clock has a resolution of 10 ms.
const SHELL_WORTH_A_WARNING: Duration = Duration::from_millis(30);
/// Stop reason of a run that met its own bound.
const OUT_OF_TIME: &str = "max_duration";

/// `sshchurn run`.
pub(super) async fn run(args: RunArgs, console: Console) -> Result<ExitCode, CliError> {
    let console = if args.no_progress {
        console.without_progress()
    } else {
        console
    };
    let Resolved {
        scenario,
        origin,
        left_out,
    } = overrides::resolve(&args.scenario, &args.overrides)?;
    // Checked now, judged at the end: a typing error must not cost a run.
    load::thresholds(&scenario.gate, &scenario.strategy_names())?;
    let target = target_choice::target_of(args.target, args.release, args.network);
    target_choice::check_options(&args, target)?;
    let baseline = Baseline::prepare(
        args.baseline.as_deref(),
        &args.compare,
        &scenario_record(&scenario, &origin),
        target,
        &console,
    )?;
    let options = target_choice::options(&args)?;
    target_choice::check_releases(target, args.release, scenario.sshd.min_release)?;
    // Before the handlers and the directory: nothing is there yet that would have to be taken down.
    let mut findings = preflight(&scenario, target)?;
    findings.extend(left_out);
    let run_id = run_directory::run_id(&scenario.name);
    let directory = run_directory::create(args.out.as_deref(), &run_id)?;
    let order = Order {
        scenario,
        origin,
        target,
        options,
        run_id,
        directory,
        baseline,
    };
    let interrupts = Interrupts::install(console.clone()).map_err(CliError::Signals)?;
    let Some(report) = one(&order, &findings, &interrupts, &console).await? else {
        return Ok(ExitCode::Interrupted);
    };
    let shown = conclude::show(report, args.format, &console, &interrupts.closing()).await;
    let compared = match order.baseline {
        Some(_) => compare::show(&order.directory, args.format, &console),
        None => Ok(()),
    };
    // Also where it could not be shown: it is written.
    console.note(&format!("run directory: {}", order.directory.display()));
    compared.and(shown)
}

/// One run that is to be made.
pub(super) struct Order {
    /// What to run, overrides applied.
    pub(super) scenario: Scenario,
    /// Where it came from.
    pub(super) origin: String,
    /// On what.
    pub(super) target: TargetArg,
    /// … and how.
    pub(super) options: ServerOptions,
    /// Its name.
    pub(super) run_id: RunId,
    /// An empty directory.
    pub(super) directory: PathBuf,
    /// What it is compared with at its end.
    pub(super) baseline: Option<Baseline>,
}

/// Makes one run, from its target's start to its written report; `None` when the user stopped it before anything was
/// measured. Target and ledger are closed on every way out.
pub(super) async fn one(
    order: &Order,
    findings: &[doctor::Finding],
    interrupts: &Interrupts,
    console: &Console,
) -> Result<Option<RunReport>, CliError> {
    let Order {
        scenario,
        directory,
        ..
    } = order;
    let (stop, signal) = StopController::new();
    let reason = StopReason::default();
    let following = interrupts.follow(&stop, &reason);
    let clock = RunClock::start();
    interrupts.nothing_measured_yet();
    let ledger = LedgerWriter::start(&directory.join(LEDGER), clock)
        .inspect_err(|_| run_directory::discard(directory))?;
    let run = Run {
        scenario,
        run_id: &order.run_id,
        directory,
        collector: ledger.collector().clone(),
        stop,
        signal,
        reason,
        console,
    };
    console.note(&format!(
        "scenario {}: {}",
        scenario.name, scenario.description
    ));

    let started = run
        .start_target(target_choice::choice(order.target), &order.options)
        .await;
    let target = match started {
        Ok(Some(target)) => target,
        nothing => {
            drop(ledger);
            // Nothing was measured, so there is nothing to report, and nothing to be in the way of another try with the
            // same `--out`; the target's own teardown is done.
            run_directory::discard(directory);
            return nothing.map(|_| None);
        }
    };
    // From here on an interrupt leads to a report, be it one of no round.
    interrupts.measuring();
    console.note(&format!("target: {}", target.description().choice));
    tracing::info!(description = ?target.description(), "target is ready");
    let executed = run.execute(&target, order, findings, ledger.failed()).await;
    let closing = interrupts.closing();
    drop(following);
    let stopped = target.stop().await;
    ledger.close()?;
    if let Err(CliError::ServerRefusesClient { .. }) = executed {
        run_directory::discard(directory);
    }
    executed?;
    stopped?;

    conclude::conclude(directory, order.baseline.as_ref(), &closing, console).await
}

/// What the steps of one run share.
struct Run<'a> {
    scenario: &'a Scenario,
    run_id: &'a RunId,
    directory: &'a Path,
    collector: Collector,
    stop: StopController,
    signal: StopSignal,
    reason: StopReason,
    console: &'a Console,
}

impl Run<'_> {
    /// Starts the target; `None` when the user stopped the run meanwhile.
    async fn start_target(
        &self,
        choice: ServerChoice,
        options: &ServerOptions,
    ) -> Result<Option<RunningServer>, CliError> {
        let request = ServerRequest {
            sshd: self.scenario.sshd.clone(),
            run_id: self.run_id.to_string(),
            ready_within: READY_WITHIN,
        };
        let progress = |text: &str| self.console.note(text);
        let starting = target::start(choice, &request, options, &progress);
        tokio::select! {
            biased;
            // Dropping the start removes what it has made so far.
            () = self.signal.at_least(StopLevel::Drain) => Ok(None),
            target = starting => Ok(Some(target?)),
        }
    }

    /// All rounds on a running target. An error here still lets the caller stop the target and close the ledger.
    async fn execute(
        &self,
        target: &RunningServer,
        order: &Order,
        findings: &[doctor::Finding],
        mut ledger_failed: tokio::sync::watch::Receiver<bool>,
    ) -> Result<(), CliError> {
        if let Some(config) = &target.description().sshd_config {
            sshchurn_report::write_file(
                &self.directory.join(run_directory::SSHD_CONFIG),
                config.as_bytes(),
            )?;
        }
        let endpoint = target.endpoint();
        let connector = endpoint.connector();
        let description = self.calibrated(target, &connector).await?;
        for warning in &description.warnings {
            self.console.note(&format!("warning: {warning}"));
        }
        self.collector.record(Event::RunStarted {
            manifest: Box::new(self.manifest(order, description, findings)),
        });

        let engine = Engine::new(
            self.scenario.clone(),
            target.description().jobs_directory.clone(),
            self.collector.clone(),
            self.signal.clone(),
        );
        let log = self.watch_log(target);
        // What the server logged of getting ready and of the calibration belongs to no round.
        self.take_log(log.as_ref()).await;
        let health = HealthSampler::start(self.collector.clone());
        let _deadline = self.watch_deadline();
        let plans = engine::plan_rounds(self.scenario);
        let mut end = RunEnd::Complete;
        let mut complete = 0;
        for plan in &plans {
            if self.signal.level() > StopLevel::Run {
                break;
            }
            let round = self.round(&engine, target, plan, plans.len(), &connector, log.as_ref());
            let finished = tokio::select! {
                finished = round => finished,
                // The record is no longer complete: nothing that follows could be trusted.
                Ok(_) = ledger_failed.wait_for(|failed| *failed) => return Ok(()),
            };
            let finished = match finished {
                // A server that is gone answers nothing any more; what was measured until then is still reported.
                Err(CliError::Target(error)) => self.lost(target, error).await?,
                finished => finished?,
            };
            if finished == RoundEnd::ServerLost {
                end = RunEnd::ServerLost;
                break;
            }
            complete += usize::from(finished == RoundEnd::Complete);
        }
        // An interrupt after the last round has cut nothing short.
        if end == RunEnd::Complete && complete < plans.len() {
            end = match self.reason.get().as_deref() {
                Some(OUT_OF_TIME) => RunEnd::OutOfTime,
                _ => RunEnd::Interrupted,
            };
        }
        health.stop().await;
        // Nothing is recorded after the last event.
        drop(log);
        self.collector.record(Event::RunEnded { end });
        Ok(())
    }

    /// One round with everything that belongs to it: idle before, tasks, idle after, inventory, log.
    async fn round(
        &self,
        engine: &Engine,
        target: &RunningServer,
        plan: &RoundPlan,
        rounds: usize,
        connector: &RusshConnector,
        log: Option<&LogWatch>,
    ) -> Result<RoundEnd, CliError> {
        target.clear_jobs().await?;
        let idle = target.wait_idle(IDLE_WITHIN).await?;
        self.collector.record(Event::RoundStarted {
            round: plan.round,
            repetition: plan.repetition,
            strategy: plan.strategy.name.clone(),
            cleanup: plan.strategy.tunables.cleanup,
            tasks: self.scenario.tasks,
            proven_idle: idle == Idle::Proven,
        });
        let witness = RoundWitness::start(target.witness(), &self.collector, plan.round).await;
        let started = Instant::now();
        let title = format!("round {}/{rounds} {}", plan.round, plan.strategy.name);
        let display = RoundDisplay::new(self.console, self.collector.live(), self.scenario.tasks);
        let (mut end, lost) = {
            let running = engine.run_round(plan, || connector.for_another_task());
            tokio::pin!(running);
            let progress = display.live(&title);
            tokio::pin!(progress);
            tokio::select! {
                end = &mut running => (end, None),
                never = &mut progress => match never {},
                error = target.died() => {
                    self.reason.set("the server under test died");
                    self.collector.record(Event::StopRequested { reason: error.to_string(), abort: true });
                    self.stop.raise(StopLevel::Abort);
                    running.await;
                    (RoundEnd::ServerLost, Some(error))
                }
            }
        };
        if end != RoundEnd::Complete && lost.is_none() {
            let reason = self.reason.get().unwrap_or_default();
            if reason == OUT_OF_TIME {
                end = RoundEnd::OutOfTime;
            }
            let abort = self.signal.level() == StopLevel::Abort;
            self.collector
                .record(Event::StopRequested { reason, abort });
        }
        display.round_ended(&title, end, started.elapsed());
        self.after_round(target, plan, end, witness, log).await?;
        match lost {
            Some(error) => {
                self.console.note(&format!("error: {error}"));
                Ok(RoundEnd::ServerLost)
            }
            None => Ok(end),
        }
    }

    /// Whether an error of the target means that the server is gone; if not, it is the run's own error.
    async fn lost(&self, target: &RunningServer, error: ServerError) -> Result<RoundEnd, CliError> {
        match tokio::time::timeout(DEATH_KNOWN_WITHIN, target.died()).await {
            Ok(death) => {
                self.console.note(&format!("error: {death}"));
                Ok(RoundEnd::ServerLost)
            }
            Err(_) => Err(error.into()),
        }
    }

    /// The server's side of a round that has ended: idle again, its directories, its log.
    async fn after_round(
        &self,
        target: &RunningServer,
        plan: &RoundPlan,
        end: RoundEnd,
        witness: RoundWitness,
        log: Option<&LogWatch>,
    ) -> Result<(), CliError> {
        let gone = end == RoundEnd::ServerLost;
        let proven_idle = !gone
            && match target.wait_idle(IDLE_WITHIN).await {
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
        let directories = unless_gone(gone, target.job_directories().await)?;
        for directory in directories.iter().flatten() {
            self.collector.record(Event::DirectoryFound {
                round: plan.round,
                name: directory.name.clone(),
            });
        }
        self.collector.record(Event::RoundEnded {
            round: plan.round,
            end,
            proven_idle,
            inventory_taken: directories.is_some(),
            log_taken: self.take_log(log).await,
        });
        Ok(())
    }

    /// Puts every line of the server's log into the ledger as soon as it is read.
    fn watch_log(&self, target: &RunningServer) -> Option<LogWatch> {
        let collector = self.collector.clone();
        target.follow_log(move |line| {
            collector.record(Event::ServerLogged {
                line: line.to_owned(),
            });
        })
    }

    /// Whether all that the server has logged by now is in the ledger.
    async fn take_log(&self, log: Option<&LogWatch>) -> bool {
        let Some(log) = log else {
            return false;
        };
        match log.caught_up().await {
            Ok(()) => true,
            Err(lost) => {
                self.collector.record(Event::Warned {
                    text: lost.to_string(),
                });
                false
            }
        }
    }

    /// Measures what one connect and one exec cost, before anything else happens on the target.
    async fn calibrated(
        &self,
        target: &RunningServer,
        connector: &RusshConnector,
    ) -> Result<ServerDescription, CliError> {
        let measured = match engine::calibrate(self.collector.clock(), connector).await {
            Ok(measured) => measured,
            Err(outcome) => {
                return Err(CliError::ServerRefusesClient {
                    outcome: outcome.metric(),
                    log: target.log_tail().await,
                });
            }
        };
        let mut description = target.description().clone();
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

    fn manifest(
        &self,
        order: &Order,
        target: ServerDescription,
        findings: &[doctor::Finding],
    ) -> Manifest {
        Manifest {
            run_id: self.run_id.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_unix_ns: self
                .collector
                .clock()
                .wall_anchor()
                .duration_since(UNIX_EPOCH)
                .map_or(0, nanoseconds),
            scenario: scenario_record(self.scenario, &order.origin),
            baseline: order.baseline.as_ref().map(Baseline::run_id),
            target,
            environment: doctor::environment(findings),
        }
    }

    /// Bounds the run by `max_duration`.
    fn watch_deadline(&self) -> AbortOnDrop {
        let (stop, reason, limit) = (
            self.stop.clone(),
            self.reason.clone(),
            self.scenario.max_duration,
        );
        AbortOnDrop(tokio::spawn(async move {
            tokio::time::sleep(limit).await;
            reason.set(OUT_OF_TIME);
            stop.raise(StopLevel::Abort);
        }))
    }
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

/// The scenario as it is executed, for the manifest and for a baseline to be checked against.
fn scenario_record(scenario: &Scenario, origin: &str) -> ScenarioRecord {
    ScenarioRecord {
        name: scenario.name.clone(),
        description: scenario.description.clone(),
        origin: origin.to_owned(),
        effective_toml: scenario.to_toml(),
        tasks: scenario.tasks,
        max_in_flight: scenario.arrival.max_in_flight,
        shortest_deadline_ns: scenario.shortest_deadline().map_or(u64::MAX, nanoseconds),
        rounds: scenario.rounds,
        seed: scenario.seed,
        time_scale: scenario.time_scale,
        strategies: scenario
            .strategies
            .iter()
            .map(|strategy| StrategyRecord {
                name: strategy.name.clone(),
                kind: strategy.kind,
            })
            .collect(),
        max_startups: scenario.sshd.max_startups.to_string(),
        thresholds: scenario.gate.clone(),
    }
}
