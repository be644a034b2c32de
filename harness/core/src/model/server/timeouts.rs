//! What is due after a fixed time, and hardly ever happens: something else comes before it.
//!
//! Those of one length come due in the order in which they began, so that a list for each length keeps them, and the front of a list
//! that stands for nothing any more is thrown away unseen. On the agenda each would be moved along until its time came.

use super::Asker;
use super::connection::Due;
use crate::model::pieces::{Pieces, Spare};

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeout {
    pub(super) at: u64,
    pub(super) asker: Asker,
    pub(super) due: Due,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Timeouts {
    /// By length, of which there are a handful: they are the scenario's and the server's.
    lists: Vec<(u64, Pieces<Timeout>)>,
    spare: Spare<Timeout>,
    /// The list with the earliest front, and that front's instant.
    earliest: Option<(u64, usize)>,
}

impl Timeouts {
    /// Puts something on it that is due `length` after `now`, which never decreases.
    pub(super) fn put(&mut self, now: u64, length: u64, asker: Asker, due: Due) {
        let at = now.saturating_add(length);
        let known = self.lists.iter().position(|(known, _)| *known == length);
        let list = known.unwrap_or_else(|| {
            self.lists.push((length, Pieces::default()));
            self.lists.len() - 1
        });
        let timeout = Timeout { at, asker, due };
        self.lists[list].1.push(timeout, &mut self.spare);
        if self.earliest.is_none_or(|(earliest, _)| at < earliest) {
            self.earliest = Some((at, list));
        }
    }

    /// The earliest, if it is due at `by` or before.
    pub(super) fn first(&self, by: u64) -> Option<Timeout> {
        let (_, list) = self.earliest.filter(|(at, _)| *at <= by)?;
        self.lists[list].1.first().copied()
    }

    /// Takes the earliest off.
    pub(super) fn drop_first(&mut self) {
        if let Some((_, list)) = self.earliest {
            self.lists[list].1.drop_first(&mut self.spare);
            let fronts = self.lists.iter().enumerate();
            self.earliest = fronts
                .filter_map(|(list, (_, timeouts))| Some((timeouts.first()?.at, list)))
                .min();
        }
    }
}
