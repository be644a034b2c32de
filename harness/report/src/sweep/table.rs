//! A sweep as tables for a terminal: one line for each strategy of each point, at most 100 columns wide.
//!
//! Owns layout. Metrics that find no room beside the others go into a further table with the same first columns.

use std::fmt::Write as _;

use super::document::{MetricColumn, PointReport, PointStrategy, RunState, SweepReport};
use super::words;
use crate::ruled_table;

/// Widest line of a table.
const WIDTH: usize = 100;

/// The tables, with what has to be known of them below.
#[must_use]
pub fn text(report: &SweepReport) -> String {
    let mut out = String::new();
    if let Some(kind) = report.stand_in {
        let _ = writeln!(out, "{}", kind.headline());
    }
    let _ = writeln!(out, "{}\n", words::sentence(report));
    if report.repeats > 1 {
        let _ = writeln!(
            out,
            "Medians of the repeats, with the smallest and the largest.\n"
        );
    }
    for table in tables(report) {
        let _ = writeln!(out, "{table}\n");
    }
    for note in report.notes.iter().cloned().chain(words::no_data(report)) {
        let _ = writeln!(out, "{note}");
    }
    let _ = writeln!(out, "Exit code: {}", words::exit(report));
    out
}

/// As few tables as hold all metrics. Where not even one metric finds room beside the keys, points go by their numbers, and what
/// the numbers stand for is told first.
fn tables(report: &SweepReport) -> Vec<String> {
    let fits = |table: &str| table.lines().all(|line| line.chars().count() <= WIDTH);
    let by_number = report
        .metrics
        .iter()
        .any(|metric| !fits(&table(report, std::slice::from_ref(metric), false)));
    let mut tables = Vec::new();
    if by_number {
        let name = |point: &PointReport| format!("Point {}: {}", point.point, words::point(point));
        let names: Vec<String> = report.points.iter().map(name).collect();
        tables.push(names.join("\n"));
    }
    let mut rest = &report.metrics[..];
    while !rest.is_empty() {
        let most = (1..=rest.len())
            .rev()
            .map(|count| (count, table(report, &rest[..count], by_number)))
            .find(|(count, table)| *count == 1 || fits(table));
        let Some((count, table)) = most else {
            break;
        };
        tables.push(table);
        rest = &rest[count..];
    }
    tables
}

fn table(report: &SweepReport, metrics: &[MetricColumn], by_number: bool) -> String {
    let mut head: Vec<String> = match by_number {
        true => vec!["point".to_owned()],
        false => report.keys.clone(),
    };
    head.push("strategy".to_owned());
    let numbers = head.len()..head.len() + metrics.len();
    head.extend(metrics.iter().map(title));
    head.push("runs".to_owned());
    let mut rows = Vec::new();
    for point in &report.points {
        for (index, strategy) in point.strategies.iter().enumerate() {
            let first = index == 0;
            let once = |text: String| if first { text } else { String::new() };
            let mut row: Vec<String> = match by_number {
                true => vec![once(point.point.to_string())],
                false => report
                    .keys
                    .iter()
                    .map(|key| once(setting(point, key)))
                    .collect(),
            };
            row.push(strategy.strategy.0.clone());
            row.extend(metrics.iter().map(|metric| cell(metric, strategy)));
            row.push(once(runs(point)));
            rows.push(row);
        }
    }
    ruled_table::render(head, rows, numbers)
}

pub(super) fn title(metric: &MetricColumn) -> String {
    match &metric.strategy {
        Some(strategy) => format!("{strategy}.{}", metric.metric),
        None => metric.metric.clone(),
    }
}

/// The value that a point gives a key; a dash where it leaves it alone.
pub(super) fn setting(point: &PointReport, key: &str) -> String {
    let given = point.settings.iter().find(|setting| setting.key == key);
    given.map_or_else(|| "–".to_owned(), |setting| setting.value.clone())
}

/// A metric of a strategy; empty where it is another strategy's only.
pub(super) fn cell(metric: &MetricColumn, strategy: &PointStrategy) -> String {
    let meant = metric
        .strategy
        .as_ref()
        .is_none_or(|only| *only == strategy.strategy);
    let value = strategy
        .values
        .iter()
        .find(|value| value.metric == metric.metric);
    value
        .filter(|_| meant)
        .map_or_else(String::new, |value| words::value(metric, value))
}

/// How many runs of a point there are, and what is the matter with them.
pub(super) fn runs(point: &PointReport) -> String {
    let count = |wanted: &dyn Fn(&super::RunCell) -> bool| {
        point.runs.iter().filter(|run| wanted(run)).count()
    };
    let ran = count(&|run| run.state == RunState::Ran);
    let doubtful = count(&super::RunCell::could_not_measure);
    let failed = count(&|run| run.state == RunState::Failed);
    let mut text = format!("{ran}/{}", point.runs.len());
    if failed > 0 {
        text.push_str(&format!(" {failed} failed"));
    }
    if doubtful > 0 {
        text.push_str(&format!(" {doubtful}?"));
    }
    text
}
