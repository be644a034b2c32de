//! A connection that says nothing: admitted by sshd, silent before authentication, occupying its startup slot.
//!
//! Owns the socket of such a connection and reading it. Nothing is ever sent, so a refusal arrives as FIN with its text
//! (the server closes with an empty receive queue).

use std::net::Shutdown;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::tap::{Tap, TappedStream};
use super::{Held, classify};
use sshchurn_core::vocabulary::AttemptOutcome;

/// A held connection on a real socket.
pub struct HeldConnection {
    stream: TappedStream,
    socket: Arc<TcpStream>,
    tap: Tap,
}

impl HeldConnection {
    pub(super) fn new(stream: TcpStream, tap: Tap) -> Self {
        let socket = Arc::new(stream);
        HeldConnection {
            stream: TappedStream::new(Arc::clone(&socket), tap.clone()),
            socket,
            tap,
        }
    }

    /// Reads until the identification line is complete or the server has ended the connection; says which.
    pub(super) async fn identified(&mut self) -> bool {
        let mut buffer = [0_u8; 512];
        loop {
            if self.tap.trace().identified.is_some() {
                return true;
            }
            // The tap has seen the end; what it was is read from its trace.
            if !matches!(self.stream.read(&mut buffer).await, Ok(count) if count > 0) {
                return false;
            }
        }
    }
}

impl Held for HeldConnection {
    async fn ended(&mut self) -> AttemptOutcome {
        let mut buffer = [0_u8; 512];
        // sshd sends its key exchange offer right after its identification; nobody answers it.
        while matches!(self.stream.read(&mut buffer).await, Ok(count) if count > 0) {}
        classify::after_connect(&self.tap.trace(), "")
    }
}

impl Drop for HeldConnection {
    fn drop(&mut self) {
        self.tap.ending();
        let _ = socket2::SockRef::from(&*self.socket).shutdown(Shutdown::Both);
    }
}
