//! The listening socket, as the kernel knows it: how many connections wait in its queue, how many may, and what it turned
//! away (sock_diag(7), `NETLINK_SOCK_DIAG`; no privilege is needed).
//!
//! Owns the question and the network namespace that it is asked in. Must not know who listens.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use nix::sched::{CloneFlags, setns};

use sshchurn_core::reading::ListenerReading;

/// The kernel answers in pieces of at most this size (af_netlink.c, `netlink_dump`).
const LARGEST_ANSWER: usize = 32 * 1024;

/// A way to ask for the socket that listens on one address.
#[derive(Debug)]
pub(crate) struct ListenSocket {
    address: SocketAddr,
    /// It belongs to the namespace in which it was opened, whoever uses it.
    netlink: Mutex<Socket>,
}

impl ListenSocket {
    /// For a listener in this process's own network namespace.
    ///
    /// # Errors
    /// When the kernel has no such interface.
    pub(crate) fn here(address: SocketAddr) -> io::Result<Self> {
        let netlink = Socket::new(NETLINK_SOCK_DIAG)?;
        // The kernel has put its answer there when the question has been sent: one that is not there will not come.
        netlink.set_non_blocking(true)?;
        Ok(ListenSocket {
            address,
            netlink: Mutex::new(netlink),
        })
    }

    /// For a listener in the network namespace of a process of this machine. Another namespace than this process's own
    /// needs root.
    ///
    /// # Errors
    /// When that namespace cannot be entered.
    pub(crate) fn of_process(pid: u32, address: SocketAddr) -> io::Result<Self> {
        in_namespace_of(pid, move || ListenSocket::here(address))?
    }

    /// Reads the socket; `None` when nobody listens on the address, or the kernel does not say.
    pub(crate) fn read(&self) -> Option<ListenerReading> {
        let netlink = self.netlink.lock().unwrap_or_else(PoisonError::into_inner);
        ask(&netlink, self.address)
            .inspect_err(|error| tracing::debug!(%error, "the listening socket cannot be read"))
            .ok()?
    }
}

/// Does something in the network namespace of a process: at once where it is this one's, else on a thread of its own, which
/// ends with it, so that nothing else of this process moves.
pub(crate) fn in_namespace_of<T: Send + 'static>(
    pid: u32,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let theirs = File::open(format!("/proc/{pid}/ns/net"))?;
    let ours = File::open("/proc/self/ns/net")?;
    if theirs.metadata()?.ino() == ours.metadata()?.ino() {
        return Ok(work());
    }
    let inside = std::thread::Builder::new()
        .name("namespace".to_owned())
        .spawn(move || {
            setns(theirs, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        })?;
    inside
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the thread in the namespace panicked")))
}

fn ask(netlink: &Socket, address: SocketAddr) -> io::Result<Option<ListenerReading>> {
    netlink.send(&question(address), 0)?;
    let mut buffer = vec![0_u8; LARGEST_ANSWER];
    let (mut exact, mut found) = (false, None);
    // To its end also when it was found: the rest would be taken for the answer to the next question.
    loop {
        let count = netlink.recv(&mut &mut buffer[..], 0)?;
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            let length = (message.header.length as usize).next_multiple_of(4);
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    match fit(&response, address) {
                        Fit::Address => (exact, found) = (true, Some(reading(&response))),
                        // One that takes every address takes this one too, unless another listens on it.
                        Fit::Any if !exact => found = Some(reading(&response)),
                        Fit::Any | Fit::No => {}
                    }
                }
                // Another listener of the same port, or what is no answer to this question.
                _ => {}
            }
            rest = rest.get(length.max(1)..).unwrap_or_default();
        }
    }
}

/// All TCP sockets that listen on the port.
fn question(address: SocketAddr) -> Vec<u8> {
    let (family, mut socket_id) = match address {
        SocketAddr::V4(_) => (AF_INET, SocketId::new_v4()),
        SocketAddr::V6(_) => (AF_INET6, SocketId::new_v6()),
    };
    socket_id.source_port = address.port();
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::SKMEMINFO,
        states: StateFlags::LISTEN,
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// How well a listener fits an address.
enum Fit {
    Address,
    Any,
    No,
}

fn fit(response: &InetResponse, address: SocketAddr) -> Fit {
    let socket = &response.header.socket_id;
    match () {
        () if socket.source_port != address.port() => Fit::No,
        () if socket.source_address == address.ip() => Fit::Address,
        () if socket.source_address.is_unspecified() => Fit::Any,
        () => Fit::No,
    }
}

fn reading(response: &InetResponse) -> ListenerReading {
    ListenerReading {
        queue: response.header.recv_queue,
        queue_limit: response.header.send_queue,
        drops: response.nlas.iter().find_map(|nla| match nla {
            Nla::MemInfo(memory) => Some(u64::from(memory.drops)),
            _ => None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use socket2::{Domain, Type};

    use super::*;

    /// Far beyond what a loaded machine needs.
    const SOON: Duration = Duration::from_secs(30);

    /// Loudly: not `eprintln!`, which is kept back when the test passes.
    fn skipped(why: &str) {
        use std::io::Write;
        let _ = writeln!(io::stderr(), "SKIPPED: {why}");
    }

    fn listener(address: SocketAddr, backlog: i32) -> TcpListener {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, None)
            .expect("a socket");
        socket.bind(&address.into()).expect("bound");
        socket.listen(backlog).expect("listening");
        socket.into()
    }

    fn of(listener: &TcpListener) -> ListenSocket {
        ListenSocket::here(listener.local_addr().expect("bound")).expect("sock_diag")
    }

    /// A client that has sent its SYN; whether the kernel answers is not waited for.
    fn knock(address: SocketAddr) -> socket2::Socket {
        let socket = socket2::Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("set");
        // It is under way, or there already.
        let _ = socket.connect(&address.into());
        socket
    }

    #[test]
    fn queue_grows_to_its_limit_and_what_it_turns_away_is_counted() {
        let listener = listener(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1);
        let address = listener.local_addr().expect("bound");
        let socket = of(&listener);
        let before = socket.read().expect("it listens");
        assert_eq!((before.queue, before.queue_limit), (0, 1));
        let drops_before = before.drops.expect("a kernel of this century");

        let first = TcpStream::connect(address).expect("connected");
        until(&socket, "one waits", |reading| reading.queue == 1);
        let others: Vec<socket2::Socket> = (0..8).map(|_| knock(address)).collect();
        // The kernel takes one more than the limit, and drops the rest each time it is sent again.
        until(&socket, "it is full and turns others away", |reading| {
            reading.queue > reading.queue_limit && reading.drops > Some(drops_before)
        });

        drop((first, others));
        listener.set_nonblocking(true).expect("set");
        until(&socket, "all are accepted", |reading| {
            while listener.accept().is_ok() {}
            reading.queue == 0
        });
    }

    fn until(socket: &ListenSocket, what: &str, is_so: impl Fn(&ListenerReading) -> bool) {
        let deadline = Instant::now() + SOON;
        loop {
            let reading = socket.read().expect("it listens");
            assert_eq!(reading.queue_limit, 1);
            if is_so(&reading) {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {reading:?}");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    #[test]
    fn socket_of_another_address_or_none_is_not_taken_for_it() {
        let own = listener(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 7);
        let port = own.local_addr().expect("bound").port();
        let other = listener(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port)), 3);
        assert_eq!(of(&own).read().expect("it listens").queue_limit, 7);
        let asked = of(&other);
        assert_eq!(asked.read().expect("it listens").queue_limit, 3);
        drop(other);
        assert_eq!(asked.read(), None);
    }

    #[test]
    fn listener_of_the_other_family_is_found_where_there_is_one() {
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            skipped("this machine has no IPv6 loopback");
            return;
        }
        let listener = listener(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)), 5);
        assert_eq!(of(&listener).read().expect("it listens").queue_limit, 5);
    }

    #[test]
    fn listener_in_a_namespace_of_its_own_is_read_there_and_not_here() {
        // Root, or a machine that lets anybody make a user namespace.
        let child = std::process::Command::new("unshare")
            .args(["--net", "sleep", "600"])
            .spawn();
        let Ok(mut child) = child else {
            skipped("there is no unshare(1)");
            return;
        };
        let pid = child.id();
        let ours = File::open("/proc/self/ns/net").and_then(|file| file.metadata());
        let ours = ours.expect("/proc is there").ino();
        let deadline = Instant::now() + SOON;
        let moved = loop {
            let theirs = File::open(format!("/proc/{pid}/ns/net")).and_then(|file| file.metadata());
            if theirs.is_ok_and(|theirs| theirs.ino() != ours) {
                break true;
            }
            if child.try_wait().expect("a child").is_some() {
                break false;
            }
            assert!(Instant::now() < deadline, "it moves, or fails");
            std::thread::park_timeout(Duration::from_millis(5));
        };
        if !moved {
            skipped("no network namespace can be made here");
            return;
        }
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let inside = in_namespace_of(pid, move || {
            let listener = listener(any, 9);
            (listener.local_addr().expect("bound"), listener)
        });
        let (address, _listener) = inside.expect("entered");
        let there = ListenSocket::of_process(pid, address).expect("entered");
        assert_eq!(there.read().expect("it listens").queue_limit, 9);
        let here = ListenSocket::here(address).expect("sock_diag").read();
        assert_ne!(here.map(|reading| reading.queue_limit), Some(9));
        child.kill().expect("killed");
        child.wait().expect("reaped");
    }
}
