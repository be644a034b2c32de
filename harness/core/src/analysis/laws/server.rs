//! The server's laws: the client's attempts, joined to sshd's log, balance.
//!
//! Owns the wording and what each law needs; the tallies are `reconciliation`'s.

use super::{Balance, Law, LawId, balance};
use crate::analysis::reconciliation::{Joined, Kind, Sides};
use crate::analysis::summary::{RoundSummary, RunSummary};
use crate::join::Views;
use crate::manifest::ServerKind;

/// Cases of a mismatch told in full, for each side.
const TOLD: usize = 5;

/// The laws that hold the client's side against sshd's log, one for each kind of event.
pub(super) fn laws(run: &RunSummary, rounds: &[&RoundSummary]) -> [Law; 3] {
    [Kind::Connections, Kind::Handshakes, Kind::Refusals].map(|kind| law(run, rounds, kind))
}

fn law(run: &RunSummary, rounds: &[&RoundSummary], kind: Kind) -> Law {
    let mut law = worded(kind);
    let server = run
        .manifest
        .as_ref()
        .map_or(Views::NONE, |manifest| manifest.target.views());
    let somebody_elses = run
        .manifest
        .as_ref()
        .is_some_and(|manifest| manifest.target.kind == ServerKind::External);
    if somebody_elses && !server.server {
        return law.not_checkable(
            "the log of somebody else's server was not given (`--log`, `--log-command`), or is no witness (see the warnings)",
        );
    }
    if let Some(reason) = server.missing(kind.needs()) {
        return law.not_checkable(reason);
    }
    let told_twice: Vec<&&RoundSummary> = rounds
        .iter()
        .filter(|round| round.numbers.clients.is_none())
        .collect();
    if told_twice.is_empty() && !rounds.is_empty() {
        return law.not_checkable("a client under test keeps no record of its own");
    }
    let balances: Vec<Balance> = told_twice
        .into_iter()
        .map(|round| {
            let Some((books, sides)) = round
                .reconciliation
                .as_ref()
                .and_then(|books| Some((books, kind.of(books)?)))
            else {
                // The server promised its log. A side that is missing cannot balance.
                let detail = vec!["the server's log of this round was not read".to_owned()];
                let mut line = balance(round, client_total(round, kind), 0, 0, detail);
                line.holds = false;
                return line;
            };
            let explained = sides.explained.values().sum();
            let detail = detail(sides, books.joined);
            let mut line = balance(round, sides.client, sides.server, explained, detail);
            line.holds = sides.balance();
            line
        })
        .collect();
    if somebody_elses && balances.iter().any(|balance| !balance.holds) {
        return law.not_checkable(&not_whole(rounds, kind));
    }
    law.set_balances(balances);
    law
}

/// Why the log of a server that somebody else runs is no witness against the client: nobody promised that it is whole, and
/// syslog, journald and whoever carries it may leave lines out.
fn not_whole(rounds: &[&RoundSummary], kind: Kind) -> String {
    let (mut counted, mut missing, mut more, mut unread) = (0, 0, 0, 0);
    let mut first = None;
    for round in rounds {
        match round.reconciliation.as_ref().map(|books| kind.of(books)) {
            Some(Some(sides)) => {
                counted += sides.client;
                missing += sides.client_only;
                more += sides.server_only;
                first = first.or(sides.server_only_first.first());
            }
            Some(None) | None => unread += 1,
        }
    }
    let mut reasons = Vec::new();
    if missing > 0 {
        reasons.push(format!(
            "{missing} of the client's {counted} are not in the server's log, which is somebody else's and need not be whole: \
             syslog and journald leave lines out under load, and several servers may share one address"
        ));
    }
    if more > 0 {
        let first = first.map_or("", String::as_str);
        reasons.push(format!(
            "the server's log has {more} that look like the client's but match none of its {counted}: another client may have used \
             the same port (the first: {first})"
        ));
    }
    if unread > 0 {
        reasons.push(format!(
            "the server's log of {unread} of {} rounds was not had to its end",
            rounds.len()
        ));
    }
    reasons.join("; ")
}

/// Of a client that keeps no record the log is the only witness: it must at least be whole in itself.
pub(super) fn whole_log(rounds: &[&RoundSummary]) -> Option<Law> {
    let rounds: Vec<&&RoundSummary> = rounds
        .iter()
        .filter(|round| round.numbers.clients.is_some())
        .collect();
    if rounds.is_empty() {
        return None;
    }
    let balances = rounds
        .into_iter()
        .map(|round| {
            let books = &round.books;
            let Some(log) = &round.server_log else {
                let detail = vec!["the server's log of this round was not read".to_owned()];
                let mut line = balance(round, 0, 0, 0, detail);
                line.holds = false;
                return line;
            };
            let mut detail = Vec::new();
            if books.connections_unannounced > 0 {
                detail.push(format!(
                    "{} logins of connections whose beginning is not in the log",
                    books.connections_unannounced
                ));
            }
            let open = books.connections_logged - books.connections_settled.min(books.connections_logged);
            let explained = open.min(log.crashes + log.grace_timeouts);
            if explained > 0 {
                detail.push(format!(
                    "{explained} explained by crashed sessions and grace timeouts, which name no port"
                ));
            }
            let mut line = balance(
                round,
                books.connections_logged,
                books.connections_settled,
                explained,
                detail,
            );
            line.holds &= books.connections_unannounced == 0;
            line
        })
        .collect();
    Some(
        Law::new(
            LawId::LogWhole,
            "every connection in sshd's log begins and ends there",
            "connections that begin (sshd's log)",
            "… that were dropped, logged in, or have an end before that",
            balances,
        )
        .allowing("connections of crashed sessions, and those that LoginGraceTime ended, may have no end of their own"),
    )
}

fn client_total(round: &RoundSummary, kind: Kind) -> u64 {
    let counts = &round.numbers.total.counts;
    match kind {
        Kind::Connections => counts.attempts,
        Kind::Handshakes => counts.handshakes,
        Kind::Refusals => counts.banner_eof,
    }
}

/// The law, without its balances.
fn worded(kind: Kind) -> Law {
    let (id, description, client, server, allowance) = match kind {
        Kind::Connections => (
            LawId::ServerConnections,
            "TCP connections = connections in sshd's log, admitted and dropped",
            "TCP connections (client)",
            "`Connection from` and drop lines (sshd's log)",
            "connections that sshd says it could not serve, those that the kernel's TCP_INFO shows never to have come out \
             of a full listen queue, and those given up while they lay in it (no more than it holds) may stand on the \
             client's side only",
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
            "banner_eof = server_drops + listen_queue_refused + connections that sshd could not serve",
            "banner_eof (client)",
            "server_drops (sshd's log)",
            "attempts that the client gave up before the identification string may stand on the server's side only; \
             connections that the kernel refused since sshd's listen queue was full (TCP_INFO of each), that sshd says it \
             could not serve, and those it admitted whose process ended before the identification string, on the \
             client's side only",
        ),
    };
    Law::new(id, description, client, server, Vec::new()).allowing(allowance)
}

fn detail(sides: &Sides, joined: Joined) -> Vec<String> {
    let mut detail = vec![match joined {
        Joined::SourcePort => format!("{} matched by source port", sides.matched),
        Joined::Count => {
            "compared by count: this network path does not keep source ports".to_owned()
        }
    }];
    for (why, count) in &sides.explained {
        detail.push(format!("{count} {}", why.as_str()));
    }
    let mut only = |side: &str, count: u64, first: &[String]| {
        if count > 0 {
            let told = first.len().min(TOLD);
            let which = match (told, count > told as u64) {
                (0, _) => "",
                (_, false) => ":",
                (_, true) => ", the first of them:",
            };
            detail.push(format!("{count} {side} only{which}"));
            detail.extend(first[..told].iter().map(|case| format!("  {case}")));
        }
    };
    only("client", sides.client_only, &sides.client_only_first);
    only("server", sides.server_only, &sides.server_only_first);
    detail.extend(sides.suspects.iter().cloned());
    detail
}
