//! What killed runs left in the temporary folder: found, judged, removed.
//!
//! Owns the judgement. A folder is looked into only if its name is one of ours **and** it is a real directory **and** it
//! belongs to this user **and** nobody else may write to it: everything else in a temporary folder is somebody else's,
//! whatever it is called. It is removed only when its owner is certainly gone.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::{
    BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, FsType, OVERLAYFS_SUPER_MAGIC, TMPFS_MAGIC,
    XFS_SUPER_MAGIC, fstatfs,
};

use super::files::{open_plain, read_open};
use super::{Kind, OWNER, processes};
use crate::owner::{Liveness, Owner};

/// File systems of one machine, never of two at a time. ext2, ext3 and ext4 share a number.
const OF_ONE_MACHINE: [FsType; 5] = [
    BTRFS_SUPER_MAGIC,
    EXT4_SUPER_MAGIC,
    OVERLAYFS_SUPER_MAGIC,
    TMPFS_MAGIC,
    XFS_SUPER_MAGIC,
];

/// What is to be done with a folder of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Somebody uses it, or nothing is known of its owner.
    Leave,
    /// Its owner is gone.
    Remove,
    /// Made under another boot, perhaps of another machine that shares the folder.
    Tell,
}

/// Removes what killed runs left under `parent`, processes first. Returns one sentence for the report for each folder
/// that was removed or could not be judged. What cannot be removed is no reason not to run. Blocks, but waits for nobody.
pub(crate) fn remove_stale(parent: &Path) -> Vec<String> {
    let mut told = Vec::new();
    // Without this process's own place in time and namespaces nobody else's can be judged.
    if Owner::this_process().is_err() {
        return told;
    }
    let Ok(entries) = fs::read_dir(parent) else {
        return told;
    };
    for entry in entries.flatten().filter(is_ours) {
        let folder = entry.path();
        // The lock is held until the folder is gone, so that two runs do not clear it at once.
        let Ok(lock) = open_plain(&folder.join(OWNER)) else {
            continue;
        };
        match judge(&lock) {
            Judgement::Leave => {}
            Judgement::Tell => told.push(format!(
                "{} was left under another boot, of this machine or of one that shares the folder: it stays; remove it \
                 if no run of another machine uses it",
                folder.display()
            )),
            Judgement::Remove => {
                let ended = processes::end_ward(&folder, &HashSet::new());
                // Its supervisor may be removing it at this very moment.
                let removed = match fs::remove_dir_all(&folder) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    other => other,
                };
                told.push(match ended.and(removed) {
                    Ok(()) => format!(
                        "removed {}, left by a run that was killed",
                        folder.display()
                    ),
                    Err(error) => format!(
                        "{}, left by a run that was killed, could not be removed: {error}",
                        folder.display()
                    ),
                });
            }
        }
    }
    told
}

/// By name, kind of file, owner and mode; nothing is opened. `DirEntry::metadata` does not follow links.
fn is_ours(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    Kind::ALL.iter().any(|kind| name.starts_with(kind.prefix()))
        && entry.metadata().is_ok_and(|folder| {
            folder.is_dir()
                && folder.uid() == nix::unistd::geteuid().as_raw()
                && folder.mode() & 0o022 == 0
        })
}

/// Judges a folder by its owner file, and locks that if it is free.
pub(super) fn judge(owner_file: &File) -> Judgement {
    let Some(owner) = read_open(owner_file)
        .ok()
        .and_then(|text| text.parse::<Owner>().ok())
    else {
        return Judgement::Leave;
    };
    let liveness = owner.liveness();
    // A living owner holds the lock, from another pid namespace too: that is the same kernel's lock.
    if liveness == Liveness::Alive || owner_file.try_lock().is_err() {
        return Judgement::Leave;
    }
    match liveness {
        Liveness::Alive => Judgement::Leave,
        Liveness::Dead | Liveness::Unseen => Judgement::Remove,
        Liveness::OtherBoot if is_of_an_earlier_boot(owner_file) => Judgement::Remove,
        Liveness::OtherBoot => Judgement::Tell,
    }
}

/// Whether a file with another boot's id was certainly written by this machine before it booted: its file system is one
/// that only one kernel uses at a time, so that the writer's kernel was this machine's; and it is older than this boot.
fn is_of_an_earlier_boot(file: &File) -> bool {
    let older = match (file.metadata(), procfs::boot_time_secs()) {
        (Ok(metadata), Ok(booted)) => {
            u64::try_from(metadata.mtime()).is_ok_and(|written| written < booted)
        }
        _ => false,
    };
    older && is_of_one_machine(file)
}

/// Whether a file lies on a file system that no two machines can use at the same time.
pub(super) fn is_of_one_machine(file: &File) -> bool {
    fstatfs(file).is_ok_and(|file_system| OF_ONE_MACHINE.contains(&file_system.filesystem_type()))
}
