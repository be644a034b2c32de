//! End-to-end handshakes against the embedded stand-in: both ends in one process, so this is the cost of client and
//! stand-in together, and the ceiling of what a run against it can do.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sshchurn_core::scenario::{MaxStartups, SshdConfig};
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::ssh::{ConnectLimits, Connector, Session, Tap};
use sshchurn_server::ServerRequest;
use sshchurn_server::embedded::EmbeddedServer;

const LIMITS: ConnectLimits = ConnectLimits::within(Duration::from_secs(10));

fn handshakes(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let request = ServerRequest {
        sshd: SshdConfig::of(MaxStartups::new(1000, 100, 1000).expect("valid")),
        run_id: "bench".to_owned(),
        ready_within: Duration::from_secs(10),
        listen: sshchurn_server::ListenOn::OneAddress,
        task_keys: [].into(),
        cores: None,
    };
    let target = runtime
        .block_on(EmbeddedServer::start(&request))
        .expect("the stand-in");
    let endpoint = target.endpoint();
    let connector = endpoint.connector();
    let clock = RunClock::start();
    let one = async || {
        let session = connector
            .connect(&LIMITS, &Tap::new(clock.clone()))
            .await
            .expect("a handshake");
        session.close().await;
    };

    let mut group = c.benchmark_group("embedded");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(1));
    group.bench_function("handshake", |b| b.to_async(&runtime).iter(one));
    group.throughput(Throughput::Elements(50));
    group.bench_function("burst_of_50", |b| {
        b.to_async(&runtime).iter(async || {
            futures::future::join_all((0..50).map(|_| one())).await;
        });
    });
    group.finish();
    runtime.block_on(target.stop()).expect("stopped");
}

criterion_group!(benches, handshakes);
criterion_main!(benches);
