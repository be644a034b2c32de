//! The supervisor: a shell that is sshd's parent and adopts what jobs leave behind.
//!
//! Owns how it is started and what it says. Closing its standard input is the order to end everything.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use super::{LOOK_AGAIN, STOP_WITHIN};
use crate::cores::Cores;
use crate::ward::{MARK, Ward};
use crate::{ServerError, io_error};

/// The supervisor and what it has said. Dropping it gives the order to end everything and waits for it.
#[derive(Debug)]
pub(super) struct Supervisor {
    child: Child,
    /// Closing it is the order to end everything.
    stdin: Option<ChildStdin>,
    pub(super) pid: u32,
    pub(super) listener: u32,
    pub(super) reader: u32,
    pub(super) ended: watch::Receiver<bool>,
}

impl Supervisor {
    /// Starts it, and sshd below it, in the folder and under the mark of `ward`.
    pub(super) async fn start(
        ward: &Ward,
        sshd: &Path,
        descriptors: u32,
        privsep: Option<&Path>,
        cores: Option<&Cores>,
    ) -> Result<Self, ServerError> {
        let cpus = cores
            .map(Cores::server_set)
            .transpose()
            .map_err(io_error("give sshd CPUs of its own"))?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", include_str!("supervisor.sh"), "supervisor"])
            .arg(ward.path())
            .arg(sshd)
            .arg(descriptors.to_string())
            .arg(privsep.unwrap_or(Path::new("")))
            .env(MARK, ward.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // The environment is passed on as it is: sshd shows its count of startups where its own environment was.
        // SAFETY: these calls are plain system calls, which are all that is allowed between fork and exec.
        unsafe {
            command.pre_exec(move || {
                if let Some(cpus) = &cpus {
                    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), cpus)?;
                }
                // A session of its own: a Ctrl-C at the terminal is for the harness, which ends sshd in its own time.
                nix::unistd::setsid()?;
                nix::sys::prctl::set_child_subreaper(true)?;
                Ok(())
            });
        }
        let mut child = command
            .spawn()
            .map_err(io_error("start the supervisor of sshd"))?;
        let (sender, ended) = watch::channel(false);
        let stdout = child.stdout.take();
        // From here on every way out waits for its end.
        let mut supervisor = Supervisor {
            stdin: child.stdin.take(),
            pid: child.id().unwrap_or_default(),
            child,
            listener: 0,
            reader: 0,
            ended,
        };
        let stdout = stdout.ok_or_else(|| {
            io_error("read from the supervisor")(std::io::ErrorKind::BrokenPipe.into())
        })?;
        let mut lines = BufReader::new(stdout).lines();
        let mut said = async |word: &str| -> Option<u32> {
            let line = tokio::time::timeout(STOP_WITHIN, lines.next_line())
                .await
                .ok()?
                .ok()??;
            line.strip_prefix(word)?.trim().parse().ok()
        };
        let (Some(listener), Some(reader)) = (said("listener").await, said("reader").await) else {
            return Err(io_error("start sshd under its supervisor")(
                std::io::ErrorKind::BrokenPipe.into(),
            ));
        };
        (supervisor.listener, supervisor.reader) = (listener, reader);
        ward.record(listener)
            .map_err(io_error("write down which process sshd is"))?;
        tokio::spawn(async move {
            // Anything it says from now on, or its end, means that sshd has ended.
            let _ = lines.next_line().await;
            let _ = sender.send(true);
        });
        Ok(supervisor)
    }

    /// Has it end everything and waits until it has, or has taken too long.
    pub(super) async fn stop(mut self) {
        self.stdin = None;
        if tokio::time::timeout(STOP_WITHIN, self.child.wait())
            .await
            .is_err()
        {
            // What it leaves is the ward's to end.
            let _ = self.child.start_kill();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stdin = None;
        let deadline = Instant::now() + STOP_WITHIN;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(LOOK_AGAIN);
        }
        let _ = self.child.start_kill();
    }
}
