//! A client's output, bounded: its beginning and its end.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

/// Kept of each end, bytes.
const KEPT: usize = 32 * 1024;

/// Takes any amount and keeps both ends of it.
#[derive(Debug, Default)]
pub(crate) struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    total: u64,
    /// As much as there was when it was last written.
    written: u64,
}

impl Output {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let room = (KEPT - self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head.extend(head);
        // Of a long piece only its end can stay.
        let rest = &rest[rest.len().saturating_sub(KEPT)..];
        self.tail.extend(rest);
        let over = self.tail.len().saturating_sub(KEPT);
        self.tail.drain(..over);
    }

    /// All bytes there were.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Writes what was kept, with a line that says what was not; nothing where nothing is new, or
    /// there was no output.
    pub(crate) fn write(&mut self, path: &Path) -> io::Result<()> {
        if self.total == self.written {
            return Ok(());
        }
        let (first, second) = self.tail.as_slices();
        let left_out = self.total - (self.head.len() + self.tail.len()) as u64;
        let gap = match left_out {
            0 => String::new(),
            bytes => format!("\n[{bytes} bytes left out]\n"),
        };
        std::fs::write(
            path,
            [&self.head[..], gap.as_bytes(), first, second].concat(),
        )?;
        self.written = self.total;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(pieces: &[&[u8]]) -> (u64, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out.txt");
        let mut output = Output::default();
        for piece in pieces {
            output.take(piece);
        }
        output.write(&path).expect("written");
        let text = std::fs::read(&path).unwrap_or_default();
        (output.total(), String::from_utf8(text).expect("text"))
    }

    #[test]
    fn short_output_is_kept_whole_and_no_output_makes_no_file() {
        assert_eq!(kept(&[b"one ", b"two"]), (7, "one two".to_owned()));
        assert_eq!(kept(&[]), (0, String::new()));
        let exact = vec![b'x'; 2 * KEPT];
        assert_eq!(kept(&[&exact]).1.len(), 2 * KEPT);
    }

    #[test]
    fn of_long_output_both_ends_stay_whatever_the_pieces() {
        let mut all = vec![b'.'; 1_000_000];
        all[..5].copy_from_slice(b"first");
        all[999_996..].copy_from_slice(b"last");
        for size in [7, 1000, 100_000, 1_000_000] {
            let pieces: Vec<&[u8]> = all.chunks(size).collect();
            let (total, text) = kept(&pieces);
            assert_eq!(total, 1_000_000);
            assert!(text.starts_with("first.") && text.ends_with(".last"));
            let left_out = 1_000_000 - 2 * KEPT;
            assert!(text.contains(&format!("\n[{left_out} bytes left out]\n")));
            assert!(text.len() < 2 * KEPT + 60);
        }
    }
}
