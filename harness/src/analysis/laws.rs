//! The conservation laws: both sides' numbers, round by round, and whether they balance.
//!
//! A run whose books do not balance is inconclusive, whatever its gates say. Owns the comparison; counting
//! is `summary`'s and `server_log`'s.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::summary::{ClientPorts, PortUse, RoundSummary, RunSummary};
use crate::analysis::server_log::ServerLogCounts;
use crate::ids::{RoundId, StrategyName};
use crate::ledger::RunEnd;

/// Ports printed in full for each side of a mismatch.
const PORTS_SHOWN: usize = 5;

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
    /// The client's handshakes are the server's authentications.
    ServerAccepted,
    /// The client's refusals are the server's drops.
    ServerDrops,
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
            left: left.to_owned(),
            right: right.to_owned(),
            status: if balances.iter().all(|balance| balance.holds) {
                LawStatus::Holds
            } else {
                LawStatus::Broken
            },
            reason: None,
            balances,
        }
    }

    fn not_checkable(mut self, reason: &str) -> Law {
        self.status = LawStatus::NotCheckable;
        self.reason = Some(reason.to_owned());
        self.balances.clear();
        self
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
    vec![
        ledger_intact(run),
        no_strays(run),
        rounds_complete(run),
        tasks(&rounds),
        equal(
            LawId::Attempts,
            "attempts = handshakes + banner_eof + connect_refused + connect_timeout + banner_timeout + \
             kex_failed + auth_failed + generator_fault + attempts_interrupted",
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
        server_accepted(run, &rounds),
        server_drops(run, &rounds),
        inventory(run, &rounds),
    ]
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
    let mut detail = ledger.stray_samples.clone();
    if ledger.unknown_server_logs > 0 {
        detail.push(format!(
            "server log given for {} rounds that are not in the ledger",
            ledger.unknown_server_logs
        ));
    }
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

/// What the two sides of one server law count.
#[derive(Clone, Copy)]
enum Side {
    Accepted,
    Drops,
}

impl Side {
    fn client(self, port: &PortUse) -> u32 {
        match self {
            Side::Accepted => port.handshakes,
            Side::Drops => port.refusals,
        }
    }

    /// Attempts that the server may have counted although the client did not.
    fn maybe(self, port: &PortUse) -> u32 {
        match self {
            Side::Accepted => port.maybe_accepted,
            Side::Drops => port.maybe_dropped,
        }
    }

    fn server(self, log: &ServerLogCounts) -> (u64, &BTreeMap<u16, u32>) {
        match self {
            Side::Accepted => (log.accepted, &log.accepted_ports),
            Side::Drops => (log.server_drops(), &log.drop_ports),
        }
    }
}

fn server_accepted(run: &RunSummary, rounds: &[&RoundSummary]) -> Law {
    let law = |balances| {
        Law::new(
            LawId::ServerAccepted,
            "handshakes = server_accepted (sshd's `Accepted` lines); attempts that the client gave up during \
             authentication may stand on the server's side only",
            "handshakes (client)",
            "server_accepted (sshd's log)",
            balances,
        )
    };
    match &run.manifest {
        Some(manifest) if manifest.target.log_available => {
            law(reconcile(run, rounds, Side::Accepted))
        }
        _ => law(Vec::new()).not_checkable("the server's log cannot be read on this target"),
    }
}

fn server_drops(run: &RunSummary, rounds: &[&RoundSummary]) -> Law {
    let law = |balances| {
        Law::new(
            LawId::ServerDrops,
            "banner_eof = server_drops (sshd's `drop connection` lines); attempts that the client gave up before \
             the identification string may stand on the server's side only, and connections that sshd says it \
             could not serve on the client's side only",
            "banner_eof (client)",
            "server_drops (sshd's log)",
            balances,
        )
    };
    match &run.manifest {
        Some(manifest) if manifest.target.log_available && manifest.target.log_has_every_drop => {
            law(reconcile(run, rounds, Side::Drops))
        }
        Some(manifest) if manifest.target.log_available => law(Vec::new()).not_checkable(
            "this sshd does not log every drop (`LogVerbose` needs OpenSSH 8.5 or later)",
        ),
        _ => law(Vec::new()).not_checkable("the server's log cannot be read on this target"),
    }
}

fn reconcile(run: &RunSummary, rounds: &[&RoundSummary], side: Side) -> Vec<Balance> {
    let keeps_ports = run
        .manifest
        .as_ref()
        .is_some_and(|manifest| manifest.target.network_path.keeps_source_port());
    rounds
        .iter()
        .map(|round| match &round.server_log {
            None => {
                // The target promised its log. A side that is missing cannot balance.
                let client = client_total(&round.books.ports, side);
                let detail = vec!["the server's log of this round was not read".to_owned()];
                let mut line = balance(round, client, 0, 0, detail);
                line.holds = false;
                line
            }
            Some(log) if keeps_ports => by_port(round, log, side),
            Some(log) => by_count(round, log, side),
        })
        .collect()
}

fn client_total(ports: &ClientPorts, side: Side) -> u64 {
    let known: u64 = ports
        .by_port
        .values()
        .map(|port| u64::from(side.client(port)))
        .sum();
    known + u64::from(side.client(&ports.without_port))
}

/// Joins each attempt to the server's line by source port.
fn by_port(round: &RoundSummary, log: &ServerLogCounts, side: Side) -> Balance {
    let ports = &round.books.ports;
    let client = client_total(ports, side);
    let (server, server_ports) = side.server(log);
    let mut matched = 0u64;
    let mut client_only = Vec::new();
    let mut server_only = Vec::new();
    let mut given_up = 0u64;
    let mut unserved = 0u64;
    let nothing = PortUse::default();
    let all_ports: std::collections::BTreeSet<u16> = ports
        .by_port
        .keys()
        .chain(server_ports.keys())
        .copied()
        .collect();
    for port in all_ports {
        let mine = ports.by_port.get(&port).unwrap_or(&nothing);
        let theirs = server_ports.get(&port).copied().unwrap_or(0);
        let ours = side.client(mine);
        matched += u64::from(ours.min(theirs));
        if theirs > ours {
            let explained = (theirs - ours).min(side.maybe(mine));
            given_up += u64::from(explained);
            for _ in 0..theirs - ours - explained {
                server_only.push(port);
            }
        } else if ours > theirs {
            let missing = ours - theirs;
            // sshd admitted it (`Connection from`) and the session process ended before its identification
            // string: a crash or a failed exec. The server's log accounts for it, though not as a drop.
            let admitted = match side {
                Side::Drops => log
                    .connection_ports
                    .get(&port)
                    .copied()
                    .unwrap_or(0)
                    .saturating_sub(mine.handshakes)
                    .min(missing),
                Side::Accepted => 0,
            };
            unserved += u64::from(admitted);
            for _ in 0..missing - admitted {
                client_only.push(port);
            }
        }
    }
    // Attempts whose port the client never learnt can stand for any line.
    let without_port = u64::from(side.maybe(&ports.without_port));
    let server_left = (server_only.len() as u64).saturating_sub(without_port);
    given_up += server_only.len() as u64 - server_left;
    let nameless = u64::from(side.client(&ports.without_port));
    // fork(2) and descriptor failures are logged without a port.
    let resource = match side {
        Side::Drops => (client_only.len() as u64 + nameless).min(log.resource_failures()),
        Side::Accepted => 0,
    };
    unserved += resource;
    let client_left = client_only.len() as u64 + nameless - resource;
    let mut detail = vec![format!("{matched} matched by source port")];
    explain(&mut detail, given_up, unserved);
    if client_left > 0 {
        detail.push(format!(
            "{client_left} client only: {}",
            port_list(&client_only)
        ));
    }
    if server_left > 0 {
        detail.push(format!(
            "{server_left} server only: {}",
            port_list(&server_only)
        ));
    }
    causes(&mut detail, log, side, client_left, server_left);
    let mut line = balance(round, client, server, given_up + unserved, detail);
    // Totals can agree by accident while the ports differ.
    line.holds = client_left == 0 && server_left == 0;
    line
}

/// Through a proxy sshd does not see the client's ports: only the counts can be compared.
fn by_count(round: &RoundSummary, log: &ServerLogCounts, side: Side) -> Balance {
    let ports = &round.books.ports;
    let client = client_total(ports, side);
    let (server, _) = side.server(log);
    let maybe: u64 = ports
        .by_port
        .values()
        .map(|port| u64::from(side.maybe(port)))
        .sum::<u64>()
        + u64::from(side.maybe(&ports.without_port));
    let given_up = server.saturating_sub(client).min(maybe);
    let unserved = match side {
        Side::Drops => client.saturating_sub(server).min(log.resource_failures()),
        Side::Accepted => 0,
    };
    let mut detail =
        vec!["compared by count: this network path does not keep source ports".to_owned()];
    explain(&mut detail, given_up, unserved);
    let client_left = client.saturating_sub(server) - unserved;
    let server_left = server.saturating_sub(client) - given_up;
    causes(&mut detail, log, side, client_left, server_left);
    balance(round, client, server, given_up + unserved, detail)
}

fn explain(detail: &mut Vec<String>, given_up: u64, unserved: u64) {
    if given_up > 0 {
        detail.push(format!(
            "{given_up} server only, explained: the client had given up the attempt"
        ));
    }
    if unserved > 0 {
        detail.push(format!(
            "{unserved} client only, explained: sshd took the connection but could not serve it"
        ));
    }
}

/// What may lie behind a difference, from what else the log says.
fn causes(
    detail: &mut Vec<String>,
    log: &ServerLogCounts,
    side: Side,
    client_only: u64,
    server_only: u64,
) {
    if client_only > 0 {
        let mut seen = String::new();
        let witnesses = [
            (log.grace_timeouts, "grace timeouts"),
            (log.crashes, "crashed sessions"),
            (log.accept_failures, "accept failures"),
            (log.restarts, "listener starts"),
            (
                log.rate_limited_drops,
                "drops held back by the log's rate limiter",
            ),
        ];
        for (count, what) in witnesses.into_iter().filter(|(count, _)| *count > 0) {
            let _ = write!(
                seen,
                "{}{count} {what}",
                if seen.is_empty() { "" } else { ", " }
            );
        }
        if seen.is_empty() {
            seen.push_str("nothing else; the log is cut off, or something between client and sshd closed the connection");
        }
        detail.push(format!("the log also shows: {seen}"));
    }
    if server_only > 0 {
        detail.push(match side {
            Side::Accepted => {
                "sshd served logins that are not the harness's: another client uses this server".to_owned()
            }
            Side::Drops => {
                "sshd refused connections that are not the harness's: another client uses this server".to_owned()
            }
        });
    }
}

fn port_list(ports: &[u16]) -> String {
    if ports.is_empty() {
        return "ports unknown".to_owned();
    }
    let shown: Vec<String> = ports
        .iter()
        .take(PORTS_SHOWN)
        .map(|port| format!("port {port}"))
        .collect();
    let more = ports.len().saturating_sub(PORTS_SHOWN);
    if more > 0 {
        format!("{} and {more} more", shown.join(", "))
    } else {
        shown.join(", ")
    }
}

fn inventory(run: &RunSummary, rounds: &[&RoundSummary]) -> Law {
    let balances: Vec<Balance> = rounds
        .iter()
        .filter_map(|round| {
            let found = round.numbers.leftovers?;
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
    let available = run
        .manifest
        .as_ref()
        .is_some_and(|manifest| manifest.target.inventory_available);
    if taken == 0 && (!available || rounds.is_empty()) {
        return law.not_checkable("job directories cannot be listed on this target");
    }
    law
}
