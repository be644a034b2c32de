//! The Docker engine: reached, and asked for what testcontainers does not offer: images, containers found by a label,
//! their state, and the removal of those that it does not hold. Every call has a deadline.
//!
//! Thin: it turns the client's errors into [`ServerError`] and knows nothing of sshd.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use testcontainers::bollard::Docker;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::models::{ContainerCreateBody, ContainerSummary};
use testcontainers::bollard::query_parameters::{
    CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
    ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptionsBuilder,
};

use super::tar;
use crate::ServerError;

/// Longest wait for any one answer of the engine.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
/// Longest wait for the first answer.
const HELLO: Duration = Duration::from_secs(5);

/// An error of the engine, with what was tried.
pub(super) fn failed(
    action: impl Into<String>,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> ServerError {
    ServerError::Docker {
        action: action.into(),
        source: source.into(),
    }
}

/// Whether the engine said that there is no such thing.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(
        error,
        Error::DockerResponseServerError {
            status_code: 404,
            ..
        }
    )
}

/// Whether a removal that failed says that the container is gone, or that somebody else is removing it.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(
        error,
        Error::DockerResponseServerError {
            status_code: 404 | 409,
            ..
        }
    )
}

/// A connection to the engine of this machine.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    docker: Docker,
    /// Why the host network of the engine is not this machine's, if so.
    pub(super) no_host_network: Option<&'static str>,
    /// Whether every file that is open in a container is open a second time in one process of the engine, the storage
    /// driver's, which has a limit of its own.
    pub(super) files_by_one_process: bool,
}

/// The engine's address as far as it was chosen by the user.
fn host() -> String {
    std::env::var("DOCKER_HOST")
        .ok()
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| String::from("unix:///var/run/docker.sock (DOCKER_HOST is not set)"))
}

/// The socket of an engine at `host`, where this user may not use it. The engine's client says nothing of that but that it
/// cannot connect.
fn forbidden_socket(host: &str) -> Option<&str> {
    let path = host.strip_prefix("unix://")?.split(' ').next()?;
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Some(path),
        _ => None,
    }
}

/// Whether a container's loopback ports of the engine at `host` are this machine's.
fn is_here(host: &str) -> bool {
    match host.split_once("://") {
        Some(("tcp" | "http" | "https", rest)) => {
            let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
            is_loopback(host_of(authority))
        }
        Some(("unix" | "npipe", _)) | None => true,
        // `ssh` among them: wherever it leads, the engine's loopback is not known to be ours.
        Some(_) => false,
    }
}

/// The host of `user@host:port`, without the brackets of an IPv6 address.
fn host_of(authority: &str) -> &str {
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Engine {
    /// Connects, honouring `DOCKER_HOST`.
    pub(super) async fn connect() -> Result<Self, ServerError> {
        let host = host();
        if !is_here(&host) {
            return Err(ServerError::Unavailable {
                what: format!("the Docker engine at {host} is not on this machine"),
                fix: String::from(
                    "unset DOCKER_HOST, or run sshchurn where the engine is: the harness connects to loopback only",
                ),
            });
        }
        if let Some(socket) = forbidden_socket(&host) {
            return Err(ServerError::Unavailable {
                what: format!("this user may not use the Docker engine's socket {socket}"),
                fix: String::from(
                    "add the user to the socket's group (`docker`, as a rule) and log in again, or use `--target local`",
                ),
            });
        }
        let silent = |why: String| ServerError::Unavailable {
            what: format!("no Docker engine answers at {host} ({why})"),
            fix: String::from("start Docker, set DOCKER_HOST, or use `--target local`"),
        };
        let docker = testcontainers::core::client::docker_client_instance()
            .await
            .map_err(|error| silent(error.to_string()))?;
        let info = match tokio::time::timeout(HELLO, docker.info()).await {
            Ok(Ok(info)) => info,
            Ok(Err(error)) => return Err(silent(error.to_string())),
            Err(_) => return Err(silent(format!("no answer within {} s", HELLO.as_secs()))),
        };
        let rootless = info
            .security_options
            .iter()
            .flatten()
            .any(|option| option.contains("rootless"));
        let desktop = info.operating_system.as_deref() == Some("Docker Desktop");
        let no_host_network = if !cfg!(target_os = "linux") || desktop {
            Some("the engine runs in a virtual machine")
        } else if rootless {
            Some("the engine is rootless")
        } else {
            None
        };
        Ok(Engine {
            docker,
            no_host_network,
            files_by_one_process: info.driver.as_deref() == Some("fuse-overlayfs"),
        })
    }

    /// The client itself, for what is not here.
    pub(super) fn docker(&self) -> &Docker {
        &self.docker
    }

    /// One call with the usual deadline.
    pub(super) async fn ask<T>(
        &self,
        action: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, ServerError> {
        match tokio::time::timeout(ANSWER, call).await {
            Ok(answer) => answer.map_err(|error| failed(action, error)),
            Err(_) => Err(failed(action, "the Docker engine does not answer")),
        }
    }

    /// A file of a container, running or not; `None` when it is not there.
    pub(super) async fn file(
        &self,
        container: &str,
        path: &str,
    ) -> Result<Option<Vec<u8>>, ServerError> {
        let options = DownloadFromContainerOptionsBuilder::new()
            .path(path)
            .build();
        let mut pieces = self
            .docker
            .download_from_container(container, Some(options));
        let download = async {
            let mut archive = Vec::new();
            while let Some(piece) = pieces.next().await {
                match piece {
                    Ok(bytes) => archive.extend_from_slice(&bytes),
                    Err(error) if is_missing(&error) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            Ok(Some(archive))
        };
        let archive = self
            .ask(&format!("read {path} of the container"), download)
            .await?;
        Ok(archive.and_then(|archive| tar::first_file(&archive)))
    }

    /// Whether a container runs, and the pid of its process 1 on the engine's machine; a missing one does not.
    pub(super) async fn running(&self, container: &str) -> Result<Option<u32>, ServerError> {
        let inspect = async {
            match self.docker.inspect_container(container, None).await {
                Ok(found) => Ok(found.state),
                Err(error) if is_missing(&error) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let state = self.ask("inspect the container", inspect).await?;
        Ok(state
            .filter(|state| state.running == Some(true))
            .and_then(|state| state.pid)
            .and_then(|pid| u32::try_from(pid).ok()))
    }

    /// Creates a container that is never started, to read files of its image.
    pub(super) async fn create(
        &self,
        name: &str,
        image: &str,
        labels: HashMap<String, String>,
    ) -> Result<String, ServerError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(vec!["/bin/true".to_owned()]),
            labels: Some(labels),
            ..ContainerCreateBody::default()
        };
        let created = self.docker.create_container(Some(options), body);
        Ok(self.ask("create a container", created).await?.id)
    }

    /// Removes an image's name, and the image with its last one.
    pub(super) async fn remove_image(&self, name: &str) -> Result<(), ServerError> {
        let options = RemoveImageOptionsBuilder::new().build();
        let remove = self.docker.remove_image(name, Some(options), None);
        self.ask("remove the image", remove).await.map(|_| ())
    }

    /// The containers with a label, running or not.
    pub(super) async fn labelled(&self, label: &str) -> Result<Vec<ContainerSummary>, ServerError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&filters)
            .build();
        self.ask(
            "list containers",
            self.docker.list_containers(Some(options)),
        )
        .await
    }

    /// Ends and removes a container, and is content when there is none.
    pub(super) async fn remove(&self, container: &str) -> Result<(), ServerError> {
        let options = RemoveContainerOptionsBuilder::new()
            .force(true)
            .v(true)
            .build();
        let remove = async {
            match self.docker.remove_container(container, Some(options)).await {
                Err(error) if is_gone(&error) => Ok(()),
                other => other,
            }
        };
        self.ask("remove the container", remove).await
    }
}

/// Removes a container when dropped, by its name: while it is being made, when testcontainers does not hold it yet and
/// the future that makes it may be dropped.
#[derive(Debug)]
pub(super) struct Removal {
    name: Option<String>,
}

impl Removal {
    pub(super) fn of(name: impl Into<String>) -> Self {
        Removal {
            name: Some(name.into()),
        }
    }

    /// The container is gone already, or in other hands.
    pub(super) fn done(mut self) {
        self.name = None;
    }
}

impl Drop for Removal {
    fn drop(&mut self) {
        let Some(name) = self.name.take() else {
            return;
        };
        // A runtime of its own on a thread of its own: the one around may be of any kind, or gone.
        let removal = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(async {
                    let engine = Engine::connect().await?;
                    engine.remove(&name).await
                }),
                Err(source) => Err(ServerError::Io {
                    action: String::from("start a runtime"),
                    source,
                }),
            }
        });
        match removal.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "a container was left behind"),
            Err(_) => tracing::warn!("a container was left behind"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_here;

    #[test]
    fn only_engines_whose_loopback_is_ours_are_used() {
        for host in [
            "unix:///var/run/docker.sock",
            "tcp://127.0.0.1:2375",
            "tcp://localhost:2375",
            "tcp://LOCALHOST",
            "tcp://127.9.9.9:2375/v1.41",
            "tcp://user@127.0.0.1:2375",
            "tcp://[::1]:2375",
            "npipe:////./pipe/docker_engine",
            "/var/run/docker.sock",
        ] {
            assert!(is_here(host), "{host}");
        }
        for host in [
            "tcp://192.0.2.7:2376",
            "ssh://user@machine",
            "https://docker.example",
            "tcp://localhost.example.com:2375",
            "tcp://127.0.0.1.example.com:2375",
            "tcp://127.0.0.1@192.0.2.7:2375",
            "tcp://[::1].example.com@192.0.2.7",
            "tcp://:2375",
            "fd://",
            "tcp://127.example.com:2375",
            "tcp://[::2]:2375",
        ] {
            assert!(!is_here(host), "{host}");
        }
    }
}
