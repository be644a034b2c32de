//! Finding `MaxStartups` of a server whose configuration cannot be read, by holding connections and trying again.
//!
//! Owns the statistics and the plan: [`fit()`] says which settings the answers so far leave likely, [`Prober`] what to try next and
//! when to stop. Pure: whoever makes the connections tells it what became of them, so that the same plan runs against sshd and
//! against a simulated rule. It must not know what a refusal looks like on the wire, nor whether there are others on the server.

mod fit;
mod met;
mod prober;
#[cfg(test)]
mod tests;

pub use fit::{CurveFit, Estimate, Finding, HardLimit, OtherCap, fit};
pub use met::{Failure, Met};
pub use prober::{Bounds, Climb, ClimbEnd, End, Prober, Step};

use crate::analysis::admission::Trials;
use std::collections::BTreeMap;

/// Decisions of the server by the number of connections that were held.
pub type Answers = BTreeMap<u32, Trials>;
