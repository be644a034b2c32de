//! Where a sweep is kept: its definition, a record for each run that is over, the directory of the run under way, and what is
//! rendered.
//!
//! Owns every file name in it. Whatever is killed at whatever moment leaves whole records only, and at most one run directory that
//! the next process removes.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sshchurn_core::sweep::{Job, Shard, label};
use sshchurn_report::format::{self, Screen};
use sshchurn_report::sweep::{self, SweepDefinition, SweepRecord, SweepReport};
use sshchurn_report::write_file;

use super::super::directory::{RunDirectory, free};
use super::super::error::SessionError;

const DEFINITION: &str = "definition.json";
const RECORDS: &str = "records";
const RUNS: &str = "runs";
/// Files that are not there yet begin with this.
const UNFINISHED: &str = ".sshchurn-";

/// The directory of a sweep, or of some shards of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepDirectory(PathBuf);

/// Nobody else runs the same shard in the directory while this is kept.
#[derive(Debug)]
pub(super) struct Lock(
    #[expect(dead_code, reason = "the lock is held by the open file")] Option<File>,
);

impl SweepDirectory {
    /// Makes the directory of a sweep, or finds the same sweep in it: the one that the user names, or else a free one called `name`
    /// below `sshchurn-runs` in the working folder. With whether the sweep was there.
    ///
    /// # Errors
    /// [`SessionError::OtherSweep`] where another sweep is in it, [`SessionError::DirectoryNotEmpty`] where anything else is, and
    /// [`SessionError::Io`] where the file system refuses.
    pub fn enter(
        out: Option<&Path>,
        name: &str,
        definition: &SweepDefinition,
    ) -> Result<(Self, bool), SessionError> {
        let path = match out {
            Some(out) => out.to_path_buf(),
            None => free(Path::new(super::super::directory::DEFAULT_PARENT), name)?,
        };
        if path.join(DEFINITION).exists() {
            let (directory, there) = SweepDirectory::open(&path)?;
            let differences = there.differences(definition);
            return match differences.is_empty() {
                true => Ok((directory, true)),
                false => Err(SessionError::OtherSweep { path, differences }),
            };
        }
        std::fs::create_dir_all(&path)
            .map_err(|source| SessionError::io("create", &path, source))?;
        let entries = std::fs::read_dir(&path);
        let mut entries = entries.map_err(|source| SessionError::io("read", &path, source))?;
        // Of another shard that is just making the same, or of one that was killed.
        let foreign = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.is_ok_and(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                !name.starts_with(UNFINISHED) && name != DEFINITION
            })
        };
        if entries.any(foreign) {
            return Err(SessionError::DirectoryNotEmpty(path));
        }
        write_file(
            &path.join(DEFINITION),
            sweep::definition_json(definition).as_bytes(),
        )?;
        Ok((SweepDirectory(path), false))
    }

    /// The directory of a sweep that was begun, and what the sweep is.
    ///
    /// # Errors
    /// [`SessionError::NoSweep`] when there is none in it, [`SessionError::Document`] when it is of another version.
    pub fn open(path: &Path) -> Result<(Self, SweepDefinition), SessionError> {
        let file = path.join(DEFINITION);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(SessionError::NoSweep(path.to_path_buf()));
            }
            Err(source) => return Err(SessionError::io("read", &file, source)),
        };
        let definition = sweep::parse_definition(&text)
            .map_err(|source| SessionError::Document { path: file, source })?;
        Ok((SweepDirectory(path.to_path_buf()), definition))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Keeps other processes from running the same shard here. A process that is killed keeps nobody from it.
    pub(super) fn lock(&self, shard: Shard) -> Result<Lock, SessionError> {
        let name = format!(".lock-{}", shard.to_string().replace('/', "-of-"));
        let path = self.0.join(name);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = file.map_err(|source| SessionError::io("create", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(Some(file))),
            Err(TryLockError::WouldBlock) => Err(SessionError::SweepUnderWay(self.0.clone())),
            // A file system without locks: two processes would make the same runs, and record the same.
            Err(TryLockError::Error(_)) => Ok(Lock(None)),
        }
    }

    /// Every record, in the order of points.
    ///
    /// # Errors
    /// [`SessionError::Document`] for one that is none, and [`SessionError::OtherSweep`] for one of another point.
    pub fn records(&self, definition: &SweepDefinition) -> Result<Vec<SweepRecord>, SessionError> {
        let folder = self.0.join(RECORDS);
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(SessionError::io("read", &folder, source)),
        };
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|end| end == "json"))
            .collect();
        files.sort();
        let mut records = Vec::new();
        for path in files {
            let text = std::fs::read_to_string(&path)
                .map_err(|source| SessionError::io("read", &path, source))?;
            let record = match sweep::parse_record(&text) {
                Ok(record) => record,
                Err(source) => return Err(SessionError::Document { path, source }),
            };
            let settings = definition.point(record.point).map(|point| &point.settings);
            if settings != Some(&record.settings) {
                let there = label(&record.settings);
                return Err(SessionError::OtherSweep {
                    path,
                    differences: vec![format!("point {} is {there} there", record.point)],
                });
            }
            records.push(record);
        }
        Ok(records)
    }

    pub(super) fn write_record(&self, record: &SweepRecord) -> Result<(), SessionError> {
        let folder = self.0.join(RECORDS);
        std::fs::create_dir_all(&folder)
            .map_err(|source| SessionError::io("create", &folder, source))?;
        let path = folder.join(format!("{}.json", record.job()));
        write_file(&path, sweep::record_json(record).as_bytes())?;
        Ok(())
    }

    /// Makes the directory of a run anew; what a process that was killed has left of it is removed.
    pub(super) fn run(&self, job: Job) -> Result<RunDirectory, SessionError> {
        self.remove_run(job);
        RunDirectory::create(Some(&self.run_path(job)), "")
    }

    pub(super) fn remove_run(&self, job: Job) {
        let _ = std::fs::remove_dir_all(self.run_path(job));
        // With the last of them.
        let _ = std::fs::remove_dir(self.0.join(RUNS));
    }

    fn run_path(&self, job: Job) -> PathBuf {
        self.0.join(RUNS).join(job.to_string())
    }

    /// Writes the report in all its forms into a directory, which need not be that of a sweep.
    ///
    /// # Errors
    /// [`SessionError::Io`] and [`SessionError::Write`].
    pub fn write(path: &Path, report: &SweepReport) -> Result<(), SessionError> {
        std::fs::create_dir_all(path).map_err(|source| SessionError::io("create", path, source))?;
        for form in format::SWEEP {
            if let Some(file) = form.file {
                let text = form.render(report, Screen::FILE);
                write_file(&path.join(file), text.as_bytes())?;
            }
        }
        Ok(())
    }
}
