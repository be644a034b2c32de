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
    /// Makes it.
    pub render: fn(&D, Screen) -> String,
}

/// The file that other commands read a run's report from.
pub const REPORT_FILE: &str = "report.json";

const fn form<D>(
    name: &'static str,
    about: &'static str,
    render: fn(&D, Screen) -> String,
) -> Format<D> {
    Format {
        name,
        about,
        file: None,
        render,
    }
}

const fn filed<D>(
    name: &'static str,
    file: &'static str,
    about: &'static str,
    render: fn(&D, Screen) -> String,
) -> Format<D> {
    Format {
        name,
        about,
        file: Some(file),
        render,
    }
}

/// Of a run.
pub static RUN: &[Format<RunReport>] = &[
    form("text", "The side-by-side table", |report, screen| {
        terminal::render_with(report, screen.colour, screen.columns)
    }),
    filed(
        "json",
        REPORT_FILE,
        "The document: `report.json`",
        |report, _| json::render(report),
    ),
    filed(
        "html",
        "report.html",
        "One self-contained page: `report.html`",
        |report, _| html::render(report),
    ),
    filed(
        "md",
        "report.md",
        "For a pull-request comment or a step summary: `report.md`",
        |report, _| markdown::render(report),
    ),
    filed(
        "junit",
        "junit.xml",
        "For a CI system: `junit.xml`",
        |report, _| junit::render(report),
    ),
    filed(
        "openmetrics",
        "metrics.txt",
        "For Prometheus: `metrics.txt`",
        |report, _| openmetrics::render(report),
    ),
    filed(
        "bencher",
        "bencher.json",
        "Bencher Metric Format, for tracking numbers over time: `bencher.json`",
        |report, _| bencher::render(report),
    ),
];

/// Of a comparison.
pub static COMPARISON: &[Format<CompareReport>] = &[
    form("text", "The side-by-side table", |compared, screen| {
        comparison::terminal::render_with(compared, screen.colour)
    }),
    form("json", "The document", |compared, _| {
        json::render_comparison(compared)
    }),
    form(
        "md",
        "Markdown, for a pull request or a step summary",
        |compared, _| comparison::markdown::render(compared),
    ),
];

/// Of a model held against its client.
pub static FIDELITY: &[Format<FidelityReport>] = &[
    form("text", "The side-by-side table", |held, _| {
        fidelity::text(held)
    }),
    form("json", "The document", |held, _| fidelity::json(held)),
    form(
        "md",
        "Markdown, for a pull request or a step summary",
        |held, _| fidelity::markdown(held),
    ),
];

/// Of several releases.
pub static MATRIX: &[Format<MatrixReport>] = &[
    form("text", "One table", |report, _| matrix::text(report)),
    form("json", "The document: `matrix.json`", |report, _| {
        matrix::json(report)
    }),
    form("md", "The table as Markdown", |report, _| {
        matrix::markdown(report)
    }),
];

/// Of a sweep.
pub static SWEEP: &[Format<SweepReport>] = &[
    form("text", "Tables", |report, _| sweep::text(report)),
    filed(
        "json",
        "sweep.json",
        "The document: `sweep.json`",
        |report, _| sweep::json(report),
    ),
    filed(
        "csv",
        "sweep.csv",
        "A row for each point, repeat, strategy and metric: `sweep.csv`",
        |report, _| sweep::csv(report),
    ),
    filed(
        "html",
        "sweep.html",
        "One self-contained page with heat maps and curves: `sweep.html`",
        |report, _| sweep::html(report),
    ),
];

/// Of a plan.
pub static PLAN: &[Format<PlanReport>] = &[
    form("text", "The answer, and what speaks for it", |report, _| {
        plan::render(report)
    }),
    form("json", "The document", |report, _| plan::json(report)),
];

/// Of a probe.
pub static PROBE: &[Format<ProbeReport>] = &[
    form("text", "The answer and its evidence", |report, _| {
        probe::text(report)
    }),
    form("json", "The document", |report, _| probe::json(report)),
];

/// Of a log.
pub static DIAGNOSIS: &[Format<DiagnoseReport>] = &[
    form("text", "The answer and its tables", |report, _| {
        diagnose::text(report)
    }),
    form("json", "The document", |report, _| diagnose::json(report)),
    form(
        "md",
        "Markdown, for an issue or a step summary",
        |report, _| diagnose::markdown(report),
    ),
    form("html", "One self-contained page", |report, _| {
        diagnose::html(report)
    }),
];

/// Of what a started server makes of its MaxStartups.
pub static CONFIG_CHECK: &[Format<ConfigCheck>] = &[
    form("text", "The three values and the curve", |check, _| {
        config_check::text(check)
    }),
    form("json", "The document", |check, _| config_check::json(check)),
];

/// Of what a file says, and how servers behave with it: by the names of [`CONFIG_CHECK`].
pub static CONFIG_FILE: &[Format<ConfigFileCheck>] = &[
    form("text", "The answer and its evidence", |check, _| {
        config_file::text(check)
    }),
    form("json", "The document", |check, _| config_file::json(check)),
];

/// The form of that name.
#[must_use]
pub fn named<D>(forms: &'static [Format<D>], name: &str) -> Option<&'static Format<D>> {
    forms.iter().find(|form| form.name == name)
}
