//! Whose things are these: the process that owns a container or a folder, written down so that a later run can tell
//! whether it is still alive.
//!
//! A process id alone is reused; with its start time, the boot and the pid namespace it names one process for good.
//! Owns that identity and the question; it must not remove anything.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

use nix::errno::Errno;
use procfs::ProcError;

/// A process, named so that no other ever has the same name on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: u32,
    /// Clock ticks between boot and the start of the process (proc(5), `stat`, field 22).
    started: u64,
    boot: String,
    /// Inode of its pid namespace: ids of another namespace mean nothing here.
    namespace: u64,
}

/// What is known of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// Running.
    Alive,
    /// Gone, and nobody can come back to what it owned.
    Dead,
    /// Started under another boot: of this machine, or of another one that shares the engine.
    OtherBoot,
    /// In another pid namespace, from where it cannot be seen.
    Unseen,
}

impl Owner {
    pub(super) fn this_process() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// The process that has this id now.
    pub(super) fn of(pid: u32) -> io::Result<Self> {
        Ok(Owner {
            pid,
            started: start_time(pid)?,
            boot: boot_id()?,
            namespace: pid_namespace()?,
        })
    }

    pub(super) fn liveness(&self) -> Liveness {
        match (boot_id(), pid_namespace()) {
            (Ok(boot), _) if boot != self.boot => Liveness::OtherBoot,
            (Ok(_), Ok(namespace)) if namespace == self.namespace => {
                match start_time(self.pid) {
                    Ok(started) if started == self.started => Liveness::Alive,
                    Ok(_) => Liveness::Dead,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Liveness::Dead,
                    // Rather leave something behind than remove what is in use.
                    Err(_) => Liveness::Unseen,
                }
            }
            _ => Liveness::Unseen,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}:{}",
            self.pid, self.started, self.boot, self.namespace
        )
    }
}

/// Text that names no owner.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not `pid:start:boot:namespace`")]
pub(super) struct InvalidOwner(String);

impl FromStr for Owner {
    type Err = InvalidOwner;

    fn from_str(text: &str) -> Result<Self, InvalidOwner> {
        let invalid = || InvalidOwner(text.to_owned());
        let parts: Vec<&str> = text.trim().split(':').collect();
        let [pid, started, boot, namespace] = parts[..] else {
            return Err(invalid());
        };
        Ok(Owner {
            pid: pid.parse().map_err(|_| invalid())?,
            started: started.parse().map_err(|_| invalid())?,
            boot: boot.to_owned(),
            namespace: namespace.parse().map_err(|_| invalid())?,
        })
    }
}

fn start_time(pid: u32) -> io::Result<u64> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    procfs::process::Process::new(pid)
        .and_then(|process| process.stat())
        .map(|stat| stat.starttime)
        .map_err(io_error)
}

/// The same failure as [`io::Error`]; a process that ended while it was looked at was not found.
pub(super) fn io_error(error: ProcError) -> io::Error {
    match error {
        ProcError::NotFound(_) => io::ErrorKind::NotFound.into(),
        ProcError::PermissionDenied(_) => io::ErrorKind::PermissionDenied.into(),
        ProcError::Io(error, _) if error.raw_os_error() == Some(Errno::ESRCH as i32) => {
            io::ErrorKind::NotFound.into()
        }
        ProcError::Io(error, _) => error,
        other @ (ProcError::Incomplete(_) | ProcError::Other(_) | ProcError::InternalError(_)) => {
            io::Error::other(other)
        }
    }
}

pub(super) fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

fn pid_namespace() -> io::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata("/proc/self/ns/pid")?.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this() -> Owner {
        Owner::this_process().expect("/proc is there")
    }

    #[test]
    fn this_process_is_alive_also_after_being_written_down() {
        let read: Owner = this().to_string().parse().expect("own form");
        assert_eq!(read, this());
        assert_eq!(read.liveness(), Liveness::Alive);
    }

    #[test]
    fn reaped_process_is_dead() {
        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .expect("sleep starts");
        let owner = Owner::of(child.id()).expect("it runs");
        assert_eq!(owner.liveness(), Liveness::Alive);
        child.kill().expect("killed");
        child.wait().expect("reaped");
        assert_eq!(owner.liveness(), Liveness::Dead);
    }

    #[test]
    fn process_that_got_the_id_of_a_dead_owner_is_not_the_owner() {
        let owner = Owner {
            started: this().started + 1,
            ..this()
        };
        assert_eq!(owner.liveness(), Liveness::Dead);
    }

    #[test]
    fn owner_of_another_boot_or_namespace_is_never_called_dead() {
        let other_boot = Owner {
            boot: String::from("another"),
            ..this()
        };
        assert_eq!(other_boot.liveness(), Liveness::OtherBoot);
        let other_namespace = Owner {
            namespace: this().namespace + 1,
            pid: u32::MAX,
            ..this()
        };
        assert_eq!(other_namespace.liveness(), Liveness::Unseen);
    }

    #[test]
    fn text_that_is_no_owner_is_an_error() {
        for text in ["", "1:2:3", "x:1:boot:4", "1:2:boot:4:5"] {
            assert!(text.parse::<Owner>().is_err(), "{text}");
        }
    }
}
