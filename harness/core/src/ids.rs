//! Newtypes for everything that is counted or named, so that a round can never be passed as a task.
//!
//! Owns identity only: no behaviour, no knowledge of any other module.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

numeric_id! {
    /// One execution of one strategy on an idle target; numbered from 1 in execution order.
    RoundId(u32)
}
numeric_id! {
    /// One remote job within a round; numbered from 0.
    TaskId(u32)
}
numeric_id! {
    /// One TCP connect plus SSH handshake attempt; unique within a run.
    AttemptId(u64)
}
numeric_id! {
    /// One exec request on an established connection; unique within a run.
    CommandId(u64)
}

/// Name of a run: scenario name and UTC start time, used for the run directory and in labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a strategy as the scenario spells it; the key of every per-strategy number.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct StrategyName(pub String);

impl fmt::Display for StrategyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
