//! What is due after a fixed time, and hardly ever happens: something else comes before it.
//!
//! Those of one length come due in the order in which they began, so that a list for each length keeps them, and the front of a list
//! that stands for nothing any more is thrown away unseen. On the agenda each would be moved along until its time came.

use std::collections::VecDeque;

use super::Asker;
use super::connection::Due;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeout {
    pub(super) at: u64,
    pub(super) asker: Asker,
    pub(super) due: Due,
}

/// Those of one length. In pieces, so that a million of them are never copied to make room for one more.
#[derive(Debug, Default)]
struct List {
    pieces: VecDeque<Vec<Timeout>>,
    /// Of the first piece, so many were taken.
    taken: usize,
    /// An empty piece.
    spare: Vec<Timeout>,
}

/// Timeouts in a piece of a list.
const PIECE: usize = 128;

impl List {
    fn push(&mut self, timeout: Timeout) {
        match self.pieces.back_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(timeout),
            _ => {
                let mut piece = std::mem::take(&mut self.spare);
                piece.reserve_exact(PIECE);
                piece.push(timeout);
                self.pieces.push_back(piece);
            }
        }
    }

    fn first(&self) -> Option<&Timeout> {
        self.pieces.front()?.get(self.taken)
    }

    fn drop_first(&mut self) {
        self.taken += 1;
        if self.first().is_none()
            && let Some(mut piece) = self.pieces.pop_front()
        {
            piece.clear();
            self.spare = piece;
            self.taken = 0;
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Timeouts {
    /// By length, of which there are a handful: they are the scenario's and the server's.
    lists: Vec<(u64, List)>,
    /// The list with the earliest front, and that front's instant.
    earliest: Option<(u64, usize)>,
}

impl Timeouts {
    /// Puts something on it that is due `length` after `now`, which never decreases.
    pub(super) fn put(&mut self, now: u64, length: u64, asker: Asker, due: Due) {
        let at = now.saturating_add(length);
        let known = self.lists.iter().position(|(known, _)| *known == length);
        let list = known.unwrap_or_else(|| {
            self.lists.push((length, List::default()));
            self.lists.len() - 1
        });
        self.lists[list].1.push(Timeout { at, asker, due });
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
            self.lists[list].1.drop_first();
            let fronts = self.lists.iter().enumerate();
            self.earliest = fronts
                .filter_map(|(list, (_, timeouts))| Some((timeouts.first()?.at, list)))
                .min();
        }
    }
}
