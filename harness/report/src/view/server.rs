//! The server's side in the table: refusals by cause, slots and cost.
//!
//! Owns these rows. What a target could not show has no row; that a number is missing is said where it is
//! judged (laws, checks).

use super::rows::Rows;
use super::words::{NONE, time};
use crate::document::{RoundReport, StrategyReport};
use sshchurn_core::server_log::DropCounts;

/// Rows below the totals of all phases.
pub(crate) fn rows(rows: &mut Rows<'_>) {
    rows.metric(1, "sshd: authentications", "server_accepted");
    rows.metric(1, "sshd: drops", "server_drops");
    causes(rows);
    slots(rows);
    cost(rows);
}

/// A cause has a row where it occurred; a single cause that is the usual one has none.
fn causes(rows: &mut Rows<'_>) {
    type Count = fn(&DropCounts) -> u64;
    let causes: [(&str, Count); 5] = [
        ("drawn at random", |d| d.max_startups_draw),
        ("all slots in use", |d| d.max_startups_full),
        ("PerSourceMaxStartups", |d| d.per_source_max_startups),
        ("MaxStartups or per source", |d| {
            d.max_startups_or_per_source
        }),
        ("penalties", |d| d.penalties.values().sum()),
    ];
    let of = |s: &StrategyReport| s.totals.server.server_drops_by_cause.clone();
    let occurred = |count: Count| {
        rows.strategies
            .iter()
            .any(|s| of(s).is_some_and(|drops| count(&drops) > 0))
    };
    let shown: Vec<_> = causes
        .into_iter()
        .filter(|(_, count)| occurred(*count))
        .collect();
    if shown.len() == 1 && shown[0].0 == causes[0].0 {
        return;
    }
    for (label, count) in shown {
        rows.row(2, label, |s| {
            of(s).map_or_else(|| NONE.to_owned(), |drops| count(&drops).to_string())
        });
    }
}

fn slots(rows: &mut Rows<'_>) {
    let seen = |s: &StrategyReport| s.per_round.iter().any(|round| round.startups.is_some());
    if !rows.strategies.iter().any(seen) {
        return;
    }
    rows.row(1, "slots: peak / time ≥ start / at full", |s| {
        if s.totals.server.startups_peak.is_none() {
            return NONE.to_owned();
        }
        let sum =
            |of: fn(&RoundReport) -> Option<u64>| s.per_round.iter().filter_map(of).sum::<u64>();
        let above = sum(|round| Some(round.startups.as_ref()?.above_start_ns));
        let full = sum(|round| Some(round.startups.as_ref()?.at_full_ns));
        let peak = s.totals.server.startups_peak.unwrap_or(0);
        format!("{peak} / {} / {}", time(above), time(full))
    });
}

fn cost(rows: &mut Rows<'_>) {
    let read = |s: &StrategyReport| s.totals.server.server_cpu_ns.is_some();
    if !rows.strategies.iter().any(read) {
        return;
    }
    let shown = |ns: Option<u64>| ns.map_or_else(|| NONE.to_owned(), time);
    rows.row(1, "sshd CPU: handshake / task", |s| {
        let server = &s.totals.server;
        format!(
            "{} / {}",
            shown(server.server_cpu_per_handshake_ns),
            shown(server.server_cpu_per_task_ns)
        )
    });
    let peak = |s: &StrategyReport, of: fn(&RoundReport) -> Option<u64>| {
        s.per_round.iter().filter_map(of).max()
    };
    rows.row(1, "sshd processes / memory, peak", |s| {
        let processes = peak(s, |round| {
            Some(u64::from(round.server_cost.as_ref()?.processes_peak?))
        });
        let memory = peak(s, |round| round.server_cost.as_ref()?.memory_peak_bytes);
        match (processes, memory) {
            (Some(processes), Some(memory)) => {
                format!("{processes} / {} MiB", memory / (1 << 20))
            }
            _ => NONE.to_owned(),
        }
    });
}
