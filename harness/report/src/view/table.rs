//! The side-by-side table: one column for each strategy.
//!
//! Owns which rows it has, and their order.

use super::rows::{Row, Rows};
use super::words::{NONE, STAGES, decimal, time};
use super::{clients, server};
use crate::document::{LeftoverReport, NumbersReport, RunReport, ScopeReport, StrategyReport};
use sshchurn_core::analysis::latency::LatencySummary;
use sshchurn_core::analysis::summary::Makers;
use sshchurn_core::vocabulary::CleanupPolicy;

/// Its lines, for every renderer.
pub(crate) fn rows(report: &RunReport) -> Vec<Row> {
    let mut rows = Rows {
        rows: Vec::new(),
        strategies: &report.strategies,
    };
    tasks(&mut rows);
    scope_rows(&mut rows, "all phases", "", |numbers| &numbers.total);
    server::rows(&mut rows);
    clients::rows(&mut rows);
    leftovers(&mut rows);
    type Phase = (
        &'static str,
        &'static str,
        fn(&NumbersReport) -> &ScopeReport,
    );
    let phases: [Phase; 3] = [
        ("submit", "submit.", |numbers| &numbers.phases.submit),
        ("poll", "poll.", |numbers| &numbers.phases.poll),
        ("cleanup", "cleanup.", |numbers| &numbers.phases.cleanup),
    ];
    for (title, prefix, scope) in phases {
        // A strategy without a job has one phase only.
        let reached = |s: &StrategyReport| scope(&s.totals).counts.attempts > 0;
        if rows.strategies.iter().any(reached) {
            scope_rows(&mut rows, title, prefix, scope);
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
    rows.metric(0, "tasks", "tasks_scheduled", |n| {
        Some(n.tasks.tasks_scheduled)
    });
    rows.metric(1, "succeeded", "tasks_succeeded", |n| {
        Some(n.tasks.tasks_succeeded)
    });
    rows.metric(1, "failed", "tasks_failed", |n| Some(n.tasks.tasks_failed));
    let stopped = |n: &NumbersReport| n.tasks.tasks_interrupted + n.tasks.tasks_not_started;
    if rows.strategies.iter().any(|s| stopped(&s.totals) > 0) {
        rows.row(1, "interrupted / not started", |s| {
            let tasks = &s.totals.tasks;
            format!("{} / {}", tasks.tasks_interrupted, tasks.tasks_not_started)
        });
    }
}

fn scope_rows(
    rows: &mut Rows<'_>,
    title: &str,
    prefix: &str,
    scope: fn(&NumbersReport) -> &ScopeReport,
) {
    rows.section(title);
    // A client under test has no phases.
    let seen = |n: &NumbersReport| prefix.is_empty() || n.clients.is_none();
    let counts = move |n: &NumbersReport| scope(n).counts;
    rows.metric(1, "attempts", &format!("{prefix}attempts"), |n| {
        seen(n).then(|| counts(n).attempts)
    });
    rows.metric(1, "handshakes", &format!("{prefix}handshakes"), |n| {
        seen(n).then(|| counts(n).handshakes)
    });
    rows.metric(
        1,
        "banner-EOF failures",
        &format!("{prefix}banner_eof"),
        |n| seen(n).then(|| counts(n).banner_eof),
    );
    makers(rows, prefix, scope);
    // Rare outcomes have a row only where they happened; the sum of all outcomes is a checked law.
    type Count = fn(&ScopeReport) -> u64;
    let rare: [(&str, &str, Count); 12] = [
        ("client left before login", "client_left", |s| {
            s.counts.client_left
        }),
        ("held silent on purpose", "attempts_held", |s| {
            s.counts.attempts_held
        }),
        ("refused by TCP", "connect_refused", |s| {
            s.counts.connect_refused
        }),
        ("connect timeouts", "connect_timeout", |s| {
            s.counts.connect_timeout
        }),
        ("banner timeouts", "banner_timeout", |s| {
            s.counts.banner_timeout
        }),
        ("key exchange failed", "kex_failed", |s| s.counts.kex_failed),
        ("authentication failed", "auth_failed", |s| {
            s.counts.auth_failed
        }),
        ("generator faults", "generator_fault", |s| {
            s.counts.generator_fault
        }),
        ("attempts interrupted", "attempts_interrupted", |s| {
            s.counts.attempts_interrupted
        }),
        ("channels refused", "channel_refused", |s| {
            s.counts.channel_refused
        }),
        ("connections lost", "connection_lost", |s| {
            s.counts.connection_lost
        }),
        ("command timeouts", "command_timeout", |s| {
            s.counts.command_timeout
        }),
    ];
    for (label, name, count) in rare {
        if rows.strategies.iter().any(|s| count(scope(&s.totals)) > 0) {
            rows.metric(1, label, &format!("{prefix}{name}"), |n| {
                seen(n).then(|| count(scope(n)))
            });
        }
    }
    // Of a client under test nobody knows which connection is another try.
    let ours = |n: &NumbersReport| n.clients.is_none();
    rows.metric(1, "retries", &format!("{prefix}retries"), |n| {
        ours(n).then(|| counts(n).retries)
    });
    rows.row(1, "connected: 1st / eventually / wanted", |s| {
        if !ours(&s.totals) {
            return NONE.to_owned();
        }
        let counts = counts(&s.totals);
        format!(
            "{} / {} / {}",
            counts.first_attempt_ok, counts.final_ok, counts.connections
        )
    });
    rows.row(1, "handshakes/s: mean / peak", |s| {
        match scope(&s.totals).handshake_rate_per_s {
            None => NONE.to_owned(),
            Some(rate) => format!("{:.1} / {}", rate.mean, rate.peak),
        }
    });
    if prefix.is_empty() {
        rows.row(1, "handshakes/task: min/mean/max", |s| {
            match scope(&s.totals).handshakes_per_task {
                None => NONE.to_owned(),
                Some(spread) => {
                    let end = |value: Option<u64>| {
                        value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
                    };
                    let mean = decimal(spread.mean);
                    format!("{} / {mean} / {}", end(spread.min), end(spread.max))
                }
            }
        });
    }
}

/// Who refused has rows where it was not `MaxStartups` alone.
fn makers(rows: &mut Rows<'_>, prefix: &str, scope: fn(&NumbersReport) -> &ScopeReport) {
    type Count = fn(&Makers) -> u64;
    let makers: [(u8, &str, &str, Count); 6] = [
        (2, "sshd, by MaxStartups", "refused_by_max_startups", |m| {
            m.refused_by_max_startups
        }),
        (2, "sshd, by another rule", "refused_by_other_rule", |m| {
            m.refused_by_other_rule
        }),
        (2, "sshd could not serve", "unserved", |m| m.unserved),
        (
            2,
            "kernel, listen queue full",
            "listen_queue_refused",
            |m| m.listen_queue_refused,
        ),
        (2, "unexplained", "refused_by_unknown", |m| {
            m.refused_by_unknown
        }),
        (
            1,
            "gave up in the listen queue",
            "listen_queue_timeout",
            |m| m.listen_queue_timeout,
        ),
    ];
    let of = |n: &NumbersReport, count: Count| scope(n).makers.as_ref().map(count);
    let occurred = |count: Count| {
        rows.strategies
            .iter()
            .any(|s| of(&s.totals, count).is_some_and(|n| n > 0))
    };
    let shown: Vec<_> = makers
        .into_iter()
        .filter(|(_, _, _, count)| occurred(*count))
        .collect();
    if shown.len() == 1 && shown[0].2 == makers[0].2 {
        return;
    }
    for (level, label, name, count) in shown {
        rows.metric(level, label, &format!("{prefix}{name}"), |n| of(n, count));
    }
}

fn leftovers(rows: &mut Rows<'_>) {
    rows.metric(0, "leftover directories", "leftover_dirs", |n| {
        n.leftovers.map(|found| found.leftover_dirs)
    });
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
