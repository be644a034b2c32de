//! What things take on the simulated server and its clients, in nanoseconds of one processor unless it says otherwise.

use rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the clients compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientPlace {
    /// On the server's own machine, with which they share its cores.
    Here,
    /// On machines of their own, with cores enough.
    Elsewhere,
}

/// Costs of one machine, as measured on it or assumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// The server's cores.
    pub cores: u32,
    /// Where the clients compute.
    pub clients: ClientPlace,
    /// What the clients together weigh against one process of the server's, where they share its cores.
    pub client_weight: f64,
    /// What the listener weighs against one of the other processes: it sleeps much, and is let in soon when it wakes.
    pub listener_weight: f64,
    /// Time for a packet to the server and back.
    pub round_trip_ns: u64,
    /// The client makes its socket and calls `connect()`.
    pub connect_cpu_ns: u64,
    /// The listener takes a connection and decides over it.
    pub accept_cpu_ns: u64,
    /// The listener makes a process for one that it lets in.
    pub fork_cpu_ns: u64,
    /// That process, until it sends its identification string.
    pub start_cpu_ns: u64,
    /// The client's part of the key exchange and of the login.
    pub client_kex_cpu_ns: u64,
    /// The server's part of the key exchange.
    pub kex_cpu_ns: u64,
    /// The least time that the server takes over each request to log in (auth2.c:ensure_minimum_time_since, 7.8): 5 ms and up to
    /// 4.3 ms that depend on the user. One that takes longer is answered after twice, four times, … that time.
    pub auth_request_ns: u64,
    /// The server checks the login, in both requests together: whether the key would do, and the signature.
    pub auth_cpu_ns: u64,
    /// From the client's knowing to the slot's being free.
    pub release_cpu_ns: u64,
    /// After the login, until the first command can run; the slot is free by then.
    pub session_cpu_ns: u64,
    /// One command that the login shell does by itself.
    pub exec_cpu_ns: u64,
    /// Every further process that a command or a job starts.
    pub process_cpu_ns: u64,
    /// A connection's process winds up.
    pub end_cpu_ns: u64,
    /// How the work of one connection varies between connections: standard deviation by mean.
    pub spread: f64,
}

impl Costs {
    /// Those of a machine that was not measured: two cores on which a handshake takes some 12 ms. Good for trying things out, and
    /// for nothing else.
    #[must_use]
    pub fn assumed() -> Self {
        Costs {
            cores: 2,
            clients: ClientPlace::Elsewhere,
            client_weight: 1.0,
            listener_weight: 4.0,
            round_trip_ns: 100_000,
            connect_cpu_ns: 50_000,
            accept_cpu_ns: 50_000,
            fork_cpu_ns: 300_000,
            start_cpu_ns: 4_000_000,
            client_kex_cpu_ns: 1_000_000,
            kex_cpu_ns: 2_000_000,
            auth_request_ns: 7_000_000,
            auth_cpu_ns: 3_000_000,
            release_cpu_ns: 300_000,
            session_cpu_ns: 2_000_000,
            exec_cpu_ns: 2_000_000,
            process_cpu_ns: 1_000_000,
            end_cpu_ns: 1_000_000,
            spread: 0.1,
        }
    }

    /// Work of a handshake on the server that is done with the slot held.
    #[must_use]
    pub fn slot_cpu_ns(&self) -> u64 {
        self.start_cpu_ns + self.kex_cpu_ns + self.auth_cpu_ns + self.release_cpu_ns
    }

    /// All of a handshake's work on the server, its end included.
    #[must_use]
    pub fn handshake_cpu_ns(&self) -> u64 {
        self.accept_cpu_ns
            + self.fork_cpu_ns
            + self.slot_cpu_ns()
            + self.session_cpu_ns
            + self.end_cpu_ns
    }

    /// What one connection's work is of the mean: log-normal, so that it is never negative and has the spread that is asked for.
    pub(super) fn factor(&self, draws: &mut impl Rng) -> f64 {
        if self.spread <= 0.0 {
            return 1.0;
        }
        let variance = self.spread.powi(2).ln_1p();
        // Box and Muller, one of the pair.
        let (radius, angle): (f64, f64) = (draws.random(), draws.random());
        let normal = (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        (variance.sqrt() * normal - variance / 2.0).exp()
    }
}
