//! The words that the renderers of a sweep share: its sentence, its notes, its numbers.
//!
//! Owns wording and rounding only.

use super::document::{MetricColumn, PointReport, PointValue, RunCell, RunState, SweepReport};
use crate::view::words::counted;
use crate::view::words::time;
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
    let first = |wanted: &dyn Fn(&RunCell) -> bool| {
        let mut all = report.points.iter().flat_map(|point| &point.runs);
        all.find(|run| wanted(run))
    };
    let failed = |run: &RunCell| run.state == RunState::Failed;
    let error = first(&failed).and_then(|run| run.error.clone());
    let reason = first(&RunCell::could_not_measure).and_then(|run| run.reasons.first().cloned());
    let said = |first: Option<String>| {
        first.map_or_else(String::new, |first| format!(" The first says: {first}"))
    };
    let all = report.points.iter().flat_map(|point| &point.runs);
    let others = all.filter(|run| run.state == RunState::OtherShard).count();
    let unmeasured =
        "Could not measure, so that its numbers, marked with `?`, are not to be relied on";
    [
        ("Not run", runs(&|run| run.state == RunState::Missing), None),
        ("Could not be run", runs(&failed), error),
        (unmeasured, runs(&RunCell::could_not_measure), reason),
        (
            "A threshold does not hold",
            runs(&|run| run.verdict == Some(Verdict::Fail)),
            None,
        ),
    ]
    .into_iter()
    .filter(|(_, named, _)| !named.is_empty())
    .map(|(what, named, first)| format!("{what}: {}.{}", list(&named), said(first)))
    .chain((others > 0).then(|| {
        format!(
            "The {} of other shards are not here; `sshchurn sweep --report DIR…` puts all of them together.",
            counted(others as u64, "run")
        )
    }))
    .collect()
}

/// The exit code, and what it is of.
pub(super) fn exit(report: &SweepReport) -> String {
    let why = match report.exit {
        ExitCode::Success => "every run was made",
        ExitCode::Inconclusive if report.runs_done < report.runs_asked => "runs are missing",
        ExitCode::Inconclusive => "a run could not measure",
        ExitCode::Interrupted => "stopped by the user",
        ExitCode::Environment => "a run could not be made, or its server failed",
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
    let mut text = number(column, spread.median);
    let mut aside = Vec::new();
    if spread.min < spread.max {
        aside.push(range(
            &text,
            &number(column, spread.min),
            &number(column, spread.max),
        ));
    }
    let (there, all) = (value.values.iter().flatten().count(), value.values.len());
    if there < all {
        aside.push(format!("{there} of {all}"));
    }
    if !aside.is_empty() {
        text.push_str(&format!(" ({})", aside.join("; ")));
    }
    if value.doubtful {
        text.push('?');
    }
    text
}

/// From the smallest to the largest; a unit that the median has too is not written again.
fn range(median: &str, least: &str, most: &str) -> String {
    let parts = |text: &str| {
        text.split_once(' ')
            .map(|(number, unit)| (number.to_owned(), unit.to_owned()))
    };
    match (parts(median), parts(least), parts(most)) {
        (Some((_, unit)), Some((least, same)), Some((most, too)))
            if unit == same && unit == too =>
        {
            format!("{least}–{most}")
        }
        _ => format!("{least}–{most}"),
    }
}

/// A strategy, and its metrics that lack data.
type Lacking<'r> = (&'r str, Vec<&'r str>);

/// Why the metrics without data have none: each reason once, with what it is said of. Runs that are missing or could not be made are
/// in the notes.
pub(super) fn no_data(report: &SweepReport) -> Vec<String> {
    let mut said: Vec<(&str, Vec<Lacking>)> = Vec::new();
    for point in &report.points {
        for strategy in &point.strategies {
            for value in &strategy.values {
                let there = point.runs.iter().zip(&value.missing);
                let of_runs = there.filter(|(run, _)| run.state == RunState::Ran);
                for reason in of_runs.filter_map(|(_, reason)| reason.as_deref()) {
                    let of = entry(&mut said, reason);
                    let metrics = entry(of, &strategy.strategy.0);
                    if !metrics.contains(&&*value.metric) {
                        metrics.push(&value.metric);
                    }
                }
            }
        }
    }
    let line = |(reason, of): (&str, Vec<Lacking>)| {
        let of: Vec<String> = of
            .into_iter()
            .map(|(strategy, metrics)| format!("{} of {strategy}", metrics.join(", ")))
            .collect();
        format!("No data for {}: {reason}.", of.join("; "))
    };
    said.into_iter().map(line).collect()
}

/// What is listed under a name, in the order in which the names came up.
fn entry<'l, 'n, T>(list: &'l mut Vec<(&'n str, Vec<T>)>, name: &'n str) -> &'l mut Vec<T> {
    let index = match list.iter().position(|(known, _)| *known == name) {
        Some(index) => index,
        None => {
            list.push((name, Vec::new()));
            list.len() - 1
        }
    };
    &mut list[index].1
}
