//! Hand-built ledgers for tests: one call for each thing that happens.
//!
//! Owns a clock in milliseconds and the numbering of records, attempts and commands. A ledger built only with
//! its calls obeys every law.

use std::time::Duration;

use crate::analysis::summary::{RunSummary, Summarizer};
use crate::ids::{AttemptId, CommandId, RoundId, RunId, StrategyName, TaskId};
use crate::instant::RunInstant;
use crate::ledger::{Event, Record, RoundEnd, RunEnd};
use crate::manifest::{
    EnvironmentRecord, Manifest, NetworkPath, ScenarioRecord, ServerDescription, ServerKind,
    StrategyRecord,
};
use crate::reading::GeneratorSample;
use crate::scenario::StrategyKind;
use crate::vocabulary::{
    AttemptOutcome, AttemptTrace, CleanupPolicy, CleanupResult, Close, CommandOutcome,
    ConnectionEnd, Phase, RetryKind, Step, TaskFate,
};

pub const OLD: &str = "per-command";
pub const NEW: &str = "reused-session";

pub fn manifest() -> Manifest {
    Manifest {
        run_id: RunId("hand-built-20261124T071800Z".to_owned()),
        tool_version: "0.1.0".to_owned(),
        started_at_unix_ns: 1_795_504_680_000_000_000,
        scenario: ScenarioRecord {
            name: "hand-built".to_owned(),
            description: "A ledger written by hand.".to_owned(),
            origin: "built-in".to_owned(),
            effective_toml: "name = \"hand-built\"\n".to_owned(),
            max_in_flight: None,
            shortest_deadline_ns: 10_000_000_000,
            tasks: 2,
            holders: 0,
            rounds: 2,
            seed: 7,
            time_scale: 1.0,
            strategies: vec![
                StrategyRecord {
                    name: StrategyName(OLD.to_owned()),
                    kind: StrategyKind::PerCommand,
                    program: None,
                    failing: None,
                },
                StrategyRecord {
                    name: StrategyName(NEW.to_owned()),
                    kind: StrategyKind::ReusedSession,
                    program: None,
                    failing: None,
                },
            ],
            max_startups: "10:30:100".to_owned(),
            thresholds: Vec::new(),
            expectations: Vec::new(),
        },
        baseline: None,
        target: ServerDescription {
            kind: ServerKind::Local,
            address: "127.0.0.1:2222".to_owned(),
            network_path: NetworkPath::Direct,
            identification: "SSH-2.0-OpenSSH_9.2p1".to_owned(),
            release: Some("OpenSSH_9.2p1".to_owned()),
            substitution: None,
            image: None,
            cores: None,
            login_shell: None,
            packages: None,
            effective_max_startups: Some("10:30:100".to_owned()),
            effective_config: vec![("maxsessions".to_owned(), "10".to_owned())],
            sshd_config: Some("MaxStartups 10:30:100\n".to_owned()),
            jobs_directory: "/tmp/jobs".to_owned(),
            inventory_available: true,
            log_available: true,
            log_has_every_drop: true,
            kernel: None,
            choice: "local: no container engine answers".to_owned(),
            round_trip_ns: Some(60_000),
            exec_cost_ns: Some(4_000_000),
            login_shell_cost_ns: Some(500_000),
            restart_ns: None,
            warnings: Vec::new(),
        },
        environment: EnvironmentRecord {
            kernel: "Linux 6.1".to_owned(),
            cpus: 2,
            load_average_1m: Some(0.1),
            open_files_limit: 4096,
            ephemeral_ports: Some((32_768, 60_999)),
            warnings: Vec::new(),
        },
        task_keys: Vec::new(),
    }
}

/// Events in the making.
pub struct LedgerBuilder {
    pub records: Vec<Record>,
    now: u64,
    attempts: u64,
    commands: u64,
    round: RoundId,
}

impl LedgerBuilder {
    pub fn new(manifest: Manifest) -> Self {
        let mut ledger = LedgerBuilder {
            records: Vec::new(),
            now: 0,
            attempts: 0,
            commands: 0,
            round: RoundId(0),
        };
        ledger.push(Event::RunStarted {
            manifest: Box::new(manifest),
        });
        ledger
    }

    pub fn instant(&self) -> RunInstant {
        RunInstant(self.now * 1_000_000)
    }

    pub fn wait(&mut self, ms: u64) -> &mut Self {
        self.now += ms;
        self
    }

    pub fn push(&mut self, event: Event) -> &mut Self {
        let (seq, at) = (self.records.len() as u64, self.instant());
        self.records.push(Record { seq, at, event });
        self
    }

    /// A line of the server's log.
    pub fn logged(&mut self, line: &str) -> &mut Self {
        self.push(Event::ServerLogged {
            line: line.to_owned(),
        })
    }

    /// sshd's line of a connection that it admits.
    pub fn connection_from(&mut self, port: u16) -> &mut Self {
        self.logged(&format!(
            "Connection from 127.0.0.1 port {port} on 127.0.0.1 port 22"
        ))
    }

    /// … of a login.
    pub fn accepted(&mut self, port: u16) -> &mut Self {
        self.logged(&format!(
            "Accepted publickey for runner from 127.0.0.1 port {port} ssh2: ED25519 SHA256:x"
        ))
    }

    /// … of a drop by `MaxStartups`, drawn with 20 slots in use.
    pub fn dropped(&mut self, port: u16) -> &mut Self {
        self.logged("sshd.c:should_drop_connection():1 (pid=1): p 37, r 5")
            .logged(&format!(
                "sshd.c:drop_connection():1 (pid=1): drop connection #20 from [127.0.0.1]:{port} on [127.0.0.1]:22 past \
                 MaxStartups"
            ))
    }

    /// A line in the log of an earlier round, counted from 0.
    pub fn logged_in(&mut self, round: usize, line: &str) {
        let begun = |record: &Record| matches!(record.event, Event::RoundStarted { .. });
        let (at, started) = self
            .records
            .iter()
            .enumerate()
            .filter(|(_, record)| begun(record))
            .nth(round)
            .expect("the round was begun");
        let record = Record {
            seq: 0,
            at: started.at,
            event: Event::ServerLogged {
                line: line.to_owned(),
            },
        };
        self.records.insert(at + 1, record);
        self.renumber();
    }

    /// Takes the lines away that are about a port.
    pub fn unlog(&mut self, port: u16) {
        let about = [format!("port {port} "), format!("]:{port} ")];
        self.records.retain(|record| match &record.event {
            Event::ServerLogged { line } => !about.iter().any(|text| line.contains(text.as_str())),
            _ => true,
        });
        self.renumber();
    }

    /// Gives every record its place again.
    pub fn renumber(&mut self) {
        for (seq, record) in self.records.iter_mut().enumerate() {
            record.seq = seq as u64;
        }
    }

    /// The port of the latest attempt.
    pub fn port(&self) -> u16 {
        port_of(self.attempts)
    }

    /// Begins a round and schedules its tasks for now; job ids are `job-<round>-<task>`.
    pub fn round(&mut self, strategy: &str, repetition: u32, tasks: u32) -> &mut Self {
        self.round = RoundId(self.round.0 + 1);
        let round = self.round;
        self.push(Event::RoundStarted {
            round,
            repetition,
            strategy: StrategyName(strategy.to_owned()),
            cleanup: CleanupPolicy::Always,
            tasks,
            proven_idle: true,
        });
        for task in 0..tasks {
            let intended = self.instant();
            self.push(Event::TaskScheduled {
                round,
                task: TaskId(task),
                intended,
                job_id: job(round, task),
            });
        }
        self
    }

    pub fn start(&mut self, task: u32) -> &mut Self {
        let round = self.round;
        self.push(Event::TaskStarted {
            round,
            task: TaskId(task),
        })
    }

    pub fn submitted(&mut self, task: u32) -> &mut Self {
        let round = self.round;
        self.push(Event::PhaseEnded {
            round,
            task: TaskId(task),
            phase: Phase::Submit,
        })
    }

    pub fn polled(&mut self, task: u32) -> &mut Self {
        let round = self.round;
        self.push(Event::PollEnded {
            round,
            task: TaskId(task),
            commands: 2,
            completed: true,
        })
    }

    /// An attempt of any outcome, 1 ms to connect and 9 ms for the rest; the server's log sees what it would see.
    pub fn attempt(
        &mut self,
        task: u32,
        phase: Phase,
        ordinal: u32,
        outcome: AttemptOutcome,
    ) -> AttemptId {
        let (attempt, begun) = self.started(task, phase, ordinal);
        let step = |ms| Some(begun + Duration::from_millis(ms));
        let port = self.port();
        let mut trace = AttemptTrace {
            connect_called: Some(begun),
            connected: step(1),
            ended: step(10),
            local_port: Some(port),
            ..AttemptTrace::default()
        };
        match outcome {
            AttemptOutcome::Handshake => {
                (trace.identified, trace.keyed, trace.authenticated) = (step(3), step(6), step(10));
                self.connection_from(port).accepted(port);
            }
            AttemptOutcome::BannerEof { .. } => {
                trace.text_before = Some("Exceeded MaxStartups".to_owned());
                self.dropped(port);
            }
            AttemptOutcome::ConnectRefused | AttemptOutcome::ConnectTimeout => {
                trace.connected = None;
            }
            AttemptOutcome::BannerTimeout
            | AttemptOutcome::KexFailed { .. }
            | AttemptOutcome::AuthFailed { .. }
            | AttemptOutcome::GeneratorFault { .. }
            | AttemptOutcome::Held
            | AttemptOutcome::Interrupted => {
                self.connection_from(port);
            }
        }
        self.wait(10);
        self.push(Event::AttemptEnded {
            attempt,
            outcome,
            trace: Box::new(trace),
        });
        attempt
    }

    /// Numbers an attempt, which begins now.
    fn started(&mut self, task: u32, phase: Phase, ordinal: u32) -> (AttemptId, RunInstant) {
        self.attempts += 1;
        let (attempt, round) = (AttemptId(self.attempts), self.round);
        self.push(Event::AttemptStarted {
            round,
            task: TaskId(task),
            attempt,
            phase,
            ordinal,
        });
        (attempt, self.instant())
    }

    /// An attempt that is admitted and stays open.
    pub fn begin(&mut self, task: u32, phase: Phase) -> (AttemptId, RunInstant) {
        let started = self.started(task, phase, 1);
        let port = self.port();
        self.connection_from(port).wait(10);
        started
    }

    /// The end of one that was silent.
    pub fn finish(&mut self, (attempt, begun): (AttemptId, RunInstant), outcome: AttemptOutcome) {
        let step = |ms| Some(begun + Duration::from_millis(ms));
        let trace = AttemptTrace {
            connect_called: Some(begun),
            connected: step(1),
            identified: step(3),
            ended: Some(self.instant()),
            local_port: Some(port_of(attempt.0)),
            ..AttemptTrace::default()
        };
        self.push(Event::AttemptEnded {
            attempt,
            outcome,
            trace: Box::new(trace),
        });
    }

    /// An attempt refused by a drop line with `PORT` where the port stands.
    pub fn refused_as(&mut self, task: u32, phase: Phase, drop: &str) {
        let (attempt, begun) = self.started(task, phase, 1);
        let port = self.port();
        self.logged(&drop.replace("PORT", &port.to_string()))
            .wait(2);
        let trace = AttemptTrace {
            connect_called: Some(begun),
            connected: Some(begun + Duration::from_millis(1)),
            ended: Some(self.instant()),
            local_port: Some(port),
            saw_eof: true,
            ..AttemptTrace::default()
        };
        let close = Close::Eof;
        self.push(Event::AttemptEnded {
            attempt,
            outcome: AttemptOutcome::BannerEof { close },
            trace: Box::new(trace),
        });
    }

    pub fn connect(&mut self, task: u32, phase: Phase, ordinal: u32) -> AttemptId {
        self.attempt(task, phase, ordinal, AttemptOutcome::Handshake)
    }

    pub fn refused(&mut self, task: u32, phase: Phase, ordinal: u32) -> &mut Self {
        let close = if self.attempts.is_multiple_of(2) {
            Close::Eof
        } else {
            Close::Reset
        };
        self.attempt(task, phase, ordinal, AttemptOutcome::BannerEof { close });
        self
    }

    pub fn retry(&mut self, task: u32, phase: Phase, retry: RetryKind) -> &mut Self {
        let round = self.round;
        self.push(Event::RetryScheduled {
            round,
            task: TaskId(task),
            phase,
            retry,
            wait: Duration::from_millis(50),
        });
        self.wait(50)
    }

    /// A command of 4 ms.
    pub fn command(
        &mut self,
        task: u32,
        attempt: AttemptId,
        step: Step,
        outcome: CommandOutcome,
    ) -> &mut Self {
        self.commands += 1;
        let (command, round) = (CommandId(self.commands), self.round);
        self.push(Event::CommandStarted {
            command,
            attempt,
            round,
            task: TaskId(task),
            step,
        });
        self.wait(4).push(Event::CommandEnded {
            command,
            outcome,
            stdout_bytes: 3,
        })
    }

    pub fn ran(&mut self, task: u32, attempt: AttemptId, step: Step) -> &mut Self {
        self.command(
            task,
            attempt,
            step,
            CommandOutcome::Completed { exit_status: 0 },
        )
    }

    pub fn close(&mut self, attempt: AttemptId) -> &mut Self {
        self.push(Event::ConnectionEnded {
            attempt,
            end: ConnectionEnd::ClosedByClient,
            bytes_in: 2000,
            bytes_out: 1500,
        })
    }

    pub fn end(&mut self, task: u32, fate: TaskFate, cleanup: CleanupResult) -> &mut Self {
        let round = self.round;
        self.push(Event::TaskEnded {
            round,
            task: TaskId(task),
            fate,
            removal_required: cleanup != CleanupResult::NotRequired,
            cleanup,
        })
    }

    pub fn directory(&mut self, name: &str) -> &mut Self {
        let round = self.round;
        self.push(Event::DirectoryFound {
            round,
            name: name.to_owned(),
        })
    }

    pub fn leftover(&mut self, task: u32) -> &mut Self {
        let name = job(self.round, task);
        self.directory(&name)
    }

    pub fn sample(&mut self, cpu_seconds: f64, loop_lag_ms: u64) -> &mut Self {
        self.push(Event::GeneratorSampled {
            sample: GeneratorSample {
                cpu_seconds,
                loop_lag_ns: loop_lag_ms * 1_000_000,
                open_files: 40,
            },
        })
    }

    pub fn round_end(&mut self, end: RoundEnd) -> &mut Self {
        let round = self.round;
        self.push(Event::RoundEnded {
            round,
            end,
            proven_idle: true,
            inventory_taken: true,
            log_taken: true,
        })
        .wait(2000)
    }

    pub fn run_end(&mut self, end: RunEnd) -> &mut Self {
        self.push(Event::RunEnded { end })
    }

    pub fn summary(&self) -> RunSummary {
        let mut summarizer = Summarizer::new();
        for record in &self.records {
            summarizer.fold(record.clone());
        }
        summarizer.finish()
    }
}

fn port_of(attempt: u64) -> u16 {
    u16::try_from(20_000 + attempt % 40_000).expect("fits")
}

fn job(round: RoundId, task: u32) -> String {
    format!("job-{round}-{task}")
}

/// Two rounds of each strategy, two tasks each. The old one is refused once in every round and leaves one
/// directory in its second round; the new one is undisturbed.
pub fn small_run(manifest: Manifest) -> LedgerBuilder {
    let mut ledger = LedgerBuilder::new(manifest);
    ledger.sample(0.0, 1);
    for repetition in 1..=2 {
        ledger.round(OLD, repetition, 2).start(0).start(1);
        for task in 0..2 {
            if task == 1 {
                ledger.refused(task, Phase::Submit, 1).retry(
                    task,
                    Phase::Submit,
                    RetryKind::Connect,
                );
            }
            for step in [Step::Detect, Step::Submit] {
                let first = step == Step::Detect;
                let ordinal = if first { task + 1 } else { 1 };
                let connection = ledger.connect(task, Phase::Submit, ordinal);
                ledger.ran(task, connection, step).close(connection);
            }
            ledger.submitted(task);
        }
        for task in 0..2 {
            for step in [Step::Check, Step::Size] {
                let connection = ledger.connect(task, Phase::Poll, 1);
                ledger.ran(task, connection, step).close(connection);
            }
            ledger.polled(task);
        }
        for task in 0..2 {
            if (repetition, task) == (2, 0) {
                for ordinal in 1..=3 {
                    ledger.refused(task, Phase::Cleanup, ordinal);
                }
                ledger.end(task, TaskFate::Succeeded, CleanupResult::ConnectFailed);
            } else {
                let connection = ledger.connect(task, Phase::Cleanup, 1);
                ledger
                    .ran(task, connection, Step::Cleanup)
                    .close(connection)
                    .end(task, TaskFate::Succeeded, CleanupResult::Removed);
            }
        }
        if repetition == 2 {
            ledger.leftover(0);
        }
        ledger.round_end(RoundEnd::Complete).sample(0.1, 2);

        ledger.round(NEW, repetition, 2).start(0).start(1);
        for (phase, steps) in [
            (Phase::Submit, &[Step::Detect, Step::Submit][..]),
            (Phase::Poll, &[Step::Check, Step::Size]),
            (Phase::Cleanup, &[Step::Cleanup]),
        ] {
            for task in 0..2 {
                let connection = ledger.connect(task, phase, 1);
                for step in steps {
                    ledger.ran(task, connection, *step);
                }
                ledger.close(connection);
                match phase {
                    Phase::Submit => ledger.submitted(task),
                    Phase::Poll => ledger.polled(task),
                    Phase::Cleanup => ledger.end(task, TaskFate::Succeeded, CleanupResult::Removed),
                };
            }
        }
        ledger.round_end(RoundEnd::Complete).sample(0.2, 3);
    }
    ledger.run_end(RunEnd::Complete);
    ledger
}
