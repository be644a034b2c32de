//! Thresholds on a log: `metric op number`.
//!
//! Owns the metrics and the judgement. A count that may be larger than the log shows is judged by what is certain of it: what
//! could still turn out otherwise is inconclusive, never a pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::result::Diagnosis;
use crate::gate::{GateOutcome, Operator, ThresholdError, ThresholdProblem};
use crate::nearest::nearest;
use crate::quantity::number;

/// A number of which the log may show a part only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    least: u64,
    /// `None` where there may be any number more.
    most: Option<u64>,
}

pub(super) type Value = fn(&Diagnosis) -> Range;

/// Of a log that lost lines any count may be larger.
fn logged(diagnosis: &Diagnosis, count: u64) -> Range {
    Range {
        least: count,
        most: (diagnosis.losses.announcements == 0).then_some(count),
    }
}

fn refused(diagnosis: &Diagnosis, least: u64, most: u64) -> Range {
    Range {
        least,
        most: (!diagnosis.drops.at_least()).then_some(most),
    }
}

/// Metrics by name, with how each is read off a log. Those that runs have as well carry the same names.
pub(super) const METRICS: [(&str, Value); 10] = [
    ("server_drops", |d| refused(d, d.drops.total, d.drops.total)),
    ("refused_by_max_startups", |d| {
        let certain = d.drops.max_startups;
        let most = certain.saturating_add(d.drops.max_startups_or_per_source);
        refused(d, certain, most)
    }),
    // By PerSourceMaxStartups or PerSourcePenalties.
    ("refused_by_other_rule", |d| {
        let certain = d
            .drops
            .per_source_max_startups
            .saturating_add(d.drops.by_penalty());
        let most = certain.saturating_add(d.drops.max_startups_or_per_source);
        refused(d, certain, most)
    }),
    ("throttling_episodes", |d| {
        let listed = u64::try_from(d.episodes.len()).unwrap_or(u64::MAX);
        let episodes = listed.saturating_add(d.episodes_not_listed);
        let hidden = d.losses.announcements > 0 || d.drops.total == 0 && d.drops.at_least();
        Range {
            least: episodes,
            most: (!hidden).then_some(episodes),
        }
    }),
    // Let in but not served: no process, or no descriptors.
    ("unserved", |d| {
        logged(d, d.other.fork_failed.saturating_add(d.other.pipe_failed))
    }),
    ("server_accepted", |d| logged(d, d.logins.count)),
    // Builds with the fix for CVE-2024-6387, and 8.4 on Linux, do not log it.
    ("grace_timeouts", |d| Range {
        least: d.other.grace_timeouts,
        most: None,
    }),
    ("sessions_refused", |d| logged(d, d.other.sessions_refused)),
    ("client_messages", |d| {
        let counts = d.client_messages.iter();
        logged(
            d,
            counts.fold(0_u64, |sum, it| sum.saturating_add(it.count)),
        )
    }),
    ("unknown_lines", |d| Range {
        least: d.lines.sshd_unknown,
        most: Some(d.lines.sshd_unknown),
    }),
];

/// A checked threshold.
#[derive(Debug, Clone)]
pub struct DiagnosisThreshold {
    text: String,
    metric: String,
    value: Value,
    operator: Operator,
    limit: f64,
}

impl DiagnosisThreshold {
    /// Parses and checks one.
    ///
    /// # Errors
    /// [`ThresholdError`] with the position of the first offending word.
    pub fn parse(text: &str) -> Result<Self, ThresholdError> {
        let fault = |position, length, problem| ThresholdError {
            text: text.to_owned(),
            position,
            length,
            problem,
        };
        let (left, operator, right) = Operator::split(text).map_err(|at| {
            let found = text[at..].trim();
            let problem = ThresholdProblem::expected(Operator::EXPECTED, found);
            fault(at, found.len(), problem)
        })?;
        let (metric, limit) = (left.trim(), right.trim());
        let Some((_, value)) = METRICS.into_iter().find(|(name, _)| *name == metric) else {
            let nearest = nearest(metric, METRICS.iter().map(|(name, _)| *name));
            return Err(fault(
                left.len() - left.trim_start().len(),
                metric.len(),
                ThresholdProblem::UnknownMetric {
                    name: metric.to_owned(),
                    nearest: nearest.map(str::to_owned),
                },
            ));
        };
        let limit = match limit.parse::<f64>() {
            Ok(number) if number.is_finite() && number >= 0.0 => number,
            _ => {
                return Err(fault(
                    text.len() - right.trim_start().len(),
                    limit.len(),
                    ThresholdProblem::BadNumber(limit.to_owned()),
                ));
            }
        };
        Ok(DiagnosisThreshold {
            text: text.to_owned(),
            metric: metric.to_owned(),
            value,
            operator,
            limit,
        })
    }
}

/// A judged threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThresholdResult {
    /// As written.
    pub expression: String,
    /// The metric.
    pub metric: String,
    /// What the log shows of it; `null` where it has no line of sshd's.
    pub actual: Option<u64>,
    /// Whether there may be more than the log shows.
    pub at_least: bool,
    /// How it ended.
    pub outcome: GateOutcome,
}

/// Judges every threshold on a log.
#[must_use]
pub fn judge(thresholds: &[DiagnosisThreshold], diagnosis: &Diagnosis) -> Vec<ThresholdResult> {
    let said_anything = diagnosis.lines.of_sshd() > 0;
    thresholds
        .iter()
        .map(|threshold| {
            let range = (threshold.value)(diagnosis);
            ThresholdResult {
                expression: threshold.text.clone(),
                metric: threshold.metric.clone(),
                actual: said_anything.then_some(range.least),
                at_least: range.most != Some(range.least),
                outcome: match outcome(threshold, range) {
                    Some(true) if said_anything => GateOutcome::Pass,
                    Some(false) if said_anything => GateOutcome::Fail,
                    _ => GateOutcome::Inconclusive,
                },
            }
        })
        .collect()
}

/// Whether it holds for every number in the range; `None` where it holds for some only.
fn outcome(threshold: &DiagnosisThreshold, range: Range) -> Option<bool> {
    let (operator, limit) = (threshold.operator, threshold.limit);
    let least = number(range.least);
    let most = range.most.map_or(f64::INFINITY, number);
    // Between the ends there may be the limit itself.
    let inside = least <= limit && limit <= most && range.most != Some(range.least);
    match operator {
        Operator::Equal | Operator::NotEqual if inside => None,
        _ => {
            let (at_least, at_most) = (operator.holds(least, limit), operator.holds(most, limit));
            (at_least == at_most).then_some(at_least)
        }
    }
}
