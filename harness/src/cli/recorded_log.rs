//! The server's log in a run directory, as the run left it or packed afterwards.
//!
//! Owns reading it once, from front to back, so that neither form needs memory for more than a buffer. What the lines
//! mean is the analysis'.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::CliError;

/// Name of the server's log in a run directory.
pub(super) const SERVER_LOG: &str = "sshd.log";
/// The same, packed with zstd (RFC 8878) to keep the directory: some tenth of the size.
const PACKED: &str = "sshd.log.zst";
/// Bytes read at a time.
const BUFFER: usize = 64 * 1024;

enum Source {
    Plain(File),
    Packed(zstd::Decoder<'static, BufReader<File>>),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Plain(file) => file.read(buffer),
            Source::Packed(decoder) => decoder.read(buffer),
        }
    }
}

/// The log of one run, read forwards.
pub(super) struct RecordedLog {
    path: PathBuf,
    source: Source,
    /// Bytes read so far.
    at: u64,
    buffer: Vec<u8>,
}

impl RecordedLog {
    /// Opens `sshd.log` of a run directory, or `sshd.log.zst` where only that is there.
    pub(super) fn open(directory: &Path) -> Result<Self, CliError> {
        let plain = directory.join(SERVER_LOG);
        let packed = directory.join(PACKED);
        let (path, opened) = match File::open(&plain) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && packed.exists() => {
                let opened = File::open(&packed).and_then(zstd::Decoder::new);
                (packed, opened.map(Source::Packed))
            }
            opened => (plain, opened.map(Source::Plain)),
        };
        match opened {
            Ok(source) => Ok(RecordedLog {
                path,
                source,
                at: 0,
                buffer: vec![0; BUFFER],
            }),
            Err(error) => Err(CliError::io("read", &path, error)),
        }
    }

    /// Hands out the bytes from offset `from` to offset `to` of the server's own log, in pieces; what lies before is
    /// passed over. Fewer bytes when the log ends earlier, and none that an earlier part had: a round that begins in what
    /// is a former one's has met a log that was emptied meanwhile, and its lines are lost.
    pub(super) fn part(
        &mut self,
        from: u64,
        to: u64,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), CliError> {
        let mut read = || -> io::Result<()> {
            let from = from.max(self.at);
            while self.at < to {
                let until = if self.at < from { from } else { to };
                let most = usize::try_from(until - self.at).unwrap_or(usize::MAX);
                let most = most.min(self.buffer.len());
                let count = self.source.read(&mut self.buffer[..most])?;
                if count == 0 {
                    break;
                }
                if self.at >= from {
                    take(&self.buffer[..count]);
                }
                self.at += count as u64;
            }
            Ok(())
        };
        read().map_err(|error| CliError::io("read", &self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(log: &mut RecordedLog, from: u64, to: u64) -> Result<Vec<u8>, CliError> {
        let mut bytes = Vec::new();
        log.part(from, to, |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    #[test]
    fn parts_are_the_same_from_a_log_as_it_was_left_and_from_a_packed_one() {
        let text: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        for packed in [false, true] {
            let directory = tempfile::tempdir().expect("a folder");
            let written = if packed {
                let bytes = zstd::encode_all(&text[..], 3).expect("packed");
                std::fs::write(directory.path().join(PACKED), bytes)
            } else {
                std::fs::write(directory.path().join(SERVER_LOG), &text)
            };
            written.expect("written");
            let mut log = RecordedLog::open(directory.path()).expect("opened");
            for (from, to) in [
                (10, 10),
                (11, 300_001),
                (300_001, 300_002),
                (700_000, 900_000),
            ] {
                let end = text.len().min(to);
                let found = part(&mut log, from as u64, to as u64).expect("read");
                assert!(found == text[from..end], "{packed} {from} {to}");
            }
            // Of a log that was emptied and has grown again.
            assert_eq!(part(&mut log, 5, 700_000).expect("read"), b"");
        }
    }

    #[test]
    fn log_as_it_was_left_comes_first_and_a_missing_one_is_named() {
        let directory = tempfile::tempdir().expect("a folder");
        let missing = RecordedLog::open(directory.path()).err().expect("none");
        assert!(missing.to_string().contains(SERVER_LOG), "{missing}");
        std::fs::write(directory.path().join(PACKED), b"not zstd").expect("written");
        std::fs::write(directory.path().join(SERVER_LOG), b"left").expect("written");
        let mut log = RecordedLog::open(directory.path()).expect("opened");
        assert_eq!(part(&mut log, 0, 9).expect("read"), b"left");
    }
}
