//! Readiness: the server's identification line is read, by a client that then goes away.
//!
//! Owns that one probe, and the proof that what answers on a port is the server that was started there. It must not know
//! what kind of server it talks to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::ServerError;

/// Longest identification line: RFC 4253 section 4.2.
const LONGEST_LINE: u64 = 255;

/// Time between two attempts while nobody listens yet.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// Time between two looks at a log that may be an engine's to fetch.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Longest wait for one answer: what accepts without answering (a proxy before its server is up) is asked again.
const ONE_ANSWER: Duration = Duration::from_secs(5);

/// Why no identification line was read.
#[derive(Debug)]
pub(super) enum NoIdentification {
    /// The deadline passed.
    TooLate,
    /// The server ended meanwhile.
    Ended,
    /// Its log could not be read.
    Log(ServerError),
}

/// Connects until somebody sends an identification line, and returns it without line end.
///
/// # Errors
/// What the last attempt met, past the deadline.
pub(super) async fn read(address: SocketAddr, within: Duration) -> Result<String, String> {
    let mut met = String::from("no answer");
    let read = line(address, |why| met = why);
    tokio::time::timeout(within, read).await.map_err(|_| met)
}

/// The same of a server that was started to listen on `port` (which `address` leads to). A stranger on the port answers
/// as well: only once the server's log says that it has the port is the next answer its own. `ended` resolves when it has
/// ended, so that a server that died, or found the port taken, is not waited for.
pub(super) async fn read_own(
    address: SocketAddr,
    port: u16,
    within: Duration,
    log: impl AsyncFn() -> Result<Vec<u8>, ServerError>,
    ended: impl Future<Output = ()>,
) -> Result<String, NoIdentification> {
    let deadline = Instant::now() + within;
    let own = async {
        while !listens(&log().await?, port) {
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        Ok(line(address, |_| {}).await)
    };
    tokio::select! {
        biased;
        () = ended => Err(NoIdentification::Ended),
        own = tokio::time::timeout_at(deadline, own) => match own {
            Ok(own) => own.map_err(NoIdentification::Log),
            Err(_) => Err(NoIdentification::TooLate),
        },
    }
}

/// `fails` is told what each attempt met that was not it.
async fn line(address: SocketAddr, mut fails: impl FnMut(String)) -> String {
    loop {
        match tokio::time::timeout(ONE_ANSWER, attempt(address)).await {
            Ok(Ok(line)) if line.starts_with("SSH-2.0-") => return line,
            Ok(Ok(line)) if line.is_empty() => {
                fails("the connection was closed without an identification string".to_owned());
            }
            Ok(Ok(line)) => fails(format!("it says `{}`", line.escape_debug())),
            Ok(Err(error)) => fails(error.to_string()),
            Err(_) => fails("it accepts connections and stays silent".to_owned()),
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
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
fn listens(log: &[u8], port: u16) -> bool {
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
        let line = read(address, Duration::from_secs(10)).await;
        assert_eq!(line.expect("read"), "SSH-2.0-OpenSSH_9.2p1 Debian-2");
    }

    #[tokio::test]
    async fn server_that_never_answers_is_given_up_at_the_deadline() {
        let port = free_port().expect("a port");
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let met = read(nobody, Duration::from_millis(50)).await;
        let met = met.expect_err("no identification string");
        assert!(met.contains("refused"), "{met}");
    }

    #[tokio::test]
    async fn stranger_on_the_port_is_not_taken_for_the_server_that_was_started() {
        let stranger = server(b"SSH-2.0-stranger\r\n");
        let taken = async || Ok(b"Cannot bind any address.\r\n".to_vec());
        let line = read_own(
            stranger,
            stranger.port(),
            Duration::from_millis(50),
            taken,
            pending(),
        )
        .await;
        assert!(matches!(line, Err(NoIdentification::TooLate)), "{line:?}");
    }

    #[tokio::test]
    async fn server_is_asked_once_its_log_says_that_it_has_the_port() {
        let address = server(b"SSH-2.0-own\r\n");
        let looks = std::cell::Cell::new(0);
        let log = async || {
            looks.set(looks.get() + 1);
            let port = address.port();
            Ok(match looks.get() {
                1 => Vec::new(),
                _ => format!("Server listening on 127.0.0.1 port {port}.\r\n").into_bytes(),
            })
        };
        let line = read_own(
            address,
            address.port(),
            Duration::from_secs(10),
            log,
            pending(),
        )
        .await;
        assert_eq!(line.expect("read"), "SSH-2.0-own");
        assert_eq!(looks.get(), 2);
    }

    #[tokio::test]
    async fn server_that_ended_is_not_waited_for() {
        let port = free_port().expect("a port");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = async || Ok(Vec::new());
        let line = read_own(address, port, Duration::from_secs(60), log, async {}).await;
        assert!(matches!(line, Err(NoIdentification::Ended)));
    }

    #[tokio::test]
    async fn log_that_cannot_be_read_is_an_error_and_not_waited_for() {
        let port = free_port().expect("a port");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = async || Err(ServerError::Died { log: Vec::new() });
        let line = read_own(address, port, Duration::from_secs(60), log, pending()).await;
        assert!(matches!(line, Err(NoIdentification::Log(_))));
    }
}
