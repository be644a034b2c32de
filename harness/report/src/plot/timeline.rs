//! The course of one round: attempts by outcome, startup slots, tasks by phase, on one axis of time.

use super::canvas::{
    self, Anchor, Canvas, Fault, Ink, Scale, TEXT, plain, round_up, x_axis, y_axis,
};
use super::{Figure, number, pooled};
use crate::document::{RoundReport, StrategyReport};
use sshchurn_core::analysis::timeline::TimeLine;
use sshchurn_core::analysis::witness::Startups;

const WIDTH: u32 = 1000;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 986.0;
const ATTEMPTS: f64 = 170.0;
const LEVELS: f64 = 100.0;
const GAP: f64 = 40.0;
const TOP: f64 = 26.0;
/// Rows of the table behind a plot.
const ROWS: usize = 64;

pub(super) fn figure(round: &RoundReport, strategy: &StrategyReport, index: usize) -> Figure {
    let line = &round.timeline;
    let id = format!("round-{}", round.round);
    let title = format!(
        "Round {}: {}, repetition {}",
        round.round, strategy.strategy, round.repetition
    );
    let mut figure = Figure::new(&id, &title, "");
    figure.wide = true;
    if line.bins() == 0 || line.bin_ns == 0 {
        return figure.without("Nothing happened in this round.");
    }
    let slots = line.slots.as_ref().zip(round.startups.as_ref());
    figure.caption = caption(line, round.startups.as_ref());
    figure.mark(Ink::Strategy(index), "square", "handshakes (up)");
    figure.mark(Ink::Bad, "square", "refusals (down)");
    if line.other_outcomes.iter().any(|count| *count > 0) {
        figure.mark(Ink::Muted, "square", "other outcomes (down)");
    }
    if slots.is_some() {
        figure.mark(Ink::Text, "line", "startup slots in use");
    }
    for (kind, name) in PHASES {
        figure.mark(Ink::Kind(kind), "line", name);
    }
    data(&mut figure, line);
    figure.drawn(draw(line, slots, index))
}

/// Ink and name of the tasks' phases.
const PHASES: [(usize, &str); 3] = [
    (2, "tasks submitting"),
    (3, "tasks polling"),
    (4, "tasks cleaning up"),
];

fn caption(line: &TimeLine, startups: Option<&Startups>) -> String {
    let width = number(line.bin_ns) / 1e6;
    let mut text = format!("Counts per {} ms.", plain(width));
    match (startups, &line.slots) {
        (Some(startups), Some(_)) => {
            let seconds = |ns: u64| number(ns) / 1e9;
            text.push_str(&format!(
                " At most {} startup slots were in use; {:.2} s with {} or more (refused at random), {:.2} s with {} (all \
                 refused), by {} readings a second.",
                startups.peak,
                seconds(startups.above_start_ns),
                startups.start,
                seconds(startups.at_full_ns),
                startups.full,
                plain(startups.samples_per_s.round()),
            ));
        }
        (None, Some(_)) => text
            .push_str(" The gauge of startup slots was not read to the end of the round, so it is not drawn."),
        (_, None) => text.push_str(
            " Startup slots in use are not known: the listener's gauge was not read on this target.",
        ),
    }
    text
}

fn data(figure: &mut Figure, line: &TimeLine) {
    let (attempts, width) = pooled(&line.attempts, ROWS);
    let sums = |values: &[u32]| pooled(values, ROWS).0;
    let most = |values: &[u32]| -> Vec<u32> {
        values
            .chunks(width)
            .map(|chunk| chunk.iter().copied().max().unwrap_or(0))
            .collect()
    };
    let (handshakes, refusals, other) = (
        sums(&line.handshakes),
        sums(&line.banner_eof),
        sums(&line.other_outcomes),
    );
    let phases = [&line.submitting, &line.polling, &line.cleaning].map(|values| most(values));
    let slots = line.slots.as_ref().map(|slots| most(slots));
    figure.data.head = [
        "From, s",
        "Attempts",
        "Handshakes",
        "Refusals",
        "Other outcomes",
        "Submitting, most",
        "Polling, most",
        "Cleaning up, most",
    ]
    .map(str::to_owned)
    .to_vec();
    if slots.is_some() {
        figure.data.head.push("Startup slots, most".to_owned());
    }
    let bin = number(line.bin_ns) / 1e9 * number(width as u64);
    for row in 0..attempts.len() {
        let mut cells = vec![
            format!("{:.2}", bin * number(row as u64)),
            attempts[row].to_string(),
            handshakes[row].to_string(),
            refusals[row].to_string(),
            other[row].to_string(),
        ];
        cells.extend(phases.iter().map(|values| values[row].to_string()));
        cells.extend(slots.iter().map(|values| values[row].to_string()));
        figure.data.rows.push(cells);
    }
}

fn draw(
    line: &TimeLine,
    slots: Option<(&Vec<u32>, &Startups)>,
    index: usize,
) -> Result<canvas::Picture, Fault> {
    let panels = if slots.is_some() { 2.0 } else { 1.0 };
    let bottom = TOP + ATTEMPTS + panels * (GAP + LEVELS);
    let bin = number(line.bin_ns) / 1e9;
    let x = Scale::linear((0.0, bin * number(line.bins() as u64)), (LEFT, RIGHT));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a plot is small"
    )]
    let height = (bottom + 44.0) as u32;
    canvas::draw(WIDTH, height, |canvas| {
        let time = Time { x, bin };
        attempts(canvas, line, &time, index)?;
        let mut top = TOP + ATTEMPTS + GAP;
        if let Some((slots, startups)) = slots {
            gauge(canvas, slots, startups, &time, top)?;
            top += LEVELS + GAP;
        }
        phases(canvas, line, &time, top)?;
        x_axis(canvas, &x, bottom, &x.ticks(10), plain)?;
        canvas.text(
            "time since the start of the round, s",
            (f64::midpoint(LEFT, RIGHT), bottom + 34.0),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::Middle,
        )
    })
}

/// The axis of time.
struct Time {
    x: Scale,
    bin: f64,
}

impl Time {
    /// Left edge and width of a bin.
    fn bin(&self, index: usize) -> (f64, f64) {
        let from = self.x.at(self.bin * number(index as u64));
        let to = self.x.at(self.bin * number(index as u64 + 1));
        (from, to - from)
    }

    /// A level as steps.
    fn steps(&self, values: &[u32], y: &Scale) -> Vec<(f64, f64)> {
        let mut points = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let (left, width) = self.bin(index);
            let height = y.at(f64::from(*value));
            // Neighbours of one height are one step.
            if points
                .last()
                .is_some_and(|(_, last): &(f64, f64)| (*last - height).abs() < 1e-9)
            {
                points.pop();
            } else {
                points.push((left, height));
            }
            points.push((left + width, height));
        }
        points
    }
}

fn title(canvas: &Canvas<'_>, text: &str, top: f64) -> Result<(), Fault> {
    canvas.text(
        text,
        (0.0, top - 15.0),
        TEXT - 1.0,
        Ink::Muted,
        Anchor::Start,
    )
}

/// Handshakes upwards, everything else downwards.
fn attempts(canvas: &Canvas<'_>, line: &TimeLine, time: &Time, index: usize) -> Result<(), Fault> {
    title(canvas, "attempts that ended, per bin", TOP)?;
    let most = |values: &[u32]| f64::from(values.iter().copied().max().unwrap_or(0));
    let down: Vec<u32> = line
        .banner_eof
        .iter()
        .zip(&line.other_outcomes)
        .map(|(refused, other)| refused + other)
        .collect();
    let y = Scale::linear(
        (-most(&down).max(1.0), most(&line.handshakes).max(1.0)),
        (TOP + ATTEMPTS, TOP),
    );
    let ticks = whole(&y, 6);
    y_axis(canvas, &y, (LEFT, RIGHT), &ticks, |value| {
        plain(value.abs())
    })?;
    let zero = y.at(0.0);
    for (bin, handshakes) in line.handshakes.iter().enumerate() {
        let (left, width) = time.bin(bin);
        let width = (width - 0.5).max(0.75);
        if *handshakes > 0 {
            let top = y.at(f64::from(*handshakes));
            canvas.rect((left, top), (width, zero - top), Ink::Strategy(index), 1.0)?;
        }
        let (refused, other) = (line.banner_eof[bin], line.other_outcomes[bin]);
        let under = y.at(-f64::from(refused));
        if refused > 0 {
            canvas.rect((left, zero), (width, under - zero), Ink::Bad, 1.0)?;
        }
        if other > 0 {
            let bottom = y.at(-f64::from(refused + other));
            canvas.rect((left, under), (width, bottom - under), Ink::Muted, 1.0)?;
        }
    }
    canvas.line(&[(LEFT, zero), (RIGHT, zero)], Ink::Muted, 1.0, 1.0)
}

/// Slots in use against `start` and `full`.
fn gauge(
    canvas: &Canvas<'_>,
    slots: &[u32],
    startups: &Startups,
    time: &Time,
    top: f64,
) -> Result<(), Fault> {
    title(canvas, "startup slots in use", top)?;
    let peak = f64::from(slots.iter().copied().max().unwrap_or(0));
    let (start, full) = (f64::from(startups.start), f64::from(startups.full));
    // `full` is drawn where it is near: far above, it would flatten the line.
    let near = peak >= full / 4.0;
    let most = if near {
        peak.max(full)
    } else {
        peak.max(start)
    };
    let y = Scale::linear((0.0, round_up(most * 1.05)), (top + LEVELS, top));
    y_axis(canvas, &y, (LEFT, RIGHT), &whole(&y, 3), plain)?;
    for (name, limit) in [("start", start), ("full", full)] {
        if limit <= most {
            let height = y.at(limit);
            canvas.dashes((LEFT, height), (RIGHT, height), Ink::Bad)?;
            canvas.text(
                &format!("{name} {}", plain(limit)),
                (RIGHT, height - 9.0),
                TEXT - 1.0,
                Ink::Bad,
                Anchor::End,
            )?;
        }
    }
    if !near {
        canvas.text(
            &format!("full is {}, above this axis", plain(full)),
            (RIGHT, top - 15.0),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::End,
        )?;
    }
    let steps = time.steps(slots, &y);
    let base = y.at(0.0);
    let mut area = steps.clone();
    area.push((RIGHT, base));
    area.push((LEFT, base));
    canvas.polygon(&area, Ink::Text, 0.12)?;
    canvas.line(&steps, Ink::Text, 0.9, 1.5)
}

/// Tasks by phase.
fn phases(canvas: &Canvas<'_>, line: &TimeLine, time: &Time, top: f64) -> Result<(), Fault> {
    title(canvas, "tasks in each phase", top)?;
    let levels = [&line.submitting, &line.polling, &line.cleaning];
    let most = levels
        .iter()
        .flat_map(|values| values.iter())
        .copied()
        .max()
        .unwrap_or(0);
    let y = Scale::linear((0.0, round_up(f64::from(most))), (top + LEVELS, top));
    y_axis(canvas, &y, (LEFT, RIGHT), &whole(&y, 3), plain)?;
    for ((kind, _), values) in PHASES.into_iter().zip(levels) {
        canvas.line(&time.steps(values, &y), Ink::Kind(kind), 1.0, 1.8)?;
    }
    Ok(())
}

/// Ticks of an axis of counts.
fn whole(scale: &Scale, wanted: u32) -> Vec<f64> {
    let mut ticks = scale.ticks(wanted);
    ticks.retain(|tick| tick.fract().abs() < 1e-9);
    ticks
}
