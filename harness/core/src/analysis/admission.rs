//! The admission curve: what sshd refused at each number of slots in use, beside what its configuration implies.
//!
//! Owns the comparison of observed draws with the rule of [`crate::model`]. Must not know where the draws come from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{Binomial, ChiSquared, ContinuousCDF, DiscreteCDF};

use super::climb;
use super::summary::{RoundSummary, RunSummary};
#[cfg(test)]
use crate::model::Decision;
use crate::model::{Admission, drop_probability_percent};
use crate::quantity::number;
use crate::scenario::MaxStartups;
use crate::server_log::{DropRule, ServerLogCounts};

/// Where the trials were observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CurveSource {
    /// sshd's own lines of its draws (`should_drop_connection`), forced out by `LogVerbose`.
    ServerDraws,
    /// Connections held open one by one: the client knows how many slots it occupies.
    HeldConnections,
}

/// All trials that share one configured probability.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdmissionPoint {
    /// Fewest slots in use.
    pub slots_from: u32,
    /// Most slots in use: neighbours whose truncated probability is the same cannot be told apart in a draw.
    pub slots_to: u32,
    /// Connections decided.
    pub trials: u64,
    /// Connections refused.
    pub refused: u64,
    /// Observed share refused, 0 to 1.
    pub share: f64,
    /// Lower end of its 95 % Wilson interval.
    pub wilson_low: f64,
    /// Upper end.
    pub wilson_high: f64,
    /// Share the configuration implies, 0 to 1.
    pub configured: f64,
}

/// Whether the curve is the configured one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CurveVerdict {
    /// Nothing speaks against it.
    Fits,
    /// The server decides by another rule or other numbers.
    Differs,
    /// Too few trials to say.
    Insufficient,
}

/// Observed against configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdmissionCurve {
    /// `MaxStartups` the observation is compared with, `start:rate:full`.
    pub max_startups: String,
    /// Where the trials were observed.
    pub source: CurveSource,
    /// Points by slots in use, ascending.
    pub points: Vec<AdmissionPoint>,
    /// Pearson's χ² over points with enough trials; `null` without any.
    pub chi_square: Option<f64>,
    /// Its degrees of freedom.
    pub degrees_of_freedom: u32,
    /// Probability of a χ² this large under the configuration.
    pub p_value: Option<f64>,
    /// Points whose interval does not hold the configured share; one in twenty does so by chance.
    pub outside: u32,
    /// Observations that the configuration makes impossible, each a full sentence.
    pub contradictions: Vec<String>,
    /// What decided that it differs; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<String>,
    /// The conclusion.
    pub verdict: CurveVerdict,
}

/// Draws below which nothing is said.
const ENOUGH_DRAWS: u64 = 30;
/// Below this probability of so large a χ² the curve is taken for another one: one false alarm in ten thousand runs.
const ALPHA: f64 = 1e-4;
/// Quantile of the standard normal distribution for a two-sided interval of 95 %.
const Z_95: f64 = 1.959_963_984_540_054;
/// Refusals and admissions expected at least in one χ² term; smaller neighbours are pooled (Cochran's rule).
const EXPECTED_AT_LEAST: f64 = 5.0;

/// Trials at one configured percentage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trials {
    /// Connections decided.
    pub trials: u64,
    /// Connections refused.
    pub refused: u64,
}

/// The curve of a whole run, from its servers' logs.
///
/// # Errors
/// Why there is none, a fragment for a person.
pub fn of_run(run: &RunSummary) -> Result<AdmissionCurve, &'static str> {
    let manifest = run.manifest.as_ref().ok_or("the ledger has no beginning")?;
    if !manifest.target.log_available {
        return Err("the server's log cannot be read on this target");
    }
    let rule = DropRule::of(manifest).ok_or("the server's MaxStartups is not known")?;
    let logs: Vec<&ServerLogCounts> = run
        .rounds()
        .into_iter()
        .filter_map(|round| round.server_log.as_ref())
        .collect();
    if logs.is_empty() {
        return Err("no round's log was read");
    }
    of_logs(rule, &logs)
        .ok_or("this sshd does not log its draws (LogVerbose needs OpenSSH 8.5 or later)")
}

/// The curve of some stretches of log that were counted under `rule`; `None` where refusals were drawn without a line.
#[must_use]
pub fn of_logs(rule: DropRule, logs: &[&ServerLogCounts]) -> Option<AdmissionCurve> {
    let mut drawn: BTreeMap<u32, Trials> = BTreeMap::new();
    let (mut certain, mut admitted_free, mut below_start) = (0, 0, 0);
    let (mut silent, mut wrong) = (0, 0);
    let mut contradictions = Vec::new();
    for log in logs {
        let mut admitted_by_draw = 0;
        let mut refused_by_draw = 0;
        for (probability, (trials, refused)) in &log.draws {
            let point = drawn.entry(*probability).or_default();
            point.trials += trials;
            point.refused += refused;
            admitted_by_draw += trials - refused;
            refused_by_draw += refused;
        }
        certain += log.drops.max_startups_full;
        below_start += log.drops.per_source_max_startups;
        silent += (log.drops.max_startups_draw + log.drops.max_startups_or_per_source)
            .saturating_sub(refused_by_draw);
        admitted_free += log.connections.saturating_sub(admitted_by_draw);
        wrong += log.wrong_draws;
        contradictions.extend(log.wrong_draw_samples.iter().cloned());
    }
    if silent > 0 {
        return None;
    }
    contradictions.truncate(SENTENCES);
    if wrong > contradictions.len() as u64 {
        contradictions.push(format!(
            "… and {} more such draws",
            wrong - contradictions.len() as u64
        ));
    }
    let MaxStartups { start, rate, full } = rule.max_startups.max_startups();
    if below_start > 0 && !rule.per_source {
        contradictions.push(format!(
            "sshd refused {below_start} connections that {start}:{rate}:{full} admits, and no limit per source is set"
        ));
    }
    let mut trials = drawn;
    // Below `start` and from `full` on sshd decides without a draw.
    if admitted_free > 0 {
        let point = trials.entry(0).or_default();
        point.trials += admitted_free;
    }
    if certain > 0 {
        let point = trials.entry(100).or_default();
        point.trials += certain;
        point.refused += certain;
    }
    let max_startups = rule.max_startups.max_startups();
    let points = trials
        .iter()
        // A draw against a percentage that the rule never gives is a contradiction already.
        .filter_map(|(percent, seen)| {
            let (from, to) = slots_with(max_startups, *percent)?;
            point(from, to, *percent, *seen)
        })
        .collect();
    Some(compare(
        rule.max_startups,
        CurveSource::ServerDraws,
        points,
        contradictions,
    ))
}

/// The curve of a run's staircases, held against `expected`; `None` when there was none.
#[must_use]
pub fn of_staircases(run: &RunSummary, expected: MaxStartups) -> Option<AdmissionCurve> {
    let trials = held_trials(run);
    (!trials.is_empty()).then(|| of_held(Admission::new(expected), &trials))
}

/// Trials by slots in use, of all of a run's staircases that met no other limit ([`climb`]).
#[must_use]
pub fn held_trials(run: &RunSummary) -> BTreeMap<u32, Trials> {
    let mut all: BTreeMap<u32, Trials> = BTreeMap::new();
    let alone = |round: &&RoundSummary| climb::limits_met(round, run.manifest.as_ref()).is_empty();
    for round in run.rounds().into_iter().filter(alone) {
        for (slots, seen) in &round.held_trials {
            let point = all.entry(*slots).or_default();
            point.trials += seen.trials;
            point.refused += seen.refused;
        }
    }
    all
}

/// The `MaxStartups` under which the trials are most likely (maximum likelihood over all whole numbers that they leave
/// possible); `None` when they leave it open, because nothing was refused or nothing admitted.
///
/// It is an estimate: with 20 trials at each number of slots `start` and `full` are right to within a slot or two, `rate`
/// to within some 5 points. Where others are just as likely (at rate 100 every `full` is) it is `configured`.
#[must_use]
pub fn most_likely(
    by_slots: &BTreeMap<u32, Trials>,
    configured: Option<MaxStartups>,
) -> Option<MaxStartups> {
    let first_refusal = by_slots
        .iter()
        .find(|(_, seen)| seen.refused > 0)
        .map(|(slots, _)| *slots)?;
    let last_admission = by_slots
        .iter()
        .rev()
        .find(|(_, seen)| seen.refused < seen.trials)
        .map(|(slots, _)| *slots)?;
    let most = *by_slots.keys().next_back()?;
    let mut best: Option<(f64, MaxStartups)> = None;
    // A `start` far below the first refusal, or a `full` far above the last admission, would need improbable luck.
    for start in first_refusal.saturating_sub(SEARCH).max(1)..=first_refusal.max(1) {
        let least_full = (last_admission + 1).max(start);
        for full in least_full..=(last_admission + SEARCH).min(most + 1).max(least_full) {
            // With `start` at `full` nothing is drawn, and the rate says nothing.
            for rate in if start == full { 100..=100 } else { 1..=100 } {
                let Ok(candidate) = MaxStartups::new(start, rate, full) else {
                    continue;
                };
                let likelihood = log_likelihood(by_slots, candidate);
                // Of equals the first.
                if likelihood.is_finite() && best.is_none_or(|(most, _)| likelihood > most + 1e-9) {
                    best = Some((likelihood, candidate));
                }
            }
        }
    }
    let (likelihood, candidate) = best?;
    Some(
        configured
            .filter(|configured| log_likelihood(by_slots, *configured) > likelihood - 1e-9)
            .unwrap_or(candidate),
    )
}

/// How far `start` and `full` are looked for from the nearest observation.
const SEARCH: u32 = 15;

fn log_likelihood(by_slots: &BTreeMap<u32, Trials>, candidate: MaxStartups) -> f64 {
    by_slots
        .iter()
        .map(|(slots, seen)| {
            let share = f64::from(drop_probability_percent(*slots, candidate)) / 100.0;
            let term = |count: u64, share: f64| {
                if count == 0 {
                    0.0
                } else {
                    number(count) * share.ln()
                }
            };
            term(seen.refused, share) + term(seen.trials - seen.refused, 1.0 - share)
        })
        .sum()
}

/// The curve of connections that were held open one by one: trials by the number of slots in use.
#[must_use]
pub fn of_held(expected: Admission, by_slots: &BTreeMap<u32, Trials>) -> AdmissionCurve {
    let max_startups = expected.max_startups();
    let mut contradictions = Vec::new();
    for (slots, seen) in by_slots {
        let percent = drop_probability_percent(*slots, max_startups);
        let admitted = seen.trials - seen.refused;
        if percent == 0 && seen.refused > 0 {
            contradictions.push(format!(
                "{} of {} connections were refused with {slots} slots in use, where {max_startups} refuses none",
                seen.refused, seen.trials,
            ));
        }
        if percent == 100 && admitted > 0 {
            contradictions.push(format!(
                "{admitted} of {} connections were admitted with {slots} slots in use, where {max_startups} admits none",
                seen.trials,
            ));
        }
    }
    let more = contradictions.len().saturating_sub(SENTENCES);
    contradictions.truncate(SENTENCES);
    if more > 0 {
        contradictions.push(format!("… and the same at {more} more numbers of slots"));
    }
    let points = by_slots
        .iter()
        .filter_map(|(slots, seen)| {
            let percent = drop_probability_percent(*slots, max_startups);
            point(*slots, *slots, percent, *seen)
        })
        .collect();
    compare(
        expected,
        CurveSource::HeldConnections,
        points,
        contradictions,
    )
}

/// Sentences of one kind in a report.
const SENTENCES: usize = 5;

/// `None` without trials.
fn point(slots_from: u32, slots_to: u32, percent: u32, seen: Trials) -> Option<AdmissionPoint> {
    let (wilson_low, wilson_high) = wilson(seen.refused, seen.trials);
    (seen.trials > 0).then(|| AdmissionPoint {
        slots_from,
        slots_to,
        trials: seen.trials,
        refused: seen.refused,
        share: number(seen.refused) / number(seen.trials),
        wilson_low,
        wilson_high,
        configured: f64::from(percent) / 100.0,
    })
}

fn compare(
    rule: Admission,
    source: CurveSource,
    points: Vec<AdmissionPoint>,
    contradictions: Vec<String>,
) -> AdmissionCurve {
    let max_startups = rule.max_startups();
    let (chi_square, degrees_of_freedom) = chi_square(&points);
    let p_value = chi_square.and_then(|chi_square| {
        let distribution = ChiSquared::new(f64::from(degrees_of_freedom)).ok()?;
        Some(distribution.sf(chi_square))
    });
    let drawn: u64 = points
        .iter()
        .filter(|point| point.configured > 0.0 && point.configured < 1.0)
        .map(|point| point.trials)
        .sum();
    let seen = |configured: f64| {
        points
            .iter()
            .any(|point| (point.configured - configured).abs() < f64::EPSILON)
    };
    let draws_at_all =
        (max_startups.start..max_startups.full).any(|slots| rule.drawn_against(slots).is_some());
    let difference = difference(&points, &contradictions, p_value, &max_startups);
    let verdict = match () {
        () if difference.is_some() => CurveVerdict::Differs,
        () if draws_at_all && drawn >= ENOUGH_DRAWS => CurveVerdict::Fits,
        // A hard limit has only certain decisions: both kinds must have been seen.
        () if !draws_at_all && seen(0.0) && seen(1.0) => CurveVerdict::Fits,
        () => CurveVerdict::Insufficient,
    };
    AdmissionCurve {
        max_startups: max_startups.to_string(),
        source,
        outside: u32::try_from(
            points
                .iter()
                .filter(|point| {
                    point.configured < point.wilson_low || point.configured > point.wilson_high
                })
                .count(),
        )
        .unwrap_or(u32::MAX),
        points,
        chi_square,
        degrees_of_freedom,
        p_value,
        contradictions,
        difference,
        verdict,
    }
}

/// What speaks against the configuration, the plainest first; `None` when nothing does.
fn difference(
    points: &[AdmissionPoint],
    contradictions: &[String],
    p_value: Option<f64>,
    configured: &MaxStartups,
) -> Option<String> {
    if let Some(contradiction) = contradictions.first() {
        return Some(contradiction.clone());
    }
    if let Some(p_value) = p_value.filter(|p| *p < ALPHA) {
        return Some(format!(
            "all draws together would be this far from {configured} by chance with a probability of {p_value:.1e}"
        ));
    }
    // χ² over a hundred points hides one that is far off, such as a `start` that is one too high.
    let (point, chance) = least_likely(points)?;
    (number(points.len() as u64) * chance < ALPHA).then(|| {
        let slots = match point.slots_to == point.slots_from {
            true => point.slots_from.to_string(),
            false => format!("{} to {}", point.slots_from, point.slots_to),
        };
        format!(
            "with {slots} slots in use {} of {} connections were refused, where {configured} refuses {:.0} % (probability \
             {chance:.1e})",
            point.refused,
            point.trials,
            point.configured * 100.0
        )
    })
}

/// Fewest and most slots with this percentage; `None` when there are none.
fn slots_with(max_startups: MaxStartups, percent: u32) -> Option<(u32, u32)> {
    match percent {
        0 => Some((0, max_startups.start - 1)),
        100 => Some((
            (max_startups.start..=max_startups.full)
                .find(|slots| drop_probability_percent(*slots, max_startups) == 100)?,
            max_startups.full,
        )),
        _ => {
            let mut with = (max_startups.start..max_startups.full)
                .filter(|slots| drop_probability_percent(*slots, max_startups) == percent);
            let first = with.next()?;
            Some((first, with.next_back().unwrap_or(first)))
        }
    }
}

/// The point whose count is least likely, with the probability of one as far from the configured share (exact binomial,
/// two-sided by doubling).
fn least_likely(points: &[AdmissionPoint]) -> Option<(&AdmissionPoint, f64)> {
    points
        .iter()
        .filter(|point| point.configured > 0.0 && point.configured < 1.0)
        .filter_map(|point| {
            let distribution = Binomial::new(point.configured, point.trials).ok()?;
            let at_most = distribution.cdf(point.refused);
            let at_least = match point.refused.checked_sub(1) {
                Some(below) => distribution.sf(below),
                None => 1.0,
            };
            Some((point, (2.0 * at_most.min(at_least)).min(1.0)))
        })
        .min_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// Pearson's χ² of refusals against the configured shares, neighbours pooled until enough are expected; with the number
/// of its terms.
fn chi_square(points: &[AdmissionPoint]) -> (Option<f64>, u32) {
    let mut terms = Vec::new();
    let (mut observed, mut expected, mut admitted, mut variance) = (0.0, 0.0, 0.0, 0.0);
    for point in points {
        let trials = number(point.trials);
        let configured = point.configured;
        if configured <= 0.0 || configured >= 1.0 {
            continue;
        }
        observed += number(point.refused);
        expected += trials * configured;
        admitted += trials * (1.0 - configured);
        variance += trials * configured * (1.0 - configured);
        if expected >= EXPECTED_AT_LEAST && admitted >= EXPECTED_AT_LEAST {
            terms.push((observed - expected).powi(2) / variance);
            (observed, expected, admitted, variance) = (0.0, 0.0, 0.0, 0.0);
        }
    }
    let degrees = u32::try_from(terms.len()).unwrap_or(u32::MAX);
    ((degrees > 0).then(|| terms.iter().sum()), degrees)
}

/// Wilson's score interval of a share, 95 % (E. B. Wilson, JASA 22, 1927). Keeps within 0 and 1, and is not empty for 0
/// or all of `trials`.
#[must_use]
pub fn wilson(hits: u64, trials: u64) -> (f64, f64) {
    let n = number(trials);
    let share = number(hits) / n;
    let z2 = Z_95 * Z_95;
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    let low = if hits == 0 {
        0.0
    } else {
        (middle - half).max(0.0)
    };
    let high = if hits == trials {
        1.0
    } else {
        (middle + half).min(1.0)
    };
    (low, high)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn rule(text: &str) -> Admission {
        Admission::new(text.parse().expect("valid"))
    }

    /// Draws at every number of slots, by another rule than the one they are compared with if so wished.
    fn held(by: &str, seed: u64, each: u64) -> BTreeMap<u32, Trials> {
        let by = rule(by);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..=by.max_startups().full)
            .map(|slots| {
                let refused = (0..each)
                    .filter(|_| by.decide(slots, random.random_range(0..100)) == Decision::Refuse)
                    .count() as u64;
                (
                    slots,
                    Trials {
                        trials: each,
                        refused,
                    },
                )
            })
            .collect()
    }

    #[test]
    fn wilson_is_that_of_the_paper() {
        let (low, high) = wilson(8, 20);
        assert!(
            (low - 0.2188).abs() < 1e-4 && (high - 0.6134).abs() < 1e-4,
            "{low} {high}"
        );
        assert_eq!(wilson(0, 10).0, 0.0);
        assert_eq!(wilson(10, 10).1, 1.0);
        assert!(wilson(0, 10).1 > 0.25);
    }

    #[test]
    fn a_server_that_obeys_fits_in_almost_every_run() {
        let fits = (0..200)
            .filter(|seed| {
                of_held(rule("10:30:100"), &held("10:30:100", *seed, 12)).verdict
                    == CurveVerdict::Fits
            })
            .count();
        assert_eq!(fits, 200, "one false alarm in ten thousand is allowed");
    }

    #[test]
    fn another_start_rate_or_full_is_seen() {
        for by in [
            "11:30:100",
            "10:60:100",
            "10:30:90",
            "20:50:60",
            "10:30:100",
        ] {
            let curve = of_held(rule("10:30:100"), &held(by, 3, 60));
            let differs = curve.verdict == CurveVerdict::Differs;
            assert_eq!(
                differs,
                by != "10:30:100",
                "{by}: {:?} {:?}",
                curve.p_value,
                curve.contradictions
            );
            assert_eq!(curve.difference.is_some(), differs, "{by}");
        }
    }

    #[test]
    fn difference_names_what_decided_and_not_a_test_that_did_not() {
        // One number of slots far off among many that fit: no contradiction, and no χ² that shows it.
        let mut trials = held("10:30:100", 3, 12);
        let lone = Trials {
            trials: 20,
            refused: 20,
        };
        trials.insert(20, lone);
        let curve = of_held(rule("10:30:100"), &trials);
        let told = curve.difference.expect("it differs");
        assert!(
            told.starts_with("with 20 slots in use 20 of 20 connections were refused, where 10:30:100 refuses 37 %"),
            "{told}"
        );
        assert!(curve.p_value > Some(ALPHA), "{:?}", curve.p_value);
        let impossible = of_held(rule("11:30:100"), &held("10:30:100", 3, 60));
        let told = impossible.difference.expect("it differs");
        assert!(
            told.contains("with 10 slots in use, where 11:30:100 refuses none"),
            "{told}"
        );
    }

    #[test]
    fn the_most_likely_setting_is_near_the_true_one() {
        for by in ["10:30:100", "20:50:60", "3:50:8"] {
            let truth: MaxStartups = by.parse().expect("valid");
            let found = most_likely(&held(by, 5, 40), None).expect("both were seen");
            let near = |a: u32, b: u32, by: u32| a.abs_diff(b) <= by;
            assert!(
                near(found.start, truth.start, 2)
                    && near(found.full, truth.full, 2)
                    && near(found.rate, truth.rate, 10),
                "{found} for {by}"
            );
        }
        assert_eq!(
            most_likely(&held("5:100:10", 5, 3), None).map(|found| (found.start, found.full)),
            Some((5, 5)),
            "a hard limit"
        );
        let configured: MaxStartups = "5:100:10".parse().expect("valid");
        let as_configured = most_likely(&held("5:100:10", 5, 3), Some(configured));
        assert_eq!(as_configured, Some(configured), "it is as likely");
        let less_likely = "6:100:10".parse().expect("valid");
        let found = most_likely(&held("5:100:10", 5, 3), Some(less_likely));
        assert_eq!(found.map(|found| found.start), Some(5));
        assert_eq!(most_likely(&BTreeMap::new(), None), None);
    }

    #[test]
    fn a_hard_limit_fits_when_both_sides_were_seen() {
        let curve = of_held(rule("5:100:10"), &held("5:100:10", 1, 3));
        assert_eq!(curve.verdict, CurveVerdict::Fits, "{curve:?}");
        assert_eq!(curve.points.len(), 11);
        assert_eq!(
            of_held(rule("5:100:10"), &held("6:100:10", 1, 3)).verdict,
            CurveVerdict::Differs
        );
    }

    #[test]
    fn neighbours_with_one_percentage_are_one_point() {
        assert_eq!(
            slots_with("10:30:100".parse().expect("valid"), 30),
            Some((10, 11))
        );
        assert_eq!(
            slots_with("10:30:100".parse().expect("valid"), 31),
            Some((12, 12))
        );
        assert_eq!(
            slots_with("5:30:5".parse().expect("valid"), 100),
            Some((5, 5))
        );
        assert_eq!(slots_with("20:50:60".parse().expect("valid"), 30), None);
    }
}
