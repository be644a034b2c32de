//! The Docker engine: reached, asked, and told to run a command in a container. Every call has a deadline.
//!
//! Thin: it turns the client's errors into [`ServerError`] and knows nothing of sshd.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use testcontainers::bollard::Docker;
use testcontainers::bollard::container::LogOutput;
use testcontainers::bollard::errors::Error;
use testcontainers::bollard::exec::StartExecResults;
use testcontainers::bollard::models::{ContainerCreateBody, ContainerSummary, ExecConfig};
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

/// What a command in a container gave.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) exit_code: Option<i64>,
}

impl Ran {
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A connection to the engine of this machine.
#[derive(Debug, Clone)]
pub(super) struct Engine {
    docker: Docker,
    /// Why the host network of the engine is not this machine's, if so.
    pub(super) no_host_network: Option<&'static str>,
}

/// The engine's address as far as it was chosen by the user.
fn host() -> String {
    std::env::var("DOCKER_HOST")
        .ok()
        .filter(|host| !host.is_empty())
        .unwrap_or_else(|| String::from("unix:///var/run/docker.sock (DOCKER_HOST is not set)"))
}

/// Whether a container's loopback ports of the engine at `host` are this machine's.
fn is_here(host: &str) -> bool {
    match host.split_once("://") {
        Some(("tcp" | "http" | "https", rest)) => {
            let authority = rest.split('/').next().unwrap_or_default();
            let name = match authority.strip_prefix('[') {
                Some(rest) => rest.split(']').next().unwrap_or_default(),
                None => authority.split(':').next().unwrap_or_default(),
            };
            name == "localhost"
                || name
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|address| address.is_loopback())
        }
        Some(("ssh", _)) => false,
        _ => true,
    }
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

    /// Runs a command in a container as root and collects what it prints.
    pub(super) async fn exec(&self, container: &str, command: &[&str]) -> Result<Ran, ServerError> {
        let action = format!("run `{}` in the container", command[0]);
        self.ask(&action, async {
            let config = ExecConfig {
                cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                ..ExecConfig::default()
            };
            let exec = self.docker.create_exec(container, config).await?.id;
            let mut ran = Ran {
                stdout: Vec::new(),
                stderr: Vec::new(),
                exit_code: None,
            };
            if let StartExecResults::Attached { mut output, .. } =
                self.docker.start_exec(&exec, None).await?
            {
                while let Some(piece) = output.next().await {
                    match piece? {
                        LogOutput::StdErr { message } => ran.stderr.extend_from_slice(&message),
                        other => ran.stdout.extend_from_slice(&other.into_bytes()),
                    }
                }
            }
            ran.exit_code = self.docker.inspect_exec(&exec).await?.exit_code;
            Ok(ran)
        })
        .await
    }

    /// Runs a command that must succeed.
    pub(super) async fn exec_ok(
        &self,
        container: &str,
        command: &[&str],
    ) -> Result<Ran, ServerError> {
        let ran = self.exec(container, command).await?;
        if ran.exit_code == Some(0) {
            return Ok(ran);
        }
        Err(failed(
            format!("run `{}` in the container", command[0]),
            format!(
                "it ended with {}: {}",
                ran.exit_code
                    .map_or_else(|| String::from("no exit code"), |code| code.to_string()),
                String::from_utf8_lossy(&ran.stderr).trim()
            ),
        ))
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
                Err(error) if is_missing(&error) => Ok(()),
                // The removal of another caller is under way.
                Err(Error::DockerResponseServerError {
                    status_code: 409, ..
                }) => Ok(()),
                other => other,
            }
        };
        self.ask("remove the container", remove).await
    }
}

/// Removes a container when dropped, on every way out, also when the future that made it is dropped.
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

    /// The container is gone already.
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
            "tcp://[::1]:2375",
            "/var/run/docker.sock",
        ] {
            assert!(is_here(host), "{host}");
        }
        for host in [
            "tcp://192.0.2.7:2376",
            "ssh://user@machine",
            "https://docker.example",
            "tcp://localhost.example.com:2375",
            "tcp://127.example.com:2375",
            "tcp://[::2]:2375",
        ] {
            assert!(!is_here(host), "{host}");
        }
    }
}
