//! The report as JSON: pretty, in the order of the document, one final newline; and back.
//!
//! Owns nothing but the format and its version.

use serde::{Deserialize, Serialize};

use super::comparison::{COMPARE_SCHEMA_VERSION, CompareReport};
use super::document::{RunReport, SCHEMA_VERSION};

/// Why a text is not a document of this program's version.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Not one of our documents at all.
    #[error("not a {document} of sshchurn: {detail}")]
    NotOurs {
        /// What was wanted.
        document: &'static str,
        /// What was found.
        detail: String,
    },
    /// Made by an older program.
    #[error(
        "{document} has schema version {found}; this program reads {reads}: compute it again with `sshchurn report RUNDIR`, or use the sshchurn that wrote it"
    )]
    TooOld {
        /// What was wanted.
        document: &'static str,
        /// Version found.
        found: u64,
        /// Version read.
        reads: u32,
    },
    /// Made by a newer program.
    #[error(
        "{document} has schema version {found}; this program reads {reads}: use a newer sshchurn"
    )]
    TooNew {
        /// What was wanted.
        document: &'static str,
        /// Version found.
        found: u64,
        /// Version read.
        reads: u32,
    },
    /// The right version, but not its shape.
    #[error("{document} of schema version {reads} is damaged")]
    Malformed {
        /// What was wanted.
        document: &'static str,
        /// Version read.
        reads: u32,
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads a report back.
///
/// # Errors
/// [`ReadError`] when it is none, or of another version.
pub fn parse(text: &str) -> Result<RunReport, ReadError> {
    parse_as(text, "report", SCHEMA_VERSION)
}

/// Reads a comparison back.
///
/// # Errors
/// [`ReadError`] when it is none, or of another version.
pub fn parse_comparison(text: &str) -> Result<CompareReport, ReadError> {
    parse_as(text, "comparison", COMPARE_SCHEMA_VERSION)
}

/// Reads a document of ours.
pub(crate) fn parse_as<T: for<'de> Deserialize<'de>>(
    text: &str,
    document: &'static str,
    reads: u32,
) -> Result<T, ReadError> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u64,
    }
    // The version first: the shape of another version says nothing to a person.
    let Version {
        schema_version: found,
    } = serde_json::from_str(text).map_err(|error| ReadError::NotOurs {
        document,
        detail: error.to_string(),
    })?;
    match found.cmp(&u64::from(reads)) {
        std::cmp::Ordering::Less => Err(ReadError::TooOld {
            document,
            found,
            reads,
        }),
        std::cmp::Ordering::Greater => Err(ReadError::TooNew {
            document,
            found,
            reads,
        }),
        std::cmp::Ordering::Equal => {
            serde_json::from_str(text).map_err(|source| ReadError::Malformed {
                document,
                reads,
                source,
            })
        }
    }
}

/// Renders the report. The same report always gives the same bytes.
#[must_use]
pub fn render(report: &RunReport) -> String {
    pretty(report)
}

/// Renders a comparison. The same comparison always gives the same bytes.
#[must_use]
pub fn render_comparison(report: &CompareReport) -> String {
    pretty(report)
}

/// Any document, pretty, with one final newline.
pub(crate) fn pretty(document: &impl Serialize) -> String {
    // Cannot fail: every key is a string and floats that are not finite become null.
    let mut text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.push('\n');
    text
}
