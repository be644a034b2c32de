//! The warden: parent of one client and subreaper of everything it starts.
//!
//! Owns a client's life, from its start to the end of the last thing that it started: time, exit, output, what it costs and
//! what it leaves. It runs in a process of its own without threads, and looks at nothing of the network.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::{TimeVal, TimeValLike as _};
use nix::sys::wait::WaitStatus;
use nix::unistd::{Pid, getpid, pipe2};

use crate::limits::{self, Bounds, Groups};
use crate::output::Output;
use crate::protocol::{ClientSpec, Launch, NAMES, Word, letter};
use crate::tree;
use sshchurn_core::analysis::summary::count_name;
use sshchurn_core::vocabulary::ClientEnd;

/// How long processes may outlive the client before they count as left behind: the parts of a pipeline do not end at
/// the same instant.
const AFTER: Duration = Duration::from_millis(500);
/// How long a client that is told to end by SIGTERM has for it.
const TERM_GRACE: Duration = Duration::from_secs(1);

/// What a warden is made with.
pub(crate) struct Warden<'a> {
    pub(crate) launch: &'a Launch,
    pub(crate) client: u32,
    pub(crate) spec: &'a ClientSpec,
    pub(crate) bounds: &'a Bounds,
    /// Letters from the launcher.
    pub(crate) letters: OwnedFd,
    /// The launcher's process.
    pub(crate) parent: Pid,
}

/// A client under way.
struct Client {
    pid: Pid,
    started: Instant,
    /// When it is told to end, and then when it is made to.
    deadline: Instant,
    told: bool,
    /// How it ended, and when that was seen.
    ended: Option<(ClientEnd, Instant)>,
    /// Its end has been said.
    said: bool,
    timed_out: bool,
    /// It may begin: it was let go, or need not wait.
    gone: bool,
    killed: u32,
}

/// Everything a warden has open for its client.
#[derive(Default)]
struct Ends {
    /// Its standard output and standard error.
    output: Option<OwnedFd>,
    /// It says here that it is ready.
    ready: Option<OwnedFd>,
    /// Closing this lets it go.
    hold: Option<OwnedFd>,
}

impl Warden<'_> {
    /// Runs to the end of the client and of everything it started.
    pub(crate) fn run(self) {
        let parent_gone = prctl::set_pdeathsig(Signal::SIGTERM).is_err()
            || prctl::set_child_subreaper(true).is_err()
            || nix::unistd::getppid() != self.parent;
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        signals.add(Signal::SIGTERM);
        if parent_gone || signals.thread_block().is_err() {
            return;
        }
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let Ok(heard) = SignalFd::with_flags(&signals, flags) else {
            return;
        };
        let groups = self.bounded();
        self.watch(&heard, &groups);
        // A group that this process is still in stays; the launcher removes it then.
        drop(groups);
    }

    /// Puts itself, and with that its client, under the bounds.
    fn bounded(&self) -> Groups {
        let name = format!("{}-{}", self.launch.label, self.client);
        let (processes, memory) = (self.launch.max_processes, self.launch.max_memory);
        let groups = match self.bounds {
            Bounds::ControlGroups { .. } => Groups::create(self.bounds, &name, processes, memory)
                .and_then(|groups| {
                    groups.enter()?;
                    Ok(groups)
                }),
            Bounds::ResourceLimits => {
                limits::set_resource_limits(processes, memory).map(|()| Groups::default())
            }
            Bounds::Neither => Ok(Groups::default()),
        };
        groups.unwrap_or_else(|error| {
            self.say(&Word::Trouble {
                text: format!("client {} runs without bounds: {error}", self.client),
            });
            Groups::default()
        })
    }

    /// Waits for letters, signals, output and time, until everything is over.
    fn watch(&self, heard: &SignalFd, groups: &Groups) {
        let (mut ends, mut output) = (Ends::default(), Output::default());
        let mut client: Option<Client> = None;
        let mut over = false;
        loop {
            let [letters, signal, wrote, ready] = wait(
                [
                    Some(self.letters.as_fd()),
                    Some(heard.as_fd()),
                    ends.output.as_ref().map(AsFd::as_fd),
                    ends.ready.as_ref().map(AsFd::as_fd),
                ],
                client.as_ref(),
            );
            if signal {
                while let Ok(Some(info)) = heard.read_signal() {
                    over |= info.ssi_signo == Signal::SIGTERM as u32;
                }
            }
            if wrote
                && !ends
                    .output
                    .as_ref()
                    .is_some_and(|fd| read_into(fd, &mut output))
            {
                ends.output = None;
            }
            if ready {
                // A byte, or the end since it has closed it or is gone: nobody must wait for it for ever.
                ends.ready = None;
                self.say(&Word::Ready {
                    client: self.client,
                });
            }
            if letters {
                match read_letter(&self.letters) {
                    Some(letter::PREPARE) => {
                        client.get_or_insert_with(|| self.start(&mut ends, false));
                    }
                    Some(letter::GO) => {
                        let client = client.get_or_insert_with(|| self.start(&mut ends, true));
                        client.gone = true;
                        client.started = Instant::now();
                        client.deadline = client.started + self.timeout();
                        ends.hold = None;
                    }
                    Some(letter::END) => over = true,
                    Some(_) => {}
                    // The launcher is gone.
                    None => over = true,
                }
            }
            let Some(client) = &mut client else {
                if over {
                    return;
                }
                continue;
            };
            let others = self.reap(client);
            self.enforce(client);
            if over && client.ended.is_none() {
                self.end_everything(client);
                client.ended = Some((ClientEnd::Interrupted, Instant::now()));
            }
            if let Some((_, at)) = &client.ended
                && !client.said
                && (client.gone || over)
                && (!others || over || at.elapsed() >= AFTER)
            {
                // What a client had no time to end itself is not left behind.
                let left = if others && !client.timed_out && !over {
                    names(getpid())
                } else {
                    BTreeMap::new()
                };
                drain(&mut ends.output, &mut output);
                if let Some((end @ ClientEnd::Exited { .. }, _)) = &mut client.ended
                    && groups.refused_a_process()
                {
                    *end = ClientEnd::OverLimit;
                }
                self.say_end(client, left, &mut output);
            }
            if client.said && (over || !others) {
                // Most clients leave nothing, and the process table need not be read for them.
                if others {
                    self.end_everything(client);
                }
                drain(&mut ends.output, &mut output);
                let _ = output.write(&self.spec.output);
                self.say_cleared(client.killed);
                return;
            }
        }
    }

    fn timeout(&self) -> Duration {
        Duration::from_nanos(self.launch.timeout_ns)
    }

    /// Starts the client. One that cannot be started has ended.
    fn start(&self, ends: &mut Ends, gone: bool) -> Client {
        let started = Instant::now();
        let spawned = self.spawn(ends);
        let (pid, ended) = match spawned {
            Ok(pid) => (pid, None),
            Err(error) => {
                if self.launch.waits_for_go {
                    self.say(&Word::Ready {
                        client: self.client,
                    });
                }
                let error = error.to_string();
                (getpid(), Some((ClientEnd::NotStarted { error }, started)))
            }
        };
        Client {
            pid,
            started,
            deadline: started + self.timeout(),
            told: false,
            ended,
            said: false,
            timed_out: false,
            gone,
            killed: 0,
        }
    }

    fn spawn(&self, ends: &mut Ends) -> io::Result<Pid> {
        let mut command = Command::new(&self.spec.argv[0]);
        let mut kept = Vec::new();
        if self.launch.waits_for_go {
            let (ready, says) = pipe2(OFlag::O_CLOEXEC)?;
            let (hears, hold) = pipe2(OFlag::O_CLOEXEC)?;
            (ends.ready, ends.hold) = (Some(high(ready)?), Some(high(hold)?));
            for (name, fd) in [("SSHCHURN_READY_FD", says), ("SSHCHURN_GO_FD", hears)] {
                // Without the flag that closes it, and as small as can be: dash knows no descriptors above 9.
                let fd = low(&fd)?;
                command.env(name, fd.as_raw_fd().to_string());
                kept.push(fd);
            }
        }
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        let read = high(read)?;
        // What is read here must not wait; what the client writes may.
        fcntl(&read, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        command
            .args(&self.spec.argv[1..])
            .current_dir(&self.launch.folder)
            .envs(self.spec.environment.iter().cloned())
            .stdin(self.stdin()?)
            .stdout(Stdio::from(write.try_clone()?))
            .stderr(Stdio::from(write));
        let child = command.spawn()?;
        ends.output = Some(read);
        Ok(Pid::from_raw(child.id().cast_signed()))
    }

    fn stdin(&self) -> io::Result<Stdio> {
        let Some(text) = &self.spec.stdin else {
            return Ok(Stdio::null());
        };
        // A file in memory takes any length without anybody who feeds it.
        let mut file = std::fs::File::from(memfd_create(c"stdin", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(text.as_bytes())?;
        io::Seek::rewind(&mut file)?;
        Ok(Stdio::from(file))
    }

    /// Takes everything that has ended; whether anything is left.
    fn reap(&self, client: &mut Client) -> bool {
        tree::reap(&mut |status| client.reaped(status))
    }

    /// Ends a client whose time is up: asked first, and made to.
    fn enforce(&self, client: &mut Client) {
        if client.ended.is_some() || !client.gone || Instant::now() < client.deadline {
            return;
        }
        client.timed_out = true;
        if client.told {
            self.end_everything(client);
        } else {
            client.told = true;
            client.deadline = Instant::now() + TERM_GRACE;
            let _ = kill(client.pid, Signal::SIGTERM);
        }
    }

    fn end_everything(&self, client: &mut Client) {
        let mut reaped = Vec::new();
        client.killed += tree::end_all(getpid(), &mut |status| reaped.push(status));
        for status in reaped {
            client.reaped(status);
        }
    }

    fn say_end(
        &self,
        client: &mut Client,
        left_behind: BTreeMap<String, u64>,
        output: &mut Output,
    ) {
        client.said = true;
        let Some((end, at)) = client.ended.clone() else {
            return;
        };
        // Before the word of it: whoever hears it may read the file.
        let _ = output.write(&self.spec.output);
        let took = at.saturating_duration_since(client.started);
        self.say(&Word::Ended {
            client: self.client,
            end,
            took_ns: u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
            left_behind,
            output_bytes: output.total(),
        });
    }

    fn say_cleared(&self, killed: u32) {
        let (mut cpu_ns, mut memory_bytes) = (0, 0);
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) {
            let ns = |time: TimeVal| u64::try_from(time.num_nanoseconds()).unwrap_or(0);
            cpu_ns = ns(usage.user_time()) + ns(usage.system_time());
            // In KiB (getrusage(2)).
            memory_bytes = u64::try_from(usage.max_rss()).unwrap_or(0) * 1024;
        }
        self.say(&Word::Cleared {
            client: self.client,
            cpu_ns,
            memory_bytes,
            killed,
        });
    }

    fn say(&self, word: &Word) {
        crate::launcher::say(word);
    }
}

impl Client {
    fn reaped(&mut self, status: WaitStatus) {
        if status.pid() != Some(self.pid) {
            return;
        }
        let end = match status {
            _ if self.timed_out => ClientEnd::TimedOut,
            WaitStatus::Exited(_, status) => ClientEnd::Exited { status },
            WaitStatus::Signaled(_, signal, _) => ClientEnd::Signalled {
                signal: signal as i32,
            },
            _ => return,
        };
        self.ended.get_or_insert((end, Instant::now()));
    }
}

/// Waits until one of them has something, or a deadline of the client is there; which have.
fn wait(fds: [Option<BorrowedFd<'_>>; 4], client: Option<&Client>) -> [bool; 4] {
    let (places, mut polled): (Vec<usize>, Vec<PollFd<'_>>) = fds
        .into_iter()
        .enumerate()
        .filter_map(|(place, fd)| Some((place, PollFd::new(fd?, PollFlags::POLLIN))))
        .unzip();
    let due = client.and_then(|client| match &client.ended {
        None if client.gone => Some(client.deadline),
        Some((_, at)) if client.gone && !client.said => Some(*at + AFTER),
        None | Some(_) => None,
    });
    let timeout = due.map_or(PollTimeout::NONE, |due| {
        let left = due.saturating_duration_since(Instant::now());
        // Rounded up: a look that is early finds nothing.
        PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
    });
    let mut has = [false; 4];
    if poll(&mut polled, timeout).is_ok() {
        for (place, fd) in places.into_iter().zip(polled) {
            has[place] = fd.any().unwrap_or(false);
        }
    }
    has
}

/// The next letter, or one that means nothing where there is none yet after all; `None` when nobody writes any more.
fn read_letter(letters: &OwnedFd) -> Option<u8> {
    let mut byte = [0];
    match nix::unistd::read(letters, &mut byte) {
        Ok(1) | Err(Errno::EINTR | Errno::EAGAIN) => Some(byte[0]),
        Ok(_) | Err(_) => None,
    }
}

/// Takes what is there; whether more may come.
fn read_into(fd: &OwnedFd, output: &mut Output) -> bool {
    let mut buffer = [0; 16 * 1024];
    match nix::unistd::read(fd, &mut buffer) {
        Ok(0) => false,
        Ok(count) => {
            output.take(&buffer[..count]);
            true
        }
        Err(Errno::EINTR | Errno::EAGAIN) => true,
        Err(_) => false,
    }
}

/// Takes what is left in the pipe of a client that has ended.
fn drain(pipe: &mut Option<OwnedFd>, output: &mut Output) {
    let Some(fd) = pipe else {
        return;
    };
    loop {
        let before = output.total();
        let more = read_into(fd, output);
        if !more {
            *pipe = None;
            return;
        }
        if output.total() == before {
            return;
        }
    }
}

/// The names of what is left below `root`, and how often each.
fn names(root: Pid) -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    for pid in tree::below(root) {
        count_name(&mut names, &tree::name(pid), 1, NAMES);
    }
    names
}

/// The same descriptor out of the way of those that the client inherits.
pub(crate) fn high(fd: OwnedFd) -> io::Result<OwnedFd> {
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(20))?;
    // SAFETY: the kernel has just made it, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A copy with the smallest free number, which a client inherits.
fn low(fd: &OwnedFd) -> io::Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD(3))?;
    // SAFETY: the kernel has just made it, for nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
