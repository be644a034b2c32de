//! `sshchurn probe` on real sshds that it did not start and whose configuration it cannot read: the machine's own, and OpenSSH 10.6,
//! which bans by default.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use sshchurn::shipped::{RECIPE, SCENARIOS};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::SshdConfig;
use sshchurn_server::docker::DockerServer;
use sshchurn_server::local::LocalServer;
use sshchurn_server::{Endpoint, ListenOn, ServerOptions, ServerRequest};

use crate::driver::{self, Finished};
use crate::machine::Kind;
use crate::releases::alone_with_images;

/// What a probe of a usual setting may take.
const PROBED_WITHIN: Duration = Duration::from_secs(120);
/// For a machine that may be busy.
const SOON: Duration = Duration::from_secs(240);
/// As sshd has it by default (servconf.c), said so that the test does not hang on a distribution's file.
const PENALTIES: &str = "crash:90s authfail:5s noauth:1s grace-exceeded:10s max:600s min:15s";

fn request(max_startups: &str, keywords: &[(&str, &str)]) -> ServerRequest {
    let (scenario, _) = SCENARIOS.resolve("staircase").unwrap();
    let mut sshd = SshdConfig {
        max_startups: max_startups.parse().unwrap(),
        ..scenario.sshd
    };
    let keywords: Vec<(String, String)> = keywords
        .iter()
        .map(|(keyword, value)| ((*keyword).to_owned(), (*value).to_owned()))
        .collect();
    sshd.set_keywords(&keywords).unwrap();
    ServerRequest {
        sshd,
        run_id: "probe-test".to_owned(),
        ready_within: SOON,
        listen: ListenOn::OneAddress,
        task_keys: [].into(),
        cores: None,
    }
}

/// `sshchurn probe` of a server, with its user's key.
fn probe(endpoint: &Endpoint, folder: &Path, further: &[&str]) -> Finished {
    let key = folder.join("key");
    std::fs::write(&key, endpoint.key.private_pem().unwrap()).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, private).unwrap();
    let mut command = Command::new(driver::binary());
    command
        .arg("probe")
        .arg(endpoint.address.to_string())
        .args(["--consent", &endpoint.address.ip().to_string()])
        .args(["--user", &endpoint.user, "--key"])
        .arg(&key)
        .args(further);
    driver::start_command(command, std::path::PathBuf::new()).finish(SOON)
}

/// Starts a server of this kind, does something with it, and stops it.
fn with_server<T>(kind: Kind, request: &ServerRequest, work: impl FnOnce(&Endpoint) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    match kind {
        Kind::Local => {
            let server = runtime.block_on(LocalServer::start(request, None)).unwrap();
            let done = work(server.endpoint());
            runtime.block_on(server.stop()).unwrap();
            done
        }
        Kind::Docker => {
            let options = ServerOptions::new(RECIPE).docker;
            let release = Some(Release::new(10, 6));
            let started = DockerServer::start(request, release, &options, &|_| {});
            let server = runtime.block_on(started).unwrap();
            let done = work(server.endpoint());
            runtime.block_on(server.stop()).unwrap();
            done
        }
    }
}

fn document(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap()
}

/// Finds these settings of a server that draws, and names hard limits.
fn tells(kind: Kind, keywords: &[(&str, &str)]) {
    for (setting, start, rate, full) in [("10:30:100", 10, 30, 100), ("5:50:40", 5, 50, 40)] {
        let folder = tempfile::tempdir().unwrap();
        with_server(kind, &request(setting, keywords), |endpoint| {
            let begun = Instant::now();
            let finished = probe(endpoint, folder.path(), &["--format", "json"]).code(0);
            let took = begun.elapsed();
            let report = document(&finished);
            for (name, truth, within) in [
                ("start", start, 2),
                ("rate_percent", rate, 10),
                ("full", full, 2),
            ] {
                let found = report[name]["value"].as_i64().unwrap();
                assert!(
                    i64::abs(found - truth) <= within,
                    "{setting} {name}: {report:#}"
                );
            }
            assert!(
                took < PROBED_WITHIN,
                "{setting}: {took:?}: {}",
                finished.stderr
            );
            let _ = std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!(
                    "{}: {} in {took:.1?}, {} connections\n",
                    report["identification"], report["answer"][0], report["connections"]
                ),
            );
            // Nothing that it did has earned this address a ban: it is let in at once.
            let again = ["--max-held", "3", "--max-connections", "3"];
            let again = probe(endpoint, folder.path(), &again).code(3);
            assert!(
                again.stdout.contains("a start of 3 or more"),
                "{}",
                again.stdout
            );
        });
    }
    for (setting, at) in [("30:100:60", 30), ("20:30:20", 20)] {
        let folder = tempfile::tempdir().unwrap();
        with_server(kind, &request(setting, keywords), |endpoint| {
            let finished = probe(endpoint, folder.path(), &[]).code(0);
            for words in [
                format!("hard limit {at}"),
                "full cannot be seen".to_owned(),
                "rate cannot be seen".to_owned(),
                "It is no limit per source".to_owned(),
            ] {
                assert!(
                    finished.stdout.contains(&words),
                    "{words}: {}",
                    finished.stdout
                );
            }
        });
    }
}

#[test]
fn settings_of_this_machines_sshd_are_told_from_outside() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    tells(Kind::Local, &[]);
}

#[test]
fn settings_of_an_sshd_that_bans_are_told_from_outside_and_no_ban_is_earned() {
    let Some(_alone) = alone_with_images() else {
        return;
    };
    tells(Kind::Docker, &[("PerSourcePenalties", PENALTIES)]);
}

#[test]
fn limit_per_source_and_login_grace_time_are_told_from_max_startups() {
    let Some(_alone) = Kind::Local.alone() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let per_source = [("PerSourceMaxStartups", "7")];
    with_server(
        Kind::Local,
        &request("10:30:100", &per_source),
        |endpoint| {
            let finished = probe(endpoint, folder.path(), &[]).code(3);
            for words in ["hard limit 7 for this address", "PerSourceMaxStartups 7"] {
                assert!(
                    finished.stdout.contains(words),
                    "{words}: {}",
                    finished.stdout
                );
            }
        },
    );
    // A climb to two hundred takes longer than a second on any machine; what is held is then replaced in time.
    let short = [("LoginGraceTime", "1")];
    with_server(Kind::Local, &request("10:30:200", &short), |endpoint| {
        let finished = probe(endpoint, folder.path(), &["--within", "20s"]);
        assert!(
            finished
                .stdout
                .contains("LoginGraceTime is not longer than that"),
            "{}{}",
            finished.stdout,
            finished.stderr
        );
    });
}
