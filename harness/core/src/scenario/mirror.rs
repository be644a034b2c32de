//! The mirror of a scenario file: what its schema is generated from, and how a scenario is written.
//!
//! Owns the form only; `file` reads it, and does not need this.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::client::Per;
use super::config::{
    ArrivalShape, HoldUntil, Scenario, SlowAuthShape, StrategyConfig, StrategyKind,
};
use super::units::format_duration;

impl Scenario {
    /// The scenario as TOML that reads back as the same scenario.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Serializing plain structs of numbers and strings cannot fail.
        let mut file = toml::Table::try_from(ScenarioFile::from(self)).unwrap_or_default();
        let written = file
            .get_mut("strategy")
            .and_then(toml::Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_table_mut);
        for (table, strategy) in written.zip(&self.strategies) {
            table.extend(strategy.tunables.written(strategy.kind));
        }
        toml::to_string_pretty(&file).unwrap_or_default()
    }
}

/// A scenario file.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "sshchurn scenario")]
pub(super) struct ScenarioFile {
    /// Name: letters, digits, `-` and `_`.
    name: String,
    /// One sentence for lists and reports.
    #[schemars(default)]
    description: String,
    /// Tasks per round, 100,000 at most on a real server. `recorded` arrivals have their number already.
    #[schemars(range(min = 1, max = 10_000_000), default)]
    tasks: u32,
    /// Rounds of each strategy. Default 1.
    #[schemars(default, range(min = 1, max = 1000))]
    rounds: u32,
    /// Seed of every random draw of the client. Default 1.
    #[schemars(default, range(min = 0, max = 9_223_372_036_854_775_807_i64))]
    seed: u64,
    /// Factor on every wait (job duration, arrival, poll interval, retry and backoff waits, keepalive), not on
    /// deadlines. Above 0, at most 10. Default 1.
    #[schemars(default)]
    time_scale: f64,
    /// Bound on the whole run, not scaled. Default `10m`.
    #[schemars(default)]
    max_duration: String,
    /// When tasks begin. Default: all at once.
    #[schemars(default)]
    arrival: ArrivalFile,
    /// What each task runs.
    #[schemars(default)]
    job: JobFile,
    /// Silent clients that hold startup slots beside the tasks of every round. Default: none.
    #[schemars(default, with = "HoldersFile")]
    #[serde(skip_serializing_if = "Option::is_none")]
    holders: Option<HoldersFile>,
    /// The strategies to compare.
    strategy: Vec<StrategyFile>,
    /// The server under test.
    sshd: SshdFile,
    /// Thresholds the run is judged by.
    #[schemars(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gate: Vec<GateFile>,
    /// What a demonstration is expected to show. Said to be met or not; decides nothing.
    #[schemars(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    expectation: Vec<GateFile>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ShapeFile {
    #[default]
    Burst,
    Ramp,
    Poisson,
    Batches,
    Recorded,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ArrivalFile {
    /// The pattern of intended starts.
    shape: ShapeFile,
    /// `ramp`: from the first start to the last, such as `30s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    over: Option<String>,
    /// `poisson`: mean arrivals per second.
    #[schemars(range(min = 0.000_001))]
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_per_s: Option<f64>,
    /// `batches`: tasks that begin at the same instant.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    /// `batches`: from one batch to the next, such as `5s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    every: Option<String>,
    /// `recorded`: the start of each task in milliseconds, in order. `tasks` follows from their number.
    #[schemars(
        length(min = 1, max = 100_000),
        inner(range(min = 0, max = 604_800_000))
    )]
    #[serde(skip_serializing_if = "Option::is_none")]
    offsets_ms: Option<Vec<u64>>,
    /// `recorded`: the step of the clock that recorded them. Each start is drawn uniformly from the step that begins at its offset,
    /// by the seed, anew in each round. Default `0ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    resolution: Option<String>,
    /// At most this many tasks at once. Default: any number.
    #[schemars(range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u32>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HoldersFile {
    /// How many; they connect one after the other before any task begins.
    #[schemars(range(min = 1, max = 10_000))]
    count: u32,
    /// When they leave: with the last task (`round_end`), or when `LoginGraceTime` ends them (`grace_time`). Default
    /// `round_end`.
    #[schemars(default, with = "HoldUntil")]
    until: Option<HoldUntil>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(default)]
struct JobFile {
    /// How long it runs. Default `5s`.
    duration: String,
    /// Lines it writes to its log, spread over its duration. Default 10.
    #[schemars(range(min = 0, max = 1_000_000))]
    log_lines: u32,
    /// Bytes it writes in all: a number, or a string with a unit (`64KiB`). Default 100 for each line.
    #[schemars(with = "BytesFile")]
    log_bytes: u64,
    /// Its exit code. Default 0.
    exit_code: u8,
    /// Share of tasks killed before the job completes, 0 to 1. Default 0.
    killed_share: f64,
}

/// A number of bytes, or a string with a unit.
struct BytesFile;

impl JsonSchema for BytesFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["integer", "string"], "minimum": 0, "maximum": 1_073_741_824 })
    }
}

/// One strategy. Its tunables are written by `tunables`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StrategyFile {
    /// Which connection strategy.
    kind: StrategyKind,
    /// Name in reports and thresholds. Default: the kind's.
    #[schemars(default)]
    name: String,
    /// command only, and needed there: the program and its arguments, with placeholders such as `{host}` and `{port}`.
    #[schemars(default, with = "Vec<String>")]
    #[serde(skip_serializing_if = "Option::is_none")]
    argv: Option<Vec<String>>,
    /// command only: started once for every task, or once for all tasks of a round. Default `task`.
    #[schemars(default, with = "Per")]
    #[serde(skip_serializing_if = "Option::is_none")]
    per: Option<Per>,
    /// command only: its working folder, counted from the scenario's file. Default: that file's folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    working_folder: Option<String>,
    /// command only: variables of its environment, with placeholders.
    #[schemars(default, with = "BTreeMap<String, OptionFile>")]
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    env: toml::Table,
    /// command only: its standard input, with placeholders. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    stdin: Option<String>,
    /// command only: how long it may take. Default `60s`.
    #[schemars(default, with = "String")]
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    /// command only: it says on descriptor `SSHCHURN_READY_FD` that it is ready, and waits on `SSHCHURN_GO_FD`. Default
    /// false.
    #[schemars(default, with = "bool")]
    #[serde(skip_serializing_if = "Option::is_none")]
    waits_for_go: Option<bool>,
    /// command only: processes that outlive it (ControlMaster, ControlPersist) do not fail its task. Default false.
    #[schemars(default, with = "bool")]
    #[serde(skip_serializing_if = "Option::is_none")]
    lingers: Option<bool>,
    /// command only: most processes and threads at once. Default 512.
    #[schemars(default, with = "u32", range(min = 1, max = 100_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_processes: Option<u32>,
    /// command only: most memory. Default: no limit.
    #[schemars(default, with = "BytesFile")]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_memory: Option<u64>,
    /// command only: what it must not leave on the server, a folder and a name with `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    leftovers: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SshdFile {
    /// `start:rate:full`, three numbers.
    max_startups: String,
    /// Oldest OpenSSH release the scenario says something about, such as `9.8`. Default: any.
    #[schemars(regex(pattern = r"^[0-9]+\.[0-9]+$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    min_release: Option<String>,
    /// Debian packages that the server's machine must have: a container gets them, `local` and `embedded` look for them.
    #[schemars(default, inner(regex(pattern = r"^[a-z0-9][a-z0-9+.-]+$")))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    packages: Vec<String>,
    /// Login shell of the jobs' user, such as `/bin/bash`. Default: the one that it has.
    #[schemars(regex(pattern = r"^/[A-Za-z0-9/._+-]*[A-Za-z0-9._+-]$"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    login_shell: Option<String>,
    /// How long sshd looks for the keys of each login, with its startup slot held, as with a slow directory service. Default:
    /// no time at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_auth: Option<String>,
    /// How that varies between logins. Default `fixed`.
    #[schemars(default, with = "SlowAuthShape")]
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_auth_shape: Option<SlowAuthShape>,
    /// Whether the clients have the first half of the CPUs for themselves, and the server the others. Default: they share them.
    #[schemars(default)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    separate_cores: bool,
    /// Further sshd_config keywords.
    #[schemars(default, with = "BTreeMap<String, OptionFile>")]
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    options: toml::Table,
    /// Keywords for monitoring connections only, which then come from 127.0.0.2 (`Match Address`).
    #[schemars(default, with = "BTreeMap<String, OptionFile>")]
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    monitoring_options: toml::Table,
}

/// A string, a whole number or a boolean (`yes`/`no`), or a list of these for a keyword whose lines sshd adds up.
struct OptionFile;

impl JsonSchema for OptionFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SshdOption".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "integer", "boolean", "array"],
            "items": { "type": ["string", "integer", "boolean"] },
            "minItems": 1
        })
    }
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GateFile {
    /// `[strategy.][phase.]metric[.aggregate] op value`.
    threshold: String,
}

impl From<&Scenario> for ScenarioFile {
    fn from(scenario: &Scenario) -> Self {
        let mut arrival = ArrivalFile {
            max_in_flight: scenario.arrival.max_in_flight,
            ..ArrivalFile::default()
        };
        match &scenario.arrival.shape {
            ArrivalShape::Burst => {}
            ArrivalShape::Ramp { over } => {
                arrival.shape = ShapeFile::Ramp;
                arrival.over = Some(format_duration(*over));
            }
            ArrivalShape::Poisson { rate_per_s } => {
                arrival.shape = ShapeFile::Poisson;
                arrival.rate_per_s = Some(*rate_per_s);
            }
            ArrivalShape::Batches { size, every } => {
                arrival.shape = ShapeFile::Batches;
                arrival.size = Some(*size);
                arrival.every = Some(format_duration(*every));
            }
            ArrivalShape::Recorded {
                offsets,
                resolution,
            } => {
                arrival.shape = ShapeFile::Recorded;
                arrival.offsets_ms = Some(offsets.iter().map(whole_ms).collect());
                arrival.resolution = Some(format_duration(*resolution));
            }
        }
        ScenarioFile {
            name: scenario.name.clone(),
            description: scenario.description.clone(),
            tasks: scenario.tasks,
            rounds: scenario.rounds,
            seed: scenario.seed,
            time_scale: scenario.time_scale,
            max_duration: format_duration(scenario.max_duration),
            arrival,
            job: JobFile {
                duration: format_duration(scenario.job.duration),
                log_lines: scenario.job.log_lines,
                log_bytes: scenario.job.log_bytes,
                exit_code: scenario.job.exit_code,
                killed_share: scenario.job.killed_share,
            },
            holders: scenario.holders.map(|holders| HoldersFile {
                count: holders.count,
                until: Some(holders.until),
            }),
            strategy: scenario.strategies.iter().map(StrategyFile::from).collect(),
            sshd: SshdFile {
                max_startups: scenario.sshd.max_startups.to_string(),
                min_release: scenario.sshd.min_release.map(|release| release.to_string()),
                packages: scenario
                    .sshd
                    .packages
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                login_shell: scenario.sshd.login_shell.as_ref().map(ToString::to_string),
                slow_auth: scenario
                    .sshd
                    .slow_auth
                    .map(|slow| format_duration(slow.mean)),
                slow_auth_shape: scenario.sshd.slow_auth.map(|slow| slow.shape),
                separate_cores: scenario.sshd.separate_cores,
                options: keyword_table(&scenario.sshd.keywords),
                monitoring_options: keyword_table(&scenario.sshd.monitoring_keywords),
            },
            gate: threshold_tables(&scenario.gate),
            expectation: threshold_tables(&scenario.expectations),
        }
    }
}

/// A recording has whole milliseconds.
fn whole_ms(offset: &Duration) -> u64 {
    u64::try_from(offset.as_millis()).unwrap_or(u64::MAX)
}

fn threshold_tables(thresholds: &[String]) -> Vec<GateFile> {
    thresholds
        .iter()
        .map(|threshold| GateFile {
            threshold: threshold.clone(),
        })
        .collect()
}

/// Several lines of a keyword are a list under its first spelling.
fn keyword_table(keywords: &[(String, String)]) -> toml::Table {
    let mut table = toml::Table::new();
    for (keyword, value) in keywords {
        let value = toml::Value::String(value.clone());
        let same = |present: &&String| present.eq_ignore_ascii_case(keyword);
        match table.keys().find(same).cloned() {
            None => {
                table.insert(keyword.clone(), value);
            }
            Some(present) => match table.get_mut(&present) {
                Some(toml::Value::Array(values)) => values.push(value),
                Some(first) => *first = toml::Value::Array(vec![first.clone(), value]),
                None => {}
            },
        }
    }
    table
}

fn option_table(keywords: &[(String, String)]) -> toml::Table {
    keywords
        .iter()
        .map(|(keyword, value)| (keyword.clone(), toml::Value::String(value.clone())))
        .collect()
}

impl From<&StrategyConfig> for StrategyFile {
    fn from(strategy: &StrategyConfig) -> Self {
        let program = strategy.program.as_ref();
        StrategyFile {
            kind: strategy.kind,
            name: strategy.name.0.clone(),
            argv: program.map(|program| program.argv.clone()),
            per: program.map(|program| program.per),
            working_folder: program.and_then(|program| program.working_folder.clone()),
            env: program.map_or_else(toml::Table::new, |program| {
                option_table(&program.environment)
            }),
            stdin: program.and_then(|program| program.stdin.clone()),
            timeout: program.map(|program| format_duration(program.timeout)),
            waits_for_go: program.map(|program| program.waits_for_go),
            lingers: program.map(|program| program.lingers),
            max_processes: program.map(|program| program.max_processes),
            max_memory: program.and_then(|program| program.max_memory),
            leftovers: program.and_then(|program| program.leftovers.clone()),
        }
    }
}
