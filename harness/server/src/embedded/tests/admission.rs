//! Who gets a slot, how long it is held, and what the log says of it.

use super::*;
use sshchurn_core::model::BurstDistribution;

#[tokio::test]
async fn connection_after_the_last_slot_is_refused_with_text_and_without_identification() {
    let server = Server::start(settings("5:100:5"), 0);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(
            Silent::connect(server.address)
                .await
                .accepted()
                .expect("a slot"),
        );
    }
    assert_eq!(server.gauges.startups(), 5);
    let Silent::Refused(bytes) = Silent::connect(server.address).await else {
        panic!("the sixth got a slot");
    };
    assert_eq!(bytes, server::REFUSAL_TEXT.as_bytes());
    assert_eq!(
        server.gauges.connections(),
        5,
        "a refused connection is not served"
    );
    server.stop().await;
}

#[tokio::test]
async fn refused_client_that_spoke_first_sees_an_end_or_a_reset_and_never_an_identification() {
    let server = Server::start(settings("1:100:1"), 0);
    let _held = Silent::connect(server.address)
        .await
        .accepted()
        .expect("a slot");
    for _ in 0..20 {
        let mut socket = TcpStream::connect(server.address).await.expect("connected");
        // May fail: the server may have closed by now.
        let _ = socket.write_all(b"SSH-2.0-test\r\n").await;
        let mut bytes = Vec::new();
        let end = soon("the end of the connection", socket.read_to_end(&mut bytes)).await;
        if let Err(error) = end {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        assert!(
            server::REFUSAL_TEXT.as_bytes().starts_with(&bytes),
            "{:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn slot_is_given_back_when_the_client_goes_away() {
    let server = Server::start(settings("1:100:1"), 0);
    let held = Silent::connect(server.address)
        .await
        .accepted()
        .expect("a slot");
    assert!(Silent::connect(server.address).await.accepted().is_none());
    drop(held);
    server.startups_become(0).await;
    assert!(Silent::connect(server.address).await.accepted().is_some());
    server.stop().await;
}

#[tokio::test]
async fn slot_is_given_back_when_authentication_succeeds() {
    let server = Server::start(settings("1:100:1"), 0);
    let _first = server.client().await;
    assert_eq!(server.gauges.startups(), 0);
    let _second = server.client().await;
    assert_eq!(server.gauges.connections(), 2);
    server.stop().await;
}

#[tokio::test]
async fn login_grace_time_closes_who_is_silent_and_nobody_who_is_authenticated() {
    // Longer than a login takes on a machine that is busy.
    let grace = Duration::from_secs(2);
    let server = Server::start(
        EmbeddedSettings {
            login_grace_time: Some(grace),
            ..settings("10:100:10")
        },
        0,
    );
    let client = server.client().await;
    let mut silent = Silent::connect(server.address)
        .await
        .accepted()
        .expect("a slot");
    let port = silent.local_addr().expect("connected").port();
    let connected = tokio::time::Instant::now();
    // Both ways of ending are sshd's: it depends on whether the server has unread bytes.
    let mut rest = Vec::new();
    let _ = soon("the end of the grace time", silent.read_to_end(&mut rest)).await;
    // The timer started at accept, a moment before this clock.
    assert!(connected.elapsed() > grace / 2);
    server.startups_become(0).await;
    assert_eq!(client.exec("echo here").await.stdout, "here\n");
    assert!(server.lines().contains(&format!(
        "Timeout before authentication for 127.0.0.1 port {port}"
    )));
    server.stop().await;
}

#[tokio::test]
async fn client_with_another_key_or_user_is_not_let_in() {
    let server = Server::start(settings("10:30:100"), 0);
    let stranger = KeyPair::generate().expect("randomness");
    assert!(
        Client::connect(server.address, USER, &stranger)
            .await
            .is_none()
    );
    assert!(
        Client::connect(server.address, "root", &server.key)
            .await
            .is_none()
    );
    server.startups_become(0).await;
    let lines = server.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("Failed publickey for sshchurn from "))
    );
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("Failed publickey for invalid user root from "))
    );
    server.stop().await;
}

/// Connections accepted of a burst of silent clients, with the log checked line by line.
async fn accepted_of_stalled_burst(max_startups: &str, connections: u32, seed: u64) -> u32 {
    let server = Server::start(settings(max_startups), seed);
    let mut held = Vec::new();
    for _ in 0..connections {
        held.extend(Silent::connect(server.address).await.accepted());
    }
    let accepted = u32::try_from(held.len()).expect("few");
    assert_eq!(server.gauges.startups(), accepted);

    let admission = server_admission(max_startups);
    let (mut slots, mut dropped) = (0, 0);
    let mut refused_by_draw = false;
    for line in server.lines() {
        if let Some(numbers) = line.strip_prefix("debug1: should_drop_connection: p ") {
            let (percent, draw) = numbers.split_once(", r ").expect("two numbers");
            let percent: u32 = percent.parse().expect("a number");
            assert_eq!(admission.drawn_against(slots), Some(percent));
            refused_by_draw = draw.parse::<u32>().expect("a number") < percent;
        } else if line.starts_with("Connection from ") {
            assert!(!refused_by_draw);
            slots += 1;
        } else if line.starts_with(&format!("drop connection #{slots} from [127.0.0.1]:")) {
            assert!(refused_by_draw || slots >= admission.max_startups().full);
            refused_by_draw = false;
            dropped += 1;
        } else {
            panic!("unexpected line: {line}");
        }
    }
    assert_eq!(slots, accepted);
    assert_eq!(
        dropped,
        connections - accepted,
        "one line for every refusal"
    );
    server.stop().await;
    accepted
}

fn server_admission(max_startups: &str) -> Admission {
    settings(max_startups).admission
}

#[tokio::test]
async fn bursts_of_silent_clients_are_accepted_as_the_model_says() {
    const CONNECTIONS: u32 = 50;
    const BURSTS: u32 = 40;
    let mut total = 0;
    for seed in 0..BURSTS {
        total += accepted_of_stalled_burst("10:30:100", CONNECTIONS, u64::from(seed)).await;
    }
    let model = BurstDistribution::of_stalled_burst(
        CONNECTIONS,
        "10:30:100".parse().expect("a valid MaxStartups value"),
    );
    let mean = f64::from(total) / f64::from(BURSTS);
    let tolerance = 4.0 * model.standard_deviation() / f64::from(BURSTS).sqrt();
    assert!(
        (mean - model.mean_accepted()).abs() <= tolerance,
        "mean {mean} of {BURSTS} bursts, the model says {} ± {tolerance}",
        model.mean_accepted()
    );
}

#[tokio::test]
async fn same_seed_refuses_the_same_connections() {
    let first = accepted_of_stalled_burst("5:50:20", 30, 7).await;
    assert_eq!(accepted_of_stalled_burst("5:50:20", 30, 7).await, first);
}
