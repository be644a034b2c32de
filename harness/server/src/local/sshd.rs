//! This machine's own sshd program: found, asked for its release, and made to check a configuration.
//!
//! Also the account the jobs run under. It must not start a server.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::process::Command;

use crate::this_machine::is_executable;
use crate::{ServerError, io_error, too_old};
use sshchurn_core::release::{Release, release_word};
use sshchurn_core::scenario::LoginShell;

/// Where sshd is besides PATH: it is often no part of an ordinary user's.
const USUAL_PLACES: [&str; 5] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/sbin",
    "/usr/libexec",
    "/opt/openssh/sbin",
];

/// Longest wait for sshd, or a shell, to print something.
const ANSWER: Duration = Duration::from_secs(20);
/// What every POSIX shell prints `ok` for (POSIX 2.6.2, 2.9.1.1, 2.9.4). fish has no `x=1`, csh no `then` after `;`.
const POSIX_PROBE: &str = "x=1; if [ \"$x\" = 1 ]; then echo ok; fi";

/// An sshd program.
#[derive(Debug, Clone)]
pub(super) struct Sshd {
    /// Absolute, as sshd demands (sshd.c `main`: it executes itself again for each connection).
    pub(super) path: PathBuf,
    pub(super) release: Release,
    /// `OpenSSH_9.2p1`.
    pub(super) release_text: String,
}

impl Sshd {
    /// Finds the program and asks it for its release.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] when there is none, or it is not OpenSSH's.
    pub(super) async fn find() -> Result<Self, ServerError> {
        let path = places()
            .map(|folder| folder.join("sshd"))
            .find(|path| path.is_absolute() && is_executable(path))
            .ok_or_else(|| ServerError::Unavailable {
                what: String::from("there is no sshd on this machine"),
                fix: String::from(
                    "install the OpenSSH server (Debian, Ubuntu: `apt-get install openssh-server`); it need not run",
                ),
            })?;
        // Up to 8.8 an unknown option: the usage message names the release all the same.
        let said = run(&path, &["-V"]).await?;
        let text = [said.stderr, said.stdout].concat();
        let text = String::from_utf8_lossy(&text);
        match (Release::find(&text), release_word(&text)) {
            (Some(release), Some(word)) => Ok(Sshd {
                path,
                release,
                release_text: word.to_owned(),
            }),
            _ => Err(ServerError::Unavailable {
                what: format!(
                    "{} does not say which OpenSSH release it is",
                    path.display()
                ),
                fix: String::from("use `--target docker`, or put OpenSSH's sshd first in PATH"),
            }),
        }
    }

    /// Whether the program is of the release that is asked for, and of one that the scenario allows.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] naming both releases.
    pub(super) fn check_release(
        &self,
        asked: Option<Release>,
        least: Option<Release>,
    ) -> Result<(), ServerError> {
        if let Some(asked) = asked
            && asked != self.release
        {
            return Err(ServerError::Unavailable {
                what: format!(
                    "this machine's sshd is {}, not the OpenSSH {asked} that was asked for",
                    self.release_text
                ),
                fix: format!("use `--target docker --release {asked}`"),
            });
        }
        match least {
            Some(least) if self.release < least => Err(too_old(
                &format!("this machine's sshd, {},", self.release_text),
                least,
                "use `--target docker`, or install a newer one and put it first in PATH",
            )),
            _ => Ok(()),
        }
    }

    /// Has sshd check the file (`-t`), and returns the configuration in force (`-T`).
    ///
    /// # Errors
    /// [`ServerError::ConfigRefused`] with sshd's words.
    pub(super) async fn check(&self, config: &Path) -> Result<String, ServerError> {
        let config = config.to_string_lossy();
        let tested = run(&self.path, &["-t", "-f", &config]).await?;
        if !tested.status.success() {
            return Err(refused(&tested));
        }
        let dumped = run(&self.path, &["-T", "-f", &config]).await?;
        if !dumped.status.success() {
            return Err(refused(&dumped));
        }
        Ok(String::from_utf8_lossy(&dumped.stdout).into_owned())
    }

    /// Makes the folder root's sshd needs for privilege separation, if it is missing; returns it if it was made.
    ///
    /// # Errors
    /// [`ServerError::Io`] when it cannot be made.
    pub(super) async fn make_privsep_folder(
        &self,
        config: &Path,
    ) -> Result<Option<PathBuf>, ServerError> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        // sshd knows where it was built to look, and says so (sshd.c `main`).
        let tested = run(&self.path, &["-t", "-f", &config.to_string_lossy()]).await?;
        let Some(folder) = missing_privsep_folder(&String::from_utf8_lossy(&tested.stderr)) else {
            return Ok(None);
        };
        create_privsep_folder(&folder)?;
        Ok(Some(folder))
    }
}

/// Makes a folder that [`missing_privsep_folder`] has named.
///
/// # Errors
/// [`ServerError::Io`] when it cannot be made.
pub(super) fn create_privsep_folder(folder: &Path) -> Result<(), ServerError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(folder)
        .map_err(io_error(format!("create {}", folder.display())))
}

/// The folder that sshd misses for privilege separation, in its own words.
pub(super) fn missing_privsep_folder(said: &str) -> Option<PathBuf> {
    said.lines()
        .find_map(|line| line.split_once("Missing privilege separation directory: "))
        .map(|(_, folder)| PathBuf::from(folder.trim()))
        .filter(|folder| folder.is_absolute())
}

fn places() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    in_path
        .into_iter()
        .chain(USUAL_PLACES.iter().map(PathBuf::from))
}

/// Runs it, with a deadline.
pub(super) async fn run(sshd: &Path, arguments: &[&str]) -> Result<Output, ServerError> {
    let mut command = Command::new(sshd);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let action = || format!("run {} {}", sshd.display(), arguments.join(" "));
    tokio::time::timeout(ANSWER, command.output())
        .await
        .map_err(|_| io_error(action())(io::ErrorKind::TimedOut.into()))?
        .map_err(io_error(action()))
}

fn refused(output: &Output) -> ServerError {
    let text = [output.stderr.as_slice(), output.stdout.as_slice()].concat();
    ServerError::ConfigRefused {
        detail: String::from_utf8_lossy(&text).trim().to_owned(),
    }
}

/// The account this process has, under which the jobs run too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    uid: Uid,
    /// What sshd gives every command to.
    pub(super) login_shell: PathBuf,
}

impl Account {
    /// Looks it up as sshd does.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] where there is no such account.
    pub(super) fn of_this_process() -> Result<Self, ServerError> {
        let uid = Uid::effective();
        let user = User::from_uid(uid).ok().flatten().ok_or_else(|| {
            unavailable(
                format!("user id {uid} has no entry in the password file, so sshd lets nobody log in under it"),
                "run as an ordinary user or as root, or use `--target docker`",
            )
        })?;
        Ok(Account {
            name: user.name,
            uid,
            login_shell: match user.shell.as_os_str().is_empty() {
                true => PathBuf::from("/bin/sh"),
                false => user.shell,
            },
        })
    }

    /// Whether its login shell is the one that is asked for: sshd takes it from the password file, which is not changed here.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] naming both.
    pub(super) fn check_login_shell(&self, asked: Option<&LoginShell>) -> Result<(), ServerError> {
        match asked {
            Some(asked) if !same_program(Path::new(asked.as_str()), &self.login_shell) => {
                Err(unavailable(
                    format!(
                        "sshd takes the login shell of the account that runs it: {} has {}, and the scenario asks for {asked} \
                         (`sshd.login_shell`)",
                        self.name,
                        self.login_shell.display()
                    ),
                    "use `--target docker`, whose shell can be chosen, or run as a user who has that one (`chsh`)",
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether sshd lets it log in and run the jobs' commands.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] with what is in the way.
    pub(super) async fn check(&self) -> Result<(), ServerError> {
        let shell = &self.login_shell;
        let no_shell = shell
            .file_name()
            .is_some_and(|name| name == "nologin" || name == "false");
        if no_shell || !is_executable(shell) {
            return Err(unavailable(
                format!(
                    "the login shell {} of {} runs no commands",
                    shell.display(),
                    self.name
                ),
                "run as a user with a shell, or use `--target docker`",
            ));
        }
        if !runs_posix(shell).await? {
            return Err(unavailable(
                format!(
                    "the login shell {} of {} is not a POSIX shell, and sshd would give it the jobs' commands",
                    shell.display(),
                    self.name
                ),
                "run as a user whose shell is sh, bash, dash, ksh or zsh (`chsh`), or use `--target docker`",
            ));
        }
        if self.uid.is_root()
            && fs::read_to_string("/etc/shadow").is_ok_and(|shadow| is_locked(&self.name, &shadow))
        {
            return Err(unavailable(
                format!(
                    "the account {} is locked, and with `UsePAM no` sshd refuses it also with a key",
                    self.name
                ),
                "give it an impossible password instead (`usermod -p '*' root`), run as an ordinary user, or use \
                 `--target docker`",
            ));
        }
        Ok(())
    }
}

fn unavailable(what: String, fix: &str) -> ServerError {
    ServerError::Unavailable {
        what,
        fix: fix.to_owned(),
    }
}

/// Whether two paths name one program: the same file by the same name, since a shell called `sh` behaves as one. `/bin` and
/// `/usr/bin` are one folder on most machines.
fn same_program(one: &Path, other: &Path) -> bool {
    let folder = |path: &Path| path.parent().and_then(|folder| folder.canonicalize().ok());
    one == other
        || (one.file_name() == other.file_name()
            && folder(one).is_some()
            && folder(one) == folder(other))
}

/// Whether a shell understands the commands of the jobs, which are plain POSIX. Like sshd's sessions it gets `-c` and none
/// of this process's environment, and no home folder whose start-up files could print something.
async fn runs_posix(shell: &Path) -> Result<bool, ServerError> {
    let mut command = Command::new(shell);
    command
        .args(["-c", POSIX_PROBE])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let action = || format!("ask {} whether it is a POSIX shell", shell.display());
    let output = tokio::time::timeout(ANSWER, command.output())
        .await
        .map_err(|_| io_error(action())(io::ErrorKind::TimedOut.into()))?
        .map_err(io_error(action()))?;
    Ok(output.status.success() && output.stdout == b"ok\n")
}

/// Whether sshd takes the account for locked (platform.c `platform_locked_account`; on Linux a leading `!`).
fn is_locked(user: &str, shadow: &str) -> bool {
    shadow
        .lines()
        .filter_map(|line| line.strip_prefix(user)?.strip_prefix(':'))
        .any(|password| password.starts_with('!'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn account_with_an_exclamation_mark_is_locked_and_one_with_an_asterisk_is_not() {
        let shadow = "rooted:!:1:\nroot:*:1:0:::\nfresh:!:1:\nother:!$y$x:1:\n";
        assert!(!is_locked("root", shadow));
        assert!(is_locked("fresh", shadow));
        assert!(is_locked("other", shadow));
        assert!(!is_locked("absent", shadow));
    }

    #[test]
    fn another_release_than_asked_for_or_an_older_one_than_needed_names_both() {
        let sshd = Sshd {
            path: PathBuf::from("/usr/sbin/sshd"),
            release: Release::new(9, 2),
            release_text: String::from("OpenSSH_9.2p1"),
        };
        let (same, newer) = (Some(Release::new(9, 2)), Some(Release::new(9, 8)));
        assert!(sshd.check_release(None, None).is_ok());
        assert!(sshd.check_release(same, same).is_ok());
        for refused in [
            sshd.check_release(newer, None),
            sshd.check_release(None, newer),
        ] {
            let text = refused.expect_err("another release").to_string();
            assert!(
                text.contains("OpenSSH_9.2p1") && text.contains("9.8"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn shell_that_is_not_posix_is_told_from_one_that_is() {
        assert!(runs_posix(Path::new("/bin/sh")).await.expect("it runs"));
        let folder = tempfile::tempdir().expect("a folder");
        // What fish and csh do with the probe: they complain, or print something else, and the first ends well.
        for (name, script) in [
            (
                "fish",
                "#!/bin/sh\necho 'fish: Unsupported use of \"=\"' >&2; exit 127\n",
            ),
            (
                "csh",
                "#!/bin/sh\necho 'if: Expression Syntax.' >&2; exit 1\n",
            ),
            ("menu", "#!/bin/sh\necho welcome\n"),
            ("silent", "#!/bin/sh\nexit 0\n"),
        ] {
            let shell = folder.path().join(name);
            fs::write(&shell, script).expect("written");
            fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).expect("set");
            assert!(!runs_posix(&shell).await.expect("it runs"), "{name}");
        }
    }

    #[test]
    fn login_shell_of_the_account_is_the_one_there_is_by_whatever_way_its_folder_is_reached() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        fs::create_dir(path("usr")).expect("made");
        std::os::unix::fs::symlink("usr", path("bin")).expect("linked");
        let account = Account {
            name: String::from("somebody"),
            uid: Uid::from_raw(1000),
            login_shell: PathBuf::from(path("usr/bash")),
        };
        let check = |shell: &str| {
            let asked = shell.parse::<LoginShell>().expect("a path");
            account.check_login_shell(Some(&asked))
        };
        assert!(account.check_login_shell(None).is_ok());
        assert!(check(&path("usr/bash")).is_ok() && check(&path("bin/bash")).is_ok());
        for other in [path("usr/dash"), String::from("/no/such/place/bash")] {
            let text = check(&other).expect_err("another one").to_string();
            for words in [
                "somebody",
                &account.login_shell.to_string_lossy(),
                &other,
                "--target docker",
            ] {
                assert!(text.contains(words), "no {words} in {text}");
            }
        }
    }

    #[test]
    fn missing_folder_is_read_from_what_sshd_says() {
        assert_eq!(
            missing_privsep_folder("Missing privilege separation directory: /run/sshd\r\n"),
            Some(PathBuf::from("/run/sshd"))
        );
        assert_eq!(
            missing_privsep_folder("line 3: Bad configuration option"),
            None
        );
    }
}
