//! The server's machine as a witness: startup slots from the listener's process title, CPU time, processes, memory, and
//! the kernel's counters of the listen queue.
//!
//! Owns where these are read for each kind of target. Hands out plain data; what they mean is the analysis'. A source
//! that is not there gives `None`, never zero.

mod gauge;
mod listen_socket;
mod proc;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sshchurn_core::reading::ServerReading;

pub(crate) use self::gauge::title_shown;
pub use self::gauge::{GaugeEnd, GaugeWatch, StartupsReading};
use self::listen_socket::ListenSocket;
pub(crate) use self::proc::{SETTINGS, settings_here, settings_of_text};
use super::docker::InsideContainer;
use super::embedded::Gauges;

/// Where a server's side can be read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Witness(Source);

#[derive(Debug, Clone)]
enum Source {
    /// The listener is a process of this machine's `/proc`.
    Host {
        listener: u32,
        /// Folder of the container's CPU accounting, when it has one.
        cpu_group: Option<PathBuf>,
        socket: Option<Arc<ListenSocket>>,
    },
    /// The engine runs somewhere else (a virtual machine): only commands in the container reach it.
    Container(Arc<InsideContainer>),
    /// The stand-in: its own counters; its CPU time is this process's.
    Embedded {
        gauges: Gauges,
        start: u32,
        full: u32,
        socket: Option<Arc<ListenSocket>>,
    },
    /// Nothing can be seen.
    Nothing,
}

impl Witness {
    /// A process of this machine that listens on `address`, in whatever network namespace.
    pub(super) fn host(listener: u32, address: SocketAddr) -> Self {
        Witness(Source::Host {
            listener,
            cpu_group: None,
            socket: asked(ListenSocket::of_process(listener, address)),
        })
    }

    /// A container's listener on this host, with its control group's accounting. `address` is that in the container.
    pub(super) fn container_on_host(listener: u32, address: SocketAddr) -> Self {
        Witness(Source::Host {
            listener,
            cpu_group: proc::cpu_group_of(listener),
            socket: asked(ListenSocket::of_process(listener, address)),
        })
    }

    pub(super) fn inside_container(inside: InsideContainer) -> Self {
        Witness(Source::Container(Arc::new(inside)))
    }

    pub(super) fn embedded(gauges: Gauges, start: u32, full: u32, address: SocketAddr) -> Self {
        Witness(Source::Embedded {
            gauges,
            start,
            full,
            socket: asked(ListenSocket::here(address)),
        })
    }

    pub(super) fn nothing() -> Self {
        Witness(Source::Nothing)
    }

    /// Reads the counters once. Takes some 20 µs for each process of the server; inside a container, some ms of the
    /// engine's.
    pub async fn read(&self) -> ServerReading {
        match &self.0 {
            Source::Host {
                listener,
                cpu_group,
                socket,
            } => {
                let (listener, cpu_group, socket) = (*listener, cpu_group.clone(), socket.clone());
                tokio::task::spawn_blocking(move || ServerReading {
                    listener: socket.and_then(|socket| socket.read()),
                    ..proc::read(listener, cpu_group.as_deref())
                })
                .await
                .unwrap_or_default()
            }
            Source::Container(inside) => match inside.counters().await {
                Some(text) => proc::of_dump(&text),
                None => ServerReading::default(),
            },
            Source::Embedded { socket, .. } => ServerReading {
                listener: socket.as_ref().and_then(|socket| socket.read()),
                ..proc::kernel_only()
            },
            Source::Nothing => ServerReading::default(),
        }
    }

    /// Whether there is nothing to be read, ever.
    #[must_use]
    pub fn sees_nothing(&self) -> bool {
        matches!(self.0, Source::Nothing)
    }

    /// Whether [`Witness::read`] is cheap enough to be repeated while a round runs.
    #[must_use]
    pub fn is_cheap(&self) -> bool {
        matches!(self.0, Source::Host { .. })
    }

    /// Reads the gauge of startup slots until the result is stopped or dropped; `on_change` is told the first reading
    /// and every one that differs from the one before. `None` where there is no gauge.
    ///
    /// On this machine and for the stand-in the gauge is read by a thread of its own every 10 ms.
    #[must_use]
    pub fn watch(
        &self,
        on_change: impl FnMut(StartupsReading) + Send + 'static,
    ) -> Option<GaugeWatch> {
        match &self.0 {
            Source::Host { listener, .. } => gauge::watch_title(*listener, on_change),
            Source::Container(inside) => Some(gauge::watch_inside(Arc::clone(inside), on_change)),
            Source::Embedded {
                gauges,
                start,
                full,
                socket: _,
            } => {
                let (gauges, start, full) = (gauges.clone(), *start, *full);
                let read = move || {
                    Some(StartupsReading {
                        slots: gauges.startups(),
                        start,
                        full,
                    })
                };
                gauge::watch(read, on_change)
            }
            Source::Nothing => None,
        }
    }
}

/// Without a way to ask there is no reading; the other ones are as good without it.
fn asked(socket: std::io::Result<ListenSocket>) -> Option<Arc<ListenSocket>> {
    socket
        .inspect_err(|error| tracing::debug!(%error, "the listening socket cannot be looked at"))
        .ok()
        .map(Arc::new)
}
