//! What harness, launcher and wardens say to each other: one JSON line for the launcher to begin with, single letters to
//! the wardens, JSON lines back.
//!
//! Owns the messages. Each line back is written at once and fits into a pipe's atomic write, since all wardens share one
//! pipe.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use sshchurn_core::vocabulary::ClientEnd;

/// Everything about a round's clients, for the launcher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// The clients, by their index.
    pub(crate) clients: Vec<ClientSpec>,
    /// Where they run.
    pub(crate) folder: PathBuf,
    /// How long each may take.
    pub(crate) timeout_ns: u64,
    /// Whether they say that they are ready and wait to be told to go.
    pub(crate) waits_for_go: bool,
    /// Most processes of each.
    pub(crate) max_processes: u32,
    /// Most memory of each.
    pub(crate) max_memory: Option<u64>,
    /// A name for what is made for this round alone.
    pub(crate) label: String,
}

/// One client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ClientSpec {
    pub(crate) argv: Vec<String>,
    /// On top of the harness's own environment.
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) stdin: Option<String>,
    /// Where its output goes, if there is any.
    pub(crate) output: PathBuf,
}

/// What the launcher is told, a line each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// Start every client that says when it is ready.
    Prepare,
    /// Let one begin.
    Go(u32),
    /// End whatever is left, and go.
    End,
}

/// What a warden is told, a byte each.
pub(crate) mod letter {
    pub(crate) const PREPARE: u8 = b'p';
    pub(crate) const GO: u8 = b'g';
    pub(crate) const END: u8 = b'e';
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// A client says that it is ready.
    Ready { client: u32 },
    /// A client has ended.
    Ended {
        client: u32,
        end: ClientEnd,
        took_ns: u64,
        left_behind: BTreeMap<String, u64>,
        output_bytes: u64,
    },
    /// Everything of a client is gone.
    Cleared {
        client: u32,
        cpu_ns: u64,
        memory_bytes: u64,
        killed: u32,
    },
    /// How busy everything was; the launcher's last word.
    Load {
        thread_share: Option<f64>,
        thread: String,
        machine_share: Option<f64>,
        window_s: f64,
    },
    /// What stands in the way of an honest round.
    Trouble { text: String },
}

/// Longest line: what a pipe takes at once (`PIPE_BUF`).
const LONGEST: usize = 4096;
/// Different names of processes that are told, and how much of each.
pub(crate) const NAMES: usize = 8;
pub(crate) const NAME_CHARS: usize = 60;

impl Word {
    /// As a line, short enough to be written at once.
    pub(crate) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        if line.len() >= LONGEST {
            let short = Word::Trouble {
                text: "a report of a client was too long to be told".to_owned(),
            };
            line = serde_json::to_vec(&short).unwrap_or_default();
        }
        line.push(b'\n');
        line
    }
}
