//! A socket that can be closed from outside while russh owns it.
//!
//! russh 0.65's `RunningSession` detaches when dropped and offers no abort: `Handle::disconnect` sends a
//! message first and then waits for the client to close. sshd's own endings (LoginGraceTime, shutdown) just
//! close the socket, so the socket is where this is done. It must not know why.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Closes the socket when fired, and when dropped.
#[derive(Debug)]
pub(super) struct Cut(oneshot::Sender<()>);

impl Cut {
    /// Makes every read and write of the socket fail from now on, so that its owner drops it.
    pub(super) fn close(self) {
        // An error means that the socket is gone already.
        let _ = self.0.send(());
    }
}

/// The socket. One task at a time uses it, as russh does: only the last one waiting is woken by the cut.
#[derive(Debug)]
pub(super) struct CuttableStream {
    socket: TcpStream,
    cut: Option<oneshot::Receiver<()>>,
}

impl CuttableStream {
    pub(super) fn new(socket: TcpStream) -> (Self, Cut) {
        let (sender, receiver) = oneshot::channel();
        (
            CuttableStream {
                socket,
                cut: Some(receiver),
            },
            Cut(sender),
        )
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Some(cut) = &mut self.cut {
            if Pin::new(cut).poll(cx).is_pending() {
                return Ok(());
            }
            self.cut = None;
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_read(cx, buffer)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
