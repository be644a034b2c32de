//! A sweep as one self-contained page: no script, no network.

use serde::Serialize;

use sshchurn_core::manifest::StandIn;

use super::document::{PointReport, RunState, SweepReport};
use super::{figures, table, words};
use crate::html;
use crate::plot::{DataTable, Figure};
use crate::view::words::time;

#[derive(Serialize)]
struct Page {
    title: String,
    notices: Vec<&'static str>,
    sentence: String,
    notes: Vec<String>,
    server: String,
    exit: String,
    sections: Vec<Section>,
    numbers: DataTable,
    runs: DataTable,
    toml: String,
}

/// The plots of one metric.
#[derive(Serialize)]
struct Section {
    title: String,
    description: String,
    figures: Vec<Figure>,
}

/// Renders the page. The same report always gives the same bytes.
#[must_use]
pub fn html(report: &SweepReport) -> String {
    let sections = report
        .metrics
        .iter()
        .enumerate()
        .map(|(index, metric)| Section {
            title: table::title(metric),
            description: metric.description.clone(),
            figures: figures::of(report, index),
        });
    let page = Page {
        title: format!("Sweep of {}", report.scenario),
        notices: report.stand_in.map(StandIn::headline).into_iter().collect(),
        sentence: words::sentence(report),
        notes: report
            .notes
            .iter()
            .cloned()
            .chain(words::no_data(report))
            .collect(),
        server: report.server.clone(),
        exit: words::exit(report),
        sections: sections.collect(),
        numbers: numbers(report),
        runs: runs(report),
        toml: report.effective_toml.clone(),
    };
    html::rendered(include_str!("page.html"), &page)
}

/// Every number, a line for each strategy of each point.
fn numbers(report: &SweepReport) -> DataTable {
    let mut head = vec!["Point".to_owned()];
    head.extend(report.keys.iter().cloned());
    head.push("Strategy".to_owned());
    head.extend(report.metrics.iter().map(table::title));
    head.push("Runs".to_owned());
    let line = |point: &PointReport, strategy: &super::PointStrategy| {
        let mut row = vec![point.point.to_string()];
        row.extend(report.keys.iter().map(|key| table::setting(point, key)));
        row.push(strategy.strategy.0.clone());
        row.extend(
            report
                .metrics
                .iter()
                .map(|metric| table::cell(metric, strategy)),
        );
        row.push(table::runs(point));
        row
    };
    let rows = report.points.iter().flat_map(|point| {
        point
            .strategies
            .iter()
            .map(move |strategy| line(point, strategy))
    });
    DataTable {
        rows: rows.collect(),
        head,
    }
}

/// Every run, and how it ended.
fn runs(report: &SweepReport) -> DataTable {
    let head = [
        "Point",
        "Settings",
        "Repeat",
        "Began",
        "Took",
        "Server",
        "Verdict",
        "Exit code",
        "Why",
    ];
    let dash = || "–".to_owned();
    let rows = report.points.iter().flat_map(|point| {
        point.runs.iter().map(move |run| {
            let verdict = match run.state {
                RunState::Ran => run
                    .verdict
                    .map_or_else(dash, |verdict| verdict.as_str().to_owned()),
                RunState::Failed => "could not be run".to_owned(),
                RunState::Missing => "not run".to_owned(),
                RunState::OtherShard => "another shard's".to_owned(),
            };
            vec![
                point.point.to_string(),
                words::point(point),
                run.repeat.to_string(),
                run.started_at.clone().unwrap_or_else(dash),
                run.took_ns.map_or_else(dash, time),
                run.server.clone().unwrap_or_else(dash),
                verdict,
                run.exit_code.map_or_else(dash, |code| code.to_string()),
                run.error
                    .iter()
                    .chain(&run.reasons)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join("; "),
            ]
        })
    });
    DataTable {
        head: head.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}
