//! A strip of all tasks, one cell each, by their fate.

use std::collections::BTreeMap;

use super::canvas::{self, Anchor, Canvas, Fault, Ink, TEXT};
use super::{Figure, number};
use crate::document::RunReport;
use sshchurn_core::analysis::timeline::TaskEnd;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 990.0;
/// Cells in one line; more tasks take more lines.
const PER_LINE: usize = 120;
const LINE: f64 = 16.0;
/// Most tasks that get a cell of their own: more cells nobody looks at, and the page grows with them.
const MOST_CELLS: usize = 2_400;
const ROUND_GAP: f64 = 8.0;

/// How a fate is drawn.
#[derive(Clone, Copy)]
enum Cell {
    /// A full cell.
    Full,
    /// A full cell with a cross through it.
    Crossed,
    /// A cell of half the height.
    Half,
}

/// The fates in the order of the legend.
const FATES: [(TaskEnd, &str, Ink, Cell); 10] = [
    (TaskEnd::Succeeded, "succeeded", Ink::Good, Cell::Full),
    (
        TaskEnd::SubmitConnect,
        "failed: no connection to submit",
        Ink::Bad,
        Cell::Crossed,
    ),
    (
        TaskEnd::SubmitCommand,
        "failed: submit command",
        Ink::Kind(1),
        Cell::Crossed,
    ),
    (
        TaskEnd::Monitor,
        "failed: monitoring",
        Ink::Kind(2),
        Cell::Crossed,
    ),
    (
        TaskEnd::JobExit,
        "failed: the job itself",
        Ink::Kind(5),
        Cell::Crossed,
    ),
    (
        TaskEnd::Killed,
        "killed on purpose",
        Ink::Kind(4),
        Cell::Half,
    ),
    (
        TaskEnd::Client,
        "failed: the client under test",
        Ink::Bad,
        Cell::Crossed,
    ),
    (TaskEnd::Interrupted, "interrupted", Ink::Muted, Cell::Half),
    (TaskEnd::NotStarted, "not started", Ink::Grid, Cell::Half),
    (TaskEnd::Unknown, "unknown", Ink::Text, Cell::Half),
];

fn look(end: TaskEnd) -> (Ink, Cell) {
    FATES
        .into_iter()
        .find(|(fate, ..)| *fate == end)
        .map_or((Ink::Text, Cell::Half), |(_, _, ink, cell)| (ink, cell))
}

pub(super) fn figure(report: &RunReport) -> Figure {
    let mut figure = Figure::new(
        "fates",
        "Every task and what became of it",
        "One cell for each task, in the order of their numbers, one row for each round; failures are crossed out.",
    );
    figure.wide = true;
    let rounds: Vec<(String, &[TaskEnd])> = report
        .strategies
        .iter()
        .flat_map(|strategy| {
            strategy.per_round.iter().map(|round| {
                let name = format!("{} #{}", strategy.strategy, round.repetition);
                (name, &round.task_ends[..])
            })
        })
        .filter(|(_, ends)| !ends.is_empty())
        .collect();
    if rounds.is_empty() {
        return figure.without("No task was scheduled.");
    }
    let cells = rounds.iter().map(|(_, ends)| ends.len()).sum::<usize>() <= MOST_CELLS;
    if !cells {
        figure.caption =
            "One bar for each round: which share of its tasks met which fate.".to_owned();
    }
    let mut all: BTreeMap<TaskEnd, u64> = BTreeMap::new();
    for end in rounds.iter().flat_map(|(_, ends)| ends.iter()) {
        *all.entry(*end).or_default() += 1;
    }
    let seen: Vec<_> = FATES
        .into_iter()
        .filter(|(fate, ..)| all.contains_key(fate))
        .collect();
    for (fate, name, ink, cell) in &seen {
        let mark = match cell {
            Cell::Full => "square",
            Cell::Crossed => "crossed",
            Cell::Half => "half",
        };
        figure.mark(*ink, mark, &format!("{name}: {}", all[fate]));
    }
    figure.data.head = std::iter::once("Round".to_owned())
        .chain(seen.iter().map(|(_, name, ..)| (*name).to_owned()))
        .collect();
    for (name, ends) in &rounds {
        let mut row = vec![name.clone()];
        row.extend(seen.iter().map(|(fate, ..)| {
            let count = ends.iter().filter(|end| *end == fate).count();
            count.to_string()
        }));
        figure.data.rows.push(row);
    }
    let lines: usize = rounds
        .iter()
        .map(|(_, ends)| {
            if cells {
                ends.len().div_ceil(PER_LINE)
            } else {
                1
            }
        })
        .sum();
    let height = number(lines as u64) * LINE + number(rounds.len() as u64) * ROUND_GAP + 6.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a plot is small"
    )]
    let (width, height) = (WIDTH as u32, height as u32);
    figure.drawn(canvas::draw(width, height, |canvas| {
        let mut top = 3.0;
        for (name, ends) in &rounds {
            canvas.text(
                name,
                (LEFT - 12.0, top + LINE / 2.0),
                TEXT,
                Ink::Text,
                Anchor::End,
            )?;
            if cells {
                for line in ends.chunks(PER_LINE) {
                    draw_line(canvas, top, line)?;
                    top += LINE;
                }
            } else {
                draw_bar(canvas, top, ends)?;
                top += LINE;
            }
            top += ROUND_GAP;
        }
        Ok(())
    }))
}

/// A bar of all tasks of a round, in the order of the legend.
fn draw_bar(canvas: &Canvas<'_>, top: f64, ends: &[TaskEnd]) -> Result<(), Fault> {
    let (width, height) = (RIGHT - LEFT, LINE - 2.0);
    let mut left = LEFT;
    for (fate, _, ink, cell) in FATES {
        let count = ends.iter().filter(|end| **end == fate).count();
        let part = width * number(count as u64) / number(ends.len() as u64);
        let below = match cell {
            Cell::Full | Cell::Crossed => 0.0,
            Cell::Half => height / 2.0,
        };
        if count > 0 {
            canvas.rect((left, top + below), (part, height - below), ink, 1.0)?;
        }
        left += part;
    }
    Ok(())
}

fn draw_line(canvas: &Canvas<'_>, top: f64, ends: &[TaskEnd]) -> Result<(), Fault> {
    let width = ((RIGHT - LEFT) / number(ends.len().max(60) as u64)).min(LINE);
    let inner = width - 1.0;
    let height = LINE - 2.0;
    for (index, end) in ends.iter().enumerate() {
        let left = LEFT + width * number(index as u64);
        let (ink, cell) = look(*end);
        match cell {
            Cell::Full => canvas.rect((left, top), (inner, height), ink, 0.9)?,
            Cell::Half => {
                canvas.rect((left, top + height / 2.0), (inner, height / 2.0), ink, 1.0)?;
            }
            Cell::Crossed => {
                canvas.rect((left, top), (inner, height), ink, 1.0)?;
                let (right, bottom) = (left + inner, top + height);
                for ends in [
                    [(left, top), (right, bottom)],
                    [(left, bottom), (right, top)],
                ] {
                    canvas.line(&ends, Ink::Paper, 1.0, 1.1)?;
                }
            }
        }
    }
    Ok(())
}
