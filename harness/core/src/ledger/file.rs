//! The versioned on-disk form: JSON Lines, zstd-compressed, with a header line that names format and version.
//!
//! Owns bytes on disk and their errors. A truncated file (a killed run) is read up to its last whole
//! line and said to be truncated.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::event::Record;

/// Version of the on-disk format; raised whenever an older reader could misread a newer file.
pub const FORMAT_VERSION: u32 = 4;
const FORMAT_NAME: &str = "sshchurn-ledger";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u32,
}

/// Why a ledger could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file system refused.
    #[error("cannot {action} ledger {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not a ledger at all.
    #[error("{} is not a ledger: {detail}", path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Made by a newer program.
    #[error("{} has ledger format {found}; this program reads {FORMAT_VERSION}: use a newer sshchurn", path.display())]
    TooNew {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: u32,
    },
    /// Made by an older program.
    #[error("{} has ledger format {found}; this program reads {FORMAT_VERSION}: use the sshchurn that wrote it", path.display())]
    TooOld {
        /// The file.
        path: PathBuf,
        /// Version found.
        found: u32,
    },
    /// A line is not a record.
    #[error("{} line {line} is not a ledger record", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
}

/// Writes records to a file.
pub struct LedgerSink {
    path: PathBuf,
    encoder: zstd::stream::write::Encoder<'static, BufWriter<File>>,
    line: Vec<u8>,
}

impl LedgerSink {
    /// Creates the file and writes its header.
    ///
    /// # Errors
    /// [`LedgerError::Io`] when the file cannot be created or written.
    pub fn create(path: &Path) -> Result<Self, LedgerError> {
        let io_error = |source| LedgerError::Io {
            action: "create",
            path: path.to_path_buf(),
            source,
        };
        let file = File::create(path).map_err(io_error)?;
        let encoder =
            zstd::stream::write::Encoder::new(BufWriter::new(file), 3).map_err(io_error)?;
        let mut sink = LedgerSink {
            path: path.to_path_buf(),
            encoder,
            line: Vec::with_capacity(512),
        };
        sink.write_line(&Header {
            format: FORMAT_NAME.to_owned(),
            version: FORMAT_VERSION,
        })?;
        // The header reaches the disk at once: a full disk is noticed before the target starts.
        sink.flush()?;
        Ok(sink)
    }

    /// Appends one record.
    ///
    /// # Errors
    /// [`LedgerError::Io`] when the disk is full or gone.
    pub fn append(&mut self, record: &Record) -> Result<(), LedgerError> {
        self.write_line(record)
    }

    /// Hands everything written so far to the operating system.
    ///
    /// # Errors
    /// [`LedgerError::Io`] when the disk is full or gone.
    pub fn flush(&mut self) -> Result<(), LedgerError> {
        self.encoder.flush().map_err(|source| self.io_error(source))
    }

    /// Ends the compressed stream and syncs the file.
    ///
    /// # Errors
    /// [`LedgerError::Io`] when the disk is full or gone.
    pub fn finish(self) -> Result<(), LedgerError> {
        let path = self.path.clone();
        let end = || -> io::Result<()> {
            let mut buffered = self.encoder.finish()?;
            buffered.flush()?;
            buffered.get_ref().sync_data()
        };
        end().map_err(|source| LedgerError::Io {
            action: "close",
            path,
            source,
        })
    }

    fn write_line(&mut self, value: &impl Serialize) -> Result<(), LedgerError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)
            .map_err(|source| self.io_error(io::Error::other(source)))?;
        self.line.push(b'\n');
        self.encoder
            .write_all(&self.line)
            .map_err(|source| LedgerError::Io {
                action: "write",
                path: self.path.clone(),
                source,
            })
    }

    fn io_error(&self, source: io::Error) -> LedgerError {
        LedgerError::Io {
            action: "write",
            path: self.path.clone(),
            source,
        }
    }
}

/// Reads records back, one at a time.
#[derive(Debug)]
pub struct LedgerReader<R> {
    path: PathBuf,
    lines: R,
    line: u64,
    buffer: String,
    truncated: bool,
}

impl LedgerReader<BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>> {
    /// Opens a ledger and checks its header.
    ///
    /// # Errors
    /// [`LedgerError`] when it cannot be read, is no ledger, or has another version.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let io_error = |source| LedgerError::Io {
            action: "open",
            path: path.to_path_buf(),
            source,
        };
        let file = File::open(path).map_err(io_error)?;
        let decoder = zstd::stream::read::Decoder::new(file).map_err(io_error)?;
        Self::from_lines(path, BufReader::new(decoder))
    }
}

impl<R: BufRead> LedgerReader<R> {
    fn from_lines(path: &Path, mut lines: R) -> Result<Self, LedgerError> {
        let not_a_ledger = |detail: String| LedgerError::NotALedger {
            path: path.to_path_buf(),
            detail,
        };
        let mut buffer = String::new();
        lines
            .read_line(&mut buffer)
            .map_err(|error| not_a_ledger(error.to_string()))?;
        let header: Header =
            serde_json::from_str(&buffer).map_err(|error| not_a_ledger(error.to_string()))?;
        if header.format != FORMAT_NAME {
            return Err(not_a_ledger(format!("format `{}`", header.format)));
        }
        let path = path.to_path_buf();
        match header.version.cmp(&FORMAT_VERSION) {
            std::cmp::Ordering::Less => Err(LedgerError::TooOld {
                path,
                found: header.version,
            }),
            std::cmp::Ordering::Greater => Err(LedgerError::TooNew {
                path,
                found: header.version,
            }),
            std::cmp::Ordering::Equal => Ok(LedgerReader {
                path,
                lines,
                line: 1,
                buffer,
                truncated: false,
            }),
        }
    }

    /// Whether the file ended in the middle of a record or of a compressed frame, as a killed run leaves it.
    #[must_use]
    pub fn truncated(&self) -> bool {
        self.truncated
    }

    fn read_record(&mut self) -> Option<Result<Record, LedgerError>> {
        self.buffer.clear();
        self.line += 1;
        match self.lines.read_line(&mut self.buffer) {
            Ok(0) => None,
            Ok(_) if !self.buffer.ends_with('\n') => {
                self.truncated = true;
                None
            }
            Ok(_) => {
                Some(
                    serde_json::from_str(&self.buffer).map_err(|source| LedgerError::Malformed {
                        path: self.path.clone(),
                        line: self.line,
                        source,
                    }),
                )
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.truncated = true;
                None
            }
            Err(source) => Some(Err(LedgerError::Io {
                action: "read",
                path: self.path.clone(),
                source,
            })),
        }
    }
}

impl<R: BufRead> Iterator for LedgerReader<R> {
    type Item = Result<Record, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read_record()
    }
}
