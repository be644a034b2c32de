//! Errors of the command line, each with the exit code it ends in.

use std::io;
use std::path::{Path, PathBuf};

use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::ledger::LedgerError;
use sshchurn_report::WriteError;
use sshchurn_report::json::ReadError;
use sshchurn_server::ServerError;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The scenario is wrong; every problem is listed.
    #[error("{0}")]
    Scenario(String),
    /// A threshold is wrong.
    #[error("{0}")]
    Thresholds(String),
    /// An argument is wrong in a way clap cannot see.
    #[error("{0}")]
    Usage(String),
    /// `--out` names a directory that is in use.
    #[error("run directory {} is not empty; a run never overwrites another: choose another `--out`", .0.display())]
    DirectoryNotEmpty(PathBuf),
    /// The machine does not allow the run.
    #[error("{0}")]
    Preflight(String),
    /// Signal handlers could not be installed.
    #[error("cannot install signal handlers")]
    Signals(#[source] io::Error),
    /// The machine gives no threads, or no descriptors, to run on.
    #[error("cannot start the asynchronous runtime")]
    Runtime(#[source] io::Error),
    /// The result could not be written.
    #[error("cannot write the result to standard output")]
    Output(#[source] io::Error),
    /// A file could not be written or read.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A report named on the command line is not there.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A report or comparison is none, or of another version.
    #[error("cannot use {}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReadError,
    },
    /// The ledger could not be written or read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The target failed.
    #[error(transparent)]
    Target(#[from] ServerError),
    /// The report could not be written.
    #[error(transparent)]
    Report(#[from] WriteError),
    /// The run ended before its first round.
    #[error("{} holds no run: the server under test was never ready", .0.display())]
    NothingMeasured(PathBuf),
    /// Not a run directory.
    #[error("{} is no run directory: there is no {} in it", .0.display(), super::load::LEDGER)]
    NoRunDirectory(PathBuf),
    /// The server does not let even one client in.
    #[error(
        "the server under test refuses a single, undisturbed client ({outcome}){}",
        advice(log)
    )]
    ServerRefusesClient {
        /// What became of its attempt.
        outcome: &'static str,
        /// The last lines of the server's log; empty where it cannot be read.
        log: Vec<String>,
    },
}

/// The server's own words, or what to look at where they cannot be had.
fn advice(log: &[String]) -> String {
    if log.is_empty() {
        return "; check address, user and key, and look into its log".to_owned();
    }
    format!(
        "; check what `--sshd-option` asks for. The last lines of its log:\n  {}",
        log.join("\n  ")
    )
}

impl CliError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        CliError::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    /// The exit code this ends in.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            CliError::Scenario(_)
            | CliError::Thresholds(_)
            | CliError::Usage(_)
            | CliError::Unreadable { .. }
            | CliError::Document { .. }
            | CliError::NoRunDirectory(_)
            | CliError::DirectoryNotEmpty(_) => ExitCode::Usage,
            // Consent is asked for on the command line.
            CliError::Target(ServerError::Consent(_)) => ExitCode::Usage,
            CliError::Preflight(_)
            | CliError::Signals(_)
            | CliError::Runtime(_)
            | CliError::Output(_)
            | CliError::Io { .. }
            | CliError::Ledger(_)
            | CliError::Target(_)
            | CliError::Report(_)
            | CliError::NothingMeasured(_)
            | CliError::ServerRefusesClient { .. } => ExitCode::Environment,
        }
    }

    /// The whole chain as text for a person.
    pub(super) fn text(&self) -> String {
        let mut text = format!("error: {self}");
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.ends_with(&cause_text) {
                text.push_str("\n  caused by: ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        text
    }
}
