//! What a session tells whoever watches it, while it happens.
//!
//! Owns the notices as data; the words a user reads are the console's.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sshchurn_core::ids::{RoundId, StrategyName};
use sshchurn_core::ledger::RoundEnd;
use sshchurn_core::manifest::ServerDescription;

use super::live::Live;
use super::stop::SignalAnswer;
use super::sweep::SweepProgress;

/// Watches a session. Called between rounds and never by the tasks of one; what it does delays the session.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn notice(&self, notice: Notice);
}

impl<F: Fn(Notice) + Send + Sync> Observer for F {
    fn notice(&self, notice: Notice) {
        self(notice);
    }
}

/// Which round, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundTitle {
    /// Its number in execution order, from 1.
    pub round: RoundId,
    /// Of how many.
    pub of: usize,
    /// The strategy it is of.
    pub strategy: StrategyName,
    /// Tasks in it.
    pub tasks: u32,
    /// It runs a client under test: nobody knows of its connections before the server's log has been read.
    pub under_test: bool,
}

impl fmt::Display for RoundTitle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "round {}/{} {}",
            self.round, self.of, self.strategy
        )
    }
}

/// What a round came to, as far as the generator knows by itself. The report counts the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundCounts {
    /// Tasks that succeeded.
    pub tasks_succeeded: u64,
    /// Connection attempts, and those of them that were refused before the banner; `None` of a client under test, whose
    /// connections are counted when the server's log has been read.
    pub attempts: Option<(u64, u64)>,
}

/// Something a session has to tell.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A run begins.
    ScenarioBegins {
        /// Name of the scenario.
        name: String,
        /// Its one sentence.
        description: String,
    },
    /// A step of starting the server that takes long, such as building an image, in the server's own words.
    ServerBeingMade(String),
    /// The server is ready; from here on there is a report.
    ServerReady(Box<ServerDescription>),
    /// A warning that is in the report as well, a full sentence with its remedy.
    Warning(String),
    /// The tasks of a round begin.
    RoundStarted {
        /// Which round.
        title: RoundTitle,
        /// Its counts, while they move.
        live: Live,
    },
    /// The tasks of a round have ended. Nobody has looked at the server yet.
    RoundEnded {
        /// Which round.
        title: RoundTitle,
        /// Its counts.
        counts: RoundCounts,
        /// How.
        end: RoundEnd,
        /// From the first preparation to the last task's end.
        took: Duration,
    },
    /// Everything about a round is recorded, the inventory of job directories too; the next has not begun.
    RoundRecorded {
        /// Which round.
        title: RoundTitle,
    },
    /// A climb of a probe is over.
    ClimbEnded {
        /// Its number, from 1.
        climb: usize,
        /// The most connections that it held.
        held: u32,
        /// Connections that it tried, and those of them that were refused.
        tries: (u64, u64),
        /// Since the probe began.
        after: Duration,
    },
    /// The server died, in its own words.
    ServerLost(String),
    /// The ledger cannot be written: the round under way is abandoned. The error follows as the run's own.
    LedgerLost,
    /// A run of a sweep begins.
    SweepRunStarted {
        /// Which, in words.
        run: String,
        /// Its number, from 1.
        number: usize,
        /// Of how many.
        of: usize,
    },
    /// A run of a sweep is over and recorded.
    SweepRunEnded(SweepProgress),
    /// A signal came.
    Interrupted(SignalAnswer),
    /// The report of this run directory was given up before it was computed.
    ReportGivenUp(PathBuf),
}

/// Keeps every notice, in order. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct NoticeLog(Arc<Mutex<Vec<Notice>>>);

impl NoticeLog {
    /// What was told so far.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Observer for NoticeLog {
    fn notice(&self, notice: Notice) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(notice);
    }
}
