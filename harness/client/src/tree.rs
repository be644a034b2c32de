//! Everything below a process, and its end.
//!
//! Owns the walk. A subreaper's descendants are all there is: what turns itself into a daemon becomes its child.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use procfs::process::{Process, all_processes};

use crate::protocol::NAME_CHARS;

/// Looks at the tree before it is taken to stand still. A fork bomb under its limit stops within two or three.
const LOOKS: u32 = 100;
/// How long what was killed may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The processes below `root`, parents before children. Zombies are none.
pub(crate) fn below(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let processes = all_processes().into_iter().flatten().flatten();
    // One that is gone by now is nobody's child.
    for stat in processes.filter_map(|process| process.stat().ok()) {
        if stat.state != 'Z' {
            children.entry(stat.ppid).or_default().push(stat.pid);
        }
    }
    let mut found = Vec::new();
    let mut open = vec![root.as_raw()];
    while let Some(parent) = open.pop() {
        for pid in children.remove(&parent).into_iter().flatten() {
            found.push(Pid::from_raw(pid));
            open.push(pid);
        }
    }
    found
}

/// What a process calls itself: its command line, or its name where it has none.
pub(crate) fn name(pid: Pid) -> String {
    let process = Process::new(pid.as_raw());
    let words = process
        .as_ref()
        .ok()
        .and_then(|process| process.cmdline().ok());
    let words = words.filter(|words| !words.is_empty());
    let name = words.map(|words| words.join(" ")).or_else(|| {
        let stat = process.ok()?.stat().ok()?;
        Some(stat.comm)
    });
    name.unwrap_or_default()
        .trim()
        .chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .take(NAME_CHARS)
        .collect()
}

/// Ends everything below this process and waits for it; says how many there were. Stopped first, so that none of them
/// makes another while they are being ended.
pub(crate) fn end_all(root: Pid, on_reaped: &mut impl FnMut(WaitStatus)) -> u32 {
    let mut ended = std::collections::HashSet::new();
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        for _ in 0..LOOKS {
            let mut moved = false;
            for pid in below(root) {
                if ended.insert(pid) {
                    moved = true;
                    let _ = kill(pid, Signal::SIGSTOP);
                }
            }
            if !moved {
                break;
            }
        }
        for pid in below(root) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let left = reap(on_reaped);
        if !left || Instant::now() >= deadline {
            return u32::try_from(ended.len()).unwrap_or(u32::MAX);
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Takes every child that has ended; whether there are others.
pub(crate) fn reap(on_reaped: &mut impl FnMut(WaitStatus)) -> bool {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => return true,
            Ok(status) => on_reaped(status),
            Err(Errno::EINTR) => {}
            // ECHILD: there are none.
            Err(_) => return false,
        }
    }
}
