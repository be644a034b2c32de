//! Preflight: what this machine allows, each finding with its fix. `sshchurn doctor` prints all findings; every run
//! makes the same checks, stops on a failure and carries the warnings into its report.
//!
//! Owns the limits of the client's side. It must not know scenarios or targets: needs come in as numbers.

mod cpus;
mod ports;

use std::fs;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sshchurn_client::Bounds;

use sshchurn_core::manifest::EnvironmentRecord;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it should be.
    Ok,
    /// The run is possible; its numbers may suffer.
    Warning,
    /// The run would measure the generator, or is impossible.
    Failure,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Short name of the check, `open files`.
    pub check: &'static str,
    /// How bad it is.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do about it; `None` when all is well.
    pub fix: Option<String>,
}

impl Finding {
    /// A finding that needs nothing done.
    #[must_use]
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Finding {
            check,
            status: Status::Ok,
            found: found.into(),
            fix: None,
        }
    }

    /// A finding to be told in the report.
    #[must_use]
    pub fn warning(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Finding {
            check,
            status: Status::Warning,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    /// A finding that stops the run.
    #[must_use]
    pub fn failure(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Finding {
            check,
            status: Status::Failure,
            found: found.into(),
            fix: Some(fix.into()),
        }
    }

    /// The finding as one sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        match &self.fix {
            Some(fix) => format!("{}: {}; {fix}", self.check, self.found),
            None => format!("{}: {}", self.check, self.found),
        }
    }
}

/// What a run needs of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Tasks that may hold a connection at the same time.
    pub connections: u32,
    /// File descriptors one connection costs this process: 1, or more when the server lives in it too.
    pub descriptors_per_connection: u32,
    /// Whether the server answers on this machine's loopback.
    pub loopback: bool,
}

/// Descriptors the harness uses for itself, with room to spare: runtime, ledger, logs, Docker's socket.
const OWN_DESCRIPTORS: u64 = 128;

/// All checks of the client's side; raises the limit of open files where it may. Takes a fifth of a second.
#[must_use]
pub fn check(needs: Needs) -> Vec<Finding> {
    vec![
        open_files(needs),
        ports::check(needs),
        listen_backlog(),
        cpus::check(),
    ]
}

/// What the report says about this machine.
#[must_use]
pub fn environment(findings: &[Finding]) -> EnvironmentRecord {
    EnvironmentRecord {
        kernel: kernel(),
        cpus: cpus::usable(),
        load_average_1m: cpus::load_average(),
        open_files_limit: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
        ephemeral_ports: ports::range(),
        warnings: findings
            .iter()
            .filter(|finding| finding.status == Status::Warning)
            .map(Finding::sentence)
            .collect(),
    }
}

fn open_files(needs: Needs) -> Finding {
    const CHECK: &str = "open files";
    let needed = u64::from(needs.connections) * u64::from(needs.descriptors_per_connection)
        + OWN_DESCRIPTORS;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Finding::warning(
            CHECK,
            "the limit cannot be read",
            format!("make sure it is at least {needed}"),
        );
    };
    if soft >= needed {
        return Finding::ok(CHECK, format!("limit {soft}, {needed} needed"));
    }
    if hard >= needed && setrlimit(Resource::RLIMIT_NOFILE, needed, hard).is_ok() {
        return Finding::ok(CHECK, format!("limit raised from {soft} to {needed}"));
    }
    Finding::failure(
        CHECK,
        format!("{needed} needed, but the hard limit is {hard}"),
        format!("run `ulimit -Hn {needed}` as root, or start fewer tasks (`-n`)"),
    )
}

/// sshd listens with a backlog of 128 (ssh.h, `SSH_LISTEN_BACKLOG`), cut down to this by the kernel.
fn listen_backlog() -> Finding {
    const CHECK: &str = "listen backlog";
    match read_number("/proc/sys/net/core/somaxconn") {
        Some(limit) if limit < 128 => Finding::warning(
            CHECK,
            format!("net.core.somaxconn is {limit}, below sshd's 128"),
            "bursts above it become connect delays of 1 s and 3 s, not refusals: raise it",
        ),
        Some(limit) => Finding::ok(
            CHECK,
            format!("net.core.somaxconn {limit}; sshd's own 128 applies"),
        ),
        None => Finding::ok(CHECK, "not known on this system"),
    }
}

/// What bounds clients under test here.
#[must_use]
pub fn client_bounds() -> Finding {
    const CHECK: &str = "client bounds";
    let bounds = sshchurn_client::bounds();
    match bounds {
        Bounds::ControlGroups { .. } | Bounds::ResourceLimits => {
            Finding::ok(CHECK, bounds.describe())
        }
        Bounds::Neither => Finding::warning(
            CHECK,
            bounds.describe(),
            "run as an ordinary user, or where control groups can be made, before a client is put under test that may run wild",
        ),
    }
}

fn kernel() -> String {
    let read = |file: &str| fs::read_to_string(format!("/proc/sys/kernel/{file}")).ok();
    match (read("ostype"), read("osrelease")) {
        (Some(kind), Some(release)) => format!("{} {}", kind.trim(), release.trim()),
        _ => std::env::consts::OS.to_owned(),
    }
}

fn read_number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_tasks_than_descriptors_is_a_failure_with_a_fix() {
        let finding = open_files(Needs {
            connections: u32::MAX,
            descriptors_per_connection: 4,
            loopback: true,
        });
        assert_eq!(finding.status, Status::Failure);
        assert!(finding.fix.is_some_and(|fix| fix.contains("ulimit")));
    }

    #[test]
    fn every_finding_that_is_not_ok_carries_a_fix() {
        for finding in check(Needs {
            connections: 4_000_000,
            descriptors_per_connection: 1,
            loopback: true,
        }) {
            assert_eq!(
                finding.status == Status::Ok,
                finding.fix.is_none(),
                "{finding:?}"
            );
        }
    }
}
