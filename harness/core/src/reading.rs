//! What is read off a machine while a run goes on: the generator's health, the server's cost, the kernel's counters and
//! the state of one TCP socket.
//!
//! Owns shapes only. Who reads them is the engine's and the servers'; what they mean is the analysis'. What cannot be
//! read is `None`, never zero.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A reading of the generator's own health.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneratorSample {
    /// CPU seconds used by the harness (and by the embedded server, which lives in it) since it started.
    pub cpu_seconds: f64,
    /// How late a timer of the event loop fired, nanoseconds.
    pub loop_lag_ns: u64,
    /// Open file descriptors.
    pub open_files: u32,
}

/// A reading of the server's side from outside sshd. Counters only ever grow; what a round cost is the difference of two
/// readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerReading {
    /// CPU time of the listener and of every process it has waited for, nanoseconds (`/proc/PID/stat`, in ticks of
    /// 10 ms).
    pub tree_cpu_ns: Option<u64>,
    /// CPU time of the listener itself, in the same ticks: taking connections, deciding over them and making processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_cpu_ns: Option<u64>,
    /// CPU time of the container's control group, nanoseconds.
    pub group_cpu_ns: Option<u64>,
    /// Processes below the listener, itself included.
    pub processes: Option<u32>,
    /// Their memory, bytes: sum of resident set sizes without what they share with files.
    pub memory_bytes: Option<u64>,
    /// The kernel's counters of the server's network namespace.
    pub kernel: Option<KernelReading>,
    /// The listening socket.
    pub listener: Option<ListenerReading>,
}

/// Counters of a network namespace (`/proc/net/netstat`, `TcpExt`), under the kernel's names. A kernel that does not have
/// one gives `None`. They are of the whole namespace: other listeners count too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KernelReading {
    /// `ListenOverflows`: a completed handshake met a full accept queue.
    pub listen_overflows: Option<u64>,
    /// `ListenDrops`: SYN or final ACK dropped for a listener, overflows included.
    pub listen_drops: Option<u64>,
    /// `SyncookiesSent`.
    pub syncookies_sent: Option<u64>,
    /// `SyncookiesRecv`.
    pub syncookies_recv: Option<u64>,
    /// `SyncookiesFailed`.
    pub syncookies_failed: Option<u64>,
    /// `TCPReqQFullDoCookies`: the queue of half-open connections was full, and a cookie was sent.
    pub req_q_full_do_cookies: Option<u64>,
    /// `TCPReqQFullDrop`: … and the SYN was dropped.
    pub req_q_full_drop: Option<u64>,
    /// `EmbryonicRsts`: resets of connections that were not accepted yet.
    pub embryonic_rsts: Option<u64>,
}

/// A listening socket (inet_diag, `NETLINK_SOCK_DIAG`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerReading {
    /// Connections that wait to be accepted (`idiag_rqueue`).
    pub queue: u32,
    /// The most that may wait (`idiag_wqueue`): the backlog, cut down to `somaxconn`. The kernel takes one more.
    pub queue_limit: u32,
    /// Packets dropped by the socket (`SK_MEMINFO_DROPS`); on Linux this counts what its full queue turned away.
    pub drops: Option<u64>,
}

/// Settings of a network namespace that decide what a full listen queue does to a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelSettings {
    /// `net.ipv4.tcp_abort_on_overflow`: a connection that meets a full queue is reset at once.
    pub tcp_abort_on_overflow: Option<u32>,
    /// `net.ipv4.tcp_syncookies`.
    pub tcp_syncookies: Option<u32>,
    /// `net.core.somaxconn`: cuts every backlog down.
    pub somaxconn: Option<u32>,
}

/// What the kernel says of one TCP socket of the client (`TCP_INFO`), read before it was closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpReading {
    /// Bytes sent, retransmissions included (`tcpi_bytes_sent`).
    pub bytes_sent: u64,
    /// Bytes that the peer acknowledged; the SYN counts as one (`tcpi_bytes_acked`).
    pub bytes_acked: u64,
    /// Bytes sent again (`tcpi_bytes_retrans`).
    pub bytes_retrans: u64,
    /// Bytes received (`tcpi_bytes_received`).
    pub bytes_received: u64,
    /// Segments sent again, the SYN among them (`tcpi_total_retrans`).
    pub segments_retrans: u32,
    /// Segments received (`tcpi_segs_in`): one is the answer to the SYN; a second one without data is its repetition.
    pub segments_in: u32,
}
