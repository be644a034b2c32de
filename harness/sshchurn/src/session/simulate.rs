//! Runs on the simulated server: the same rounds, the same ledger, on virtual time.
//!
//! Owns what a round is made of when nobody has to be started, waited for or looked at. How strategies and server behave is the
//! engine's and the model's.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime};

use sshchurn_core::analysis::summary::{RunSummary, Summarizer};
use sshchurn_core::instant::RunInstant;
use sshchurn_core::ledger::{self, Event, RoundEnd, RunEnd};
use sshchurn_core::manifest::{Manifest, NetworkPath, ServerDescription, ServerKind};
use sshchurn_core::model::server::{Costs, ServerBooks, ServerSettings};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::Scenario;
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::collector::{Collector, LedgerWriter};
use sshchurn_engine::simulation::{SimulatedServers, VirtualTime};
use sshchurn_engine::{Engine, RoundPlan, StopLevel, plan_rounds};

use super::conclude::{Conclusion, conclude, written};
use super::directory::RunFile;
use super::error::SessionError;
use super::live::Live;
use super::notice::{Notice, Observer, RoundTitle};
use super::order::RunOrder;
use super::replay;
use super::stop::{Interrupts, RunStop, Stage, StopCause};

/// Where jobs live on the simulated server.
const JOBS: &str = "/simulated";
/// The release whose behaviour a simulated server has unless another is asked for.
pub const DEFAULT_RELEASE: Release = Release::new(9, 2);
/// From this release on sshd does not tell a client why it is refused (sshd.c:drop_connection).
const NO_REASON_SINCE: Release = Release::new(9, 8);
/// Tasks of all rounds together of which a ledger is kept.
pub const MOST_RECORDED: u64 = 100_000;
/// How long a simulated server may take to wind up after a round.
const IDLE_WITHIN: Duration = Duration::from_secs(30);

/// What a simulation goes by, beside the scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulation {
    /// What things take.
    pub costs: Costs,
    /// Whose behaviour the server has.
    pub release: Release,
    /// Where the costs come from; `None` where they are assumed.
    pub calibration: Option<PathBuf>,
}

impl Simulation {
    /// With assumed costs.
    #[must_use]
    pub fn assumed() -> Self {
        Simulation {
            costs: Costs::assumed(),
            release: DEFAULT_RELEASE,
            calibration: None,
        }
    }

    /// The server as it is described in the manifest.
    fn describe(&self, settings: &ServerSettings, witnessed: bool) -> ServerDescription {
        let source = match &self.calibration {
            Some(path) => format!("costs measured before, from {}", path.display()),
            None => String::from("assumed costs of a machine that nobody measured"),
        };
        let mut warnings = Vec::new();
        if self.calibration.is_none() {
            warnings.push(String::from(
                "the costs of this simulation are assumed, not measured: give it those of your machine with `--calibration FILE` \
                 (`sshchurn plan --save-calibration FILE` makes one)",
            ));
        }
        ServerDescription {
            kind: ServerKind::Simulated,
            address: String::from("nowhere"),
            network_path: NetworkPath::Direct,
            identification: self.identification(),
            release: Some(format!("a model of OpenSSH_{}", self.release)),
            substitution: None,
            image: None,
            cores: None,
            login_shell: None,
            packages: None,
            effective_max_startups: Some(settings.max_startups.to_string()),
            effective_config: vec![
                (
                    String::from("logingracetime"),
                    settings
                        .login_grace
                        .map_or(0, |grace| grace.as_secs())
                        .to_string(),
                ),
                (
                    String::from("maxsessions"),
                    settings.max_sessions.to_string(),
                ),
            ],
            sshd_config: None,
            jobs_directory: JOBS.to_owned(),
            inventory_available: true,
            log_available: witnessed,
            log_has_every_drop: witnessed,
            kernel: None,
            choice: format!("as asked for, with {source}"),
            round_trip_ns: Some(self.costs.round_trip_ns),
            exec_cost_ns: Some(self.costs.exec_cpu_ns),
            login_shell_cost_ns: None,
            restart_ns: None,
            warnings,
        }
    }

    fn identification(&self) -> String {
        format!("SSH-2.0-OpenSSH_{} (simulated)", self.release)
    }
}

/// The rounds of one scenario on one model.
#[derive(Clone)]
struct Model {
    scenario: Arc<Scenario>,
    settings: ServerSettings,
    simulation: Simulation,
    collector: Collector,
    time: VirtualTime,
    stop: RunStop,
    engine: Arc<Engine>,
    witnessed: bool,
}

impl Model {
    fn new(
        scenario: &Scenario,
        simulation: &Simulation,
        collector: Collector,
        time: VirtualTime,
        witnessed: bool,
    ) -> Result<Self, SessionError> {
        let stop = RunStop::new();
        let engine = Engine::new(
            scenario.clone(),
            JOBS.to_owned(),
            collector.clone(),
            stop.signal().clone(),
        );
        Ok(Model {
            settings: ServerSettings::of_scenario(&scenario.sshd, simulation.release)?,
            scenario: Arc::new(scenario.clone()),
            simulation: simulation.clone(),
            collector,
            time,
            stop,
            engine: Arc::new(engine),
            witnessed,
        })
    }

    fn describe(&self) -> ServerDescription {
        self.simulation.describe(&self.settings, self.witnessed)
    }

    /// One round, from the first event to the last; it takes as long as it takes to compute.
    fn round(&self, plan: &RoundPlan) -> Result<(RoundEnd, ServerBooks), SessionError> {
        let begun = self.time.now();
        self.collector.record(Event::RoundStarted {
            round: plan.round,
            repetition: plan.repetition,
            strategy: plan.strategy.name.clone(),
            cleanup: plan.strategy.tunables.cleanup,
            tasks: self.scenario.tasks,
            proven_idle: true,
        });
        let servers = SimulatedServers {
            settings: self.settings.clone(),
            costs: self.simulation.costs.clone(),
            identification: self.simulation.identification(),
            refusal: match self.simulation.release >= NO_REASON_SINCE {
                true => "Not allowed at this time",
                false => "Exceeded MaxStartups",
            },
            seed: self.scenario.seed,
            witnessed: self.witnessed,
            collector: self.collector.clone(),
        };
        let round = servers.of_round(plan);
        let most = RunInstant::default() + self.scenario.max_duration;
        let out_of_time = || self.stop.ask(StopCause::OutOfTime, StopLevel::Abort);
        let end = round.play(&self.engine, plan, &self.time, most, &out_of_time)?;
        let end = match (end, self.stop.cause()) {
            (RoundEnd::Complete, _) => RoundEnd::Complete,
            (_, Some(StopCause::OutOfTime)) => RoundEnd::OutOfTime,
            (end, _) => end,
        };
        if let (true, Some(cause)) = (end != RoundEnd::Complete, self.stop.cause()) {
            self.collector.record(Event::StopRequested {
                reason: cause.as_str().to_owned(),
                abort: self.stop.level() == StopLevel::Abort,
            });
        }
        let proven_idle = round.wind_up(&self.time, IDLE_WITHIN);
        round.finish(self.time.now().since(begun));
        let books = round.books();
        if proven_idle && books.slot_ns != books.in_slot_ns {
            // Little's law, with both sides counted on their own.
            self.collector.record(Event::Warned {
                text: format!(
                    "the simulated server's slots do not add up: {} slot-nanoseconds by its gauge, {} by its connections; this is a \
                     fault of sshchurn, please report it",
                    books.slot_ns, books.in_slot_ns
                ),
            });
        }
        for name in round.take_leftovers() {
            self.collector.record(Event::DirectoryFound {
                round: plan.round,
                name,
            });
        }
        self.collector.record(Event::RoundEnded {
            round: plan.round,
            end,
            proven_idle,
            inventory_taken: true,
            log_taken: self.witnessed,
        });
        Ok((end, books))
    }
}

/// Where the events of simulated rounds go.
enum Record {
    /// Into a ledger, like those of any run.
    Ledger(LedgerWriter),
    /// Into the numbers, at once: of a million tasks nobody reads ten million lines.
    Counted(Counted),
}

impl Record {
    fn collector(&self) -> &Collector {
        match self {
            Record::Ledger(ledger) => ledger.collector(),
            Record::Counted(counted) => &counted.collector,
        }
    }
}

/// Counts events while they happen.
struct Counted {
    collector: Collector,
    /// What they came to, once the collector takes no more.
    numbers: mpsc::Receiver<Summarizer>,
}

/// Folds, and hands over when it is dropped: the collector's lock is the only one that an event meets.
struct Folding {
    numbers: Summarizer,
    done: mpsc::Sender<Summarizer>,
}

impl Drop for Folding {
    fn drop(&mut self) {
        // Nobody waits for it where the run could not be made.
        let _ = self.done.send(std::mem::take(&mut self.numbers));
    }
}

impl Counted {
    fn start(clock: RunClock) -> Self {
        Self::also(clock, |_| {})
    }

    /// The same; every record is handed to `also` in passing.
    fn also(clock: RunClock, mut also: impl FnMut(&ledger::Record) + Send + 'static) -> Self {
        let (done, numbers) = mpsc::channel();
        let mut folding = Folding {
            numbers: Summarizer::new(),
            done,
        };
        let collector = Collector::folding(clock, move |record| {
            also(&record);
            folding.numbers.fold(record);
        });
        Counted { collector, numbers }
    }

    fn finish(self) -> RunSummary {
        self.collector.finish();
        self.numbers.recv().unwrap_or_default().finish()
    }
}

impl RunOrder {
    /// Makes the run on a model instead of a server.
    pub(super) async fn simulate(
        &self,
        simulation: &Simulation,
        interrupts: &Interrupts,
        observer: &dyn Observer,
    ) -> Result<Option<Conclusion>, SessionError> {
        interrupts.enter(Stage::Measuring);
        let time = VirtualTime::starting_at(SystemTime::now());
        let clock = RunClock::Virtual(time.clone());
        let plans = plan_rounds(&self.scenario);
        let counted = plans.len() as u64 * u64::from(self.scenario.tasks) > MOST_RECORDED;
        let record = match counted {
            true => Record::Counted(Counted::start(clock)),
            false => Record::Ledger(
                LedgerWriter::start(&self.directory.file(RunFile::Ledger), clock)
                    .inspect_err(|_| self.directory.discard())?,
            ),
        };
        let collector = record.collector().clone();
        let model = Model::new(
            &self.scenario,
            simulation,
            collector.clone(),
            time,
            !counted,
        )
        .inspect_err(|_| self.directory.discard())?;
        let following = interrupts.follow(&model.stop);
        observer.notice(Notice::ScenarioBegins {
            name: self.scenario.name.clone(),
            description: self.scenario.description.clone(),
        });
        let mut description = model.describe();
        if counted {
            description.warnings.push(format!(
                "more than {MOST_RECORDED} tasks: events are counted while they happen, no ledger and no server's log is kept"
            ));
        }
        observer.notice(Notice::ServerReady(Box::new(description.clone())));
        for warning in &description.warnings {
            observer.notice(Notice::Warning(warning.clone()));
        }
        let manifest = Box::new(self.manifest(description, &[], collector.clock()));
        collector.record(Event::RunStarted {
            manifest: manifest.clone(),
        });
        let mut complete = 0;
        for plan in &plans {
            if model.stop.level() > StopLevel::Run {
                break;
            }
            let title = RoundTitle {
                round: plan.round,
                of: plans.len(),
                strategy: plan.strategy.name.clone(),
                tasks: self.scenario.tasks,
                under_test: false,
            };
            let live = Live::of(&collector);
            observer.notice(Notice::RoundStarted {
                title: title.clone(),
                live: live.clone(),
            });
            let started = Instant::now();
            let (model, plan) = (model.clone(), plan.clone());
            // It computes and never waits: a thread of its own, so that signals are still heard.
            let (end, _) = tokio::task::spawn_blocking(move || model.round(&plan))
                .await
                .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))?;
            observer.notice(Notice::RoundEnded {
                title: title.clone(),
                counts: live.at_end(false),
                end,
                took: started.elapsed(),
            });
            observer.notice(Notice::RoundRecorded { title });
            complete += usize::from(end == RoundEnd::Complete);
        }
        collector.record(Event::RunEnded {
            end: match model.stop.cause() {
                _ if complete == plans.len() => RunEnd::Complete,
                Some(StopCause::OutOfTime) => RunEnd::OutOfTime,
                _ => RunEnd::Interrupted,
            },
        });
        interrupts.enter(Stage::Closing);
        drop(following);
        let baseline = self.baseline.as_ref();
        match record {
            Record::Ledger(ledger) => {
                ledger.close()?;
                conclude(&self.directory, baseline, interrupts, observer).await
            }
            Record::Counted(counted) => {
                let replayed = replay::judged(&manifest, &counted.finish())?;
                written(&self.directory, baseline, replayed, None).map(Some)
            }
        }
    }
}

/// What the rounds of a scenario come to on a model, without a ledger: events are counted while they happen.
///
/// # Errors
/// [`SessionError`] when the scenario asks for something that the model does not know.
pub fn summary(
    scenario: &Scenario,
    simulation: &Simulation,
    witnessed: bool,
) -> Result<(RunSummary, Vec<ServerBooks>), SessionError> {
    let time = VirtualTime::starting_at(SystemTime::UNIX_EPOCH);
    let counted = Counted::start(RunClock::Virtual(time.clone()));
    let books = rounds(scenario, simulation, witnessed, &counted.collector, time)?;
    Ok((counted.finish(), books))
}

/// All events of the rounds of a scenario on a model.
fn rounds(
    scenario: &Scenario,
    simulation: &Simulation,
    witnessed: bool,
    collector: &Collector,
    time: VirtualTime,
) -> Result<Vec<ServerBooks>, SessionError> {
    let model = Model::new(scenario, simulation, collector.clone(), time, witnessed)?;
    collector.record(Event::RunStarted {
        manifest: Box::new(Manifest {
            run_id: super::order::run_id(&scenario.name),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at_unix_ns: 0,
            scenario: super::order::scenario_record(scenario, ""),
            baseline: None,
            target: model.describe(),
            environment: crate::doctor::environment(&[]),
            task_keys: Vec::new(),
        }),
    });
    let mut books = Vec::new();
    let mut end = RunEnd::Complete;
    for plan in plan_rounds(scenario) {
        let (ended, counted) = model.round(&plan)?;
        books.push(counted);
        if ended != RoundEnd::Complete {
            end = RunEnd::OutOfTime;
            break;
        }
    }
    collector.record(Event::RunEnded { end });
    Ok(books)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use sshchurn_core::ledger::Record;
    use sshchurn_core::scenario::Scenario;
    use sshchurn_report::json;

    use super::*;

    /// Counted while it happens, and written down, read again and counted: one and the same, to the last byte of the report.
    #[test]
    fn what_is_counted_while_it_happens_is_what_the_ledger_says() {
        let text = "name = \"many\"\ndescription = \"many\"\ntasks = 10000\nrounds = 1\nmax_duration = \"24h\"\n\
                    [arrival]\nshape = \"ramp\"\nover = \"200s\"\n[job]\nduration = \"10s\"\n\
                    [sshd]\nmax_startups = \"10:30:100\"\n[[strategy]]\nkind = \"reused-session\"\n";
        let scenario = Scenario::parse("many", text).expect("a scenario");
        for witnessed in [true, false] {
            let lines = Arc::new(Mutex::new(Vec::new()));
            let time = VirtualTime::starting_at(SystemTime::UNIX_EPOCH);
            let written = Arc::clone(&lines);
            let counted = Counted::also(RunClock::Virtual(time.clone()), move |record| {
                let line = serde_json::to_string(record).expect("a line");
                written.lock().expect("lines").push(line);
            });
            rounds(
                &scenario,
                &Simulation::assumed(),
                witnessed,
                &counted.collector,
                time,
            )
            .expect("rounds");
            let mut read = Summarizer::new();
            for line in &*lines.lock().expect("lines") {
                let record: Record = serde_json::from_str(line).expect("a record");
                read.fold(record);
            }
            let report = |run: &RunSummary| {
                let manifest = run.manifest.clone().expect("a manifest");
                json::render(&replay::judged(&manifest, run).expect("a report").report)
            };
            let (counted, read) = (counted.finish(), read.finish());
            let numbers = &counted.strategies[0].numbers.total.counts;
            assert!(
                numbers.handshakes > 10_000 && numbers.banner_eof > 0,
                "{numbers:?}"
            );
            assert_eq!(report(&counted), report(&read));
        }
    }
}
