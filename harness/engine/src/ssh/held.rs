//! A connection that says nothing: admitted by sshd, silent before authentication, occupying its startup slot.
//!
//! Owns reading such a connection. Nothing is sent while it is held, so a refusal arrives as FIN with its text (the server
//! closes with an empty receive queue). What the server has said is kept for a client that logs in after all.

use std::io::Cursor;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::socket::Connection;
use super::tap::TappedStream;
use super::{Held, classify};
use sshchurn_core::vocabulary::AttemptOutcome;

/// Bytes kept of what the server says to a silent client: its identification and its key exchange offer are some 2 KB.
const KEPT: usize = 64 * 1024;

/// A held connection on a real socket.
pub struct HeldConnection {
    stream: TappedStream,
    socket: Connection,
    /// What the server has said so far.
    heard: Vec<u8>,
}

impl HeldConnection {
    pub(super) fn new(socket: Connection) -> Self {
        HeldConnection {
            stream: TappedStream::new(socket.stream(), socket.tap().clone()),
            socket,
            heard: Vec::new(),
        }
    }

    /// Reads some of what the server says; whether there was anything.
    async fn listen(&mut self) -> bool {
        let mut buffer = [0_u8; 512];
        match self.stream.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                if self.heard.len() < KEPT {
                    self.heard.extend_from_slice(&buffer[..count]);
                }
                true
            }
            _ => false,
        }
    }

    /// The socket, and the stream as it was before anything was read of it.
    pub(super) fn into_replayed(
        self,
    ) -> (
        Connection,
        impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) {
        let writes = TappedStream::new(self.socket.stream(), self.socket.tap().clone());
        let reads = Cursor::new(self.heard).chain(self.stream);
        (self.socket, tokio::io::join(reads, writes))
    }

    /// Reads until the identification line is complete or the server has ended the connection; says which.
    pub(super) async fn identified(&mut self) -> bool {
        loop {
            if self.socket.tap().trace().identified.is_some() {
                return true;
            }
            // The tap has seen the end; what it was is read from its trace.
            if !self.listen().await {
                return false;
            }
        }
    }
}

impl Held for HeldConnection {
    async fn ended(&mut self) -> AttemptOutcome {
        // sshd sends its key exchange offer right after its identification; nobody answers it.
        while self.listen().await {}
        // The outcome is recorded while the socket is still there.
        self.socket.look();
        classify::after_connect(&self.socket.tap().trace(), "")
    }
}
