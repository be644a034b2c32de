//! The `docker` target: OpenSSH in a container, through testcontainers.
//!
//! Owns the container, its labels and its files. Connections go to 127.0.0.1 only: the host's network namespace, or a
//! port published there. A container of a run that was killed is found by its label and removed by the next run.

mod engine;
pub mod image;
mod inside;
mod look_inside;
mod suite;
mod tar;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use testcontainers::core::{IntoContainerPort, Mount, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};

use self::engine::{Engine, Removal, failed};
use self::image::Ready;
use self::inside::{CLEAR, INIT, Limits};
pub use self::look_inside::InsideContainer;
pub use self::suite::Suite;
use super::identification::{self, NoIdentification};
use super::owner::{Liveness, Owner};
use super::sshd_config::{self, Listen, Paths};
use super::witness::Witness;
use super::{
    Endpoint, Idle, JobDirectory, TargetError, TargetRequest, io_error, key_error, log_tail,
};
use crate::manifest::{NetworkPath, TargetDescription, TargetKind};
use crate::release::Release;
use crate::ssh::keys::KeyPair;

/// Label: process that owns the container.
const OWNER_LABEL: &str = "sshchurn.owner";
/// Label: the run.
const RUN_LABEL: &str = "sshchurn.run";
/// Base directory of the jobs, the provider's own.
const JOBS: &str = "/tmp/airflow-ssh-jobs";
const CONFIG: &str = "/etc/sshchurn/sshd_config";
const LOG: &str = "/var/log/sshd.log";
/// Port inside the container when it is published.
const INNER_PORT: u16 = 2222;
const PORT_TRIES: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How the container is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DockerNetwork {
    /// The host's network namespace, bound to 127.0.0.1.
    #[default]
    Host,
    /// A port published on 127.0.0.1, through Docker's proxy.
    Published,
}

/// What only this kind needs.
#[derive(Debug, Clone, Copy, Default)]
pub struct DockerOptions {
    /// How the container is reached.
    pub network: DockerNetwork,
}

/// A running container.
#[derive(Debug)]
pub struct DockerTarget {
    engine: Engine,
    endpoint: Endpoint,
    description: TargetDescription,
    /// Pid of the listener inside the container.
    inner_listener: u32,
    /// Pid of the listener on this host, where `/proc` shows it.
    listener: Option<u32>,
    container: ContainerAsync<GenericImage>,
    removal: Removal,
}

/// Says which engine answers and whether the image is there.
///
/// # Errors
/// [`TargetError::Unavailable`] with the fix.
pub async fn probe() -> Result<String, TargetError> {
    Engine::connect().await?;
    let images = image::list().await?;
    Ok(
        match images.iter().find(|image| image.is_current(Suite::DEFAULT)) {
            Some(image) => format!("answers; image {} is there", image.name),
            None => "answers; the image will be built by the first run (some 30 s)".to_owned(),
        },
    )
}

impl DockerTarget {
    /// Starts a container and waits until its sshd's identification line was read. Without a `release` it is the default
    /// one, or the oldest that the scenario allows.
    ///
    /// # Errors
    /// [`TargetError::Unavailable`] without an engine or an image, [`TargetError::ConfigRefused`] and
    /// [`TargetError::ConfigDiffers`] from sshd's own check, [`TargetError::NotReady`] past the deadline.
    pub async fn start(
        request: &TargetRequest,
        release: Option<Release>,
        options: &DockerOptions,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Self, TargetError> {
        let engine = Engine::connect().await?;
        if let (DockerNetwork::Host, Some(why)) = (options.network, engine.no_host_network) {
            return Err(TargetError::Unavailable {
                what: format!("a container's host network is not this machine's: {why}"),
                fix: String::from("use `--network published`, or `--target local`"),
            });
        }
        if options.network == DockerNetwork::Published
            && !request.sshd.monitoring_keywords.is_empty()
        {
            return Err(TargetError::ConfigRefused {
                detail: String::from(
                    "through a published port every connection comes from the bridge, so `sshd.monitoring_options` would \
                     never apply; use `--network host`",
                ),
            });
        }
        let suite = suite_for(release, request.sshd.min_release)?;
        let warnings = remove_stale(&engine).await?;
        let image = image::ensure(&engine, suite, progress).await?;
        for _ in 0..PORT_TRIES {
            if let Some(target) =
                Self::start_once(request, options, &engine, &image, &warnings).await?
            {
                return Ok(target);
            }
        }
        Err(TargetError::NotReady {
            what: image.image.name,
            within: request.ready_within,
            log: vec![format!("{PORT_TRIES} ports were taken by somebody else")],
        })
    }

    /// One try; `None` when somebody else took the port.
    async fn start_once(
        request: &TargetRequest,
        options: &DockerOptions,
        engine: &Engine,
        Ready {
            image,
            release,
            release_text,
        }: &Ready,
        warnings: &[String],
    ) -> Result<Option<Self>, TargetError> {
        let host_key = KeyPair::generate().map_err(key_error)?;
        let user_key = KeyPair::generate().map_err(key_error)?;
        let free = identification::free_port().map_err(io_error("find a free port"))?;
        let (inner_port, listen) = match options.network {
            DockerNetwork::Host => (free, "127.0.0.1"),
            DockerNetwork::Published => (INNER_PORT, "0.0.0.0"),
        };
        let config = sshd_config::render(
            &request.sshd,
            *release,
            Listen {
                address: listen,
                port: inner_port,
            },
            Paths {
                host_key: "/etc/sshchurn/host_key",
                authorized_keys: "/etc/sshchurn/authorized_keys",
            },
        );
        let owner = Owner::this_process().map_err(io_error("read /proc"))?;
        let name = format!("sshchurn-{}-{free}", std::process::id());
        let removal = Removal::of(name.clone());
        let limits = Limits::of(&request.sshd);
        let (repository, tag) = image
            .name
            .split_once(':')
            .unwrap_or((&image.name, "latest"));
        let generic = match options.network {
            DockerNetwork::Host => GenericImage::new(repository, tag),
            DockerNetwork::Published => {
                GenericImage::new(repository, tag).with_exposed_port(INNER_PORT.tcp())
            }
        };
        let container = generic
            .with_entrypoint("/bin/sh")
            .with_wait_for(WaitFor::Nothing)
            .with_cmd([
                "-c".to_owned(),
                INIT.to_owned(),
                "init".to_owned(),
                limits.descriptors.to_string(),
            ])
            .with_container_name(&name)
            .with_labels([
                (OWNER_LABEL, owner.to_string()),
                (RUN_LABEL, request.run_id.clone()),
            ])
            .with_copy_to(CONFIG, config.clone().into_bytes())
            .with_copy_to(
                "/etc/sshchurn/host_key",
                host_key.private_pem().map_err(key_error)?.into_bytes(),
            )
            .with_copy_to(
                "/etc/sshchurn/authorized_keys",
                format!("{}\n", user_key.public_line()).into_bytes(),
            )
            .with_mount(Mount::tmpfs_mount("/run"))
            .with_ulimit(
                "nofile",
                i64::from(limits.descriptors),
                Some(i64::from(limits.descriptors)),
            )
            .with_startup_timeout(request.ready_within);
        // Left alone it would be the daemon's own limit, and a server that cannot fork refuses without a word.
        let processes = Some(i64::from(limits.processes));
        let container = match options.network {
            DockerNetwork::Host => container
                .with_network("host")
                .with_host_config_modifier(move |config| config.pids_limit = processes),
            DockerNetwork::Published => container.with_host_config_modifier(move |config| {
                config.pids_limit = processes;
                // Nothing but this one port, and on loopback only.
                config.publish_all_ports = Some(false);
                config.port_bindings = Some(std::collections::HashMap::from([(
                    format!("{INNER_PORT}/tcp"),
                    Some(vec![testcontainers::bollard::models::PortBinding {
                        host_ip: Some("127.0.0.1".to_owned()),
                        host_port: Some(String::new()),
                    }]),
                )]));
            }),
        };
        let container = container
            .start()
            .await
            .map_err(|error| failed("start the container", error))?;
        let id = container.id().to_owned();
        let port = match options.network {
            DockerNetwork::Host => free,
            DockerNetwork::Published => container
                .get_host_port_ipv4(INNER_PORT.tcp())
                .await
                .map_err(|error| failed("read the published port", error))?,
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));

        // In the host's network a stranger on the port answers as well: only once this container's sshd says that it has
        // the port is the next answer its own. One that finds the port taken ends.
        let ready_by = Instant::now() + request.ready_within;
        let listening = async {
            while !identification::listens(
                &engine.file(&id, LOG).await?.unwrap_or_default(),
                inner_port,
            ) {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok::<(), TargetError>(())
        };
        let listening = tokio::select! {
            listening = tokio::time::timeout(request.ready_within, listening) => match listening {
                Ok(listening) => listening.map(|()| None)?,
                Err(_) => Some(NoIdentification::TooLate),
            },
            () = stopped(engine, &id) => Some(NoIdentification::Ended(())),
        };
        let answer = match listening {
            None => {
                let left = ready_by.saturating_duration_since(Instant::now());
                identification::read(address, left, stopped(engine, &id)).await
            }
            Some(why) => Err(why),
        };
        let identification = match answer {
            Ok(identification) => identification,
            Err(no_identification) => {
                let log = engine.file(&id, LOG).await?.unwrap_or_default();
                let refused = engine
                    .file(&id, "/etc/sshchurn/refused")
                    .await?
                    .unwrap_or_default();
                return match no_identification {
                    NoIdentification::Ended(()) if identification::lost_the_port(&log) => Ok(None),
                    NoIdentification::Ended(()) if !refused.is_empty() => {
                        Err(TargetError::ConfigRefused {
                            detail: String::from_utf8_lossy(&refused).trim().to_owned(),
                        })
                    }
                    NoIdentification::Ended(()) => Err(TargetError::Died {
                        log: log_tail(&log),
                    }),
                    NoIdentification::TooLate => Err(TargetError::NotReady {
                        what: image.name.clone(),
                        within: request.ready_within,
                        log: log_tail(&log),
                    }),
                };
            }
        };
        let dump = engine
            .exec_ok(&id, &["cat", "/etc/sshchurn/effective"])
            .await?
            .text();
        let effective = sshd_config::verify(&request.sshd, &dump)?;
        let inner_listener = engine
            .exec_ok(&id, &["cat", "/etc/sshchurn/listener"])
            .await?
            .text()
            .trim()
            .parse()
            .map_err(|error: std::num::ParseIntError| failed("read the listener's pid", error))?;
        let listener = engine.running(&id).await?.and_then(host_listener);
        Ok(Some(DockerTarget {
            endpoint: Endpoint {
                address,
                user: "runner".to_owned(),
                key: Arc::new(user_key),
                host_key: host_key.as_host_key(),
            },
            description: TargetDescription {
                kind: TargetKind::Docker,
                address: address.to_string(),
                network_path: match options.network {
                    DockerNetwork::Host => NetworkPath::HostNetwork,
                    DockerNetwork::Published => NetworkPath::PublishedPort,
                },
                identification,
                release: Some(release_text.clone()),
                image: Some(format!("{}@{}", image.name, image.id)),
                effective_max_startups: Some(effective.max_startups),
                effective_config: effective.settings,
                sshd_config: Some(config),
                jobs_directory: JOBS.to_owned(),
                inventory_available: true,
                log_available: true,
                log_has_every_drop: sshd_config::logs_every_drop(*release),
                choice: String::new(),
                round_trip_ns: None,
                exec_cost_ns: None,
                login_shell_cost_ns: None,
                warnings: warnings.to_vec(),
            },
            engine: engine.clone(),
            inner_listener,
            listener,
            container,
            removal,
        }))
    }

    /// Where and how to log in.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The server as it introduced itself and as it was configured.
    #[must_use]
    pub fn description(&self) -> &TargetDescription {
        &self.description
    }

    /// Id of the container.
    #[must_use]
    pub fn container_id(&self) -> &str {
        self.container.id()
    }

    /// Waits until the listener has no child process: it serves no connection.
    ///
    /// # Errors
    /// [`TargetError::NotIdle`] past the deadline, [`TargetError::Died`] when the container stopped.
    pub async fn wait_idle(&self, within: Duration) -> Result<Idle, TargetError> {
        let deadline = Instant::now() + within;
        loop {
            if self.engine.running(self.container.id()).await?.is_none() {
                return Err(self.death().await);
            }
            let children = self.children().await?;
            if children.is_empty() {
                return Ok(Idle::Proven);
            }
            if Instant::now() >= deadline {
                return Err(TargetError::NotIdle {
                    within,
                    detail: format!("sshd processes {children}"),
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Pids of the listener's children, as text.
    async fn children(&self) -> Result<String, TargetError> {
        let parent = self.inner_listener.to_string();
        let command = ["ps", "-o", "pid=", "--ppid", &parent];
        let ran = self.engine.exec(self.container.id(), &command).await?;
        // ps(1): 0 with processes found, 1 without. Anything else, or a complaint, is no proof of idleness: the container
        // may be out of processes.
        if !matches!(ran.exit_code, Some(0 | 1)) || !ran.stderr.is_empty() {
            return Err(failed(
                "list the processes of the container",
                String::from_utf8_lossy(&ran.stderr).into_owned(),
            ));
        }
        Ok(ran.text().split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// The job directories there are now, sorted by name; listed by the engine, never through the sshd under test.
    ///
    /// # Errors
    /// [`TargetError::Docker`] when the listing fails.
    pub async fn job_directories(&self) -> Result<Option<Vec<JobDirectory>>, TargetError> {
        let listed = self
            .engine
            .exec_ok(self.container.id(), &["ls", "-A1", JOBS])
            .await?
            .text();
        let mut directories: Vec<JobDirectory> = listed
            .lines()
            .map(|name| JobDirectory {
                name: name.to_owned(),
            })
            .collect();
        directories.sort();
        Ok(Some(directories))
    }

    /// Ends job processes that are left and removes the job directories.
    ///
    /// # Errors
    /// [`TargetError::Docker`] when something could not be removed.
    pub async fn clear_jobs(&self) -> Result<(), TargetError> {
        self.engine
            .exec_ok(self.container.id(), &["/bin/sh", "-c", CLEAR])
            .await?;
        Ok(())
    }

    /// Bytes of log written so far.
    ///
    /// # Errors
    /// [`TargetError::Docker`] when the log cannot be looked at.
    pub async fn log_len(&self) -> Result<Option<u64>, TargetError> {
        let text = self
            .engine
            .exec_ok(self.container.id(), &["stat", "-c", "%s", LOG])
            .await?
            .text();
        let length = text
            .trim()
            .parse()
            .map_err(|error: std::num::ParseIntError| failed("look at sshd's log", error))?;
        Ok(Some(length))
    }

    /// The log from byte `from` on; readable also after the container has stopped.
    ///
    /// # Errors
    /// [`TargetError::Docker`] when the log cannot be read.
    pub async fn read_log(&self, from: u64) -> Result<Option<Vec<u8>>, TargetError> {
        let log = self.engine.file(self.container.id(), LOG).await?;
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        Ok(log.map(|log| log.get(from..).unwrap_or_default().to_vec()))
    }

    /// Resolves when the container has stopped, with sshd's last log lines; pending otherwise.
    pub async fn died(&self) -> TargetError {
        stopped(&self.engine, self.container.id()).await;
        self.death().await
    }

    async fn death(&self) -> TargetError {
        let log = self
            .engine
            .file(self.container.id(), LOG)
            .await
            .ok()
            .flatten()
            .unwrap_or_default();
        TargetError::Died {
            log: log_tail(&log),
        }
    }

    /// Where the server's side can be read: on this host where `/proc` shows the listener, else inside the container.
    #[must_use]
    pub fn witness(&self) -> Witness {
        match self.listener {
            Some(listener) => Witness::container_on_host(listener),
            None => self.witness_inside(),
        }
    }

    /// The same, from inside the container, as it is on machines that do not see its processes.
    #[must_use]
    pub fn witness_inside(&self) -> Witness {
        Witness::inside_container(InsideContainer::new(
            self.engine.clone(),
            self.container.id().to_owned(),
            self.inner_listener,
        ))
    }

    /// Process id of the listener on this host, where `/proc` shows it.
    #[must_use]
    pub fn listener_pid(&self) -> Option<u32> {
        self.listener
    }

    /// Ends and removes the container.
    ///
    /// # Errors
    /// [`TargetError::Docker`] when it could not be removed.
    pub async fn stop(self) -> Result<(), TargetError> {
        self.engine.remove(self.container.id()).await?;
        self.removal.done();
        // testcontainers would remove it once more.
        std::mem::forget(self.container);
        Ok(())
    }
}

/// Resolves when a container does not run any more. An engine that does not answer says nothing about the container.
async fn stopped(engine: &Engine, id: &str) {
    loop {
        if let Ok(None) = engine.running(id).await {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN * 5).await;
    }
}

/// The one child of process 1 of the container that is called sshd, when this host's `/proc` shows it.
fn host_listener(init: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).ok()?;
    children
        .split_whitespace()
        .filter_map(|pid| pid.parse::<u32>().ok())
        .find(|pid| {
            std::fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|name| name.trim() == "sshd")
        })
}

/// Which suite serves a request.
fn suite_for(release: Option<Release>, least: Option<Release>) -> Result<Suite, TargetError> {
    let unknown = |release: Release, which: &str| TargetError::Unavailable {
        what: format!(
            "no image of OpenSSH {release}{which} is known; the releases to be had are {}",
            Suite::releases()
        ),
        fix: String::from("ask for one of them, or use `--target local` on a machine that has it"),
    };
    let suite = match (release, least) {
        (Some(release), _) => Suite::of(release).ok_or_else(|| unknown(release, ""))?,
        (None, Some(least)) => Suite::at_least(least).ok_or_else(|| unknown(least, " or newer"))?,
        (None, _) => Suite::DEFAULT,
    };
    match least {
        Some(least) if suite.release() < least => Err(super::too_old(
            &format!("OpenSSH {} in a container", suite.release()),
            least,
            "leave `--release` away, or ask for a newer one",
        )),
        _ => Ok(suite),
    }
}

/// Removes containers whose owner is certainly gone.
async fn remove_stale(engine: &Engine) -> Result<Vec<String>, TargetError> {
    let mut warnings = Vec::new();
    for container in engine.labelled(OWNER_LABEL).await? {
        let owner = container
            .labels
            .as_ref()
            .and_then(|labels| labels.get(OWNER_LABEL))
            .and_then(|label| label.parse::<Owner>().ok());
        let gone = owner
            .is_some_and(|owner| matches!(owner.liveness(), Liveness::Dead | Liveness::OtherBoot));
        if let (true, Some(id)) = (gone, &container.id) {
            engine.remove(id).await?;
            warnings.push(format!(
                "removed container {}, left by a run that was killed",
                &id[..12.min(id.len())]
            ));
        }
    }
    Ok(warnings)
}
