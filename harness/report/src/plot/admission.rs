//! The admission curve: refusals that were observed, beside those that `MaxStartups` implies.

use super::Figure;
use super::canvas::{self, Anchor, Fault, Ink, Picture, Scale, TEXT, plain, x_axis, y_axis};
use crate::document::RunReport;
use sshchurn_core::analysis::admission::{AdmissionCurve, CurveSource, CurveVerdict};

const WIDTH: u32 = 480;
const HEIGHT: u32 = 330;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 466.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 284.0;

pub(super) fn figure(report: &RunReport) -> Figure {
    let mut figure = Figure::new(
        "admission",
        "Admission: observed against configured",
        "Share of connections refused by the number of startup slots in use. Whiskers are 95 % Wilson intervals: one in twenty misses the line by chance.",
    );
    let Some(curve) = &report.admission else {
        let why = report
            .admission_missing
            .as_deref()
            .unwrap_or("not recorded");
        return figure.without(&format!("There is no admission curve: {why}."));
    };
    if curve.points.is_empty() {
        return figure.without("There is no admission curve: no connection was decided.");
    }
    figure.caption = format!("{} {}", figure.caption, conclusion(curve));
    figure.data.head = [
        "Slots in use",
        "Connections decided",
        "Refused",
        "Observed %",
        "95 % interval",
        "Configured %",
    ]
    .map(str::to_owned)
    .to_vec();
    for point in &curve.points {
        let percent = |share: f64| format!("{:.1}", share * 100.0);
        let slots = if point.slots_from == point.slots_to {
            point.slots_from.to_string()
        } else {
            format!("{} to {}", point.slots_from, point.slots_to)
        };
        figure.data.rows.push(vec![
            slots,
            point.trials.to_string(),
            point.refused.to_string(),
            percent(point.share),
            format!(
                "{} to {}",
                percent(point.wilson_low),
                percent(point.wilson_high)
            ),
            percent(point.configured),
        ]);
    }
    figure.mark(Ink::Kind(2), "disc", "observed, with its interval");
    let line = format!("configured: MaxStartups {}", curve.max_startups);
    figure.mark(Ink::Text, "line", &line);
    figure.drawn(draw(curve))
}

/// What the curve says, a sentence.
fn conclusion(curve: &AdmissionCurve) -> String {
    let source = match curve.source {
        CurveSource::ServerDraws => "from sshd's own log of its draws",
        CurveSource::HeldConnections => "from connections held open one by one",
    };
    let p = curve
        .p_value
        .map_or_else(String::new, |p| format!(" (χ² test: p = {p:.2})"));
    let verdict = match curve.verdict {
        CurveVerdict::Fits => format!("Nothing speaks against the configuration{p}"),
        CurveVerdict::Differs => format!("The server decides by another rule or other numbers{p}"),
        CurveVerdict::Insufficient => {
            "Too few decisions were drawn at random to say more".to_owned()
        }
    };
    let mut text = format!("{verdict}; {source}.");
    for contradiction in &curve.contradictions {
        text.push_str(&format!(" Contradiction: {contradiction}."));
    }
    text
}

fn draw(curve: &AdmissionCurve) -> Result<Picture, Fault> {
    let most = curve
        .points
        .iter()
        .map(|point| f64::from(point.slots_to))
        .fold(1.0, f64::max);
    let x = Scale::linear((0.0, most), (LEFT, RIGHT));
    let y = Scale::linear((0.0, 1.0), (BOTTOM, TOP));
    canvas::draw(WIDTH, HEIGHT, |canvas| {
        canvas.text(
            "refused, %",
            (0.0, 9.0),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::Start,
        )?;
        y_axis(canvas, &y, (LEFT, RIGHT), &y.ticks(5), |share| {
            plain(share * 100.0)
        })?;
        x_axis(canvas, &x, BOTTOM, &x.ticks(6), plain)?;
        canvas.text(
            "startup slots in use",
            (f64::midpoint(LEFT, RIGHT), BOTTOM + 34.0),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::Middle,
        )?;
        // The configured share is a step for each point, half a slot to either side: neighbours of one percentage are
        // one point. Where nothing was observed the line goes straight to the next.
        let steps: Vec<(f64, f64)> = curve
            .points
            .iter()
            .flat_map(|point| {
                let share = y.at(point.configured);
                [
                    (x.at((f64::from(point.slots_from) - 0.5).max(0.0)), share),
                    (x.at((f64::from(point.slots_to) + 0.5).min(most)), share),
                ]
            })
            .collect();
        canvas.line(&steps, Ink::Text, 0.9, 1.5)?;
        for point in &curve.points {
            let middle = x.at(f64::midpoint(
                f64::from(point.slots_from),
                f64::from(point.slots_to),
            ));
            let (low, high) = (y.at(point.wilson_low), y.at(point.wilson_high));
            canvas.line(&[(middle, low), (middle, high)], Ink::Kind(2), 0.55, 1.2)?;
            canvas.dot((middle, y.at(point.share)), 2.8, Ink::Kind(2), true)?;
        }
        Ok(())
    })
}
