//! Refusals and logins by the client's address, within bounds.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::add;
use super::result::{SourceCounts, Sources};
use crate::server_log::Moment;

/// Sources in the result.
const MOST: usize = 10_000;

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    drops: u64,
    penalties: u64,
    logins: u64,
    first_drop: Option<Moment>,
    last_drop: Option<Moment>,
}

/// Counts by address. Twice as many as the result has are told apart on the way; the smaller half then joins the rest, and one of
/// it that comes back begins anew.
#[derive(Debug, Default)]
pub(super) struct SourceTable {
    counts: HashMap<String, Counts>,
    rest: Counts,
    overflowed: bool,
}

impl SourceTable {
    pub(super) fn dropped(&mut self, address: &str, penalty: bool, at: Option<Moment>, times: u64) {
        self.count(address, |counts| {
            add(&mut counts.drops, times);
            add(&mut counts.penalties, if penalty { times } else { 0 });
            counts.first_drop = counts.first_drop.or(at);
            counts.last_drop = at.or(counts.last_drop);
        });
    }

    pub(super) fn logged_in(&mut self, address: &str, times: u64) {
        self.count(address, |counts| add(&mut counts.logins, times));
    }

    fn count(&mut self, address: &str, add_to: impl FnOnce(&mut Counts)) {
        if let Some(counts) = self.counts.get_mut(address) {
            return add_to(counts);
        }
        if self.counts.len() >= 2 * MOST {
            self.overflowed = true;
            self.prune();
        }
        let mut counts = Counts::default();
        add_to(&mut counts);
        self.counts.insert(address.to_owned(), counts);
    }

    /// Keeps the largest.
    fn prune(&mut self) {
        let mut all: Vec<(String, Counts)> = self.counts.drain().collect();
        if all.len() > MOST {
            all.select_nth_unstable_by(MOST, larger);
            for (_, counts) in all.drain(MOST..) {
                add(&mut self.rest.drops, counts.drops);
                add(&mut self.rest.logins, counts.logins);
            }
        }
        self.counts.extend(all);
    }

    pub(super) fn finish(mut self) -> Sources {
        if self.counts.len() > MOST {
            self.prune();
        }
        let mut all: Vec<(String, Counts)> = self.counts.into_iter().collect();
        all.sort_unstable_by(larger);
        let largest = all
            .into_iter()
            .map(|(address, counts)| SourceCounts {
                address,
                drops: counts.drops,
                penalties: counts.penalties,
                logins: counts.logins,
                first_drop: counts.first_drop,
                last_drop: counts.last_drop,
            })
            .collect();
        Sources {
            largest,
            other_drops: self.rest.drops,
            other_logins: self.rest.logins,
            overflowed: self.overflowed,
        }
    }
}

/// Most refusals first, then most logins, then by address, so that the same log always gives the same order.
fn larger((a, x): &(String, Counts), (b, y): &(String, Counts)) -> Ordering {
    (y.drops, y.logins)
        .cmp(&(x.drops, x.logins))
        .then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_stay_and_the_others_are_counted_together() {
        let mut table = SourceTable::default();
        for round in 0..5 {
            table.dropped("192.0.2.1", round == 0, None, 10);
            for number in 0..8_000 {
                table.dropped(
                    &format!("10.{round}.{}.{}", number / 250, number % 250),
                    false,
                    None,
                    1,
                );
            }
        }
        let sources = table.finish();
        assert_eq!(sources.largest.len(), MOST);
        let first = &sources.largest[0];
        assert_eq!(
            (first.address.as_str(), first.drops, first.penalties),
            ("192.0.2.1", 50, 10)
        );
        assert!(sources.overflowed);
        let kept: u64 = sources.largest.iter().map(|source| source.drops).sum();
        assert_eq!(kept + sources.other_drops, 50 + 5 * 8_000);
    }
}
