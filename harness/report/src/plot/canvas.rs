//! The drawing surface: plotters' SVG backend in logical pixels, with inks instead of colours.
//!
//! Owns marks, scales and axes. Every ink becomes a CSS variable of the page, so that a plot follows the theme of its
//! reader; it must not know what is drawn.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;

/// Why a plot could not be drawn.
pub(super) type Fault = Box<dyn Error>;

/// Device pixels of one logical pixel: plotters draws at whole device pixels, which are too coarse for narrow bars.
const SCALE: f64 = 4.0;
/// Size of ordinary text, logical pixels.
pub(super) const TEXT: f64 = 14.0;
/// plotters divides font sizes by this before it writes them down.
const FONT_FACTOR: f64 = 1.24;

/// What a mark is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Body text.
    Text,
    /// Labels and axes.
    Muted,
    /// Grid lines.
    Grid,
    /// The background.
    Paper,
    /// What went well.
    Good,
    /// What was refused or failed.
    Bad,
    /// A strategy, by its place in the scenario.
    Strategy(usize),
    /// One of several kinds of a thing.
    Kind(usize),
}

/// Distinct inks of strategies and of kinds.
pub(super) const STRATEGIES: usize = 6;
pub(super) const KINDS: usize = 8;

impl Ink {
    fn number(self) -> u8 {
        let of = |base: usize, index: usize, count: usize| {
            u8::try_from(base + index % count).unwrap_or(u8::MAX)
        };
        match self {
            Ink::Text => 0,
            Ink::Muted => 1,
            Ink::Grid => 2,
            Ink::Paper => 3,
            Ink::Good => 4,
            Ink::Bad => 5,
            Ink::Strategy(index) => of(16, index, STRATEGIES),
            Ink::Kind(index) => of(32, index, KINDS),
        }
    }

    /// A colour that stands for the ink until the drawing is finished.
    fn colour(self) -> RGBColor {
        RGBColor(0xF0, 0x0D, self.number())
    }

    /// The CSS variable.
    pub(super) fn variable(self) -> String {
        match self {
            Ink::Text => "--text".to_owned(),
            Ink::Muted => "--muted".to_owned(),
            Ink::Grid => "--grid".to_owned(),
            Ink::Paper => "--paper".to_owned(),
            Ink::Good => "--good".to_owned(),
            Ink::Bad => "--bad".to_owned(),
            Ink::Strategy(index) => format!("--strategy-{}", index % STRATEGIES),
            Ink::Kind(index) => format!("--kind-{}", index % KINDS),
        }
    }

    fn all() -> impl Iterator<Item = Ink> {
        [
            Ink::Text,
            Ink::Muted,
            Ink::Grid,
            Ink::Paper,
            Ink::Good,
            Ink::Bad,
        ]
        .into_iter()
        .chain((0..STRATEGIES).map(Ink::Strategy))
        .chain((0..KINDS).map(Ink::Kind))
    }
}

/// A finished drawing: the inside of an `<svg>` element.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Picture {
    /// Width, logical pixels.
    pub(crate) width: u32,
    /// Height, logical pixels.
    pub(crate) height: u32,
    /// `viewBox` of the inside.
    pub(crate) view_box: String,
    /// The elements.
    pub(crate) body: String,
}

/// Where text stands relative to its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A surface in logical pixels, the origin at the top left.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

/// Draws a picture.
///
/// # Errors
/// What plotters says; drawing into memory does not fail by itself.
pub(super) fn draw(
    width: u32,
    height: u32,
    paint: impl FnOnce(&Canvas<'_>) -> Result<(), Fault>,
) -> Result<Picture, Fault> {
    let device = |logical: u32| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "sizes of plots are small and positive"
        )]
        let pixels = (f64::from(logical) * SCALE) as u32;
        pixels
    };
    let mut svg = String::new();
    {
        let backend = SVGBackend::with_string(&mut svg, (device(width), device(height)));
        let canvas = Canvas {
            area: backend.into_drawing_area(),
        };
        paint(&canvas)?;
        canvas.area.present()?;
    }
    // The page writes the `<svg>` element itself, with its title and description.
    let inside = svg
        .split_once('>')
        .and_then(|(_, rest)| rest.rsplit_once("</svg>"))
        .map_or("", |(inside, _)| inside);
    let mut body = inside
        .trim()
        .replace(" font-family=\"sans-serif\"", "")
        .replace(" opacity=\"1\"", "");
    for ink in Ink::all() {
        body = body.replace(
            &format!("\"#F00D{:02X}\"", ink.number()),
            &format!("\"var({})\"", ink.variable()),
        );
    }
    Ok(Picture {
        width,
        height,
        view_box: format!("0 0 {} {}", device(width), device(height)),
        body,
    })
}

#[expect(clippy::cast_possible_truncation, reason = "plots are small")]
fn device(x: f64, y: f64) -> (i32, i32) {
    ((x * SCALE).round() as i32, (y * SCALE).round() as i32)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "widths are small and positive"
)]
fn thickness(width: f64) -> u32 {
    (width * SCALE).round() as u32
}

impl Canvas<'_> {
    /// A filled rectangle.
    pub(super) fn rect(
        &self,
        (x, y): (f64, f64),
        (width, height): (f64, f64),
        ink: Ink,
        alpha: f64,
    ) -> Result<(), Fault> {
        let corners = [device(x, y), device(x + width, y + height)];
        let style = ink.colour().mix(alpha).filled();
        Ok(self.area.draw(&Rectangle::new(corners, style))?)
    }

    /// A line through points.
    pub(super) fn line(
        &self,
        points: &[(f64, f64)],
        ink: Ink,
        alpha: f64,
        width: f64,
    ) -> Result<(), Fault> {
        let points: Vec<_> = points.iter().map(|(x, y)| device(*x, *y)).collect();
        let style = ink.colour().mix(alpha).stroke_width(thickness(width));
        Ok(self.area.draw(&PathElement::new(points, style))?)
    }

    /// A horizontal or vertical line of dashes, from left to right or from top to bottom.
    pub(super) fn dashes(
        &self,
        (x1, y1): (f64, f64),
        (x2, y2): (f64, f64),
        ink: Ink,
    ) -> Result<(), Fault> {
        const DASH: f64 = 5.0;
        const GAP: f64 = 4.0;
        let length = (x2 - x1).hypot(y2 - y1);
        let at = |along: f64| {
            let share = (along / length).min(1.0);
            (x1 + (x2 - x1) * share, y1 + (y2 - y1) * share)
        };
        let mut from = 0.0;
        while from < length {
            self.line(&[at(from), at(from + DASH)], ink, 1.0, 1.2)?;
            from += DASH + GAP;
        }
        Ok(())
    }

    /// A filled area.
    pub(super) fn polygon(&self, points: &[(f64, f64)], ink: Ink, alpha: f64) -> Result<(), Fault> {
        let points: Vec<_> = points.iter().map(|(x, y)| device(*x, *y)).collect();
        Ok(self
            .area
            .draw(&Polygon::new(points, ink.colour().mix(alpha).filled()))?)
    }

    /// A disc, or a ring on paper.
    pub(super) fn dot(
        &self,
        (x, y): (f64, f64),
        radius: f64,
        ink: Ink,
        filled: bool,
    ) -> Result<(), Fault> {
        let radius = thickness(radius);
        let at = device(x, y);
        if filled {
            self.area
                .draw(&Circle::new(at, radius, ink.colour().filled()))?;
        } else {
            self.area
                .draw(&Circle::new(at, radius, Ink::Paper.colour().filled()))?;
            let ring = ink.colour().stroke_width(thickness(1.5));
            self.area.draw(&Circle::new(at, radius, ring))?;
        }
        Ok(())
    }

    /// Text, its middle at the height of the point.
    pub(super) fn text(
        &self,
        text: &str,
        (x, y): (f64, f64),
        size: f64,
        ink: Ink,
        anchor: Anchor,
    ) -> Result<(), Fault> {
        let horizontal = match anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let colour = ink.colour();
        let style = TextStyle::from(("sans-serif", size * SCALE * FONT_FACTOR).into_font())
            .color(&colour)
            .pos(Pos::new(horizontal, VPos::Center));
        Ok(self
            .area
            .draw(&Text::new(text.to_owned(), device(x, y), style))?)
    }
}

/// Values to pixels along one axis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    values: (f64, f64),
    pixels: (f64, f64),
    logarithmic: bool,
}

impl Scale {
    /// Equal steps for equal differences.
    pub(super) fn linear(values: (f64, f64), pixels: (f64, f64)) -> Self {
        Scale {
            values,
            pixels,
            logarithmic: false,
        }
    }

    /// Equal steps for equal factors; values are above 0.
    pub(super) fn logarithmic(values: (f64, f64), pixels: (f64, f64)) -> Self {
        Scale {
            values,
            pixels,
            logarithmic: true,
        }
    }

    /// The pixel of a value.
    pub(super) fn at(&self, value: f64) -> f64 {
        let place = |value: f64| {
            if self.logarithmic {
                value.max(f64::MIN_POSITIVE).log10()
            } else {
                value
            }
        };
        let (low, high) = (place(self.values.0), place(self.values.1));
        let width = if high > low { high - low } else { 1.0 };
        self.pixels.0 + (place(value) - low) / width * (self.pixels.1 - self.pixels.0)
    }

    /// Round values to label, some `wanted` of them; powers of ten on a logarithmic scale.
    pub(super) fn ticks(&self, wanted: u32) -> Vec<f64> {
        let (low, high) = self.values;
        if self.logarithmic {
            let mut tick = 10_f64.powf(low.log10().ceil());
            let mut ticks = Vec::new();
            while tick <= high * 1.000_001 && ticks.len() < 16 {
                ticks.push(tick);
                tick *= 10.0;
            }
            return ticks;
        }
        let step = round_step((high - low) / f64::from(wanted.max(1)));
        let mut tick = (low / step).ceil() * step;
        let mut ticks = Vec::new();
        while tick <= high + step * 1e-6 && ticks.len() < 32 {
            // Not -0.
            ticks.push(tick + 0.0);
            tick += step;
        }
        ticks
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    if step.is_nan() || step <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|candidate| *candidate >= step * 0.999_999)
        .unwrap_or(10.0 * power)
}

/// The least round number that is not below `value`, for the end of an axis of counts.
pub(super) fn round_up(value: f64) -> f64 {
    if value <= 6.0 {
        return value.ceil().max(1.0);
    }
    let step = round_step(value / 6.0);
    (value / step - 1e-9).ceil() * step
}

/// A plain number without useless digits.
pub(super) fn plain(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0;
    // Not -0.
    format!("{}", rounded + 0.0)
}

/// Draws grid lines and labels of a vertical axis left of a panel that reaches from `left` to `right`.
pub(super) fn y_axis(
    canvas: &Canvas<'_>,
    scale: &Scale,
    (left, right): (f64, f64),
    ticks: &[f64],
    label: impl Fn(f64) -> String,
) -> Result<(), Fault> {
    for tick in ticks {
        let y = scale.at(*tick);
        canvas.line(&[(left, y), (right, y)], Ink::Grid, 1.0, 1.0)?;
        canvas.text(
            &label(*tick),
            (left - 7.0, y),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::End,
        )?;
    }
    Ok(())
}

/// Draws ticks and labels of a horizontal axis at the height `y`.
pub(super) fn x_axis(
    canvas: &Canvas<'_>,
    scale: &Scale,
    y: f64,
    ticks: &[f64],
    label: impl Fn(f64) -> String,
) -> Result<(), Fault> {
    canvas.line(
        &[(scale.pixels.0, y), (scale.pixels.1, y)],
        Ink::Muted,
        0.8,
        1.0,
    )?;
    for tick in ticks {
        let x = scale.at(*tick);
        canvas.line(&[(x, y), (x, y + 4.0)], Ink::Muted, 0.8, 1.0)?;
        canvas.text(
            &label(*tick),
            (x, y + 13.0),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::Middle,
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let scale = Scale::linear((0.0, 23.0), (0.0, 100.0));
        assert_eq!(scale.ticks(5), [0.0, 5.0, 10.0, 15.0, 20.0]);
        let scale = Scale::logarithmic((0.002, 50.0), (0.0, 100.0));
        let ticks: Vec<String> = scale.ticks(5).iter().map(|tick| plain(*tick)).collect();
        assert_eq!(ticks, ["0.01", "0.1", "1", "10"]);
        assert!((scale.at(0.002) - 0.0).abs() < 1e-9);
        assert!((scale.at(50.0) - 100.0).abs() < 1e-9);
    }

    #[test]
    fn an_axis_of_counts_ends_at_a_round_number() {
        for (value, end) in [
            (0.0, 1.0),
            (3.0, 3.0),
            (7.0, 8.0),
            (100.0, 100.0),
            (101.0, 120.0),
        ] {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn a_picture_has_variables_for_colours_and_escapes_text() {
        let picture = draw(100, 50, |canvas| {
            canvas.rect((1.0, 1.0), (5.0, 5.0), Ink::Strategy(1), 1.0)?;
            canvas.text(
                "<b>&",
                (1.0, 1.0),
                TEXT,
                Ink::Kind(KINDS + 1),
                Anchor::Start,
            )
        })
        .expect("drawn");
        assert_eq!(picture.view_box, "0 0 400 200");
        assert!(picture.body.contains("fill=\"var(--strategy-1)\""));
        assert!(picture.body.contains("fill=\"var(--kind-1)\""));
        assert!(picture.body.contains("&lt;b&gt;&amp;"));
        assert!(!picture.body.contains("#F00D"));
    }
}
