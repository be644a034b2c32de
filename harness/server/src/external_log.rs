//! The log of a server that somebody else runs, as the user can have it: a file that is written here, or what a command prints.
//!
//! Owns the command with its end, and the proof that the log is this server's and how far it is: a connection of our own whose
//! line must come. What the lines mean for a run is `join`'s; other programs' lines are not ours to keep and go no further.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use sshchurn_core::server_log::{
    Envelopes, LogLines, Peer, ServerLogMessage as Message, parse_message,
};
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::ssh::{ConnectLimits, Connector as _, Session as _, Tap};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::log_follower::{LogLost, LogWatch, read_last_lines};
use crate::ward::{self, MARK, Ward};
use crate::{Endpoint, ServerError, io_error};

/// How long a line may be on its way: through syslog or journald, a network, and the buffer of a command.
pub(crate) const LINE_WITHIN: Duration = Duration::from_secs(10);
/// When another login is made although the last one has no line yet: a command may take a while until it follows.
const ANOTHER_AFTER: Duration = Duration::from_secs(2);
/// The same after one that was refused: its line may be left out.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// Longest wait for one login.
const ONE_LOGIN: Duration = Duration::from_secs(5);
/// How often the reader of a command looks whether it is to end.
const LOOK_AGAIN: u16 = 50;
/// How long a command that has closed its output, or was killed, may take to end.
const END_WITHIN: Duration = Duration::from_secs(1);
/// Connections that are told apart while one of ours is looked for.
const MOST_PEERS: usize = 65_536;

/// Where a user has the server's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogSource {
    /// A file that is appended to; it is read from its present end on, and followed when it is rotated.
    File(PathBuf),
    /// What this prints, a line for the shell.
    Command(String),
}

impl LogSource {
    /// As it was given.
    fn told(&self) -> String {
        match self {
            LogSource::File(path) => format!("`--log {}`", path.display()),
            LogSource::Command(line) => format!("`--log-command '{line}'`"),
        }
    }
}

/// What the log said of one connection of ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// `Connection from`: the level is VERBOSE at least.
    pub(crate) admitted: bool,
    /// What became of it: a login, a drop, or an end.
    settled: bool,
}

/// Why the log does not say where it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unmarked {
    /// No line named our connection, although it logged in.
    NotNamed,
    /// Every login was refused, and no line named any of them.
    LetsNobodyIn,
    /// The command has ended.
    Ended(String),
}

/// A log that is being followed.
#[derive(Debug)]
pub(crate) struct ExternalLog {
    source: LogSource,
    heard: Arc<Heard>,
    /// Handed over to the run once it has a place for the lines.
    watch: Mutex<Option<LogWatch>>,
    command: Option<LogCommand>,
}

impl ExternalLog {
    /// Begins to follow. Nothing of what was logged before is read.
    ///
    /// # Errors
    /// [`ServerError::Io`] when the file cannot be read, or the command not be started.
    pub(crate) fn start(source: &LogSource, endpoint: &Endpoint) -> Result<Self, ServerError> {
        let heard = Arc::new(Heard::default());
        let hear = {
            let heard = Arc::clone(&heard);
            move |line: &str| heard.hear(line)
        };
        let (watch, command) = match source {
            LogSource::File(path) => {
                let action = format!("read the server's log {}", path.display());
                (
                    LogWatch::from_the_end(path.clone(), hear).map_err(io_error(action))?,
                    None,
                )
            }
            LogSource::Command(line) => {
                let action = format!("start the log command `{line}`");
                let (command, watch) =
                    LogCommand::start(line, Arc::clone(&heard), hear).map_err(io_error(action))?;
                (watch, Some(command))
            }
        };
        let mark = LogMark {
            heard: Arc::clone(&heard),
            endpoint: endpoint.clone(),
        };
        Ok(ExternalLog {
            source: source.clone(),
            heard,
            watch: Mutex::new(Some(watch.marked_by(mark))),
            command,
        })
    }

    /// Makes a connection and waits for its line: whether this is the server's log, and what it shows.
    pub(crate) async fn proof(&self, endpoint: &Endpoint) -> Result<Said, Unmarked> {
        let mark = LogMark {
            heard: Arc::clone(&self.heard),
            endpoint: endpoint.clone(),
        };
        // What a refusal has in the log says nothing of its level.
        mark.line(Settled::ByALogin).await
    }

    /// Hands every line of sshd's on from now on. `None` when that is done already.
    pub(crate) fn follow(&self, sink: impl FnMut(&str) + Send + 'static) -> Option<LogWatch> {
        let watch = lock(&self.watch).take()?;
        lock(&self.heard.inner).sink = Some(Box::new(sink));
        Some(watch)
    }

    /// The last drop line about this machine's address.
    pub(crate) fn last_drop(&self) -> Option<String> {
        lock(&self.heard.inner).last_drop.clone()
    }

    /// Lines of sshd's that were read.
    pub(crate) fn lines(&self) -> u64 {
        lock(&self.heard.inner).lines
    }

    /// As the user gave it.
    pub(crate) fn told(&self) -> String {
        self.source.told()
    }

    /// The last lines that the command printed as errors.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.command
            .as_ref()
            .map(LogCommand::complaints)
            .unwrap_or_default()
    }

    /// Ends the command and everything that it has started.
    ///
    /// # Errors
    /// When something of it does not end.
    pub(crate) fn stop(self) -> io::Result<()> {
        drop(self.watch);
        self.command.map_or(Ok(()), LogCommand::stop)
    }
}

/// What the reading thread and those who wait for a line share.
#[derive(Debug)]
pub(crate) struct Heard {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

/// Where the lines go.
type Sink = Box<dyn FnMut(&str) + Send>;

struct Inner {
    envelopes: Envelopes,
    sink: Option<Sink>,
    /// Connections that were named since a mark was begun.
    peers: Option<HashMap<(IpAddr, u16), Said>>,
    /// This machine's address, as connections of ours have it.
    own: Option<IpAddr>,
    last_drop: Option<String>,
    lines: u64,
    /// How the command ended.
    ended: Option<String>,
    /// Connections that were made for their lines alone.
    marks: Vec<(IpAddr, u16)>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("lines", &self.lines)
            .finish_non_exhaustive()
    }
}

impl Default for Heard {
    fn default() -> Self {
        Heard {
            inner: Mutex::new(Inner {
                envelopes: Envelopes::new(0),
                sink: None,
                peers: None,
                own: None,
                last_drop: None,
                lines: 0,
                ended: None,
                marks: Vec::new(),
            }),
            changed: watch::Sender::new(()),
        }
    }
}

impl Heard {
    /// Takes one line, on the reading thread.
    fn hear(&self, line: &str) {
        let mut inner = lock(&self.inner);
        let Inner {
            envelopes,
            peers,
            own,
            last_drop,
            ..
        } = &mut *inner;
        let of_sshd = envelopes.open(line, |line| {
            if line.of_sshd() == Some(false) {
                return false;
            }
            let message = parse_message(line.pid, line.text).message;
            let Some((source, said)) = said(&message) else {
                return true;
            };
            let Ok(address) = source.address.parse::<IpAddr>() else {
                return true;
            };
            if matches!(message, Message::Drop { .. }) && *own == Some(address) {
                *last_drop = Some(line.text.to_owned());
            }
            let key = (address, source.port);
            if let Some(peers) = peers
                && (peers.len() < MOST_PEERS || peers.contains_key(&key))
            {
                let known = peers.entry(key).or_default();
                known.admitted |= said.admitted;
                known.settled |= said.settled;
            }
            true
        });
        if !of_sshd {
            return;
        }
        inner.lines += 1;
        if let Some(sink) = &mut inner.sink {
            sink(line);
        }
        let waited_for = inner.peers.is_some();
        drop(inner);
        if waited_for {
            self.changed.send_replace(());
        }
    }

    /// The command has ended: nothing comes any more.
    fn end(&self, how: String) {
        lock(&self.inner).ended = Some(how);
        self.changed.send_replace(());
    }
}

/// Whose connection a line speaks of, and what it says.
fn said<'a>(message: &Message<'a>) -> Option<(Peer<'a>, Said)> {
    let settled = Said {
        admitted: false,
        settled: true,
    };
    match *message {
        Message::Connection { source, .. } => Some((
            source,
            Said {
                admitted: true,
                settled: false,
            },
        )),
        Message::Drop { source, .. }
        | Message::Authenticated { source, .. }
        | Message::ReceivedDisconnect { source }
        | Message::Disconnected { source }
        | Message::ConnectionEnded { source, .. } => Some((source, settled)),
        _ => None,
    }
}

/// Which connection of ours is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// One that logged in: its lines show the level.
    ByALogin,
    /// A refused one will do: its line stands behind everything before it as well.
    ByAnything,
}

/// Says how far a log is: by a connection of its own whose line has come.
#[derive(Debug)]
pub(crate) struct LogMark {
    heard: Arc<Heard>,
    endpoint: Endpoint,
}

impl LogMark {
    /// Resolves when everything that was logged when this was called has been handed on.
    ///
    /// # Errors
    /// [`LogLost`] where that cannot be seen.
    pub(crate) async fn arrived(&self) -> Result<(), LogLost> {
        match self.line(Settled::ByAnything).await {
            Ok(_) => Ok(()),
            Err(Unmarked::Ended(how)) => Err(LogLost::CommandEnded { how }),
            Err(Unmarked::NotNamed | Unmarked::LetsNobodyIn) => Err(LogLost::Late {
                within: LINE_WITHIN,
            }),
        }
    }

    /// Address and port of the connections that were made for this since the last call.
    pub(crate) fn take_marks(&self) -> Vec<(IpAddr, u16)> {
        std::mem::take(&mut lock(&self.heard.inner).marks)
    }

    /// Logs in and says good-bye, which earns no penalty, until a line names such a connection. One that is refused may have a
    /// line as well.
    async fn line(&self, by: Settled) -> Result<Said, Unmarked> {
        let mut changed = self.heard.changed.subscribe();
        {
            let mut inner = lock(&self.heard.inner);
            if let Some(how) = &inner.ended {
                return Err(Unmarked::Ended(how.clone()));
            }
            inner.peers = Some(HashMap::new());
        }
        let deadline = Instant::now() + LINE_WITHIN;
        let found = self.look(by, &mut changed, deadline).await;
        lock(&self.heard.inner).peers = None;
        found
    }

    async fn look(
        &self,
        by: Settled,
        changed: &mut watch::Receiver<()>,
        deadline: Instant,
    ) -> Result<Said, Unmarked> {
        let connector = self.endpoint.connector();
        let clock = RunClock::start();
        let (mut ours, mut refused, mut logged_in) = (Vec::new(), Vec::new(), false);
        loop {
            let tap = Tap::new(clock.clone());
            let login = connector
                .connect(&ConnectLimits::within(ONE_LOGIN), &tap)
                .await;
            let trace = tap.trace();
            if let Some(peer) = trace.local_address.zip(trace.local_port) {
                let mut inner = lock(&self.heard.inner);
                inner.own = Some(peer.0);
                inner.marks.push(peer);
                if login.is_ok() || by == Settled::ByAnything {
                    ours.push(peer);
                } else {
                    refused.push(peer);
                }
            }
            let wait = match login {
                Ok(session) => {
                    session.close().await;
                    logged_in = true;
                    ANOTHER_AFTER
                }
                Err(_) => AGAIN_AFTER,
            };
            let until = deadline.min(Instant::now() + wait);
            if let Some(said) = self.named(&ours, changed, until).await? {
                return Ok(said);
            }
            if Instant::now() >= deadline {
                // It is this server's log all the same, of which nothing more is known.
                if !logged_in && let Some(said) = self.named(&refused, changed, deadline).await? {
                    return Ok(said);
                }
                return Err(if logged_in {
                    Unmarked::NotNamed
                } else {
                    Unmarked::LetsNobodyIn
                });
            }
        }
    }

    /// Waits until what became of one of our connections has been read.
    async fn named(
        &self,
        ours: &[(IpAddr, u16)],
        changed: &mut watch::Receiver<()>,
        until: Instant,
    ) -> Result<Option<Said>, Unmarked> {
        loop {
            changed.mark_unchanged();
            {
                let inner = lock(&self.heard.inner);
                let said = inner.peers.as_ref().and_then(|peers| {
                    let said = ours.iter().filter_map(|peer| peers.get(peer));
                    said.copied().find(|said| said.settled)
                });
                if said.is_some() {
                    return Ok(said);
                }
                if let Some(how) = &inner.ended {
                    return Err(Unmarked::Ended(how.clone()));
                }
            }
            if tokio::time::timeout_at(until, changed.changed())
                .await
                .is_err()
            {
                return Ok(None);
            }
        }
    }
}

/// The command that prints the log: ours, with everything that it starts.
#[derive(Debug)]
struct LogCommand {
    ward: Ward,
    child: Arc<Mutex<Child>>,
}

impl LogCommand {
    /// Starts it in a process group of its own, so that a Ctrl-C at the terminal is for the harness.
    ///
    /// Its output is a pipe: what runs as another user and cannot be killed from here ends with its next line.
    fn start(
        line: &str,
        heard: Arc<Heard>,
        hear: impl FnMut(&str) + Send + 'static,
    ) -> io::Result<(Self, LogWatch)> {
        let parent = std::env::temp_dir();
        for told in ward::remove_stale(&parent) {
            tracing::warn!("{told}");
        }
        let ward = Ward::create(&parent, ward::Kind::Log)?;
        let complaints = std::fs::File::create(complaints(ward.path()))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", line])
            .env(MARK, ward.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .process_group(0)
            .spawn()?;
        let printed = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let child = Arc::new(Mutex::new(child));
        let command = LogCommand {
            ward,
            child: Arc::clone(&child),
        };
        let watch = LogWatch::of_thread(move |stop| {
            read_printed(printed, hear, stop);
            // Told to stop, nobody asks any more how it ended, and it is killed only after this.
            if !stop.load(Relaxed) {
                heard.end(ended(&child));
            }
        })?;
        Ok((command, watch))
    }

    fn complaints(&self) -> Vec<String> {
        read_last_lines(&complaints(self.ward.path())).unwrap_or_default()
    }

    fn kill(&self) -> io::Result<()> {
        let process = {
            let mut child = lock(&self.child);
            let (Ok(None), Ok(group)) = (child.try_wait(), i32::try_from(child.id())) else {
                return Ok(());
            };
            // It may have ended since, or be another user's.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            group
        };
        match status(&self.child) {
            Some(_) => Ok(()),
            None => Err(io::Error::other(format!(
                "process {process} is still there {} s after it was to be killed; another user's (`sudo`) cannot be killed from \
                 here",
                END_WITHIN.as_secs()
            ))),
        }
    }

    fn stop(self) -> io::Result<()> {
        let killed = self.kill();
        // What it has started in other groups bears the ward's mark.
        let removed = self.ward.remove();
        killed.and(removed)
    }
}

fn complaints(folder: &Path) -> PathBuf {
    folder.join("stderr")
}

/// Reads until the end, or until it is told to stop.
fn read_printed(mut printed: ChildStdout, mut hear: impl FnMut(&str), stop: &AtomicBool) {
    let mut lines = LogLines::new();
    let mut piece = vec![0; 64 * 1024];
    while !stop.load(Relaxed) {
        let mut ready = [PollFd::new(printed.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, PollTimeout::from(LOOK_AGAIN)) {
            Ok(0) => continue,
            Ok(_) => {}
            Err(nix::errno::Errno::EINTR) => continue,
            Err(_) => break,
        }
        match printed.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => lines.feed(&piece[..count], &mut hear),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    lines.finish(hear);
}

/// How the command ended, in words.
fn ended(child: &Mutex<Child>) -> String {
    status(child).map_or_else(
        || String::from("it closed its output"),
        |status| status.to_string(),
    )
}

/// Waits for the end of the command; `None` where that has not come after [`END_WITHIN`].
fn status(child: &Mutex<Child>) -> Option<ExitStatus> {
    let deadline = std::time::Instant::now() + END_WITHIN;
    loop {
        match lock(child).try_wait() {
            Ok(None) if std::time::Instant::now() < deadline => {}
            Ok(status) => return status,
            Err(_) => return None,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What must be told of the address, in an error about a log that names nobody of ours.
pub(crate) fn not_named(told: &str, lines: u64, address: SocketAddr) -> String {
    let read = match lines {
        0 => String::from("no line of sshd's was read in it"),
        lines => format!("{lines} lines of sshd's were read in it"),
    };
    format!(
        "the server's log ({told}) is no witness of this run: within {} s no line of it named the port of a login to {address} \
         ({read}): it is another server's log, its level hides logins (LogLevel below INFO), the command holds its output back, \
         or an address translation or a forwarder between changes addresses and ports; only the client's side is measured",
        LINE_WITHIN.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_that_still_runs_is_ended_without_asking_how_it_ended() {
        let heard = Arc::new(Heard::default());
        let (command, watch) =
            LogCommand::start("exec sleep 600", Arc::clone(&heard), |_: &str| {})
                .expect("a command");
        watch.stop();
        assert_eq!(lock(&heard.inner).ended, None);
        let child = Arc::clone(&command.child);
        command.stop().expect("ended");
        let status = lock(&child).try_wait().expect("asked");
        assert!(status.is_some(), "killed and waited for");
    }

    #[test]
    fn command_that_cannot_be_killed_is_named_and_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        // In our own group, so that the kill meets nobody, as with another user's.
        let child = Command::new("sleep").arg("600").spawn().expect("a process");
        let child = Arc::new(Mutex::new(child));
        let command = LogCommand {
            ward: Ward::create(folder.path(), ward::Kind::Log).expect("a ward"),
            child: Arc::clone(&child),
        };
        let error = command.stop().expect_err("it is still there");
        let mut child = lock(&child);
        child.kill().expect("killed");
        child.wait().expect("ended");
        let named = format!("process {} is still there", child.id());
        assert!(error.to_string().contains(&named), "{error}");
    }
}
