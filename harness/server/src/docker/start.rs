//! Starting one container: its labels, files, limits and network, until its sshd's log says that it listens.
//!
//! Owns what the container is made of. It must not choose an image.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use testcontainers::bollard::models;
use testcontainers::core::{Healthcheck, IntoContainerPort, Mount, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerRequest, GenericImage, ImageExt};

use super::container::Container;
use super::engine::{Engine, Removal, failed};
use super::image::by_id;
use super::inside::{INIT, Limits};
use super::outbox::{INNER, Outbox, Sharing};
use super::{
    DockerNetwork, DockerOptions, DockerServer, JOBS, Layout, OWNER_LABEL, RUN_LABEL, Server,
    stopped,
};
use crate::cores::Cores;
use crate::owner::Owner;
use crate::readiness::{self, NotListening};
use crate::slow_auth;
use crate::sshd_config::{self, KeyCommand, Listen, Paths};
use crate::{Endpoint, ServerError, ServerRequest, io_error, key_error, witness};
use sshchurn_core::manifest::{NetworkPath, ServerDescription, ServerKind};
use sshchurn_core::reading::KernelSettings;
use sshchurn_engine::ssh::keys::KeyPair;

const CONFIG: &str = "/etc/sshchurn/sshd_config";
const AUTHORIZED_KEYS: &str = "/etc/sshchurn/authorized_keys";
const SLOW_AUTH: &str = "/etc/sshchurn/slow_auth.sh";
/// Made by process 1: `/run` begins empty.
const SLOW_AUTH_SEEN: &str = "/run/sshchurn-seen";
/// Port inside the container when it is published.
const INNER_PORT: u16 = 2222;
/// Where sshd, the jobs' commands, their libraries and the job directories are. With fuse-overlayfs each process keeps some
/// twenty files open there, so that its limit (20,000 as Docker starts it) is met near 1,000 connections: from then on
/// no command of the container starts, and sshd is not what was measured.
const BUSY: [&str; 2] = ["/usr", "/tmp"];

/// What the container's sshd is given.
struct Files {
    config: String,
    host_key: KeyPair,
    user_key: KeyPair,
}

impl DockerServer {
    /// One try; `None` when somebody else took the port.
    pub(super) async fn start_once(
        request: &ServerRequest,
        options: &DockerOptions,
        engine: &Engine,
        server: &Server,
        warnings: &[String],
    ) -> Result<Option<Self>, ServerError> {
        let free = readiness::free_port().map_err(io_error("find a free port"))?;
        let (inner_port, listen) = match options.network {
            DockerNetwork::Host => (free, Ipv4Addr::LOCALHOST),
            DockerNetwork::Published => (INNER_PORT, Ipv4Addr::UNSPECIFIED),
        };
        let listen_address = match options.network {
            DockerNetwork::Host => request.listen.listen_address(),
            DockerNetwork::Published => "0.0.0.0",
        };
        let files = Files {
            config: sshd_config::render(
                &request.sshd,
                server.release,
                Listen {
                    address: listen_address,
                    port: inner_port,
                },
                Paths {
                    host_key: "/etc/sshchurn/host_key",
                    authorized_keys: AUTHORIZED_KEYS,
                    key_command: request.sshd.slow_auth.map(|_| KeyCommand {
                        script: SLOW_AUTH,
                        user: "root",
                    }),
                },
            ),
            host_key: KeyPair::generate().map_err(key_error)?,
            user_key: KeyPair::generate().map_err(key_error)?,
        };
        let (container, outbox) = started(request, options, engine, server, &files, free).await?;
        let port = match options.network {
            DockerNetwork::Host => free,
            DockerNetwork::Published => container.published(INNER_PORT).await?,
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log_path = outbox.log_path();
        let listening = readiness::listening(
            inner_port,
            1,
            request.ready_within,
            &log_path,
            stopped(&container),
        );
        match listening.await {
            Ok(()) => {}
            Err(NotListening::Ended) => {
                return ended(request, &server.name, &container, &outbox).await;
            }
            Err(why) => {
                let log = outbox.last_lines().await;
                return Err(why.of_running(&server.name, request.ready_within, log));
            }
        }
        let dump = outbox.text(&container, "effective").await?;
        let effective = sshd_config::verify(&request.sshd, &dump)?;
        let login_shell = outbox.text(&container, "login_shell").await?;
        let login_shell = login_shell_in_force(request, login_shell.trim())?;
        let inner_listener = outbox
            .text(&container, "listener")
            .await?
            .trim()
            .parse()
            .map_err(|error: std::num::ParseIntError| failed("read the listener's pid", error))?;
        let listener = container.pid().await?.and_then(host_listener);
        let mut warnings = warnings.to_vec();
        if listener.is_none() && !server.layout.bash {
            warnings.push(format!(
                "image {} has no bash, and this machine does not see the container's processes: the places in use are not \
                 watched; add bash to the image to have them watched",
                server.name
            ));
        }
        // Where the listener is a process here, and on the host's network, its namespace is this one's.
        let kernel = match (options.network, listener) {
            (DockerNetwork::Host, Some(_)) => witness::settings_here(),
            (DockerNetwork::Host, None) | (DockerNetwork::Published, _) => {
                settings_in(&container).await
            }
        };
        Ok(Some(DockerServer {
            endpoint: Endpoint {
                address,
                user: server.layout.account.name.clone(),
                key: Arc::new(files.user_key),
                host_key: files.host_key.as_host_key(),
            },
            description: ServerDescription {
                kind: ServerKind::Docker,
                address: address.to_string(),
                network_path: match options.network {
                    DockerNetwork::Host => NetworkPath::HostNetwork,
                    DockerNetwork::Published => NetworkPath::PublishedPort,
                },
                // Learnt from the first client that logs in.
                identification: String::new(),
                release: Some(server.release_text.clone()),
                substitution: server.substitution.clone(),
                image: Some(format!("{}@{}", server.name, server.id)),
                cores: request.cores.as_ref().map(ToString::to_string),
                login_shell: Some(login_shell),
                packages: server.packages.clone(),
                effective_max_startups: Some(effective.max_startups),
                effective_config: effective.settings,
                sshd_config: Some(files.config),
                jobs_directory: JOBS.to_owned(),
                inventory_available: true,
                log_available: true,
                log_has_every_drop: sshd_config::logs_every_drop(server.release),
                kernel,
                choice: String::new(),
                round_trip_ns: None,
                exec_cost_ns: None,
                login_shell_cost_ns: None,
                restart_ns: None,
                warnings,
            },
            account: server.layout.account.clone(),
            inner_listener,
            listener,
            listens_on: SocketAddr::from((listen, inner_port)),
            container,
            outbox,
        }))
    }
}

/// The settings of the container's network namespace, read in it.
async fn settings_in(container: &Container) -> Option<KernelSettings> {
    const READ: &str = "for file; do echo \"$(cat \"$file\" 2>/dev/null)\"; done";
    let mut command = vec!["/bin/sh", "-c", READ, "settings"];
    command.extend(witness::SETTINGS);
    let ran = container.inside().exec_ok(&command).await.ok()?;
    witness::settings_of_text(&ran.text())
}

/// The login shell that the container's password file has for the jobs' user, checked against the one asked for.
fn login_shell_in_force(request: &ServerRequest, effective: &str) -> Result<String, ServerError> {
    match &request.sshd.login_shell {
        Some(asked) if asked.as_str() != effective => Err(ServerError::ConfigDiffers {
            keyword: String::from("login_shell"),
            requested: asked.to_string(),
            effective: effective.to_owned(),
        }),
        _ => Ok(effective.to_owned()),
    }
}

/// Why a container ended before its sshd was ready; `Ok` when somebody else took the port.
async fn ended(
    request: &ServerRequest,
    image: &str,
    container: &Container,
    outbox: &Outbox,
) -> Result<Option<DockerServer>, ServerError> {
    // A copy of the log may have been cut off by the end.
    let log = outbox.text(container, "sshd.log").await?;
    let log: Vec<String> = log.lines().map(str::to_owned).collect();
    if readiness::lost_the_port(&log) {
        return Ok(None);
    }
    let refused = outbox.text(container, "refused").await?;
    if !refused.trim().is_empty() {
        return Err(ServerError::ConfigRefused {
            detail: refused.trim().to_owned(),
        });
    }
    let in_force = outbox.text(container, "login_shell").await?;
    match &request.sshd.login_shell {
        Some(shell) if in_force.trim().is_empty() => Err(ServerError::NoLoginShell {
            image: image.to_owned(),
            shell: shell.to_string(),
        }),
        _ => Err(ServerError::Died { log }),
    }
}

/// A container that runs, and where what it writes is to be read: in a folder of this machine that is mounted into it if
/// that works, else in a copy.
async fn started(
    request: &ServerRequest,
    options: &DockerOptions,
    engine: &Engine,
    server: &Server,
    files: &Files,
    free: u16,
) -> Result<(Container, Outbox), ServerError> {
    let name = format!("sshchurn-{}-{free}", std::process::id());
    let mut outbox = Outbox::create()?;
    if options.shared_folder {
        let shared = Some(&outbox);
        match start_container(
            request,
            options.network,
            engine,
            server,
            &name,
            files,
            shared,
        )
        .await
        {
            Ok(container) => match outbox.look(&container, &name).await? {
                Sharing::Shared => return Ok((container, outbox)),
                Sharing::Apart => {
                    outbox.copy_log(&container).await?;
                    return Ok((container, outbox));
                }
                Sharing::Refused => container.remove().await?,
            },
            // The engine does not see the folder, or must not mount it: moby and Docker Desktop both name the mount.
            Err(error) if names_the_mount(&error) => {
                tracing::debug!(?error, "the engine cannot mount a folder of this machine");
            }
            Err(error) => return Err(error),
        }
    }
    let container =
        start_container(request, options.network, engine, server, &name, files, None).await?;
    outbox.copy_log(&container).await?;
    Ok((container, outbox))
}

fn names_the_mount(error: &ServerError) -> bool {
    std::error::Error::source(error)
        .is_some_and(|source| source.to_string().to_ascii_lowercase().contains("mount"))
}

async fn start_container(
    request: &ServerRequest,
    network: DockerNetwork,
    engine: &Engine,
    server: &Server,
    name: &str,
    files: &Files,
    shared: Option<&Outbox>,
) -> Result<Container, ServerError> {
    let mut asked = container(request, network, engine, server, name, files)?;
    if let Some(outbox) = shared {
        asked = asked.with_mount(Mount::bind_mount(outbox.path().to_string_lossy(), INNER));
    }
    let removal = Removal::of(name);
    let running = asked
        .start()
        .await
        .map_err(|error| failed("start the container", error))?;
    removal.done();
    Ok(Container::new(running, engine))
}

/// What the engine is asked for.
fn container(
    request: &ServerRequest,
    network: DockerNetwork,
    engine: &Engine,
    server: &Server,
    name: &str,
    files: &Files,
) -> Result<ContainerRequest<GenericImage>, ServerError> {
    let owner = Owner::this_process().map_err(io_error("read /proc"))?;
    let limits = Limits::of(&request.sshd);
    let descriptors = i64::from(limits.descriptors);
    let Layout { sshd, account, .. } = &server.layout;
    let shell = request.sshd.login_shell.as_ref();
    let arguments = [
        descriptors.to_string(),
        name.to_owned(),
        shell.map_or_else(String::new, ToString::to_string),
        sshd.clone(),
        account.name.clone(),
        account.uid.to_string(),
        account.gid.to_string(),
    ];
    let mut image = image_of(by_id(&server.name, &server.id));
    if network == DockerNetwork::Published {
        image = image.with_exposed_port(INNER_PORT.tcp());
    }
    let container = plain_shell(image, INIT, arguments)
        .with_container_name(name)
        .with_labels([
            (OWNER_LABEL, owner.to_string()),
            (RUN_LABEL, request.run_id.clone()),
        ])
        .with_copy_to(CONFIG, files.config.clone().into_bytes())
        .with_copy_to(
            "/etc/sshchurn/host_key",
            files
                .host_key
                .private_pem()
                .map_err(key_error)?
                .into_bytes(),
        )
        .with_copy_to(
            AUTHORIZED_KEYS,
            request.authorized_keys(&files.user_key).into_bytes(),
        )
        .with_mount(Mount::tmpfs_mount("/run"))
        .with_ulimit("nofile", descriptors, Some(descriptors))
        .with_startup_timeout(request.ready_within);
    let container = match request.sshd.slow_auth {
        Some(slow) => {
            let script = slow_auth::script(slow, AUTHORIZED_KEYS, SLOW_AUTH_SEEN);
            container.with_copy_to(SLOW_AUTH, script.into_bytes())
        }
        None => container,
    };
    // Left alone it would be the daemon's own limit, and a server that cannot fork refuses without a word.
    let processes = Some(i64::from(limits.processes));
    let volumes = engine.files_by_one_process.then_some(BUSY);
    let cpus = request.cores.as_ref().map(Cores::server_list);
    let container = container.with_host_config_modifier(move |config| {
        config.cpuset_cpus.clone_from(&cpus);
        config.pids_limit = processes;
        let mounts = config.mounts.get_or_insert_default();
        mounts.extend(volumes.into_iter().flatten().map(volume));
        if network == DockerNetwork::Published {
            // Nothing but this one port, and on loopback only.
            config.publish_all_ports = Some(false);
            config.port_bindings = Some(HashMap::from([(
                format!("{INNER_PORT}/tcp"),
                Some(vec![models::PortBinding {
                    host_ip: Some("127.0.0.1".to_owned()),
                    host_port: Some(String::new()),
                }]),
            )]));
        }
    });
    Ok(match network {
        DockerNetwork::Host => container.with_network("host"),
        DockerNetwork::Published => container,
    })
}

/// An image by its name or id.
pub(super) fn image_of(name: &str) -> GenericImage {
    let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
    GenericImage::new(repository, tag)
}

/// A container whose process 1 is root's shell with a script, whatever its image would have run, as whom, and where. A health
/// check would run a program beside sshd all the time.
pub(super) fn plain_shell(
    image: GenericImage,
    script: &str,
    arguments: impl IntoIterator<Item = String>,
) -> ContainerRequest<GenericImage> {
    let command = ["-c", script, "init"].map(str::to_owned);
    image
        .with_entrypoint("/bin/sh")
        .with_wait_for(WaitFor::Nothing)
        .with_cmd(command.into_iter().chain(arguments))
        .with_user("0:0")
        .with_working_dir("/")
        .with_health_check(Healthcheck::none())
}

/// A volume without a name: the engine fills it from the image and removes it with the container.
fn volume(folder: &str) -> models::Mount {
    models::Mount {
        target: Some(folder.to_owned()),
        typ: Some(models::MountType::VOLUME),
        ..models::Mount::default()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_that_cannot_mount_a_folder_is_told_from_one_that_cannot_start_a_container() {
        for said in [
            // moby, where the engine is on another host.
            "invalid mount config for type \"bind\": bind source path does not exist: /tmp/x",
            // Docker Desktop.
            "mounts denied: The path /tmp/x is not shared from the host and is not known to Docker.",
        ] {
            assert!(names_the_mount(&failed("start the container", said)));
        }
        let other = "driver failed programming external connectivity: port is already allocated";
        assert!(!names_the_mount(&failed("start the container", other)));
    }
}
