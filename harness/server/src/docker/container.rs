//! One running container: commands in it, its files, and its removal, all by testcontainers and all with a deadline.
//!
//! Owns who holds the container: the target alone, so that it can be removed; everybody else may only ask. It must not
//! know sshd.

use std::sync::{Arc, Weak};
use std::time::Duration;

use testcontainers::core::error::{ClientError, TestcontainersError};
use testcontainers::core::{ExecCommand, ExecResult};
use testcontainers::{ContainerAsync, GenericImage};

use super::engine::{ANSWER, Engine, failed, is_gone};
use crate::ServerError;

/// Between two looks at something that only time can change.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

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

/// A container that is removed with this: by [`Container::remove`], or when dropped.
#[derive(Debug)]
pub(super) struct Container {
    running: Arc<ContainerAsync<GenericImage>>,
    inside: Inside,
    engine: Engine,
}

impl Container {
    pub(super) fn new(running: ContainerAsync<GenericImage>, engine: &Engine) -> Self {
        let id = running.id().to_owned();
        let running = Arc::new(running);
        let inside = Inside {
            container: Arc::downgrade(&running),
            id,
        };
        Container {
            running,
            inside,
            engine: engine.clone(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.inside.id
    }

    /// The way in.
    pub(super) fn inside(&self) -> &Inside {
        &self.inside
    }

    /// The host's port that a port of the container is published on.
    pub(super) async fn published(&self, port: u16) -> Result<u16, ServerError> {
        answered(
            "read the published port",
            self.running.get_host_port_ipv4(port),
        )
        .await
    }

    /// The pid of its process 1 on the engine's machine, while it runs.
    pub(super) async fn pid(&self) -> Result<Option<u32>, ServerError> {
        self.engine.running(self.id()).await
    }

    /// A file of the container, running or not.
    pub(super) async fn file(&self, path: &str) -> Result<Vec<u8>, ServerError> {
        answered(
            &format!("read {path} of the container"),
            self.running.copy_file_from(path, Vec::new()),
        )
        .await
    }

    /// Ends and removes it, and is content when somebody else has done that.
    pub(super) async fn remove(self) -> Result<(), ServerError> {
        let Container {
            running,
            inside,
            engine,
        } = self;
        let Some(running) = Arc::into_inner(running) else {
            // A command is under way in it, and holds it until it is answered.
            return engine.remove(&inside.id).await;
        };
        match tokio::time::timeout(ANSWER, running.rm()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(TestcontainersError::Client(ClientError::RemoveContainer(error))))
                if is_gone(&error) =>
            {
                Ok(())
            }
            Ok(Err(error)) => Err(failed("remove the container", error)),
            Err(_) => Err(failed(
                "remove the container",
                "the Docker engine does not answer",
            )),
        }
    }
}

/// A way to run commands in a container, which does not keep it. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Inside {
    container: Weak<ContainerAsync<GenericImage>>,
    id: String,
}

impl Inside {
    /// Starts a command as root; its output comes as it is printed.
    pub(super) async fn begin(&self, command: &[&str]) -> Result<ExecResult, ServerError> {
        let action = action(command);
        let container = self
            .container
            .upgrade()
            .ok_or_else(|| failed(&action, "the container was removed"))?;
        answered(&action, container.exec(ExecCommand::new(command.to_vec()))).await
    }

    /// Runs a command as root and collects what it prints.
    pub(super) async fn exec(&self, command: &[&str]) -> Result<Ran, ServerError> {
        let mut running = self.begin(command).await?;
        answered(&action(command), async {
            let stdout = running.stdout_to_vec().await?;
            let stderr = running.stderr_to_vec().await?;
            Ok(Ran {
                stdout,
                stderr,
                exit_code: exit_code(running).await?,
            })
        })
        .await
    }

    /// Runs a command that must succeed.
    pub(super) async fn exec_ok(&self, command: &[&str]) -> Result<Ran, ServerError> {
        let ran = self.exec(command).await?;
        if ran.exit_code == Some(0) {
            return Ok(ran);
        }
        Err(failed(
            action(command),
            format!(
                "it ended with {}: {}",
                ran.exit_code
                    .map_or_else(|| String::from("no exit code"), |code| code.to_string()),
                String::from_utf8_lossy(&ran.stderr).trim()
            ),
        ))
    }
}

/// How a command that has ended its output ended. testcontainers' own future holds a reference to what cannot be shared
/// between threads, so that no task could wait for it: it stays on one thread here.
async fn exit_code(ran: ExecResult) -> Result<Option<i64>, TestcontainersError> {
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || runtime.block_on(ran.exit_code()))
        .await
        .unwrap_or_else(|error| Err(TestcontainersError::other(error)))
}

fn action(command: &[&str]) -> String {
    format!("run `{}` in the container", command[0])
}

/// One call with the usual deadline.
async fn answered<T>(
    action: &str,
    call: impl Future<Output = Result<T, TestcontainersError>>,
) -> Result<T, ServerError> {
    match tokio::time::timeout(ANSWER, call).await {
        Ok(answer) => answer.map_err(|error| failed(action, error)),
        Err(_) => Err(failed(action, "the Docker engine does not answer")),
    }
}
