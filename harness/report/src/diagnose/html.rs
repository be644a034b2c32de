//! As one self-contained page: no script, no network.

use serde::Serialize;

use super::document::DiagnoseReport;
use super::sections::sections;
use crate::html;

#[derive(Serialize)]
struct Page<'a> {
    title: String,
    answer: &'a [String],
    limits: &'a [String],
    inputs: String,
    verdict: Option<Verdict>,
    sections: Vec<Part>,
}

#[derive(Serialize)]
struct Verdict {
    class: &'static str,
    text: String,
}

#[derive(Serialize)]
struct Part {
    title: &'static str,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

/// Renders the page. The same report always gives the same bytes.
#[must_use]
pub fn render(report: &DiagnoseReport) -> String {
    let inputs = report.inputs.join(", ");
    let page = Page {
        title: format!("What sshd refused: {inputs}"),
        answer: &report.answer,
        limits: &report.limits,
        inputs,
        verdict: report.verdict().map(|verdict| Verdict {
            class: verdict.as_str(),
            text: format!(
                "{} (exit {})",
                verdict.as_str().to_uppercase(),
                report.exit.code()
            ),
        }),
        sections: sections(report)
            .into_iter()
            .map(|section| Part {
                title: section.title,
                head: section.head,
                rows: section.rows,
                notes: section.notes,
            })
            .collect(),
    };
    html::rendered(include_str!("page.html"), &page)
}
