//! The server's side in the terminal report: refusals by cause, slots, cost, and whether it admitted by its rule.
//!
//! Owns these rows and lines. What a target could not show has no row; that a number is missing is said where it is
//! judged (laws, checks).

use super::rows::{NONE, Rows};
use super::{decimal, line, time};
use crate::document::{RoundReport, RunReport, StrategyReport};
use sshchurn_core::analysis::admission::{AdmissionCurve, CurveSource, CurveVerdict};
use sshchurn_core::server_log::DropCounts;

/// Rows below the totals of all phases.
pub(super) fn rows(rows: &mut Rows<'_>) {
    rows.metric("  sshd: authentications", "server_accepted", |n| {
        n.server.server_accepted
    });
    rows.metric("  sshd: drops", "server_drops", |n| n.server.server_drops);
    causes(rows);
    slots(rows);
    cost(rows);
}

/// A cause has a row where it occurred; a single cause that is the usual one has none.
fn causes(rows: &mut Rows<'_>) {
    type Count = fn(&DropCounts) -> u64;
    let causes: [(&str, Count); 5] = [
        ("    drawn at random", |d| d.max_startups_draw),
        ("    all slots in use", |d| d.max_startups_full),
        ("    PerSourceMaxStartups", |d| d.per_source_max_startups),
        ("    MaxStartups or per source", |d| {
            d.max_startups_or_per_source
        }),
        ("    penalties", |d| d.penalties.values().sum()),
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
        rows.row(label, |s| {
            of(s).map_or_else(|| NONE.to_owned(), |drops| count(&drops).to_string())
        });
    }
}

fn slots(rows: &mut Rows<'_>) {
    let seen = |s: &StrategyReport| s.per_round.iter().any(|round| round.startups.is_some());
    if !rows.strategies.iter().any(seen) {
        return;
    }
    rows.row("  slots: peak / at start / full", |s| {
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
    rows.row("  sshd CPU: handshake / task", |s| {
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
    rows.row("  sshd processes / memory, peak", |s| {
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

/// Whether the server admitted as its `MaxStartups` says.
pub(super) fn admission(out: &mut String, report: &RunReport) {
    for curve in [&report.admission, &report.admission_held]
        .into_iter()
        .flatten()
    {
        line(out, &curve_line(curve));
    }
    if let (None, Some(why)) = (&report.admission, &report.admission_missing) {
        line(out, &format!("Admission: not known: {why}"));
    }
    if let Some(found) = &report.most_likely_max_startups {
        line(
            out,
            &format!(
                "           the answers are most likely under MaxStartups {found} (an estimate)"
            ),
        );
    }
    for burst in &report.stalled_bursts {
        let spread = |sd: Option<f64>| sd.map_or_else(String::new, |sd| format!(" ± {sd:.1}"));
        line(
            out,
            &format!(
                "           {} silent connections, {} rounds: {:.1}{} admitted, {:.1} ± {:.1} expected{}: {}",
                burst.connections,
                burst.admitted.len(),
                burst.mean,
                spread(burst.standard_deviation),
                burst.expected_mean,
                burst.expected_standard_deviation,
                burst
                    .z
                    .map_or_else(String::new, |z| format!(", {z:+.1} standard errors")),
                word(burst.verdict)
            ),
        );
    }
}

pub(super) fn curve_line(curve: &AdmissionCurve) -> String {
    format!("Admission: {}", told(curve))
}

fn told(curve: &AdmissionCurve) -> String {
    let (decisions, refused) = curve
        .points
        .iter()
        .fold((0, 0), |(trials, refused), point| {
            (trials + point.trials, refused + point.refused)
        });
    let by = match curve.source {
        CurveSource::ServerDraws => "by sshd's own draws",
        CurveSource::HeldConnections => "by connections held one by one",
    };
    let fit = match (curve.chi_square, curve.p_value) {
        // A test that did not decide explains nothing.
        _ if curve.difference.is_some() => String::new(),
        (Some(chi_square), Some(p_value)) => format!(
            " (χ² {chi_square:.1}, {} degrees of freedom, p {})",
            curve.degrees_of_freedom,
            probability(p_value)
        ),
        _ => String::new(),
    };
    let why = curve
        .difference
        .as_ref()
        .map_or_else(String::new, |difference| format!(": {difference}"));
    format!(
        "{} MaxStartups {} {by}: {decisions} decisions, {refused} refused, {} of {} intervals miss{fit}{why}",
        word(curve.verdict),
        curve.max_startups,
        curve.outside,
        curve.points.len()
    )
}

fn probability(p_value: f64) -> String {
    if p_value < 0.001 {
        "< 0.001".to_owned()
    } else {
        decimal((p_value * 1000.0).round() / 1000.0)
    }
}

fn word(verdict: CurveVerdict) -> &'static str {
    match verdict {
        CurveVerdict::Fits => "fits",
        CurveVerdict::Differs => "DIFFERS from",
        CurveVerdict::Insufficient => "too few decisions drawn at random to judge",
    }
}
