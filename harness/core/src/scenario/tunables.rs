//! Which tunables a strategy uses: one answer for the reader, which refuses the others, and for the writer, which leaves
//! them out.
//!
//! Owns the table. What a tunable means is `config`'s, its value the reader's.

use super::config::{JobLife, Life, StrategyKind};

/// Every tunable.
const ALL: [&str; 25] = [
    "banner_timeout",
    "cleanup",
    "cleanup_retries",
    "cleanup_timeout",
    "client_threads",
    "command",
    "command_attempts",
    "command_timeout",
    "conn_retry_attempts",
    "conn_retry_jitter",
    "conn_retry_wait",
    "conn_timeout",
    "connection_cost",
    "detect_timeout",
    "keepalive_interval",
    "log_chunk_size",
    "login_timeout",
    "logins",
    "max_reconnect_attempts",
    "poll_interval",
    "probe_interval",
    "probe_timeout",
    "sessions_per_connection",
    "spacing",
    "submit_timeout",
];

/// Whether a tunable means something to strategies of this kind.
fn uses(kind: StrategyKind, key: &str) -> bool {
    let life = kind.life();
    match key {
        // Everybody connects but a program, which has its own settings.
        "banner_timeout" | "conn_timeout" | "login_timeout" => life != Life::Program,
        "client_threads"
        | "command_timeout"
        | "conn_retry_attempts"
        | "conn_retry_jitter"
        | "conn_retry_wait"
        | "connection_cost" => {
            matches!(life, Life::Job(_) | Life::Once | Life::Shared)
        }
        "command" => matches!(life, Life::Once | Life::Shared),
        "sessions_per_connection" => life == Life::Shared,
        "logins" | "probe_interval" | "probe_timeout" | "spacing" => life == Life::Failing,
        "command_attempts" => life == Life::Job(JobLife::PerCommand),
        "max_reconnect_attempts" => life == Life::Job(JobLife::ReusedSession),
        // The rest is about a job: submitted, watched, cleaned up.
        _ => matches!(life, Life::Job(_)),
    }
}

/// Whether a key is a tunable that means something to strategies of this kind.
pub(super) fn is_used(kind: StrategyKind, key: &str) -> bool {
    ALL.contains(&key) && uses(kind, key)
}

/// Tunables that mean nothing to strategies of this kind.
pub(super) fn unused(kind: StrategyKind) -> impl Iterator<Item = &'static str> {
    ALL.into_iter().filter(move |key| !uses(kind, key))
}

/// Why a kind does not use `key`, for the one who wrote it.
pub(super) fn why_unused(kind: StrategyKind, key: &str) -> String {
    let name = kind.as_str();
    match kind.life() {
        Life::Job(_) => {
            let users: Vec<String> = StrategyKind::ALL
                .into_iter()
                .filter(|other| uses(*other, key))
                .map(|other| format!("`{}`", other.as_str()))
                .collect();
            let (last, others) = users
                .split_last()
                .map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
            match others {
                [] => format!("`{name}` does not use this tunable, only {last} does"),
                others => format!(
                    "`{name}` does not use this tunable, only {} and {last} do",
                    others.join(", ")
                ),
            }
        }
        Life::Hold(_) => format!("`{name}` runs no job and does not use this tunable"),
        Life::Failing => format!("`{name}` only tries to log in and does not use this tunable"),
        Life::Program => {
            format!("`{name}` runs a program of yours, which has its own settings")
        }
        Life::Once | Life::Shared => {
            format!("`{name}` runs one command and no job, and does not use this tunable")
        }
    }
}
