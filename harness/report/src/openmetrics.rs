//! The numbers as OpenMetrics text, for a Prometheus push gateway, a textfile collector or a time-series store.
//!
//! Owns names and types, by the metric catalogue: `sshchurn_<metric>`, seconds for times, `_total` for what is counted.
//! Counters that are kept by phase have one series for each phase, which add up; means, rates and quantiles do not add
//! up, and have `phase="all"` beside them. A metric without data has no series: no data is never zero.
//!
//! <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>

use std::fmt::Write as _;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::document::{NumbersReport, RunReport, ScopeReport};
use sshchurn_core::analysis::catalogue::{CATALOGUE, Metric, Unit};
use sshchurn_core::analysis::latency::{LatencySummary, Stage};
use sshchurn_core::analysis::laws::LawStatus;
use sshchurn_core::gate::{GateOutcome, Verdict};
use sshchurn_core::quantity::{number, seconds};
use sshchurn_core::vocabulary::Phase;

/// Renders the report. The same report always gives the same bytes.
#[must_use]
pub fn render(report: &RunReport) -> String {
    let mut text = Exposition::default();
    about(&mut text, report);
    for metric in CATALOGUE {
        if !metric_of_latency(&mut text, report, metric) {
            metric_of_numbers(&mut text, report, metric);
        }
    }
    drops(&mut text, report);
    text.out.push_str("# EOF\n");
    text.out
}

/// Kinds of a metric family.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Counter,
    Gauge,
    Summary,
    Info,
    StateSet,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
            Kind::Info => "info",
            Kind::StateSet => "stateset",
        }
    }
}

type Labels<'a> = Vec<(&'a str, String)>;

/// Text in the making.
#[derive(Default)]
struct Exposition {
    out: String,
}

impl Exposition {
    /// A family, if it has a sample: `suffix` to the name, labels, value.
    fn family(
        &mut self,
        name: &str,
        kind: Kind,
        unit: Option<&str>,
        help: &str,
        samples: Vec<(&'static str, Labels<'_>, f64)>,
    ) {
        if samples.is_empty() {
            return;
        }
        let out = &mut self.out;
        let _ = writeln!(out, "# TYPE {name} {}", kind.as_str());
        if let Some(unit) = unit {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
        let _ = writeln!(out, "# HELP {name} {}", escape(help));
        for (suffix, labels, value) in samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(label, text)| format!("{label}=\"{}\"", escape(text)))
                .collect();
            let _ = write!(out, "{name}{suffix}");
            if !labels.is_empty() {
                let _ = write!(out, "{{{}}}", labels.join(","));
            }
            let _ = writeln!(out, " {value}");
        }
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// The run itself: what it was, its verdict, its gates, its books.
fn about(text: &mut Exposition, report: &RunReport) {
    let target = &report.target;
    let labels = vec![
        ("run_id", report.run_id.0.clone()),
        ("scenario", report.scenario.name.clone()),
        ("version", report.tool.version.clone()),
        ("target", target.kind.as_str().to_owned()),
        (
            "release",
            target
                .release
                .clone()
                .unwrap_or_else(|| target.identification.clone()),
        ),
        (
            "max_startups",
            report.max_startups().unwrap_or("not known").to_owned(),
        ),
        ("stand_in", report.stand_in_word().to_owned()),
    ];
    let notices = super::view::story::notices(report);
    let help = match notices.is_empty() {
        true => String::from("What was run."),
        false => notices.join(" "),
    };
    text.family(
        "sshchurn_run",
        Kind::Info,
        None,
        &help,
        vec![("_info", labels, 1.0)],
    );
    if let Ok(started) = OffsetDateTime::parse(&report.started_at, &Rfc3339) {
        // Milliseconds are exact as a number; nanoseconds of this century are not.
        let milliseconds = started.unix_timestamp_nanos() / 1_000_000;
        let milliseconds = u64::try_from(milliseconds).unwrap_or(0);
        text.family(
            "sshchurn_run_start_time_seconds",
            Kind::Gauge,
            Some("seconds"),
            "Start of the run, Unix time.",
            vec![("", Vec::new(), number(milliseconds) / 1e3)],
        );
    }
    text.family(
        "sshchurn_run_duration_seconds",
        Kind::Gauge,
        Some("seconds"),
        "From the start of the run to its last record.",
        vec![("", Vec::new(), seconds(report.duration_ns))],
    );
    let states = [
        Verdict::Pass,
        Verdict::Measured,
        Verdict::Fail,
        Verdict::Inconclusive,
    ]
    .map(|verdict| {
        let labels = vec![("sshchurn_verdict", verdict.as_str().to_owned())];
        let is = if verdict == report.verdict { 1.0 } else { 0.0 };
        ("", labels, is)
    });
    text.family(
        "sshchurn_verdict",
        Kind::StateSet,
        None,
        "The verdict.",
        states.to_vec(),
    );
    text.family(
        "sshchurn_exit_code",
        Kind::Gauge,
        None,
        "Exit code of the program.",
        vec![("", Vec::new(), f64::from(report.exit_code))],
    );
    let mut gates = Vec::new();
    let mut expressions: Vec<&str> = Vec::new();
    for gate in &report.gates {
        // A threshold that is given twice is judged twice, and says the same twice.
        if expressions.contains(&gate.expression.as_str()) {
            continue;
        }
        expressions.push(&gate.expression);
        for (outcome, word) in [
            (GateOutcome::Pass, "pass"),
            (GateOutcome::Fail, "fail"),
            (GateOutcome::Inconclusive, "inconclusive"),
        ] {
            let labels = vec![
                ("threshold", gate.expression.clone()),
                ("sshchurn_gate", word.to_owned()),
            ];
            gates.push(("", labels, if gate.outcome == outcome { 1.0 } else { 0.0 }));
        }
    }
    text.family(
        "sshchurn_gate",
        Kind::StateSet,
        None,
        "Thresholds by outcome.",
        gates,
    );
    let laws = [
        (LawStatus::Holds, "holds"),
        (LawStatus::Broken, "broken"),
        (LawStatus::NotCheckable, "not_checkable"),
    ]
    .map(|(status, word)| {
        let count = report
            .laws
            .iter()
            .filter(|law| law.status == status)
            .count();
        ("", vec![("status", word.to_owned())], number(count as u64))
    });
    text.family(
        "sshchurn_laws",
        Kind::Gauge,
        None,
        "Conservation laws of the books by status.",
        laws.to_vec(),
    );
}

/// The phases of a metric, all together first.
fn scopes(numbers: &NumbersReport) -> [(&'static str, &ScopeReport); 4] {
    let phases = &numbers.phases;
    [
        ("all", &numbers.total),
        (Phase::Submit.as_str(), &phases.submit),
        (Phase::Poll.as_str(), &phases.poll),
        (Phase::Cleanup.as_str(), &phases.cleanup),
    ]
}

/// A summary, where the metric is a time; `false` where it is not.
fn metric_of_latency(text: &mut Exposition, report: &RunReport, metric: &Metric) -> bool {
    let stage = Stage::ALL
        .into_iter()
        .find(|stage| stage.as_str() == metric.name);
    let Some(stage) = stage else {
        return false;
    };
    let mut samples = Vec::new();
    for strategy in &report.strategies {
        for (phase, scope) in scopes(&strategy.totals) {
            let Some(times) = scope.times.get(&stage) else {
                continue;
            };
            let mut labels = vec![("strategy", strategy.strategy.0.clone())];
            if metric.by_phase {
                labels.push(("phase", phase.to_owned()));
            } else if phase != "all" {
                continue;
            }
            samples.extend(quantiles(&labels, times));
        }
    }
    let name = format!("sshchurn_{}_seconds", metric.name);
    text.family(
        &name,
        Kind::Summary,
        Some("seconds"),
        metric.description,
        samples,
    );
    true
}

fn quantiles<'a>(
    labels: &Labels<'a>,
    times: &LatencySummary,
) -> Vec<(&'static str, Labels<'a>, f64)> {
    let mut samples: Vec<(&'static str, Labels<'a>, f64)> = [
        ("0.0", times.min_ns),
        ("0.5", times.p50_ns),
        ("0.9", times.p90_ns),
        ("0.95", times.p95_ns),
        ("0.99", times.p99_ns),
        ("1.0", times.max_ns),
    ]
    .into_iter()
    .map(|(quantile, ns)| {
        let mut labels = labels.clone();
        labels.push(("quantile", quantile.to_owned()));
        ("", labels, seconds(ns))
    })
    .collect();
    samples.push(("_count", labels.clone(), number(times.count)));
    // The mean is exact to a nanosecond, and so the sum to one for each value.
    let sum = seconds(times.mean_ns) * number(times.count);
    samples.push(("_sum", labels.clone(), sum));
    samples
}

/// A counter or a gauge.
fn metric_of_numbers(text: &mut Exposition, report: &RunReport, metric: &Metric) {
    let mut samples = Vec::new();
    let counted = metric.adds_up();
    let phases = metric.by_phase.then_some(Phase::ALL).into_iter().flatten();
    let phases: Vec<Option<Phase>> = std::iter::once(None).chain(phases.map(Some)).collect();
    for strategy in &report.strategies {
        for phase in &phases {
            // The phases of a counter add up to the whole, which would be counted twice.
            if metric.by_phase && counted && phase.is_none() {
                continue;
            }
            let mut labels = vec![("strategy", strategy.strategy.0.clone())];
            if metric.by_phase {
                let phase = phase.map_or("all", Phase::as_str);
                labels.push(("phase", phase.to_owned()));
            }
            let values = strategy.overall.get(&metric.key(*phase));
            for (word, value) in values.into_iter().flatten() {
                let mut labels = labels.clone();
                if word != "all" {
                    labels.push(("aggregate", word.clone()));
                }
                let value = match metric.unit {
                    Unit::Nanoseconds => *value / 1e9,
                    _ => *value,
                };
                samples.push((if counted { "_total" } else { "" }, labels, value));
            }
        }
    }
    let (name, unit) = match metric.unit {
        Unit::Nanoseconds => (format!("sshchurn_{}_seconds", metric.name), Some("seconds")),
        _ => (format!("sshchurn_{}", metric.name), None),
    };
    let kind = if counted { Kind::Counter } else { Kind::Gauge };
    text.family(&name, kind, unit, metric.description, samples);
}

/// The server's drops by cause.
fn drops(text: &mut Exposition, report: &RunReport) {
    let mut samples = Vec::new();
    for strategy in &report.strategies {
        let Some(drops) = &strategy.totals.server.server_drops_by_cause else {
            continue;
        };
        let mut sample = |cause: &str, count: u64| {
            let labels = vec![
                ("strategy", strategy.strategy.0.clone()),
                ("cause", cause.to_owned()),
            ];
            samples.push(("_total", labels, number(count)));
        };
        for (cause, count) in drops.by_rule() {
            sample(cause, count);
        }
        for (reason, count) in &drops.penalties {
            sample(&format!("penalty: {reason}"), *count);
        }
    }
    text.family(
        "sshchurn_server_drops_by_cause",
        Kind::Counter,
        None,
        "Refusals in sshd's own log, by cause.",
        samples,
    );
}
