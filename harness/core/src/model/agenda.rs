//! What is due when: a priority queue for a clock that never goes back, by the highest bit in which a time differs from the present
//! (radix heap; Ahuja, Mehlhorn, Orlin, Tarjan, *Faster algorithms for the shortest path problem*, J. ACM 37, 1990).
//!
//! A burst of a million clients puts a million things on one instant, several times over: a heap would sift each of them through
//! twenty levels of memory that no cache holds, here each is moved along a few times in one sweep. What is due at one instant comes
//! in the order of `T`, whenever it was put there.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::pieces::{Pieces, Spare};

/// One bucket for what is due at the present, and one for each bit of a time.
const BUCKETS: usize = 65;

/// Things that are due at instants, in nanoseconds.
#[derive(Debug)]
pub struct Agenda<T> {
    /// Nothing on it is due before that.
    present: u64,
    /// Due at `present`, the first at the end.
    sorted: Vec<T>,
    /// Put there for `present` since the others were sorted.
    late: BinaryHeap<Reverse<T>>,
    /// By the highest bit in which their time differs from `present`; the first is never used.
    later: [Pieces<(u64, T)>; BUCKETS],
    spare: Spare<(u64, T)>,
    /// The earliest time in each.
    earliest: [u64; BUCKETS],
    /// A bit for each bucket but the first that has something in it.
    filled: u64,
}

impl<T: Ord> Default for Agenda<T> {
    fn default() -> Self {
        Agenda {
            present: 0,
            sorted: Vec::new(),
            late: BinaryHeap::new(),
            later: std::array::from_fn(|_| Pieces::default()),
            spare: Spare::default(),
            earliest: [u64::MAX; BUCKETS],
            filled: 0,
        }
    }
}

impl<T: Ord> Agenda<T> {
    /// Puts something on it. What is due earlier than what was taken from it last is due with that.
    pub fn put(&mut self, at: u64, what: T) {
        match self.bucket(at) {
            0 => self.late.push(Reverse(what)),
            bucket => self.put_later(bucket, at, what),
        }
    }

    fn put_later(&mut self, bucket: usize, at: u64, what: T) {
        self.earliest[bucket] = self.earliest[bucket].min(at);
        self.filled |= 1 << (bucket - 1);
        self.later[bucket].push((at, what), &mut self.spare);
    }

    /// When something is due next.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        if !self.sorted.is_empty() || !self.late.is_empty() {
            return Some(self.present);
        }
        self.first_bucket().map(|bucket| self.earliest[bucket])
    }

    /// Takes the first of what is due at `now` or before.
    pub fn take(&mut self, now: u64) -> Option<T> {
        if self.sorted.is_empty() && self.late.is_empty() {
            let bucket = self.first_bucket()?;
            if self.earliest[bucket] > now {
                return None;
            }
            self.move_on(bucket);
        } else if self.present > now {
            return None;
        }
        match (self.sorted.last(), self.late.peek()) {
            (Some(sorted), Some(Reverse(late))) if late < sorted => {}
            (Some(_), _) => return self.sorted.pop(),
            (None, _) => {}
        }
        self.late.pop().map(|Reverse(what)| what)
    }

    /// The present becomes the earliest time of the first bucket that has any, and what is in it is spread over those before.
    fn move_on(&mut self, bucket: usize) {
        self.present = std::mem::replace(&mut self.earliest[bucket], u64::MAX);
        // Of a million things at one instant, room is not kept for another million.
        self.sorted.shrink_to(MOST_ROOM);
        self.late.shrink_to(MOST_ROOM);
        let mut moved = std::mem::take(&mut self.later[bucket]);
        self.filled &= !(1 << (bucket - 1));
        for mut piece in moved.drain() {
            for (at, what) in piece.drain(..) {
                match self.bucket(at) {
                    0 => self.sorted.push(what),
                    closer => self.put_later(closer, at, what),
                }
            }
            self.spare.keep(piece);
        }
        self.later[bucket] = moved;
        self.sorted.sort_unstable_by(|a, b| b.cmp(a));
    }

    fn bucket(&self, at: u64) -> usize {
        match at.max(self.present) ^ self.present {
            0 => 0,
            differs => BUCKETS - 1 - differs.leading_zeros() as usize,
        }
    }

    fn first_bucket(&self) -> Option<usize> {
        (self.filled != 0).then(|| self.filled.trailing_zeros() as usize + 1)
    }
}

/// Things of one instant for which there is always room.
const MOST_ROOM: usize = 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_due_at_one_instant_comes_in_its_own_order_whenever_it_was_put_there() {
        let mut agenda = Agenda::default();
        for what in [5, 1, 3] {
            agenda.put(10, what);
        }
        assert_eq!((agenda.next(), agenda.take(9)), (Some(10), None));
        assert_eq!(agenda.take(10), Some(1));
        agenda.put(10, 2);
        // Too late for its time: due at once.
        agenda.put(4, 4);
        let rest: Vec<i32> = std::iter::from_fn(|| agenda.take(10)).collect();
        assert_eq!(rest, [2, 3, 4, 5]);
        assert_eq!(agenda.next(), None);
    }

    proptest! {
        #[test]
        fn it_is_a_heap_by_time_and_order(steps in proptest::collection::vec((0u64..1 << 40, 0u32..50, any::<bool>()), 1..400)) {
            let (mut agenda, mut heap) = (Agenda::default(), BinaryHeap::new());
            let mut now = 0;
            for (ahead, what, takes) in steps {
                if takes {
                    prop_assert_eq!(agenda.next(), heap.peek().map(|Reverse((at, _))| *at));
                    now = agenda.next().unwrap_or(now);
                    prop_assert_eq!(agenda.take(now), heap.pop().map(|Reverse((_, what))| what));
                } else {
                    agenda.put(now + ahead, what);
                    heap.push(Reverse((now + ahead, what)));
                }
            }
            while let Some(at) = agenda.next() {
                prop_assert_eq!(agenda.take(at), heap.pop().map(|Reverse((_, what))| what));
            }
            prop_assert!(heap.is_empty());
        }
    }
}
