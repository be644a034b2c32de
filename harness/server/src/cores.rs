//! CPUs of their own for the clients and for the server, so that neither takes from the other what is measured of it.
//!
//! Owns the division and how it is put in force. Processes inherit it: sshd's from its supervisor or container, those of
//! clients under test from the harness.

use std::fmt;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::ServerError;

/// Which CPUs are whose: the first half the clients', the rest the server's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cores {
    clients: Vec<usize>,
    server: Vec<usize>,
}

impl Cores {
    /// Divides the CPUs that this process may use.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] where there is only one.
    pub fn divide() -> Result<Self, ServerError> {
        let mine = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        let usable = (0..CpuSet::count()).filter(|cpu| mine.is_set(*cpu).unwrap_or(false));
        Cores::of(usable.collect()).ok_or_else(|| ServerError::Unavailable {
            what: String::from(
                "clients and server cannot have CPUs of their own (`sshd.separate_cores`): this process may use only one CPU",
            ),
            fix: String::from("take a machine with two or more, or leave the key out"),
        })
    }

    /// For kinds of server that cannot have them.
    pub(crate) fn refused(asked: Option<&Cores>, why: &str) -> Result<(), ServerError> {
        match asked {
            None => Ok(()),
            Some(_) => Err(ServerError::Unavailable {
                what: format!(
                    "the server cannot have CPUs of its own (`sshd.separate_cores`): {why}"
                ),
                fix: String::from("use `--target docker` or `--target local`"),
            }),
        }
    }

    fn of(mut clients: Vec<usize>) -> Option<Self> {
        let server = clients.split_off(clients.len() / 2);
        (!clients.is_empty()).then_some(Cores { clients, server })
    }

    /// Keeps this process, and every one that it starts from now on, on the CPUs of the clients, until what is returned is
    /// dropped.
    ///
    /// # Errors
    /// When `/proc` cannot be read, or the kernel refuses.
    pub fn keep_clients(&self) -> std::io::Result<Kept> {
        // Made first: where only some threads could be moved, those go back.
        let kept = Kept(sched_getaffinity(Pid::from_raw(0))?);
        move_every_thread(&set(&self.clients)?)?;
        Ok(kept)
    }

    /// The server's, for a process that is about to be started.
    pub(crate) fn server_set(&self) -> std::io::Result<CpuSet> {
        set(&self.server)
    }

    /// The server's, as a container is told them.
    pub(crate) fn server_list(&self) -> String {
        list(&self.server)
    }
}

/// Gives this process back the CPUs that it had before, when dropped.
#[derive(Debug)]
pub struct Kept(CpuSet);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = move_every_thread(&self.0);
    }
}

/// Every thread has its own, and those of the runtime are there already.
fn move_every_thread(cpus: &CpuSet) -> std::io::Result<()> {
    for thread in std::fs::read_dir("/proc/self/task")? {
        let name = thread?.file_name();
        if let Some(thread) = name.to_str().and_then(|name| name.parse().ok()) {
            match sched_setaffinity(Pid::from_raw(thread), cpus) {
                // It has ended meanwhile.
                Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "clients on CPU {}, server on CPU {}",
            list(&self.clients),
            list(&self.server)
        )
    }
}

fn set(cpus: &[usize]) -> std::io::Result<CpuSet> {
    let mut set = CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    Ok(set)
}

fn list(cpus: &[usize]) -> String {
    let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();
    cpus.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_the_first_half_and_one_cpu_cannot_be_divided() {
        assert_eq!(Cores::of(vec![3]), None);
        assert_eq!(Cores::of(Vec::new()), None);
        let words = |cpus: Vec<usize>| Cores::of(cpus).map(|cores| cores.to_string());
        let expected = "clients on CPU 0, server on CPU 1";
        assert_eq!(words(vec![0, 1]).as_deref(), Some(expected));
        let expected = "clients on CPU 2, server on CPU 4,7";
        assert_eq!(words(vec![2, 4, 7]).as_deref(), Some(expected));
    }
}
