//! The documented exit codes. They are API: CI jobs branch on them.
//!
//! Owns the numbers and nothing else.

use std::process::ExitCode as ProcessExitCode;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a command ended, as the calling process sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// 0: ran, and every gate passed.
    Success,
    /// 1: a gate or a comparison failed.
    GateFailed,
    /// 2: usage or configuration error; nothing was started.
    Usage,
    /// 3: inconclusive or invalid: generator saturated, books do not balance, no data.
    Inconclusive,
    /// 4: environment failure: no container, sshd refused its configuration or died, disk full.
    Environment,
    /// 130: interrupted. Before the last round had ended, a partial report was written and is marked as such; twice after it,
    /// none was, and `sshchurn report` computes it from the run directory.
    Interrupted,
}

impl ExitCode {
    /// The number given to the operating system.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            ExitCode::Success => 0,
            ExitCode::GateFailed => 1,
            ExitCode::Usage => 2,
            ExitCode::Inconclusive => 3,
            ExitCode::Environment => 4,
            ExitCode::Interrupted => 130,
        }
    }

    /// Order in which several runs are summed up, the greatest wins: 130, 4, 2, 3, 1, 0. Who interrupts knows it; a run
    /// that could not be made says nothing; one that could not measure outweighs one that measured a failure.
    #[must_use]
    pub fn severity(self) -> u8 {
        match self {
            ExitCode::Success => 0,
            ExitCode::GateFailed => 1,
            ExitCode::Inconclusive => 2,
            ExitCode::Usage => 3,
            ExitCode::Environment => 4,
            ExitCode::Interrupted => 5,
        }
    }
}

impl From<ExitCode> for ProcessExitCode {
    fn from(code: ExitCode) -> Self {
        ProcessExitCode::from(code.code())
    }
}
