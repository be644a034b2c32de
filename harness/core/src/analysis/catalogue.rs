//! The metric catalogue: every metric's name, unit, scope, aggregates and meaning, once.
//!
//! Gate, report and documentation all read this table; names are API. It owns how a metric is read off the
//! numbers, and must not know thresholds or formats. A metric without data is `None`, never zero.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::latency::{Latency, Stage};
use super::summary::{Counts, Numbers, PerTask, Scope, Spread, StrategySummary};
use crate::join::Views;
use crate::quantity::number;
use crate::vocabulary::Phase;

/// Unit of a metric's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Things per task.
    PerTask,
    /// Things per second.
    PerSecond,
    /// Nanoseconds.
    Nanoseconds,
}

impl Unit {
    /// The word for messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Unit::Count => "count",
            Unit::PerTask => "number per task",
            Unit::PerSecond => "number per second",
            Unit::Nanoseconds => "duration",
        }
    }
}

/// Which way a metric is better, for comparisons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// A smaller value is better.
    Less,
    /// A larger value is better.
    More,
    /// Neither: it describes, and can change but not regress.
    Neither,
}

/// How a metric's value of a round varies by nature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variation {
    /// A number of events of a round: it grows with the tasks, and varies at least as a Poisson count where chance is at
    /// work at all.
    Events,
    /// A number of events for each task: as [`Variation::Events`], divided by the tasks.
    EventsPerTask,
    /// An amount that grows with the tasks, but is no number of events.
    Amount,
    /// A level that does not grow with the tasks: a rate, a latency, a worst case.
    Level,
}

/// How many values become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregate {
    /// Sum over all rounds.
    Total,
    /// Mean: over rounds (counts), the active window (rates), tasks (per-task metrics) or samples (latencies).
    Mean,
    /// Smallest round, task or sample.
    Min,
    /// Median round, or the 50th percentile of samples.
    Median,
    /// Largest round, task or sample.
    Max,
    /// Most within any one second.
    Peak,
    /// Percentile of the samples of all rounds; more than 0, at most 100.
    Percentile(f64),
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Aggregate::Total => f.write_str("total"),
            Aggregate::Mean => f.write_str("mean"),
            Aggregate::Min => f.write_str("min"),
            Aggregate::Median => f.write_str("median"),
            Aggregate::Max => f.write_str("max"),
            Aggregate::Peak => f.write_str("peak"),
            Aggregate::Percentile(percent) => write!(f, "p{percent}"),
        }
    }
}

/// Where a metric's value stands in the numbers.
#[derive(Clone, Copy)]
enum Source {
    /// A count of a scope that needs nothing but an executed round.
    Count(fn(&Scope) -> u64),
    /// A count of attempt outcomes: without attempts there is no data.
    OfAttempts(fn(&Scope) -> u64),
    /// A count of command outcomes: without commands there is no data.
    OfCommands(fn(&Scope) -> u64),
    /// A number of the whole round.
    Round(fn(&Numbers) -> Option<u64>),
    /// A number of the whole round of which the worst round counts.
    Worst(fn(&Numbers) -> Option<u64>),
    /// Handshakes per second.
    Rate,
    /// A count of attempts that needs more witnesses than the client.
    Witnessed(fn(&Scope) -> Option<u64>),
    /// Spread over tasks.
    PerTask(fn(&Scope) -> &PerTask),
    /// Distribution of times.
    Latency(Stage),
}

/// One metric.
#[derive(Clone, Copy)]
pub struct Metric {
    /// Name, in JSON, thresholds and documentation.
    pub name: &'static str,
    /// Unit of its values.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// Whether it is kept by phase.
    pub by_phase: bool,
    /// The views of attempts of which it needs one set to have data.
    pub needs: &'static [Views],
    /// What it means.
    pub description: &'static str,
    source: Source,
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Metric {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Metric {
    /// The aggregate meant when none is written; `None` where one must be.
    #[must_use]
    pub fn default_aggregate(&self) -> Option<Aggregate> {
        match self.source {
            Source::Count(_)
            | Source::OfAttempts(_)
            | Source::Witnessed(_)
            | Source::OfCommands(_)
            | Source::Round(_) => Some(Aggregate::Total),
            Source::Worst(_) => Some(Aggregate::Max),
            Source::Rate | Source::PerTask(_) => Some(Aggregate::Mean),
            Source::Latency(_) => None,
        }
    }

    /// Whether an aggregate makes sense for this metric.
    #[must_use]
    pub fn allows(&self, aggregate: Aggregate) -> bool {
        use Aggregate as A;
        match self.source {
            Source::Count(_)
            | Source::OfAttempts(_)
            | Source::Witnessed(_)
            | Source::OfCommands(_)
            | Source::Round(_) => {
                matches!(aggregate, A::Total | A::Mean | A::Min | A::Median | A::Max)
            }
            Source::Worst(_) => matches!(aggregate, A::Min | A::Median | A::Max),
            Source::Rate => {
                matches!(aggregate, A::Mean | A::Peak | A::Min | A::Median | A::Max)
            }
            Source::PerTask(_) => matches!(aggregate, A::Mean | A::Min | A::Max),
            Source::Latency(_) => !matches!(aggregate, A::Total | A::Peak),
        }
    }

    /// Whether it counts connections, of which those that never reached sshd are missing where its log is the only witness.
    #[must_use]
    pub fn counts_connections(&self) -> bool {
        match self.source {
            Source::OfAttempts(_) | Source::Witnessed(_) => true,
            Source::PerTask(_) => self.unit == Unit::PerTask,
            Source::Count(_) => self.needs == EITHER,
            Source::OfCommands(_)
            | Source::Round(_)
            | Source::Worst(_)
            | Source::Rate
            | Source::Latency(_) => false,
        }
    }

    /// Whether the values of rounds (and of phases) are counted together by adding them.
    #[must_use]
    pub fn adds_up(&self) -> bool {
        self.default_aggregate() == Some(Aggregate::Total)
    }

    /// Whether these counts are data for a metric of a scope, rather than a zero that means nothing was tried.
    #[must_use]
    pub fn has_data(&self, counts: &Counts) -> bool {
        match self.source {
            Source::OfAttempts(_) | Source::Witnessed(_) => counts.attempts > 0,
            Source::OfCommands(_) => counts.commands > 0,
            _ => true,
        }
    }

    /// The aggregates that make sense, for messages and documentation.
    #[must_use]
    pub fn aggregates(&self) -> &'static str {
        match self.source {
            Source::Count(_)
            | Source::OfAttempts(_)
            | Source::Witnessed(_)
            | Source::OfCommands(_)
            | Source::Round(_) => "total (over rounds), mean, min, median, max (of rounds)",
            Source::Worst(_) => "min, median, max (of rounds)",
            Source::Rate => "mean, peak, min, median, max (of rounds)",
            Source::PerTask(_) => "mean, min, max (of tasks)",
            Source::Latency(_) => "p50, p95, p99, p99.9, …, mean, min, median, max (of samples)",
        }
    }

    /// The value over all rounds of a strategy, unrounded; `None` without data.
    #[must_use]
    pub fn value(
        &self,
        strategy: &StrategySummary,
        phase: Option<Phase>,
        aggregate: Aggregate,
    ) -> Option<f64> {
        if strategy.rounds.is_empty() {
            return None;
        }
        let of_rounds = || self.spread(strategy, phase);
        match (self.source, aggregate) {
            (Source::PerTask(_), Aggregate::Min | Aggregate::Max)
            | (Source::Latency(_), _)
            | (_, Aggregate::Total | Aggregate::Peak | Aggregate::Percentile(_))
            | (Source::Rate | Source::PerTask(_), Aggregate::Mean) => {
                self.of(&strategy.numbers, phase, aggregate)
            }
            (_, Aggregate::Mean) => {
                let total = self.of(&strategy.numbers, phase, Aggregate::Total)?;
                Some(total / number(strategy.rounds.len() as u64))
            }
            (_, Aggregate::Min) => Some(of_rounds()?.min),
            (_, Aggregate::Median) => Some(of_rounds()?.median),
            (_, Aggregate::Max) => Some(of_rounds()?.max),
        }
    }

    /// Its values over all rounds together, each with its word; none of times, of which a distribution says more.
    pub fn overall(
        &self,
        strategy: &StrategySummary,
        phase: Option<Phase>,
    ) -> impl Iterator<Item = (&'static str, f64)> {
        let aggregates: &[(&str, Aggregate)] = match self.source {
            Source::Latency(_) => &[],
            Source::Rate => &[("mean", Aggregate::Mean), ("peak", Aggregate::Peak)],
            Source::PerTask(_) => &[
                ("min", Aggregate::Min),
                ("mean", Aggregate::Mean),
                ("max", Aggregate::Max),
            ],
            _ => &[("all", Aggregate::Total)],
        };
        aggregates.iter().filter_map(move |(word, aggregate)| {
            Some((*word, self.value(strategy, phase, *aggregate)?))
        })
    }

    /// How its value of a round varies by nature.
    #[must_use]
    pub fn variation(&self) -> Variation {
        match self.source {
            Source::Count(_)
            | Source::OfAttempts(_)
            | Source::Witnessed(_)
            | Source::OfCommands(_) => Variation::Events,
            Source::Round(_) if self.unit == Unit::Count => Variation::Events,
            Source::Round(_) => Variation::Amount,
            Source::PerTask(_) if self.unit == Unit::PerTask => Variation::EventsPerTask,
            Source::PerTask(_) | Source::Worst(_) | Source::Rate | Source::Latency(_) => {
                Variation::Level
            }
        }
    }

    /// The value of one round: the total of counts, the mean of rates and per-task metrics, the median of latencies
    /// (nanoseconds). `None` without data.
    #[must_use]
    pub fn of_round(&self, round: &Numbers, phase: Option<Phase>) -> Option<f64> {
        self.of(round, phase, self.round_aggregate())
    }

    fn round_aggregate(&self) -> Aggregate {
        self.default_aggregate().unwrap_or(Aggregate::Median)
    }

    /// The name of this metric of a phase, or in total: `metric` or `phase.metric`.
    #[must_use]
    pub fn key(&self, phase: Option<Phase>) -> String {
        match phase {
            None => self.name.to_owned(),
            Some(phase) => format!("{}.{}", phase.as_str(), self.name),
        }
    }

    /// The spread between rounds: of totals for counts, of means for rates and per-task metrics, of medians for
    /// latencies. `None` when any round has no data.
    #[must_use]
    pub fn spread(&self, strategy: &StrategySummary, phase: Option<Phase>) -> Option<Spread> {
        self.spread_of(strategy, phase, self.round_aggregate())
    }

    /// The spread between rounds of one aggregate taken within each round.
    #[must_use]
    pub fn spread_of(
        &self,
        strategy: &StrategySummary,
        phase: Option<Phase>,
        aggregate: Aggregate,
    ) -> Option<Spread> {
        let values: Option<Vec<f64>> = strategy
            .rounds
            .iter()
            .map(|round| self.of(&round.numbers, phase, aggregate))
            .collect();
        Spread::of(values?)
    }

    /// The value of one round (or of summed rounds).
    fn of(&self, numbers: &Numbers, phase: Option<Phase>, aggregate: Aggregate) -> Option<f64> {
        // A client that keeps no record has no phases either.
        let phases = phase.is_none() || numbers.views.client;
        if !numbers.views.have_one_of(self.needs) || !phases {
            return None;
        }
        let scope = numbers.scope(phase);
        // Without a scheduled task nothing was run, and zero would be a lie.
        let ran = numbers.tasks.tasks_scheduled > 0;
        match self.source {
            Source::Count(count) => ran.then(|| number(count(scope))),
            Source::OfAttempts(count) => (scope.counts.attempts > 0).then(|| number(count(scope))),
            Source::Witnessed(count) => {
                let tried = scope.counts.attempts > 0;
                count(scope).filter(|_| tried).map(number)
            }
            Source::OfCommands(count) => (scope.counts.commands > 0).then(|| number(count(scope))),
            Source::Round(value) | Source::Worst(value) => {
                if ran {
                    value(numbers).map(number)
                } else {
                    None
                }
            }
            Source::Rate => {
                let mean = scope.rate.mean()?;
                Some(match aggregate {
                    Aggregate::Peak => number(scope.rate.peak),
                    _ => mean,
                })
            }
            Source::PerTask(spread) => {
                let spread = spread(scope);
                let mean = spread.mean()?;
                match aggregate {
                    Aggregate::Min => spread.range().map(|(min, _)| number(min)),
                    Aggregate::Max => spread.range().map(|(_, max)| number(max)),
                    _ => Some(mean),
                }
            }
            Source::Latency(stage) => of_latency(scope.latencies.get(stage), aggregate).map(number),
        }
    }
}

fn of_latency(latency: &Latency, aggregate: Aggregate) -> Option<u64> {
    match aggregate {
        Aggregate::Percentile(percent) => latency.percentile_ns(percent),
        Aggregate::Median => latency.percentile_ns(50.0),
        Aggregate::Mean => latency.mean_ns(),
        Aggregate::Min => latency.min_ns(),
        Aggregate::Max => latency.max_ns(),
        Aggregate::Total | Aggregate::Peak => None,
    }
}

/// Every metric in total and, where it is kept by phase, of each phase; in the order of the catalogue.
pub fn scoped() -> impl Iterator<Item = (&'static Metric, Option<Phase>)> {
    CATALOGUE.iter().flat_map(|metric| {
        let phases = metric.by_phase.then_some(Phase::ALL).into_iter().flatten();
        std::iter::once(None)
            .chain(phases.map(Some))
            .map(move |phase| (metric, phase))
    })
}

/// The metric of that name.
#[must_use]
pub fn metric(name: &str) -> Option<&'static Metric> {
    CATALOGUE.iter().find(|metric| metric.name == name)
}

/// The nearest metric name to a misspelt one, when one is near.
#[must_use]
pub fn nearest(name: &str) -> Option<&'static str> {
    crate::nearest::nearest(name, CATALOGUE.iter().map(|metric| metric.name))
}

/// Nothing: tasks, directories, the server's own numbers.
const NONE: &[Views] = &[Views::NONE];
/// The client's record.
const CLIENT: &[Views] = &[Views::CLIENT];
/// The client's record, or a log that tells of every connection.
const EITHER: &[Views] = &[Views::CLIENT, Views::LOGGED];
/// A log that tells of every connection, where it is the only witness.
const LOGGED: &[Views] = &[Views::LOGGED];
/// sshd's log.
const SERVER: &[Views] = &[Views::SERVER];
/// sshd's log with every refusal.
const DROPS: &[Views] = &[Views::DROPS];
/// Whoever refused, by every witness.
const ALL: &[Views] = &[Views::ALL];
/// Refusals that sshd itself logs.
const BY_SSHD: &[Views] = &[Views::ALL, Views::LOGGED];

macro_rules! catalogue {
    ($($name:literal, $unit:ident, $better:ident, $by_phase:literal, $needs:ident, $source:expr, $description:literal;)*) => {
        /// Every metric, in the order of the report.
        pub static CATALOGUE: &[Metric] = &[$(Metric {
            name: $name,
            unit: Unit::$unit,
            better: Better::$better,
            by_phase: $by_phase,
            needs: $needs,
            description: $description,
            source: $source,
        }),*];
    };
}

catalogue! {
    "tasks_scheduled", Count, Neither, false, NONE, Source::Round(|n| Some(n.tasks.tasks_scheduled)),
        "Tasks with a place in the arrival pattern.";
    "tasks_succeeded", Count, More, false, NONE, Source::Round(|n| Some(n.tasks.tasks_succeeded)),
        "Tasks whose job's exit code was read and was 0; of a strategy without a job, those that did all they had to.";
    "tasks_failed", Count, Less, false, NONE, Source::Round(|n| Some(n.tasks.tasks_failed)),
        "Failed tasks, whatever the cause.";
    "tasks_interrupted", Count, Less, false, NONE, Source::Round(|n| Some(n.tasks.tasks_interrupted)),
        "Tasks under way when the run was stopped.";
    "tasks_not_started", Count, Less, false, NONE, Source::Round(|n| Some(n.tasks.tasks_not_started)),
        "Tasks never begun, because the run was stopped.";
    "attempts", Count, Less, true, EITHER, Source::Count(|s| s.counts.attempts),
        "Connection attempts: one TCP connect plus SSH handshake each.";
    "handshakes", Count, Less, true, EITHER, Source::Count(|s| s.counts.handshakes),
        "Attempts that ended authenticated.";
    "banner_eof", Count, Less, true, EITHER, Source::OfAttempts(|s| s.counts.banner_eof),
        "Refusals: the server closed before its identification string, by EOF or RST, with or without text.";
    "listen_queue_refused", Count, Less, true, ALL, Source::Witnessed(|s| s.makers.map(|m| m.listen_queue_refused)),
        "Refusals by the kernel: sshd's listen queue was full, no socket was made, and sshd never saw the connection.";
    "listen_queue_timeout", Count, Less, true, ALL, Source::Witnessed(|s| s.makers.map(|m| m.listen_queue_timeout)),
        "Attempts that the client gave up while the kernel kept turning them away from sshd's full listen queue.";
    "refused_by_max_startups", Count, Less, true, BY_SSHD, Source::Witnessed(|s| s.makers.map(|m| m.refused_by_max_startups)),
        "Refusals by sshd's MaxStartups, each with its drop line.";
    "refused_by_other_rule", Count, Less, true, BY_SSHD, Source::Witnessed(|s| s.makers.map(|m| m.refused_by_other_rule)),
        "Refusals by a limit per source or a penalty, each with its drop line.";
    "unserved", Count, Less, true, BY_SSHD, Source::Witnessed(|s| s.makers.map(|m| m.unserved)),
        "Refusals of connections that sshd accepted and could not serve: no process, no descriptor, a session that died.";
    "refused_by_unknown", Count, Less, true, ALL, Source::Witnessed(|s| s.makers.map(|m| m.refused_by_unknown)),
        "Refusals that left no trace on the server's side: the books do not balance.";
    "connect_refused", Count, Less, true, CLIENT, Source::OfAttempts(|s| s.counts.connect_refused),
        "Attempts refused by TCP.";
    "connect_timeout", Count, Less, true, CLIENT, Source::OfAttempts(|s| s.counts.connect_timeout),
        "Attempts without a TCP connection before the deadline.";
    "banner_timeout", Count, Less, true, CLIENT, Source::OfAttempts(|s| s.counts.banner_timeout),
        "Attempts without an identification string before the deadline.";
    "kex_failed", Count, Less, true, EITHER, Source::OfAttempts(|s| s.counts.kex_failed),
        "Attempts whose key exchange failed.";
    "auth_failed", Count, Less, true, EITHER, Source::OfAttempts(|s| s.counts.auth_failed),
        "Attempts whose authentication failed.";
    "client_left", Count, Less, true, LOGGED, Source::OfAttempts(|s| s.counts.client_left),
        "Connections that a client under test ended before it had logged in, without a try that failed.";
    "generator_fault", Count, Neither, true, CLIENT, Source::OfAttempts(|s| s.counts.generator_fault),
        "Attempts the harness itself could not make; never a failure of the server.";
    "attempts_held", Count, Neither, true, CLIENT, Source::OfAttempts(|s| s.counts.attempts_held),
        "Attempts admitted and kept silent before authentication on purpose, to hold a startup slot.";
    "attempts_interrupted", Count, Neither, true, CLIENT, Source::OfAttempts(|s| s.counts.attempts_interrupted),
        "Attempts given up by the harness.";
    "connections", Count, Less, true, CLIENT, Source::Count(|s| s.counts.connections),
        "Connections wanted: first tries, however many retries followed.";
    "first_attempt_ok", Count, Neither, true, CLIENT, Source::OfAttempts(|s| s.counts.first_attempt_ok),
        "Connections whose first try succeeded.";
    "final_ok", Count, Neither, true, CLIENT, Source::OfAttempts(|s| s.counts.final_ok),
        "Connections that were had in the end, by first try or retry.";
    "handshake_rate_per_s", PerSecond, Neither, true, EITHER, Source::Rate,
        "Handshakes per second: mean over the active window (first connect to last attempt's end), peak over any 1 s.";
    "attempts_per_task", PerTask, Less, true, EITHER, Source::PerTask(|s| &s.attempts_per_task),
        "Attempts of each started task.";
    "handshakes_per_task", PerTask, Less, true, EITHER, Source::PerTask(|s| &s.handshakes_per_task),
        "Handshakes of each started task.";
    "holders_admitted", Count, Neither, false, NONE, Source::Round(|n| n.holders.map(|h| h.admitted)),
        "Silent clients beside the tasks (`[holders]`) that sshd admitted.";
    "tasks_banned", Count, Less, false, ALL, Source::Round(|n| n.tasks_banned),
        "failing-login: tasks whose source sshd banned (PerSourcePenalties), by the drop line of the refused login.";
    "first_banned_attempt", Count, More, false, ALL, Source::PerTask(|s| &s.first_banned_attempt),
        "failing-login: the number of the first login that a ban refused, from 1, of each task that was banned.";
    "unbanned_spacing", Nanoseconds, Less, false, ALL, Source::Worst(|n| n.unbanned_spacing_ns),
        "failing-login: the smallest spacing of logins that never banned, of which no larger one did either.";
    "commands", Count, Neither, true, CLIENT, Source::Count(|s| s.counts.commands),
        "Exec requests.";
    "channel_refused", Count, Less, true, CLIENT, Source::OfCommands(|s| s.counts.channel_refused),
        "Commands whose channel or exec request was refused (MaxSessions).";
    "connection_lost", Count, Less, true, CLIENT, Source::OfCommands(|s| s.counts.connection_lost),
        "Commands whose connection ended before they did.";
    "command_timeout", Count, Less, true, CLIENT, Source::OfCommands(|s| s.counts.command_timeout),
        "Commands whose deadline passed.";
    "retries", Count, Less, true, CLIENT, Source::Count(|s| s.counts.retries),
        "Waits before another try, of any kind.";
    "polls", Count, Neither, false, CLIENT, Source::Round(|n| Some(n.tasks.polls)),
        "Whole polls ended.";
    "leftover_dirs", Count, Less, false, NONE, Source::Round(|n| n.leftovers.map(|l| l.leftover_dirs)),
        "Job directories still there although the cleanup policy required removal.";
    "kept_by_policy", Count, Neither, false, NONE, Source::Round(|n| n.leftovers.map(|l| l.kept_by_policy)),
        "Job directories still there because the cleanup policy did not require removal.";
    "startups_peak", Count, Less, false, NONE, Source::Worst(|n| n.startups_peak),
        "Most startup slots in use at once, from the listener's gauge.";
    "startups_above_start", Nanoseconds, Less, false, NONE, Source::Round(|n| n.above_start_ns),
        "Time with `start` or more startup slots in use, from the listener's gauge: while it lasts, sshd may refuse.";
    "server_accepted", Count, Less, false, SERVER, Source::Round(|n| n.server_accepted),
        "Authentications in sshd's own log.";
    "server_drops", Count, Less, false, DROPS, Source::Round(|n| n.server_drops.as_ref().map(|d| d.total())),
        "Refusals in sshd's own log.";
    "server_cpu", Nanoseconds, Less, false, NONE, Source::Round(|n| n.server_cpu_ns),
        "CPU time of sshd and the commands it ran (of the whole container where its processes cannot be seen).";
    "server_cpu_per_handshake", Nanoseconds, Less, false, EITHER, Source::Worst(Numbers::server_cpu_per_handshake_ns),
        "CPU time of sshd for each handshake.";
    "server_cpu_per_task", Nanoseconds, Less, false, NONE, Source::Worst(Numbers::server_cpu_per_task_ns),
        "CPU time of sshd for each scheduled task.";
    "start_spread", Nanoseconds, Neither, false, EITHER, Source::Worst(|n| n.start_spread_ns),
        "Burst rounds: from the first task's first connect() call to the last task's; of a client under test, from the first task's first line in sshd's log to the last task's.";
    "start_lag", Nanoseconds, Neither, false, NONE, Source::Latency(Stage::StartLag),
        "Intended start of a task to its real start.";
    "tcp", Nanoseconds, Less, true, CLIENT, Source::Latency(Stage::Tcp),
        "connect() called to TCP connection.";
    "banner", Nanoseconds, Less, true, CLIENT, Source::Latency(Stage::Banner),
        "TCP connection to identification string.";
    "kex", Nanoseconds, Less, true, CLIENT, Source::Latency(Stage::Kex),
        "Identification string to key exchange done.";
    "auth", Nanoseconds, Less, true, CLIENT, Source::Latency(Stage::Auth),
        "Key exchange done to authenticated.";
    "exec", Nanoseconds, Less, true, CLIENT, Source::Latency(Stage::Exec),
        "Command started to command completed.";
    "refusal", Nanoseconds, Neither, true, CLIENT, Source::Latency(Stage::Refusal),
        "connect() called to refusal known.";
    "ban", Nanoseconds, Neither, false, ALL, Source::Latency(Stage::Ban),
        "failing-login: from the last failure before a ban to the answer to the first valid key that was let in; up to probe_interval too long.";
    "submit", Nanoseconds, Less, false, CLIENT, Source::Latency(Stage::Submit),
        "Intended start of a task to the end of its submit phase.";
    "task", Nanoseconds, Less, false, NONE, Source::Latency(Stage::Task),
        "Intended start of a task to its end.";
}
