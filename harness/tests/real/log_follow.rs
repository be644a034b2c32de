//! sshd's log followed while it is written: by a harness that was stopped meanwhile, and out of a container, with a folder
//! of this machine mounted into it and without.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::driver;
use crate::machine::Kind;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sshchurn::shipped::{RECIPE, SCENARIOS};
use sshchurn_server::docker::{DockerNetwork, DockerServer};
use sshchurn_server::{LogLost, ServerOptions, ServerRequest};

/// Starting a container may mean building its image first.
const STARTED: Duration = Duration::from_secs(240);
const SOON: Duration = Duration::from_secs(60);
/// How long the harness is stopped.
const STOPPED: Duration = Duration::from_secs(10);
/// So many connections that a pipe, which holds 64 KiB, could not take the lines that sshd logs of them.
const CONNECTIONS: usize = 1500;

/// Connects, waits for whatever sshd sends first, and leaves. Returns the client's port.
fn visit(address: SocketAddr) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let port = stream.local_addr().unwrap().port();
    // Its identification, its refusal, or an end: sshd has accepted the connection in each case.
    match stream.read(&mut [0_u8; 64]) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    port
}

/// A stopped process, which goes on when the test is over, however it ends.
pub(crate) struct Stopped(Pid);

impl Stopped {
    pub(crate) fn new(pid: i32) -> Self {
        let pid = Pid::from_raw(pid);
        kill(pid, Signal::SIGSTOP).unwrap();
        let stopped = Stopped(pid);
        driver::wait_until(SOON, "the harness stands still", || stopped.state() == "T");
        stopped
    }

    fn state(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_whitespace().next().unwrap().to_owned()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// The lines of the server's log in a ledger.
fn logged(directory: &Path) -> Vec<String> {
    let ledger = std::fs::File::open(directory.join("events.jsonl.zst")).unwrap();
    let ledger = BufReader::new(zstd::Decoder::new(ledger).unwrap());
    ledger
        .lines()
        .filter_map(|line| {
            let record: Value = serde_json::from_str(&line.unwrap()).ok()?;
            let event = &record["event"];
            (event["kind"] == "server_logged").then(|| event["line"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// The client's ports of the connections that sshd has taken or dropped.
fn ports_of(lines: &[String]) -> BTreeSet<u16> {
    lines
        .iter()
        .filter_map(|line| {
            if let Some(rest) = line.strip_prefix("Connection from ") {
                return rest.split_whitespace().nth(2)?.parse().ok();
            }
            let (_, rest) = line.strip_prefix("drop connection #")?.split_once("]:")?;
            rest.split_whitespace().next()?.parse().ok()
        })
        .collect()
}

#[test]
fn harness_that_is_stopped_for_ten_seconds_does_not_stop_sshd_and_misses_no_line() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let mut running = driver::start(
        directory.path(),
        &["smoke", "--rounds", "2", "--target", "local", "-v"],
    );
    let line = running.wait_for("target: ", STARTED);
    let address = line
        .split_whitespace()
        .find_map(|word| word.trim_end_matches([')', ',']).parse::<SocketAddr>().ok())
        .unwrap();
    running.wait_for("RoundStarted", STARTED);

    let stopped = Stopped::new(running.pid());
    let begun = Instant::now();
    let mut visits = BTreeSet::new();
    let mut count = 0;
    while count < CONNECTIONS || begun.elapsed() < STOPPED {
        visits.insert(visit(address));
        count += 1;
    }
    assert_eq!(stopped.state(), "T", "it stood still all the time");
    drop(stopped);

    // A second client was there, so the books cannot balance.
    let finished = running.finish(STARTED).code(3);
    let seen = ports_of(&logged(&finished.directory));
    let missed: Vec<&u16> = visits.difference(&seen).collect();
    assert!(missed.is_empty(), "{} of {count}: {missed:?}", missed.len());
}

async fn container(network: DockerNetwork, shared_folder: bool) -> DockerServer {
    let (scenario, _) = SCENARIOS.resolve("stalled-burst").unwrap();
    let request = ServerRequest {
        sshd: scenario.sshd,
        run_id: "log-follow-test".to_owned(),
        ready_within: SOON,
        listen: sshchurn_server::ListenOn::OneAddress,
        task_keys: [].into(),
        cores: None,
    };
    let mut options = ServerOptions::new(RECIPE).docker;
    options.network = network;
    options.shared_folder = shared_folder;
    DockerServer::start(&request, None, &options, &|_| {})
        .await
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
}

async fn follows_out_of_a_container(shared_folder: bool) {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let target = container(DockerNetwork::Host, shared_folder).await;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = target
        .follow_log({
            let lines = Arc::clone(&lines);
            move |line: &str| lines.lock().unwrap().push(line.to_owned())
        })
        .unwrap();
    let address = target.endpoint().address;
    let visits = || (0..50).map(|_| visit(address)).collect::<BTreeSet<u16>>();

    let before = tokio::task::block_in_place(visits);
    target.wait_idle(SOON).await.unwrap();
    log.caught_up().await.unwrap();
    let seen = lines.lock().unwrap().clone();
    assert!(
        seen[0].starts_with("Server listening on 127.0.0.1 port "),
        "from the beginning: {seen:?}"
    );
    assert!(ports_of(&seen).is_superset(&before), "{seen:?}");

    let emptied = Command::new("docker")
        .args(["exec", target.container_id()])
        .args(["truncate", "-s", "0", "/var/log/sshd.log"])
        .status()
        .unwrap();
    assert!(emptied.success());
    let lost = log.caught_up().await.unwrap_err();
    assert!(matches!(lost, LogLost::Replaced { .. }), "{lost:?}");
    assert!(lost.to_string().contains("does not go on after"));

    lines.lock().unwrap().clear();
    let after = tokio::task::block_in_place(visits);
    target.wait_idle(SOON).await.unwrap();
    log.caught_up().await.unwrap();
    let seen = lines.lock().unwrap().clone();
    assert!(ports_of(&seen).is_superset(&after), "{seen:?}");
    assert!(!target.log_tail().await.is_empty());

    log.stop();
    target.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn log_of_a_container_is_read_in_the_folder_that_is_mounted_into_it() {
    follows_out_of_a_container(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn log_of_a_container_without_a_folder_of_this_machine_is_copied_out_of_it() {
    follows_out_of_a_container(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_socket_and_settings_of_a_container_are_read_in_its_own_network() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    for network in [DockerNetwork::Host, DockerNetwork::Published] {
        let target = container(network, true).await;
        let settings = target.description().kernel.expect("a Linux kernel");
        assert!(settings.somaxconn >= Some(1), "{settings:?}");
        let reading = target.witness().read().await;
        // Another network than this process's own can be entered by root only.
        let seen = target.listener_pid().is_some()
            && (network == DockerNetwork::Host || nix::unistd::geteuid().is_root());
        match reading.listener {
            // sshd's own backlog (ssh.h, `SSH_LISTEN_BACKLOG`), cut down to `somaxconn`.
            Some(listener) => assert_eq!(
                Some(listener.queue_limit),
                settings.somaxconn.map(|most| most.min(128)),
                "{network:?}"
            ),
            None => assert!(!seen, "{network:?}: {reading:?}"),
        }
        target.stop().await.unwrap();
    }
}
