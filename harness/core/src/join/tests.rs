//! Attempts of every kind beside the lines they should have, those they must not have, and ports used twice.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ids::AttemptId;
use crate::instant::RunInstant;
use crate::reading::TcpReading;
use crate::scenario::client::host_of;
use crate::vocabulary::{AttemptOutcome, AttemptTrace, Close, Phase};

const RESET: AttemptOutcome = AttemptOutcome::BannerEof {
    close: Close::Reset,
};

/// TCP_INFO of a connection whose every byte the kernel dropped.
const UNHEARD: TcpReading = TcpReading {
    bytes_sent: 66,
    bytes_acked: 1,
    bytes_retrans: 44,
    bytes_received: 0,
    segments_retrans: 2,
    segments_in: 3,
};
/// … of one that the kernel took in and nobody served.
const QUEUED: TcpReading = TcpReading {
    bytes_sent: 22,
    bytes_acked: 23,
    bytes_retrans: 0,
    bytes_received: 0,
    segments_retrans: 0,
    segments_in: 1,
};
/// … of one that was reset at its first byte.
const CUT: TcpReading = TcpReading {
    bytes_sent: 22,
    bytes_acked: 1,
    bytes_retrans: 0,
    bytes_received: 0,
    segments_retrans: 0,
    segments_in: 1,
};

fn ms(ms: u64) -> RunInstant {
    RunInstant(ms * 1_000_000)
}

fn client(port: u16, at: u64, outcome: AttemptOutcome, tcp: Option<TcpReading>) -> ClientView {
    let connected = outcome != AttemptOutcome::ConnectTimeout;
    ClientView {
        attempt: AttemptId(at),
        task: Some(TaskId(0)),
        phase: Phase::Submit,
        ordinal: 1,
        started: ms(at),
        ended: ms(at + 100),
        trace: AttemptTrace {
            connect_called: Some(ms(at)),
            connected: connected.then(|| ms(at + 1)),
            local_port: Some(port),
            tcp,
            ..AttemptTrace::default()
        },
        outcome,
    }
}

fn drop_line(port: u16) -> String {
    format!("drop connection #100 from [127.0.0.1]:{port} on [127.0.0.1]:22 past MaxStartups")
}

fn from_line(port: u16) -> String {
    format!("Connection from 127.0.0.1 port {port} on 127.0.0.1 port 22")
}

fn login_line(port: u16) -> String {
    format!("Accepted publickey for runner from 127.0.0.1 port {port} ssh2")
}

fn logged(lines: &[(u64, String)]) -> Vec<SshdView> {
    let mut views = ServerViews::new(None, Arc::default());
    for (at, line) in lines {
        views.fold(ms(*at), line);
    }
    views.finish().1
}

fn joined(clients: Vec<ClientView>, lines: &[(u64, String)], means: Means) -> Vec<Attempt> {
    let server = logged(lines);
    join(
        Sides {
            clients,
            server,
            shared: None,
        },
        Views::ALL,
        means,
    )
    .attempts
}

fn accounts(attempts: &[Attempt]) -> Vec<Account> {
    attempts.iter().map(|attempt| attempt.account).collect()
}

#[test]
fn reset_of_a_connection_whose_data_was_never_acknowledged_is_the_kernels() {
    let attempts = joined(
        vec![client(4000, 0, RESET, Some(UNHEARD))],
        &[],
        Means::default(),
    );
    assert_eq!(accounts(&attempts), [Account::ListenQueueRefused]);
    assert_eq!(attempts[0].maker(), Some(Maker::ListenQueue));
}

#[test]
fn one_that_was_given_up_is_no_refusal_and_the_kernels_all_the_same() {
    let unanswered = TcpReading {
        bytes_sent: 0,
        bytes_acked: 0,
        bytes_retrans: 0,
        bytes_received: 0,
        segments_retrans: 3,
        segments_in: 0,
    };
    let attempts = joined(
        vec![
            client(4000, 0, AttemptOutcome::BannerTimeout, Some(UNHEARD)),
            client(4001, 0, AttemptOutcome::ConnectTimeout, Some(unanswered)),
            client(4002, 0, AttemptOutcome::Interrupted, Some(UNHEARD)),
        ],
        &[],
        Means::default(),
    );
    assert_eq!(accounts(&attempts), [Account::ListenQueueTimeout; 3]);
    assert!(attempts.iter().all(|attempt| attempt.maker().is_none()));
}

#[test]
fn of_a_client_that_sends_nothing_the_repeated_answer_to_its_syn_tells() {
    let silent = |segments_in| TcpReading {
        bytes_sent: 0,
        bytes_acked: 1,
        bytes_retrans: 0,
        bytes_received: 0,
        segments_retrans: 0,
        segments_in,
    };
    let attempts = joined(
        vec![
            client(4000, 0, AttemptOutcome::BannerTimeout, Some(silent(1))),
            client(4001, 0, AttemptOutcome::BannerTimeout, Some(silent(3))),
        ],
        &[],
        Means {
            accept_queue: 129,
            ..Means::default()
        },
    );
    assert_eq!(
        accounts(&attempts),
        [Account::InListenQueue, Account::ListenQueueTimeout]
    );
}

#[test]
fn a_line_outweighs_what_the_kernel_says() {
    let attempts = joined(
        vec![client(4000, 0, RESET, Some(UNHEARD))],
        &[(40, drop_line(4000))],
        Means::default(),
    );
    assert_eq!(accounts(&attempts), [Account::Agreed]);
    assert_eq!(attempts[0].maker(), Some(Maker::MaxStartups));
}

#[test]
fn refusal_that_was_acknowledged_and_has_no_line_is_nobodys() {
    for tcp in [None, Some(QUEUED), Some(CUT)] {
        let attempts = joined(vec![client(4000, 0, RESET, tcp)], &[], Means::default());
        assert_eq!(accounts(&attempts), [Account::ClientOnly], "{tcp:?}");
        assert_eq!(attempts[0].maker(), Some(Maker::Unknown));
    }
}

#[test]
fn a_queue_explains_no_more_than_it_holds() {
    let means = Means {
        accept_queue: 2,
        ..Means::default()
    };
    let waiting = |port| client(port, 0, AttemptOutcome::BannerTimeout, Some(QUEUED));
    let attempts = joined((4000..4003).map(waiting).collect(), &[], means);
    assert_eq!(
        accounts(&attempts),
        [
            Account::InListenQueue,
            Account::InListenQueue,
            Account::ClientOnly
        ]
    );
}

#[test]
fn reset_at_once_is_the_kernels_only_where_it_counts_one() {
    let inside_connect = ClientView {
        trace: AttemptTrace {
            connected: None,
            ..client(4001, 0, RESET, Some(CUT)).trace
        },
        ..client(4001, 0, RESET, Some(CUT))
    };
    let clients = vec![client(4000, 0, RESET, Some(CUT)), inside_connect];
    let means = |embryonic_resets| Means {
        embryonic_resets,
        ..Means::default()
    };
    assert_eq!(
        accounts(&joined(clients.clone(), &[], means(0))),
        [Account::ClientOnly; 2]
    );
    assert_eq!(
        accounts(&joined(clients.clone(), &[], means(1))),
        [Account::ListenQueueRefused, Account::ClientOnly]
    );
    assert_eq!(
        accounts(&joined(clients, &[], means(2))),
        [Account::ListenQueueRefused; 2]
    );
}

#[test]
fn resets_bound_nothing_unless_the_kernel_is_told_to_send_them() {
    use crate::reading::KernelSettings;
    let settings = |abort| KernelSettings {
        tcp_abort_on_overflow: abort,
        ..KernelSettings::default()
    };
    for (abort, expected) in [(Some(1), 7), (Some(0), 0), (None, 0)] {
        let means = Means::of(None, Some(&settings(abort)), Some(128), Some(7));
        assert_eq!(means.embryonic_resets, expected, "{abort:?}");
        assert_eq!(means.accept_queue, 129);
    }
}

#[test]
fn port_used_twice_is_told_apart_by_time() {
    let again = 20_000;
    let clients = vec![
        client(4000, 0, RESET, Some(UNHEARD)),
        client(4000, again, AttemptOutcome::Handshake, None),
        client(4000, 2 * again, RESET, None),
    ];
    let attempts = joined(
        clients,
        &[
            (again + 5, from_line(4000)),
            (again + 90, login_line(4000)),
            (2 * again + 5, drop_line(4000)),
        ],
        Means::default(),
    );
    assert_eq!(
        accounts(&attempts),
        [
            Account::ListenQueueRefused,
            Account::Agreed,
            Account::Agreed
        ]
    );
    let login = attempts[1].server.as_ref().expect("joined");
    assert!(login.accepted && login.seen == Seen::Admitted);
}

#[test]
fn line_read_late_still_belongs_to_the_attempt_that_fits() {
    // The reader fell behind: both lines are read after the second attempt from the port had begun.
    let clients = vec![
        client(4000, 0, RESET, None),
        client(4000, 500, AttemptOutcome::Handshake, None),
    ];
    let attempts = joined(
        clients,
        &[
            (600, drop_line(4000)),
            (600, from_line(4000)),
            (610, login_line(4000)),
        ],
        Means::default(),
    );
    assert_eq!(accounts(&attempts), [Account::Agreed; 2]);
}

#[test]
fn line_that_was_read_before_an_attempt_began_is_not_its() {
    let attempts = joined(
        vec![client(4000, 1_000, AttemptOutcome::Handshake, None)],
        &[(900, from_line(4000)), (900, login_line(4000))],
        Means::default(),
    );
    assert_eq!(
        accounts(&attempts),
        [Account::ClientOnly, Account::ServerOnly]
    );
}

#[test]
fn same_port_of_another_address_is_another_connection() {
    let mut from_here = client(4000, 0, AttemptOutcome::Handshake, None);
    from_here.trace.local_address = Some("127.0.0.2".parse().expect("an address"));
    let attempts = joined(
        vec![from_here],
        &[(5, from_line(4000)), (6, login_line(4000))],
        Means::default(),
    );
    assert_eq!(
        accounts(&attempts),
        [Account::ClientOnly, Account::ServerOnly]
    );
}

#[test]
fn login_without_the_line_that_announces_it_is_told() {
    let attempts = joined(
        vec![client(4000, 0, AttemptOutcome::Handshake, None)],
        &[(5, login_line(4000))],
        Means::default(),
    );
    assert_eq!(accounts(&attempts), [Account::ClientOnly]);
    let view = attempts[0].server.as_ref().expect("joined");
    assert!(view.accepted && view.seen == Seen::Unannounced);
}

/// A line of the connection from one port to one of the server's addresses.
fn from_to(port: u16, local: &str) -> String {
    format!("Connection from 127.0.0.1 port {port} on {local} port 22 rdomain \"lo\"")
}

#[test]
fn port_that_leads_to_two_addresses_at_once_is_two_connections() {
    let seen = |lines: &[String]| {
        let lines: Vec<(u64, String)> = (0..).zip(lines.iter().cloned()).collect();
        let views = logged(&lines);
        views
            .into_iter()
            .map(|view| (view.local.is_some(), view.seen, view.accepted, view.failed))
            .collect::<Vec<_>>()
    };
    let closed = "Connection closed by 127.0.0.1 port 9 [preauth]".to_owned();
    let goodbye = "Disconnected from user runner 127.0.0.1 port 9".to_owned();
    let both = [from_to(9, "127.64.0.1"), from_to(9, "127.64.0.2")];
    // Both log in, whichever line is whose; the end of the first says nothing of the second.
    let lines = [&both[..], &[login_line(9), goodbye.clone(), login_line(9)]].concat();
    assert_eq!(seen(&lines), [(true, Seen::Admitted, true, None); 2]);
    // One logs in and one leaves: which of them cannot be said, and so neither is anybody's.
    let left = Some(Unfinished::ClientLeft);
    let lines = [&both[..], &[login_line(9), closed.clone()]].concat();
    assert_eq!(
        seen(&lines),
        [
            (false, Seen::Admitted, true, None),
            (false, Seen::Admitted, false, left)
        ]
    );
    // The second begins while the first goes on, and the first ends before the second has logged in.
    let lines = [
        &both[..1],
        &[login_line(9)],
        &both[1..],
        &[goodbye.clone(), login_line(9)],
    ]
    .concat();
    assert_eq!(seen(&lines), [(true, Seen::Admitted, true, None); 2]);
    // One after the other from the same port is no riddle.
    let lines = [&both[..1], &[login_line(9), goodbye], &both[1..], &[closed]].concat();
    assert_eq!(
        seen(&lines),
        [
            (true, Seen::Admitted, true, None),
            (true, Seen::Admitted, false, left)
        ]
    );
}

#[test]
fn without_source_ports_no_line_is_anybodys() {
    let views = Views {
        by_port: false,
        ..Views::ALL
    };
    let server = logged(&[(5, drop_line(9))]);
    let clients = vec![client(4000, 0, RESET, None)];
    let attempts = join(
        Sides {
            clients,
            server,
            shared: None,
        },
        views,
        Means::default(),
    )
    .attempts;
    assert_eq!(accounts(&attempts), [Account::Agreed]);
    assert!(attempts[0].server.is_none());
}

proptest! {
    /// However often a port is used, with lines for some of its attempts: each line finds its own attempt when it was
    /// read before the next one began.
    #[test]
    fn prompt_lines_find_their_attempts(
        uses in proptest::collection::vec((0_u8..4, 0_u64..400), 1..12),
    ) {
        let mut clients = Vec::new();
        let mut lines = Vec::new();
        let mut expected = Vec::new();
        let mut at = 0;
        for (kind, lag) in uses {
            let (outcome, said): (AttemptOutcome, Vec<String>) = match kind {
                0 => (AttemptOutcome::Handshake, vec![from_line(7), login_line(7)]),
                1 => (RESET, vec![drop_line(7)]),
                2 => (AttemptOutcome::BannerTimeout, Vec::new()),
                _ => (AttemptOutcome::Held, vec![from_line(7)]),
            };
            clients.push(client(7, at, outcome, None));
            expected.push((!said.is_empty()).then_some(lines.len() as u64 + 1));
            lines.extend(said.into_iter().map(|line| (at + lag, line)));
            at += 500;
        }
        let attempts = joined(clients, &lines, Means { accept_queue: 100, ..Means::default() });
        let found: Vec<Option<u64>> = attempts
            .iter()
            .map(|attempt| attempt.server.as_ref().map(|view| view.line))
            .collect();
        prop_assert_eq!(found, expected);
    }

    /// Nobody is lost: every attempt and every connection in the log is in the result exactly once.
    #[test]
    fn everybody_is_in_the_result_once(
        clients in proptest::collection::vec((0_u16..4, 0_u64..3000, 0_u8..3), 0..20),
        lines in proptest::collection::vec((0_u16..5, 0_u64..3000, 0_u8..3), 0..20),
    ) {
        let clients: Vec<ClientView> = clients
            .into_iter()
            .map(|(port, at, kind)| {
                let outcome = [AttemptOutcome::Handshake, RESET, AttemptOutcome::BannerTimeout][usize::from(kind)].clone();
                client(port, at, outcome, None)
            })
            .collect();
        let mut lines = lines;
        lines.sort_by_key(|(_, at, _)| *at);
        let lines: Vec<(u64, String)> = lines
            .into_iter()
            .map(|(port, at, kind)| {
                let line = [from_line(port), drop_line(port), login_line(port)][usize::from(kind)].clone();
                (at, line)
            })
            .collect();
        let connections = logged(&lines).len();
        let count = clients.len();
        let attempts = joined(clients, &lines, Means::default());
        let seen = attempts.iter().filter(|attempt| attempt.server.is_some()).count();
        let ours = attempts.iter().filter(|attempt| attempt.client.is_some()).count();
        prop_assert_eq!((seen, ours), (connections, count));
        for attempt in &attempts {
            if let (Some(client), Some(view)) = (&attempt.client, &attempt.server) {
                prop_assert!(view.read_at >= client.begun());
                prop_assert_eq!(Some(view.port), client.trace.local_port);
            }
        }
    }
}

#[test]
fn lives_are_told_by_when_connect_was_called() {
    let mut late = client(4000, 0, AttemptOutcome::Handshake, None);
    late.trace.connect_called = Some(late.started + Duration::from_millis(50));
    assert_eq!(late.begun(), ms(50));
}

/// A login with the key of a task, `SHA256:0` and so on.
fn key_login_line(port: u16, task: u32) -> String {
    format!("{}: ED25519 SHA256:{task}", login_line(port))
}

/// A connection to the address of a task.
fn own_from_line(port: u16, task: u32) -> String {
    let host = host_of(TaskId(task));
    format!("Connection from 127.0.0.1 port {port} on {host} port 22")
}

/// Whose sshd's connections are, in the order of its log, when it is the only witness and four tasks have keys.
fn owners(lines: &[String]) -> Vec<Option<(u32, Told)>> {
    let keys: Vec<String> = (0..4).map(|task| format!("SHA256:{task}")).collect();
    let mut views = ServerViews::new(None, Arc::new(TaskKeys::new(&keys)));
    for (at, line) in (0..).zip(lines) {
        views.fold(ms(at), line);
    }
    let sides = Sides {
        clients: Vec::new(),
        server: views.finish().1,
        shared: None,
    };
    let joined = join(sides, Views::LOGGED, Means::default());
    joined
        .attempts
        .iter()
        .map(|attempt| Some((attempt.task?.0, attempt.told?)))
        .collect()
}

#[test]
fn key_tells_the_task_of_a_login_where_the_address_is_no_tasks_and_of_nothing_else() {
    let told = owners(&[
        from_line(1),
        key_login_line(1, 2),
        from_line(2),
        key_login_line(2, 9),
        drop_line(3),
        from_line(4),
        own_from_line(5, 1),
        key_login_line(5, 1),
        own_from_line(6, 3),
        key_login_line(6, 9),
        own_from_line(7, 3),
    ]);
    assert_eq!(
        told,
        [
            Some((2, Told::Key)),
            // A key that is no task's, a refusal, and one that has not logged in.
            None,
            None,
            None,
            Some((1, Told::Address)),
            Some((3, Told::Address)),
            Some((3, Told::Address)),
        ]
    );
}

#[test]
fn key_is_believed_before_the_address_and_one_that_others_use_tells_nothing_more() {
    let dropped_at = |port: u16, task: u32| {
        drop_line(port).replace("on [127.0.0.1]", &format!("on [{}]", host_of(TaskId(task))))
    };
    let told = owners(&[
        dropped_at(1, 0),
        dropped_at(2, 1),
        own_from_line(3, 0),
        key_login_line(3, 2),
        own_from_line(4, 0),
        key_login_line(4, 0),
    ]);
    assert_eq!(
        told,
        [
            // On task 0's address task 2 has logged in: who was refused there is not known.
            None,
            Some((1, Told::Address)),
            Some((2, Told::Key)),
            Some((0, Told::Address)),
        ]
    );
}

#[test]
fn of_two_connections_from_one_port_a_login_is_the_one_to_the_address_of_its_keys_task() {
    let told = owners(&[
        from_line(1),
        own_from_line(1, 3),
        key_login_line(1, 3),
        "Connection closed by 127.0.0.1 port 1 [preauth]".to_owned(),
    ]);
    assert_eq!(told, [None, Some((3, Told::Address))]);
}

#[test]
fn two_logins_from_one_port_of_which_only_one_key_is_a_tasks_leave_the_other_without_one() {
    let told = owners(&[
        own_from_line(1, 0),
        own_from_line(1, 1),
        key_login_line(1, 2),
        key_login_line(1, 9),
    ]);
    assert_eq!(told, [Some((2, Told::Key)), None]);
}

#[test]
fn on_somebody_elses_server_strangers_are_strangers_and_the_harnesss_own_marks_are_not() {
    let mut ours = client(4000, 0, AttemptOutcome::Handshake, None);
    ours.trace.local_address = Some("127.0.0.1".parse().expect("an address"));
    let from =
        |address: &str, port| format!("Connection from {address} port {port} on 127.0.0.1 port 22");
    // A stranger has the port of our attempt, from elsewhere; another has our address.
    let lines = [
        (5, from("127.0.0.2", 4000)),
        (6, from_line(4000)),
        (7, login_line(4000)),
        (8, from_line(4001)),
        (9, from_line(4002)),
        (10, login_line(4002)),
    ];
    for views in [
        Views::ALL,
        Views {
            drops: false,
            ..Views::ALL
        },
    ] {
        let mark = ("127.0.0.1".parse().expect("an address"), 4002);
        let sides = Sides {
            clients: vec![ours.clone()],
            server: logged(&lines),
            shared: Some(vec![mark]),
        };
        let joined = join(sides, views, Means::default());
        assert_eq!(
            accounts(&joined.attempts),
            [
                Account::Agreed,
                Account::AnotherClient,
                Account::AnotherClient,
                Account::LogMark
            ]
        );
        let of_the_run: Vec<u16> = joined.of_the_run().map(|view| view.port).collect();
        assert_eq!(of_the_run, [4000]);
    }
}

#[test]
fn lines_in_envelopes_are_the_same_connections_and_other_programs_lines_are_none() {
    let mut views = ServerViews::new(None, Arc::default()).in_envelopes();
    for line in [
        format!("Mar  6 06:31:31 host-a sshd[620]: {}", from_line(1)),
        format!(
            "2026-04-05T06:35:07+02:00 host-a sshd-session[1445]: {}",
            login_line(1)
        ),
        format!(
            "{{\"SYSLOG_IDENTIFIER\":\"sshd\",\"_PID\":\"7\",\"MESSAGE\":\"{}\"}}",
            drop_line(2)
        ),
        format!("Mar  6 06:31:31 host-a sudo[9]: {}", from_line(3)),
        from_line(4),
    ] {
        views.fold(ms(1), &line);
    }
    let (_, views, _) = views.finish();
    let seen: Vec<(u16, Seen, bool)> = views
        .iter()
        .map(|view| (view.port, view.seen, view.accepted))
        .collect();
    assert_eq!(
        seen,
        [
            (1, Seen::Admitted, true),
            (2, Seen::Dropped, false),
            (4, Seen::Admitted, false)
        ]
    );
}
