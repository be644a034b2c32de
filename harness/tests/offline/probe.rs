//! `sshchurn probe`: the real binary on servers of which it is told nothing but the address. They are the stand-in, whose rule is
//! OpenSSH's, and peers that have no such rule.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::driver::{self, Finished, Running};
use crate::external::{Server, with_max_startups};

const SOON: Duration = Duration::from_secs(120);

/// A stand-in with this `MaxStartups`.
fn server(max_startups: &str, folder: &Path) -> Server {
    let sshd = with_max_startups(max_startups);
    Server::start_with(Ipv4Addr::LOCALHOST.into(), folder, &sshd).unwrap()
}

/// `sshchurn probe ARGS` in the background.
fn start(args: &[&str]) -> Running {
    let mut command = Command::new(driver::binary());
    command.arg("probe").args(args);
    driver::start_command(command, std::path::PathBuf::new())
}

fn probe(args: &[&str]) -> Finished {
    start(args).finish(SOON)
}

/// What names a stand-in to `probe`: its address, then what `run` takes.
fn named(server: &Server) -> Vec<&str> {
    let own = server.arguments.iter().map(String::as_str);
    // `--target external --address ADDRESS` is the positional argument here.
    own.skip(3).collect()
}

fn probe_of(server: &Server, further: &[&str]) -> Finished {
    probe(&[&named(server), further].concat())
}

fn document(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap()
}

/// What it says in all.
fn said(report: &Value) -> String {
    format!("{} {}", report["answer"], report["notes"])
}

#[test]
fn setting_of_a_server_that_draws_is_found_and_every_held_connection_has_logged_in() {
    let folder = tempfile::tempdir().unwrap();
    let server = server("4:50:12", folder.path());
    let finished = probe_of(&server, &["--format", "json"]).code(0);
    let report = document(&finished);
    let value = |name: &str| report[name]["value"].as_i64().unwrap();
    assert_eq!(report["kind"], "max_startups", "{report:#}");
    assert_eq!(report["embedded_stand_in"], true);
    for (name, truth, within) in [("start", 4, 2), ("rate_percent", 50, 10), ("full", 12, 2)] {
        assert!((value(name) - truth).abs() <= within, "{name}: {report:#}");
    }
    // One login before the first climb, and each connection that was let in.
    let climbs = report["climbs"].as_array().unwrap().iter();
    let admitted: u64 = climbs
        .map(|climb| climb["tries"].as_u64().unwrap() - climb["refused"].as_u64().unwrap())
        .sum();
    let elsewhere = report["elsewhere"].as_object().map_or(0, |tried| {
        tried["tries"].as_u64().unwrap() - tried["refused"].as_u64().unwrap()
    });
    assert_eq!(
        server.lines("Accepted publickey for "),
        1 + admitted + elsewhere
    );
    assert_eq!(server.lines("Connection closed by "), 0, "none left silent");

    let text = probe_of(&server, &[]).code(0);
    assert!(
        text.stdout.starts_with("EMBEDDED STAND-IN"),
        "{}",
        text.stdout
    );
    assert!(text.stdout.contains("\nMaxStartups "), "{}", text.stdout);
    assert!(text.stderr.contains("climb 1: "), "{}", text.stderr);
}

#[test]
fn hard_limit_is_named_with_what_cannot_be_seen_and_a_second_address_rules_a_limit_per_source_out()
{
    for setting in ["6:100:9", "6:30:6"] {
        let folder = tempfile::tempdir().unwrap();
        let server = server(setting, folder.path());
        let finished = probe_of(&server, &[]).code(0);
        for words in [
            "hard limit 6",
            "full cannot be seen",
            "rate cannot be seen",
            "It is no limit per source: from 127.0.0.2 20 of 20",
        ] {
            assert!(
                finished.stdout.contains(words),
                "{words}: {}",
                finished.stdout
            );
        }
    }
}

#[test]
fn slots_that_somebody_else_holds_are_a_caveat_and_a_full_server_cannot_be_told() {
    let folder = tempfile::tempdir().unwrap();
    let server = server("6:100:9", folder.path());
    let address: SocketAddr = server.arguments[3].parse().unwrap();
    let others: Vec<TcpStream> = (0..2)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    driver::wait_until(SOON, "their slots", || server.gauges.startups() == 2);
    let report = document(&probe_of(&server, &["--format", "json"]).code(0));
    assert_eq!(report["hard_limit"]["held"], 4, "{report:#}");
    assert!(
        said(&report).contains("Connections of others"),
        "{report:#}"
    );

    let more: Vec<TcpStream> = (0..4)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    driver::wait_until(SOON, "all slots", || server.gauges.startups() == 6);
    let key = named(&server)
        .iter()
        .position(|word| *word == "--user")
        .unwrap();
    // Nobody can log in first.
    let without_key: Vec<&str> = named(&server)[..key].to_vec();
    let finished = probe(&without_key).code(3);
    assert!(
        finished
            .stdout
            .contains("with no connection held, 30 of 30 were refused already"),
        "{}",
        finished.stdout
    );
    drop((others, more));
}

/// A peer that lets so many clients in, in the words of another program than OpenSSH, and closes the others without a word.
fn peer(identification: &'static str, most: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut held: Vec<TcpStream> = Vec::new();
        for client in listener.incoming().map_while(Result::ok) {
            // Those who have left make room.
            held.retain(|held| {
                held.set_nonblocking(true).unwrap();
                !matches!((&mut &*held).read(&mut [0; 16]), Ok(0))
            });
            if held.len() < most {
                (&client).write_all(identification.as_bytes()).unwrap();
                held.push(client);
            }
        }
    });
    address
}

#[test]
fn other_programs_are_named_and_no_max_startups_is_made_up_for_them() {
    for (identification, most, words) in [
        (
            "SSH-2.0-Go\r\n",
            usize::MAX,
            "No limit was met: 24 connections were held",
        ),
        ("SSH-2.0-dropbear_2022.83\r\n", 5, "hard limit 5"),
    ] {
        let address = peer(identification, most).to_string();
        let arguments = [
            address.as_str(),
            "--consent",
            "127.0.0.1",
            "--max-held",
            "24",
        ];
        let finished = probe(&arguments).code(3);
        for words in [words, identification.trim(), "and not as OpenSSH"] {
            assert!(
                finished.stdout.contains(words),
                "{words}: {}",
                finished.stdout
            );
        }
    }
}

#[test]
fn without_a_key_there_is_one_climb_and_the_ban_that_it_earns_is_said() {
    for (held, words) in [
        ("20", "bans this address for some 20 s"),
        ("15", "bans nobody"),
    ] {
        let address = peer("SSH-2.0-OpenSSH_10.6\r\n", usize::MAX).to_string();
        let arguments = [
            address.as_str(),
            "--consent",
            "127.0.0.1",
            "--max-held",
            held,
        ];
        let finished = probe(&arguments).code(3);
        let told = format!("a start of {held} or more");
        for words in [words, &told] {
            assert!(
                finished.stdout.contains(words),
                "{words}: {}",
                finished.stdout
            );
        }
    }
}

#[test]
fn own_limit_of_open_files_is_said_and_is_no_limit_of_the_server() {
    let address = peer("SSH-2.0-OpenSSH_9.2p1\r\n", usize::MAX).to_string();
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "ulimit -n 84 && exec \"$@\"",
        "sh",
        driver::binary(),
        "probe",
        &address,
        "--consent",
        "127.0.0.1",
    ]);
    let finished = driver::start_command(command, std::path::PathBuf::new())
        .finish(SOON)
        .code(3);
    for words in [
        "limit of open files lets it hold 20",
        "a start of 20 or more",
    ] {
        assert!(
            finished.stdout.contains(words),
            "{words}: {}",
            finished.stdout
        );
    }
}

#[test]
fn interrupt_lets_what_is_held_log_in_and_shows_what_was_seen() {
    let folder = tempfile::tempdir().unwrap();
    let server = server("4:90:60", folder.path());
    let running = start(&[&named(&server)[..], &["--format", "json"]].concat());
    driver::wait_until(SOON, "a few held", || server.gauges.startups() >= 5);
    running.signal(Signal::SIGINT);
    let finished = running.finish(SOON).code(130);
    let report = document(&finished);
    assert_eq!(report["end"], "interrupted");
    assert!(
        said(&report).contains("Interrupted: this is what was seen"),
        "{report:#}"
    );
    assert_eq!(server.lines("Connection closed by "), 0, "none left silent");
}

#[test]
fn nothing_is_sent_without_consent_and_a_server_that_cannot_be_reached_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let refused = probe(&[&address]).code(2);
    assert!(
        refused.stderr.contains("--consent 127.0.0.1"),
        "{}",
        refused.stderr
    );
    assert!(listener.accept().is_err(), "nobody came");
    drop(listener);
    let gone = probe(&[&address, "--consent", "127.0.0.1"]).code(4);
    assert!(
        gone.stdout.contains("no connection was answered"),
        "{}",
        gone.stdout
    );
    assert!(gone.stdout.contains("connect_refused"), "{}", gone.stdout);

    let folder = tempfile::tempdir().unwrap();
    let server = server("4:90:60", folder.path());
    let mut arguments = named(&server);
    let user = arguments.iter().position(|word| *word == "--user").unwrap();
    arguments[user + 1] = "nobody-else";
    let refused = probe(&arguments).code(4);
    assert!(
        refused.stderr.contains("does not let nobody-else in"),
        "{}",
        refused.stderr
    );
    let mut arguments = named(&server);
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    arguments.extend(["--host-key", other]);
    let refused = probe(&arguments).code(4);
    assert!(
        refused.stderr.contains("another server"),
        "{}",
        refused.stderr
    );
}
