//! The side-by-side table: one column for each strategy.
//!
//! Owns which rows it has, and their order.

use super::rows::{Row, Rows};
use super::words::{NONE, STAGES, decimal, time};
use super::{clients, server};
use crate::document::{LeftoverReport, RunReport, StrategyReport};
use sshchurn_core::analysis::latency::LatencySummary;
use sshchurn_core::vocabulary::{CleanupPolicy, Phase};

/// Its lines, for every renderer.
pub(crate) fn rows(report: &RunReport) -> Vec<Row> {
    let mut rows = Rows {
        rows: Vec::new(),
        strategies: &report.strategies,
    };
    tasks(&mut rows);
    scope_rows(&mut rows, "all phases", "");
    server::rows(&mut rows);
    clients::rows(&mut rows);
    leftovers(&mut rows);
    for phase in Phase::ALL {
        // A strategy without a job has one phase only.
        let prefix = format!("{}.", phase.as_str());
        if rows.any(&format!("{prefix}attempts")) {
            scope_rows(&mut rows, phase.as_str(), &prefix);
        }
    }
    rows.section("latency p50 / p95 / p99 / max");
    for (stage, label) in STAGES {
        let times = |strategy: &StrategyReport| strategy.totals.total.times.get(&stage).copied();
        if rows.strategies.iter().any(|s| times(s).is_some()) {
            rows.row(1, label, |strategy| quantiles(times(strategy).as_ref()));
        }
    }
    rows.row(1, "start spread, worst burst", |strategy| {
        strategy
            .totals
            .start_spread_ns
            .map_or_else(|| NONE.to_owned(), time)
    });
    rows.rows
}

fn tasks(rows: &mut Rows<'_>) {
    rows.metric(0, "tasks", "tasks_scheduled");
    rows.metric(1, "succeeded", "tasks_succeeded");
    rows.metric(1, "failed", "tasks_failed");
    if rows.any("tasks_interrupted") || rows.any("tasks_not_started") {
        let stopped = [("tasks_interrupted", "all"), ("tasks_not_started", "all")];
        rows.values(1, "interrupted / not started", stopped, decimal);
    }
}

/// Outcomes that have a row only where they happened; the sum of all outcomes is a checked law.
const RARE: [(&str, &str); 12] = [
    ("client left before login", "client_left"),
    ("held silent on purpose", "attempts_held"),
    ("refused by TCP", "connect_refused"),
    ("connect timeouts", "connect_timeout"),
    ("banner timeouts", "banner_timeout"),
    ("key exchange failed", "kex_failed"),
    ("authentication failed", "auth_failed"),
    ("generator faults", "generator_fault"),
    ("attempts interrupted", "attempts_interrupted"),
    ("channels refused", "channel_refused"),
    ("connections lost", "connection_lost"),
    ("command timeouts", "command_timeout"),
];

/// Who refused has rows where it was not the first of them alone.
const MAKERS: [(u8, &str, &str); 6] = [
    (2, "sshd, by MaxStartups", "refused_by_max_startups"),
    (2, "sshd, by another rule", "refused_by_other_rule"),
    (2, "sshd could not serve", "unserved"),
    (2, "kernel, listen queue full", "listen_queue_refused"),
    (2, "unexplained", "refused_by_unknown"),
    (1, "gave up in the listen queue", "listen_queue_timeout"),
];

/// All phases, or one, whose metrics' names begin with `prefix`.
fn scope_rows(rows: &mut Rows<'_>, title: &str, prefix: &str) {
    let key = |name: &str| format!("{prefix}{name}");
    rows.section(title);
    rows.metric(1, "attempts", &key("attempts"));
    rows.metric(1, "handshakes", &key("handshakes"));
    rows.metric(1, "banner-EOF failures", &key("banner_eof"));
    if MAKERS[1..].iter().any(|(_, _, name)| rows.any(&key(name))) {
        for (level, label, name) in MAKERS {
            rows.rare(level, label, &key(name));
        }
    }
    for (label, name) in RARE {
        rows.rare(1, label, &key(name));
    }
    rows.metric(1, "retries", &key("retries"));
    let connected = [key("first_attempt_ok"), key("final_ok"), key("connections")];
    let connected = connected.each_ref().map(|key| (key.as_str(), "all"));
    rows.values(
        1,
        "connected: 1st / eventually / wanted",
        connected,
        decimal,
    );
    let rate = key("handshake_rate_per_s");
    let rate = [(rate.as_str(), "mean"), (rate.as_str(), "peak")];
    rows.values(1, "handshakes/s: mean / peak", rate, |rate| {
        match rate.fract() {
            0.0 => decimal(rate),
            _ => format!("{rate:.1}"),
        }
    });
    if prefix.is_empty() {
        let each = ["min", "mean", "max"].map(|word| ("handshakes_per_task", word));
        rows.values(1, "handshakes/task: min/mean/max", each, decimal);
    }
}

fn leftovers(rows: &mut Rows<'_>) {
    rows.metric(0, "leftover directories", "leftover_dirs");
    rows.row(1, "cleanup policy", |strategy| {
        match strategy.cleanup {
            _ if strategy.totals.clients.is_some() => NONE,
            None => NONE,
            Some(CleanupPolicy::Never) => "never",
            Some(CleanupPolicy::OnSuccess) => "on_success",
            Some(CleanupPolicy::Always) => "always",
        }
        .to_owned()
    });
    type Count = fn(&LeftoverReport) -> u64;
    let causes: [(&str, Count); 10] = [
        ("no cleanup connection", |f| f.cleanup_connect_failed),
        ("cleanup command failed", |f| f.cleanup_command_failed),
        ("task killed", |f| f.killed),
        ("submit failed", |f| f.submit_failed),
        ("monitoring failed", |f| f.monitor_failed),
        ("run stopped", |f| f.interrupted),
        ("reported removed", |f| f.reported_removed),
        ("cause unknown", |f| f.unknown),
        ("(kept by policy)", |f| f.kept_by_policy),
        ("(unexplained)", |f| f.unexplained),
    ];
    for (label, count) in causes {
        let of = |s: &StrategyReport| s.totals.leftovers.as_ref().map(count);
        if rows.strategies.iter().any(|s| of(s).is_some_and(|n| n > 0)) {
            rows.row(1, label, |s| {
                of(s).map_or_else(|| NONE.to_owned(), |n| n.to_string())
            });
        }
    }
}

/// p50 / p95 / p99 / max in one unit, three significant digits; one that would come to nothing in that unit has its own.
#[expect(clippy::cast_precision_loss, reason = "for display")]
fn quantiles(times: Option<&LatencySummary>) -> String {
    let Some(times) = times else {
        return NONE.to_owned();
    };
    let (unit, divisor) = match times.max_ns {
        ns if ns >= 1_000_000_000 => ("s", 1e9),
        ns if ns >= 1_000_000 => ("ms", 1e6),
        _ => ("µs", 1e3),
    };
    let values = [times.p50_ns, times.p95_ns, times.p99_ns, times.max_ns].map(|ns| {
        let value = ns as f64 / divisor;
        match value {
            _ if value >= 99.95 => format!("{value:.0}"),
            _ if value >= 9.995 => format!("{value:.1}"),
            _ if value < 0.01 && ns > 0 => time(ns),
            _ => format!("{value:.2}"),
        }
    });
    format!("{} {unit}", values.join(" / "))
}
