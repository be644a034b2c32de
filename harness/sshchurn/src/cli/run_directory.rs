//! Where a run keeps what it records: its name, and its directory, which no other run's record is in.

use std::path::{Path, PathBuf};

use super::error::CliError;
use super::load::LEDGER;
use sshchurn_core::ids::RunId;

/// Name of the server's configuration in a run directory.
pub(super) const SSHD_CONFIG: &str = "sshd_config";

/// `<name>-<UTC time>`, the time to the second in basic ISO 8601 form.
pub(super) fn run_id(name: &str) -> RunId {
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    let now = time::OffsetDateTime::now_utc()
        .format(&format)
        .unwrap_or_default();
    RunId(format!("{name}-{now}"))
}

/// Makes the run directory; an existing one must be empty, since a run never overwrites another's record.
pub(super) fn create(out: Option<&Path>, run_id: &RunId) -> Result<PathBuf, CliError> {
    let directory = match out {
        Some(out) => out.to_path_buf(),
        None => free_name(&Path::new("sshchurn-runs").join(&run_id.0)),
    };
    std::fs::create_dir_all(&directory)
        .map_err(|source| CliError::io("create", &directory, source))?;
    let mut entries =
        std::fs::read_dir(&directory).map_err(|source| CliError::io("read", &directory, source))?;
    if entries.next().is_some() {
        return Err(CliError::DirectoryNotEmpty(directory));
    }
    Ok(directory)
}

/// Takes back the directory of a run that measured nothing. Only what such a run writes is removed, and the directory
/// when nothing else is in it.
pub(super) fn discard(directory: &Path) {
    for name in [LEDGER, SSHD_CONFIG] {
        let _ = std::fs::remove_file(directory.join(name));
    }
    let _ = std::fs::remove_dir(directory);
}

/// Two runs may start within one second.
fn free_name(wanted: &Path) -> PathBuf {
    (1..)
        .map(|number| match number {
            1 => wanted.to_path_buf(),
            number => PathBuf::from(format!("{}-{number}", wanted.display())),
        })
        .find(|path| !path.exists())
        .unwrap_or_else(|| wanted.to_path_buf())
}
