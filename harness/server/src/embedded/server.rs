//! The accept loop with OpenSSH's admission rule, and the life of one connection.
//!
//! `run(listener, config, shutdown)`: the caller owns the socket. Owns when a slot is taken and given back,
//! the grace time and the log lines of connections. It must not know what an authenticated client does with
//! its channels (`session`), nor make or remove anything on disk.
//!
//! It shares runtime and CPUs with the client under the same roof: one task for each connection besides
//! russh's own, no threads, so that thousands of connections are possible; but every figure of speed
//! measured against it contains the server's share.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, PublicKey};
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, SshId, kex};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use sshchurn_core::scenario::SlowAuth;
use sshchurn_core::server_log::wording::Line;

use super::gauges::{Gauges, Served, Slot};
use super::log::ServerLog;
use super::session::ServerSession;
use super::settings::EmbeddedSettings;
use super::stream::CuttableStream;
use sshchurn_core::model::Decision;
use sshchurn_engine::ssh::keys::KeyPair;

/// Length of the listen queue: ssh.h, SSH_LISTEN_BACKLOG. For whoever makes the listener.
pub const LISTEN_BACKLOG: u32 = 128;

/// The identification string, without line end.
pub const IDENTIFICATION: &str = concat!("SSH-2.0-sshchurn_embedded_", env!("CARGO_PKG_VERSION"));

/// What a refused client is sent instead of an identification string (sshd.c:drop_connection, OpenSSH 8.2 to 9.7,
/// as its log is worded).
pub const REFUSAL_TEXT: &str = "Exceeded MaxStartups\r\n";

/// Pause after `accept` failed, as sshd.c:server_accept_loop makes one when descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The key exchange: the cheapest one every client has, so that the client's cost is measured and not this one's.
const KEX: &[kex::Name] = &[
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// What a server needs to run.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Admission, grace time, sessions.
    pub settings: EmbeddedSettings,
    /// Its own key.
    pub host_key: KeyPair,
    /// The one user that can log in.
    pub user: String,
    /// The keys that can log in.
    pub authorised_keys: Vec<PublicKey>,
    /// Home and working directory of commands; it must exist.
    pub home: PathBuf,
    /// What every command is given to.
    pub login_shell: PathBuf,
    /// How long the keys of a login are looked for.
    pub slow_auth: Option<SlowAuth>,
    /// Further environment of commands, besides what sshd sets.
    pub environment: Vec<(String, String)>,
    /// Where lines go.
    pub log: ServerLog,
    /// Counts of what it is doing.
    pub gauges: Gauges,
    /// Seed of the admission draws.
    pub seed: u64,
}

/// What every connection of one server shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ServerConfig,
    /// Type and fingerprint of each authorised key, as auth.c:auth_log prints them.
    pub(super) authorised: HashMap<KeyData, String>,
    pub(super) shutdown: CancellationToken,
    pub(super) tasks: TaskTracker,
    russh: Arc<Config>,
}

/// Serves `listener` until `shutdown` is cancelled; returns when every connection is closed and every command
/// it started was ended and reaped. Jobs that commands detached live on: they are the caller's.
pub async fn run(listener: TcpListener, config: ServerConfig, shutdown: CancellationToken) {
    let shared = Arc::new(Shared {
        authorised: config
            .authorised_keys
            .iter()
            .map(|key| {
                let text = format!("ED25519 {}", key.fingerprint(HashAlg::Sha256));
                (key.key_data().clone(), text)
            })
            .collect(),
        russh: Arc::new(russh_config(&config)),
        config,
        shutdown,
        tasks: TaskTracker::new(),
    });
    let mut draws = ChaCha8Rng::seed_from_u64(shared.config.seed);
    loop {
        // One accept at a time, and the decision before the next one, as sshd.c:server_accept_loop does: this
        // is what makes "slots in use before this connection" exact.
        let accepted = tokio::select! {
            biased;
            () = shared.shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, peer)) => {
                admit(
                    &shared,
                    socket,
                    peer.ip().to_canonical(),
                    peer.port(),
                    &mut draws,
                );
            }
            Err(error) => {
                shared.config.log.line(&Line::AcceptFailed(&error));
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    shared.tasks.close();
    shared.tasks.wait().await;
}

fn admit(
    shared: &Arc<Shared>,
    socket: TcpStream,
    ip: std::net::IpAddr,
    port: u16,
    draws: &mut ChaCha8Rng,
) {
    let peer = SocketAddr::new(ip, port);
    let Ok(local) = socket.local_addr() else {
        return;
    };
    let local = SocketAddr::new(local.ip().to_canonical(), local.port());
    let ServerConfig {
        settings,
        gauges,
        log,
        ..
    } = &shared.config;
    let slots = gauges.startups();
    let draw = settings.admission.drawn_against(slots).map(|percent| {
        let draw = draws.random_range(0..100);
        log.line(&Line::Draw { percent, draw });
        draw
    });
    match settings.admission.decide(slots, draw.unwrap_or(0)) {
        Decision::Refuse => {
            log.line(&Line::Dropped { slots, peer, local });
            refuse(socket);
        }
        Decision::Accept => {
            let slot = gauges.take_slot();
            let served = gauges.serve();
            log.line(&Line::Connection { peer, local });
            shared
                .tasks
                .spawn(serve(Arc::clone(shared), socket, peer, slot, served));
        }
    }
}

/// sshd.c:drop_connection: one write, whatever becomes of it, then close. Nothing is read: whether the client
/// sees EOF or RST depends on whether its own identification string had arrived (Linux answers a close with
/// unread bytes by RST).
fn refuse(socket: TcpStream) {
    // Not `try_write`: tokio has no readiness for a socket this young and would refuse to try. The standard
    // library's socket is still non-blocking.
    if let Ok(mut socket) = socket.into_std() {
        let _ = socket.write_all(REFUSAL_TEXT.as_bytes());
    }
}

async fn serve(
    shared: Arc<Shared>,
    socket: TcpStream,
    peer: SocketAddr,
    slot: Slot,
    _served: Served,
) {
    // Without it Nagle's algorithm holds small packets back for the client's delayed ACK, 40 ms.
    let _ = socket.set_nodelay(true);
    let (stream, cut) = CuttableStream::new(socket);
    let authenticated = CancellationToken::new();
    let session = ServerSession::new(Arc::clone(&shared), peer, slot, authenticated.clone());
    let russh = Arc::clone(&shared.russh);
    // The session owns the slot and is dropped by russh before `served` is over, so that an idle server never
    // has slots in use.
    let conversation = async move {
        russh::server::run_stream(russh, stream, session)
            .await?
            .await
    };
    tokio::pin!(conversation);

    let grace = async {
        if let Some(grace) = shared.config.settings.login_grace_time
            && tokio::time::timeout(grace, authenticated.cancelled())
                .await
                .is_err()
        {
            return;
        }
        std::future::pending().await
    };
    let log = &shared.config.log;
    tokio::select! {
        ended = &mut conversation => {
            let user = authenticated.is_cancelled().then_some(shared.config.user.as_str());
            log_end(log, &ended, user, peer);
        }
        () = grace => {
            log.line(&Line::GraceTimeout { peer });
            cut.close();
            let _ = conversation.await;
        }
        () = shared.shutdown.cancelled() => {
            cut.close();
            let _ = conversation.await;
        }
    }
}

fn log_end(
    log: &ServerLog,
    ended: &Result<(), russh::Error>,
    user: Option<&str>,
    peer: SocketAddr,
) {
    match ended {
        // russh ends a session without error only after SSH_MSG_DISCONNECT.
        Ok(()) => log.line(&Line::Disconnected { user, peer }),
        Err(error) => log.line(&Line::Closed {
            peer,
            preauth: user.is_none(),
            reset: matches!(
                error,
                russh::Error::IO(error) if error.kind() == std::io::ErrorKind::ConnectionReset
            ),
        }),
    }
}

fn russh_config(config: &ServerConfig) -> Config {
    Config {
        server_id: SshId::Standard(IDENTIFICATION.into()),
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        // auth2.c:ensure_minimum_time_since, without its share that depends on the user's name.
        auth_rejection_time: Duration::from_millis(5),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: vec![config.host_key.russh().clone()],
        preferred: Preferred {
            kex: KEX.into(),
            ..Preferred::DEFAULT
        },
        // sshd's MaxAuthTries.
        max_auth_attempts: 6,
        // The grace time bounds what is not authenticated; what is may idle for ever, as with sshd.
        inactivity_timeout: None,
        ..Config::default()
    }
}
