//! The real binary among things that are not its own: other people's files, folders and processes, and what a killed run
//! of its own left.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::driver::{self, nothing_is_left, temporary};
use crate::machine::Kind;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

const SOON: Duration = Duration::from_secs(60);
const STARTED: Duration = Duration::from_secs(240);

/// A folder with a FIFO, or a link, where a private folder of this program has the file that names its owner.
fn trap(parent: &Path, name: &str, set: impl FnOnce(&Path)) {
    let folder = parent.join(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).unwrap();
    set(&folder.join("owner"));
}

#[test]
fn fifos_and_links_of_others_in_the_temporary_folder_hang_neither_a_run_nor_an_interrupt() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = |path: &Path| mkfifo(path, Mode::S_IRWXU).unwrap();
    let endless = |path: &Path| symlink("/dev/zero", path).unwrap();
    trap(directory.path(), "x", fifo);
    trap(directory.path(), "sshchurn-local-fifo", fifo);
    trap(directory.path(), "sshchurn-embedded-fifo", fifo);
    trap(directory.path(), "sshchurn-local-zero", endless);
    let mut running = driver::start(
        directory.path(),
        &["smoke", "--target", "embedded", "--rounds", "30"],
    );
    running.signal_at("round 1/", SOON, Signal::SIGINT);
    running.finish(SOON).code(130);
    let mut left = temporary(directory.path(), "sshchurn-");
    left.sort();
    assert_eq!(
        left,
        [
            "sshchurn-embedded-fifo",
            "sshchurn-local-fifo",
            "sshchurn-local-zero"
        ]
    );
}

/// Ids of the processes whose command line has all of these words.
fn pids_with(words: &[&str]) -> Vec<i32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            words.iter().all(|word| line.contains(word))
        })
        .collect()
}

/// Somebody who looks on: a process that has printed a line, and ends with the test.
struct Onlooker(Child);

impl Onlooker {
    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        Onlooker(child)
    }
}

impl Drop for Onlooker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn killed_harness_and_supervisor_leave_what_the_next_run_ends_and_who_looks_on_lives() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let mut running = driver::start(
        directory.path(),
        &["smoke", "--rounds", "30", "--target", "local"],
    );
    running.wait_for("round 1/", STARTED);
    let folder = directory.path().join(
        temporary(directory.path(), "sshchurn-local-")
            .pop()
            .unwrap(),
    );
    let path = folder.display().to_string();
    let supervisors = pids_with(&["supervisor", &path]);
    assert!(!supervisors.is_empty(), "a shell with that name");
    // Standing still it does not notice that its supervisor is gone.
    running.signal(Signal::SIGSTOP);
    for supervisor in supervisors {
        kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    }
    running.signal(Signal::SIGKILL);
    assert_eq!(running.finish(SOON).code, None);
    let servers = pids_with(&["sshd", &path]);
    assert!(
        !servers.is_empty(),
        "sshd has lost its supervisor and lives"
    );

    let mut onlookers = [
        Onlooker::start(
            Command::new("tail")
                .args(["-n", "1", "-f"])
                .arg(folder.join("sshd.log")),
        ),
        Onlooker::start(
            Command::new("sh")
                .args(["-c", "echo runs; read -r line; true", "vi", &path])
                .current_dir(&folder),
        ),
    ];
    let again = driver::start_as(
        directory.path(),
        "again",
        &["smoke", "--rounds", "1", "--target", "local"],
    )
    .finish(STARTED);
    let report = again.report();
    let warnings = report["target"]["warnings"].to_string();
    assert!(
        warnings.contains(&format!("removed {path}, left by a run that was killed")),
        "{warnings}"
    );
    for onlooker in &mut onlookers {
        assert_eq!(onlooker.0.try_wait().unwrap(), None, "not ours to kill");
    }
    drop(onlookers);
    nothing_is_left(directory.path());
}

#[test]
fn rust_log_is_honoured_without_v_and_a_wrong_one_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let run = |name: &str, directives: &str| {
        let out = directory.path().join(name);
        let mut command = Command::new(driver::binary());
        command
            .args(["run", "smoke", "--target", "embedded", "--rounds", "1"])
            .args(["--strategy", "reused-session", "--out"])
            .arg(&out)
            .env("RUST_LOG", directives)
            .env("TMPDIR", directory.path());
        driver::start_command(command, out).finish(SOON)
    };
    let told = run("told", "sshchurn=info");
    assert!(told.stderr.contains("INFO"), "{}", told.stderr);
    let silent = run("silent", "");
    assert!(!silent.stderr.contains("INFO"), "{}", silent.stderr);
    let wrong = run("wrong", "sshchurn=loudest").code(2);
    assert!(wrong.stderr.contains("RUST_LOG"), "{}", wrong.stderr);
}
