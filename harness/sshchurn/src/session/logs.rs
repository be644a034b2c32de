//! Logs that already exist: opened, unpacked, put in order and read into a diagnosis.
//!
//! Owns files and bytes; what lines mean is `sshchurn_core::diagnosis`'. Reads a log of any length in bounded memory.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use flate2::read::MultiGzDecoder;
use sshchurn_core::diagnosis::{ArrivalWindow, Arrivals, Diagnoser, Diagnosis, NoArrivals};
use sshchurn_core::release::Release;
use sshchurn_core::scenario::MaxStartups;
use sshchurn_core::server_log::{Envelopes, LogLines, Moment};

use super::error::SessionError;

/// Longest line kept, bytes. Those of journald's JSON are a few KiB.
const LONGEST_LINE: usize = 64 * 1024;
/// How far the first stamp of a log is looked for, bytes: a log that has none by then has none.
const PEEK: usize = 256 * 1024;
const CHUNK: usize = 128 * 1024;
const CHUNKS_AHEAD: usize = 4;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// What files begin with that are logs in a form not read here: which it is, and what makes a log of it.
const OTHERS: [(&[u8], &str); 7] = [
    (
        b"\xfd7zXZ\0",
        "compressed with xz: use `xz -dc LOG | sshchurn diagnose -`",
    ),
    (
        b"BZh",
        "compressed with bzip2: use `bzip2 -dc LOG | sshchurn diagnose -`",
    ),
    (
        b"\x04\x22\x4d\x18",
        "compressed with lz4: use `lz4 -dc LOG | sshchurn diagnose -`",
    ),
    (
        b"PK\x03\x04",
        "a zip archive: use `unzip -p LOG | sshchurn diagnose -`",
    ),
    (
        b"LPKSHHRH",
        "journald's own file: use `journalctl --file LOG -o json | sshchurn diagnose -`",
    ),
    (
        b"\xff\xfe",
        "UTF-16: use `iconv -f UTF-16 -t UTF-8 LOG | sshchurn diagnose -`",
    ),
    (
        b"\xfe\xff",
        "UTF-16: use `iconv -f UTF-16 -t UTF-8 LOG | sshchurn diagnose -`",
    ),
];
/// The longest of these beginnings.
const MAGIC: u64 = 8;
/// The name of standard input.
const STDIN: &str = "-";

/// Where a log is.
enum Source {
    /// A file that can be opened again when its turn comes, so that any number of them may be named.
    File,
    /// Standard input or a pipe, with what was read of it to find its first stamp.
    Stream(Box<dyn Read + Send>),
}

struct Log {
    path: PathBuf,
    source: Source,
    first: Option<Moment>,
    /// When it was last written to, microseconds since 1970.
    written: i64,
}

/// A diagnosis, and the logs it is of in the order in which they were read.
#[derive(Debug)]
pub struct Diagnosed {
    /// What they say.
    pub diagnosis: Diagnosis,
    /// When connections arrived, where that was asked for.
    pub arrivals: Option<Result<Arrivals, NoArrivals>>,
    /// Their names as they were given.
    pub inputs: Vec<String>,
}

/// Reads logs of sshd's: files, also compressed with gzip or zstd, and `-` for standard input. They are read in the order of their
/// first stamps, so that those of a rotated log can be named in any order; logs without stamps come last, as they were named.
///
/// # Errors
/// [`SessionError::Unreadable`] when one is not there, is a folder, or is damaged.
pub fn diagnose(
    paths: &[PathBuf],
    max_startups: Option<MaxStartups>,
    release: Option<Release>,
    arrivals: Option<ArrivalWindow>,
) -> Result<Diagnosed, SessionError> {
    let mut logs = paths
        .iter()
        .map(|path| open(path))
        .collect::<Result<Vec<_>, _>>()?;
    logs.sort_by_key(|log| (log.first.is_none(), log.first));
    let mut diagnoser = Diagnoser::new(max_startups, release);
    if let Some(window) = arrivals {
        diagnoser = diagnoser.collecting(window);
    }
    let mut inputs = Vec::new();
    for log in logs {
        inputs.push(log.path.display().to_string());
        diagnoser.begin_file(log.written);
        let unreadable = |source| SessionError::Unreadable {
            path: log.path.clone(),
            source,
        };
        let bytes = match log.source {
            Source::Stream(bytes) => bytes,
            Source::File => {
                unpacked(File::open(&log.path).map_err(unreadable)?).map_err(unreadable)?
            }
        };
        feed(bytes, |line| diagnoser.line(line)).map_err(unreadable)?;
    }
    Ok(Diagnosed {
        arrivals: diagnoser.take_arrivals(),
        diagnosis: diagnoser.finish(),
        inputs,
    })
}

/// Opens a log as far as its first stamp.
fn open(path: &Path) -> Result<Log, SessionError> {
    let unreadable = |source| SessionError::Unreadable {
        path: path.to_path_buf(),
        source,
    };
    let now = micros(SystemTime::now());
    let (mut bytes, again, written) = if path == Path::new(STDIN) {
        (unpacked(io::stdin()).map_err(unreadable)?, false, now)
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if about.is_dir() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        let written = match about.modified() {
            Ok(written) if about.is_file() => micros(written),
            _ => now,
        };
        (
            unpacked(file).map_err(unreadable)?,
            about.is_file(),
            written,
        )
    };
    let mut head = Vec::new();
    bytes
        .by_ref()
        .take(PEEK as u64)
        .read_to_end(&mut head)
        .map_err(unreadable)?;
    let first = first_stamp(&head, written);
    Ok(Log {
        path: path.to_path_buf(),
        source: if again {
            Source::File
        } else {
            Source::Stream(Box::new(Cursor::new(head).chain(bytes)))
        },
        first,
        written,
    })
}

fn first_stamp(head: &[u8], written: i64) -> Option<Moment> {
    let mut envelopes = Envelopes::new(written);
    let mut lines = LogLines::up_to(LONGEST_LINE);
    let mut first = None;
    let mut look = |line: &str| {
        if first.is_none() {
            first = envelopes.open(line, |line| line.stamp);
        }
    };
    lines.feed(head, &mut look);
    lines.finish(&mut look);
    first
}

/// The bytes as they were before they were compressed, as far as their first ones say that they are.
fn unpacked(mut bytes: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = Vec::new();
    bytes.by_ref().take(MAGIC).read_to_end(&mut magic)?;
    if let Some((_, what)) = OTHERS.iter().find(|(begin, _)| magic.starts_with(begin)) {
        return Err(io::Error::other(format!("it is {what}")));
    }
    let gzip = magic.starts_with(GZIP);
    let zstd = magic.starts_with(ZSTD);
    let whole = Cursor::new(magic).chain(bytes);
    Ok(if gzip {
        // Rotated logs are sometimes put together: all members of the file.
        Box::new(Packed {
            bytes: MultiGzDecoder::new(whole),
            command: "gzip -dc",
        })
    } else if zstd {
        Box::new(Packed {
            bytes: zstd::stream::read::Decoder::new(whole)?,
            command: "zstd -dc",
        })
    } else {
        Box::new(whole)
    })
}

/// What is unpacked while it is read, with the way out of a damaged file in its errors.
struct Packed<R> {
    bytes: R,
    command: &'static str,
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        use io::ErrorKind as K;
        self.bytes.read(into).map_err(|error| match error.kind() {
            K::InvalidInput | K::InvalidData | K::UnexpectedEof | K::Other => io::Error::new(
                error.kind(),
                format!(
                    "{error}: the file is cut or damaged; `{} LOG | sshchurn diagnose -` reads it as far as it goes",
                    self.command
                ),
            ),
            _ => error,
        })
    }
}

/// Reads, and unpacks, on a thread of its own, a few chunks ahead of what the lines mean.
fn feed(mut bytes: impl Read + Send, mut sink: impl FnMut(&str)) -> io::Result<()> {
    let (filled, chunks) = mpsc::sync_channel(CHUNKS_AHEAD);
    let (back, empty) = mpsc::channel();
    for _ in 0..CHUNKS_AHEAD {
        // The other end is below.
        let _ = back.send(vec![0; CHUNK]);
    }
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for mut chunk in empty {
                let read = loop {
                    match bytes.read(&mut chunk) {
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        read => break read,
                    }
                };
                let last = !matches!(read, Ok(1..));
                if filled.send(read.map(|length| (chunk, length))).is_err() || last {
                    return;
                }
            }
        });
        let mut lines = LogLines::up_to(LONGEST_LINE);
        for read in chunks {
            let (chunk, length) = read?;
            lines.feed(&chunk[..length], &mut sink);
            // Nobody takes it after the last one.
            let _ = back.send(chunk);
        }
        lines.finish(sink);
        Ok(())
    })
}

/// Microseconds since 1970; a clock before that is at 0.
fn micros(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .unwrap_or(0)
}
