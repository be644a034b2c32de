//! Stalled bursts beside the model: how many of N silent connections were admitted, and how many the rule implies.
//!
//! No slot is given back while all of them are held, so the number admitted has the exact distribution of
//! [`crate::model::BurstDistribution`]. A harness that reproduces it measures admission rightly.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admission::CurveVerdict;
use super::summary::{RoundSummary, RunSummary};
use crate::ids::StrategyName;
use crate::ledger::RoundEnd;
use crate::model::BurstDistribution;
use crate::quantity::number;
use crate::server_log::DropRule;

/// Standard errors from the expected mean beyond which the burst does not follow the rule: one false alarm in ten
/// thousand.
const Z_LIMIT: f64 = 3.89;

/// The stalled bursts of one strategy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StalledBurst {
    /// Strategy.
    pub strategy: StrategyName,
    /// `MaxStartups` of the server, `start:rate:full`.
    pub max_startups: String,
    /// Connections in each burst.
    pub connections: u32,
    /// Connections admitted, round by round.
    pub admitted: Vec<u64>,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation (n − 1); `null` for one round.
    pub standard_deviation: Option<f64>,
    /// Mean that the rule implies.
    pub expected_mean: f64,
    /// Standard deviation of one round that the rule implies.
    pub expected_standard_deviation: f64,
    /// Distance of the means in standard errors; `null` where the rule leaves nothing to chance.
    pub z: Option<f64>,
    /// Whether the bursts follow the rule.
    pub verdict: CurveVerdict,
}

/// The stalled bursts of a run: of each strategy whose complete rounds consist of nothing else.
#[must_use]
pub fn of_run(run: &RunSummary) -> Vec<StalledBurst> {
    let Some(rule) = run.manifest.as_ref().and_then(DropRule::of) else {
        return Vec::new();
    };
    // A limit per source refuses beside the rule.
    if rule.per_source {
        return Vec::new();
    }
    run.strategies
        .iter()
        .filter_map(|strategy| {
            let rounds: Vec<&RoundSummary> = strategy
                .rounds
                .iter()
                .filter(|round| round.end == Some(RoundEnd::Complete))
                .collect();
            if rounds.is_empty() || !rounds.iter().all(|round| is_stalled_burst(round)) {
                return None;
            }
            // Slots that others held all the time; rounds that began with different numbers of them are no one experiment.
            let held = held(rounds[0])?;
            if rounds.iter().any(|round| self::held(round) != Some(held)) {
                return None;
            }
            let connections = rounds[0].numbers.tasks.tasks_scheduled;
            let admitted = rounds
                .iter()
                .map(|round| round.numbers.total.counts.attempts_held)
                .collect();
            Some(compare(
                strategy.strategy.clone(),
                rule,
                held,
                u32::try_from(connections).unwrap_or(u32::MAX),
                admitted,
            ))
        })
        .collect()
}

/// Every task made one attempt, at once, and every attempt was held or refused.
fn is_stalled_burst(round: &RoundSummary) -> bool {
    let counts = &round.numbers.total.counts;
    round.start.burst
        && counts.attempts_held > 0
        && counts.attempts == round.numbers.tasks.tasks_scheduled
        && counts.attempts_held + counts.banner_eof == counts.attempts
}

/// Slots that holders kept throughout; `None` where some were taken back meanwhile.
fn held(round: &RoundSummary) -> Option<u32> {
    let Some(holders) = round.numbers.holders else {
        return Some(0);
    };
    let steady = holders.ended_by_grace + holders.ended_early == 0;
    steady
        .then(|| u32::try_from(holders.admitted).ok())
        .flatten()
}

fn compare(
    strategy: StrategyName,
    rule: DropRule,
    held: u32,
    connections: u32,
    admitted: Vec<u64>,
) -> StalledBurst {
    let max_startups = rule.max_startups.max_startups();
    let expected = BurstDistribution::of_burst_beside(held, connections, max_startups);
    let (expected_mean, expected_sd) = (expected.mean_accepted(), expected.standard_deviation());
    let rounds = number(admitted.len() as u64);
    let mean = admitted.iter().copied().map(number).sum::<f64>() / rounds;
    let squares: f64 = admitted
        .iter()
        .map(|count| (number(*count) - mean).powi(2))
        .sum();
    let standard_error = expected_sd / rounds.sqrt();
    let z = (standard_error > 1e-9).then(|| (mean - expected_mean) / standard_error);
    let follows = match z {
        Some(z) => z.abs() <= Z_LIMIT,
        None => (mean - expected_mean).abs() < 1e-9,
    };
    StalledBurst {
        strategy,
        max_startups: max_startups.to_string(),
        connections,
        mean,
        standard_deviation: (admitted.len() > 1).then(|| (squares / (rounds - 1.0)).sqrt()),
        admitted,
        expected_mean,
        expected_standard_deviation: expected_sd,
        z,
        verdict: if follows {
            CurveVerdict::Fits
        } else {
            CurveVerdict::Differs
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Admission;

    fn burst(connections: u32, admitted: &[u64]) -> StalledBurst {
        beside(0, connections, admitted)
    }

    /// The same beside slots that others hold.
    fn beside(held: u32, connections: u32, admitted: &[u64]) -> StalledBurst {
        let rule = DropRule {
            max_startups: Admission::new("10:30:100".parse().expect("valid")),
            per_source: false,
        };
        compare(
            StrategyName("stalled".to_owned()),
            rule,
            held,
            connections,
            admitted.to_vec(),
        )
    }

    #[test]
    fn means_near_the_rule_follow_it_and_others_do_not() {
        let near = burst(100, &[55, 58, 52, 57]);
        assert!((near.expected_mean - 55.7).abs() < 0.1, "{near:?}");
        assert_eq!(near.verdict, CurveVerdict::Fits);
        let off = burst(100, &[64, 66, 63, 65]);
        assert_eq!(off.verdict, CurveVerdict::Differs, "{off:?}");
    }

    #[test]
    fn slots_that_others_hold_count_from_the_first_connection_on() {
        assert_eq!(beside(4, 6, &[6]).z, None);
        let mean = beside(4, 7, &[7]).expected_mean;
        assert!((mean - 6.7).abs() < 1e-9, "{mean}");
        // At `full` everybody is refused.
        assert_eq!(beside(100, 5, &[0]).verdict, CurveVerdict::Fits);
        assert_eq!(beside(100, 5, &[1]).verdict, CurveVerdict::Differs);
        // 60 more slots in use than the rule is held against: 100 connections are not admitted as from zero.
        assert_eq!(
            beside(60, 100, &[55, 58, 52, 57]).verdict,
            CurveVerdict::Differs
        );
    }

    #[test]
    fn below_start_everything_is_admitted_and_nothing_is_left_to_chance() {
        assert_eq!(burst(10, &[10, 10]).z, None);
        assert_eq!(burst(10, &[10, 10]).verdict, CurveVerdict::Fits);
        assert_eq!(burst(10, &[10, 9]).verdict, CurveVerdict::Differs);
    }
}
