//! Errors of the command line, each with the exit code it ends in and the argument that would help.

use std::io;
use std::path::PathBuf;

use sshchurn_core::diagnosis::NoArrivals;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_report::WriteError;
use sshchurn_server::ServerError;

use crate::session::SessionError;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The scenario is wrong; every problem is listed.
    #[error("{0}")]
    Scenario(String),
    /// An argument is wrong in a way clap cannot see.
    #[error("{0}")]
    Usage(String),
    /// Signal handlers or the runtime could not be installed.
    #[error("cannot install signal handlers")]
    Signals(#[source] io::Error),
    /// The machine gives no threads, or no descriptors, to run on.
    #[error("cannot start the asynchronous runtime")]
    Runtime(#[source] io::Error),
    /// The result could not be written.
    #[error("cannot write the result to standard output")]
    Output(#[source] io::Error),
    /// A folder could not be made.
    #[error("cannot create {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A log does not show the arrivals that a scenario needs.
    #[error("cannot write the scenario {}", path.display())]
    NoArrivals {
        /// The scenario.
        path: PathBuf,
        /// Why.
        source: NoArrivals,
    },
    /// A page of the manual could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A point of a sweep cannot be run.
    #[error("point `{point}`: {source}")]
    Point {
        /// What it changes.
        point: String,
        /// Why.
        source: Box<CliError>,
    },
    /// A run, or the way back from its directory.
    #[error("{}{}", .0, advice(.0))]
    Session(#[source] SessionError),
}

impl From<SessionError> for CliError {
    fn from(error: SessionError) -> Self {
        CliError::Session(error)
    }
}

impl From<ServerError> for CliError {
    fn from(error: ServerError) -> Self {
        CliError::Session(SessionError::Server(error))
    }
}

/// What to do about it here, where there are arguments.
fn advice(error: &SessionError) -> String {
    match error {
        SessionError::DirectoryNotEmpty(_) => ": choose another `--out`".to_owned(),
        SessionError::TooFewRounds { .. } => "; use `--rounds`".to_owned(),
        SessionError::OtherExperiment(_) => {
            "\nmake a baseline of this one, or compare them all the same with `--allow-different`"
                .to_owned()
        }
        SessionError::ServerRefusesClient { log, .. } if log.is_empty() => {
            "; check address, user and key, and look into its log".to_owned()
        }
        // The server's own words.
        SessionError::ServerRefusesClient { log, .. } => format!(
            "; check what `--sshd-option` asks for. The last lines of its log:\n  {}",
            log.join("\n  ")
        ),
        SessionError::Thresholds(_)
        | SessionError::PhaseOfClient { .. }
        | SessionError::ClientNeedsServer { .. }
        | SessionError::SourcesNeedServer { .. }
        | SessionError::TooManyTasks { .. }
        | SessionError::NotSimulated(_)
        | SessionError::NoCalibration { .. }
        | SessionError::Stalled(_)
        | SessionError::Stopped
        | SessionError::Preflight(_)
        | SessionError::Io { .. }
        | SessionError::Unreadable { .. }
        | SessionError::Document { .. }
        | SessionError::Ledger(_)
        | SessionError::Server(_)
        | SessionError::Clients(_)
        | SessionError::Write(_)
        | SessionError::NothingMeasured(_)
        | SessionError::NoSweep(_)
        | SessionError::SweepUnderWay(_)
        | SessionError::NoRunDirectory(_)
        | SessionError::NoLedger(_) => String::new(),
        SessionError::OtherSweep { .. } => {
            "\nchoose another `--out`, or the same sweep as there".to_owned()
        }
    }
}

impl CliError {
    /// The exit code this ends in.
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            CliError::Scenario(_) | CliError::Usage(_) => ExitCode::Usage,
            CliError::Point { source, .. } => source.exit_code(),
            CliError::NoArrivals { source, .. } => match source {
                NoArrivals::ZoneOfWindow
                | NoArrivals::WindowWithoutZone
                | NoArrivals::TooLong { .. } => ExitCode::Usage,
                NoArrivals::None { .. }
                | NoArrivals::NoStamps
                | NoArrivals::SeveralServers(_)
                | NoArrivals::LevelChanged
                | NoArrivals::NotInOrder
                | NoArrivals::MixedZones => ExitCode::Inconclusive,
            },
            CliError::Signals(_)
            | CliError::Runtime(_)
            | CliError::Output(_)
            | CliError::Folder { .. }
            | CliError::Write(_) => ExitCode::Environment,
            CliError::Session(error) => match error {
                SessionError::Thresholds(_)
                | SessionError::PhaseOfClient { .. }
                | SessionError::ClientNeedsServer { .. }
                | SessionError::TooManyTasks { .. }
                | SessionError::SourcesNeedServer { .. }
                | SessionError::NotSimulated(_)
                | SessionError::NoCalibration { .. }
                | SessionError::Unreadable { .. }
                | SessionError::Document { .. }
                | SessionError::NoRunDirectory(_)
                | SessionError::NoLedger(_)
                | SessionError::DirectoryNotEmpty(_)
                | SessionError::OtherExperiment(_)
                | SessionError::OtherSweep { .. }
                | SessionError::NoSweep(_)
                | SessionError::SweepUnderWay(_)
                | SessionError::TooFewRounds { .. } => ExitCode::Usage,
                // Consent is asked for on the command line.
                SessionError::Server(ServerError::Consent(_)) => ExitCode::Usage,
                SessionError::Stalled(_) => ExitCode::Inconclusive,
                SessionError::Stopped => ExitCode::Interrupted,
                SessionError::Preflight(_)
                | SessionError::Io { .. }
                | SessionError::Ledger(_)
                | SessionError::Server(_)
                | SessionError::Clients(_)
                | SessionError::Write(_)
                | SessionError::NothingMeasured(_)
                | SessionError::ServerRefusesClient { .. } => ExitCode::Environment,
            },
        }
    }

    /// The whole chain as text for a person.
    pub(super) fn text(&self) -> String {
        let mut text = format!("error: {self}");
        let mut source = match self {
            // Its own words are already there.
            CliError::Session(error) => std::error::Error::source(error),
            other => std::error::Error::source(other),
        };
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

/// What a run failed with, for a table of several runs: the text in one line, and its own exit code.
pub(super) fn in_one_line(error: SessionError) -> (String, ExitCode) {
    let error = CliError::from(error);
    let text = error.text();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    (text.replace('\n', " "), error.exit_code())
}
