//! The way in, as files and numbers that any client understands: private key, known hosts, an ssh_config.
//!
//! Owns those files and what the placeholders stand for. They are as private as the key in them.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::scenario::client::{Placeholder, host_of};

/// A way in that clients under test are given.
#[derive(Debug, Clone)]
pub struct Access {
    folder: PathBuf,
    port: u16,
    user: String,
    tasks: u32,
}

impl Access {
    /// Writes the files into `folder`, which must be nobody else's to read.
    ///
    /// # Errors
    /// When one cannot be written.
    pub fn write(
        folder: &Path,
        port: u16,
        user: &str,
        private_key: &str,
        host_key: &str,
        tasks: u32,
    ) -> io::Result<Self> {
        let access = Access {
            folder: folder.to_path_buf(),
            port,
            user: user.to_owned(),
            tasks,
        };
        write_private(&access.key(), private_key.as_bytes())?;
        // A line for each name: not every client knows patterns.
        let hosts = (0..tasks).map(|task| host_of(TaskId(task)).to_string());
        let known: String = ["127.0.0.1".to_owned(), "localhost".to_owned()]
            .into_iter()
            .chain(hosts)
            .map(|host| format!("[{host}]:{port} {host_key}\n"))
            .collect();
        write_private(&access.known_hosts(), known.as_bytes())?;
        let quoted = |path: &Path| format!("\"{}\"", path.display());
        let config = format!(
            "# Written by sshchurn for one run.\n\
             Host *\n    \
             User {user}\n    \
             Port {port}\n    \
             IdentityFile {}\n    \
             IdentitiesOnly yes\n    \
             IdentityAgent none\n    \
             UserKnownHostsFile {}\n    \
             GlobalKnownHostsFile /dev/null\n    \
             StrictHostKeyChecking yes\n    \
             BatchMode yes\n",
            quoted(&access.key()),
            quoted(&access.known_hosts()),
        );
        write_private(&access.ssh_config(), config.as_bytes())?;
        Ok(access)
    }

    fn key(&self) -> PathBuf {
        self.folder.join("id_ed25519")
    }

    fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    fn ssh_config(&self) -> PathBuf {
        self.folder.join("ssh_config")
    }

    /// What a placeholder stands for, for the client of one task or of all.
    pub(crate) fn value(
        &self,
        placeholder: Placeholder,
        task: Option<TaskId>,
        round: RoundId,
        scenario: &Path,
    ) -> String {
        match placeholder {
            Placeholder::Host => host_of(task.unwrap_or(TaskId(0))).to_string(),
            Placeholder::Hosts => {
                let hosts: Vec<String> = (0..self.tasks)
                    .map(|task| host_of(TaskId(task)).to_string())
                    .collect();
                hosts.join(",")
            }
            Placeholder::Port => self.port.to_string(),
            Placeholder::User => self.user.clone(),
            Placeholder::Key => self.key().display().to_string(),
            Placeholder::KnownHosts => self.known_hosts().display().to_string(),
            Placeholder::SshConfig => self.ssh_config().display().to_string(),
            Placeholder::Task => task.map_or_else(String::new, |task| task.0.to_string()),
            Placeholder::Tasks => self.tasks.to_string(),
            Placeholder::Round => round.0.to_string(),
            Placeholder::Scenario => scenario.display().to_string(),
        }
    }
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

    #[test]
    fn every_task_is_a_known_host_and_the_key_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let access = Access::write(folder.path(), 40_022, "runner", "KEY", "ssh-ed25519 AAA", 3)
            .expect("written");
        let known = fs::read_to_string(access.known_hosts()).expect("there");
        assert_eq!(known.lines().count(), 5);
        assert!(known.contains("[127.64.0.3]:40022 ssh-ed25519 AAA\n"));
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(access.key())
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let value =
            |placeholder, task| access.value(placeholder, task, RoundId(2), Path::new("/where"));
        assert_eq!(value(Placeholder::Host, Some(TaskId(1))), "127.64.0.2");
        assert_eq!(
            value(Placeholder::Hosts, None),
            "127.64.0.1,127.64.0.2,127.64.0.3"
        );
        assert_eq!(value(Placeholder::Scenario, None), "/where");
        assert_eq!(value(Placeholder::Round, None), "2");
    }
}
