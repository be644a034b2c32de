//! The report as GitHub-flavoured Markdown, for a pull-request comment or a job's step summary.
//!
//! Owns layout and escaping. One screen, the rest folded away; bounded, since GitHub cuts a comment at 65,536
//! characters. Text that a peer or a file chose can neither format nor mention anybody.

use std::fmt::Write as _;

use super::document::RunReport;
use super::view::story::{self, Fact};
use super::view::table;
use super::view::words::{counted, gate_value, time};
use sshchurn_core::analysis::laws::LawStatus;
use sshchurn_core::analysis::validity::CheckStatus;
use sshchurn_core::gate::{GateOutcome, GateResult, Verdict};

/// Longest text from outside, characters.
const TEXT: usize = 400;
/// Most lines of one list.
const LINES: usize = 20;

/// Renders the report. The same report always gives the same bytes.
#[must_use]
pub fn render(report: &RunReport) -> String {
    let mut out = String::new();
    for notice in story::notices(report) {
        line(&mut out, &format!("> **{}**\n", text(&notice)));
    }
    let verdict = match report.verdict {
        Verdict::Pass => "✅ PASS",
        Verdict::Measured => "📏 measured, nothing judged",
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
        Verdict::Pass | Verdict::Measured | Verdict::Fail => &[],
    };
    list(&mut out, reasons.iter().map(|reason| text(&reason.text)));
    list(
        &mut out,
        story::answers(report)
            .into_iter()
            .chain(story::remarks(report))
            .map(|sentence| text(&sentence)),
    );
    gates(&mut out, report);
    expectations(&mut out, report);
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
        line(out, "No threshold was set, so nothing is judged.\n");
        return;
    }
    thresholds(out, "Threshold", &report.gates, |outcome| match outcome {
        GateOutcome::Pass => "✅ pass",
        GateOutcome::Fail => "❌ FAIL",
        GateOutcome::Inconclusive => "⚠️ no data",
    });
}

/// What a demonstration is expected to show; it decides nothing.
fn expectations(out: &mut String, report: &RunReport) {
    if !report.expectations.is_empty() {
        let title = "Expected of this scenario (does not affect the verdict)";
        thresholds(out, title, &report.expectations, |outcome| match outcome {
            GateOutcome::Pass => "met",
            GateOutcome::Fail => "not met",
            GateOutcome::Inconclusive => "no data",
        });
    }
}

fn thresholds(
    out: &mut String,
    title: &str,
    results: &[GateResult],
    mark: impl Fn(GateOutcome) -> &'static str,
) {
    line(out, &format!("| | {title} | Actual |"));
    line(out, "|:--|:--|:--|");
    for gate in results.iter().take(LINES) {
        let mark = mark(gate.outcome);
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
    if results.len() > LINES {
        line(
            out,
            &format!("| | … and {} more | |", results.len() - LINES),
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
    let mut books = format!("**Cross-checks**: {}", story::laws(report));
    for law in laws(LawStatus::Broken).take(LINES) {
        let _ = write!(books, "; **broken**: {}", text(&law.description));
    }
    let checks = |status| report.validity.iter().filter(move |c| c.status == status);
    let mut validity = format!(
        "**Generator**: {} of {} checks ok",
        checks(CheckStatus::Ok).count(),
        report.validity.len()
    );
    for check in checks(CheckStatus::Invalid).take(LINES) {
        let _ = write!(
            validity,
            "; **invalid**: {} (limit {})",
            text(&check.actual),
            text(&check.limit)
        );
    }
    line(out, &format!("{books}.<br>{validity}.\n"));
    list(
        out,
        story::warnings(report)
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
        let label = match row.level {
            0 => format!("**{}**", text(&row.label)),
            _ => format!("&nbsp;&nbsp;{}", text(&row.label)),
        };
        let cells = row
            .cells
            .unwrap_or_else(|| vec![String::new(); report.strategies.len()]);
        let cells: Vec<String> = cells.iter().map(|cell| text(cell)).collect();
        line(out, &format!("| {label} | {} |", cells.join(" | ")));
    }
    line(out, "\n</details>\n");
}

fn setup(out: &mut String, report: &RunReport) {
    let (scenario, target) = (&report.scenario, &report.target);
    let release = target.release_and_image();
    line(out, "<details><summary>What was run, on what</summary>\n");
    let lines = [
        format!(
            "{} tasks, {} of each strategy, MaxStartups {}",
            scenario.tasks,
            counted(u64::from(scenario.rounds), "round"),
            text(report.max_startups().unwrap_or("not known"))
        ),
        format!(
            "target {} ({}), path {}; {}, {}",
            target.kind.as_str(),
            text(&release),
            target.network_path.as_str(),
            story::cpus(report),
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
        format!("next step: {}", text(&report.next_step.text)),
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
