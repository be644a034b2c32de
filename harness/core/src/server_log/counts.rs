//! Counts of one round's share of the server's log.
//!
//! Owns what is counted and by what key. Bounded, whatever the log says: the largest part is one entry for each number of
//! slots in use, of which 65 536 are told apart. What was logged of single connections is `join`'s.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::line::ServerLogEvent;
use super::message::{DropCause, PenaltyReason, ServerLogMessage};
use crate::manifest::Manifest;
use crate::model::{Admission, Decision};
use crate::scenario::MaxStartups;

/// Unknown lines kept in full; all are counted.
pub const UNKNOWN_SAMPLES: usize = 10;
const SAMPLE_CHARS: usize = 200;
/// Slots in use are told apart up to here, which is more than any server has; more is counted as this. Without a bound
/// a log that is no sshd's could make the counts grow.
const MOST_SLOTS: u32 = 65_535;

/// Refusals by their cause on the server's side.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropCounts {
    /// `MaxStartups`, by a random draw: between `start` and `full` slots were in use.
    pub max_startups_draw: u64,
    /// `MaxStartups`, for certain: `full` slots were in use (or `start`, with a rate of 100).
    pub max_startups_full: u64,
    /// `PerSourceMaxStartups`: sshd words it like `MaxStartups`, but slots or draw rule that out.
    pub per_source_max_startups: u64,
    /// Worded like both, without a draw to tell them apart (releases before 8.5 do not log it).
    pub max_startups_or_per_source: u64,
    /// `PerSourcePenalties`, by reason.
    pub penalties: BTreeMap<String, u64>,
}

impl DropCounts {
    /// All refusals.
    #[must_use]
    pub fn total(&self) -> u64 {
        let by_rule = self.by_rule().map(|(_, count)| count);
        by_rule.iter().chain(self.penalties.values()).sum()
    }

    /// Those by each rule but penalties, with the word for it.
    #[must_use]
    pub fn by_rule(&self) -> [(&'static str, u64); 4] {
        [
            ("max_startups_draw", self.max_startups_draw),
            ("max_startups_full", self.max_startups_full),
            (
                "max_startups_or_per_source",
                self.max_startups_or_per_source,
            ),
            ("per_source_max_startups", self.per_source_max_startups),
        ]
    }

    /// Those of one cause.
    fn by(&mut self, refusal: Refusal) -> &mut u64 {
        match refusal {
            Refusal::Draw => &mut self.max_startups_draw,
            Refusal::Full => &mut self.max_startups_full,
            Refusal::PerSource => &mut self.per_source_max_startups,
            Refusal::MaxStartupsOrPerSource => &mut self.max_startups_or_per_source,
            Refusal::Penalty(reason) => self
                .penalties
                .entry(reason.as_str().to_owned())
                .or_default(),
        }
    }

    /// Takes one refusal out that is somebody else's.
    pub(crate) fn take_out(&mut self, refusal: Refusal) {
        let of_cause = self.by(refusal);
        *of_cause = of_cause.saturating_sub(1);
        self.penalties.retain(|_, count| *count > 0);
    }

    /// Counts one.
    pub fn add(&mut self, refusal: Refusal) {
        *self.by(refusal) += 1;
    }

    /// Adds another round's.
    pub fn merge(&mut self, other: &DropCounts) {
        self.max_startups_draw += other.max_startups_draw;
        self.max_startups_full += other.max_startups_full;
        self.per_source_max_startups += other.per_source_max_startups;
        self.max_startups_or_per_source += other.max_startups_or_per_source;
        for (reason, count) in &other.penalties {
            *self.penalties.entry(reason.clone()).or_default() += count;
        }
    }
}

/// What a drop line alone does not say: the rule in force, to tell its causes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropRule {
    /// `MaxStartups` in force.
    pub max_startups: Admission,
    /// Whether `PerSourceMaxStartups` is set at all.
    pub per_source: bool,
}

impl DropRule {
    /// The rule of the server a run had; `None` where its `MaxStartups` is not known.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Option<Self> {
        let target = &manifest.target;
        let max_startups: MaxStartups = target.effective_max_startups.as_ref()?.parse().ok()?;
        let per_source = target
            .effective_config
            .iter()
            .any(|(keyword, value)| keyword == "persourcemaxstartups" && value != "none");
        Some(DropRule {
            max_startups: Admission::new(max_startups),
            per_source,
        })
    }
}

/// Which rule refused a connection, as far as its drop line and the draw before it say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// `MaxStartups`, by a random draw.
    Draw,
    /// `MaxStartups`, for certain.
    Full,
    /// `PerSourceMaxStartups`.
    PerSource,
    /// One of the two, worded alike.
    MaxStartupsOrPerSource,
    /// `PerSourcePenalties`, and what the source is banned for.
    Penalty(PenaltyReason),
}

/// Drops with a draw that the rule does not allow, kept in full; all are counted.
const WRONG_DRAWS: usize = 5;

/// What the server's log says of one round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerLogCounts {
    rule: Option<DropRule>,
    /// The listener's last draw. It is one thread and logs a draw just before the drop it decided
    /// (sshd.c:drop_connection), whatever other processes write between.
    last_draw: Option<(u32, u32)>,
    /// Lines read.
    pub lines: u64,
    /// Lines this program does not know.
    pub unknown_lines: u64,
    /// The first of them, in full.
    pub unknown_samples: Vec<String>,
    /// `Connection from`: admitted, session process up.
    pub connections: u64,
    /// `Accepted METHOD for`: authenticated.
    pub accepted: u64,
    /// `drop connection` lines.
    pub drops: DropCounts,
    /// `MaxStartups` drops by the number of slots in use.
    pub drops_by_slots: BTreeMap<u32, u64>,
    /// Draws by probability in per cent: how many, and how many of them meant refusal.
    pub draws: BTreeMap<u32, (u64, u64)>,
    /// Drops whose draw was against another probability than the rule gives for their slots.
    pub wrong_draws: u64,
    /// The first of them, for a person.
    pub wrong_draw_samples: Vec<String>,
    /// Drops that sshd says it did not log one by one (`logging rate-limited: additional N`).
    pub rate_limited_drops: u64,
    /// Whether every drop line was forced out by `LogVerbose`, as its tag shows; true when there was none.
    pub every_drop_forced: bool,
    /// `Failed METHOD for`.
    pub authentication_failures: u64,
    /// `Timeout before authentication`.
    pub grace_timeouts: u64,
    /// `Starting session`.
    pub sessions_started: u64,
    /// `no more sessions`.
    pub sessions_refused: u64,
    /// `fork: …`: admitted but not served; the client sees a close without text.
    pub fork_failures: u64,
    /// `pipe(startup_p)`, `reexec socketpair`: accepted but not served; likewise.
    pub pipe_failures: u64,
    /// `accept: …`.
    pub accept_failures: u64,
    /// Session processes that crashed.
    pub crashes: u64,
    /// Penalties that became active.
    pub penalties_activated: u64,
    /// Look-ups of keys by a command.
    pub key_commands: u64,
    /// Times the listener started over (`Server listening`, also after SIGHUP): its slot counter began at 0 again.
    pub restarts: u64,
}

impl ServerLogCounts {
    /// Empty counts; without a rule the causes of drops worded alike cannot be told apart.
    #[must_use]
    pub fn new(rule: Option<DropRule>) -> Self {
        ServerLogCounts {
            rule,
            every_drop_forced: true,
            ..Self::default()
        }
    }

    /// `MaxStartups` and `PerSourceMaxStartups` are worded alike; slots and draw tell them apart. The order of the
    /// checks is that of sshd.c:drop_connection: the draw first, the source's own limit after it.
    fn max_startups_drop(&mut self, slots: u32) -> Refusal {
        *self
            .drops_by_slots
            .entry(slots.min(MOST_SLOTS))
            .or_default() += 1;
        let draw = self.last_draw.take();
        let Some(rule) = self.rule else {
            return Refusal::MaxStartupsOrPerSource;
        };
        let against = rule.max_startups.drawn_against(slots);
        // A draw that refuses is followed by its own drop; one that admits may be an earlier connection's, unless the
        // rule says that this one was drawn for too.
        let refusing = draw.filter(|(probability, drawn)| drawn < probability);
        let refusal = match (against, draw) {
            (_, _) if refusing.is_some() => Refusal::Draw,
            (None, _) if rule.max_startups.decide(slots, 0) == Decision::Accept => {
                Refusal::PerSource
            }
            (None, _) => Refusal::Full,
            (Some(_), Some(_)) => Refusal::PerSource,
            // No draw in the log: before 8.5 it needs DEBUG1.
            (Some(_), None) if rule.per_source => Refusal::MaxStartupsOrPerSource,
            (Some(_), None) => Refusal::Draw,
        };
        if let Some((probability, _)) = refusing
            && against != Some(probability)
        {
            self.wrong_draws += 1;
            if self.wrong_draw_samples.len() < WRONG_DRAWS {
                let implied = match against {
                    Some(against) => format!("{against} %"),
                    None => String::from("no draw at all"),
                };
                self.wrong_draw_samples.push(format!(
                    "with {slots} slots in use sshd drew against {probability} %, where {} means {implied}",
                    rule.max_startups.max_startups()
                ));
            }
        }
        refusal
    }

    /// Refusals by the server's own account.
    #[must_use]
    pub fn server_drops(&self) -> u64 {
        self.drops.total()
    }

    /// Counts one line. Says which rule refused, where it is a drop.
    pub fn fold(&mut self, event: &ServerLogEvent<'_>) -> Option<Refusal> {
        use ServerLogMessage as M;
        self.lines += 1;
        let mut refused = None;
        match event.message {
            M::Listening { .. } => self.restarts += 1,
            M::Connection { .. } => self.connections += 1,
            M::Draw { probability, drawn } => {
                let (draws, refused) = self.draws.entry(probability).or_default();
                *draws += 1;
                *refused += u64::from(drawn < probability);
                self.last_draw = Some((probability, drawn));
            }
            M::Drop { slots, cause, .. } => {
                self.every_drop_forced &= event.forced;
                let refusal = match cause {
                    DropCause::MaxStartups => self.max_startups_drop(slots),
                    DropCause::Penalty(reason) => Refusal::Penalty(reason),
                };
                self.drops.add(refusal);
                refused = Some(refusal);
            }
            M::RateLimited { dropped, .. } => self.rate_limited_drops += dropped,
            M::Authenticated { .. } => self.accepted += 1,
            M::AuthenticationFailed { .. } => self.authentication_failures += 1,
            M::GraceTimeout { .. } => self.grace_timeouts += 1,
            M::SessionStarted { .. } => self.sessions_started += 1,
            M::SessionRefused => self.sessions_refused += 1,
            M::ForkFailed => self.fork_failures += 1,
            M::PipeFailed => self.pipe_failures += 1,
            M::AcceptFailed => self.accept_failures += 1,
            M::Crashed => self.crashes += 1,
            M::Penalised { active, .. } => self.penalties_activated += u64::from(active),
            M::KeyCommand => self.key_commands += 1,
            M::Unknown { text } => {
                self.unknown_lines += 1;
                if self.unknown_samples.len() < UNKNOWN_SAMPLES {
                    self.unknown_samples
                        .push(text.chars().take(SAMPLE_CHARS).collect());
                }
            }
            M::Stopped
            // Followed by `Server listening`.
            | M::Restarting
            | M::Prohibited { .. }
            | M::ThrottlingBegan
            | M::ThrottlingContinues { .. }
            | M::ThrottlingEnded { .. }
            | M::InvalidUser { .. }
            | M::TooManyAuthenticationFailures
            | M::SessionEnded { .. }
            | M::ReceivedDisconnect { .. }
            | M::Disconnected { .. }
            | M::ConnectionEnded { .. }
            | M::LeftBeforeIdentification { .. }
            | M::ProtocolError { .. }
            | M::Incidental => {}
        }
        refused
    }
}
