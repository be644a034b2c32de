//! Run directories: every name of a file in them, how they are made and taken back, and what is written into them.
//!
//! Owns the layout. What the documents say is `report`'s; when they are written is `conclude`'s.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use sshchurn_core::ids::RoundId;
use sshchurn_report::comparison::CompareReport;
use sshchurn_report::format::{self, Screen};
use sshchurn_report::matrix::{self, MatrixReport};
use sshchurn_report::{RunReport, WriteError, json, write_file, write_file_with};

use super::error::SessionError;

/// Where runs go that nobody named a directory for, below the working folder.
pub(super) const DEFAULT_PARENT: &str = "sshchurn-runs";

/// The folder of what clients under test print.
const CLIENT_OUTPUTS: &str = "clients";

/// A file of a run directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunFile {
    /// What was recorded; everything but the configuration and the comparison is computed from it.
    Ledger,
    /// The configuration the server was started with.
    ServerConfig,
    /// The comparison with the baseline that was given.
    Comparison,
    /// The server's log, for people and for grep: the lines of it that are in the ledger.
    ServerLog,
    /// The versioned report; its other forms are those of [`format::RUN`].
    Report,
    /// Every distribution of times, as an HdrHistogram interval log.
    Latencies,
}

impl RunFile {
    /// What is recorded while a run lasts.
    pub const RECORDED: [RunFile; 2] = [RunFile::Ledger, RunFile::ServerConfig];
    /// Its name in the directory.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RunFile::Ledger => "events.jsonl.zst",
            RunFile::ServerConfig => "sshd_config",
            RunFile::Comparison => "comparison.json",
            RunFile::ServerLog => "sshd.log",
            RunFile::Report => format::REPORT_FILE,
            RunFile::Latencies => "latencies.hlog",
        }
    }
}

/// The directory of one run: no other run's record is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDirectory(PathBuf);

impl RunDirectory {
    /// Makes the directory of a run that begins: the one the user names, which must be new or empty since a run never
    /// overwrites another's record, or else a free one called `name` below `sshchurn-runs` in the working folder.
    ///
    /// # Errors
    /// [`SessionError::DirectoryNotEmpty`], and [`SessionError::Io`] where the file system refuses.
    pub fn create(out: Option<&Path>, name: &str) -> Result<Self, SessionError> {
        made(out, name).map(RunDirectory)
    }

    /// The directory of a run that was made.
    ///
    /// # Errors
    /// [`SessionError::NoRunDirectory`] when there is no ledger in it.
    pub fn open(path: &Path) -> Result<Self, SessionError> {
        let directory = RunDirectory(path.to_path_buf());
        match (
            directory.has(RunFile::Ledger),
            directory.has(RunFile::Report),
        ) {
            (true, _) => Ok(directory),
            (false, true) => Err(SessionError::NoLedger(path.to_path_buf())),
            (false, false) => Err(SessionError::NoRunDirectory(path.to_path_buf())),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where a file of it is, or would be.
    #[must_use]
    pub fn file(&self, file: RunFile) -> PathBuf {
        self.0.join(file.name())
    }

    /// Whether a file of it is there.
    #[must_use]
    pub fn has(&self, file: RunFile) -> bool {
        self.file(file).exists()
    }

    /// Where what clients under test print in a round is kept, a file for each that prints anything.
    #[must_use]
    pub fn client_outputs(&self, round: RoundId) -> PathBuf {
        self.0
            .join(CLIENT_OUTPUTS)
            .join(format!("round-{}", round.0))
    }

    /// Takes back the directory of a run that measured nothing. Only what such a run writes is removed, and the
    /// directory when nothing else is in it.
    pub(super) fn discard(&self) {
        for file in RunFile::RECORDED {
            let _ = std::fs::remove_file(self.file(file));
        }
        let _ = std::fs::remove_dir(self.0.join(CLIENT_OUTPUTS));
        let _ = std::fs::remove_dir(&self.0);
    }

    pub(super) fn write_server_config(&self, text: &str) -> Result<(), WriteError> {
        self.write(RunFile::ServerConfig, text)
    }

    pub(super) fn write_comparison(&self, compared: &CompareReport) -> Result<(), WriteError> {
        self.write(RunFile::Comparison, &json::render_comparison(compared))
    }

    /// The comparison that was made at the end of the run, when there is one.
    ///
    /// # Errors
    /// [`SessionError`] when it is there and cannot be read.
    pub fn comparison(&self) -> Result<Option<CompareReport>, SessionError> {
        let path = self.file(RunFile::Comparison);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SessionError::io("read", &path, source)),
        };
        json::parse_comparison(&text)
            .map(Some)
            .map_err(|source| SessionError::Document { path, source })
    }

    /// Writes everything that is rendered from a report. One file that cannot be written keeps no other from it.
    pub(super) fn write_report(&self, report: &RunReport, latencies: &str) -> Vec<WriteError> {
        let forms = format::RUN.iter().filter_map(|form| {
            let text = form.render(report, Screen::FILE);
            write_file(&self.0.join(form.file?), text.as_bytes()).err()
        });
        let latencies = self.write(RunFile::Latencies, latencies).err();
        forms.chain(latencies).collect()
    }

    fn write(&self, file: RunFile, text: &str) -> Result<(), WriteError> {
        write_file(&self.file(file), text.as_bytes())
    }

    /// Begins the export of the server's log.
    pub(super) fn log_export(&self) -> LogExport {
        LogExport {
            target: self.file(RunFile::ServerLog),
            spool: None,
        }
    }
}

/// The server's log on its way from the ledger into its file. Lines are kept in a file without a name until all of
/// them are there, so that a process that is killed leaves no part of it behind; memory does not grow with the log.
pub(super) struct LogExport {
    target: PathBuf,
    /// Begun with the first line: a server without a log gets no empty file of one.
    spool: Option<io::Result<BufWriter<File>>>,
}

impl LogExport {
    /// The next line, without its end. What goes wrong is told by [`LogExport::finish`].
    pub(super) fn line(&mut self, line: &str) {
        let spool = self.spool.get_or_insert_with(|| {
            let folder = self.target.parent().unwrap_or(Path::new("."));
            tempfile::tempfile_in(folder).map(BufWriter::new)
        });
        if let Ok(file) = spool
            && let Err(error) = writeln!(file, "{line}")
        {
            *spool = Err(error);
        }
    }

    /// Gives the file its name.
    pub(super) fn finish(self) -> Result<(), WriteError> {
        let Some(spool) = self.spool else {
            return Ok(());
        };
        let unspooled = || -> io::Result<File> {
            let mut file = spool?
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?;
            file.rewind()?;
            Ok(file)
        };
        write_file_with(&self.target, |file| {
            io::copy(&mut unspooled()?, file).map(|_| ())
        })
    }
}

/// The directory of a scenario's runs on several releases: a run directory for each, and the table of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatrixDirectory(PathBuf);

impl MatrixDirectory {
    /// Makes it, as [`RunDirectory::create`] does.
    ///
    /// # Errors
    /// As [`RunDirectory::create`].
    pub fn create(out: Option<&Path>, name: &str) -> Result<Self, SessionError> {
        made(out, name).map(MatrixDirectory)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the directory of one release's run.
    ///
    /// # Errors
    /// As [`RunDirectory::create`].
    pub fn run(&self, release: &str) -> Result<RunDirectory, SessionError> {
        RunDirectory::create(Some(&self.0.join(release)), release)
    }

    /// Writes the table.
    ///
    /// # Errors
    /// [`SessionError::Write`].
    pub fn write(&self, report: &MatrixReport) -> Result<(), SessionError> {
        write_file(&self.0.join("matrix.json"), matrix::json(report).as_bytes())?;
        Ok(())
    }
}

fn made(out: Option<&Path>, name: &str) -> Result<PathBuf, SessionError> {
    match out {
        Some(out) => named(out),
        None => free(Path::new(DEFAULT_PARENT), name),
    }
}

/// The directory that was asked for.
fn named(out: &Path) -> Result<PathBuf, SessionError> {
    std::fs::create_dir_all(out).map_err(|source| SessionError::io("create", out, source))?;
    let mut entries =
        std::fs::read_dir(out).map_err(|source| SessionError::io("read", out, source))?;
    if entries.next().is_some() {
        return Err(SessionError::DirectoryNotEmpty(out.to_path_buf()));
    }
    Ok(out.to_path_buf())
}

/// `name`, or `name-2` and so on. Two runs may start within one second: whoever makes the directory has it.
pub(super) fn free(parent: &Path, name: &str) -> Result<PathBuf, SessionError> {
    std::fs::create_dir_all(parent).map_err(|source| SessionError::io("create", parent, source))?;
    let mut number = 1_u32;
    loop {
        let path = match number {
            1 => parent.join(name),
            number => parent.join(format!("{name}-{number}")),
        };
        match std::fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(SessionError::io("create", &path, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn runs_that_start_at_the_same_moment_get_a_directory_each() {
        const RUNS: usize = 8;
        let parent = tempfile::tempdir().expect("a folder");
        let barrier = std::sync::Barrier::new(RUNS);
        let made: BTreeSet<PathBuf> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..RUNS)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        free(parent.path(), "smoke-20260101T000000Z").expect("made")
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic"))
                .collect()
        });
        assert_eq!(made.len(), RUNS);
        assert!(made.contains(&parent.path().join("smoke-20260101T000000Z-8")));
    }

    #[test]
    fn directory_that_holds_anything_is_refused_and_left_alone() {
        let parent = tempfile::tempdir().expect("a folder");
        std::fs::write(parent.path().join("mine"), "precious").expect("written");
        let error = RunDirectory::create(Some(parent.path()), "run").expect_err("refused");
        assert!(
            matches!(error, SessionError::DirectoryNotEmpty(_)),
            "{error}"
        );
        let inner = RunDirectory::create(Some(&parent.path().join("a/b")), "run").expect("made");
        inner.write_server_config("Port 0").expect("written");
        std::fs::write(inner.path().join("mine"), "precious").expect("written");
        inner.discard();
        assert!(!inner.has(RunFile::ServerConfig));
        assert!(inner.path().join("mine").exists());
    }

    #[test]
    fn log_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory =
            RunDirectory::create(Some(&folder.path().join("run")), "run").expect("made");
        let entries = || {
            std::fs::read_dir(directory.path())
                .expect("readable")
                .count()
        };
        directory.log_export().finish().expect("nothing to write");
        assert_eq!(entries(), 0);
        let mut export = directory.log_export();
        export.line("one");
        export.line("two");
        assert_eq!(entries(), 0);
        export.finish().expect("written");
        let text = std::fs::read_to_string(directory.file(RunFile::ServerLog)).expect("there");
        assert_eq!(text, "one\ntwo\n");
    }
}
