//! The server's log in a run directory, as the run left it or packed afterwards.
//!
//! Owns how it is copied there, and reading it once, from front to back, so that neither form needs memory for more than a
//! buffer. What the lines mean is the analysis'.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
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

/// Bytes of a log by which it is known again.
const OVERLAP: u64 = 256;

/// The copy of a server's log that grows with it: always an exact prefix, so that offsets mean the same in both.
pub(super) struct LogCopy {
    path: PathBuf,
    file: File,
    length: u64,
    /// Its last bytes.
    end: Vec<u8>,
}

impl LogCopy {
    /// Opens the copy in a run directory, or makes it.
    pub(super) fn open(directory: &Path) -> Result<Self, CliError> {
        let path = directory.join(SERVER_LOG);
        let open = || {
            let mut file = File::options()
                .create(true)
                .read(true)
                .append(true)
                .open(&path)?;
            let length = file.metadata()?.len();
            file.seek(SeekFrom::Start(length - length.min(OVERLAP)))?;
            let mut end = Vec::new();
            file.read_to_end(&mut end)?;
            Ok((file, length, end))
        };
        match open() {
            Ok((file, length, end)) => Ok(LogCopy {
                path,
                file,
                length,
                end,
            }),
            Err(source) => Err(CliError::io("write", &path, source)),
        }
    }

    /// Bytes copied so far.
    pub(super) fn len(&self) -> u64 {
        self.length
    }

    /// The last bytes copied, with which what is appended has to begin.
    pub(super) fn end(&self) -> &[u8] {
        &self.end
    }

    /// Appends what follows [`LogCopy::end`] in `bytes`, the server's log from there on. `false` when they do not begin with
    /// it, and are another log; then nothing is appended.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<bool, CliError> {
        let Some(fresh) = bytes.strip_prefix(&self.end[..]) else {
            return Ok(false);
        };
        self.file
            .write_all(fresh)
            .map_err(|source| CliError::io("write", &self.path, source))?;
        self.length += fresh.len() as u64;
        Ok(true)
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
    fn copy_grows_with_its_log_and_knows_another_one() {
        let directory = tempfile::tempdir().expect("a folder");
        let mut log: Vec<u8> = Vec::new();
        for round in 0..4_u8 {
            log.extend((0..300_u16).map(|byte| (byte % 251) as u8 ^ round));
            let mut copy = LogCopy::open(directory.path()).expect("opened");
            let from = usize::try_from(copy.len()).expect("small") - copy.end().len();
            assert!(copy.append(&log[from..]).expect("written"));
            assert_eq!(copy.len(), log.len() as u64);
        }
        // Emptied, and grown beyond what was copied.
        let other = vec![b'x'; 5000];
        let mut copy = LogCopy::open(directory.path()).expect("opened");
        let from = usize::try_from(copy.len()).expect("small") - copy.end().len();
        assert!(!copy.append(&other[from..]).expect("nothing to write"));
        // Emptied, and not grown again.
        assert!(!copy.append(b"").expect("nothing to write"));
        assert_eq!(copy.len(), log.len() as u64);
        let kept = std::fs::read(directory.path().join(SERVER_LOG)).expect("there");
        assert!(kept == log);
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
