//! Clients under test: what their processes did, cost and left, and what sshd saw of them.
//!
//! Owns shapes and sums. How events become them is `round`'s.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{RoundId, TaskId};
use crate::vocabulary::ClientEnd;

/// Distinct names of what was left behind that are kept.
const NAMES_KEPT: usize = 8;
/// Failures kept.
const FAILURES_KEPT: usize = 3;
/// Share of one core from which a thread counts as busy all the time.
pub const BUSY_THREAD: f64 = 0.85;
/// Share of all cores from which the machine does.
pub const BUSY_MACHINE: f64 = 0.85;

/// The clients under test of one round, or of all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// Programs started.
    pub started: u64,
    /// How they ended, and how often: `exit 0`, `exit 255`, `signal 9`, `timed out`, …
    pub ends: BTreeMap<String, u64>,
    /// CPU time of all their processes, nanoseconds; `null` when not all were seen to their end.
    pub cpu_ns: Option<u64>,
    /// Largest resident set of any one of their processes, bytes; likewise.
    pub memory_bytes: Option<u64>,
    /// Programs that left processes behind.
    pub left_behind: u64,
    /// The names of those processes, and how often.
    pub left_behind_names: BTreeMap<String, u64>,
    /// Processes that had to be ended at the end of a round.
    pub killed: u64,
    /// Bytes they wrote to standard output and standard error.
    pub output_bytes: u64,
    /// Lines of that output that speak of a refusal. Information: a client may say nothing, or say it more than once.
    pub recognised: u64,
    /// Connections that belong to no task: neither the address that they were made to nor a key names one.
    pub unattributed: u64,
    /// Those of them that logged in.
    pub unattributed_logins: u64,
    /// Those of them that were refused.
    pub unattributed_refusals: u64,
    /// Logins whose task is told by its key and not by the address.
    pub logins_by_key: u64,
    /// Tasks of which no connection was seen; `null` when some connections cannot be told apart by task.
    pub tasks_unseen: Option<u64>,
    /// `no more sessions`: channels beyond `MaxSessions` that a shared connection was refused.
    pub sessions_refused: u64,
    /// Whether the kernel turned connections away before sshd saw them: every count of connections is a lower bound.
    pub lower_bound: bool,
    /// The first that failed, with the end of what they printed.
    pub failures: Vec<ClientFailure>,
    /// How busy they were; `null` where it was not measured in every round.
    pub load: Option<ClientLoad>,
}

/// A client under test that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientFailure {
    /// Round.
    pub round: RoundId,
    /// Its task; `null` where it ran for all of them.
    pub task: Option<TaskId>,
    /// How it ended.
    pub end: String,
    /// The end of what it printed.
    pub output: String,
}

/// How busy clients and machine were at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientLoad {
    /// Largest share of one core that a thread of a client used over `window_s`.
    pub thread_share: f64,
    /// That thread's name.
    pub thread: String,
    /// Largest share of all cores in use over `window_s`, by anything.
    pub machine_share: f64,
    /// Seconds over which both were taken.
    pub window_s: f64,
}

impl ClientLoad {
    /// Whether the client, or the machine, was so busy that what was measured may be its own limit and not the server's.
    #[must_use]
    pub fn saturated(&self) -> bool {
        self.thread_share > BUSY_THREAD || self.machine_share > BUSY_MACHINE
    }
}

impl Clients {
    /// Before the first event of a round.
    #[must_use]
    pub fn none_yet() -> Self {
        Clients {
            cpu_ns: Some(0),
            memory_bytes: Some(0),
            ..Clients::default()
        }
    }

    /// Takes one's end.
    pub fn ended(
        &mut self,
        (round, task): (RoundId, Option<TaskId>),
        end: &ClientEnd,
        left_behind: &BTreeMap<String, u64>,
        output_bytes: u64,
        recognised: u64,
        excerpt: &str,
    ) {
        self.started += 1;
        let well = *end == ClientEnd::Exited { status: 0 };
        if (!well || !excerpt.is_empty()) && self.failures.len() < FAILURES_KEPT {
            self.failures.push(ClientFailure {
                round,
                task,
                end: match end {
                    ClientEnd::NotStarted { error } => format!("not started: {error}"),
                    _ if well => "left processes behind".to_owned(),
                    _ => word(end),
                },
                output: excerpt.to_owned(),
            });
        }
        *self.ends.entry(word(end)).or_default() += 1;
        self.left_behind += u64::from(!left_behind.is_empty());
        for (name, count) in left_behind {
            count_name(&mut self.left_behind_names, name, *count, NAMES_KEPT);
        }
        self.output_bytes += output_bytes;
        self.recognised += recognised;
    }

    /// Takes what one cost, everything of it being gone.
    pub fn cleared(&mut self, cpu_ns: u64, memory_bytes: u64, killed: u32) {
        self.cpu_ns = self.cpu_ns.map(|sum| sum + cpu_ns);
        self.memory_bytes = self.memory_bytes.map(|most| most.max(memory_bytes));
        self.killed += u64::from(killed);
    }

    /// Adds another round's.
    pub fn merge(&mut self, other: &Clients) {
        self.started += other.started;
        for (end, count) in &other.ends {
            *self.ends.entry(end.clone()).or_default() += count;
        }
        self.cpu_ns = sum(self.cpu_ns, other.cpu_ns, |a, b| a + b);
        self.memory_bytes = sum(self.memory_bytes, other.memory_bytes, u64::max);
        self.left_behind += other.left_behind;
        for (name, count) in &other.left_behind_names {
            count_name(&mut self.left_behind_names, name, *count, NAMES_KEPT);
        }
        self.killed += other.killed;
        self.output_bytes += other.output_bytes;
        self.recognised += other.recognised;
        self.unattributed += other.unattributed;
        self.unattributed_logins += other.unattributed_logins;
        self.unattributed_refusals += other.unattributed_refusals;
        self.logins_by_key += other.logins_by_key;
        self.tasks_unseen = sum(self.tasks_unseen, other.tasks_unseen, |a, b| a + b);
        self.sessions_refused += other.sessions_refused;
        let room = FAILURES_KEPT.saturating_sub(self.failures.len());
        self.failures
            .extend(other.failures.iter().take(room).cloned());
        self.lower_bound |= other.lower_bound;
        self.load = sum(self.load.take(), other.load.clone(), |mine, theirs| {
            // The name belongs to the busier of the two.
            let (busy, other) = if theirs.thread_share > mine.thread_share {
                (theirs, mine)
            } else {
                (mine, theirs)
            };
            ClientLoad {
                machine_share: busy.machine_share.max(other.machine_share),
                ..busy
            }
        });
    }
}

fn sum<T>(a: Option<T>, b: Option<T>, join: impl FnOnce(T, T) -> T) -> Option<T> {
    Some(join(a?, b?))
}

/// Counts a name. Names are the client's choice: bounded to so many different ones, and the others together.
pub fn count_name(names: &mut BTreeMap<String, u64>, name: &str, count: u64, most: usize) {
    let known = names.contains_key(name) || names.len() < most;
    let name = if known { name } else { "(others)" };
    *names.entry(name.to_owned()).or_default() += count;
}

fn word(end: &ClientEnd) -> String {
    match end {
        ClientEnd::Exited { status } => format!("exit {status}"),
        ClientEnd::Signalled { signal } => format!("signal {signal}"),
        ClientEnd::TimedOut => "timed out".to_owned(),
        ClientEnd::Unwatched => "not watched to its end".to_owned(),
        ClientEnd::OverLimit => "over max_processes".to_owned(),
        ClientEnd::NotStarted { .. } => "not started".to_owned(),
        ClientEnd::Interrupted => "interrupted".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_one_round_lacks_is_lacking_in_the_sum_and_the_busier_thread_is_named() {
        let load = |thread_share, thread: &str, machine_share| {
            Some(ClientLoad {
                thread_share,
                thread: thread.to_owned(),
                machine_share,
                window_s: 5.0,
            })
        };
        let mut sum = Clients::none_yet();
        sum.cleared(7, 100, 0);
        sum.cleared(3, 50, 2);
        sum.load = load(0.3, "sh", 0.9);
        let mut other = Clients::none_yet();
        other.load = load(0.9, "python3", 0.2);
        other.tasks_unseen = Some(1);
        sum.merge(&other);
        assert_eq!(
            (sum.cpu_ns, sum.memory_bytes, sum.killed),
            (Some(10), Some(100), 2)
        );
        assert_eq!(sum.tasks_unseen, None);
        let busiest = sum.load.clone().expect("both had it");
        assert_eq!(
            (busiest.thread.as_str(), busiest.machine_share),
            ("python3", 0.9)
        );
        assert!(busiest.saturated());
        other.load = None;
        sum.merge(&other);
        assert_eq!(sum.load, None);
    }

    #[test]
    fn names_of_what_is_left_are_bounded() {
        let mut clients = Clients::none_yet();
        for number in 0..100 {
            let end = ClientEnd::Exited { status: 0 };
            let left = [(format!("process {number}"), 1)].into();
            clients.ended((RoundId(1), None), &end, &left, 1, 0, "");
        }
        assert_eq!(clients.left_behind_names.len(), NAMES_KEPT + 1);
        assert_eq!(clients.left_behind_names.values().sum::<u64>(), 100);
        assert_eq!(clients.ends["exit 0"], 100);
    }
}
