//! What one client may do: log in with a key that may, open sessions up to `MaxSessions`, run commands.
//!
//! Owns russh's `Handler` and the table of sessions of a connection. It must not run anything itself
//! (`exec`) and must not decide who is admitted (`server`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::exec::{self, Reply};
use super::gauges::Slot;
use super::server::Shared;
use rand::RngExt as _;
use sshchurn_core::scenario::SlowAuthShape;
use sshchurn_core::server_log::wording::Line;

/// One connection as russh sees it.
#[derive(Debug)]
pub(super) struct ServerSession {
    shared: Arc<Shared>,
    peer: SocketAddr,
    /// Held from `accept` until authenticated or gone.
    slot: Option<Slot>,
    authenticated: CancellationToken,
    /// Type and fingerprint of the key that it logs in with.
    key: String,
    /// Whether it has waited for its keys to be looked up.
    looked_up: bool,
    sessions: Arc<Sessions>,
}

impl ServerSession {
    pub(super) fn new(
        shared: Arc<Shared>,
        peer: SocketAddr,
        slot: Slot,
        authenticated: CancellationToken,
    ) -> Self {
        let sessions = Arc::new(Sessions {
            shared: Arc::clone(&shared),
            peer,
            open: Mutex::default(),
        });
        ServerSession {
            shared,
            peer,
            slot: Some(slot),
            authenticated,
            key: String::new(),
            looked_up: false,
            sessions,
        }
    }

    /// Waits as the first look-up of its keys does; a client that only asks makes it wait just as one that signs at once.
    async fn look_up(&mut self) {
        let Some(slow) = self.shared.config.slow_auth else {
            return;
        };
        let config = &self.shared.config;
        config.log.line(&Line::KeyCommand { user: &config.user });
        if std::mem::replace(&mut self.looked_up, true) {
            return;
        }
        let wait = match slow.shape {
            SlowAuthShape::Fixed => slow.mean,
            SlowAuthShape::Exponential => {
                let draw: f64 = rand::rng().random();
                slow.mean.mul_f64(-(1.0 - draw).ln())
            }
        };
        tokio::time::sleep(wait).await;
    }

    fn judge(&self, user: &str, key: &PublicKey) -> Auth {
        let config = &self.shared.config;
        if user == config.user && self.shared.authorised.contains_key(key.key_data()) {
            return Auth::Accept;
        }
        config.log.line(&Line::Failed {
            method: "publickey",
            known_user: user == config.user,
            user,
            peer: self.peer,
        });
        Auth::reject()
    }
}

impl Drop for ServerSession {
    fn drop(&mut self) {
        self.sessions.close_all();
    }
}

impl Handler for ServerSession {
    type Error = russh::Error;

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        self.look_up().await;
        Ok(self.judge(user, offer.public_key))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        self.look_up().await;
        // russh calls this only after the signature was verified.
        let verdict = self.judge(user, key.public_key);
        if let Some(text) = self.shared.authorised.get(key.public_key.key_data()) {
            self.key.clone_from(text);
        }
        Ok(verdict)
    }

    async fn auth_succeeded(&mut self, _session: &mut Session) -> Result<(), Self::Error> {
        // Here USERAUTH_SUCCESS is written but not yet flushed, so the slot is free a moment before the client
        // knows; sshd frees it a moment after (sshd-session.c:main). Freeing it later would need a hook russh
        // does not have.
        self.slot = None;
        self.authenticated.cancel();
        self.shared.config.log.line(&Line::Accepted {
            user: &self.shared.config.user,
            peer: self.peer,
            key: &self.key,
        });
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        // The `Channel` itself is dropped: with it alive russh would queue every message a second time, and
        // stop reading the connection once nobody empties that queue.
        if self.sessions.open(channel.id()) {
            reply.accept().await;
        } else {
            self.shared.config.log.line(&Line::NoMoreSessions);
            // serverloop.c:server_input_channel_open: SSH2_OPEN_CONNECT_FAILED, "open failed".
            reply
                .reject(ChannelOpenFailure::Other {
                    code: ChannelOpenFailure::ConnectFailed.code(),
                    reason: String::from("open failed"),
                })
                .await;
        }
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let reply = Reply {
            handle: session.handle(),
            channel,
        };
        if self.sessions.run(channel, command, reply) {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.sessions.input(channel, data);
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.sessions.input_ended(channel);
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.sessions.closed_by_client(channel);
        Ok(())
    }

    // Everything else a session can ask for is refused: russh's own defaults would not answer at all.

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _col_width: u32,
        _row_height: u32,
        _pix_width: u32,
        _pix_height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _x11_auth_protocol: &str,
        _x11_auth_cookie: &str,
        _x11_screen_number: u32,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _variable_name: &str,
        _variable_value: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}

/// The sessions of one connection: session.c's table.
#[derive(Debug)]
pub(super) struct Sessions {
    shared: Arc<Shared>,
    peer: SocketAddr,
    open: Mutex<BTreeMap<ChannelId, OpenSession>>,
}

#[derive(Debug)]
struct OpenSession {
    id: u32,
    command: Option<RunningCommand>,
}

#[derive(Debug)]
struct RunningCommand {
    /// Unbounded: russh widens the channel's window as soon as data arrives, and waiting here would stop
    /// the whole connection. What a client can pile up here is its own memory: it lives in this process.
    input: Option<mpsc::UnboundedSender<Bytes>>,
    client_gone: CancellationToken,
}

impl Sessions {
    /// session.c:session_new: takes the lowest free number, or refuses at `MaxSessions`.
    fn open(&self, channel: ChannelId) -> bool {
        let mut open = self.table();
        if open.len() >= self.shared.config.settings.max_sessions_of(self.peer.ip()) as usize {
            return false;
        }
        let id = (0..)
            .find(|id| open.values().all(|session| session.id != *id))
            .unwrap_or(u32::MAX);
        open.insert(channel, OpenSession { id, command: None });
        true
    }

    /// Starts a command in a session that runs none yet; false where that is refused.
    fn run(self: &Arc<Self>, channel: ChannelId, command: &[u8], reply: Reply) -> bool {
        let config = &self.shared.config;
        let mut open = self.table();
        let Some(session) = open.get_mut(&channel) else {
            return false;
        };
        if session.command.is_some() || self.shared.shutdown.is_cancelled() {
            return false;
        }
        let child = match exec::start(command, config) {
            Ok(child) => child,
            Err(error) => {
                config.log.line(&Line::ForkFailed(&error));
                return false;
            }
        };
        config.log.line(&Line::SessionStarted {
            user: &config.user,
            peer: self.peer,
            id: session.id,
        });
        let (input, receive_input) = mpsc::unbounded_channel();
        let client_gone = CancellationToken::new();
        session.command = Some(RunningCommand {
            input: Some(input),
            client_gone: client_gone.clone(),
        });
        let running = exec::Running {
            child,
            reply,
            input: receive_input,
            client_gone,
            shutdown: self.shared.shutdown.clone(),
        };
        let sessions = Arc::clone(self);
        self.shared.tasks.spawn(async move {
            let end = running.relay().await;
            // Before the client is told: it may open the next channel in the same breath.
            sessions.close(channel);
            end.tell().await;
        });
        true
    }

    fn input(&self, channel: ChannelId, data: &[u8]) {
        if let Some(OpenSession {
            command: Some(RunningCommand {
                input: Some(input), ..
            }),
            ..
        }) = self.table().get(&channel)
        {
            // An error means that the command is over; sshd throws such data away as well.
            let _ = input.send(Bytes::copy_from_slice(data));
        }
    }

    fn input_ended(&self, channel: ChannelId) {
        if let Some(command) = self
            .table()
            .get_mut(&channel)
            .and_then(|session| session.command.as_mut())
        {
            command.input = None;
        }
    }

    /// session.c:session_close_by_channel: a session whose command still runs stays in the table until the
    /// command ends.
    fn closed_by_client(&self, channel: ChannelId) {
        if let Some(command) = self
            .table()
            .get_mut(&channel)
            .and_then(|session| session.command.as_mut())
        {
            command.input = None;
            command.client_gone.cancel();
            return;
        }
        self.close(channel);
    }

    fn close(&self, channel: ChannelId) {
        let closed = self.table().remove(&channel);
        if let Some(session) = closed {
            self.log_close(session.id);
        }
    }

    /// The connection is gone. Its commands live on, as with sshd; they only lose their pipes.
    fn close_all(&self) {
        let closed = std::mem::take(&mut *self.table());
        for session in closed.into_values() {
            if let Some(command) = &session.command {
                command.client_gone.cancel();
            }
            self.log_close(session.id);
        }
    }

    fn log_close(&self, id: u32) {
        self.shared.config.log.line(&Line::SessionClosed {
            user: &self.shared.config.user,
            peer: self.peer,
            id,
        });
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<ChannelId, OpenSession>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
