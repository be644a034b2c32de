//! The remote job: its name, its files and the six commands that make up its life.
//!
//! Plain POSIX shell, since the user's login shell runs it. File names inside the job directory are those of
//! the Airflow provider (`stdout.log`, `exit_code`, `pid`).

use std::fmt::Write as _;
use std::time::Duration;

use super::draws::{Draws, Purpose};
use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::scenario::{JobConfig, Scenario};

/// Most pieces a job's log is written in: enough for polls to see it grow, few enough that the job's own
/// `sleep` processes stay cheap beside a handshake.
const LOG_PIECES: u32 = 8;

/// The commands of one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobCommands {
    /// Name of the job directory.
    pub(crate) id: String,
    directory: String,
    script: String,
}

impl JobCommands {
    /// The job of one task: named like the provider's, `af_<dag>_<task>_<run>_try<k>_<8 of a-z0-9>`.
    pub(crate) fn new(
        base: &str,
        scenario: &Scenario,
        repetition: u32,
        round: RoundId,
        task: TaskId,
    ) -> Self {
        let mut draws = Draws::for_task(scenario.seed, repetition, task, Purpose::Name);
        let id = format!(
            "af_{}_t{}_r{}_try1_{}",
            sanitised(&scenario.name),
            task,
            round,
            draws.token(8)
        );
        let directory = format!("{}/{id}", base.trim_end_matches('/'));
        let script = script(
            &scenario.job,
            scenario.scaled(scenario.job.duration),
            &directory,
        );
        JobCommands {
            id,
            directory,
            script,
        }
    }

    /// Prints the name of the operating system.
    pub(crate) fn detect(&self) -> String {
        "uname -s".to_owned()
    }

    /// Makes the directory, truncates the log, starts the job in a session of its own with nothing of the
    /// channel's, so that the channel can close, and prints the job id.
    pub(crate) fn submit(&self) -> String {
        let JobCommands {
            id,
            directory,
            script,
        } = self;
        let script = quoted(script);
        let directory = quoted(directory);
        format!(
            "mkdir -p {directory} && : > {directory}/stdout.log && \
             {{ if command -v setsid >/dev/null 2>&1; \
             then setsid sh -c {script} </dev/null >{directory}/stdout.log 2>&1 & \
             else nohup sh -c {script} </dev/null >{directory}/stdout.log 2>&1 & fi; }} && \
             printf '%s\\n' {id}"
        )
    }

    /// Prints the exit code when there is one.
    pub(crate) fn check(&self) -> String {
        let file = quoted(&format!("{}/exit_code", self.directory));
        format!("if [ -s {file} ]; then cat {file}; fi")
    }

    /// Prints the size of the log in bytes, 0 when it is missing.
    pub(crate) fn size(&self) -> String {
        let file = quoted(&format!("{}/stdout.log", self.directory));
        format!("if [ -f {file} ]; then wc -c < {file}; else echo 0; fi")
    }

    /// Prints at most `count` bytes of the log from `offset`.
    pub(crate) fn read(&self, offset: u64, count: u64) -> String {
        let file = quoted(&format!("{}/stdout.log", self.directory));
        // tail counts from 1.
        format!("tail -c +{} {file} | head -c {count}", offset + 1)
    }

    /// Removes the directory.
    pub(crate) fn cleanup(&self) -> String {
        format!("rm -rf {}", quoted(&self.directory))
    }
}

/// What the job does: its pid, its log in pieces spread over its duration, its exit code.
fn script(job: &JobConfig, duration: Duration, directory: &str) -> String {
    let directory = quoted(directory);
    let mut script = format!("echo $$ > {directory}/pid; ");
    let pieces = job.log_lines.clamp(1, LOG_PIECES);
    let pause = duration.as_secs_f64() / f64::from(pieces);
    for piece in 0..pieces {
        let lines = share(u64::from(job.log_lines), pieces, piece);
        // Every line has one byte for its end; the rest of the bytes is spread over the lines.
        let text = share(
            job.log_bytes.saturating_sub(u64::from(job.log_lines)),
            pieces,
            piece,
        );
        if let (Some(each), Some(rest)) = (text.checked_div(lines), text.checked_rem(lines)) {
            if lines > 1 {
                let line = print_line(each);
                let _ = write!(
                    script,
                    "i=1; while [ $i -lt {lines} ]; do {line}; i=$((i+1)); done; "
                );
            }
            let _ = write!(script, "{}; ", print_line(each + rest));
        }
        if pause > 0.0 {
            let _ = write!(script, "sleep {pause:.3}; ");
        }
    }
    let _ = write!(
        script,
        "echo {} > {directory}/exit_code.tmp && mv {directory}/exit_code.tmp {directory}/exit_code",
        job.exit_code
    );
    script
}

/// A command that prints `width` characters and a line end, by the shell's own `printf`.
fn print_line(width: u64) -> String {
    match width {
        0 => "echo".to_owned(),
        width => format!("printf '%0{width}d\\n' 0"),
    }
}

/// The `index`-th of `pieces` nearly equal shares of `total`; the shares add up to `total`.
fn share(total: u64, pieces: u32, index: u32) -> u64 {
    let (pieces, index) = (u64::from(pieces), u64::from(index));
    total * (index + 1) / pieces - total * index / pieces
}

/// A word for the shell, in single quotes.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A name part reduced to `[A-Za-z0-9_]` and cut at 50 characters, as the provider does.
fn sanitised(part: &str) -> String {
    part.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .take(50)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(lines: u32, bytes: u64) -> JobConfig {
        JobConfig {
            duration: Duration::ZERO,
            log_lines: lines,
            log_bytes: bytes,
            exit_code: 3,
            killed_share: 0.0,
        }
    }

    #[test]
    fn job_writes_exactly_the_lines_and_bytes_asked_for() {
        for (lines, bytes) in [
            (0, 0),
            (1, 1),
            (1, 5),
            (7, 100),
            (40, 4000),
            (41, 4001),
            (9, 9),
            (12, 13),
        ] {
            let directory = tempfile::tempdir().expect("temporary directory");
            let script = script(
                &job(lines, bytes),
                Duration::ZERO,
                &directory.path().display().to_string(),
            );
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(&script)
                .output()
                .expect("sh runs");
            assert_eq!(
                output.stdout.len() as u64,
                bytes,
                "bytes of {lines}/{bytes}: {script}"
            );
            assert_eq!(
                output.stdout.iter().filter(|byte| **byte == b'\n').count() as u64,
                u64::from(lines),
                "lines of {lines}/{bytes}"
            );
            assert_eq!(
                std::fs::read_to_string(directory.path().join("exit_code")).expect("exit code"),
                "3\n"
            );
        }
    }

    #[test]
    fn quotes_survive_a_shell() {
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
