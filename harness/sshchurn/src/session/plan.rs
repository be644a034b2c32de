//! Planning: the search over one setting, its rounds simulated side by side, and the answer run for real where that is asked for.
//!
//! Owns what a value of a setting makes of a scenario. The search is the core's, the words are the report's.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use sshchurn_core::analysis::latency::Stage;
use sshchurn_core::analysis::summary::{RunSummary, StrategySummary};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::{self, GateOutcome, Threshold};
use sshchurn_core::model::calibration::Calibration;
use sshchurn_core::model::server::ServerBooks;
use sshchurn_core::planning::{Bounds, Demand, Trials, Wanted, search};
use sshchurn_core::scenario::{ArrivalShape, MaxStartups, Scenario, SlowAuth, SlowAuthShape};
use sshchurn_engine::StopLevel;
use sshchurn_report::plan::{
    Answer, Expected, Metric, Neighbour, PLAN_VERSION, PlanReport, Regime, Sensitivity, Setting,
    StrategyPlan, Verified,
};
use sshchurn_server::{ServerChoice, ServerOptions};

use super::error::SessionError;
use super::notice::{Notice, Observer};
use super::order::{Quietly, parse_thresholds};
use super::simulate::{Simulation, summary};
use super::stop::{Interrupts, RunStop};

/// Rounds that decide over a value, and those that are enough to pass over one.
const ROUNDS: u32 = 200;
const GLANCE: u32 = 40;
/// Rounds for what is only to be compared.
const FEW_ROUNDS: u32 = 40;
/// Rounds that say which way an assumption moves the answer, and roughly how far.
const ROUNDS_FOR_A_DIRECTION: u32 = 20;
/// Of the attempts, refused at most: below the first there is headroom, below the second the knee is near. More than the first of them
/// met by a full listen queue, and that is the limit.
const HEADROOM: f64 = 0.05;
const KNEE: f64 = 0.30;
/// Longest stagger and poll interval that are looked at.
const LONGEST_MS: u64 = 3_600_000;
const STEP_MS: u64 = 100;
const MOST_ATTEMPTS: u64 = 50;
const MOST_TASKS: u64 = 10_000;

/// What is to be planned.
#[derive(Debug, Clone)]
pub struct PlanOrder {
    /// The workload; its gates are the goals.
    pub scenario: Scenario,
    /// What is looked for.
    pub setting: Setting,
    /// In which share of rounds the goals must hold.
    pub reliability: f64,
    /// By what the model goes.
    pub simulation: Simulation,
    /// The same as it was measured; `None` where it is assumed.
    pub calibration: Option<Calibration>,
    /// `full` by `start`.
    pub full_by_start: f64,
    /// Whether other assumptions are tried too.
    pub sensitivity: bool,
}

/// Real rounds of a plan's answer.
#[derive(Debug, Clone)]
pub struct Verification {
    /// On which server.
    pub server: ServerChoice,
    /// … and how it is made.
    pub options: ServerOptions,
    /// Rounds with each value.
    pub rounds: u32,
}

/// One simulated round.
#[derive(Debug, Clone, Copy)]
struct Round {
    held: bool,
    attempts: f64,
    handshakes: f64,
    banner_eof: f64,
    tasks_failed: f64,
    startups_peak: f64,
    submit_p99_ns: f64,
    syns_dropped: f64,
}

/// How simulated rounds are judged: the same for every value that is tried.
struct Judging {
    thresholds: Vec<Threshold>,
    /// A goal is about what only the server's log or gauge can tell.
    witnessed: bool,
    stop: RunStop,
}

/// Every round that was simulated, by value and number.
type Rounds = BTreeMap<(u64, u32), Round>;

impl PlanOrder {
    /// Finds the answer of each strategy, on all cores; `None` when the user has stopped it.
    ///
    /// # Errors
    /// [`SessionError`] when the scenario asks for something that the model does not know, or a goal is none.
    pub async fn plan(
        &self,
        interrupts: &Interrupts,
        observer: &dyn Observer,
    ) -> Result<Option<PlanReport>, SessionError> {
        for strategy in &self.scenario.strategies {
            observer.notice(Notice::ServerBeingMade(format!(
                "simulating {}",
                strategy.name
            )));
        }
        let stop = RunStop::new();
        let _following = interrupts.follow(&stop);
        let order = self.clone();
        // It computes and never waits: threads of its own, so that signals are still heard.
        let planned = tokio::task::spawn_blocking(move || order.planned(&stop))
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match planned {
            Err(SessionError::Stopped) => Ok(None),
            planned => planned.map(Some),
        }
    }

    fn planned(&self, stop: &RunStop) -> Result<PlanReport, SessionError> {
        let mut strategies = Vec::new();
        for strategy in &self.scenario.strategies {
            let mut alone = self.scenario.clone();
            alone.strategies = vec![strategy.clone()];
            let judging = self.judging(&alone, stop.clone())?;
            strategies.push(self.plan_of(&alone, &judging)?);
        }
        let answered = strategies.iter().all(|plan| plan.answer.is_some());
        let exit = match answered {
            true => ExitCode::Success,
            false => ExitCode::GateFailed,
        };
        Ok(PlanReport {
            schema_version: PLAN_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: self.scenario.name.clone(),
            tasks: self.scenario.tasks,
            setting: self.setting,
            goals: self.scenario.gate.clone(),
            reliability: self.reliability,
            clients: self.simulation.costs.clients,
            calibration: self.calibration.clone(),
            release: self.simulation.release.to_string(),
            rate: self.scenario.sshd.max_startups.rate,
            full_by_start: self.full_by_start,
            max_startups: self.scenario.sshd.max_startups.to_string(),
            strategies,
            exit,
            exit_code: exit.code(),
        })
    }

    /// How rounds of a scenario are judged.
    fn judging(&self, scenario: &Scenario, stop: RunStop) -> Result<Judging, SessionError> {
        let thresholds = parse_thresholds(&scenario.gate, &scenario.strategy_names())?;
        Ok(Judging {
            witnessed: needs_witness(scenario, &self.simulation, &thresholds)?,
            thresholds,
            stop,
        })
    }

    fn plan_of(
        &self,
        scenario: &Scenario,
        judging: &Judging,
    ) -> Result<StrategyPlan, SessionError> {
        let mut rounds = Rounds::new();
        let found = self.search(
            scenario,
            (self.begin(scenario), self.step()),
            &self.simulation,
            self.demand(ROUNDS),
            &mut rounds,
            judging,
        )?;
        let strategy = scenario.strategies[0].name.0.clone();
        let Some(value) = found else {
            let easiest = self.easiest(scenario);
            let trials = self.all(scenario, easiest, ROUNDS, &mut rounds, judging)?;
            return Ok(StrategyPlan {
                strategy,
                answer: None,
                missed: Some(Neighbour {
                    value: easiest,
                    trials,
                }),
            });
        };
        let neighbour = |value: u64, rounds: &mut Rounds| {
            self.all(scenario, value, ROUNDS, rounds, judging)
                .map(|trials| Neighbour { value, trials })
        };
        let (from, to) = self.bounds(scenario);
        let harder = match self.wanted() {
            Wanted::Smallest => (value > from).then(|| value - self.step()),
            Wanted::Largest => (value < to).then(|| value + self.step()),
        };
        let next = harder
            .map(|value| neighbour(value, &mut rounds))
            .transpose()?;
        let half = PlanOrder {
            reliability: 0.5,
            ..self.clone()
        };
        let even = half
            .search(
                scenario,
                (value, half.step()),
                &self.simulation,
                half.demand(FEW_ROUNDS),
                &mut rounds,
                judging,
            )?
            .filter(|even| *even != value)
            .map(|value| neighbour(value, &mut rounds))
            .transpose()?;
        let trials = self.all(scenario, value, ROUNDS, &mut rounds, judging)?;
        let expected = expected(&rounds, value);
        let of_attempts = |metric: &Metric| metric.mean / expected.attempts.mean.max(1.0);
        let regime = match of_attempts(&expected.banner_eof) {
            _ if of_attempts(&expected.syns_dropped) > HEADROOM => Regime::ListenQueue,
            refused if refused <= HEADROOM => Regime::Headroom,
            refused if refused <= KNEE => Regime::NearTheKnee,
            _ => Regime::Saturated,
        };
        let sensitivity = match self.sensitivity {
            true => self.sensitivity(scenario, value, judging)?,
            false => Vec::new(),
        };
        let max_startups = match self.setting {
            Setting::Start => self.max_startups(scenario, value),
            _ => None,
        };
        Ok(StrategyPlan {
            strategy,
            answer: Some(Answer {
                value,
                sshd_config: max_startups.map(|value| format!("MaxStartups {value}")),
                trials,
                next,
                even,
                regime,
                expected,
                sensitivity,
                memory_bytes: self.memory(value),
                verified: Vec::new(),
            }),
            missed: None,
        })
    }

    fn demand(&self, rounds: u32) -> Demand {
        Demand {
            reliability: self.reliability,
            rounds,
            glance: GLANCE.min(rounds),
        }
    }

    fn wanted(&self) -> Wanted {
        match self.setting {
            Setting::Tasks => Wanted::Largest,
            Setting::Start | Setting::StaggerMs | Setting::PollIntervalMs | Setting::Attempts => {
                Wanted::Smallest
            }
        }
    }

    /// Units of the setting in one step of the search.
    fn step(&self) -> u64 {
        match self.setting {
            Setting::StaggerMs | Setting::PollIntervalMs => STEP_MS,
            Setting::Start | Setting::Tasks | Setting::Attempts => 1,
        }
    }

    fn bounds(&self, scenario: &Scenario) -> (u64, u64) {
        match self.setting {
            // More slots than connections at once are never in use.
            Setting::Start => (1, u64::from(scenario.tasks).max(10)),
            Setting::Tasks => (1, MOST_TASKS),
            Setting::StaggerMs => (0, LONGEST_MS),
            Setting::PollIntervalMs => (STEP_MS, LONGEST_MS),
            Setting::Attempts => (1, MOST_ATTEMPTS),
        }
    }

    /// Where a search begins. It follows from the workload alone: the answer, applied, is found again.
    fn begin(&self, scenario: &Scenario) -> u64 {
        match self.setting {
            // A server with few slots makes rounds of many attempts, which take long to simulate.
            Setting::Start => u64::from(scenario.tasks / 8),
            Setting::Tasks | Setting::StaggerMs | Setting::PollIntervalMs | Setting::Attempts => 0,
        }
    }

    /// The value with which goals are met if with any.
    fn easiest(&self, scenario: &Scenario) -> u64 {
        let (from, to) = self.bounds(scenario);
        match self.wanted() {
            Wanted::Smallest => to,
            Wanted::Largest => from,
        }
    }

    fn search(
        &self,
        scenario: &Scenario,
        (near, step): (u64, u64),
        simulation: &Simulation,
        demand: Demand,
        rounds: &mut Rounds,
        judging: &Judging,
    ) -> Result<Option<u64>, SessionError> {
        let (from, to) = self.bounds(scenario);
        let bounds = Bounds {
            from: from / step,
            to: to.div_ceil(step),
            near: near / step,
        };
        // Coarse steps do not end at the bounds.
        let value = |steps: u64| (steps * step).clamp(from, to);
        let found = search(self.wanted(), bounds, demand, |steps, numbers| {
            self.simulate(scenario, simulation, value(steps), numbers, rounds, judging)
        })?;
        Ok(found.map(value))
    }

    /// All rounds with a value.
    fn all(
        &self,
        scenario: &Scenario,
        value: u64,
        count: u32,
        rounds: &mut Rounds,
        judging: &Judging,
    ) -> Result<Trials, SessionError> {
        let numbers: Vec<u32> = (0..count).collect();
        let held = self.simulate(scenario, &self.simulation, value, &numbers, rounds, judging)?;
        Ok(Trials {
            rounds: count,
            held: held.iter().filter(|held| **held).count() as u32,
        })
    }

    /// Simulates rounds with a value, side by side on all cores; which of them met the goals.
    fn simulate(
        &self,
        scenario: &Scenario,
        simulation: &Simulation,
        value: u64,
        numbers: &[u32],
        rounds: &mut Rounds,
        judging: &Judging,
    ) -> Result<Vec<bool>, SessionError> {
        let missing: Vec<u32> = numbers
            .iter()
            .copied()
            .filter(|number| !rounds.contains_key(&(value, *number)))
            .collect();
        let with = self.applied(scenario, value);
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let (next, results) = (Mutex::new(missing.into_iter()), Mutex::new(Vec::new()));
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while judging.stop.level() == StopLevel::Run {
                        let Some(number) = next.lock().ok().and_then(|mut next| next.next()) else {
                            return;
                        };
                        let mut one = with.clone();
                        one.rounds = 1;
                        one.seed = scenario.seed.wrapping_add(u64::from(number)) & i64::MAX as u64;
                        let round = summary(&one, simulation, judging.witnessed)
                            .map(|(run, books)| round_of(&run, &books, &judging.thresholds));
                        if let Ok(mut results) = results.lock() {
                            results.push((number, round));
                        }
                    }
                });
            }
        });
        if judging.stop.level() > StopLevel::Run {
            return Err(SessionError::Stopped);
        }
        for (number, round) in results.into_inner().unwrap_or_default() {
            rounds.insert((value, number), round?);
        }
        let held = numbers.iter().map(|number| {
            rounds
                .get(&(value, *number))
                .is_some_and(|round| round.held)
        });
        Ok(held.collect())
    }

    /// The scenario with a value of the setting.
    #[must_use]
    pub fn applied(&self, scenario: &Scenario, value: u64) -> Scenario {
        let mut with = scenario.clone();
        let number = u32::try_from(value).unwrap_or(u32::MAX);
        match self.setting {
            Setting::Start => {
                if let Some(max_startups) = self.max_startups(scenario, value) {
                    with.sshd.max_startups = max_startups;
                }
            }
            Setting::Tasks => with.tasks = number,
            Setting::StaggerMs => {
                let over = Duration::from_millis(value);
                with.arrival.shape = match over.is_zero() {
                    true => ArrivalShape::Burst,
                    false => ArrivalShape::Ramp { over },
                };
            }
            Setting::PollIntervalMs => {
                for strategy in &mut with.strategies {
                    strategy.tunables.poll_interval = Duration::from_millis(value);
                }
            }
            Setting::Attempts => {
                for strategy in &mut with.strategies {
                    strategy.tunables.conn_retry_attempts = number;
                }
            }
        }
        with
    }

    fn max_startups(&self, scenario: &Scenario, start: u64) -> Option<MaxStartups> {
        let full = (start as f64 * self.full_by_start)
            .round()
            .max(start as f64);
        MaxStartups::new(
            u32::try_from(start).ok()?,
            scenario.sshd.max_startups.rate,
            full as u32,
        )
        .ok()
    }

    /// The same question on longer paths and with slower logins, in few rounds and large steps: the direction is meant.
    fn sensitivity(
        &self,
        scenario: &Scenario,
        near: u64,
        judging: &Judging,
    ) -> Result<Vec<Sensitivity>, SessionError> {
        let mut answers = Vec::new();
        let longer = [20_u64, 100].map(|ms| {
            let mut simulation = self.simulation.clone();
            simulation.costs.round_trip_ns += ms * 1_000_000;
            (format!("{ms} ms more round trip"), simulation, None, false)
        });
        let slower = [100_u64, 1000].map(|ms| {
            (
                format!("logins that take {ms} ms longer"),
                self.simulation.clone(),
                Some(Duration::from_millis(ms)),
                true,
            )
        });
        for (assumption, simulation, slow, validated) in longer.into_iter().chain(slower) {
            let mut scenario = scenario.clone();
            if let Some(more) = slow {
                let mean = scenario
                    .sshd
                    .slow_auth
                    .map_or(more, |slow| slow.mean + more);
                scenario.sshd.slow_auth = Some(SlowAuth {
                    mean,
                    shape: SlowAuthShape::Fixed,
                });
            }
            let demand = self.demand(ROUNDS_FOR_A_DIRECTION);
            let rounds = &mut Rounds::new();
            // In steps of a twentieth.
            let step = (near / 20 / self.step()).max(1) * self.step();
            let value = self.search(
                &scenario,
                (near, step),
                &simulation,
                demand,
                rounds,
                judging,
            )?;
            answers.push(Sensitivity {
                assumption,
                value,
                validated,
            });
        }
        Ok(answers)
    }

    fn memory(&self, start: u64) -> Option<u64> {
        let each = self.calibration.as_ref()?.readings.memory_per_login_bytes?;
        Some((start as f64 * self.full_by_start) as u64 * each)
    }

    /// Runs the answers for real, and the values that meet the goals in half of the rounds; what came of it goes into the plan.
    /// `false` when the user stopped it.
    ///
    /// # Errors
    /// [`SessionError`] when the server cannot be had.
    pub async fn verify(
        &self,
        report: &mut PlanReport,
        verification: &Verification,
        interrupts: &Interrupts,
        observer: &dyn Observer,
    ) -> Result<bool, SessionError> {
        for (index, strategy) in self.scenario.strategies.iter().enumerate() {
            let mut alone = self.scenario.clone();
            alone.strategies = vec![strategy.clone()];
            let Some(answer) = &report.strategies[index].answer else {
                continue;
            };
            let values: Vec<(u64, Trials)> = std::iter::once((answer.value, answer.trials))
                .chain(answer.even.map(|even| (even.value, even.trials)))
                .collect();
            let mut verified = Vec::new();
            for (value, trials) in values {
                observer.notice(Notice::ServerBeingMade(format!(
                    "running {} rounds of {} for real",
                    verification.rounds, strategy.name
                )));
                let folder = tempfile::tempdir().map_err(|source| {
                    SessionError::io("make a folder", std::path::Path::new("."), source)
                })?;
                let quietly = Quietly {
                    origin: "plan",
                    server: verification.server,
                    options: &verification.options,
                    folder: &folder.path().join("run"),
                };
                let mut applied = self.applied(&alone, value);
                applied.rounds = verification.rounds;
                applied.max_duration = Duration::from_secs(3600);
                let Some(run) = quietly.run(applied, interrupts).await? else {
                    return Ok(false);
                };
                verified.push(self.compared(&alone, value, trials, &run)?);
            }
            if let Some(answer) = &mut report.strategies[index].answer {
                answer.verified = verified;
            }
        }
        Ok(true)
    }

    fn compared(
        &self,
        scenario: &Scenario,
        value: u64,
        trials: Trials,
        run: &RunSummary,
    ) -> Result<Verified, SessionError> {
        let judging = self.judging(scenario, RunStop::new())?;
        let real: Vec<Round> = rounds_of(run)
            .iter()
            .map(|round| round_of(round, &[], &judging.thresholds))
            .collect();
        // The rounds that the answer was found by.
        let mut rounds = Rounds::new();
        self.all(scenario, value, trials.rounds, &mut rounds, &judging)?;
        let mean = |of: fn(&Round) -> f64| {
            let simulated = rounds.values().map(of).sum::<f64>() / rounds.len().max(1) as f64;
            [
                simulated,
                real.iter().map(of).sum::<f64>() / real.len().max(1) as f64,
            ]
        };
        Ok(Verified {
            value,
            measured: Trials {
                rounds: real.len() as u32,
                held: real.iter().filter(|round| round.held).count() as u32,
            },
            predicted: trials.share(),
            attempts: mean(|round| round.attempts),
            banner_eof: mean(|round| round.banner_eof),
            startups_peak: mean(|round| round.startups_peak),
        })
    }
}

/// Whether a goal is about what only the server's log or gauge can tell. Without them a round takes half the time.
fn needs_witness(
    scenario: &Scenario,
    simulation: &Simulation,
    thresholds: &[Threshold],
) -> Result<bool, SessionError> {
    let mut little = scenario.clone();
    little.tasks = little.tasks.min(3);
    little.rounds = 1;
    let (run, _) = summary(&little, simulation, false)?;
    Ok(gate::judge(thresholds, &run)
        .iter()
        .any(|result| result.outcome == GateOutcome::Inconclusive))
}

/// The rounds of a run, each as if it were the only one.
fn rounds_of(run: &RunSummary) -> Vec<RunSummary> {
    run.strategies
        .iter()
        .flat_map(|strategy| {
            strategy.rounds.iter().map(|round| RunSummary {
                strategies: vec![StrategySummary {
                    strategy: strategy.strategy.clone(),
                    numbers: round.numbers.clone(),
                    rounds: vec![round.clone()],
                }],
                ..run.clone()
            })
        })
        .collect()
}

fn round_of(run: &RunSummary, books: &[ServerBooks], thresholds: &[Threshold]) -> Round {
    let numbers = &run.strategies[0].numbers;
    let counts = &numbers.total.counts;
    let held = gate::judge(thresholds, run)
        .iter()
        .all(|result| result.outcome == GateOutcome::Pass);
    Round {
        held,
        attempts: counts.attempts as f64,
        handshakes: counts.handshakes as f64,
        banner_eof: counts.banner_eof as f64,
        tasks_failed: numbers.tasks.tasks_failed as f64,
        startups_peak: match books.iter().map(|books| books.slots_peak).max() {
            Some(peak) => f64::from(peak),
            None => numbers.startups_peak.unwrap_or(0) as f64,
        },
        submit_p99_ns: numbers
            .total
            .latencies
            .get(Stage::Submit)
            .percentile_ns(99.0)
            .unwrap_or(0) as f64,
        syns_dropped: books.iter().map(|books| books.syns_dropped as f64).sum(),
    }
}

fn expected(rounds: &Rounds, value: u64) -> Expected {
    let of = |metric: fn(&Round) -> f64| {
        Metric::of(
            rounds
                .range((value, 0)..=(value, u32::MAX))
                .map(|(_, round)| metric(round))
                .collect(),
        )
    };
    Expected {
        attempts: of(|round| round.attempts),
        handshakes: of(|round| round.handshakes),
        banner_eof: of(|round| round.banner_eof),
        tasks_failed: of(|round| round.tasks_failed),
        startups_peak: of(|round| round.startups_peak),
        submit_p99_ns: of(|round| round.submit_p99_ns),
        syns_dropped: of(|round| round.syns_dropped),
    }
}
