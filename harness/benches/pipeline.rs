//! What the record of a run costs: an event through the collector, the ledger's writing and reading, the tap and its
//! classification, and the parser of sshd's log.

use std::hint::black_box;
use std::sync::mpsc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sshchurn::analysis::server_log::{ServerLogCounts, ServerLogParser};
use sshchurn::clock::{RunClock, RunInstant};
use sshchurn::ids::{AttemptId, RoundId, TaskId};
use sshchurn::ledger::{
    AttemptOutcome, AttemptTrace, Close, Collector, Event, LedgerReader, LedgerSink, Phase, Record,
};
use sshchurn::ssh::{Tap, classify};

const EVENTS: u64 = 10_000;

fn attempt_ended(attempt: u64) -> Event {
    Event::AttemptEnded {
        attempt: AttemptId(attempt),
        outcome: AttemptOutcome::BannerEof {
            close: Close::Reset,
        },
        trace: AttemptTrace {
            connect_called: Some(RunInstant(1_000_000 + attempt)),
            connected: Some(RunInstant(1_100_000 + attempt)),
            first_byte: Some(RunInstant(1_200_000 + attempt)),
            ended: Some(RunInstant(1_300_000 + attempt)),
            local_port: Some(40_000),
            text_before: Some("Not allowed at this time".to_owned()),
            errno: Some("ECONNRESET".to_owned()),
            bytes_in: 26,
            bytes_out: 24,
            ..AttemptTrace::default()
        },
    }
}

fn records() -> Vec<Record> {
    (0..EVENTS)
        .map(|seq| Record {
            seq,
            at: RunInstant(seq * 1000),
            event: if seq % 2 == 0 {
                Event::AttemptStarted {
                    round: RoundId(1),
                    task: TaskId(3),
                    attempt: AttemptId(seq),
                    phase: Phase::Poll,
                    ordinal: 1,
                }
            } else {
                attempt_ended(seq)
            },
        })
        .collect()
}

fn collector(c: &mut Criterion) {
    let mut group = c.benchmark_group("collector");
    group.throughput(Throughput::Elements(1));
    group.bench_function("event", |b| {
        let (sender, receiver) = mpsc::channel();
        let drain = std::thread::spawn(move || receiver.into_iter().count());
        let collector = Collector::new(RunClock::start(), sender);
        b.iter_batched(
            || attempt_ended(1),
            |event| collector.record(event),
            BatchSize::SmallInput,
        );
        collector.finish();
        drain.join().expect("the draining thread");
    });
    group.finish();
}

fn ledger(c: &mut Criterion) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.jsonl.zst");
    let records = records();
    let write = || {
        let mut sink = LedgerSink::create(&path).expect("a ledger");
        for record in &records {
            sink.append(record).expect("written");
        }
        sink.finish().expect("finished");
    };
    let mut group = c.benchmark_group("ledger");
    group
        .throughput(Throughput::Elements(EVENTS))
        .sample_size(20);
    group.bench_function("write", |b| b.iter(write));
    write();
    group.bench_function("read", |b| {
        b.iter(|| {
            LedgerReader::open(&path)
                .expect("a ledger")
                .map(|record| record.expect("a record").seq)
                .sum::<u64>()
        });
    });
    group.finish();
}

fn tap(c: &mut Criterion) {
    let clock = RunClock::start();
    let mut group = c.benchmark_group("tap");
    group.throughput(Throughput::Elements(1));
    group.bench_function("refusal_classified", |b| {
        b.iter(|| {
            let tap = Tap::new(clock);
            tap.connect_called();
            tap.connected(40_000);
            tap.sent(24);
            tap.received(black_box(b"Not allowed at this time\r\n"));
            tap.failed(&std::io::Error::from_raw_os_error(104));
            classify::after_connect(&tap.trace(), "disconnected")
        });
    });
    group.finish();
}

fn server_log(c: &mut Criterion) {
    let mut log = String::new();
    let lines = 20_000;
    for port in 0..lines / 4 {
        let port = 32_768 + port;
        log.push_str(&format!(
            "debug1: sshd.c:should_drop_connection():986 (pid=7): should_drop_connection: p 31, r 77\r\n\
             sshd.c:drop_connection():1032 (pid=7): drop connection #12 from [127.0.0.1]:{port} on [127.0.0.1]:2222 past MaxStartups\r\n\
             Connection from 127.0.0.1 port {port} on 127.0.0.1 port 2222\r\n\
             Accepted publickey for runner from 127.0.0.1 port {port} ssh2: ED25519 SHA256:abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG\r\n"
        ));
    }
    let mut group = c.benchmark_group("server_log");
    group
        .throughput(Throughput::Elements(lines))
        .sample_size(20);
    group.bench_function("lines", |b| {
        b.iter(|| {
            let mut counts = ServerLogCounts::new(None);
            let mut parser = ServerLogParser::new();
            for chunk in log.as_bytes().chunks(64 * 1024) {
                parser.feed(chunk, |event| counts.fold(event));
            }
            counts.server_drops()
        });
    });
    group.finish();
}

criterion_group!(benches, collector, ledger, tap, server_log);
criterion_main!(benches);
