//! The program without a real sshd: on the embedded stand-in, on recorded runs, and by its words alone.
//!
//! One binary for all of it, since each would link the whole program again.
#![allow(clippy::unwrap_used)]

mod books;
mod browser;
mod ci_recipes;
mod clients;
mod command_line;
mod comparisons;
mod diagnose;
#[path = "../driver.rs"]
mod driver;
mod external;
mod external_log;
mod html;
mod interrupted_report;
mod probe;
mod readme;
mod reference_runs;
mod runs;
mod simulated;
mod sshd_files;
mod sweep;
mod verdicts;
