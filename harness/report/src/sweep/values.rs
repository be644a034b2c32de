//! The metrics of a run as its report has them: every one that a sweep may be asked for later.
//!
//! Owns the way from a report back to the catalogue's aggregates, and why a metric has no data.

use std::collections::BTreeMap;

use crate::document::{NumbersReport, PerTaskReport, RoundReport, ScopeReport, StrategyReport};
use sshchurn_core::analysis::catalogue::{self, Aggregate, Metric};
use sshchurn_core::analysis::latency::{LatencySummary, Stage};
use sshchurn_core::gate::Selector;
use sshchurn_core::join::Views;
use sshchurn_core::quantity::number;
use sshchurn_core::vocabulary::Phase;

/// What is shown where nothing is asked for.
pub const DEFAULT_METRICS: [&str; 6] = [
    "tasks_failed",
    "banner_eof",
    "attempts",
    "handshakes",
    "startups_peak",
    "submit.p99",
];

/// What is kept of each metric, as far as it allows it.
const KEPT: [Aggregate; 9] = [
    Aggregate::Total,
    Aggregate::Mean,
    Aggregate::Min,
    Aggregate::Median,
    Aggregate::Max,
    Aggregate::Peak,
    Aggregate::Percentile(90.0),
    Aggregate::Percentile(95.0),
    Aggregate::Percentile(99.0),
];

/// Whether the records of a sweep hold what is selected.
///
/// # Errors
/// A sentence with what they hold instead.
pub fn is_kept(selector: &Selector) -> Result<(), String> {
    match KEPT.contains(&kept(selector.aggregate)) {
        true => Ok(()),
        false => Err(format!(
            "{} is not kept of the runs of a sweep; of latencies there are min, mean, median, p90, p95, p99 and max",
            selector.aggregate
        )),
    }
}

/// The median is the 50th percentile.
fn kept(aggregate: Aggregate) -> Aggregate {
    match aggregate {
        Aggregate::Percentile(50.0) => Aggregate::Median,
        other => other,
    }
}

/// The name of a value in a record.
fn key(metric: &Metric, phase: Option<Phase>, aggregate: Aggregate) -> String {
    format!("{}.{aggregate}", metric.key(phase))
}

/// Every value that a strategy has in a report.
pub(super) fn all(strategy: &StrategyReport) -> BTreeMap<String, f64> {
    let one_round = strategy.per_round.len() == 1;
    let mut values = BTreeMap::new();
    for (metric, phase) in catalogue::scoped() {
        for aggregate in KEPT {
            // A total of one round is its mean, its smallest, its median and its largest.
            let same = one_round && metric.adds_up() && aggregate != Aggregate::Total;
            if same || !metric.allows(aggregate) {
                continue;
            }
            if let Some(value) = value(strategy, metric, phase, aggregate) {
                values.insert(key(metric, phase, aggregate), value);
            }
        }
    }
    values
}

/// The value selected, of those that [`all`] has found in a report of so many rounds.
pub(super) fn select(
    values: &BTreeMap<String, f64>,
    rounds: u32,
    selector: &Selector,
) -> Option<f64> {
    let metric = selector.metric;
    let aggregate = match kept(selector.aggregate) {
        _ if rounds == 1 && metric.adds_up() => Aggregate::Total,
        other => other,
    };
    values.get(&key(metric, selector.phase, aggregate)).copied()
}

fn value(
    strategy: &StrategyReport,
    metric: &Metric,
    phase: Option<Phase>,
    aggregate: Aggregate,
) -> Option<f64> {
    let key = metric.key(phase);
    let of_round = |round: &RoundReport| round.values.get(&key).copied();
    // What no round has data for has none in total, whatever stands where it would stand.
    if !strategy
        .per_round
        .iter()
        .any(|round| of_round(round).is_some())
    {
        return None;
    }
    let scope = scope(&strategy.totals, phase);
    if metric.default_aggregate().is_none() {
        let stage = Stage::ALL
            .into_iter()
            .find(|stage| stage.as_str() == metric.name)?;
        return of_times(scope.times.get(&stage)?, aggregate);
    }
    let spread = || strategy.spread.get(&key);
    let total = || {
        let mut total = 0.0;
        for round in &strategy.per_round {
            match of_round(round) {
                Some(value) => total += value,
                // Nothing was tried in it, and so nothing is to be added.
                None if !metric.has_data(&self::scope(&round.numbers, phase).counts) => {}
                None => return None,
            }
        }
        Some(total)
    };
    match aggregate {
        Aggregate::Total => total(),
        Aggregate::Mean if metric.adds_up() => {
            Some(total()? / number(strategy.per_round.len() as u64))
        }
        Aggregate::Mean | Aggregate::Peak if metric.allows(Aggregate::Peak) => {
            let rate = scope.handshake_rate_per_s?;
            Some(match aggregate {
                Aggregate::Peak => number(rate.peak),
                _ => rate.mean,
            })
        }
        Aggregate::Mean | Aggregate::Min | Aggregate::Max if per_task(metric) => {
            let spread = match metric.name {
                "attempts_per_task" => scope.attempts_per_task,
                "handshakes_per_task" => scope.handshakes_per_task,
                _ => strategy.totals.first_banned_attempt,
            };
            let PerTaskReport { min, mean, max } = spread?;
            match aggregate {
                Aggregate::Min => min.map(number),
                Aggregate::Max => max.map(number),
                _ => Some(mean),
            }
        }
        Aggregate::Min => spread().map(|spread| spread.min),
        Aggregate::Median => spread().map(|spread| spread.median),
        Aggregate::Max => spread().map(|spread| spread.max),
        Aggregate::Mean | Aggregate::Peak | Aggregate::Percentile(_) => None,
    }
}

/// Whether it is spread over tasks: its mean is its own, and there is no peak of it.
fn per_task(metric: &Metric) -> bool {
    metric.default_aggregate() == Some(Aggregate::Mean) && !metric.allows(Aggregate::Peak)
}

fn scope(numbers: &NumbersReport, phase: Option<Phase>) -> &ScopeReport {
    match phase {
        None => &numbers.total,
        Some(Phase::Submit) => &numbers.phases.submit,
        Some(Phase::Poll) => &numbers.phases.poll,
        Some(Phase::Cleanup) => &numbers.phases.cleanup,
    }
}

fn of_times(times: &LatencySummary, aggregate: Aggregate) -> Option<f64> {
    let ns = match aggregate {
        Aggregate::Min => times.min_ns,
        Aggregate::Mean => times.mean_ns,
        Aggregate::Median => times.p50_ns,
        Aggregate::Max => times.max_ns,
        Aggregate::Percentile(90.0) => times.p90_ns,
        Aggregate::Percentile(95.0) => times.p95_ns,
        Aggregate::Percentile(99.0) => times.p99_ns,
        Aggregate::Total | Aggregate::Peak | Aggregate::Percentile(_) => return None,
    };
    Some(number(ns))
}

/// Why metrics have no data in a report: each reason with those that it is the reason of. `views` are the strategy's.
pub(super) fn missing(strategy: &StrategyReport, views: Views) -> BTreeMap<String, Vec<String>> {
    let mut missing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (metric, phase) in catalogue::scoped() {
        let aggregate = metric.default_aggregate().unwrap_or(Aggregate::Median);
        if value(strategy, metric, phase, aggregate).is_none() {
            let reason = reason(strategy, views, metric, phase).to_owned();
            missing.entry(reason).or_default().push(metric.key(phase));
        }
    }
    missing
}

fn reason(
    strategy: &StrategyReport,
    views: Views,
    metric: &Metric,
    phase: Option<Phase>,
) -> &'static str {
    if strategy.per_round.is_empty() {
        return "no round of it was run";
    }
    if !views.client && phase.is_some() {
        return "a client under test has no phases that could be seen";
    }
    // Where there are two ways to have it, the last is the one that the user can do something about.
    let witness = metric
        .needs
        .last()
        .filter(|_| !views.have_one_of(metric.needs));
    if let Some(lacking) = witness.and_then(|needed| views.missing(*needed)) {
        return lacking;
    }
    let counts = &scope(&strategy.totals, phase).counts;
    match metric.name {
        "startups_peak" => "the server's startup slots could not be watched",
        "leftover_dirs" | "kept_by_policy" => "no inventory of job directories was taken",
        "server_cpu" | "server_cpu_per_handshake" | "server_cpu_per_task" => {
            "the server's CPU time could not be read"
        }
        "holders_admitted" => "the scenario has no holders",
        "tasks_banned" | "first_banned_attempt" | "unbanned_spacing" | "ban" => {
            "only `failing-login` can have it"
        }
        "start_spread" => "its tasks did not begin all at once",
        _ if counts.attempts == 0 => "no connection was attempted",
        _ if !metric.has_data(counts) => "no command was run",
        _ if metric.default_aggregate().is_none() => "nothing got that far, so nothing was timed",
        _ => "not every witness of it was heard",
    }
}
