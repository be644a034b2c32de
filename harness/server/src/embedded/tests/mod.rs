//! Tests of the stand-in through real sockets on 127.0.0.1: raw ones, and russh's client.
//!
//! Owns the clients and servers the tests share. No test sleeps: each waits for a condition, with a deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelMsg, Disconnect, client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use sshchurn_core::model::Admission;
use sshchurn_core::scenario::SshdConfig;

mod admission;
mod commands;
mod gauge;
mod lifecycle;

/// Deadline of every wait: far beyond what a loaded machine needs.
const SOON: Duration = Duration::from_secs(30);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen within {} s", SOON.as_secs()))
}

fn sshd(max_startups: &str, keywords: &[(&str, &str)]) -> SshdConfig {
    SshdConfig {
        keywords: keywords
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        ..SshdConfig::of(max_startups.parse().expect("a valid MaxStartups value"))
    }
}

fn settings(max_startups: &str) -> EmbeddedSettings {
    EmbeddedSettings {
        admission: Admission::new(max_startups.parse().expect("a valid MaxStartups value")),
        login_grace_time: None,
        max_sessions: 10,
        monitoring_max_sessions: 10,
        ignored: Vec::new(),
    }
}

/// A server without the target around it: settings and seed at will, commands in a temporary folder.
struct Server {
    address: SocketAddr,
    key: KeyPair,
    log: ServerLog,
    gauges: Gauges,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
    _home: tempfile::TempDir,
}

impl Server {
    fn start(settings: EmbeddedSettings, seed: u64) -> Self {
        let home = tempfile::tempdir().expect("temporary folder");
        let key = KeyPair::generate().expect("randomness");
        let listener = listen(ListenOn::OneAddress).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let config = ServerConfig {
            settings,
            host_key: KeyPair::generate().expect("randomness"),
            user: USER.to_owned(),
            authorised_keys: vec![key.russh().public_key().clone()],
            home: home.path().to_owned(),
            login_shell: login_shell(None).expect("/bin/sh is there"),
            slow_auth: None,
            environment: Vec::new(),
            log: ServerLog::create(&home.path().join(LOG)).expect("a log"),
            gauges: Gauges::default(),
            seed,
        };
        let (log, gauges) = (config.log.clone(), config.gauges.clone());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(server::run(listener, config, shutdown.clone()));
        Server {
            address,
            key,
            log,
            gauges,
            shutdown,
            task,
            _home: home,
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.log.path()).expect("read");
        text.lines().map(str::to_owned).collect()
    }

    async fn client(&self) -> Client {
        Client::connect(self.address, USER, &self.key)
            .await
            .expect("logged in")
    }

    async fn startups_become(&self, wanted: u32) {
        let mut startups = self.gauges.watch_startups();
        let _ = soon(
            "the number of slots",
            startups.wait_for(|count| *count == wanted),
        )
        .await
        .expect("the gauges live");
    }

    async fn stop(self) {
        self.shutdown.cancel();
        soon("the end of the server", self.task)
            .await
            .expect("no panic");
    }
}

/// What a client sees that connects and says nothing.
enum Silent {
    /// The identification string; the connection is open.
    Accepted(TcpStream),
    /// Everything up to the end of the connection.
    Refused(Vec<u8>),
}

impl Silent {
    async fn connect(address: SocketAddr) -> Self {
        let mut socket = TcpStream::connect(address).await.expect("connected");
        let mut start = [0; 4];
        soon("the first bytes", socket.read_exact(&mut start))
            .await
            .expect("four bytes at least");
        if &start == b"SSH-" {
            return Silent::Accepted(socket);
        }
        let mut bytes = start.to_vec();
        soon("the end of the connection", socket.read_to_end(&mut bytes))
            .await
            .expect("a clean end, since nothing was sent");
        Silent::Refused(bytes)
    }

    fn accepted(self) -> Option<TcpStream> {
        match self {
            Silent::Accepted(socket) => Some(socket),
            Silent::Refused(_) => None,
        }
    }
}

/// A client that logs in.
struct Client {
    handle: client::Handle<AnyHostKey>,
    port: u16,
}

struct AnyHostKey;

impl client::Handler for AnyHostKey {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

/// What a command left.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    stdout: String,
    stderr: String,
    exit: Option<u32>,
    signal: Option<String>,
}

impl Client {
    /// Logs in; `None` when the key or the user is refused.
    async fn connect(address: SocketAddr, user: &str, key: &KeyPair) -> Option<Self> {
        let socket = TcpStream::connect(address).await.expect("connected");
        let port = socket.local_addr().expect("connected").port();
        // russh's own `nodelay` setting has no effect on `connect_stream`; without it each exec takes 40 ms.
        socket.set_nodelay(true).expect("connected");
        let config = Arc::new(client::Config::default());
        let mut handle = soon(
            "the key exchange",
            client::connect_stream(config, socket, AnyHostKey),
        )
        .await
        .expect("a key exchange");
        let key = PrivateKeyWithHashAlg::new(Arc::new(key.russh().clone()), None);
        let result = soon("authentication", handle.authenticate_publickey(user, key))
            .await
            .expect("an answer");
        result.success().then_some(Client { handle, port })
    }

    async fn open(&self) -> Result<russh::Channel<client::Msg>, russh::Error> {
        soon("the channel", self.handle.channel_open_session()).await
    }

    async fn exec(&self, command: &str) -> Outcome {
        self.exec_with_input(command, None).await
    }

    async fn exec_with_input(&self, command: &str, input: Option<&[u8]>) -> Outcome {
        let mut channel = self.open().await.expect("a channel");
        channel.exec(true, command).await.expect("sent");
        if let Some(input) = input {
            channel.data(input).await.expect("sent");
            channel.eof().await.expect("sent");
        }
        soon("the end of the command", Self::outcome(&mut channel)).await
    }

    /// Everything until the channel is closed.
    async fn outcome(channel: &mut russh::Channel<client::Msg>) -> Outcome {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut outcome = Outcome::default();
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => stdout.extend_from_slice(&data),
                ChannelMsg::ExtendedData { data, ext: 1 } => stderr.extend_from_slice(&data),
                ChannelMsg::ExitStatus { exit_status } => outcome.exit = Some(exit_status),
                ChannelMsg::ExitSignal { signal_name, .. } => {
                    outcome.signal = Some(format!("{signal_name:?}"));
                }
                ChannelMsg::Failure => panic!("the exec request was refused"),
                _ => {}
            }
        }
        outcome.stdout = String::from_utf8(stdout).expect("text");
        outcome.stderr = String::from_utf8(stderr).expect("text");
        outcome
    }

    async fn disconnect(self) {
        self.handle
            .disconnect(Disconnect::ByApplication, "disconnected by user", "")
            .await
            .expect("sent");
    }
}

/// Whether a process is there and not a zombie.
fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}
