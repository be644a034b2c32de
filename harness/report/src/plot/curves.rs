//! A number over the values of one key, a curve for each of several things, with the range of the repeats as whiskers.

use super::canvas::{self, Anchor, Fault, Ink, STRATEGIES, Scale, TEXT, round_up, x_axis, y_axis};
use super::{Figure, number};
use sshchurn_core::analysis::summary::Spread;

const WIDTH: u32 = 480;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 468.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 232.0;
const HEIGHT: u32 = 276;

/// Most curves of one plot: each has an ink of its own.
pub(crate) const MOST_CURVES: usize = STRATEGIES;

/// The values of the key below the plot.
#[derive(Debug, Clone)]
pub(crate) struct Ticks {
    /// The key.
    pub(crate) key: String,
    /// Its values, as written.
    pub(crate) texts: Vec<String>,
    /// The same as numbers, in ascending order; `None` where one of them is none.
    pub(crate) numbers: Option<Vec<f64>>,
}

/// A value with the range of its repeats.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    pub(crate) spread: Spread,
    /// As the table below the plot says it.
    pub(crate) text: String,
    /// It is not to be relied on.
    pub(crate) doubtful: bool,
}

/// One curve: a mark for each tick, or why there is none.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    pub(crate) name: String,
    pub(crate) marks: Vec<Result<Mark, String>>,
}

/// The plot. `label` is how a value of the vertical axis is written.
pub(crate) fn figure(
    id: &str,
    title: &str,
    ticks: &Ticks,
    curves: &[Curve],
    label: impl Fn(f64) -> String,
) -> Figure {
    let mut figure = Figure::new(
        id,
        title,
        "Medians of the repeats; a whisker reaches from the smallest to the largest. A line that breaks off has no data there.",
    );
    figure.data.head = std::iter::once(ticks.key.clone())
        .chain(curves.iter().map(|curve| curve.name.clone()))
        .collect();
    for (index, text) in ticks.texts.iter().enumerate() {
        let cells = curves.iter().map(|curve| match curve.marks.get(index) {
            Some(Ok(mark)) => mark.text.clone(),
            Some(Err(why)) => format!("no data: {why}"),
            None => String::new(),
        });
        figure
            .data
            .rows
            .push(std::iter::once(text.clone()).chain(cells).collect());
    }
    let marks = || curves.iter().flat_map(|curve| curve.marks.iter().flatten());
    if marks().next().is_none() {
        let why = curves
            .iter()
            .flat_map(|curve| &curve.marks)
            .find_map(|mark| mark.as_ref().err());
        return figure.without(&format!(
            "No data: {}.",
            why.map_or("nothing was run", String::as_str)
        ));
    }
    for (index, curve) in curves.iter().enumerate() {
        figure.mark(Ink::Strategy(index), "line", &curve.name);
    }
    if marks().any(|mark| mark.doubtful) {
        figure.mark(Ink::Text, "ring", "could not measure: not to be relied on");
    }
    let most = marks().map(|mark| mark.spread.max).fold(0.0, f64::max);
    figure.drawn(draw(ticks, curves, most, label))
}

fn draw(
    ticks: &Ticks,
    curves: &[Curve],
    most: f64,
    label: impl Fn(f64) -> String,
) -> Result<canvas::Picture, Fault> {
    // Times are in nanoseconds, and so no count: round numbers of those would be no round numbers of milliseconds.
    let y = Scale::linear((0.0, round_up(most)), (BOTTOM, TOP));
    let x = horizontal(ticks);
    canvas::draw(WIDTH, HEIGHT, |canvas| {
        y_axis(canvas, &y, (LEFT, RIGHT), &y.ticks(5), label)?;
        let places: Vec<f64> = (0..ticks.texts.len())
            .map(|index| x.place(ticks, index))
            .collect();
        x_axis(canvas, &x.scale, BOTTOM, &[], |_| String::new())?;
        let mut free = f64::NEG_INFINITY;
        for (place, text) in places.iter().zip(&ticks.texts) {
            canvas.line(
                &[(*place, BOTTOM), (*place, BOTTOM + 4.0)],
                Ink::Muted,
                0.8,
                1.0,
            )?;
            let half = number(text.chars().count() as u64) * 3.7 + 3.0;
            // One that would lie over the one before is in the table all the same.
            if place - half >= free {
                canvas.text(
                    text,
                    (*place, BOTTOM + 13.0),
                    TEXT - 1.0,
                    Ink::Muted,
                    Anchor::Middle,
                )?;
                free = place + half;
            }
        }
        canvas.text(
            &ticks.key,
            (f64::midpoint(LEFT, RIGHT), BOTTOM + 34.0),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::Middle,
        )?;
        for (index, curve) in curves.iter().enumerate() {
            let ink = Ink::Strategy(index);
            // Beside each other, so that equal curves are both seen.
            let shift = (number(index as u64) - number(curves.len() as u64 - 1) / 2.0) * 3.0;
            let at = |place: usize, value: f64| (places[place] + shift, y.at(value));
            let mut line: Vec<(f64, f64)> = Vec::new();
            for (place, mark) in curve.marks.iter().enumerate() {
                match mark {
                    Ok(mark) => line.push(at(place, mark.spread.median)),
                    Err(_) => {
                        if line.len() > 1 {
                            canvas.line(&line, ink, 0.9, 2.0)?;
                        }
                        line.clear();
                    }
                }
            }
            if line.len() > 1 {
                canvas.line(&line, ink, 0.9, 2.0)?;
            }
            for (place, mark) in curve.marks.iter().enumerate() {
                let Ok(mark) = mark else {
                    continue;
                };
                let ends = [at(place, mark.spread.min), at(place, mark.spread.max)];
                if mark.spread.min < mark.spread.max {
                    canvas.line(&ends, ink, 0.8, 1.2)?;
                    for (x, y) in ends {
                        canvas.line(&[(x - 3.0, y), (x + 3.0, y)], ink, 0.8, 1.2)?;
                    }
                }
                canvas.dot(at(place, mark.spread.median), 3.4, ink, !mark.doubtful)?;
            }
        }
        Ok(())
    })
}

struct Horizontal {
    scale: Scale,
    numeric: bool,
}

/// Numbers lie where they belong, by factors where they differ by large ones; words lie at equal distances.
fn horizontal(ticks: &Ticks) -> Horizontal {
    const EDGE: f64 = 24.0;
    let pixels = (LEFT + EDGE, RIGHT - EDGE);
    let ends = |numbers: &Vec<f64>| Some((*numbers.first()?, *numbers.last()?));
    match ticks.numbers.as_ref().and_then(ends) {
        Some((first, last)) => Horizontal {
            scale: if first > 0.0 && last / first >= 20.0 {
                Scale::logarithmic((first, last), pixels)
            } else {
                Scale::linear((first, last), pixels)
            },
            numeric: true,
        },
        None => {
            let last = number(ticks.texts.len().saturating_sub(1) as u64);
            Horizontal {
                scale: Scale::linear((0.0, last), pixels),
                numeric: false,
            }
        }
    }
}

impl Horizontal {
    fn place(&self, ticks: &Ticks, index: usize) -> f64 {
        let value = match (&ticks.numbers, self.numeric) {
            (Some(numbers), true) => numbers[index],
            _ => number(index as u64),
        };
        self.scale.at(value)
    }
}
