//! The process table of this machine, what makes a process a ward's, and killing.
//!
//! Owns that rule. A process is killed only if it runs under this user's id **and**
//! - its environment names the ward's folder ([`MARK`](super::MARK)), which it has from whoever started it; or
//! - it is one the ward has recorded by id and start time (sshd loses its environment); or
//! - its own pid file in the ward's private jobs folder names it, and it works there: a job that emptied its environment;
//! - or it descends from such a process, or from the ward's living supervisor.
//!
//! Never by its working directory or command line alone: a `tail -f` of a log, an editor or a root shell is not ours.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use procfs::process::{ProcState, Process, all_processes};

use super::{MARK, RECORDED, read_small};
use crate::owner::{self, Liveness, Owner};

/// Folder of the jobs below a ward's, in which jobs write their `pid` files.
pub(crate) const JOBS: &str = "jobs";
/// How long killed processes may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    pid: u32,
    parent: u32,
    group: i32,
    session: u32,
    zombie: bool,
    /// Clock ticks since boot: with the id it names one process for good.
    started: u64,
}

/// Processes by id, with the start time that tells a process from a later one of the same id.
type Found = BTreeMap<u32, u64>;

/// One reading of the table. Processes that come and go meanwhile may be missing: callers repeat.
#[derive(Debug)]
pub(crate) struct Table(Vec<Row>);

impl Table {
    pub(crate) fn read() -> io::Result<Self> {
        let rows = all_processes()
            .map_err(owner::io_error)?
            // Gone since the folder was read: no process any more.
            .filter_map(|process| process.ok()?.stat().ok())
            .filter_map(|stat| {
                Some(Row {
                    pid: u32::try_from(stat.pid).ok()?,
                    parent: u32::try_from(stat.ppid).ok()?,
                    group: stat.pgrp,
                    session: u32::try_from(stat.session).ok()?,
                    zombie: matches!(stat.state(), Ok(ProcState::Zombie | ProcState::Dead)),
                    started: stat.starttime,
                })
            })
            .collect();
        Ok(Table(rows))
    }

    /// The children of a process. One that has ended and was not yet waited for counts: sshd frees its slot only then
    /// (from 9.8 on, sshd.c `child_reap`).
    pub(crate) fn children(&self, of: u32) -> Vec<u32> {
        self.0
            .iter()
            .filter(|process| process.parent == of)
            .map(|process| process.pid)
            .collect()
    }

    /// The living descendants of a process, without those below (and without) `spared`.
    fn descendants(&self, of: u32, spared: &[u32]) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut open = vec![of];
        while let Some(parent) = open.pop() {
            for process in self.0.iter().filter(|process| process.parent == parent) {
                if !spared.contains(&process.pid) && !found.contains(&process.pid) {
                    open.push(process.pid);
                    if !process.zombie {
                        found.insert(process.pid);
                    }
                }
            }
        }
        found
    }

    /// The living processes of a session.
    fn session(&self, leader: u32) -> BTreeSet<u32> {
        self.living()
            .filter(|process| process.session == leader)
            .map(|process| process.pid)
            .collect()
    }

    fn living(&self) -> impl Iterator<Item = &Row> {
        self.0.iter().filter(|process| !process.zombie)
    }

    /// Those of `pids` that may be killed at all: living, this user's, and not this process.
    fn known(&self, pids: &BTreeSet<u32>) -> Found {
        self.living()
            .filter(|row| pids.contains(&row.pid))
            .filter(|row| row.pid != std::process::id() && is_this_users(row.pid))
            .map(|row| (row.pid, row.started))
            .collect()
    }
}

/// By the real user id: the owner of `/proc/PID` is root for every process that cannot be traced, sshd's among them.
fn is_this_users(pid: u32) -> bool {
    process(pid)
        .and_then(|process| process.status().ok())
        .is_some_and(|status| status.ruid == geteuid().as_raw())
}

fn process(pid: u32) -> Option<Process> {
    Process::new(i32::try_from(pid).ok()?).ok()
}

/// Kills what descends from `ancestor` but not through `spared`, and the sessions of `leaders` that do descend from it,
/// and waits until all of it is gone. Blocks. SIGKILL at once: jobs under test have nothing to save.
pub(crate) fn end_descendants(ancestor: u32, spared: &[u32], leaders: &[u32]) -> io::Result<()> {
    end_all(|| {
        let table = Table::read()?;
        let ours = table.descendants(ancestor, &[]);
        let mut found = table.descendants(ancestor, spared);
        for leader in leaders {
            // A pid file is only text: it must name a process of ours, and neither sshd nor the supervisor.
            let session = table.session(*leader);
            if session.is_subset(&ours) && !spared.iter().any(|pid| session.contains(pid)) {
                found.extend(session);
            }
        }
        Ok(table.known(&found))
    })
}

/// Kills every process of the ward at `folder`, but none of the process groups in `spared`, and waits until they are
/// gone. Blocks.
pub(crate) fn end_ward(folder: &Path, spared: &HashSet<i32>) -> io::Result<()> {
    end_all(|| {
        let table = Table::read()?;
        let roots = roots(&table, folder);
        let mut pids = roots.clone();
        for root in roots {
            pids.extend(table.descendants(root, &[]));
        }
        let is_spared = |row: &Row| spared.contains(&row.group);
        for row in table.living().filter(|row| is_spared(row)) {
            pids.remove(&row.pid);
        }
        Ok(table.known(&pids))
    })
}

/// The processes that are the ward's by themselves.
fn roots(table: &Table, folder: &Path) -> BTreeSet<u32> {
    let recorded: HashSet<u32> = read_small(&folder.join(RECORDED))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse::<Owner>().ok())
        .filter(|process| process.liveness() == Liveness::Alive)
        .map(|process| process.pid)
        .collect();
    let named = named_by_pid_files(folder);
    table
        .living()
        .map(|row| row.pid)
        .filter(|pid| {
            recorded.contains(pid)
                || carries_the_mark(*pid, folder)
                || (named.contains(pid) && works_below(*pid, folder))
        })
        .collect()
}

/// Only processes that this user may trace can be asked. A zombie has no environment: it is gone for our purpose.
fn carries_the_mark(pid: u32, folder: &Path) -> bool {
    process(pid)
        .and_then(|process| process.environ().ok())
        .is_some_and(|environment| {
            environment
                .get(std::ffi::OsStr::new(MARK))
                .is_some_and(|marked| marked == folder)
        })
}

/// The ids that jobs wrote down themselves, in a folder that only this user can write to.
fn named_by_pid_files(folder: &Path) -> BTreeSet<u32> {
    let Ok(jobs) = fs::read_dir(folder.join(JOBS)) else {
        return BTreeSet::new();
    };
    jobs.flatten()
        .filter_map(|job| pid_file(&job.path()))
        .collect()
}

/// What the `pid` file of a job directory says; it is only text.
pub(crate) fn pid_file(job: &Path) -> Option<u32> {
    let pid: u32 = read_small(&job.join("pid")).ok()?.trim().parse().ok()?;
    (pid > 1).then_some(pid)
}

fn works_below(pid: u32, folder: &Path) -> bool {
    process(pid)
        .and_then(|process| process.cwd().ok())
        .is_some_and(|cwd| cwd.starts_with(folder))
}

fn end_all(mut find: impl FnMut() -> io::Result<Found>) -> io::Result<()> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        // All of them stand still before one dies: a parent that dies between being listed and being killed would hand
        // what it has just forked to process 1, where nothing shows whose it is.
        let mut held = Found::new();
        let listed = loop {
            let found = match find() {
                Ok(found) => found,
                Err(error) => break Err(error),
            };
            let before = held.len();
            for (pid, started) in found {
                if held.insert(pid, started) != Some(started) {
                    send(pid, started, Signal::SIGSTOP);
                }
            }
            if held.len() == before || Instant::now() >= deadline {
                break Ok(());
            }
        };
        for (pid, started) in &held {
            send(*pid, *started, Signal::SIGKILL);
        }
        listed?;
        if held.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let left: Vec<&u32> = held.keys().collect();
            return Err(io::Error::other(format!("processes {left:?} do not end")));
        }
        // Not our children, so there is nothing to wait on.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Signals a process if it is still the one that was found.
fn send(pid: u32, started: u64, signal: Signal) {
    let same = process(pid)
        .and_then(|process| process.stat().ok())
        .is_some_and(|stat| stat.starttime == started);
    if let (true, Ok(pid)) = (same, i32::try_from(pid)) {
        // It may have ended since.
        let _ = kill(Pid::from_raw(pid), signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pid: u32, parent: u32, session: u32) -> Row {
        Row {
            pid,
            parent,
            group: 0,
            session,
            zombie: false,
            started: 0,
        }
    }

    #[test]
    fn descendants_leave_out_what_is_spared_and_what_is_below_it() {
        let table = Table(vec![
            row(2, 1, 1),
            row(3, 2, 1),
            row(4, 3, 4),
            row(5, 2, 5),
            row(6, 5, 5),
            row(7, 1, 7),
        ]);
        assert_eq!(table.descendants(2, &[3]), BTreeSet::from([5, 6]));
        assert_eq!(table.descendants(2, &[]), BTreeSet::from([3, 4, 5, 6]));
        assert_eq!(table.session(5), BTreeSet::from([5, 6]));
    }

    #[test]
    fn this_process_is_in_the_table_under_its_parent() {
        let table = Table::read().expect("/proc is there");
        assert!(
            table
                .children(std::os::unix::process::parent_id())
                .contains(&std::process::id())
        );
    }

    #[test]
    fn this_process_is_this_users_and_never_to_be_killed() {
        let pid = std::process::id();
        assert!(is_this_users(pid));
        let table = Table::read().expect("/proc is there");
        assert_eq!(table.known(&BTreeSet::from([pid])), Found::new());
    }
}
