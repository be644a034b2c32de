//! The change of one metric between two sets of rounds: difference, ratio, interval and one-sided p-values.
//!
//! The unit of observation is the round. Attempts within a round queue for the same slots and are not independent, so
//! nothing here is computed from their number alone. Owns the statistics of one metric; what a change means, and how
//! many are looked at, is `judge`'s.
//!
//! Two tests have to agree, and the interval is the wider of theirs:
//! - Student's t with the variance between rounds pooled over both sides (2 degrees of freedom with two rounds each). The
//!   same build on both sides means the same variance on both, which is what pooling assumes and what false alarms are
//!   about; Welch's form would be left with 1 to 2 degrees of freedom, and a permutation of 2 + 2 rounds cannot get
//!   below 1/6.
//! - for numbers of events, a Poisson comparison of the two totals (score form, continuity-corrected, which follows the
//!   exact conditional binomial within a few per cent). Rounds that happen to agree, all zero above all, would otherwise
//!   have no variance, and a single failed task would be proof.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// One-sided level of a test; the interval shown leaves this out on each side.
pub const LEVEL: f64 = 0.05;
/// What the interval covers.
pub const COVERAGE: f64 = 1.0 - 2.0 * LEVEL;

/// Rounds that a side needs: one has no spread.
pub const LEAST_ROUNDS: usize = 2;

/// How a value varies between rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Noise {
    /// Events: at least Poisson. The exposures turn a side's mean back into its number of events for one round: 1 for
    /// totals, the number of tasks for values per task.
    Events {
        /// Of the baseline.
        base: f64,
        /// Of the new side.
        new: f64,
    },
    /// Whatever the rounds show.
    Measured,
}

/// One side of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SideValues {
    /// Rounds with a value.
    pub rounds: u32,
    /// Mean over rounds.
    pub mean: f64,
    /// Smallest round.
    pub min: f64,
    /// Largest round.
    pub max: f64,
}

impl SideValues {
    /// `None` without values.
    pub(super) fn of(values: &[f64]) -> Option<SideValues> {
        if values.is_empty() {
            return None;
        }
        Some(SideValues {
            rounds: u32::try_from(values.len()).unwrap_or(u32::MAX),
            mean: mean(values),
            min: values.iter().copied().fold(f64::INFINITY, f64::min),
            max: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}

/// The change of one metric, new against baseline.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Difference of the means.
    pub difference: f64,
    /// 90 % interval of the difference: 5 % left out on each side.
    pub difference_interval: (f64, f64),
    /// Ratio of the means; `null` when the baseline is zero.
    pub ratio: Option<f64>,
    /// 90 % interval of the ratio (Fieller); `null` when the baseline's mean is not told from zero.
    pub ratio_interval: Option<(f64, f64)>,
    /// One-sided p-value of "more than the baseline".
    pub p_more: f64,
    /// One-sided p-value of "less than the baseline".
    pub p_less: f64,
    /// Share of the pairs of a new and a baseline round in which the new one is larger; ties count half.
    pub pairs_more: f64,
    /// Every round of both sides has the same value: no order of them could ever be significant.
    pub constant: bool,
}

impl Estimate {
    /// Compares two sides; `None` with fewer than two rounds on either, since one round has no spread.
    pub(super) fn of(base: &[f64], new: &[f64], noise: Noise) -> Option<Estimate> {
        if base.len() < LEAST_ROUNDS || new.len() < LEAST_ROUNDS {
            return None;
        }
        let (m, n) = (count(base), count(new));
        let (base_mean, new_mean) = (mean(base), mean(new));
        let difference = new_mean - base_mean;
        // The variance of a difference of means is the variance of a round times this.
        let share = 1.0 / n + 1.0 / m;
        let freedom = n + m - 2.0;
        let variance = (squares(base, base_mean) + squares(new, new_mean)) / freedom;
        let error = (variance * share).sqrt();
        let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
        let mut half_width = student.inverse_cdf(1.0 - LEVEL) * error;
        let mut p_more = tail(difference, error, |t| student.sf(t));
        let mut p_less = tail(-difference, error, |t| student.sf(t));
        if let Noise::Events { base: b, new: a } = noise {
            let share = 1.0 / (n * a) + 1.0 / (m * b);
            let rate = (new_mean * n * a + base_mean * m * b) / (n * a + m * b);
            let error = (rate.max(0.0) * share).sqrt();
            let correction = share / 2.0;
            let normal = Normal::standard();
            half_width = half_width.max(normal.inverse_cdf(1.0 - LEVEL) * error + correction);
            p_more = p_more.max(tail(difference - correction, error, |z| normal.sf(z)));
            p_less = p_less.max(tail(-difference - correction, error, |z| normal.sf(z)));
        }
        let ratio = (base_mean > 0.0).then(|| new_mean / base_mean);
        Some(Estimate {
            difference,
            difference_interval: (difference - half_width, difference + half_width),
            ratio,
            ratio_interval: fieller(base_mean, new_mean, half_width * half_width / share, m, n),
            p_more,
            p_less,
            pairs_more: pairs_more(base, new),
            constant: base.iter().chain(new).all(|value| same(*value, base[0])),
        })
    }
}

/// Upper tail of a deviation; without an error, any deviation is beyond chance and none is not.
fn tail(deviation: f64, error: f64, upper: impl Fn(f64) -> f64) -> f64 {
    if error > 0.0 {
        upper(deviation / error)
    } else if deviation > 0.0 {
        0.0
    } else {
        1.0
    }
}

/// Fieller's interval of a ratio of means with a common variance of a round (`scale` is that variance times the squared
/// quantile): it leaves out 1 exactly when the interval of the difference leaves out 0. `None` when it is unbounded.
fn fieller(base: f64, new: f64, scale: f64, m: f64, n: f64) -> Option<(f64, f64)> {
    let squared = base * base - scale / m;
    if base <= 0.0 || squared <= 0.0 {
        return None;
    }
    let root = (base * new).powi(2) - squared * (new * new - scale / n);
    let root = root.max(0.0).sqrt();
    // No metric is negative.
    let low = ((base * new - root) / squared).max(0.0);
    Some((low, (base * new + root) / squared))
}

fn pairs_more(base: &[f64], new: &[f64]) -> f64 {
    let won: f64 = new
        .iter()
        .flat_map(|new| base.iter().map(move |base| (new, base)))
        .map(|(new, base)| match new.total_cmp(base) {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })
        .sum();
    won / (count(base) * count(new))
}

#[expect(clippy::float_cmp, reason = "the same value, not a near one, is meant")]
fn same(a: f64, b: f64) -> bool {
    a == b
}

#[expect(clippy::cast_precision_loss, reason = "rounds are few")]
fn count(values: &[f64]) -> f64 {
    values.len() as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / count(values)
}

fn squares(values: &[f64], mean: f64) -> f64 {
    values.iter().map(|value| (value - mean).powi(2)).sum()
}
