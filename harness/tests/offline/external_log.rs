//! `--target external` with the server's log, and with its host key: the real binary on the stand-in, which the test runs and
//! whose log reaches the harness as syslog, a command or a file brings it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sshchurn::session::{RunDirectory, RunFile};
use sshchurn_core::ledger::{Event, LedgerReader};
use sshchurn_engine::ssh::keys::KeyPair;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::driver::{self, Finished, count, strategy};
use crate::external::{CALIBRATION, Jobs, STRATEGIES, Server, of_both, with_max_startups};

const SOON: Duration = Duration::from_secs(60);
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Status and reason of a law.
fn law<'r>(report: &'r Value, id: &str) -> (&'r str, &'r str) {
    let laws = report["laws"].as_array().unwrap();
    let law = laws.iter().find(|law| law["id"] == id).unwrap();
    (
        law["status"].as_str().unwrap(),
        law["reason"].as_str().unwrap_or_default(),
    )
}

/// Connections that the harness made beside its attempts, by its ledger.
fn marks(finished: &Finished) -> u64 {
    let ledger = RunDirectory::open(&finished.directory)
        .unwrap()
        .file(RunFile::Ledger);
    let records = LedgerReader::open(&ledger).unwrap().map(Result::unwrap);
    let marks = records.filter(|record| matches!(record.event, Event::LogMarked { .. }));
    u64::try_from(marks.count()).unwrap()
}

/// What sshd is said to have accepted, by strategy, is what the client counts.
fn accepted_is_what_the_client_counts(report: &Value) {
    assert_eq!(report["target"]["log_available"], true);
    for name in STRATEGIES {
        let totals = &strategy(report, name)["totals"];
        let handshakes = count(&totals["total"], "handshakes");
        assert!(handshakes > 0, "{name}");
        assert_eq!(totals["server"]["server_accepted"], handshakes, "{name}");
    }
    assert_eq!(law(report, "server_accepted").0, "holds");
    // The stand-in is no OpenSSH, and says nothing of its level.
    for id in ["server_connections", "server_drops"] {
        assert_eq!(law(report, id).0, "not_checkable", "{id}");
    }
}

fn warnings(report: &Value) -> String {
    report["warnings"].to_string()
}

/// Connects from another address, waits for the banner and hangs up.
async fn visit(address: SocketAddr, from: SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(from).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    let _ = stream.read(&mut [0_u8; 64]).await;
}

#[test]
fn log_of_somebody_elses_server_is_a_witness_and_other_clients_in_it_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(HERE, folder.path()).unwrap();
    // What was there before the run is none of its business.
    std::fs::OpenOptions::new()
        .append(true)
        .open(&server.log)
        .and_then(|mut log| {
            std::io::Write::write_all(
                &mut log,
                b"Connection from 127.0.0.9 port 9 on 127.0.0.1 port 22\n",
            )
        })
        .unwrap();
    let log = server.log.display().to_string();
    let mut arguments: Vec<&str> = vec!["smoke"];
    arguments.extend(server.arguments.iter().map(String::as_str));
    arguments.extend(["--log", &log, "-v"]);
    let mut running = driver::start(folder.path(), &arguments);
    running.wait_for("RoundStarted", SOON);
    let address = server.arguments[3].parse().unwrap();
    for _ in 0..3 {
        let from = SocketAddr::from(([127, 0, 0, 2], 0));
        server.runtime.block_on(visit(address, from));
    }
    let finished = running.finish(SOON).code(0);
    let report = finished.report();
    drop(Jobs::of(&report));
    accepted_is_what_the_client_counts(&report);
    let checks = report["validity"].as_array().unwrap();
    let others = checks
        .iter()
        .find(|check| check["id"] == "other_clients")
        .unwrap();
    let told = others["actual"].as_str().unwrap();
    assert!(
        told.contains("3 connections of other clients") && told.contains("3 from 127.0.0.2"),
        "{told}"
    );
    assert_eq!(
        of_both(&report, "handshakes") + CALIBRATION + marks(&finished),
        server.lines("Accepted publickey for ")
    );
}

#[test]
fn command_brings_the_log_in_syslogs_envelope_without_what_other_programs_say_and_ends_with_the_run()
 {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(HERE, folder.path()).unwrap();
    let command = format!(
        "tail -n0 -F {} | sed -u -e 's/^/Mar  6 06:31:31 host-a sshd[620]: /' -e 'a Mar  6 06:31:31 host-a sudo[7]: secret'",
        server.log.display()
    );
    let finished = server
        .smoke(folder.path(), &["--log-command", &command])
        .code(0);
    let report = finished.report();
    drop(Jobs::of(&report));
    accepted_is_what_the_client_counts(&report);
    let kept = std::fs::read_to_string(finished.directory.join("sshd.log")).unwrap();
    assert!(
        kept.contains("host-a sshd[620]: Accepted publickey for "),
        "{kept}"
    );
    assert!(!kept.contains("secret"));
    driver::nothing_is_left(folder.path());
}

#[test]
fn log_command_that_ends_early_is_said_and_its_rounds_have_no_second_witness() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(HERE, folder.path()).unwrap();
    // Some lines of the logins before the first round are let through.
    let command = format!("tail -n0 -F {} | head -n 12", server.log.display());
    let finished = server.smoke(
        folder.path(),
        &[
            "--log-command",
            &command,
            "--threshold",
            "server_accepted > 0",
        ],
    );
    let finished = finished.code(3);
    let report = finished.report();
    drop(Jobs::of(&report));
    assert!(
        warnings(&report).contains("log command ended before the run did"),
        "{}",
        warnings(&report)
    );
    assert!(
        finished.stderr.contains("log command ended before"),
        "{}",
        finished.stderr
    );
    let (status, reason) = law(&report, "server_accepted");
    assert_eq!(status, "not_checkable");
    assert!(reason.contains("was not had to its end"), "{reason}");
    driver::nothing_is_left(folder.path());
}

#[test]
fn log_that_cannot_be_had_at_all_ends_the_run_before_any_load() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(HERE, folder.path()).unwrap();
    let with = |arguments: &[&str], words: &[&str]| {
        let failed = server.smoke(folder.path(), arguments).code(4);
        for words in words {
            assert!(failed.stderr.contains(words), "{words}: {}", failed.stderr);
        }
        assert!(!failed.directory.exists());
    };
    with(
        &["--log-command", "echo nobody here >&2; exit 7"],
        &["exit status: 7", "nobody here"],
    );
    with(
        &["--log", "/nonexistent/auth.log"],
        &["/nonexistent/auth.log"],
    );
    let both = server.smoke(folder.path(), &["--log", "a", "--log-command", "b"]);
    both.code(2);
    driver::nothing_is_left(folder.path());
}

#[test]
fn host_key_is_pinned_or_named_and_another_one_stops_the_run_before_any_load() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(HERE, folder.path()).unwrap();
    let other = KeyPair::generate().unwrap().fingerprint();
    let wrong = server.smoke(folder.path(), &["--host-key", &other]).code(4);
    assert!(
        wrong.stderr.contains(&other) && wrong.stderr.contains(&server.host_key),
        "{}",
        wrong.stderr
    );
    assert_eq!(server.lines("Connection from "), 1);
    assert_eq!(server.lines("Accepted publickey for "), 0);
    server
        .smoke(folder.path(), &["--host-key", "nonsense"])
        .code(2);

    let pin = format!("--host-key '{}'", server.host_key);
    let unseen = server.smoke(folder.path(), &["-n", "1"]).code(0);
    assert!(unseen.stderr.contains(&pin), "{}", unseen.stderr);
    assert!(warnings(&unseen.report()).contains(&pin));
    drop(Jobs::of(&unseen.report()));
    std::fs::remove_dir_all(&unseen.directory).unwrap();
    let pinned = server
        .smoke(folder.path(), &["-n", "1", "--host-key", &server.host_key])
        .code(0);
    assert!(!warnings(&pinned.report()).contains("--host-key"));
    drop(Jobs::of(&pinned.report()));
}

/// Hands every other connection to the one server and the rest to the other, as a load balancer would.
async fn balance(listener: TcpListener, servers: [SocketAddr; 2]) {
    for server in servers.iter().cycle() {
        let Ok((mut client, _)) = listener.accept().await else {
            return;
        };
        let server = *server;
        tokio::spawn(async move {
            if let Ok(mut upstream) = TcpStream::connect(server).await {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut upstream).await;
            }
        });
    }
}

fn listens(server: &Server) -> SocketAddr {
    server.arguments[3].parse().unwrap()
}

#[test]
fn balancer_between_is_noticed_by_its_servers_keys_and_makes_the_log_of_one_of_them_no_witness() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> std::path::PathBuf {
        let path = folder.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let start = |key: &KeyPair, folder: &Path| {
        Server::start_for(key, HERE, folder, &with_max_startups("10:30:100")).unwrap()
    };
    let key = KeyPair::generate().unwrap();
    let (mut one, other) = (start(&key, &at("one")), start(&key, &at("other")));
    let listener = one.runtime.block_on(TcpListener::bind((HERE, 0))).unwrap();
    let front = listener.local_addr().unwrap();
    one.runtime
        .spawn(balance(listener, [listens(&one), listens(&other)]));
    one.arguments[3] = front.to_string();
    let log = one.log.display().to_string();
    let finished = one
        .smoke(folder.path(), &["-n", "2", "--log", &log])
        .code(0);
    let report = finished.report();
    drop(Jobs::of(&report));
    let warnings = warnings(&report);
    for words in [
        "is no witness of this run",
        "address translation",
        "2 different host keys",
        &one.host_key,
        &other.host_key,
    ] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    assert_eq!(report["target"]["log_available"], false);
    assert_eq!(law(&report, "server_accepted").0, "not_checkable");
}
