//! The real connector: russh over a tapped TCP stream.
//!
//! Owns the socket options, the deadlines of each stage and the mapping of russh's errors; russh's own view
//! of a failure is only ever used as text, the tap decides the class.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use russh::client::{self, AuthResult};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect, Preferred, SshId, cipher, kex};
use socket2::Socket;
use tokio::time::{Instant, timeout, timeout_at};

use super::classify;
use super::held::HeldConnection;
use super::keys::{HostKeyCheck, KeyPair};
use super::shell;
use super::socket::{self, Connection};
use super::tap::{Tap, TappedStream, socket_error};
use super::{Command, CommandOutput, ConnectLimits, Connector, Session};
use sshchurn_core::vocabulary::{AttemptOutcome, Close, CommandOutcome};

/// How long an orderly close may take before the socket is simply dropped.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Receive window of a channel. The jobs' logs are read in pieces of 64 KiB, so a larger window would only be
/// memory held for every session.
const WINDOW: u32 = 256 * 1024;

/// Key exchange in order of client cost. OpenSSH's default first choice (ML-KEM or sntrup761 hybrids) costs the
/// client many times more than curve25519, and what is measured is the server.
const KEX: &[kex::Name] = &[
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_128_CTR,
];

/// An error of the library that is not about one attempt.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ClientError(#[from] russh::Error);

/// Connects to one server as one user.
pub struct RusshConnector {
    shared: Arc<Account>,
    /// A socket made before the barrier, used by the first `connect`.
    prepared: Mutex<Option<Socket>>,
}

/// What all connectors to one server share.
struct Account {
    address: SocketAddr,
    user: String,
    key: PrivateKeyWithHashAlg,
    host_key: HostKeyCheck,
    /// Made when the first login is to fail.
    unknown_key: OnceLock<PrivateKeyWithHashAlg>,
    configs: Mutex<HashMap<Option<Duration>, Arc<client::Config>>>,
}

impl RusshConnector {
    /// A connector to `address` as `user`, accepting `host_key`.
    #[must_use]
    pub fn new(address: SocketAddr, user: &str, key: &KeyPair, host_key: HostKeyCheck) -> Self {
        RusshConnector {
            shared: Arc::new(Account {
                address,
                user: user.to_owned(),
                key: PrivateKeyWithHashAlg::new(Arc::new(key.russh().clone()), None),
                host_key,
                unknown_key: OnceLock::new(),
                configs: Mutex::new(HashMap::new()),
            }),
            prepared: Mutex::new(None),
        }
    }

    /// A connector to the same server for another task: shares key and configuration, not the prepared socket.
    #[must_use]
    pub fn for_another_task(&self) -> Self {
        RusshConnector {
            shared: Arc::clone(&self.shared),
            prepared: Mutex::new(None),
        }
    }

    fn take_socket(&self) -> io::Result<Socket> {
        let prepared = self
            .prepared
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match prepared {
            Some(socket) => Ok(socket),
            None => socket::ready(self.shared.address),
        }
    }

    async fn tcp_connect(
        &self,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> Result<Connection, AttemptOutcome> {
        let note = |error: &io::Error| {
            tap.failed(error);
            classify::connect_error(&socket_error(error))
        };
        let socket = self.take_socket().map_err(|error| note(&error))?;
        let within = limits
            .whole
            .map_or(limits.connect, |whole| limits.connect.min(whole));
        let connection = Connection::open(socket, self.shared.address, limits.source, tap);
        match timeout(within, connection).await {
            Ok(connected) => connected.map_err(|error| note(&error)),
            Err(_) => Err(AttemptOutcome::ConnectTimeout),
        }
    }
}

impl Account {
    /// A key that no server knows.
    fn unknown_key(&self) -> Result<&PrivateKeyWithHashAlg, russh::Error> {
        if let Some(key) = self.unknown_key.get() {
            return Ok(key);
        }
        let made = KeyPair::generate().map_err(|_| russh::Error::CouldNotReadKey)?;
        let made = PrivateKeyWithHashAlg::new(Arc::new(made.russh().clone()), None);
        Ok(self.unknown_key.get_or_init(|| made))
    }

    fn config(&self, keepalive: Option<Duration>) -> Arc<client::Config> {
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(configs.entry(keepalive).or_insert_with(|| {
            Arc::new(client::Config {
                client_id: SshId::Standard(Cow::Borrowed(concat!(
                    "SSH-2.0-sshchurn_",
                    env!("CARGO_PKG_VERSION")
                ))),
                window_size: WINDOW,
                channel_buffer_size: 16,
                keepalive_interval: keepalive,
                preferred: Preferred {
                    kex: Cow::Borrowed(KEX),
                    cipher: Cow::Borrowed(CIPHERS),
                    key: Cow::Owned(self.host_key.algorithms()),
                    ..Preferred::DEFAULT
                },
                ..client::Config::default()
            })
        }))
    }
}

impl Connector for RusshConnector {
    type Session = RusshSession;
    type Held = HeldConnection;

    fn prepare(&self) -> Result<(), AttemptOutcome> {
        let socket = socket::ready(self.shared.address)
            .map_err(|error| classify::connect_error(&socket_error(&error)))?;
        *self.prepared.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
        Ok(())
    }

    async fn hold(
        &self,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> Result<HeldConnection, AttemptOutcome> {
        let mut held = HeldConnection::new(self.tcp_connect(limits, tap).await?);
        match timeout(limits.banner, held.identified()).await {
            Ok(true) => Ok(held),
            Ok(false) => Err(classify::after_connect(&tap.trace(), "")),
            Err(_) => Err(AttemptOutcome::BannerTimeout),
        }
    }

    async fn connect(
        &self,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> Result<RusshSession, AttemptOutcome> {
        let whole_by = limits.whole.map(|whole| Instant::now() + whole);
        let by = |deadline: Instant| whole_by.map_or(deadline, |whole| whole.min(deadline));
        let socket = self.tcp_connect(limits, tap).await?;
        let banner_by = by(Instant::now() + limits.banner);
        let tapped = TappedStream::new(socket.stream(), tap.clone());
        let handler = HostKeyHandler {
            account: Arc::clone(&self.shared),
        };
        let handshake = async {
            part_of_the_work(limits).await;
            client::connect_stream(self.shared.config(limits.keepalive), tapped, handler).await
        };
        tokio::pin!(handshake);

        // One future covers identification and key exchange; the tap tells when the first deadline is met.
        let keyed = tokio::select! {
            biased;
            keyed = &mut handshake => Some(keyed),
            () = tap.identified() => None,
            () = tokio::time::sleep_until(banner_by) => return Err(AttemptOutcome::BannerTimeout),
        };
        let login_by = by(Instant::now() + limits.login);
        let keyed = match keyed {
            Some(keyed) => keyed,
            None => timeout_at(login_by, &mut handshake)
                .await
                .map_err(|_| classify::timed_out(&tap.trace()))?,
        };
        let handle =
            keyed.map_err(|error| classify::after_connect(&tap.trace(), &error.to_string()))?;
        tap.keyed();
        self.authenticated(handle, socket, limits, login_by).await
    }

    async fn log_in(
        &self,
        held: HeldConnection,
        limits: &ConnectLimits,
        tap: &Tap,
    ) -> Result<RusshSession, AttemptOutcome> {
        let login_by = Instant::now() + limits.login;
        let (socket, stream) = held.into_replayed();
        let handler = HostKeyHandler {
            account: Arc::clone(&self.shared),
        };
        let handshake =
            client::connect_stream(self.shared.config(limits.keepalive), stream, handler);
        let handle = timeout_at(login_by, handshake)
            .await
            .map_err(|_| classify::timed_out(&tap.trace()))?
            .map_err(|error| classify::after_connect(&tap.trace(), &error.to_string()))?;
        tap.keyed();
        self.authenticated(handle, socket, limits, login_by).await
    }
}

impl RusshConnector {
    /// Authenticates on a connection whose keys are exchanged.
    async fn authenticated(
        &self,
        mut handle: client::Handle<HostKeyHandler>,
        socket: Connection,
        limits: &ConnectLimits,
        login_by: Instant,
    ) -> Result<RusshSession, AttemptOutcome> {
        let tap = socket.tap();
        let login = async {
            let Account { user, key, .. } = &*self.shared;
            let key = match limits.unknown_key {
                true => self.shared.unknown_key()?,
                false => key,
            };
            part_of_the_work(limits).await;
            if limits.asks_methods {
                match handle.authenticate_none(user).await? {
                    // A server that lets anyone in has answered more than was asked.
                    AuthResult::Success => return Ok(AuthResult::Success),
                    AuthResult::Failure { .. } => {}
                }
            }
            part_of_the_work(limits).await;
            handle.authenticate_publickey(user, key.clone()).await
        };
        match timeout_at(login_by, login).await {
            Err(_) => return Err(classify::timed_out(&tap.trace())),
            Ok(Err(error)) => {
                return Err(classify::after_connect(&tap.trace(), &error.to_string()));
            }
            Ok(Ok(AuthResult::Failure {
                remaining_methods, ..
            })) => {
                let named = !remaining_methods.is_empty();
                return Err(classify::not_let_in(&tap.trace(), named));
            }
            Ok(Ok(AuthResult::Success)) => tap.authenticated(),
        }
        part_of_the_work(limits).await;
        Ok(RusshSession { handle, socket })
    }
}

/// What the client has to do between two stages of a connection.
async fn part_of_the_work(limits: &ConnectLimits) {
    if let Some(work) = &limits.work {
        work.part().await;
    }
}

/// An authenticated russh connection.
pub struct RusshSession {
    handle: client::Handle<HostKeyHandler>,
    socket: Connection,
}

impl RusshSession {
    async fn exec(&self, command: Command<'_>) -> Result<CommandOutput, CommandOutcome> {
        let mut channel = self
            .handle
            .channel_open_session()
            .await
            .map_err(|error| self.command_failure(&error))?;
        channel
            .exec(true, shell::text(command).as_bytes())
            .await
            .map_err(|error| self.command_failure(&error))?;
        let mut output = CommandOutput::default();
        let mut exit_status = None;
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => output.stdout.push(&data),
                ChannelMsg::ExtendedData { data, ext: 1 } => output.stderr.push(&data),
                ChannelMsg::ExitStatus {
                    exit_status: status,
                } => exit_status = Some(status),
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    exit_status = Some(128 + signal_number(&signal_name));
                }
                ChannelMsg::Failure => return Err(CommandOutcome::ChannelRefused),
                // The command is over for the client when its status is in and the server has closed the channel.
                ChannelMsg::Close => break,
                // Of a library whose list may grow: everything else says nothing of the command's end.
                _ => {}
            }
        }
        match exit_status {
            Some(exit_status) => {
                output.exit_status = exit_status;
                Ok(output)
            }
            None => Err(CommandOutcome::ConnectionLost {
                close: self.lost().unwrap_or(Close::Eof),
            }),
        }
    }

    fn command_failure(&self, error: &russh::Error) -> CommandOutcome {
        match error {
            russh::Error::ChannelOpenFailure(_) | russh::Error::RequestDenied => {
                CommandOutcome::ChannelRefused
            }
            _ => CommandOutcome::ConnectionLost {
                close: self.lost().unwrap_or(Close::Eof),
            },
        }
    }
}

impl Session for RusshSession {
    async fn run(
        &self,
        command: Command<'_>,
        within: Duration,
    ) -> Result<CommandOutput, CommandOutcome> {
        match timeout(within, self.exec(command)).await {
            Ok(result) => result,
            Err(_) => Err(CommandOutcome::TimedOut),
        }
    }

    async fn answers(&self, within: Duration) -> bool {
        matches!(timeout(within, self.handle.send_ping()).await, Ok(Ok(())))
    }

    fn lost(&self) -> Option<Close> {
        classify::close_of(&self.socket.tap().trace())
    }

    async fn close(self) {
        let RusshSession { handle, socket } = self;
        socket.tap().ending();
        let orderly = async {
            if handle
                .disconnect(Disconnect::ByApplication, "", "")
                .await
                .is_ok()
            {
                // The handle is also the session's task: its end means the FIN is out.
                let _ = handle.await;
            }
        };
        let _ = timeout(CLOSE_WITHIN, orderly).await;
        drop(socket);
    }
}

fn signal_number(signal: &russh::Sig) -> u32 {
    use russh::Sig;
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(_) => 127,
    }
}

struct HostKeyHandler {
    account: Arc<Account>,
}

impl client::Handler for HostKeyHandler {
    type Error = ClientError;

    async fn check_server_key(
        &mut self,
        offered: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        Ok(match offered {
            PublicKeyOrCertificate::PublicKey { key, .. } => self.account.host_key.accepts(key),
            // None is asked for (`host_key_certificates` is empty), so none can be right.
            PublicKeyOrCertificate::Certificate(_) => false,
        })
    }
}
