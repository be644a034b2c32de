//! The versioned document of a sweep, and how it is made of a definition and the records that there are.
//!
//! Owns the shape that other programs read, and what a run that is missing means. A change that an older reader could misread raises
//! `SWEEP_SCHEMA_VERSION`.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::definition::{SWEEP_SCHEMA_VERSION, SweepDefinition};
use super::record::{RecordState, SweepRecord};
use super::words;
use sshchurn_core::analysis::summary::Spread;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::gate::{Selector, Verdict};
use sshchurn_core::ids::StrategyName;
use sshchurn_core::manifest::StandIn;
use sshchurn_core::sweep::{Job, RELEASE, Setting, Shard};

/// A sweep as far as it is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SweepReport {
    /// Version of this document.
    pub schema_version: u32,
    /// Name of the scenario.
    pub scenario: String,
    /// Where it came from: a path, or `built-in`.
    pub origin: String,
    /// The scenario that the points change, as TOML.
    pub effective_toml: String,
    /// The server asked for, by the words of the command line.
    pub server: String,
    /// What stood in for an OpenSSH server in any run.
    pub stand_in: Option<StandIn>,
    /// The keys that are varied, in the order in which they were given.
    pub keys: Vec<String>,
    /// Runs asked for of each point.
    pub repeats: u32,
    /// Whether the user stopped it.
    pub interrupted: bool,
    /// The part of the runs that was to be made here, `i/K`; `null` where it is all of them.
    pub shard: Option<String>,
    /// Runs that were to be made here.
    pub runs_asked: u32,
    /// Those of them that are over and not to be made again.
    pub runs_done: u32,
    /// Exit code, as a word: the most severe of what is said here. A threshold that does not hold in a run is not.
    pub exit: ExitCode,
    /// Exit code, as the number given to the operating system.
    pub exit_code: u8,
    /// What a reader has to know of the numbers: what is missing, what could not measure, what differs between the runs.
    pub notes: Vec<String>,
    /// The metrics that are shown.
    pub metrics: Vec<MetricColumn>,
    /// The points in the order of their numbers.
    pub points: Vec<PointReport>,
}

/// A metric that is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricColumn {
    /// `[phase.]metric[.aggregate]`.
    pub metric: String,
    /// The only strategy that it is shown of; `null` where it is every one.
    pub strategy: Option<StrategyName>,
    /// The unit of its values in this document: `count`, `per_task`, `per_s` or `ns`.
    pub unit: String,
    /// What it means.
    pub description: String,
}

/// One point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PointReport {
    /// Its number, from 1.
    pub point: u32,
    /// What it changes.
    pub settings: Vec<Setting>,
    /// Its runs in the order of their repeats.
    pub runs: Vec<RunCell>,
    /// Its strategies in the order of the scenario.
    pub strategies: Vec<PointStrategy>,
}

/// How far a run got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// There is a report.
    Ran,
    /// It could not be made; `error` says why.
    Failed,
    /// It is missing.
    Missing,
    /// It belongs to another shard, and is not here.
    OtherShard,
}

/// One run of a point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunCell {
    /// Which repeat, from 1.
    pub repeat: u32,
    /// How far it got.
    pub state: RunState,
    /// The seed that it ran with; `null` unless it was tried.
    pub seed: Option<u64>,
    /// When it began, RFC 3339, UTC.
    pub started_at: Option<String>,
    /// From its order to its report, nanoseconds.
    pub took_ns: Option<u64>,
    /// What served it.
    pub server: Option<String>,
    /// Its verdict.
    pub verdict: Option<Verdict>,
    /// Its own exit code, as a number; 3 is a run that could not measure, 4 one whose server or machine failed.
    pub exit_code: Option<u8>,
    /// Every reason against a pass, strongest first.
    pub reasons: Vec<String>,
    /// Why it could not be made.
    pub error: Option<String>,
}

impl RunCell {
    /// It has numbers, and they are not to be relied on: it says itself that it could not measure, or its server failed in it.
    #[must_use]
    pub fn could_not_measure(&self) -> bool {
        let failed = [ExitCode::Inconclusive, ExitCode::Environment].map(|exit| Some(exit.code()));
        self.state == RunState::Ran && failed.contains(&self.exit_code)
    }
}

/// One strategy at one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PointStrategy {
    /// Its name.
    pub strategy: StrategyName,
    /// The metrics that are shown of it, in the order of `metrics`.
    pub values: Vec<PointValue>,
}

/// One metric of one strategy at one point.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PointValue {
    /// `[phase.]metric[.aggregate]`.
    pub metric: String,
    /// The value of each repeat; `null` is no data.
    pub values: Vec<Option<f64>>,
    /// Smallest, median and largest of those that have data; `null` where none has.
    pub spread: Option<Spread>,
    /// Why each repeat that has no data has none; `null` where it has.
    pub missing: Vec<Option<String>>,
    /// Whether a run behind it could not measure (exit codes 3 and 4).
    pub doubtful: bool,
}

/// What a report is made of besides its definition.
#[derive(Debug, Default)]
pub struct Sources {
    /// The records that there are.
    pub records: Vec<SweepRecord>,
    /// Whether the user stopped the sweep.
    pub interrupted: bool,
    /// What was met while the records were read.
    pub notes: Vec<String>,
}

impl SweepReport {
    /// Puts records together. Those of other shards are shown where they are there; what is missing counts for `shard` only.
    #[must_use]
    pub fn new(
        definition: &SweepDefinition,
        shard: Shard,
        metrics: &[Selector],
        sources: Sources,
    ) -> Self {
        let Sources {
            records,
            interrupted,
            notes: met,
        } = sources;
        let records: BTreeMap<Job, SweepRecord> = records
            .into_iter()
            .map(|record| (record.job(), record))
            .collect();
        let asked: BTreeSet<Job> = definition.jobs(shard).into_iter().collect();
        let points = (1..)
            .zip(&definition.points)
            .map(|(point, defined)| {
                let jobs = || (1..=definition.repeats).map(move |repeat| Job { point, repeat });
                let runs: Vec<RunCell> = jobs()
                    .map(|job| run_cell(job, records.get(&job), asked.contains(&job)))
                    .collect();
                let values = |strategy: &StrategyName, selector: &Selector| {
                    let of_runs: Vec<Result<f64, String>> = jobs()
                        .zip(&runs)
                        .map(|(job, run)| match records.get(&job) {
                            Some(record) => record.value(strategy, selector),
                            None if run.state == RunState::OtherShard => {
                                Err("it is another shard's run".to_owned())
                            }
                            None => Err("it was not run".to_owned()),
                        })
                        .collect();
                    point_value(
                        selector,
                        of_runs,
                        runs.iter().any(RunCell::could_not_measure),
                    )
                };
                let of_strategy = |strategy: &StrategyName| PointStrategy {
                    strategy: strategy.clone(),
                    values: metrics
                        .iter()
                        .filter(|it| it.strategy.as_ref().is_none_or(|only| only == strategy))
                        .map(|selector| values(strategy, selector))
                        .collect(),
                };
                PointReport {
                    point,
                    settings: defined.settings.clone(),
                    strategies: defined.strategies.iter().map(of_strategy).collect(),
                    runs,
                }
            })
            .collect();
        let done = |job: &&Job| records.get(job).is_some_and(SweepRecord::is_done);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let own = || asked.iter().filter_map(|job| records.get(job));
        let exit = own()
            .map(|record| match record.exit {
                ExitCode::Success | ExitCode::GateFailed => ExitCode::Success,
                ExitCode::Usage if record.state == RecordState::Failed => ExitCode::Environment,
                other => other,
            })
            .chain(
                asked
                    .iter()
                    .any(|job| !records.contains_key(job))
                    .then_some(ExitCode::Inconclusive),
            )
            .chain(interrupted.then_some(ExitCode::Interrupted))
            .max_by_key(|exit| exit.severity())
            .unwrap_or(ExitCode::Success);
        let mut report = SweepReport {
            schema_version: SWEEP_SCHEMA_VERSION,
            scenario: definition.scenario.clone(),
            origin: definition.origin.clone(),
            effective_toml: definition.effective_toml.clone(),
            server: definition.server.words(),
            stand_in: records.values().find_map(|record| record.stand_in),
            keys: definition.keys(),
            repeats: definition.repeats,
            interrupted,
            shard: (shard != Shard::WHOLE).then(|| shard.to_string()),
            runs_asked: count(asked.len()),
            runs_done: count(asked.iter().filter(done).count()),
            exit,
            exit_code: exit.code(),
            notes: Vec::new(),
            metrics: metrics.iter().map(MetricColumn::of).collect(),
            points,
        };
        report.notes = words::notes(&report);
        report.notes.extend(unlike(&records, &report.keys));
        report.notes.extend(met);
        report
    }
}

impl MetricColumn {
    fn of(selector: &Selector) -> Self {
        MetricColumn {
            metric: selector.column(),
            strategy: selector.strategy.clone(),
            unit: words::unit(selector.metric.unit).to_owned(),
            description: selector.metric.description.to_owned(),
        }
    }
}

fn run_cell(job: Job, record: Option<&SweepRecord>, asked: bool) -> RunCell {
    let state = match record.map(|record| record.state) {
        Some(RecordState::Ran) => RunState::Ran,
        Some(RecordState::Failed) => RunState::Failed,
        None if asked => RunState::Missing,
        None => RunState::OtherShard,
    };
    RunCell {
        repeat: job.repeat,
        state,
        seed: record.map(|record| record.seed),
        started_at: record.and_then(|record| record.started_at.clone()),
        took_ns: record.map(|record| record.took_ns),
        server: record.and_then(|record| record.server.clone()),
        verdict: record.and_then(|record| record.verdict),
        exit_code: record.map(|record| record.exit_code),
        reasons: record.map_or_else(Vec::new, |record| record.reasons.clone()),
        error: record.and_then(|record| record.error.clone()),
    }
}

fn point_value(
    selector: &Selector,
    of_runs: Vec<Result<f64, String>>,
    doubtful: bool,
) -> PointValue {
    let values: Vec<Option<f64>> = of_runs
        .iter()
        .map(|value| value.as_ref().ok().copied())
        .collect();
    PointValue {
        metric: selector.column(),
        spread: Spread::of(values.iter().flatten().copied().collect()),
        doubtful: doubtful && values.iter().any(Option::is_some),
        values,
        missing: of_runs.into_iter().map(Result::err).collect(),
    }
}

/// What should be the same in all runs and is not.
fn unlike(records: &BTreeMap<Job, SweepRecord>, keys: &[String]) -> Vec<String> {
    let several = |what: &str, of: &dyn Fn(&SweepRecord) -> Option<String>| {
        let found: BTreeSet<String> = records.values().filter_map(of).collect();
        let found: Vec<String> = found.into_iter().collect();
        (found.len() > 1)
            .then(|| format!("The runs are of different {what}: {}.", found.join("; ")))
    };
    let varied = keys.iter().any(|key| key == RELEASE);
    [
        several("servers", &|record| record.server.clone()).filter(|_| !varied),
        several("machines", &|record| record.machine.clone()),
        several("versions of sshchurn", &|record| {
            Some(record.tool_version.clone())
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
