//! A round's attempts beside sshd's log: what stands on both sides, what on one, and why.
//!
//! Attempts arrive joined (`join`); here they are tallied, by attempt where the network path keeps source ports, else by
//! count. Owns the tallies and the first few cases in full; what is not explained breaks a law (`laws`).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::witness::KernelCounters;
use crate::instant::RunInstant;
use crate::join::{Account, Attempt, ClientView, Joined as JoinedAttempts, Seen, Views};
use crate::server_log::ServerLogCounts;
use crate::vocabulary::AttemptOutcome;

/// Cases of a mismatch kept, for each side.
const KEPT: usize = 100;

/// Addresses of other clients that are told apart.
const ADDRESSES: usize = 20;

/// How attempts were joined to log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Joined {
    /// One by one, by the client's TCP port and the time.
    SourcePort,
    /// Totals only: the network path does not keep source ports.
    Count,
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
    pub explained: BTreeMap<Account, u64>,
    /// On the client's side only, unexplained.
    pub client_only: u64,
    /// The first of them, at most 100.
    pub client_only_first: Vec<String>,
    /// On the server's side only, unexplained.
    pub server_only: u64,
    /// The first of them, at most 100.
    pub server_only_first: Vec<String>,
    /// What else was seen that may lie behind what is unexplained.
    pub suspects: Vec<String>,
}

impl Sides {
    /// Whether nothing is unexplained. Totals can agree by accident while the cases differ.
    #[must_use]
    pub fn balance(&self) -> bool {
        self.client_only == 0 && self.server_only == 0
    }

    fn explain(&mut self, why: Account, count: u64) {
        if count > 0 {
            *self.explained.entry(why).or_default() += count;
        }
    }

    fn on_client_only(&mut self, client: &ClientView, round_started: RunInstant) {
        self.client_only += 1;
        if self.client_only_first.len() < KEPT {
            self.client_only_first.push(told(client, round_started));
        }
    }

    fn on_server_only(&mut self, attempt: &Attempt) {
        self.server_only += 1;
        if self.server_only_first.len() < KEPT
            && let Some(view) = &attempt.server
        {
            self.server_only_first.push(view.told());
        }
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
    /// Connections of other clients, on a server that somebody else runs; they are in none of the sides. `null` where there
    /// were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<OtherClients>,
}

/// Other clients' connections to a server that somebody else runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherClients {
    /// Connections, admitted and dropped.
    pub connections: u64,
    /// Those of them that logged in.
    pub logins: u64,
    /// Those of them that sshd dropped.
    pub drops: u64,
    /// Connections by client address, of the first 20 addresses.
    pub by_address: BTreeMap<String, u64>,
}

impl OtherClients {
    fn of(joined: &JoinedAttempts) -> Option<Self> {
        let mut others = OtherClients::default();
        let strangers = joined
            .attempts
            .iter()
            .filter(|attempt| attempt.account == Account::AnotherClient);
        for view in strangers.filter_map(|attempt| attempt.server.as_ref()) {
            others.connections += 1;
            others.logins += u64::from(view.accepted);
            others.drops += u64::from(view.seen == Seen::Dropped);
            let address = view
                .address
                .map_or_else(|| String::from("unknown"), |address| address.to_string());
            if others.by_address.len() < ADDRESSES || others.by_address.contains_key(&address) {
                *others.by_address.entry(address).or_default() += 1;
            }
        }
        (others.connections > 0).then_some(others)
    }

    /// Adds another round's.
    pub(crate) fn merge(&mut self, other: &OtherClients) {
        self.connections += other.connections;
        self.logins += other.logins;
        self.drops += other.drops;
        for (address, count) in &other.by_address {
            if self.by_address.len() < ADDRESSES || self.by_address.contains_key(address) {
                *self.by_address.entry(address.clone()).or_default() += count;
            }
        }
    }
}

/// What is held against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// TCP connections.
    Connections,
    /// Logins.
    Handshakes,
    /// Refusals.
    Refusals,
}

impl Kind {
    /// The views of attempts without which it says nothing.
    #[must_use]
    pub fn needs(self) -> Views {
        match self {
            // A log without some of the drops would leave connections out.
            Kind::Connections | Kind::Refusals => Views::DROPS,
            Kind::Handshakes => Views::SERVER,
        }
    }

    /// Its tally.
    #[must_use]
    pub fn of(self, books: &Reconciliation) -> Option<&Sides> {
        match self {
            Kind::Connections => Some(&books.connections),
            Kind::Handshakes => Some(&books.handshakes),
            Kind::Refusals => books.refusals.as_ref(),
        }
    }

    /// Whether the client counts the attempt.
    fn client(self, client: &ClientView) -> bool {
        match self {
            Kind::Connections => client.connected(),
            Kind::Handshakes => client.outcome == AttemptOutcome::Handshake,
            Kind::Refusals => client.refused(),
        }
    }

    /// Whether the server may have counted it although the client did not.
    fn maybe(self, client: &ClientView) -> bool {
        match self {
            Kind::Connections | Kind::Refusals => client.given_up_silent(),
            Kind::Handshakes => client.maybe_accepted(),
        }
    }

    /// Whether the server counts the attempt.
    fn server(self, attempt: &Attempt) -> bool {
        attempt.server.as_ref().is_some_and(|view| match self {
            Kind::Connections => view.seen != Seen::Unannounced,
            Kind::Handshakes => view.accepted,
            Kind::Refusals => view.seen == Seen::Dropped,
        })
    }

    fn server_total(self, log: &ServerLogCounts) -> u64 {
        match self {
            Kind::Connections => log.connections + log.server_drops(),
            Kind::Handshakes => log.accepted,
            Kind::Refusals => log.server_drops(),
        }
    }

    /// Whether an account says why the client may stand alone in it.
    fn explained_by(self, account: Account) -> bool {
        match account {
            Account::ForkFailed | Account::NoDescriptor | Account::ListenQueueRefused => {
                self != Kind::Handshakes
            }
            Account::SessionEnded => self == Kind::Refusals,
            Account::ListenQueueTimeout | Account::InListenQueue => self == Kind::Connections,
            Account::Agreed
            | Account::ClientGaveUp
            | Account::ClientOnly
            | Account::ServerOnly
            | Account::AnotherClient
            | Account::LogMark => false,
        }
    }
}

impl Reconciliation {
    /// Tallies a round.
    #[must_use]
    pub fn of(
        joined: &JoinedAttempts,
        log: &ServerLogCounts,
        views: Views,
        round_started: RunInstant,
        kernel: Option<&KernelCounters>,
    ) -> Self {
        let sides = |kind: Kind| {
            let mut sides = if views.by_port {
                by_attempt(joined, kind, round_started)
            } else {
                by_count(joined, log, kind)
            };
            suspect(&mut sides, log, kind, views, kernel);
            sides
        };
        Reconciliation {
            joined: if views.by_port {
                Joined::SourcePort
            } else {
                Joined::Count
            },
            connections: sides(Kind::Connections),
            handshakes: sides(Kind::Handshakes),
            refusals: views.drops.then(|| sides(Kind::Refusals)),
            others: OtherClients::of(joined),
        }
    }
}

fn by_attempt(joined: &JoinedAttempts, kind: Kind, round_started: RunInstant) -> Sides {
    let mut sides = Sides::default();
    for attempt in &joined.attempts {
        let ours = attempt.client.as_ref().filter(|client| kind.client(client));
        let theirs = kind.server(attempt) && !attempt.account.is_not_the_runs();
        sides.client += u64::from(ours.is_some());
        sides.server += u64::from(theirs);
        match (ours, theirs) {
            (None, false) => {}
            (Some(_), true) => sides.matched += 1,
            (Some(client), false) => {
                if kind.explained_by(attempt.account) {
                    sides.explain(attempt.account, 1);
                } else {
                    sides.on_client_only(client, round_started);
                }
            }
            (None, true) => {
                let given_up = match &attempt.client {
                    Some(client) => kind.maybe(client),
                    None => attempt.account == Account::ClientGaveUp,
                };
                if given_up {
                    sides.explain(Account::ClientGaveUp, 1);
                } else {
                    sides.on_server_only(attempt);
                }
            }
        }
    }
    sides
}

/// Through a proxy sshd does not see the client's ports: only the counts can be compared.
fn by_count(joined: &JoinedAttempts, log: &ServerLogCounts, kind: Kind) -> Sides {
    let clients = || {
        joined
            .attempts
            .iter()
            .filter_map(|attempt| attempt.client.as_ref())
    };
    let count =
        |of: &dyn Fn(&ClientView) -> bool| clients().filter(|client| of(client)).count() as u64;
    let (client, server) = (count(&|client| kind.client(client)), kind.server_total(log));
    let mut sides = Sides {
        client,
        server,
        matched: client.min(server),
        ..Sides::default()
    };
    let maybe = count(&|client| !kind.client(client) && kind.maybe(client));
    let given_up = server.saturating_sub(client).min(maybe);
    sides.explain(Account::ClientGaveUp, given_up);
    sides.server_only = server.saturating_sub(client) - given_up;
    let mut left = client.saturating_sub(server);
    let mut draw = |why, most: u64| {
        let explained = left.min(most);
        sides.explain(why, explained);
        left -= explained;
    };
    if kind == Kind::Connections {
        let queued = count(&|client| client.connected() && client.given_up_silent());
        draw(Account::InListenQueue, queued);
    }
    if kind != Kind::Handshakes {
        draw(Account::ForkFailed, log.fork_failures);
        draw(Account::NoDescriptor, log.pipe_failures);
    }
    sides.client_only = left;
    sides
}

/// What may lie behind a difference, from what else was seen.
fn suspect(
    sides: &mut Sides,
    log: &ServerLogCounts,
    kind: Kind,
    views: Views,
    kernel: Option<&KernelCounters>,
) {
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
        let overflows = kernel.and_then(|kernel| kernel.grown.listen_overflows);
        if let Some(overflows) = overflows.filter(|overflows| *overflows > 0 && !views.kernel) {
            sides.suspects.push(format!(
                "the kernel counted {overflows} overflows of a listen queue in the server's network namespace; on this \
                 path nothing says which connections met them, so none is assigned"
            ));
        }
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

/// One attempt, for a person; the time is that since the round began.
fn told(client: &ClientView, round_started: RunInstant) -> String {
    let port = match client.trace.local_port {
        Some(port) => format!("port {port}"),
        None => String::from("port unknown"),
    };
    let whose = match client.task {
        Some(task) => format!("task {task}"),
        None => String::from("a holder"),
    };
    format!(
        "{port} attempt {} ({}, {whose}, {}, try {}, {:.3} s into the round)",
        client.attempt,
        client.outcome.metric(),
        client.phase.as_str(),
        client.ordinal,
        client.begun().since(round_started).as_secs_f64()
    )
}
