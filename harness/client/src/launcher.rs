//! The launcher: one process for a round, which forks a warden for each client and tells them when to begin.
//!
//! Owns that process. It has no threads, so that forking is safe; it knows nothing of sshd, the ledger or the harness's
//! runtime. Its standard input is its leash: when that ends, everything ends.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, pipe2};

use crate::limits::{self, Bounds, bounds};
use crate::load::{EVERY, Load};
use crate::protocol::{Launch, Order, Word, letter};
use crate::tree;
use crate::warden::{Warden, high};
use sshchurn_core::vocabulary::ClientEnd;

/// The program's first argument when it is to be a launcher.
pub const LAUNCHER: &str = "clients-launcher";
/// How long wardens may take to end everything before they are ended themselves.
const OVER_WITHIN: Duration = Duration::from_secs(15);
/// Between two looks at wardens that are ending.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Says something to the harness, at once: several processes share the pipe.
pub(crate) fn say(word: &Word) {
    // Nobody may be listening any more; then nothing that is said matters.
    let _ = nix::unistd::write(std::io::stdout(), &word.line());
}

/// Is the launcher, until its standard input ends.
#[must_use]
pub fn main() -> ExitCode {
    let mut orders = Orders::default();
    let first = orders.wait_for_line();
    let Some(launch) = first.and_then(|line| serde_json::from_slice::<Launch>(&line).ok()) else {
        return ExitCode::from(2);
    };
    // What a warden that is killed leaves comes here, and ends with the round.
    let _ = prctl::set_child_subreaper(true);
    let bounds = bounds();
    limits::remove_stale(&bounds, &launch.label);
    let mut wardens = Vec::new();
    for client in 0..launch.clients.len() {
        match Hired::hire(&launch, client, &bounds, &wardens) {
            Ok(hired) => wardens.push(hired),
            Err(errno) => {
                say(&Word::Trouble {
                    text: format!("client {client} cannot be watched: {errno}"),
                });
                // The harness sees that the clients never end, and ends the round; wardens see that their parent is gone.
                return ExitCode::FAILURE;
            }
        }
    }
    let mut launcher = Launcher {
        wardens,
        load: Load::default(),
        read_at: Instant::now(),
    };
    launcher.follow(orders);
    launcher.finish();
    limits::remove_stale(&bounds, &launch.label);
    ExitCode::SUCCESS
}

/// A warden, as its parent knows it.
struct Hired {
    pid: Pid,
    letters: OwnedFd,
    /// It has ended, and was waited for.
    over: bool,
}

impl Hired {
    /// Forks one. The child does its work and ends; it never returns.
    fn hire(
        launch: &Launch,
        client: usize,
        bounds: &Bounds,
        others: &[Hired],
    ) -> nix::Result<Self> {
        let parent = getpid();
        let number = u32::try_from(client).unwrap_or(u32::MAX);
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        // SAFETY: this process has one thread, so that the child may do what it likes.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Hired {
                pid: child,
                letters: write,
                over: false,
            }),
            ForkResult::Child => {
                drop(write);
                // A copy of another's pipe would keep that one from seeing that the launcher is gone.
                for other in others {
                    let _ = nix::unistd::close(std::os::fd::AsRawFd::as_raw_fd(&other.letters));
                }
                // The launcher's orders are not a warden's, and the number must not become anybody else's.
                if let Ok(nothing) = std::fs::File::open("/dev/null") {
                    let _ = nix::unistd::dup2_stdin(nothing);
                }
                if let Ok(letters) = high(read) {
                    Warden {
                        launch,
                        client: number,
                        spec: &launch.clients[client],
                        bounds,
                        letters,
                        parent,
                    }
                    .run();
                }
                // Another process than the one that called; nothing of the parent's is to be dropped here.
                std::process::exit(0)
            }
        }
    }

    fn tell(&self, letter: u8) {
        // One that has ended already hears nothing.
        let _ = nix::unistd::write(&self.letters, &[letter]);
    }
}

/// Lines on standard input, read without a buffer of the library's: what lies in one is not seen by poll(2), and the
/// launcher would wait for what it has.
#[derive(Default)]
struct Orders {
    pending: Vec<u8>,
}

impl Orders {
    /// A whole line that has been read.
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.pending.iter().position(|byte| *byte == b'\n')?;
        Some(self.pending.drain(..=end).collect())
    }

    /// Reads what is there; false at the end.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 64 * 1024];
        loop {
            match nix::unistd::read(std::io::stdin(), &mut buffer) {
                Err(Errno::EINTR) => {}
                Ok(0) | Err(_) => return false,
                Ok(count) => {
                    self.pending.extend(&buffer[..count]);
                    return true;
                }
            }
        }
    }

    /// The next line, however long it takes; `None` at the end.
    fn wait_for_line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(line) = self.line() {
                return Some(line);
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// Waits until something is there, at most until then; whether it is.
    fn wait_until(&self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let stdin = std::io::stdin();
        let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, timeout).is_ok() && fds[0].any().unwrap_or(false)
    }
}

struct Launcher {
    wardens: Vec<Hired>,
    load: Load,
    read_at: Instant,
}

impl Launcher {
    /// Passes orders on until there are no more.
    fn follow(&mut self, mut orders: Orders) {
        loop {
            while let Some(line) = orders.line() {
                match serde_json::from_slice(&line) {
                    Ok(Order::End) => return,
                    Ok(order) => self.pass_on(order),
                    // Not ours: whoever talks here is not to be trusted with processes.
                    Err(_) => return,
                }
            }
            let there = orders.wait_until(self.read_at + EVERY);
            self.measure();
            if there && !orders.read() {
                return;
            }
        }
    }

    fn pass_on(&mut self, order: Order) {
        match order {
            Order::Prepare => {
                for warden in &self.wardens {
                    warden.tell(letter::PREPARE);
                }
            }
            Order::Go(client) => {
                self.load.begin(Instant::now());
                if let Some(warden) = self.wardens.get(client as usize) {
                    warden.tell(letter::GO);
                }
            }
            Order::End => {}
        }
    }

    fn measure(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.read_at) >= EVERY {
            self.read_at = now;
            self.load.read(getpid(), now);
            self.look_after_wardens();
        }
    }

    /// A warden that was killed, by its own client perhaps, says nothing any more: its client counts as failed. What it was
    /// to look after has become this process's, and ends with the round.
    fn look_after_wardens(&mut self) {
        for (client, warden) in (0..).zip(&mut self.wardens) {
            if warden.over {
                continue;
            }
            match waitpid(warden.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => continue,
                Ok(WaitStatus::Signaled(..)) => say(&Word::Ended {
                    client,
                    end: ClientEnd::Unwatched,
                    took_ns: 0,
                    left_behind: BTreeMap::new(),
                    output_bytes: 0,
                }),
                // It has said all that there was.
                Ok(_) | Err(_) => {}
            }
            warden.over = true;
        }
    }

    /// Ends everything, waits for it, and says how busy it was.
    fn finish(mut self) {
        self.load.read(getpid(), Instant::now());
        for warden in &self.wardens {
            warden.tell(letter::END);
        }
        let deadline = Instant::now() + OVER_WITHIN;
        let over = |warden: &&Hired| !warden.over;
        let left = self.wardens.iter().filter(over);
        let mut left: Vec<Pid> = left.map(|warden| warden.pid).collect();
        while !left.is_empty() && Instant::now() < deadline {
            left.retain(|pid| {
                !matches!(
                    waitpid(*pid, Some(WaitPidFlag::WNOHANG)),
                    Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_)
                )
            });
            if !left.is_empty() {
                std::thread::sleep(LOOK_AGAIN);
            }
        }
        tree::end_all(getpid(), &mut |_| {});
        say(&Word::Load {
            thread_share: self.load.thread_share,
            thread: self.load.thread.chars().take(60).collect(),
            machine_share: self.load.machine_share,
            window_s: self.load.window_s,
        });
    }
}
