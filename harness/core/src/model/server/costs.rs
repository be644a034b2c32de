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

/// What those who compute weigh against each other, a process of the server's for a connection weighing one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shares {
    /// The listener, beside one such process; beside more of them it weighs more, by the square root of their number. That was found by
    /// experiment: rushes of a hundred logins and of a hundred jobs show the same share so, where with a weight that stays the same one
    /// differs from the other by a factor of two. On which of the cores it happens to be, and beside whom, is not the same in each round.
    pub listener: f64,
    /// All clients together, where they share the server's cores: to the scheduler they are one.
    pub clients: f64,
}

impl Default for Shares {
    /// What calibrations of a machine of two cores came to.
    fn default() -> Self {
        Shares {
            listener: 0.17,
            clients: 10.0,
        }
    }
}

/// Costs of one machine, as measured on it or assumed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// The server's cores.
    pub cores: u32,
    /// Where the clients compute.
    pub clients: ClientPlace,
    /// How the kernel shares the cores: each round has one of these, since it is not the same each time.
    pub shares: Vec<Shares>,
    /// How far the listener's share may be from those, from one round to the next: standard deviation of its logarithm. A handful of
    /// rushes are a sample, and the rounds between them are as likely (a smoothed bootstrap; Silverman and Young, *Biometrika* 74, 1987).
    pub listener_spread: f64,
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
    /// What the first command of a connection waits beside that, with no processor busy: sshd's second small packet is held back
    /// until the client has acknowledged the first (Nagle, RFC 896), which the client's kernel puts off for 40 ms (RFC 1122, 4.2.3.2).
    pub first_command_wait_ns: u64,
    /// One command that the login shell does by itself.
    pub exec_cpu_ns: u64,
    /// The client's part of a command.
    pub client_exec_cpu_ns: u64,
    /// Every further process that a command or a job starts.
    pub process_cpu_ns: u64,
    /// A connection's process winds up.
    pub end_cpu_ns: u64,
    /// How the work of one connection varies between connections: standard deviation by mean.
    pub spread: f64,
    /// How far all work may be off, from one round to the next: standard deviation of its logarithm. What a calibration could not fit, no
    /// prediction can know better.
    pub uncertainty: f64,
}

impl Costs {
    /// Those of a machine that was not measured: two cores on which a handshake takes some 12 ms. Good for trying things out, and
    /// for nothing else.
    #[must_use]
    pub fn assumed() -> Self {
        Costs {
            cores: 2,
            clients: ClientPlace::Elsewhere,
            shares: vec![Shares::default()],
            listener_spread: 0.0,
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
            first_command_wait_ns: 40_000_000,
            exec_cpu_ns: 2_000_000,
            client_exec_cpu_ns: 300_000,
            process_cpu_ns: 1_000_000,
            end_cpu_ns: 1_000_000,
            spread: 0.1,
            uncertainty: 0.0,
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

    /// The same where all work takes so many times as long.
    #[must_use]
    pub fn times(&self, factor: f64) -> Costs {
        let mut costs = self.clone();
        for cost in [
            &mut costs.connect_cpu_ns,
            &mut costs.accept_cpu_ns,
            &mut costs.fork_cpu_ns,
            &mut costs.start_cpu_ns,
            &mut costs.client_kex_cpu_ns,
            &mut costs.kex_cpu_ns,
            &mut costs.auth_cpu_ns,
            &mut costs.release_cpu_ns,
            &mut costs.session_cpu_ns,
            &mut costs.exec_cpu_ns,
            &mut costs.client_exec_cpu_ns,
            &mut costs.process_cpu_ns,
            &mut costs.end_cpu_ns,
        ] {
            *cost = (*cost as f64 * factor).round() as u64;
        }
        costs
    }

    /// The costs of one round, and how its cores are shared.
    pub(super) fn of_round(self, draws: &mut impl Rng) -> (Costs, Shares) {
        let mut shares = match &self.shares[..] {
            [] => Shares::default(),
            [only] => *only,
            several => several[draws.random_range(0..several.len())],
        };
        if self.listener_spread > 0.0 {
            shares.listener *= (self.listener_spread * normal(draws)).exp();
        }
        let costs = match self.uncertainty > 0.0 {
            true => self.times((self.uncertainty * normal(draws)).exp()),
            false => self,
        };
        (costs, shares)
    }

    /// What one connection's work is of the mean: log-normal, so that it is never negative and has the spread that is asked for.
    pub(super) fn factor(&self, draws: &mut impl Rng) -> f64 {
        if self.spread <= 0.0 {
            return 1.0;
        }
        let variance = self.spread.powi(2).ln_1p();
        (variance.sqrt() * normal(draws) - variance / 2.0).exp()
    }
}

/// A draw from the normal distribution: Box and Muller, one of the pair.
fn normal(draws: &mut impl Rng) -> f64 {
    let (radius, angle): (f64, f64) = (draws.random(), draws.random());
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
