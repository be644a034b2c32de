//! A number over the values of two keys: a cell for each pair, the darker the larger, with the number in it.

use super::canvas::{self, Anchor, Fault, Ink, TEXT};
use super::{Figure, number};

const LABELS: f64 = 24.0;
const ROW: f64 = 30.0;
const WIDEST_CELL: f64 = 92.0;
const PLOT: f64 = 470.0;
/// Narrower cells have no room for a number.
const NARROWEST_WITH_TEXT: f64 = 46.0;
/// The darkest cell still lets its number be read.
const DARKEST: f64 = 0.55;

/// One key and its values.
#[derive(Debug, Clone)]
pub(crate) struct Side {
    pub(crate) key: String,
    pub(crate) texts: Vec<String>,
}

/// One cell.
#[derive(Debug, Clone)]
pub(crate) enum Cell {
    /// A number, and the same for a person.
    Value {
        value: f64,
        text: String,
        /// As the table below the plot says it, with the range of the repeats.
        full: String,
    },
    /// There is none, and why.
    NoData(String),
    /// The sweep has no such point.
    NoPoint,
}

/// The plot: `cells[y][x]`, drawn in the ink of a strategy.
pub(crate) fn figure(
    id: &str,
    title: &str,
    strategy: usize,
    x: &Side,
    y: &Side,
    cells: &[Vec<Cell>],
) -> Figure {
    let mut figure = Figure::new(
        id,
        title,
        "Medians of the repeats; the larger, the darker, by the smallest and the largest of this plot. A number with a question mark is not to be relied on.",
    );
    figure.data.head = std::iter::once(format!("{} \\ {}", y.key, x.key))
        .chain(x.texts.iter().cloned())
        .collect();
    for (text, row) in y.texts.iter().zip(cells) {
        let row = row.iter().map(|cell| match cell {
            Cell::Value { full, .. } => full.clone(),
            Cell::NoData(why) => format!("no data: {why}"),
            Cell::NoPoint => "not in the sweep".to_owned(),
        });
        figure
            .data
            .rows
            .push(std::iter::once(text.clone()).chain(row).collect());
    }
    let values: Vec<f64> = cells
        .iter()
        .flatten()
        .filter_map(|cell| match cell {
            Cell::Value { value, .. } => Some(*value),
            Cell::NoData(_) | Cell::NoPoint => None,
        })
        .collect();
    if values.is_empty() {
        let why = cells.iter().flatten().find_map(|cell| match cell {
            Cell::NoData(why) => Some(&**why),
            Cell::Value { .. } | Cell::NoPoint => None,
        });
        return figure.without(&format!("No data: {}.", why.unwrap_or("nothing was run")));
    }
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let widest = y
        .texts
        .iter()
        .map(|text| text.chars().count())
        .max()
        .unwrap_or(0);
    let left = (number(widest as u64) * 7.6 + 12.0).clamp(50.0, 180.0);
    let columns = number(x.texts.len().max(1) as u64);
    let column = ((PLOT - left) / columns).clamp(30.0, WIDEST_CELL);
    figure.wide = left + column * columns > PLOT + 1.0;
    let height = LABELS * 2.0 + ROW * number(y.texts.len() as u64) + 8.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a plot is small"
    )]
    let size = ((left + column * columns + 8.0) as u32, height as u32);
    figure.drawn(canvas::draw(size.0, size.1, |canvas| {
        let middle = left + column * columns / 2.0;
        canvas.text(
            &x.key,
            (middle, 10.0),
            TEXT - 1.0,
            Ink::Muted,
            Anchor::Middle,
        )?;
        canvas.text(&y.key, (0.0, 10.0), TEXT - 1.0, Ink::Muted, Anchor::Start)?;
        // A label wider than its column is written at every second, third, … one.
        let longest = x
            .texts
            .iter()
            .map(|text| text.chars().count())
            .max()
            .unwrap_or(0);
        let every = (number(longest as u64) * 7.6 / column).ceil().max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a few columns"
        )]
        let every = every as usize;
        for (index, text) in x.texts.iter().enumerate().step_by(every) {
            let place = left + column * (number(index as u64) + 0.5);
            canvas.text(
                text,
                (place, LABELS + 8.0),
                TEXT - 1.0,
                Ink::Text,
                Anchor::Middle,
            )?;
        }
        for (row, text) in y.texts.iter().enumerate() {
            let top = LABELS * 2.0 - 4.0 + ROW * number(row as u64);
            canvas.text(
                text,
                (left - 8.0, top + ROW / 2.0),
                TEXT - 1.0,
                Ink::Text,
                Anchor::End,
            )?;
            for (index, cell) in cells[row].iter().enumerate() {
                let at = (left + column * number(index as u64), top);
                draw_cell(
                    canvas,
                    at,
                    column,
                    cell,
                    Ink::Strategy(strategy),
                    (least, most),
                )?;
            }
        }
        Ok(())
    }))
}

fn draw_cell(
    canvas: &canvas::Canvas<'_>,
    (x, y): (f64, f64),
    width: f64,
    cell: &Cell,
    ink: Ink,
    (least, most): (f64, f64),
) -> Result<(), Fault> {
    let inside = ((x + 1.0, y + 1.0), (width - 2.0, ROW - 2.0));
    let middle = (x + width / 2.0, y + ROW / 2.0);
    let room = width >= NARROWEST_WITH_TEXT;
    match cell {
        Cell::Value { value, text, .. } => {
            let share = if most > least {
                (value - least) / (most - least)
            } else {
                0.0
            };
            canvas.rect(inside.0, inside.1, Ink::Grid, 0.5)?;
            canvas.rect(inside.0, inside.1, ink, share * DARKEST)?;
            if room {
                canvas.text(text, middle, TEXT - 1.0, Ink::Text, Anchor::Middle)?;
            }
            Ok(())
        }
        Cell::NoData(_) => {
            canvas.dashes((x + 3.0, middle.1), (x + width - 3.0, middle.1), Ink::Muted)?;
            if room {
                canvas.rect(
                    (middle.0 - 26.0, y + 6.0),
                    (52.0, ROW - 12.0),
                    Ink::Paper,
                    1.0,
                )?;
                canvas.text("no data", middle, TEXT - 2.0, Ink::Muted, Anchor::Middle)?;
            }
            Ok(())
        }
        Cell::NoPoint => Ok(()),
    }
}
