//! What can be wrong with a threshold, and how it is said.
//!
//! Owns the messages; finding the problems is `threshold`'s.

/// What is wrong with a threshold.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ThresholdProblem {
    /// Not of the form.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What should be here.
        expected: &'static str,
        /// What is here.
        found: String,
    },
    /// Neither strategy, phase nor metric.
    #[error("unknown metric `{name}`{}", did_you_mean(nearest.as_deref()))]
    UnknownMetric {
        /// The word.
        name: String,
        /// A near one.
        nearest: Option<String>,
    },
    /// A dotted prefix that is no strategy of the scenario.
    #[error("unknown strategy `{name}`{}; the scenario has {known}", did_you_mean(nearest.as_deref()))]
    UnknownStrategy {
        /// The word.
        name: String,
        /// A near one.
        nearest: Option<String>,
        /// All of them.
        known: String,
    },
    /// Not an aggregate at all.
    #[error("unknown aggregate `{name}`; `{metric}` has {allowed}")]
    UnknownAggregate {
        /// The word.
        name: String,
        /// The metric.
        metric: &'static str,
        /// What it has.
        allowed: &'static str,
    },
    /// A percentile no distribution has.
    #[error("impossible percentile `{0}`: more than 0 and at most 100")]
    ImpossiblePercentile(String),
    /// An aggregate that this metric has not.
    #[error("`{metric}` has no `{aggregate}`; it has {allowed}")]
    AggregateNotAllowed {
        /// The metric.
        metric: &'static str,
        /// The aggregate.
        aggregate: String,
        /// What it has.
        allowed: &'static str,
    },
    /// A latency without aggregate.
    #[error("`{metric}` is a distribution; say which value of it: {allowed}")]
    AggregateMissing {
        /// The metric.
        metric: &'static str,
        /// What it has.
        allowed: &'static str,
    },
    /// A metric that is not kept by phase.
    #[error("`{metric}` is not kept by phase; leave `{phase}.` out")]
    NotByPhase {
        /// The metric.
        metric: &'static str,
        /// The phase.
        phase: &'static str,
    },
    /// Two units that cannot be compared.
    #[error("`{metric}` is a {unit}, but the value is a {found}")]
    UnitMismatch {
        /// The metric.
        metric: &'static str,
        /// Its unit.
        unit: &'static str,
        /// The other.
        found: &'static str,
    },
    /// A factor or number that is not finite, or a negative one.
    #[error("`{0}` is not a number a metric can have")]
    BadNumber(String),
    /// A right side of one strategy for a left side of every strategy.
    #[error(
        "the left side is for every strategy, the right side is of `{0}` only; name one on the left"
    )]
    MixedStrategies(String),
    /// A comparison takes a round's value, whichever that is of the metric.
    #[error(
        "a gating metric takes no aggregate: a round's value of `{0}` is compared, the total of a count, the mean of a rate, the \
         median of times"
    )]
    NoAggregateHere(&'static str),
    /// A metric without a better side.
    #[error("`{0}` cannot regress: neither more nor less of it is better")]
    NoDirection(&'static str),
}

impl ThresholdProblem {
    /// Something else, or nothing, where `expected` should be.
    pub(crate) fn expected(expected: &'static str, found: &str) -> Self {
        let found = match found {
            "" => "nothing".to_owned(),
            found => format!("`{found}`"),
        };
        ThresholdProblem::Expected { expected, found }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| {
        format!("; did you mean `{nearest}`?")
    })
}

/// A threshold that cannot be judged, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("threshold `{text}`, column {}: {problem}", position + 1)]
pub struct ThresholdError {
    /// As written.
    pub text: String,
    /// Byte offset of the offending word.
    pub position: usize,
    /// Length of the offending word in bytes.
    pub length: usize,
    /// What is wrong.
    pub problem: ThresholdProblem,
}
