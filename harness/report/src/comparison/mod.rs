//! Two reports side by side: the comparison's document and its pure renderers.
//!
//! `document` is what other programs read, `build` makes it of two reports (the statistics are `gate::compare`'s), `rows` are
//! the cells that `terminal` and `markdown` lay out.

mod build;
mod document;
pub mod markdown;
mod rows;
pub mod terminal;

pub use build::{CompareRequest, compare, join, lost};
pub use document::{COMPARE_SCHEMA_VERSION, CompareReport, CompareSettings, ComparedRun};

#[cfg(test)]
mod tests;
