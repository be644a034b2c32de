//! The server's laws: each of the client's attempts is joined to a line of sshd's log.
//!
//! By source port where the network path keeps it, otherwise by count, saying so. Owns what explains a
//! difference; what is not explained breaks the law.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Balance, Law, LawId, balance};
use crate::analysis::server_log::ServerLogCounts;
use crate::analysis::summary::{ClientPorts, PortUse, RoundSummary, RunSummary};

/// Ports printed in full for each side of a mismatch.
const PORTS_SHOWN: usize = 5;

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

pub(super) fn server_accepted(run: &RunSummary, rounds: &[&RoundSummary]) -> Law {
    let law = |balances| {
        Law::new(
            LawId::ServerAccepted,
            "handshakes = server_accepted",
            "handshakes (client)",
            "server_accepted (sshd's log)",
            balances,
        )
        .allowing("attempts that the client gave up during authentication may stand on the server's side only")
    };
    match &run.manifest {
        Some(manifest) if manifest.target.log_available => {
            law(reconcile(run, rounds, Side::Accepted))
        }
        _ => law(Vec::new()).not_checkable("the server's log cannot be read on this target"),
    }
}

pub(super) fn server_drops(run: &RunSummary, rounds: &[&RoundSummary]) -> Law {
    let law = |balances| {
        Law::new(
            LawId::ServerDrops,
            "banner_eof = server_drops",
            "banner_eof (client)",
            "server_drops (sshd's log)",
            balances,
        )
        .allowing(
            "attempts that the client gave up before the identification string may stand on the server's side only, \
             connections that sshd says it could not serve on the client's side only",
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
    let all_ports: BTreeSet<u16> = ports
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
