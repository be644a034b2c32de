//! Lists that grow in pieces: a million things in one are never copied to make room for one more, and need no more room than they have.

use std::collections::VecDeque;

/// Things in a piece.
const PIECE: usize = 128;
/// Empty pieces that are kept.
const MOST_SPARE: usize = 1024;

/// First in, first out.
#[derive(Debug)]
pub(in crate::model) struct Pieces<T> {
    /// All full but for the last.
    pieces: VecDeque<Vec<T>>,
    /// Of the first piece, so many were taken.
    taken: usize,
}

/// Empty pieces, for several lists.
#[derive(Debug)]
pub(in crate::model) struct Spare<T>(Vec<Vec<T>>);

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Pieces {
            pieces: VecDeque::new(),
            taken: 0,
        }
    }
}

impl<T> Default for Spare<T> {
    fn default() -> Self {
        Spare(Vec::new())
    }
}

impl<T> Spare<T> {
    pub(in crate::model) fn keep(&mut self, mut piece: Vec<T>) {
        if self.0.len() < MOST_SPARE {
            piece.clear();
            self.0.push(piece);
        }
    }
}

impl<T> Pieces<T> {
    pub(in crate::model) fn push(&mut self, what: T, spare: &mut Spare<T>) {
        match self.pieces.back_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(what),
            _ => {
                let piece = spare.0.pop();
                let mut piece = piece.unwrap_or_else(|| Vec::with_capacity(PIECE));
                piece.push(what);
                self.pieces.push_back(piece);
            }
        }
    }

    pub(in crate::model) fn first(&self) -> Option<&T> {
        self.pieces.front()?.get(self.taken)
    }

    pub(in crate::model) fn drop_first(&mut self, spare: &mut Spare<T>) {
        self.taken += 1;
        if self.first().is_none()
            && let Some(piece) = self.pieces.pop_front()
        {
            spare.keep(piece);
            self.taken = 0;
        }
    }

    /// The pieces of a list of which nothing was taken, one after the other; the list is empty then.
    pub(in crate::model) fn drain(&mut self) -> impl Iterator<Item = Vec<T>> {
        self.pieces.drain(..)
    }
}
