//! What sshd writes, for whoever plays one: the lines of its log in the wording of OpenSSH 9.2, without time and process id, as
//! `sshd -E` writes them.
//!
//! Owns the wording only; `message` is its counterpart that reads every release's.

use std::io;
use std::net::SocketAddr;

/// One line of the log.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum Line<'a> {
    /// sshd.c:server_accept_loop: `accept` failed.
    AcceptFailed(&'a io::Error),
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
    /// misc.c:subprocess, of an `AuthorizedKeysCommand`.
    KeyCommand { user: &'a str },
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
    ForkFailed(&'a io::Error),
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
            Line::KeyCommand { user } => write!(
                f,
                "debug3: subprocess: AuthorizedKeysCommand command \"(stand-in)\" running as {user} (flags 0x6)"
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
