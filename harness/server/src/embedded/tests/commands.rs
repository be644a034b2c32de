//! Sessions and commands of one client.

use super::*;

#[tokio::test]
async fn command_runs_with_output_errors_and_exit_code_relayed() {
    let server = Server::start(settings("10:30:100"), 0);
    let client = server.client().await;
    let outcome = client.exec("echo out; echo err >&2; exit 7").await;
    assert_eq!(
        outcome,
        Outcome {
            stdout: String::from("out\n"),
            stderr: String::from("err\n"),
            exit: Some(7),
            signal: None,
        }
    );
    server.stop().await;
}

#[tokio::test]
async fn command_runs_at_home_with_an_environment_of_its_own() {
    let server = Server::start(settings("10:30:100"), 0);
    let client = server.client().await;
    let home = server._home.path().to_string_lossy().into_owned();
    let outcome = client
        .exec("pwd -P; echo $HOME; echo $USER; echo ${CARGO_MANIFEST_DIR-unset}")
        .await;
    let canonical = std::fs::canonicalize(&home).expect("there");
    assert_eq!(
        outcome.stdout,
        format!("{}\n{home}\nsshchurn\nunset\n", canonical.display())
    );
    server.stop().await;
}

#[tokio::test]
async fn command_killed_by_a_signal_is_reported_as_such() {
    let server = Server::start(settings("10:30:100"), 0);
    let outcome = server.client().await.exec("kill -TERM $$").await;
    assert_eq!(
        (outcome.exit, outcome.signal.as_deref()),
        (None, Some("TERM"))
    );
    server.stop().await;
}

#[tokio::test]
async fn input_reaches_the_command() {
    let server = Server::start(settings("10:30:100"), 0);
    let outcome = server
        .client()
        .await
        .exec_with_input("cat", Some(b"hello\n"))
        .await;
    assert_eq!(outcome.stdout, "hello\n");
    assert_eq!(outcome.exit, Some(0));
    server.stop().await;
}

#[tokio::test]
async fn output_larger_than_the_channel_window_arrives_whole() {
    let server = Server::start(settings("10:30:100"), 0);
    let outcome = server
        .client()
        .await
        .exec("head -c 6000000 /dev/zero | tr '\\0' x")
        .await;
    assert_eq!(outcome.stdout.len(), 6_000_000);
    server.stop().await;
}

#[tokio::test]
async fn no_output_is_lost_when_commands_end_at_once() {
    let server = Server::start(settings("10:30:100"), 0);
    let client = server.client().await;
    for _ in 0..50 {
        assert_eq!(client.exec("echo a; echo b >&2").await.stdout, "a\n");
    }
    server.stop().await;
}

#[tokio::test]
async fn channel_closes_when_the_main_process_ends_although_a_job_holds_its_pipes() {
    let server = Server::start(settings("10:30:100"), 0);
    let client = server.client().await;
    // `wait` is not called: the job outlives the shell, with the shell's pipes.
    let outcome = client.exec("sleep 600 & echo $!").await;
    assert_eq!(outcome.exit, Some(0));
    assert!(is_alive(&outcome.stdout));
    client
        .exec(&format!("kill -9 {}", outcome.stdout.trim()))
        .await;
    server.stop().await;
}

#[tokio::test]
async fn sessions_beyond_max_sessions_are_refused_until_one_is_closed() {
    let server = Server::start(
        EmbeddedSettings {
            max_sessions: 2,
            ..settings("10:30:100")
        },
        0,
    );
    let client = server.client().await;
    let first = client.open().await.expect("within the limit");
    let _second = client.open().await.expect("within the limit");
    let refused = client.open().await.expect_err("beyond the limit");
    assert!(
        matches!(
            refused,
            russh::Error::ChannelOpenFailure(russh::ChannelOpenFailure::ConnectFailed)
        ),
        "{refused:?}"
    );
    assert!(server.lines().contains(&String::from("no more sessions")));
    first.close().await.expect("sent");
    client.open().await.expect("a session was closed");
    server.stop().await;
}

#[tokio::test]
async fn max_sessions_zero_lets_clients_in_and_refuses_every_channel() {
    let server = Server::start(
        EmbeddedSettings {
            max_sessions: 0,
            ..settings("10:30:100")
        },
        0,
    );
    let client = server.client().await;
    for _ in 0..3 {
        client.open().await.expect_err("no session is allowed");
    }
    server.stop().await;
}

#[tokio::test]
async fn finished_command_frees_its_session_before_the_client_sees_the_end() {
    let server = Server::start(
        EmbeddedSettings {
            max_sessions: 1,
            ..settings("10:30:100")
        },
        0,
    );
    let client = server.client().await;
    for _ in 0..20 {
        assert_eq!(client.exec("true").await.exit, Some(0));
    }
    server.stop().await;
}

#[tokio::test]
async fn stopping_the_server_ends_a_running_command() {
    let server = Server::start(settings("10:30:100"), 0);
    let client = server.client().await;
    let mut channel = client.open().await.expect("a channel");
    channel
        .exec(true, "echo $$; exec sleep 600")
        .await
        .expect("sent");
    let pid = first_output(&mut channel).await;
    assert!(is_alive(&pid));
    server.stop().await;
    assert!(!is_alive(&pid));
}

/// The first data of a running command.
pub(super) async fn first_output(channel: &mut russh::Channel<client::Msg>) -> String {
    soon("the first output", async {
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Data { data }) => {
                    return String::from_utf8(data.to_vec()).expect("text");
                }
                Some(_) => {}
                None => panic!("the channel closed without output"),
            }
        }
    })
    .await
}
