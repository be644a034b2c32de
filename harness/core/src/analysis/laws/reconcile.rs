//! The server's laws: each of the client's attempts is joined to a line of sshd's log.
//!
//! By source port where the network path keeps it, otherwise by count, saying so. Owns what explains a difference;
//! what is not explained breaks the law, and is shown with the first few cases in full.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Balance, Law, LawId, balance};
use crate::analysis::server_log::{PortLines, ServerLogCounts};
use crate::analysis::summary::{AttemptNote, PortUse, RoundSummary, RunSummary};
use crate::ids::RoundId;

/// Cases of a mismatch shown in full, for each side.
const SHOWN: usize = 5;

/// How attempts were joined to log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Joined {
    /// One by one, by the client's TCP port.
    SourcePort,
    /// Totals only: the network path does not keep source ports.
    Count,
}

/// Why one side may stand alone without an error in the books.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Explanation {
    /// Server only: the client had given up the attempt by its own deadline, or the run was stopped.
    ClientGaveUp,
    /// Client only: sshd could not fork (`fork: …`); the client sees a close without text.
    ForkFailed,
    /// Client only: sshd had no descriptor for the connection's start-up pipe.
    NoDescriptor,
    /// Client only: admitted (`Connection from`), but its process ended before the identification string: a crash, or
    /// a program that could not be executed.
    SessionEnded,
    /// Client only: still in the kernel's listen queue when the client gave up; sshd never saw it.
    NeverAccepted,
}

impl Explanation {
    /// For a person.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Explanation::ClientGaveUp => "server only: the client had given up the attempt",
            Explanation::ForkFailed => "client only: sshd could not fork",
            Explanation::NoDescriptor => "client only: sshd had no descriptor left",
            Explanation::SessionEnded => {
                "client only: admitted, but its process ended before the identification string"
            }
            Explanation::NeverAccepted => {
                "client only: in the kernel's listen queue when the client gave up"
            }
        }
    }
}

/// Both sides of one thing that client and server count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sides {
    /// Counted by the client.
    pub client: u64,
    /// Counted in the server's log.
    pub server: u64,
    /// Joined to each other.
    pub matched: u64,
    /// On one side only, and why that is in order.
    pub explained: BTreeMap<Explanation, u64>,
    /// On the client's side only, unexplained.
    pub client_only: u64,
    /// The first of them.
    pub client_only_first: Vec<String>,
    /// On the server's side only, unexplained.
    pub server_only: u64,
    /// The first of them.
    pub server_only_first: Vec<String>,
    /// What else the log shows that may lie behind what is unexplained.
    pub suspects: Vec<String>,
}

impl Sides {
    /// Whether nothing is unexplained. Totals can agree by accident while the cases differ.
    #[must_use]
    pub fn balance(&self) -> bool {
        self.client_only == 0 && self.server_only == 0
    }

    fn explain(&mut self, why: Explanation, count: u64) {
        if count > 0 {
            *self.explained.entry(why).or_default() += count;
        }
    }

    fn detail(&self, joined: Joined) -> Vec<String> {
        let mut detail = vec![match joined {
            Joined::SourcePort => format!("{} matched by source port", self.matched),
            Joined::Count => {
                "compared by count: this network path does not keep source ports".to_owned()
            }
        }];
        for (why, count) in &self.explained {
            detail.push(format!("{count} {}", why.as_str()));
        }
        let mut only = |side: &str, count: u64, first: &[String]| {
            if count > 0 {
                let more = count.saturating_sub(first.len() as u64);
                let which = match (first.is_empty(), more) {
                    (true, _) => "",
                    (false, 0) => ":",
                    (false, _) => ", the first of them:",
                };
                detail.push(format!("{count} {side} only{which}"));
                detail.extend(first.iter().map(|case| format!("  {case}")));
            }
        };
        only("client", self.client_only, &self.client_only_first);
        only("server", self.server_only, &self.server_only_first);
        detail.extend(self.suspects.iter().cloned());
        detail
    }
}

/// One round's attempts beside sshd's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reconciliation {
    /// How they were joined.
    pub joined: Joined,
    /// Attempts that stood as TCP connections, and connections sshd logged (`Connection from` and drops).
    pub connections: Sides,
    /// Handshakes, and authentications.
    pub handshakes: Sides,
    /// Refusals, and drops; `null` where the log does not hold every drop.
    pub refusals: Option<Sides>,
}

/// What the two sides of one comparison count.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Connections,
    Handshakes,
    Refusals,
}

impl Kind {
    fn client(self, port: &PortUse) -> u32 {
        match self {
            Kind::Connections => port.reached,
            Kind::Handshakes => port.handshakes,
            Kind::Refusals => port.refusals,
        }
    }

    /// Attempts that the server may have counted although the client did not.
    fn maybe(self, port: &PortUse) -> u32 {
        match self {
            Kind::Connections => port.maybe_reached,
            Kind::Handshakes => port.maybe_accepted,
            Kind::Refusals => port.maybe_dropped,
        }
    }

    fn server(self, lines: &PortLines) -> u32 {
        match self {
            Kind::Connections => lines.connections + lines.drops,
            Kind::Handshakes => lines.accepted,
            Kind::Refusals => lines.drops,
        }
    }

    fn of(self, books: &Reconciliation) -> Option<&Sides> {
        match self {
            Kind::Connections => Some(&books.connections),
            Kind::Handshakes => Some(&books.handshakes),
            Kind::Refusals => books.refusals.as_ref(),
        }
    }

    /// Whether a log without some of the drops says nothing.
    fn needs_every_drop(self) -> bool {
        match self {
            Kind::Connections | Kind::Refusals => true,
            Kind::Handshakes => false,
        }
    }

    /// The law, without its balances.
    fn worded(self) -> Law {
        let (id, description, client, server, allowance) = match self {
            Kind::Connections => (
                LawId::ServerConnections,
                "TCP connections = connections in sshd's log, admitted and dropped",
                "TCP connections (client)",
                "`Connection from` and drop lines (sshd's log)",
                "connections that sshd says it could not serve, and those given up while in the kernel's listen queue, \
                 may stand on the client's side only",
            ),
            Kind::Handshakes => (
                LawId::ServerAccepted,
                "handshakes = server_accepted",
                "handshakes (client)",
                "server_accepted (sshd's log)",
                "attempts that the client gave up during authentication may stand on the server's side only",
            ),
            Kind::Refusals => (
                LawId::ServerDrops,
                "banner_eof = server_drops",
                "banner_eof (client)",
                "server_drops (sshd's log)",
                "attempts that the client gave up before the identification string may stand on the server's side only; \
                 connections that sshd says it could not serve, and those it admitted whose process ended before the \
                 identification string, on the client's side only",
            ),
        };
        Law::new(id, description, client, server, Vec::new()).allowing(allowance)
    }

    fn server_total(self, log: &ServerLogCounts) -> u64 {
        match self {
            Kind::Connections => log.connections + log.server_drops(),
            Kind::Handshakes => log.accepted,
            Kind::Refusals => log.server_drops(),
        }
    }
}

/// Joins one round's attempts to its log; `None` without a log.
#[must_use]
pub fn reconcile(run: &RunSummary, round: &RoundSummary) -> Option<Reconciliation> {
    let manifest = run.manifest.as_ref()?;
    let log = round.server_log.as_ref()?;
    let joined = if manifest.target.network_path.keeps_source_port() {
        Joined::SourcePort
    } else {
        Joined::Count
    };
    let sides = |kind| match joined {
        Joined::SourcePort => by_port(round, log, kind),
        Joined::Count => by_count(round, log, kind),
    };
    Some(Reconciliation {
        joined,
        connections: sides(Kind::Connections),
        handshakes: sides(Kind::Handshakes),
        refusals: manifest
            .target
            .log_has_every_drop
            .then(|| sides(Kind::Refusals)),
    })
}

fn by_port(round: &RoundSummary, log: &ServerLogCounts, kind: Kind) -> Sides {
    let ports = &round.books.ports;
    let mut sides = Sides {
        client: client_total(round, kind),
        server: kind.server_total(log),
        ..Sides::default()
    };
    let (no_use, no_lines) = (PortUse::default(), PortLines::default());
    let all: BTreeSet<u16> = ports
        .by_port
        .keys()
        .chain(log.ports.keys())
        .copied()
        .collect();
    let mut client_only: Vec<(u16, Option<AttemptNote>)> = Vec::new();
    let mut server_only: Vec<u16> = Vec::new();
    for port in all {
        let mine = ports.by_port.get(&port).unwrap_or(&no_use);
        let lines = log.ports.get(&port).unwrap_or(&no_lines);
        let (ours, theirs) = (kind.client(mine), kind.server(lines));
        sides.matched += u64::from(ours.min(theirs));
        if theirs > ours {
            let given_up = (theirs - ours).min(kind.maybe(mine));
            sides.explain(Explanation::ClientGaveUp, u64::from(given_up));
            server_only.extend((0..theirs - ours - given_up).map(|_| port));
        } else if ours > theirs {
            let missing = ours - theirs;
            // sshd admitted it and its process ended before the identification string: the log accounts for it,
            // though not as a drop.
            let ended = match kind {
                Kind::Refusals => lines
                    .connections
                    .saturating_sub(mine.reached.saturating_sub(mine.refusals))
                    .min(missing),
                Kind::Connections | Kind::Handshakes => 0,
            };
            sides.explain(Explanation::SessionEnded, u64::from(ended));
            let queued = match kind {
                Kind::Connections => mine.maybe_queued.min(missing - ended),
                Kind::Handshakes | Kind::Refusals => 0,
            };
            sides.explain(Explanation::NeverAccepted, u64::from(queued));
            client_only.extend((0..missing - ended - queued).map(|_| (port, mine.first)));
        }
    }
    // Attempts whose port the client never learnt can stand for any line.
    let nameless = u64::from(kind.client(&ports.without_port));
    let maybe = u64::from(kind.maybe(&ports.without_port)).min(server_only.len() as u64);
    sides.explain(Explanation::ClientGaveUp, maybe);
    sides.server_only = server_only.len() as u64 - maybe;
    sides.client_only = client_only.len() as u64 + nameless;
    explain_unserved(&mut sides, log, kind);
    if sides.client_only > 0 {
        sides.client_only_first = client_only
            .iter()
            .take(SHOWN)
            .map(|(port, note)| match note {
                Some(note) => note.told(round.started),
                None => format!("port {port}"),
            })
            .collect();
    }
    if sides.server_only > 0 {
        sides.server_only_first = server_only
            .iter()
            .take(SHOWN)
            .map(|port| match log.ports.get(port) {
                Some(lines) => lines.told(*port),
                None => format!("port {port}"),
            })
            .collect();
    }
    suspect(&mut sides, log, kind);
    sides
}

/// Through a proxy sshd does not see the client's ports: only the counts can be compared.
fn by_count(round: &RoundSummary, log: &ServerLogCounts, kind: Kind) -> Sides {
    let ports = &round.books.ports;
    let (client, server) = (client_total(round, kind), kind.server_total(log));
    let mut sides = Sides {
        client,
        server,
        matched: client.min(server),
        ..Sides::default()
    };
    let sum = |of: fn(Kind, &PortUse) -> u32| {
        ports
            .by_port
            .values()
            .chain([&ports.without_port])
            .map(|port| u64::from(of(kind, port)))
            .sum::<u64>()
    };
    let given_up = server.saturating_sub(client).min(sum(Kind::maybe));
    sides.explain(Explanation::ClientGaveUp, given_up);
    sides.server_only = server.saturating_sub(client) - given_up;
    sides.client_only = client.saturating_sub(server);
    if kind == Kind::Connections {
        let queued = sides.client_only.min(sum(|_, port| port.maybe_queued));
        sides.explain(Explanation::NeverAccepted, queued);
        sides.client_only -= queued;
    }
    explain_unserved(&mut sides, log, kind);
    suspect(&mut sides, log, kind);
    sides
}

fn client_total(round: &RoundSummary, kind: Kind) -> u64 {
    let ports = &round.books.ports;
    ports
        .by_port
        .values()
        .chain([&ports.without_port])
        .map(|port| u64::from(kind.client(port)))
        .sum()
}

/// fork(2) and descriptor failures are logged without a port: they explain as many cases as there are lines.
fn explain_unserved(sides: &mut Sides, log: &ServerLogCounts, kind: Kind) {
    if kind == Kind::Handshakes {
        return;
    }
    for (why, lines) in [
        (Explanation::ForkFailed, log.fork_failures),
        (Explanation::NoDescriptor, log.pipe_failures),
    ] {
        let explained = sides.client_only.min(lines);
        sides.explain(why, explained);
        sides.client_only -= explained;
    }
}

/// What may lie behind a difference, from what else the log says.
fn suspect(sides: &mut Sides, log: &ServerLogCounts, kind: Kind) {
    if sides.client_only > 0 {
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
        let seen: Vec<String> = witnesses
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        sides.suspects.push(if seen.is_empty() {
            "the log shows nothing that explains it: it is cut off, or something between client and sshd closed the \
             connection"
                .to_owned()
        } else {
            format!("the log also shows: {}", seen.join(", "))
        });
    }
    if sides.server_only > 0 {
        let what = match kind {
            Kind::Connections => "saw connections",
            Kind::Handshakes => "served logins",
            Kind::Refusals => "refused connections",
        };
        sides.suspects.push(format!(
            "sshd {what} that are not the harness's: another client uses this server"
        ));
    }
}

/// The laws that hold the client's side against sshd's log, one for each kind of event.
pub(super) fn laws(
    run: &RunSummary,
    rounds: &[&RoundSummary],
    joined: &BTreeMap<RoundId, Reconciliation>,
) -> [Law; 3] {
    [Kind::Connections, Kind::Handshakes, Kind::Refusals].map(|kind| law(run, rounds, joined, kind))
}

fn law(
    run: &RunSummary,
    rounds: &[&RoundSummary],
    joined: &BTreeMap<RoundId, Reconciliation>,
    kind: Kind,
) -> Law {
    let mut law = kind.worded();
    match &run.manifest {
        Some(manifest) if !manifest.target.log_available => {
            return law.not_checkable("the server's log cannot be read on this target");
        }
        None => return law.not_checkable("the server's log cannot be read on this target"),
        Some(manifest) if kind.needs_every_drop() && !manifest.target.log_has_every_drop => {
            return law.not_checkable("this sshd does not log every drop");
        }
        Some(_) => {}
    }
    let balances: Vec<Balance> = rounds
        .iter()
        .map(|round| {
            let Some((books, sides)) = joined
                .get(&round.round)
                .and_then(|books| Some((books, kind.of(books)?)))
            else {
                // The target promised its log. A side that is missing cannot balance.
                let detail = vec!["the server's log of this round was not read".to_owned()];
                let mut line = balance(round, client_total(round, kind), 0, 0, detail);
                line.holds = false;
                return line;
            };
            let explained = sides.explained.values().sum();
            let detail = sides.detail(books.joined);
            let mut line = balance(round, sides.client, sides.server, explained, detail);
            line.holds = sides.balance();
            line
        })
        .collect();
    law.set_balances(balances);
    law
}
