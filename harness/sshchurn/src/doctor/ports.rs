//! Ephemeral ports: how many a run needs at once, and how many there are.
//!
//! Owns that arithmetic. It must not know what a connection is for.
//!
//! What the kernel does was measured on Linux 6.18 in a network namespace with 500 ports; tcp(7) and
//! Documentation/networking/ip-sysctl name the settings:
//! - A port is taken per pair of addresses and ports: with all 500 held towards one server port, 400 connections towards
//!   another were made. What other programs hold, or have closed, takes nothing from a run, whose server has a new port.
//! - A refused connection is closed by the server first, and the server's side keeps TIME_WAIT: 500 more were made at once.
//! - A connection that the client closes first keeps its port for the 60 s of TIME_WAIT, all 500 failed at once. With
//!   `tcp_tw_reuse` (1, or 2, the default, towards loopback) they were made 1.2 s later; with 0 they were not.
//! - A client that binds a source address without IP_BIND_ADDRESS_NO_PORT loses both: the port is taken from everybody and
//!   for 60 s. With it everything is as without a bind.

use super::{Finding, Needs, Status, read_number};

/// Attempts a task may make within one TIME_WAIT period (60 s on Linux) under the old strategy with a 5 s poll.
const ATTEMPTS_PER_TIME_WAIT: u64 = 40;

/// What the machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ports {
    /// Size of the range.
    size: u64,
    /// Sockets in TIME_WAIT, towards whomever.
    waiting: u64,
    /// Whether a port that was closed towards the server can be used again after a second.
    reused: bool,
}

pub(super) fn check(needs: Needs) -> Finding {
    let Some((first, last)) = range() else {
        return Finding::ok(CHECK, "the range is not known on this system");
    };
    // Linux before 4.19 has no 2 and begins with 0.
    let reuse = read_number("/proc/sys/net/ipv4/tcp_tw_reuse").unwrap_or(0);
    judge(
        needs,
        Ports {
            size: u64::from(last.saturating_sub(first)) + 1,
            waiting: time_wait_sockets().unwrap_or(0),
            reused: reuse == 1 || (reuse == 2 && needs.loopback),
        },
    )
}

const CHECK: &str = "ephemeral ports";

fn judge(needs: Needs, ports: Ports) -> Finding {
    let at_once = u64::from(needs.connections);
    let Ports {
        size,
        waiting,
        reused,
    } = ports;
    let found =
        format!("{size} in the range, {at_once} needed at once ({waiting} sockets in TIME_WAIT)");
    if at_once > size {
        return Finding::failure(
            CHECK,
            found,
            "start fewer tasks (`-n`), or widen net.ipv4.ip_local_port_range",
        );
    }
    // With reuse: what was closed within the last second, at most one connection of each task, since none is that quick
    // twice under load. Without: all attempts of a minute.
    let (kept, fix) = if reused {
        (
            at_once,
            "widen net.ipv4.ip_local_port_range, or start fewer tasks (`-n`)",
        )
    } else {
        (
            at_once * ATTEMPTS_PER_TIME_WAIT,
            "set net.ipv4.tcp_tw_reuse to 1, or widen net.ipv4.ip_local_port_range",
        )
    };
    if at_once + kept > size {
        let period = if reused { "second" } else { "minute" };
        return Finding::warning(
            CHECK,
            format!(
                "{found}; up to {kept} more may have been closed within the last {period} and are not free yet"
            ),
            fix,
        );
    }
    Finding {
        check: CHECK,
        status: Status::Ok,
        found,
        fix: None,
    }
}

/// First and last port of the range.
pub(super) fn range() -> Option<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn time_wait_sockets() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/net/sockstat").ok()?;
    parse_time_wait(&text)
}

/// The `tw` figure of the `TCP:` line of `/proc/net/sockstat`.
fn parse_time_wait(text: &str) -> Option<u64> {
    let mut words = text
        .lines()
        .find(|line| line.starts_with("TCP:"))?
        .split_whitespace();
    words.find(|word| *word == "tw")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(connections: u32, reused: bool) -> Finding {
        judge(
            Needs {
                connections,
                descriptors_per_connection: 2,
                loopback: true,
            },
            Ports {
                // 32768 to 60999, Linux's own.
                size: 28_232,
                waiting: 28_000,
                reused,
            },
        )
    }

    #[test]
    fn thousands_of_tasks_fit_the_usual_range_whatever_others_have_closed() {
        for tasks in [120, 8_000, 14_116] {
            assert_eq!(judged(tasks, true).status, Status::Ok, "{tasks}");
        }
    }

    #[test]
    fn only_what_cannot_run_is_a_failure_and_what_may_not_is_a_warning_with_the_figure() {
        for (tasks, reused) in [(14_117, true), (28_232, true), (8_000, false), (689, false)] {
            let finding = judged(tasks, reused);
            assert_eq!(finding.status, Status::Warning, "{tasks}");
            let kept = if reused { tasks } else { tasks * 40 };
            assert!(finding.found.contains(&kept.to_string()), "{finding:?}");
        }
        assert_eq!(judged(688, false).status, Status::Ok);
        for reused in [true, false] {
            let finding = judged(28_233, reused);
            assert_eq!(finding.status, Status::Failure);
            assert!(finding.fix.is_some());
        }
    }

    #[test]
    fn time_wait_is_read_from_the_tcp_line() {
        let text =
            "sockets: used 120\nTCP: inuse 5 orphan 0 tw 17 alloc 7 mem 1\nUDP: inuse 1 mem 0\n";
        assert_eq!(parse_time_wait(text), Some(17));
        assert_eq!(parse_time_wait("sockets: used 120\n"), None);
    }
}
