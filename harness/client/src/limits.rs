//! What a client may use at most: processes and memory.
//!
//! Owns where the bounds come from: a control group of the harness's own (version 1 or 2) as root, resource limits of the
//! process as anybody else. Nothing is claimed that is not enforced: [`bounds`] says which.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Uid;
use procfs::process::all_processes;

const MOUNT: &str = "/sys/fs/cgroup";

/// What bounds the clients on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bounds {
    /// A control group for each client.
    ControlGroups {
        /// Folder that groups for processes are made in.
        processes: PathBuf,
        /// … for memory; `None` where that controller is not there.
        memory: Option<PathBuf>,
        /// Version of the hierarchy.
        version: u8,
    },
    /// Resource limits (setrlimit(2)): processes are counted for the whole user, memory is address space.
    ResourceLimits,
    /// Neither: root is exempt from the limit on processes, and there is no group to put it in.
    Neither,
}

impl Bounds {
    /// For a person.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Bounds::ControlGroups {
                memory, version, ..
            } => format!(
                "processes{} of each client are bounded by a control group (version {version})",
                if memory.is_some() { " and memory" } else { "" }
            ),
            Bounds::ResourceLimits => {
                "processes (of this user, all together) and address space of each client are bounded by resource limits"
                    .to_owned()
            }
            Bounds::Neither => {
                "clients are not bounded: root is exempt from the limit on processes, and no control group can be made"
                    .to_owned()
            }
        }
    }
}

/// What can be had here.
#[must_use]
pub fn bounds() -> Bounds {
    if !Uid::effective().is_root() {
        return Bounds::ResourceLimits;
    }
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    find_groups(Path::new(MOUNT), &own).unwrap_or(Bounds::Neither)
}

/// Looks for a folder that groups can be made in: the one this process is in, or one above it.
fn find_groups(mount: &Path, own: &str) -> Option<Bounds> {
    let path_of = |controller: &str| {
        own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let ours = match controller {
                "" => controllers.is_empty(),
                _ => controllers.split(',').any(|word| word == controller),
            };
            ours.then(|| path.trim_start_matches('/').to_owned())
        })
    };
    if let Some(path) = path_of("pids") {
        return Some(Bounds::ControlGroups {
            processes: first_of(&mount.join("pids"), &path, |folder| {
                folder.join("cgroup.procs").exists()
            })?,
            memory: path_of("memory").and_then(|path| {
                first_of(&mount.join("memory"), &path, |folder| {
                    folder.join("memory.limit_in_bytes").exists()
                })
            }),
            version: 1,
        });
    }
    let path = path_of("")?;
    let gives = |folder: &Path, controller: &str| {
        fs::read_to_string(folder.join("cgroup.subtree_control"))
            .is_ok_and(|given| given.split_whitespace().any(|word| word == controller))
    };
    let folder = first_of(mount, &path, |folder| gives(folder, "pids"))?;
    Some(Bounds::ControlGroups {
        memory: gives(&folder, "memory").then(|| folder.clone()),
        processes: folder,
        version: 2,
    })
}

/// The folder at `path`, or the nearest above it within the hierarchy, that fits. A container often sees its own group as
/// the root, and a path that leads outside.
fn first_of(root: &Path, path: &str, fits: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let mut folder = root.join(path);
    loop {
        if fits(&folder) {
            return Some(folder);
        }
        if folder == root || !folder.pop() {
            return None;
        }
    }
}

/// The groups of one client; removed when it is dropped, which can only succeed when nothing is left in them.
#[derive(Debug, Default)]
pub(crate) struct Groups(Vec<PathBuf>);

impl Groups {
    /// Makes them, called `name`.
    pub(crate) fn create(
        bounds: &Bounds,
        name: &str,
        max_processes: u32,
        max_memory: Option<u64>,
    ) -> io::Result<Self> {
        let Bounds::ControlGroups {
            processes,
            memory,
            version,
        } = bounds
        else {
            return Ok(Groups::default());
        };
        let mut groups = Groups::default();
        // The warden is in the group too.
        let most = max_processes.saturating_add(1);
        groups.add(processes, name, "pids.max", u64::from(most))?;
        if let (Some(folder), Some(bytes)) = (memory, max_memory) {
            let limit = if *version == 1 {
                "memory.limit_in_bytes"
            } else {
                "memory.max"
            };
            groups.add(folder, name, limit, bytes)?;
        }
        Ok(groups)
    }

    fn add(&mut self, folder: &Path, name: &str, limit: &str, value: u64) -> io::Result<()> {
        let group = folder.join(name);
        match fs::create_dir(&group) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made?,
        }
        if !self.0.contains(&group) {
            self.0.push(group.clone());
        }
        fs::write(group.join(limit), value.to_string())
    }

    /// Whether a process was refused because there were too many (`pids.events`, `max`).
    pub(crate) fn refused_a_process(&self) -> bool {
        self.0.iter().any(|group| {
            fs::read_to_string(group.join("pids.events")).is_ok_and(|events| {
                events
                    .lines()
                    .filter_map(|line| line.strip_prefix("max "))
                    .any(|count| count.trim() != "0")
            })
        })
    }

    /// Puts this process, and what it will start, into them.
    pub(crate) fn enter(&self) -> io::Result<()> {
        for group in &self.0 {
            fs::write(group.join("cgroup.procs"), "0")?;
        }
        Ok(())
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.0 {
            let _ = fs::remove_dir(group);
        }
    }
}

/// Removes what is left of groups: those of `own`, and those whose harness is no more. A group that another harness has only just
/// made is as empty as one that was left, and its client would run without bounds. One that is in use stays.
pub(crate) fn remove_stale(bounds: &Bounds, own: &str) {
    let Bounds::ControlGroups {
        processes, memory, ..
    } = bounds
    else {
        return;
    };
    for folder in [Some(processes), memory.as_ref()].into_iter().flatten() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let ours = name
                .strip_prefix(own)
                .is_some_and(|rest| rest.starts_with('-'));
            if ours || owner(&name).is_some_and(|pid| !is_alive(pid)) {
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// Beginning of the name of every group: what follows is the number of the harness's process.
const GROUPS: &str = "sshchurn-clients-";

/// What the groups of one round of this harness's are called; the number of the client follows.
pub(crate) fn label(round: u32) -> String {
    format!("{GROUPS}{}-{round}", std::process::id())
}

/// The process that a group was made for.
fn owner(name: &str) -> Option<u32> {
    let (pid, _) = name.strip_prefix(GROUPS)?.split_once('-')?;
    pid.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// Sets the limits of this process, and of what it will start, where no group bounds it.
pub(crate) fn set_resource_limits(max_processes: u32, max_memory: Option<u64>) -> io::Result<()> {
    let lower = |resource: Resource, value: u64| -> io::Result<()> {
        let (soft, hard) = getrlimit(resource)?;
        Ok(setrlimit(resource, value.min(soft), hard)?)
    };
    // Counted for the user: what runs already is not the client's.
    let present = processes_of_user();
    lower(
        Resource::RLIMIT_NPROC,
        present.saturating_add(u64::from(max_processes)),
    )?;
    match max_memory {
        Some(bytes) => lower(Resource::RLIMIT_AS, bytes),
        None => Ok(()),
    }
}

/// Processes and threads of this user.
fn processes_of_user() -> u64 {
    let uid = Uid::effective().as_raw();
    all_processes()
        .into_iter()
        .flatten()
        .flatten()
        .filter(|process| process.uid().is_ok_and(|of| of == uid))
        .filter_map(|process| u64::try_from(process.stat().ok()?.num_threads).ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn group_that_another_harness_has_just_made_stays_and_that_of_a_dead_one_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let bounds = Bounds::ControlGroups {
            processes: folder.path().to_owned(),
            memory: None,
            version: 2,
        };
        let own = label(3);
        // Process 1 lives; numbers end at 2^22 (proc(5), pid_max).
        let [mine, next, living, dead, other] = [
            format!("{own}-0"),
            format!("{own}7-0"),
            format!("{GROUPS}1-1-0"),
            format!("{GROUPS}4194305-1-0"),
            String::from("user.slice"),
        ]
        .map(|name| {
            let path = folder.path().join(name);
            fs::create_dir(&path).expect("made");
            path
        });
        remove_stale(&bounds, &own);
        let left = [&mine, &next, &living, &dead, &other].map(|path| path.exists());
        assert_eq!(left, [false, true, true, false, true]);
    }

    #[test]
    fn groups_of_version_1_are_found_by_controller() {
        let mount = tempfile::tempdir().expect("a folder");
        let root = mount.path();
        file(root, "pids/ci/job/cgroup.procs", "");
        file(root, "memory/memory.limit_in_bytes", "");
        let own = "5:pids:/ci/job\n4:memory:/elsewhere/job\n1:name=systemd:/\n";
        assert_eq!(
            find_groups(root, own),
            Some(Bounds::ControlGroups {
                processes: root.join("pids/ci/job"),
                memory: Some(root.join("memory")),
                version: 1,
            })
        );
    }

    #[test]
    fn groups_of_version_2_are_made_where_the_controller_is_handed_down() {
        let mount = tempfile::tempdir().expect("a folder");
        let root = mount.path();
        file(root, "a/b/cgroup.subtree_control", "");
        file(root, "a/cgroup.subtree_control", "cpu pids memory\n");
        let found = find_groups(root, "0::/a/b\n");
        assert_eq!(
            found,
            Some(Bounds::ControlGroups {
                processes: root.join("a"),
                memory: Some(root.join("a")),
                version: 2,
            })
        );
        file(root, "a/cgroup.subtree_control", "cpu\n");
        assert_eq!(find_groups(root, "0::/a/b\n"), None);
    }

    #[test]
    fn groups_go_with_their_client() {
        let mount = tempfile::tempdir().expect("a folder");
        let bounds = Bounds::ControlGroups {
            processes: mount.path().join("p"),
            memory: Some(mount.path().join("m")),
            version: 1,
        };
        fs::create_dir(mount.path().join("p")).expect("made");
        fs::create_dir(mount.path().join("m")).expect("made");
        let groups = Groups::create(&bounds, "x-1", 7, Some(1000)).expect("made");
        let read = |path: &str| fs::read_to_string(mount.path().join(path)).expect("there");
        assert_eq!(read("p/x-1/pids.max"), "8");
        assert_eq!(read("m/x-1/memory.limit_in_bytes"), "1000");
        // A real group has no files of its own that are in the way.
        fs::remove_file(mount.path().join("p/x-1/pids.max")).expect("removed");
        fs::remove_file(mount.path().join("m/x-1/memory.limit_in_bytes")).expect("removed");
        drop(groups);
        assert!(!mount.path().join("p/x-1").exists() && !mount.path().join("m/x-1").exists());
    }
}
