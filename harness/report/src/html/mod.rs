//! The report as one self-contained HTML page: no script, no network, light and dark, screen and print.
//!
//! `view` puts every word and number in place, `page.html` and `page.css` lay them out; `head.html` and `macros.html` are what
//! other pages share. Everything a peer chose is
//! escaped by the template engine; only the drawings of `plot` and the style sheet pass as they are.

mod parts;
mod view;

use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use serde::Serialize;

use super::document::RunReport;

/// Renders the page. The same report always gives the same bytes.
#[must_use]
pub fn render(report: &RunReport) -> String {
    rendered(include_str!("page.html"), &view::page(report))
}

/// Fills a template that may use what the pages have in common: `head.html` (of `page.title`) and the tables of
/// `macros.html`.
pub(super) fn rendered(template: &str, page: &impl Serialize) -> String {
    let mut environment = Environment::empty();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("safe", minijinja::filters::safe);
    environment.add_filter("length", minijinja::filters::length);
    let mut rendered = || {
        environment.add_template("head.html", include_str!("head.html"))?;
        environment.add_template("macros.html", include_str!("macros.html"))?;
        environment.template_from_str(template)?.render(context! {
            page => Value::from(Serde(page)),
            css => include_str!("page.css").trim_end(),
        })
    };
    let mut page = match rendered() {
        Ok(page) => page,
        // The template is fixed and every value has its place, so that it renders is a matter of the tests.
        Err(error) => {
            format!("<!doctype html><title>sshchurn</title><p>not rendered: {error:#}</p>")
        }
    };
    page.push('\n');
    page
}
