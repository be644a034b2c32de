//! The rows of a comparison as text: which are shown, and what stands in them.
//!
//! Owns the choice and the rounding; layout is the renderers'.

use super::document::CompareReport;
use crate::view::words::{decimal, time};
use sshchurn_core::gate::compare::{Finding, MetricComparison};

/// Titles of the columns.
pub(super) const TITLES: [&str; 7] = [
    "mean of a round",
    "baseline",
    "new",
    "ratio [90 %]",
    "difference [90 %]",
    "least",
    "",
];

/// What stands where there is no value.
const NONE: &str = "—";

/// A metric as it is shown.
pub(super) struct Row<'a> {
    pub(super) metric: &'a MetricComparison,
    pub(super) cells: [String; 6],
}

/// The gating metrics.
pub(super) fn gating(report: &CompareReport) -> Vec<Row<'_>> {
    rows(report.metrics.iter().filter(|metric| metric.gates))
}

/// The other metrics that have something to say: in total where either side has more than zero, of a phase where it
/// changed.
pub(super) fn information(report: &CompareReport) -> Vec<Row<'_>> {
    let zero = |metric: &MetricComparison| {
        let sides = [metric.base, metric.new];
        sides.iter().flatten().all(|values| values.max <= 0.0)
    };
    let changed = |metric: &MetricComparison| {
        matches!(
            metric.finding,
            Finding::Regressed | Finding::Improved | Finding::Changed
        )
    };
    rows(report.metrics.iter().filter(|metric| {
        !metric.gates && !zero(metric) && (metric.phase.is_none() || changed(metric))
    }))
}

fn rows<'a>(metrics: impl Iterator<Item = &'a MetricComparison>) -> Vec<Row<'a>> {
    metrics
        .map(|metric| Row {
            metric,
            cells: cells(metric),
        })
        .collect()
}

fn cells(metric: &MetricComparison) -> [String; 6] {
    let name = match metric.phase {
        None => metric.metric.clone(),
        Some(phase) => format!("{}.{}", phase.as_str(), metric.metric),
    };
    let value = |value: f64| shown(metric, value);
    let mean = |side: Option<sshchurn_core::gate::compare::SideValues>| {
        side.map_or_else(|| NONE.to_owned(), |side| value(side.mean))
    };
    let (ratio, difference) = match &metric.estimate {
        None => (NONE.to_owned(), NONE.to_owned()),
        Some(estimate) => {
            let ratio = match (estimate.ratio, estimate.ratio_interval) {
                (None, _) => NONE.to_owned(),
                (Some(ratio), None) => format!("{ratio:.2} [{NONE}]"),
                (Some(ratio), Some((low, high))) => format!("{ratio:.2} [{low:.2} {high:.2}]"),
            };
            let (low, high) = estimate.difference_interval;
            let signed = |difference: f64| {
                let sign = match difference {
                    _ if difference < 0.0 => "-",
                    _ if difference > 0.0 => "+",
                    _ => "",
                };
                format!("{sign}{}", value(difference.abs()))
            };
            (
                ratio,
                format!(
                    "{} [{} {}]",
                    signed(estimate.difference),
                    signed(low),
                    signed(high)
                ),
            )
        }
    };
    [
        if metric.per_task {
            format!("{name} per task")
        } else {
            name
        },
        mean(metric.base),
        mean(metric.new),
        ratio,
        difference,
        value(metric.minimum),
    ]
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and for display"
)]
fn shown(metric: &MetricComparison, value: f64) -> String {
    if value == 0.0 {
        "0".to_owned()
    } else if metric.is_duration {
        time(value.round() as u64)
    } else if value >= 1000.0 {
        format!("{value:.0}")
    } else if value >= 100.0 && value.fract() != 0.0 {
        format!("{value:.1}")
    } else {
        decimal(value)
    }
}
