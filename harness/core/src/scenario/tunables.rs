//! The tunables of strategies, each written once: its sentence, its form, its default, and which strategies use it.
//!
//! Owns the table at the end of this file. From it follow the type, the defaults, the reading, the writing, the schema, and what
//! the documentation is tested against. What a form takes and how it is written is the form's.

use std::time::Duration;

use serde_json::{Value, json};

use super::config::{JobLife, Life, StrategyKind};
use super::file::MOST_BYTES;
use super::reader::Table;
use super::units::format_duration;
use crate::vocabulary::CleanupPolicy;

/// A form that values have: what is read, and how it is written.
trait Form {
    type Value: Clone;
    /// Notes a problem and gives nothing where the text is wrong; gives nothing where there is none.
    fn read(table: &Table<'_, '_>, key: &'static str) -> Option<Self::Value>;
    fn write(value: &Self::Value) -> toml::Value;
    /// As a JSON Schema.
    fn schema() -> Value;
}

/// Text for the login shell.
struct Shell;
/// A number of things, from so many on.
struct Number<const LEAST: u32>;
/// A time, which may be zero or not.
struct Time<const MAY_BE_ZERO: bool>;
/// One time, or a list that the tasks take in turn.
struct Waits;
/// Bytes, from 1 on.
struct Size;
/// When directories are removed.
struct Policy;

type Count = Number<1>;
type Budget = Number<0>;
type Wait = Time<true>;
type Deadline = Time<false>;

impl Form for Shell {
    type Value = String;

    fn read(table: &Table<'_, '_>, key: &'static str) -> Option<String> {
        let command = table.string(key)?;
        if command.trim().is_empty() {
            table.problem(
                key,
                "an empty command would start an interactive shell",
                Some(format!("{key} = \"true\"")),
            );
            return None;
        }
        if command.contains('\0') {
            table.problem(key, "a command cannot contain a NUL character", None);
            return None;
        }
        Some(command)
    }

    fn write(value: &String) -> toml::Value {
        value.clone().into()
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl<const LEAST: u32> Form for Number<LEAST> {
    type Value = u32;

    fn read(table: &Table<'_, '_>, key: &'static str) -> Option<u32> {
        table.integer(key, i128::from(LEAST)..=1000)
    }

    fn write(value: &u32) -> toml::Value {
        i64::from(*value).into()
    }

    fn schema() -> Value {
        json!({ "type": "integer", "minimum": LEAST, "maximum": 1000 })
    }
}

impl<const MAY_BE_ZERO: bool> Form for Time<MAY_BE_ZERO> {
    type Value = Duration;

    fn read(table: &Table<'_, '_>, key: &'static str) -> Option<Duration> {
        match MAY_BE_ZERO {
            true => table.duration(key),
            false => table.positive_duration(key),
        }
    }

    fn write(value: &Duration) -> toml::Value {
        format_duration(*value).into()
    }

    fn schema() -> Value {
        json!({ "type": "string" })
    }
}

impl Form for Waits {
    type Value = Vec<Duration>;

    fn read(table: &Table<'_, '_>, key: &'static str) -> Option<Vec<Duration>> {
        table.durations(key)
    }

    fn write(value: &Vec<Duration>) -> toml::Value {
        let texts: Vec<String> = value.iter().copied().map(format_duration).collect();
        texts.into()
    }

    fn schema() -> Value {
        json!({ "type": ["string", "array"], "items": { "type": "string" }, "minItems": 1 })
    }
}

impl Form for Size {
    type Value = u64;

    fn read(table: &Table<'_, '_>, key: &'static str) -> Option<u64> {
        let size = table.bytes(key, MOST_BYTES)?;
        if size == 0 {
            table.problem(key, "must be at least one byte", None);
            return None;
        }
        Some(size)
    }

    fn write(value: &u64) -> toml::Value {
        // Bounded far below.
        i64::try_from(*value).unwrap_or(i64::MAX).into()
    }

    fn schema() -> Value {
        json!({ "type": ["integer", "string"], "minimum": 1, "maximum": MOST_BYTES })
    }
}

impl Policy {
    const WORDS: [(&'static str, CleanupPolicy); 3] = [
        ("never", CleanupPolicy::Never),
        ("on_success", CleanupPolicy::OnSuccess),
        ("always", CleanupPolicy::Always),
    ];
}

impl Form for Policy {
    type Value = CleanupPolicy;

    fn read(table: &Table<'_, '_>, key: &'static str) -> Option<CleanupPolicy> {
        table.word(key, &Policy::WORDS)
    }

    fn write(value: &CleanupPolicy) -> toml::Value {
        let word = Policy::WORDS.iter().find(|(_, policy)| policy == value);
        word.map_or("", |(word, _)| word).into()
    }

    fn schema() -> Value {
        json!({ "type": "string", "enum": Policy::WORDS.map(|(word, _)| word) })
    }
}

/// A tunable, for whoever asks about it by name.
struct Key {
    name: &'static str,
    sentence: &'static str,
    uses: fn(Life) -> bool,
    default: fn(StrategyKind) -> toml::Value,
    schema: fn() -> Value,
}

macro_rules! tunables {
    ($($(#[doc = $sentence:literal])+ $key:ident: $value:ty, $form:ident = $default:expr, $users:ident;)*) => {
        /// The tunables of a strategy, under the names of the Airflow provider. Waits are unscaled here. A scenario may give those
        /// that the strategy's life uses; the others keep their defaults and mean nothing.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Tunables {
            $($(#[doc = $sentence])+ pub $key: $value,)*
        }

        impl Tunables {
            /// The defaults of a strategy: the provider's where it has one, a single try where nobody tries again.
            #[must_use]
            pub fn defaults(kind: StrategyKind) -> Self {
                Tunables { $($key: ($default)(kind),)* }
            }

            pub(super) fn read(table: &Table<'_, '_>, kind: StrategyKind) -> Self {
                let default = Tunables::defaults(kind);
                Tunables { $($key: <$form as Form>::read(table, stringify!($key)).unwrap_or(default.$key),)* }
            }

            /// Those that strategies of this kind use, as a scenario has them.
            pub(super) fn written(&self, kind: StrategyKind) -> toml::Table {
                let all = [$((stringify!($key), <$form as Form>::write(&self.$key)),)*];
                all.into_iter()
                    .filter(|(key, _)| is_used(kind, key))
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()
            }
        }

        const KEYS: &[Key] = &[$(Key {
            name: stringify!($key),
            sentence: concat!($($sentence),+),
            uses: $users,
            default: |kind| <$form as Form>::write(&($default)(kind)),
            schema: <$form as Form>::schema,
        }),*];
    };
}

/// The same default for all.
macro_rules! always {
    ($value:expr) => {
        |_| $value
    };
}

fn connecting(life: Life) -> bool {
    // A program has its own settings.
    life != Life::Program
}

fn working(life: Life) -> bool {
    matches!(life, Life::Job(_) | Life::Once | Life::Shared)
}

fn one_command(life: Life) -> bool {
    matches!(life, Life::Once | Life::Shared)
}

fn shared(life: Life) -> bool {
    life == Life::Shared
}

fn failing(life: Life) -> bool {
    life == Life::Failing
}

fn job(life: Life) -> bool {
    matches!(life, Life::Job(_))
}

fn per_command(life: Life) -> bool {
    life == Life::Job(JobLife::PerCommand)
}

fn reused_session(life: Life) -> bool {
    life == Life::Job(JobLife::ReusedSession)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

tunables! {
    /// What the login shell is given.
    command: String, Shell = always!("true".to_owned()), one_command;
    /// Connect attempts of one operator-side connection (detect, submit, cleanup), or of the one there is.
    conn_retry_attempts: u32, Count = |kind: StrategyKind| match kind.life() {
        Life::Job(JobLife::PerCommand) => 3,
        Life::Job(JobLife::ReusedSession) => 5,
        _ => 1,
    }, working;
    /// Fixed part of the wait between them.
    conn_retry_wait: Duration, Wait = always!(seconds(3)), working;
    /// Upper end of the uniform random part of that wait.
    conn_retry_jitter: Duration, Wait = always!(seconds(2)), working;
    /// Rounds of cleanup, each with its own connect attempts.
    cleanup_retries: u32, Count = |kind: StrategyKind| match kind.life() {
        Life::Job(JobLife::ReusedSession) => 3,
        _ => 1,
    }, job;
    /// When job directories are removed.
    cleanup: CleanupPolicy, Policy = always!(CleanupPolicy::Never), job;
    /// Deadline of the detect command.
    detect_timeout: Duration, Deadline = always!(seconds(10)), job;
    /// Deadline of the submit command.
    submit_timeout: Duration, Deadline = always!(seconds(60)), job;
    /// Deadline of each monitoring command, or of the one command there is.
    command_timeout: Duration, Deadline = always!(seconds(30)), working;
    /// Deadline of the cleanup command.
    cleanup_timeout: Duration, Deadline = always!(seconds(30)), job;
    /// Failures in a row, without a whole successful poll between, that monitoring survives.
    max_reconnect_attempts: u32, Budget = always!(5), reused_session;
    /// Tries of one monitoring command after OS-level errors.
    command_attempts: u32, Count = always!(3), per_command;
    /// Time between polls.
    poll_interval: Duration, Deadline = always!(seconds(5)), job;
    /// Upper end of a uniform random time that each wait between polls is longer by: tasks that began together do not poll together
    /// for ever.
    poll_jitter: Duration, Wait = always!(Duration::ZERO), job;
    /// Bytes asked for in one read of the log: a number, or a string with a unit (`64KiB`).
    log_chunk_size: u64, Size = always!(65_536), job;
    /// Deadline of the TCP connect, operator side.
    conn_timeout: Duration, Deadline = always!(seconds(10)), connecting;
    /// Deadline of the identification string after the TCP connect, operator side.
    banner_timeout: Duration, Deadline = always!(seconds(30)), connecting;
    /// Deadline of a login: on the monitoring side from the call of `connect()` to authenticated, on the operator side of key
    /// exchange and authentication.
    login_timeout: Duration, Deadline = always!(seconds(120)), connecting;
    /// Keepalive interval of operator-side connections and of reused monitoring sessions; `0s` is off.
    keepalive_interval: Duration, Wait = always!(seconds(30)), job;
    /// How long the modelled client's threads are busy with one connection, its command included, beyond what our own code
    /// takes: connections wait for each other meanwhile.
    connection_cost: Duration, Wait = always!(Duration::ZERO), working;
    /// How many connections it works for at a time: 1 for an event loop or an interpreter with one lock.
    client_threads: u32, Count = always!(1), working;
    /// Tasks that share one connection.
    sessions_per_connection: u32, Count = always!(10), shared;
    /// Logins with a key that the server does not know, of each task, unless it is banned before.
    logins: u32, Count = always!(14), failing;
    /// From the beginning of one of them to the next: one duration, or a list that the tasks take in turn. Not scaled: the
    /// server's penalties are not.
    spacing: Vec<Duration>, Waits = always!(vec![seconds(1)]), failing;
    /// Between two tries with a valid key while the source is banned. Not scaled.
    probe_interval: Duration, Deadline = always!(Duration::from_millis(500)), failing;
    /// How long they go on.
    probe_timeout: Duration, Deadline = always!(seconds(60)), failing;
}

fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether a key is a tunable that means something to strategies of this kind.
pub(super) fn is_used(kind: StrategyKind, name: &str) -> bool {
    key(name).is_some_and(|key| (key.uses)(kind.life()))
}

/// Tunables that mean nothing to strategies of this kind.
pub(super) fn unused(kind: StrategyKind) -> impl Iterator<Item = &'static str> {
    KEYS.iter()
        .filter(move |key| !(key.uses)(kind.life()))
        .map(|key| key.name)
}

/// The kinds that use a tunable.
fn users(key: &Key) -> impl Iterator<Item = StrategyKind> {
    StrategyKind::ALL
        .into_iter()
        .filter(|kind| (key.uses)(kind.life()))
}

/// Why a kind does not use `key`, for the one who wrote it.
pub(super) fn why_unused(kind: StrategyKind, name: &str) -> String {
    let unfit = kind.as_str();
    match kind.life() {
        Life::Job(_) => {
            let users: Vec<String> = key(name)
                .into_iter()
                .flat_map(users)
                .map(|other| format!("`{}`", other.as_str()))
                .collect();
            let (last, others) = users
                .split_last()
                .map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
            match others {
                [] => format!("`{unfit}` does not use this tunable, only {last} does"),
                others => format!(
                    "`{unfit}` does not use this tunable, only {} and {last} do",
                    others.join(", ")
                ),
            }
        }
        Life::Hold(_) => format!("`{unfit}` runs no job and does not use this tunable"),
        Life::Failing => format!("`{unfit}` only tries to log in and does not use this tunable"),
        Life::Program => {
            format!("`{unfit}` runs a program of yours, which has its own settings")
        }
        Life::Once | Life::Shared => {
            format!("`{unfit}` runs one command and no job, and does not use this tunable")
        }
    }
}

/// The properties of all tunables in a JSON Schema, each with its sentence, its defaults and who uses it.
pub(super) fn properties() -> impl Iterator<Item = (&'static str, Value)> {
    KEYS.iter().map(|key| {
        let mut schema = (key.schema)();
        let kinds: Vec<StrategyKind> = users(key).collect();
        let mut defaults: Vec<(String, Vec<&str>)> = Vec::new();
        for kind in &kinds {
            let default = (key.default)(*kind).to_string();
            match defaults.iter_mut().find(|(text, _)| *text == default) {
                Some((_, of)) => of.push(kind.as_str()),
                None => defaults.push((default, vec![kind.as_str()])),
            }
        }
        let default = match &defaults[..] {
            [(text, _)] => format!("Default {text}."),
            several => {
                let each: Vec<String> = several
                    .iter()
                    .map(|(text, of)| format!("{text} ({})", of.join(", ")))
                    .collect();
                format!("Default {}.", each.join(", "))
            }
        };
        let of: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
        let sentence = key.sentence.trim();
        schema["description"] = json!(format!("{sentence} {default} Of {}.", of.join(", ")));
        (key.name, schema)
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// The rows of `scenarios/README.md` that are about a key.
    fn row<'r>(readme: &'r str, key: &str) -> &'r str {
        let cell = format!("`{key}`");
        readme
            .lines()
            .filter(|line| line.starts_with("| `"))
            .find(|line| {
                line.split('|')
                    .nth(1)
                    .is_some_and(|first| first.contains(&cell))
            })
            .unwrap_or_else(|| panic!("{key} is not in the tables"))
    }

    #[test]
    fn tables_of_the_documentation_have_every_tunable_with_its_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios/README.md");
        let readme = std::fs::read_to_string(path).expect("the documentation");
        for key in KEYS {
            let row = row(&readme, key.name);
            for kind in users(key) {
                let default = (key.default)(kind).to_string();
                let default = match key.name {
                    // In the unit that people write.
                    "log_chunk_size" => "\"64KiB\"".to_owned(),
                    "spacing" => "\"1s\"".to_owned(),
                    _ => default,
                };
                assert!(
                    row.contains(&default),
                    "{} of {}: {default} is not in {row}",
                    key.name,
                    kind.as_str()
                );
            }
        }
    }

    #[test]
    fn what_is_written_of_each_kind_is_what_it_uses_and_reads_back() {
        for kind in StrategyKind::ALL {
            let written = Tunables::defaults(kind).written(kind);
            let keys: Vec<&str> = written.keys().map(String::as_str).collect();
            assert!(keys.iter().all(|key| is_used(kind, key)), "{kind:?}");
            assert_eq!(keys.len() + unused(kind).count(), KEYS.len(), "{kind:?}");
        }
    }
}
