//! A connection that says nothing: admitted by sshd, silent before authentication, occupying its startup slot.
//!
//! Owns reading such a connection. Nothing is ever sent, so a refusal arrives as FIN with its text (the server closes with
//! an empty receive queue).

use tokio::io::AsyncReadExt;

use super::socket::Connection;
use super::tap::TappedStream;
use super::{Held, classify};
use sshchurn_core::vocabulary::AttemptOutcome;

/// A held connection on a real socket.
pub struct HeldConnection {
    stream: TappedStream,
    socket: Connection,
}

impl HeldConnection {
    pub(super) fn new(socket: Connection) -> Self {
        HeldConnection {
            stream: TappedStream::new(socket.stream(), socket.tap().clone()),
            socket,
        }
    }

    /// Reads until the identification line is complete or the server has ended the connection; says which.
    pub(super) async fn identified(&mut self) -> bool {
        let mut buffer = [0_u8; 512];
        loop {
            if self.socket.tap().trace().identified.is_some() {
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
        // The outcome is recorded while the socket is still there.
        self.socket.look();
        classify::after_connect(&self.socket.tap().trace(), "")
    }
}
