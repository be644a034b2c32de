//! sshd's log as views of connections: its lines about one client port, from the line that announces a connection on.
//!
//! Owns which lines make one connection. Their wording is `server_log`'s, the attempt they belong to is `align`'s.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::TaskId;
use crate::instant::RunInstant;
use crate::server_log::{
    DropRule, Envelopes, Peer, Refusal, ServerLogCounts, ServerLogEvent, ServerLogMessage,
    parse_line, parse_message,
};

use super::views::Seen;
use super::whose::{TaskKeys, address};

/// What sshd logged of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshdView {
    /// The client's address; `None` where sshd printed none that can be read.
    pub address: Option<IpAddr>,
    /// The client's port.
    pub port: u16,
    /// The address of the server that the client connected to, of a line that names it.
    pub local: Option<IpAddr>,
    /// When its first line was read: an upper bound of when it was written.
    pub read_at: RunInstant,
    /// Number of its first line within the round's share of the log, from 1.
    pub line: u64,
    /// How it began.
    pub seen: Seen,
    /// Slots in use and the rule that refused, of a drop.
    pub refusal: Option<(u32, Refusal)>,
    /// `Accepted` was logged.
    pub accepted: bool,
    /// When that was read.
    pub accepted_at: Option<RunInstant>,
    /// The task whose key it logged in with; `None` where the key is no task's.
    pub key: Option<TaskId>,
    /// How it ended before a login, as far as its lines say.
    pub failed: Option<Unfinished>,
}

/// A penalty that came into force: sshd refuses the source from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BanLine {
    /// When the line was read: an upper bound of when it was written.
    pub read_at: RunInstant,
    /// The banned address, of a line that names one.
    pub address: Option<IpAddr>,
    /// How long, as sshd says; whole seconds up to 10.2.
    pub length: Option<Duration>,
}

/// Most such lines that are kept of a round.
const BANS_KEPT: usize = 1000;

/// How a connection ended that was admitted and never logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// The client closed or reset it, or said good-bye.
    ClientLeft,
    /// A try to log in failed before that, or was prohibited.
    LoginFailed,
    /// The two could not agree on a protocol or an algorithm.
    Protocol,
    /// `LoginGraceTime` passed.
    GraceTime,
}

impl SshdView {
    /// Whether its lines say what became of it.
    pub(crate) fn settled(&self) -> bool {
        self.seen == Seen::Dropped || self.accepted || self.failed.is_some()
    }

    /// For a person.
    #[must_use]
    pub fn told(&self) -> String {
        let what = match (self.refusal, self.accepted) {
            (Some((slots, _)), _) => format!("dropped with {slots} slots in use"),
            (None, false) => String::from("connected"),
            (None, true) => String::from("logged in"),
        };
        format!(
            "port {} {what} (log line {} of the round)",
            self.port, self.line
        )
    }
}

/// Makes views of a round's lines as they are read, beside the counts that belong to no connection.
#[derive(Debug)]
pub struct ServerViews {
    counts: ServerLogCounts,
    /// What is around the lines of a log that somebody else keeps.
    envelopes: Option<Envelopes>,
    keys: Arc<TaskKeys>,
    views: Vec<SshdView>,
    /// The connections of each client address and port that may still be spoken of, in the order of their beginning. There
    /// are several where the same port leads to several addresses of the server: four numbers make a connection, and most
    /// lines name two.
    open: HashMap<(Option<IpAddr>, u16), Vec<usize>>,
    /// Connections that a line could have meant as well as another.
    alike: Vec<Vec<usize>>,
    bans: Vec<BanLine>,
}

impl ServerViews {
    /// At the beginning of a round; without a rule the causes of drops worded alike cannot be told apart. A login with
    /// one of `keys` is its task's.
    #[must_use]
    pub fn new(rule: Option<DropRule>, keys: Arc<TaskKeys>) -> Self {
        ServerViews {
            counts: ServerLogCounts::new(rule),
            envelopes: None,
            keys,
            views: Vec::new(),
            open: HashMap::new(),
            alike: Vec::new(),
            bans: Vec::new(),
        }
    }

    /// Says that lines come as syslog, journald or a container engine wrote them. Their stamps are not used: what counts is
    /// when they were read.
    #[must_use]
    pub fn in_envelopes(mut self) -> Self {
        self.envelopes = Some(Envelopes::new(0));
        self
    }

    /// Takes the next line.
    pub fn fold(&mut self, read_at: RunInstant, line: &str) {
        let Some(mut envelopes) = self.envelopes.take() else {
            return self.fold_event(read_at, &parse_line(line));
        };
        envelopes.open(line, |line| {
            if line.of_sshd() != Some(false) {
                self.fold_event(read_at, &parse_message(line.pid, line.text));
            }
        });
        self.envelopes = Some(envelopes);
    }

    fn fold_event(&mut self, read_at: RunInstant, event: &ServerLogEvent<'_>) {
        let refusal = self.counts.fold(event);
        match event.message {
            ServerLogMessage::Connection { source, local } => {
                self.begin(source, Some(local), read_at, Seen::Admitted, None);
            }
            ServerLogMessage::Drop {
                slots,
                source,
                local,
                ..
            } => {
                let refusal = refusal.map(|refusal| (slots, refusal));
                self.begin(source, Some(local), read_at, Seen::Dropped, refusal);
            }
            ServerLogMessage::Authenticated {
                source,
                key: fingerprint,
                ..
            } => {
                let task = fingerprint.and_then(|fingerprint| self.keys.task_of(fingerprint));
                let open = self
                    .unsettled(key(source), task)
                    .unwrap_or_else(|| self.begin(source, None, read_at, Seen::Unannounced, None));
                let view = &mut self.views[open];
                view.accepted = true;
                view.accepted_at = Some(read_at);
                view.key = task;
            }
            ServerLogMessage::AuthenticationFailed { source, .. }
            | ServerLogMessage::InvalidUser { source }
            | ServerLogMessage::Prohibited { source } => {
                self.fails(source, event.preauth, Unfinished::LoginFailed);
            }
            ServerLogMessage::GraceTimeout {
                source: Some(source),
            } => self.fails(source, event.preauth, Unfinished::GraceTime),
            ServerLogMessage::ReceivedDisconnect { source } => {
                self.fails(source, event.preauth, Unfinished::ClientLeft);
            }
            ServerLogMessage::Disconnected { source }
            | ServerLogMessage::ConnectionEnded { source, .. } => {
                self.fails(source, event.preauth, Unfinished::ClientLeft);
                if !event.preauth {
                    self.ends(source);
                }
            }
            ServerLogMessage::ProtocolError {
                source: Some(source),
            } => self.fails(source, event.preauth, Unfinished::Protocol),
            ServerLogMessage::Penalised {
                active: true,
                source,
                length,
            } if self.bans.len() < BANS_KEPT => self.bans.push(BanLine {
                read_at,
                address: source.and_then(|source| source.parse().ok()),
                length,
            }),
            ServerLogMessage::Listening { .. }
            | ServerLogMessage::KeyCommand
            | ServerLogMessage::Stopped
            | ServerLogMessage::Restarting
            | ServerLogMessage::Draw { .. }
            | ServerLogMessage::ThrottlingBegan
            | ServerLogMessage::ThrottlingContinues { .. }
            | ServerLogMessage::ThrottlingEnded { .. }
            | ServerLogMessage::RateLimited { .. }
            | ServerLogMessage::TooManyAuthenticationFailures
            | ServerLogMessage::GraceTimeout { source: None }
            | ServerLogMessage::SessionStarted { .. }
            | ServerLogMessage::SessionEnded { .. }
            | ServerLogMessage::SessionRefused
            | ServerLogMessage::LeftBeforeIdentification { .. }
            | ServerLogMessage::ProtocolError { source: None }
            | ServerLogMessage::Penalised { .. }
            | ServerLogMessage::ForkFailed
            | ServerLogMessage::AcceptFailed
            | ServerLogMessage::PipeFailed
            | ServerLogMessage::Crashed
            | ServerLogMessage::Incidental
            | ServerLogMessage::Unknown { .. } => {}
        }
    }

    /// The counts, the connections in the order of the log, and the bans.
    #[must_use]
    pub fn finish(mut self) -> (ServerLogCounts, Vec<SshdView>, Vec<BanLine>) {
        for alike in std::mem::take(&mut self.alike) {
            let became = |index: &usize| {
                let view = &self.views[*index];
                (view.accepted, view.failed, view.key.is_some())
            };
            let first = became(&alike[0]);
            let same = |index: &usize| became(index) == first;
            // Which of them it was makes no difference when all came to the same; else it cannot be said.
            if !alike.iter().all(same) {
                for index in alike {
                    self.views[index].local = None;
                }
            }
        }
        (self.counts, self.views, self.bans)
    }

    /// Says how a connection failed, unless it had logged in or its reason is known: what comes first is why.
    fn fails(&mut self, source: Peer<'_>, preauth: bool, why: Unfinished) {
        let key = key(source);
        // Without the mark of what happens before a login it is the end of one that has logged in, where there is one.
        let ended = |index: &usize| self.views[*index].accepted;
        if !preauth
            && self
                .open
                .get(&key)
                .is_some_and(|open| open.iter().any(ended))
        {
            return;
        }
        if let Some(index) = self.unsettled(key, None) {
            self.views[index].failed = Some(why);
        }
    }

    /// One that had logged in is over.
    fn ends(&mut self, source: Peer<'_>) {
        let views = &self.views;
        if let Some(open) = self.open.get_mut(&key(source))
            && let Some(place) = open.iter().position(|index| views[*index].accepted)
        {
            open.remove(place);
        }
    }

    /// The connection that a line about this address and port speaks of, of those that have neither logged in nor failed:
    /// the one to the address of the task whose key the line names, or else one to no other task's, or else the first.
    fn unsettled(&mut self, key: (Option<IpAddr>, u16), task: Option<TaskId>) -> Option<usize> {
        let candidates: Vec<usize> = self
            .open
            .get(&key)?
            .iter()
            .copied()
            .filter(|index| !self.views[*index].settled())
            .collect();
        let rank = |index: &usize| match (task, address(&self.views[*index])) {
            (Some(task), Some(owner)) if task == owner => 0,
            (Some(_), Some(_)) => 2,
            (Some(_), None) | (None, _) => 1,
        };
        let likeliest = candidates.iter().copied().min_by_key(rank)?;
        if candidates.len() > 1 && rank(&likeliest) > 0 {
            self.alike.push(candidates);
        }
        Some(likeliest)
    }

    fn begin(
        &mut self,
        source: Peer<'_>,
        local: Option<Peer<'_>>,
        read_at: RunInstant,
        seen: Seen,
        refusal: Option<(u32, Refusal)>,
    ) -> usize {
        let index = self.views.len();
        let key = key(source);
        self.views.push(SshdView {
            address: key.0,
            port: key.1,
            local: local.and_then(|local| local.address.parse().ok()),
            read_at,
            line: self.counts.lines,
            seen,
            refusal,
            accepted: false,
            accepted_at: None,
            key: None,
            failed: None,
        });
        let open = self.open.entry(key).or_default();
        // What failed is over, and so is another to the same place: a port leads there once at a time.
        let views = &self.views;
        let here = views[index].local;
        let may_go_on = |view: &SshdView| view.accepted || !view.settled();
        open.retain(|other| may_go_on(&views[*other]) && views[*other].local != here);
        open.push(index);
        index
    }
}

fn key(source: Peer<'_>) -> (Option<IpAddr>, u16) {
    (source.address.parse().ok(), source.port)
}
