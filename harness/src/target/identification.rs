//! Readiness: the server's identification line is read, by a client that then goes away.
//!
//! Owns that one probe. It must not know what kind of server it talks to.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;
use std::{future::Future, io};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Longest identification line: RFC 4253 section 4.2.
const LONGEST_LINE: u64 = 255;

/// Time between two attempts while nobody listens yet.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// Longest wait for one answer: what accepts without answering (a proxy before its server is up) is asked again.
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// Why no identification line was read.
#[derive(Debug)]
pub(super) enum NoIdentification<E> {
    /// The deadline passed.
    TooLate,
    /// The server ended meanwhile.
    Ended(E),
}

/// Connects until the server sends its identification line, and returns it without line end. `ended` resolves when the
/// server has ended, so that a server that died is not waited for.
pub(super) async fn read<E>(
    address: SocketAddr,
    within: Duration,
    ended: impl Future<Output = E>,
) -> Result<String, NoIdentification<E>> {
    let deadline = Instant::now() + within;
    let reading = async {
        loop {
            if let Ok(Ok(line)) = tokio::time::timeout(ONE_ANSWER, attempt(address)).await
                && line.starts_with("SSH-2.0-")
            {
                return line;
            }
            tokio::time::sleep(BETWEEN_ATTEMPTS).await;
        }
    };
    tokio::select! {
        biased;
        ended = ended => Err(NoIdentification::Ended(ended)),
        line = tokio::time::timeout_at(deadline, reading) => line.map_err(|_| NoIdentification::TooLate),
    }
}

async fn attempt(address: SocketAddr) -> io::Result<String> {
    let socket = TcpStream::connect(address).await?;
    let mut line = String::new();
    BufReader::new(socket.take(LONGEST_LINE))
        .read_line(&mut line)
        .await?;
    Ok(line.trim_end().to_owned())
}

/// A port of 127.0.0.1 that nobody listens on now. Somebody else may take it before the server does: the caller tries
/// again with another.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Whether sshd's log says that it has this port (sshd.c, `listen_on_addrs`, at INFO); then nobody else has it.
pub(super) fn listens(log: &[u8], port: u16) -> bool {
    let end = format!(" port {port}.");
    String::from_utf8_lossy(log)
        .lines()
        .any(|line| line.starts_with("Server listening on ") && line.trim_end().ends_with(&end))
}

/// What sshd logs when somebody else was faster (sshd.c, `listen_on_addrs`).
pub(super) fn lost_the_port(log: &[u8]) -> bool {
    let text = String::from_utf8_lossy(log);
    text.contains("Address already in use") || text.contains("Cannot bind any address")
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::io::Write;

    use super::*;

    fn server(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            if let Ok((mut client, _)) = listener.accept() {
                let _ = client.write_all(answer);
            }
        });
        address
    }

    #[test]
    fn log_of_a_server_names_the_port_it_has_and_no_other() {
        let log = b"Server listening on 127.0.0.1 port 4022.\r\n";
        assert!(listens(log, 4022));
        for port in [402, 22, 40_221] {
            assert!(!listens(log, port), "{port}");
        }
        let taken = b"Bind to port 4022 on 127.0.0.1 failed: Address already in use.\r\nCannot bind any address.\r\n";
        assert!(!listens(taken, 4022));
        assert!(lost_the_port(taken));
    }

    #[tokio::test]
    async fn identification_line_is_returned_without_its_line_end() {
        let address = server(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\nrest");
        let line = read(address, Duration::from_secs(10), pending::<()>()).await;
        assert_eq!(line.expect("read"), "SSH-2.0-OpenSSH_9.2p1 Debian-2");
    }

    #[tokio::test]
    async fn server_that_never_answers_is_given_up_at_the_deadline() {
        let address = server(b"Exceeded MaxStartups\r\n");
        let line = read(address, Duration::from_millis(50), pending::<()>()).await;
        assert!(matches!(line, Err(NoIdentification::TooLate)));
    }

    #[tokio::test]
    async fn server_that_ended_is_not_waited_for() {
        let port = free_port().expect("a port");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let line = read(address, Duration::from_secs(60), async { 7 }).await;
        assert!(matches!(line, Err(NoIdentification::Ended(7))));
    }
}
