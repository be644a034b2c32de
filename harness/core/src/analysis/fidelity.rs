//! Whether a model of a client does what the client does: the ratio of their round values, with its interval.
//!
//! Owns the statistics and the words. Rounds are the unit. Both ran interleaved on one server, so that a drift of the
//! machine meets both alike. A ratio of means by the delta method (Casella & Berger, 5.5.4), its degrees of freedom by
//! Welch and Satterthwaite.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use crate::quantity::number;

/// Confidence of the interval.
pub const CONFIDENCE: f64 = 0.90;

/// What can be said of a metric.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Agreement {
    /// The interval of the ratio lies within the bound.
    Agrees,
    /// It lies partly within, or there are too few rounds for one.
    CannotSay,
    /// It lies outside.
    Differs,
}

impl Agreement {
    /// The words in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Agreement::Agrees => "agrees",
            Agreement::CannotSay => "cannot say",
            Agreement::Differs => "differs",
        }
    }
}

/// A real client's values of a metric beside a model's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ratio {
    /// Mean of the real client's rounds.
    pub real: f64,
    /// Mean of the model's rounds.
    pub model: f64,
    /// Rounds of each, the fewer.
    pub rounds: u64,
    /// real : model; `null` where the model's mean is 0.
    pub ratio: Option<f64>,
    /// The 90 % interval of the ratio; `null` where the rounds do not give one.
    pub interval: Option<(f64, f64)>,
}

impl Ratio {
    /// Of the values of rounds; `None` where either has none.
    #[must_use]
    pub fn of(real: &[f64], model: &[f64]) -> Option<Self> {
        let (of_real, of_model) = (Moments::of(real)?, Moments::of(model)?);
        let rounds = real.len().min(model.len()) as u64;
        let ratio = (of_model.mean > 0.0).then(|| of_real.mean / of_model.mean);
        Some(Ratio {
            real: of_real.mean,
            model: of_model.mean,
            rounds,
            ratio,
            interval: ratio.and_then(|ratio| interval(ratio, &of_real, &of_model)),
        })
    }

    /// Whether the two agree within a share of each other.
    #[must_use]
    pub fn agreement(&self, within: f64) -> Agreement {
        if self.real == 0.0 && self.model == 0.0 && self.rounds >= 2 {
            return Agreement::Agrees;
        }
        match self.interval {
            Some((low, high)) if low >= 1.0 - within && high <= 1.0 + within => Agreement::Agrees,
            Some((low, high)) if high < 1.0 - within || low > 1.0 + within => Agreement::Differs,
            Some(_) | None => Agreement::CannotSay,
        }
    }
}

struct Moments {
    mean: f64,
    /// Variance of the mean; `None` of a single round.
    variance: Option<f64>,
    rounds: f64,
}

impl Moments {
    fn of(values: &[f64]) -> Option<Self> {
        if values.is_empty() {
            return None;
        }
        let rounds = number(values.len() as u64);
        let mean = values.iter().sum::<f64>() / rounds;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Moments {
            mean,
            variance: (rounds >= 2.0).then(|| squares / (rounds - 1.0) / rounds),
            rounds,
        })
    }

    /// Variance of the logarithm of the mean.
    fn relative(&self) -> Option<f64> {
        (self.mean > 0.0).then(|| Some(self.variance? / self.mean.powi(2)))?
    }
}

fn interval(ratio: f64, real: &Moments, model: &Moments) -> Option<(f64, f64)> {
    let (a, b) = (real.relative()?, model.relative()?);
    let variance = a + b;
    if variance <= 0.0 {
        // The same in every round: exact.
        return Some((ratio, ratio));
    }
    let freedom =
        variance.powi(2) / (a.powi(2) / (real.rounds - 1.0) + b.powi(2) / (model.rounds - 1.0));
    let quantile = StudentsT::new(0.0, 1.0, freedom)
        .ok()?
        .inverse_cdf(0.5 + CONFIDENCE / 2.0);
    let reach = quantile * variance.sqrt();
    Some((ratio * (-reach).exp(), ratio * reach.exp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_counts_agree_exactly_and_nothing_agrees_with_nothing() {
        let same = Ratio::of(&[60.0, 60.0], &[60.0, 60.0, 60.0]).expect("rounds");
        assert_eq!(same.interval, Some((1.0, 1.0)));
        assert_eq!(same.agreement(0.0), Agreement::Agrees);
        let none = Ratio::of(&[0.0, 0.0], &[0.0, 0.0]).expect("rounds");
        assert_eq!((none.ratio, none.agreement(0.1)), (None, Agreement::Agrees));
        let other = Ratio::of(&[240.0; 3], &[60.0; 3]).expect("rounds");
        assert_eq!(other.agreement(0.1), Agreement::Differs);
    }

    #[test]
    fn too_few_rounds_or_too_much_noise_say_nothing() {
        let one = Ratio::of(&[60.0], &[60.0]).expect("rounds");
        assert_eq!(one.agreement(0.1), Agreement::CannotSay);
        let noisy = Ratio::of(&[50.0, 70.0, 60.0], &[55.0, 65.0, 61.0]).expect("rounds");
        assert_eq!(noisy.agreement(0.1), Agreement::CannotSay);
        let against_none = Ratio::of(&[1.0, 2.0], &[0.0, 0.0]).expect("rounds");
        assert_eq!(against_none.agreement(0.1), Agreement::CannotSay);
        assert_eq!(Ratio::of(&[], &[1.0]), None);
    }

    #[test]
    fn interval_narrows_with_rounds_and_holds_the_ratio() {
        let values = |rounds: usize, mean: f64| -> Vec<f64> {
            (0..rounds)
                .map(|round| mean + if round % 2 == 0 { 3.0 } else { -3.0 })
                .collect()
        };
        let width = |rounds| {
            let ratio = Ratio::of(&values(rounds, 100.0), &values(rounds, 100.0)).expect("rounds");
            let (low, high) = ratio.interval.expect("one");
            assert!(low < 1.0 && high > 1.0);
            high - low
        };
        assert!(width(4) > width(8) && width(8) > width(20));
        // By hand: means 100, sd of each 3.0779 (n = 20): variance of the log 2 * 0.00004737, 38 degrees of freedom, t 1.686.
        assert!((width(20) - 0.0328).abs() < 0.0005, "{}", width(20));
    }
}
