//! The conservation laws: both sides' numbers, round by round, and whether they balance.
//!
//! A run whose books do not balance is inconclusive, whatever its gates say. Owns the ledger's own laws; `server`
//! those between client and server; counting is `summary`'s and `reconciliation`'s.

mod server;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::summary::{RoundSummary, RunSummary};
use crate::ids::{RoundId, StrategyName};
use crate::ledger::{RoundEnd, RunEnd};

/// Which law.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum LawId {
    /// The ledger has no gap, runs forward in time, and was opened and closed.
    LedgerIntact,
    /// Every event names something that is open.
    NoStrayEvents,
    /// Every round begun has ended, and every planned round was begun.
    Rounds,
    /// Every task planned was scheduled, and has exactly one fate.
    Tasks,
    /// Attempts are the sum of their outcomes.
    Attempts,
    /// Every attempt begun has exactly one end.
    AttemptsEnd,
    /// Every command begun has exactly one end.
    CommandsEnd,
    /// Every established connection has exactly one end.
    ConnectionsEnd,
    /// The client's TCP connections are those in the server's log.
    ServerConnections,
    /// The client's handshakes are the server's authentications.
    ServerAccepted,
    /// The client's refusals are the server's drops.
    ServerDrops,
    /// Every connection of a client under test begins and ends in the server's log.
    LogWhole,
    /// Every directory found belongs to a task that did not remove it.
    Inventory,
}

/// Whether a law holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LawStatus {
    /// Both sides balance.
    Holds,
    /// They do not.
    Broken,
    /// One side cannot be known on this target; said, and not judged.
    NotCheckable,
}

/// One law in one round (or in the run as a whole).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// Round; `None` for the run as a whole.
    pub round: Option<RoundId>,
    /// Strategy of the round.
    pub strategy: Option<StrategyName>,
    /// Left side; see [`Law::left`].
    pub left: u64,
    /// Right side; see [`Law::right`].
    pub right: u64,
    /// How much of a difference the events themselves explain (see `detail`).
    pub explained: u64,
    /// Whether this round balances.
    pub holds: bool,
    /// What was matched, what was not, and why; for a person.
    pub detail: Vec<String>,
}

/// One law.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Law {
    /// Which.
    pub id: LawId,
    /// What it says.
    pub description: String,
    /// What may differ all the same, and is counted as explained; `None` where nothing may.
    pub allowance: Option<String>,
    /// What the left side counts.
    pub left: String,
    /// What the right side counts.
    pub right: String,
    /// Whether it holds.
    pub status: LawStatus,
    /// Why it cannot be checked, when it cannot.
    pub reason: Option<String>,
    /// Round by round.
    pub balances: Vec<Balance>,
}

impl Law {
    fn new(id: LawId, description: &str, left: &str, right: &str, balances: Vec<Balance>) -> Law {
        Law {
            id,
            description: description.to_owned(),
            allowance: None,
            left: left.to_owned(),
            right: right.to_owned(),
            status: status_of(&balances),
            reason: None,
            balances,
        }
    }

    fn set_balances(&mut self, balances: Vec<Balance>) {
        self.status = status_of(&balances);
        self.balances = balances;
    }

    fn allowing(mut self, allowance: &str) -> Law {
        self.allowance = Some(allowance.to_owned());
        self
    }

    fn not_checkable(mut self, reason: &str) -> Law {
        self.status = LawStatus::NotCheckable;
        self.reason = Some(reason.to_owned());
        self.balances.clear();
        self
    }
}

fn status_of(balances: &[Balance]) -> LawStatus {
    if balances.iter().all(|balance| balance.holds) {
        LawStatus::Holds
    } else {
        LawStatus::Broken
    }
}

/// Checks every law.
#[must_use]
pub fn check(run: &RunSummary) -> Vec<Law> {
    let rounds = run.rounds();
    let equal = |id, description, left, right, sides: fn(&RoundSummary) -> (u64, u64)| {
        let balances = rounds
            .iter()
            .map(|round| {
                let (left, right) = sides(round);
                balance(round, left, right, 0, Vec::new())
            })
            .collect();
        Law::new(id, description, left, right, balances)
    };
    let mut laws = vec![
        ledger_intact(run),
        no_strays(run),
        rounds_complete(run),
        tasks(&rounds),
        equal(
            LawId::Attempts,
            "attempts = handshakes + banner_eof + connect_refused + connect_timeout + banner_timeout + \
             kex_failed + auth_failed + generator_fault + attempts_held + attempts_interrupted + client_left",
            "attempts",
            "sum of outcomes",
            |round| {
                let counts = &round.numbers.total.counts;
                (counts.attempts, counts.attempt_outcomes())
            },
        ),
        equal(
            LawId::AttemptsEnd,
            "every attempt begun has exactly one end",
            "attempts begun",
            "attempts ended",
            |round| {
                (
                    round.books.attempts_started,
                    round.books.attempts_ended_once,
                )
            },
        ),
        equal(
            LawId::CommandsEnd,
            "every command begun has exactly one end",
            "commands begun",
            "commands ended",
            |round| {
                (
                    round.books.commands_started,
                    round.books.commands_ended_once,
                )
            },
        ),
        equal(
            LawId::ConnectionsEnd,
            "every established connection has exactly one end",
            "handshakes",
            "connections ended",
            |round| {
                (
                    round.books.connections_made,
                    round.books.connections_ended_once,
                )
            },
        ),
    ];
    laws.extend(server::laws(run, &rounds));
    laws.extend(server::whole_log(&rounds));
    laws.push(inventory(run, &rounds));
    laws
}

/// The laws that are broken.
pub fn broken(laws: &[Law]) -> impl Iterator<Item = &Law> {
    laws.iter().filter(|law| law.status == LawStatus::Broken)
}

fn balance(
    round: &RoundSummary,
    left: u64,
    right: u64,
    explained: u64,
    detail: Vec<String>,
) -> Balance {
    Balance {
        round: Some(round.round),
        strategy: Some(round.strategy.clone()),
        left,
        right,
        explained,
        holds: left.abs_diff(right) <= explained,
        detail,
    }
}

fn whole_run(left: u64, right: u64, detail: Vec<String>) -> Balance {
    Balance {
        round: None,
        strategy: None,
        left,
        right,
        explained: 0,
        holds: left == right && detail.is_empty(),
        detail,
    }
}

fn ledger_intact(run: &RunSummary) -> Law {
    let ledger = &run.ledger;
    let mut detail = Vec::new();
    let mut fault = |count: u64, text: &str| {
        if count > 0 {
            detail.push(format!("{count} {text}"));
        }
    };
    fault(ledger.sequence_errors, "records out of sequence");
    fault(ledger.time_reversals, "records earlier than the one before");
    fault(ledger.after_close, "records after the end of the run");
    if !ledger.opened {
        detail.push("the first record is not the start of the run".to_owned());
    }
    if ledger.closed.is_none() {
        detail
            .push("the ledger was not closed: the run was killed or its disk filled up".to_owned());
    }
    let sound = ledger
        .records
        .saturating_sub(ledger.sequence_errors + ledger.time_reversals + ledger.after_close);
    Law::new(
        LawId::LedgerIntact,
        "the ledger is complete: sequence without gaps, time never backwards, opened and closed",
        "records",
        "records in order",
        vec![whole_run(ledger.records, sound, detail)],
    )
}

fn no_strays(run: &RunSummary) -> Law {
    let ledger = &run.ledger;
    let detail = ledger.stray_samples.clone();
    Law::new(
        LawId::NoStrayEvents,
        "every event names a round, task, attempt, connection or command that is open",
        "stray events",
        "none",
        vec![whole_run(ledger.stray_events, 0, detail)],
    )
}

fn rounds_complete(run: &RunSummary) -> Law {
    let ledger = &run.ledger;
    let mut detail = Vec::new();
    // A stopped run begins fewer rounds than planned; it says so elsewhere and its books still balance.
    if let (Some(manifest), Some(RunEnd::Complete)) = (&run.manifest, ledger.closed) {
        let scenario = &manifest.scenario;
        let planned = u64::from(scenario.rounds) * scenario.strategies.len() as u64;
        if planned != ledger.rounds_started {
            detail.push(format!(
                "{planned} rounds were planned, {} begun",
                ledger.rounds_started
            ));
        }
    }
    Law::new(
        LawId::Rounds,
        "every round begun has ended; a complete run has every planned round",
        "rounds begun",
        "rounds ended",
        vec![whole_run(
            ledger.rounds_started,
            ledger.rounds_ended,
            detail,
        )],
    )
}

fn tasks(rounds: &[&RoundSummary]) -> Law {
    let balances = rounds
        .iter()
        .map(|round| {
            let books = &round.books;
            let mut detail = Vec::new();
            if books.tasks_planned != books.tasks_scheduled {
                detail.push(format!(
                    "{} tasks were planned, {} scheduled",
                    books.tasks_planned, books.tasks_scheduled
                ));
            }
            let fates = round.numbers.tasks.fates();
            let mut line = balance(round, books.tasks_scheduled, fates, 0, detail);
            line.holds &= line.detail.is_empty() && books.tasks_ended_once == books.tasks_scheduled;
            line
        })
        .collect();
    Law::new(
        LawId::Tasks,
        "tasks_scheduled = tasks_succeeded + tasks_failed + tasks_interrupted + tasks_not_started, \
         and every task has exactly one end",
        "tasks_scheduled",
        "sum of fates",
        balances,
    )
}

fn inventory(run: &RunSummary, rounds: &[&RoundSummary]) -> Law {
    let available = run
        .manifest
        .as_ref()
        .is_some_and(|manifest| manifest.target.inventory_available);
    let balances: Vec<Balance> = rounds
        .iter()
        .filter_map(|round| {
            let Some(found) = round.numbers.leftovers else {
                // The target promised a listing: without one nothing is known to be in order. A server that was lost, and
                // a harness that was killed, could not give it.
                // Of a client under test nothing is looked for unless its scenario says what.
                let asked = run
                    .manifest
                    .as_ref()
                    .and_then(|manifest| manifest.scenario.program_of(&round.strategy))
                    .is_none_or(|program| program.leftovers.is_some());
                let expected =
                    available && asked && round.end.is_some_and(|end| end != RoundEnd::ServerLost);
                return expected.then(|| {
                    let detail =
                        vec!["job directories were not listed after this round".to_owned()];
                    let mut line = balance(round, 0, 0, 0, detail);
                    line.holds = false;
                    line
                });
            };
            let wrong = found.unexplained + found.reported_removed;
            let mut detail = Vec::new();
            if found.unexplained > 0 {
                detail.push(format!(
                    "{} directories belong to no task",
                    found.unexplained
                ));
            }
            if found.reported_removed > 0 {
                detail.push(format!(
                    "{} directories are there although the client was told they were removed",
                    found.reported_removed
                ));
            }
            Some(balance(round, wrong, 0, 0, detail))
        })
        .collect();
    let taken = balances.len();
    let law = Law::new(
        LawId::Inventory,
        "every job directory found belongs to a task of the run, and none was reported removed",
        "unexplained directories",
        "none",
        balances,
    );
    match (taken, available) {
        (0, false) => law.not_checkable("job directories cannot be listed on this target"),
        (0, true) => law.not_checkable("no round came to the listing of its job directories"),
        _ => law,
    }
}
