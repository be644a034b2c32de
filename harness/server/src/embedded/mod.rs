//! The `embedded` target: a stand-in for sshd inside this process, for machines with neither Docker nor sshd,
//! for tests and for scale. **Not OpenSSH.**
//!
//! It has OpenSSH's admission rule, the slot held until authentication, LoginGraceTime, MaxSessions and a log
//! in OpenSSH's words; commands really run, by `/bin/sh` or the scenario's login shell, in a private folder. It has neither sshd's process
//! model nor its cost, and it shares runtime and CPUs with the client that measures it: figures of speed
//! against it say something about the harness, none about a server. Each connection also takes two
//! descriptors of one process (both its ends), and each running command four (three pipes and the process).
//!
//! `server` accepts, `session` is one connection, `exec` one command; what must be gone afterwards is the `ward`'s.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::cores::Cores;
use crate::log_follower::{self, LogWatch};
use crate::this_machine::{is_executable, packages_are_here};
use crate::ward::processes::JOBS;
use crate::ward::{self, Kind, MARK, Ward};
use crate::witness::{self, Witness};
use crate::{Endpoint, Idle, JobDirectory, ListenOn, ServerError, ServerRequest, too_old};
use sshchurn_core::manifest::{NetworkPath, ServerDescription, ServerKind};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::client::Pattern;
use sshchurn_core::scenario::{LoginShell, MaxStartups};
use sshchurn_engine::ssh::keys::{KeyError, KeyPair};

mod exec;
mod gauges;
mod log;
pub mod server;
mod session;
mod settings;
mod stream;
#[cfg(test)]
mod tests;

pub use gauges::Gauges;
pub use log::ServerLog;
pub use server::ServerConfig;
pub use settings::EmbeddedSettings;

/// The release whose log the stand-in speaks: what later ones added (penalties, rate-limited lines, other words) is not
/// here.
pub const WORDED_AS: Release = Release::new(9, 2);

/// The one user.
const USER: &str = "sshchurn";

/// What commands are given to where the scenario names no login shell.
const LOGIN_SHELL: &str = "/bin/sh";

/// The log's name in the private folder.
const LOG: &str = "sshd.log";

/// Longest identification line that is read: RFC 4253 section 4.2.
const IDENTIFICATION_BYTES: u64 = 255;

/// A running stand-in. [`EmbeddedServer::stop`] ends it and says what went wrong; dropping it ends it as well.
pub struct EmbeddedServer {
    endpoint: Endpoint,
    description: ServerDescription,
    log: ServerLog,
    gauges: Gauges,
    max_startups: MaxStartups,
    /// Cancelled when the server's task is over, for whatever reason.
    ended: CancellationToken,
    // Dropped in this order: first no new commands, then no processes, then no folder.
    shutdown: DropGuard,
    server: JoinHandle<()>,
    ward: Ward,
}

/// Whether the scenario is about something the stand-in has.
///
/// # Errors
/// [`ServerError::Unavailable`] naming both releases.
pub fn check_release(least: Option<Release>) -> Result<(), ServerError> {
    match least {
        Some(least) if least > WORDED_AS => Err(too_old(
            &format!("the embedded stand-in, which imitates OpenSSH {WORDED_AS},"),
            least,
            "use `--target docker`, or `--target local` on a machine with a newer sshd",
        )),
        _ => Ok(()),
    }
}

/// The login shell of the one user: what the scenario asks for, if this machine has it.
///
/// # Errors
/// [`ServerError::Unavailable`] with the fix.
pub fn login_shell(asked: Option<&LoginShell>) -> Result<PathBuf, ServerError> {
    let shell = PathBuf::from(asked.map_or(LOGIN_SHELL, LoginShell::as_str));
    if is_executable(&shell) {
        return Ok(shell);
    }
    Err(ServerError::Unavailable {
        what: format!(
            "the embedded stand-in runs commands on this machine, which has no login shell {} (`sshd.login_shell`)",
            shell.display()
        ),
        fix: String::from(
            "install the package that brings it, or use `--target docker` and name that package in `sshd.packages`",
        ),
    })
}

impl fmt::Debug for EmbeddedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedServer")
            .field("address", &self.endpoint.address)
            .field("gauges", &self.gauges)
            .finish_non_exhaustive()
    }
}

impl EmbeddedServer {
    /// Starts a stand-in on a free port of 127.0.0.1, after removing what killed runs left in the system's
    /// temporary folder. Ready when it returns: the banner was read and the server is idle again.
    ///
    /// # Errors
    /// [`ServerError::ConfigRefused`] for a keyword value sshd would refuse, [`ServerError::NotReady`] past
    /// `request.ready_within`, [`ServerError::Io`] when folder, keys or socket cannot be made,
    /// [`ServerError::Unavailable`] for a scenario about a later release than the one it imitates, and where this machine
    /// lacks its packages or its login shell.
    pub async fn start(request: &ServerRequest) -> Result<Self, ServerError> {
        Self::start_in(request, &std::env::temp_dir()).await
    }

    async fn start_in(request: &ServerRequest, parent: &Path) -> Result<Self, ServerError> {
        check_release(request.sshd.min_release)?;
        Cores::refused(
            request.cores.as_ref(),
            "the stand-in runs in the clients' process",
        )?;
        let settings = EmbeddedSettings::read(&request.sshd)?;
        let packages = packages_are_here(&request.sshd.packages).await?;
        let login_shell = login_shell(request.sshd.login_shell.as_ref())?;
        let parent = parent.to_owned();
        let (ward, stale) = blocking(move || {
            let stale = ward::remove_stale(&parent);
            let ward = Ward::create(&parent, Kind::Embedded)?;
            std::fs::create_dir(ward.path().join(JOBS))?;
            Ok((ward, stale))
        })
        .await
        .and_then(|made| made)
        .map_err(io_error("make a private folder for the embedded server"))?;

        let host_key = KeyPair::generate().map_err(key_error)?;
        let key = KeyPair::generate().map_err(key_error)?;
        let listener = listen(request.listen).map_err(io_error("listen on 127.0.0.1"))?;
        let port = listener
            .local_addr()
            .map_err(io_error("listen on 127.0.0.1"))?
            .port();
        // One of all it may listen on.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = ServerConfig {
            settings: settings.clone(),
            host_key: host_key.clone(),
            user: USER.to_owned(),
            authorised_keys: std::iter::once(&key)
                .chain(request.task_keys.iter())
                .map(|key| key.russh().public_key().clone())
                .collect(),
            home: ward.path().to_owned(),
            login_shell: login_shell.clone(),
            slow_auth: request.sshd.slow_auth,
            environment: vec![(MARK.to_owned(), ward.path().to_string_lossy().into_owned())],
            log: ServerLog::create(&ward.path().join(LOG))
                .map_err(io_error("make the log of the embedded server"))?,
            gauges: Gauges::default(),
            // As sshd's arc4random_uniform: another sequence in every run. Rounds, not seeds, even this out.
            seed: rand::random(),
        };
        let log = config.log.clone();
        let gauges = config.gauges.clone();
        let shutdown = CancellationToken::new();
        let ended = CancellationToken::new();
        let server = tokio::spawn({
            let shutdown = shutdown.clone();
            // Fires when the task unwinds, too.
            let on_end = ended.clone().drop_guard();
            async move {
                let _on_end = on_end;
                server::run(listener, config, shutdown).await;
            }
        });
        let mut target = EmbeddedServer {
            endpoint: Endpoint {
                address,
                user: USER.to_owned(),
                key: Arc::new(key),
                host_key: host_key.as_host_key(),
            },
            description: describe(&settings, address, &ward.path().join(JOBS)),
            log,
            gauges,
            max_startups: settings.admission.max_startups(),
            ended,
            shutdown: shutdown.drop_guard(),
            server,
            ward,
        };
        target.description.login_shell = Some(login_shell.to_string_lossy().into_owned());
        target.description.packages = packages;
        target.description.warnings.extend(stale);
        target.description.identification = target.read_banner(request.ready_within).await?;
        // The probe's own connection must not be in the first round's books.
        target.wait_idle(request.ready_within).await?;
        Ok(target)
    }

    async fn read_banner(&self, within: Duration) -> Result<String, ServerError> {
        let read = async {
            let socket = TcpStream::connect(self.endpoint.address).await?;
            let mut line = String::new();
            BufReader::new(socket.take(IDENTIFICATION_BYTES))
                .read_line(&mut line)
                .await?;
            io::Result::Ok(line.trim_end().to_owned())
        };
        match tokio::time::timeout(within, read).await {
            Ok(Ok(line)) if line.starts_with("SSH-2.0-") => Ok(line),
            _ => Err(ServerError::NotReady {
                what: String::from("the embedded server"),
                within,
                log: self.log_tail().await,
            }),
        }
    }

    /// Where and how to log in.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The stand-in as it is configured; says in its warnings that it is one.
    #[must_use]
    pub fn description(&self) -> &ServerDescription {
        &self.description
    }

    /// The stand-in's own count of startup slots; its CPU time cannot be told from the client's.
    #[must_use]
    pub fn witness(&self) -> Witness {
        let MaxStartups { start, full, .. } = self.max_startups;
        Witness::embedded(self.gauges.clone(), start, full, self.endpoint.address)
    }

    /// Waits until no connection is being served. What still waits in the listen queue is not seen.
    ///
    /// # Errors
    /// [`ServerError::NotIdle`] past the deadline, [`ServerError::Died`] when the server ended.
    pub async fn wait_idle(&self, within: Duration) -> Result<Idle, ServerError> {
        let mut connections = self.gauges.watch_connections();
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(self.died().await),
            idle = tokio::time::timeout(within, connections.wait_for(|count| *count == 0)) => match idle {
                Ok(Ok(_)) => Ok(Idle::Proven),
                _ => Err(ServerError::NotIdle {
                    within,
                    detail: format!(
                        "{} connections are open, {} of them not authenticated",
                        self.gauges.connections(),
                        self.gauges.startups()
                    ),
                }),
            },
        }
    }

    /// The job directories there are now, sorted by name.
    ///
    /// # Errors
    /// [`ServerError::Io`] when the jobs folder cannot be read; one that is missing is empty.
    pub async fn job_directories(&self) -> Result<Option<Vec<JobDirectory>>, ServerError> {
        let jobs = self.ward.path().join(JOBS);
        blocking(move || list_directories(&jobs))
            .await
            .and_then(|listed| listed)
            .map(Some)
            .map_err(io_error("list the job directories of the embedded server"))
    }

    /// The files there are now that fit a pattern.
    ///
    /// # Errors
    /// [`ServerError::Io`] when they cannot be listed.
    pub async fn files_like(&self, pattern: &Pattern) -> Result<Option<Vec<String>>, ServerError> {
        let pattern = pattern.clone();
        blocking(move || super::files_like(&pattern))
            .await
            .and_then(|listed| listed)
            .map(Some)
            .map_err(io_error("list what clients left"))
    }

    /// Ends every job process, those commands excepted whose main process still runs, and empties the jobs
    /// folder.
    ///
    /// # Errors
    /// [`ServerError::Io`] when a process cannot be ended or a directory not removed.
    pub async fn clear_jobs(&self) -> Result<(), ServerError> {
        let folder = self.ward.path().to_owned();
        let jobs = self.ward.path().join(JOBS);
        let gauges = self.gauges.clone();
        blocking(move || {
            ward::processes::end_ward(&folder, &gauges.command_groups())?;
            for entry in std::fs::read_dir(&jobs)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    std::fs::remove_dir_all(entry.path())?;
                } else {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        })
        .await
        .and_then(|cleared| cleared)
        .map_err(io_error("clear the jobs of the embedded server"))
    }

    /// Hands on every line of the log, from its beginning.
    #[must_use]
    pub fn follow_log(&self, sink: impl FnMut(&str) + Send + 'static) -> Option<LogWatch> {
        LogWatch::start(self.log.path().to_owned(), sink)
    }

    /// The last lines of the log, for an error.
    pub async fn log_tail(&self) -> Vec<String> {
        log_follower::last_lines(self.log.path().to_owned()).await
    }

    /// Waits until the server has ended without being asked to: [`ServerError::Died`].
    pub async fn died(&self) -> ServerError {
        self.ended.cancelled().await;
        ServerError::Died {
            log: self.log_tail().await,
        }
    }

    /// There is no process to look at: the server lives in this one.
    #[must_use]
    pub fn listener_pid(&self) -> Option<u32> {
        None
    }

    /// Connections accepted and not yet authenticated, now.
    #[must_use]
    pub fn startups(&self) -> u32 {
        self.gauges.startups()
    }

    /// The counts of the server, to wait on.
    #[must_use]
    pub fn gauges(&self) -> &Gauges {
        &self.gauges
    }

    /// Closes every connection, ends every process that runs from the private folder and removes the folder.
    ///
    /// # Errors
    /// [`ServerError::Died`] when the server had panicked, [`ServerError::Io`] when a process or the folder
    /// could not be removed; the rest is done all the same.
    pub async fn stop(self) -> Result<(), ServerError> {
        let EmbeddedServer {
            log,
            shutdown,
            server,
            ward,
            ..
        } = self;
        drop(shutdown);
        let ended = match server.await {
            Ok(()) => Ok(()),
            // Its folder goes next, and the log with it.
            Err(_) => Err(ServerError::Died {
                log: log_follower::last_lines(log.path().to_owned()).await,
            }),
        };
        let removed = blocking(move || ward.remove())
            .await
            .and_then(|removed| removed)
            .map_err(io_error("end the jobs of the embedded server"));
        ended.and(removed)
    }
}

/// A listening socket on a free port of loopback with sshd's own backlog.
fn listen(on: ListenOn) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    let address = match on {
        ListenOn::OneAddress => Ipv4Addr::LOCALHOST,
        ListenOn::AllOfLoopback => {
            socket.bind_device(Some(b"lo"))?;
            Ipv4Addr::UNSPECIFIED
        }
    };
    socket.bind(SocketAddr::from((address, 0)))?;
    socket.listen(server::LISTEN_BACKLOG)
}

fn describe(settings: &EmbeddedSettings, address: SocketAddr, jobs: &Path) -> ServerDescription {
    ServerDescription {
        kind: ServerKind::Embedded,
        address: address.to_string(),
        network_path: NetworkPath::Direct,
        identification: server::IDENTIFICATION.to_owned(),
        release: None,
        substitution: None,
        image: None,
        cores: None,
        login_shell: None,
        packages: None,
        effective_max_startups: Some(settings.admission.max_startups().to_string()),
        effective_config: settings.effective(),
        sshd_config: Some(settings.as_sshd_config()),
        jobs_directory: jobs.to_string_lossy().into_owned(),
        inventory_available: true,
        log_available: true,
        log_has_every_drop: true,
        kernel: witness::settings_here(),
        choice: String::new(),
        round_trip_ns: None,
        exec_cost_ns: None,
        login_shell_cost_ns: None,
        restart_ns: None,
        warnings: settings.warnings(),
    }
}

fn list_directories(jobs: &Path) -> io::Result<Vec<JobDirectory>> {
    let entries = match std::fs::read_dir(jobs) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.push(JobDirectory {
                name: entry.file_name().to_string_lossy().into_owned(),
            }),
            Ok(_) => {}
            // Removed by a cleanup since the folder was opened.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}

fn io_error(action: &str) -> impl FnOnce(io::Error) -> ServerError {
    let action = action.to_owned();
    |source| ServerError::Io { action, source }
}

fn key_error(error: KeyError) -> ServerError {
    ServerError::Io {
        action: String::from("make a key"),
        source: io::Error::other(error),
    }
}
