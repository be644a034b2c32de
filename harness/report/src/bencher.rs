//! The numbers as Bencher Metric Format, for services and actions that keep numbers over time and tell when one changes.
//!
//! A benchmark is a strategy of a scenario on one release of a server, a measure is a metric: the median of the rounds, with the smallest and the largest round.
//! Times are in nanoseconds. A metric without data is absent: no data is never zero.
//!
//! <https://bencher.dev/docs/reference/bencher-metric-format/>

use std::collections::BTreeMap;

use serde::Serialize;

use super::document::RunReport;
use super::json::pretty;
use sshchurn_core::gate::Verdict;

#[derive(Serialize)]
struct Measured {
    value: f64,
    lower_value: f64,
    upper_value: f64,
}

/// Renders the report; a run that could not measure has nothing to be tracked.
#[must_use]
pub(crate) fn render(report: &RunReport) -> String {
    let mut benchmarks: BTreeMap<String, BTreeMap<&str, Measured>> = BTreeMap::new();
    let measured = report.verdict != Verdict::Inconclusive;
    for strategy in report.strategies.iter().filter(|_| measured) {
        // Of phases only the sum is tracked: each would be a measure of its own for every metric.
        let spreads = strategy.spread.iter().filter(|(key, _)| !key.contains('.'));
        let measures = spreads.map(|(key, spread)| {
            let measured = Measured {
                value: spread.median,
                lower_value: spread.min,
                upper_value: spread.max,
            };
            (key.as_str(), measured)
        });
        // A stand-in's numbers are never put into one curve with a server's, nor those of two releases.
        let kind = report.target.kind.as_str();
        let server = match &report.target.release {
            Some(release) => format!("{kind} {release}"),
            None => kind.to_owned(),
        };
        let name = format!(
            "{} / {} / {server}",
            report.scenario.name, strategy.strategy
        );
        benchmarks.insert(name, measures.collect());
    }
    pretty(&benchmarks)
}
