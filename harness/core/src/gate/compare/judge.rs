//! What the changes of all metrics amount to.
//!
//! Owns the words, the correction for many metrics and the verdict. A regression needs size, proof and consistency;
//! what is large but not proven, or too noisy to be seen, is inconclusive and never a pass.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::selector::GateMetric;
use super::estimate::{Estimate, LEVEL, Noise, SideValues};
use super::holm;
use super::pace::Pace;
use super::policy::{DEFAULT_GATES, MinimumEffect};
use super::side::{Side, StrategyRounds};
use crate::analysis::catalogue::{self, Better, Metric, Unit, Variation};
use crate::gate::Verdict;
use crate::ids::StrategyName;
use crate::vocabulary::Phase;

/// Share of the pairs of rounds (a new and a baseline one) that have to agree on the direction: every pair while they are
/// fewer than 15. From 3 + 3 or 5 + 2 rounds on this rule alone keeps a single metric below one false alarm in
/// twenty, whatever the distribution of its rounds.
pub const AGREEMENT: f64 = 0.93;
/// `unchanged` is said only when the interval leaves out a worsening of this many minimum effects: rounds that vary more
/// than that have not shown anything.
pub const BLIND: f64 = 5.0;

/// What became of a metric.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// Worse: by the minimum effect at least, beyond chance, in nearly every pair of rounds.
    Regressed,
    /// Better, on the same terms.
    Improved,
    /// Different on the same terms, of a metric that has no better side.
    Changed,
    /// No change of the minimum effect is proven, and a large one is excluded.
    Unchanged,
    /// Worse by the minimum effect, but not proven; or too noisy to say.
    Inconclusive,
    /// Fewer than two rounds with a value on a side.
    Insufficient,
}

impl Finding {
    /// The word used in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Finding::Regressed => "regressed",
            Finding::Improved => "improved",
            Finding::Changed => "changed",
            Finding::Unchanged => "unchanged",
            Finding::Inconclusive => "inconclusive",
            Finding::Insufficient => "insufficient",
        }
    }
}

/// One metric of one strategy, compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricComparison {
    /// Strategy.
    pub strategy: StrategyName,
    /// Metric.
    pub metric: String,
    /// Phase; `null` for all phases together.
    pub phase: Option<Phase>,
    /// Whether values are durations in nanoseconds.
    pub is_duration: bool,
    /// Whether values have been divided by the tasks, since their numbers differ.
    pub per_task: bool,
    /// Which way is better.
    pub better: Better,
    /// Whether it decides.
    pub gates: bool,
    /// Values of the baseline's rounds; `null` without any.
    pub base: Option<SideValues>,
    /// Values of the new run's rounds; `null` without any.
    pub new: Option<SideValues>,
    /// The change; `null` where there are not two rounds on each side.
    pub estimate: Option<Estimate>,
    /// The smallest change that counts, in the metric's unit.
    pub minimum: f64,
    /// How many of these a change has to reach to be proven: more than 1 where the machine ran at another speed.
    pub pace_factor: f64,
    /// p-value of "worse than the baseline", corrected (Holm) for the number of gating metrics where it gates; `null`
    /// where it cannot be worse.
    pub p_worse: Option<f64>,
    /// What became of it.
    pub finding: Finding,
    /// Why it is inconclusive or insufficient.
    pub reason: Option<String>,
}

impl MetricComparison {
    /// `strategy.[phase.]metric`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.phase {
            None => format!("{}.{}", self.strategy, self.metric),
            Some(phase) => format!("{}.{}.{}", self.strategy, phase.as_str(), self.metric),
        }
    }
}

/// Everything compared, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Verdict.
    pub verdict: Verdict,
    /// Every reason against a pass, strongest first.
    pub reasons: Vec<String>,
    /// Gating metrics first, then the others; each by strategy in the baseline's order.
    pub metrics: Vec<MetricComparison>,
}

/// Compares two runs that may be compared. `gates` are the gating metrics asked for; empty for the default ones.
#[must_use]
pub fn compare(
    base: &Side<'_>,
    new: &Side<'_>,
    gates: &[GateMetric],
    minimum: &MinimumEffect,
) -> Comparison {
    let tasks = (
        f64::from(base.scenario.tasks.max(1)),
        f64::from(new.scenario.tasks.max(1)),
    );
    let scoped: Vec<Scoped> = catalogue::scoped()
        .map(|(metric, phase)| Scoped {
            metric,
            phase,
            key: metric.key(phase),
        })
        .collect();
    let mut metrics = Vec::new();
    for base in &base.strategies {
        let Some(new) = new.strategy(&base.strategy) else {
            continue;
        };
        let pace_factor = Pace::of(base, new).map_or(1.0, Pace::factor);
        for scoped in &scoped {
            let metric = one(base, new, scoped, tasks, gates, minimum);
            metrics.extend(metric.map(|metric| MetricComparison {
                pace_factor,
                ..metric
            }));
        }
    }
    correct(&mut metrics);
    for metric in &mut metrics {
        (metric.finding, metric.reason) = judge(metric);
    }
    // Stable: strategies and metrics keep their order.
    metrics.sort_by_key(|metric| !metric.gates);
    let (verdict, reasons) = decide(base, new, gates, &metrics);
    Comparison {
        verdict,
        reasons,
        metrics,
    }
}

/// A metric of the catalogue and the phase it is taken of.
struct Scoped {
    metric: &'static Metric,
    phase: Option<Phase>,
    key: String,
}

/// One metric, not yet judged; `None` when neither side has a value, unless it was asked for by name.
fn one(
    base: &StrategyRounds,
    new: &StrategyRounds,
    scoped: &Scoped,
    (base_tasks, new_tasks): (f64, f64),
    gates: &[GateMetric],
    minimum: &MinimumEffect,
) -> Option<MetricComparison> {
    let Scoped { metric, phase, key } = scoped;
    let (metric, phase) = (*metric, *phase);
    #[expect(clippy::float_cmp, reason = "whole numbers of tasks")]
    let divided = base_tasks != new_tasks
        && matches!(metric.variation(), Variation::Events | Variation::Amount);
    let values = |side: &StrategyRounds, tasks: f64| -> Vec<f64> {
        let rounds = side.rounds.iter().filter_map(|round| round.get(key));
        rounds
            .map(|value| if divided { value / tasks } else { *value })
            .collect()
    };
    let (before, after) = (values(base, base_tasks), values(new, new_tasks));
    let asked = gates
        .iter()
        .any(|gate| gate.is(&base.strategy, metric, phase));
    if before.is_empty() && after.is_empty() && !asked {
        return None;
    }
    let by_default = gates.is_empty() && phase.is_none() && DEFAULT_GATES.contains(&metric.name);
    let noise = match metric.variation() {
        Variation::Events if divided => Noise::Events {
            base: base_tasks,
            new: new_tasks,
        },
        Variation::Events => Noise::Events {
            base: 1.0,
            new: 1.0,
        },
        Variation::EventsPerTask => Noise::Events {
            base: base_tasks,
            new: new_tasks,
        },
        Variation::Amount | Variation::Level => Noise::Measured,
    };
    let base_values = SideValues::of(&before);
    Some(MetricComparison {
        strategy: base.strategy.clone(),
        metric: metric.name.to_owned(),
        phase,
        is_duration: metric.unit == Unit::Nanoseconds,
        per_task: divided,
        better: metric.better,
        gates: asked || by_default,
        base: base_values,
        new: SideValues::of(&after),
        estimate: Estimate::of(&before, &after, noise),
        minimum: minimum.of(
            metric,
            base_values.map_or(0.0, |values| values.mean),
            base_tasks,
            divided,
        ),
        pace_factor: 1.0,
        p_worse: None,
        finding: Finding::Insufficient,
        reason: None,
    })
}

/// Fills in the p-values: corrected over the gating metrics, as they are for the others.
fn correct(metrics: &mut [MetricComparison]) {
    let mut family = Vec::new();
    for (index, metric) in metrics.iter_mut().enumerate() {
        let Some(estimate) = &metric.estimate else {
            continue;
        };
        let p = match metric.better {
            Better::Less => estimate.p_more,
            Better::More => estimate.p_less,
            Better::Neither => continue,
        };
        metric.p_worse = Some(p);
        // A metric whose rounds are all equal cannot be significant whichever side they belong to, so that it takes no
        // part in the family (Tarone 1990).
        if metric.gates && !estimate.constant {
            family.push((index, p));
        }
    }
    let plain: Vec<f64> = family.iter().map(|(_, p)| *p).collect();
    for ((index, _), corrected) in family.iter().zip(holm::correct(&plain)) {
        metrics[*index].p_worse = Some(corrected);
    }
}

fn judge(metric: &MetricComparison) -> (Finding, Option<String>) {
    let Some(estimate) = &metric.estimate else {
        let rounds = |side: Option<SideValues>| side.map_or(0, |values| values.rounds);
        let reason = format!(
            "needs two rounds with a value on each side; the baseline has {}, the new run {}",
            rounds(metric.base),
            rounds(metric.new)
        );
        return (Finding::Insufficient, Some(reason));
    };
    // Everything below with "worse" as the positive direction.
    let (low, high) = estimate.difference_interval;
    let (worse, bound, pairs, p_better) = match metric.better {
        Better::Less | Better::Neither => (
            estimate.difference,
            high,
            estimate.pairs_more,
            estimate.p_less,
        ),
        Better::More => (
            -estimate.difference,
            -low,
            1.0 - estimate.pairs_more,
            estimate.p_more,
        ),
    };
    let p_worse = metric.p_worse.unwrap_or(estimate.p_more);
    let minimum = metric.minimum;
    let proven = |p: f64, pairs: f64| p <= LEVEL && pairs >= AGREEMENT;
    // Beyond what another speed of the machine does.
    let large = minimum * metric.pace_factor;
    let improved = -worse >= large && worse < 0.0 && proven(p_better, 1.0 - pairs);
    let worsened = worse >= minimum && worse > 0.0;
    let regressed = worsened && worse >= large && proven(p_worse, pairs);
    match metric.better {
        Better::Neither if regressed || improved => (Finding::Changed, None),
        Better::Neither => (Finding::Unchanged, None),
        _ if regressed => (Finding::Regressed, None),
        _ if improved => (Finding::Improved, None),
        _ if worsened && p_worse > LEVEL => (
            Finding::Inconclusive,
            Some(format!(
                "worse by more than the minimum effect, but chance explains it (p {p_worse:.2}): more rounds decide it"
            )),
        ),
        _ if worsened && proven(p_worse, pairs) => (
            Finding::Inconclusive,
            Some(
                "worse beyond chance, but the machine ran at another speed, which does as much: compare runs made under \
                 the same load"
                    .to_owned(),
            ),
        ),
        _ if worsened => (
            Finding::Inconclusive,
            Some(format!(
                "worse on average, but only {:.0} % of the pairs of rounds agree: more rounds decide it",
                pairs * 100.0
            )),
        ),
        // Without an absolute part (rates) a baseline of zero has no minimum effect to be blind to.
        _ if bound > BLIND * minimum && minimum > 0.0 => (
            Finding::Inconclusive,
            Some(format!(
                "the rounds vary too much: a worsening of {BLIND} minimum effects is not excluded; more rounds decide it"
            )),
        ),
        _ => (Finding::Unchanged, None),
    }
}

fn decide(
    base: &Side<'_>,
    new: &Side<'_>,
    gates: &[GateMetric],
    metrics: &[MetricComparison],
) -> (Verdict, Vec<String>) {
    let mut reasons = Vec::new();
    for (side, name) in [(base, "baseline"), (new, "new run")] {
        for fault in &side.faults {
            reasons.push(format!("the {name} is no measurement: {fault}"));
        }
    }
    let measured = reasons.is_empty();
    let gating = || metrics.iter().filter(|metric| metric.gates);
    let with = |finding| gating().filter(move |metric| metric.finding == finding);
    for metric in with(Finding::Regressed) {
        reasons.push(format!("regressed: {}", metric.name()));
    }
    for finding in [Finding::Inconclusive, Finding::Insufficient] {
        for metric in with(finding) {
            let why = metric.reason.as_deref().unwrap_or_default();
            reasons.push(format!("{}: {}: {why}", finding.as_str(), metric.name()));
        }
    }
    // A gate that was asked for and found nothing to guard is no data.
    let unguarded: Vec<String> = gates
        .iter()
        .filter(|gate| {
            !gating().any(|metric| {
                metric.metric == gate.metric.name
                    && gate.is(&metric.strategy, gate.metric, metric.phase)
            })
        })
        .map(ToString::to_string)
        .collect();
    if !unguarded.is_empty() {
        reasons.push(format!(
            "no strategy to compare has {}",
            unguarded.join(", ")
        ));
    }
    if gating().next().is_none() && unguarded.is_empty() {
        reasons.push("there is no gating metric to compare".to_owned());
    }
    let verdict = if measured && with(Finding::Regressed).next().is_some() {
        Verdict::Fail
    } else if reasons.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Inconclusive
    };
    (verdict, reasons)
}
