//! The supervisor: a shell that is sshd's parent and adopts what jobs leave behind.
//!
//! Owns how it is started and what it says. Closing its standard input is the order to end everything.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use super::STOP_WITHIN;
use crate::{ServerError, io_error};

/// The supervisor and what it has said.
#[derive(Debug)]
pub(super) struct Supervisor {
    pub(super) child: Child,
    /// Closing it is the order to end everything.
    pub(super) stdin: Option<ChildStdin>,
    pub(super) pid: u32,
    pub(super) listener: u32,
    pub(super) reader: u32,
    pub(super) ended: watch::Receiver<bool>,
}

impl Supervisor {
    /// Starts it, and sshd below it.
    pub(super) async fn start(
        folder: &Path,
        sshd: &Path,
        descriptors: u32,
        privsep: Option<&Path>,
    ) -> Result<Self, ServerError> {
        let script = concat!(
            include_str!("../children.sh"),
            include_str!("supervisor.sh")
        );
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script, "supervisor"])
            .arg(folder)
            .arg(sshd)
            .arg(descriptors.to_string())
            .arg(privsep.unwrap_or(Path::new("")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        // The environment is passed on as it is: sshd shows its count of startups where its own environment was.
        // SAFETY: both calls are plain system calls, which are all that is allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                // A session of its own: a Ctrl-C at the terminal is for the harness, which ends sshd in its own time.
                nix::unistd::setsid()?;
                nix::sys::prctl::set_child_subreaper(true)?;
                Ok(())
            });
        }
        let mut child = command
            .spawn()
            .map_err(io_error("start the supervisor of sshd"))?;
        let stdin = child.stdin.take();
        let pid = child.id().unwrap_or_default();
        let stdout = child.stdout.take().ok_or_else(|| {
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
        let (sender, ended) = watch::channel(false);
        tokio::spawn(async move {
            // Anything it says from now on, or its end, means that sshd has ended.
            let _ = lines.next_line().await;
            let _ = sender.send(true);
        });
        Ok(Supervisor {
            child,
            stdin,
            pid,
            listener,
            reader,
            ended,
        })
    }
}
