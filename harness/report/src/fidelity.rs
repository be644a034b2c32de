//! A model beside the client that it models: the document and its pure renderers.
//!
//! Owns which metrics are judged, within which bounds, and the words. The statistics are the analysis'.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::{RunReport, StrategyReport};
use super::json::pretty;
use super::ruled_table;
use super::view::words::{decimal, time};
use sshchurn_core::analysis::catalogue::{self, Unit};
use sshchurn_core::analysis::fidelity::{Agreement, Ratio};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::ids::{RunId, StrategyName};
use sshchurn_core::manifest::Substitution;

/// Version of the document.
pub const FIDELITY_SCHEMA_VERSION: u32 = 1;

/// What must agree, and how closely: connections that were let in, and those that were refused.
const JUDGED: [(&str, f64); 2] = [("handshakes", 0.10), ("banner_eof", 0.20)];
/// What is shown beside it. Times are not: those of the model are the client's, those of a real client the server's.
const SHOWN: [&str; 5] = [
    "attempts",
    "handshakes_per_task",
    "tasks_failed",
    "leftover_dirs",
    "startups_peak",
];

/// A model beside the client that it models.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FidelityReport {
    /// Version of this document.
    pub schema_version: u32,
    /// The run that both took part in.
    pub run_id: RunId,
    /// The server, for a person.
    pub server: String,
    /// Tasks of each round.
    pub tasks: u32,
    /// `MaxStartups` in force.
    pub max_startups: String,
    /// The real client.
    pub real: StrategyName,
    /// The model.
    pub model: StrategyName,
    /// Whether the real client, or the machine, was saturated; `null` where it was not measured.
    pub saturated: Option<bool>,
    /// Metric by metric.
    pub rows: Vec<FidelityRow>,
    /// What limits the comparison, each a full sentence.
    pub limitations: Vec<String>,
    /// Exit code, as a word.
    pub exit: ExitCode,
}

/// One metric of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FidelityRow {
    /// Metric.
    pub metric: String,
    /// Means, ratio and interval; durations in nanoseconds.
    pub values: Ratio,
    /// The share within which they must agree; `null` of one that is shown only.
    pub within: Option<f64>,
    /// Whether they do.
    pub agreement: Option<Agreement>,
}

/// Holds two strategies of one run against each other; `None` when the run has no such strategy.
#[must_use]
pub fn fidelity(
    report: &RunReport,
    real: &StrategyName,
    model: &StrategyName,
) -> Option<FidelityReport> {
    let find = |name: &StrategyName| report.strategies.iter().find(|s| s.strategy == *name);
    let (of_real, of_model) = (find(real)?, find(model)?);
    let row = |metric: &str, within: Option<f64>| {
        let values = |strategy: &StrategyReport| -> Vec<f64> {
            let rounds = strategy.per_round.iter();
            rounds
                .filter_map(|round| round.values.get(metric).copied())
                .collect()
        };
        let values = Ratio::of(&values(of_real), &values(of_model))?;
        Some(FidelityRow {
            metric: metric.to_owned(),
            agreement: within.map(|within| values.agreement(within)),
            values,
            within,
        })
    };
    let judged = JUDGED
        .iter()
        .filter_map(|(metric, within)| row(metric, Some(*within)));
    let shown = SHOWN.iter().filter_map(|metric| row(metric, None));
    let rows: Vec<FidelityRow> = judged.chain(shown).collect();
    let saturated = of_real
        .totals
        .clients
        .as_ref()
        .and_then(|clients| Some(clients.load.as_ref()?.saturated()));
    let worst = rows.iter().filter_map(|row| row.agreement).max();
    Some(FidelityReport {
        schema_version: FIDELITY_SCHEMA_VERSION,
        run_id: report.run_id.clone(),
        server: report.target.choice.clone(),
        tasks: report.scenario.tasks,
        max_startups: report.max_startups().unwrap_or("not known").to_owned(),
        real: real.clone(),
        model: model.clone(),
        saturated,
        limitations: limitations(report, of_real, saturated),
        exit: match worst {
            _ if rows.iter().filter(|row| row.within.is_some()).count() < JUDGED.len() => {
                ExitCode::Inconclusive
            }
            Some(Agreement::Agrees) => ExitCode::Success,
            Some(Agreement::Differs) => ExitCode::GateFailed,
            Some(Agreement::CannotSay) | None => ExitCode::Inconclusive,
        },
        rows,
    })
}

fn limitations(report: &RunReport, real: &StrategyReport, saturated: Option<bool>) -> Vec<String> {
    let mut limitations = Vec::new();
    match (saturated, &real.totals.clients) {
        (None, _) => limitations.push(
            "Whether the client was saturated is not known: its rounds were too short, or it is no client under test."
                .to_owned(),
        ),
        (Some(true), Some(clients)) => {
            let cpu = clients
                .cpu_ns
                .and_then(|cpu| cpu.checked_div(real.totals.total.counts.handshakes));
            let cost = cpu.map_or_else(String::new, |cpu| {
                format!(" Its own processes used {} of CPU for each login.", time(cpu))
            });
            limitations.push(match &report.target.cores {
                Some(cores) => format!("The client was saturated ({cores}).{cost}"),
                None => format!(
                    "The client or the machine was saturated: client and sshd share {} cores, and what the client's own work \
                     delays, the model does not delay (`sshd.separate_cores` gives each its own).{cost}",
                    report.environment.cpus
                ),
            });
        }
        (Some(_), _) => {}
    }
    if real
        .totals
        .clients
        .as_ref()
        .is_some_and(|clients| clients.lower_bound)
    {
        limitations.push(
            "The kernel turned connections of the client away before sshd saw them: its counts are lower bounds.".to_owned(),
        );
    }
    if let (Some(cores), Some(false)) = (&report.target.cores, saturated) {
        limitations.push(format!(
            "Clients and server had CPUs of their own: {cores}. A client elsewhere has that, one beside its server has not."
        ));
    }
    let substitution = report.target.substitution.iter();
    limitations.extend(substitution.flat_map(Substitution::lines));
    if let Some(kind) = report.stand_in {
        limitations.push(format!("{}.", kind.headline()));
    }
    limitations
}

/// For a terminal.
#[must_use]
pub fn text(report: &FidelityReport) -> String {
    let mut out = format!("{}\n", sentence(report));
    let head = [
        "",
        "real",
        "model",
        "real : model",
        "90 % interval",
        "within",
        "",
    ];
    let head = head.map(str::to_owned);
    let rows = report.rows.iter().map(|row| cells(row).to_vec());
    out.push_str(&ruled_table::render_within(100, head, rows, 1..6));
    out.push('\n');
    for limitation in &report.limitations {
        out.push_str(&format!("Limitation: {limitation}\n"));
    }
    out
}

/// As Markdown.
#[must_use]
pub fn markdown(report: &FidelityReport) -> String {
    let mut out = format!("{}\n\n", sentence(report));
    out.push_str("| metric | real | model | real : model | 90 % interval | within | |\n|---|---|---|---|---|---|---|\n");
    for row in &report.rows {
        out.push_str(&format!("| {} |\n", cells(row).join(" | ")));
    }
    out.push('\n');
    for limitation in &report.limitations {
        out.push_str(&format!("- {limitation}\n"));
    }
    out
}

/// The versioned document.
#[must_use]
pub fn json(report: &FidelityReport) -> String {
    pretty(report)
}

/// The answer first.
fn sentence(report: &FidelityReport) -> String {
    let (real, model) = (&report.real, &report.model);
    let answer = match report.exit {
        ExitCode::Success => format!("`{model}` agrees with `{real}`"),
        ExitCode::GateFailed => format!("`{model}` differs from `{real}`"),
        _ => format!("Whether `{model}` agrees with `{real}` cannot be said"),
    };
    let rounds = report
        .rows
        .iter()
        .map(|row| row.values.rounds)
        .min()
        .unwrap_or(0);
    let more = match report.exit {
        ExitCode::Inconclusive => " More rounds narrow the intervals (`--rounds`).",
        _ => "",
    };
    format!(
        "{answer}: {} tasks, MaxStartups {}, {} of each, {}.{more}",
        report.tasks,
        report.max_startups,
        crate::view::words::counted(rounds, "round"),
        report.server
    )
}

fn cells(row: &FidelityRow) -> [String; 7] {
    let none = || "–".to_owned();
    let duration =
        catalogue::metric(&row.metric).is_some_and(|metric| metric.unit == Unit::Nanoseconds);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "metrics are never negative, and this is for display"
    )]
    let value = |value: f64| match duration {
        true => time(value.round() as u64),
        false => decimal(value),
    };
    let values = &row.values;
    [
        row.metric.clone(),
        value(values.real),
        value(values.model),
        values.ratio.map_or_else(none, |ratio| {
            format!("{ratio:.3} ({:+.1} %)", (ratio - 1.0) * 100.0)
        }),
        values
            .interval
            .map_or_else(none, |(low, high)| format!("{low:.3} to {high:.3}")),
        row.within
            .map_or_else(none, |within| format!("±{:.0} %", within * 100.0)),
        row.agreement
            .map_or_else(String::new, |agreement| agreement.as_str().to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn a_strategy_agrees_with_itself_and_not_with_another() {
        let report = sample::full();
        let name = |index: usize| report.strategies[index].strategy.clone();
        let same = fidelity(&report, &name(0), &name(0)).expect("both are there");
        for row in &same.rows {
            let off = row.values.ratio.unwrap_or(1.0) - 1.0;
            assert!(off.abs() < 1e-12, "{}", row.metric);
        }
        assert_ne!(same.exit, ExitCode::GateFailed);
        assert!(fidelity(&report, &name(0), &StrategyName("nobody".to_owned())).is_none());
        let text = text(&same);
        assert!(
            text.contains("real : model") && text.contains("handshakes"),
            "{text}"
        );
        assert!(markdown(&same).contains("| handshakes |"));
        let read: FidelityReport = serde_json::from_str(&json(&same)).expect("reads back");
        assert_eq!(read, same);
        crate::schema::assert_conforms::<FidelityReport>(&json(&same));
    }
}
