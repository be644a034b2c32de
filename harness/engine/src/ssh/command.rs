//! Commands as the strategies mean them, and what one gives back: the typed half of the seam.
//!
//! Owns data only. How a command reads as shell text is `shell`'s, so that whoever stands behind the seam without a shell
//! needs none.

use std::sync::Arc;
use std::time::Duration;

use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::vocabulary::Step;

/// Most bytes kept of one output stream of a command; the rest is counted and thrown away. A read asks for 64 KiB by
/// default, everything else prints a line.
pub const OUTPUT_LIMIT: usize = 1 << 20;

/// A remote job: what its name is made of, and what it does. A simulated burst keeps a million of them, so that the name is put together
/// when it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose it is.
    pub task: TaskId,
    /// The random end of its name, of `a-z0-9`.
    pub token: [u8; 8],
    /// What it does.
    pub work: Arc<JobWork>,
}

impl Job {
    /// Name of its directory, like the provider's: `af_<dag>_<task>_<run>_try<k>_<8 of a-z0-9>`. Printed by the submit command.
    #[must_use]
    pub fn id(&self) -> String {
        let Job { task, token, work } = self;
        let JobWork { name, round, .. } = &**work;
        let token = String::from_utf8_lossy(token);
        format!("af_{name}_t{task}_r{round}_try1_{token}")
    }

    /// Absolute path of its directory on the server.
    #[must_use]
    pub fn directory(&self) -> String {
        format!("{}/{}", self.work.base, self.id())
    }
}

/// What all jobs of a round do alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobWork {
    /// Absolute path of the folder of their directories, without a slash at its end.
    pub base: String,
    /// What their names have in common: letters, digits, `_`.
    pub name: String,
    /// The round, which their names say too.
    pub round: RoundId,
    /// How long each runs.
    pub duration: Duration,
    /// Lines each writes to its log, spread over that time.
    pub log_lines: u32,
    /// Bytes each writes in all, the line ends among them.
    pub log_bytes: u64,
    /// The exit code of each.
    pub exit_code: u8,
}

/// One command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// Prints the name of the operating system.
    Detect,
    /// Makes the job's directory, starts the job detached from the channel, and prints its id.
    Submit(&'a Job),
    /// Prints the exit code and a line end, or nothing while there is none.
    Check(&'a Job),
    /// Prints the size of the log in bytes and a line end; 0 when there is no log.
    Size(&'a Job),
    /// Prints a piece of the log.
    Read {
        /// Whose log.
        job: &'a Job,
        /// Its first byte, from 0.
        offset: u64,
        /// Most bytes.
        count: u64,
    },
    /// Removes the job's directory.
    Cleanup(&'a Job),
    /// Text for the login shell as it stands.
    Run(&'a str),
}

impl Command<'_> {
    /// The word under which it is recorded.
    #[must_use]
    pub fn step(self) -> Step {
        match self {
            Command::Detect => Step::Detect,
            Command::Submit(_) => Step::Submit,
            Command::Check(_) => Step::Check,
            Command::Size(_) => Step::Size,
            Command::Read { .. } => Step::Read,
            Command::Cleanup(_) => Step::Cleanup,
            Command::Run(_) => Step::Run,
        }
    }
}

/// One output stream: its beginning, and how long it was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    kept: Vec<u8>,
    total: u64,
}

impl Captured {
    /// Adds what arrived; beyond [`OUTPUT_LIMIT`] it is only counted.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = OUTPUT_LIMIT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Counts bytes that nobody will look at.
    pub fn skip(&mut self, bytes: u64) {
        self.total += bytes;
    }

    /// The first bytes, at most [`OUTPUT_LIMIT`] of them.
    #[must_use]
    pub fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Bytes that arrived, kept or not.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// What a completed command gave back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandOutput {
    /// Exit status; 128 plus the signal number when the command died of a signal.
    pub exit_status: u32,
    /// Standard output.
    pub stdout: Captured,
    /// Standard error.
    pub stderr: Captured,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_beyond_the_limit_is_counted_and_not_kept() {
        let mut captured = Captured::default();
        let piece = vec![b'x'; 300_000];
        for _ in 0..5 {
            captured.push(&piece);
        }
        assert_eq!(captured.kept().len(), OUTPUT_LIMIT);
        assert_eq!(captured.total(), 1_500_000);
    }
}
