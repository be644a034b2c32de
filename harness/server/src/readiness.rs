//! Readiness: sshd's log says that it has its port.
//!
//! Owns the proof that what listens on a port is the server that was started there, without a connection of its own: one
//! that is given up after the identification line earns its address a penalty (`PerSourcePenalties`, 9.8) and has a startup
//! slot until sshd has seen its end. It must not know what kind of server it waits for.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::log_follower::LogFollower;
use crate::{ServerError, io_error};

/// How long sshd may take to start over.
pub(super) const RESTART_WITHIN: Duration = Duration::from_secs(20);
/// Time between two looks at the log.
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Why a server does not listen.
#[derive(Debug)]
pub(super) enum NotListening {
    /// The deadline passed.
    TooLate,
    /// The server ended meanwhile.
    Ended,
    /// Its log could not be read.
    Log(io::Error),
}

/// Waits until a server's log has said `times` times that it has the port: each start of sshd says it once. `ended` resolves
/// when the server has ended, so that one that died, or found the port taken, is not waited for.
///
/// # Errors
/// Why it does not listen.
pub(super) async fn listening(
    port: u16,
    times: usize,
    within: Duration,
    log: &Path,
    ended: impl Future<Output = ()>,
) -> Result<(), NotListening> {
    let deadline = Instant::now() + within;
    let said = async {
        let mut log = LogFollower::new(log);
        let mut said = 0;
        loop {
            log.read_new(&mut |line| said += usize::from(says_it_listens(line, port)))?;
            if said >= times {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    };
    tokio::select! {
        biased;
        () = ended => Err(NotListening::Ended),
        said = tokio::time::timeout_at(deadline, said) => match said {
            Ok(said) => said.map_err(NotListening::Log),
            Err(_) => Err(NotListening::TooLate),
        },
    }
}

/// How often a server's log says that it has the port.
///
/// # Errors
/// Of the file system.
pub(super) fn times_listening(port: u16, log: &Path) -> io::Result<usize> {
    let mut said = 0;
    LogFollower::new(log).read_new(&mut |line| said += usize::from(says_it_listens(line, port)))?;
    Ok(said)
}

/// Has a server start over, by `tell`, and waits until its log says once more that it has the port.
///
/// # Errors
/// That of `tell`, and why it does not listen, with `last_lines` of its log.
pub(super) async fn restarted(
    port: u16,
    log: &Path,
    tell: impl Future<Output = Result<(), ServerError>>,
    ended: impl Future<Output = ()>,
    last_lines: impl Future<Output = Vec<String>>,
) -> Result<(), ServerError> {
    let starts = times_listening(port, log).map_err(io_error("read sshd's log"))?;
    tell.await?;
    match listening(port, starts + 1, RESTART_WITHIN, log, ended).await {
        Ok(()) => Ok(()),
        Err(why) => {
            let log = last_lines.await;
            Err(why.of_running("sshd, told to start over,", RESTART_WITHIN, log))
        }
    }
}

impl NotListening {
    /// The same of a server that ran before, with the last lines of its log.
    pub(super) fn of_running(self, what: &str, within: Duration, log: Vec<String>) -> ServerError {
        match self {
            NotListening::TooLate => ServerError::NotReady {
                what: what.to_owned(),
                within,
                log,
            },
            NotListening::Ended => ServerError::Died { log },
            NotListening::Log(source) => io_error("read sshd's log")(source),
        }
    }
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

    const PORT: u16 = 4022;
    const SOON: Duration = Duration::from_secs(60);

    #[test]
    fn log_of_a_server_names_the_port_it_has_and_no_other() {
        let line = "Server listening on 127.0.0.1 port 4022.";
        assert!(says_it_listens(line, PORT));
        let everywhere = "Server listening on 0.0.0.0 port 4022 rdomain lo.";
        assert!(says_it_listens(everywhere, PORT));
        for port in [402, 22, 40_221] {
            assert!(!says_it_listens(line, port), "{port}");
            assert!(!says_it_listens(everywhere, port), "{port}");
        }
        let taken = [
            "Bind to port 4022 on 127.0.0.1 failed: Address already in use.",
            "Cannot bind any address.",
        ]
        .map(str::to_owned);
        assert!(!taken.iter().any(|line| says_it_listens(line, PORT)));
        assert!(lost_the_port(&taken));
        assert!(!lost_the_port(&[line.to_owned()]));
    }

    fn log_with(text: &str) -> tempfile::NamedTempFile {
        let mut log = tempfile::NamedTempFile::new().expect("a file");
        log.write_all(text.as_bytes()).expect("written");
        log
    }

    #[tokio::test]
    async fn stranger_on_the_port_is_not_taken_for_the_server_that_was_started() {
        let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = stranger.local_addr().expect("bound").port();
        let taken = log_with("Cannot bind any address.\r\n");
        let within = Duration::from_millis(50);
        let waited = listening(port, 1, within, taken.path(), pending()).await;
        assert!(matches!(waited, Err(NotListening::TooLate)), "{waited:?}");
    }

    #[tokio::test]
    async fn server_is_ready_once_its_log_says_that_it_has_the_port_and_nothing_is_asked_of_it() {
        // Nobody listens: a connection would fail.
        let mut log = log_with("Server listening on 127.0.0.1 po");
        let path = log.path().to_path_buf();
        let waiting = listening(PORT, 1, SOON, &path, pending());
        tokio::pin!(waiting);
        assert!(
            futures::poll!(&mut waiting).is_pending(),
            "half a line says nothing"
        );
        log.write_all(b"rt 4022.\r\n").expect("written");
        waiting.await.expect("it listens");
    }

    #[tokio::test]
    async fn server_that_starts_over_is_ready_when_its_log_says_so_once_more() {
        let mut log = log_with("Server listening on 127.0.0.1 port 4022.\r\n");
        let path = log.path().to_path_buf();
        assert_eq!(times_listening(PORT, &path).expect("read"), 1);
        let waiting = listening(PORT, 2, SOON, &path, pending());
        tokio::pin!(waiting);
        log.write_all(b"Received SIGHUP; restarting.\r\n")
            .expect("written");
        assert!(futures::poll!(&mut waiting).is_pending());
        log.write_all(b"Server listening on 127.0.0.1 port 4022.\r\n")
            .expect("written");
        waiting.await.expect("it listens again");
    }

    #[tokio::test]
    async fn server_that_ended_is_not_waited_for() {
        let log = log_with("");
        let waited = listening(PORT, 1, SOON, log.path(), async {}).await;
        assert!(matches!(waited, Err(NotListening::Ended)));
    }

    #[tokio::test]
    async fn log_that_cannot_be_read_is_an_error_and_not_waited_for() {
        let no_file = tempfile::tempdir().expect("a folder");
        let waited = listening(PORT, 1, SOON, no_file.path(), pending()).await;
        assert!(matches!(waited, Err(NotListening::Log(_))));
    }
}
