//! A burst that sshd's listen queue cannot take, in a network namespace of the test's own: the kernel refuses, the report
//! says so, and the books balance.

use std::process::Command;
use std::time::Duration;

use crate::driver::{self, books_balance, count, strategy};
use crate::machine::Kind;

const WITHIN: Duration = Duration::from_secs(300);

/// Runs in the namespace: SYNCOOKIES ABORT, then the program and its arguments.
const INSIDE: &str = "
ip link set lo up &&
echo \"$1\" >/proc/sys/net/ipv4/tcp_syncookies &&
echo \"$2\" >/proc/sys/net/ipv4/tcp_abort_on_overflow || exit 99
shift 2
exec \"$@\"
";

/// `one-shot` with many more clients at once than the queue holds, on a server that refuses nobody; the run's folder must
/// outlive what is read there.
fn burst(syncookies: &str, abort: &str) -> Option<(tempfile::TempDir, driver::Finished)> {
    if !nix::unistd::geteuid().is_root() {
        driver::skipped(
            "SSHCHURN_REQUIRE_NAMESPACE",
            "a network namespace needs root",
        );
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let mut command = Command::new("unshare");
    command
        .args(["--net", "sh", "-c", INSIDE, "inside", syncookies, abort])
        .arg(driver::binary())
        .args(["run", "one-shot", "-n", "500", "--rounds", "1"])
        .args(["--max-startups", "5000:30:5000", "--target", "local"])
        .arg("--out")
        .arg(&out)
        .env("TMPDIR", directory.path());
    let finished = driver::start_command(command, out).finish(WITHIN).code(0);
    Some((directory, finished))
}

fn counted(finished: &driver::Finished) -> (u64, u64, u64) {
    let report = finished.report();
    books_balance(&report);
    let total = &strategy(&report, "one-shot")["totals"]["total"];
    let makers = &total["makers"];
    let of = |name: &str| makers[name].as_u64().unwrap();
    assert_eq!(of("refused_by_max_startups"), 0, "{makers:#}");
    assert_eq!(of("refused_by_unknown"), 0, "{makers:#}");
    assert_eq!(of("listen_queue_refused"), count(total, "banner_eof"));
    let kernel = &report["strategies"][0]["per_round"][0]["kernel"]["grown"];
    let overflows = kernel["listen_overflows"].as_u64().unwrap();
    (
        of("listen_queue_refused"),
        of("listen_queue_timeout"),
        overflows,
    )
}

#[test]
fn connections_that_the_kernel_resets_at_once_are_its_refusals() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let Some((_directory, finished)) = burst("0", "1") else {
        return;
    };
    let (refused, _, overflows) = counted(&finished);
    assert!(refused > 0 && overflows > 0, "{}", finished.stdout);
    for words in [
        "listen queue was full",
        "a larger MaxStartups does not help",
    ] {
        assert!(finished.stdout.contains(words), "{}", finished.stdout);
    }
}

#[test]
fn connections_that_the_kernel_keeps_out_are_told_by_their_own_sockets() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let Some((_directory, finished)) = burst("1", "0") else {
        return;
    };
    // How many are lost and how many get through later is the machine's pace; every one is accounted for.
    let (_, _, overflows) = counted(&finished);
    assert!(overflows > 0, "{}", finished.stdout);
}
