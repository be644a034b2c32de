//! The sentences: the answer, what limits it, and what causes and messages mean.
//!
//! Owns the words for a person, shared by all formats.

use crate::view::words::counted;
use sshchurn_core::diagnosis::{
    ClientMessage, Diagnosis, Episode, EpisodeRule, LogLevel, WhyAtLeast,
};
use sshchurn_core::release::Release;
use sshchurn_core::server_log::Moment;

/// The answer: which limit bit, how often and when, or that nothing was refused.
pub(super) fn answer(diagnosis: &Diagnosis) -> Vec<String> {
    let drops = &diagnosis.drops;
    if diagnosis.lines.of_sshd() == 0 {
        let mut answer = vec![
            "There is no line from sshd in this input, so nothing can be said about what it refused."
                .to_owned(),
        ];
        if diagnosis.lines.client > 0 {
            answer.push(
                "It does have messages from clients that were turned away. Why they were is only in the server's log."
                    .to_owned(),
            );
        }
        return answer;
    }
    let span = span(diagnosis);
    if drops.total == 0 {
        let because = &drops.at_least_because;
        let first = if because.contains(&WhyAtLeast::Level) {
            let where_hidden = match diagnosis.level {
                _ if some_is_shown(diagnosis) => "a part of it".to_owned(),
                Some(level) => format!("at LogLevel {} it", level.as_str()),
                None => "at its level it".to_owned(),
            };
            format!(
                "This log shows no refusals{span}, but {where_hidden} may hide them all, so it cannot tell."
            )
        } else if drops.at_least() {
            format!("This log shows no refusals{span}, but lines were lost, so it cannot tell.")
        } else {
            format!("sshd refused nobody{span}.")
        };
        return vec![first];
    }
    let connections = counted(drops.total, "connection");
    let at_least = if drops.at_least() { "at least " } else { "" };
    let by = [
        (
            drops
                .max_startups
                .saturating_add(drops.max_startups_or_per_source),
            "MaxStartups",
        ),
        (drops.per_source_max_startups, "PerSourceMaxStartups"),
        (drops.by_penalty(), "PerSourcePenalties"),
    ];
    let by: Vec<_> = by.into_iter().filter(|(count, _)| *count > 0).collect();
    let by = match by.as_slice() {
        [(1, limit)] => format!(", by {limit}"),
        [(_, limit)] => format!(", all by {limit}"),
        several => {
            let parts: Vec<String> = several
                .iter()
                .map(|(count, limit)| format!("{count} by {limit}"))
                .collect();
            format!(": {}", parts.join(", "))
        }
    };
    let mut answer = vec![format!("sshd refused {at_least}{connections}{span}{by}.")];
    answer.extend(worst(diagnosis));
    answer
}

/// Whether some lines are of a level and a release that show refusals, whatever others are of.
fn some_is_shown(diagnosis: &Diagnosis) -> bool {
    diagnosis.level > Some(LogLevel::Info)
        || diagnosis.level == Some(LogLevel::Info)
            && diagnosis.release_at_least >= Some(Release::new(8, 4))
}

/// When sshd logged something: the first and the last of its stamps.
fn span(diagnosis: &Diagnosis) -> String {
    match (diagnosis.from, diagnosis.to) {
        (Some(from), Some(to)) if from.zoned != to.zoned => String::new(),
        (Some(from), Some(to)) if from.second() == to.second() => format!(" at {}", when(from)),
        (Some(from), Some(to)) => format!(" between {} and {}", when(from), when_after(from, to)),
        _ => String::new(),
    }
}

/// `2026-04-05 04:35:07Z`.
pub(super) fn when(moment: Moment) -> String {
    format!("{} {}", moment.date(), moment.clock())
}

/// The second of two moments: without the day where it is the same.
pub(super) fn when_after(from: Moment, to: Moment) -> String {
    if from.date() == to.date() {
        to.clock()
    } else {
        when(to)
    }
}

/// Whole seconds from an episode's begin to its end.
fn seconds(episode: &Episode) -> Option<i64> {
    let (begin, end) = (episode.begin?, episode.end?);
    // Of unlike clocks there is no difference.
    (begin.zoned == end.zoned).then(|| end.since(begin).max(0) / 1_000_000)
}

/// `3 s`, `4 min 10 s`, `2 h 5 min`.
pub(super) fn lasted(episode: &Episode) -> Option<String> {
    Some(match seconds(episode)? {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    })
}

/// The number of an episode's refusals, as far as it is known.
pub(super) fn drops_of(episode: &Episode) -> String {
    match episode.at_least_because {
        Some(_) => format!("at least {}", episode.drops),
        None => episode.drops.to_string(),
    }
}

fn worst(diagnosis: &Diagnosis) -> Option<String> {
    let worst = diagnosis.episodes.iter().max_by_key(|it| it.drops)?;
    let number = u64::try_from(diagnosis.episodes.len())
        .unwrap_or(u64::MAX)
        .saturating_add(diagnosis.episodes_not_listed);
    let begin = worst.begin?;
    let time = match lasted(worst) {
        _ if worst.at_least_because == Some(WhyAtLeast::EpisodeOpen) => {
            "; its end is not in the log".to_owned()
        }
        Some(lasted) if seconds(worst) != Some(0) => format!(" and lasted {lasted}"),
        _ => String::new(),
    };
    Some(if number == 1 {
        format!("It was one episode, which began at {}{time}.", when(begin))
    } else {
        format!(
            "The worst of {number} episodes ({} refused) began at {}{time}.",
            drops_of(worst),
            when(begin)
        )
    })
}

/// What limits the answer.
pub(super) fn limits(diagnosis: &Diagnosis) -> Vec<String> {
    let drops = &diagnosis.drops;
    let mut limits = Vec::new();
    if diagnosis.lines.of_sshd() == 0 {
        return limits;
    }
    for why in &drops.at_least_because {
        limits.push(match why {
            WhyAtLeast::EpisodeOpen => {
                let open = diagnosis
                    .episodes
                    .iter()
                    .filter(|it| it.at_least_because == Some(WhyAtLeast::EpisodeOpen))
                    .count();
                format!(
                    "{} no closing line with a total, so the count is a lower bound.",
                    match open {
                        1 => "One episode has".to_owned(),
                        open => format!("{open} episodes have"),
                    }
                )
            }
            WhyAtLeast::RateLimited => "sshd 10.0 and later logs only the first few refusals of a burst, and says how many it \
                 left out when it next logs one. Here some may never have been reported, so the count is a lower bound. \
                 `LogVerbose sshd.c:drop_connection():*` makes it log every one."
                .to_owned(),
            WhyAtLeast::LinesLost => {
                let lines = match diagnosis.losses.lines {
                    0 => String::new(),
                    lines => format!(" ({lines} by its own count)"),
                };
                format!("The log writer says it lost lines{lines}. Every count is a lower bound.")
            }
            WhyAtLeast::Level if some_is_shown(diagnosis) => "sshd before 8.4 logs refusals at LogLevel VERBOSE only. Some of this \
                 log shows neither that level nor a later release: the lines of one host, or from before or after a restart. What \
                 the others show says nothing about those. If all are 8.4 or later, say so with `--release`; else read the log of \
                 each host by itself."
                .to_owned(),
            WhyAtLeast::Level => match diagnosis.level {
                Some(LogLevel::Info) => "sshd before 8.4 logs refusals at LogLevel VERBOSE only, and nothing in this log shows \
                     which release wrote it. If it is 8.4 or later, say so with `--release`."
                    .to_owned(),
                _ => "No line in this log shows that sshd logged anything below errors; refusals are logged at INFO or VERBOSE."
                    .to_owned(),
            },
        });
    }
    if drops.listed < drops.total {
        limits.push(format!(
            "{} of {} refusals {} a line of {} own; the log does not say who the others were.",
            drops.listed,
            drops.total,
            if drops.listed == 1 { "has" } else { "have" },
            if drops.listed == 1 { "its" } else { "their" },
        ));
    }
    let old = diagnosis
        .episodes
        .iter()
        .any(|it| it.total.is_some() || it.at_least_because == Some(WhyAtLeast::EpisodeOpen));
    if old && diagnosis.level < Some(LogLevel::Verbose) && drops.listed < drops.total {
        limits.push(
            "At LogLevel INFO, sshd 8.4 to 9.9 logs the first refusal of an episode and the total when it ends; VERBOSE logs \
             every refusal."
                .to_owned(),
        );
    }
    let disagreeing = diagnosis
        .episodes
        .iter()
        .filter(|it| it.disagrees())
        .count();
    if disagreeing > 0 {
        limits.push(format!(
            "In {disagreeing} of the episodes sshd's own total is smaller than the number of single lines. Either two servers \
             log under one name, or some lines are in the input twice."
        ));
    }
    if drops.max_startups_or_per_source > 0 {
        limits.push(
            "sshd logs PerSourceMaxStartups in the same words as MaxStartups. It is off unless sshd_config sets it; \
             `--max-startups A:R:B` helps to tell them apart."
                .to_owned(),
        );
    }
    if diagnosis.out_of_order > 0 {
        let lines = counted(diagnosis.out_of_order, "line");
        let stamps = diagnosis.lines.of_sshd();
        limits.push(if diagnosis.out_of_order > stamps / 4 {
            format!(
                "{lines} of {stamps} {} an earlier time than the line before. Lines are read in the order in which they stand, \
                 and episodes come out wrong in a log with the newest line first. Turn it around: `tac LOG | sshchurn diagnose -`, \
                 or `journalctl` without `-r`.",
                if diagnosis.out_of_order == 1 { "has" } else { "have" }
            )
        } else {
            format!(
                "{lines} of {stamps} {} an earlier time than the line before (a clock that was set back, or several machines in one \
                 file). Episodes around them may be wrong.",
                if diagnosis.out_of_order == 1 { "has" } else { "have" }
            )
        });
    }
    if diagnosis.from.map(|from| from.zoned) != diagnosis.to.map(|to| to.zoned) {
        limits.push(
            "Some time stamps name a time zone and some do not. The two cannot be compared: the first and the last line may not be \
             those shown."
                .to_owned(),
        );
    }
    match diagnosis.from {
        None => limits.push("The log has no time stamps, so it does not say when.".to_owned()),
        Some(from) if !from.zoned => limits.push(
            "The time stamps name no time zone; times are shown as logged. If they have no year either, it is taken from when \
             the file was last changed."
                .to_owned(),
        ),
        Some(_) => {}
    }
    if diagnosis.sources.overflowed {
        limits.push(
            "There are more than 20 000 sources; the counts of single ones are lower bounds."
                .to_owned(),
        );
    }
    limits.push(
        "The kernel's part is not in a log: a connection that meets a full listen queue never reaches sshd."
            .to_owned(),
    );
    limits
}

/// The limit of an episode, short enough for a column.
pub(super) fn rule(rule: EpisodeRule) -> &'static str {
    match rule {
        EpisodeRule::MaxStartups => "MaxStartups",
        EpisodeRule::Penalties => "penalties",
    }
}

/// A message of clients, and what it means.
pub(super) fn client(message: ClientMessage) -> (&'static str, &'static str) {
    match message {
        ClientMessage::ExchangeClosed => (
            "kex_exchange_identification: Connection closed by remote host",
            "the server, or something in front of it, closed the connection before its banner; MaxStartups is the usual reason",
        ),
        ClientMessage::ExchangeReset => (
            "kex_exchange_identification: read: Connection reset by peer",
            "the same, seen as a reset; a full listen queue looks like this too",
        ),
        ClientMessage::ExchangeFailed => (
            "kex_exchange_identification: …",
            "the connection failed before both sides had named their versions",
        ),
        ClientMessage::RefusalText => (
            "Exceeded MaxStartups / Not allowed at this time",
            "sshd's own words to a client it refuses: MaxStartups, a limit per source, or a penalty",
        ),
        ClientMessage::BannerError => (
            "Error reading SSH protocol banner",
            "paramiko got no banner: refused, or too slow",
        ),
        ClientMessage::BannerTimeout => (
            "Connection timed out during banner exchange",
            "connected, but no banner in time: an overloaded server, or the kernel's queue; not a refusal",
        ),
        ClientMessage::Closed => (
            "Connection closed by … port …",
            "OpenSSH 9.5 and later print only this for a refusal; later failures before login look the same",
        ),
        ClientMessage::Reset => ("Connection reset by … port …", "the same, seen as a reset"),
        ClientMessage::SessionRefused => (
            "Session open refused by peer",
            "MaxSessions: too many channels on one connection; not MaxStartups",
        ),
    }
}
