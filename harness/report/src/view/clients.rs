//! Clients under test in the table.
//!
//! Owns these rows.

use super::rows::Rows;
use super::words::{NONE, time};
use crate::document::StrategyReport;
use sshchurn_core::analysis::summary::Clients;

/// Rows of strategies that are programs; none where there are none.
pub(crate) fn rows(rows: &mut Rows<'_>) {
    let clients = |strategy: &StrategyReport| strategy.totals.clients.clone();
    if !rows.strategies.iter().any(|s| clients(s).is_some()) {
        return;
    }
    rows.section("client under test");
    let mut row = |label: &str, always: bool, cell: &dyn Fn(&Clients) -> Option<String>| {
        let shown = |s: &StrategyReport| clients(s).as_ref().and_then(cell);
        if always || rows.strategies.iter().any(|s| shown(s).is_some()) {
            rows.row(1, label, |s| shown(s).unwrap_or_else(|| NONE.to_owned()));
        }
    };
    let some = |count: u64| (count > 0).then(|| count.to_string());
    row("programs, by their end", true, &|clients| {
        let ends: Vec<String> = clients
            .ends
            .iter()
            .map(|(end, count)| format!("{count} {end}"))
            .collect();
        (!ends.is_empty()).then(|| ends.join(", "))
    });
    row("CPU: all / each program", true, &|clients| {
        let cpu = clients.cpu_ns?;
        let each = cpu.checked_div(clients.started)?;
        Some(format!("{} / {}", time(cpu), time(each)))
    });
    row("memory of its largest process", true, &|clients| {
        Some(format!("{} MiB", clients.memory_bytes? >> 20))
    });
    row("busiest thread / all cores", true, &|clients| {
        let load = clients.load.as_ref()?;
        let word = if load.saturated() { ", saturated" } else { "" };
        Some(format!(
            "{:.0} % / {:.0} %{word}",
            load.thread_share * 100.0,
            load.machine_share * 100.0
        ))
    });
    row("tasks without a connection", false, &|clients| {
        clients.tasks_unseen.and_then(some)
    });
    row("connections of no task", false, &|clients| {
        some(clients.unattributed)
    });
    row("logins told by their key", false, &|clients| {
        some(clients.logins_by_key)
    });
    row("channels over MaxSessions", false, &|clients| {
        some(clients.sessions_refused)
    });
    row("left processes behind", false, &|clients| {
        some(clients.left_behind)
    });
    row("lines that speak of a refusal", false, &|clients| {
        some(clients.recognised)
    });
}
