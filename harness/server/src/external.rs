//! The `external` target: a server that was already running, named by the user.
//!
//! Owns the consent that a load test of somebody's server needs, and what can be known of that server. It starts, stops and
//! looks at nothing: no inventory, no configuration, and no log but the one that the user has for it (`external_log`).

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::external_log::{ExternalLog, LogSource, Unmarked, not_named};
use super::log_follower::LogWatch;
use super::readable::readable;
use super::witness::Witness;
use super::{
    Endpoint, Idle, JobDirectory, ServerError, ServerRequest, io_error, key_error, too_old,
};
use crate::cores::Cores;
use sshchurn_core::manifest::{NetworkPath, ServerDescription, ServerKind};
use sshchurn_core::release::{Release, release_word};
use sshchurn_core::scenario::{LoginShell, PackageName, Packages};
use sshchurn_core::vocabulary::AttemptOutcome;
use sshchurn_engine::Refusals;
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::ssh::keys::{HostKeyCheck, KeyPair};
use sshchurn_engine::ssh::{ConnectLimits, Connector as _, Session as _, Tap};
use tokio::time::Instant;

/// Between two attempts at a server that did not answer, or refused.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(50);
/// The most that the pause grows to: a server that is full or bans us is not to be loaded by our asking.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// Longest wait for one answer: what accepts without answering (a proxy before its server is up) is asked again.
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// Which server, and as whom.
#[derive(Debug, Clone)]
pub struct ExternalOptions {
    /// Address of the server.
    pub address: SocketAddr,
    /// User to log in as; its commands run there.
    pub user: String,
    /// Private key file without passphrase, readable by its owner only.
    pub key: PathBuf,
    /// The host's address once more, to say that it may be loaded. Always needed.
    pub consent: Option<String>,
    /// Which host key to accept.
    pub host_key: HostKeyCheck,
    /// Where the server's log can be read; `None` leaves the run without its witness.
    pub log: Option<LogSource>,
}

/// A server somebody else runs.
#[derive(Debug)]
pub struct ExternalServer {
    endpoint: Endpoint,
    description: ServerDescription,
    log: Option<ExternalLog>,
}

impl ExternalServer {
    /// Checks the consent, reads the key, and logs in until the server has introduced itself.
    ///
    /// # Errors
    /// [`ServerError::Consent`] for a host that was not named; nothing is sent to it then.
    /// [`ServerError::Io`] when the key cannot be read or others can read it, [`ServerError::NotReady`] past `request.ready_within`,
    /// [`ServerError::Unavailable`] for an older server than the scenario needs, and where it asks for a login shell.
    pub async fn start(
        request: &ServerRequest,
        options: &ExternalOptions,
    ) -> Result<Self, ServerError> {
        check_consent(options.address, options.consent.as_deref())?;
        check_login_shell(request.sshd.login_shell.as_ref())?;
        Cores::refused(request.cores.as_ref(), "it is somebody else's")?;
        check_mode(&options.key)?;
        let key = KeyPair::read(&options.key).map_err(key_error)?;
        let endpoint = Endpoint {
            address: options.address,
            user: options.user.clone(),
            key: Arc::new(key),
            host_key: options.host_key.clone(),
        };
        let log = match &options.log {
            Some(source) => Some(ExternalLog::start(source, &endpoint)?),
            None => None,
        };
        let identification = match introduced(&endpoint, request.ready_within).await {
            Ok(introduced) => introduced,
            Err(met) => return Err(not_ready(options, request.ready_within, met, log).await),
        };
        check_host_key(options)?;
        check_release(options, &identification.line, request.sshd.min_release)?;
        let mut description = describe(request, options, identification.line);
        description
            .warnings
            .extend(accepted_unseen(&endpoint.host_key));
        if identification.refused.count > 0 {
            description.warnings.push(format!(
                "the server refused {} before it introduced itself: it was busy",
                identification.refused.sentence()
            ));
        }
        let log = match log {
            Some(log) => witness(log, &endpoint, &mut description).await?,
            None => None,
        };
        Ok(ExternalServer {
            endpoint,
            description,
            log,
        })
    }

    /// Hands the lines of the server's log on, from now on; `None` where there is no log, or it does not speak of us.
    pub fn follow_log(&self, sink: impl FnMut(&str) + Send + 'static) -> Option<LogWatch> {
        self.log.as_ref()?.follow(sink)
    }

    /// The last line in the server's log about a refusal of this machine.
    #[must_use]
    pub fn last_drop(&self) -> Option<String> {
        self.log.as_ref()?.last_drop()
    }

    /// Where and how to log in.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What the server said of itself; its configuration is unknown.
    #[must_use]
    pub fn description(&self) -> &ServerDescription {
        &self.description
    }

    /// Says at once that idleness cannot be seen from here.
    ///
    /// # Errors
    /// None here; other targets have some.
    pub async fn wait_idle(&self, _within: Duration) -> Result<Idle, ServerError> {
        Ok(Idle::Unknown)
    }

    /// There is no listing but through the sshd under test, and that would disturb it: `None`.
    ///
    /// # Errors
    /// None here; other targets have some.
    pub async fn job_directories(&self) -> Result<Option<Vec<JobDirectory>>, ServerError> {
        Ok(None)
    }

    /// Does nothing: what the jobs leave is the user's to remove; every run has a folder of its own.
    ///
    /// # Errors
    /// None here; other targets have some.
    pub async fn clear_jobs(&self) -> Result<(), ServerError> {
        Ok(())
    }

    /// What the log said before the run is not ours to show: no lines.
    pub async fn log_tail(&self) -> Vec<String> {
        Vec::new()
    }

    /// Never resolves: whether the server lives cannot be told from a refusal.
    pub async fn died(&self) -> ServerError {
        std::future::pending().await
    }

    /// The server's machine is not ours to look at.
    #[must_use]
    pub fn witness(&self) -> Witness {
        Witness::nothing()
    }

    /// The server's process is not ours to look at.
    #[must_use]
    pub fn listener_pid(&self) -> Option<u32> {
        None
    }

    /// Leaves the server as it is, and ends the command that prints its log.
    ///
    /// # Errors
    /// [`ServerError::Io`] when something of that command does not end.
    pub async fn stop(self) -> Result<(), ServerError> {
        let Some(log) = self.log else {
            return Ok(());
        };
        end(log).await
    }
}

/// A server that a client asks for its limits.
#[derive(Debug)]
pub struct Introduction {
    /// How to reach it, and to log in.
    pub endpoint: Endpoint,
    /// Its identification line; `None` where nobody has asked, or it refused to the end.
    pub identification: Option<String>,
    /// Logins that it refused until then.
    pub refused: Refusals,
    /// What whoever asked must know, each a full sentence.
    pub warnings: Vec<String>,
}

/// Checks the consent, reads the key and logs in once, so that no client is held whose login fails in the end: that would earn
/// its address a ban.
///
/// # Errors
/// [`ServerError::Consent`] for a host that was not named; nothing is sent to it then. [`ServerError::Io`] when the key cannot be
/// read or others can read it, [`ServerError::WrongHostKey`], [`ServerError::NotReady`] for a server that does not answer, and
/// [`ServerError::LoginFailed`] for one that does not let this user in.
pub async fn introduce(
    options: &ExternalOptions,
    within: Duration,
) -> Result<Introduction, ServerError> {
    check_consent(options.address, options.consent.as_deref())?;
    check_mode(&options.key)?;
    let key = KeyPair::read(&options.key).map_err(key_error)?;
    let endpoint = Endpoint {
        address: options.address,
        user: options.user.clone(),
        key: Arc::new(key),
        host_key: options.host_key.clone(),
    };
    match introduced(&endpoint, within).await {
        Ok(introduced) => {
            check_host_key(options)?;
            if let Some(outcome) = introduced.failed {
                return Err(ServerError::LoginFailed {
                    user: options.user.clone(),
                    address: options.address,
                    outcome: outcome.metric(),
                });
            }
            Ok(Introduction {
                warnings: unseen_key(&endpoint.host_key)
                    .map(|(key, fingerprint)| {
                        format!(
                            "The server's host key {key} was accepted as it came; with `--host-key '{fingerprint}'` another server is \
                             not probed."
                        )
                    })
                    .into_iter()
                    .collect(),
                endpoint,
                identification: Some(introduced.line),
                refused: introduced.refused,
            })
        }
        // What refuses is to be seen; only silence is no answer.
        Err(met) if met.refused.count > 0 && met.refused.count == met.refused.tried => {
            Ok(Introduction {
                endpoint,
                identification: None,
                refused: met.refused,
                warnings: Vec::new(),
            })
        }
        Err(met) => Err(not_ready(options, within, met, None).await),
    }
}

/// The way in for a client that never logs in: only the consent is checked, and nothing is sent.
///
/// # Errors
/// [`ServerError::Consent`] for a host that was not named, [`ServerError::Io`] without randomness.
pub fn without_login(
    address: SocketAddr,
    consent: Option<&str>,
) -> Result<Introduction, ServerError> {
    check_consent(address, consent)?;
    Ok(Introduction {
        endpoint: Endpoint {
            address,
            user: String::new(),
            key: Arc::new(KeyPair::generate().map_err(key_error)?),
            host_key: HostKeyCheck::any(),
        },
        identification: None,
        refused: Refusals::default(),
        warnings: Vec::new(),
    })
}

async fn end(log: ExternalLog) -> Result<(), ServerError> {
    tokio::task::spawn_blocking(|| log.stop())
        .await
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(io_error("end the log command"))
}

/// Whether the log is this server's, and what it shows: the log where it is a witness, and what it is not one of.
async fn witness(
    log: ExternalLog,
    endpoint: &Endpoint,
    description: &mut ServerDescription,
) -> Result<Option<ExternalLog>, ServerError> {
    match log.proof(endpoint).await {
        Ok(said) => {
            description.log_available = true;
            let release = Release::find(&description.identification);
            let (every, warning) = drops_shown(release, said.admitted);
            description.log_has_every_drop = every;
            description.warnings.extend(warning);
            if every && release.is_some_and(|release| release >= PER_SOURCE) {
                description.warnings.push(String::from(
                    "sshd words a drop by PerSourceMaxStartups like one by MaxStartups, and this server's configuration is not \
                     known: `refused_by_max_startups` counts both; `sshd -T` there says whether the first is set",
                ));
            }
            Ok(Some(log))
        }
        Err(Unmarked::Ended(how)) => Err(ServerError::LogCommandEnded {
            command: log.told(),
            how,
            complaints: log.complaints(),
        }),
        Err(Unmarked::NotNamed) => {
            let text = not_named(&log.told(), log.lines(), endpoint.address);
            description.warnings.push(text);
            end(log).await?;
            Ok(None)
        }
        Err(Unmarked::LetsNobodyIn) => {
            description.warnings.push(format!(
                "whether the log ({}) is this server's could not be seen: every login was refused, and no line named one; only \
                 the client's side is measured",
                log.told()
            ));
            end(log).await?;
            Ok(None)
        }
    }
}

/// Whether every refusal is in the log, by the release and whether its level shows connections (VERBOSE); and what is not.
fn drops_shown(release: Option<Release>, verbose: bool) -> (bool, Option<String>) {
    let unseen = |why: &str| {
        let text = format!(
            "the server's log does not show every refusal: {why}; what needs them all (who refused, drops, the books of refusals) \
             cannot be said or checked"
        );
        (false, Some(text))
    };
    match (release, verbose) {
        (Some(release), _) if release >= RATE_LIMITED => unseen(
            "OpenSSH 10.0 and later limits the rate of such lines at every level (`Maxstartups logging rate-limited`); \
             `LogVerbose sshd.c:drop_connection():*` forces them out",
        ),
        (Some(release), true) if release >= EVERY_DROP_AT_VERBOSE => (true, None),
        (Some(release), false) if release >= EPISODES => unseen(
            "at LogLevel INFO, OpenSSH 8.4 to 9.9 logs the first of an episode and later its total; LogLevel VERBOSE shows all",
        ),
        (Some(release), false) if release >= EVERY_DROP_AT_VERBOSE => {
            unseen("OpenSSH before 8.4 logs them at LogLevel VERBOSE only")
        }
        (Some(_), _) => unseen("OpenSSH before 7.4 logs them at LogLevel DEBUG only"),
        (None, _) => unseen("the server does not say which release of OpenSSH it is"),
    }
}

/// From this release on a limiter of the rate holds drop lines back (log.c:log_ratelimit).
const RATE_LIMITED: Release = Release::new(10, 0);
/// From this release on one drop of an episode is logged at INFO, and all of them at VERBOSE (sshd.c:drop_connection).
const EPISODES: Release = Release::new(8, 4);
/// From this release on there is a limit per source (`PerSourceMaxStartups`).
const PER_SOURCE: Release = Release::new(8, 5);
/// From this release on every drop is logged at VERBOSE.
const EVERY_DROP_AT_VERBOSE: Release = Release::new(7, 4);

/// Before any load: the connection that learnt it sent nothing but its half of the key exchange.
fn check_host_key(options: &ExternalOptions) -> Result<(), ServerError> {
    let refused = options.host_key.refused();
    if refused.is_empty() {
        return Ok(());
    }
    Err(ServerError::WrongHostKey {
        address: options.address,
        shown: refused.join(", "),
        wanted: options.host_key.wanted().join(" or "),
    })
}

/// The key that was believed unseen, for a person, and its fingerprint.
fn unseen_key(host_key: &HostKeyCheck) -> Option<(String, String)> {
    let shown = host_key.shown();
    let key = shown.first().filter(|_| host_key.accepts_any())?;
    let fingerprint = key.split_whitespace().next().unwrap_or_default();
    Some((key.clone(), fingerprint.to_owned()))
}

/// Says which key was believed unseen, and how to name it.
fn accepted_unseen(host_key: &HostKeyCheck) -> Option<String> {
    let (key, fingerprint) = unseen_key(host_key)?;
    Some(format!(
        "the server's host key {key} was accepted as it came; name it with `--host-key '{fingerprint}'`, so that a run against \
         another server stops before any load"
    ))
}

/// Why a server did not introduce itself, as far as it can be told from here, and from its log where there is one.
async fn not_ready(
    options: &ExternalOptions,
    within: Duration,
    met: Met,
    log: Option<ExternalLog>,
) -> ServerError {
    let mut met_text = met.last;
    if met.refused.count > 0 && met.refused.count == met.refused.tried {
        let said = log.as_ref().and_then(ExternalLog::last_drop);
        met_text = format!(
            "it refused {}: {}",
            met.refused.sentence(),
            match said {
                Some(line) => format!("its log says `{}`", readable(&line)),
                None => String::from(
                    "a ban of this address (PerSourcePenalties), a full server, or a limit per source; from outside they look \
                     the same, and the server's log (`--log`, `--log-command`) tells them apart"
                ),
            }
        );
    }
    if let Some(log) = log
        && let Err(error) = end(log).await
    {
        tracing::warn!(%error, "the log command was left");
    }
    ServerError::NotReady {
        what: format!("the server at {} ({met_text})", options.address),
        within,
        log: Vec::new(),
    }
}

/// A server that has introduced itself.
#[derive(Debug)]
struct Introduced {
    line: String,
    refused: Refusals,
    /// What became of the login, if it was not let in.
    failed: Option<AttemptOutcome>,
}

/// One that has not.
#[derive(Debug)]
struct Met {
    /// What the last attempt met.
    last: String,
    refused: Refusals,
}

/// Logs in, time and again, until the server has introduced itself, and returns its identification line. A client that left
/// after that line would earn its address a penalty (`PerSourcePenalties`, 9.8). Whether it was let in is the calibration's to
/// say.
///
/// # Errors
/// What the last attempt met, past the deadline.
async fn introduced(endpoint: &Endpoint, within: Duration) -> Result<Introduced, Met> {
    let connector = endpoint.connector();
    let clock = RunClock::start();
    let limits = ConnectLimits {
        login: within,
        ..ConnectLimits::within(ONE_ANSWER)
    };
    let begun = Instant::now();
    let deadline = begun + within;
    let mut met = Met {
        last: String::from("no answer"),
        refused: Refusals::default(),
    };
    let mut pause = BETWEEN_ATTEMPTS;
    loop {
        let tap = Tap::new(clock.clone());
        let attempt = tokio::time::timeout_at(deadline, connector.connect(&limits, &tap)).await;
        let trace = tap.trace();
        met.refused.tried += 1;
        met.refused.took = begun.elapsed();
        if matches!(attempt, Ok(Err(AttemptOutcome::BannerEof { .. }))) {
            met.refused.add(&trace);
        }
        let mut failed = None;
        match attempt {
            Ok(Ok(session)) => session.close().await,
            Ok(Err(outcome)) => {
                failed = Some(outcome.clone());
                met.last = match (&trace.text_before, outcome) {
                    (Some(text), _) => format!("it says `{}`", readable(text)),
                    (None, AttemptOutcome::BannerEof { .. }) => {
                        String::from("the connection was closed without an identification string")
                    }
                    (None, AttemptOutcome::BannerTimeout) => {
                        String::from("it accepts connections and stays silent")
                    }
                    (None, AttemptOutcome::ConnectRefused) => {
                        String::from("the connection is refused")
                    }
                    (None, outcome) => outcome.metric().to_owned(),
                };
            }
            Err(_) => {}
        }
        if let Some(line) = trace.identification {
            return Ok(Introduced {
                line: readable(&line),
                refused: met.refused,
                failed,
            });
        }
        if Instant::now() + pause >= deadline {
            return Err(met);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The account is somebody else's, and so is its shell.
///
/// # Errors
/// [`ServerError::Unavailable`] where a shell is asked for.
pub fn check_login_shell(asked: Option<&LoginShell>) -> Result<(), ServerError> {
    match asked {
        None => Ok(()),
        Some(shell) => Err(ServerError::Unavailable {
            what: format!(
                "the login shell of an external server's account cannot be chosen, and the scenario asks for {shell} (`sshd.login_shell`)"
            ),
            fix: String::from("use `--target docker`, or take the key out of the scenario"),
        }),
    }
}

/// Nobody can look, and a client that misses one fails in its own words.
fn packages_warning(packages: &Packages) -> Option<String> {
    let names: Vec<&str> = packages.iter().map(PackageName::as_str).collect();
    (!names.is_empty()).then(|| {
        format!(
            "whether an external server has the packages that the scenario needs (`sshd.packages`) is not known: look for \
             {} there",
            names.join(", ")
        )
    })
}

/// Also for loopback: `ssh -L` and `kubectl port-forward` put somebody else's server on a port of this machine, and who
/// listens there cannot always be seen, nor told from a forwarder that is called sshd.
fn check_consent(address: SocketAddr, consent: Option<&str>) -> Result<(), ServerError> {
    let host = address.ip().to_string();
    match consent {
        Some(named) if named == host || named == address.to_string() => Ok(()),
        Some(named) => Err(ServerError::Consent(format!(
            "the consent names {named}, but the target is {host}; a load test needs the consent of whoever runs \
             {host}: pass `--consent {host}` once you have it"
        ))),
        None if address.ip().is_loopback() => Err(ServerError::Consent(format!(
            "a load test can lock users out, and what answers on {address} may be another machine's server (`ssh -L`, \
             `kubectl port-forward`); pass `--consent {host}` if whoever runs it agrees, or use `--target local`"
        ))),
        None => Err(ServerError::Consent(format!(
            "{host} is not this machine, and a load test can lock its users out; pass `--consent {host}` if whoever \
             runs it agrees"
        ))),
    }
}

/// ssh's own rule (authfile.c, `sshkey_perm_ok`): a key file of this user's must not be open to anybody else. One of
/// another user's, such as a mounted secret, is not this user's to close.
fn check_mode(key: &Path) -> Result<(), ServerError> {
    let action = || format!("use private key {}", key.display());
    let metadata = fs::metadata(key).map_err(io_error(action()))?;
    let mode = metadata.mode() & 0o777;
    if metadata.uid() != nix::unistd::getuid().as_raw() || mode & 0o077 == 0 {
        return Ok(());
    }
    let why = format!(
        "others may read or change it (mode {mode:04o}); run `chmod 600 {}`",
        key.display()
    );
    Err(io_error(action())(io::Error::new(
        io::ErrorKind::PermissionDenied,
        why,
    )))
}

/// All there is to go by is how the server introduces itself.
fn check_release(
    options: &ExternalOptions,
    identification: &str,
    least: Option<Release>,
) -> Result<(), ServerError> {
    let fix = "use `--target docker`, or name a newer server";
    match (Release::find(identification), least) {
        (_, None) => Ok(()),
        (Some(release), Some(least)) if release >= least => Ok(()),
        (Some(release), Some(least)) => Err(too_old(
            &format!("OpenSSH {release} at {}", options.address),
            least,
            fix,
        )),
        (None, Some(least)) => Err(ServerError::Unavailable {
            what: format!(
                "the scenario needs OpenSSH {least} or newer (`sshd.min_release`), and the server at {} introduces \
                 itself as `{identification}`",
                options.address
            ),
            fix: fix.to_owned(),
        }),
    }
}

fn describe(
    request: &ServerRequest,
    options: &ExternalOptions,
    identification: String,
) -> ServerDescription {
    // The folder for temporary files of a foreign machine is everybody's, and seed and run id can be known beforehand:
    // a name that cannot be guessed is one that nobody has put a folder or a link under.
    let jobs = format!("/tmp/sshchurn-jobs-{:032x}", rand::random::<u128>());
    let mut warnings = vec![
        format!(
            "MaxStartups {} and the scenario's other sshd settings are not applied to an external server and its \
             own are not known; read them from `sshd -T` there before comparing runs",
            request.sshd.max_startups
        ),
        format!(
            "leftover directories cannot be counted on an external server; look into {jobs} there and remove it"
        ),
    ];
    warnings.extend(packages_warning(&request.sshd.packages));
    ServerDescription {
        kind: ServerKind::External,
        address: options.address.to_string(),
        network_path: if options.address.ip().is_loopback() {
            NetworkPath::Direct
        } else {
            NetworkPath::Remote
        },
        release: release_word(&identification).map(str::to_owned),
        identification,
        substitution: None,
        image: None,
        cores: None,
        login_shell: None,
        packages: None,
        effective_max_startups: None,
        effective_config: Vec::new(),
        sshd_config: None,
        warnings,
        jobs_directory: jobs,
        inventory_available: false,
        log_available: false,
        log_has_every_drop: false,
        kernel: None,
        choice: String::new(),
        round_trip_ns: None,
        exec_cost_ns: None,
        login_shell_cost_ns: None,
        restart_ns: None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn options(address: &str, consent: Option<&str>) -> ExternalOptions {
        ExternalOptions {
            address: address.parse().expect("an address"),
            user: String::from("user"),
            key: PathBuf::from("/nonexistent"),
            consent: consent.map(str::to_owned),
            host_key: HostKeyCheck::any(),
            log: None,
        }
    }

    fn endpoint(address: SocketAddr) -> Endpoint {
        Endpoint {
            address,
            user: String::from("user"),
            key: Arc::new(KeyPair::generate().expect("randomness")),
            host_key: HostKeyCheck::any(),
        }
    }

    /// A peer that says one thing to its first client and hangs up.
    fn peer(answer: &'static [u8]) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            if let Ok((mut client, _)) = listener.accept() {
                let _ = io::Write::write_all(&mut client, answer);
                let _ = client.shutdown(std::net::Shutdown::Write);
                // To the client's own end, so that no reset overtakes the answer.
                let _ = io::copy(&mut client, &mut io::sink());
            }
        });
        address
    }

    #[tokio::test]
    async fn server_has_introduced_itself_whether_it_lets_the_client_in_or_not() {
        let address = peer(b"SSH-2.0-OpenSSH_9.2p1 \x1b[2J\r\n");
        let line = introduced(&endpoint(address), Duration::from_secs(20)).await;
        assert_eq!(
            line.expect("introduced").line,
            "SSH-2.0-OpenSSH_9.2p1 \\u{1b}[2J"
        );
    }

    #[tokio::test]
    async fn server_that_never_answers_is_given_up_at_the_deadline() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = nobody.local_addr().expect("bound");
        drop(nobody);
        let met = introduced(&endpoint(address), Duration::from_millis(80)).await;
        let met = met.expect_err("no identification string").last;
        assert!(met.contains("refused"), "{met}");
    }

    #[tokio::test]
    async fn server_that_refuses_every_login_may_be_full_or_ban_us_and_both_are_said() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = io::Write::write_all(&mut &client, b"Not allowed at this time\r\n");
            }
        });
        let within = Duration::from_millis(400);
        let met = introduced(&endpoint(address), within).await;
        let options = options(&address.to_string(), None);
        let error = not_ready(&options, within, met.expect_err("refused"), None).await;
        let text = error.to_string();
        for words in [
            "`Not allowed at this time`",
            "ban of this address",
            "full server",
            "limit per source",
            "`--log`",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[test]
    fn log_has_every_drop_by_release_and_level_and_what_it_lacks_is_said() {
        let shown = |release: Option<(u32, u32)>, verbose| {
            let release = release.map(|(major, minor)| Release::new(major, minor));
            let (every, warning) = drops_shown(release, verbose);
            assert_eq!(every, warning.is_none());
            warning.unwrap_or_default()
        };
        for release in [(7, 4), (8, 3), (8, 4), (9, 2), (9, 9)] {
            assert_eq!(shown(Some(release), true), "");
        }
        assert!(shown(Some((9, 2)), false).contains("LogLevel INFO"));
        assert!(shown(Some((8, 2)), false).contains("VERBOSE only"));
        assert!(shown(Some((10, 0)), true).contains("rate-limited"));
        assert!(shown(None, true).contains("which release"));
        assert!(shown(Some((7, 3)), true).contains("DEBUG"));
    }

    // 192.0.2.0/24 is for documentation (RFC 5737); the check itself opens no socket.

    #[test]
    fn loopback_is_refused_until_it_is_named() {
        for (address, host) in [
            ("127.0.0.1:22", "127.0.0.1"),
            ("127.9.9.9:22", "127.9.9.9"),
            ("[::1]:22", "::1"),
        ] {
            let refused = check_consent(address.parse().expect("an address"), None);
            assert!(
                matches!(&refused, Err(ServerError::Consent(text)) if text.contains(&format!("--consent {host}"))),
                "{address}: {refused:?}"
            );
            assert!(
                check_consent(address.parse().expect("an address"), Some(host)).is_ok(),
                "{address}"
            );
        }
    }

    #[test]
    fn key_that_others_can_read_is_refused_with_the_fix() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key");
        fs::write(&key, "secret").expect("written");
        for mode in [0o644, 0o640, 0o602] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("set");
            let refused = check_mode(&key).expect_err("open to others");
            let why = std::error::Error::source(&refused)
                .expect("a reason")
                .to_string();
            assert!(
                why.contains("chmod 600") && why.contains(&format!("{mode:04o}")),
                "{why}"
            );
        }
        for mode in [0o600, 0o400] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("set");
            assert!(check_mode(&key).is_ok());
        }
    }

    #[test]
    fn jobs_of_two_runs_of_one_name_go_to_folders_that_nobody_can_guess() {
        let request = ServerRequest {
            sshd: sshchurn_core::scenario::SshdConfig::of(
                "10:30:100".parse().expect("a valid value"),
            ),
            run_id: String::from("smoke-1"),
            ready_within: Duration::from_secs(1),
            listen: crate::ListenOn::OneAddress,
            task_keys: [].into(),
            cores: None,
        };
        let folder = || {
            let options = options("192.0.2.7:22", None);
            describe(&request, &options, String::from("SSH-2.0-x")).jobs_directory
        };
        let (one, other) = (folder(), folder());
        assert_ne!(one, other);
        assert!(!one.contains("smoke-1"), "{one}");
        assert_eq!(one.len(), "/tmp/sshchurn-jobs-".len() + 32);
    }

    #[test]
    fn server_must_show_that_it_is_new_enough_where_the_scenario_needs_it() {
        let options = options("127.0.0.1:22", None);
        let check = |line: &str| check_release(&options, line, Some(Release::new(9, 8)));
        assert!(check("SSH-2.0-OpenSSH_9.8").is_ok());
        for line in ["SSH-2.0-OpenSSH_9.7", "SSH-2.0-dropbear_2022.83"] {
            let text = check(line).expect_err("too old or unknown").to_string();
            assert!(text.contains("9.8"), "{text}");
            assert!(check_release(&options, line, None).is_ok());
        }
    }

    #[test]
    fn another_host_is_refused_until_it_is_named() {
        for consent in [None, Some("yes"), Some("192.0.2.8"), Some("127.0.0.1")] {
            let refused = check_consent("192.0.2.7:22".parse().expect("an address"), consent);
            assert!(
                matches!(&refused, Err(ServerError::Consent(text)) if text.contains("--consent 192.0.2.7")),
                "{consent:?}: {refused:?}"
            );
        }
        for consent in ["192.0.2.7", "192.0.2.7:22"] {
            let address = "192.0.2.7:22".parse().expect("an address");
            assert!(check_consent(address, Some(consent)).is_ok());
        }
    }
}
