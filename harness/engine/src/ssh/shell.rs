//! Shell text of the commands: what the login shell of a real server is given.
//!
//! Plain POSIX shell, since the user's login shell runs it. File names inside the job directory are those of the Airflow
//! provider (`stdout.log`, `exit_code`, `pid`). Owns the text and its quoting; must not run anything.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::command::{Command, Job};

/// Most pieces a job's log is written in: enough for polls to see it grow, few enough that the job's own
/// `sleep` processes stay cheap beside a handshake.
const LOG_PIECES: u32 = 8;

/// The text of a command.
pub(super) fn text(command: Command<'_>) -> Cow<'_, str> {
    Cow::Owned(match command {
        Command::Detect => return Cow::Borrowed("uname -s"),
        Command::Run(text) => return Cow::Borrowed(text),
        Command::Submit(job) => submit(job),
        Command::Check(job) => {
            let file = file(job, "exit_code");
            format!("if [ -s {file} ]; then cat {file}; fi")
        }
        Command::Size(job) => {
            let file = file(job, "stdout.log");
            format!("if [ -f {file} ]; then wc -c < {file}; else echo 0; fi")
        }
        Command::Read { job, offset, count } => {
            let file = file(job, "stdout.log");
            // tail counts from 1.
            format!(
                "tail -c +{} {file} | head -c {count}",
                offset.saturating_add(1)
            )
        }
        Command::Cleanup(job) => format!("rm -rf {}", quoted(&job.directory())),
    })
}

/// Makes the directory, truncates the log, starts the job in a session of its own with nothing of the channel's, so that
/// the channel can close, and prints the job id.
fn submit(job: &Job) -> String {
    let id = quoted(&job.id());
    let script = quoted(&script(job));
    let directory = quoted(&job.directory());
    format!(
        "mkdir -p {directory} && : > {directory}/stdout.log && \
         {{ if command -v setsid >/dev/null 2>&1; \
         then setsid sh -c {script} </dev/null >{directory}/stdout.log 2>&1 & \
         else nohup sh -c {script} </dev/null >{directory}/stdout.log 2>&1 & fi; }} && \
         printf '%s\\n' {id}"
    )
}

/// A file in the job's directory, quoted.
fn file(job: &Job, name: &str) -> String {
    quoted(&format!("{}/{name}", job.directory()))
}

/// What the job does: its pid, its log in pieces spread over its duration, its exit code.
fn script(job: &Job) -> String {
    let directory = quoted(&job.directory());
    let mut script = format!("echo $$ > {directory}/pid; ");
    let pieces = log_pieces(job);
    let pause = job.work.duration.as_secs_f64() / f64::from(pieces);
    for piece in 0..pieces {
        let lines = share(u64::from(job.work.log_lines), pieces, piece);
        // Every line has one byte for its end; the rest of the bytes is spread over the lines.
        let text = share(
            job.work
                .log_bytes
                .saturating_sub(u64::from(job.work.log_lines)),
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
        job.work.exit_code
    );
    script
}

/// Pieces that a job's log is written in.
pub(crate) fn log_pieces(job: &Job) -> u32 {
    job.work.log_lines.clamp(1, LOG_PIECES)
}

/// How much of its log a job has written after `ran`: the piece at its start, and one after each pause.
pub(crate) fn log_share(job: &Job, ran: std::time::Duration) -> u64 {
    let pieces = log_pieces(job);
    let begun = match job.work.duration.is_zero() {
        true => pieces,
        false => {
            let passed = ran.as_secs_f64() / job.work.duration.as_secs_f64();
            (passed * f64::from(pieces)) as u32 + 1
        }
    };
    (0..pieces.min(begun))
        .map(|piece| {
            let lines = share(u64::from(job.work.log_lines), pieces, piece);
            let text = share(
                job.work
                    .log_bytes
                    .saturating_sub(u64::from(job.work.log_lines)),
                pieces,
                piece,
            );
            if lines == 0 { 0 } else { lines + text }
        })
        .sum()
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
    let upto = |index: u32| u128::from(total) * u128::from(index) / u128::from(pieces);
    // The difference of two numbers up to `total`.
    u64::try_from(upto(index + 1) - upto(index)).unwrap_or(u64::MAX)
}

/// A word for the shell, in single quotes.
#[must_use]
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::ssh::JobWork;
    use sshchurn_core::ids::{RoundId, TaskId};

    fn job(base: &std::path::Path, lines: u32, bytes: u64) -> Job {
        Job {
            task: TaskId(7),
            token: *b"0123abcd",
            work: Arc::new(JobWork {
                base: base.display().to_string(),
                name: "shell".to_owned(),
                round: RoundId(2),
                duration: Duration::ZERO,
                log_lines: lines,
                log_bytes: bytes,
                exit_code: 3,
            }),
        }
    }

    /// Standard output of a command, run as a login shell would.
    fn run(command: Command<'_>) -> String {
        let output = std::process::Command::new("sh")
            .arg("-c")
            .arg(text(command).as_ref())
            .output()
            .expect("sh runs");
        assert!(output.status.success(), "{command:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
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
            let job = job(directory.path(), lines, bytes);
            std::fs::create_dir(job.directory()).expect("made");
            let script = script(&job);
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
            assert_eq!(run(Command::Check(&job)), "3\n");
        }
    }

    #[test]
    fn quotes_survive_a_shell() {
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }

    #[test]
    fn commands_of_a_job_do_what_their_words_say() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let job = job(&folder.path().join("it's a folder"), 2, 11);
        let directory = std::path::PathBuf::from(job.directory());
        assert!(directory.ends_with("af_shell_t7_r2_try1_0123abcd"));
        assert_eq!(run(Command::Check(&job)), "");
        assert_eq!(run(Command::Size(&job)).trim(), "0");
        // The job itself is run here and waited for: a submitted one is in nobody's hands.
        std::fs::create_dir_all(&directory).expect("made");
        let log = std::process::Command::new("sh")
            .args(["-c", &script(&job)])
            .output()
            .expect("sh runs");
        std::fs::write(directory.join("stdout.log"), &log.stdout).expect("written");
        assert_eq!(run(Command::Check(&job)), "3\n");
        assert_eq!(run(Command::Size(&job)).trim(), "11");
        let read = |offset, count| {
            run(Command::Read {
                job: &job,
                offset,
                count,
            })
        };
        assert_eq!(read(0, 100).as_bytes(), log.stdout);
        assert_eq!(read(4, 3).as_bytes(), &log.stdout[4..7]);
        assert_eq!(run(Command::Run("echo as it stands")), "as it stands\n");
        run(Command::Cleanup(&job));
        assert!(!directory.exists());
    }

    #[test]
    fn shares_of_the_largest_number_add_up() {
        let shares: u64 = (0..7).map(|index| share(u64::MAX, 7, index)).sum();
        assert_eq!(shares, u64::MAX);
    }
}
