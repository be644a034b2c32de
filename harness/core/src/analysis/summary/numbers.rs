//! The numbers themselves, and how rounds add up.
//!
//! Owns shapes and sums; how events become numbers is `round`'s and `summarizer`'s.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::books::{LedgerBooks, RoundBooks, StartNumbers};
use super::clients::Clients;
use crate::analysis::admission::Trials;
use crate::analysis::failing::FailingLogins;
use crate::analysis::latency::Latencies;
use crate::analysis::reconciliation::Reconciliation;
use crate::analysis::timeline::{TaskEnd, TimeLine};
use crate::analysis::witness::{KernelCounters, ServerCost, Startups};
use crate::ids::{RoundId, StrategyName};
use crate::instant::RunInstant;
use crate::join::Views;
use crate::ledger::RoundEnd;
use crate::manifest::Manifest;
use crate::quantity::{number, seconds};
use crate::server_log::{DropCounts, ServerLogCounts};
use crate::vocabulary::{CleanupPolicy, Phase};

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl $name {
            /// Adds another set of the same counters.
            pub fn merge(&mut self, other: &$name) {
                $(self.$field += other.$field;)*
            }

            /// The sum of all counters.
            #[must_use]
            pub fn sum(&self) -> u64 {
                0 $(+ self.$field)*
            }
        }
    };
}

counters! {
    /// Attempts, commands and waits of one scope. Names are the metric names.
    Counts {
        /// Connection attempts begun.
        attempts,
        /// Attempts that ended authenticated.
        handshakes,
        /// Refusals: closed by the server before its identification string.
        banner_eof,
        /// TCP refused.
        connect_refused,
        /// No TCP connection before the deadline.
        connect_timeout,
        /// Connected, but no identification string before the deadline.
        banner_timeout,
        /// Key exchange failed.
        kex_failed,
        /// Authentication failed.
        auth_failed,
        /// The generator could not make the attempt.
        generator_fault,
        /// Admitted, and kept silent before authentication on purpose.
        attempts_held,
        /// Given up by the harness.
        attempts_interrupted,
        /// Ended by a client under test before it had logged in, without a try that failed.
        client_left,
        /// Connections wanted: first tries (ordinal 1), however many retries followed.
        connections,
        /// Connections whose first try succeeded.
        first_attempt_ok,
        /// Connections that were had in the end, first try or retry.
        final_ok,
        /// Commands begun.
        commands,
        /// Commands whose channel or exec request was refused (`MaxSessions`).
        channel_refused,
        /// Commands whose connection ended before they did.
        connection_lost,
        /// Commands whose deadline passed.
        command_timeout,
        /// Commands given up by the harness.
        commands_interrupted,
        /// Waits before another try, of any kind.
        retries,
    }
}

impl Counts {
    /// The attempt outcomes; the attempts law says that they add up to `attempts`.
    #[must_use]
    pub fn attempt_outcomes(&self) -> u64 {
        self.handshakes
            + self.banner_eof
            + self.connect_refused
            + self.connect_timeout
            + self.banner_timeout
            + self.kex_failed
            + self.auth_failed
            + self.generator_fault
            + self.attempts_held
            + self.attempts_interrupted
            + self.client_left
    }
}

counters! {
    /// How the refusals ended. On loopback the split is timing (unread client bytes at `close()` turn FIN into
    /// RST), so it is shown and never judged.
    BannerEofSplit {
        /// By FIN.
        eof,
        /// By RST.
        reset,
        /// With text before the close, whichever way it closed.
        with_text,
    }
}

counters! {
    /// Refusals by who refused, and what else the kernel kept from sshd. The first five add up to `banner_eof`.
    Makers {
        /// sshd, by `MaxStartups`.
        refused_by_max_startups,
        /// sshd, by a limit per source or a penalty.
        refused_by_other_rule,
        /// sshd accepted the connection and could not serve it: no process, no descriptor, a session that died.
        unserved,
        /// The kernel: sshd's listen queue was full, and sshd never saw the connection.
        listen_queue_refused,
        /// Nobody that left a trace.
        refused_by_unknown,
        /// No refusals: attempts that were given up while the kernel kept turning them away from sshd's full listen
        /// queue.
        listen_queue_timeout,
    }
}

counters! {
    /// Waits by what is tried again.
    RetriesByKind {
        /// The operator's connect loop.
        connect,
        /// A monitoring command.
        command,
        /// A monitoring session.
        reconnect,
        /// A round of cleanup.
        cleanup_round,
    }
}

counters! {
    /// Tasks and polls of one round or of all.
    TaskCounts {
        /// Tasks with a place in the arrival pattern.
        tasks_scheduled,
        /// The job's exit code was read and was 0.
        tasks_succeeded,
        /// Failed, whatever the cause.
        tasks_failed,
        /// Under way when the run was stopped.
        tasks_interrupted,
        /// Never begun, because the run was stopped.
        tasks_not_started,
        /// Whole polls ended.
        polls,
    }
}

impl TaskCounts {
    /// The fates; the tasks law says that they add up to `tasks_scheduled`.
    #[must_use]
    pub fn fates(&self) -> u64 {
        self.tasks_succeeded + self.tasks_failed + self.tasks_interrupted + self.tasks_not_started
    }
}

counters! {
    /// Failed tasks by cause.
    FailureCounts {
        /// No connection for detect or submit within the retry budget.
        submit_connect,
        /// A detect or submit command failed.
        submit_command,
        /// Monitoring ended in an error.
        monitor,
        /// The job ended with a non-zero exit code.
        job_exit,
        /// Killed on purpose.
        killed,
        /// The client under test could not be started.
        client_start,
        /// … ended with an exit status other than 0, or by a signal.
        client_exit,
        /// … took longer than it may.
        client_timeout,
        /// … left processes behind.
        client_left_behind,
    }
}

counters! {
    /// Job directories found after a round. `leftover_dirs` is the sum of its causes; the other three are no
    /// leftovers.
    Leftovers {
        /// Removal was required and the directory is still there.
        leftover_dirs,
        /// … because no cleanup connection could be had.
        cleanup_connect_failed,
        /// … because the cleanup command failed.
        cleanup_command_failed,
        /// … because the task was killed before cleanup.
        killed,
        /// … because submit failed after the directory was made.
        submit_failed,
        /// … because monitoring failed and cleanup was never tried.
        monitor_failed,
        /// … because the run was stopped.
        interrupted,
        /// … although the client believes it removed it: the inventory law is broken.
        reported_removed,
        /// … for a reason the ledger does not give.
        unknown,
        /// The policy did not ask for removal.
        kept_by_policy,
        /// No task of the run has this name: the inventory law is broken.
        unexplained,
        /// Already found after an earlier round, and counted there.
        carried_over,
    }
}

counters! {
    /// Silent clients beside the tasks. `asked` is `admitted + refused + failed`.
    Holders {
        /// Those that the scenario asks for.
        asked,
        /// Admitted: sshd identified itself to them, so that a slot was theirs.
        admitted,
        /// Refused before that.
        refused,
        /// Of those refused: by a penalty (`PerSourcePenalties`). Who earned it is known only of a server of the run's own:
        /// this run.
        refused_by_ban,
        /// Neither: no connection or no answer before a deadline, a fault of the generator, not asked any more, or the run
        /// was stopped.
        failed,
        /// Of those admitted: ended by sshd when `LoginGraceTime` had passed.
        ended_by_grace,
        /// Of those admitted: ended by sshd before `LoginGraceTime` had passed, or at any time where that is not known.
        ended_early,
        /// Of those admitted: left by logging in at last, which earns no penalty.
        logged_in,
    }
}

/// Per-task spread of a count, over tasks that were started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerTask {
    /// Tasks.
    pub tasks: u64,
    /// Sum over them.
    pub sum: u64,
    /// Smallest.
    pub min: u64,
    /// Largest.
    pub max: u64,
    /// Some of it cannot be told apart by task: sum and mean are known, `min` and `max` are not.
    pub blurred: bool,
}

impl PerTask {
    /// Adds one task.
    pub fn add(&mut self, value: u64) {
        self.merge(&PerTask {
            tasks: 1,
            sum: value,
            min: value,
            max: value,
            blurred: false,
        });
    }

    /// Adds other tasks.
    pub fn merge(&mut self, other: &PerTask) {
        if other.tasks == 0 {
            return;
        }
        self.min = if self.tasks == 0 {
            other.min
        } else {
            self.min.min(other.min)
        };
        self.max = self.max.max(other.max);
        self.blurred |= other.blurred;
        self.tasks += other.tasks;
        self.sum += other.sum;
    }

    /// Says that only the sum is known, which is this.
    pub fn blur(&mut self, sum: u64) {
        self.sum = sum;
        self.blurred = true;
    }

    /// Smallest and largest; `None` where tasks cannot be told apart.
    #[must_use]
    pub fn range(&self) -> Option<(u64, u64)> {
        (!self.blurred).then_some((self.min, self.max))
    }

    /// Mean over tasks; `None` without tasks.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.tasks > 0).then(|| number(self.sum) / number(self.tasks))
    }
}

/// Handshakes per second of one scope.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rate {
    /// Handshakes.
    pub handshakes: u64,
    /// Active window: first `connect()` to the last attempt's end; summed over rounds, nanoseconds.
    pub window_ns: u64,
    /// Most handshakes within any one second; the largest of the rounds.
    pub peak: u64,
}

impl Rate {
    /// Mean over the active window, per second; `None` when nothing was attempted.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.window_ns > 0).then(|| number(self.handshakes) / seconds(self.window_ns))
    }

    /// Adds another round's; windows of different rounds never overlap.
    pub fn merge(&mut self, other: &Rate) {
        self.handshakes += other.handshakes;
        self.window_ns += other.window_ns;
        self.peak = self.peak.max(other.peak);
    }
}

/// Distinct refusal texts kept; a server sends one or two.
pub(super) const TEXTS_KEPT: usize = 8;

/// One phase, or all phases together, of one round or of all.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Counts.
    pub counts: Counts,
    /// Refusals by how they ended.
    pub banner_eof_split: BannerEofSplit,
    /// Texts that came with refusals, and how often.
    pub banner_eof_texts: BTreeMap<String, u64>,
    /// Refusals by who refused; `None` unless every witness was heard in every round.
    pub makers: Option<Makers>,
    /// Retries by kind.
    pub retries_by_kind: RetriesByKind,
    /// Handshake rate.
    pub rate: Rate,
    /// Attempts of each task in this scope.
    pub attempts_per_task: PerTask,
    /// Handshakes of each task in this scope.
    pub handshakes_per_task: PerTask,
    /// Number of the first login that a ban refused, of each banned task of `failing-login`; all phases together only.
    pub first_banned_attempt: PerTask,
    /// Times by stage.
    pub latencies: Latencies,
}

impl Scope {
    /// Adds another round's.
    pub fn merge(&mut self, other: &Scope) {
        self.counts.merge(&other.counts);
        self.banner_eof_split.merge(&other.banner_eof_split);
        for (text, count) in &other.banner_eof_texts {
            *self.banner_eof_texts.entry(text.clone()).or_default() += count;
        }
        self.makers = both(self.makers, other.makers, |mut mine, theirs| {
            mine.merge(&theirs);
            mine
        });
        self.retries_by_kind.merge(&other.retries_by_kind);
        self.rate.merge(&other.rate);
        self.attempts_per_task.merge(&other.attempts_per_task);
        self.handshakes_per_task.merge(&other.handshakes_per_task);
        self.first_banned_attempt.merge(&other.first_banned_attempt);
        self.latencies.merge(&other.latencies);
    }
}

/// Everything counted of one round, or of all rounds of a strategy.
#[derive(Debug, Clone, Default)]
pub struct Numbers {
    /// The views of attempts that were there in every round.
    pub views: Views,
    /// All phases together.
    pub total: Scope,
    /// Each phase, indexed like [`Phase::ALL`].
    pub phases: [Scope; 3],
    /// Tasks.
    pub tasks: TaskCounts,
    /// Failed tasks by cause.
    pub failures: FailureCounts,
    /// Job directories; `None` unless the inventory was taken after every round.
    pub leftovers: Option<Leftovers>,
    /// Authentications in the server's log; `None` unless it was read for every round.
    pub server_accepted: Option<u64>,
    /// Refusals in the server's log, by cause; `None` unless it was read for every round and holds them all.
    pub server_drops: Option<DropCounts>,
    /// Most startup slots in use; `None` unless the gauge was read in every round.
    pub startups_peak: Option<u64>,
    /// Time with `start` startup slots or more in use, nanoseconds; `None` unless the gauge was read in every round.
    pub above_start_ns: Option<u64>,
    /// CPU time of the server, nanoseconds; `None` unless it was read in every round.
    pub server_cpu_ns: Option<u64>,
    /// Spread of first `connect()` calls, nanoseconds, worst round; `None` unless every round was a burst.
    pub start_spread_ns: Option<u64>,
    /// Clients under test; `None` of a strategy that is none.
    pub clients: Option<Clients>,
    /// Silent clients beside the tasks; `None` of a scenario without any.
    pub holders: Option<Holders>,
    /// Tasks that sshd banned; `None` of a strategy that does not ask for it, and without sshd's log.
    pub tasks_banned: Option<u64>,
    /// The smallest spacing of logins that never banned, nanoseconds, worst round; likewise.
    pub unbanned_spacing_ns: Option<u64>,
    /// Look-ups of keys by a command; `None` without one, and without a log that tells.
    pub key_commands: Option<u64>,
}

impl Numbers {
    /// CPU time of the server for each handshake, nanoseconds.
    #[must_use]
    pub fn server_cpu_per_handshake_ns(&self) -> Option<u64> {
        self.server_cpu_ns?
            .checked_div(self.total.counts.handshakes)
    }

    /// CPU time of the server for each scheduled task, nanoseconds.
    #[must_use]
    pub fn server_cpu_per_task_ns(&self) -> Option<u64> {
        self.server_cpu_ns?.checked_div(self.tasks.tasks_scheduled)
    }

    pub(super) fn all_scopes(&mut self) -> impl Iterator<Item = &mut Scope> {
        self.phases.iter_mut().chain([&mut self.total])
    }

    /// A scope: one phase, or all.
    #[must_use]
    pub fn scope(&self, phase: Option<Phase>) -> &Scope {
        match phase {
            None => &self.total,
            Some(phase) => &self.phases[phase as usize],
        }
    }

    /// The sum over rounds. A number that one round lacks is lacking in the sum: no data is never zero.
    #[must_use]
    pub fn sum<'a>(rounds: impl Iterator<Item = &'a Numbers>) -> Numbers {
        let mut sum: Option<Numbers> = None;
        for round in rounds {
            match &mut sum {
                None => sum = Some(round.clone()),
                Some(sum) => sum.merge(round),
            }
        }
        sum.unwrap_or_default()
    }

    fn merge(&mut self, other: &Numbers) {
        self.views = self.views.and(other.views);
        self.total.merge(&other.total);
        for (mine, theirs) in self.phases.iter_mut().zip(&other.phases) {
            mine.merge(theirs);
        }
        self.tasks.merge(&other.tasks);
        self.failures.merge(&other.failures);
        self.leftovers = both(
            self.leftovers.take(),
            other.leftovers,
            |mut mine, theirs| {
                mine.merge(&theirs);
                mine
            },
        );
        self.server_accepted = both(self.server_accepted, other.server_accepted, |a, b| a + b);
        self.server_drops = both(
            self.server_drops.take(),
            other.server_drops.as_ref(),
            |mut mine, theirs| {
                mine.merge(theirs);
                mine
            },
        );
        self.startups_peak = both(self.startups_peak, other.startups_peak, u64::max);
        self.above_start_ns = both(self.above_start_ns, other.above_start_ns, |a, b| a + b);
        self.server_cpu_ns = both(self.server_cpu_ns, other.server_cpu_ns, |a, b| a + b);
        self.start_spread_ns = both(self.start_spread_ns, other.start_spread_ns, u64::max);
        self.holders = both(self.holders, other.holders, |mut mine, theirs| {
            mine.merge(&theirs);
            mine
        });
        self.tasks_banned = both(self.tasks_banned, other.tasks_banned, |a, b| a + b);
        self.unbanned_spacing_ns = both(
            self.unbanned_spacing_ns,
            other.unbanned_spacing_ns,
            u64::max,
        );
        self.key_commands = both(self.key_commands, other.key_commands, |a, b| a + b);
        self.clients = both(
            self.clients.take(),
            other.clients.as_ref(),
            |mut mine, theirs| {
                mine.merge(theirs);
                mine
            },
        );
    }
}

fn both<A, B>(a: Option<A>, b: Option<B>, join: impl FnOnce(A, B) -> A) -> Option<A> {
    Some(join(a?, b?))
}

/// One round.
#[derive(Debug, Clone)]
pub struct RoundSummary {
    /// Round.
    pub round: RoundId,
    /// Repetition, from 1.
    pub repetition: u32,
    /// Strategy.
    pub strategy: StrategyName,
    /// Cleanup policy in force.
    pub cleanup: CleanupPolicy,
    /// When it began.
    pub started: RunInstant,
    /// When its last event was recorded.
    pub ended: RunInstant,
    /// How it ended; `None` when the ledger breaks off in it.
    pub end: Option<RoundEnd>,
    /// The target was seen idle before and after.
    pub proven_idle: bool,
    /// Its numbers.
    pub numbers: Numbers,
    /// How its tasks began.
    pub start: StartNumbers,
    /// Both sides of its laws.
    pub books: RoundBooks,
    /// What became of each task, in the order of their numbers.
    pub task_ends: Vec<TaskEnd>,
    /// Connections of each task of a client under test, in the order of their numbers; `None` of another strategy, and where
    /// they cannot be told apart by task.
    pub task_connections: Option<Vec<u64>>,
    /// Its course.
    pub timeline: TimeLine,
    /// What each task of `failing-login` saw, in the order of their numbers; empty of another strategy.
    pub failing: Vec<FailingLogins>,
    /// Startup slots in use; `None` without a gauge.
    pub startups: Option<Startups>,
    /// What it cost the server; `None` where it cannot be read.
    pub server_cost: Option<ServerCost>,
    /// The kernel's counters; `None` where they cannot be read.
    pub kernel: Option<KernelCounters>,
    /// A single client's connections by the number of slots it held; empty where it was not alone or held none.
    pub held_trials: BTreeMap<u32, Trials>,
    /// How long the first silent connection was held that the server ended; `None` where it ended none.
    pub held_lost: Option<Duration>,
    /// What the server's log says of it as a whole.
    pub server_log: Option<ServerLogCounts>,
    /// Its attempts beside that log.
    pub reconciliation: Option<Reconciliation>,
}

/// One strategy over all its rounds.
#[derive(Debug, Clone)]
pub struct StrategySummary {
    /// Its name.
    pub strategy: StrategyName,
    /// Sum over rounds.
    pub numbers: Numbers,
    /// Its rounds in the order of execution.
    pub rounds: Vec<RoundSummary>,
}

/// Minimum, median and maximum of a metric over rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Smallest round.
    pub min: f64,
    /// Median round; the mean of the two middle ones when their number is even.
    pub median: f64,
    /// Largest round.
    pub max: f64,
}

impl Spread {
    /// The spread of some values; `None` without values.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Spread { min, median, max })
    }
}

/// The generator's own health over the run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GeneratorHealth {
    /// Readings.
    pub samples: u64,
    /// Worst lateness of an event-loop timer, nanoseconds.
    pub loop_lag_max_ns: u64,
    /// Share of the machine's CPUs used by the harness over the run, 0 to 1.
    pub cpu_share_mean: Option<f64>,
    /// The same in its busiest stretch of at least 1 s.
    pub cpu_share_peak: Option<f64>,
    /// Most open file descriptors.
    pub open_files_max: u32,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct RunSummary {
    /// What was run; `None` when the ledger does not begin as it should.
    pub manifest: Option<Manifest>,
    /// Strategies in the order of the scenario.
    pub strategies: Vec<StrategySummary>,
    /// The generator's health.
    pub generator: GeneratorHealth,
    /// The ledger as a whole.
    pub ledger: LedgerBooks,
    /// When the last record was made.
    pub ended: RunInstant,
    /// Warnings recorded during the run.
    pub warnings: Vec<String>,
    /// Why the run was stopped, when it was.
    pub stop_reasons: Vec<String>,
}

impl RunSummary {
    /// A strategy by name.
    #[must_use]
    pub fn strategy(&self, name: &StrategyName) -> Option<&StrategySummary> {
        self.strategies
            .iter()
            .find(|strategy| strategy.strategy == *name)
    }

    /// All rounds in the order of execution.
    #[must_use]
    pub fn rounds(&self) -> Vec<&RoundSummary> {
        let mut rounds: Vec<_> = self
            .strategies
            .iter()
            .flat_map(|strategy| &strategy.rounds)
            .collect();
        rounds.sort_by_key(|round| round.round);
        rounds
    }
}
