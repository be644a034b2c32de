//! The settings that a server's answers leave likely: maximum likelihood over whole numbers, and an interval for each.
//!
//! Owns the likelihood. The rule itself is [`crate::model`]'s.
//!
//! `rate` has a profile likelihood interval (Wilks: twice the logarithm of the ratio is χ² with one degree of freedom), a little wider
//! than for 95 %: the probe looks after every climb and stops when the interval is narrow, which favours those that are so by chance.
//! `start` and
//! `full` are ends of the stretch in which sshd draws: there the ratio falls like a probability of having seen nothing, (1-p)^n, and
//! the 5 % are those of an exact test.

use std::collections::BTreeMap;

use super::Answers;
use crate::analysis::admission::{CurveVerdict, of_held};
use crate::model::Admission;
use crate::quantity::number;
use crate::scenario::MaxStartups;

/// An estimate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// The most likely value.
    pub value: u32,
    /// Lower end.
    pub low: u32,
    /// Upper end; `None` where the answers set none.
    pub high: Option<u32>,
}

impl Estimate {
    /// Upper less lower end; `None` where there is no upper end.
    #[must_use]
    pub fn width(&self) -> Option<u32> {
        self.high.map(|high| high - self.low)
    }
}

/// Everything is admitted below a number of held connections, and everything is refused from there on. Rate 100, `start` = `full`
/// and a limit of another kind answer alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardLimit {
    /// Connections held when everything was refused.
    pub at: u32,
    /// Connections refused there.
    pub refused: u64,
    /// The smallest rate, per cent, under which so many would be refused in a row with a probability of 5 %.
    pub least_rate: u32,
}

/// Beside the curve, something refuses everything from here on, where the curve would let connections in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherCap {
    /// Connections held.
    pub at: u32,
    /// Connections refused there.
    pub refused: u64,
}

/// A server that draws.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CurveFit {
    /// `start`.
    pub start: Estimate,
    /// `rate`, per cent.
    pub rate: Estimate,
    /// `full`; where there is a cap, what the slope below it leads to.
    pub full: Estimate,
    /// What refuses everything before that.
    pub cap: Option<OtherCap>,
    /// The answers are so far from the most likely curve that a server that draws by any would give them once in ten thousand.
    pub misfit: bool,
}

impl CurveFit {
    /// The most likely setting.
    #[must_use]
    pub fn setting(&self) -> MaxStartups {
        MaxStartups {
            start: self.start.value,
            rate: self.rate.value,
            full: self.full.value,
        }
    }
}

/// What the answers say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Finding {
    /// There are none.
    Nothing,
    /// Nobody was refused, with so many held in the end.
    NoLimit {
        /// Connections held at most.
        held: u32,
    },
    /// Connections were refused while none was held: somebody else holds the slots, or something else refuses.
    RefusedIdle {
        /// Tries with none held.
        tries: u64,
        /// Of them refused.
        refused: u64,
    },
    /// Admitted up to a number, refused from there on.
    HardLimit(HardLimit),
    /// Admitted, drawn, refused.
    Curve(CurveFit),
}

/// ln of the likelihood ratio at which `rate` leaves its interval: half the 97 % quantile of χ² with one degree of freedom, with which
/// simulated probes of eight settings hold the truth in 95 % of 480; by the 95 % quantile in 91 %.
const BY_WILKS: f64 = 2.354_6;
/// The same for `start` and `full`: ln 20, an event of 5 %.
const BY_CHANCE: f64 = 2.995_732;
/// Candidates this much less likely than the best are looked at no further; more than either threshold, since the rate follows.
const FAR: f64 = 9.0;
/// How much more likely the answers must be with a cap than without: a number more is free to be chosen, and where.
const CAP: f64 = 7.0;
/// Refusals at the last number held without which no cap is looked for.
const CAP_TRIES: u64 = 20;
/// Neighbouring candidates for `full` that are all looked at; beyond them steps grow.
const NEAR: u32 = 48;
/// The largest `full` that is looked for, beyond the last admission.
const FARTHEST: u32 = 100_000;

/// Reads the answers of all climbs together.
#[must_use]
pub fn fit(answers: &Answers) -> Finding {
    let answers: Answers = answers
        .iter()
        .filter(|(_, seen)| seen.trials > 0)
        .map(|(level, seen)| (*level, *seen))
        .collect();
    let Some((highest, at_highest)) = answers.iter().next_back() else {
        return Finding::Nothing;
    };
    let Some(first_refused) = first_refused(&answers) else {
        return Finding::NoLimit { held: highest + 1 };
    };
    if first_refused == 0 {
        let idle = answers[&0];
        return Finding::RefusedIdle {
            tries: idle.trials,
            refused: idle.refused,
        };
    }
    let last_admitted = last_admitted(&answers);
    if last_admitted.is_none_or(|last| last < first_refused) {
        let refused = at_highest.refused;
        return Finding::HardLimit(HardLimit {
            at: first_refused,
            refused,
            least_rate: least_rate(refused),
        });
    }
    let Some(whole) = curve(&answers) else {
        return Finding::Nothing;
    };
    let shut = at_highest.trials == at_highest.refused && at_highest.refused >= CAP_TRIES;
    if shut {
        let mut below = answers.clone();
        below.remove(highest);
        // Without draws below it, it is the end of the curve.
        if let Some(beside) = curve(&below)
            && beside.likelihood > whole.likelihood + CAP
        {
            let cap = OtherCap {
                at: *highest,
                refused: at_highest.refused,
            };
            return Finding::Curve(beside.told(&below, Some(cap)));
        }
    }
    Finding::Curve(whole.told(&answers, None))
}

/// The rate whose refusals come in a row of so many once in twenty times.
fn least_rate(refused: u64) -> u32 {
    let share = (-BY_CHANCE / number(refused)).exp();
    (1..=100)
        .find(|percent| f64::from(*percent) / 100.0 >= share)
        .unwrap_or(100)
}

fn first_refused(answers: &Answers) -> Option<u32> {
    let refused = answers.iter().find(|(_, seen)| seen.refused > 0);
    refused.map(|(level, _)| *level)
}

fn last_admitted(answers: &Answers) -> Option<u32> {
    let admitted = answers
        .iter()
        .rev()
        .find(|(_, seen)| seen.refused < seen.trials);
    admitted.map(|(level, _)| *level)
}

/// The best of all curves, and the intervals.
struct Profiles {
    start: Estimate,
    rate: Estimate,
    full: Estimate,
    likelihood: f64,
}

impl Profiles {
    fn told(self, answers: &Answers, cap: Option<OtherCap>) -> CurveFit {
        let mut told = CurveFit {
            start: self.start,
            rate: self.rate,
            full: self.full,
            cap,
            misfit: false,
        };
        let judged = of_held(Admission::new(told.setting()), answers);
        told.misfit = judged.verdict == CurveVerdict::Differs;
        told
    }
}

/// One pair of ends, with the rate under which the answers are most likely.
#[derive(Clone, Copy)]
struct Pair {
    start: u32,
    full: u32,
    rate: u32,
    likelihood: f64,
}

/// `None` where nothing was drawn: no refusal, or no admission at or beyond the first one.
fn curve(answers: &Answers) -> Option<Profiles> {
    let first_refused = first_refused(answers)?;
    let last_admitted = last_admitted(answers).filter(|last| *last >= first_refused)?;
    let likelihood = Likelihood::of(answers);
    let mut pairs: Vec<Pair> = Vec::new();
    let mut best = f64::NEG_INFINITY;
    // Below the first refusal sshd may have drawn and admitted, which gets less likely with every number; and so on.
    for start in (1..=first_refused).rev() {
        let mut of_start = f64::NEG_INFINITY;
        for full in fulls(last_admitted) {
            let pair = likelihood.best_rate(start, full);
            pairs.push(pair);
            of_start = of_start.max(pair.likelihood);
            if pair.likelihood < of_start - FAR {
                break;
            }
        }
        best = best.max(of_start);
        if of_start < best - FAR {
            break;
        }
    }
    let most =
        pairs
            .iter()
            .copied()
            .reduce(|most, pair| match pair.likelihood > most.likelihood {
                true => pair,
                false => most,
            })?;
    let (mut starts, mut by_full, mut rates) = (Vec::new(), BTreeMap::new(), Vec::new());
    for pair in &pairs {
        if pair.likelihood >= best - BY_CHANCE {
            starts.push(pair.start);
        }
        let of_full = by_full.entry(pair.full).or_insert(f64::NEG_INFINITY);
        *of_full = pair.likelihood.max(*of_full);
        if pair.likelihood >= best - BY_WILKS {
            rates.extend(likelihood.rates_within(pair, best - BY_WILKS));
        }
    }
    Some(Profiles {
        start: Estimate {
            value: most.start,
            low: starts.iter().copied().min().unwrap_or(most.start),
            high: Some(starts.iter().copied().max().unwrap_or(most.start)),
        },
        rate: Estimate {
            value: most.rate,
            low: rates.iter().copied().min().unwrap_or(most.rate),
            high: Some(rates.iter().copied().max().unwrap_or(most.rate)),
        },
        full: full_interval(&by_full, best, most.full),
        likelihood: best,
    })
}

/// Between two candidates that are not neighbours the interval reaches up to the one that is out.
fn full_interval(by_full: &BTreeMap<u32, f64>, best: f64, value: u32) -> Estimate {
    let is_in = |likelihood: &f64| *likelihood >= best - BY_CHANCE;
    let low = by_full.iter().find(|(_, at)| is_in(at));
    let last_in = by_full.iter().rev().find(|(_, at)| is_in(at));
    let last_in = last_in.map_or(value, |(full, _)| *full);
    let first_out = by_full.range(last_in + 1..).next();
    Estimate {
        value,
        low: low.map_or(value, |(full, _)| *full),
        high: first_out.map(|(full, _)| full - 1),
    }
}

/// Candidates for `full`: all near the last admission, and ever fewer beyond.
fn fulls(last_admitted: u32) -> impl Iterator<Item = u32> {
    let least = last_admitted + 1;
    let mut step = 1;
    std::iter::successors(Some(least), move |full| {
        if full - least >= NEAR {
            step = (full - least) / 12;
        }
        let next = full + step;
        (next - least <= FARTHEST).then_some(next)
    })
}

/// The answers, ready to be held against many settings.
struct Likelihood {
    /// Number held, refused, admitted.
    levels: Vec<(u32, f64, f64)>,
    /// ln of a percentage, by the percentage.
    ln: [f64; 101],
}

impl Likelihood {
    fn of(answers: &Answers) -> Self {
        let mut ln = [f64::NEG_INFINITY; 101];
        for (percent, of_percent) in (0_u32..).zip(&mut ln).skip(1) {
            *of_percent = (f64::from(percent) / 100.0).ln();
        }
        Likelihood {
            levels: answers
                .iter()
                .map(|(level, seen)| {
                    (
                        *level,
                        number(seen.refused),
                        number(seen.trials - seen.refused),
                    )
                })
                .collect(),
            ln,
        }
    }

    /// ln of the probability of the answers; below `start` and from `full` on they must be what they are.
    fn at(&self, start: u32, rate: u32, full: u32) -> f64 {
        let (span, rise) = (u64::from(full - start), u64::from(100 - rate));
        let from = self.levels.partition_point(|(level, _, _)| *level < start);
        let drawn = self.levels[from..]
            .iter()
            .take_while(|(level, _, _)| *level < full);
        let mut sum = 0.0;
        for (level, refused, admitted) in drawn {
            // sshd's arithmetic (`model::drop_probability_percent`), without what is decided already.
            let percent = rate as usize
                + usize::try_from(rise * u64::from(level - start) / span).unwrap_or(100);
            sum += refused * self.ln[percent];
            sum += admitted * self.ln[100 - percent];
        }
        sum
    }

    /// The likelihood has one maximum in the rate, but for what the truncation of sshd's arithmetic adds.
    fn best_rate(&self, start: u32, full: u32) -> Pair {
        let best_of = |rates: &mut dyn Iterator<Item = u32>| {
            rates
                .map(|rate| (self.at(start, rate, full), rate))
                .reduce(|best, at| if at.0 > best.0 { at } else { best })
                .unwrap_or((f64::NEG_INFINITY, 1))
        };
        let (_, near) = best_of(&mut (1..=99).step_by(7));
        let (likelihood, rate) = best_of(&mut (near.saturating_sub(6).max(1)..=(near + 6).min(99)));
        Pair {
            start,
            full,
            rate,
            likelihood,
        }
    }

    /// The rates at these ends that are likely enough: lowest and highest.
    fn rates_within(&self, pair: &Pair, least: f64) -> [u32; 2] {
        let Pair {
            start, rate, full, ..
        } = *pair;
        let is_in = |rate: &u32| self.at(start, *rate, full) >= least;
        let low = (1..rate).rev().take_while(is_in).last();
        let high = (rate + 1..=99).take_while(is_in).last();
        [low.unwrap_or(rate), high.unwrap_or(rate)]
    }
}
