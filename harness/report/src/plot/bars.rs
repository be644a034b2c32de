//! Strategies side by side: tasks, attempts, refusals and leftovers of a round.

use super::canvas::{self, Anchor, Canvas, Fault, Ink, Scale, TEXT, plain};
use super::{Figure, number};
use crate::document::{NumbersReport, RunReport, StrategyReport};

const WIDTH: f64 = 480.0;
const TITLE: f64 = 26.0;
const BAR: f64 = 16.0;
const GAP: f64 = 10.0;
/// Room for the numbers right of the longest bar.
const NUMBERS: f64 = 174.0;

type Value = fn(&NumbersReport) -> Option<u64>;

const PANELS: [(&str, Value); 4] = [
    ("Tasks succeeded", |n| Some(n.tasks.tasks_succeeded)),
    ("Connection attempts", |n| Some(n.total.counts.attempts)),
    ("Banner-EOF failures", |n| Some(n.total.counts.banner_eof)),
    ("Leftover directories", |n| {
        n.leftovers.map(|found| found.leftover_dirs)
    }),
];

/// The rounds of one strategy: smallest, median, largest, and all.
struct Rounds {
    values: Vec<u64>,
    median: f64,
}

impl Rounds {
    /// `None` when a round has no value.
    fn of(strategy: &StrategyReport, value: Value) -> Option<Rounds> {
        let values: Option<Vec<u64>> = strategy
            .per_round
            .iter()
            .map(|round| value(&round.numbers))
            .collect();
        let values = values.filter(|values| !values.is_empty())?;
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 {
            number(sorted[middle])
        } else {
            f64::midpoint(number(sorted[middle - 1]), number(sorted[middle]))
        };
        Some(Rounds { values, median })
    }

    fn told(&self) -> String {
        match (self.values.iter().min(), self.values.iter().max()) {
            (Some(min), Some(max)) if min != max => {
                format!("{} ({min} to {max})", plain(self.median))
            }
            _ => plain(self.median),
        }
    }
}

pub(super) fn figure(report: &RunReport) -> Figure {
    let mut figure = Figure::new(
        "bars",
        "Strategies side by side",
        "Per round: the bar is the median round, each dot one round; the numbers are the median and the range.",
    );
    let has_rounds = |strategy: &&StrategyReport| !strategy.per_round.is_empty();
    if !report
        .strategies
        .iter()
        .any(|strategy| has_rounds(&strategy))
    {
        return figure.without("No round was run, so there is nothing to compare.");
    }
    figure.data.head = vec!["Per round".to_owned(), "Strategy".to_owned()];
    let most = report
        .strategies
        .iter()
        .map(|strategy| strategy.per_round.len())
        .max()
        .unwrap_or(0);
    figure
        .data
        .head
        .extend((1..=most).map(|repetition| format!("Repetition {repetition}")));
    for (title, value) in PANELS {
        for strategy in &report.strategies {
            let mut row = vec![title.to_owned(), strategy.strategy.0.clone()];
            for repetition in 0..most {
                let value = strategy
                    .per_round
                    .get(repetition)
                    .and_then(|round| value(&round.numbers));
                row.push(value.map_or_else(|| "–".to_owned(), |value| value.to_string()));
            }
            figure.data.rows.push(row);
        }
    }
    for (index, strategy) in report.strategies.iter().enumerate() {
        figure.mark(Ink::Strategy(index), "square", &strategy.strategy.0);
    }
    let count = number(report.strategies.len() as u64);
    let panel = TITLE + count * (BAR + 10.0) + GAP;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a plot is small"
    )]
    let height = (panel * number(PANELS.len() as u64)) as u32;
    figure.drawn(canvas::draw(480, height, |canvas| {
        for (index, (title, value)) in PANELS.into_iter().enumerate() {
            let top = panel * number(index as u64);
            draw_panel(canvas, report, title, value, top)?;
        }
        Ok(())
    }))
}

fn draw_panel(
    canvas: &Canvas<'_>,
    report: &RunReport,
    title: &str,
    value: Value,
    top: f64,
) -> Result<(), Fault> {
    let rounds: Vec<Option<Rounds>> = report
        .strategies
        .iter()
        .map(|strategy| Rounds::of(strategy, value))
        .collect();
    let most = rounds
        .iter()
        .flatten()
        .flat_map(|rounds| &rounds.values)
        .max()
        .map_or(1.0, |most| number(*most).max(1.0));
    let scale = Scale::linear((0.0, most), (1.0, WIDTH - NUMBERS));
    canvas.text(
        title,
        (0.0, top + 11.0),
        TEXT + 1.0,
        Ink::Text,
        Anchor::Start,
    )?;
    for (index, rounds) in rounds.iter().enumerate() {
        let middle = top + TITLE + number(index as u64) * (BAR + 10.0) + BAR / 2.0;
        let ink = Ink::Strategy(index);
        canvas.line(
            &[
                (0.5, middle - BAR / 2.0 - 2.0),
                (0.5, middle + BAR / 2.0 + 2.0),
            ],
            Ink::Muted,
            0.6,
            1.0,
        )?;
        let Some(rounds) = rounds else {
            canvas.text("not known", (8.0, middle), TEXT, Ink::Muted, Anchor::Start)?;
            continue;
        };
        let end = scale.at(rounds.median);
        canvas.rect((1.0, middle - BAR / 2.0), (end - 1.0, BAR), ink, 0.85)?;
        let mut right = end;
        if rounds.values.len() > 1 {
            for value in &rounds.values {
                let x = scale.at(number(*value));
                right = right.max(x + 4.0);
                canvas.dot((x, middle), 3.2, Ink::Text, false)?;
            }
        }
        canvas.text(
            &rounds.told(),
            (right + 7.0, middle),
            TEXT,
            Ink::Text,
            Anchor::Start,
        )?;
    }
    Ok(())
}
