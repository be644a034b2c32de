//! The server's side read from inside its container, as on machines whose `/proc` does not show the container's
//! processes, against the same read from this machine.

use crate::driver;
use std::net::TcpStream;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use crate::machine::Kind;
use sshchurn::shipped::{RECIPE, SCENARIOS};
use sshchurn_server::docker::DockerServer;
use sshchurn_server::{GaugeWatch, ServerOptions, ServerRequest, StartupsReading, Witness};

const WITHIN: Duration = Duration::from_secs(60);
/// Fewer than `start`, so that sshd admits every one of them.
const SILENT: usize = 3;

async fn container() -> DockerServer {
    let (scenario, _) = SCENARIOS.resolve("stalled-burst").unwrap();
    let request = ServerRequest {
        sshd: scenario.sshd,
        run_id: "witness-inside-test".to_owned(),
        ready_within: WITHIN,
        listen: sshchurn_server::ListenOn::OneAddress,
        task_keys: [].into(),
        cores: None,
    };
    DockerServer::start(&request, None, &ServerOptions::new(RECIPE).docker, &|_| {})
        .await
        .unwrap()
}

fn watch(witness: &Witness) -> (GaugeWatch, mpsc::Receiver<StartupsReading>) {
    let (tell, told) = mpsc::channel();
    let watch = witness.watch(move |reading| {
        let _ = tell.send(reading);
    });
    (watch.expect("a gauge"), told)
}

/// Waits for a number of slots, and returns it with everything that was told before.
async fn until(told: &mpsc::Receiver<StartupsReading>, slots: u32) -> Vec<StartupsReading> {
    tokio::task::block_in_place(|| {
        let mut seen = Vec::new();
        loop {
            let reading = told
                .recv_timeout(WITHIN)
                .unwrap_or_else(|error| panic!("{slots} slots after {seen:?}: {error}"));
            seen.push(reading);
            if reading.slots == slots {
                return seen;
            }
        }
    })
}

/// Whether the loop that reads the titles still runs in the container.
fn a_loop_is_left(container: &str) -> bool {
    let listed = Command::new("docker")
        .args(["top", container, "-eo", "pid,args"])
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8_lossy(&listed.stdout).contains(" titles ")
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_and_counters_read_inside_the_container_are_those_read_from_outside() {
    let Some(_alone) = Kind::Docker.alone() else {
        return;
    };
    let target = container().await;
    target.wait_idle(WITHIN).await.unwrap();
    let (inside, outside) = (target.witness_inside(), target.witness());
    let seen_outside = target.listener_pid().is_some();
    assert!(!inside.is_cheap(), "a command in the container is not");

    let (watch_inside, told_inside) = watch(&inside);
    let (watch_outside, told_outside) = watch(&outside);
    until(&told_inside, 0).await;
    assert!(a_loop_is_left(target.container_id()), "it is being read");
    let silent: Vec<TcpStream> = (0..SILENT)
        .map(|_| TcpStream::connect(target.endpoint().address).unwrap())
        .collect();
    for told in [&told_inside, &told_outside] {
        let seen = until(told, 3).await;
        // What `stalled-burst` asks of sshd, in the title of its listener.
        assert!(
            seen.iter()
                .all(|reading| (reading.start, reading.full) == (10, 100)),
            "{seen:?}"
        );
    }
    drop(silent);
    for told in [&told_inside, &told_outside] {
        until(told, 0).await;
    }
    for (watch, where_) in [(watch_inside, "inside"), (watch_outside, "outside")] {
        let end = watch.stop().await.expect("it ends");
        assert!(
            end.samples >= 3 && end.over > Duration::ZERO,
            "{where_}: {end:?}"
        );
    }
    assert!(
        told_inside.try_recv().is_err(),
        "nothing is told after the stop"
    );
    tokio::task::block_in_place(|| {
        driver::wait_until(WITHIN, "the loop in the container ends", || {
            !a_loop_is_left(target.container_id())
        });
    });

    // Counters only grow: a reading from outside lies between two from inside.
    target.wait_idle(WITHIN).await.unwrap();
    let (before, between, after) = (
        inside.read().await,
        outside.read().await,
        inside.read().await,
    );
    assert!(before.tree_cpu_ns.is_some(), "{before:?}");
    assert!(overflows(&before).is_some(), "{before:?}");
    if seen_outside {
        assert!(before.tree_cpu_ns <= between.tree_cpu_ns);
        assert!(between.tree_cpu_ns <= after.tree_cpu_ns);
        assert!(overflows(&before) <= overflows(&between));
        assert!(overflows(&between) <= overflows(&after));
        if between.group_cpu_ns.is_some() {
            assert!(before.group_cpu_ns <= between.group_cpu_ns);
            assert!(between.group_cpu_ns <= after.group_cpu_ns);
        }
    }
    target.stop().await.unwrap();
}

fn overflows(reading: &sshchurn_core::reading::ServerReading) -> Option<u64> {
    reading.kernel.and_then(|kernel| kernel.listen_overflows)
}
