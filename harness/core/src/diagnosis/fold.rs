//! The fold over a log's lines.
//!
//! Owns what a line counts as. Lines without a program's name (`sshd -E`, `docker logs`) may be a server's or a client's: what
//! only a server says decides that for all of one file and origin, at its end.

use super::add;
use super::arrivals::{Arrival, ArrivalTable, ArrivalWindow, Arrivals, NoArrivals};
use super::client::{ClientMessage, ClientMessages};
use super::episodes::{Cause, Episodes, Listener, SingleDrop};
use super::logins::LoginRate;
use super::losses;
use super::result::{
    ClientCount, Diagnosis, EpisodeRule, LineCounts, LogLevel, Losses, OtherCounts, WhyAtLeast,
};
use super::shapes::Shapes;
use super::sight::Sights;
use super::sources::SourceTable;
use crate::release::Release;
use crate::scenario::MaxStartups;
use crate::server_log::{
    DropCause, Enveloped, Envelopes, Moment, RateLimitedDrops, ServerLogEvent, ServerLogMessage,
    Severity, parse_message,
};

/// Origins of lines without a program that are told apart within a file.
const MOST_ORIGINS: usize = 100;
/// Most repetitions that one line may stand for.
const MOST_REPEATS: u64 = 1_000_000_000;

/// Lines of several processes may be written so much out of order, microseconds.
const DISORDER: i64 = 1_000_000;

/// Reads a log, line by line.
#[derive(Debug)]
pub struct Diagnoser {
    envelopes: Envelopes,
    fold: Fold,
}

impl Diagnoser {
    /// At the beginning of the first file. `max_startups` tells `MaxStartups` and `PerSourceMaxStartups` apart, which sshd logs
    /// alike; `release` is the server's, where it is known.
    #[must_use]
    pub fn new(max_startups: Option<MaxStartups>, release: Option<Release>) -> Self {
        Diagnoser {
            envelopes: Envelopes::new(0),
            fold: Fold {
                max_startups,
                lines: LineCounts::default(),
                span: None,
                before: None,
                out_of_order: 0,
                level: None,
                release,
                sights: Sights::new(release),
                episodes: Episodes::default(),
                sources: SourceTable::default(),
                other: OtherCounts::default(),
                logins: LoginRate::new(),
                losses: Losses::default(),
                search: ClientMessages::new(),
                client: Vec::new(),
                shapes: Shapes::default(),
                nameless: Vec::new(),
                previous: Previous::default(),
                arrivals: None,
            },
        }
    }

    /// Collects the arrivals of a part of the log's time too.
    #[must_use]
    pub fn collecting(mut self, window: ArrivalWindow) -> Self {
        self.fold.arrivals = Some(ArrivalTable::within(window));
        self
    }

    /// The arrivals, where they were to be collected.
    pub fn take_arrivals(&mut self) -> Option<Result<Arrivals, NoArrivals>> {
        self.fold.arrivals.take().map(ArrivalTable::finish)
    }

    /// Begins a file that was last written to at `written` (microseconds since 1970), after which stamps without a year are read.
    /// Episodes go on from one file into the next, as those of rotated logs do.
    pub fn begin_file(&mut self, written: i64) {
        self.fold.end_file();
        self.envelopes = Envelopes::new(written);
    }

    /// Counts one line, without its line end.
    pub fn line(&mut self, line: &str) {
        let Diagnoser { envelopes, fold } = self;
        envelopes.open(line, |line| fold.line(line));
    }

    /// The result.
    #[must_use]
    pub fn finish(mut self) -> Diagnosis {
        self.fold.end_file();
        self.fold.finish()
    }
}

/// What one line counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Sshd,
    Unknown,
    Debug,
    Client,
    Loss,
    Other,
    Unreadable,
    /// Decided at the end of the file.
    Open,
}

/// The last line of sshd's, for `last message repeated N times`.
#[derive(Debug, Default)]
struct Previous {
    text: String,
    pid: Option<u32>,
    there: bool,
}

/// Lines without a program's name, of one origin in one file.
#[derive(Debug, Default)]
struct Nameless {
    origin: Option<String>,
    /// A line that only a server writes was among them.
    server: bool,
    /// `kex_exchange_identification: Connection closed by remote host`: here the server's, there the client's.
    closed: u64,
    reset: u64,
    exchange_failed: u64,
    /// `Connection closed by …` alone, and right after one of those above.
    ended_closed: u64,
    ended_reset: u64,
    after_exchange: u64,
    /// Other words that both use, and of no consequence.
    neutral: u64,
    protocol_errors: u64,
    debug: u64,
    unknown: u64,
    shapes: Shapes,
    exchange_before: bool,
}

#[derive(Debug)]
struct Fold {
    max_startups: Option<MaxStartups>,
    lines: LineCounts,
    span: Option<(Moment, Moment)>,
    /// The stamp of the line before, in this file.
    before: Option<Moment>,
    out_of_order: u64,
    level: Option<LogLevel>,
    release: Option<Release>,
    sights: Sights,
    episodes: Episodes,
    sources: SourceTable,
    other: OtherCounts,
    logins: LoginRate,
    losses: Losses,
    search: ClientMessages,
    client: Vec<ClientCount>,
    shapes: Shapes,
    nameless: Vec<Nameless>,
    previous: Previous,
    arrivals: Option<ArrivalTable>,
}

impl Fold {
    fn line(&mut self, line: Enveloped<'_>) {
        self.lines.total += 1;
        let of_sshd = line.of_sshd();
        let class = match of_sshd {
            Some(true) => self.sshd(line, 1),
            Some(false) => self.of_another_program(line),
            None => self.of_nobody(line),
        };
        self.previous.there = of_sshd == Some(true);
        if self.previous.there {
            self.previous.text.clear();
            self.previous.text.push_str(line.text);
            self.previous.pid = line.pid;
        }
        let count = match class {
            Class::Sshd => &mut self.lines.sshd,
            Class::Unknown => &mut self.lines.sshd_unknown,
            Class::Debug => &mut self.lines.sshd_debug,
            Class::Client => &mut self.lines.client,
            Class::Loss => &mut self.lines.loss,
            Class::Other => &mut self.lines.other,
            Class::Unreadable => &mut self.lines.unreadable,
            Class::Open => return,
        };
        *count += 1;
    }

    /// A line whose envelope names sshd.
    fn sshd(&mut self, line: Enveloped<'_>, times: u64) -> Class {
        // rsyslog folds lines that are alike into the last of them.
        let (repeats, text) = repeated(line.text).unwrap_or((1, line.text));
        let times = times.saturating_mul(repeats).min(MOST_REPEATS);
        let line = Enveloped { text, ..line };
        let event = parse_message(line.pid, text);
        self.said(line, &event, times)
    }

    /// What a line of sshd's says.
    fn said(&mut self, line: Enveloped<'_>, event: &ServerLogEvent<'_>, times: u64) -> Class {
        self.saw(line.stamp);
        self.sights.line(line, &event.message);
        match line.program {
            Some("sshd-auth") => self.at_least_release(line, Release::new(10, 0)),
            Some("sshd-session") => self.at_least_release(line, Release::new(9, 8)),
            _ => {}
        }
        match event.message {
            ServerLogMessage::Unknown { text } => {
                self.saw_level(line, event);
                if matches!(event.severity, Severity::Debug(_)) {
                    return Class::Debug;
                }
                self.shapes.count(text, times);
                Class::Unknown
            }
            _ => {
                self.event(line, event, times);
                Class::Sshd
            }
        }
    }

    fn of_another_program(&mut self, line: Enveloped<'_>) -> Class {
        let program = line.program.unwrap_or("");
        // Old syslogd's folding: `host last message repeated 3 times`, of the line before.
        if program.is_empty()
            && self.previous.there
            && let Some(times) = last_repeated(line.text)
        {
            let text = std::mem::take(&mut self.previous.text);
            let again = Enveloped {
                program: Some("sshd"),
                pid: self.previous.pid,
                text: &text,
                ..line
            };
            return self.sshd(again, times);
        }
        if let Some(lines) = losses::announced(program, line.text) {
            self.losses.announcements += 1;
            add(&mut self.losses.lines, lines.unwrap_or(0));
            return Class::Loss;
        }
        match self.search.find(line.text) {
            Some(message) => {
                self.complaint(message, 1);
                Class::Client
            }
            None => Class::Other,
        }
    }

    /// A line without a program's name.
    fn of_nobody(&mut self, line: Enveloped<'_>) -> Class {
        use ServerLogMessage as M;
        let text = line.text;
        // `-- Boot …`, `-- Logs begin at …`, `-- No entries --`: journalctl's own.
        if text.is_empty() || text.starts_with("-- ") {
            return Class::Other;
        }
        if text.starts_with('{') {
            return Class::Unreadable;
        }
        let event = parse_message(line.pid, text);
        let at = self.nameless(line.origin);
        let exchange_before = std::mem::take(&mut self.nameless[at].exchange_before);
        let open = match event.message {
            _ if event.forced || event.preauth => None,
            M::LeftBeforeIdentification { reset } => {
                let nameless = &mut self.nameless[at];
                nameless.exchange_before = true;
                Some(if reset {
                    &mut nameless.reset
                } else {
                    &mut nameless.closed
                })
            }
            M::ConnectionEnded { reset, .. } => {
                let nameless = &mut self.nameless[at];
                Some(match (exchange_before, reset) {
                    (true, _) => &mut nameless.after_exchange,
                    (false, false) => &mut nameless.ended_closed,
                    (false, true) => &mut nameless.ended_reset,
                })
            }
            M::ProtocolError { source: None } => match self.search.find(text) {
                Some(ClientMessage::RefusalText) => {
                    self.complaint(ClientMessage::RefusalText, 1);
                    return Class::Client;
                }
                _ => Some(&mut self.nameless[at].exchange_failed),
            },
            M::ProtocolError { .. } => Some(&mut self.nameless[at].protocol_errors),
            M::ReceivedDisconnect { .. } | M::Disconnected { .. } | M::Incidental => {
                Some(&mut self.nameless[at].neutral)
            }
            M::Unknown { text: message } => {
                if let Some(message) = self.search.find(text) {
                    self.complaint(message, 1);
                    return Class::Client;
                }
                let nameless = &mut self.nameless[at];
                Some(if matches!(event.severity, Severity::Debug(_)) {
                    &mut nameless.debug
                } else {
                    nameless.shapes.count(message, 1);
                    &mut nameless.unknown
                })
            }
            _ => None,
        };
        if let Some(count) = open {
            *count += 1;
            self.sights.maybe_line(line.origin);
            return Class::Open;
        }
        self.nameless[at].server |= event.forced
            || event.preauth
            || matches!(
                event.message,
                M::Listening { .. }
                    | M::Connection { .. }
                    | M::Draw { .. }
                    | M::Drop { .. }
                    | M::ThrottlingBegan
                    | M::ThrottlingContinues { .. }
                    | M::ThrottlingEnded { .. }
                    | M::RateLimited { .. }
                    | M::Authenticated { .. }
                    | M::AuthenticationFailed { .. }
                    | M::InvalidUser { .. }
                    | M::Prohibited { .. }
                    | M::GraceTimeout { .. }
                    | M::SessionStarted { .. }
                    | M::SessionEnded { .. }
                    | M::Penalised { .. }
                    | M::KeyCommand
            );
        self.said(line, &event, 1)
    }

    /// The place of an origin's lines without a program; beyond the last one that is told apart, origins share it.
    fn nameless(&mut self, origin: Option<&str>) -> usize {
        let place = self
            .nameless
            .iter()
            .position(|nameless| nameless.origin.as_deref() == origin);
        place.unwrap_or_else(|| {
            if self.nameless.len() < MOST_ORIGINS {
                self.nameless.push(Nameless {
                    origin: origin.map(str::to_owned),
                    ..Nameless::default()
                });
            }
            self.nameless.len() - 1
        })
    }

    /// Decides whose the lines without a program were.
    fn end_file(&mut self) {
        self.previous.there = false;
        self.before = None;
        for nameless in std::mem::take(&mut self.nameless) {
            let exchanges = nameless.closed + nameless.reset + nameless.exchange_failed;
            let ends = nameless.ended_closed + nameless.ended_reset + nameless.after_exchange;
            let lines = &mut self.lines;
            if nameless.server {
                lines.sshd += exchanges + ends + nameless.neutral + nameless.protocol_errors;
                lines.sshd_unknown += nameless.unknown;
                lines.sshd_debug += nameless.debug;
                self.shapes.merge(nameless.shapes);
                let left = nameless.closed + nameless.reset;
                add(&mut self.other.left_before_identification, left);
                let errors = nameless.exchange_failed + nameless.protocol_errors;
                add(&mut self.other.protocol_errors, errors);
                if nameless.debug > 0 {
                    self.at_level(nameless.origin.as_deref(), LogLevel::Debug);
                }
                continue;
            }
            lines.client += exchanges + ends;
            lines.other +=
                nameless.neutral + nameless.protocol_errors + nameless.unknown + nameless.debug;
            for (message, count) in [
                (ClientMessage::ExchangeClosed, nameless.closed),
                (ClientMessage::ExchangeReset, nameless.reset),
                (ClientMessage::ExchangeFailed, nameless.exchange_failed),
                (ClientMessage::Closed, nameless.ended_closed),
                (ClientMessage::Reset, nameless.ended_reset),
            ] {
                self.complaint(message, count);
            }
        }
    }

    fn complaint(&mut self, message: ClientMessage, count: u64) {
        if count == 0 {
            return;
        }
        match self.client.iter_mut().find(|it| it.message == message) {
            Some(it) => add(&mut it.count, count),
            None => self.client.push(ClientCount { message, count }),
        }
    }

    fn at_least_release(&mut self, line: Enveloped<'_>, release: Release) {
        self.release = self.release.max(Some(release));
        self.sights.at_least_release(line.origin, release);
    }

    fn at_level(&mut self, origin: Option<&str>, level: LogLevel) {
        self.level = self.level.max(Some(level));
        self.sights.at_level(origin, level);
    }

    /// A stamp on a line of sshd's.
    fn saw(&mut self, at: Option<Moment>) {
        let Some(at) = at else { return };
        let before = self.before.replace(at);
        self.out_of_order += u64::from(before.is_some_and(|before| before.since(at) > DISORDER));
        self.span = Some(match self.span {
            None => (at, at),
            Some((from, to)) => (from.min(at), to.max(at)),
        });
    }

    /// What a line proves of `LogLevel`. `LogVerbose` forces lines out whatever it is.
    fn saw_level(&mut self, line: Enveloped<'_>, event: &ServerLogEvent<'_>) {
        use ServerLogMessage as M;
        if event.forced {
            self.at_least_release(line, Release::new(8, 5));
            return;
        }
        let level = match (event.severity, &event.message) {
            (Severity::Debug(_), _) => LogLevel::Debug,
            (Severity::Error | Severity::Fatal, _) => LogLevel::Error,
            (_, M::Connection { .. }) => LogLevel::Verbose,
            (
                _,
                M::Authenticated { .. }
                | M::ReceivedDisconnect { .. }
                | M::Disconnected { .. }
                | M::InvalidUser { .. }
                | M::Listening { .. }
                // Shown at VERBOSE, but `Match` may have set that for one user.
                | M::SessionStarted { .. }
                | M::SessionEnded { .. }
                | M::ThrottlingEnded { .. }
                | M::RateLimited { .. }
                | M::Drop { .. },
            ) => LogLevel::Info,
            (_, M::ThrottlingBegan | M::ThrottlingContinues { .. }) => LogLevel::Error,
            _ => return,
        };
        self.at_level(line.origin, level);
    }

    fn came(&mut self, arrival: Arrival, line: Enveloped<'_>, times: u64) {
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.came(arrival, line.origin, line.stamp, times);
        }
    }

    /// A line that is understood.
    fn event(&mut self, line: Enveloped<'_>, event: &ServerLogEvent<'_>, times: u64) {
        use ServerLogMessage as M;
        self.saw_level(line, event);
        let at = line.stamp;
        let who = || Listener {
            origin: line.origin.map(str::to_owned),
            pid: event.pid,
        };
        if matches!(
            event.message,
            M::Drop { .. }
                | M::ThrottlingBegan
                | M::ThrottlingContinues { .. }
                | M::ThrottlingEnded { .. }
                | M::RateLimited { .. }
        ) {
            self.sights.dropped(line.origin);
        }
        match event.message {
            M::Draw { probability, drawn } => self.episodes.drew(&who(), probability, drawn),
            M::Drop {
                slots,
                source,
                local,
                cause,
            } => {
                let who = who();
                // The last words, which up to 9.9 are `past MaxStartups`.
                let words = line.text.trim_end_matches(" [preauth]");
                let startups = cause == DropCause::MaxStartups;
                let old = startups && words.rsplit(' ').nth(1).is_some_and(|word| word == "past");
                match cause {
                    DropCause::MaxStartups if old => {}
                    DropCause::MaxStartups => self.at_least_release(line, Release::new(10, 0)),
                    DropCause::Penalty(_) => self.at_least_release(line, Release::new(9, 8)),
                }
                let cause = match cause {
                    DropCause::MaxStartups => {
                        let draw = self.episodes.take_draw(&who);
                        cause_of(slots, draw, self.max_startups)
                    }
                    DropCause::Penalty(reason) => Cause::Penalty(reason.as_str()),
                };
                // Without a slot in use MaxStartups refuses nobody.
                let by_startups = startups && cause != Cause::PerSource;
                self.came(Arrival::Refusal(by_startups.then_some(slots)), line, times);
                self.sources.dropped(
                    source.address,
                    matches!(cause, Cause::Penalty(_)),
                    at,
                    times,
                );
                let drop = SingleDrop {
                    cause,
                    slots,
                    port: local.port,
                    old,
                    debug: matches!(event.severity, Severity::Debug(_)),
                    forced: event.forced,
                    times,
                };
                self.episodes.dropped(&who, at, drop);
            }
            M::ThrottlingBegan => {
                self.at_least_release(line, Release::new(8, 4));
                self.episodes.began(&who(), at);
            }
            M::ThrottlingContinues { dropped } => {
                self.at_least_release(line, Release::new(8, 4));
                self.episodes.continues(&who(), at, dropped);
            }
            M::ThrottlingEnded { dropped } => {
                self.at_least_release(line, Release::new(8, 4));
                let lasted = duration_before_comma(line.text);
                self.episodes.ended(&who(), at, lasted, dropped);
            }
            M::RateLimited { which, dropped } => {
                self.at_least_release(line, Release::new(10, 0));
                let rule = match which {
                    RateLimitedDrops::MaxStartups => EpisodeRule::MaxStartups,
                    RateLimitedDrops::Penalties => EpisodeRule::Penalties,
                };
                self.episodes.held_back(&who(), rule, at, dropped);
            }
            M::Listening { port } => {
                add(&mut self.other.listening, times);
                self.episodes.restarted(&who(), port);
            }
            M::Authenticated { source, .. } => {
                self.came(Arrival::Login, line, times);
                self.logins.count(at, times);
                self.sources.logged_in(source.address, times);
            }
            M::GraceTimeout { source } => {
                add(&mut self.other.grace_timeouts, times);
                if source.is_none() {
                    self.at_least_release(line, Release::new(9, 8));
                }
            }
            M::Connection { local, .. } => {
                if !event.forced {
                    self.episodes.is_verbose(line.origin, local.port);
                }
                self.came(Arrival::Connection, line, times);
                add(&mut self.other.connections, times);
            }
            M::AuthenticationFailed { .. } => add(&mut self.other.authentication_failures, times),
            M::TooManyAuthenticationFailures => {
                add(&mut self.other.too_many_authentication_failures, times);
            }
            M::Prohibited { .. } => add(&mut self.other.prohibited, times),
            M::SessionRefused => add(&mut self.other.sessions_refused, times),
            M::LeftBeforeIdentification { .. } => {
                add(&mut self.other.left_before_identification, times);
            }
            M::ProtocolError { .. } => add(&mut self.other.protocol_errors, times),
            M::Penalised { active, .. } => {
                self.at_least_release(line, Release::new(9, 8));
                add(
                    &mut self.other.penalties_imposed,
                    if active { times } else { 0 },
                );
            }
            M::ForkFailed => add(&mut self.other.fork_failed, times),
            M::AcceptFailed => add(&mut self.other.accept_failed, times),
            M::PipeFailed => add(&mut self.other.pipe_failed, times),
            M::Crashed => add(&mut self.other.crashes, times),
            M::Stopped
            | M::Restarting
            | M::KeyCommand
            | M::InvalidUser { .. }
            | M::SessionStarted { .. }
            | M::SessionEnded { .. }
            | M::ReceivedDisconnect { .. }
            | M::Disconnected { .. }
            | M::ConnectionEnded { .. }
            | M::Incidental
            | M::Unknown { .. } => {}
        }
    }

    fn finish(self) -> Diagnosis {
        let (mut drops, episodes, episodes_not_listed) = self.episodes.finish();
        if self.losses.announcements > 0 {
            drops.at_least_because.push(WhyAtLeast::LinesLost);
        }
        if self.sights.ends_blind() {
            drops.at_least_because.push(WhyAtLeast::Level);
        }
        let mut client_messages = self.client;
        client_messages.sort_by_key(|it| it.message);
        let (unknown_shapes, unknown_not_listed) = self.shapes.into_list();
        Diagnosis {
            lines: self.lines,
            from: self.span.map(|(from, _)| from),
            to: self.span.map(|(_, to)| to),
            out_of_order: self.out_of_order,
            level: self.level,
            release_at_least: self.release,
            drops,
            episodes,
            episodes_not_listed,
            sources: self.sources.finish(),
            other: self.other,
            logins: self.logins.finish(self.span),
            losses: self.losses,
            client_messages,
            unknown_shapes,
            unknown_not_listed,
        }
    }
}

/// `MaxStartups` and `PerSourceMaxStartups` are worded alike. The draw comes first (sshd.c:drop_connection), and one that refuses
/// is followed by its own refusal; with no slot in use, or fewer than `start`, it cannot be `MaxStartups`.
fn cause_of(slots: u32, draw: Option<(u32, u32)>, max_startups: Option<MaxStartups>) -> Cause {
    if draw.is_some_and(|(probability, drawn)| drawn < probability) {
        return Cause::MaxStartups;
    }
    match max_startups {
        _ if slots == 0 => Cause::PerSource,
        Some(set) if slots < set.start => Cause::PerSource,
        Some(set) if slots >= set.shut_from() => Cause::MaxStartups,
        _ => Cause::Either,
    }
}

/// `message repeated N times: [ text]`.
fn repeated(text: &str) -> Option<(u64, &str)> {
    let rest = text.strip_prefix("message repeated ")?;
    let (times, rest) = rest.split_once(" times: [")?;
    let text = rest.strip_suffix(']')?;
    Some((times.parse().ok()?, text.strip_prefix(' ').unwrap_or(text)))
}

/// `host last message repeated N times`.
fn last_repeated(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once("last message repeated ")?;
    rest.strip_suffix(" times")?.parse().ok()
}

/// Seconds in `exited MaxStartups throttling after HH:MM:SS, …`; `None` for a day and more, which sshd words otherwise.
fn duration_before_comma(text: &str) -> Option<i64> {
    let (before, _) = text.rsplit_once(", ")?;
    let mut parts = before.rsplit(' ').next()?.split(':');
    let mut next = || parts.next()?.parse::<u32>().ok();
    let (hours, minutes, seconds) = (next()?, next()?, next()?);
    Some(i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds))
}
