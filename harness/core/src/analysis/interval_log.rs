//! Every distribution of times as an HdrHistogram interval log (`.hlog`), which the tools around HdrHistogram read.
//!
//! Owns the format: one interval for each round, strategy and stage, tagged `strategy.stage`, times in nanoseconds. All
//! values are kept, to the precision of [`super::latency`].

use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::latency::Stage;
use super::summary::RunSummary;

/// Milliseconds in the column of the largest value, which is for people only.
const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

/// Renders the log. The same run always gives the same bytes.
#[must_use]
pub fn render(run: &RunSummary) -> String {
    let mut bytes = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let anchor = run
        .manifest
        .as_ref()
        .map_or(0, |manifest| manifest.started_at_unix_ns);
    let began = SystemTime::UNIX_EPOCH + Duration::from_nanos(anchor);
    let mut builder = IntervalLogWriterBuilder::new();
    builder
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("[sshchurn: one interval for each round; tag = strategy.stage; values in ns, Interval_Max in ms]")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(NANOSECONDS_PER_MILLISECOND);
    // Memory takes everything, and every tag and histogram is writable: what fails here fails in the tests.
    if let Ok(mut log) = builder.begin_log_with(&mut bytes, &mut serializer) {
        for round in run.rounds() {
            let length = round.ended.since(round.started);
            for stage in Stage::ALL {
                let tag = tag(&round.strategy.0, stage);
                if let Some(histogram) = round.numbers.total.latencies.get(stage).histogram() {
                    let start = Duration::from_nanos(round.started.0);
                    let _ = log.write_histogram(histogram, start, length, Tag::new(&tag));
                }
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// `strategy.stage`, without the characters that separate columns.
fn tag(strategy: &str, stage: Stage) -> String {
    let strategy: String = strategy
        .chars()
        .map(|character| match character {
            ',' | '\r' | '\n' | ' ' => '_',
            character => character,
        })
        .collect();
    format!("{strategy}.{}", stage.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hdrhistogram::Histogram;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::analysis::ledger_builder::{NEW, OLD, manifest, small_run};
    use crate::ids::StrategyName;

    /// Base64 with padding (RFC 4648).
    fn decode(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text
            .bytes()
            .filter(|byte| *byte != b'=')
            .map(|byte| {
                let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
                let digit = alphabet.iter().position(|letter| *letter == byte);
                u32::try_from(digit.expect("base64")).expect("small")
            })
            .collect();
        let mut bytes = Vec::new();
        for group in digits.chunks(4) {
            let bits = group
                .iter()
                .enumerate()
                .fold(0, |bits, (index, digit)| bits | digit << (18 - 6 * index));
            bytes.extend(&bits.to_be_bytes()[1..group.len()]);
        }
        bytes
    }

    #[test]
    fn the_log_reads_back_to_the_same_counts() {
        let run = small_run(manifest()).summary();
        let text = render(&run);
        let mut deserializer = Deserializer::new();
        let mut read: BTreeMap<String, (u64, Histogram<u64>)> = BTreeMap::new();
        let mut bases = 0;
        for entry in IntervalLogIterator::new(text.as_bytes()) {
            match entry.expect("it reads back") {
                LogEntry::Interval(interval) => {
                    let tag = interval.tag().expect("a tag").as_str().to_owned();
                    let bytes = decode(interval.encoded_histogram());
                    let histogram: Histogram<u64> = deserializer
                        .deserialize(&mut bytes.as_slice())
                        .expect("a histogram");
                    match read.get_mut(&tag) {
                        None => {
                            read.insert(tag, (1, histogram));
                        }
                        Some((rounds, sum)) => {
                            *rounds += 1;
                            sum.add(histogram).expect("as large");
                        }
                    }
                }
                LogEntry::BaseTime(base) => {
                    bases += 1;
                    assert_eq!(base.as_secs(), 1_795_504_680);
                }
                LogEntry::StartTime(_) => {}
            }
        }
        assert_eq!(bases, 1);
        let mut checked = 0;
        for name in [OLD, NEW] {
            let strategy = run.strategy(&StrategyName(name.to_owned())).expect("there");
            for stage in Stage::ALL {
                let latency = strategy.numbers.total.latencies.get(stage);
                let found = read.remove(&format!("{name}.{}", stage.as_str()));
                assert_eq!(found.is_some(), latency.count() > 0, "{name} {stage:?}");
                if let Some((rounds, histogram)) = found {
                    checked += 1;
                    assert_eq!(rounds, 2);
                    assert_eq!(histogram.len(), latency.count());
                    for percent in [50.0, 90.0, 99.0] {
                        let exact = latency.percentile_ns(percent).expect("data");
                        let read = histogram.value_at_percentile(percent);
                        assert!(
                            read.abs_diff(exact) <= exact / 500,
                            "{name} {stage:?} {percent}"
                        );
                    }
                }
            }
        }
        assert!(checked > 10 && read.is_empty(), "{read:?}");
    }

    /// The encoded histograms are the library's, and are read back above.
    #[test]
    fn the_log_is_written_as_it_was() {
        let text = render(&small_run(manifest()).summary());
        let lines: Vec<String> = text
            .lines()
            .map(|line| match line.rsplit_once(',') {
                Some((head, histogram)) if line.starts_with("Tag=") => {
                    assert!(histogram.starts_with("HIST"), "{line}");
                    format!("{head},HIST…")
                }
                _ => line.to_owned(),
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_strategy_name_cannot_break_a_line() {
        assert_eq!(tag("a, b\nc", Stage::Tcp), "a__b_c.tcp");
    }
}
