//! Who gets how much of a processor: sshd's processes, and the clients where they run on the same machine.
//!
//! Linux shares a machine fairly between groups of processes (sched(7), autogroup): every process of sshd's is a session of its
//! own and so a group, the clients under test are one group together. Where there is room for all, everybody computes at full
//! speed.

use super::costs::{ClientPlace, Costs};
use crate::model::sharing::Sharing;

/// The machine.
#[derive(Debug)]
pub struct Cores<J> {
    cores: f64,
    clients_here: Option<f64>,
    server: Sharing<J>,
    client: Sharing<J>,
}

impl<J: Ord> Cores<J> {
    /// An idle machine.
    #[must_use]
    pub fn new(costs: &Costs) -> Self {
        Cores {
            cores: f64::from(costs.cores.max(1)),
            clients_here: match costs.clients {
                ClientPlace::Here => Some(costs.client_weight),
                ClientPlace::Elsewhere => None,
            },
            server: Sharing::default(),
            client: Sharing::default(),
        }
    }

    /// A process of the server's computes for `work` nanoseconds.
    pub fn add_server(&mut self, work: f64, job: J) {
        self.server.add(work, job);
    }

    /// A client does.
    pub fn add_client(&mut self, work: f64, job: J) {
        self.client.add(work, job);
    }

    /// Whether nothing is computed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.server.is_empty() && self.client.is_empty()
    }

    /// Cores in use.
    #[must_use]
    pub fn busy(&self) -> f64 {
        let (server, client) = self.rates();
        let clients = match self.clients_here {
            Some(_) => client * self.client.len() as f64,
            None => 0.0,
        };
        server * self.server.len() as f64 + clients
    }

    /// How fast a job of each side computes, as a share of a core.
    fn rates(&self) -> (f64, f64) {
        let (servers, clients) = (self.server.len() as f64, self.client.len() as f64);
        let alone = |jobs: f64, cores: f64| match jobs > 0.0 {
            true => (cores / jobs).min(1.0),
            false => 1.0,
        };
        let Some(weight) = self.clients_here else {
            // Other machines, as many as it takes.
            return (alone(servers, self.cores), 1.0);
        };
        if servers + clients <= self.cores || servers == 0.0 || clients == 0.0 {
            return (alone(servers, self.cores), alone(clients, self.cores));
        }
        // The clients' group gets its share, or what the server cannot use, and no more than it can use itself.
        let fair = self.cores * weight / (servers + weight);
        let left = (self.cores - servers).max(0.0);
        let theirs = fair.max(left).min(clients).min(self.cores);
        (alone(servers, self.cores - theirs), theirs / clients)
    }

    /// When the next job is done, given that nothing changes.
    #[must_use]
    pub fn next(&self, now: u64) -> Option<u64> {
        let (server, client) = self.rates();
        let end = |jobs: &Sharing<J>, rate: f64| Some((jobs.least()? / rate).ceil());
        let first = match (end(&self.server, server), end(&self.client, client)) {
            (Some(server), Some(client)) => server.min(client),
            (server, client) => server.or(client)?,
        };
        Some(now.saturating_add(first as u64))
    }

    /// Time passes.
    pub fn pass(&mut self, time: u64) {
        let (server, client) = self.rates();
        self.server.serve(time as f64 * server);
        self.client.serve(time as f64 * client);
    }

    /// A job that is done.
    pub fn done(&mut self) -> Option<J> {
        self.server.done().or_else(|| self.client.done())
    }
}
