//! What the record of a run costs: an event through the collector, the ledger's writing and reading, the tap and its
//! classification, and the parser of sshd's log (lines and bytes per second).

#[path = "../core/tests/grown_log/mod.rs"]
mod grown_log;

use std::hint::black_box;
use std::sync::mpsc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use grown_log::GrownLog;
use sshchurn_core::ids::{AttemptId, RoundId, TaskId};
use sshchurn_core::instant::RunInstant;
use sshchurn_core::ledger::{Event, LedgerReader, LedgerSink, Record};
use sshchurn_core::server_log::{LogLines, ServerLogCounts, parse_line};
use sshchurn_core::socket_error::SocketError;
use sshchurn_core::vocabulary::{AttemptOutcome, AttemptTrace, Close, Phase};
use sshchurn_engine::clock::RunClock;
use sshchurn_engine::collector::Collector;
use sshchurn_engine::ssh::{Tap, classify};

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
            errno: Some(SocketError::ConnectionReset),
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
            let tap = Tap::new(clock.clone());
            tap.connect_called();
            tap.bound(([127, 0, 0, 1], 40_000).into());
            tap.connected();
            tap.sent(24);
            tap.received(black_box(b"Not allowed at this time\r\n"));
            tap.failed(&std::io::Error::from_raw_os_error(104));
            classify::after_connect(&tap.trace(), "disconnected")
        });
    });
    group.finish();
}

/// Long enough that every port is met again and again, as in a run of an hour.
const LOG_LINES: usize = 200_000;

fn server_log(c: &mut Criterion) {
    let grown = GrownLog::with_ports(28_000);
    let mut log = Vec::new();
    for number in 0..LOG_LINES {
        grown.append(number, &mut log);
    }
    let read = |log: &[u8]| {
        let mut counts = ServerLogCounts::new(None);
        let mut parser = LogLines::new();
        for chunk in log.chunks(64 * 1024) {
            parser.feed(chunk, |line| {
                counts.fold(&parse_line(line));
            });
        }
        counts.lines
    };
    assert_eq!(read(&log), LOG_LINES as u64);
    let mut group = c.benchmark_group("server_log");
    group.sample_size(20);
    // The same work by both measures: criterion prints one rate for each name.
    for (name, throughput) in [
        ("lines", Throughput::Elements(LOG_LINES as u64)),
        ("bytes", Throughput::Bytes(log.len() as u64)),
    ] {
        group.throughput(throughput);
        group.bench_function(name, |b| b.iter(|| read(black_box(&log))));
    }
    group.finish();
}

criterion_group!(benches, collector, ledger, tap, server_log);
criterion_main!(benches);
