//! Instants of a run: nanoseconds since its start, whichever clock they were read from.
//!
//! Every instant in the ledger is one. Reading a clock is the engine's.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::nanoseconds;

/// Nanoseconds since the start of the run.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct RunInstant(pub u64);

impl RunInstant {
    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: RunInstant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for RunInstant {
    type Output = RunInstant;

    fn add(self, rhs: Duration) -> RunInstant {
        RunInstant(self.0.saturating_add(nanoseconds(rhs)))
    }
}
