//! What a run, or the way back from its directory, can fail with.
//!
//! Owns the facts. Exit codes, and which argument would help, are the command line's to say.

use std::io;
use std::path::{Path, PathBuf};

use sshchurn_client::ClientError;
use sshchurn_core::gate::ThresholdError;
use sshchurn_core::gate::compare::{Difference, LEAST_ROUNDS};
use sshchurn_core::ids::StrategyName;
use sshchurn_core::ledger::LedgerError;
use sshchurn_report::WriteError;
use sshchurn_report::json::ReadError;
use sshchurn_server::ServerError;

use super::directory::RunFile;
use super::simulate::MOST_RECORDED;
use crate::doctor::Finding;

/// Why a session could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Thresholds are wrong; every problem is listed.
    #[error("{}", lines(.0))]
    Thresholds(Vec<ThresholdError>),
    /// A threshold about a part of a client's life that nobody sees.
    #[error(
        "threshold `{threshold}`: `{strategy}` is a client under test, which has no phases that could be seen; leave `{phase}.` \
         out"
    )]
    PhaseOfClient {
        /// As written.
        threshold: String,
        /// The phase.
        phase: &'static str,
        /// The strategy.
        strategy: StrategyName,
    },
    /// A client under test needs a server of our own, reached directly.
    #[error(
        "strategy `{strategy}` is a client under test, which is seen by the server only: {why}"
    )]
    ClientNeedsServer {
        /// The strategy.
        strategy: StrategyName,
        /// What is in the way, and the remedy.
        why: &'static str,
    },
    /// Tasks whose logins fail need source addresses of their own.
    #[error("strategy `{strategy}` gives every task a source address of its own: {why}")]
    SourcesNeedServer {
        /// The strategy.
        strategy: StrategyName,
        /// What is in the way, and the remedy.
        why: &'static str,
    },
    /// More than a real server is asked to bear.
    #[error(
        "{tasks} tasks are more than the {most} that a real server is given: ask for fewer (`-n`), or use `--target simulated`"
    )]
    TooManyTasks {
        /// Asked for.
        tasks: u32,
        /// At most.
        most: u32,
    },
    /// A file is no calibration of this version.
    #[error("{} is no calibration of this version of sshchurn", path.display())]
    NoCalibration {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The scenario asks for something that the model does not know.
    #[error(transparent)]
    NotSimulated(#[from] sshchurn_core::model::server::NotSimulated),
    /// The user has stopped it.
    #[error("stopped")]
    Stopped,
    /// The model came to a standstill: a fault of the program's.
    #[error(transparent)]
    Stalled(#[from] sshchurn_engine::simulation::Stalled),
    /// The directory is in use.
    #[error("run directory {} is not empty; a run never overwrites another", .0.display())]
    DirectoryNotEmpty(PathBuf),
    /// The machine does not allow the run: the findings that stop it.
    #[error("{}", .0.iter().map(Finding::sentence).collect::<Vec<_>>().join("\n"))]
    Preflight(Vec<Finding>),
    /// The baseline measured something else: the differences that say so.
    #[error("the baseline is another experiment:{}", differences(.0))]
    OtherExperiment(Vec<Difference>),
    /// One round has no spread: such a comparison would say nothing at its end.
    #[error(
        "a comparison needs {LEAST_ROUNDS} rounds of each strategy on either side: the baseline has {before}, this run \
         would have {now}"
    )]
    TooFewRounds {
        /// Rounds of the baseline's strategy with the fewest.
        before: usize,
        /// Rounds of each strategy of the run.
        now: usize,
    },
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
    /// A report named by the user is not there.
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
    /// The server failed.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The clients under test could not be run.
    #[error(transparent)]
    Clients(#[from] ClientError),
    /// A document could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The run ended before its first round.
    #[error("{} holds no run: the server under test was never ready", .0.display())]
    NothingMeasured(PathBuf),
    /// Not a run directory.
    #[error("{} is not a run directory (no {} inside)", .0.display(), RunFile::Ledger.name())]
    NoRunDirectory(PathBuf),
    /// A run directory without what its report could be computed from.
    #[error(
        "{} keeps no ledger: a simulated run of more than {MOST_RECORDED} tasks is counted while it happens, and its {} is all there is",
        .0.display(), RunFile::Report.name()
    )]
    NoLedger(PathBuf),
    /// Another sweep is kept there.
    #[error("{} is of another sweep:{}", path.display(), differences.iter().map(|it| format!("\n  {it}")).collect::<String>())]
    OtherSweep {
        /// The directory, or a record in it.
        path: PathBuf,
        /// What differs.
        differences: Vec<String>,
    },
    /// Nobody has begun a sweep there.
    #[error("{} holds no sweep: there is no definition.json in it", .0.display())]
    NoSweep(PathBuf),
    /// Another process is at it.
    #[error("another sshchurn runs this sweep in {}", .0.display())]
    SweepUnderWay(PathBuf),
    /// The server does not let even one client in.
    #[error("the server under test refuses a single, undisturbed client ({outcome})")]
    ServerRefusesClient {
        /// What became of its attempt.
        outcome: &'static str,
        /// The last lines of the server's log; empty where it cannot be read.
        log: Vec<String>,
    },
}

impl SessionError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        SessionError::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }
}

fn lines(errors: &[ThresholdError]) -> String {
    errors
        .iter()
        .map(ThresholdError::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

fn differences(found: &[Difference]) -> String {
    found
        .iter()
        .map(|difference| format!("\n  {}", difference.text()))
        .collect()
}
