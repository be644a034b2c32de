//! As one self-contained page: no script, no network.

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::Serialize;

use super::document::DiagnoseReport;
use super::sections::sections;
use sshchurn_core::exit_code::ExitCode;

#[derive(Serialize)]
struct Page<'a> {
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
    let (class, word) = match report.exit {
        ExitCode::Success => ("pass", "PASS"),
        ExitCode::GateFailed => ("fail", "FAIL"),
        _ => ("inconclusive", "INCONCLUSIVE"),
    };
    let page = Page {
        answer: &report.answer,
        limits: &report.limits,
        inputs: report.inputs.join(", "),
        verdict: (!report.thresholds.is_empty()).then(|| Verdict {
            class,
            text: format!("{word} (exit {})", report.exit.code()),
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
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("safe", minijinja::filters::safe);
    let rendered = environment
        .template_from_str(include_str!("page.html"))
        .and_then(|template| {
            template.render(context! {
                page => Value::from(Serde(&page)),
                css => include_str!("../html/page.css").trim_end(),
            })
        });
    let mut page = match rendered {
        Ok(page) => page,
        // The template is fixed and every value has its place, so that it renders is a matter of the tests.
        Err(error) => {
            format!("<!doctype html><title>sshchurn</title><p>not rendered: {error:#}</p>")
        }
    };
    page.push('\n');
    page
}
