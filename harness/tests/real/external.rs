//! `--target external` on a real sshd that is under load from somebody else, or that bans: the machine's own, and OpenSSH 10.0.
//! The test starts it, and carries its log where a user would have it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sshchurn::shipped::{RECIPE, SCENARIOS};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::SshdConfig;
use sshchurn_server::docker::DockerServer;
use sshchurn_server::local::LocalServer;
use sshchurn_server::{Endpoint, ListenOn, ServerOptions, ServerRequest};

use crate::driver::{self, Finished, count, strategy};
use crate::machine::Kind;

const SOON: Duration = Duration::from_secs(60);

fn request(sshd: SshdConfig) -> ServerRequest {
    ServerRequest {
        sshd,
        run_id: "external-test".to_owned(),
        ready_within: SOON,
        listen: ListenOn::OneAddress,
        task_keys: [].into(),
        cores: None,
    }
}

/// The settings of a shipped scenario with another `MaxStartups`.
fn settings(scenario: &str, max_startups: &str) -> SshdConfig {
    let (scenario, _) = SCENARIOS.resolve(scenario).unwrap();
    SshdConfig {
        max_startups: max_startups.parse().unwrap(),
        ..scenario.sshd
    }
}

/// What names a server on the command line.
fn arguments(endpoint: &Endpoint, folder: &Path) -> Vec<String> {
    let key = folder.join("key");
    std::fs::write(&key, endpoint.key.private_pem().unwrap()).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, private).unwrap();
    [
        "--target",
        "external",
        "--address",
        &endpoint.address.to_string(),
        "--consent",
        &endpoint.address.ip().to_string(),
        "--user",
        &endpoint.user,
        "--key",
        key.to_str().unwrap(),
    ]
    .map(str::to_owned)
    .to_vec()
}

fn run(scenario: &str, folder: &Path, own: &[String], further: &[&str]) -> Finished {
    let own = own.iter().map(String::as_str);
    let arguments: Vec<&str> = [scenario]
        .into_iter()
        .chain(own)
        .chain(further.iter().copied())
        .collect();
    driver::run(folder, &arguments)
}

/// What the jobs of a run left on this machine.
fn remove_jobs(report: &Value) {
    let warnings = report["warnings"].to_string();
    let from = warnings.find("/tmp/sshchurn-jobs-").unwrap();
    let folder = warnings[from..].split_whitespace().next().unwrap();
    let _ = std::fs::remove_dir_all(folder);
}

/// Connections that say nothing and hold their startup slots.
fn holders(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    while held.len() < count {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut banner = [0; 64];
        let read = stream.read(&mut banner).unwrap_or(0);
        if banner[..read].starts_with(b"SSH-") {
            held.push(stream);
        }
    }
    held
}

fn law<'r>(report: &'r Value, id: &str) -> &'r str {
    let laws = report["laws"].as_array().unwrap();
    laws.iter().find(|law| law["id"] == id).unwrap()["status"]
        .as_str()
        .unwrap()
}

/// A line without the tag that `LogVerbose` puts before it.
fn untagged(line: &str) -> &str {
    match line.split_once("(): ").or_else(|| line.split_once("): ")) {
        Some((tag, text)) if tag.starts_with("sshd.c:") => text,
        _ => line,
    }
}

#[test]
fn sshd_that_others_keep_busy_is_measured_and_its_log_says_who_refused_as_far_as_its_level_shows() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime
        .block_on(LocalServer::start(
            &request(settings("smoke", "10:70:100")),
            None,
        ))
        .unwrap();
    // As two levels of sshd and syslog would write it.
    let paths: [PathBuf; 2] = ["verbose.log", "info.log"].map(|name| folder.path().join(name));
    let [mut verbose, mut info] = paths
        .clone()
        .map(|path| std::fs::File::create(path).unwrap());
    let followed = server.follow_log(move |line| {
        let text = untagged(line);
        verbose
            .write_all(format!("Mar  6 06:31:31 host-a sshd[620]: {text}\n").as_bytes())
            .unwrap();
        if !text.starts_with("Connection from ") && !text.starts_with("drop connection ") {
            info.write_all(format!("{text}\r\n").as_bytes()).unwrap();
        }
    });
    let own = arguments(server.endpoint(), folder.path());
    let _held = holders(server.endpoint().address, 10);

    let finished = run(
        "smoke",
        folder.path(),
        &own,
        &["-n", "12", "--log", paths[0].to_str().unwrap()],
    )
    .code(0);
    let report = finished.report();
    remove_jobs(&report);
    // The server's own is not known, and the scenario's is not the server's.
    assert!(
        finished.stdout.contains("MaxStartups not known"),
        "{}",
        finished.stdout
    );
    assert_eq!(report["target"]["log_has_every_drop"], true);
    for id in ["server_connections", "server_accepted", "server_drops"] {
        assert_eq!(law(&report, id), "holds", "{:#}", report["laws"]);
    }
    let mut refused = 0;
    for name in ["per-command", "reused-session"] {
        let total = &strategy(&report, name)["totals"]["total"];
        refused += count(total, "banner_eof");
        assert_eq!(
            total["makers"]["refused_by_max_startups"],
            count(total, "banner_eof"),
            "{name}"
        );
    }
    let warnings = report["warnings"].to_string();
    for words in [
        "the server was busy: it refused",
        "logins of a single client within",
        "with `Exceeded MaxStartups`",
    ] {
        assert!(warnings.contains(words), "{words}: {warnings}");
    }
    assert!(
        refused > 0,
        "ten slots are held, and seven of ten connections are refused"
    );
    std::fs::remove_dir_all(&finished.directory).unwrap();

    let finished = run(
        "smoke",
        folder.path(),
        &own,
        &["-n", "12", "--log", paths[1].to_str().unwrap()],
    )
    .code(0);
    let report = finished.report();
    remove_jobs(&report);
    assert_eq!(
        law(&report, "server_accepted"),
        "holds",
        "{:#}",
        report["laws"]
    );
    for id in ["server_connections", "server_drops"] {
        assert_eq!(law(&report, id), "not_checkable");
    }
    let totals = &strategy(&report, "per-command")["totals"];
    assert_eq!(totals["server"]["server_drops"], Value::Null);
    assert!(
        report["warnings"].to_string().contains("LogLevel INFO"),
        "{}",
        report["warnings"]
    );
    drop(followed);
    runtime.block_on(server.stop()).unwrap();
}

#[test]
fn staircase_on_somebody_elses_sshd_that_bans_knows_a_shut_level_after_some_tries_and_earns_no_ban()
{
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut sshd = settings("smoke", "5:100:10");
    // One client that leaves before it has tried to log in is banned at once.
    let bans = [(
        "PerSourcePenalties".to_owned(),
        "noauth:60s min:15s max:60s".to_owned(),
    )];
    sshd.set_keywords(&bans).unwrap();
    let options = ServerOptions::new(RECIPE).docker;
    let request = request(sshd);
    let started = DockerServer::start(&request, Some(Release::new(10, 0)), &options, &|_| {});
    let server = runtime.block_on(started).unwrap();
    let own = arguments(server.endpoint(), folder.path());
    let finished = run("staircase", folder.path(), &own, &["--rounds", "2"]);
    let report = finished.report();
    let total = &strategy(&report, "staircase")["totals"]["total"];
    assert_eq!(count(total, "handshakes"), 2 * 5, "{total:#}");
    assert_eq!(count(total, "banner_eof"), 2 * 30, "{total:#}");
    assert_eq!(count(total, "attempts_held"), 0);
    runtime.block_on(server.stop()).unwrap();
}
