//! A round under way: what has to be remembered until its last event.
//!
//! Owns how the events of one round become its numbers. Which round an event belongs to is `summarizer`'s.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use super::books::{RoundBooks, StartNumbers};
use super::clients::Clients;
use super::numbers::{Holders, Leftovers, Makers, Numbers, PerTask, RoundSummary, Scope};
use super::outcomes::{
    Window, count_connection, count_maker, count_outcome, settle_rate, time_stages,
};
use crate::analysis::admission::Trials;
use crate::analysis::climb::GRACE_SLACK;
use crate::analysis::failing::{self, Plan};
use crate::analysis::latency::Stage;
use crate::analysis::reconciliation::{self, Reconciliation};
use crate::analysis::timeline::{TaskEnd, TimeLine, TimeLineBuilder};
use crate::analysis::witness::WitnessBuilder;
use crate::ids::{AttemptId, RoundId, StrategyName, TaskId};
use crate::instant::RunInstant;
use crate::join::{
    Attempt, BanLine, ClientView, Means, Seen, ServerViews, Sides, SshdView, TaskKeys, Told, Views,
    join,
};
use crate::ledger::RoundEnd;
use crate::manifest::ProgramRecord;
use crate::quantity::nanoseconds;
use crate::reading::{KernelSettings, ServerReading};
use crate::scenario::{MOST_TASKS, StrategyKind};
use crate::server_log::{DropCounts, DropRule, Refusal};
use crate::vocabulary::{
    AttemptOutcome, AttemptTrace, CleanupPolicy, CleanupResult, CommandOutcome, Phase, RetryKind,
    TaskFailure, TaskFate,
};

/// A `connect()` that takes this long met at least one lost SYN: Linux repeats it after 1 s, 3 s and 7 s
/// (RFC 6298 initial timeout of 1 s, doubled). A little less than 1 s, since timers may be early by a tick.
const SYN_RETRANSMISSION: Duration = Duration::from_millis(990);

/// How often a server's log is looked at for new lines, nanoseconds.
pub const LOG_READ_EVERY_NS: u64 = 10_000_000;

/// A round may have ten million of them.
struct TaskState {
    intended: RunInstant,
    /// Where its job's name begins and ends among [`Tasks::names`].
    job: [u32; 2],
    first_attempt: Option<AttemptId>,
    attempts: [u32; 3],
    handshakes: [u32; 3],
    end: Option<(TaskFate, bool, CleanupResult)>,
    started: bool,
    /// A connection of it was seen by the server.
    seen: bool,
}

/// By so many digits a name is longer than that of the first task, as a rule.
const NUMBER_GROWS: usize = 6;

/// The tasks of a round, by their number.
#[derive(Default)]
struct Tasks {
    planned: u32,
    states: Vec<Option<TaskState>>,
    /// Those of their jobs, one after the other.
    names: String,
}

impl Tasks {
    /// Returns false for one that was not planned, and for one that is known.
    fn insert(&mut self, task: TaskId, intended: RunInstant, job_id: &str) -> bool {
        let begins = u32::try_from(self.names.len());
        let ends = u32::try_from(self.names.len() + job_id.len());
        let (true, Ok(begins), Ok(ends)) = (task.0 < self.planned, begins, ends) else {
            return false;
        };
        if self.states.is_empty() {
            // A million of them are not to be copied to make room for one more.
            let tasks = self.planned.min(MOST_TASKS) as usize;
            self.states.reserve_exact(tasks);
            self.names
                .reserve_exact(tasks * (job_id.len() + NUMBER_GROWS));
        }
        self.names.push_str(job_id);
        let state = TaskState {
            intended,
            job: [begins, ends],
            first_attempt: None,
            attempts: [0; 3],
            handshakes: [0; 3],
            end: None,
            started: false,
            seen: false,
        };
        let place = task.0 as usize;
        if self.states.len() <= place {
            self.states.resize_with(place + 1, || None);
        }
        self.states[place].replace(state).is_none()
    }

    fn get(&self, task: TaskId) -> Option<&TaskState> {
        self.states.get(task.0 as usize)?.as_ref()
    }

    fn get_mut(&mut self, task: TaskId) -> Option<&mut TaskState> {
        self.states.get_mut(task.0 as usize)?.as_mut()
    }

    /// The name of a task's job.
    fn job_of(&self, state: &TaskState) -> &str {
        let [begins, ends] = state.job.map(|place| place as usize);
        &self.names[begins..ends]
    }

    /// In the order of their numbers.
    fn known(&self) -> impl Iterator<Item = &TaskState> {
        self.states.iter().flatten()
    }
}

/// What began as an attempt.
pub(super) struct OpenAttempt {
    pub(super) round: RoundId,
    /// `None` of a holder.
    pub(super) task: Option<TaskId>,
    pub(super) phase: Phase,
    pub(super) ordinal: u32,
    pub(super) at: RunInstant,
    /// Attempts of the round that were open when it began.
    pub(super) others: u32,
}

/// A round between its two events.
pub(super) struct RoundState {
    summary: RoundSummary,
    tasks: Tasks,
    /// The three phases', and that of connections of which nobody knows the phase.
    windows: [Window; 4],
    first_connects: Vec<u64>,
    last_task_end: Option<RunInstant>,
    directories: Vec<String>,
    /// Tasks wait for the ends of others by the scenario: their first connects are no burst.
    held_back: bool,
    timeline: TimeLineBuilder,
    witness: WitnessBuilder,
    open_attempts: u32,
    /// Answers by the number of attempts that were open before.
    answers: BTreeMap<u32, Trials>,
    /// The client's attempts that have ended, where others are to say something of them too.
    clients: Vec<ClientView>,
    /// What the server has logged since the round began.
    log: ServerViews,
    /// The views that its strategy and its server promise.
    views: Views,
    settings: Option<KernelSettings>,
    /// Clients under test of which everything is gone.
    clients_cleared: u64,
    /// What they must not leave is looked for.
    leftovers_wanted: bool,
    /// Its strategy is a staircase.
    climbs: bool,
    /// After so long sshd ends who has not logged in; `None` where it never does, or nobody knows.
    grace: Option<Duration>,
    /// What sshd logged of holders, to be taken out of what it logged of the tasks.
    holder_logins: u64,
    holder_refusals: Vec<Refusal>,
    /// Its logins are to fail.
    failing: Option<Plan>,
    /// The server is somebody else's, whom others may use too.
    shared: bool,
}

/// How a round ended, as its last event says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) end: RoundEnd,
    pub(super) proven_idle: bool,
    pub(super) inventory_taken: bool,
    pub(super) log_taken: bool,
}

impl RoundState {
    pub(super) fn new(
        round: RoundId,
        repetition: u32,
        strategy: StrategyName,
        cleanup: CleanupPolicy,
        tasks: u32,
        proven_idle: bool,
        at: RunInstant,
    ) -> Self {
        RoundState {
            summary: RoundSummary {
                round,
                repetition,
                strategy,
                cleanup,
                started: at,
                ended: at,
                end: None,
                proven_idle,
                numbers: Numbers::default(),
                start: StartNumbers::default(),
                books: RoundBooks {
                    tasks_planned: u64::from(tasks),
                    ..RoundBooks::default()
                },
                task_ends: Vec::new(),
                task_connections: None,
                timeline: TimeLine::default(),
                startups: None,
                server_cost: None,
                kernel: None,
                held_trials: BTreeMap::new(),
                held_lost: None,
                failing: Vec::new(),
                server_log: None,
                reconciliation: None,
            },
            clients: Vec::new(),
            log: ServerViews::new(None, Arc::default()),
            views: Views::CLIENT,
            settings: None,
            clients_cleared: 0,
            leftovers_wanted: false,
            climbs: false,
            grace: None,
            holder_logins: 0,
            holder_refusals: Vec::new(),
            failing: None,
            shared: false,
            held_back: false,
            timeline: TimeLineBuilder::new(at),
            witness: WitnessBuilder::default(),
            open_attempts: 0,
            answers: BTreeMap::new(),
            tasks: Tasks {
                planned: tasks,
                ..Tasks::default()
            },
            windows: Default::default(),
            first_connects: Vec::new(),
            last_task_end: None,
            directories: Vec::new(),
        }
    }

    /// Says which kind of strategy it is of.
    pub(super) fn of_kind(mut self, kind: Option<StrategyKind>) -> Self {
        self.climbs = kind == Some(StrategyKind::Staircase);
        self
    }

    /// Says that at most so many tasks run at once.
    pub(super) fn at_most(mut self, in_flight: Option<u32>) -> Self {
        let tasks = self.summary.books.tasks_planned;
        self.held_back = in_flight.is_some_and(|most| u64::from(most) < tasks);
        self
    }

    /// Says what the manifest promises of its witnesses.
    pub(super) fn witnessed(
        mut self,
        views: Views,
        rule: Option<DropRule>,
        keys: Arc<TaskKeys>,
        settings: Option<KernelSettings>,
    ) -> Self {
        self.views = views;
        self.log = ServerViews::new(rule, keys);
        self.settings = settings;
        self
    }

    /// Says how many silent clients are beside the tasks, and when sshd ends them.
    pub(super) fn beside(mut self, holders: u32, grace: Option<Duration>) -> Self {
        self.grace = grace;
        self.summary.numbers.holders = (holders > 0).then(|| Holders {
            asked: u64::from(holders),
            ..Holders::default()
        });
        self
    }

    /// Says that its logins are to fail.
    pub(super) fn failing(mut self, plan: Option<Plan>) -> Self {
        self.failing = plan;
        self
    }

    /// Says that the server is somebody else's: its log has envelopes, and other clients in it.
    pub(super) fn shared(mut self) -> Self {
        self.shared = true;
        self.log = self.log.in_envelopes();
        self
    }

    /// Says that it runs a client under test.
    pub(super) fn under_test(mut self, program: Option<&ProgramRecord>) -> Self {
        self.summary.numbers.clients = program.map(|_| Clients::none_yet());
        self.leftovers_wanted = program.is_some_and(|program| program.leftovers.is_some());
        self
    }

    /// Its clients under test.
    pub(super) fn clients_of_round(&mut self) -> &mut Clients {
        self.summary
            .numbers
            .clients
            .get_or_insert_with(Clients::none_yet)
    }

    pub(super) fn client_cleared(&mut self, cpu_ns: u64, memory_bytes: u64, killed: u32) {
        self.clients_cleared += 1;
        self.clients_of_round()
            .cleared(cpu_ns, memory_bytes, killed);
    }

    fn scopes(&mut self, phase: Phase, mut change: impl FnMut(&mut Scope)) {
        change(&mut self.summary.numbers.phases[phase as usize]);
        change(&mut self.summary.numbers.total);
    }

    /// Returns false for a task that was already scheduled.
    pub(super) fn task_scheduled(
        &mut self,
        task: TaskId,
        intended: RunInstant,
        job_id: &str,
    ) -> bool {
        self.summary.books.tasks_scheduled += 1;
        self.summary.numbers.tasks.tasks_scheduled += 1;
        self.tasks.insert(task, intended, job_id)
    }

    /// Returns false for an unknown task, or one that began before.
    pub(super) fn task_started(&mut self, task: TaskId, at: RunInstant) -> bool {
        let Some(state) = self.tasks.get_mut(task) else {
            return false;
        };
        let again = std::mem::replace(&mut state.started, true);
        let lag = at.since(state.intended);
        // Under `max_in_flight` a task waits for another's end; such a wait is the scenario's, not the
        // generator's.
        if self.last_task_end.is_none_or(|end| end < state.intended) {
            let ns = nanoseconds(lag);
            let own = &mut self.summary.start.own_lag_max_ns;
            *own = (*own).max(ns);
        }
        self.summary
            .numbers
            .total
            .latencies
            .record(Stage::StartLag, lag);
        !again
    }

    pub(super) fn phase_started(&mut self, phase: Phase, at: RunInstant) {
        self.timeline.phase_started(at, phase);
    }

    pub(super) fn startups_changed(&mut self, slots: u32, start: u32, full: u32, at: RunInstant) {
        self.timeline.slots(at, slots);
        self.witness.startups_changed(slots, start, full, at);
    }

    pub(super) fn startups_sampled(
        &mut self,
        samples: u64,
        over_ns: u64,
        sampler_cpu_ns: Option<u64>,
        at: RunInstant,
    ) {
        self.witness
            .startups_sampled(samples, over_ns, sampler_cpu_ns, at);
    }

    pub(super) fn server_sampled(&mut self, reading: &ServerReading) {
        self.witness.server_sampled(reading);
    }

    /// Returns false for an unknown task.
    pub(super) fn phase_ended(&mut self, task: TaskId, phase: Phase, at: RunInstant) -> bool {
        self.timeline.phase_ended(at, phase);
        let Some(state) = self.tasks.get(task) else {
            return false;
        };
        if phase == Phase::Submit {
            let time = at.since(state.intended);
            self.summary
                .numbers
                .total
                .latencies
                .record(Stage::Submit, time);
        }
        true
    }

    /// Returns false for an unknown task.
    pub(super) fn attempt_started(&mut self, attempt: AttemptId, open: &mut OpenAttempt) -> bool {
        open.others = self.open_attempts;
        self.open_attempts += 1;
        self.timeline.attempt_started(open.at);
        self.summary.books.attempts_started += 1;
        self.scopes(open.phase, |scope| {
            scope.counts.attempts += 1;
            scope.counts.connections += u64::from(open.ordinal == 1);
        });
        let Some(state) = open.task.and_then(|task| self.tasks.get_mut(task)) else {
            return false;
        };
        state.attempts[open.phase as usize] += 1;
        state.first_attempt.get_or_insert(attempt);
        true
    }

    /// A silent client beside the tasks begins to connect: what a task meets, it meets with that slot in use.
    pub(super) fn holder_started(&mut self) {
        self.open_attempts += 1;
        self.summary.books.attempts_started += 1;
    }

    pub(super) fn attempt_ended(
        &mut self,
        attempt: AttemptId,
        open: &OpenAttempt,
        outcome: &AttemptOutcome,
        trace: AttemptTrace,
        at: RunInstant,
    ) {
        self.open_attempts = self.open_attempts.saturating_sub(1);
        if open.task.is_some() {
            self.timeline.attempt_ended(at, outcome);
            self.answered(open, outcome, &trace, at);
        }
        self.summary.books.attempts_ended_once += 1;
        let view = ClientView {
            attempt,
            task: open.task,
            phase: open.phase,
            ordinal: open.ordinal,
            started: open.at,
            ended: at,
            outcome: outcome.clone(),
            trace: AttemptTrace {
                // The same of every attempt that got so far, and many bytes.
                identification: None,
                ..trace
            },
        };
        // What nobody else has a word in need not be kept.
        if self.views.client && !self.views.server && self.failing.is_none() {
            self.count(&Attempt::alone(view));
        } else {
            self.clients.push(view);
        }
    }

    /// What the answer to a task's attempt says of the slots that were in use.
    fn answered(
        &mut self,
        open: &OpenAttempt,
        outcome: &AttemptOutcome,
        trace: &AttemptTrace,
        at: RunInstant,
    ) {
        let refused = match outcome {
            // A silent client may log in at last.
            AttemptOutcome::Held | AttemptOutcome::Handshake => Some(0),
            AttemptOutcome::BannerEof { .. } => Some(1),
            AttemptOutcome::ConnectRefused
            | AttemptOutcome::ConnectTimeout
            | AttemptOutcome::BannerTimeout
            | AttemptOutcome::KexFailed { .. }
            | AttemptOutcome::AuthFailed { .. }
            | AttemptOutcome::GeneratorFault { .. }
            | AttemptOutcome::Interrupted => None,
        };
        if let Some(refused) = refused {
            let answers = self.answers.entry(open.others).or_default();
            answers.trials += 1;
            answers.refused += refused;
        }
        // Only a client that holds its connection says nothing at all.
        if matches!(outcome, AttemptOutcome::KexFailed { .. })
            && trace.identified.is_some()
            && trace.bytes_out == 0
        {
            let held = at.since(open.at);
            let shortest = self.summary.held_lost.map_or(held, |other| other.min(held));
            self.summary.held_lost = Some(shortest);
        }
    }

    pub(super) fn server_logged(&mut self, line: &str, at: RunInstant) {
        self.log.fold(at, line);
    }

    /// Adds a joined attempt to the numbers.
    fn count(&mut self, attempt: &Attempt) {
        match (&attempt.client, &attempt.server) {
            (Some(client), _) if client.task.is_none() => self.count_holder(attempt, client),
            (Some(client), _) => self.count_client(attempt, client),
            (None, Some(view)) if !self.views.client => self.count_connection(attempt, view),
            // Another client's, or a broken law.
            (None, _) => {}
        }
    }

    /// A silent client beside the tasks: counted apart, and what sshd logged of it with it.
    fn count_holder(&mut self, attempt: &Attempt, client: &ClientView) {
        let grace = self.grace;
        let by_grace = |connected: RunInstant| {
            grace.is_some_and(|grace| client.ended.since(connected) + GRACE_SLACK >= grace)
        };
        let holders = self.summary.numbers.holders.get_or_insert_default();
        let silent = client.trace.bytes_out == 0;
        match &client.outcome {
            AttemptOutcome::BannerEof { .. } => holders.refused += 1,
            AttemptOutcome::Held => holders.admitted += 1,
            AttemptOutcome::Handshake => {
                holders.admitted += 1;
                holders.logged_in += 1;
                self.summary.books.connections_made += 1;
            }
            // It had been admitted when it was given up, or when its login at the end came to nothing.
            _ if client.trace.identified.is_some() => {
                holders.admitted += 1;
                if let (AttemptOutcome::KexFailed { .. }, true) = (&client.outcome, silent) {
                    *if client.trace.connected.is_some_and(by_grace) {
                        &mut holders.ended_by_grace
                    } else {
                        &mut holders.ended_early
                    } += 1;
                }
            }
            _ => {}
        }
        if let Some(view) = &attempt.server {
            self.holder_logins += u64::from(view.accepted);
            let refusal = view.refusal.map(|(_, refusal)| refusal);
            holders.refused_by_ban += u64::from(matches!(refusal, Some(Refusal::Penalty(_))));
            self.holder_refusals.extend(refusal);
        }
    }

    /// A connection of a client that keeps no record.
    fn count_connection(&mut self, attempt: &Attempt, view: &SshdView) {
        self.summary.numbers.total.counts.attempts += 1;
        self.timeline.connection(view);
        count_connection(&mut self.summary.numbers.total, view);
        let books = &mut self.summary.books;
        if view.seen == Seen::Unannounced {
            books.connections_unannounced += 1;
        } else {
            books.connections_logged += 1;
            books.connections_settled += u64::from(view.settled());
        }
        if let Some(makers) = &mut self.summary.numbers.total.makers {
            count_maker(makers, attempt);
        }
        let last = view.accepted_at.unwrap_or(view.read_at);
        self.windows[3].take(view.read_at, last, view.accepted_at);
        let task = attempt.task.and_then(|task| self.tasks.get_mut(task));
        match task {
            Some(task) => {
                if !std::mem::replace(&mut task.seen, true) {
                    self.first_connects.push(view.read_at.0);
                }
                task.attempts[0] += 1;
                task.handshakes[0] += u32::from(view.accepted);
            }
            None => {
                let clients = self.clients_of_round();
                clients.unattributed += 1;
                clients.unattributed_logins += u64::from(view.accepted);
                clients.unattributed_refusals += u64::from(view.seen == Seen::Dropped);
            }
        }
        if attempt.told == Some(Told::Key) {
            self.clients_of_round().logins_by_key += 1;
        }
    }

    /// What sshd could not serve has no line of its own with a port: a process or a descriptor that it had not.
    fn count_unserved(&mut self, unserved: u64) {
        let total = &mut self.summary.numbers.total;
        total.counts.attempts += unserved;
        total.counts.banner_eof += unserved;
        if let Some(makers) = &mut total.makers {
            makers.unserved += unserved;
        }
        let clients = self.clients_of_round();
        clients.unattributed += unserved;
        clients.unattributed_refusals += unserved;
    }

    fn count_client(&mut self, attempt: &Attempt, client: &ClientView) {
        let (outcome, trace) = (&client.outcome, &client.trace);
        let silent_before = self.climbs;
        self.scopes(client.phase, |scope| {
            count_outcome(scope, client.ordinal, outcome, trace);
            time_stages(scope, outcome, trace, silent_before);
            if let Some(makers) = &mut scope.makers {
                count_maker(makers, attempt);
            }
        });
        let begun = client.begun();
        let handshake = *outcome == AttemptOutcome::Handshake;
        let authenticated = trace.authenticated.or(trace.ended).unwrap_or(client.ended);
        self.windows[client.phase as usize].take(
            begun,
            client.ended,
            handshake.then_some(authenticated),
        );
        if let Some(state) = client.task.and_then(|task| self.tasks.get_mut(task)) {
            state.handshakes[client.phase as usize] += u32::from(handshake);
            if state.first_attempt == Some(client.attempt) {
                self.first_connects
                    .extend(trace.connect_called.map(|instant| instant.0));
            }
        }
        let slow = |end: RunInstant| end.since(begun) >= SYN_RETRANSMISSION;
        let slow_connect = match trace.connected {
            Some(connected) => slow(connected),
            None => *outcome == AttemptOutcome::ConnectTimeout,
        };
        self.summary.start.slow_connects += u64::from(slow_connect);
        self.summary.books.connections_made += u64::from(handshake);
    }

    pub(super) fn connection_ended(&mut self) {
        self.summary.books.connections_ended_once += 1;
    }

    pub(super) fn command_started(&mut self, phase: Phase) {
        self.summary.books.commands_started += 1;
        self.scopes(phase, |scope| scope.counts.commands += 1);
    }

    pub(super) fn command_ended(&mut self, phase: Phase, time: Duration, outcome: &CommandOutcome) {
        self.summary.books.commands_ended_once += 1;
        self.scopes(phase, |scope| {
            match outcome {
                CommandOutcome::Completed { .. } => scope.latencies.record(Stage::Exec, time),
                CommandOutcome::ChannelRefused => scope.counts.channel_refused += 1,
                CommandOutcome::ConnectionLost { .. } => scope.counts.connection_lost += 1,
                CommandOutcome::TimedOut => scope.counts.command_timeout += 1,
                CommandOutcome::Interrupted => scope.counts.commands_interrupted += 1,
            };
        });
    }

    pub(super) fn poll_ended(&mut self) {
        self.summary.numbers.tasks.polls += 1;
    }

    pub(super) fn retry_scheduled(&mut self, phase: Phase, retry: RetryKind) {
        self.scopes(phase, |scope| {
            scope.counts.retries += 1;
            let kinds = &mut scope.retries_by_kind;
            *match retry {
                RetryKind::Connect => &mut kinds.connect,
                RetryKind::Command => &mut kinds.command,
                RetryKind::Reconnect => &mut kinds.reconnect,
                RetryKind::CleanupRound => &mut kinds.cleanup_round,
            } += 1;
        });
    }

    /// Returns false for an unknown task, or one that ended before.
    pub(super) fn task_ended(
        &mut self,
        task: TaskId,
        fate: TaskFate,
        removal_required: bool,
        cleanup: CleanupResult,
        at: RunInstant,
    ) -> bool {
        let Some(state) = self.tasks.get_mut(task) else {
            return false;
        };
        if state.end.is_some() {
            return false;
        }
        state.end = Some((fate, removal_required, cleanup));
        let numbers = &mut self.summary.numbers;
        match fate {
            TaskFate::Succeeded => numbers.tasks.tasks_succeeded += 1,
            TaskFate::Interrupted => numbers.tasks.tasks_interrupted += 1,
            TaskFate::NotStarted => numbers.tasks.tasks_not_started += 1,
            TaskFate::Failed { failure } => {
                numbers.tasks.tasks_failed += 1;
                *match failure {
                    TaskFailure::SubmitConnect => &mut numbers.failures.submit_connect,
                    TaskFailure::SubmitCommand => &mut numbers.failures.submit_command,
                    TaskFailure::Monitor => &mut numbers.failures.monitor,
                    TaskFailure::JobExit => &mut numbers.failures.job_exit,
                    TaskFailure::Killed => &mut numbers.failures.killed,
                    TaskFailure::ClientStart => &mut numbers.failures.client_start,
                    TaskFailure::ClientExit => &mut numbers.failures.client_exit,
                    TaskFailure::ClientTimeout => &mut numbers.failures.client_timeout,
                    TaskFailure::ClientLeftBehind => &mut numbers.failures.client_left_behind,
                } += 1;
            }
        }
        self.summary.books.tasks_ended_once += 1;
        if fate != TaskFate::NotStarted {
            let time = at.since(state.intended);
            numbers.total.latencies.record(Stage::Task, time);
            self.last_task_end = Some(at);
        }
        true
    }

    pub(super) fn directory_found(&mut self, name: &str) {
        self.directories.push(name.to_owned());
    }

    pub(super) fn touched(&mut self, at: RunInstant) {
        self.summary.ended = at;
    }

    /// Closes the round: joins its attempts, and counts them. `seen` holds the directories found after earlier rounds
    /// and takes this one's.
    pub(super) fn finish(
        mut self,
        ending: Option<Ending>,
        seen: &mut FxHashSet<String>,
        marks: &[(IpAddr, u16)],
    ) -> RoundSummary {
        if let Some(ending) = ending {
            self.summary.end = Some(ending.end);
            self.summary.proven_idle &= ending.proven_idle;
            if ending.inventory_taken {
                self.summary.numbers.leftovers = Some(self.settle_directories(seen));
            }
        } else {
            self.summary.proven_idle = false;
        }
        self.summary.kernel = self.witness.kernel();
        self.settle_attempts(ending.is_some_and(|ending| ending.log_taken), marks);
        self.settle_rates();
        self.settle_tasks();
        self.settle_ends();
        let summary = &mut self.summary;
        // A single client that holds what it gets: everything open before an attempt occupied a slot.
        let holds = self.climbs || summary.numbers.total.counts.attempts_held > 0;
        if summary.books.tasks_planned == 1 && holds {
            summary.held_trials = self.answers;
        }
        summary.timeline = self.timeline.finish(summary.ended);
        let (counts, tasks) = (&summary.numbers.total.counts, &summary.numbers.tasks);
        let (handshakes, tasks) = (counts.handshakes, tasks.tasks_scheduled);
        summary.startups = self.witness.startups();
        summary.server_cost = self.witness.cost(handshakes, tasks);
        let startups = summary.startups.as_ref();
        summary.numbers.startups_peak = startups.map(|startups| u64::from(startups.peak));
        summary.numbers.above_start_ns = startups.map(|startups| startups.above_start_ns);
        summary.numbers.server_cpu_ns = summary.server_cost.as_ref().map(|cost| cost.cpu_ns);
        self.summary
    }

    /// Joins what the witnesses say of each attempt, before anything is counted of any.
    fn settle_attempts(&mut self, log_taken: bool, marks: &[(IpAddr, u16)]) {
        let mut views = match log_taken {
            true => self.views,
            false => self.views.without_log(),
        };
        let log = std::mem::replace(&mut self.log, ServerViews::new(None, Arc::default()));
        let (counts, connections, bans) = log.finish();
        // What `LogVerbose` forces out of one drop it forces out of all, whatever level and release let through.
        views.drops |=
            self.shared && views.server && counts.drops.total() > 0 && counts.every_drop_forced;
        if views.have_one_of(&[Views::ALL, Views::LOGGED]) {
            for scope in self.summary.numbers.all_scopes() {
                scope.makers = Some(Makers::default());
            }
        }
        let kernel = self.summary.kernel.as_ref();
        let means = Means::of(
            views.server.then_some(&counts),
            self.settings.as_ref(),
            kernel.and_then(|kernel| Some(kernel.listener?.queue_limit)),
            kernel.and_then(|kernel| kernel.grown.embryonic_rsts),
        );
        let sides = Sides {
            clients: std::mem::take(&mut self.clients),
            server: if views.server {
                connections
            } else {
                Vec::new()
            },
            shared: self.shared.then(|| marks.to_vec()),
        };
        let joined = join(sides, views, means);
        let reconciliation = views.server.then(|| {
            let kernel = self.summary.kernel.as_ref();
            Reconciliation::of(&joined, &counts, views, self.summary.started, kernel)
        });
        if let (true, Some(books)) = (self.shared, &reconciliation) {
            // Nobody promised that this log is whole. What it lacks of one attempt it may lack of any.
            let whole = |sides: Option<&reconciliation::Sides>| {
                sides.is_some_and(|sides| sides.client_only == 0)
            };
            views.server &= whole(Some(&books.handshakes));
            views.drops &=
                views.server && whole(Some(&books.connections)) && whole(books.refusals.as_ref());
            if !views.drops {
                for scope in self.summary.numbers.all_scopes() {
                    scope.makers = None;
                }
            }
        }
        self.summary.numbers.views = views;
        for attempt in &joined.attempts {
            self.count(attempt);
        }
        if let Some(holders) = &mut self.summary.numbers.holders {
            holders.failed = holders
                .asked
                .saturating_sub(holders.admitted + holders.refused);
        }
        if let Some(plan) = self.failing.take() {
            self.settle_failing(&plan, &joined.attempts, &bans);
        }
        if !self.views.client {
            self.count_unserved(counts.fork_failures + counts.pipe_failures);
            let turned_away = self.summary.kernel.as_ref().is_some_and(|kernel| {
                match kernel.listener.and_then(|listener| listener.drops) {
                    Some(drops) => drops > 0,
                    // The namespace's: other listeners count too, and none of them is known to be this one.
                    None => kernel.grown.listen_drops.is_some_and(|drops| drops > 0),
                }
            });
            let clients = self.clients_of_round();
            clients.lower_bound = turned_away;
            clients.sessions_refused = counts.sessions_refused;
        }
        let summary = &mut self.summary;
        if views.server {
            // Of a server that others use too, what is the run's own.
            let (accepted, logged) = if self.shared {
                let mut drops = DropCounts::default();
                for (_, refusal) in joined.of_the_run().filter_map(|view| view.refusal) {
                    drops.add(refusal);
                }
                let accepted = joined.of_the_run().filter(|view| view.accepted).count();
                (accepted as u64, drops)
            } else {
                (counts.accepted, counts.drops.clone())
            };
            let numbers = &mut summary.numbers;
            let (logins, refused) = match (views.by_port, numbers.holders) {
                (true, _) => (self.holder_logins, 0),
                (false, holders) => holders.map_or((0, 0), |of| (of.logged_in, of.refused)),
            };
            numbers.server_accepted = Some(accepted.saturating_sub(logins));
            // Without ports nobody can say which of the refusals were the holders'.
            numbers.server_drops = (views.drops && refused == 0).then(|| {
                let mut drops = logged;
                for refusal in &self.holder_refusals {
                    drops.take_out(*refusal);
                }
                drops
            });
            // None are logged where there is no such command, or no line of it is asked for (`LogVerbose`, 8.5).
            numbers.key_commands =
                Some(counts.key_commands).filter(|commands| *commands > 0 && !self.shared);
        }
        if reconciliation.is_some() {
            summary.server_log = Some(counts);
        }
        summary.reconciliation = reconciliation;
    }

    /// What the logins that were to fail came to.
    fn settle_failing(&mut self, plan: &Plan, attempts: &[Attempt], bans: &[BanLine]) {
        let numbers = &mut self.summary.numbers;
        let tasks = u32::try_from(self.summary.books.tasks_planned).unwrap_or(u32::MAX);
        let tasks = failing::of_round(plan, tasks, attempts, bans);
        // What refused is in sshd's log, or nobody knows.
        if numbers.views.have(Views::ALL) {
            numbers.tasks_banned =
                Some(tasks.iter().filter(|task| task.ban.is_some()).count() as u64);
            numbers.unbanned_spacing_ns = failing::unbanned_spacing_ns(&tasks);
        }
        for task in &tasks {
            if let Some(banned) = task.first_banned() {
                numbers.total.first_banned_attempt.add(banned);
            }
            if let Some(lasted) = task.ban.and_then(|ban| ban.at_most_ns) {
                let lasted = Duration::from_nanos(lasted);
                numbers.total.latencies.record(Stage::Ban, lasted);
            }
        }
        self.summary.failing = tasks;
    }

    fn settle_ends(&mut self) {
        let of = |state: &TaskState| end_of(state.end.map(|(fate, _, _)| fate));
        self.summary.task_ends = self.tasks.known().map(of).collect();
        let apart = |clients: &Clients| clients.unattributed == 0;
        if self.summary.numbers.clients.as_ref().is_some_and(apart) {
            let connections = |state: &TaskState| u64::from(state.attempts[0]);
            self.summary.task_connections = Some(self.tasks.known().map(connections).collect());
        }
    }

    fn settle_directories(&mut self, seen: &mut FxHashSet<String>) -> Leftovers {
        let directories = std::mem::take(&mut self.directories);
        let mut found = Leftovers::default();
        if self.leftovers_wanted {
            // Whose they are cannot be told: the pattern says what they are, and before the round there were none.
            for name in directories {
                *if seen.insert(name) {
                    &mut found.leftover_dirs
                } else {
                    &mut found.carried_over
                } += 1;
            }
            found.unknown = found.leftover_dirs;
            return found;
        }
        if directories.is_empty() {
            return found;
        }
        // Of a million tasks hardly any leaves something behind: whose it is, is looked for from there.
        let mut whose: FxHashMap<&str, Option<&TaskState>> = FxHashMap::default();
        whose.extend(directories.iter().map(|name| (name.as_str(), None)));
        for task in self.tasks.known() {
            if let Some(left) = whose.get_mut(self.tasks.job_of(task)) {
                *left = Some(task);
            }
        }
        seen.reserve(directories.len());
        for name in &directories {
            let task = whose.get(name.as_str()).copied().flatten();
            if !seen.insert(name.clone()) {
                found.carried_over += 1;
                continue;
            }
            let Some(task) = task else {
                found.unexplained += 1;
                continue;
            };
            let cause = match task.end {
                None => &mut found.unknown,
                Some((_, _, CleanupResult::Removed)) => &mut found.reported_removed,
                Some((_, false, _)) => {
                    found.kept_by_policy += 1;
                    continue;
                }
                Some((_, true, CleanupResult::ConnectFailed)) => &mut found.cleanup_connect_failed,
                Some((_, true, CleanupResult::CommandFailed)) => &mut found.cleanup_command_failed,
                Some((fate, true, CleanupResult::NotAttempted)) => match fate {
                    TaskFate::Interrupted => &mut found.interrupted,
                    TaskFate::Failed { failure } => match failure {
                        TaskFailure::Killed => &mut found.killed,
                        TaskFailure::SubmitConnect | TaskFailure::SubmitCommand => {
                            &mut found.submit_failed
                        }
                        TaskFailure::Monitor => &mut found.monitor_failed,
                        TaskFailure::JobExit
                        | TaskFailure::ClientStart
                        | TaskFailure::ClientExit
                        | TaskFailure::ClientTimeout
                        | TaskFailure::ClientLeftBehind => &mut found.unknown,
                    },
                    TaskFate::Succeeded | TaskFate::NotStarted => &mut found.unknown,
                },
                Some((_, true, CleanupResult::NotRequired)) => &mut found.unknown,
            };
            *cause += 1;
            found.leftover_dirs += 1;
        }
        found
    }

    fn settle_rates(&mut self) {
        let [submit, poll, cleanup, other] = std::mem::take(&mut self.windows);
        let mut total = other;
        for phase in [&submit, &poll, &cleanup] {
            total.join(phase);
        }
        let phases = [submit, poll, cleanup];
        let numbers = &mut self.summary.numbers;
        settle_rate(&mut numbers.total, total);
        for (scope, window) in numbers.phases.iter_mut().zip(phases) {
            settle_rate(scope, window);
        }
    }

    fn settle_tasks(&mut self) {
        let numbers = &mut self.summary.numbers;
        let mut intended = self.tasks.known().map(|task| task.intended);
        let first = intended.next();
        let second = intended.next();
        self.summary.start.burst = second.is_some()
            && !self.held_back
            && second == first
            && intended.all(|instant| Some(instant) == first);
        for task in self.tasks.known().filter(|task| task.started) {
            let mut all = (0, 0);
            for phase in Phase::ALL {
                let scope = &mut numbers.phases[phase as usize];
                let (attempts, handshakes) = (
                    u64::from(task.attempts[phase as usize]),
                    u64::from(task.handshakes[phase as usize]),
                );
                per_task(scope).0.add(attempts);
                per_task(scope).1.add(handshakes);
                all = (all.0 + attempts, all.1 + handshakes);
            }
            per_task(&mut numbers.total).0.add(all.0);
            per_task(&mut numbers.total).1.add(all.1);
        }
        if let Some(clients) = &mut numbers.clients {
            let started = self.tasks.known().filter(|task| task.started);
            if clients.unattributed == 0 {
                clients.tasks_unseen = Some(started.filter(|task| !task.seen).count() as u64);
            } else {
                let counts = numbers.total.counts;
                numbers.total.attempts_per_task.blur(counts.attempts);
                // Keys tell logins and nothing else: they are whole where only what did not log in is no task's.
                if clients.unattributed_logins > 0 {
                    numbers.total.handshakes_per_task.blur(counts.handshakes);
                }
                // One that is no task's may have been the first of any.
                self.first_connects.clear();
            }
            if self.clients_cleared != clients.started {
                (clients.cpu_ns, clients.memory_bytes) = (None, None);
            }
        }
        self.first_connects.sort_unstable();
        if let (true, [first, .., last]) = (self.summary.start.burst, &self.first_connects[..]) {
            // Nearest rank: the smallest instant by which 99 % had called connect().
            let rank = (self.first_connects.len() * 99).div_ceil(100);
            // sshd's lines are read every so often: a spread that they tell is no finer than that.
            let least = match numbers.clients {
                Some(_) => LOG_READ_EVERY_NS,
                None => 0,
            };
            self.summary.start.spread_ns = Some((last - first).max(least));
            self.summary.start.spread_p99_ns =
                Some((self.first_connects[rank - 1] - first).max(least));
            numbers.start_spread_ns = self.summary.start.spread_ns;
        }
    }
}

fn end_of(fate: Option<TaskFate>) -> TaskEnd {
    match fate {
        None => TaskEnd::Unknown,
        Some(TaskFate::Succeeded) => TaskEnd::Succeeded,
        Some(TaskFate::Interrupted) => TaskEnd::Interrupted,
        Some(TaskFate::NotStarted) => TaskEnd::NotStarted,
        Some(TaskFate::Failed { failure }) => match failure {
            TaskFailure::SubmitConnect => TaskEnd::SubmitConnect,
            TaskFailure::SubmitCommand => TaskEnd::SubmitCommand,
            TaskFailure::Monitor => TaskEnd::Monitor,
            TaskFailure::JobExit => TaskEnd::JobExit,
            TaskFailure::Killed => TaskEnd::Killed,
            TaskFailure::ClientStart
            | TaskFailure::ClientExit
            | TaskFailure::ClientTimeout
            | TaskFailure::ClientLeftBehind => TaskEnd::Client,
        },
    }
}

fn per_task(scope: &mut Scope) -> (&mut PerTask, &mut PerTask) {
    (&mut scope.attempts_per_task, &mut scope.handshakes_per_task)
}
