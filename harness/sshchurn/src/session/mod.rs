//! The life of a run, as a library: whatever the command line can do, a program or a test can do.
//!
//! [`RunOrder`] says what is to be run; [`RunOrder::run`] starts the server, executes every round into the ledger of a
//! [`RunDirectory`], and concludes it. [`replay`] takes the way back from such a directory to its report. [`Sweep`] makes
//! many of them, [`plan::PlanOrder`] simulates what it takes. [`logs`] reads logs that somebody else's sshd has written,
//! [`ProbeOrder`] asks a running server for its limits. [`Interrupts`]
//! is the stop protocol, an [`Observer`] is told what happens. Nothing here prints, installs a signal handler or knows
//! an argument of the command line.

mod baseline;
pub mod calibrate;
mod clients;
mod conclude;
pub mod config_check;
mod directory;
mod error;
mod live;
pub mod logs;
mod notice;
mod order;
pub mod plan;
mod preflight;
mod probe;
pub mod replay;
mod round;
mod run;
pub mod simulate;
mod sshd_files;
mod stop;
mod sweep;
#[cfg(test)]
mod tests;
mod witness;

pub use baseline::{Baseline, experiment_differences};
pub use conclude::{Conclusion, conclude};
pub use directory::{MatrixDirectory, RunDirectory, RunFile};
pub use error::SessionError;
pub use live::Live;
pub use notice::{Notice, NoticeLog, Observer, RoundCounts, RoundTitle};
pub use order::{RunOrder, check_thresholds, parse_thresholds, run_id, scenario_record};
pub use preflight::{connection_needs, preflight};
pub use probe::{ProbeAccount, ProbeOrder};
pub use sshd_files::{SshdFileError, read_sshd_config};
pub use stop::{DRAIN_WITHIN, Interrupts, Signal, SignalAnswer, Stage};
pub use sweep::{Sweep, SweepDirectory, SweepPoint, SweepProgress, SweepStop, Told, gather};
