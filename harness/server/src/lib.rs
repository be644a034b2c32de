//! The sshd under test: started, described, listed, logged and removed.
//!
//! One closed enum over `docker` (testcontainers), `local` (a process of the machine's own OpenSSH),
//! `embedded` (an in-process stand-in) and `external`. Targets must not know the ledger, the engine or the
//! analysis: they hand out plain data.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use sshchurn_core::release::Release;
use sshchurn_core::scenario::SshdConfig;
use sshchurn_core::scenario::client::Pattern;
use sshchurn_engine::ssh::RusshConnector;
use sshchurn_engine::ssh::keys::{HostKeyCheck, KeyError, KeyPair};

pub mod config_reader;
mod cores;
pub mod docker;
pub mod embedded;
pub mod external;
mod external_log;
pub mod local;
mod log_follower;
mod owner;
mod readable;
mod readiness;
mod running;
mod slow_auth;
mod sshd_config;
mod this_machine;
mod ward;
mod witness;

pub use cores::{Cores, Kept};
pub use external_log::LogSource;
pub use log_follower::{LogLost, LogWatch};
pub use running::{RunningServer, ServerChoice, ServerOptions, missing_here, start};
pub use ward::ClientWard;
pub use witness::{GaugeEnd, GaugeWatch, StartupsReading, Witness};

/// Where and how a client logs in.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Address to connect to.
    pub address: SocketAddr,
    /// User to log in as.
    pub user: String,
    /// The user's key.
    pub key: Arc<KeyPair>,
    /// What host key to accept.
    pub host_key: HostKeyCheck,
}

impl Endpoint {
    /// A client's way in. Tasks get their own by [`RusshConnector::for_another_task`].
    #[must_use]
    pub fn connector(&self) -> RusshConnector {
        RusshConnector::new(self.address, &self.user, &self.key, self.host_key.clone())
    }
}

/// What a target is asked for; the same for every kind.
#[derive(Debug, Clone)]
pub struct ServerRequest {
    /// Settings of the server.
    pub sshd: SshdConfig,
    /// Label of everything that is created, so that a later run can find and remove it.
    pub run_id: String,
    /// Deadline for being ready.
    pub ready_within: Duration,
    /// Where it listens.
    pub listen: ListenOn,
    /// Further keys that may log in as the user, besides the endpoint's: those of the tasks of clients under test. A server
    /// that already runs takes none.
    pub task_keys: Arc<[KeyPair]>,
    /// Whose CPUs are whose; `None` where they are shared.
    pub cores: Option<Cores>,
}

impl ServerRequest {
    /// The text of `authorized_keys`: the endpoint's own key first, so that its logins do not pay for the others.
    fn authorized_keys(&self, own: &KeyPair) -> String {
        let keys = std::iter::once(own).chain(self.task_keys.iter());
        keys.map(|key| format!("{}\n", key.public_line())).collect()
    }
}

/// Where a server under test listens. Nothing but loopback in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenOn {
    /// 127.0.0.1.
    OneAddress,
    /// All of 127/8, so that every task of a client under test has an address of its own (`ListenAddress 0.0.0.0 rdomain
    /// lo`, which binds the socket to the interface).
    AllOfLoopback,
}

impl ListenOn {
    /// The value of `ListenAddress`, without the port.
    fn listen_address(self) -> &'static str {
        match self {
            ListenOn::OneAddress => "127.0.0.1",
            ListenOn::AllOfLoopback => "0.0.0.0 rdomain lo",
        }
    }
}

/// A job directory found on the target's own file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobDirectory {
    /// Its name: the job id.
    pub name: String,
}

/// What kept a target from being started, asked or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The kind of target cannot be had on this machine; `auto` goes on to the next.
    #[error("{what}; {fix}")]
    Unavailable {
        /// What is missing.
        what: String,
        /// How to get it.
        fix: String,
    },
    /// The server did not become ready.
    #[error("{what} was not ready within {} s{}", within.as_secs(), last_lines(log))]
    NotReady {
        /// Which server.
        what: String,
        /// The deadline.
        within: Duration,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// The server refused its configuration.
    #[error("sshd refused its configuration: {detail}")]
    ConfigRefused {
        /// sshd's own words.
        detail: String,
    },
    /// The server runs with another setting than asked for.
    #[error("sshd runs with {keyword} {effective}, but {requested} was asked for")]
    ConfigDiffers {
        /// The keyword.
        keyword: String,
        /// As asked.
        requested: String,
        /// As `sshd -T` prints it.
        effective: String,
    },
    /// The image of a container does not have the login shell that is asked for.
    #[error(
        "{image} has no login shell {shell} (`sshd.login_shell`); name the package that brings it in `sshd.packages`"
    )]
    NoLoginShell {
        /// Name of the image.
        image: String,
        /// The shell.
        shell: String,
    },
    /// The server died while it was under test.
    #[error("the server under test died{}", last_lines(log))]
    Died {
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// The server has another host key than the user named.
    #[error(
        "the server at {address} shows the host key {shown}, and `--host-key` says {wanted}: it is another server, or its key was \
         changed; nothing was sent to it but this one connection"
    )]
    WrongHostKey {
        /// Address of the server.
        address: SocketAddr,
        /// Fingerprints that it showed.
        shown: String,
        /// Fingerprints that were named.
        wanted: String,
    },
    /// A server that somebody else runs does not let the user in.
    #[error(
        "the server at {address} does not let {user} in ({outcome}); check user and key, and look into its log"
    )]
    LoginFailed {
        /// The user.
        user: String,
        /// Address of the server.
        address: SocketAddr,
        /// What became of the login.
        outcome: &'static str,
    },
    /// The user's command that prints the server's log has ended before the run began.
    #[error(
        "the log command ({command}) ended at once ({how}){}",
        last_words(complaints)
    )]
    LogCommandEnded {
        /// As given.
        command: String,
        /// Its exit status.
        how: String,
        /// What it printed as errors.
        complaints: Vec<String>,
    },
    /// The server was not idle when it should have been.
    #[error("the server under test was still busy after {} s ({detail}): another client may be using it", within.as_secs())]
    NotIdle {
        /// The deadline.
        within: Duration,
        /// What was still there.
        detail: String,
    },
    /// An external target without consent.
    #[error("{0}")]
    Consent(String),
    /// The file system or a process call failed.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: String,
        /// Why.
        source: io::Error,
    },
    /// The Docker engine refused.
    #[error("cannot {action}")]
    Docker {
        /// What was tried.
        action: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The server is older than the scenario needs; `what` names it with its release.
fn too_old(what: &str, least: Release, fix: &str) -> ServerError {
    ServerError::Unavailable {
        what: format!(
            "{what} is older than the OpenSSH {least} that the scenario needs (`sshd.min_release`)"
        ),
        fix: fix.to_owned(),
    }
}

fn last_words(complaints: &[String]) -> String {
    match complaints {
        [] => String::new(),
        complaints => format!(": {}", complaints.join("; ")),
    }
}

fn last_lines(log: &[String]) -> String {
    if log.is_empty() {
        String::new()
    } else {
        format!("; its last log lines:\n  {}", log.join("\n  "))
    }
}

fn io_error(action: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
    let action = action.into();
    |source| ServerError::Io { action, source }
}

fn key_error(error: KeyError) -> ServerError {
    ServerError::Io {
        action: String::from("make a key"),
        source: io::Error::other(error),
    }
}

/// The names in a pattern's folder that fit it, sorted; none where there is no such folder.
fn files_like(pattern: &Pattern) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(&pattern.folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if pattern.fits(&name) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What is known of the server's idleness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// No connection is being served: seen.
    Proven,
    /// Cannot be seen on this kind of target.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use sshchurn_core::scenario::MaxStartups;

    #[test]
    fn authorized_keys_has_a_line_for_each_key_and_the_endpoints_own_comes_first() {
        let made = || KeyPair::generate().expect("randomness");
        let (own, task_keys) = (made(), [made(), made()]);
        let request = ServerRequest {
            sshd: SshdConfig::of(MaxStartups::new(10, 30, 100).expect("valid")),
            run_id: String::from("test"),
            ready_within: Duration::ZERO,
            listen: ListenOn::OneAddress,
            task_keys: task_keys.clone().into(),
            cores: None,
        };
        let text = request.authorized_keys(&own);
        let expected = [&own, &task_keys[0], &task_keys[1]].map(KeyPair::public_line);
        assert_eq!(text.lines().collect::<Vec<_>>(), expected);
        assert!(text.ends_with('\n'));
    }
}
