//! `RunReport` and its pure renderers.
//!
//! `document` is the versioned document; `build` makes it of a summary, laws, checks and gates; `format` lists the forms of every
//! document; `terminal`, `json`, `html` (with `plot`), `markdown`, `junit`, `openmetrics` and `bencher` are those of a run's; `view` has what they share; `matrix` puts
//! the reports of several releases side by side, `sweep` those of many points of one scenario, `comparison` those of two runs, `fidelity` a model beside the client that it models; `diagnose`
//! shows what a log says, `probe` what a server was found out to do, `plan` what was computed; `writer` is the only place that writes,
//! and writes whole files or nothing.

mod bencher;
mod build;
pub mod comparison;
pub mod config_check;
pub mod config_file;
pub mod diagnose;
mod document;
pub mod fidelity;
pub mod format;
pub mod html;
pub mod json;
pub mod junit;
pub mod markdown;
pub mod matrix;
pub mod openmetrics;
pub mod plan;
mod plot;
pub mod probe;
pub mod reference;
mod ruled_table;
pub mod schema;
pub mod sweep;
pub mod terminal;
mod view;
mod writer;

pub use build::{Findings, build};
pub use document::{
    LeftoverReport, NextStep, NumbersReport, PerTaskReport, PhasesReport, RateReport, RoundReport,
    RunReport, SCHEMA_VERSION, ScopeReport, ServerLogReport, StrategyReport, TimesReport,
    ToolReport,
};
pub use view::advice::Advice;
pub use writer::{WriteError, write_file, write_file_with};

#[cfg(test)]
mod exposition_tests;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
