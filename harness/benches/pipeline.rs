//! What the record of a run costs: an event through the collector, the ledger's writing and reading, the tap and its
//! classification, the parser of sshd's log (lines and bytes per second), and the diagnosis of a log in two envelopes (bytes per
//! second).

#[path = "../core/tests/grown_log/mod.rs"]
mod grown_log;

use std::hint::black_box;
use std::io::Write as _;
use std::sync::mpsc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use grown_log::GrownLog;
use sshchurn_core::diagnosis::Diagnoser;
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
        trace: Box::new(AttemptTrace {
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
        }),
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

/// What `diagnose` does with the lines of a busy host, of which every other one is another program's.
fn diagnosis(c: &mut Criterion) {
    const LINES: usize = 100_000;
    let grown = GrownLog::with_ports(28_000);
    let (mut syslog, mut journal) = (Vec::new(), Vec::new());
    let mut said = Vec::new();
    for number in 0..LINES {
        said.clear();
        grown.append(number, &mut said);
        let said = String::from_utf8_lossy(said.trim_ascii_end());
        let (program, text) = match number % 2 {
            0 => ("sshd", &*said),
            _ => (
                "CRON",
                "pam_unix(cron:session): session closed for user root",
            ),
        };
        let second = number / 50;
        let clock = format!(
            "{:02}:{:02}:{:02}",
            second / 3600 % 24,
            second / 60 % 60,
            second % 60
        );
        writeln!(
            syslog,
            "Apr  5 {clock} build-host-07 {program}[620]: {text}"
        )
        .expect("memory");
        let entry = serde_json::json!({
            "__CURSOR": "s=1f7a2b3c4d5e6f708192a3b4c5d6e7f8;i=1;b=0a1b2c3d4e5f60718293a4b5c6d7e8f9;m=1;t=1;x=1",
            "__REALTIME_TIMESTAMP": (1_775_363_707_000_000 + second * 1_000_000).to_string(),
            "_BOOT_ID": "0a1b2c3d4e5f60718293a4b5c6d7e8f9", "_HOSTNAME": "build-host-07", "PRIORITY": "6",
            "_CMDLINE": "sshd: /usr/sbin/sshd -D [listener] 3 of 10-100 startups", "_SELINUX_CONTEXT": "unconfined\n",
            "_SYSTEMD_CGROUP": "/system.slice/ssh.service", "_SYSTEMD_UNIT": "ssh.service", "_TRANSPORT": "syslog",
            "SYSLOG_IDENTIFIER": program, "_PID": "620", "MESSAGE": text,
        });
        writeln!(journal, "{entry}").expect("memory");
    }
    let mut group = c.benchmark_group("diagnosis");
    group.sample_size(20);
    for (name, log) in [("syslog", &syslog), ("journald_json", &journal)] {
        group.throughput(Throughput::Bytes(log.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut diagnoser = Diagnoser::new(None, None);
                diagnoser.begin_file(1_775_363_707_000_000);
                let mut lines = LogLines::up_to(64 * 1024);
                for chunk in black_box(log).chunks(128 * 1024) {
                    lines.feed(chunk, |line| diagnoser.line(line));
                }
                let said = diagnoser.finish();
                assert_eq!(said.lines.total, LINES as u64);
                said
            });
        });
    }
    group.finish();
}

criterion_group!(benches, collector, ledger, tap, server_log, diagnosis);
criterion_main!(benches);
