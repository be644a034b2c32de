//! Folds a ledger, record by record, into a [`RunSummary`].
//!
//! Owns which event belongs to which round, and the laws' counts that concern the ledger as a whole. Never
//! fails: what does not fit is counted as stray and breaks a law later.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashSet;

use super::books::LedgerBooks;
use super::clients::ClientLoad;
use super::numbers::{GeneratorHealth, Numbers, RoundSummary, RunSummary, StrategySummary};
use super::round::{Ending, OpenAttempt, RoundState};
use crate::analysis::climb::login_grace_time;
use crate::analysis::failing::Plan;
use crate::ids::{AttemptId, CommandId, RoundId, StrategyName};
use crate::instant::RunInstant;
use crate::join::{TaskKeys, Views};
use crate::ledger::{Event, Record, RunEnd};
use crate::manifest::{Manifest, ServerKind};
use crate::model::Admission;
use crate::reading::GeneratorSample;
use crate::scenario::MaxStartups;
use crate::server_log::DropRule;
use crate::vocabulary::{AttemptOutcome, Phase};

const STRAYS_KEPT: usize = 5;
/// Shortest stretch over which a CPU share is taken: sshd's and the harness's own time slices average out.
const CPU_STRETCH: Duration = Duration::from_secs(1);

struct OpenCommand {
    round: RoundId,
    phase: Phase,
    at: RunInstant,
}

/// By numbers that were given out in order. What began one after the other often ends so, and stays together in memory: of a million
/// open attempts, no cache holds the rest.
type ByNumber<K, V> = HashMap<K, V, BuildHasherDefault<InOrder>>;

/// Hashes a number to itself, as far as the place in the table goes, which follows from the low bits.
#[derive(Default)]
struct InOrder(u64);

impl Hasher for InOrder {
    fn finish(&self) -> u64 {
        // By the highest seven bits the table tells neighbours apart.
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) & !(u64::MAX >> 7)) | (self.0 & (u64::MAX >> 7))
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 ^= number;
    }
}

/// Folds records; see [`Summarizer::fold`].
#[derive(Default)]
pub struct Summarizer {
    manifest: Option<Manifest>,
    task_keys: Arc<TaskKeys>,
    ledger: LedgerBooks,
    next_seq: u64,
    last_at: RunInstant,
    ended: Option<RunEnd>,
    rounds: BTreeMap<RoundId, RoundState>,
    done: BTreeMap<RoundId, RoundSummary>,
    attempts: ByNumber<AttemptId, OpenAttempt>,
    connections: ByNumber<AttemptId, RoundId>,
    commands: ByNumber<CommandId, OpenCommand>,
    directories: FxHashSet<String>,
    expected: Option<Admission>,
    generator: GeneratorHealth,
    cpu_first: Option<(RunInstant, f64)>,
    cpu_stretch: Option<(RunInstant, f64)>,
    cpu_last: Option<(RunInstant, f64)>,
    cpu_peak_per_s: Option<f64>,
    /// Address and port of connections that the harness made beside its attempts.
    marks: Vec<(IpAddr, u16)>,
    warnings: Vec<String>,
    stop_reasons: Vec<String>,
}

impl Summarizer {
    /// A summarizer at the beginning of a ledger.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The causes of drops worded alike are told apart by this rule instead of the one that the manifest's server has:
    /// for holding a run against another expectation.
    #[must_use]
    pub fn with_rule(mut self, expected: MaxStartups) -> Self {
        self.expected = Some(Admission::new(expected));
        self
    }

    /// Takes the next record of the ledger, in the order of the file.
    pub fn fold(&mut self, mut record: Record) {
        self.check_envelope(&record);
        let at = record.at;
        let fits = match &mut record.event {
            Event::RunStarted { manifest } => {
                self.ledger.opened = self.ledger.records == 1;
                self.task_keys = Arc::new(TaskKeys::new(&manifest.task_keys));
                self.manifest = Some((**manifest).clone());
                self.ledger.opened
            }
            Event::RoundStarted { .. } => self.round_started(&record.event, at),
            Event::TaskScheduled {
                round,
                task,
                intended,
                job_id,
            } => self.in_round(*round, |state| {
                state.task_scheduled(*task, *intended, job_id)
            }),
            Event::TaskStarted { round, task } => {
                self.in_round(*round, |state| state.task_started(*task, at))
            }
            Event::PhaseStarted { round, phase, .. } => self.in_round(*round, |state| {
                state.phase_started(*phase, at);
                true
            }),
            Event::PhaseEnded { round, task, phase } => {
                self.in_round(*round, |state| state.phase_ended(*task, *phase, at))
            }
            Event::AttemptStarted {
                round,
                task,
                attempt,
                phase,
                ordinal,
            } => {
                let mut open = OpenAttempt {
                    round: *round,
                    task: Some(*task),
                    phase: *phase,
                    ordinal: *ordinal,
                    at,
                    others: 0,
                };
                let known =
                    self.in_round(*round, |state| state.attempt_started(*attempt, &mut open));
                self.attempts.insert(*attempt, open).is_none() && known
            }
            Event::HolderStarted { round, attempt } => {
                let open = OpenAttempt {
                    round: *round,
                    task: None,
                    phase: Phase::Submit,
                    ordinal: 1,
                    at,
                    others: 0,
                };
                let known = self.in_round(*round, |state| {
                    state.holder_started();
                    true
                });
                self.attempts.insert(*attempt, open).is_none() && known
            }
            Event::AttemptEnded {
                attempt,
                outcome,
                trace,
            }
            | Event::HolderEnded {
                attempt,
                outcome,
                trace,
            } => match self.attempts.remove(attempt) {
                None => false,
                Some(open) => {
                    if *outcome == AttemptOutcome::Handshake {
                        self.connections.insert(*attempt, open.round);
                    }
                    self.in_round(open.round, |state| {
                        let trace = std::mem::take(&mut **trace);
                        state.attempt_ended(*attempt, &open, outcome, trace, at);
                        true
                    })
                }
            },
            Event::ConnectionEnded { attempt, .. } => match self.connections.remove(attempt) {
                None => false,
                Some(round) => self.in_round(round, |state| {
                    state.connection_ended();
                    true
                }),
            },
            Event::CommandStarted {
                command,
                attempt: _,
                round,
                task: _,
                step,
            } => {
                let phase = step.phase();
                let open = OpenCommand {
                    round: *round,
                    phase,
                    at,
                };
                let known = self.in_round(*round, |state| {
                    state.command_started(phase);
                    true
                });
                self.commands.insert(*command, open).is_none() && known
            }
            Event::CommandEnded {
                command, outcome, ..
            } => match self.commands.remove(command) {
                None => false,
                Some(open) => self.in_round(open.round, |state| {
                    state.command_ended(open.phase, at.since(open.at), outcome);
                    true
                }),
            },
            Event::PollEnded { round, .. } => self.in_round(*round, |state| {
                state.poll_ended();
                true
            }),
            Event::RetryScheduled {
                round,
                phase,
                retry,
                ..
            } => self.in_round(*round, |state| {
                state.retry_scheduled(*phase, *retry);
                true
            }),
            Event::TaskEnded {
                round,
                task,
                fate,
                removal_required,
                cleanup,
            } => self.in_round(*round, |state| {
                state.task_ended(*task, *fate, *removal_required, *cleanup, at)
            }),
            Event::ClientEnded {
                round,
                task,
                end,
                took: _,
                left_behind,
                output_bytes,
                recognised,
                excerpt,
            } => self.in_round(*round, |state| {
                state.clients_of_round().ended(
                    (*round, *task),
                    end,
                    left_behind,
                    *output_bytes,
                    *recognised,
                    excerpt,
                );
                true
            }),
            Event::ClientCleared {
                round,
                task: _,
                cpu_ns,
                memory_bytes,
                killed,
            } => self.in_round(*round, |state| {
                state.client_cleared(*cpu_ns, *memory_bytes, *killed);
                true
            }),
            Event::ClientsSampled {
                round,
                thread_share,
                thread,
                machine_share,
                window_s,
            } => self.in_round(*round, |state| {
                if let (Some(thread_share), Some(machine_share)) = (*thread_share, *machine_share) {
                    state.clients_of_round().load = Some(ClientLoad {
                        thread_share,
                        thread: thread.clone(),
                        machine_share,
                        window_s: *window_s,
                    });
                }
                true
            }),
            Event::DirectoryFound { round, name } => self.in_round(*round, |state| {
                state.directory_found(name);
                true
            }),
            Event::StartupsChanged {
                round,
                slots,
                start,
                full,
            } => self.in_round(*round, |state| {
                state.startups_changed(*slots, *start, *full, at);
                true
            }),
            Event::StartupsSampled {
                round,
                samples,
                over_ns,
                sampler_cpu_ns,
            } => self.in_round(*round, |state| {
                state.startups_sampled(*samples, *over_ns, *sampler_cpu_ns, at);
                true
            }),
            Event::ServerSampled { round, reading } => self.in_round(*round, |state| {
                state.server_sampled(reading);
                true
            }),
            Event::ServerLogged { line } => {
                // Before the first round and between two the server talks to nobody that is counted.
                if let Some(mut open) = self.rounds.last_entry() {
                    open.get_mut().server_logged(line, at);
                }
                true
            }
            Event::LogMarked { address, port } => {
                self.marks.push((*address, *port));
                true
            }
            Event::GeneratorSampled { sample } => {
                self.generator_sampled(at, sample);
                true
            }
            Event::RoundEnded {
                round,
                end,
                proven_idle,
                inventory_taken,
                log_taken,
            } => {
                let ending = Ending {
                    end: *end,
                    proven_idle: *proven_idle,
                    inventory_taken: *inventory_taken,
                    log_taken: *log_taken,
                };
                self.round_ended(*round, ending, at)
            }
            Event::StopRequested { reason, .. } => {
                self.stop_reasons.push(reason.clone());
                true
            }
            Event::Warned { text } => {
                self.warnings.push(text.clone());
                true
            }
            Event::RunEnded { end } => {
                self.ended = Some(*end);
                true
            }
        };
        if !fits {
            self.ledger.stray_events += 1;
            if self.ledger.stray_samples.len() < STRAYS_KEPT {
                let event = format!("{:?}", record.event);
                let event: String = event.chars().take(160).collect();
                let sample = format!("seq {}: {event}", record.seq);
                self.ledger.stray_samples.push(sample);
            }
        }
    }

    /// Whether it fits. Apart from [`Summarizer::fold`], since a round's state is large, and every record would clear the room for it.
    #[inline(never)]
    fn round_started(&mut self, event: &Event, at: RunInstant) -> bool {
        let Event::RoundStarted {
            round,
            repetition,
            strategy,
            cleanup,
            tasks,
            proven_idle,
        } = event
        else {
            return false;
        };
        self.ledger.rounds_started += 1;
        let state = RoundState::new(
            *round,
            *repetition,
            strategy.clone(),
            *cleanup,
            *tasks,
            *proven_idle,
            at,
        );
        let state = self.round_state(state, strategy);
        !self.done.contains_key(round) && self.rounds.insert(*round, state).is_none()
    }

    /// The same.
    #[inline(never)]
    fn round_ended(&mut self, round: RoundId, ending: Ending, at: RunInstant) -> bool {
        let Some(mut state) = self.rounds.remove(&round) else {
            return false;
        };
        self.ledger.rounds_ended += 1;
        state.touched(at);
        let summary = state.finish(Some(ending), &mut self.directories, &self.marks);
        self.done.insert(round, summary);
        true
    }

    /// A round that begins, with what the manifest says of its limits and its witnesses.
    fn round_state(&self, state: RoundState, strategy: &StrategyName) -> RoundState {
        let Some(manifest) = &self.manifest else {
            return state;
        };
        let (scenario, server) = (&manifest.scenario, &manifest.target);
        let kind = scenario.kind_of(strategy);
        let views = match kind {
            Some(kind) => Views::of(kind, server),
            None => Views::CLIENT,
        };
        let rule = DropRule::of(manifest).map(|rule| DropRule {
            max_startups: self.expected.unwrap_or(rule.max_startups),
            ..rule
        });
        let state = state
            .of_kind(kind)
            .at_most(scenario.max_in_flight)
            .witnessed(views, rule, Arc::clone(&self.task_keys), server.kernel)
            .under_test(scenario.program_of(strategy))
            .beside(scenario.holders, login_grace_time(manifest))
            .failing(
                scenario
                    .failing(strategy)
                    .map(|record| Plan::of(record, manifest)),
            );
        match server.kind {
            ServerKind::External => state.shared(),
            ServerKind::Docker
            | ServerKind::Local
            | ServerKind::Embedded
            | ServerKind::Simulated => state,
        }
    }

    fn check_envelope(&mut self, record: &Record) {
        self.ledger.records += 1;
        if record.seq != self.next_seq {
            self.ledger.sequence_errors += 1;
        }
        self.next_seq = record.seq.wrapping_add(1);
        if record.at < self.last_at {
            self.ledger.time_reversals += 1;
        }
        self.last_at = self.last_at.max(record.at);
        if self.ended.is_some() {
            self.ledger.after_close += 1;
        }
    }

    fn in_round(&mut self, round: RoundId, act: impl FnOnce(&mut RoundState) -> bool) -> bool {
        let at = self.last_at;
        self.rounds.get_mut(&round).is_some_and(|state| {
            state.touched(at);
            act(state)
        })
    }

    fn generator_sampled(&mut self, at: RunInstant, sample: &GeneratorSample) {
        let health = &mut self.generator;
        health.samples += 1;
        health.loop_lag_max_ns = health.loop_lag_max_ns.max(sample.loop_lag_ns);
        health.open_files_max = health.open_files_max.max(sample.open_files);
        let now = (at, sample.cpu_seconds);
        self.cpu_first.get_or_insert(now);
        self.cpu_last = Some(now);
        let (from, cpu) = *self.cpu_stretch.get_or_insert(now);
        let stretch = at.since(from);
        if stretch >= CPU_STRETCH {
            let share = (sample.cpu_seconds - cpu) / stretch.as_secs_f64();
            self.cpu_peak_per_s = Some(self.cpu_peak_per_s.map_or(share, |peak| peak.max(share)));
            self.cpu_stretch = Some(now);
        }
    }

    /// The summary of everything folded. Rounds still open, as a killed run leaves them, are closed as they stand.
    #[must_use]
    pub fn finish(mut self) -> RunSummary {
        self.ledger.closed = if self.ledger.after_close == 0 {
            self.ended
        } else {
            None
        };
        for (round, state) in std::mem::take(&mut self.rounds) {
            let summary = state.finish(None, &mut self.directories, &self.marks);
            self.done.entry(round).or_insert(summary);
        }
        self.finish_generator();
        RunSummary {
            strategies: self.by_strategy(),
            manifest: self.manifest,
            generator: self.generator,
            ledger: self.ledger,
            ended: self.last_at,
            warnings: self.warnings,
            stop_reasons: self.stop_reasons,
        }
    }

    fn finish_generator(&mut self) {
        let Some(manifest) = &self.manifest else {
            return;
        };
        // Where clients and server have CPUs of their own, the clients' are the first half.
        let share = if manifest.target.cores.is_some() {
            2
        } else {
            1
        };
        let cpus = f64::from((manifest.environment.cpus / share).max(1));
        if let (Some((from, cpu_from)), Some((to, cpu_to))) = (self.cpu_first, self.cpu_last) {
            let time = to.since(from).as_secs_f64();
            if time > 0.0 {
                self.generator.cpu_share_mean = Some((cpu_to - cpu_from) / time / cpus);
            }
        }
        self.generator.cpu_share_peak = self.cpu_peak_per_s.map(|used| used / cpus);
    }

    fn by_strategy(&mut self) -> Vec<StrategySummary> {
        let mut strategies: Vec<StrategySummary> = self
            .manifest
            .iter()
            .flat_map(|manifest| &manifest.scenario.strategies)
            .map(|record| StrategySummary {
                strategy: record.name.clone(),
                numbers: Numbers::default(),
                rounds: Vec::new(),
            })
            .collect();
        for summary in std::mem::take(&mut self.done).into_values() {
            match strategies
                .iter_mut()
                .find(|strategy| strategy.strategy == summary.strategy)
            {
                Some(strategy) => strategy.rounds.push(summary),
                None => strategies.push(StrategySummary {
                    strategy: summary.strategy.clone(),
                    numbers: Numbers::default(),
                    rounds: vec![summary],
                }),
            }
        }
        for strategy in &mut strategies {
            strategy.numbers = Numbers::sum(strategy.rounds.iter().map(|round| &round.numbers));
        }
        strategies
    }
}
