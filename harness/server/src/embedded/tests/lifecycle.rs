//! The target as the rest of the program uses it: started, described, asked, cleared, stopped.

use super::*;

async fn start(parent: &Path, sshd: SshdConfig) -> EmbeddedServer {
    start_with_keys(parent, sshd, &[]).await
}

async fn start_with_keys(parent: &Path, sshd: SshdConfig, keys: &[KeyPair]) -> EmbeddedServer {
    let request = ServerRequest {
        sshd,
        run_id: String::from("test"),
        ready_within: SOON,
        listen: ListenOn::OneAddress,
        task_keys: keys.into(),
        cores: None,
    };
    EmbeddedServer::start_in(&request, parent)
        .await
        .expect("started")
}

async fn log_in(target: &EmbeddedServer) -> Client {
    let endpoint = target.endpoint();
    Client::connect(endpoint.address, &endpoint.user, &endpoint.key)
        .await
        .expect("logged in")
}

/// Starts a detached job as the strategies do and returns its process id.
async fn start_job(target: &EmbeddedServer, client: &Client, name: &str) -> String {
    let jobs = &target.description().jobs_directory;
    let outcome = client
        .exec(&format!(
            "mkdir -p {jobs}/{name} && cd {jobs}/{name} && \
             {{ setsid sleep 600 >stdout.log 2>&1 </dev/null & echo $! >pid; cat pid; }}"
        ))
        .await;
    assert_eq!(outcome.exit, Some(0), "{outcome:?}");
    assert!(is_alive(&outcome.stdout));
    outcome.stdout
}

#[tokio::test]
async fn started_target_is_ready_idle_and_describes_itself_as_a_stand_in() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let target = start(parent.path(), sshd("10:30:100", &[("UseDNS", "no")])).await;
    let description = target.description();
    assert_eq!(description.kind, ServerKind::Embedded);
    assert_eq!(description.network_path, NetworkPath::Direct);
    assert_eq!(description.identification, server::IDENTIFICATION);
    assert_eq!(
        description.effective_max_startups.as_deref(),
        Some("10:30:100")
    );
    assert!(description.warnings[0].contains("not OpenSSH"));
    assert!(description.warnings[1].contains("`UseDNS no`"));
    assert!(target.endpoint().address.ip().is_loopback());
    assert_eq!(target.startups(), 0);
    assert_eq!(target.listener_pid(), None);
    assert_eq!(
        target.wait_idle(Duration::ZERO).await.expect("idle"),
        Idle::Proven
    );
    target.stop().await.expect("stopped");
}

#[tokio::test]
async fn wait_idle_names_the_connections_that_are_still_open() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let target = start(parent.path(), sshd("10:30:100", &[])).await;
    let client = log_in(&target).await;
    let _silent = Silent::connect(target.endpoint().address).await;
    let busy = target
        .wait_idle(Duration::from_millis(1))
        .await
        .expect_err("busy");
    assert!(
        busy.to_string()
            .contains("2 connections are open, 1 of them not authenticated"),
        "{busy}"
    );
    client.disconnect().await;
    drop(_silent);
    assert_eq!(target.wait_idle(SOON).await.expect("idle"), Idle::Proven);
    target.stop().await.expect("stopped");
}

fn log_of(target: &EmbeddedServer) -> String {
    std::fs::read_to_string(target.log.path()).expect("a log")
}

#[tokio::test]
async fn one_login_and_one_command_leave_the_lines_of_an_openssh_log() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let target = start(parent.path(), sshd("10:30:100", &[])).await;
    let before = log_of(&target);
    let client = log_in(&target).await;
    let client_port = client.port;
    client.exec("true").await;
    client.disconnect().await;
    target.wait_idle(SOON).await.expect("idle");
    let log = log_of(&target);
    let port = target.endpoint().address.port();
    let fingerprint = target
        .endpoint()
        .key
        .russh()
        .public_key()
        .fingerprint(russh::keys::HashAlg::Sha256);
    assert_eq!(
        log.strip_prefix(&before).expect("it only grows"),
        format!(
            "Connection from 127.0.0.1 port {client_port} on 127.0.0.1 port {port}\r\n\
             Accepted publickey for sshchurn from 127.0.0.1 port {client_port} ssh2: ED25519 {fingerprint}\r\n\
             Starting session: command for sshchurn from 127.0.0.1 port {client_port} id 0\r\n\
             Close session: user sshchurn from 127.0.0.1 port {client_port} id 0\r\n\
             Disconnected from user sshchurn 127.0.0.1 port {client_port}\r\n"
        )
    );
    assert!(fingerprint.to_string().starts_with("SHA256:"));
    target.stop().await.expect("stopped");
}

#[tokio::test]
async fn login_is_logged_with_the_key_that_it_used_and_a_key_that_nobody_named_is_refused() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let keys = [(); 3].map(|()| KeyPair::generate().expect("randomness"));
    let target = start_with_keys(parent.path(), sshd("10:30:100", &[]), &keys[..2]).await;
    let endpoint = target.endpoint();
    for key in [&keys[1], &keys[0], &*endpoint.key] {
        let before = log_of(&target);
        let client = Client::connect(endpoint.address, &endpoint.user, key).await;
        client.expect("logged in").disconnect().await;
        let log = log_of(&target);
        let said = format!("ssh2: ED25519 {}\r\n", key.fingerprint());
        let new = log.strip_prefix(&before).expect("it only grows");
        assert_eq!(new.matches("Accepted publickey").count(), 1, "{new}");
        assert!(new.contains(&said), "no {said} in {new}");
    }
    let stranger = Client::connect(endpoint.address, &endpoint.user, &keys[2]).await;
    assert!(stranger.is_none(), "a key of nobody's was accepted");
    target.stop().await.expect("stopped");
}

#[tokio::test]
async fn client_that_vanishes_before_authentication_is_logged_as_closed() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let target = start(parent.path(), sshd("10:30:100", &[])).await;
    let before = log_of(&target);
    let silent = Silent::connect(target.endpoint().address)
        .await
        .accepted()
        .expect("a slot");
    let port = silent.local_addr().expect("connected").port();
    drop(silent);
    target.wait_idle(SOON).await.expect("idle");
    let log = log_of(&target);
    let log = log.strip_prefix(&before).expect("it only grows");
    let last = log.lines().last().expect("lines");
    // With the server's identification unread, the client's close is a reset.
    assert!(
        last == format!("Connection reset by 127.0.0.1 port {port} [preauth]")
            || last == format!("Connection closed by 127.0.0.1 port {port} [preauth]"),
        "{last}"
    );
    target.stop().await.expect("stopped");
}

#[tokio::test]
async fn detached_job_outlives_channel_and_connection_and_is_listed_until_cleared() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let target = start(parent.path(), sshd("10:30:100", &[])).await;
    assert_eq!(
        target.job_directories().await.expect("listed"),
        Some(vec![])
    );
    let client = log_in(&target).await;
    let job = start_job(&target, &client, "af_b").await;
    let other = start_job(&target, &client, "af_a").await;
    client.disconnect().await;
    target.wait_idle(SOON).await.expect("idle");
    assert!(is_alive(&job) && is_alive(&other));
    let names: Vec<String> = target
        .job_directories()
        .await
        .expect("listed")
        .expect("available")
        .into_iter()
        .map(|directory| directory.name)
        .collect();
    assert_eq!(names, ["af_a", "af_b"]);
    target.clear_jobs().await.expect("cleared");
    assert!(!is_alive(&job) && !is_alive(&other));
    assert_eq!(
        target.job_directories().await.expect("listed"),
        Some(vec![])
    );
    target.stop().await.expect("stopped");
}

#[tokio::test]
async fn command_outlives_its_connection_and_clearing_but_not_stop() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let target = start(parent.path(), sshd("10:30:100", &[])).await;
    let client = log_in(&target).await;
    let mut channel = client.open().await.expect("a channel");
    channel
        .exec(true, "echo $$; exec sleep 600")
        .await
        .expect("sent");
    let pid = commands::first_output(&mut channel).await;
    client.disconnect().await;
    target.wait_idle(SOON).await.expect("idle");
    target.clear_jobs().await.expect("cleared");
    assert!(is_alive(&pid));
    target.stop().await.expect("stopped");
    assert!(!is_alive(&pid));
}

#[tokio::test]
async fn stop_leaves_neither_processes_nor_folder() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let target = start(parent.path(), sshd("10:30:100", &[])).await;
    let client = log_in(&target).await;
    let job = start_job(&target, &client, "af_job").await;
    // One more that is in no pid file and in no session of ours: it has forked twice.
    let orphan = client
        .exec("(setsid sh -c 'sleep 600 & echo $!' </dev/null 2>/dev/null)")
        .await
        .stdout;
    assert!(is_alive(&orphan));
    target.stop().await.expect("stopped");
    assert!(!is_alive(&job) && !is_alive(&orphan));
    assert_eq!(std::fs::read_dir(parent.path()).expect("there").count(), 0);
}

#[tokio::test]
async fn dropping_the_target_leaves_neither_processes_nor_folder() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let target = start(parent.path(), sshd("10:30:100", &[])).await;
    let client = log_in(&target).await;
    let job = start_job(&target, &client, "af_job").await;
    drop(target);
    assert!(!is_alive(&job));
    assert_eq!(std::fs::read_dir(parent.path()).expect("there").count(), 0);
}

#[tokio::test]
async fn stopped_server_closes_connections_that_are_open() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let target = start(parent.path(), sshd("10:30:100", &[])).await;
    let _client = log_in(&target).await;
    let mut silent = Silent::connect(target.endpoint().address)
        .await
        .accepted()
        .expect("a slot");
    soon("the stop", target.stop()).await.expect("stopped");
    let mut rest = Vec::new();
    let _ = soon("the end of the connection", silent.read_to_end(&mut rest)).await;
}

#[tokio::test]
async fn server_task_that_ends_unasked_is_reported_as_died() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let target = start(parent.path(), sshd("10:30:100", &[])).await;
    target.server.abort();
    assert!(matches!(
        soon("the end", target.died()).await,
        ServerError::Died { .. }
    ));
    assert!(matches!(
        target.wait_idle(SOON).await,
        Err(ServerError::Died { .. })
    ));
    assert!(matches!(target.stop().await, Err(ServerError::Died { .. })));
    assert_eq!(std::fs::read_dir(parent.path()).expect("there").count(), 0);
}

#[tokio::test]
async fn keyword_value_sshd_would_refuse_keeps_the_target_from_starting() {
    let parent = tempfile::tempdir().expect("temporary folder");
    let request = ServerRequest {
        sshd: sshd("10:30:100", &[("MaxSessions", "many")]),
        run_id: String::from("test"),
        ready_within: SOON,
        listen: ListenOn::OneAddress,
        task_keys: [].into(),
        cores: None,
    };
    let refused = EmbeddedServer::start_in(&request, parent.path()).await;
    assert!(matches!(refused, Err(ServerError::ConfigRefused { .. })));
    assert_eq!(std::fs::read_dir(parent.path()).expect("there").count(), 0);
}
