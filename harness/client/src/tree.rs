//! Everything below a process, and its end.
//!
//! Owns the walk. A subreaper's descendants are all there is: what turns itself into a daemon becomes its child.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::protocol::NAME_CHARS;

/// Looks at the tree before it is taken to stand still. A fork bomb under its limit stops within two or three.
const LOOKS: u32 = 100;
/// How long what was killed may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The processes below `root`, parents before children. Zombies are none.
pub(crate) fn below(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if let Some((state, parent)) = stat(pid)
            && state != 'Z'
        {
            children.entry(parent).or_default().push(pid);
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

/// State and parent of a process (proc(5), `/proc/PID/stat`): what follows the last parenthesis, since a name may hold
/// any.
fn stat(pid: i32) -> Option<(char, i32)> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    let mut words = text.get(text.rfind(')')? + 1..)?.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    Some((state, words.next()?.parse().ok()?))
}

/// What a process calls itself: its command line, or its name where it has none.
pub(crate) fn name(pid: Pid) -> String {
    let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    let words: Vec<&str> = line.split('\0').filter(|word| !word.is_empty()).collect();
    let name = if words.is_empty() {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
    } else {
        words.join(" ")
    };
    name.trim()
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
