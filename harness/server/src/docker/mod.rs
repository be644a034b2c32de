//! The `docker` target: OpenSSH in a container, through testcontainers.
//!
//! Owns the container, its labels and its files. Connections go to 127.0.0.1 only: the host's network namespace, or a
//! port published there. A container of a run that was killed is found by its label and removed by the next run.

mod asked;
mod container;
mod engine;
pub mod image;
mod inside;
mod look_inside;
mod outbox;
mod spool;
mod start;
mod suite;
mod survey;
mod tar;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testcontainers::bollard::models::ContainerSummaryStateEnum;

pub(crate) use self::asked::AskedContainer;
use self::container::{Container, LOOK_AGAIN};
use self::engine::Engine;
pub use self::image::Recipe;
use self::image::{Ready, Wanted};
use self::inside::{CHILDREN, CLEAR};
pub use self::look_inside::InsideContainer;
use self::outbox::Outbox;
pub(crate) use self::spool::LogSpool;
pub use self::suite::Suite;
use super::log_follower::LogWatch;
use super::owner::{Liveness, Owner};
use super::readiness;
use super::ward;
use super::witness::{self, Witness};
use super::{Endpoint, Idle, JobDirectory, ServerError, ServerRequest, io_error};
use sshchurn_core::manifest::{PackageRecord, ServerDescription, Substitution};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::client::Pattern;

/// Label: process that owns the container.
const OWNER_LABEL: &str = "sshchurn.owner";
/// Label: the run.
const RUN_LABEL: &str = "sshchurn.run";
/// Base directory of the jobs, the provider's own.
const JOBS: &str = "/tmp/airflow-ssh-jobs";
const PORT_TRIES: u32 = 5;

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
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// How its image is made.
    pub recipe: Recipe,
    /// An image of the user's own, in place of one that is made: its name, digest or id.
    pub image: Option<String>,
    /// How the container is reached.
    pub network: DockerNetwork,
    /// Whether the container may be given a folder of this machine to write into. Without it, and where that turns out not
    /// to work, its log is copied out by a command in it.
    pub shared_folder: bool,
}

/// Where things are in an image.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Layout {
    /// Absolute path of sshd.
    sshd: String,
    account: Account,
    /// Whether it has `bash`, by which the gauge is read from inside.
    bash: bool,
}

impl Default for Layout {
    /// That of the images that are made here.
    fn default() -> Self {
        Layout {
            sshd: String::from("/usr/sbin/sshd"),
            account: Account::default(),
            bash: true,
        }
    }
}

/// Who the jobs log in as. Never root: between rounds every process of theirs is ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

impl Default for Account {
    /// That of the images that are made here.
    fn default() -> Self {
        Account {
            name: String::from("runner"),
            uid: 1000,
            gid: 1000,
        }
    }
}

/// An image that is there, and the server in it.
#[derive(Debug)]
struct Server {
    /// By which it was asked for.
    name: String,
    /// Content hash.
    id: String,
    /// The release that is in it.
    release: Release,
    /// … in full: `OpenSSH_9.2p1`.
    release_text: String,
    /// The packages that the scenario asks for, as they are in it; `None` where it asks for none.
    packages: Option<Vec<PackageRecord>>,
    layout: Layout,
    /// What was asked for, where it is another release.
    substitution: Option<Substitution>,
}

impl Server {
    /// The image given, or the one that is made for a release.
    async fn of(
        engine: &Engine,
        request: &ServerRequest,
        release: Option<Release>,
        options: &DockerOptions,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Self, ServerError> {
        if let Some(reference) = &options.image {
            return survey::server(engine, reference, request, release).await;
        }
        let (suite, substitution) = Suite::serving(release, request.sshd.min_release)?;
        if let Some(substitution) = &substitution {
            substitution.lines().iter().for_each(|line| progress(line));
        }
        let wanted = Wanted {
            recipe: &options.recipe,
            suite,
            packages: &request.sshd.packages,
        };
        let Ready {
            image,
            release,
            release_text,
            packages,
        } = image::ensure(engine, wanted, progress).await?;
        Ok(Server {
            name: image.name,
            id: image.id,
            release,
            release_text,
            packages,
            layout: Layout::default(),
            substitution,
        })
    }
}

/// A running container.
#[derive(Debug)]
pub struct DockerServer {
    endpoint: Endpoint,
    description: ServerDescription,
    /// Who the jobs are.
    account: Account,
    /// Pid of the listener inside the container.
    inner_listener: u32,
    /// Pid of the listener on this host, where `/proc` shows it.
    listener: Option<u32>,
    /// What it listens on in its own network namespace.
    listens_on: SocketAddr,
    container: Container,
    outbox: Outbox,
}

/// Says which engine answers and whether the image is there.
///
/// # Errors
/// [`ServerError::Unavailable`] with the fix.
pub async fn probe(recipe: &Recipe) -> Result<String, ServerError> {
    Engine::connect().await?;
    let images = image::list().await?;
    Ok(
        match images
            .iter()
            .find(|image| image.is_current(recipe, Suite::DEFAULT))
        {
            Some(image) => format!("answers; image {} is there", image.name),
            None => "answers; the image will be built by the first run (some 30 s)".to_owned(),
        },
    )
}

impl DockerServer {
    /// Starts a container and waits until its sshd's log says that it listens. Without a `release` it is the default
    /// one, or the oldest that the scenario allows; for a `release` of which there is no image it is the nearest one, which the
    /// description says. An image that is given is taken as it is.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] without an engine or an image, [`ServerError::NoLoginShell`] for a shell that the image does
    /// not have, [`ServerError::ConfigRefused`] and [`ServerError::ConfigDiffers`] from sshd's own check, [`ServerError::NotReady`] past the deadline.
    pub async fn start(
        request: &ServerRequest,
        release: Option<Release>,
        options: &DockerOptions,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<Self, ServerError> {
        let engine = Engine::connect().await?;
        if let (DockerNetwork::Host, Some(why)) = (options.network, engine.no_host_network) {
            return Err(ServerError::Unavailable {
                what: format!("a container's host network is not this machine's: {why}"),
                fix: String::from("use `--network published`, or `--target local`"),
            });
        }
        if options.network == DockerNetwork::Published
            && !request.sshd.monitoring_keywords.is_empty()
        {
            return Err(ServerError::ConfigRefused {
                detail: String::from(
                    "through a published port every connection comes from the bridge, so `sshd.monitoring_options` would \
                     never apply; use `--network host`",
                ),
            });
        }
        let mut warnings = remove_stale(&engine).await?;
        // Their folders next: what still ran has stopped writing to them.
        let folders = tokio::task::spawn_blocking(|| ward::remove_stale(&std::env::temp_dir()));
        warnings.extend(folders.await.unwrap_or_default());
        let server = Server::of(&engine, request, release, options, progress).await?;
        for _ in 0..PORT_TRIES {
            if let Some(target) =
                Self::start_once(request, options, &engine, &server, &warnings).await?
            {
                return Ok(target);
            }
        }
        Err(ServerError::NotReady {
            what: server.name,
            within: request.ready_within,
            log: vec![format!("{PORT_TRIES} ports were taken by somebody else")],
        })
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

    /// Id of the container.
    #[must_use]
    pub fn container_id(&self) -> &str {
        self.container.id()
    }

    /// Waits until the listener has no child process: it serves no connection.
    ///
    /// # Errors
    /// [`ServerError::NotIdle`] past the deadline, [`ServerError::Died`] when the container stopped.
    pub async fn wait_idle(&self, within: Duration) -> Result<Idle, ServerError> {
        let deadline = Instant::now() + within;
        loop {
            if self.container.pid().await?.is_none() {
                return Err(self.death().await);
            }
            let children = self.children().await?;
            if children.is_empty() {
                return Ok(Idle::Proven);
            }
            if Instant::now() >= deadline {
                return Err(ServerError::NotIdle {
                    within,
                    detail: format!("sshd processes {children}"),
                });
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Pids of the listener's children, as text.
    async fn children(&self) -> Result<String, ServerError> {
        let parent = self.inner_listener.to_string();
        let command = ["/bin/sh", "-c", CHILDREN, "children", &parent];
        let ran = self.container.inside().exec_ok(&command).await?;
        Ok(ran.text().split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Makes sshd forget which addresses have connected to it: on SIGHUP it starts over, under the same process id, and its
    /// tables by source begin empty.
    ///
    /// # Errors
    /// [`ServerError::NotIdle`] when it still serves somebody, [`ServerError::Died`] and [`ServerError::NotReady`] when it
    /// did not come back, [`ServerError::Docker`] when it could not be told.
    pub async fn forget_sources(&self) -> Result<(), ServerError> {
        // What it still serves would stay its child, and be none that it knows of.
        self.wait_idle(readiness::RESTART_WITHIN).await?;
        let listener = self.inner_listener.to_string();
        let command = ["/bin/sh", "-c", "kill -HUP \"$1\"", "restart", &listener];
        let tell = async { self.container.inside().exec_ok(&command).await.map(drop) };
        let (port, log) = (self.listens_on.port(), self.outbox.log_path());
        let ended = stopped(&self.container);
        readiness::restarted(port, &log, tell, ended, self.log_tail()).await?;
        if let Some(listener) = self.listener {
            witness::title_shown(listener).await;
        }
        Ok(())
    }

    /// The job directories there are now, sorted by name; listed by the engine, never through the sshd under test.
    ///
    /// # Errors
    /// [`ServerError::Docker`] when the listing fails.
    pub async fn job_directories(&self) -> Result<Option<Vec<JobDirectory>>, ServerError> {
        let listed = self
            .container
            .inside()
            .exec_ok(&["ls", "-A1", JOBS])
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

    /// The files there are now that fit a pattern.
    ///
    /// # Errors
    /// [`ServerError::Docker`] when they cannot be listed.
    pub async fn files_like(&self, pattern: &Pattern) -> Result<Option<Vec<String>>, ServerError> {
        // A folder that is not there holds nothing.
        const LIST: &str = "[ ! -d \"$1\" ] || ls -A1 -- \"$1\"";
        let listed = self
            .container
            .inside()
            .exec_ok(&["/bin/sh", "-c", LIST, "list", &pattern.folder])
            .await?
            .text();
        let fitting = listed.lines().filter(|name| pattern.fits(name));
        Ok(Some(fitting.map(str::to_owned).collect()))
    }

    /// Ends job processes that are left and removes the job directories.
    ///
    /// # Errors
    /// [`ServerError::Docker`] when something could not be removed.
    pub async fn clear_jobs(&self) -> Result<(), ServerError> {
        let (uid, gid) = (self.account.uid.to_string(), self.account.gid.to_string());
        self.container
            .inside()
            .exec_ok(&["/bin/sh", "-c", CLEAR, "clear", &uid, &gid])
            .await?;
        Ok(())
    }

    /// Hands on every line of sshd's log, from its beginning.
    #[must_use]
    pub fn follow_log(&self, sink: impl FnMut(&str) + Send + 'static) -> Option<LogWatch> {
        let watch = LogWatch::start(self.outbox.log_path(), sink)?;
        Some(match self.outbox.spool() {
            Some(spool) => watch.fed_by(spool),
            None => watch,
        })
    }

    /// The last lines of sshd's log, for an error; also after the container has stopped.
    pub async fn log_tail(&self) -> Vec<String> {
        self.outbox.last_lines().await
    }

    /// Resolves when the container has stopped, with sshd's last log lines; pending otherwise.
    pub async fn died(&self) -> ServerError {
        stopped(&self.container).await;
        self.death().await
    }

    async fn death(&self) -> ServerError {
        ServerError::Died {
            log: self.log_tail().await,
        }
    }

    /// Where the server's side can be read: on this host where `/proc` shows the listener, else inside the container.
    #[must_use]
    pub fn witness(&self) -> Witness {
        match self.listener {
            Some(listener) => Witness::container_on_host(listener, self.listens_on),
            None => self.witness_inside(),
        }
    }

    /// The same, from inside the container, as it is on machines that do not see its processes.
    #[must_use]
    pub fn witness_inside(&self) -> Witness {
        Witness::inside_container(InsideContainer::new(
            self.container.inside().clone(),
            self.inner_listener,
        ))
    }

    /// Process id of the listener on this host, where `/proc` shows it.
    #[must_use]
    pub fn listener_pid(&self) -> Option<u32> {
        self.listener
    }

    /// Ends and removes the container, and its folder.
    ///
    /// # Errors
    /// [`ServerError::Docker`] when it could not be removed, [`ServerError::Io`] when the folder could not.
    pub async fn stop(self) -> Result<(), ServerError> {
        let removed = self.container.remove().await;
        let outbox = self.outbox;
        let emptied = tokio::task::spawn_blocking(move || outbox.remove())
            .await
            .map_err(|error| io_error("remove the container's private folder")(error.into()))
            .and_then(|emptied| emptied);
        removed.and(emptied)
    }
}

/// Resolves when a container does not run any more. An engine that does not answer says nothing about the container.
async fn stopped(container: &Container) {
    loop {
        if let Ok(None) = container.pid().await {
            return;
        }
        tokio::time::sleep(LOOK_AGAIN * 5).await;
    }
}

/// What is to be done with a container of this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leftover {
    Keep,
    Remove,
    Tell,
}

/// An owner of another boot may live: on another machine that shares the engine. Only a container that has ended by
/// itself is nobody's then; one that was created and not yet started may be about to be.
fn judge(liveness: Liveness, state: Option<ContainerSummaryStateEnum>) -> Leftover {
    let ended = matches!(
        state,
        Some(ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD)
    );
    match liveness {
        Liveness::Alive | Liveness::Unseen => Leftover::Keep,
        Liveness::Dead => Leftover::Remove,
        Liveness::OtherBoot if ended => Leftover::Remove,
        Liveness::OtherBoot => Leftover::Tell,
    }
}

/// Removes containers whose owner is certainly gone.
async fn remove_stale(engine: &Engine) -> Result<Vec<String>, ServerError> {
    let mut warnings = Vec::new();
    for container in engine.labelled(OWNER_LABEL).await? {
        let owner = container
            .labels
            .as_ref()
            .and_then(|labels| labels.get(OWNER_LABEL))
            .and_then(|label| label.parse::<Owner>().ok());
        let (Some(owner), Some(id)) = (owner, &container.id) else {
            continue;
        };
        let name = &id[..12.min(id.len())];
        match judge(owner.liveness(), container.state) {
            Leftover::Keep => {}
            Leftover::Remove => {
                engine.remove(id).await?;
                warnings.push(format!(
                    "removed container {name}, left by a run that was killed"
                ));
            }
            Leftover::Tell => warnings.push(format!(
                "container {name} belongs to a run under another boot, of this machine or of one that shares the Docker \
                 engine: it stays; if no run of another machine uses it, remove it with `docker rm -f {name}`"
            )),
        }
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn container_of_another_boot_is_removed_only_when_it_has_ended() {
        use ContainerSummaryStateEnum::{CREATED, DEAD, EXITED, PAUSED, RESTARTING, RUNNING};
        for state in [CREATED, PAUSED, RESTARTING, RUNNING] {
            assert_eq!(judge(Liveness::OtherBoot, Some(state)), Leftover::Tell);
            assert_eq!(judge(Liveness::Dead, Some(state)), Leftover::Remove);
            assert_eq!(judge(Liveness::Alive, Some(state)), Leftover::Keep);
            assert_eq!(judge(Liveness::Unseen, Some(state)), Leftover::Keep);
        }
        for state in [EXITED, DEAD] {
            assert_eq!(judge(Liveness::OtherBoot, Some(state)), Leftover::Remove);
            assert_eq!(judge(Liveness::Unseen, Some(state)), Leftover::Keep);
        }
        assert_eq!(judge(Liveness::OtherBoot, None), Leftover::Tell);
    }
}
