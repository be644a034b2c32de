//! Counters from `/proc` and the control groups (v1 and v2) of this machine.
//!
//! Owns the paths and formats (proc(5), cgroups(7)). Must not know who asks.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{SysconfVar, sysconf};

use sshchurn_core::reading::{KernelReading, KernelSettings, ServerReading};

const NS_PER_S: u64 = 1_000_000_000;
/// Processes looked at in one reading; a server with more is only counted up to here.
const MOST_PROCESSES: usize = 20_000;

/// Everything that is to be seen of a listener and what descends from it.
pub(super) fn read(listener: u32, cpu_group: Option<&Path>) -> ServerReading {
    let stat = fs::read_to_string(format!("/proc/{listener}/stat")).ok();
    let (processes, memory_bytes) = match &stat {
        None => (None, None),
        Some(_) => {
            let (processes, bytes) = tree(listener);
            (Some(processes), Some(bytes))
        }
    };
    let counters = fs::read_to_string(format!("/proc/{listener}/net/netstat")).ok();
    let kernel = kernel_counters(counters.as_deref());
    ServerReading {
        tree_cpu_ns: stat.as_deref().and_then(|stat| cpu_of_stat(stat, 4)),
        listener_cpu_ns: stat.as_deref().and_then(|stat| cpu_of_stat(stat, 2)),
        group_cpu_ns: cpu_group.and_then(group_cpu),
        processes,
        memory_bytes,
        kernel,
        listener: None,
    }
}

/// The kernel's counters of this process's own network namespace.
pub(super) fn kernel_only() -> ServerReading {
    let counters = fs::read_to_string("/proc/self/net/netstat").ok();
    let kernel = kernel_counters(counters.as_deref());
    ServerReading {
        kernel,
        listener: None,
        ..ServerReading::default()
    }
}

/// The same from what was printed inside a container: the listener's `stat`, `netstat` and the group's CPU time, in
/// that order, on lines of their own.
pub(super) fn of_dump(text: &str) -> ServerReading {
    let kernel = kernel_counters(Some(text));
    let counted = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|value| value.trim().parse::<u64>().ok())
    };
    ServerReading {
        tree_cpu_ns: text.lines().next().and_then(|stat| cpu_of_stat(stat, 4)),
        listener_cpu_ns: text.lines().next().and_then(|stat| cpu_of_stat(stat, 2)),
        group_cpu_ns: counted("usage_usec ")
            .and_then(|usec| usec.checked_mul(1000))
            .or_else(|| counted("usage_nsec ")),
        processes: None,
        memory_bytes: None,
        kernel,
        listener: None,
    }
}

/// The first `count` of `utime`, `stime`, `cutime` and `cstime`: its own CPU time, and that of every child it has waited for, with
/// theirs.
fn cpu_of_stat(stat: &str, count: usize) -> Option<u64> {
    let ticks_per_s = sysconf(SysconfVar::CLK_TCK).ok().flatten()?;
    let ticks_per_s = u64::try_from(ticks_per_s).ok().filter(|ticks| *ticks > 0)?;
    let (_, rest) = stat.rsplit_once(')')?;
    // The state is field 3 of proc(5); utime is field 14.
    let fields: Vec<&str> = rest.split_whitespace().skip(11).take(count).collect();
    if fields.len() < count {
        return None;
    }
    let ticks = fields
        .into_iter()
        .map(|field| field.parse::<u64>().ok())
        .sum::<Option<u64>>()?;
    Some(ticks * (NS_PER_S / ticks_per_s))
}

/// Number and memory of the listener and its descendants. Those that end meanwhile are not counted.
fn tree(listener: u32) -> (u32, u64) {
    let page = sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096);
    let (mut processes, mut bytes) = (0, 0);
    let mut open = vec![listener];
    while let Some(pid) = open.pop() {
        let Ok(statm) = fs::read_to_string(format!("/proc/{pid}/statm")) else {
            continue;
        };
        processes += 1;
        // size, resident, shared …: in pages.
        let mut fields = statm
            .split_whitespace()
            .skip(1)
            .map(|field| field.parse::<u64>().unwrap_or(0));
        let (resident, shared) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
        bytes += resident.saturating_sub(shared) * page;
        if processes as usize + open.len() < MOST_PROCESSES {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            open.extend(
                children
                    .unwrap_or_default()
                    .split_whitespace()
                    .filter_map(|child| child.parse::<u32>().ok()),
            );
        }
    }
    (processes, bytes)
}

/// The counters of the `TcpExt` lines: one line of names, the next of values. `None` without them.
fn kernel_counters(netstat: Option<&str>) -> Option<KernelReading> {
    let mut lines = netstat?
        .lines()
        .filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let find = |name: &str| {
        names
            .split_whitespace()
            .zip(values.split_whitespace())
            .find(|(other, _)| *other == name)?
            .1
            .parse()
            .ok()
    };
    Some(KernelReading {
        listen_overflows: find("ListenOverflows"),
        listen_drops: find("ListenDrops"),
        syncookies_sent: find("SyncookiesSent"),
        syncookies_recv: find("SyncookiesRecv"),
        syncookies_failed: find("SyncookiesFailed"),
        req_q_full_do_cookies: find("TCPReqQFullDoCookies"),
        req_q_full_drop: find("TCPReqQFullDrop"),
        embryonic_rsts: find("EmbryonicRsts"),
    })
}

/// Settings of a network namespace, in the order of [`settings_of_text`]. The kernel shows whoever reads them those of the
/// reader's own namespace, whatever the path (proc_sysctl.c, `net_ctl_header_lookup`).
pub(crate) const SETTINGS: [&str; 3] = [
    "/proc/sys/net/ipv4/tcp_abort_on_overflow",
    "/proc/sys/net/ipv4/tcp_syncookies",
    "/proc/sys/net/core/somaxconn",
];

/// Those of this process's own network namespace; `None` where none can be read.
pub(crate) fn settings_here() -> Option<KernelSettings> {
    let text: String = SETTINGS
        .iter()
        .map(|path| fs::read_to_string(path).unwrap_or_else(|_| String::from("\n")))
        .collect();
    settings_of_text(&text)
}

/// The same, printed one a line; an empty line is a setting that the kernel does not have.
pub(crate) fn settings_of_text(text: &str) -> Option<KernelSettings> {
    let mut lines = text.lines().map(|line| line.trim().parse().ok());
    let mut next = || lines.next().flatten();
    let settings = KernelSettings {
        tcp_abort_on_overflow: next(),
        tcp_syncookies: next(),
        somaxconn: next(),
    };
    (settings != KernelSettings::default()).then_some(settings)
}

/// The folder in which a process's CPU time is accounted, when it is not the whole machine's.
pub(super) fn cpu_group_of(pid: u32) -> Option<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    candidates(&groups)
        .into_iter()
        .find(|folder| group_cpu(folder).is_some())
}

/// Where the accounting of a process may be, from its `/proc/PID/cgroup`: `hierarchy:controllers:path`.
fn candidates(groups: &str) -> Vec<PathBuf> {
    groups
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            // The root group is the whole machine.
            let path = path.trim_start_matches('/');
            if path.is_empty() {
                return None;
            }
            let root = Path::new("/sys/fs/cgroup");
            match controllers {
                "" => Some(root.join(path)),
                _ if controllers.split(',').any(|name| name == "cpuacct") => {
                    Some(root.join(controllers).join(path))
                }
                _ => None,
            }
        })
        .collect()
}

/// CPU time of a control group, nanoseconds: `cpu.stat` (v2, µs) or `cpuacct.usage` (v1, ns).
fn group_cpu(folder: &Path) -> Option<u64> {
    if let Ok(stat) = fs::read_to_string(folder.join("cpu.stat"))
        && let Some(usec) = stat
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "))
    {
        return usec.trim().parse::<u64>().ok()?.checked_mul(1000);
    }
    fs::read_to_string(folder.join("cpuacct.usage"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_own_and_waited_for_whatever_the_name() {
        let stat = "77 (sshd) (x) S 1 77 77 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5 6 7";
        let ticks = u64::try_from(sysconf(SysconfVar::CLK_TCK).expect("known").expect("set"))
            .expect("positive");
        assert_eq!(cpu_of_stat(stat, 4), Some(100 * (NS_PER_S / ticks)));
        assert_eq!(cpu_of_stat("77 (sshd) S 1", 4), None);
    }

    #[test]
    fn settings_keep_their_places_when_one_is_missing() {
        let settings = settings_of_text("0\n\n4096\n").expect("two of three");
        assert_eq!(settings.tcp_abort_on_overflow, Some(0));
        assert_eq!(settings.tcp_syncookies, None);
        assert_eq!(settings.somaxconn, Some(4096));
        assert_eq!(settings_of_text("\n\n\n"), None);
        assert_eq!(settings_of_text(""), None);
    }

    #[test]
    fn settings_of_this_namespace_are_the_kernels() {
        let settings = settings_here().expect("a Linux kernel");
        assert!(settings.tcp_abort_on_overflow <= Some(1), "{settings:?}");
        assert!(settings.somaxconn >= Some(1), "{settings:?}");
    }

    #[test]
    fn listen_counters_are_found_by_name() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops Other\nTcpExt: 1 22 33 4\nIpExt: A\nIpExt: 9\n";
        let found = kernel_counters(Some(text)).expect("there");
        assert_eq!(
            (found.listen_overflows, found.listen_drops),
            (Some(22), Some(33))
        );
        assert_eq!(found.embryonic_rsts, None);
        assert_eq!(kernel_counters(Some("TcpExt: A\n")), None);
        assert_eq!(kernel_counters(None), None);
    }

    #[test]
    fn groups_of_both_versions_are_looked_for_and_the_root_is_not() {
        let v2 = "0::/system.slice/docker-abc.scope\n";
        assert_eq!(
            candidates(v2),
            [PathBuf::from(
                "/sys/fs/cgroup/system.slice/docker-abc.scope"
            )]
        );
        let v1 = "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n2:cpuset:/\n0::/\n";
        assert_eq!(
            candidates(v1),
            [PathBuf::from("/sys/fs/cgroup/cpu,cpuacct/docker/abc")]
        );
    }

    #[test]
    fn this_process_has_a_tree_and_kernel_counters() {
        let reading = read(std::process::id(), None);
        assert!(reading.processes >= Some(1), "{reading:?}");
        assert!(reading.memory_bytes > Some(100_000), "{reading:?}");
        assert!(reading.tree_cpu_ns.is_some() && reading.kernel.is_some());
    }

    #[test]
    fn a_dump_from_inside_a_container_gives_the_same_counters() {
        let dump = "7 (sshd) S 1 7 7 0 -1 0 0 0 0 0 1 1 1 1 20 0\nTcpExt: ListenOverflows ListenDrops\nTcpExt: 3 4\n\
                    usage_usec 2500\nuser_usec 1\n";
        let reading = of_dump(dump);
        assert_eq!(
            reading.kernel.and_then(|kernel| kernel.listen_overflows),
            Some(3)
        );
        assert_eq!(reading.group_cpu_ns, Some(2_500_000));
        assert!(reading.tree_cpu_ns.is_some());
    }
}
