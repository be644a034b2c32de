//! Which plots a sweep has: curves over one key, and a heat map for each pair where two are varied.
//!
//! Owns the choice of what lies on which side, so that every number of the sweep is in some plot.

use super::document::{MetricColumn, PointReport, PointStrategy, SweepReport};
use super::words;
use crate::plot::Figure;
use crate::plot::curves::{self, Curve, MOST_CURVES, Mark, Ticks};
use crate::plot::heat_map::{self, Cell, Side};
use sshchurn_core::ids::StrategyName;
use sshchurn_core::sweep::STRATEGY;

/// A key and the values that it has in the sweep.
struct Varied {
    key: String,
    values: Vec<String>,
    /// The same as numbers, where all of them are.
    numbers: Option<Vec<f64>>,
}

/// What a point that leaves a key alone has there.
const LEFT_ALONE: &str = "–";

/// The plots of one metric; a sentence in the place of the first where nothing is varied.
pub(super) fn of(report: &SweepReport, metric: usize) -> Vec<Figure> {
    let column = &report.metrics[metric];
    let keys = varied(report);
    // Numbers lie on the horizontal axis, and of several the one with the most values.
    let horizontal = keys
        .iter()
        .enumerate()
        .max_by_key(|(index, key)| (key.numbers.is_some(), key.values.len(), usize::MAX - index))
        .map(|(index, _)| index);
    let Some(horizontal) = horizontal else {
        return Vec::new();
    };
    let x = &keys[horizontal];
    let others: Vec<&Varied> = keys
        .iter()
        .enumerate()
        .filter(|(index, _)| *index != horizontal)
        .map(|(_, key)| key)
        .collect();
    let strategies = strategies(report, column);
    let mut figures = Vec::new();
    let mut id = {
        let mut count = 0;
        move || {
            count += 1;
            format!("metric-{}-{count}", metric + 1)
        }
    };
    let ticks = Ticks {
        key: x.key.clone(),
        texts: x.values.clone(),
        numbers: x.numbers.clone(),
    };
    let label = |value: f64| words::number(column, value);
    let combinations = combinations(&others);
    // One plot for all strategies where nothing else is varied; one for each where something is.
    let together: Vec<Curve> = match combinations.len() {
        1 => strategies
            .iter()
            .map(|strategy| {
                curve(
                    report,
                    column,
                    strategy,
                    strategy.0.clone(),
                    x,
                    &combinations[0],
                )
            })
            .collect(),
        _ => Vec::new(),
    };
    for (part, curves) in together.chunks(MOST_CURVES).enumerate() {
        let title = numbered(format!("over {}", x.key), part, together.len());
        figures.push(curves::figure(&id(), &title, &ticks, curves, label));
    }
    if !together.is_empty() {
        return figures;
    }
    for (index, strategy) in strategies.iter().enumerate() {
        let of_strategy: Vec<Curve> = combinations
            .iter()
            .map(|fixed| curve(report, column, strategy, words_of(fixed), x, fixed))
            .filter(|curve| {
                curve.marks.iter().any(Result::is_ok) || combinations.len() <= MOST_CURVES
            })
            .collect();
        for (part, curves) in of_strategy.chunks(MOST_CURVES).enumerate() {
            let title = numbered(
                format!("{strategy} over {}", x.key),
                part,
                of_strategy.len(),
            );
            figures.push(curves::figure(&id(), &title, &ticks, curves, label));
        }
        let [y, further @ ..] = &others[..] else {
            continue;
        };
        for fixed in self::combinations(further) {
            let cells: Vec<Vec<Cell>> = y
                .values
                .iter()
                .map(|down| {
                    let at = |across: &String| {
                        let mut wanted = fixed.clone();
                        wanted.push((&x.key, across));
                        wanted.push((&y.key, down));
                        cell(report, column, strategy, &wanted)
                    };
                    x.values.iter().map(at).collect()
                })
                .collect();
            // A list of points need not have every combination.
            if cells
                .iter()
                .flatten()
                .all(|cell| matches!(cell, Cell::NoPoint))
            {
                continue;
            }
            let more = match &fixed[..] {
                [] => String::new(),
                fixed => format!(", {}", words_of(fixed)),
            };
            let title = format!("{strategy} by {} and {}{more}", x.key, y.key);
            let side = |of: &Varied| Side {
                key: of.key.clone(),
                texts: of.values.clone(),
            };
            figures.push(heat_map::figure(
                &id(),
                &title,
                index,
                &side(x),
                &side(y),
                &cells,
            ));
        }
    }
    figures
}

fn numbered(title: String, part: usize, curves: usize) -> String {
    match curves.div_ceil(MOST_CURVES) {
        0 | 1 => title,
        parts => format!("{title} ({} of {parts})", part + 1),
    }
}

fn words_of(fixed: &[(&String, &String)]) -> String {
    let texts: Vec<String> = fixed
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    texts.join(", ")
}

fn value_at<'p>(point: &'p PointReport, key: &str) -> &'p str {
    let given = point.settings.iter().find(|setting| setting.key == key);
    given.map_or(LEFT_ALONE, |setting| &setting.value)
}

/// The keys with more than one value, each value once, numbers in their order.
fn varied(report: &SweepReport) -> Vec<Varied> {
    let of_key = |key: &String| {
        let mut values: Vec<String> = Vec::new();
        for point in &report.points {
            let value = value_at(point, key);
            if !values.iter().any(|known| known == value) {
                values.push(value.to_owned());
            }
        }
        let mut pairs: Vec<(Option<f64>, String)> = values
            .into_iter()
            .map(|value| {
                (
                    value.parse().ok().filter(|number: &f64| number.is_finite()),
                    value,
                )
            })
            .collect();
        let numeric = pairs.iter().all(|(number, _)| number.is_some());
        if numeric {
            pairs.sort_by(|(a, _), (b, _)| a.unwrap_or(0.0).total_cmp(&b.unwrap_or(0.0)));
        }
        Varied {
            key: key.clone(),
            numbers: numeric.then(|| pairs.iter().filter_map(|(number, _)| *number).collect()),
            values: pairs.into_iter().map(|(_, value)| value).collect(),
        }
    };
    // Each strategy has plots or curves of its own anyway.
    let keys = report
        .keys
        .iter()
        .filter(|key| *key != STRATEGY)
        .map(of_key);
    let keys: Vec<Varied> = keys.filter(|key| key.values.len() > 1).collect();
    match (keys.is_empty(), report.keys.first()) {
        // One point is a curve of one mark.
        (true, Some(first)) => vec![of_key(first)],
        _ => keys,
    }
}

/// The strategies that a metric is shown of, in the order in which they first appear.
fn strategies(report: &SweepReport, column: &MetricColumn) -> Vec<StrategyName> {
    let mut strategies: Vec<StrategyName> = Vec::new();
    for strategy in report.points.iter().flat_map(|point| &point.strategies) {
        let meant = column
            .strategy
            .as_ref()
            .is_none_or(|only| *only == strategy.strategy);
        if meant && !strategies.contains(&strategy.strategy) {
            strategies.push(strategy.strategy.clone());
        }
    }
    strategies
}

/// Every combination of values of some keys; one without any where there are none.
fn combinations<'k>(keys: &[&'k Varied]) -> Vec<Vec<(&'k String, &'k String)>> {
    let mut all: Vec<Vec<(&String, &String)>> = vec![Vec::new()];
    for key in keys {
        let with = |fixed: &Vec<(&'k String, &'k String)>| {
            let fixed = fixed.clone();
            key.values.iter().map(move |value| {
                let mut fixed = fixed.clone();
                fixed.push((&key.key, value));
                fixed
            })
        };
        all = all.iter().flat_map(with).collect();
    }
    all
}

/// The strategy at the point that has these values.
fn at<'r>(
    report: &'r SweepReport,
    strategy: &StrategyName,
    wanted: &[(&String, &String)],
) -> Option<&'r PointStrategy> {
    let has = |point: &&PointReport| {
        wanted
            .iter()
            .all(|(key, value)| value_at(point, key) == value.as_str())
    };
    let of_point = |point: &'r PointReport| {
        point
            .strategies
            .iter()
            .find(|found| found.strategy == *strategy)
    };
    report.points.iter().filter(has).find_map(of_point)
}

fn curve(
    report: &SweepReport,
    column: &MetricColumn,
    strategy: &StrategyName,
    name: String,
    x: &Varied,
    fixed: &[(&String, &String)],
) -> Curve {
    let mark = |value: &String| {
        let mut wanted = fixed.to_vec();
        wanted.push((&x.key, value));
        let found = at(report, strategy, &wanted).ok_or("the sweep has no such point")?;
        let value = found
            .values
            .iter()
            .find(|value| value.metric == column.metric);
        let value = value.ok_or("it is not shown of this strategy")?;
        let reason = || {
            value
                .missing
                .iter()
                .flatten()
                .next()
                .cloned()
                .unwrap_or_default()
        };
        Ok(Mark {
            spread: value.spread.ok_or_else(reason)?,
            text: words::value(column, value),
            doubtful: value.doubtful,
        })
    };
    Curve {
        name,
        marks: x.values.iter().map(mark).collect(),
    }
}

fn cell(
    report: &SweepReport,
    column: &MetricColumn,
    strategy: &StrategyName,
    wanted: &[(&String, &String)],
) -> Cell {
    let Some(found) = at(report, strategy, wanted) else {
        return Cell::NoPoint;
    };
    let Some(value) = found
        .values
        .iter()
        .find(|value| value.metric == column.metric)
    else {
        return Cell::NoPoint;
    };
    match value.spread {
        Some(spread) => Cell::Value {
            value: spread.median,
            text: format!(
                "{}{}",
                words::number(column, spread.median),
                if value.doubtful { "?" } else { "" }
            ),
            full: words::value(column, value),
        },
        None => Cell::NoData(
            value
                .missing
                .iter()
                .flatten()
                .next()
                .cloned()
                .unwrap_or_default(),
        ),
    }
}
