//! Times by stage and strategy on a logarithmic axis: median to maximum, with the percentiles between.

use super::canvas::{self, Anchor, Canvas, Fault, Ink, Scale, TEXT, plain, x_axis};
use super::{Figure, number};
use crate::document::RunReport;
use crate::view::words::STAGES;
use sshchurn_core::analysis::latency::{LatencySummary, Stage};

const WIDTH: u32 = 480;
const LEFT: f64 = 158.0;
const RIGHT: f64 = 466.0;
const TOP: f64 = 8.0;
const LANE: f64 = 13.0;
const STAGE_GAP: f64 = 12.0;

pub(super) fn figure(report: &RunReport) -> Figure {
    let mut figure = Figure::new(
        "latency",
        "Times by stage",
        "Each line reaches from the median to the largest value of all rounds. Task times count from the intended start.",
    );
    let stages: Vec<(Stage, &str)> = STAGES
        .into_iter()
        .filter(|(stage, _)| {
            report
                .strategies
                .iter()
                .any(|strategy| strategy.totals.total.times.contains_key(stage))
        })
        .collect();
    if stages.is_empty() {
        return figure.without("No time was measured: no attempt got that far.");
    }
    figure.data.head = [
        "Stage", "Strategy", "Count", "Min, ms", "Mean, ms", "p50, ms", "p90, ms", "p95, ms",
        "p99, ms", "Max, ms",
    ]
    .map(str::to_owned)
    .to_vec();
    for (stage, name) in &stages {
        for strategy in &report.strategies {
            if let Some(times) = strategy.totals.total.times.get(stage) {
                let mut row = vec![
                    (*name).to_owned(),
                    strategy.strategy.0.clone(),
                    times.count.to_string(),
                ];
                row.extend(
                    [
                        times.min_ns,
                        times.mean_ns,
                        times.p50_ns,
                        times.p90_ns,
                        times.p95_ns,
                        times.p99_ns,
                        times.max_ns,
                    ]
                    .map(|ns| format!("{:.2}", number(ns) / 1e6)),
                );
                figure.data.rows.push(row);
            }
        }
    }
    for (index, strategy) in report.strategies.iter().enumerate() {
        figure.mark(Ink::Strategy(index), "square", &strategy.strategy.0);
    }
    figure.mark(Ink::Text, "disc", "median");
    figure.mark(Ink::Text, "tick", "p95");
    figure.mark(Ink::Text, "ring", "p99");
    figure.mark(Ink::Text, "end", "largest");
    figure.drawn(draw(report, &stages))
}

fn draw(report: &RunReport, stages: &[(Stage, &str)]) -> Result<canvas::Picture, Fault> {
    let all = || {
        report
            .strategies
            .iter()
            .flat_map(|strategy| strategy.totals.total.times.iter())
            .filter(|(stage, _)| stages.iter().any(|(shown, _)| shown == *stage))
            .map(|(_, times)| times)
    };
    // A reading of 0 ns has no place on this axis; nothing real is below a microsecond.
    let seconds = |ns: u64| number(ns.max(1000)) / 1e9;
    let least = all()
        .map(|times| seconds(times.p50_ns))
        .fold(f64::INFINITY, f64::min);
    let most = all().map(|times| seconds(times.max_ns)).fold(0.0, f64::max);
    let least = 10_f64.powf(least.log10().floor());
    let most = (most * 1.15).max(least * 10.0);
    let lanes = number(report.strategies.len() as u64);
    let stage_height = lanes * LANE + STAGE_GAP;
    let bottom = TOP + stage_height * number(stages.len() as u64);
    let x = Scale::logarithmic((least, most), (LEFT, RIGHT));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a plot is small"
    )]
    let height = (bottom + 46.0) as u32;
    canvas::draw(WIDTH, height, |canvas| {
        for tick in x.ticks(6) {
            let at = x.at(tick);
            canvas.line(&[(at, TOP), (at, bottom)], Ink::Grid, 1.0, 1.0)?;
        }
        x_axis(canvas, &x, bottom, &x.ticks(6), duration)?;
        canvas.text(
            "time, logarithmic",
            (f64::midpoint(LEFT, RIGHT), bottom + 34.0),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::Middle,
        )?;
        for (row, (stage, name)) in stages.iter().enumerate() {
            let top = TOP + stage_height * number(row as u64) + STAGE_GAP / 2.0;
            canvas.text(
                name,
                (LEFT - 10.0, top + lanes * LANE / 2.0),
                TEXT,
                Ink::Text,
                Anchor::End,
            )?;
            for (index, strategy) in report.strategies.iter().enumerate() {
                let y = top + LANE * number(index as u64) + LANE / 2.0;
                if let Some(times) = strategy.totals.total.times.get(stage) {
                    lane(canvas, &x, y, times, Ink::Strategy(index), seconds)?;
                }
            }
        }
        Ok(())
    })
}

fn lane(
    canvas: &Canvas<'_>,
    x: &Scale,
    y: f64,
    times: &LatencySummary,
    ink: Ink,
    seconds: impl Fn(u64) -> f64,
) -> Result<(), Fault> {
    let at = |ns: u64| x.at(seconds(ns));
    let (p50, max) = (at(times.p50_ns), at(times.max_ns));
    canvas.line(&[(p50, y), (max, y)], ink, 0.8, 2.0)?;
    for (place, half) in [(at(times.p95_ns), 4.5), (max, 2.5)] {
        canvas.line(&[(place, y - half), (place, y + half)], ink, 1.0, 2.0)?;
    }
    canvas.dot((at(times.p99_ns), y), 2.8, ink, false)?;
    canvas.dot((p50, y), 4.0, ink, true)
}

fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 0.999 => format!("{} s", plain(seconds)),
        _ if seconds >= 0.000_999 => format!("{} ms", plain(seconds * 1e3)),
        _ => format!("{} µs", plain(seconds * 1e6)),
    }
}
