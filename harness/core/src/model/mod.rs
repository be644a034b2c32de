//! What OpenSSH's admission rule and its penalties predict, without a server: pure, synchronous, no I/O.
//!
//! It must not know sockets, files, clocks or the embedded target; that target calls this rule, and the
//! reports hold measured refusals against it.

mod admission;
pub mod agenda;
pub mod calibration;
mod penalties;
mod pieces;
pub mod server;
mod sharing;

pub use admission::{Admission, BurstDistribution, Decision, drop_probability_percent};
pub use penalties::{FailedLogin, FirstRefused, PenaltyRule, Prediction, first_refused};
pub use sharing::Sharing;
