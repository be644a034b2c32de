//! The tables, as every format shows them.
//!
//! Owns which there are, their order and their size. Whatever a peer chose is made printable here.

use std::ops::Range;

use super::document::DiagnoseReport;
use super::story::{client, drops_of, lasted, rule, when, when_after};
use crate::view::words::counted;
use crate::view::words::decimal;
use sshchurn_core::diagnosis::{Diagnosis, Episode, Logins};
use sshchurn_core::gate::GateOutcome;
use sshchurn_core::printable::printable;

/// Rows of a table; the rest is in the JSON.
const EPISODES: usize = 20;
const SOURCES: usize = 10;
const SHAPES: usize = 10;

/// A part of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<String>>,
    /// Columns with numbers.
    pub(super) numbers: Range<usize>,
    /// Sentences below it.
    pub(super) notes: Vec<String>,
}

/// All parts that have something to show.
pub(super) fn sections(report: &DiagnoseReport) -> Vec<Section> {
    let diagnosis = &report.diagnosis;
    let mut sections = vec![
        thresholds(report),
        causes(diagnosis),
        episodes(diagnosis),
        sources(diagnosis),
        logins(&diagnosis.logins),
        clients(diagnosis),
        unknown(diagnosis),
        lines(report),
    ];
    sections.retain(|section| !section.rows.is_empty() || !section.notes.is_empty());
    for section in &mut sections {
        for cell in section.rows.iter_mut().flatten() {
            if cell.contains(char::is_control) {
                *cell = printable(cell);
            }
        }
    }
    sections
}

fn thresholds(report: &DiagnoseReport) -> Section {
    let rows = report.thresholds.iter().map(|it| {
        let outcome = match it.outcome {
            GateOutcome::Pass => "pass",
            GateOutcome::Fail => "FAIL",
            GateOutcome::Inconclusive => "cannot say",
        };
        let actual = match it.actual {
            None => "no line from sshd".to_owned(),
            Some(actual) if it.at_least => format!("at least {actual}"),
            Some(actual) => actual.to_string(),
        };
        vec![outcome.to_owned(), it.expression.clone(), actual]
    });
    Section {
        title: "Thresholds",
        head: vec!["", "threshold", "in the log"],
        rows: rows.collect(),
        numbers: 0..0,
        notes: Vec::new(),
    }
}

fn causes(diagnosis: &Diagnosis) -> Section {
    let (drops, other) = (&diagnosis.drops, &diagnosis.other);
    let mut rows = Vec::new();
    let mut row = |cause: &str, count: u64, meaning: &str| {
        if count > 0 {
            rows.push(vec![
                cause.to_owned(),
                count.to_string(),
                meaning.to_owned(),
            ]);
        }
    };
    row(
        "MaxStartups",
        drops.max_startups,
        "refused: too many connections had not logged in yet",
    );
    row(
        "MaxStartups, or PerSourceMaxStartups",
        drops.max_startups_or_per_source,
        "refused: sshd logs both in the same words",
    );
    row(
        "PerSourceMaxStartups",
        drops.per_source_max_startups,
        "refused: too many from one source had not logged in yet",
    );
    for (reason, count) in &drops.penalties {
        let meaning = match reason.as_str() {
            "crash" => "refused: an earlier connection crashed its session process",
            "authfail" => "refused: the source had failed to log in",
            "noauth" => "refused: the source had connected without trying to log in",
            "invaliduser" => "refused: the source had tried an unknown user",
            "refuseconnection" => "refused: the source had met RefuseConnection",
            "grace-exceeded" => "refused: the source had run into LoginGraceTime",
            "table-full" => "refused: too many sources have penalties",
            "not-logged" => "refused: sshd gave a number only",
            _ => "refused for an earlier offence",
        };
        row(&format!("PerSourcePenalties ({reason})"), *count, meaning);
    }
    row(
        "no process (fork)",
        other.fork_failed,
        "let in, then closed without a word: no processes left",
    );
    row(
        "no descriptors (pipe)",
        other.pipe_failed,
        "accepted, then closed without a word: no file descriptors left",
    );
    row(
        "no descriptors (accept)",
        other.accept_failed,
        "left waiting in the kernel's queue: no file descriptors left",
    );
    row(
        "session process crashed",
        other.crashes,
        "let in, then lost before or after login",
    );
    row(
        "LoginGraceTime",
        other.grace_timeouts,
        "held a startup slot without logging in until time ran out",
    );
    row(
        "MaxSessions",
        other.sessions_refused,
        "a channel refused on a connection that was logged in",
    );
    row(
        "RefuseConnection",
        other.prohibited,
        "disconnected by a rule in sshd_config",
    );
    row(
        "penalties that came into force",
        other.penalties_imposed,
        "a source is shut out for a time",
    );
    row(
        "failed logins",
        other.authentication_failures,
        "each takes up a startup slot while it lasts",
    );
    row(
        "too many tries (MaxAuthTries)",
        other.too_many_authentication_failures,
        "disconnected: often an agent with many keys",
    );
    row(
        "client left before its banner",
        other.left_before_identification,
        "in the server's log this means that the client hung up",
    );
    row(
        "not SSH, or nothing in common",
        other.protocol_errors,
        "a scanner, a health check, or a client with other algorithms",
    );
    Section {
        title: "By cause",
        head: vec!["cause", "count", "what it means"],
        rows,
        numbers: 1..2,
        notes: Vec::new(),
    }
}

fn episodes(diagnosis: &Diagnosis) -> Section {
    let mut shown: Vec<&Episode> = diagnosis.episodes.iter().collect();
    let mut notes = Vec::new();
    let all = number_of(shown.len()).saturating_add(diagnosis.episodes_not_listed);
    if shown.len() > EPISODES {
        // The largest, in the order of time.
        shown.sort_by_key(|it| std::cmp::Reverse(it.drops));
        shown.truncate(EPISODES);
        notes.push(format!(
            "The largest {EPISODES} of {all}; `--format json` has more."
        ));
    }
    shown.sort_by_key(|it| it.begin);
    let origins = shown.iter().any(|it| it.origin.is_some());
    let mut head = vec!["begin", "end", "lasted", "refused", "lines", "limit"];
    if origins {
        head.push("where");
    }
    let none = || "–".to_owned();
    let rows = shown
        .into_iter()
        .map(|it| {
            let mut row = vec![
                it.begin.map_or_else(none, when),
                it.end.map_or_else(none, |end| {
                    let end = it
                        .begin
                        .map_or_else(|| when(end), |begin| when_after(begin, end));
                    // The last refusal, where nobody logged the end.
                    let last = if it.closed { "" } else { " (last)" };
                    format!("{end}{last}")
                }),
                lasted(it).unwrap_or_else(none),
                drops_of(it),
                it.listed.to_string(),
                rule(it.rule).to_owned(),
            ];
            if origins {
                row.push(it.origin.clone().unwrap_or_else(none));
            }
            row
        })
        .collect();
    Section {
        title: "Episodes",
        head,
        rows,
        numbers: 2..5,
        notes,
    }
}

fn sources(diagnosis: &Diagnosis) -> Section {
    let sources = &diagnosis.sources;
    let refused = sources.largest.iter().filter(|it| it.drops > 0);
    let all = refused.clone().count();
    let rows: Vec<Vec<String>> = refused
        .take(SOURCES)
        .map(|it| {
            vec![
                it.address.clone(),
                it.drops.to_string(),
                it.penalties.to_string(),
                it.logins.to_string(),
            ]
        })
        .collect();
    let mut notes = Vec::new();
    if all > SOURCES {
        let rest = sources
            .largest
            .iter()
            .skip(SOURCES)
            .fold(sources.other_drops, |sum, it| sum.saturating_add(it.drops));
        notes.push(format!(
            "{} more, with {} among them; `--format json` has them.",
            counted(number_of(all - SOURCES), "source"),
            counted(rest, "refusal")
        ));
    }
    Section {
        title: "Who was refused",
        head: vec!["source", "refused", "for a penalty", "logged in"],
        rows,
        numbers: 1..4,
        notes,
    }
}

fn logins(logins: &Logins) -> Section {
    let mut notes = Vec::new();
    if logins.count > 0 {
        let mut sentence = counted(logins.count, "login");
        if let Some(mean) = logins.mean_per_s {
            // In the unit in which it is a number that says something.
            let (mean, unit) = match mean {
                _ if mean >= 0.1 => (mean, "second"),
                _ if mean * 60.0 >= 0.1 => (mean * 60.0, "minute"),
                _ => (mean * 3600.0, "hour"),
            };
            sentence.push_str(&format!(", on average {} per {unit}", decimal(mean)));
        }
        for (peak, unit) in [
            (logins.peak_second, "second"),
            (logins.peak_minute, "minute"),
        ] {
            if let Some(peak) = peak {
                sentence.push_str(&format!(
                    "; at most {} in one {unit} (at {})",
                    peak.count,
                    when(peak.at)
                ));
            }
        }
        notes.push(format!("{sentence}."));
    }
    Section {
        title: "Successful logins",
        head: Vec::new(),
        rows: Vec::new(),
        numbers: 0..0,
        notes,
    }
}

fn clients(diagnosis: &Diagnosis) -> Section {
    let rows: Vec<Vec<String>> = diagnosis
        .client_messages
        .iter()
        .map(|it| {
            let (message, meaning) = client(it.message);
            vec![message.to_owned(), it.count.to_string(), meaning.to_owned()]
        })
        .collect();
    let notes = if rows.is_empty() {
        Vec::new()
    } else {
        vec![
            "These are messages, not connections: one failure may print several. They are not part of the counts above."
                .to_owned(),
        ]
    };
    Section {
        title: "Messages from clients",
        head: vec!["message", "lines", "what it means"],
        rows,
        numbers: 1..2,
        notes,
    }
}

fn unknown(diagnosis: &Diagnosis) -> Section {
    let shapes = &diagnosis.unknown_shapes;
    let rows: Vec<Vec<String>> = shapes
        .iter()
        .take(SHAPES)
        .map(|it| vec![it.count.to_string(), it.shape.clone()])
        .collect();
    let rest = shapes
        .iter()
        .skip(SHAPES)
        .fold(diagnosis.unknown_not_listed, |sum, it| {
            sum.saturating_add(it.count)
        });
    let notes = if rest == 0 {
        Vec::new()
    } else {
        vec![format!("{} of other shapes.", counted(rest, "line"))]
    };
    Section {
        title: "Lines from sshd that were not understood",
        head: vec!["lines", "shape"],
        rows,
        numbers: 0..1,
        notes,
    }
}

fn lines(report: &DiagnoseReport) -> Section {
    let lines = &report.diagnosis.lines;
    let mut parts = Vec::new();
    for (count, what) in [
        (lines.sshd, "from sshd"),
        (lines.sshd_unknown, "from sshd, not understood"),
        (lines.sshd_debug, "from sshd, debugging"),
        (lines.client, "from clients"),
        (lines.loss, "about lost lines"),
        (lines.other, "from other programs"),
        (lines.unreadable, "unreadable"),
    ] {
        if count > 0 {
            parts.push((count, what));
        }
    }
    let total = counted(lines.total, "line");
    let mut sentence = match parts.as_slice() {
        [] => total,
        [(_, what)] => format!("{total}, all {what}"),
        parts => {
            let parts: Vec<String> = parts
                .iter()
                .map(|(count, what)| format!("{count} {what}"))
                .collect();
            format!("{total}: {}", parts.join("; "))
        }
    };
    if let Some(level) = report.diagnosis.level {
        sentence.push_str(&format!(
            ". LogLevel {}, as far as the lines show",
            level.as_str()
        ));
    }
    if let Some(release) = report.diagnosis.release_at_least {
        sentence.push_str(&format!("; OpenSSH {release} or later"));
    }
    Section {
        title: "What was read",
        head: Vec::new(),
        rows: Vec::new(),
        numbers: 0..0,
        notes: vec![format!("{}.", sentence)],
    }
}

fn number_of(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
