//! The stand-in's log: OpenSSH's own wording, kept in memory, so that one parser reads every target.
//!
//! Owns the lines and their bytes. As `sshd -E` writes them: no time, no process id, `\r\n` at the end, and
//! a `debug1: ` prefix at that level. The wording is that of OpenSSH 9.2. It must not decide anything.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// An append-only log in memory; clones share it.
#[derive(Debug, Clone, Default)]
pub struct ServerLog {
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl ServerLog {
    /// An empty log.
    #[must_use]
    pub fn new() -> Self {
        ServerLog::default()
    }

    /// Bytes written so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes().len() as u64
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Everything from byte `from` on; nothing where the log is shorter than that.
    #[must_use]
    pub fn read(&self, from: u64) -> Vec<u8> {
        let bytes = self.bytes();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        bytes.get(from..).unwrap_or_default().to_vec()
    }

    /// The last `count` lines, for error messages.
    #[must_use]
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes()).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..]
            .iter()
            .map(|line| (*line).to_owned())
            .collect()
    }

    pub(super) fn line(&self, line: &Line<'_>) {
        // Formatted outside the lock: the accept loop writes here too.
        let mut text = line.to_string();
        // What a client sends (a user name) must not forge a line: log.c:do_log passes text through vis(3).
        text.retain(|character| !character.is_control());
        text.push_str("\r\n");
        self.bytes().extend_from_slice(text.as_bytes());
    }

    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line of the log.
#[derive(Debug, Clone, Copy)]
pub(super) enum Line<'a> {
    /// sshd.c:server_accept_loop: `accept` failed.
    AcceptFailed(&'a std::io::Error),
    /// sshd.c:should_drop_connection: one draw.
    Draw { percent: u32, draw: u32 },
    /// sshd.c:drop_connection. `slots` are those in use before this connection.
    Dropped {
        slots: u32,
        peer: SocketAddr,
        local: SocketAddr,
    },
    /// sshd.c:main of the connection's own process.
    Connection { peer: SocketAddr, local: SocketAddr },
    /// auth.c:auth_log.
    Accepted {
        user: &'a str,
        peer: SocketAddr,
        key: &'a str,
    },
    /// auth.c:auth_log.
    Failed {
        method: &'a str,
        known_user: bool,
        user: &'a str,
        peer: SocketAddr,
    },
    /// sshd.c:grace_alarm_handler, up to OpenSSH 9.7.
    GraceTimeout { peer: SocketAddr },
    /// session.c:session_new.
    NoMoreSessions,
    /// session.c:do_exec.
    SessionStarted {
        user: &'a str,
        peer: SocketAddr,
        id: u32,
    },
    /// session.c:session_close.
    SessionClosed {
        user: &'a str,
        peer: SocketAddr,
        id: u32,
    },
    /// session.c:do_exec_no_pty could not start a process.
    ForkFailed(&'a std::io::Error),
    /// packet.c:sshpkt_vfatal and serverloop.c: the client's end of the connection is gone.
    Closed {
        peer: SocketAddr,
        preauth: bool,
        reset: bool,
    },
    /// packet.c: the client said goodbye.
    Disconnected {
        user: Option<&'a str>,
        peer: SocketAddr,
    },
}

impl std::fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Line::AcceptFailed(error) => write!(f, "accept: {error}"),
            Line::Draw { percent, draw } => {
                write!(f, "debug1: should_drop_connection: p {percent}, r {draw}")
            }
            Line::Dropped { slots, peer, local } => write!(
                f,
                "drop connection #{slots} from [{}]:{} on [{}]:{} past MaxStartups",
                peer.ip(),
                peer.port(),
                local.ip(),
                local.port()
            ),
            Line::Connection { peer, local } => write!(
                f,
                "Connection from {} port {} on {} port {}",
                peer.ip(),
                peer.port(),
                local.ip(),
                local.port()
            ),
            Line::Accepted { user, peer, key } => write!(
                f,
                "Accepted publickey for {user} from {} port {} ssh2: {key}",
                peer.ip(),
                peer.port()
            ),
            Line::Failed {
                method,
                known_user,
                user,
                peer,
            } => write!(
                f,
                "Failed {method} for {}{user} from {} port {} ssh2",
                if known_user { "" } else { "invalid user " },
                peer.ip(),
                peer.port()
            ),
            Line::GraceTimeout { peer } => write!(
                f,
                "Timeout before authentication for {} port {}",
                peer.ip(),
                peer.port()
            ),
            Line::NoMoreSessions => f.write_str("no more sessions"),
            Line::SessionStarted { user, peer, id } => write!(
                f,
                "Starting session: command for {user} from {} port {} id {id}",
                peer.ip(),
                peer.port()
            ),
            Line::SessionClosed { user, peer, id } => write!(
                f,
                "Close session: user {user} from {} port {} id {id}",
                peer.ip(),
                peer.port()
            ),
            Line::ForkFailed(error) => write!(f, "fork: {error}"),
            Line::Closed {
                peer,
                preauth,
                reset,
            } => write!(
                f,
                "Connection {} by {} port {}{}",
                if reset { "reset" } else { "closed" },
                peer.ip(),
                peer.port(),
                if preauth { " [preauth]" } else { "" }
            ),
            Line::Disconnected { user, peer } => match user {
                Some(user) => write!(
                    f,
                    "Disconnected from user {user} {} port {}",
                    peer.ip(),
                    peer.port()
                ),
                None => write!(
                    f,
                    "Disconnected from {} port {} [preauth]",
                    peer.ip(),
                    peer.port()
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_from_an_offset_returns_what_came_after_it() {
        let log = ServerLog::new();
        log.line(&Line::NoMoreSessions);
        let offset = log.len();
        log.line(&Line::Draw {
            percent: 30,
            draw: 7,
        });
        assert_eq!(
            log.read(offset),
            b"debug1: should_drop_connection: p 30, r 7\r\n"
        );
        assert_eq!(log.read(u64::MAX), b"");
        assert_eq!(
            log.last_lines(1),
            ["debug1: should_drop_connection: p 30, r 7"]
        );
    }

    #[test]
    fn a_user_name_cannot_forge_a_line() {
        let log = ServerLog::new();
        log.line(&Line::Failed {
            method: "publickey",
            known_user: false,
            user: "eve\r\nConnection from 127.0.0.1 port 1 on 127.0.0.1 port 2",
            peer: SocketAddr::from(([127, 0, 0, 1], 9)),
        });
        assert_eq!(log.last_lines(9).len(), 1);
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
