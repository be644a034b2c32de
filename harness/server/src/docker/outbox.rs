//! What the container's sshd writes, as files of this machine: its log, and what it says when it starts.
//!
//! Owns the private folder that is mounted where the container writes, and the question whether that is one and the same
//! folder: answered by looking, since an engine may run in a virtual machine, on another host, or under other user ids.
//! Where it is not, the log is copied out by a command in the container (`spool`). sshd writes to a file either way.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::container::{Container, LOOK_AGAIN};
use super::spool::LogSpool;
use crate::owner::boot_id;
use crate::ward::{Kind, Ward};
use crate::{ServerError, io_error, log_follower};

/// Where the container writes (`inside::INIT`).
pub(super) const INNER: &str = "/var/log";
/// The log, in either folder.
const LOG: &str = "sshd.log";
/// What process 1 writes first: the container's name, and the boot that its kernel is of.
const MARKER: &str = "init";
/// What the container writes. Made here, so that they are of the user who runs the harness: the container's root may
/// write to them, and that user can read and remove them.
const FILES: [&str; 6] = [
    LOG,
    MARKER,
    "listener",
    "effective",
    "refused",
    "login_shell",
];
/// How long a container that runs may take to write its first word before it is asked for it.
const FIRST_WORD: Duration = Duration::from_millis(500);

/// The folder, removed when dropped.
#[derive(Debug)]
pub(super) struct Outbox {
    ward: Ward,
    /// Whether the container writes to files of its own.
    apart: bool,
    /// Fills the log then.
    spool: Option<Arc<LogSpool>>,
}

/// Whether the container writes into the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// It does, and under this kernel: what was written there is seen here at once.
    Shared,
    /// It writes to files of its own.
    Apart,
    /// It cannot write where the folder is mounted.
    Refused,
}

impl Outbox {
    /// An empty one, readable by its owner only.
    pub(super) fn create() -> Result<Self, ServerError> {
        let create = || {
            let ward = Ward::create(&std::env::temp_dir(), Kind::Docker)?;
            for name in FILES {
                File::options()
                    .create_new(true)
                    .write(true)
                    .mode(0o600)
                    .open(ward.path().join(name))?;
            }
            Ok(Outbox {
                ward,
                apart: false,
                spool: None,
            })
        };
        create().map_err(io_error("make a private folder for the container"))
    }

    pub(super) fn path(&self) -> &Path {
        self.ward.path()
    }

    pub(super) fn log_path(&self) -> PathBuf {
        self.path().join(LOG)
    }

    pub(super) fn spool(&self) -> Option<Arc<LogSpool>> {
        self.spool.clone()
    }

    /// Looks whether what the container writes appears here.
    pub(super) async fn look(
        &self,
        container: &Container,
        name: &str,
    ) -> Result<Sharing, ServerError> {
        let wanted = boot_id()
            .map(|boot| format!("{name} {boot}\n"))
            .map_err(io_error("read /proc"))?;
        let here = self.path().join(MARKER);
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(&here).map_err(io_error("read the private folder"))?;
            if said.ends_with('\n') {
                // Another kernel shows what it wrote in its own time: that is no way to follow a log.
                return Ok(if said == wanted {
                    Sharing::Shared
                } else {
                    Sharing::Apart
                });
            }
            if begun.elapsed() < FIRST_WORD {
                tokio::time::sleep(LOOK_AGAIN / 5).await;
                continue;
            }
            if container.pid().await?.is_none() {
                return Ok(Sharing::Refused);
            }
            let marker = format!("{INNER}/{MARKER}");
            let asked = container.inside().exec(&["cat", &marker]).await;
            if asked.is_ok_and(|ran| ran.stdout.ends_with(b"\n")) && !is_written(&here) {
                return Ok(Sharing::Apart);
            }
        }
    }

    /// Has the log copied out from now on, from its beginning.
    pub(super) async fn copy_log(&mut self, container: &Container) -> Result<(), ServerError> {
        self.apart = true;
        let inner = format!("{INNER}/{LOG}");
        match LogSpool::start(container.inside().clone(), &inner, self.log_path()).await {
            Ok(spool) => {
                self.spool = Some(Arc::new(spool));
                Ok(())
            }
            // It has ended already: its files say why.
            Err(_) if container.pid().await?.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A text that the container has written, running or not.
    pub(super) async fn text(
        &self,
        container: &Container,
        name: &str,
    ) -> Result<String, ServerError> {
        let bytes = if self.apart {
            container.file(&format!("{INNER}/{name}")).await?
        } else {
            fs::read(self.path().join(name)).map_err(io_error("read the private folder"))?
        };
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The last lines of the log.
    pub(super) async fn last_lines(&self) -> Vec<String> {
        log_follower::last_lines(self.log_path()).await
    }

    /// Removes the folder.
    pub(super) fn remove(self) -> Result<(), ServerError> {
        drop(self.spool);
        self.ward
            .remove()
            .map_err(io_error("remove the container's private folder"))
    }
}

fn is_written(marker: &Path) -> bool {
    let length: io::Result<u64> = log_follower::length(marker);
    length.is_ok_and(|length| length > 0)
}
