//! A sweep as comma-separated values, in the long form that other programs draw from: one row for each point, repeat, strategy and
//! metric.
//!
//! Owns the columns. A value that is not there is empty and never 0, with the reason in the last column.

use sshchurn_core::manifest::StandIn;

use super::document::{RunState, SweepReport};

/// The rows, below one of column names. Durations are nanoseconds.
#[must_use]
pub fn csv(report: &SweepReport) -> String {
    let mut out = String::new();
    let mut head: Vec<String> = ["scenario", "stand_in", "server", "point", "repeat", "seed"]
        .map(str::to_owned)
        .to_vec();
    head.extend(report.keys.iter().map(|key| format!("vary.{key}")));
    head.extend(
        [
            "strategy",
            "metric",
            "unit",
            "value",
            "state",
            "exit_code",
            "no_data_because",
        ]
        .map(str::to_owned),
    );
    line(&mut out, &head);
    for point in &report.points {
        for (index, run) in point.runs.iter().enumerate() {
            for strategy in &point.strategies {
                for value in &strategy.values {
                    let mut row = vec![
                        report.scenario.clone(),
                        report.stand_in.map_or("", StandIn::as_str).to_owned(),
                        run.server.clone().unwrap_or_default(),
                        point.point.to_string(),
                        run.repeat.to_string(),
                        run.seed.map(|seed| seed.to_string()).unwrap_or_default(),
                    ];
                    row.extend(report.keys.iter().map(|key| {
                        let given = point.settings.iter().find(|setting| setting.key == *key);
                        given.map_or_else(String::new, |setting| setting.value.clone())
                    }));
                    let unit = report
                        .metrics
                        .iter()
                        .find(|metric| metric.metric == value.metric);
                    row.extend([
                        strategy.strategy.0.clone(),
                        value.metric.clone(),
                        unit.map_or_else(String::new, |metric| metric.unit.clone()),
                        value
                            .values
                            .get(index)
                            .copied()
                            .flatten()
                            .map(|it| it.to_string())
                            .unwrap_or_default(),
                        state(run.state).to_owned(),
                        run.exit_code
                            .map(|code| code.to_string())
                            .unwrap_or_default(),
                        value
                            .missing
                            .get(index)
                            .cloned()
                            .flatten()
                            .unwrap_or_default(),
                    ]);
                    line(&mut out, &row);
                }
            }
        }
    }
    out
}

fn state(state: RunState) -> &'static str {
    match state {
        RunState::Ran => "ran",
        RunState::Failed => "failed",
        RunState::Missing => "missing",
        RunState::OtherShard => "other_shard",
    }
}

/// One row; a cell that could be taken for several is quoted (RFC 4180).
fn line(out: &mut String, cells: &[String]) {
    let quoted: Vec<String> = cells
        .iter()
        .map(|cell| match cell.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", cell.replace('"', "\"\"")),
            false => cell.clone(),
        })
        .collect();
    out.push_str(&quoted.join(","));
    out.push('\n');
}
