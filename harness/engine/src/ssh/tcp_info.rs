//! `TCP_INFO`: what the kernel says of one TCP socket, also after it was reset.
//!
//! Owns the layout of the kernel's structure and nothing else. A kernel before 4.19 lacks the later fields; it gives
//! nothing at all rather than zeros.

use std::mem::{MaybeUninit, offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd};

use nix::libc;
use sshchurn_core::reading::TcpReading;

/// The beginning of `struct tcp_info` (linux/tcp.h), up to the last field that is used. The kernel only ever appends.
#[repr(C)]
struct TcpInfo {
    /// States, counts of timeouts, options: bytes and bit fields.
    bytes: [u8; 8],
    /// `tcpi_rto` to `tcpi_rcv_space`.
    words: [u32; 23],
    total_retrans: u32,
    /// `tcpi_pacing_rate`, `tcpi_max_pacing_rate`.
    rates: [u64; 2],
    bytes_acked: u64,
    bytes_received: u64,
    segs_out: u32,
    segs_in: u32,
    /// `tcpi_notsent_bytes` to `tcpi_data_segs_out`.
    segments: [u32; 4],
    /// `tcpi_delivery_rate`, `tcpi_busy_time`, `tcpi_rwnd_limited`, `tcpi_sndbuf_limited`.
    times: [u64; 4],
    /// `tcpi_delivered`, `tcpi_delivered_ce`.
    delivered: [u32; 2],
    bytes_sent: u64,
    bytes_retrans: u64,
}

// Offsets in linux/tcp.h, the same on all 64-bit machines.
const _: () = assert!(
    offset_of!(TcpInfo, total_retrans) == 100
        && offset_of!(TcpInfo, bytes_acked) == 120
        && offset_of!(TcpInfo, bytes_received) == 128
        && offset_of!(TcpInfo, segs_in) == 140
        && offset_of!(TcpInfo, bytes_sent) == 200
        && offset_of!(TcpInfo, bytes_retrans) == 208
        && size_of::<TcpInfo>() == 216
);

/// Reads it; `None` where the kernel does not say all of it.
pub(super) fn read(socket: &impl AsFd) -> Option<TcpReading> {
    let mut info = MaybeUninit::<TcpInfo>::zeroed();
    let whole = libc::socklen_t::try_from(size_of::<TcpInfo>()).ok()?;
    let mut length = whole;
    // SAFETY: the descriptor is borrowed for the call, the buffer is of the length said, and any bytes are a `TcpInfo`.
    let info = unsafe {
        let failed = libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        );
        if failed != 0 || length < whole {
            return None;
        }
        info.assume_init()
    };
    Some(TcpReading {
        bytes_sent: info.bytes_sent,
        bytes_acked: info.bytes_acked,
        bytes_retrans: info.bytes_retrans,
        bytes_received: info.bytes_received,
        segments_retrans: info.total_retrans,
        segments_in: info.segs_in,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{SocketAddr, TcpStream as StdTcpStream};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use nix::libc;
    use socket2::{Domain, SockRef, Socket, Type};

    use super::super::socket::{self, Connection};
    use super::super::tap::Tap;
    use crate::clock::RunClock;

    /// A listener whose accept queue takes one connection, and that accepts none. With `defer` a connection comes into
    /// the queue with its first data only (`TCP_DEFER_ACCEPT`), as one whose last ACK meets a full queue would.
    fn listener(defer: bool) -> (Socket, SocketAddr) {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let address: SocketAddr = ([127, 0, 0, 1], 0).into();
        listener.bind(&address.into()).expect("bound");
        if defer {
            defer_accept(&listener);
        }
        listener.listen(0).expect("listening");
        let address = listener.local_addr().expect("an address");
        (listener, address.as_socket().expect("an address of IPv4"))
    }

    fn defer_accept(listener: &Socket) {
        let seconds: libc::c_int = 30;
        // SAFETY: the descriptor is borrowed for the call, and the value is of the length said.
        let set = unsafe {
            libc::setsockopt(
                listener.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_DEFER_ACCEPT,
                (&raw const seconds).cast(),
                libc::socklen_t::try_from(size_of_val(&seconds)).expect("small"),
            )
        };
        assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    }

    async fn open(address: SocketAddr, tap: &Tap) -> std::io::Result<Connection> {
        Connection::open(socket::ready(address)?, address, None, tap).await
    }

    #[tokio::test]
    async fn what_the_kernel_never_made_a_socket_for_is_sent_again_and_never_acknowledged() {
        let (_listener, address) = listener(true);
        let tap = Tap::new(RunClock::start());
        let connection = open(address, &tap).await.expect("it stands for the client");
        // Another one's data takes the only place.
        let mut other = StdTcpStream::connect(address).expect("connected");
        other.write_all(b"SSH-2.0-other\r\n").expect("written");
        let stream = connection.stream();
        // The client's kernel gives up by itself: nothing here waits for a time.
        SockRef::from(&*stream)
            .set_tcp_user_timeout(Some(Duration::from_millis(700)))
            .expect("set");
        stream.writable().await.expect("writable");
        assert_eq!(stream.try_write(b"SSH-2.0-lost\r\n").expect("written"), 14);
        stream.readable().await.expect("an end");
        let error = stream.try_read(&mut [0]).expect_err("given up");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        drop(connection);

        let trace = tap.trace();
        assert!(trace.connected.is_some());
        let tcp = trace.tcp.expect("TCP_INFO");
        assert!(tcp.bytes_retrans >= 14 && tcp.bytes_sent >= 28, "{tcp:?}");
        assert!(tcp.bytes_acked <= 1 && tcp.bytes_received == 0, "{tcp:?}");
        assert!(tcp.segments_retrans >= 1, "{tcp:?}");
    }

    #[tokio::test]
    async fn a_connect_that_gets_no_answer_has_a_port_and_counts_its_syn() {
        let (_listener, address) = listener(false);
        let _queued = StdTcpStream::connect(address).expect("connected");
        let tap = Tap::new(RunClock::start());
        // The first SYN is sent again after a second (RFC 6298 section 2).
        let given_up = tokio::time::timeout(Duration::from_millis(1800), open(address, &tap)).await;
        assert!(given_up.is_err(), "the queue was full");
        let trace = tap.trace();
        assert!(trace.connected.is_none() && trace.local_port.is_some());
        let tcp = trace.tcp.expect("TCP_INFO");
        assert!(tcp.segments_retrans >= 1 && tcp.bytes_sent == 0, "{tcp:?}");
    }

    #[tokio::test]
    async fn a_socket_that_its_peer_reset_still_answers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let tap = Tap::new(RunClock::start());
        let connection = open(address, &tap).await.expect("connected");
        let stream = connection.stream();
        stream.writable().await.expect("writable");
        assert_eq!(stream.try_write(b"SSH-2.0-reset\r\n").expect("written"), 15);
        let (peer, _) = listener.accept().expect("a client");
        SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .expect("set");
        drop(peer);
        stream.readable().await.expect("an end");
        let error = stream.try_read(&mut [0]).expect_err("reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        drop(connection);
        let tcp = tap.trace().tcp.expect("TCP_INFO");
        assert_eq!((tcp.bytes_sent, tcp.bytes_acked), (15, 16), "{tcp:?}");
    }
}
