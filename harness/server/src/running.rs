//! One closed enum over all kinds of target, and the choice between them.
//!
//! Owns `auto` and the sentence that says what it took. What a kind can do is in its own module.

use std::time::Duration;

use super::docker::{DockerNetwork, DockerOptions, DockerServer, Recipe};
use super::embedded::EmbeddedServer;
use super::external::{ExternalOptions, ExternalServer};
use super::local::LocalServer;
use super::log_follower::LogWatch;
use super::witness::Witness;
use super::{
    Endpoint, Idle, JobDirectory, ServerError, ServerRequest, embedded, local, this_machine,
};
use sshchurn_core::manifest::ServerDescription;
use sshchurn_core::release::Release;
use sshchurn_core::scenario::SshdConfig;
use sshchurn_core::scenario::client::Pattern;

/// Which kind of target is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerChoice {
    /// Docker, else local, else embedded.
    Auto,
    /// A container.
    Docker,
    /// A process of this machine's OpenSSH.
    Local,
    /// The in-process stand-in.
    Embedded,
    /// A server that already runs.
    External,
    /// None: a model on virtual time, which is not started here.
    Simulated,
}

/// What only some kinds need.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The release asked for, for docker and local; the scenario's `min_release` is in the request.
    pub release: Option<Release>,
    /// For docker.
    pub docker: DockerOptions,
    /// For external, which cannot be started without.
    pub external: Option<ExternalOptions>,
}

impl ServerOptions {
    /// Nothing in particular, and images by this recipe where a container is wanted.
    #[must_use]
    pub fn new(recipe: Recipe) -> Self {
        ServerOptions {
            release: None,
            docker: DockerOptions {
                recipe,
                image: None,
                network: DockerNetwork::default(),
                shared_folder: true,
            },
            external: None,
        }
    }
}

/// A server under test that is ready. Stop it with [`RunningServer::stop`]; dropping it is the safety net.
#[derive(Debug)]
pub struct RunningServer {
    kind: Kind,
    /// The kind's own, with the choice filled in.
    description: ServerDescription,
}

#[derive(Debug)]
enum Kind {
    Docker(Box<DockerServer>),
    Local(Box<LocalServer>),
    Embedded(Box<EmbeddedServer>),
    External(Box<ExternalServer>),
}

/// Starts a target and waits until it is ready. `progress` is told what takes long, such as building an image.
/// Dropping the future removes what it has made so far.
///
/// # Errors
/// [`ServerError`] of the kind asked for. With [`ServerChoice::Auto`], that of the first kind that is there but whose
/// server refuses the configuration; a kind that is missing or does not come up is passed over, and
/// `description().choice` says so.
pub async fn start(
    choice: ServerChoice,
    request: &ServerRequest,
    options: &ServerOptions,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<RunningServer, ServerError> {
    let kind = match choice {
        ServerChoice::Auto => return automatic(request, options, progress).await,
        ServerChoice::Docker => docker(request, options, progress).await?,
        ServerChoice::Local => local(request, options).await?,
        ServerChoice::Embedded => embedded(request).await?,
        ServerChoice::External => {
            let Some(external) = &options.external else {
                return Err(ServerError::Consent(String::from(
                    "an external target needs an address, a user and a key",
                )));
            };
            let started = ExternalServer::start(request, external).await?;
            Kind::External(Box::new(started))
        }
        ServerChoice::Simulated => {
            return Err(ServerError::Unavailable {
                what: String::from("a simulated server is no server that could be started"),
                fix: String::from("use another target"),
            });
        }
    };
    Ok(RunningServer::new(kind, "as asked for"))
}

/// What a scenario needs of the server's machine and this one does not have, for the kinds whose machine this is: each an
/// [`ServerError::Unavailable`] with its remedy, or why it could not be looked for. The start would find the same, one at a
/// time.
#[must_use]
pub fn missing_here(choice: ServerChoice, sshd: &SshdConfig) -> Vec<ServerError> {
    let shell = sshd.login_shell.as_ref();
    let login_shell = match choice {
        ServerChoice::Local => local::check_login_shell(shell),
        ServerChoice::Embedded => embedded::login_shell(shell).map(|_| ()),
        // A container has its own, `auto` goes on to one that can be had, and somebody else's is not ours to look at.
        ServerChoice::Docker
        | ServerChoice::Auto
        | ServerChoice::External
        | ServerChoice::Simulated => return Vec::new(),
    };
    let packages = this_machine::packages(&sshd.packages);
    [packages.err(), login_shell.err()]
        .into_iter()
        .flatten()
        .collect()
}

/// Docker first: its OpenSSH is the same on every machine. The machine's own sshd next; the stand-in last.
async fn automatic(
    request: &ServerRequest,
    options: &ServerOptions,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<RunningServer, ServerError> {
    let no_docker = match docker(request, options, progress).await {
        Ok(kind) => return Ok(RunningServer::new(kind, "the first choice of auto")),
        Err(error) => reason("docker", error)?,
    };
    let no_local = match local(request, options).await {
        Ok(kind) => return Ok(RunningServer::new(kind, &no_docker)),
        Err(error) => reason("local", error)?,
    };
    let passed_over = format!("{no_docker}; {no_local}");
    match embedded(request).await {
        Ok(kind) => Ok(RunningServer::new(kind, &passed_over)),
        Err(error) => Err(ServerError::Unavailable {
            what: format!(
                "no target can be had: {passed_over}; {}",
                reason("embedded", error)?
            ),
            fix: String::from("`sshchurn doctor` says what this machine lacks"),
        }),
    }
}

/// Why a kind is passed over, in one line; the error itself when another kind would hide the user's mistake.
fn reason(kind: &str, error: ServerError) -> Result<String, ServerError> {
    match error {
        ServerError::Unavailable { .. }
        | ServerError::NotReady { .. }
        | ServerError::Died { .. }
        | ServerError::NotIdle { .. }
        | ServerError::Io { .. }
        | ServerError::Docker { .. } => {
            let mut text = error.to_string();
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                text = format!("{text}: {cause}");
                source = cause.source();
            }
            let line = text.lines().next().unwrap_or_default().to_owned();
            Ok(format!("not {kind}: {line}"))
        }
        ServerError::ConfigRefused { .. }
        | ServerError::NoLoginShell { .. }
        | ServerError::ConfigDiffers { .. }
        | ServerError::WrongHostKey { .. }
        | ServerError::LoginFailed { .. }
        | ServerError::LogCommandEnded { .. }
        | ServerError::Consent(_) => Err(error),
    }
}

async fn docker(
    request: &ServerRequest,
    options: &ServerOptions,
    progress: &(dyn Fn(&str) + Send + Sync),
) -> Result<Kind, ServerError> {
    let started = DockerServer::start(request, options.release, &options.docker, progress).await?;
    Ok(Kind::Docker(Box::new(started)))
}

async fn local(request: &ServerRequest, options: &ServerOptions) -> Result<Kind, ServerError> {
    let started = LocalServer::start(request, options.release).await?;
    Ok(Kind::Local(Box::new(started)))
}

async fn embedded(request: &ServerRequest) -> Result<Kind, ServerError> {
    let started = EmbeddedServer::start(request).await?;
    Ok(Kind::Embedded(Box::new(started)))
}

macro_rules! each {
    ($target:expr, $inner:ident => $call:expr) => {
        match $target {
            Kind::Docker($inner) => $call,
            Kind::Local($inner) => $call,
            Kind::Embedded($inner) => $call,
            Kind::External($inner) => $call,
        }
    };
}

impl RunningServer {
    fn new(kind: Kind, why: &str) -> Self {
        let mut description = each!(&kind, target => target.description()).clone();
        // One that was started here has not introduced itself to anybody yet.
        let introduced = description.identification.strip_prefix("SSH-2.0-");
        let server = introduced.map_or_else(|| description.release_and_image(), str::to_owned);
        let instead = description.substitution.as_ref().map(|substitution| {
            format!("in place of the {} that was asked for", substitution.asked)
        });
        let why = instead.as_deref().unwrap_or(why);
        description.choice = format!(
            "{} ({server} at {}), {why}",
            description.kind.as_str(),
            description.address
        );
        RunningServer { kind, description }
    }

    /// Where and how to log in.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        each!(&self.kind, target => target.endpoint())
    }

    /// The server as it introduced itself and as it was configured.
    #[must_use]
    pub fn description(&self) -> &ServerDescription {
        &self.description
    }

    /// Waits until the server serves no connection.
    ///
    /// # Errors
    /// [`ServerError::NotIdle`] past the deadline, [`ServerError::Died`] when the server died.
    pub async fn wait_idle(&self, within: Duration) -> Result<Idle, ServerError> {
        each!(&self.kind, target => target.wait_idle(within).await)
    }

    /// Makes the server forget who has connected to it so far, where it remembers that at all; whether it had to. sshd keeps
    /// what an address has earned (`PerSourcePenalties`) and how many places it takes (`PerSourceMaxStartups`, whose places
    /// 9.8 to 10.0 do not give back after a login), and a client that was no part of a run must not be in either.
    ///
    /// # Errors
    /// [`ServerError`] when the server did not come back.
    pub async fn forget_sources(&self) -> Result<bool, ServerError> {
        if !remembers_sources(&self.description.effective_config) {
            return Ok(false);
        }
        match &self.kind {
            Kind::Docker(target) => target.forget_sources().await?,
            Kind::Local(target) => target.forget_sources().await?,
            // The stand-in has no such tables, and somebody else's server is not ours to restart.
            Kind::Embedded(_) | Kind::External(_) => return Ok(false),
        }
        Ok(true)
    }

    /// The job directories there are now, sorted by name, listed on the target's own file system; `None` where that
    /// cannot be done.
    ///
    /// # Errors
    /// [`ServerError`] when the listing fails.
    pub async fn job_directories(&self) -> Result<Option<Vec<JobDirectory>>, ServerError> {
        each!(&self.kind, target => target.job_directories().await)
    }

    /// The names of files that fit a pattern, listed on the target's own file system; `None` where that cannot be done.
    ///
    /// # Errors
    /// [`ServerError`] when the listing fails.
    pub async fn files_like(&self, pattern: &Pattern) -> Result<Option<Vec<String>>, ServerError> {
        match &self.kind {
            Kind::Docker(target) => target.files_like(pattern).await,
            Kind::Local(target) => target.files_like(pattern).await,
            Kind::Embedded(target) => target.files_like(pattern).await,
            Kind::External(_) => Ok(None),
        }
    }

    /// Ends job processes that are left and removes the job directories.
    ///
    /// # Errors
    /// [`ServerError`] when something could not be removed.
    pub async fn clear_jobs(&self) -> Result<(), ServerError> {
        each!(&self.kind, target => target.clear_jobs().await)
    }

    /// Hands every line of the server's log on to `sink`, from the log's beginning, in order, each some 10 ms after it was
    /// written at most, from a thread of its own. `None` where there is no log.
    #[must_use]
    pub fn follow_log(&self, sink: impl FnMut(&str) + Send + 'static) -> Option<LogWatch> {
        match &self.kind {
            Kind::Docker(target) => target.follow_log(sink),
            Kind::Local(target) => target.follow_log(sink),
            Kind::Embedded(target) => target.follow_log(sink),
            Kind::External(target) => target.follow_log(sink),
        }
    }

    /// The host keys that the server has shown so far, as fingerprints with their types, of a server that is not ours.
    #[must_use]
    pub fn host_keys_shown(&self) -> Vec<String> {
        self.endpoint().host_key.shown()
    }

    /// The last line in the log of somebody else's server about a refusal of this machine.
    #[must_use]
    pub fn last_drop(&self) -> Option<String> {
        match &self.kind {
            Kind::External(target) => target.last_drop(),
            Kind::Docker(_) | Kind::Local(_) | Kind::Embedded(_) => None,
        }
    }

    /// The last lines of the server's log, for an error; none where there is no log.
    pub async fn log_tail(&self) -> Vec<String> {
        each!(&self.kind, target => target.log_tail().await)
    }

    /// Resolves when the server under test has died, with its last log lines; pending otherwise.
    pub async fn died(&self) -> ServerError {
        each!(&self.kind, target => target.died().await)
    }

    /// Where the server's side can be read.
    #[must_use]
    pub fn witness(&self) -> Witness {
        each!(&self.kind, target => target.witness())
    }

    /// Process id of the listener on this host, where it can be seen.
    #[must_use]
    pub fn listener_pid(&self) -> Option<u32> {
        each!(&self.kind, target => target.listener_pid())
    }

    /// Ends the server and removes everything that was made for it.
    ///
    /// # Errors
    /// [`ServerError`] when something is left; the rest is removed all the same.
    pub async fn stop(self) -> Result<(), ServerError> {
        each!(self.kind, target => target.stop().await)
    }
}

/// Whether an sshd with this configuration (`sshd -T`, keywords in lower case) keeps anything by source.
fn remembers_sources(effective: &[(String, String)]) -> bool {
    effective
        .iter()
        .any(|(keyword, value)| match keyword.as_str() {
            "persourcemaxstartups" => value != "none",
            "persourcepenalties" => value != "no",
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_limits_by_source_are_worth_a_restart() {
        let remembers = |settings: &[(&str, &str)]| {
            let owned =
                |(keyword, value): &(&str, &str)| ((*keyword).to_owned(), (*value).to_owned());
            remembers_sources(&settings.iter().map(owned).collect::<Vec<_>>())
        };
        let off = [
            ("persourcemaxstartups", "none"),
            ("persourcepenalties", "no"),
        ];
        assert!(!remembers(&off));
        assert!(!remembers(&[("persourcenetblocksize", "32:128")]));
        assert!(remembers(&[
            off[0],
            ("persourcepenalties", "crash:90 authfail:5")
        ]));
        assert!(remembers(&[("persourcemaxstartups", "16"), off[1]]));
    }

    #[test]
    fn kind_that_is_missing_is_passed_over_with_its_reason_and_a_refused_configuration_is_not() {
        let missing = ServerError::Unavailable {
            what: String::from("no engine answers"),
            fix: String::from("start one"),
        };
        assert_eq!(
            reason("docker", missing).expect("passed over"),
            "not docker: no engine answers; start one"
        );
        let refused = ServerError::ConfigRefused {
            detail: String::from("line 3"),
        };
        assert!(reason("docker", refused).is_err());
    }
}
