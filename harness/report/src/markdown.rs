//! The report as GitHub-flavoured Markdown, for a pull-request comment or a job's step summary.
//!
//! Owns layout and escaping. One screen, the rest folded away; bounded, since GitHub cuts a comment at 65,536
//! characters. Text that a peer or a file chose can neither format nor mention anybody.

use std::fmt::Write as _;

use super::document::RunReport;
use super::story::{self, Fact};
use super::terminal::{gate_value, next_step, table, time};
use sshchurn_core::analysis::laws::LawStatus;
use sshchurn_core::analysis::validity::CheckStatus;
use sshchurn_core::gate::{GateOutcome, Verdict};

/// Longest text from outside, characters.
const TEXT: usize = 400;
/// Most lines of one list.
const LINES: usize = 20;

/// Renders the report. The same report always gives the same bytes.
#[must_use]
pub fn render(report: &RunReport) -> String {
    let mut out = String::new();
    if report.embedded_stand_in {
        line(&mut out, &format!("> **{}**\n", text(story::EMBEDDED)));
    }
    let verdict = match report.verdict {
        Verdict::Pass => "✅ PASS",
        Verdict::Fail => "❌ FAIL",
        Verdict::Inconclusive => "⚠️ INCONCLUSIVE",
    };
    line(
        &mut out,
        &format!(
            "### sshchurn: {verdict} · {}\n",
            code(&report.scenario.name)
        ),
    );
    line(&mut out, &format!("{}\n", text(&story::sentence(report))));
    let reasons = match report.verdict {
        Verdict::Inconclusive => report.reasons.get(1..).unwrap_or_default(),
        Verdict::Pass | Verdict::Fail => &[],
    };
    list(&mut out, reasons.iter().map(|reason| text(reason)));
    list(
        &mut out,
        story::refused_by(report)
            .into_iter()
            .chain(story::listen_queue(report))
            .chain(story::clients(report))
            .map(|sentence| text(&sentence)),
    );
    gates(&mut out, report);
    headlines(&mut out, report);
    vouchers(&mut out, report);
    all_numbers(&mut out, report);
    setup(&mut out, report);
    out
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// A bounded list, and an empty line behind it.
fn list(out: &mut String, lines: impl Iterator<Item = String>) {
    let lines: Vec<String> = lines.collect();
    for text in lines.iter().take(LINES) {
        line(out, &format!("- {text}"));
    }
    if lines.len() > LINES {
        line(out, &format!("- … and {} more", lines.len() - LINES));
    }
    if !lines.is_empty() {
        out.push('\n');
    }
}

/// Text that nothing can be made of but text: one line, no markup, no mention, no reference, not too long.
pub(crate) fn text(text: &str) -> String {
    let mut out = String::new();
    for (index, character) in text.chars().enumerate() {
        if index == TEXT {
            out.push('…');
            break;
        }
        match character {
            '\n' | '\r' | '\t' => out.push(' '),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            // GitHub looks for mentions and references in the text it has rendered: an entity alone does not help.
            '@' | '#' => {
                out.push(character);
                out.push('\u{200b}');
            }
            '|' | '`' | '*' | '_' | '[' | ']' | '~' | '$' | '\\' => {
                let _ = write!(out, "&#{};", u32::from(character));
            }
            character if character.is_control() => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}

/// The same, in a fixed-width face; GitHub looks for no mentions in it.
fn code(name: &str) -> String {
    format!("<code>{}</code>", text(name))
}

fn head(out: &mut String, first: &str, report: &RunReport) {
    let names = report.strategies.iter().map(|s| text(&s.strategy.0));
    let columns: Vec<String> = std::iter::once(first.to_owned()).chain(names).collect();
    line(out, &format!("| {} |", columns.join(" | ")));
    line(
        out,
        &format!("|:--|{}", "--:|".repeat(report.strategies.len())),
    );
}

fn gates(out: &mut String, report: &RunReport) {
    if report.gates.is_empty() {
        line(out, "No threshold was set.\n");
        return;
    }
    line(out, "| | Threshold | Actual |");
    line(out, "|:--|:--|:--|");
    for gate in report.gates.iter().take(LINES) {
        let mark = match gate.outcome {
            GateOutcome::Pass => "✅ pass",
            GateOutcome::Fail => "❌ FAIL",
            GateOutcome::Inconclusive => "⚠️ no data",
        };
        let checks: Vec<String> = gate
            .checks
            .iter()
            .take(LINES)
            .map(|check| {
                format!(
                    "{}: {} {} {}",
                    text(&check.strategy.0),
                    text(&gate_value(gate, check.actual)),
                    text(&gate.operator),
                    text(&gate_value(gate, check.limit))
                )
            })
            .collect();
        line(
            out,
            &format!(
                "| {mark} | {} | {} |",
                code(&gate.expression),
                checks.join("<br>")
            ),
        );
    }
    if report.gates.len() > LINES {
        line(
            out,
            &format!("| | … and {} more | |", report.gates.len() - LINES),
        );
    }
    out.push('\n');
}

fn headlines(out: &mut String, report: &RunReport) {
    if report.strategies.is_empty() {
        return;
    }
    head(out, " ", report);
    let facts: Vec<[Fact; 3]> = report
        .strategies
        .iter()
        .map(|strategy| story::facts(report, strategy))
        .collect();
    let tasks = report.strategies.iter().map(|strategy| {
        let tasks = &strategy.totals.tasks;
        format!("{} of {}", tasks.tasks_succeeded, tasks.tasks_scheduled)
    });
    line(
        out,
        &format!(
            "| tasks succeeded | {} |",
            tasks.collect::<Vec<_>>().join(" | ")
        ),
    );
    for row in 0..3 {
        let cells = facts.iter().map(|facts| {
            let fact = &facts[row];
            let value = fact
                .value
                .map_or_else(|| "—".to_owned(), |value| value.to_string());
            format!("**{value}**<br><sub>{}</sub>", text(&fact.note))
        });
        let label = facts.first().map_or("", |facts| facts[row].label);
        line(
            out,
            &format!("| {label} | {} |", cells.collect::<Vec<_>>().join(" | ")),
        );
    }
    out.push('\n');
}

fn vouchers(out: &mut String, report: &RunReport) {
    let laws = |status| report.laws.iter().filter(move |law| law.status == status);
    let mut books = format!(
        "**Books**: {} of {} laws hold",
        laws(LawStatus::Holds).count(),
        report.laws.len()
    );
    for law in laws(LawStatus::Broken).take(LINES) {
        let _ = write!(books, "; **broken**: {}", text(&law.description));
    }
    let unknown = laws(LawStatus::NotCheckable).count();
    if unknown > 0 {
        let _ = write!(books, "; {unknown} cannot be checked on this target");
    }
    let checks = |status| report.validity.iter().filter(move |c| c.status == status);
    let mut validity = format!(
        "**Generator**: {} of {} checks ok",
        checks(CheckStatus::Ok).count(),
        report.validity.len()
    );
    for (status, word) in [
        (CheckStatus::Invalid, "**invalid**"),
        (CheckStatus::Warn, "warning"),
    ] {
        for check in checks(status).take(LINES) {
            let _ = write!(
                validity,
                "; {word}: {} (limit {})",
                text(&check.actual),
                text(&check.limit)
            );
        }
    }
    line(out, &format!("{books}.<br>{validity}.\n"));
    list(
        out,
        report
            .warnings
            .iter()
            .map(|warning| format!("warning: {}", text(warning))),
    );
}

fn all_numbers(out: &mut String, report: &RunReport) {
    if report.strategies.is_empty() {
        return;
    }
    line(
        out,
        "<details><summary>All numbers: sums over all rounds, with [min median max] of a round</summary>\n",
    );
    head(out, " ", report);
    for row in table::rows(report) {
        let label = row.label.trim_start();
        let label = match row.label.starts_with(' ') {
            true => format!("&nbsp;&nbsp;{}", text(label)),
            false => format!("**{}**", text(label)),
        };
        let cells: Vec<String> = row.cells.iter().map(|cell| text(cell)).collect();
        line(out, &format!("| {label} | {} |", cells.join(" | ")));
    }
    line(out, "\n</details>\n");
}

fn setup(out: &mut String, report: &RunReport) {
    let (scenario, target) = (&report.scenario, &report.target);
    let limits = target
        .effective_max_startups
        .as_ref()
        .unwrap_or(&scenario.max_startups);
    let release = target.release.as_ref().unwrap_or(&target.identification);
    line(out, "<details><summary>What was run, on what</summary>\n");
    let lines = [
        format!(
            "{} tasks, {} rounds of each strategy, MaxStartups {}",
            scenario.tasks,
            scenario.rounds,
            text(limits)
        ),
        format!(
            "target {} ({}), path {}; {} CPUs, {}",
            target.kind.as_str(),
            text(release),
            target.network_path.as_str(),
            report.environment.cpus,
            text(&report.environment.kernel)
        ),
        format!(
            "run {} from {}, {}; {} {}, exit code {}",
            text(&report.run_id.0),
            text(&report.started_at),
            time(report.duration_ns),
            text(&report.tool.name),
            text(&report.tool.version),
            report.exit_code
        ),
        format!("next step: {}", text(next_step(report))),
    ];
    list(out, lines.into_iter());
    line(out, "</details>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_can_neither_format_nor_mention_nor_refer() {
        let escaped = text("@octocat | `rm` <script>x</script> **b** [a](b) #77\nnext");
        for sign in ["|", "`", "<", ">", "**", "[", "@o", "#77", "\n"] {
            assert!(!escaped.contains(sign), "{sign:?} in {escaped}");
        }
        assert!(escaped.contains("octocat"));
        assert_eq!(text(&"x".repeat(1000)).chars().count(), TEXT + 1);
    }
}
