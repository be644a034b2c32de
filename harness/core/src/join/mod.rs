//! The join: what the client, the server's log and the kernel say of one connection attempt becomes one [`Attempt`],
//! before anything is counted.
//!
//! `views` is what one witness can say and which witnesses a round has, `server` makes views of sshd's lines, `align`
//! finds the attempt a line belongs to, `whose` the task of one that only sshd saw, `account` says why one side may stand
//! alone and who refused. Pure. It must not count: metrics and laws are the analysis'.

mod account;
mod align;
mod server;
mod views;
mod whose;

use std::net::IpAddr;

use crate::ids::TaskId;

pub use account::{Account, Maker, Means, SSH_LISTEN_BACKLOG};
pub use server::{BanLine, ServerViews, SshdView, Unfinished};
pub use views::{ClientView, KernelView, Seen, Views};
pub use whose::{TaskKeys, Told};

/// One connection attempt as its witnesses saw it. At least one of client and server did.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The task it was made for; `None` where only the server saw it and nothing says whose it was, and of a holder, which is
    /// no task.
    pub task: Option<TaskId>,
    /// What tells the task, of one that only the server saw; `None` where nothing does, and where the client says it itself.
    pub told: Option<Told>,
    /// The client's own record.
    pub client: Option<ClientView>,
    /// What sshd logged.
    pub server: Option<SshdView>,
    /// What the kernel said of the client's socket; `None` where it was not asked or does not speak of sshd's listener.
    pub kernel: Option<KernelView>,
    /// How the two sides agree about it.
    pub account: Account,
}

impl Attempt {
    /// Of which nobody but the client tells.
    #[must_use]
    pub fn alone(client: ClientView) -> Self {
        Attempt {
            task: client.task,
            told: None,
            client: Some(client),
            server: None,
            kernel: None,
            account: Account::Agreed,
        }
    }

    /// Of a client that keeps no record: sshd's lines are all there is.
    fn seen_by_server(server: SshdView, owners: &whose::Owners) -> Self {
        let (task, told) = owners.whose(&server).unzip();
        Attempt {
            task,
            told,
            client: None,
            server: Some(server),
            kernel: None,
            account: Account::Agreed,
        }
    }
}

/// All attempts of a round.
#[derive(Debug, Clone, Default)]
pub struct Joined {
    /// In the order in which the client began them; those that only the server saw come last, in the order of the log.
    pub attempts: Vec<Attempt>,
}

impl Joined {
    /// What sshd logged of the run's own attempts.
    pub fn of_the_run(&self) -> impl Iterator<Item = &SshdView> {
        self.attempts
            .iter()
            .filter(|attempt| !attempt.account.is_not_the_runs())
            .filter_map(|attempt| attempt.server.as_ref())
    }
}

/// What is joined.
#[derive(Debug)]
pub struct Sides {
    /// The client's attempts that have ended, in the order of their beginning.
    pub clients: Vec<ClientView>,
    /// Connections in sshd's log, in its order.
    pub server: Vec<SshdView>,
    /// Of a server that others use too, the address and port of connections that the harness made beside its attempts;
    /// `None` of one that is the run's own, where there are neither.
    pub shared: Option<Vec<(IpAddr, u16)>>,
}

/// Joins the two sides of a round.
///
/// A line belongs to the attempt from the same port whose life, plus the reader's lag, contains the moment it was read:
/// no line is read before its connection began. Attempts of one port follow one another, and so do sshd's connections
/// from it, so that the order of both is kept (`align`).
#[must_use]
pub fn join(sides: Sides, views: Views, means: Means) -> Joined {
    let Sides {
        clients,
        server,
        shared,
    } = sides;
    let (pairs, strays) = if views.by_port {
        align::by_port(&clients, &server)
    } else {
        // Nothing says which is whose: the sides are compared by count, and each attempt stands for itself.
        let strays = if views.client { 0 } else { server.len() };
        (vec![None; clients.len()], (0..strays).collect())
    };
    let mut attempts: Vec<Attempt> = clients
        .into_iter()
        .zip(pairs)
        .map(|(client, found)| Attempt {
            kernel: views.kernel.then(|| KernelView::of(&client)).flatten(),
            server: found.map(|index: usize| server[index].clone()),
            ..Attempt::alone(client)
        })
        .collect();
    if !views.client {
        // Holders keep a record; everybody else's connections are in the log and nowhere else.
        let strays: Vec<SshdView> = strays
            .into_iter()
            .map(|index| server[index].clone())
            .collect();
        let owners = whose::Owners::of(&strays);
        let seen = |view| Attempt::seen_by_server(view, &owners);
        attempts.extend(strays.into_iter().map(seen));
        return Joined { attempts };
    }
    attempts.extend(strays.into_iter().map(|index| Attempt {
        task: None,
        told: None,
        client: None,
        server: Some(server[index].clone()),
        kernel: None,
        account: Account::Agreed,
    }));
    account::settle(&mut attempts, views, means);
    if let Some(marks) = shared {
        account::leave_to_others(&mut attempts, &marks);
    }
    Joined { attempts }
}

#[cfg(test)]
mod tests;
