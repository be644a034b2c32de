//! The threshold grammar: `[strategy.][phase.]metric[.aggregate] op value`.
//!
//! The value is a number, a duration with its unit, or `[factor *] [strategy.][phase.]metric[.aggregate]`.
//! Without a strategy the threshold holds for every strategy, and a metric on its right side is taken of the
//! same one. Owns parsing and type checking; everything that can be wrong is wrong here, before a target is started.

use std::fmt;

use super::problem::{ThresholdError, ThresholdProblem};
use super::selector::{Fault, Selector, Word, expected, selector, trimmed};
use crate::analysis::catalogue::Unit;
use crate::ids::StrategyName;
use crate::scenario::nanoseconds_of;
use crate::vocabulary::Phase;

/// How the two sides are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`, strictly.
    Less,
    /// `<=`
    AtMost,
    /// `>`, strictly.
    Greater,
    /// `>=`
    AtLeast,
}

impl Operator {
    // Longer ones first: `<=` begins with `<`.
    const ALL: [(&'static str, Operator); 6] = [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::AtMost),
        (">=", Operator::AtLeast),
        ("<", Operator::Less),
        (">", Operator::Greater),
    ];

    /// What is missing where there is none.
    pub(crate) const EXPECTED: &str = "an operator (== != < <= > >=)";

    /// The two sides of the first operator in a text, and the operator.
    ///
    /// # Errors
    /// The byte offset at which one should be.
    pub fn split(text: &str) -> Result<(&str, Operator, &str), usize> {
        let start = text.find(['<', '>', '=', '!']).ok_or(text.len())?;
        let (sign, operator) = Operator::ALL
            .into_iter()
            .find(|(sign, _)| text[start..].starts_with(sign))
            .ok_or(start)?;
        Ok((&text[..start], operator, &text[start + sign.len()..]))
    }

    /// Whether `actual op limit`.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "counts are exact, and == is asked for")]
    pub fn holds(self, actual: f64, limit: f64) -> bool {
        match self {
            Operator::Equal => actual == limit,
            Operator::NotEqual => actual != limit,
            Operator::Less => actual < limit,
            Operator::AtMost => actual <= limit,
            Operator::Greater => actual > limit,
            Operator::AtLeast => actual >= limit,
        }
    }

    /// Whether the answer stays as it is when a side that is a lower bound grows.
    #[must_use]
    pub fn certain(self, holds: bool, left_grows: bool, right_grows: bool) -> bool {
        let (against_left, against_right) = match (self, holds) {
            (Operator::Less | Operator::AtMost, true)
            | (Operator::Greater | Operator::AtLeast, false) => (true, false),
            (Operator::Less | Operator::AtMost, false)
            | (Operator::Greater | Operator::AtLeast, true) => (false, true),
            (Operator::Equal | Operator::NotEqual, _) => (true, true),
        };
        !(left_grows && against_left || right_grows && against_right)
    }

    /// The sign.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::AtMost => "<=",
            Operator::Greater => ">",
            Operator::AtLeast => ">=",
        }
    }
}

/// What the metric is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound {
    /// A number in the metric's unit; durations in nanoseconds.
    Value(f64),
    /// A multiple of another metric.
    Multiple {
        /// Factor.
        factor: f64,
        /// The other metric.
        of: Selector,
    },
}

/// A checked threshold.
#[derive(Debug, Clone, PartialEq)]
pub struct Threshold {
    /// As written.
    pub text: String,
    /// Left side.
    pub left: Selector,
    /// Operator.
    pub operator: Operator,
    /// Right side.
    pub bound: Bound,
}

impl Threshold {
    /// Whether it asks for a phase of one of these strategies, or of every one where they are any.
    #[must_use]
    pub fn asks_for_phase_of(&self, strategies: &[StrategyName]) -> Option<(Phase, StrategyName)> {
        let right = match &self.bound {
            Bound::Value(_) => None,
            Bound::Multiple { of, .. } => Some(of),
        };
        [Some(&self.left), right]
            .into_iter()
            .flatten()
            .find_map(|side| {
                let strategy = match &side.strategy {
                    Some(name) => strategies.iter().find(|strategy| *strategy == name),
                    None => strategies.first(),
                };
                Some((side.phase?, strategy?.clone()))
            })
    }

    /// Parses and checks a threshold against the catalogue and the strategies of the scenario.
    ///
    /// # Errors
    /// [`ThresholdError`] with the position of the first offending word.
    pub fn parse(text: &str, strategies: &[StrategyName]) -> Result<Threshold, ThresholdError> {
        parse(text, strategies).map_err(|fault| fault.in_text(text))
    }

    /// Parses all thresholds and reports every problem at once.
    ///
    /// # Errors
    /// One [`ThresholdError`] for each threshold that is wrong.
    pub fn parse_all(
        texts: &[String],
        strategies: &[StrategyName],
    ) -> Result<Vec<Threshold>, Vec<ThresholdError>> {
        parse_all(texts, |text| Threshold::parse(text, strategies))
    }
}

/// Parses all thresholds, of whatever grammar, and reports every problem at once.
///
/// # Errors
/// One [`ThresholdError`] for each that is wrong.
pub fn parse_all<T>(
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, ThresholdError>,
) -> Result<Vec<T>, Vec<ThresholdError>> {
    let mut thresholds = Vec::new();
    let mut errors = Vec::new();
    for text in texts {
        match parse(text) {
            Ok(threshold) => thresholds.push(threshold),
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() {
        Ok(thresholds)
    } else {
        Err(errors)
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse(text: &str, strategies: &[StrategyName]) -> Result<Threshold, Fault> {
    let (left, operator, right) =
        Operator::split(text).map_err(|at| expected(Operator::EXPECTED, &text[at..], at))?;
    let right = trimmed(text, text.len() - right.len(), text.len());
    let left = selector(trimmed(text, 0, left.len()), strategies)?;
    let bound = bound(right, &left, strategies)?;
    Ok(Threshold {
        text: text.to_owned(),
        left,
        operator,
        bound,
    })
}

fn bound(word: Word<'_>, left: &Selector, strategies: &[StrategyName]) -> Result<Bound, Fault> {
    if word.text.is_empty() {
        return Err(expected("a value", word.text, word.position));
    }
    if let Some((factor, _)) = word.text.split_once('*') {
        let factor_word = trimmed(word.text, 0, factor.len());
        let factor_word = Word {
            position: word.position + factor_word.position,
            ..factor_word
        };
        let other = trimmed(word.text, factor.len() + 1, word.text.len());
        let other = Word {
            position: word.position + other.position,
            ..other
        };
        return multiple(number(factor_word)?, other, left, strategies);
    }
    if word
        .text
        .starts_with(|first: char| first.is_ascii_alphabetic())
    {
        return multiple(1.0, word, left, strategies);
    }
    let digits = word
        .text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .count();
    let (digits, unit) = word.text.split_at(digits);
    let value = number(Word {
        text: if digits.is_empty() { word.text } else { digits },
        position: word.position,
    })?;
    let nanoseconds = match unit.trim() {
        "" => None,
        unit => Some(nanoseconds_of(unit).ok_or_else(|| {
            expected(
                "a number, a duration such as `250ms`, or a factor times a metric",
                word.text,
                word.position,
            )
        })?),
    };
    match (left.metric.unit, nanoseconds) {
        (Unit::Nanoseconds, Some(factor)) => Ok(Bound::Value(value * factor)),
        (Unit::Count | Unit::PerTask | Unit::PerSecond, None) => Ok(Bound::Value(value)),
        (unit, found) => Err(word.fault(ThresholdProblem::UnitMismatch {
            metric: left.metric.name,
            unit: unit.as_str(),
            found: if found.is_some() {
                "duration"
            } else {
                "number without a unit (write e.g. `250ms`)"
            },
        })),
    }
}

fn number(word: Word<'_>) -> Result<f64, Fault> {
    match word.text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err(word.fault(ThresholdProblem::BadNumber(word.text.to_owned()))),
    }
}

fn multiple(
    factor: f64,
    word: Word<'_>,
    left: &Selector,
    strategies: &[StrategyName],
) -> Result<Bound, Fault> {
    let of = selector(word, strategies)?;
    if of.metric.unit != left.metric.unit {
        return Err(word.fault(ThresholdProblem::UnitMismatch {
            metric: left.metric.name,
            unit: left.metric.unit.as_str(),
            found: of.metric.unit.as_str(),
        }));
    }
    if let (None, Some(strategy)) = (&left.strategy, &of.strategy) {
        return Err(word.fault(ThresholdProblem::MixedStrategies(strategy.0.clone())));
    }
    Ok(Bound::Multiple { factor, of })
}
