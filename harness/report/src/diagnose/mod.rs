//! A log of sshd's that already exists: the document of `diagnose` and its pure renderers.
//!
//! `document` is the versioned document, `story` its sentences, `sections` the tables that every renderer shows, `terminal`,
//! `markdown` and `html` the formats, `scenario` a scenario of the arrivals. What the numbers mean is decided in `sshchurn_core::diagnosis`.

mod document;
mod html;
mod markdown;
mod scenario;
mod sections;
mod story;
mod terminal;
#[cfg(test)]
mod tests;

pub use document::{DIAGNOSE_SCHEMA_VERSION, DiagnoseReport, json, report};
pub use html::render as html;
pub use markdown::render as markdown;
pub use scenario::{RecordedScenario, scenario};
pub use terminal::render as text;
