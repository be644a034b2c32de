//! What the client costs beside the server it measures: CPU per handshake of both, in one run, and the client's
//! memory for each held session. Needs this machine's own sshd; prints a table, judges nothing.
//!
//! `cargo bench --bench client_cost`

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use sshchurn_core::scenario::{MaxStartups, SshdConfig};
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::ssh::{Command, ConnectLimits, Connector, Session, Tap};
use sshchurn_server::ServerRequest;
use sshchurn_server::local::LocalServer;

const BLOCKS: usize = 5;
const HANDSHAKES: usize = 60;
const HELD: usize = 200;
const LIMITS: ConnectLimits = ConnectLimits::within(Duration::from_secs(60));

#[allow(clippy::print_stdout, clippy::print_stderr)]
fn main() {
    // `cargo test --benches` runs every bench once with this argument; there is nothing to test here.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let request = ServerRequest {
        sshd: SshdConfig::of(MaxStartups::new(1000, 100, 1000).expect("valid")),
        run_id: "bench".to_owned(),
        ready_within: Duration::from_secs(20),
        listen: sshchurn_server::ListenOn::OneAddress,
        task_keys: [].into(),
        cores: None,
    };
    let target = match runtime.block_on(LocalServer::start(&request, None)) {
        Ok(target) => target,
        Err(error) => {
            eprintln!("skipped: {error}");
            return;
        }
    };
    let endpoint = target.endpoint();
    let connector = endpoint.connector();
    let clock = RunClock::start();
    let connect = async || {
        connector
            .connect(&LIMITS, &Tap::new(clock.clone()))
            .await
            .expect("a handshake")
    };
    let listener = target.listener_pid().expect("a local sshd has a pid");

    runtime.block_on(async {
        println!("sshd: {}", target.description().choice);
        println!("{HANDSHAKES} handshakes in a row, {BLOCKS} times; CPU per handshake:");
        println!("{:>12} {:>12} {:>8}", "client", "sshd", "wall");
        let (mut client_all, mut server_all) = (Vec::new(), Vec::new());
        for _ in 0..BLOCKS {
            let (client, server, started) = (own_cpu(), sshd_cpu(listener), Instant::now());
            for _ in 0..HANDSHAKES {
                connect().await.close().await;
            }
            target
                .wait_idle(Duration::from_secs(20))
                .await
                .expect("idle");
            let per = |seconds: f64| seconds * 1000.0 / HANDSHAKES as f64;
            let (client, server) = (per(own_cpu() - client), per(sshd_cpu(listener) - server));
            println!(
                "{client:>9.2} ms {server:>9.2} ms {:>5.0} ms",
                per(started.elapsed().as_secs_f64())
            );
            client_all.push(client);
            server_all.push(server);
        }
        let (client, server) = (median(client_all), median(server_all));
        println!(
            "median: client {client:.2} ms, sshd {server:.2} ms, ratio 1:{:.1}",
            server / client
        );

        let before = resident_bytes();
        let mut held = Vec::with_capacity(HELD);
        for _ in 0..HELD {
            held.push(connect().await);
        }
        for session in &mut held {
            session
                .run(Command::Run("true"), Duration::from_secs(60))
                .await
                .expect("a command");
        }
        let each = resident_bytes().saturating_sub(before) / HELD as u64;
        println!(
            "memory of {HELD} held sessions, one command each: {:.1} KiB a session",
            each as f64 / 1024.0
        );
        for session in held {
            session.close().await;
        }
        target.stop().await.expect("stopped");
    });
}

/// CPU seconds of this process.
fn own_cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("usage");
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
        .sum()
}

/// CPU seconds of the listener and of its children that have ended (proc(5), fields 14 to 17).
fn sshd_cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the listener runs");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .expect("fields")
        .split_whitespace()
        .collect();
    // The list begins with field 3; USER_HZ is 100.
    fields[11..15]
        .iter()
        .map(|ticks| ticks.parse::<f64>().expect("a number"))
        .sum::<f64>()
        / 100.0
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS");
    line.split_whitespace()
        .nth(1)
        .expect("a number")
        .parse::<u64>()
        .expect("a number")
        * 1024
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
