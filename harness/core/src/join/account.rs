//! Why one side may stand alone, and who refused: the account of every attempt.
//!
//! Owns what counts as evidence. Evidence is per attempt; counters of a whole log or namespace only ever bound how many
//! attempts may be explained by what carries no name of its own.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Attempt;
use super::views::{KernelView, Seen, Views};
use crate::reading::KernelSettings;
use crate::server_log::{Refusal, ServerLogCounts};
use crate::vocabulary::AttemptOutcome;

/// How the two sides agree about one attempt.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// They do, or there is nothing to hold one side against.
    Agreed,
    /// Server only: the client had given up the attempt by its own deadline, or the run was stopped.
    ClientGaveUp,
    /// Client only: sshd could not fork (`fork: …`); the client sees a close without text.
    ForkFailed,
    /// Client only: sshd had no descriptor for the connection's start-up pipe; likewise.
    NoDescriptor,
    /// Client only: admitted (`Connection from`), but its process ended before the identification string: a crash, or a
    /// program that could not be executed.
    SessionEnded,
    /// Client only: the kernel refused it. sshd's accept queue was full, no socket was made for the connection, and the
    /// client was reset when it tried again.
    ListenQueueRefused,
    /// Client only: the same, and the client gave up before it was told.
    ListenQueueTimeout,
    /// Client only: acknowledged by the kernel, in sshd's accept queue when the client gave up.
    InListenQueue,
    /// Client only, and nothing explains it.
    ClientOnly,
    /// Server only, and nothing explains it.
    ServerOnly,
    /// Server only, on a server that somebody else runs: another client's.
    AnotherClient,
    /// Server only: made by the harness beside its attempts, to see how far that server's log is.
    LogMark,
}

/// Who refused an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Maker {
    /// sshd, by `MaxStartups`.
    MaxStartups,
    /// sshd, by another rule: `PerSourceMaxStartups`, `PerSourcePenalties`.
    OtherRule,
    /// sshd accepted it and could not serve it.
    Unserved,
    /// The kernel: sshd's listen queue was full, and sshd never saw it.
    ListenQueue,
    /// Nobody that left a trace.
    Unknown,
}

/// What bounds explanations that carry no port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Means {
    /// `fork: …` lines.
    pub fork_failures: u64,
    /// `pipe(startup_p)` and `reexec socketpair` lines.
    pub pipe_failures: u64,
    /// Connections that sshd's accept queue can hold.
    pub accept_queue: u64,
    /// Resets that the kernel may have sent for connections nobody had accepted: the growth of `EmbryonicRsts` where
    /// `tcp_abort_on_overflow` is set, else 0.
    pub embryonic_resets: u64,
}

/// sshd's own backlog (ssh.h, `SSH_LISTEN_BACKLOG`), which `somaxconn` can only lower; the kernel takes one more.
pub const SSH_LISTEN_BACKLOG: u64 = 128;

impl Means {
    /// From a round's log and the kernel's settings and counters.
    #[must_use]
    pub fn of(
        log: Option<&ServerLogCounts>,
        settings: Option<&KernelSettings>,
        queue_limit: Option<u32>,
        embryonic_resets: Option<u64>,
    ) -> Means {
        let aborts = settings.is_some_and(|kernel| kernel.tcp_abort_on_overflow == Some(1));
        Means {
            fork_failures: log.map_or(0, |log| log.fork_failures),
            pipe_failures: log.map_or(0, |log| log.pipe_failures),
            accept_queue: queue_limit.map_or(SSH_LISTEN_BACKLOG, u64::from) + 1,
            embryonic_resets: if aborts {
                embryonic_resets.unwrap_or(0)
            } else {
                0
            },
        }
    }
}

/// Gives every attempt its account.
pub(super) fn settle(attempts: &mut [Attempt], views: Views, mut means: Means) {
    if !views.have(Views::DROPS) || !views.by_port {
        return;
    }
    // What carries its own evidence first: only the rest may draw on what is bounded.
    for attempt in attempts.iter_mut() {
        attempt.account = by_own_evidence(attempt);
    }
    for attempt in attempts.iter_mut() {
        if attempt.account == Account::ClientOnly {
            attempt.account = by_what_is_left(attempt, &mut means);
        }
    }
    // Attempts whose port the client never learnt can stand for any line.
    let mut nameless = attempts
        .iter()
        .filter_map(|attempt| attempt.client.as_ref())
        .filter(|client| client.trace.local_port.is_none() && client.given_up_silent())
        .count();
    for attempt in attempts.iter_mut() {
        if attempt.account == Account::ServerOnly && nameless > 0 {
            nameless -= 1;
            attempt.account = Account::ClientGaveUp;
        }
    }
}

/// On a server that others use, what is nobody's of the run is another client's, unless the harness made it beside its attempts.
pub(super) fn leave_to_others(attempts: &mut [Attempt], marks: &[(IpAddr, u16)]) {
    let mut marks = marks.to_vec();
    for attempt in attempts.iter_mut() {
        let (None, Some(view)) = (&attempt.client, &attempt.server) else {
            continue;
        };
        let mark = marks
            .iter()
            .position(|(address, port)| view.address == Some(*address) && view.port == *port);
        attempt.account = match (mark, attempt.account) {
            (Some(mark), _) => {
                marks.swap_remove(mark);
                Account::LogMark
            }
            (None, Account::ClientGaveUp) => Account::ClientGaveUp,
            (None, _) => Account::AnotherClient,
        };
    }
}

fn by_own_evidence(attempt: &Attempt) -> Account {
    match (&attempt.client, &attempt.server) {
        (None, _) => Account::ServerOnly,
        (Some(client), Some(view)) => match view.seen {
            Seen::Admitted if client.refused() => Account::SessionEnded,
            _ if client.given_up_silent() => Account::ClientGaveUp,
            Seen::Admitted | Seen::Dropped => Account::Agreed,
            // The line that announces every connection is missing.
            Seen::Unannounced => Account::ClientOnly,
        },
        (Some(client), None) => match (attempt.kernel, &client.outcome) {
            (Some(KernelView::NeverMade), AttemptOutcome::BannerEof { .. }) => {
                Account::ListenQueueRefused
            }
            (Some(KernelView::NeverMade | KernelView::NeverAnswered), _)
                if client.given_up_silent() =>
            {
                Account::ListenQueueTimeout
            }
            // Nothing stood that sshd could have seen.
            _ if !client.connected() && !client.refused() => Account::Agreed,
            _ => Account::ClientOnly,
        },
    }
}

/// For attempts that sshd logged nothing of and whose socket does not say why.
fn by_what_is_left(attempt: &Attempt, means: &mut Means) -> Account {
    let Some(client) = attempt.client.as_ref().filter(|_| attempt.server.is_none()) else {
        return Account::ClientOnly;
    };
    let mut draw = |left: fn(&mut Means) -> &mut u64, account| {
        let left = left(means);
        (*left > 0).then(|| {
            *left -= 1;
            account
        })
    };
    let explained = if client.given_up_silent() {
        match attempt.kernel {
            // A connection that nothing was sent on lies there as well as one whose data was taken.
            Some(KernelView::Acknowledged | KernelView::Unsettled) => {
                draw(|means| &mut means.accept_queue, Account::InListenQueue)
            }
            // Where the kernel was not asked the queue's size says nothing of single attempts.
            None => Some(Account::InListenQueue),
            Some(KernelView::NeverMade | KernelView::NeverAnswered | KernelView::ResetAtOnce) => {
                None
            }
        }
    } else if client.refused() {
        let at_once = attempt.kernel == Some(KernelView::ResetAtOnce);
        at_once
            .then(|| {
                draw(
                    |means| &mut means.embryonic_resets,
                    Account::ListenQueueRefused,
                )
            })
            .flatten()
            .or_else(|| draw(|means| &mut means.fork_failures, Account::ForkFailed))
            .or_else(|| draw(|means| &mut means.pipe_failures, Account::NoDescriptor))
    } else {
        None
    };
    explained.unwrap_or(Account::ClientOnly)
}

impl Account {
    /// Whether it is no attempt of the run.
    #[must_use]
    pub fn is_not_the_runs(self) -> bool {
        matches!(self, Account::AnotherClient | Account::LogMark)
    }

    /// For a person, with the side that stands alone.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Account::Agreed => "on both sides",
            Account::ClientGaveUp => "server only: the client had given up the attempt",
            Account::ForkFailed => "client only: sshd could not fork",
            Account::NoDescriptor => "client only: sshd had no descriptor left",
            Account::SessionEnded => {
                "client only: admitted, but its process ended before the identification string"
            }
            Account::ListenQueueRefused => {
                "client only: the kernel refused it, since sshd's listen queue was full"
            }
            Account::ListenQueueTimeout => {
                "client only: the kernel never took it in, since sshd's listen queue was full, and the client gave up"
            }
            Account::InListenQueue => "client only: in sshd's listen queue when the client gave up",
            Account::ClientOnly => "client only, unexplained",
            Account::ServerOnly => "server only, unexplained",
            Account::AnotherClient => "server only: another client's",
            Account::LogMark => "server only: made to see how far the log is",
        }
    }
}

impl Attempt {
    /// Who refused it; `None` when it was not refused.
    #[must_use]
    pub fn maker(&self) -> Option<Maker> {
        match &self.client {
            Some(client) => client.refused().then_some(())?,
            // Where the server is the only witness a drop is all that a refusal can be seen by.
            None => self
                .server
                .as_ref()
                .filter(|view| view.seen == Seen::Dropped)
                .map(|_| ())?,
        }
        Some(match self.account {
            Account::ListenQueueRefused => Maker::ListenQueue,
            Account::ForkFailed | Account::NoDescriptor | Account::SessionEnded => Maker::Unserved,
            Account::Agreed
            | Account::ClientGaveUp
            | Account::ListenQueueTimeout
            | Account::InListenQueue
            | Account::ClientOnly
            | Account::ServerOnly
            | Account::AnotherClient
            | Account::LogMark => match self.server.as_ref().and_then(|view| view.refusal) {
                Some((_, refusal)) => match refusal {
                    Refusal::Draw | Refusal::Full => Maker::MaxStartups,
                    // Worded alike, and no draw in the log to tell them apart.
                    Refusal::MaxStartupsOrPerSource => Maker::MaxStartups,
                    Refusal::PerSource | Refusal::Penalty(_) => Maker::OtherRule,
                },
                None => Maker::Unknown,
            },
        })
    }
}
