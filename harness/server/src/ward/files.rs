//! Reading small files in places that others can write to, or that a job may have filled.
//!
//! Owns the one way a file of a private folder is opened: it never waits, follows no link and reads little.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

/// Most that is read of any file here, bytes: an owner takes some 70, a pid 7.
const MOST_BYTES: u64 = 64 * 1024;

/// Opens a regular file of this user's.
///
/// O_NOFOLLOW: a link could lead to a file without end. O_NONBLOCK: a FIFO or a terminal could make open(2) wait for
/// ever; for a regular file it means nothing. What kind of file it is can only be asked safely of the open one.
pub(super) fn open_plain(path: &Path) -> io::Result<File> {
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::Error::other("not a regular file of this user"));
    }
    Ok(file)
}

/// The text of an open file, as far as it is text and not long.
pub(super) fn read_open(file: &File) -> io::Result<String> {
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// The text of a regular file of this user's; at most its first 64 KiB.
pub(crate) fn read_small(path: &Path) -> io::Result<String> {
    read_open(&open_plain(path)?)
}
