//! What is wrong with a scenario: every problem at once, each with its place and the fix.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource};

/// One problem and its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, and where in the structure (`job.duration: …`).
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Byte range in the text.
    pub span: Range<usize>,
    /// Another place that it is about.
    pub other: Option<Range<usize>>,
}

/// All problems of one scenario, or the reason why it could not be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScenarioErrors {
    origin: String,
    text: String,
    problems: Vec<Problem>,
}

impl ScenarioErrors {
    pub(super) fn new(origin: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end));
        ScenarioErrors {
            origin: origin.to_owned(),
            text: text.to_owned(),
            problems,
        }
    }

    /// Problems that have no place in a text, each with the fix: no such file, no such shipped scenario, keys that the command line
    /// has changed.
    pub(super) fn without_text(
        origin: &str,
        problems: impl IntoIterator<Item = (String, Option<String>)>,
    ) -> Self {
        let problems = problems.into_iter().map(|(message, help)| Problem {
            message,
            help,
            span: 0..0,
            other: None,
        });
        ScenarioErrors::new(origin, "", problems.collect())
    }

    /// The problems in the order of the text.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// All problems as text for a person: file, line, column, the lines concerned, and the fix. Without colour.
    #[must_use]
    pub fn render(&self) -> String {
        let handler =
            GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(110);
        let mut rendered = String::new();
        for problem in &self.problems {
            let shown = Shown {
                errors: self,
                problem,
                source: NamedSource::new(&self.origin, self.text.clone()),
            };
            if handler.render_report(&mut rendered, &shown).is_err() {
                rendered.push_str(&problem.message);
                rendered.push('\n');
            }
        }
        let count = self.problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        rendered.push_str(&format!("{}: {count} {noun}", self.origin));
        rendered
    }
}

impl fmt::Display for ScenarioErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render())
    }
}

impl std::error::Error for ScenarioErrors {}

/// One problem as a miette diagnostic.
#[derive(Debug)]
struct Shown<'a> {
    errors: &'a ScenarioErrors,
    problem: &'a Problem,
    source: NamedSource<String>,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.problem
            .help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        (!self.errors.text.is_empty()).then_some(&self.source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.errors.text.is_empty() {
            return None;
        }
        let label = |text: &str, span: Range<usize>| {
            LabeledSpan::new_with_span(Some(text.to_owned()), span)
        };
        let here = label("here", self.problem.span.clone());
        let other = self
            .problem
            .other
            .clone()
            .map(|span| label("and here", span));
        Some(Box::new(std::iter::once(here).chain(other)))
    }
}
