//! Arbitrary bytes in arbitrary chunks to the parser of sshd's log and its counts. Owns the laws that must hold for any
//! bytes whatever; what real lines mean is the unit tests' matter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sshchurn_core::server_log::{DropRule, MAX_LINE_BYTES, ServerLogCounts, LogLines, parse_line};
use sshchurn_core::model::Admission;

/// The last bytes of the input say where the log is cut, so that a plain log is a good seed.
const CUTS: usize = 16;

/// What is read of a log that comes in pieces.
fn counted<'a>(pieces: impl Iterator<Item = &'a [u8]>, rule: Option<DropRule>) -> ServerLogCounts {
    let mut parser = LogLines::new();
    let mut counts = ServerLogCounts::new(rule);
    for piece in pieces {
        parser.feed(piece, |line| {
        counts.fold(&parse_line(line));
    });
    }
    let before = counts.lines;
    let cut = parser.finish(|line| {
        counts.fold(&parse_line(line));
    });
    assert!(
        counts.lines == before || cut,
        "a last line out of nothing"
    );
    assert!(
        !parser.finish(|_| panic!("a line after the end")),
        "finished twice"
    );
    counts
}

/// Pieces of the sizes that `cuts` gives, over and over; 0 is a piece without bytes, then one of 256.
fn pieces<'a>(log: &'a [u8], cuts: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = log;
    let mut sizes = cuts.iter().copied().chain([1]).cycle();
    let mut owed = None;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let size = match owed.take() {
            Some(size) => size,
            None => match sizes.next() {
                Some(0) | None => {
                    owed = Some(256);
                    0
                }
                Some(size) => usize::from(size),
            },
        };
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        Some(piece)
    })
}

fuzz_target!(|input: &[u8]| {
    let (log, cuts) = input.split_at(input.len() - CUTS.min(input.len() / 4));
    let rule = match cuts.first().copied().unwrap_or(0) % 3 {
        0 => None,
        rule => Some(DropRule {
            max_startups: Admission::new("10:30:100".parse().expect("sshd's default")),
            per_source: rule == 1,
        }),
    };
    let whole = counted(std::iter::once(log), rule);
    let lines = log
        .split(|byte| *byte == b'\n')
        .map(|line| line[..line.len().min(MAX_LINE_BYTES)].trim_ascii_end())
        .filter(|line| !line.is_empty())
        .count();
    assert_eq!(whole.lines, lines as u64, "lines counted and lines fed");
    assert_eq!(
        whole,
        counted(pieces(log, cuts), rule),
        "whole and in pieces"
    );
});
