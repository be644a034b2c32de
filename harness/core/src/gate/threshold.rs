//! The threshold grammar: `[strategy.][phase.]metric[.aggregate] op value`.
//!
//! The value is a number, a duration with its unit, or `[factor *] [strategy.][phase.]metric[.aggregate]`.
//! Without a strategy the threshold holds for every strategy, and a metric on its right side is taken of the
//! same one. A word that could be a phase or a metric (`submit`) is a phase when a metric follows it. Owns
//! parsing and type checking; everything that can be wrong is wrong here, before a target is started.

use std::fmt;

use super::problem::{ThresholdError, ThresholdProblem};
use crate::analysis::catalogue::{self, Aggregate, Metric, Unit};
use crate::ids::StrategyName;
use crate::nearest::nearest;
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

/// A metric of a strategy.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// Strategy; `None` is every strategy.
    pub strategy: Option<StrategyName>,
    /// Phase; `None` is all phases together.
    pub phase: Option<Phase>,
    /// Metric.
    pub metric: &'static Metric,
    /// Aggregate, the metric's default filled in.
    pub aggregate: Aggregate,
}

impl Selector {
    /// Parses and checks `[strategy.][phase.]metric[.aggregate]`, as a threshold's left side is.
    ///
    /// # Errors
    /// [`ThresholdError`] with the position of the first offending word.
    pub fn parse(text: &str, strategies: &[StrategyName]) -> Result<Selector, ThresholdError> {
        selector(trimmed(text, 0, text.len()), strategies).map_err(|fault| fault.in_text(text))
    }

    /// The metric of its phase with its aggregate, whichever the strategy: `submit.tcp.p99`; an aggregate that is the metric's
    /// own is left out.
    #[must_use]
    pub fn column(&self) -> String {
        let key = self.metric.key(self.phase);
        match self.metric.default_aggregate() {
            Some(aggregate) if aggregate == self.aggregate => key,
            _ => format!("{key}.{}", self.aggregate),
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

struct Fault {
    position: usize,
    length: usize,
    problem: ThresholdProblem,
}

impl Fault {
    fn in_text(self, text: &str) -> ThresholdError {
        ThresholdError {
            text: text.to_owned(),
            position: self.position,
            length: self.length,
            problem: self.problem,
        }
    }
}

/// A word and where it stands.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    position: usize,
}

impl Word<'_> {
    fn fault(self, problem: ThresholdProblem) -> Fault {
        Fault {
            position: self.position,
            length: self.text.len(),
            problem,
        }
    }
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

fn expected(expected: &'static str, found: &str, position: usize) -> Fault {
    let found = found.trim();
    Fault {
        position,
        length: found.len(),
        problem: ThresholdProblem::expected(expected, found),
    }
}

fn trimmed(text: &str, from: usize, to: usize) -> Word<'_> {
    let part = &text[from..to];
    let position = from + (part.len() - part.trim_start().len());
    Word {
        text: part.trim(),
        position,
    }
}

fn selector(word: Word<'_>, strategies: &[StrategyName]) -> Result<Selector, Fault> {
    if word.text.is_empty() || word.text.contains(char::is_whitespace) {
        return Err(expected("a metric", word.text, word.position));
    }
    let mut rest = word;
    // Strategy names may contain dots; the longest that fits is meant.
    let strategy = strategies
        .iter()
        .filter(|name| {
            rest.text
                .strip_prefix(name.0.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
        })
        .max_by_key(|name| name.0.len());
    if let Some(name) = strategy {
        rest = after(rest, name.0.len() + 1);
    }
    let mut phase = None;
    for candidate in Phase::ALL {
        let Some(tail) = rest
            .text
            .strip_prefix(candidate.as_str())
            .and_then(|tail| tail.strip_prefix('.'))
        else {
            continue;
        };
        let next = tail.split('.').next().unwrap_or(tail);
        // `submit.p99` is the metric, `submit.tcp.p99` the phase. A misspelt metric after a word that can only be
        // a phase is reported as a metric; after `submit` an aggregate decides.
        let is_metric = catalogue::metric(candidate.as_str()).is_some();
        if !is_metric || aggregate(next).is_none() {
            phase = Some(candidate);
            rest = after(rest, candidate.as_str().len() + 1);
            break;
        }
    }
    let (name, aggregate_text) = match rest.text.split_once('.') {
        Some((name, aggregate)) => (name, Some(aggregate)),
        None => (rest.text, None),
    };
    let name_word = Word {
        text: name,
        position: rest.position,
    };
    let Some(metric) = catalogue::metric(name) else {
        return Err(unknown(
            name_word,
            strategy.is_some() || phase.is_some(),
            aggregate_text,
            strategies,
        ));
    };
    if let (Some(phase), false) = (phase, metric.by_phase) {
        return Err(name_word.fault(ThresholdProblem::NotByPhase {
            metric: metric.name,
            phase: phase.as_str(),
        }));
    }
    let aggregate = match aggregate_text {
        None => metric.default_aggregate().ok_or_else(|| {
            name_word.fault(ThresholdProblem::AggregateMissing {
                metric: metric.name,
                allowed: metric.aggregates(),
            })
        })?,
        Some(text) => checked_aggregate(after(rest, name.len() + 1), text, metric)?,
    };
    Ok(Selector {
        strategy: strategy.cloned(),
        phase,
        metric,
        aggregate,
    })
}

fn after(word: Word<'_>, bytes: usize) -> Word<'_> {
    Word {
        text: &word.text[bytes..],
        position: word.position + bytes,
    }
}

/// `reusd-session.attempts` is a misspelt strategy, `attemts` a misspelt metric.
fn unknown(
    word: Word<'_>,
    qualified: bool,
    following: Option<&str>,
    strategies: &[StrategyName],
) -> Fault {
    let next = following.and_then(|text| text.split('.').next());
    let metric_follows = next.is_some_and(|next| {
        catalogue::metric(next).is_some() || Phase::ALL.iter().any(|phase| phase.as_str() == next)
    });
    if !qualified && metric_follows {
        let names = strategies.iter().map(|name| name.0.as_str());
        let nearest = nearest(word.text, names).map(str::to_owned);
        let known: Vec<String> = strategies.iter().map(|name| format!("`{name}`")).collect();
        return word.fault(ThresholdProblem::UnknownStrategy {
            name: word.text.to_owned(),
            nearest,
            known: known.join(", "),
        });
    }
    word.fault(ThresholdProblem::UnknownMetric {
        name: word.text.to_owned(),
        nearest: catalogue::nearest(word.text).map(str::to_owned),
    })
}

/// `Some(Err)` is a percentile no distribution has.
fn aggregate(text: &str) -> Option<Result<Aggregate, ()>> {
    Some(Ok(match text {
        "total" => Aggregate::Total,
        "mean" => Aggregate::Mean,
        "min" => Aggregate::Min,
        "median" => Aggregate::Median,
        "max" => Aggregate::Max,
        "peak" => Aggregate::Peak,
        _ => {
            let digits = text.strip_prefix('p')?;
            let plain = digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.');
            if digits.is_empty() || !plain {
                return None;
            }
            match digits.parse::<f64>() {
                Ok(percent) if percent > 0.0 && percent <= 100.0 => Aggregate::Percentile(percent),
                _ => return Some(Err(())),
            }
        }
    }))
}

fn checked_aggregate(
    word: Word<'_>,
    text: &str,
    metric: &'static Metric,
) -> Result<Aggregate, Fault> {
    match aggregate(text) {
        None => Err(word.fault(ThresholdProblem::UnknownAggregate {
            name: text.to_owned(),
            metric: metric.name,
            allowed: metric.aggregates(),
        })),
        Some(Err(())) => Err(word.fault(ThresholdProblem::ImpossiblePercentile(text.to_owned()))),
        Some(Ok(aggregate)) if metric.allows(aggregate) => Ok(aggregate),
        Some(Ok(aggregate)) => Err(word.fault(ThresholdProblem::AggregateNotAllowed {
            metric: metric.name,
            aggregate: aggregate.to_string(),
            allowed: metric.aggregates(),
        })),
    }
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
