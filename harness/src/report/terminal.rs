//! The report for a terminal: gates first, the strategies side by side, then what vouches for the numbers.
//!
//! Owns layout and wording. Plain text some 100 columns wide; colour only when asked for. Rounds what it
//! shows and judges nothing.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::document::{NumbersReport, RunReport, ScopeReport, StrategyReport};
use crate::analysis::latency::{LatencySummary, Stage};
use crate::analysis::laws::LawStatus;
use crate::analysis::validity::{CheckId, CheckStatus};
use crate::exit_code::ExitCode;
use crate::gate::{GateOutcome, GateResult, Verdict};
use crate::ledger::CleanupPolicy;

const WIDTH: u16 = 100;
const NONE: &str = "–";

/// Renders the report, without colour.
#[must_use]
pub fn render(report: &RunReport) -> String {
    render_with(report, false)
}

/// Renders the report; with `colour`, the words that matter carry ANSI colours.
#[must_use]
pub fn render_with(report: &RunReport, colour: bool) -> String {
    let paint = Paint { colour };
    let mut out = String::new();
    if report.embedded_stand_in {
        line(
            &mut out,
            &paint.warn(
                "EMBEDDED STAND-IN: not an OpenSSH server; refusals follow OpenSSH's rule, rates and latencies do not",
            ),
        );
    }
    header(&mut out, report);
    gates(&mut out, report, &paint);
    line(&mut out, &table(report));
    vouchers(&mut out, report, &paint);
    verdict(&mut out, report, &paint);
    line(&mut out, &format!("Next step: {}", next_step(report)));
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn with(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn good(&self, text: &str) -> String {
        self.with("32", text)
    }

    fn bad(&self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn warn(&self, text: &str) -> String {
        self.with("1;33", text)
    }
}

fn header(out: &mut String, report: &RunReport) {
    let (scenario, target) = (&report.scenario, &report.target);
    line(
        out,
        &format!(
            "{}: {} tasks, {} rounds of each strategy, MaxStartups {}",
            scenario.name,
            scenario.tasks,
            scenario.rounds,
            target
                .effective_max_startups
                .as_ref()
                .unwrap_or(&scenario.max_startups)
        ),
    );
    let release = target.release.as_ref().unwrap_or(&target.identification);
    let trip = target
        .round_trip_ns
        .map_or_else(String::new, |ns| format!(", TCP connect {}", time(ns)));
    line(
        out,
        &format!(
            "target {} ({release}), path {}{trip}; {} CPUs; ran {}",
            target.kind.as_str(),
            target.network_path.as_str(),
            report.environment.cpus,
            time(report.duration_ns)
        ),
    );
    line(out, "");
}

fn gates(out: &mut String, report: &RunReport, paint: &Paint) {
    if report.gates.is_empty() {
        line(out, "Gates: none");
    } else {
        line(out, "Gates");
    }
    for gate in &report.gates {
        let mark = match gate.outcome {
            GateOutcome::Pass => paint.good("pass        "),
            GateOutcome::Fail => paint.bad("FAIL        "),
            GateOutcome::Inconclusive => paint.warn("inconclusive"),
        };
        line(out, &format!("  {mark}  {}", gate.expression));
        for check in &gate.checks {
            line(
                out,
                &format!(
                    "                  {}: {} {} {}",
                    check.strategy,
                    gate_value(gate, check.actual),
                    gate.operator,
                    gate_value(gate, check.limit)
                ),
            );
        }
    }
    line(out, "");
}

/// A gate's own value, rounded only where more digits would not be read.
fn gate_value(gate: &GateResult, value: Option<f64>) -> String {
    match value {
        None => "no data".to_owned(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "metrics are never negative, and this is for display"
        )]
        Some(value) if gate.is_duration => time(value.round() as u64),
        Some(value) => number(value),
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// Nanoseconds as a person reads them.
#[expect(clippy::cast_precision_loss, reason = "for display")]
fn time(ns: u64) -> String {
    let ns = ns as f64;
    match ns {
        _ if ns >= 99.95e9 => format!("{:.0} s", ns / 1e9),
        _ if ns >= 1e9 => format!("{:.2} s", ns / 1e9),
        _ if ns >= 99.95e6 => format!("{:.0} ms", ns / 1e6),
        _ if ns >= 1e6 => format!("{:.1} ms", ns / 1e6),
        _ => format!("{:.0} µs", ns / 1e3),
    }
}

/// The side-by-side table under construction: a label, then one cell for each strategy.
struct Rows<'a> {
    table: Table,
    strategies: &'a [StrategyReport],
}

impl Rows<'_> {
    fn row(&mut self, label: &str, cell: impl Fn(&StrategyReport) -> String) {
        let cells = self.strategies.iter().map(cell);
        let row: Vec<String> = std::iter::once(label.to_owned()).chain(cells).collect();
        self.table.add_row(row);
    }

    fn section(&mut self, title: &str) {
        self.row(title, |_| String::new());
    }

    /// A count with its spread between rounds.
    fn metric(&mut self, label: &str, name: &str, value: impl Fn(&NumbersReport) -> Option<u64>) {
        self.row(label, |strategy| match value(&strategy.totals) {
            None => NONE.to_owned(),
            Some(total) => format!("{total}{}", spread(strategy, name)),
        });
    }
}

/// ` [min median max]` between rounds, when there is more than one.
fn spread(strategy: &StrategyReport, name: &str) -> String {
    match strategy.spread.get(name) {
        Some(spread) if strategy.rounds > 1 => format!(
            "  [{} {} {}]",
            number(spread.min),
            number(spread.median),
            number(spread.max)
        ),
        _ => String::new(),
    }
}

fn table(report: &RunReport) -> String {
    let mut table = Table::new();
    table
        .load_style(
            TableStyle::new()
                .header_separator(LineStyle::new('─', '─', '─', '─'))
                .bottom_border(LineStyle::new('─', '─', '─', '─')),
        )
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH);
    let head = std::iter::once("sum over rounds  [min median max of a round]".to_owned())
        .chain(report.strategies.iter().map(|s| s.strategy.0.clone()));
    table.set_header(head.collect::<Vec<_>>());
    let mut rows = Rows {
        table,
        strategies: &report.strategies,
    };
    tasks(&mut rows);
    scope_rows(&mut rows, "all phases", "", |numbers| &numbers.total);
    rows.metric("  sshd's own: authentications", "server_accepted", |n| {
        n.server.server_accepted
    });
    rows.metric("  sshd's own: drops", "server_drops", |n| {
        n.server.server_drops
    });
    leftovers(&mut rows);
    scope_rows(&mut rows, "submit", "submit.", |numbers| {
        &numbers.phases.submit
    });
    scope_rows(&mut rows, "poll", "poll.", |numbers| &numbers.phases.poll);
    scope_rows(&mut rows, "cleanup", "cleanup.", |numbers| {
        &numbers.phases.cleanup
    });
    rows.section("latency  p50 / p95 / p99 / max");
    for (stage, label) in [
        (Stage::Tcp, "  TCP connect"),
        (Stage::Banner, "  identification string"),
        (Stage::Kex, "  key exchange"),
        (Stage::Auth, "  authentication"),
        (Stage::Refusal, "  connect to refusal"),
        (Stage::Exec, "  command"),
        (Stage::Submit, "  task: intended start to submitted"),
        (Stage::Task, "  task: intended start to end"),
    ] {
        rows.row(label, |strategy| {
            quantiles(strategy.totals.total.times.get(&stage))
        });
    }
    rows.row("  start spread (worst burst)", |strategy| {
        strategy
            .totals
            .start_spread_ns
            .map_or_else(|| NONE.to_owned(), time)
    });
    for column in rows.table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    rows.table.trim_fmt()
}

fn tasks(rows: &mut Rows<'_>) {
    rows.metric("tasks", "tasks_scheduled", |n| {
        Some(n.tasks.tasks_scheduled)
    });
    rows.metric("  succeeded", "tasks_succeeded", |n| {
        Some(n.tasks.tasks_succeeded)
    });
    rows.metric("  failed", "tasks_failed", |n| Some(n.tasks.tasks_failed));
    let stopped = |n: &NumbersReport| n.tasks.tasks_interrupted + n.tasks.tasks_not_started;
    if rows.strategies.iter().any(|s| stopped(&s.totals) > 0) {
        rows.row("  interrupted / not started", |s| {
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
    let counts = move |n: &NumbersReport| scope(n).counts;
    rows.metric("  attempts", &format!("{prefix}attempts"), |n| {
        Some(counts(n).attempts)
    });
    rows.metric("  handshakes", &format!("{prefix}handshakes"), |n| {
        Some(counts(n).handshakes)
    });
    rows.metric(
        "  banner-EOF failures",
        &format!("{prefix}banner_eof"),
        |n| Some(counts(n).banner_eof),
    );
    // Rare outcomes have a row only where they happened; the sum of all outcomes is a checked law.
    let rare: [(&str, &str, fn(&ScopeReport) -> u64); 10] = [
        ("  refused by TCP", "connect_refused", |s| {
            s.counts.connect_refused
        }),
        ("  connect timeouts", "connect_timeout", |s| {
            s.counts.connect_timeout
        }),
        ("  banner timeouts", "banner_timeout", |s| {
            s.counts.banner_timeout
        }),
        ("  key exchange failed", "kex_failed", |s| {
            s.counts.kex_failed
        }),
        ("  authentication failed", "auth_failed", |s| {
            s.counts.auth_failed
        }),
        ("  generator faults", "generator_fault", |s| {
            s.counts.generator_fault
        }),
        ("  attempts interrupted", "attempts_interrupted", |s| {
            s.counts.attempts_interrupted
        }),
        ("  channels refused", "channel_refused", |s| {
            s.counts.channel_refused
        }),
        ("  connections lost", "connection_lost", |s| {
            s.counts.connection_lost
        }),
        ("  command timeouts", "command_timeout", |s| {
            s.counts.command_timeout
        }),
    ];
    for (label, name, count) in rare {
        if rows.strategies.iter().any(|s| count(scope(&s.totals)) > 0) {
            rows.metric(label, &format!("{prefix}{name}"), |n| Some(count(scope(n))));
        }
    }
    rows.metric("  retries", &format!("{prefix}retries"), |n| {
        Some(counts(n).retries)
    });
    rows.row("  connections had: first try / at last / wanted", |s| {
        let counts = counts(&s.totals);
        format!(
            "{} / {} / {}",
            counts.first_attempt_ok, counts.final_ok, counts.connections
        )
    });
    rows.row("  handshakes per s: mean / peak", |s| {
        match scope(&s.totals).handshake_rate_per_s {
            None => NONE.to_owned(),
            Some(rate) => format!("{:.1} / {}", rate.mean, rate.peak),
        }
    });
    if prefix.is_empty() {
        rows.row(
            "  handshakes per task: min / mean / max",
            |s| match scope(&s.totals).handshakes_per_task {
                None => NONE.to_owned(),
                Some(spread) => {
                    format!("{} / {} / {}", spread.min, number(spread.mean), spread.max)
                }
            },
        );
    }
}

fn leftovers(rows: &mut Rows<'_>) {
    rows.metric("leftover directories", "leftover_dirs", |n| {
        n.leftovers.map(|found| found.leftover_dirs)
    });
    rows.row("  cleanup policy", |strategy| {
        match strategy.cleanup {
            None => NONE,
            Some(CleanupPolicy::Never) => "never",
            Some(CleanupPolicy::OnSuccess) => "on_success",
            Some(CleanupPolicy::Always) => "always",
        }
        .to_owned()
    });
    type Found = crate::analysis::summary::Leftovers;
    let causes: [(&str, fn(&Found) -> u64); 10] = [
        ("  no cleanup connection", |f| f.cleanup_connect_failed),
        ("  cleanup command failed", |f| f.cleanup_command_failed),
        ("  task killed", |f| f.killed),
        ("  submit failed", |f| f.submit_failed),
        ("  monitoring failed", |f| f.monitor_failed),
        ("  run stopped", |f| f.interrupted),
        ("  reported removed", |f| f.reported_removed),
        ("  cause unknown", |f| f.unknown),
        ("  (kept by policy)", |f| f.kept_by_policy),
        ("  (unexplained)", |f| f.unexplained),
    ];
    for (label, count) in causes {
        let of = |s: &StrategyReport| s.totals.leftovers.as_ref().map(count);
        if rows.strategies.iter().any(|s| of(s).is_some_and(|n| n > 0)) {
            rows.row(label, |s| {
                of(s).map_or_else(|| NONE.to_owned(), |n| n.to_string())
            });
        }
    }
}

fn quantiles(times: Option<&LatencySummary>) -> String {
    match times {
        None => NONE.to_owned(),
        Some(times) => [times.p50_ns, times.p95_ns, times.p99_ns, times.max_ns]
            .map(time)
            .join(" / "),
    }
}

fn vouchers(out: &mut String, report: &RunReport, paint: &Paint) {
    line(out, "");
    let count = |status| report.laws.iter().filter(move |law| law.status == status);
    let holding = count(LawStatus::Holds).count();
    line(
        out,
        &format!("Books: {holding} of {} laws hold", report.laws.len()),
    );
    for law in count(LawStatus::Broken) {
        line(
            out,
            &format!("  {}  {}", paint.bad("BROKEN"), law.description),
        );
        for balance in law.balances.iter().filter(|balance| !balance.holds) {
            let place = match (&balance.round, &balance.strategy) {
                (Some(round), Some(strategy)) => format!("round {round} ({strategy})"),
                _ => "run".to_owned(),
            };
            line(
                out,
                &format!(
                    "          {place}: {} {}, {} {}",
                    law.left, balance.left, law.right, balance.right
                ),
            );
            for detail in &balance.detail {
                line(out, &format!("            {detail}"));
            }
        }
    }
    for law in count(LawStatus::NotCheckable) {
        let reason = law.reason.as_deref().unwrap_or("");
        line(out, &format!("  not checkable: {} ({reason})", law.left));
    }
    let fine = report
        .validity
        .iter()
        .filter(|check| check.status == CheckStatus::Ok)
        .count();
    line(
        out,
        &format!("Generator: {fine} of {} checks ok", report.validity.len()),
    );
    for check in &report.validity {
        let word = match check.status {
            CheckStatus::Ok => continue,
            CheckStatus::Warn => paint.warn("warning"),
            CheckStatus::Invalid => paint.bad("INVALID"),
        };
        line(
            out,
            &format!(
                "  {word}  {} (limit {}): {}",
                check.actual,
                check.limit,
                check.advice.as_deref().unwrap_or("")
            ),
        );
    }
    for warning in &report.warnings {
        line(out, &format!("  {}  {warning}", paint.warn("warning")));
    }
    line(out, "");
}

fn verdict(out: &mut String, report: &RunReport, paint: &Paint) {
    let word = match report.verdict {
        Verdict::Pass => paint.good("PASS"),
        Verdict::Fail => paint.bad("FAIL"),
        Verdict::Inconclusive => paint.warn("INCONCLUSIVE"),
    };
    let mut text = format!("Verdict: {word} (exit {})", report.exit_code);
    if let Some(first) = report.reasons.first() {
        let _ = write!(text, ": {first}");
    }
    line(out, &text);
    for reason in report.reasons.iter().skip(1) {
        line(out, &format!("  also: {reason}"));
    }
}

fn next_step(report: &RunReport) -> &'static str {
    let invalid = |id| {
        report
            .validity
            .iter()
            .any(|check| check.id == id && check.status == CheckStatus::Invalid)
    };
    match report.exit {
        ExitCode::Success if report.embedded_stand_in => {
            "run it against a real sshd (`--target docker` or `--target local`) before relying on it."
        }
        ExitCode::Success if report.gates.is_empty() => {
            "add a threshold (`--threshold 'reused-session.poll.banner_eof == 0'`) to make this a gate."
        }
        ExitCode::Success => "keep report.json as the baseline of later runs.",
        ExitCode::GateFailed => {
            "compare the failed metric by phase in the table, and its attempts in events.jsonl.zst."
        }
        ExitCode::Interrupted => "run it again to the end; these numbers are partial.",
        ExitCode::Environment => {
            "read sshd.log in the run directory: the server under test did not last."
        }
        ExitCode::Usage => "correct the command line or the scenario.",
        ExitCode::Inconclusive
            if report
                .laws
                .iter()
                .any(|law| law.status == LawStatus::Broken) =>
        {
            "find who else uses this server, or what cut its log, from the unbalanced law above."
        }
        ExitCode::Inconclusive if invalid(CheckId::GeneratorFaults) => {
            "run `sshchurn doctor` and raise the limit it names."
        }
        ExitCode::Inconclusive if invalid(CheckId::RunComplete) => {
            "raise max_duration, or run fewer tasks or rounds."
        }
        ExitCode::Inconclusive => {
            "give the run more room (see the lines above), then run it again."
        }
    }
}
