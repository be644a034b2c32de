//! The `local` target: this machine's own sshd, as root or as an ordinary user, in a private temporary folder.
//!
//! Owns the folder, the keys and the supervisor, a shell that is sshd's parent and adopts what jobs leave behind. The
//! harness holds the only write end of the supervisor's standard input: however the harness ends, of kill -9 too, the
//! kernel closes it, and the supervisor ends everything and removes the folder. It must not touch the machine's own
//! sshd or its configuration.

mod asked;
mod sshd;
mod supervisor;

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) use self::asked::AskedHere;
use self::sshd::{Account, Sshd};
use self::supervisor::Supervisor;
use super::log_follower::{self, LogWatch};
use super::readiness::{self, NotListening};
use super::slow_auth;
use super::sshd_config::{self, KeyCommand, Listen, Paths};
use super::this_machine::packages_are_here;
use super::ward::processes::{self, JOBS, Table};
use super::ward::{self, Kind, MARK, Ward};
use super::witness::{self, Witness};
use super::{Endpoint, Idle, JobDirectory, ServerError, ServerRequest, io_error, key_error};
use sshchurn_core::manifest::{NetworkPath, PackageRecord, ServerDescription, ServerKind};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::LoginShell;
use sshchurn_core::scenario::client::Pattern;
use sshchurn_engine::ssh::keys::KeyPair;

/// Tries to get a port: somebody else may be faster between choosing it and sshd's bind.
const PORT_TRIES: u32 = 5;
/// Between two looks at the process table.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long the supervisor may take to end everything.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// First release with `SetEnv`.
const SET_ENV: Release = Release::new(7, 8);
/// Room for sshd's log and the jobs, bytes: what a few hundred tasks need.
const LEAST_SPACE: u64 = 8 * 1024 * 1024;
/// Descriptors of the listener besides one for each unauthenticated connection.
const SPARE_DESCRIPTORS: u32 = 128;

/// A running local sshd.
#[derive(Debug)]
pub struct LocalServer {
    endpoint: Endpoint,
    description: ServerDescription,
    // Dropped in this order: first the supervisor ends everything, then what is left is looked for.
    supervisor: Supervisor,
    ward: Ward,
}

/// Says which sshd this machine has, or that it has none.
///
/// # Errors
/// [`ServerError::Unavailable`] with the fix.
pub async fn probe() -> Result<String, ServerError> {
    let sshd = Sshd::find().await?;
    Account::of_this_process()?.check().await?;
    Ok(format!("{} at {}", sshd.release_text, sshd.path.display()))
}

/// The release of this machine's sshd.
///
/// # Errors
/// [`ServerError::Unavailable`] with the fix.
pub(crate) async fn release() -> Result<Release, ServerError> {
    Ok(Sshd::find().await?.release)
}

/// Whether the account of this process has the login shell that is asked for.
///
/// # Errors
/// [`ServerError::Unavailable`] with the fix.
pub fn check_login_shell(asked: Option<&LoginShell>) -> Result<(), ServerError> {
    match asked {
        None => Ok(()),
        Some(_) => Account::of_this_process()?.check_login_shell(asked),
    }
}

/// What is found before a port is looked for.
struct Found {
    sshd: Sshd,
    account: Account,
    packages: Option<Vec<PackageRecord>>,
    warnings: Vec<String>,
}

impl LocalServer {
    /// Starts sshd and waits until its log says that it listens. With a `release` it must be exactly that one.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] without sshd, a usable account or the scenario's packages, [`ServerError::ConfigRefused`] and
    /// [`ServerError::ConfigDiffers`] from its own check, [`ServerError::NotReady`] past the deadline.
    pub async fn start(
        request: &ServerRequest,
        release: Option<Release>,
    ) -> Result<Self, ServerError> {
        let sshd = Sshd::find().await?;
        sshd.check_release(release, request.sshd.min_release)?;
        let account = Account::of_this_process()?;
        account.check().await?;
        account.check_login_shell(request.sshd.login_shell.as_ref())?;
        let packages = packages_are_here(&request.sshd.packages).await?;
        let warnings = blocking("look for what killed runs left", || {
            Ok(ward::remove_stale(&std::env::temp_dir()))
        })
        .await?;
        let found = Found {
            sshd,
            account,
            packages,
            warnings,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start_on_free_port(request, &found).await? {
                Some(target) => return Ok(target),
                None if tries < PORT_TRIES => {}
                None => {
                    return Err(ServerError::NotReady {
                        what: found.sshd.path.display().to_string(),
                        within: request.ready_within,
                        log: vec![format!("{PORT_TRIES} ports were taken by somebody else")],
                    });
                }
            }
        }
    }

    /// One try; `None` when somebody else took the port.
    async fn start_on_free_port(
        request: &ServerRequest,
        found: &Found,
    ) -> Result<Option<Self>, ServerError> {
        let sshd = &found.sshd;
        let ward = Ward::create(&std::env::temp_dir(), Kind::Local)
            .map_err(io_error("create a private folder"))?;
        let path = ward.path().to_path_buf();
        check_folder(&path)?;
        check_space(&path)?;
        fs::create_dir(path.join(JOBS)).map_err(io_error("create the jobs folder"))?;

        let host_key = KeyPair::generate().map_err(key_error)?;
        let user_key = KeyPair::generate().map_err(key_error)?;
        write(
            &path.join("host_key"),
            host_key.private_pem().map_err(key_error)?.as_bytes(),
            0o600,
        )?;
        write(
            &path.join("authorized_keys"),
            request.authorized_keys(&user_key).as_bytes(),
            0o600,
        )?;
        let script = path.join("slow_auth.sh").to_string_lossy().into_owned();
        if let Some(slow) = request.sshd.slow_auth {
            let seen = path.join("seen");
            fs::create_dir(&seen).map_err(io_error("create a folder for look-ups of keys"))?;
            let keys = path.join("authorized_keys");
            let text = slow_auth::script(slow, &keys.to_string_lossy(), &seen.to_string_lossy());
            write(Path::new(&script), text.as_bytes(), 0o600)?;
        }
        let port = readiness::free_port().map_err(io_error("find a free port"))?;
        let mut sshd_settings = request.sshd.clone();
        if sshd.release >= SET_ENV {
            set_environment(&mut sshd_settings.keywords, &path);
        }
        let config = sshd_config::render(
            &sshd_settings,
            sshd.release,
            Listen {
                address: request.listen.listen_address(),
                port,
            },
            Paths {
                host_key: &path.join("host_key").to_string_lossy(),
                authorized_keys: &path.join("authorized_keys").to_string_lossy(),
                key_command: request.sshd.slow_auth.map(|_| KeyCommand {
                    script: &script,
                    user: &found.account.name,
                }),
            },
        );
        let config_path = path.join("sshd_config");
        write(&config_path, config.as_bytes(), 0o600)?;
        let privsep = sshd.make_privsep_folder(&config_path).await?;
        let effective = sshd_config::verify(&request.sshd, &sshd.check(&config_path).await?)?;

        let descriptors = request.sshd.max_startups.full + SPARE_DESCRIPTORS;
        let cores = request.cores.as_ref();
        let supervisor =
            Supervisor::start(&ward, &sshd.path, descriptors, privsep.as_deref(), cores).await?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let target = LocalServer {
            endpoint: Endpoint {
                address,
                user: found.account.name.clone(),
                key: Arc::new(user_key),
                host_key: host_key.as_host_key(),
            },
            description: ServerDescription {
                kind: ServerKind::Local,
                address: address.to_string(),
                network_path: NetworkPath::Direct,
                // Learnt from the first client that logs in.
                identification: String::new(),
                release: Some(sshd.release_text.clone()),
                substitution: None,
                image: None,
                cores: cores.map(ToString::to_string),
                login_shell: Some(found.account.login_shell.to_string_lossy().into_owned()),
                packages: found.packages.clone(),
                effective_max_startups: Some(effective.max_startups),
                effective_config: effective.settings,
                sshd_config: Some(config),
                jobs_directory: path.join(JOBS).to_string_lossy().into_owned(),
                inventory_available: true,
                log_available: true,
                log_has_every_drop: sshd_config::logs_every_drop(sshd.release),
                kernel: witness::settings_here(),
                choice: String::new(),
                round_trip_ns: None,
                exec_cost_ns: None,
                login_shell_cost_ns: None,
                restart_ns: None,
                warnings: found.warnings.clone(),
            },
            supervisor,
            ward,
        };
        let log_path = target.log_path();
        let listening =
            readiness::listening(port, 1, request.ready_within, &log_path, target.ended());
        match listening.await {
            Ok(()) => Ok(Some(target)),
            Err(why) => {
                let log = target.log_tail().await;
                if matches!(why, NotListening::Ended) && readiness::lost_the_port(&log) {
                    return Ok(None);
                }
                let what = sshd.path.display().to_string();
                Err(why.of_running(&what, request.ready_within, log))
            }
        }
    }

    /// Where and how to log in.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The server as it introduced itself and as it was configured.
    #[must_use]
    pub fn description(&self) -> &ServerDescription {
        &self.description
    }

    /// Waits until the listener has no child process: it serves no connection.
    ///
    /// # Errors
    /// [`ServerError::NotIdle`] past the deadline, [`ServerError::Died`] when sshd died.
    pub async fn wait_idle(&self, within: Duration) -> Result<Idle, ServerError> {
        let deadline = Instant::now() + within;
        loop {
            if *self.supervisor.ended.borrow() {
                return Err(ServerError::Died {
                    log: self.log_tail().await,
                });
            }
            let listener = self.supervisor.listener;
            let children = blocking("read the process table", move || {
                Ok(Table::read()?.children(listener))
            })
            .await?;
            if children.is_empty() {
                return Ok(Idle::Proven);
            }
            if Instant::now() >= deadline {
                return Err(ServerError::NotIdle {
                    within,
                    detail: format!("sshd processes {children:?}"),
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Makes sshd forget which addresses have connected to it: on SIGHUP it starts over, under the same process id, and its
    /// tables by source begin empty.
    ///
    /// # Errors
    /// [`ServerError::NotIdle`] when it still serves somebody, [`ServerError::Died`] and [`ServerError::NotReady`] when it
    /// did not come back, [`ServerError::Io`] when it could not be told.
    pub async fn forget_sources(&self) -> Result<(), ServerError> {
        // What it still serves would stay its child, and be none that it knows of.
        self.wait_idle(readiness::RESTART_WITHIN).await?;
        let listener = Pid::from_raw(self.supervisor.listener.cast_signed());
        let tell = async {
            kill(listener, Signal::SIGHUP)
                .map_err(|errno| io_error("have sshd start over")(errno.into()))
        };
        let (port, log) = (self.endpoint.address.port(), self.log_path());
        readiness::restarted(port, &log, tell, self.ended(), self.log_tail()).await?;
        witness::title_shown(self.supervisor.listener).await;
        Ok(())
    }

    /// The job directories there are now, sorted by name.
    ///
    /// # Errors
    /// [`ServerError::Io`] when they cannot be listed.
    pub async fn job_directories(&self) -> Result<Option<Vec<JobDirectory>>, ServerError> {
        let jobs = self.ward.path().join(JOBS);
        let mut names = blocking("list the job directories", move || {
            fs::read_dir(jobs)?
                .map(|entry| {
                    Ok(JobDirectory {
                        name: entry?.file_name().to_string_lossy().into_owned(),
                    })
                })
                .collect::<std::io::Result<Vec<_>>>()
        })
        .await?;
        names.sort();
        Ok(Some(names))
    }

    /// The files there are now that fit a pattern.
    ///
    /// # Errors
    /// [`ServerError::Io`] when they cannot be listed.
    pub async fn files_like(&self, pattern: &Pattern) -> Result<Option<Vec<String>>, ServerError> {
        let pattern = pattern.clone();
        blocking("list what clients left", move || {
            super::files_like(&pattern)
        })
        .await
        .map(Some)
    }

    /// Ends job processes that are left and removes the job directories.
    ///
    /// # Errors
    /// [`ServerError::Io`] when a process does not end or a directory cannot be removed.
    pub async fn clear_jobs(&self) -> Result<(), ServerError> {
        let jobs = self.ward.path().join(JOBS);
        let (supervisor, spared) = (
            self.supervisor.pid,
            vec![self.supervisor.listener, self.supervisor.reader],
        );
        blocking("clear the job directories", move || {
            let directories: Vec<PathBuf> = fs::read_dir(&jobs)?
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<_>>()?;
            let leaders: Vec<u32> = directories
                .iter()
                .filter_map(|directory| processes::pid_file(directory))
                .collect();
            processes::end_descendants(supervisor, &spared, &leaders)?;
            for directory in directories {
                fs::remove_dir_all(directory)?;
            }
            Ok(())
        })
        .await
    }

    /// Hands on every line of sshd's log, from its beginning.
    #[must_use]
    pub fn follow_log(&self, sink: impl FnMut(&str) + Send + 'static) -> Option<LogWatch> {
        LogWatch::start(self.log_path(), sink)
    }

    /// The last lines of sshd's log, for an error.
    pub async fn log_tail(&self) -> Vec<String> {
        log_follower::last_lines(self.log_path()).await
    }

    /// Resolves when sshd has died, with its last log lines; pending otherwise.
    pub async fn died(&self) -> ServerError {
        self.ended().await;
        ServerError::Died {
            log: self.log_tail().await,
        }
    }

    /// Where the server's side can be read.
    #[must_use]
    pub fn witness(&self) -> Witness {
        Witness::host(self.supervisor.listener, self.endpoint.address)
    }

    /// Process id of the listener.
    #[must_use]
    pub fn listener_pid(&self) -> Option<u32> {
        Some(self.supervisor.listener)
    }

    /// Ends sshd, its sessions and the jobs, and removes the folder.
    ///
    /// # Errors
    /// [`ServerError::Io`] when something is left.
    pub async fn stop(self) -> Result<(), ServerError> {
        let LocalServer {
            supervisor, ward, ..
        } = self;
        supervisor.stop().await;
        // Normally there is nothing left; there is when the supervisor was itself killed.
        blocking("end the local sshd", move || ward.remove()).await
    }

    fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut ended = self.supervisor.ended.clone();
        async move {
            // An error means that the supervisor's output ended: it is gone, and sshd with it.
            let _ = ended.wait_for(|ended| *ended).await;
        }
    }

    fn log_path(&self) -> PathBuf {
        self.ward.path().join("sshd.log")
    }
}

/// What sessions get in their environment. sshd takes the first `SetEnv` line only (servconf.c, `sSetEnv`), so the
/// user's is added to.
fn set_environment(keywords: &mut Vec<(String, String)>, folder: &Path) {
    let set = |name: &str| sshd_config::quoted(&format!("{name}={}", folder.display()));
    let given = keywords
        .iter_mut()
        .find(|(keyword, _)| keyword.eq_ignore_ascii_case("SetEnv"));
    match given {
        Some((_, value)) => *value = format!("{value} {}", set(MARK)),
        // The account's own start-up files would be part of every command (bash reads ~/.bashrc when sshd starts it), and
        // what is measured would be somebody's dotfiles.
        None => keywords.push((
            String::from("SetEnv"),
            format!("{} {}", set("HOME"), set(MARK)),
        )),
    }
}

/// sshd that cannot write its log, and jobs that cannot be made, look like a server that behaves badly.
fn check_space(folder: &Path) -> Result<(), ServerError> {
    let file_system = nix::sys::statvfs::statvfs(folder)
        .map_err(|errno| io_error("look at the private folder's file system")(errno.into()))?;
    let free = file_system.blocks_available() as u64 * file_system.fragment_size() as u64;
    // A file system in memory without a limit has no blocks at all.
    if file_system.blocks() == 0 || free >= LEAST_SPACE {
        return Ok(());
    }
    let action = format!(
        "put sshd's log and the jobs into {}: {} KiB are free there and {} MiB needed; make room, or set TMPDIR",
        folder.display(),
        free / 1024,
        LEAST_SPACE / 1024 / 1024
    );
    Err(io_error(action)(std::io::ErrorKind::StorageFull.into()))
}

/// Whether an `sshd_config` can name files in a folder.
fn check_folder(path: &Path) -> Result<(), ServerError> {
    if path.to_string_lossy().contains(['"', '\\', '\n', '#']) {
        return Err(ServerError::Unavailable {
            what: format!("sshd_config cannot name files in {}", path.display()),
            fix: String::from(
                "set TMPDIR to a folder without double quotes, backslashes and `#` in its name",
            ),
        });
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), ServerError> {
    let write = || {
        let mut file = fs::OpenOptions::new()
            .create_new(true)
            .write(true)
            .mode(mode)
            .open(path)?;
        file.write_all(bytes)?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    };
    write().map_err(io_error(format!("write {}", path.display())))
}

async fn blocking<T: Send + 'static>(
    action: &'static str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, ServerError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(std::io::Error::other(error)))
        .map_err(io_error(action))
}
