//! The words that the renderers of a sweep share: its sentence, its notes, its numbers.
//!
//! Owns wording and rounding only.

use super::document::{MetricColumn, PointReport, PointValue, RunCell, RunState, SweepReport};
use crate::story::counted;
use crate::terminal::time;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::{Unit, Verdict};
use sshchurn_core::sweep::label;

/// What stands where there is no number.
pub(super) const NO_DATA: &str = "no data";

/// Points named in one note; the others are counted.
const NAMED: usize = 6;

/// The unit's word in documents.
pub(super) fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "count",
        Unit::PerTask => "per_task",
        Unit::PerSecond => "per_s",
        Unit::Nanoseconds => "ns",
    }
}

/// What the sweep is and how far it got, in one sentence.
pub(super) fn sentence(report: &SweepReport) -> String {
    let points = counted(report.points.len() as u64, "point");
    let each = match report.repeats {
        1 => "run once each".to_owned(),
        repeats => format!("run {repeats} times each"),
    };
    let over = match &report.keys[..] {
        [] => String::new(),
        keys => format!(" over {}", keys.join(" and ")),
    };
    let shard = report.shard.as_ref();
    let whose = shard.map_or_else(String::new, |shard| format!(" of shard {shard}"));
    format!(
        "{}{over}: {points}, {each}; {} of {}{whose} done",
        report.scenario,
        report.runs_done,
        counted(u64::from(report.runs_asked), "run"),
    )
}

/// A point as it is named.
pub(super) fn point(point: &PointReport) -> String {
    match &point.settings[..] {
        [] => "the scenario as it is".to_owned(),
        settings => label(settings),
    }
}

/// What has to be known of the numbers.
pub(super) fn notes(report: &SweepReport) -> Vec<String> {
    let runs = |wanted: &dyn Fn(&RunCell) -> bool| -> Vec<String> {
        let mut named = Vec::new();
        for point in &report.points {
            let found: Vec<String> = point
                .runs
                .iter()
                .filter(|run| wanted(run))
                .map(|run| run.repeat.to_string())
                .collect();
            if found.is_empty() {
                continue;
            }
            let repeats = match report.repeats {
                1 => String::new(),
                _ => format!(" (repeat {})", found.join(", ")),
            };
            named.push(format!("{}{repeats}", self::point(point)));
        }
        named
    };
    let list = |named: &[String]| match named.len() {
        0..=NAMED => named.join("; "),
        all => format!(
            "{}; and {} more points",
            named[..NAMED].join("; "),
            all - NAMED
        ),
    };
    let mut notes = Vec::new();
    let mut say = |found: &[String], what: &str| {
        if !found.is_empty() {
            notes.push(format!("{what}: {}.", list(found)));
        }
    };
    say(&runs(&|run| run.state == RunState::Missing), "Not run");
    say(
        &runs(&RunCell::could_not_measure),
        "Could not measure (exit code 3), so that these numbers are marked with `?` and not to be relied on",
    );
    say(
        &runs(&|run| run.verdict == Some(Verdict::Fail)),
        "A threshold does not hold",
    );
    let first = |wanted: &dyn Fn(&RunCell) -> bool| {
        report
            .points
            .iter()
            .flat_map(|point| &point.runs)
            .find(|run| wanted(run))
    };
    if let Some(run) = first(&RunCell::could_not_measure)
        && let Some(reason) = run.reasons.first()
    {
        notes.push(format!("The first that could not measure says: {reason}"));
    }
    let failed = |run: &RunCell| run.state == RunState::Failed;
    let all_failed = runs(&failed);
    if let Some(error) = first(&failed).and_then(|run| run.error.as_ref()) {
        notes.push(format!(
            "Could not be run: {}. The first says: {error}",
            list(&all_failed)
        ));
    }
    if report.shard.is_some() {
        notes.push(
            "This is one shard; `sshchurn sweep --report DIR…` puts all of them together."
                .to_owned(),
        );
    }
    notes
}

/// The exit code, and what it is of.
pub(super) fn exit(report: &SweepReport) -> String {
    let why = match report.exit {
        ExitCode::Success => "every run was made",
        ExitCode::Inconclusive if report.runs_done < report.runs_asked => "runs are missing",
        ExitCode::Inconclusive => "a run could not measure",
        ExitCode::Interrupted => "stopped by the user",
        ExitCode::Environment => "a run could not be made",
        ExitCode::GateFailed | ExitCode::Usage => "see above",
    };
    format!("{} ({why})", report.exit_code)
}

/// A value for a person.
pub(super) fn number(column: &MetricColumn, value: f64) -> String {
    let places = |places: usize| {
        let text = format!("{value:.places$}");
        match text.contains('.') {
            true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
            false => text,
        }
    };
    match &*column.unit {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time of a run, in nanoseconds"
        )]
        "ns" => time(value.max(0.0) as u64),
        "count" => places(1),
        _ => places(2),
    }
}

/// The median with its range, marked where it is not of all runs or not to be relied on; `no data` where there is none.
pub(super) fn value(column: &MetricColumn, value: &PointValue) -> String {
    let Some(spread) = value.spread else {
        return NO_DATA.to_owned();
    };
    let all = value.values.len();
    let there = value.values.iter().flatten().count();
    let mut text = number(column, spread.median);
    if spread.min < spread.max {
        text.push_str(&format!(
            " ({}–{})",
            number(column, spread.min),
            number(column, spread.max)
        ));
    }
    if there < all {
        text.push_str(&format!(" {there}/{all}"));
    }
    if value.doubtful {
        text.push('?');
    }
    text
}

/// Why the metrics without data have none: each reason once, with what it is said of.
pub(super) fn no_data(report: &SweepReport) -> Vec<String> {
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    let strategies = report.points.iter().flat_map(|point| &point.strategies);
    for strategy in strategies {
        for value in &strategy.values {
            for reason in value.missing.iter().flatten() {
                let what = format!("{} of {}", value.metric, strategy.strategy);
                match said.iter_mut().find(|(known, _)| known == reason) {
                    Some((_, of)) if of.contains(&what) => {}
                    Some((_, of)) => of.push(what),
                    None => said.push((reason.clone(), vec![what])),
                }
            }
        }
    }
    said.into_iter()
        .filter(|(reason, _)| !["it was not run", "it is another shard's run"].contains(&&**reason))
        .map(|(reason, of)| format!("No data for {}: {reason}.", of.join(", ")))
        .collect()
}
