//! The tables below the plots: books, the server's side, validity, environment.
//!
//! Owns their columns and wording, and the sentence that stands where the data is missing.

use serde::Serialize;

use crate::document::{RoundReport, RunReport, StrategyReport};
use crate::plot::DataTable;
use crate::view::story;
use crate::view::words::{decimal, time, word};
use sshchurn_core::analysis::reconciliation::{Joined, Sides};
use sshchurn_core::analysis::validity::CheckStatus;
use sshchurn_core::analysis::witness::CostSource;
use sshchurn_core::manifest::PackageRecord;
use sshchurn_core::quantity::number;
use sshchurn_core::server_log::DropCounts;

const NONE: &str = "–";

/// A table, or the sentence in its place.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    title: String,
    data: DataTable,
    missing: Option<String>,
    notes: Vec<String>,
}

impl Part {
    fn new(title: &str, head: &[&str]) -> Part {
        Part {
            title: title.to_owned(),
            data: DataTable {
                head: head.iter().map(|cell| (*cell).to_owned()).collect(),
                rows: Vec::new(),
            },
            missing: None,
            notes: Vec::new(),
        }
    }

    fn or_missing(mut self, why: &str) -> Part {
        if self.data.rows.is_empty() {
            self.missing = Some(why.to_owned());
        }
        self
    }
}

/// All rounds with their strategies, in the order of execution.
fn rounds(report: &RunReport) -> Vec<(&StrategyReport, &RoundReport)> {
    let mut rounds: Vec<_> = report
        .strategies
        .iter()
        .flat_map(|strategy| {
            strategy
                .per_round
                .iter()
                .map(move |round| (strategy, round))
        })
        .collect();
    rounds.sort_by_key(|(_, round)| round.round);
    rounds
}

fn place(strategy: &StrategyReport, round: &RoundReport) -> String {
    format!("{} ({})", round.round, strategy.strategy)
}

fn count(value: Option<u64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| value.to_string())
}

fn duration(value: Option<u64>) -> String {
    value.map_or_else(|| NONE.to_owned(), time)
}

/// The books in one line.
pub(super) fn books_line(report: &RunReport) -> String {
    format!(
        "{}. Every number must be accounted for on both sides; one that failed makes the run inconclusive.",
        story::laws(report)
    )
}

/// The client's attempts beside sshd's log, with every unmatched case.
pub(super) fn reconciliation(report: &RunReport) -> Vec<Part> {
    let mut part = Part::new(
        "Client and server, attempt by attempt",
        &[
            "Round",
            "Compared",
            "Client",
            "Server",
            "Matched",
            "Explained",
            "Client only",
            "Server only",
        ],
    );
    for (strategy, round) in rounds(report) {
        let Some(found) = &round.reconciliation else {
            continue;
        };
        let place = place(strategy, round);
        let how = match found.joined {
            Joined::SourcePort => "joined one by one by the client's TCP port",
            Joined::Count => "compared by count: the network path does not keep source ports",
        };
        if part.notes.is_empty() {
            part.notes
                .push(format!("Attempts and log lines are {how}."));
        }
        let mut compare = |what: &str, sides: &Sides| {
            let explained: u64 = sides.explained.values().sum();
            part.data.rows.push(vec![
                place.clone(),
                what.to_owned(),
                sides.client.to_string(),
                sides.server.to_string(),
                sides.matched.to_string(),
                explained.to_string(),
                sides.client_only.to_string(),
                sides.server_only.to_string(),
            ]);
            let about = format!("Round {place}, {what}");
            for (why, count) in &sides.explained {
                part.notes
                    .push(format!("{about}: {count} {}.", why.as_str()));
            }
            for (side, all, first) in [
                ("client", sides.client_only, &sides.client_only_first),
                ("server", sides.server_only, &sides.server_only_first),
            ] {
                for case in first {
                    part.notes.push(format!("{about}, {side} only: {case}."));
                }
                let more = all.saturating_sub(first.len() as u64);
                if more > 0 {
                    part.notes
                        .push(format!("{about}, {side} only: {more} more."));
                }
            }
            for suspect in &sides.suspects {
                part.notes.push(format!("{about}: {suspect}."));
            }
        };
        compare("connections", &found.connections);
        compare("handshakes", &found.handshakes);
        if let Some(refusals) = &found.refusals {
            compare("refusals", refusals);
        }
    }
    vec![part.or_missing("The server's log was not read, so nothing could be joined to it.")]
}

/// What the server's machine shows.
pub(super) fn server(report: &RunReport) -> Vec<Part> {
    vec![
        drops(report),
        texts(report),
        startups(report),
        cost(report),
        kernel(report),
    ]
}

fn drops(report: &RunReport) -> Part {
    let mut part = Part::new("Drops by cause, from sshd's log", &["Cause"]);
    let known: Vec<Option<&DropCounts>> = report
        .strategies
        .iter()
        .map(|strategy| strategy.totals.server.server_drops_by_cause.as_ref())
        .collect();
    part.data.head.extend(
        report
            .strategies
            .iter()
            .map(|strategy| strategy.strategy.0.clone()),
    );
    if known.iter().all(Option::is_none) {
        return part.or_missing(
            "Drops by cause are not known: the server's log was not read, or does not hold every drop.",
        );
    }
    type Cause = fn(&DropCounts) -> u64;
    let causes: [(&str, Cause); 4] = [
        ("MaxStartups, by a random draw", |d| d.max_startups_draw),
        ("MaxStartups, all slots in use", |d| d.max_startups_full),
        ("PerSourceMaxStartups", |d| d.per_source_max_startups),
        ("MaxStartups or PerSourceMaxStartups", |d| {
            d.max_startups_or_per_source
        }),
    ];
    for (name, cause) in causes {
        let mut row = vec![name.to_owned()];
        row.extend(known.iter().map(|drops| count(drops.map(cause))));
        part.data.rows.push(row);
    }
    let mut reasons: Vec<&String> = known
        .iter()
        .flatten()
        .flat_map(|drops| drops.penalties.keys())
        .collect();
    reasons.sort();
    reasons.dedup();
    for reason in reasons {
        let mut row = vec![format!("PerSourcePenalties: {reason}")];
        row.extend(known.iter().map(|drops| {
            count(drops.map(|drops| drops.penalties.get(reason).copied().unwrap_or(0)))
        }));
        part.data.rows.push(row);
    }
    part
}

fn texts(report: &RunReport) -> Part {
    let mut part = Part::new(
        "How refusals ended, as the client saw them",
        &["Refusals", "All", "By FIN", "By RST", "With text"],
    );
    for strategy in &report.strategies {
        let scope = &strategy.totals.total;
        let split = &scope.banner_eof_split;
        part.data.rows.push(vec![
            strategy.strategy.0.clone(),
            scope.counts.banner_eof.to_string(),
            split.eof.to_string(),
            split.reset.to_string(),
            split.with_text.to_string(),
        ]);
        for (text, count) in &scope.banner_eof_texts {
            part.notes
                .push(format!("{}, {count} times: “{text}”", strategy.strategy));
        }
    }
    part.or_missing("No strategy was run.")
}

fn startups(report: &RunReport) -> Part {
    let mut part = Part::new(
        "Startup slots in use, from the listener's gauge",
        &[
            "Round",
            "Peak",
            "Mean",
            "start or more",
            "full",
            "Readings/s",
            "Reader's CPU",
        ],
    );
    for (strategy, round) in rounds(report) {
        if let Some(startups) = &round.startups {
            part.data.rows.push(vec![
                place(strategy, round),
                startups.peak.to_string(),
                format!("{:.1}", startups.mean),
                time(startups.above_start_ns),
                time(startups.at_full_ns),
                decimal(startups.samples_per_s.round()),
                startups.sampler_cpu_share.map_or_else(
                    || NONE.to_owned(),
                    |share| format!("{:.1} %", share * 100.0),
                ),
            ]);
        }
    }
    part.or_missing(
        "Startup slots in use are not known: the listener's gauge was not read on this target.",
    )
}

fn cost(report: &RunReport) -> Part {
    let mut part = Part::new(
        "What it cost the server",
        &[
            "Round",
            "CPU time",
            "per handshake",
            "per task",
            "with jobs",
            "Processes, most",
            "Memory, most",
        ],
    );
    for (strategy, round) in rounds(report) {
        if let Some(cost) = &round.server_cost {
            part.data.rows.push(vec![
                place(strategy, round),
                time(cost.cpu_ns),
                duration(cost.cpu_per_handshake_ns),
                duration(cost.cpu_per_task_ns),
                duration(cost.group_cpu_ns),
                count(cost.processes_peak.map(u64::from)),
                cost.memory_peak_bytes
                    .map_or_else(|| NONE.to_owned(), mebibytes),
            ]);
            if part.notes.is_empty() {
                part.notes.push(
                    match cost.source {
                        CostSource::ProcessTree => {
                            "CPU time of the listener and every process it has waited for: sshd and the commands it ran, not the detached jobs."
                        }
                        CostSource::ControlGroup => {
                            "CPU time of the container's control group: sshd, commands and jobs."
                        }
                    }
                    .to_owned(),
                );
            }
        }
    }
    part.or_missing(
        "What the run cost the server is not known: its CPU time was not read on this target.",
    )
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", number(bytes) / 1_048_576.0)
}

fn kernel(report: &RunReport) -> Part {
    let mut part = Part::new(
        "The kernel's listen queue",
        &["Round", "Queue overflows", "SYN or ACK dropped"],
    );
    for (strategy, round) in rounds(report) {
        if let Some(kernel) = &round.kernel {
            part.data.rows.push(vec![
                place(strategy, round),
                count(kernel.grown.listen_overflows),
                count(kernel.grown.listen_drops),
            ]);
        }
    }
    if !part.data.rows.is_empty() {
        part.notes.push(
            "Counted for the whole network namespace of the server: other listeners count too."
                .to_owned(),
        );
    }
    part.or_missing("The kernel's counters were not read on this target.")
}

/// The checks of the generator.
pub(super) fn validity(report: &RunReport) -> DataTable {
    DataTable {
        head: ["Check", "Status", "Actual", "Limit", "What it means"]
            .map(str::to_owned)
            .to_vec(),
        rows: report
            .validity
            .iter()
            .map(|check| {
                let status = match check.status {
                    CheckStatus::Ok => "ok",
                    CheckStatus::Warn => "warning",
                    CheckStatus::Invalid => "INVALID",
                };
                vec![
                    word(&check.id),
                    status.to_owned(),
                    check.actual.clone(),
                    check.limit.clone(),
                    check.advice.clone().unwrap_or_default(),
                ]
            })
            .collect(),
    }
}

/// Client, server and path.
pub(super) fn environment(report: &RunReport) -> Vec<(String, String)> {
    let (machine, target, scenario) = (&report.environment, &report.target, &report.scenario);
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| NONE.to_owned());
    let pairs = [
        ("Run", report.run_id.0.clone()),
        ("Started", report.started_at.clone()),
        (
            "Ended",
            report
                .run_end
                .map_or_else(|| "not closed".to_owned(), |end| word(&end)),
        ),
        (
            "Scenario",
            format!("{} ({})", scenario.name, scenario.origin),
        ),
        ("Seed", scenario.seed.to_string()),
        ("Time scale", decimal(scenario.time_scale)),
        ("Client's kernel", machine.kernel.clone()),
        ("CPUs", machine.cpus.to_string()),
        (
            "Load average at the start, 1 min",
            machine
                .load_average_1m
                .map_or_else(|| NONE.to_owned(), |load| format!("{load:.2}")),
        ),
        ("Open files, limit", machine.open_files_limit.to_string()),
        (
            "Ephemeral ports",
            machine.ephemeral_ports.map_or_else(
                || NONE.to_owned(),
                |(first, last)| format!("{first} to {last}"),
            ),
        ),
        (
            "Target",
            format!("{} at {}", target.kind.as_str(), target.address),
        ),
        ("Why this target", target.choice.clone()),
        ("Network path", target.network_path.as_str().to_owned()),
        ("Identification", target.identification.clone()),
        ("Release", text(&target.release)),
        ("Image", text(&target.image)),
        ("MaxStartups in force", text(&target.effective_max_startups)),
        (
            "TCP connect before the first round, median",
            duration(target.round_trip_ns),
        ),
        (
            "One command on an idle connection, median",
            duration(target.exec_cost_ns),
        ),
        (
            "… of which the login shell",
            duration(target.login_shell_cost_ns),
        ),
        ("Job directories", target.jobs_directory.clone()),
    ];
    // Of a server that nobody looked into there is nothing to say.
    let packages = target.packages.as_ref().map(|packages| {
        let texts: Vec<String> = packages.iter().map(PackageRecord::text).collect();
        texts.join(", ")
    });
    let inside = [
        (
            "sshd started over (SIGHUP) after these, to know no source",
            target.restart_ns.map(|ns| duration(Some(ns))),
        ),
        ("Login shell", target.login_shell.clone()),
        ("Packages", packages),
    ];
    let inside = inside
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    pairs
        .into_iter()
        .chain(inside)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
