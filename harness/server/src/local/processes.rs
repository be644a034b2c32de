//! The process table of this machine, as far as a local sshd and its jobs are concerned.
//!
//! Owns reading `/proc` and killing by descent. It must not know sshd.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long killed processes may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    session: u32,
    zombie: bool,
}

/// One reading of the table. Processes that come and go meanwhile may be missing: callers repeat.
#[derive(Debug)]
pub(super) struct Table(Vec<Process>);

impl Table {
    pub(super) fn read() -> io::Result<Self> {
        let processes = fs::read_dir("/proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
            // Gone since the folder was read: no process any more.
            .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok())
            .filter_map(|stat| parse_stat(&stat))
            .collect();
        Ok(Table(processes))
    }

    /// The children of a process. One that has ended and was not yet waited for counts: sshd frees its slot only then
    /// (from 9.8 on, sshd.c `child_reap`).
    pub(super) fn children(&self, of: u32) -> Vec<u32> {
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
        self.0
            .iter()
            .filter(|process| process.session == leader && !process.zombie)
            .map(|process| process.pid)
            .collect()
    }
}

/// Ids, parent, session and state (proc(5), `stat`). The command may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<Process> {
    let (pid, rest) = stat.split_once(" (")?;
    let (_, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let _group = fields.next()?;
    let session = fields.next()?.parse().ok()?;
    Some(Process {
        pid: pid.parse().ok()?,
        parent,
        session,
        zombie: matches!(state, "Z" | "X"),
    })
}

/// Kills what descends from `ancestor` but not through `spared`, and the sessions of `leaders` that do descend from it,
/// and waits until all of it is gone. Blocks. SIGKILL at once: jobs under test have nothing to save.
pub(super) fn end_descendants(ancestor: u32, spared: &[u32], leaders: &[u32]) -> io::Result<()> {
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
        Ok(found)
    })
}

/// Kills `pid`, what descends from it, and every process that was started with `path` in its arguments or works below
/// it. For what is left of a run whose supervisor was killed as well. Blocks.
pub(super) fn end_related(pid: Option<u32>, path: &str) -> io::Result<()> {
    end_all(|| {
        let table = Table::read()?;
        let mut found = BTreeSet::new();
        for process in table.0.iter().filter(|process| !process.zombie) {
            if relates_to(process.pid, path) {
                found.insert(process.pid);
                found.extend(table.descendants(process.pid, &[]));
            }
        }
        if let Some(pid) = pid {
            found.extend(table.descendants(pid, &[]));
            if table
                .0
                .iter()
                .any(|process| process.pid == pid && !process.zombie)
            {
                found.insert(pid);
            }
        }
        found.remove(&std::process::id());
        Ok(found)
    })
}

fn relates_to(pid: u32, path: &str) -> bool {
    let works_there =
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(path));
    // A whole path: `/tmp/x-1` must not find `/tmp/x-12`.
    let within = format!("{path}/");
    works_there
        || fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| {
            command
                .windows(within.len())
                .any(|window| window == within.as_bytes())
        })
}

fn end_all(mut find: impl FnMut() -> io::Result<BTreeSet<u32>>) -> io::Result<()> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        // Again and again: a process may have forked between being listed and being killed.
        let found = find()?;
        if found.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(io::Error::other(format!("processes {found:?} do not end")));
        }
        for pid in &found {
            if let Ok(pid) = i32::try_from(*pid) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        // Not our children, so there is nothing to wait on.
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, session: u32) -> Process {
        Process {
            pid,
            parent,
            session,
            zombie: false,
        }
    }

    #[test]
    fn command_with_spaces_and_parentheses_is_read() {
        let stat = "17 (a) S 9 (b)) Z 4 17 12 0 -1 4194560";
        assert_eq!(
            parse_stat(stat),
            Some(Process {
                pid: 17,
                parent: 4,
                session: 12,
                zombie: true
            })
        );
    }

    #[test]
    fn descendants_leave_out_what_is_spared_and_what_is_below_it() {
        let table = Table(vec![
            process(2, 1, 1),
            process(3, 2, 1),
            process(4, 3, 4),
            process(5, 2, 5),
            process(6, 5, 5),
            process(7, 1, 7),
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
}
