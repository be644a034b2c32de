//! Handshakes per second over the time of a round, all rounds of all strategies on one axis.

use super::canvas::{self, Anchor, Ink, Scale, TEXT, plain, round_up, x_axis, y_axis};
use super::{Figure, number};
use crate::document::RunReport;
use sshchurn_core::analysis::timeline::TimeLine;

const WIDTH: u32 = 480;
const HEIGHT: u32 = 330;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 466.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 284.0;
/// Shortest stretch over which a rate is taken, seconds: below it a rate is noise.
const STRETCH: f64 = 0.5;

/// One round's rates: stretch, seconds, and handshakes per second in each.
struct Course {
    stretch: f64,
    rates: Vec<f64>,
}

impl Course {
    fn of(line: &TimeLine) -> Option<Course> {
        let bin = number(line.bin_ns) / 1e9;
        if bin <= 0.0 || line.handshakes.is_empty() {
            return None;
        }
        let mut width = 1;
        while bin * f64::from(width) < STRETCH {
            width *= 2;
        }
        let stretch = bin * f64::from(width);
        let width = usize::try_from(width).unwrap_or(usize::MAX);
        let rates = line
            .handshakes
            .chunks(width)
            .map(|chunk| {
                // The last stretch may be shorter.
                let time = bin * number(chunk.len() as u64);
                let count: u64 = chunk.iter().map(|count| u64::from(*count)).sum();
                number(count) / time
            })
            .collect();
        Some(Course { stretch, rates })
    }

    /// The middles of the stretches.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.rates
            .iter()
            .enumerate()
            .map(|(index, rate)| ((number(index as u64) + 0.5) * self.stretch, *rate))
    }
}

pub(super) fn figure(report: &RunReport) -> Figure {
    let mut figure = Figure::new(
        "rate",
        "Handshake rate over time",
        "Handshakes per second in stretches of half a second or more, from the start of each round; one line for each round.",
    );
    let courses: Vec<(usize, u32, Course)> = report
        .strategies
        .iter()
        .enumerate()
        .flat_map(|(index, strategy)| {
            strategy.per_round.iter().filter_map(move |round| {
                Some((index, round.repetition, Course::of(&round.timeline)?))
            })
        })
        .collect();
    let most = courses
        .iter()
        .flat_map(|(_, _, course)| course.rates.iter().copied())
        .fold(0.0, f64::max);
    if most <= 0.0 {
        return figure.without("There was no handshake, so there is no rate.");
    }
    figure.data.head = ["Strategy", "Repetition", "From, s", "Handshakes/s"]
        .map(str::to_owned)
        .to_vec();
    for (index, repetition, course) in &courses {
        for (place, rate) in course.rates.iter().enumerate() {
            figure.data.rows.push(vec![
                report.strategies[*index].strategy.0.clone(),
                repetition.to_string(),
                format!("{:.2}", number(place as u64) * course.stretch),
                format!("{rate:.1}"),
            ]);
        }
    }
    for (index, strategy) in report.strategies.iter().enumerate() {
        figure.mark(Ink::Strategy(index), "line", &strategy.strategy.0);
    }
    let longest = courses
        .iter()
        .map(|(_, _, course)| number(course.rates.len() as u64) * course.stretch)
        .fold(0.0, f64::max);
    let x = Scale::linear((0.0, longest), (LEFT, RIGHT));
    let y = Scale::linear((0.0, round_up(most)), (BOTTOM, TOP));
    figure.drawn(canvas::draw(WIDTH, HEIGHT, |canvas| {
        canvas.text(
            "handshakes per second",
            (0.0, 9.0),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::Start,
        )?;
        y_axis(canvas, &y, (LEFT, RIGHT), &y.ticks(6), plain)?;
        x_axis(canvas, &x, BOTTOM, &x.ticks(6), plain)?;
        canvas.text(
            "time since the start of the round, s",
            (f64::midpoint(LEFT, RIGHT), BOTTOM + 34.0),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::Middle,
        )?;
        for (index, _, course) in &courses {
            let points: Vec<(f64, f64)> = course
                .points()
                .map(|(time, rate)| (x.at(time), y.at(rate)))
                .collect();
            canvas.line(&points, Ink::Strategy(*index), 0.9, 1.8)?;
        }
        Ok(())
    }))
}
