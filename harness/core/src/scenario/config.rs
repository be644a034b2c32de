//! Validated scenario settings. A value of these types is runnable; nothing downstream checks again.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::ClientProgram;
use super::keywords::{KeywordError, RefusedKeyword};
use super::machine::{LoginShell, Packages};
use super::tunables::Tunables;
use crate::ids::{RoundId, StrategyName, TaskId};
use crate::release::Release;

/// A runnable scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// Name: letters, digits, `-` and `_`.
    pub name: String,
    /// One sentence for lists and reports.
    pub description: String,
    /// Tasks per round, at least 1.
    pub tasks: u32,
    /// When tasks begin.
    pub arrival: ArrivalConfig,
    /// What each task runs.
    pub job: JobConfig,
    /// Silent clients beside the tasks of every round, which are no tasks; `None` without any.
    pub holders: Option<HoldersConfig>,
    /// The strategies to compare; names are unique, at least one.
    pub strategies: Vec<StrategyConfig>,
    /// Rounds of each strategy, at least 1.
    pub rounds: u32,
    /// Seed of every random draw of the client, and of the order of rounds.
    pub seed: u64,
    /// Factor on every wait: job duration, arrival, poll interval, retry and backoff waits, keepalive.
    /// Deadlines are not scaled, since the work they bound is not.
    pub time_scale: f64,
    /// Bound on the whole run; when it passes the run is stopped and reported as out of time.
    pub max_duration: Duration,
    /// How the server under test is configured.
    pub sshd: SshdConfig,
    /// Thresholds that the run is judged by, as written and in file order.
    pub gate: Vec<String>,
    /// What a demonstration is expected to show, in the same words. Said to be met or not; decides nothing.
    pub expectations: Vec<String>,
    /// Where its file lies: what relative paths in it count from. `None` for one that comes from no file.
    pub folder: Option<PathBuf>,
}

impl Scenario {
    /// A wait shrunk by `time_scale`; one that is too long to be written down is the longest there is.
    #[must_use]
    pub fn scaled(&self, wait: Duration) -> Duration {
        Duration::try_from_secs_f64(self.time_scale * wait.as_secs_f64()).unwrap_or(Duration::MAX)
    }

    /// Names of the strategies, in the order of the scenario.
    #[must_use]
    pub fn strategy_names(&self) -> Vec<StrategyName> {
        self.strategies
            .iter()
            .map(|strategy| strategy.name.clone())
            .collect()
    }

    /// The clients under test.
    pub fn programs(&self) -> impl Iterator<Item = (&StrategyConfig, &ClientProgram)> {
        self.strategies
            .iter()
            .filter_map(|strategy| Some((strategy, strategy.program.as_ref()?)))
    }

    /// The shortest deadline of any client.
    #[must_use]
    pub fn shortest_deadline(&self) -> Option<Duration> {
        self.strategies
            .iter()
            .map(|strategy| strategy.tunables.shortest_deadline(strategy.kind))
            .min()
    }
}

/// When tasks begin.
#[derive(Debug, Clone, PartialEq)]
pub struct ArrivalConfig {
    /// The pattern of intended starts.
    pub shape: ArrivalShape,
    /// At most this many tasks at once; a task whose turn comes later keeps its intended start.
    pub max_in_flight: Option<u32>,
}

/// The pattern of intended starts.
#[derive(Debug, Clone, PartialEq)]
pub enum ArrivalShape {
    /// All at the same instant.
    Burst,
    /// Evenly spread over a time (scaled).
    Ramp {
        /// From the first start to the last.
        over: Duration,
    },
    /// A Poisson process (exponential gaps; scaled).
    Poisson {
        /// Mean arrivals per second.
        rate_per_s: f64,
    },
    /// So many at the same instant, again and again, as a scheduler's ticks make them (scaled).
    Batches {
        /// Tasks of one batch; the last one may be smaller.
        size: u32,
        /// From one batch to the next.
        every: Duration,
    },
    /// As they were seen somewhere, such as in a log (scaled): one start for each task, in order.
    Recorded {
        /// After the first moment of the recording.
        offsets: Vec<Duration>,
        /// The step of the recording's clock: where in a step a start was is not known, and drawn.
        resolution: Duration,
    },
}

/// Silent clients that hold startup slots beside the tasks of a round: half-open connections, a scanner, clients that hang.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldersConfig {
    /// How many, at least 1. They connect one after the other before any task begins.
    pub count: u32,
    /// When they leave.
    pub until: HoldUntil,
}

/// When holders leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HoldUntil {
    /// When the last task of the round has ended.
    RoundEnd,
    /// When sshd's `LoginGraceTime` ends them; the round lasts until it has.
    GraceTime,
}

/// The remote job of each task.
#[derive(Debug, Clone, PartialEq)]
pub struct JobConfig {
    /// How long it runs (scaled).
    pub duration: Duration,
    /// Lines it writes to its log, spread over its duration.
    pub log_lines: u32,
    /// Bytes it writes in all (at least one byte, the newline, for each line).
    pub log_bytes: u64,
    /// Its exit code.
    pub exit_code: u8,
    /// Share of tasks killed (client side, without a word) before the job completes, 0 to 1.
    pub killed_share: f64,
}

/// One strategy with all its tunables.
#[derive(Debug, Clone, PartialEq)]
pub struct StrategyConfig {
    /// Name in reports and thresholds; by default the kind's.
    pub name: StrategyName,
    /// Which connection strategy.
    pub kind: StrategyKind,
    /// Its tunables.
    pub tunables: Tunables,
    /// The client under test; of `command`, and of no other.
    pub program: Option<ClientProgram>,
}

/// How a task uses connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StrategyKind {
    /// One connection for every command (Airflow SSH provider up to 5.0.2).
    PerCommand,
    /// One connection for detect and submit, one held through monitoring, one for cleanup (5.0.3 and later).
    ReusedSession,
    /// No job: one connection that takes a startup slot and stays silent before authentication until every task of the
    /// round has been admitted or refused.
    Stalled,
    /// No job: a single client that keeps every admitted connection silent and tries again until `full` of them are
    /// held; it knows at every attempt how many slots are in use. Needs `tasks = 1`.
    Staircase,
    /// No job: one connection, one command, the end. What git over ssh, rsync, cron and Ansible without ControlPersist do.
    OneShot,
    /// No job: one command a task, on a connection that several tasks share, with a channel for each at the same time. The
    /// best that a client can do.
    Multiplexed,
    /// No job: logins with a key that the server does not know, at a spacing, until the server bans the source or all are
    /// made; then a valid key, until the ban is over. Every task has a spacing and a source address of its own.
    FailingLogin,
    /// No strategy of ours: a program that is started for every task, or once for all of them, and is seen by the server
    /// only.
    Command,
}

/// What the life of a task is made of: which phases it has, and what must be there for it to succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    /// A remote job: submitted, watched to its end, cleaned up.
    Job(JobLife),
    /// Startup slots taken and held; nobody logs in.
    Hold(HoldLife),
    /// One command on one connection.
    Once,
    /// One command on a connection shared with other tasks.
    Shared,
    /// Logins that fail on purpose.
    Failing,
    /// Whatever a program does.
    Program,
}

/// How a remote job's commands share connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobLife {
    /// A connection for every command.
    PerCommand,
    /// A connection for every phase.
    ReusedSession,
}

/// How startup slots are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HoldLife {
    /// One by every task.
    Stalled,
    /// One after another by a single task.
    Staircase,
}

impl StrategyKind {
    /// All kinds.
    pub const ALL: [StrategyKind; 8] = [
        StrategyKind::PerCommand,
        StrategyKind::ReusedSession,
        StrategyKind::Stalled,
        StrategyKind::Staircase,
        StrategyKind::OneShot,
        StrategyKind::Multiplexed,
        StrategyKind::FailingLogin,
        StrategyKind::Command,
    ];

    /// What the life of its tasks is made of.
    #[must_use]
    pub fn life(self) -> Life {
        match self {
            StrategyKind::PerCommand => Life::Job(JobLife::PerCommand),
            StrategyKind::ReusedSession => Life::Job(JobLife::ReusedSession),
            StrategyKind::Stalled => Life::Hold(HoldLife::Stalled),
            StrategyKind::Staircase => Life::Hold(HoldLife::Staircase),
            StrategyKind::OneShot => Life::Once,
            StrategyKind::Multiplexed => Life::Shared,
            StrategyKind::FailingLogin => Life::Failing,
            StrategyKind::Command => Life::Program,
        }
    }

    /// The word used in scenarios and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StrategyKind::PerCommand => "per-command",
            StrategyKind::ReusedSession => "reused-session",
            StrategyKind::Stalled => "stalled",
            StrategyKind::Staircase => "staircase",
            StrategyKind::OneShot => "one-shot",
            StrategyKind::Multiplexed => "multiplexed",
            StrategyKind::FailingLogin => "failing-login",
            StrategyKind::Command => "command",
        }
    }
}

impl Tunables {
    /// The shortest deadline that a strategy of this kind has.
    #[must_use]
    pub fn shortest_deadline(&self, kind: StrategyKind) -> Duration {
        let connecting = [self.conn_timeout, self.banner_timeout, self.login_timeout];
        let commands = match kind.life() {
            // Its deadlines are its own.
            Life::Program => return Duration::MAX,
            Life::Job(_) => vec![
                self.detect_timeout,
                self.submit_timeout,
                self.command_timeout,
                self.cleanup_timeout,
            ],
            Life::Hold(_) | Life::Failing => Vec::new(),
            Life::Once | Life::Shared => vec![self.command_timeout],
        };
        connecting
            .into_iter()
            .chain(commands)
            .fold(Duration::MAX, Duration::min)
    }
}

/// Settings of the server under test.
#[derive(Debug, Clone, PartialEq)]
pub struct SshdConfig {
    /// `MaxStartups`; always written in the three-number form and exactly once.
    pub max_startups: MaxStartups,
    /// Oldest OpenSSH release the scenario says something about.
    pub min_release: Option<Release>,
    /// Debian packages that the server's machine must have, for what clients run there.
    pub packages: Packages,
    /// Login shell of the jobs' user, which sshd gives every command to; `None` leaves it as it is there.
    pub login_shell: Option<LoginShell>,
    /// What every login waits for before sshd knows its keys, with its startup slot held: a directory service that is slow.
    pub slow_auth: Option<SlowAuth>,
    /// Whether clients and server have CPUs of their own.
    pub separate_cores: bool,
    /// Further `sshd_config` keywords as the scenario spells them, in order, each line of a keyword whose lines sshd adds up;
    /// none of those the harness owns
    /// (`MaxStartups`, `Port`, `ListenAddress`, `HostKey`, `AuthorizedKeysFile`, `PidFile`, `LogLevel`, `LogVerbose`, …).
    pub keywords: Vec<(String, String)>,
    /// Keywords in force for monitoring connections only. When there are any, monitoring connects from
    /// [`MONITORING_SOURCE`], as a triggerer on a host of its own would, and the server applies them to that
    /// address (`Match Address`).
    pub monitoring_keywords: Vec<(String, String)>,
}

/// How long looking up the keys of a login takes. It is the server's, and so it is not scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlowAuth {
    /// In all for one login, whether sshd looks once or twice (a client may ask first whether a key would do).
    pub mean: Duration,
    /// How it varies between logins.
    pub shape: SlowAuthShape,
}

/// How the time of a look-up varies between logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SlowAuthShape {
    /// Always the same.
    Fixed,
    /// Exponentially distributed: mostly short, sometimes long.
    Exponential,
}

/// Source address of monitoring connections when the server is to tell them from the submitting ones.
pub const MONITORING_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// Source address of a task whose logins fail: its own in each round, so that sshd has counted nothing against it before.
/// Below 127.64.0.0, where the addresses that tasks connect to begin; `task` is below [`MOST_SOURCES`].
#[must_use]
pub fn failing_source(round: RoundId, task: TaskId) -> Ipv4Addr {
    let [high, low] = [round.0 / 256 % 63, round.0 % 256].map(|part| part as u8);
    Ipv4Addr::new(127, 1 + high, low, 1 + (task.0 % MOST_SOURCES) as u8)
}

/// Tasks of one round that can have a source address of their own.
pub const MOST_SOURCES: u32 = 250;

impl SshdConfig {
    /// That of a scenario that says nothing but its `MaxStartups`.
    #[must_use]
    pub fn of(max_startups: MaxStartups) -> Self {
        SshdConfig {
            max_startups,
            min_release: None,
            packages: Packages::new(),
            login_shell: None,
            slow_auth: None,
            separate_cores: false,
            keywords: Vec::new(),
            monitoring_keywords: Vec::new(),
        }
    }

    /// The value of a keyword, compared as sshd does: without regard to case. Of one that is there several times, the first.
    #[must_use]
    pub fn keyword(&self, name: &str) -> Option<&str> {
        self.keywords
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether the server is to ban addresses for what their clients do (`PerSourcePenalties`); without a word of the
    /// scenario it is not.
    #[must_use]
    pub fn penalises(&self) -> bool {
        self.keywords.iter().any(|(keyword, value)| {
            keyword.eq_ignore_ascii_case("PerSourcePenalties")
                && !value.trim().eq_ignore_ascii_case("no")
        })
    }

    /// Sets keywords: what is given takes the place of every value that the keyword had. One whose lines sshd adds up
    /// ([`adds_up`](super::adds_up)) may be given several times.
    ///
    /// # Errors
    /// [`RefusedKeyword`] when the harness owns a keyword, it cannot be written as one line, or another one is given twice.
    pub fn set_keywords(&mut self, given: &[(String, String)]) -> Result<(), RefusedKeyword> {
        let as_typed = |(keyword, value): &(String, String)| format!("{keyword}={value}");
        for (index, (keyword, value)) in given.iter().enumerate() {
            let refused = |error| RefusedKeyword {
                keyword: keyword.clone(),
                error,
            };
            super::keywords::check(keyword, value).map_err(refused)?;
            let before = given[..index]
                .iter()
                .find(|(earlier, _)| earlier.eq_ignore_ascii_case(keyword));
            if let Some(before) = before.filter(|_| !super::adds_up(keyword)) {
                return Err(refused(KeywordError::Twice {
                    first: as_typed(before),
                    second: as_typed(&given[index]),
                }));
            }
        }
        let is_given = |keyword: &str| {
            given
                .iter()
                .any(|(other, _)| other.eq_ignore_ascii_case(keyword))
        };
        self.keywords.retain(|(present, _)| !is_given(present));
        self.keywords.extend(given.iter().cloned());
        Ok(())
    }
}

/// `MaxStartups start:rate:full` (sshd servconf.c, `sMaxStartups`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaxStartups {
    /// Unauthenticated connections below which none is refused.
    pub start: u32,
    /// Per cent refused at `start`.
    pub rate: u32,
    /// Unauthenticated connections at which all are refused.
    pub full: u32,
}

/// Why a `MaxStartups` value is not one sshd would take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMaxStartups {
    /// Not three numbers.
    #[error(
        "`{0}` is not `start:rate:full`, three whole numbers such as `10:30:100` (OpenSSH 10.1 and 10.2 misread the one-number form)"
    )]
    Form(String),
    /// `start` or `full` is zero.
    #[error(
        "`start` and `full` must be at least 1 (OpenSSH 9.2 and later refuse 0, older ones die of it)"
    )]
    Zero,
    /// `start` is greater than `full`.
    #[error("`start` {0} is greater than `full` {1}; sshd refuses that")]
    StartAboveFull(u32, u32),
    /// `rate` is not a per cent value from 1 to 100.
    #[error("`rate` {0} is not between 1 and 100 per cent")]
    Rate(u32),
    /// So large that sshd's own integer arithmetic overflows.
    #[error("`full` {0} overflows sshd's arithmetic; use at most 1000000")]
    TooLarge(u32),
}

impl MaxStartups {
    /// Slots in use from which every connection is refused: `full`, or `start` where the rate leaves nothing to chance
    /// (sshd.c:should_drop_connection).
    #[must_use]
    pub fn shut_from(self) -> u32 {
        if self.rate >= 100 {
            self.start
        } else {
            self.full
        }
    }

    /// Checks the numbers as sshd does.
    ///
    /// # Errors
    /// [`InvalidMaxStartups`] where sshd would refuse them or misbehave.
    pub fn new(start: u32, rate: u32, full: u32) -> Result<Self, InvalidMaxStartups> {
        if start == 0 || full == 0 {
            return Err(InvalidMaxStartups::Zero);
        }
        if start > full {
            return Err(InvalidMaxStartups::StartAboveFull(start, full));
        }
        if !(1..=100).contains(&rate) {
            return Err(InvalidMaxStartups::Rate(rate));
        }
        if full > 1_000_000 {
            return Err(InvalidMaxStartups::TooLarge(full));
        }
        Ok(MaxStartups { start, rate, full })
    }
}

impl FromStr for MaxStartups {
    type Err = InvalidMaxStartups;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || InvalidMaxStartups::Form(text.to_owned());
        let numbers: Vec<u32> = text
            .split(':')
            .map(|part| part.parse::<u32>().map_err(|_| form()))
            .collect::<Result<_, _>>()?;
        match numbers[..] {
            [start, rate, full] => MaxStartups::new(start, rate, full),
            _ => Err(form()),
        }
    }
}

impl fmt::Display for MaxStartups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.start, self.rate, self.full)
    }
}
