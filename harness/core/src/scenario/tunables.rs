//! Which tunables a strategy uses: one answer for the reader, which refuses the others, and for the writer, which leaves
//! them out.
//!
//! Owns the lists. What a tunable means is `config`'s, its value the reader's.

use super::config::{JobLife, Life, StrategyKind};

/// Tunables that mean nothing to strategies of this kind.
pub(super) fn unused(kind: StrategyKind) -> &'static [&'static str] {
    match kind.life() {
        Life::Job(JobLife::PerCommand) => &[
            "command",
            "max_reconnect_attempts",
            "sessions_per_connection",
        ],
        Life::Job(JobLife::ReusedSession) => {
            &["command", "command_attempts", "sessions_per_connection"]
        }
        Life::Hold(_) => &[
            "cleanup",
            "cleanup_retries",
            "cleanup_timeout",
            "command",
            "command_attempts",
            "command_timeout",
            "conn_retry_attempts",
            "conn_retry_jitter",
            "conn_retry_wait",
            "detect_timeout",
            "keepalive_interval",
            "log_chunk_size",
            "max_reconnect_attempts",
            "poll_interval",
            "sessions_per_connection",
            "submit_timeout",
        ],
        Life::Once => &[
            "cleanup",
            "cleanup_retries",
            "cleanup_timeout",
            "command_attempts",
            "detect_timeout",
            "keepalive_interval",
            "log_chunk_size",
            "max_reconnect_attempts",
            "poll_interval",
            "sessions_per_connection",
            "submit_timeout",
        ],
        Life::Shared => &[
            "cleanup",
            "cleanup_retries",
            "cleanup_timeout",
            "command_attempts",
            "detect_timeout",
            "keepalive_interval",
            "log_chunk_size",
            "max_reconnect_attempts",
            "poll_interval",
            "submit_timeout",
        ],
        Life::Program => &ALL,
    }
}

/// Every tunable: a client under test has its own.
const ALL: [&str; 19] = [
    "banner_timeout",
    "cleanup",
    "cleanup_retries",
    "cleanup_timeout",
    "command",
    "command_attempts",
    "command_timeout",
    "conn_retry_attempts",
    "conn_retry_jitter",
    "conn_retry_wait",
    "conn_timeout",
    "detect_timeout",
    "keepalive_interval",
    "log_chunk_size",
    "login_timeout",
    "max_reconnect_attempts",
    "poll_interval",
    "sessions_per_connection",
    "submit_timeout",
];

/// Why a kind does not use `key`, for the one who wrote it.
pub(super) fn why_unused(kind: StrategyKind, key: &str) -> String {
    let name = kind.as_str();
    match kind.life() {
        Life::Job(_) => {
            let users: Vec<String> = StrategyKind::ALL
                .into_iter()
                .filter(|other| !unused(*other).contains(&key))
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
        Life::Program => {
            format!("`{name}` runs a program of yours, which has its own settings")
        }
        Life::Once | Life::Shared => {
            format!("`{name}` runs one command and no job, and does not use this tunable")
        }
    }
}
