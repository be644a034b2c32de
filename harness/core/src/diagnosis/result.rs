//! What a log said: plain data, with names that are API.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::ClientMessage;
use crate::release::Release;
use crate::server_log::Moment;

/// What a log said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Diagnosis {
    /// Lines by what they are.
    pub lines: LineCounts,
    /// The first stamp on a line of sshd's; `null` where none has one. RFC 3339, without `Z` where the stamps name no time zone.
    pub from: Option<Moment>,
    /// The last stamp on a line of sshd's.
    pub to: Option<Moment>,
    /// Lines of sshd's whose stamp is more than a second earlier than the one before it in the same file: a log of several
    /// machines, a clock that was set back, or the newest line first.
    pub out_of_order: u64,
    /// The most talkative level that the lines prove; `null` where they prove none. sshd may have been set to a quieter one for
    /// a part of the time.
    pub level: Option<LogLevel>,
    /// The release that the server has at least, by what only newer ones log, or as the user said; `null` where nothing tells.
    #[schemars(with = "Option<String>")]
    #[serde(with = "release")]
    pub release_at_least: Option<Release>,
    /// Connections that sshd refused.
    pub drops: Drops,
    /// Throttling episodes in the order in which they ended: at most 10 000.
    pub episodes: Vec<Episode>,
    /// Episodes that are not in the list.
    pub episodes_not_listed: u64,
    /// Who was refused, by address.
    pub sources: Sources,
    /// What else goes wrong with connections.
    pub other: OtherCounts,
    /// Successful logins.
    pub logins: Logins,
    /// Lines that log writers say they lost.
    pub losses: Losses,
    /// Messages of clients in the same input.
    pub client_messages: Vec<ClientCount>,
    /// Lines of sshd's that this program does not know, by shape, the most frequent first.
    pub unknown_shapes: Vec<Shape>,
    /// Unknown lines of shapes that are not in the list.
    pub unknown_not_listed: u64,
}

/// A release as its text, `9.2`.
mod release {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::release::Release;

    pub(super) fn serialize<S: Serializer>(
        release: &Option<Release>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match release {
            Some(release) => serializer.serialize_some(&release.to_string()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Release>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom))
            .transpose()
    }
}

/// Lines by what they are; each is counted once, blank ones not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LineCounts {
    /// All lines.
    pub total: u64,
    /// sshd's, and understood.
    pub sshd: u64,
    /// sshd's, and not understood.
    pub sshd_unknown: u64,
    /// sshd's at a debug level, and of no consequence.
    pub sshd_debug: u64,
    /// A client's complaint.
    pub client: u64,
    /// A log writer's confession that it lost lines.
    pub loss: u64,
    /// Of other programs, or of nobody in particular.
    pub other: u64,
    /// JSON of no kind that is known, or cut.
    pub unreadable: u64,
}

impl LineCounts {
    /// Lines of sshd's.
    #[must_use]
    pub fn of_sshd(&self) -> u64 {
        self.sshd + self.sshd_unknown + self.sshd_debug
    }

    /// The sum of all classes; equal to `total`.
    #[must_use]
    pub fn classified(&self) -> u64 {
        self.of_sshd() + self.client + self.loss + self.other + self.unreadable
    }
}

/// A level of sshd's log, as far as its lines prove it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum LogLevel {
    /// Errors and worse were seen, nothing else.
    Error,
    /// The default.
    Info,
    /// `Connection from …` is there.
    Verbose,
    /// `debug1: …` is there.
    Debug,
}

impl LogLevel {
    /// The word of `LogLevel` in `sshd_config`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "ERROR",
            LogLevel::Info => "INFO",
            LogLevel::Verbose => "VERBOSE",
            LogLevel::Debug => "DEBUG",
        }
    }
}

/// Connections that sshd refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drops {
    /// All of them.
    pub total: u64,
    /// Why there may have been more; empty where the number is exact.
    pub at_least_because: Vec<WhyAtLeast>,
    /// By `MaxStartups`, for certain.
    pub max_startups: u64,
    /// By `PerSourceMaxStartups`, for certain.
    pub per_source_max_startups: u64,
    /// By one of the two: sshd logs both in the same words, and a total names no cause.
    pub max_startups_or_per_source: u64,
    /// By `PerSourcePenalties`, by what the penalty was for; `not-logged` where sshd only gave a number.
    pub penalties: BTreeMap<String, u64>,
    /// Those with a line of their own, which names the client.
    pub listed: u64,
}

impl Drops {
    /// Whether there may have been more.
    #[must_use]
    pub fn at_least(&self) -> bool {
        !self.at_least_because.is_empty()
    }

    /// By `MaxStartups` or `PerSourceMaxStartups`.
    #[must_use]
    pub fn startups(&self) -> u64 {
        self.max_startups
            .saturating_add(self.per_source_max_startups)
            .saturating_add(self.max_startups_or_per_source)
    }

    /// By `PerSourcePenalties`.
    #[must_use]
    pub fn by_penalty(&self) -> u64 {
        self.penalties
            .values()
            .fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// Why a number of refusals is a lower bound.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum WhyAtLeast {
    /// An episode has no closing line, so that its total is not known.
    EpisodeOpen,
    /// sshd (10.0 and later) held lines back and had not yet said how many.
    RateLimited,
    /// A log writer lost lines.
    LinesLost,
    /// The level may hide every refusal: before 8.4 they are logged at VERBOSE only.
    Level,
}

/// Which limit an episode is of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum EpisodeRule {
    /// `MaxStartups` or `PerSourceMaxStartups`.
    MaxStartups,
    /// `PerSourcePenalties`.
    Penalties,
}

/// A time in which sshd kept refusing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Episode {
    /// Which limit.
    pub rule: EpisodeRule,
    /// Host, container or pod; `null` where the log names none.
    pub origin: Option<String>,
    /// Process of the listener; `null` where the log names none.
    pub pid: Option<u32>,
    /// When it began; `null` without stamps.
    pub begin: Option<Moment>,
    /// When it ended, or the last refusal of one that has no closing line.
    pub end: Option<Moment>,
    /// Whether sshd logged its end.
    pub closed: bool,
    /// Connections refused.
    pub drops: u64,
    /// Why there may have been more, besides what a log writer lost; `null` where the number is exact.
    pub at_least_because: Option<WhyAtLeast>,
    /// Refusals with a line of their own.
    pub listed: u64,
    /// sshd's own total; `null` where it logged none.
    pub total: Option<u64>,
    /// Refusals that sshd says it did not log one by one.
    pub held_back: u64,
    /// Most startup slots in use at a refusal; `null` without single lines.
    pub most_slots: Option<u32>,
}

impl Episode {
    /// Whether sshd's total is smaller than the number of its single lines: two servers in one, or lines that are there twice.
    #[must_use]
    pub fn disagrees(&self) -> bool {
        self.total.is_some_and(|total| total < self.listed)
    }
}

/// Sources of refused connections and of logins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// The largest ones, most refusals first: at most 10 000.
    pub largest: Vec<SourceCounts>,
    /// Refusals of all others.
    pub other_drops: u64,
    /// Logins of all others.
    pub other_logins: u64,
    /// Whether there were more sources than could be told apart: counts of single sources are then lower bounds.
    pub overflowed: bool,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceCounts {
    /// The client's address.
    pub address: String,
    /// Refusals with a line of their own.
    pub drops: u64,
    /// Those of them that were for a penalty.
    pub penalties: u64,
    /// Successful logins.
    pub logins: u64,
    /// The first refusal; `null` without stamps, or without a refusal.
    pub first_drop: Option<Moment>,
    /// The last refusal.
    pub last_drop: Option<Moment>,
}

/// What else is logged when connections go wrong. Counts of lines, `message repeated` included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherCounts {
    /// `fork: …`: let in, but there was no process to serve it.
    pub fork_failed: u64,
    /// `pipe(startup_p): …`, `reexec socketpair: …`: accepted, but there were no descriptors to serve it.
    pub pipe_failed: u64,
    /// `accept: …`: no descriptors; the connection stays in the kernel's queue.
    pub accept_failed: u64,
    /// Session processes that crashed.
    pub crashes: u64,
    /// `Timeout before authentication`: a client held a startup slot until `LoginGraceTime` took it back.
    pub grace_timeouts: u64,
    /// `no more sessions`: `MaxSessions` of one connection was reached.
    pub sessions_refused: u64,
    /// Penalties that came into force (`srclimit_penalise`).
    pub penalties_imposed: u64,
    /// `RefuseConnection`.
    pub prohibited: u64,
    /// `Failed METHOD for`.
    pub authentication_failures: u64,
    /// `MaxAuthTries` reached.
    pub too_many_authentication_failures: u64,
    /// Clients that hung up, or reset the connection, before they had identified themselves (`kex_exchange_identification: …`
    /// in sshd's own log).
    pub left_before_identification: u64,
    /// Clients that spoke no SSH, or had no algorithm in common.
    pub protocol_errors: u64,
    /// `Connection from`: let in; VERBOSE and above.
    pub connections: u64,
    /// `Server listening on`: starts and restarts, one for each address.
    pub listening: u64,
}

/// Successful logins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Logins {
    /// `Accepted METHOD for`.
    pub count: u64,
    /// Mean over the time from sshd's first stamped line to its last, per second; `null` without stamps.
    pub mean_per_s: Option<f64>,
    /// Most in one second of the clock; `null` without stamps.
    pub peak_second: Option<Peak>,
    /// Most in one minute of the clock.
    pub peak_minute: Option<Peak>,
}

/// A peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Peak {
    /// How many.
    pub count: u64,
    /// The beginning of that second or minute.
    pub at: Moment,
}

/// Lines that log writers say they lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Losses {
    /// Announcements.
    pub announcements: u64,
    /// Lines by the announcements that give a number; of whom they were is not known for all of them.
    pub lines: u64,
}

/// A message of clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCount {
    /// Which.
    pub message: ClientMessage,
    /// Lines with it; one failed connection may have several.
    pub count: u64,
}

/// A shape of unknown lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// The line with numbers, addresses, names and keys replaced.
    pub shape: String,
    /// Lines of that shape.
    pub count: u64,
}
