//! Readiness: the server's identification line is read, by a client that then goes away.
//!
//! Owns that one probe, and the proof that what answers on a port is the server that was started there. It must not know
//! what kind of server it talks to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::log_follower::LogFollower;

/// Longest identification line: RFC 4253 section 4.2.
const LONGEST_LINE: u64 = 255;

/// Time between two attempts while nobody listens yet.
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(10);

/// Time between two looks at the log.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

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
    Log(io::Error),
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
    log: &Path,
    ended: impl Future<Output = ()>,
) -> Result<String, NoIdentification> {
    let deadline = Instant::now() + within;
    let own = async {
        let mut log = LogFollower::new(log);
        let mut listening = false;
        loop {
            log.read_new(&mut |line| listening |= says_it_listens(line, port))?;
            if listening {
                return Ok(line(address, |_| {}).await);
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
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
            Ok(Ok(line)) => fails(format!("it says `{line}`")),
            Ok(Err(error)) => fails(error.to_string()),
            Err(_) => fails("it accepts connections and stays silent".to_owned()),
        }
        tokio::time::sleep(BETWEEN_ATTEMPTS).await;
    }
}

async fn attempt(address: SocketAddr) -> io::Result<String> {
    let socket = TcpStream::connect(address).await?;
    let mut line = Vec::new();
    BufReader::new(socket.take(LONGEST_LINE))
        .read_until(b'\n', &mut line)
        .await?;
    Ok(readable(&String::from_utf8_lossy(&line)))
}

/// What a peer chose to say, fit for a terminal and for every report: control characters, and what reorders or hides text,
/// are written out as escapes (RFC 4253, section 4.2, allows printable US-ASCII only).
pub(super) fn readable(line: &str) -> String {
    let mut text = String::new();
    for character in line.trim_end().chars() {
        if character.is_control() || is_invisible(character) {
            text.extend(character.escape_unicode());
        } else {
            text.push(character);
        }
    }
    text
}

/// Zero-width characters and directional marks, by which a text may look like another.
fn is_invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A port of 127.0.0.1 that nobody listens on now. Somebody else may take it before the server does: the caller tries
/// again with another.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Whether a line of sshd's log says that it has this port (sshd.c, `listen_on_addrs`, at INFO); then nobody else has it.
fn says_it_listens(line: &str, port: u16) -> bool {
    let place = format!(" port {port}");
    line.strip_prefix("Server listening on ")
        .and_then(|line| line.split_once(&place))
        .is_some_and(|(_, rest)| rest == "." || rest.starts_with(" rdomain "))
}

/// Whether sshd's last words say that somebody else was faster (sshd.c, `listen_on_addrs`).
pub(super) fn lost_the_port(last_lines: &[String]) -> bool {
    last_lines.iter().any(|line| {
        line.contains("Address already in use") || line.contains("Cannot bind any address")
    })
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
        let line = "Server listening on 127.0.0.1 port 4022.";
        assert!(says_it_listens(line, 4022));
        let everywhere = "Server listening on 0.0.0.0 port 4022 rdomain lo.";
        assert!(says_it_listens(everywhere, 4022));
        for port in [402, 22, 40_221] {
            assert!(!says_it_listens(line, port), "{port}");
            assert!(!says_it_listens(everywhere, port), "{port}");
        }
        let taken = [
            "Bind to port 4022 on 127.0.0.1 failed: Address already in use.",
            "Cannot bind any address.",
        ]
        .map(str::to_owned);
        assert!(!taken.iter().any(|line| says_it_listens(line, 4022)));
        assert!(lost_the_port(&taken));
        assert!(!lost_the_port(&[line.to_owned()]));
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

    fn log_with(text: &str) -> tempfile::NamedTempFile {
        let mut log = tempfile::NamedTempFile::new().expect("a file");
        log.write_all(text.as_bytes()).expect("written");
        log
    }

    #[tokio::test]
    async fn stranger_on_the_port_is_not_taken_for_the_server_that_was_started() {
        let stranger = server(b"SSH-2.0-stranger\r\n");
        let taken = log_with("Cannot bind any address.\r\n");
        let line = read_own(
            stranger,
            stranger.port(),
            Duration::from_millis(50),
            taken.path(),
            pending(),
        )
        .await;
        assert!(matches!(line, Err(NoIdentification::TooLate)), "{line:?}");
    }

    #[tokio::test]
    async fn server_is_asked_once_its_log_says_that_it_has_the_port() {
        let address = server(b"SSH-2.0-own\r\n");
        let mut log = log_with("Server listening on 127.0.0.1 po");
        let path = log.path().to_path_buf();
        let reading = read_own(
            address,
            address.port(),
            Duration::from_secs(10),
            &path,
            pending(),
        );
        tokio::pin!(reading);
        assert!(
            futures::poll!(&mut reading).is_pending(),
            "half a line says nothing"
        );
        log.write_all(format!("rt {}.\r\n", address.port()).as_bytes())
            .expect("written");
        assert_eq!(reading.await.expect("read"), "SSH-2.0-own");
    }

    #[tokio::test]
    async fn server_that_ended_is_not_waited_for() {
        let port = free_port().expect("a port");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let log = log_with("");
        let within = Duration::from_secs(60);
        let line = read_own(address, port, within, log.path(), async {}).await;
        assert!(matches!(line, Err(NoIdentification::Ended)));
    }

    #[tokio::test]
    async fn log_that_cannot_be_read_is_an_error_and_not_waited_for() {
        let port = free_port().expect("a port");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let no_file = tempfile::tempdir().expect("a folder");
        let within = Duration::from_secs(60);
        let line = read_own(address, port, within, no_file.path(), pending()).await;
        assert!(matches!(line, Err(NoIdentification::Log(_))));
    }

    #[test]
    fn control_characters_of_a_foreign_server_do_not_reach_the_terminal() {
        assert_eq!(
            readable("SSH-2.0-x\u{1b}[2J\u{9b}31m\u{7} é\\n\r\n"),
            "SSH-2.0-x\\u{1b}[2J\\u{9b}31m\\u{7} é\\n"
        );
        let ours = "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7";
        assert_eq!(readable(ours), ours);
    }
}
