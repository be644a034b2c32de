//! A calibration: what was read off one machine in a short measurement, and the costs of the model that follow from it.
//!
//! Owns the document and the arithmetic from readings to costs, but for what only the model itself can tell. Whether
//! a document may be used, here and now, is decided here too.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::server::{ClientPlace, Costs, Shares};

/// Version of the document.
pub const CALIBRATION_VERSION: u32 = 2;
/// Of all cores, the share that clients and server must have had when they were to have all of it. Below that something else
/// computed, or the server waited: what it can do was not seen.
pub const LEAST_SHARE: f64 = 0.85;
/// A calibration older than this is not used: kernels, packages and neighbours change.
pub const OLDEST_S: u64 = 24 * 3600;
/// Between requests of a login (auth2.c:user_specific_delay and MIN_FAIL_DELAY_SECONDS): 5 ms and up to 4.3 ms, in nanoseconds.
const REQUEST_NS: std::ops::RangeInclusive<f64> = 5_000_000.0..=9_300_000.0;
/// Requests of a login.
const REQUESTS: f64 = 2.0;
/// Of what a client computes for a connection, what comes before the socket is connected, and what in the key exchange and login.
const CLIENT_CONNECT: f64 = 0.05;
const CLIENT_KEYS: f64 = 0.6;
/// Of the listener's work for a connection, what it takes to accept it and decide; the rest is making a process.
const LISTENER_ACCEPT: f64 = 0.15;
/// Processes of the command by which their cost is measured.
pub const PROCESSES: u32 = 10;

/// Mean times of the stages of a login and of a command, nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageMeans {
    /// Until the TCP connection stands.
    pub tcp_ns: f64,
    /// From there to the identification string.
    pub banner_ns: f64,
    /// From there to the end of the key exchange.
    pub kex_ns: f64,
    /// From there to the login.
    pub auth_ns: f64,
    /// A command.
    pub exec_ns: f64,
}

/// A rush: mean times of its stages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rush {
    /// From the TCP connection to the identification string, nanoseconds.
    pub banner_ns: f64,
    /// From there to the end of the key exchange, nanoseconds: in it the clients compute, so that it shows what they get of the cores.
    pub kex_ns: f64,
    /// From there to the login, nanoseconds.
    pub auth_ns: f64,
    /// A command, nanoseconds.
    pub exec_ns: f64,
    /// With a slot held, nanoseconds; `null` where the listener has no gauge.
    pub slot_ns: Option<f64>,
    /// Most slots in use; `null` likewise.
    pub slots_peak: Option<f64>,
}

impl Rush {
    /// What another one took, by what this one took.
    #[must_use]
    pub fn ratios(&self, other: &Rush) -> RushFit {
        RushFit {
            banner: other.banner_ns / self.banner_ns,
            kex: other.kex_ns / self.kex_ns,
            auth: other.auth_ns / self.auth_ns,
            exec: other.exec_ns / self.exec_ns,
            slot: other
                .slot_ns
                .zip(self.slot_ns)
                .map(|(other, own)| other / own),
            peak: other
                .slots_peak
                .zip(self.slots_peak)
                .map(|(other, own)| other / own),
        }
    }
}

/// How well the model gives one rush again, each as predicted by measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RushFit {
    /// Time to the identification string.
    pub banner: f64,
    /// Time of the key exchange.
    pub kex: f64,
    /// Time of the login.
    pub auth: f64,
    /// Time of a command.
    pub exec: f64,
    /// Time with a slot held; `null` where that was not measured.
    pub slot: Option<f64>,
    /// Most slots in use; `null` likewise.
    pub peak: Option<f64>,
}

impl RushFit {
    fn ratios(self) -> impl Iterator<Item = f64> {
        let stages = [self.banner, self.kex, self.auth, self.exec];
        stages.into_iter().chain(self.slot).chain(self.peak)
    }

    /// How far off it is: the logarithms of its ratios, added up.
    #[must_use]
    pub fn off(self) -> f64 {
        self.ratios().map(off).sum()
    }
}

/// How far a ratio is from one.
fn off(ratio: f64) -> f64 {
    ratio.max(1e-3).ln().abs()
}

/// What was read off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Readings {
    /// Cores of the server's machine.
    pub cores: u32,
    /// A TCP connect on the idle server, nanoseconds, median.
    pub round_trip_ns: u64,
    /// One client after the other.
    pub alone: StageMeans,
    /// So many at once, each beginning again when it is done.
    pub crowd: u32,
    /// The same with the crowd.
    pub crowded: StageMeans,
    /// So many at once, each once.
    pub rush: u32,
    /// What each of several such rushes took: they show how listener, clients and the others share the cores when many are there.
    pub rushes: Vec<Rush>,
    /// The same where each submits a job, watches it and removes its directory.
    pub rushes_with_jobs: Vec<Rush>,
    /// Logins a second with the crowd.
    pub logins_per_s: f64,
    /// Logins that were measured with the crowd.
    pub logins: u64,
    /// CPU time of the server for each, its command included, nanoseconds.
    pub server_cpu_ns: f64,
    /// Of that, the listener's own.
    pub listener_cpu_ns: f64,
    /// CPU time of the client for each, nanoseconds.
    pub client_cpu_ns: f64,
    /// Mean time with a slot held, nanoseconds, from the listener's gauge; `null` where it has none.
    pub slot_ns: Option<f64>,
    /// A command on an established connection of an idle server, nanoseconds, median.
    pub command_ns: u64,
    /// CPU time of the server for one more command on the same connection, nanoseconds.
    pub command_cpu_ns: f64,
    /// CPU time of the client for it, nanoseconds.
    pub client_command_cpu_ns: f64,
    /// CPU time of the server for a command that starts [`PROCESSES`] processes, nanoseconds.
    pub processes_cpu_ns: f64,
    /// Memory of the processes of one login under way, bytes; `null` where it was not seen.
    pub memory_per_login_bytes: Option<u64>,
    /// Spread of the handshakes' server time: standard deviation by mean, alone.
    pub spread: f64,
}

impl Readings {
    /// Which share of all cores clients and server had together while the crowd was there.
    #[must_use]
    pub fn share_of_cores(&self) -> f64 {
        self.logins_per_s * (self.server_cpu_ns + self.client_cpu_ns)
            / (f64::from(self.cores) * 1e9)
    }

    /// The costs that follow, with `auth_cpu_ns` of all that is computed after the key exchange: what the least time of a request
    /// hides cannot be read off, and is found by trying the model.
    #[must_use]
    pub fn costs(&self, auth_cpu_ns: f64) -> Costs {
        let ns = |value: f64| value.max(0.0).round() as u64;
        let trip = self.round_trip_ns as f64;
        let exec = self.command_cpu_ns.max(0.0);
        let process = (self.processes_cpu_ns - exec).max(0.0) / f64::from(PROCESSES);
        let accept = self.listener_cpu_ns * LISTENER_ACCEPT;
        let fork = self.listener_cpu_ns - accept;
        let client_keys = self.client_cpu_ns * CLIENT_KEYS;
        let start = (self.alone.banner_ns - self.listener_cpu_ns - trip / 2.0).max(0.0);
        let kex = (self.alone.kex_ns - client_keys - trip).max(0.0);
        let request = ((self.alone.auth_ns - 3.0 * trip) / REQUESTS)
            .clamp(*REQUEST_NS.start(), *REQUEST_NS.end());
        let after = self.after_keys();
        let auth_cpu = auth_cpu_ns.clamp(0.0, after);
        let rest = after - auth_cpu;
        Costs {
            cores: self.cores,
            clients: ClientPlace::Here,
            shares: vec![Shares::default()],
            listener_spread: 0.0,
            round_trip_ns: self.round_trip_ns,
            connect_cpu_ns: ns(self.client_cpu_ns * CLIENT_CONNECT),
            accept_cpu_ns: ns(accept),
            fork_cpu_ns: ns(fork),
            start_cpu_ns: ns(start),
            client_kex_cpu_ns: ns(client_keys),
            kex_cpu_ns: ns(kex),
            auth_request_ns: ns(request),
            auth_cpu_ns: ns(auth_cpu),
            release_cpu_ns: ns(rest * 0.1),
            session_cpu_ns: ns(rest * 0.6),
            first_command_wait_ns: self.first_command_wait_ns(rest * 0.6),
            exec_cpu_ns: ns(exec),
            process_cpu_ns: ns(process),
            client_exec_cpu_ns: ns(self.client_command_cpu_ns),
            end_cpu_ns: ns(rest * 0.3),
            spread: self.spread,
            uncertainty: 0.0,
        }
    }

    /// What the first command of a connection waits beside its work and that of making the session.
    #[must_use]
    pub fn first_command_wait_ns(&self, session_cpu_ns: f64) -> u64 {
        (self.alone.exec_ns - self.command_ns as f64 - session_cpu_ns).max(0.0) as u64
    }

    /// What the server computes for a connection after the key exchange, its command apart.
    #[must_use]
    pub fn after_keys(&self) -> f64 {
        let trip = self.round_trip_ns as f64;
        let start = (self.alone.banner_ns - self.listener_cpu_ns - trip / 2.0).max(0.0);
        let kex = (self.alone.kex_ns - self.client_cpu_ns * CLIENT_KEYS - trip).max(0.0);
        (self.server_cpu_ns - self.command_cpu_ns - self.listener_cpu_ns - start - kex).max(0.0)
    }
}

/// How well the model gives the crowd's numbers again, each as predicted by measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Logins a second.
    pub logins: f64,
    /// Time to the identification string.
    pub banner: f64,
    /// Time of the key exchange.
    pub kex: f64,
    /// Time of the login.
    pub auth: f64,
    /// Time with a slot held; `null` where that was not measured.
    pub slot: Option<f64>,
    /// Each rush.
    pub rushes: Vec<RushFit>,
    /// Each with jobs.
    pub rushes_with_jobs: Vec<RushFit>,
}

impl Fit {
    /// How far off the model is over all that it was fitted to: root mean square of the logarithms of the ratios.
    #[must_use]
    pub fn residual(&self) -> f64 {
        let crowd = [self.logins, self.banner, self.kex, self.auth];
        let rushes = self.rushes.iter().chain(&self.rushes_with_jobs);
        let rushes = rushes.flat_map(|rush| rush.ratios());
        let squares: Vec<f64> = crowd
            .into_iter()
            .chain(self.slot)
            .chain(rushes)
            .map(|ratio| off(ratio).powi(2))
            .collect();
        (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
    }
}

/// The document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Version of this document.
    pub schema_version: u32,
    /// When it was taken, Unix time in seconds.
    pub taken_at_unix_s: u64,
    /// Digest of what tells the machine from others.
    pub machine: String,
    /// Which server: its kind.
    pub target: String,
    /// Its release, as it says it.
    pub release: String,
    /// What was read off.
    pub readings: Readings,
    /// The costs that follow.
    pub costs: Costs,
    /// How well they give the readings again.
    pub fit: Fit,
}

/// Why a calibration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is of another machine.
    #[error(
        "this calibration is of another machine; use it with `--target simulated` there, or calibrate this one"
    )]
    OtherMachine,
    /// It is too old.
    #[error("this calibration is {} hours old, and 24 are allowed: calibrate again", .0 / 3600)]
    Old(u64),
    /// Something else computed while it was taken.
    #[error(
        "clients and server together had {share} % of the cores while they were to have all of them (at least {least} %): something \
         else computed, or the server waited for something. Stop the other work and calibrate again"
    )]
    Disturbed {
        /// Per cent.
        share: u32,
        /// The least.
        least: u32,
    },
    /// The server does not show what it costs.
    #[error(
        "this server does not show what its processes cost, or the harness was not on its machine: calibrate with `--target local` or \
         `--target docker`"
    )]
    Unseen,
    /// Somebody was refused.
    #[error(
        "{0} logins of the calibration were refused, by a limit that is not known: nothing follows from the others"
    )]
    Refused(u64),
}

impl Calibration {
    /// Whether it may be used on `machine` at `now_unix_s`; where it is from does not matter for a simulation that is not about
    /// this machine.
    ///
    /// # Errors
    /// Why not.
    pub fn usable(&self, machine: Option<&str>, now_unix_s: u64) -> Result<(), Unusable> {
        if machine.is_some_and(|machine| machine != self.machine) {
            return Err(Unusable::OtherMachine);
        }
        let age = now_unix_s.saturating_sub(self.taken_at_unix_s);
        if age > OLDEST_S {
            return Err(Unusable::Old(age));
        }
        undisturbed(&self.readings)
    }
}

/// Whether clients and server had the machine for themselves.
///
/// # Errors
/// [`Unusable::Disturbed`].
pub fn undisturbed(readings: &Readings) -> Result<(), Unusable> {
    let share = readings.share_of_cores();
    if share < LEAST_SHARE {
        let percent = |share: f64| (share * 100.0).round() as u32;
        return Err(Unusable::Disturbed {
            share: percent(share),
            least: percent(LEAST_SHARE),
        });
    }
    Ok(())
}
