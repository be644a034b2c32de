//! The tap and its classification against misbehaving servers on real sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::keys::{HostKeyCheck, KeyPair};
use super::{ConnectLimits, Connector, Held, RusshConnector, Tap, classify};
use crate::clock::RunClock;
use sshchurn_core::socket_error::SocketError;
use sshchurn_core::vocabulary::{AttemptOutcome, AttemptTrace, Close, StageFailure};

const LIMITS: ConnectLimits = ConnectLimits::within(Duration::from_secs(5));

/// One attempt against a server that does `serve` with its one connection.
async fn attempt<F, Fut>(limits: ConnectLimits, serve: F) -> (AttemptOutcome, AttemptTrace)
where
    F: FnOnce(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        serve(stream).await;
    });
    let key = KeyPair::generate().expect("a key");
    let connector = RusshConnector::new(address, "nobody", &key, HostKeyCheck::any());
    connector.prepare().expect("a socket");
    let tap = Tap::new(RunClock::start());
    let outcome = connector
        .connect(&limits, &tap)
        .await
        .err()
        .expect("the attempt fails");
    tap.ended();
    server.abort();
    (outcome, tap.trace())
}

/// Reads the client's identification, so that closing sends FIN and not RST.
async fn read_identification(stream: &mut TcpStream) {
    let mut byte = [0_u8];
    while stream.read_exact(&mut byte).await.is_ok() && byte[0] != b'\n' {}
}

#[tokio::test]
async fn refusal_in_good_order_is_an_eof_with_its_text() {
    let (outcome, trace) = attempt(LIMITS, |mut stream| async move {
        read_identification(&mut stream).await;
        let _ = stream.write_all(b"Exceeded MaxStartups\r\n").await;
    })
    .await;
    assert_eq!(outcome, AttemptOutcome::BannerEof { close: Close::Eof });
    assert_eq!(trace.text_before.as_deref(), Some("Exceeded MaxStartups"));
    assert!(trace.saw_eof && trace.identification.is_none() && trace.local_port.is_some());
    assert!(trace.connect_called <= trace.connected && trace.connected <= trace.first_byte);
    assert!(trace.bytes_in == 22 && trace.bytes_out > 0);
}

#[tokio::test]
async fn close_with_unread_client_bytes_is_a_reset() {
    let (outcome, trace) = attempt(LIMITS, |mut stream| async move {
        // As sshd does it: the text, then close() without ever reading; the client's line lies unread.
        stream.readable().await.expect("the client's line");
        let _ = stream.write_all(b"Not allowed at this time\r\n").await;
    })
    .await;
    assert_eq!(
        outcome,
        AttemptOutcome::BannerEof {
            close: Close::Reset
        }
    );
    assert_eq!(trace.errno, Some(SocketError::ConnectionReset));
    // The kernel still answers for a socket that was reset.
    let tcp = trace.tcp.expect("TCP_INFO");
    assert!(tcp.bytes_sent > 0 && tcp.bytes_acked > tcp.bytes_sent && tcp.bytes_retrans == 0);
    assert!(tcp.bytes_received >= trace.bytes_in);
}

#[tokio::test]
async fn text_without_line_end_is_kept() {
    let (outcome, trace) = attempt(LIMITS, |mut stream| async move {
        read_identification(&mut stream).await;
        let _ = stream.write_all(b"first\r\nhalf a li").await;
    })
    .await;
    assert_eq!(outcome, AttemptOutcome::BannerEof { close: Close::Eof });
    assert_eq!(trace.text_before.as_deref(), Some("first\nhalf a li"));
}

#[tokio::test]
async fn silent_server_is_a_banner_timeout() {
    let limits = ConnectLimits {
        banner: Duration::from_millis(50),
        ..LIMITS
    };
    let (outcome, trace) = attempt(limits, |stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(outcome, AttemptOutcome::BannerTimeout);
    assert!(trace.connected.is_some() && trace.first_byte.is_none() && !trace.saw_eof);
}

#[tokio::test]
async fn a_short_deadline_of_the_login_is_none_of_the_identification_string() {
    let limits = ConnectLimits {
        login: Duration::from_millis(50),
        ..LIMITS
    };
    // Later than the login's deadline, were that counted from the TCP connection.
    let (outcome, trace) = attempt(limits, |mut stream| async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let _ = stream.write_all(b"Exceeded MaxStartups\r\n").await;
    })
    .await;
    assert!(
        matches!(outcome, AttemptOutcome::BannerEof { .. }),
        "{outcome:?}"
    );
    assert!(trace.text_before.is_some());
}

#[tokio::test]
async fn a_bound_on_all_of_it_ends_the_stage_it_falls_into() {
    // Longer than the way to the stage takes on a machine that is busy.
    let limits = ConnectLimits {
        whole: Some(Duration::from_secs(1)),
        ..LIMITS
    };
    let (outcome, _) = attempt(limits.clone(), |stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(outcome, AttemptOutcome::BannerTimeout);
    let (outcome, _) = attempt(limits, |mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-stall\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(
        outcome,
        AttemptOutcome::KexFailed {
            failure: StageFailure::TimedOut
        }
    );
}

#[tokio::test]
async fn server_that_identifies_and_then_stalls_is_a_key_exchange_timeout() {
    let limits = ConnectLimits {
        login: Duration::from_millis(100),
        ..LIMITS
    };
    let (outcome, trace) = attempt(limits, |mut stream| async move {
        let _ = stream.write_all(b"SSH-2.0-stall\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    assert_eq!(
        outcome,
        AttemptOutcome::KexFailed {
            failure: StageFailure::TimedOut
        }
    );
    assert_eq!(trace.identification.as_deref(), Some("SSH-2.0-stall"));
}

#[tokio::test]
async fn close_after_the_identification_is_no_refusal() {
    let (outcome, _) = attempt(LIMITS, |mut stream| async move {
        read_identification(&mut stream).await;
        let _ = stream.write_all(b"SSH-2.0-gone\r\n").await;
        // Drain the client's key exchange, so that the close is clean.
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    })
    .await;
    assert_eq!(
        outcome,
        AttemptOutcome::KexFailed {
            failure: StageFailure::Lost { close: Close::Eof }
        }
    );
}

#[tokio::test]
async fn server_that_speaks_no_ssh_is_a_protocol_failure() {
    let (outcome, trace) = attempt(LIMITS, |mut stream| async move {
        for _ in 0..40 {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n").await;
        }
        std::future::pending::<()>().await;
    })
    .await;
    assert!(
        matches!(
            &outcome,
            AttemptOutcome::KexFailed {
                failure: StageFailure::Protocol { .. }
            }
        ),
        "{outcome:?}"
    );
    assert!(
        trace
            .text_before
            .is_some_and(|text| text.starts_with("HTTP/1.1"))
    );
}

#[tokio::test]
async fn closed_port_is_refused_by_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let key = KeyPair::generate().expect("a key");
    let connector = RusshConnector::new(address, "nobody", &key, HostKeyCheck::any());
    let tap = Tap::new(RunClock::start());
    let outcome = connector.connect(&LIMITS, &tap).await.err();
    assert_eq!(outcome, Some(AttemptOutcome::ConnectRefused));
    let trace = tap.trace();
    assert_eq!(trace.errno, Some(SocketError::ConnectionRefused));
    assert!(trace.connected.is_none() && trace.local_port.is_some() && trace.tcp.is_some());
}

mod classification {
    use std::io;

    use nix::errno::Errno;
    use proptest::prelude::*;

    use super::super::classify;
    use super::super::tap::{Tap, socket_error};
    use crate::clock::RunClock;
    use sshchurn_core::vocabulary::{AttemptOutcome, Close, GeneratorFault};

    #[test]
    fn local_errors_are_generator_faults() {
        for (errno, fault) in [
            (Errno::EMFILE, GeneratorFault::OpenFiles),
            (Errno::ENFILE, GeneratorFault::OpenFiles),
            (Errno::EADDRNOTAVAIL, GeneratorFault::EphemeralPorts),
            (Errno::ENOBUFS, GeneratorFault::Memory),
            (Errno::EACCES, GeneratorFault::Other),
        ] {
            let error = socket_error(&io::Error::from_raw_os_error(errno as i32));
            assert_eq!(
                classify::connect_error(&error),
                AttemptOutcome::GeneratorFault { fault }
            );
        }
    }

    #[test]
    fn reset_during_connect_is_a_refusal_by_the_server() {
        let error = socket_error(&io::Error::from_raw_os_error(Errno::ECONNRESET as i32));
        assert_eq!(
            classify::connect_error(&error),
            AttemptOutcome::BannerEof {
                close: Close::Reset
            }
        );
    }

    #[test]
    fn what_the_client_causes_itself_is_not_recorded_as_the_servers_doing() {
        let tap = Tap::new(RunClock::start());
        tap.ending();
        tap.end_of_file();
        tap.failed(&io::Error::from_raw_os_error(Errno::EPIPE as i32));
        let trace = tap.trace();
        assert!(!trace.saw_eof && trace.errno.is_none());
    }

    proptest! {
        #[test]
        fn identification_is_found_however_the_bytes_are_cut(
            before in proptest::collection::vec("[a-zA-Z0-9 ]{0,30}", 0..4),
            cuts in proptest::collection::vec(1_usize..9, 1..40),
        ) {
            let mut text: String = before.iter().map(|line| format!("{line}\r\n")).collect();
            text.push_str("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\u{1}binary");
            let tap = Tap::new(RunClock::start());
            let mut rest = text.as_bytes();
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                tap.received(now);
                rest = later;
            }
            let trace = tap.trace();
            prop_assert_eq!(trace.identification.as_deref(), Some("SSH-2.0-OpenSSH_9.2p1 Debian-2"));
            prop_assert_eq!(trace.bytes_in, text.len() as u64);
            prop_assert_eq!(trace.text_before.is_some(), !before.is_empty());
        }

        #[test]
        fn any_bytes_before_the_end_give_a_refusal_and_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..3000),
        ) {
            let tap = Tap::new(RunClock::start());
            for chunk in bytes.chunks(7) {
                tap.received(chunk);
            }
            tap.end_of_file();
            let trace = tap.trace();
            let outcome = classify::after_connect(&trace, "lost");
            if trace.identification.is_none() {
                prop_assert_eq!(outcome, AttemptOutcome::BannerEof { close: Close::Eof });
            }
        }
    }
}

#[tokio::test]
async fn a_held_connection_sends_nothing_and_ends_when_the_server_ends_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        stream
            .write_all(b"SSH-2.0-OpenSSH_9.2\r\nsome key exchange offer")
            .await
            .expect("written");
        ended.await.expect("told");
        let mut byte = [0_u8];
        stream.try_read(&mut byte).map_err(|error| error.kind())
    });
    let key = KeyPair::generate().expect("a key");
    let connector = RusshConnector::new(address, "nobody", &key, HostKeyCheck::any());
    let tap = Tap::new(RunClock::start());
    let Ok(mut held) = connector.hold(&LIMITS, &tap).await else {
        panic!("not admitted");
    };
    assert!(tap.trace().identified.is_some());
    end.send(()).expect("the server waits");
    let outcome = held.ended().await;
    assert_eq!(
        outcome,
        AttemptOutcome::KexFailed {
            failure: StageFailure::Lost { close: Close::Eof }
        }
    );
    assert_eq!(
        server.await.expect("no panic"),
        Err(std::io::ErrorKind::WouldBlock),
        "not a byte had come"
    );
    assert_eq!(tap.trace().bytes_out, 0);
}

#[tokio::test]
async fn a_refused_silent_connection_is_an_eof_with_its_text() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let _ = stream.write_all(b"Not allowed at this time\r\n").await;
    });
    let key = KeyPair::generate().expect("a key");
    let connector = RusshConnector::new(address, "nobody", &key, HostKeyCheck::any());
    let tap = Tap::new(RunClock::start());
    let refused = connector.hold(&LIMITS, &tap).await.err().expect("refused");
    assert_eq!(refused, AttemptOutcome::BannerEof { close: Close::Eof });
    assert_eq!(
        tap.trace().text_before.as_deref(),
        Some("Not allowed at this time")
    );
    server.await.expect("no panic");
}

/// The library says "failure" of both.
#[test]
fn login_without_an_answer_is_lost_and_one_with_an_answer_was_rejected() {
    let failed = |saw_eof, methods_named| {
        let trace = AttemptTrace {
            saw_eof,
            ..AttemptTrace::default()
        };
        match classify::not_let_in(&trace, methods_named) {
            AttemptOutcome::AuthFailed { failure } => failure,
            other => panic!("{other:?}"),
        }
    };
    let lost = StageFailure::Lost { close: Close::Eof };
    assert_eq!(failed(true, false), lost);
    // sshd hangs up after the last of its tries, and has said no before.
    assert_eq!(failed(true, true), StageFailure::Rejected);
    assert_eq!(failed(false, true), StageFailure::Rejected);
}
