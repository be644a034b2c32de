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
    listener_weight: f64,
    server: Sharing<J>,
    client: Sharing<J>,
    listener: Sharing<J>,
}

/// How fast a job of each side computes, as a share of a core.
#[derive(Debug, Clone, Copy)]
struct Rates {
    server: f64,
    client: f64,
    listener: f64,
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
            listener_weight: costs.listener_weight,
            server: Sharing::default(),
            client: Sharing::default(),
            listener: Sharing::default(),
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

    /// The listener does, one thing at a time.
    pub fn add_listener(&mut self, work: f64, job: J) {
        self.listener.add(work, job);
    }

    /// Whether nothing is computed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.server.is_empty() && self.client.is_empty() && self.listener.is_empty()
    }

    /// Cores in use.
    #[must_use]
    pub fn busy(&self) -> f64 {
        let rates = self.rates();
        let clients = match self.clients_here {
            Some(_) => rates.client * self.client.len() as f64,
            None => 0.0,
        };
        rates.server * self.server.len() as f64
            + rates.listener * self.listener.len() as f64
            + clients
    }

    /// Everybody gets a share by weight, and nobody more than it can use: what one leaves is for the others.
    fn rates(&self) -> Rates {
        let servers = self.server.len() as f64;
        let (clients, weight) = match self.clients_here {
            Some(weight) if !self.client.is_empty() => (self.client.len() as f64, weight),
            // On other machines, as many as it takes.
            _ => (0.0, 0.0),
        };
        let listens = self.listener.len() as f64;
        if servers + clients + listens <= self.cores {
            return Rates {
                server: 1.0,
                client: 1.0,
                listener: 1.0,
            };
        }
        // What each could use at most, what it weighs, and what it gets.
        let mut shares = [
            (servers, servers, 0.0),
            (clients, weight, 0.0),
            (listens, listens * self.listener_weight, 0.0),
        ];
        let mut left = self.cores;
        let mut open = [true; 3];
        loop {
            let all: f64 = (0..3).filter(|at| open[*at]).map(|at| shares[at].1).sum();
            if all <= 0.0 {
                break;
            }
            let unit = left / all;
            let full = (0..3).find(|at| open[*at] && shares[*at].1 * unit >= shares[*at].0);
            match full {
                Some(at) => {
                    shares[at].2 = shares[at].0;
                    left -= shares[at].0;
                    open[at] = false;
                }
                None => {
                    for at in 0..3 {
                        if open[at] {
                            shares[at].2 = shares[at].1 * unit;
                        }
                    }
                    break;
                }
            }
        }
        let each = |(jobs, _, share): (f64, f64, f64)| match jobs > 0.0 {
            true => share / jobs,
            false => 1.0,
        };
        Rates {
            server: each(shares[0]),
            client: each(shares[1]),
            listener: each(shares[2]),
        }
    }

    /// When the next job is done, given that nothing changes.
    #[must_use]
    pub fn next(&self, now: u64) -> Option<u64> {
        let rates = self.rates();
        [
            (&self.server, rates.server),
            (&self.client, rates.client),
            (&self.listener, rates.listener),
        ]
        .into_iter()
        .filter_map(|(jobs, rate)| Some((jobs.least()? / rate).ceil()))
        .min_by(f64::total_cmp)
        .map(|first| now.saturating_add(first as u64))
    }

    /// Time passes.
    pub fn pass(&mut self, time: u64) {
        let rates = self.rates();
        self.server.serve(time as f64 * rates.server);
        self.client.serve(time as f64 * rates.client);
        self.listener.serve(time as f64 * rates.listener);
    }

    /// A job that is done.
    pub fn done(&mut self) -> Option<J> {
        self.listener
            .done()
            .or_else(|| self.server.done())
            .or_else(|| self.client.done())
    }
}
