//! This machine's own sshd, asked about a configuration without starting a server.
//!
//! Owns the private folder with the copies of the files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::sshd::{Sshd, create_privsep_folder, missing_privsep_folder};
use super::write;
use crate::config_reader::Said;
use crate::ward::{Kind, Ward};
use crate::{ServerError, io_error, key_error};
use sshchurn_core::release::Release;
use sshchurn_engine::ssh::keys::KeyPair;

/// The program and its folder, removed when dropped.
pub(crate) struct AskedHere {
    sshd: Sshd,
    ward: Ward,
    /// Root's sshd wants it; made here where it was missing.
    privsep: Option<MadeFolder>,
}

impl AskedHere {
    pub(crate) async fn prepare() -> Result<Self, ServerError> {
        let sshd = Sshd::find().await?;
        let ward = Ward::create(&std::env::temp_dir(), Kind::Local)
            .map_err(io_error("create a private folder"))?;
        super::check_folder(ward.path())?;
        let host_key = KeyPair::generate().map_err(key_error)?;
        let pem = host_key.private_pem().map_err(key_error)?;
        write(&ward.path().join("host_key"), pem.as_bytes(), 0o600)?;
        Ok(AskedHere {
            sshd,
            ward,
            privsep: None,
        })
    }

    pub(crate) fn release(&self) -> (Release, &str) {
        (self.sshd.release, &self.sshd.release_text)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.ward.path()
    }

    /// Puts a file beside the others.
    pub(crate) fn put(&self, name: &str, text: &str) -> Result<(), ServerError> {
        let path = self.ward.path().join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(format!("replace {}", path.display()))(error));
            }
            Ok(()) | Err(_) => {}
        }
        write(&path, text.as_bytes(), 0o600)
    }

    pub(crate) async fn ask(&mut self, arguments: &[&str]) -> Result<Said, ServerError> {
        loop {
            let output = super::sshd::run(&self.sshd.path, arguments).await?;
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            if self.privsep.is_none()
                && !output.status.success()
                && let Some(folder) = missing_privsep_folder(&stderr)
            {
                create_privsep_folder(&folder)?;
                self.privsep = Some(MadeFolder(folder));
                continue;
            }
            return Ok(Said {
                accepted: output.status.success(),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr,
            });
        }
    }

    pub(crate) fn end(self) -> Result<(), ServerError> {
        self.ward
            .remove()
            .map_err(io_error("remove the private folder"))
    }
}

/// A folder that goes with this.
struct MadeFolder(PathBuf);

impl Drop for MadeFolder {
    fn drop(&mut self) {
        // One in which somebody put something is somebody's.
        let _ = fs::remove_dir(&self.0);
    }
}
