//! The processes and folders a stand-in leaves behind, and their removal, however it ended.
//!
//! Owns the private folder, its lock, and ending what runs from it. Every command carries the folder's path
//! in its environment ([`MARK`]) and passes it on to whatever it starts, sessions of their own included: this
//! is how a process is known to be ours before it is signalled, since ids are reused and a `pid` file is only
//! text. It must not know ssh.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid, getuid};
use tempfile::TempDir;

/// Environment variable of every command: the private folder.
pub(super) const MARK: &str = "SSHCHURN_EMBEDDED_DIR";

const PREFIX: &str = "sshchurn-embedded-";
const LOCK: &str = "lock";
const JOBS: &str = "jobs";

/// How long killed processes may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// The private folder of one stand-in: removed when dropped.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    folder: TempDir,
    /// Held while this process lives: tells later runs that the folder is not stale.
    _lock: File,
}

impl PrivateFolder {
    /// Makes `sshchurn-embedded-<pid>-…` under `parent`, readable by its owner only, with an empty jobs folder.
    pub(super) fn create(parent: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix(&format!("{PREFIX}{}-", std::process::id()))
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .tempdir_in(parent)?;
        let lock = File::create(folder.path().join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::Error(source) => source,
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
        })?;
        fs::create_dir(folder.path().join(JOBS))?;
        Ok(PrivateFolder {
            folder,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn jobs(&self) -> PathBuf {
        self.path().join(JOBS)
    }

    pub(super) fn remove(self) -> io::Result<()> {
        self.folder.close()
    }
}

/// Removes what stand-ins of processes that are dead left under `parent`: their jobs are ended, their folders
/// removed. Returns how many folders. What cannot be removed is left for the next run.
///
/// A folder counts as left behind when the process its name carries is gone **and** its lock is free: the lock
/// alone would race with a folder just made, the id alone may belong to another process by now, or to another
/// container that shares the parent folder.
pub(super) fn remove_stale(parent: &Path) -> usize {
    let Ok(entries) = fs::read_dir(parent) else {
        return 0;
    };
    entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            owner_of(&name.to_string_lossy()).is_some_and(is_gone) && is_abandoned(&entry.path())
        })
        .filter(|entry| {
            end_processes(&entry.path(), &HashSet::new());
            fs::remove_dir_all(entry.path()).is_ok()
        })
        .count()
}

/// The process id in the name of a private folder.
fn owner_of(name: &str) -> Option<Pid> {
    let (id, _) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let id: i32 = id.parse().ok()?;
    (id > 0).then(|| Pid::from_raw(id))
}

fn is_gone(pid: Pid) -> bool {
    kill(pid, None) == Err(Errno::ESRCH)
}

/// Ours, a real folder (the parent is writable by everybody), and not locked.
fn is_abandoned(folder: &Path) -> bool {
    let ours = fs::symlink_metadata(folder)
        .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == getuid().as_raw());
    ours && match File::open(folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        // It died between making the folder and the lock.
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Kills every process that runs from `folder`, except those of the process groups in `spared`, and waits
/// until they are gone. Blocks; returns how many processes are still there, which is 0 but for processes the
/// kernel cannot end.
///
/// SIGKILL at once, as the end of a container would be: jobs under test have nothing to save.
pub(super) fn end_processes(folder: &Path, spared: &HashSet<i32>) -> usize {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        // Again and again: a process may have forked between being listed and being killed.
        let found = processes_of(folder, spared);
        if found.is_empty() || Instant::now() >= deadline {
            return found.len();
        }
        for pid in &found {
            let _ = kill(*pid, Signal::SIGKILL);
        }
        // They are not our children, so there is nothing to wait on.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The processes that run from `folder`.
pub(super) fn processes_of(folder: &Path, spared: &HashSet<i32>) -> BTreeSet<Pid> {
    let mut found = marked_processes(folder);
    found.extend(jobs_by_pid_file(folder));
    found.retain(|pid| {
        *pid != Pid::this()
            && getpgid(Some(*pid)).is_ok_and(|group| !spared.contains(&group.as_raw()))
    });
    found
}

fn marked_processes(folder: &Path) -> BTreeSet<Pid> {
    let mut mark = format!("{MARK}=").into_bytes();
    mark.extend_from_slice(folder.as_os_str().as_bytes());
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw))
        // Only our own processes can be read. A zombie has an empty environment: it is gone for our purpose.
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
                environment
                    .split(|byte| *byte == 0)
                    .any(|entry| entry == mark)
            })
        })
        .collect()
}

/// Session leaders that jobs wrote down themselves, for a job that emptied its environment; believed only
/// where the process works in the folder or was started with its path.
fn jobs_by_pid_file(folder: &Path) -> BTreeSet<Pid> {
    let Ok(jobs) = fs::read_dir(folder.join(JOBS)) else {
        return BTreeSet::new();
    };
    jobs.flatten()
        .filter_map(|job| {
            let text = fs::read_to_string(job.path().join("pid")).ok()?;
            let id: i32 = text.trim().parse().ok()?;
            (id > 1).then(|| Pid::from_raw(id))
        })
        .filter(|pid| relates_to(*pid, folder))
        .collect()
}

fn relates_to(pid: Pid, folder: &Path) -> bool {
    if fs::metadata(format!("/proc/{pid}"))
        .is_ok_and(|metadata| metadata.uid() != getuid().as_raw())
    {
        return false;
    }
    let works_there =
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(folder));
    let wanted = folder.as_os_str().as_bytes();
    works_there
        || fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|command| command.windows(wanted.len()).any(|window| window == wanted))
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A process id that belongs to nobody: of a child that was reaped.
    fn dead_pid() -> u32 {
        let mut child = Command::new("true").spawn().expect("true starts");
        child.wait().expect("true ends");
        child.id()
    }

    fn sleeper(configure: impl FnOnce(&mut Command) -> &mut Command) -> Child {
        let mut command = Command::new("sleep");
        command.arg("600").stdin(Stdio::null());
        let child = configure(&mut command).spawn().expect("sleep starts");
        // spawn() returns while the kernel still sets up the new program: only when its arguments can be read is its
        // environment there too.
        let arguments = format!("/proc/{}/cmdline", child.id());
        while fs::read(&arguments).is_ok_and(|line| !line.starts_with(b"sleep")) {
            std::thread::yield_now();
        }
        child
    }

    #[test]
    fn private_folder_is_readable_by_its_owner_only_and_goes_away_when_dropped() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let folder = PrivateFolder::create(parent.path()).expect("created");
        let path = folder.path().to_owned();
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o700);
        assert!(folder.jobs().is_dir());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn folder_of_a_dead_process_is_removed_and_its_marked_job_ended() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let stale = parent.path().join(format!("{PREFIX}{}-x", dead_pid()));
        fs::create_dir_all(stale.join(JOBS)).expect("created");
        fs::write(stale.join(LOCK), "").expect("written");
        let mut job = sleeper(|command| command.env(MARK, &stale));
        assert_eq!(remove_stale(parent.path()), 1);
        assert!(!stale.exists());
        assert!(!job.wait().expect("reaped").success());
    }

    #[test]
    fn folder_of_a_living_process_and_a_locked_one_stay() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let living = PrivateFolder::create(parent.path()).expect("created");
        let locked = parent.path().join(format!("{PREFIX}{}-x", dead_pid()));
        fs::create_dir(&locked).expect("created");
        let lock = File::create(locked.join(LOCK)).expect("created");
        lock.lock().expect("locked");
        assert_eq!(remove_stale(parent.path()), 0);
        assert!(living.path().exists());
        assert!(locked.exists());
    }

    #[test]
    fn pid_file_naming_a_stranger_ends_nobody() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let folder = PrivateFolder::create(parent.path()).expect("created");
        let mut stranger = sleeper(|command| command);
        let job = folder.jobs().join("job");
        fs::create_dir(&job).expect("created");
        fs::write(job.join("pid"), stranger.id().to_string()).expect("written");
        assert_eq!(end_processes(folder.path(), &HashSet::new()), 0);
        assert!(
            stranger.try_wait().expect("asked").is_none(),
            "the stranger lives"
        );
        stranger.kill().expect("killed");
        stranger.wait().expect("reaped");
    }

    #[test]
    fn job_with_an_emptied_environment_is_ended_by_its_pid_file() {
        let parent = tempfile::tempdir().expect("temporary folder");
        let folder = PrivateFolder::create(parent.path()).expect("created");
        let job = folder.jobs().join("job");
        fs::create_dir(&job).expect("created");
        let mut process = sleeper(|command| command.env_clear().current_dir(&job));
        fs::write(job.join("pid"), format!("{}\n", process.id())).expect("written");
        assert_eq!(end_processes(folder.path(), &HashSet::new()), 0);
        assert!(!process.wait().expect("reaped").success());
    }
}
