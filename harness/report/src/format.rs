//! Forms in which a document is shown: one line each in the table of its document. The command line, the run directory and the
//! documentation take them from there.

use super::comparison::{self, CompareReport};
use super::config_check::{self, ConfigCheck};
use super::config_file::{self, ConfigFileCheck};
use super::diagnose::{self, DiagnoseReport};
use super::document::RunReport;
use super::fidelity::{self, FidelityReport};
use super::matrix::{self, MatrixReport};
use super::plan::{self, PlanReport};
use super::probe::{self, ProbeReport};
use super::sweep::{self, SweepReport};
use super::{bencher, html, json, junit, markdown, openmetrics, terminal};

/// What a document is shown on.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Whether it takes ANSI colours.
    pub colour: bool,
    /// How many characters are in a line of it.
    pub columns: u16,
}

impl Screen {
    /// A file.
    pub const FILE: Screen = Screen {
        colour: false,
        columns: terminal::WIDTH,
    };
}

/// One form of a document.
#[derive(Debug)]
pub struct Format<D: 'static> {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Its file in a run directory, where it has one.
    pub file: Option<&'static str>,
    render: Render<D>,
}

/// What makes a form.
#[derive(Debug)]
enum Render<D: 'static> {
    /// The same wherever it is shown.
    Plain(fn(&D) -> String),
    /// … or laid out for a screen.
    Fitted(fn(&D, Screen) -> String),
}

impl<D> Format<D> {
    const fn new(name: &'static str, about: &'static str, render: Render<D>) -> Self {
        Format {
            name,
            about,
            file: None,
            render,
        }
    }

    /// The same with a file in a run directory.
    const fn filed(self, file: &'static str) -> Self {
        Format {
            file: Some(file),
            ..self
        }
    }

    /// Makes it.
    #[must_use]
    pub fn render(&self, document: &D, screen: Screen) -> String {
        match self.render {
            Render::Plain(render) => render(document),
            Render::Fitted(render) => render(document, screen),
        }
    }
}

const fn form<D>(name: &'static str, about: &'static str, render: fn(&D) -> String) -> Format<D> {
    Format::new(name, about, Render::Plain(render))
}

const fn fitted<D>(
    name: &'static str,
    about: &'static str,
    render: fn(&D, Screen) -> String,
) -> Format<D> {
    Format::new(name, about, Render::Fitted(render))
}

/// The file that other commands read a run's report from.
pub const REPORT_FILE: &str = "report.json";

/// Of a run.
pub static RUN: &[Format<RunReport>] = &[
    fitted("text", "The side-by-side table", |report, screen| {
        terminal::render_with(report, screen.colour, screen.columns)
    }),
    form("json", "The document: `report.json`", json::render).filed(REPORT_FILE),
    form(
        "html",
        "One self-contained page: `report.html`",
        html::render,
    )
    .filed("report.html"),
    form(
        "md",
        "For a pull-request comment or a step summary: `report.md`",
        markdown::render,
    )
    .filed("report.md"),
    form("junit", "For a CI system: `junit.xml`", junit::render).filed("junit.xml"),
    form(
        "openmetrics",
        "For Prometheus: `metrics.txt`",
        openmetrics::render,
    )
    .filed("metrics.txt"),
    form(
        "bencher",
        "Bencher Metric Format, for tracking numbers over time: `bencher.json`",
        bencher::render,
    )
    .filed("bencher.json"),
];

/// Of a comparison.
pub static COMPARISON: &[Format<CompareReport>] = &[
    fitted("text", "The side-by-side table", |compared, screen| {
        comparison::terminal::render_with(compared, screen.colour)
    }),
    form("json", "The document", json::render_comparison),
    form(
        "md",
        "Markdown, for a pull request or a step summary",
        comparison::markdown::render,
    ),
];

/// Of a model held against its client.
pub static FIDELITY: &[Format<FidelityReport>] = &[
    form("text", "The side-by-side table", fidelity::text),
    form("json", "The document", fidelity::json),
    form(
        "md",
        "Markdown, for a pull request or a step summary",
        fidelity::markdown,
    ),
];

/// Of several releases.
pub static MATRIX: &[Format<MatrixReport>] = &[
    form("text", "One table", matrix::text),
    form("json", "The document: `matrix.json`", matrix::json),
    form("md", "The table as Markdown", matrix::markdown),
];

/// Of a sweep.
pub static SWEEP: &[Format<SweepReport>] = &[
    form("text", "Tables", sweep::text),
    form("json", "The document: `sweep.json`", sweep::json).filed("sweep.json"),
    form(
        "csv",
        "A row for each point, repeat, strategy and metric: `sweep.csv`",
        sweep::csv,
    )
    .filed("sweep.csv"),
    form(
        "html",
        "One self-contained page with heat maps and curves: `sweep.html`",
        sweep::html,
    )
    .filed("sweep.html"),
];

/// Of a plan.
pub static PLAN: &[Format<PlanReport>] = &[
    form("text", "The answer, and what speaks for it", plan::render),
    form("json", "The document", plan::json),
];

/// Of a probe.
pub static PROBE: &[Format<ProbeReport>] = &[
    form("text", "The answer and its evidence", probe::text),
    form("json", "The document", probe::json),
];

/// Of a log.
pub static DIAGNOSIS: &[Format<DiagnoseReport>] = &[
    form("text", "The answer and its tables", diagnose::text),
    form("json", "The document", diagnose::json),
    form(
        "md",
        "Markdown, for an issue or a step summary",
        diagnose::markdown,
    ),
    form("html", "One self-contained page", diagnose::html),
];

/// Of what a started server makes of its MaxStartups.
pub static CONFIG_CHECK: &[Format<ConfigCheck>] = &[
    form("text", "The three values and the curve", config_check::text),
    form("json", "The document", config_check::json),
];

/// Of what a file says, and how servers behave with it: by the names of [`CONFIG_CHECK`].
pub static CONFIG_FILE: &[Format<ConfigFileCheck>] = &[
    form("text", "The answer and its evidence", config_file::text),
    form("json", "The document", config_file::json),
];

/// The form of that name.
#[must_use]
pub fn named<D>(forms: &'static [Format<D>], name: &str) -> Option<&'static Format<D>> {
    forms.iter().find(|form| form.name == name)
}
