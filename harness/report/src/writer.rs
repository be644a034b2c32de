//! Whole files or nothing.
//!
//! The only I/O of `report`. A reader never sees half a report: bytes go to a temporary file in the same
//! folder, are synced, and take the final name by rename(2).

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Why a file was not written; the final name is untouched.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", path.display())]
pub struct WriteError {
    path: PathBuf,
    source: io::Error,
}

/// Writes a file atomically, replacing an older one.
///
/// # Errors
/// [`WriteError`] when the folder is missing or not writable, or the disk is full.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<(), WriteError> {
    write_file_with(path, |file| file.write_all(bytes))
}

/// The same for what is too long to be held in memory: `fill` writes it.
///
/// # Errors
/// As [`write_file`], and what `fill` fails with.
pub fn write_file_with(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), WriteError> {
    let attempt = || -> io::Result<()> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut builder = tempfile::Builder::new();
        // tempfile makes private files; a report is for everyone who may read the folder (the umask still applies).
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.prefix(".sshchurn-").tempfile_in(folder)?;
        fill(file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(|source| WriteError {
        path: path.to_path_buf(),
        source,
    })
}
