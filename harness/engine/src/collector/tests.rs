//! The collector's order, and the file's honesty about what it holds.

use std::io::Write as _;

use super::*;
use sshchurn_core::ids::{RoundId, TaskId};
use sshchurn_core::ledger::LedgerReader;
use sshchurn_core::vocabulary::{AttemptTrace, Close, StageFailure};

fn started(task: u32) -> Event {
    Event::TaskStarted {
        round: RoundId(1),
        task: TaskId(task),
    }
}

fn written(path: &Path, events: u32) {
    let writer = LedgerWriter::start(path, RunClock::start()).expect("a ledger");
    for task in 0..events {
        writer.collector().record(started(task));
    }
    assert_eq!(writer.close().expect("written"), u64::from(events));
}

#[test]
fn events_recorded_from_many_threads_are_ordered_in_number_and_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.jsonl.zst");
    let writer = LedgerWriter::start(&path, RunClock::start()).expect("a ledger");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let collector = writer.collector().clone();
            scope.spawn(move || {
                for task in 0..500 {
                    collector.record(started(thread * 1000 + task));
                }
            });
        }
    });
    assert_eq!(writer.close().expect("written"), 2000);
    let records: Vec<Record> = LedgerReader::open(&path)
        .expect("a ledger")
        .map(|record| record.expect("a record"))
        .collect();
    assert!(
        records
            .iter()
            .enumerate()
            .all(|(index, record)| record.seq == index as u64)
    );
    assert!(records.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

#[test]
fn what_is_written_reads_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.jsonl.zst");
    let event = Event::AttemptEnded {
        attempt: AttemptId(7),
        outcome: AttemptOutcome::KexFailed {
            failure: StageFailure::Lost {
                close: Close::Reset,
            },
        },
        trace: Box::new(AttemptTrace {
            connected: Some(RunInstant(5)),
            text_before: Some("Not allowed at this time".to_owned()),
            ..AttemptTrace::default()
        }),
    };
    let writer = LedgerWriter::start(&path, RunClock::start()).expect("a ledger");
    writer.collector().record(event.clone());
    writer.close().expect("written");
    let mut reader = LedgerReader::open(&path).expect("a ledger");
    assert_eq!(
        reader.next().expect("one record").expect("readable").event,
        event
    );
    assert!(reader.next().is_none() && !reader.truncated());
}

#[test]
fn truncated_ledger_gives_its_whole_lines_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.jsonl.zst");
    written(&path, 20_000);
    let bytes = std::fs::read(&path).expect("bytes");
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("cut");
    let mut reader = LedgerReader::open(&path).expect("a ledger");
    let read = reader
        .by_ref()
        .inspect(|record| assert!(record.is_ok(), "{record:?}"))
        .count();
    assert!(read > 0 && read < 20_000, "{read}");
    assert!(reader.truncated());
}

#[test]
fn other_versions_and_other_files_are_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("events.jsonl.zst");
    let write = |text: &str| {
        let mut encoder =
            zstd::stream::write::Encoder::new(std::fs::File::create(&path).expect("a file"), 1)
                .expect("an encoder");
        encoder.write_all(text.as_bytes()).expect("written");
        encoder.finish().expect("finished");
    };
    write("{\"format\":\"sshchurn-ledger\",\"version\":99}\n");
    assert!(matches!(
        LedgerReader::open(&path),
        Err(LedgerError::TooNew { found: 99, .. })
    ));
    write("{\"format\":\"sshchurn-ledger\",\"version\":0}\n");
    assert!(matches!(
        LedgerReader::open(&path),
        Err(LedgerError::TooOld { found: 0, .. })
    ));
    write("{\"format\":\"something\",\"version\":1}\n");
    assert!(matches!(
        LedgerReader::open(&path),
        Err(LedgerError::NotALedger { .. })
    ));
    std::fs::write(&path, b"plain text").expect("written");
    assert!(matches!(
        LedgerReader::open(&path),
        Err(LedgerError::NotALedger { .. })
    ));
}

#[test]
fn full_disk_is_an_error_of_the_run_and_not_a_shorter_ledger() {
    // /dev/full answers every write with ENOSPC.
    let full = Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    assert!(matches!(
        LedgerWriter::start(full, RunClock::start()),
        Err(LedgerError::Io { .. })
    ));
}
