//! Reading a scenario from its strict TOML form.
//!
//! A typing error must not change an experiment: unknown keys, wrong units and impossible values are errors, and all
//! of them are reported at once.

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeTable;

use super::client::{self, ClientProgram};
use super::config::{
    ArrivalConfig, ArrivalShape, HoldUntil, HoldersConfig, JobConfig, Life, MaxStartups, Scenario,
    SlowAuth, SlowAuthShape, SshdConfig, StrategyConfig, StrategyKind,
};
use super::conflicts::conflicts;
use super::machine::Packages;
use super::problem::ScenarioErrors;
use super::reader::{Problems, Table};
use super::tunables::Tunables;
use super::{keywords, tunables};
use crate::ids::StrategyName;

/// Most bytes that a job may write or a read may ask for: the server's disk is not what is tested.
pub(super) const MOST_BYTES: u64 = 1 << 30;

/// Most tasks of a round: of a simulated one. What a real server is asked to bear is bounded before the run.
pub(crate) const MOST_TASKS: u32 = 10_000_000;
/// Most starts that a scenario lists one by one.
const MOST_OFFSETS: usize = 100_000;

/// The latest start in a recording: a week.
const LATEST_OFFSET_MS: u64 = 7 * 24 * 3_600_000;

/// The slowest stream of arrivals: a gap of eleven days on average. A smaller number is a typing error.
const LEAST_RATE_PER_S: f64 = 1e-6;

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
        // What could not be read would only be said to be missing.
        let scenario = match problems.is_empty() {
            true => read(Table::new(table.get_ref(), 0..0, "", &problems)),
            false => None,
        };
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
            ScenarioErrors::without_text(
                &origin,
                [(format!("cannot read {origin}: {error}"), None)],
            )
        })?;
        let mut scenario = Scenario::parse(&origin, &text)?;
        let absolute = std::path::absolute(path).ok();
        scenario.folder = absolute.and_then(|path| Some(path.parent()?.to_path_buf()));
        Ok(scenario)
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
    let tasks = root.integer("tasks", 1..=i128::from(MOST_TASKS));
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
    let tasks = match arrival.as_ref().map(|arrival| &arrival.shape) {
        // Whether they are as many is looked at with the others that must go together.
        Some(ArrivalShape::Recorded { offsets, .. }) => {
            tasks.or_else(|| u32::try_from(offsets.len()).ok())
        }
        None if root
            .table("arrival")
            .is_some_and(|it| it.is("shape", "recorded")) =>
        {
            tasks
        }
        _ => {
            root.required("tasks", "tasks = 120");
            tasks
        }
    };
    let job = root
        .table("job")
        .map_or_else(|| Some(default_job()), |table| Some(job(table)));
    let holders = root.table("holders").and_then(holders);
    let strategies = strategies(&root);
    let sshd = if root.required("sshd", "[sshd]\nmax_startups = \"10:30:100\"") {
        root.table("sshd").and_then(sshd)
    } else {
        None
    };
    let gate = thresholds(&root, "gate");
    let expectations = thresholds(&root, "expectation");
    // What is missing ends this, and not the reading: keys that are unknown are told all the same.
    let scenario = || {
        Some(Scenario {
            name: name?,
            description,
            tasks: tasks?,
            arrival: arrival?,
            job: job?,
            holders,
            strategies,
            rounds,
            seed,
            time_scale,
            max_duration,
            sshd: sshd?,
            gate,
            expectations,
            folder: None,
        })
    };
    let scenario = scenario();
    for conflict in scenario.iter().flat_map(conflicts) {
        root.problem(conflict.key, &conflict.message, Some(conflict.help));
    }
    root.finish();
    scenario
}

fn thresholds(root: &Table<'_, '_>, key: &'static str) -> Vec<String> {
    root.tables(key)
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
        .collect()
}

fn arrival(table: Table<'_, '_>) -> Option<ArrivalConfig> {
    #[derive(Clone, Copy, PartialEq)]
    enum Shape {
        Burst,
        Ramp,
        Poisson,
        Batches,
        Recorded,
    }
    let names = [
        ("burst", Shape::Burst),
        ("ramp", Shape::Ramp),
        ("poisson", Shape::Poisson),
        ("batches", Shape::Batches),
        ("recorded", Shape::Recorded),
    ];
    table.required("shape", "shape = \"burst\"");
    let shape = table.word("shape", &names);
    let max_in_flight = table.integer("max_in_flight", 1..=100_000);
    let over = table.positive_duration("over");
    let rate_per_s = table.number(
        "rate_per_s",
        |rate| rate >= LEAST_RATE_PER_S,
        "at least 0.000001",
    );
    let size = table.integer("size", 1..=100_000);
    let every = table.positive_duration("every");
    let offsets = table.offsets_ms("offsets_ms", MOST_OFFSETS, LATEST_OFFSET_MS);
    let resolution = table.duration("resolution");
    for (key, given, of) in [
        ("over", over.is_some(), Shape::Ramp),
        ("rate_per_s", rate_per_s.is_some(), Shape::Poisson),
        ("size", size.is_some(), Shape::Batches),
        ("every", every.is_some(), Shape::Batches),
        ("offsets_ms", offsets.is_some(), Shape::Recorded),
        ("resolution", resolution.is_some(), Shape::Recorded),
    ] {
        if given && shape.is_some_and(|shape| shape != of) {
            let name = names.iter().find(|(_, shape)| *shape == of);
            let name = name.map_or("", |(name, _)| name);
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
        Shape::Batches => {
            table.required("size", "size = 10");
            table.required("every", "every = \"5s\"");
            size.zip(every)
                .map(|(size, every)| ArrivalShape::Batches { size, every })
        }
        Shape::Recorded => {
            table.required("offsets_ms", "offsets_ms = [0, 350, 360]");
            offsets.map(|offsets| ArrivalShape::Recorded {
                offsets,
                resolution: resolution.unwrap_or(Duration::ZERO),
            })
        }
    };
    table.finish();
    Some(ArrivalConfig {
        shape: shape?,
        max_in_flight,
    })
}

fn holders(table: Table<'_, '_>) -> Option<HoldersConfig> {
    table.required("count", "count = 10");
    let count = table.integer("count", 1..=10_000);
    let until = table.word(
        "until",
        &[
            ("round_end", HoldUntil::RoundEnd),
            ("grace_time", HoldUntil::GraceTime),
        ],
    );
    table.finish();
    Some(HoldersConfig {
        count: count?,
        until: until.unwrap_or(HoldUntil::RoundEnd),
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
    let log_bytes = table.bytes("log_bytes", MOST_BYTES);
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
            let _ = Tunables::read(&table, StrategyKind::ReusedSession);
            let _ = client::read(&table, false);
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
    for key in tunables::unused(kind).filter(|key| table.has(key)) {
        table.problem(
            key,
            &tunables::why_unused(kind, key),
            Some("remove it".to_owned()),
        );
    }
    let program = program(table, kind);
    if kind.life() == Life::Program && program.is_none() {
        return None;
    }
    Some(StrategyConfig {
        name: StrategyName(name.unwrap_or_else(|| kind.as_str().to_owned())),
        kind,
        tunables: Tunables::read(table, kind),
        program,
    })
}

/// The client under test, where the strategy is one.
fn program(table: &Table<'_, '_>, kind: StrategyKind) -> Option<ClientProgram> {
    let read = client::read(table, kind.life() == Life::Program);
    match kind.life() {
        Life::Program => read,
        Life::Job(_) | Life::Hold(_) | Life::Once | Life::Shared | Life::Failing => {
            for key in client::KEYS.iter().filter(|key| table.has(key)) {
                table.problem(
                    key,
                    "this key belongs to a client under test, `kind = \"command\"`",
                    Some("remove it".to_owned()),
                );
            }
            None
        }
    }
}

fn sshd(table: Table<'_, '_>) -> Option<SshdConfig> {
    table.required("max_startups", "max_startups = \"10:30:100\"");
    let max_startups = parsed::<MaxStartups>(&table, "max_startups");
    let sshd = SshdConfig {
        // A stand-in while there are problems; it is never used then.
        max_startups: max_startups.unwrap_or(MaxStartups {
            start: 10,
            rate: 30,
            full: 100,
        }),
        min_release: parsed(&table, "min_release"),
        packages: packages(&table),
        login_shell: parsed(&table, "login_shell"),
        slow_auth: slow_auth(&table),
        separate_cores: table.boolean("separate_cores").unwrap_or(false),
        keywords: options(&table, "options", keywords::check),
        monitoring_keywords: options(&table, "monitoring_options", keywords::check_in_match),
    };
    table.finish();
    max_startups.map(|_| sshd)
}

fn slow_auth(table: &Table<'_, '_>) -> Option<SlowAuth> {
    let mean = table.duration("slow_auth");
    let shape = table.word(
        "slow_auth_shape",
        &[
            ("fixed", SlowAuthShape::Fixed),
            ("exponential", SlowAuthShape::Exponential),
        ],
    );
    if shape.is_some() && mean.is_none() {
        table.problem(
            "slow_auth_shape",
            "says how `slow_auth` varies, but `slow_auth` is not set",
            Some("slow_auth = \"200ms\"".to_owned()),
        );
    }
    Some(SlowAuth {
        mean: mean.filter(|mean| !mean.is_zero())?,
        shape: shape.unwrap_or(SlowAuthShape::Fixed),
    })
}

/// A string that is of a form of its own.
fn parsed<T: FromStr<Err: Display>>(table: &Table<'_, '_>, key: &'static str) -> Option<T> {
    match table.string(key)?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            table.problem(key, &format!("{error}"), None);
            None
        }
    }
}

/// The packages of the server's machine; each that is none is a problem of its own.
fn packages(table: &Table<'_, '_>) -> Packages {
    let mut packages = Packages::new();
    for (text, span) in table.strings_in_place("packages").unwrap_or_default() {
        match text.parse() {
            Ok(name) => {
                packages.insert(name);
            }
            Err(error) => table.note(span, format!("sshd.packages: {error}"), None),
        }
    }
    packages
}

/// A table of sshd_config keywords in the order of the text. A keyword whose lines sshd adds up may have a list of values.
fn options(
    table: &Table<'_, '_>,
    key: &'static str,
    check: impl Fn(&str, &str) -> Result<(), keywords::KeywordError>,
) -> Vec<(String, String)> {
    const KEEP_ONE: &str = "which of two lines counts differs between keywords and releases: keep one, or put both into one \
                            value where the keyword takes a list";
    let mut read: Vec<(String, String)> = Vec::new();
    let mut places: Vec<(String, Range<usize>)> = Vec::new();
    let Some(options) = table.table(key) else {
        return read;
    };
    for (keyword, span, values) in options.entries_with_lists() {
        let path = format!("sshd.{key}.{keyword}");
        let before = places
            .iter()
            .find(|(earlier, _)| earlier.eq_ignore_ascii_case(&keyword));
        if let Some((earlier, place)) = before
            && !keywords::adds_up(&keyword)
        {
            options.note_both(
                span,
                place.clone(),
                format!("{path}: given twice, also as `{earlier}` (sshd ignores case)"),
                Some(KEEP_ONE.to_owned()),
            );
            continue;
        }
        match values.as_slice() {
            [] => options.note(
                span.clone(),
                format!("{path}: an empty list"),
                Some("leave the keyword out, or give it a value".to_owned()),
            ),
            [(_, first), (_, second), ..] if !keywords::adds_up(&keyword) => options.note_both(
                second.clone(),
                first.clone(),
                format!("{path}: two values, and sshd takes one line of this keyword"),
                Some(KEEP_ONE.to_owned()),
            ),
            _ => {}
        }
        for (value, place) in values {
            match check(&keyword, &value) {
                Ok(()) => read.push((keyword.clone(), value)),
                // The keyword is wrong once, however many values it has; a value is wrong where it stands.
                Err(error @ keywords::KeywordError::Value) => {
                    options.note(place, format!("{path}: {error}"), None);
                }
                Err(error) => {
                    options.note(span.clone(), format!("{path}: {error}"), None);
                    break;
                }
            }
        }
        places.push((keyword, span));
    }
    read
}
