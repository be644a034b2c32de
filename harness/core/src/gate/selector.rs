//! Which number is meant: `[strategy.][phase.]metric[.aggregate]`, as thresholds, sweeps and comparisons write it.
//!
//! A word that could be a phase or a metric (`submit`) is a phase when a metric follows it. Owns the one reading of it, with the place
//! of what is wrong.

use std::fmt;

use super::problem::{ThresholdError, ThresholdProblem};
use crate::analysis::catalogue::{self, Aggregate, Better, Metric};
use crate::ids::StrategyName;
use crate::nearest::nearest;
use crate::vocabulary::Phase;

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

/// A metric that a comparison decides by: `[strategy.][phase.]metric`. The value compared is a round's: the total of counts, the mean
/// of rates and per-task metrics, the median of latencies.
#[derive(Debug, Clone, PartialEq)]
pub struct GateMetric {
    /// Strategy; `None` is every strategy.
    pub strategy: Option<StrategyName>,
    /// Phase; `None` is all phases together.
    pub phase: Option<Phase>,
    /// Metric.
    pub metric: &'static Metric,
}

impl GateMetric {
    /// Parses `[strategy.][phase.]metric`.
    ///
    /// # Errors
    /// [`ThresholdError`] for a name that is none, or a metric that cannot gate.
    pub fn parse(text: &str, strategies: &[StrategyName]) -> Result<GateMetric, ThresholdError> {
        let parse = || {
            let scoped = scoped(trimmed(text, 0, text.len()), strategies)?;
            let metric = scoped.metric;
            if let Some(aggregate) = scoped.aggregate {
                return Err(aggregate.fault(ThresholdProblem::NoAggregateHere(metric.name)));
            }
            if metric.better == Better::Neither {
                let problem = ThresholdProblem::NoDirection(metric.name);
                return Err(scoped.name.fault(problem));
            }
            Ok(GateMetric {
                strategy: scoped.strategy,
                phase: scoped.phase,
                metric,
            })
        };
        parse().map_err(|fault: Fault| fault.in_text(text))
    }

    pub(super) fn is(
        &self,
        strategy: &StrategyName,
        metric: &Metric,
        phase: Option<Phase>,
    ) -> bool {
        self.metric == metric
            && self.phase == phase
            && self.strategy.as_ref().is_none_or(|name| name == strategy)
    }
}

impl fmt::Display for GateMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(strategy) = &self.strategy {
            write!(f, "{strategy}.")?;
        }
        f.write_str(&self.metric.key(self.phase))
    }
}

/// What is wrong with a word.
pub(super) struct Fault {
    position: usize,
    length: usize,
    problem: ThresholdProblem,
}

impl Fault {
    pub(super) fn in_text(self, text: &str) -> ThresholdError {
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
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) position: usize,
}

impl Word<'_> {
    pub(super) fn fault(self, problem: ThresholdProblem) -> Fault {
        Fault {
            position: self.position,
            length: self.text.len(),
            problem,
        }
    }
}

pub(super) fn expected(expected: &'static str, found: &str, position: usize) -> Fault {
    let found = found.trim();
    Fault {
        position,
        length: found.len(),
        problem: ThresholdProblem::expected(expected, found),
    }
}

pub(super) fn trimmed(text: &str, from: usize, to: usize) -> Word<'_> {
    let part = &text[from..to];
    let position = from + (part.len() - part.trim_start().len());
    Word {
        text: part.trim(),
        position,
    }
}

/// `[strategy.][phase.]metric`, and the word after it where there is one.
struct Scoped<'a> {
    strategy: Option<StrategyName>,
    phase: Option<Phase>,
    metric: &'static Metric,
    name: Word<'a>,
    aggregate: Option<Word<'a>>,
}

fn scoped<'a>(word: Word<'a>, strategies: &[StrategyName]) -> Result<Scoped<'a>, Fault> {
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
    Ok(Scoped {
        strategy: strategy.cloned(),
        phase,
        metric,
        name: name_word,
        aggregate: aggregate_text.map(|_| after(rest, name.len() + 1)),
    })
}

pub(super) fn selector(word: Word<'_>, strategies: &[StrategyName]) -> Result<Selector, Fault> {
    let Scoped {
        strategy,
        phase,
        metric,
        name,
        aggregate,
    } = scoped(word, strategies)?;
    let aggregate = match aggregate {
        None => metric.default_aggregate().ok_or_else(|| {
            name.fault(ThresholdProblem::AggregateMissing {
                metric: metric.name,
                allowed: metric.aggregates(),
            })
        })?,
        Some(word) => checked_aggregate(word, metric)?,
    };
    Ok(Selector {
        strategy,
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

fn checked_aggregate(word: Word<'_>, metric: &'static Metric) -> Result<Aggregate, Fault> {
    let text = word.text;
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
