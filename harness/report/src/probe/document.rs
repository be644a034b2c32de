//! The versioned document.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::story;
use crate::json::pretty;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::model::drop_probability_percent;
use sshchurn_core::probing::{ClimbEnd, CurveFit, End, Estimate, Finding, Met, Prober};
use sshchurn_core::quantity::nanoseconds;
use sshchurn_core::release::Release;

/// Version of the document.
pub const PROBE_SCHEMA_VERSION: u32 = 1;

/// How the in-process stand-in introduces itself.
const STAND_IN: &str = "sshchurn_embedded";

/// Everything that is known when a probe is over.
#[derive(Debug, Clone, Copy)]
pub struct ProbeFacts<'a> {
    /// The server.
    pub address: SocketAddr,
    /// The plan at its end, with every answer.
    pub prober: &'a Prober,
    /// What else was met.
    pub met: &'a Met,
    /// The server's identification, where it was learnt before the first climb.
    pub identification: Option<&'a str>,
    /// The other source address that there was to try from.
    pub elsewhere: Option<IpAddr>,
    /// The most connections that this client may hold, where that is its own limit of open files.
    pub own_limit: Option<u32>,
    /// What was said before, each a full sentence.
    pub warnings: &'a [String],
}

impl ProbeFacts<'_> {
    /// The server's identification, whoever learnt it.
    pub(super) fn introduced_as(&self) -> Option<&str> {
        self.identification.or(self.met.identification.as_deref())
    }

    /// Its release; `None` where it does not say so, or is no OpenSSH.
    pub(super) fn release(&self) -> Option<Release> {
        self.introduced_as().and_then(Release::find)
    }

    /// It is the stand-in.
    pub(super) fn is_stand_in(&self) -> bool {
        self.introduced_as()
            .is_some_and(|line| line.contains(STAND_IN))
    }

    /// It says that it is another program, which has no `MaxStartups`.
    pub(super) fn is_other_server(&self) -> bool {
        self.introduced_as()
            .is_some_and(|line| !line.contains("OpenSSH") && !line.contains(STAND_IN))
    }
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeKind {
    /// A server that draws: `start`, `rate` and `full`.
    MaxStartups,
    /// Everything is admitted below a number of held connections, and everything is refused from there on.
    HardLimit,
    /// Nobody was refused.
    NoLimit,
    /// Connections were refused while none was held.
    RefusedIdle,
    /// The answers fit no `MaxStartups`.
    NoRuleFits,
    /// There are no answers that count.
    Nothing,
}

/// A number with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EstimateReport {
    /// The most likely value.
    pub value: u32,
    /// Lower end.
    pub low: u32,
    /// Upper end; `null` where the answers set none.
    pub high: Option<u32>,
}

impl From<Estimate> for EstimateReport {
    fn from(Estimate { value, low, high }: Estimate) -> Self {
        EstimateReport { value, low, high }
    }
}

/// A number of held connections from which on everything is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HardLimitReport {
    /// Connections held.
    pub held: u32,
    /// Connections refused there.
    pub refused: u64,
    /// The smallest rate, per cent, that so many refusals in a row leave possible (95 %).
    pub least_rate_percent: u32,
}

/// A limit that refuses everything where the curve would let connections in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OtherLimitReport {
    /// Connections held.
    pub held: u32,
    /// Connections refused there.
    pub refused: u64,
}

/// Connections from another source address, made while everything was refused from ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ElsewhereReport {
    /// The other address.
    pub source: IpAddr,
    /// Connections held from ours.
    pub held: u32,
    /// Connections from the other one.
    pub tries: u64,
    /// Of them refused.
    pub refused: u64,
}

/// Decisions at one number of held connections, over all climbs that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LevelReport {
    /// Connections held.
    pub held: u32,
    /// Connections tried.
    pub tries: u64,
    /// Of them refused.
    pub refused: u64,
    /// What the most likely setting refuses there, per cent; `null` without one.
    pub fitted_percent: Option<u32>,
}

/// One climb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClimbReport {
    /// The most connections that were held.
    pub held: u32,
    /// Connections tried.
    pub tries: u64,
    /// Of them refused.
    pub refused: u64,
    /// How it ended: `shut` (everything was refused), `far_enough`, `most_held`, `stopped`, `lost` (the server ended a held
    /// connection) or `failed`.
    pub end: String,
    /// Whether its answers count.
    pub counts: bool,
}

/// What a probe found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeReport {
    /// Version of this document.
    pub schema_version: u32,
    /// The server's address.
    pub server: String,
    /// Its identification string; `null` where it sent none.
    pub identification: Option<String>,
    /// Whether it was the embedded stand-in and not OpenSSH.
    pub embedded_stand_in: bool,
    /// The answer, for a person.
    pub answer: Vec<String>,
    /// What limits it, each a full sentence.
    pub notes: Vec<String>,
    /// What was found.
    pub kind: ProbeKind,
    /// The most likely setting, `start:rate:full`; `null` unless all three can be seen.
    pub max_startups: Option<String>,
    /// `start`; `null` where it cannot be seen.
    pub start: Option<EstimateReport>,
    /// `rate`, per cent; `null` where it cannot be seen.
    pub rate_percent: Option<EstimateReport>,
    /// `full`; `null` where it cannot be seen.
    pub full: Option<EstimateReport>,
    /// A hard limit; `null` without one.
    pub hard_limit: Option<HardLimitReport>,
    /// What ends the curve before `full`; `null` where nothing does.
    pub other_limit: Option<OtherLimitReport>,
    /// What another source address met; `null` where none was tried.
    pub elsewhere: Option<ElsewhereReport>,
    /// Decisions by the number of held connections.
    pub levels: Vec<LevelReport>,
    /// The climbs.
    pub climbs: Vec<ClimbReport>,
    /// Refusals by what the server said in place of its identification string; empty where it said nothing.
    pub refusal_texts: BTreeMap<String, u64>,
    /// Connections begun.
    pub connections: u32,
    /// The quickest TCP connect.
    pub round_trip_ns: Option<u64>,
    /// From the first connection to the last one's end.
    pub took_ns: u64,
    /// Why it ended: `told`, `refused_idle`, `most_held`, `connections`, `one_climb`, `cut_short`, `time`, `interrupted` or
    /// `failed`.
    pub end: String,
    /// Exit code, as a word.
    pub exit: ExitCode,
}

/// Puts the document together.
#[must_use]
pub fn report(facts: &ProbeFacts<'_>) -> ProbeReport {
    let ProbeFacts { prober, met, .. } = facts;
    let finding = prober.finding();
    let curve = match &finding {
        Finding::Curve(curve) => Some(*curve),
        _ => None,
    };
    let fits = curve.filter(|curve| !curve.misfit);
    let sees_full = fits.filter(|curve| curve.cap.is_none());
    let end = prober.end().unwrap_or(End::Failed);
    ProbeReport {
        schema_version: PROBE_SCHEMA_VERSION,
        server: facts.address.to_string(),
        identification: facts.introduced_as().map(str::to_owned),
        embedded_stand_in: facts.is_stand_in(),
        answer: story::answer(facts, &finding),
        notes: story::notes(facts, &finding),
        kind: match &finding {
            Finding::Curve(curve) if curve.misfit => ProbeKind::NoRuleFits,
            Finding::Curve(_) => ProbeKind::MaxStartups,
            Finding::HardLimit(_) => ProbeKind::HardLimit,
            Finding::NoLimit { .. } => ProbeKind::NoLimit,
            Finding::RefusedIdle { .. } => ProbeKind::RefusedIdle,
            Finding::Nothing => ProbeKind::Nothing,
        },
        max_startups: sees_full.map(|curve| curve.setting().to_string()),
        start: fits.map(|curve| curve.start.into()),
        rate_percent: fits.map(|curve| curve.rate.into()),
        full: sees_full.map(|curve| curve.full.into()),
        hard_limit: match &finding {
            Finding::HardLimit(limit) => Some(HardLimitReport {
                held: limit.at,
                refused: limit.refused,
                least_rate_percent: limit.least_rate,
            }),
            _ => None,
        },
        other_limit: fits
            .and_then(|curve| curve.cap)
            .map(|cap| OtherLimitReport {
                held: cap.at,
                refused: cap.refused,
            }),
        elsewhere: facts
            .elsewhere
            .zip(prober.from_elsewhere())
            .map(|(source, (held, seen))| ElsewhereReport {
                source,
                held,
                tries: seen.trials,
                refused: seen.refused,
            }),
        levels: levels(prober, curve),
        climbs: climbs(prober),
        refusal_texts: met.texts.clone(),
        connections: prober.begun(),
        round_trip_ns: met.round_trip.map(nanoseconds),
        took_ns: nanoseconds(met.took),
        end: word(end).to_owned(),
        exit: exit(facts, &finding, end),
    }
}

fn levels(prober: &Prober, curve: Option<CurveFit>) -> Vec<LevelReport> {
    let seen = prober.counted_answers().iter();
    seen.map(|(held, seen)| LevelReport {
        held: *held,
        tries: seen.trials,
        refused: seen.refused,
        fitted_percent: curve.map(|curve| match curve.cap {
            Some(cap) if *held >= cap.at => 100,
            _ => drop_probability_percent(*held, curve.setting()),
        }),
    })
    .collect()
}

fn climbs(prober: &Prober) -> Vec<ClimbReport> {
    let climbs = prober.climbs().iter();
    climbs
        .map(|climb| {
            let sum = |of: fn(&sshchurn_core::analysis::admission::Trials) -> u64| {
                climb.answers.values().map(of).sum()
            };
            ClimbReport {
                held: climb.most_held,
                tries: sum(|seen| seen.trials),
                refused: sum(|seen| seen.refused),
                end: match climb.end {
                    ClimbEnd::Shut => "shut",
                    ClimbEnd::FarEnough => "far_enough",
                    ClimbEnd::MostHeld => "most_held",
                    ClimbEnd::Stopped => "stopped",
                    ClimbEnd::Lost => "lost",
                    ClimbEnd::Failed => "failed",
                }
                .to_owned(),
                counts: !climb.discarded,
            }
        })
        .collect()
}

fn word(end: End) -> &'static str {
    match end {
        End::Told => "told",
        End::RefusedIdle => "refused_idle",
        End::MostHeld => "most_held",
        End::Connections => "connections",
        End::OneClimb => "one_climb",
        End::CutShort => "cut_short",
        End::Time => "time",
        End::Interrupted => "interrupted",
        End::Failed => "failed",
    }
}

/// How wide an interval may be for an answer: what is wider says too little.
const RATE_SAYS: u32 = 40;
const START_SAYS: u32 = 10;
const FULL_SAYS: u32 = 20;

/// Whether every number is known closely enough to be an answer.
pub(super) fn says_enough(curve: &CurveFit) -> bool {
    let within = |estimate: &Estimate, least: u32| {
        let most = (estimate.value / 2).max(least);
        estimate.width().is_some_and(|width| width <= most)
    };
    !curve.misfit
        && curve.rate.width().is_some_and(|width| width <= RATE_SAYS)
        && within(&curve.start, START_SAYS)
        && within(&curve.full, FULL_SAYS)
}

fn exit(facts: &ProbeFacts<'_>, finding: &Finding, end: End) -> ExitCode {
    let per_source = facts
        .prober
        .from_elsewhere()
        .is_some_and(|(_, seen)| seen.refused < seen.trials);
    // A limit that only we meet says nothing of the server's.
    let measured = match finding {
        Finding::Curve(curve) => says_enough(curve),
        Finding::HardLimit(_) => !per_source && !facts.is_other_server(),
        Finding::NoLimit { .. } | Finding::RefusedIdle { .. } | Finding::Nothing => false,
    };
    let answered = facts
        .prober
        .climbs()
        .iter()
        .any(|climb| !climb.answers.is_empty());
    match end {
        End::Interrupted => ExitCode::Interrupted,
        _ if measured => ExitCode::Success,
        End::Failed if !answered => ExitCode::Environment,
        _ => ExitCode::Inconclusive,
    }
}

/// The document as JSON: pretty, one final newline.
#[must_use]
pub fn json(report: &ProbeReport) -> String {
    pretty(report)
}
