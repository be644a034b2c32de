//! The ward: one private folder with everything that is started in its name, and the end of both.
//!
//! Owns, for every kind of server, the folder (owner file, lock), the mark by which a process is known to be ours, the
//! killing, and the removal of what killed runs left. It must not know ssh, sshd or Docker.
//!
//! The temporary folder is everybody's, so nothing in it is believed by its name alone, and nobody's process is killed
//! for where it stands or what it reads: see [`processes`] for what makes a process ours, `stale` for a folder.

mod files;
pub(crate) mod processes;
mod stale;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::owner::Owner;
pub(crate) use files::read_small;
pub(crate) use stale::remove_stale;

/// Environment variable of everything that is started in a ward's name: the path of its folder.
pub(crate) const MARK: &str = "SSHCHURN_WARD";
/// Who owns the folder ([`Owner`]); locked (flock(2)) as long as that process lives.
const OWNER: &str = "owner";
/// Processes that lose the mark: one [`Owner`] a line.
const RECORDED: &str = "recorded";

/// What a ward is for. The name of its folder begins with it, so that a person can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// This machine's own sshd.
    Local,
    /// The stand-in's commands.
    Embedded,
    /// What a container writes.
    Docker,
    /// The making of an image.
    Image,
    /// What clients under test are given.
    Clients,
    /// A command that prints the log of somebody else's server.
    Log,
}

impl Kind {
    const ALL: [Self; 6] = [
        Kind::Local,
        Kind::Embedded,
        Kind::Docker,
        Kind::Image,
        Kind::Clients,
        Kind::Log,
    ];

    fn prefix(self) -> &'static str {
        match self {
            Kind::Local => "sshchurn-local-",
            Kind::Embedded => "sshchurn-embedded-",
            Kind::Docker => "sshchurn-docker-",
            Kind::Image => "sshchurn-image-",
            Kind::Clients => "sshchurn-clients-",
            Kind::Log => "sshchurn-log-",
        }
    }
}

/// A private folder for what clients under test are given, a private key among it, and with which they end: one that a
/// killed run left is removed by the next, like that of any server.
#[derive(Debug)]
pub struct ClientWard(Ward);

impl ClientWard {
    /// Makes it in the temporary folder.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create() -> io::Result<Self> {
        Ward::create(&std::env::temp_dir(), Kind::Clients).map(ClientWard)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// The variable by which a process is known to be of its name, and its value.
    #[must_use]
    pub fn mark(&self) -> (&'static str, &Path) {
        (MARK, self.0.path())
    }
}

/// A private folder and the processes of its name. Dropping it ends them and removes it.
#[derive(Debug)]
pub(crate) struct Ward {
    /// `None` once it is removed.
    folder: Option<TempDir>,
    path: PathBuf,
    /// Held while this process lives: tells later runs that the folder is in use.
    _lock: File,
}

impl Ward {
    /// Makes `<parent>/sshchurn-<kind>-<random>`, open to this user only (mode 0700), with its owner written down.
    pub(crate) fn create(parent: &Path, kind: Kind) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(kind.prefix())
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let path = folder.path().to_owned();
        // Under its own name only when it is locked: there is no moment at which a living owner's file is free.
        let making = path.join("owner.new");
        let mut lock = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(0o600)
            .open(&making)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(source) => source,
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        })?;
        lock.write_all(Owner::this_process()?.to_string().as_bytes())?;
        fs::rename(&making, path.join(OWNER))?;
        Ok(Ward {
            folder: Some(folder),
            path,
            _lock: lock,
        })
    }

    /// The private folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a process down by id and start time, for one that will not carry the mark: sshd writes its title over its
    /// environment (openbsd-compat/setproctitle.c). A process that has ended already is left out.
    pub(crate) fn record(&self, pid: u32) -> io::Result<()> {
        let process = match Owner::of(pid) {
            Ok(process) => process,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.path.join(RECORDED))?;
        writeln!(file, "{process}")
    }

    /// Ends every process and removes the folder, which may be gone already. Blocks, some seconds at most.
    pub(crate) fn remove(mut self) -> io::Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> io::Result<()> {
        let Some(folder) = self.folder.take() else {
            return Ok(());
        };
        let ended = processes::end_ward(&self.path, &HashSet::new());
        match folder.close() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => ended.and(Err(error)),
            Ok(()) | Err(_) => ended,
        }
    }
}

impl Drop for Ward {
    fn drop(&mut self) {
        // The way out of an error or a panic: waiting here keeps the promise that nothing is left when the program ends.
        if let Err(error) = self.finish() {
            tracing::warn!(%error, folder = %self.path.display(), "something was left behind");
        }
    }
}
