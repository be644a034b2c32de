//! `--target external`: the real binary on a server that it neither started nor may look into. The server is the stand-in,
//! run by the test, which alone reads its log.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use sshchurn::shipped::SCENARIOS;
use sshchurn_core::scenario::SshdConfig;
use sshchurn_engine::ssh::keys::KeyPair;
use sshchurn_server::embedded::{EmbeddedSettings, Gauges, ServerConfig, ServerLog, server};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::driver::{self, books_balance, count, run, strategy};

const USER: &str = "somebody";
pub(crate) const STRATEGIES: [&str; 2] = ["per-command", "reused-session"];
/// Logins before the first round, which are no attempts: one to learn the release, one with cold caches and five that are
/// measured.
pub(crate) const CALIBRATION: u64 = 7;
const SOON: Duration = Duration::from_secs(60);

/// A server that was there before the harness.
pub(crate) struct Server {
    pub(crate) runtime: Runtime,
    pub(crate) log: PathBuf,
    pub(crate) gauges: Gauges,
    stop: CancellationToken,
    /// Fingerprint of its host key.
    pub(crate) host_key: String,
    /// What names it on the command line.
    pub(crate) arguments: Vec<String>,
}

impl Server {
    /// Listens on a free port of `address`, with the sshd settings of `smoke`; `None` where the machine has no such address.
    pub(crate) fn start(address: IpAddr, folder: &Path) -> Option<Self> {
        let (scenario, _) = SCENARIOS.resolve("smoke").unwrap();
        Server::start_with(address, folder, &scenario.sshd)
    }

    /// The same with other settings.
    pub(crate) fn start_with(address: IpAddr, folder: &Path, sshd: &SshdConfig) -> Option<Self> {
        Server::start_for(&KeyPair::generate().unwrap(), address, folder, sshd)
    }

    /// The same for a user who has a key already.
    pub(crate) fn start_for(
        key: &KeyPair,
        address: IpAddr,
        folder: &Path,
        sshd: &SshdConfig,
    ) -> Option<Self> {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind((address, 0))).ok()?;
        let log_path = folder.join("server.log");
        let host_key = KeyPair::generate().unwrap();
        let fingerprint = host_key.fingerprint();
        let config = ServerConfig {
            settings: EmbeddedSettings::read(sshd).unwrap(),
            host_key,
            user: USER.to_owned(),
            authorised_keys: vec![key.russh().public_key().clone()],
            home: folder.to_owned(),
            login_shell: PathBuf::from("/bin/sh"),
            slow_auth: None,
            environment: Vec::new(),
            log: ServerLog::create(&log_path).unwrap(),
            gauges: Gauges::default(),
            seed: 1,
        };
        let key_file = folder.join("key");
        std::fs::write(&key_file, key.private_pem().unwrap()).unwrap();
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&key_file, private).unwrap();
        let arguments = [
            "--target",
            "external",
            "--address",
            &listener.local_addr().unwrap().to_string(),
            "--consent",
            &address.to_string(),
            "--user",
            USER,
            "--key",
            key_file.to_str().unwrap(),
        ]
        .map(str::to_owned)
        .to_vec();
        let gauges = config.gauges.clone();
        let stop = CancellationToken::new();
        runtime.spawn(server::run(listener, config, stop.clone()));
        Some(Server {
            runtime,
            log: log_path,
            gauges,
            stop,
            host_key: fingerprint,
            arguments,
        })
    }

    /// `sshchurn run smoke` on it, with further arguments.
    pub(crate) fn smoke(&self, folder: &Path, further: &[&str]) -> driver::Finished {
        self.run("smoke", folder, further)
    }

    /// `sshchurn run SCENARIO` on it, with further arguments.
    fn run(&self, scenario: &str, folder: &Path, further: &[&str]) -> driver::Finished {
        let arguments: Vec<&str> = [scenario]
            .into_iter()
            .chain(self.arguments.iter().map(String::as_str))
            .chain(further.iter().copied())
            .collect();
        run(folder, &arguments)
    }

    /// Lines of its log that begin so, once every connection is closed.
    pub(crate) fn lines(&self, beginning: &str) -> u64 {
        let mut open = self.gauges.watch_connections();
        self.runtime
            .block_on(async {
                tokio::time::timeout(SOON, open.wait_for(|count| *count == 0))
                    .await
                    .map(|idle| idle.is_ok())
            })
            .expect("it is idle");
        let log = std::fs::read_to_string(&self.log).unwrap();
        let found = log.lines().filter(|line| line.starts_with(beginning));
        u64::try_from(found.count()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What the jobs of a run leave on a server that is not the harness's, which here is this machine.
pub(crate) struct Jobs(PathBuf);

impl Jobs {
    pub(crate) fn of(report: &Value) -> Self {
        let warnings = report["warnings"].to_string();
        let from = warnings.find("/tmp/sshchurn-jobs-").unwrap();
        let folder = warnings[from..].split_whitespace().next().unwrap();
        Jobs(PathBuf::from(folder))
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sum over both strategies.
pub(crate) fn of_both(report: &Value, name: &str) -> u64 {
    STRATEGIES
        .iter()
        .map(|kind| count(&strategy(report, kind)["totals"]["total"], name))
        .sum()
}

/// Runs `smoke` on a server at this address and compares what both sides counted.
fn both_sides_count_the_same(server: &Server, folder: &Path) {
    let report = server.smoke(folder, &[]).code(0).report();
    let jobs = Jobs::of(&report);
    books_balance(&report);
    assert_eq!(report["target"]["kind"], "external");
    assert_eq!(report["stand_in"], Value::Null);
    assert_eq!(report["target"]["identification"], server::IDENTIFICATION);
    for name in STRATEGIES {
        let totals = &strategy(&report, name)["totals"];
        assert!(count(&totals["total"], "handshakes") > 0, "{name}");
        for metric in ["server_accepted", "server_drops", "startups_peak"] {
            assert_eq!(totals["server"][metric], Value::Null, "{name} {metric}");
        }
    }
    assert_eq!(
        of_both(&report, "handshakes") + CALIBRATION,
        server.lines("Accepted publickey for ")
    );
    assert_eq!(
        of_both(&report, "banner_eof"),
        server.lines("drop connection #")
    );
    // Its jobs ran there, in a folder that the warning names.
    assert!(jobs.0.is_dir(), "{}", jobs.0.display());
}

#[test]
fn running_server_is_loaded_and_both_sides_count_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Ipv4Addr::LOCALHOST.into(), folder.path()).unwrap();
    both_sides_count_the_same(&server, folder.path());
}

#[test]
fn server_on_an_ipv6_address_is_loaded_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(Ipv6Addr::LOCALHOST.into(), folder.path()) else {
        driver::skipped("SSHCHURN_REQUIRE_IPV6", "no ::1 on this machine");
        return;
    };
    assert!(server.arguments[3].starts_with("[::1]:"));
    both_sides_count_the_same(&server, folder.path());
}

#[test]
fn packages_that_nobody_can_look_for_are_a_warning_and_a_login_shell_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Ipv4Addr::LOCALHOST.into(), folder.path()).unwrap();
    let with = |keys: &str| {
        let scenario = folder.path().join("scenario.toml");
        let text = format!(
            "name = \"keys\"\ntasks = 1\n[[strategy]]\nkind = \"one-shot\"\n[sshd]\nmax_startups = \"10:30:100\"\n{keys}\n"
        );
        std::fs::write(&scenario, text).unwrap();
        let arguments: Vec<&str> = std::iter::once(scenario.to_str().unwrap())
            .chain(server.arguments.iter().map(String::as_str))
            .collect();
        run(folder.path(), &arguments)
    };
    let refused = with("login_shell = \"/bin/bash\"").code(2);
    for words in ["/bin/bash", "sshd.login_shell", "--target docker"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    assert!(!refused.directory.exists(), "{}", refused.stderr);
    let report = with("packages = [\"rsync\", \"git\"]").report();
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("sshd.packages") && warnings.contains("git, rsync"),
        "{warnings}"
    );
    assert!(report["target"].get("packages").is_none());
}

/// The settings of `smoke` with another `MaxStartups`.
pub(crate) fn with_max_startups(value: &str) -> SshdConfig {
    let (scenario, _) = SCENARIOS.resolve("smoke").unwrap();
    SshdConfig {
        max_startups: value.parse().unwrap(),
        ..scenario.sshd
    }
}

#[test]
fn level_at_which_a_server_refuses_everything_is_known_after_some_tries_whatever_the_scenario_says()
{
    let folder = tempfile::tempdir().unwrap();
    let sshd = with_max_startups("5:100:10");
    let server = Server::start_with(Ipv4Addr::LOCALHOST.into(), folder.path(), &sshd).unwrap();
    // The scenario believes in 10:30:100.
    let finished = server.run("staircase", folder.path(), &["--rounds", "2"]);
    let totals = &strategy(&finished.report(), "staircase")["totals"]["total"].clone();
    assert_eq!(count(totals, "attempts_held"), 2 * 5);
    assert_eq!(count(totals, "banner_eof"), 2 * 30);
}

#[test]
fn server_that_is_being_throttled_is_measured_and_the_report_says_that_it_was_busy() {
    let folder = tempfile::tempdir().unwrap();
    // Nine of ten are refused while somebody else holds a single slot.
    let sshd = with_max_startups("1:90:100");
    let server = Server::start_with(Ipv4Addr::LOCALHOST.into(), folder.path(), &sshd).unwrap();
    let address = server.arguments[3].clone();
    let _holder = std::net::TcpStream::connect(&address).unwrap();
    driver::wait_until(SOON, "the slot", || server.gauges.startups() == 1);
    let report = server.smoke(folder.path(), &["-n", "2"]).report();
    drop(Jobs::of(&report));
    assert!(of_both(&report, "attempts") > 0);
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("logins of a single client within") && warnings.contains("was busy"),
        "{warnings}"
    );
}

#[test]
fn threshold_about_what_only_the_server_knows_is_no_pass() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Ipv4Addr::LOCALHOST.into(), folder.path()).unwrap();
    let finished = server
        .smoke(folder.path(), &["--threshold", "server_drops < 1000"])
        .code(3);
    drop(Jobs::of(&finished.report()));
}
