//! A scripted server behind the connector seam, for tests on a paused clock.
//!
//! It plays a remote job by the typed commands of the seam.

use std::collections::VecDeque;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::RunClock;
use crate::collector::Collector;
use crate::ssh::{Command, CommandOutput, ConnectLimits, Connector, Held, Session, Tap};
use crate::{Engine, Leaving, Spawner, StopController, TokioSpawner, plan_rounds};
use sshchurn_core::ids::StrategyName;
use sshchurn_core::instant::RunInstant;
use sshchurn_core::ledger::{Event, Record, RoundEnd};
use sshchurn_core::scenario::{
    ArrivalConfig, ArrivalShape, JobConfig, MaxStartups, Scenario, SshdConfig, StrategyConfig,
    StrategyKind, Tunables,
};
use sshchurn_core::vocabulary::{
    AttemptOutcome, CleanupPolicy, Close, CommandOutcome, Phase, RetryKind, StageFailure, Step,
    TaskFate,
};

pub(crate) const EOF: AttemptOutcome = AttemptOutcome::BannerEof { close: Close::Eof };
pub(crate) const RESET: AttemptOutcome = AttemptOutcome::BannerEof {
    close: Close::Reset,
};

/// Script of one server: what the next connects and the next commands of a kind meet; afterwards all is well.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) connects: VecDeque<Option<AttemptOutcome>>,
    pub(crate) commands: Vec<(Step, VecDeque<Option<CommandOutcome>>)>,
    /// Refuses every connect from now on.
    pub(crate) refuse_all: Option<AttemptOutcome>,
    /// Time one connect takes.
    pub(crate) connect_takes: Duration,
    /// Times that the next connects take instead.
    pub(crate) next_connects_take: VecDeque<Duration>,
    /// Time an orderly close takes.
    pub(crate) close_takes: Duration,
    /// The server ends a held connection after this time.
    pub(crate) held_lost_after: Option<Duration>,
    pub(crate) started: Option<RunInstant>,
    pub(crate) removed: bool,
    /// Exit status of a `Run`.
    pub(crate) exit_status: u32,
    /// Texts of `Run`s so far.
    pub(crate) ran: Vec<String>,
}

#[derive(Clone)]
pub(crate) struct FakeConnector {
    script: Arc<Mutex<Script>>,
    clock: RunClock,
}

pub(crate) struct FakeSession(FakeConnector);

/// Held until the script's server gives up on it.
pub(crate) struct FakeHeld {
    lost_after: Option<Duration>,
}

impl Held for FakeHeld {
    async fn ended(&mut self) -> AttemptOutcome {
        match self.lost_after {
            None => std::future::pending().await,
            Some(after) => {
                tokio::time::sleep(after).await;
                AttemptOutcome::KexFailed {
                    failure: StageFailure::Lost { close: Close::Eof },
                }
            }
        }
    }
}

impl Connector for FakeConnector {
    type Session = FakeSession;
    type Held = FakeHeld;

    fn prepare(&self) -> Result<(), AttemptOutcome> {
        Ok(())
    }

    async fn connect(
        &self,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> Result<FakeSession, AttemptOutcome> {
        self.answer(tap).await?;
        if limits.unknown_key {
            return Err(AttemptOutcome::AuthFailed {
                failure: StageFailure::Rejected,
            });
        }
        Ok(FakeSession(self.clone()))
    }

    async fn hold(&self, _: &ConnectLimits, tap: &Tap) -> Result<FakeHeld, AttemptOutcome> {
        self.answer(tap).await?;
        Ok(FakeHeld {
            lost_after: self.script.lock().unwrap().held_lost_after,
        })
    }

    async fn log_in(
        &self,
        _: FakeHeld,
        _: &ConnectLimits,
        _: &Tap,
    ) -> Result<FakeSession, AttemptOutcome> {
        Ok(FakeSession(self.clone()))
    }
}

impl FakeConnector {
    pub(crate) fn new(script: Script, clock: RunClock) -> Self {
        FakeConnector {
            script: Arc::new(Mutex::new(script)),
            clock,
        }
    }

    async fn answer(&self, tap: &Tap) -> Result<(), AttemptOutcome> {
        tap.connect_called();
        let takes = {
            let mut script = self.script.lock().unwrap();
            let next = script.next_connects_take.pop_front();
            next.unwrap_or(script.connect_takes)
        };
        tokio::time::sleep(takes).await;
        let mut script = self.script.lock().unwrap();
        match script
            .connects
            .pop_front()
            .unwrap_or_else(|| script.refuse_all.clone())
        {
            Some(outcome) => Err(outcome),
            None => Ok(()),
        }
    }
}

impl Session for FakeSession {
    async fn run(
        &self,
        command: Command<'_>,
        _: Duration,
    ) -> Result<CommandOutput, CommandOutcome> {
        let FakeConnector { script, clock } = &self.0;
        let mut script = script.lock().unwrap();
        let step = command.step();
        let scripted = script
            .commands
            .iter_mut()
            .find(|(of, _)| *of == step)
            .and_then(|(_, outcomes)| outcomes.pop_front());
        if let Some(Some(outcome)) = scripted {
            return Err(outcome);
        }
        let running = script.started.map(|started| clock.now().since(started));
        let mut output = CommandOutput::default();
        let text = match command {
            Command::Detect => "Linux\n".to_owned(),
            Command::Submit(job) => {
                script.started = Some(clock.now());
                format!("{}\n", job.id())
            }
            Command::Check(job) if running >= Some(job.work.duration) => {
                format!("{}\n", job.work.exit_code)
            }
            Command::Check(_) => String::new(),
            // The whole log is there as soon as the job has ended, nothing before.
            Command::Size(job) if running >= Some(job.work.duration) => {
                format!("{}\n", job.work.log_bytes)
            }
            Command::Size(_) => "0\n".to_owned(),
            Command::Read { count, .. } => "x".repeat(usize::try_from(count).unwrap()),
            Command::Cleanup(_) => {
                script.removed = true;
                String::new()
            }
            Command::Run(text) => {
                output.exit_status = script.exit_status;
                script.ran.push(text.to_owned());
                String::new()
            }
        };
        output.stdout.push(text.as_bytes());
        Ok(output)
    }

    async fn answers(&self, _: Duration) -> bool {
        true
    }

    fn lost(&self) -> Option<Close> {
        None
    }

    async fn close(self) {
        let takes = self.0.script.lock().unwrap().close_takes;
        tokio::time::sleep(takes).await;
    }
}

/// A scenario for tests: one task, a 12 s job, provider defaults, cleanup always.
pub(crate) fn scenario(kind: StrategyKind, tasks: u32) -> Scenario {
    Scenario {
        folder: None,
        name: "test".to_owned(),
        description: String::new(),
        tasks,
        arrival: ArrivalConfig {
            shape: ArrivalShape::Burst,
            max_in_flight: None,
        },
        job: JobConfig {
            duration: Duration::from_secs(12),
            log_lines: 1,
            log_bytes: 100,
            exit_code: 0,
            killed_share: 0.0,
        },
        strategies: vec![StrategyConfig {
            name: StrategyName(kind.as_str().to_owned()),
            kind,
            tunables: Tunables {
                cleanup: CleanupPolicy::Always,
                ..Tunables::defaults(kind)
            },
            program: None,
        }],
        rounds: 1,
        seed: 7,
        time_scale: 1.0,
        max_duration: Duration::from_secs(600),
        sshd: SshdConfig::of(MaxStartups {
            start: 10,
            rate: 30,
            full: 100,
        }),
        gate: Vec::new(),
        expectations: Vec::new(),
        holders: None,
    }
}

/// What a run of the first round left behind.
pub(crate) struct Told {
    pub(crate) records: Vec<Record>,
    pub(crate) end: RoundEnd,
    pub(crate) removed: Vec<bool>,
    /// Texts of the commands of tasks without a job.
    pub(crate) ran: Vec<Vec<String>>,
}

/// Runs the first round of `scenario` with one scripted server for each holder and then for each task.
pub(crate) async fn tell(scenario: &Scenario, scripts: Vec<Script>) -> Told {
    tell_with(scenario, scripts, |_| ()).await
}

/// As [`tell`]; `control` gets the stop controller before the round starts.
pub(crate) async fn tell_with(
    scenario: &Scenario,
    scripts: Vec<Script>,
    control: impl FnOnce(StopController),
) -> Told {
    tell_under(&TokioSpawner, scenario, scripts, control).await
}

/// As [`tell`], with the tasks run by `spawner`.
pub(crate) async fn tell_on(
    spawner: &impl Spawner,
    scenario: &Scenario,
    scripts: Vec<Script>,
) -> Told {
    tell_under(spawner, scenario, scripts, |_| ()).await
}

async fn tell_under(
    spawner: &impl Spawner,
    scenario: &Scenario,
    scripts: Vec<Script>,
    control: impl FnOnce(StopController),
) -> Told {
    let clock = RunClock::start();
    let (sender, receiver) = mpsc::channel();
    let collector = Collector::new(clock.clone(), sender);
    let (controller, signal) = StopController::new();
    control(controller.clone());
    let engine = Engine::new(
        scenario.clone(),
        "/jobs".to_owned(),
        collector.clone(),
        signal,
    );
    let scripts: Vec<_> = scripts
        .into_iter()
        .map(|script| Arc::new(Mutex::new(script)))
        .collect();
    let handed_out = Mutex::new(scripts.iter());
    let plan = plan_rounds(scenario).remove(0);
    let connector = || FakeConnector {
        script: Arc::clone(
            handed_out
                .lock()
                .unwrap()
                .next()
                .expect("a script for each of them"),
        ),
        clock: clock.clone(),
    };
    let tasks = engine.run_round_on(spawner, &plan, connector);
    let leaving = match scenario.sshd.penalises() {
        true => Leaving::LoggingIn,
        false => Leaving::Closing,
    };
    let end = engine
        .beside_holders(plan.round, leaving, connector, tasks)
        .await;
    collector.finish();
    Told {
        records: receiver.into_iter().collect(),
        end,
        removed: scripts
            .iter()
            .map(|script| script.lock().unwrap().removed)
            .collect(),
        ran: scripts
            .iter()
            .map(|script| script.lock().unwrap().ran.clone())
            .collect(),
    }
}

impl Told {
    /// Attempts by phase: submit, poll, cleanup.
    pub(crate) fn attempts(&self) -> [usize; 3] {
        Phase::ALL.map(|wanted| {
            self.records
                .iter()
                .filter(|record| matches!(record.event, Event::AttemptStarted { phase, .. } if phase == wanted))
                .count()
        })
    }

    /// Ordinals of a phase's attempts: 1 begins another connection.
    pub(crate) fn ordinals(&self, of: Phase) -> Vec<u32> {
        self.records
            .iter()
            .filter_map(|record| match record.event {
                Event::AttemptStarted { phase, ordinal, .. } if phase == of => Some(ordinal),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn fates(&self) -> Vec<TaskFate> {
        self.records
            .iter()
            .filter_map(|record| match record.event {
                Event::TaskEnded { fate, .. } => Some(fate),
                _ => None,
            })
            .collect()
    }

    /// Commands of every poll and the number of polls.
    pub(crate) fn polls(&self) -> Vec<u32> {
        self.records
            .iter()
            .filter_map(|record| match record.event {
                Event::PollEnded { commands, .. } => Some(commands),
                _ => None,
            })
            .collect()
    }

    /// Waits before retries of one kind, seconds.
    pub(crate) fn waits(&self, wanted: RetryKind) -> Vec<f64> {
        self.records
            .iter()
            .filter_map(|record| match record.event {
                Event::RetryScheduled { retry, wait, .. } if retry == wanted => {
                    Some(wait.as_secs_f64())
                }
                _ => None,
            })
            .collect()
    }

    /// Instants of the starts of commands of one kind, seconds.
    pub(crate) fn commands_at(&self, wanted: Step) -> Vec<f64> {
        self.records
            .iter()
            .filter_map(|record| match record.event {
                Event::CommandStarted { step, .. } if step == wanted => {
                    Some(record.at.0 as f64 / 1e9)
                }
                _ => None,
            })
            .collect()
    }
}
