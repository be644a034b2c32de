//! The way in, as files and numbers that any client understands: private keys, known hosts, an ssh_config.
//!
//! Owns those files and what the placeholders stand for. They are as private as the keys in them.

use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::scenario::client::{Placeholder, host_of};

/// Where a run's clients log in, and with what.
#[derive(Debug, Clone, Copy)]
pub struct WayIn<'a> {
    /// The server's port, the same on every address.
    pub port: u16,
    /// Whom to log in as.
    pub user: &'a str,
    /// The server's key, as it stands in a `known_hosts` file after the name.
    pub host_key: &'a str,
    /// A private key that works and is no task's.
    pub key: &'a str,
    /// The private keys of the tasks, in the order of their numbers; empty where they have none of their own.
    pub task_keys: &'a [String],
    /// Tasks of a round.
    pub tasks: u32,
    /// Whether a program is started for each task: only then has each an `ssh_config`.
    pub for_each_task: bool,
}

/// A way in that clients under test are given.
#[derive(Debug, Clone)]
pub struct Access {
    folder: PathBuf,
    port: u16,
    user: String,
    tasks: u32,
    /// Whether each task has a key of its own.
    own_keys: bool,
    /// … and an `ssh_config`.
    own_configs: bool,
}

impl Access {
    /// Writes the files into `folder`, which must be nobody else's to read: a key for each task that has one, a
    /// configuration for each where programs are started for tasks, and three for all.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(folder: &Path, way: &WayIn<'_>) -> io::Result<Self> {
        let access = Access {
            folder: folder.to_path_buf(),
            port: way.port,
            user: way.user.to_owned(),
            tasks: way.tasks,
            own_keys: !way.task_keys.is_empty(),
            own_configs: !way.task_keys.is_empty() && (way.for_each_task || way.tasks == 1),
        };
        write_private(&access.key(None), way.key.as_bytes())?;
        // A line for each name: not every client knows patterns.
        let hosts = (0..way.tasks).map(|task| host_of(TaskId(task)).to_string());
        let known: String = [NO_TASKS_HOST.to_string(), "localhost".to_owned()]
            .into_iter()
            .chain(hosts)
            .map(|host| format!("[{host}]:{} {}\n", way.port, way.host_key))
            .collect();
        write_private(&access.known_hosts(), known.as_bytes())?;
        access.configure(None)?;
        if access.own_keys {
            make_private(&access.folder.join(KEYS))?;
        }
        if access.own_configs {
            make_private(&access.folder.join(CONFIGS))?;
        }
        for (task, key) in (0..).map(TaskId).zip(way.task_keys) {
            write_private(&access.key(Some(task)), key.as_bytes())?;
            // A whole file and no `Include`: most clients but OpenSSH's do not know that.
            if access.own_configs {
                access.configure(Some(task))?;
            }
        }
        Ok(access)
    }

    /// Writes the `ssh_config` of a task, or of all.
    fn configure(&self, task: Option<TaskId>) -> io::Result<()> {
        let quoted = |path: &Path| format!("\"{}\"", path.display());
        let config = format!(
            "# Written by sshchurn for one run.\n\
             Host *\n    \
             User {}\n    \
             Port {}\n    \
             IdentityFile {}\n    \
             IdentitiesOnly yes\n    \
             IdentityAgent none\n    \
             UserKnownHostsFile {}\n    \
             GlobalKnownHostsFile /dev/null\n    \
             StrictHostKeyChecking yes\n    \
             BatchMode yes\n",
            self.user,
            self.port,
            quoted(&self.key(task)),
            quoted(&self.known_hosts()),
        );
        write_private(&self.ssh_config(task), config.as_bytes())
    }

    /// The key of a task, or one that works.
    fn key(&self, task: Option<TaskId>) -> PathBuf {
        self.own_file(KEYS, task.filter(|_| self.own_keys))
            .unwrap_or_else(|| self.folder.join("id_ed25519"))
    }

    fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    fn ssh_config(&self, task: Option<TaskId>) -> PathBuf {
        self.own_file(CONFIGS, task.filter(|_| self.own_configs))
            .unwrap_or_else(|| self.folder.join("ssh_config"))
    }

    fn own_file(&self, kind: &str, task: Option<TaskId>) -> Option<PathBuf> {
        Some(self.folder.join(kind).join(task?.0.to_string()))
    }

    /// What a placeholder stands for, for the client of one task or of all.
    pub(crate) fn value(
        &self,
        placeholder: Placeholder,
        task: Option<TaskId>,
        round: RoundId,
        scenario: &Path,
    ) -> String {
        let of_each = |value: &dyn Fn(TaskId) -> String| {
            let values: Vec<String> = (0..self.tasks).map(|task| value(TaskId(task))).collect();
            values.join(",")
        };
        // A program for all tasks of a round of one is for that one.
        let owner = task.or_else(|| (self.tasks == 1).then_some(TaskId(0)));
        match placeholder {
            // For several tasks an address that is none's: their connections are not to be taken for one task's.
            Placeholder::Host => owner.map_or(NO_TASKS_HOST, host_of).to_string(),
            Placeholder::Hosts => of_each(&|task| host_of(task).to_string()),
            Placeholder::Port => self.port.to_string(),
            Placeholder::User => self.user.clone(),
            Placeholder::Key => self.key(owner).display().to_string(),
            Placeholder::Keys => of_each(&|task| self.key(Some(task)).display().to_string()),
            Placeholder::KnownHosts => self.known_hosts().display().to_string(),
            Placeholder::SshConfig => self.ssh_config(owner).display().to_string(),
            Placeholder::Task => task.map_or_else(String::new, |task| task.0.to_string()),
            Placeholder::Tasks => self.tasks.to_string(),
            Placeholder::Round => round.0.to_string(),
            Placeholder::Scenario => scenario.display().to_string(),
        }
    }
}

/// Folder of the tasks' keys.
const KEYS: &str = "keys";
/// Folder of the tasks' configurations.
const CONFIGS: &str = "ssh_configs";
/// An address that is no task's.
const NO_TASKS_HOST: Ipv4Addr = Ipv4Addr::LOCALHOST;

fn make_private(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(0o700).create(folder)
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path)?
        .write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const WAY: WayIn<'static> = WayIn {
        port: 40_022,
        user: "runner",
        host_key: "ssh-ed25519 AAA",
        key: "KEY",
        task_keys: &[],
        tasks: 3,
        for_each_task: true,
    };

    fn task_keys() -> [String; 3] {
        ["KEY 0", "KEY 1", "KEY 2"].map(str::to_owned)
    }

    fn value(access: &Access, placeholder: Placeholder, task: Option<u32>) -> String {
        access.value(
            placeholder,
            task.map(TaskId),
            RoundId(2),
            Path::new("/where"),
        )
    }

    /// Every file below a folder.
    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("readable").path();
            match path.is_dir() {
                true => found.extend(files(&path)),
                false => found.push(path),
            }
        }
        found
    }

    #[test]
    fn every_task_is_a_known_host_and_nobody_else_reads_a_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let task_keys = task_keys();
        let way = WayIn {
            task_keys: &task_keys,
            ..WAY
        };
        let access = Access::write(folder.path(), &way).expect("written");
        let known = fs::read_to_string(access.known_hosts()).expect("there");
        assert_eq!(known.lines().count(), 5);
        assert!(known.contains("[127.64.0.3]:40022 ssh-ed25519 AAA\n"));
        for file in files(folder.path()) {
            let mode = fs::metadata(&file).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
        assert_eq!(value(&access, Placeholder::Host, Some(1)), "127.64.0.2");
        assert_eq!(
            value(&access, Placeholder::Hosts, None),
            "127.64.0.1,127.64.0.2,127.64.0.3"
        );
        assert_eq!(value(&access, Placeholder::Scenario, None), "/where");
        assert_eq!(value(&access, Placeholder::Round, None), "2");
    }

    #[test]
    fn key_and_configuration_of_a_task_are_its_own_and_those_of_a_round_are_no_tasks() {
        let folder = tempfile::tempdir().expect("a folder");
        let task_keys = task_keys();
        let way = WayIn {
            task_keys: &task_keys,
            ..WAY
        };
        let access = Access::write(folder.path(), &way).expect("written");
        let read = |path: &str| fs::read_to_string(path).expect("there");
        let keys = value(&access, Placeholder::Keys, None);
        let keys: Vec<&str> = keys.split(',').collect();
        for (task, listed) in (0..3).zip(&keys) {
            let key = value(&access, Placeholder::Key, Some(task));
            assert_eq!((&key[..], read(&key)), (*listed, format!("KEY {task}")));
            let config = read(&value(&access, Placeholder::SshConfig, Some(task)));
            let named = format!("IdentityFile \"{key}\"");
            assert_eq!(config.matches("IdentityFile").count(), 1);
            assert!(config.contains(&named), "no {named} in {config}");
        }
        assert_eq!(keys.len(), 3);
        let key = value(&access, Placeholder::Key, None);
        assert_eq!(read(&key), "KEY");
        let config = read(&value(&access, Placeholder::SshConfig, None));
        assert!(config.contains(&format!("IdentityFile \"{key}\"")));
    }

    #[test]
    fn files_for_tasks_are_written_only_where_they_are_used() {
        let count = |way: &WayIn<'_>| {
            let folder = tempfile::tempdir().expect("a folder");
            Access::write(folder.path(), way).expect("written");
            files(folder.path()).len()
        };
        let task_keys = task_keys();
        let own = WayIn {
            task_keys: &task_keys,
            ..WAY
        };
        assert_eq!(count(&WAY), 3);
        assert_eq!(count(&own), 3 + 2 * 3);
        let for_each_task = false;
        assert_eq!(
            count(&WayIn {
                for_each_task,
                ..own
            }),
            3 + 3
        );
    }

    #[test]
    fn tasks_without_keys_of_their_own_share_the_one_that_works() {
        let folder = tempfile::tempdir().expect("a folder");
        let access = Access::write(folder.path(), &WAY).expect("written");
        let shared = value(&access, Placeholder::Key, None);
        assert_eq!(value(&access, Placeholder::Key, Some(2)), shared);
        assert_eq!(
            value(&access, Placeholder::Keys, None),
            [&shared[..]; 3].join(",")
        );
        assert_eq!(
            value(&access, Placeholder::SshConfig, Some(2)),
            value(&access, Placeholder::SshConfig, None)
        );
    }

    #[test]
    fn program_for_all_of_several_tasks_is_given_nothing_of_one_task_and_of_one_task_everything() {
        let keys = task_keys();
        for (tasks, own) in [(1, true), (3, false)] {
            let folder = tempfile::tempdir().expect("a folder");
            let way = WayIn {
                tasks,
                task_keys: &keys[..tasks as usize],
                for_each_task: false,
                ..WAY
            };
            let access = Access::write(folder.path(), &way).expect("written");
            for placeholder in [Placeholder::Host, Placeholder::Key, Placeholder::SshConfig] {
                let of_all = value(&access, placeholder, None);
                let of_task = value(&access, placeholder, Some(0));
                let alike = placeholder == Placeholder::SshConfig || own;
                assert_eq!(of_all == of_task, alike, "{tasks}: {of_all}, {of_task}");
            }
        }
    }
}
