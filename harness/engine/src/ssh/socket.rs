//! The client's TCP socket: made ready, connected, and looked at before it is let go.
//!
//! Owns the socket from `socket()` to `close()`, so that whatever ends an attempt, a failed `connect()` and a dropped
//! future among them, the kernel's view of the socket (`TCP_INFO`) is in the trace before its outcome is recorded. Must
//! not judge what it sees.

use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpStream;

use super::tap::Tap;
use super::tcp_info;

/// A socket that is ready for `connect()`.
///
/// # Errors
/// That of `socket()` or of an option: the generator's own.
pub(super) fn ready(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_nonblocking(true)?;
    // Nagle's algorithm would add a delayed-ACK time to the small packets of a handshake.
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

/// Without it the port is taken at `bind()`, for itself alone: one in TIME_WAIT towards this server, and every port in use
/// towards any other, would be lost.
#[cfg(target_os = "linux")]
fn leave_port_to_connect(socket: &Socket) -> io::Result<()> {
    use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
    // Linux takes the option of IPv4 for IPv6 sockets as well.
    Ok(setsockopt(socket, IpBindAddressNoPort, &true)?)
}

/// Other systems have no such option.
#[cfg(not(target_os = "linux"))]
fn leave_port_to_connect(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// The socket of an attempt or a session, from the call of `connect()` on.
///
/// russh runs a session as a task of its own, which would outlive a dropped handle for as long as the server keeps the
/// connection; shutting the socket down ends it at once.
pub(super) struct Connection {
    stream: Arc<TcpStream>,
    tap: Tap,
}

impl Connection {
    /// Connects `socket` to `address`, from `source` where one is given. Dropped half-way, the socket is looked at and
    /// closed.
    ///
    /// # Errors
    /// That of `bind()` or `connect()`.
    pub(super) async fn open(
        socket: Socket,
        address: SocketAddr,
        source: Option<IpAddr>,
        tap: &Tap,
    ) -> io::Result<Connection> {
        if let Some(source) = source {
            leave_port_to_connect(&socket)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
            tap.bound_to(source);
        }
        tap.connect_called();
        let called = socket.connect(&address.into());
        // The port is there from the call on, also where it failed.
        if let Some(local) = socket.local_addr()?.as_socket() {
            tap.bound(local);
        }
        if let Err(error) = called
            && error.raw_os_error() != Some(Errno::EINPROGRESS as i32)
        {
            tap.measured(tcp_info::read(&socket));
            return Err(error);
        }
        // On loopback the answer is there when the call returns, which says that it is in progress all the same: the socket
        // was locked until then. The runtime would say so later, by as much as it has to do.
        let stands = socket.peer_addr().is_ok();
        if stands {
            tap.connected();
        }
        let connection = Connection {
            stream: Arc::new(TcpStream::from_std(socket.into())?),
            tap: tap.clone(),
        };
        // Also where it stands: what follows costs more than the call, and whoever else has a call to make makes it first.
        // An error is noted before the socket goes: what happens to it from then on is the client's own doing.
        connection
            .stream
            .writable()
            .await
            .inspect_err(|error| tap.failed(error))?;
        if !stands {
            if let Some(error) = connection.stream.take_error()? {
                tap.failed(&error);
                return Err(error);
            }
            tap.connected();
        }
        Ok(connection)
    }

    /// The stream, to be read and written past the tap.
    pub(super) fn stream(&self) -> Arc<TcpStream> {
        Arc::clone(&self.stream)
    }

    /// What the stream showed.
    pub(super) fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Puts the kernel's view of the socket into the trace, unless the attempt has become a connection.
    pub(super) fn look(&self) {
        if !self.tap.is_authenticated() {
            self.tap.measured(tcp_info::read(&*self.stream));
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tap.ending();
        self.look();
        // Already disconnected sockets answer ENOTCONN, which is what is wanted.
        let _ = SockRef::from(&*self.stream).shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn binding_a_source_address_takes_no_port() {
        let address: SocketAddr = ([127, 0, 0, 2], 0).into();
        let socket = ready(address).expect("a socket");
        leave_port_to_connect(&socket).expect("set");
        socket.bind(&address.into()).expect("bound");
        let local = socket.local_addr().expect("an address").as_socket();
        assert_eq!(local, Some(address));
    }
}
