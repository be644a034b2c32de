//! The stand-in's log: OpenSSH's own wording, in a file, so that one parser and one follower read every target.
//!
//! Owns the lines and their bytes. As `sshd -E` writes them: no time, no process id, `\r\n` at the end, a
//! `debug1: ` prefix at that level, and one write for each line. The wording is that of OpenSSH 9.2. It must not
//! decide anything.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use sshchurn_core::server_log::wording::Line;

/// An append-only log; clones share it. What is not written is lost with a warning, as sshd's own lines are on a full
/// disk: the books then do not balance.
#[derive(Debug, Clone)]
pub struct ServerLog(Arc<Appended>);

#[derive(Debug)]
struct Appended {
    path: PathBuf,
    file: File,
    failed: AtomicBool,
}

impl ServerLog {
    /// An empty log in a new file.
    ///
    /// # Errors
    /// When the file cannot be made, or is there already.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = File::options().append(true).create_new(true).open(path)?;
        Ok(ServerLog(Arc::new(Appended {
            path: path.to_owned(),
            file,
            failed: AtomicBool::new(false),
        })))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    pub(super) fn line(&self, line: &Line<'_>) {
        let mut text = line.to_string();
        // What a client sends (a user name) must not forge a line: log.c:do_log passes text through vis(3).
        text.retain(|character| !character.is_control());
        text.push_str("\r\n");
        if let Err(error) = (&self.0.file).write_all(text.as_bytes())
            && !self.0.failed.swap(true, Relaxed)
        {
            tracing::warn!(%error, "the stand-in's log cannot be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_user_name_cannot_forge_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = ServerLog::create(&folder.path().join("log")).expect("a file");
        log.line(&Line::Failed {
            method: "publickey",
            known_user: false,
            user: "eve\r\nConnection from 127.0.0.1 port 1 on 127.0.0.1 port 2",
            peer: SocketAddr::from(([127, 0, 0, 1], 9)),
        });
        let text = std::fs::read_to_string(log.path()).expect("read");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    #[test]
    fn lines_have_the_wording_of_openssh_9_2() {
        let peer = SocketAddr::from(([127, 0, 0, 1], 4000));
        let local = SocketAddr::from(([127, 0, 0, 1], 22));
        for (line, text) in [
            (
                Line::Dropped {
                    slots: 10,
                    peer,
                    local,
                },
                "drop connection #10 from [127.0.0.1]:4000 on [127.0.0.1]:22 past MaxStartups",
            ),
            (
                Line::Connection { peer, local },
                "Connection from 127.0.0.1 port 4000 on 127.0.0.1 port 22",
            ),
            (
                Line::Accepted {
                    user: "u",
                    peer,
                    key: "ED25519 SHA256:x",
                },
                "Accepted publickey for u from 127.0.0.1 port 4000 ssh2: ED25519 SHA256:x",
            ),
            (
                Line::GraceTimeout { peer },
                "Timeout before authentication for 127.0.0.1 port 4000",
            ),
            (
                Line::SessionStarted {
                    user: "u",
                    peer,
                    id: 1,
                },
                "Starting session: command for u from 127.0.0.1 port 4000 id 1",
            ),
            (
                Line::SessionClosed {
                    user: "u",
                    peer,
                    id: 1,
                },
                "Close session: user u from 127.0.0.1 port 4000 id 1",
            ),
            (
                Line::Closed {
                    peer,
                    preauth: true,
                    reset: false,
                },
                "Connection closed by 127.0.0.1 port 4000 [preauth]",
            ),
            (
                Line::Disconnected {
                    user: Some("u"),
                    peer,
                },
                "Disconnected from user u 127.0.0.1 port 4000",
            ),
        ] {
            assert_eq!(line.to_string(), text);
        }
    }
}
