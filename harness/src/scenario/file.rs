//! The strict TOML form of a scenario: the mirror of the file (for the schema and for writing), and its reading.
//!
//! A typing error must not change an experiment: unknown keys, wrong units and impossible values are errors, and all
//! of them are reported at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use toml::de::DeTable;

use super::config::{
    ArrivalConfig, ArrivalShape, JobConfig, MaxStartups, Scenario, SshdConfig, StrategyConfig,
    StrategyKind, Tunables,
};
use super::keywords;
use super::library;
use super::problem::ScenarioErrors;
use super::reader::{Problems, Table, nearest};
use super::units::format_duration;
use crate::ids::StrategyName;
use crate::ledger::CleanupPolicy;
use crate::release::Release;

const CLEANUP: [(&str, CleanupPolicy); 3] = [
    ("never", CleanupPolicy::Never),
    ("on_success", CleanupPolicy::OnSuccess),
    ("always", CleanupPolicy::Always),
];

/// Tunables that mean something only where a job is run.
const JOB_TUNABLES: [&str; 14] = [
    "cleanup",
    "conn_retry_attempts",
    "conn_retry_wait",
    "conn_retry_jitter",
    "cleanup_retries",
    "detect_timeout",
    "submit_timeout",
    "command_timeout",
    "cleanup_timeout",
    "max_reconnect_attempts",
    "command_attempts",
    "poll_interval",
    "log_chunk_size",
    "keepalive_interval",
];

impl Scenario {
    /// Reads a scenario from TOML text; `origin` names it in errors.
    ///
    /// # Errors
    /// Every problem of the text at once.
    pub fn parse(origin: &str, text: &str) -> Result<Scenario, ScenarioErrors> {
        let (table, syntax) = DeTable::parse_recoverable(text);
        let problems = Problems::default();
        for error in syntax {
            let span = error.span().unwrap_or(0..0);
            problems.add(span, format!("not TOML: {}", error.message()), None);
        }
        let scenario = read(Table::new(table.get_ref(), 0..0, "", &problems));
        let problems = problems.into_inner();
        match scenario {
            Some(scenario) if problems.is_empty() => Ok(scenario),
            _ => Err(ScenarioErrors::new(origin, text, problems)),
        }
    }

    /// Reads a scenario file.
    ///
    /// # Errors
    /// That it cannot be read, or every problem of its text at once.
    pub fn load(path: &Path) -> Result<Scenario, ScenarioErrors> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            ScenarioErrors::without_text(&origin, format!("cannot read {origin}: {error}"), None)
        })?;
        Scenario::parse(&origin, &text)
    }

    /// The scenario an argument names, and where it came from: a path that exists, else the name of a shipped one.
    ///
    /// # Errors
    /// That there is neither, with the nearest shipped name; or the problems of the file.
    pub fn resolve(argument: &str) -> Result<(Scenario, String), ScenarioErrors> {
        let path = Path::new(argument);
        if path.is_file() {
            return Ok((Scenario::load(path)?, argument.to_owned()));
        }
        if let Some(text) = library::text(argument) {
            return Ok((Scenario::parse(argument, text)?, "built-in".to_owned()));
        }
        let names = library::names();
        let help = match nearest(argument, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "the shipped scenarios are {}; or give the path of a file",
                names.join(", ")
            ),
        };
        Err(ScenarioErrors::without_text(
            argument,
            format!("`{argument}` is neither a file nor a shipped scenario"),
            Some(help),
        ))
    }

    /// The scenario as TOML that reads back as the same scenario.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // Serializing plain structs of numbers and strings cannot fail.
        let jobless: Vec<&str> = StrategyKind::ALL
            .into_iter()
            .filter(|kind| !kind.has_job())
            .map(StrategyKind::as_str)
            .collect();
        let mut file = toml::Table::try_from(ScenarioFile::from(self)).unwrap_or_default();
        for strategy in file
            .get_mut("strategy")
            .and_then(toml::Value::as_array_mut)
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_table_mut)
        {
            if strategy
                .get("kind")
                .and_then(toml::Value::as_str)
                .is_some_and(|kind| jobless.contains(&kind))
            {
                for key in JOB_TUNABLES {
                    strategy.remove(key);
                }
            }
        }
        toml::to_string_pretty(&file).unwrap_or_default()
    }
}

fn read(root: Table<'_, '_>) -> Option<Scenario> {
    let name = root
        .required("name", "name = \"my-scenario\"")
        .then(|| root.string("name"))
        .flatten();
    if let Some(name) = &name {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if name.is_empty() || name.len() > 60 || !name.chars().all(valid) {
            root.problem(
                "name",
                "letters, digits, `-` and `_` only, at most 60 of them",
                None,
            );
        }
    }
    let description = root.string("description").unwrap_or_default();
    root.required("tasks", "tasks = 120");
    let tasks = root.integer("tasks", 1..=100_000);
    let rounds = root.integer("rounds", 1..=1000).unwrap_or(1);
    let seed = root.integer("seed", 0..=i128::from(i64::MAX)).unwrap_or(1);
    let time_scale = root
        .number(
            "time_scale",
            |scale| scale > 0.0 && scale <= 10.0,
            "above 0 and at most 10",
        )
        .unwrap_or(1.0);
    let max_duration = root
        .positive_duration("max_duration")
        .unwrap_or(Duration::from_secs(600));

    let arrival = root.table("arrival").map_or(
        Some(ArrivalConfig {
            shape: ArrivalShape::Burst,
            max_in_flight: None,
        }),
        |table| arrival(table),
    );
    let job = root
        .table("job")
        .map_or_else(|| Some(default_job()), |table| Some(job(table)));
    let strategies = strategies(&root);
    let sshd = if root.required("sshd", "[sshd]\nmax_startups = \"10:30:100\"") {
        root.table("sshd").and_then(sshd)
    } else {
        None
    };
    let gate = root
        .tables("gate")
        .into_iter()
        .filter_map(|table| {
            table.required(
                "threshold",
                "threshold = \"reused-session.banner_eof == 0\"",
            );
            let threshold = table.string("threshold");
            table.finish();
            threshold
        })
        .collect();
    if let (Some(tasks), Some(limit)) = (
        tasks,
        arrival.as_ref().and_then(|arrival| arrival.max_in_flight),
    ) && limit < tasks
        && strategies.iter().any(|strategy| !strategy.kind.has_job())
    {
        root.problem(
            "arrival",
            &format!(
                "max_in_flight {limit} is less than {tasks} tasks, and a `stalled` task ends only when all have begun"
            ),
            Some("remove max_in_flight, or the `stalled` strategy".to_owned()),
        );
    }
    if tasks.is_some_and(|tasks| tasks > 1)
        && strategies
            .iter()
            .any(|strategy| strategy.kind == StrategyKind::Staircase)
    {
        root.problem(
            "tasks",
            "a `staircase` must be alone to know how many slots are in use",
            Some("tasks = 1".to_owned()),
        );
    }
    root.finish();
    Some(Scenario {
        name: name?,
        description,
        tasks: tasks?,
        arrival: arrival?,
        job: job?,
        strategies,
        rounds,
        seed,
        time_scale,
        max_duration,
        sshd: sshd?,
        gate,
    })
}

fn arrival(table: Table<'_, '_>) -> Option<ArrivalConfig> {
    #[derive(Clone, Copy, PartialEq)]
    enum Shape {
        Burst,
        Ramp,
        Poisson,
    }
    table.required("shape", "shape = \"burst\"");
    let shape = table.word(
        "shape",
        &[
            ("burst", Shape::Burst),
            ("ramp", Shape::Ramp),
            ("poisson", Shape::Poisson),
        ],
    );
    let max_in_flight = table.integer("max_in_flight", 1..=100_000);
    let over = table.positive_duration("over");
    let rate_per_s = table.number("rate_per_s", |rate| rate > 0.0, "above 0");
    for (key, given, of) in [
        ("over", over.is_some(), Shape::Ramp),
        ("rate_per_s", rate_per_s.is_some(), Shape::Poisson),
    ] {
        if given && shape.is_some_and(|shape| shape != of) {
            let name = if of == Shape::Ramp { "ramp" } else { "poisson" };
            table.problem(
                key,
                &format!("belongs to shape `{name}` only"),
                Some("remove it".to_owned()),
            );
        }
    }
    let shape = match shape? {
        Shape::Burst => Some(ArrivalShape::Burst),
        Shape::Ramp => {
            table.required("over", "over = \"30s\"");
            over.map(|over| ArrivalShape::Ramp { over })
        }
        Shape::Poisson => {
            table.required("rate_per_s", "rate_per_s = 10");
            rate_per_s.map(|rate_per_s| ArrivalShape::Poisson { rate_per_s })
        }
    };
    table.finish();
    Some(ArrivalConfig {
        shape: shape?,
        max_in_flight,
    })
}

fn default_job() -> JobConfig {
    JobConfig {
        duration: Duration::from_secs(5),
        log_lines: 10,
        log_bytes: 1000,
        exit_code: 0,
        killed_share: 0.0,
    }
}

fn job(table: Table<'_, '_>) -> JobConfig {
    let default = default_job();
    let log_lines = table.integer("log_lines", 0..=1_000_000);
    let log_bytes = table.bytes("log_bytes");
    let lines = log_lines.unwrap_or(default.log_lines);
    let bytes = log_bytes.unwrap_or(u64::from(lines) * 100);
    if bytes < u64::from(lines) || (lines == 0 && bytes > 0) {
        table.problem(
            if log_bytes.is_some() {
                "log_bytes"
            } else {
                "log_lines"
            },
            &format!("{bytes} bytes cannot be written in {lines} lines"),
            Some("every line has at least one byte, its end; no lines have no bytes".to_owned()),
        );
    }
    let job = JobConfig {
        duration: table.duration("duration").unwrap_or(default.duration),
        log_lines: lines,
        log_bytes: bytes,
        exit_code: table
            .integer("exit_code", 0..=255)
            .unwrap_or(default.exit_code),
        killed_share: table
            .number(
                "killed_share",
                |share| (0.0..=1.0).contains(&share),
                "a share from 0 to 1",
            )
            .unwrap_or(default.killed_share),
    };
    table.finish();
    job
}

fn strategies(root: &Table<'_, '_>) -> Vec<StrategyConfig> {
    let mut strategies: Vec<StrategyConfig> = Vec::new();
    if !root.required("strategy", "[[strategy]]\nkind = \"per-command\"") {
        return strategies;
    }
    for table in root.tables("strategy") {
        let Some(strategy) = strategy(&table) else {
            // Without a kind its tunables have no defaults, but its keys can still be checked.
            let _ = tunables(&table, StrategyKind::ReusedSession);
            table.finish();
            continue;
        };
        if strategies.iter().any(|other| other.name == strategy.name) {
            table.problem(
                "name",
                &format!("a second strategy is named `{}`", strategy.name),
                Some("give each its own `name`".to_owned()),
            );
        }
        strategies.push(strategy);
        table.finish();
    }
    strategies
}

fn strategy(table: &Table<'_, '_>) -> Option<StrategyConfig> {
    let name = table.string("name");
    table.required("kind", "kind = \"per-command\"");
    let kinds = StrategyKind::ALL.map(|kind| (kind.as_str(), kind));
    let kind = table.word("kind", &kinds)?;
    if let Some(name) = &name {
        // A dot would make thresholds ambiguous: `strategy.phase.metric`.
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty()
            || !name.chars().all(valid)
            || !name.starts_with(|c: char| c.is_ascii_alphabetic())
        {
            table.problem(
                "name",
                "letters, digits and `-` only, beginning with a letter",
                None,
            );
        }
    }
    Some(StrategyConfig {
        name: StrategyName(name.unwrap_or_else(|| kind.as_str().to_owned())),
        kind,
        tunables: tunables(table, kind),
    })
}

fn tunables(table: &Table<'_, '_>, kind: StrategyKind) -> Tunables {
    let default = Tunables::defaults(kind);
    if !kind.has_job() {
        for key in JOB_TUNABLES.into_iter().filter(|key| table.has(key)) {
            table.problem(
                key,
                &format!(
                    "`{}` runs no job and does not use this tunable",
                    kind.as_str()
                ),
                Some("remove it".to_owned()),
            );
        }
    }
    for (key, of) in [
        ("max_reconnect_attempts", StrategyKind::ReusedSession),
        ("command_attempts", StrategyKind::PerCommand),
    ] {
        if of != kind && kind.has_job() && table.has(key) {
            table.problem(
                key,
                &format!(
                    "`{}` does not use this tunable, only `{}` does",
                    kind.as_str(),
                    of.as_str()
                ),
                Some("remove it".to_owned()),
            );
        }
    }
    let count = |key, default| table.integer(key, 1..=1000).unwrap_or(default);
    let wait = |key, default| table.duration(key).unwrap_or(default);
    let deadline = |key, default| table.positive_duration(key).unwrap_or(default);
    Tunables {
        conn_retry_attempts: count("conn_retry_attempts", default.conn_retry_attempts),
        conn_retry_wait: wait("conn_retry_wait", default.conn_retry_wait),
        conn_retry_jitter: wait("conn_retry_jitter", default.conn_retry_jitter),
        cleanup_retries: count("cleanup_retries", default.cleanup_retries),
        cleanup: table.word("cleanup", &CLEANUP).unwrap_or(default.cleanup),
        detect_timeout: deadline("detect_timeout", default.detect_timeout),
        submit_timeout: deadline("submit_timeout", default.submit_timeout),
        command_timeout: deadline("command_timeout", default.command_timeout),
        cleanup_timeout: deadline("cleanup_timeout", default.cleanup_timeout),
        max_reconnect_attempts: table
            .integer("max_reconnect_attempts", 0..=1000)
            .unwrap_or(default.max_reconnect_attempts),
        command_attempts: count("command_attempts", default.command_attempts),
        poll_interval: deadline("poll_interval", default.poll_interval),
        log_chunk_size: table
            .bytes("log_chunk_size")
            .filter(|size| {
                if *size == 0 {
                    table.problem("log_chunk_size", "must be at least one byte", None);
                }
                *size > 0
            })
            .unwrap_or(default.log_chunk_size),
        conn_timeout: deadline("conn_timeout", default.conn_timeout),
        banner_timeout: deadline("banner_timeout", default.banner_timeout),
        login_timeout: deadline("login_timeout", default.login_timeout),
        keepalive_interval: wait("keepalive_interval", default.keepalive_interval),
    }
}

fn sshd(table: Table<'_, '_>) -> Option<SshdConfig> {
    table.required("max_startups", "max_startups = \"10:30:100\"");
    let max_startups =
        table
            .string("max_startups")
            .and_then(|text| match text.parse::<MaxStartups>() {
                Ok(max_startups) => Some(max_startups),
                Err(error) => {
                    table.problem("max_startups", &error.to_string(), None);
                    None
                }
            });
    let sshd = SshdConfig {
        // A stand-in while there are problems; it is never used then.
        max_startups: max_startups.unwrap_or(MaxStartups {
            start: 10,
            rate: 30,
            full: 100,
        }),
        min_release: table
            .string("min_release")
            .and_then(|text| match text.parse::<Release>() {
                Ok(release) => Some(release),
                Err(error) => {
                    table.problem("min_release", &error.to_string(), None);
                    None
                }
            }),
        keywords: options(&table, "options", keywords::check),
        monitoring_keywords: options(&table, "monitoring_options", keywords::check_in_match),
    };
    table.finish();
    max_startups.map(|_| sshd)
}

/// A table of sshd_config keywords in the order of the text.
fn options(
    table: &Table<'_, '_>,
    key: &'static str,
    check: impl Fn(&str, &str) -> Result<(), keywords::KeywordError>,
) -> Vec<(String, String)> {
    let mut keywords: Vec<(String, String)> = Vec::new();
    let Some(options) = table.table(key) else {
        return keywords;
    };
    for (keyword, span, value) in options.entries() {
        let repeated = keywords
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(&keyword));
        match check(&keyword, &value) {
            Ok(()) if !repeated => keywords.push((keyword, value)),
            Ok(()) => options.note(
                span,
                format!("sshd.{key}.{keyword}: given twice (sshd ignores case)"),
                Some("which of two counts differs between releases: keep one".to_owned()),
            ),
            Err(error) => options.note(span, format!("sshd.{key}.{keyword}: {error}"), None),
        }
    }
    keywords
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
    /// Tasks per round.
    #[schemars(range(min = 1, max = 100_000))]
    tasks: u32,
    /// Rounds of each strategy. Default 1.
    #[schemars(default, range(min = 1, max = 1000))]
    rounds: u32,
    /// Seed of every random draw of the client. Default 1.
    #[schemars(default)]
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
    /// The strategies to compare.
    strategy: Vec<StrategyFile>,
    /// The server under test.
    sshd: SshdFile,
    /// Thresholds the run is judged by.
    #[schemars(default)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    gate: Vec<GateFile>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ShapeFile {
    #[default]
    Burst,
    Ramp,
    Poisson,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_per_s: Option<f64>,
    /// At most this many tasks at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u32>,
}

#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(default)]
struct JobFile {
    /// How long it runs. Default `5s`.
    duration: String,
    /// Lines it writes to its log, spread over its duration. Default 10.
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
        schemars::json_schema!({ "type": ["integer", "string"], "minimum": 0 })
    }
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum KindFile {
    PerCommand,
    ReusedSession,
    Stalled,
    Staircase,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum CleanupFile {
    Never,
    OnSuccess,
    Always,
}

/// One strategy; every tunable has the provider's default of its kind.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StrategyFile {
    /// Which connection strategy.
    kind: KindFile,
    /// Name in reports and thresholds. Default: the kind's.
    #[schemars(default)]
    name: String,
    /// When job directories are removed. Default `never`.
    #[schemars(default)]
    cleanup: Option<CleanupFile>,
    /// Connect attempts of one operator-side connection. Default 3 (per-command), 5 (reused-session).
    #[schemars(default)]
    conn_retry_attempts: u32,
    /// Fixed part of the wait between them. Default `3s`.
    #[schemars(default)]
    conn_retry_wait: String,
    /// Upper end of the uniform random part. Default `2s`.
    #[schemars(default)]
    conn_retry_jitter: String,
    /// Rounds of cleanup. Default 1 (per-command), 3 (reused-session).
    #[schemars(default)]
    cleanup_retries: u32,
    /// Deadline of the detect command. Default `10s`.
    #[schemars(default)]
    detect_timeout: String,
    /// Deadline of the submit command. Default `60s`.
    #[schemars(default)]
    submit_timeout: String,
    /// Deadline of each monitoring command. Default `30s`.
    #[schemars(default)]
    command_timeout: String,
    /// Deadline of the cleanup command. Default `30s`.
    #[schemars(default)]
    cleanup_timeout: String,
    /// reused-session only: failures in a row that are survived. Default 5.
    #[schemars(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    max_reconnect_attempts: Option<u32>,
    /// per-command only: tries of one monitoring command after OS-level errors. Default 3.
    #[schemars(default)]
    #[serde(skip_serializing_if = "Option::is_none")]
    command_attempts: Option<u32>,
    /// Time between polls. Default `5s`.
    #[schemars(default)]
    poll_interval: String,
    /// Bytes asked for in one read of the log. Default `64KiB`.
    #[schemars(default, with = "BytesFile")]
    log_chunk_size: u64,
    /// Deadline of the operator's TCP connect. Default `10s`.
    #[schemars(default)]
    conn_timeout: String,
    /// Deadline of the operator's identification string. Default `30s`.
    #[schemars(default)]
    banner_timeout: String,
    /// Deadline of a login: monitoring from the TCP connect on, operator for key exchange and authentication.
    /// Default `120s`.
    #[schemars(default)]
    login_timeout: String,
    /// Keepalive interval, `0s` is off. Default `30s`.
    #[schemars(default)]
    keepalive_interval: String,
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
    /// Further sshd_config keywords.
    #[schemars(default, with = "BTreeMap<String, OptionFile>")]
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    options: toml::Table,
    /// Keywords for monitoring connections only, which then come from 127.0.0.2 (`Match Address`).
    #[schemars(default, with = "BTreeMap<String, OptionFile>")]
    #[serde(skip_serializing_if = "toml::Table::is_empty")]
    monitoring_options: toml::Table,
}

/// A string, a whole number or a boolean (`yes`/`no`).
struct OptionFile;

impl JsonSchema for OptionFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SshdOption".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "integer", "boolean"] })
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
        let (shape, over, rate_per_s) = match &scenario.arrival.shape {
            ArrivalShape::Burst => (ShapeFile::Burst, None, None),
            ArrivalShape::Ramp { over } => (ShapeFile::Ramp, Some(format_duration(*over)), None),
            ArrivalShape::Poisson { rate_per_s } => (ShapeFile::Poisson, None, Some(*rate_per_s)),
        };
        ScenarioFile {
            name: scenario.name.clone(),
            description: scenario.description.clone(),
            tasks: scenario.tasks,
            rounds: scenario.rounds,
            seed: scenario.seed,
            time_scale: scenario.time_scale,
            max_duration: format_duration(scenario.max_duration),
            arrival: ArrivalFile {
                shape,
                over,
                rate_per_s,
                max_in_flight: scenario.arrival.max_in_flight,
            },
            job: JobFile {
                duration: format_duration(scenario.job.duration),
                log_lines: scenario.job.log_lines,
                log_bytes: scenario.job.log_bytes,
                exit_code: scenario.job.exit_code,
                killed_share: scenario.job.killed_share,
            },
            strategy: scenario.strategies.iter().map(StrategyFile::from).collect(),
            sshd: SshdFile {
                max_startups: scenario.sshd.max_startups.to_string(),
                min_release: scenario.sshd.min_release.map(|release| release.to_string()),
                options: option_table(&scenario.sshd.keywords),
                monitoring_options: option_table(&scenario.sshd.monitoring_keywords),
            },
            gate: scenario
                .gate
                .iter()
                .map(|threshold| GateFile {
                    threshold: threshold.clone(),
                })
                .collect(),
        }
    }
}

fn option_table(keywords: &[(String, String)]) -> toml::Table {
    keywords
        .iter()
        .map(|(keyword, value)| (keyword.clone(), toml::Value::String(value.clone())))
        .collect()
}

impl From<&StrategyConfig> for StrategyFile {
    fn from(strategy: &StrategyConfig) -> Self {
        let tunables = &strategy.tunables;
        StrategyFile {
            kind: match strategy.kind {
                StrategyKind::PerCommand => KindFile::PerCommand,
                StrategyKind::ReusedSession => KindFile::ReusedSession,
                StrategyKind::Stalled => KindFile::Stalled,
                StrategyKind::Staircase => KindFile::Staircase,
            },
            name: strategy.name.0.clone(),
            cleanup: Some(match tunables.cleanup {
                CleanupPolicy::Never => CleanupFile::Never,
                CleanupPolicy::OnSuccess => CleanupFile::OnSuccess,
                CleanupPolicy::Always => CleanupFile::Always,
            }),
            conn_retry_attempts: tunables.conn_retry_attempts,
            conn_retry_wait: format_duration(tunables.conn_retry_wait),
            conn_retry_jitter: format_duration(tunables.conn_retry_jitter),
            cleanup_retries: tunables.cleanup_retries,
            detect_timeout: format_duration(tunables.detect_timeout),
            submit_timeout: format_duration(tunables.submit_timeout),
            command_timeout: format_duration(tunables.command_timeout),
            cleanup_timeout: format_duration(tunables.cleanup_timeout),
            max_reconnect_attempts: (strategy.kind == StrategyKind::ReusedSession)
                .then_some(tunables.max_reconnect_attempts),
            command_attempts: (strategy.kind == StrategyKind::PerCommand)
                .then_some(tunables.command_attempts),
            poll_interval: format_duration(tunables.poll_interval),
            log_chunk_size: tunables.log_chunk_size,
            conn_timeout: format_duration(tunables.conn_timeout),
            banner_timeout: format_duration(tunables.banner_timeout),
            login_timeout: format_duration(tunables.login_timeout),
            keepalive_interval: format_duration(tunables.keepalive_interval),
        }
    }
}
