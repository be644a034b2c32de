//! Arbitrary bytes to the diagnosis of a log. Owns the laws that must hold for any bytes whatever; what real lines mean is the unit
//! tests' matter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sshchurn_core::diagnosis::{ArrivalWindow, Diagnoser, MOST_ARRIVALS};
use sshchurn_core::server_log::LogLines;

/// Longer lines are cut.
const LONGEST: usize = 8 * 1024;

fuzz_target!(|input: &[u8]| {
    // The first byte says where one file ends and the next begins, in 256ths.
    let (split, log) = match input.split_first() {
        Some((first, log)) => (log.len() * usize::from(*first) / 256, log),
        None => (0, input),
    };
    let mut diagnoser = Diagnoser::new(None, None).collecting(ArrivalWindow::default());
    let mut lines = 0_u64;
    for file in [&log[..split], &log[split..]] {
        diagnoser.begin_file(1_775_363_707_000_000);
        let mut parser = LogLines::up_to(LONGEST);
        let mut count = |line: &str| {
            lines += 1;
            diagnoser.line(line);
        };
        parser.feed(file, &mut count);
        parser.finish(&mut count);
    }
    if let Some(Ok(arrivals)) = diagnoser.take_arrivals() {
        assert!(arrivals.offsets.is_sorted() && (1..=MOST_ARRIVALS).contains(&arrivals.offsets.len()));
        assert_eq!(arrivals.offsets.len() as u64, arrivals.admitted + arrivals.refused, "arrivals by kind");
        assert!(arrivals.offsets[0] == 0 && arrivals.first <= arrivals.last);
    }
    let said = diagnoser.finish();
    assert_eq!(said.lines.total, lines, "lines counted and lines fed");
    assert_eq!(said.lines.classified(), lines, "each in one class");
    let sum = |counts: &mut dyn Iterator<Item = u64>| counts.fold(0_u64, u64::saturating_add);
    assert_eq!(
        sum(&mut said.sources.largest.iter().map(|it| it.drops)).saturating_add(said.sources.other_drops),
        said.drops.listed,
        "refusals by source"
    );
    if said.episodes_not_listed == 0 {
        assert_eq!(
            sum(&mut said.episodes.iter().map(|it| it.drops)),
            said.drops.total,
            "refusals by episode"
        );
    }
});
