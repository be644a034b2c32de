//! Real and worded samples of sshd's log, release by release, and bytes that are no log at all.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::Admission;
use crate::scenario::MaxStartups;

const REAL_9_2: &[u8] = include_bytes!("fixtures/openssh-9.2-real.log");
const REAL_8_4: &[u8] = include_bytes!("fixtures/openssh-8.4-real.log");
const REAL_10_0: &[u8] = include_bytes!("fixtures/openssh-10.0-real.log");
const REAL_10_3: &[u8] = include_bytes!("fixtures/openssh-10.3-real.log");
const REAL_10_6: &[u8] = include_bytes!("fixtures/openssh-10.6-real.log");
const LIMITS_10_6: &[u8] = include_bytes!("fixtures/openssh-10.6-limits-real.log");
const CLASSIC_KEX_10_6: &[u8] = include_bytes!("fixtures/openssh-10.6-classic-kex-real.log");
const WORDED_9_8: &[u8] = include_bytes!("fixtures/openssh-9.8-worded.log");
const RARE: &[u8] = include_bytes!("fixtures/rare-worded.log");
const SYSLOG: &[u8] = include_bytes!("fixtures/syslog-worded.log");

fn count(log: &[u8], chunk: usize) -> ServerLogCounts {
    let mut parser = LogLines::new();
    let mut counts = ServerLogCounts::new(None);
    for part in log.chunks(chunk) {
        parser.feed(part, |line| {
            counts.fold(&parse_line(line));
        });
    }
    parser.finish(|line| {
        counts.fold(&parse_line(line));
    });
    counts
}

#[test]
fn a_real_log_of_9_2_is_counted_line_by_line() {
    let counts = count(REAL_9_2, 4096);
    assert_eq!(counts.lines, 81);
    assert_eq!(counts.unknown_samples, Vec::<String>::new());
    assert_eq!(counts.connections, 16);
    assert_eq!(counts.accepted, 5);
    assert_eq!(counts.server_drops(), 4);
    assert_eq!(counts.drops_by_slots, [(3, 3), (4, 1)].into());
    assert!(counts.every_drop_forced);
    assert_eq!(counts.authentication_failures, 1);
    assert_eq!(counts.sessions_started, 5);
    assert_eq!(counts.sessions_refused, 1);
    assert_eq!(counts.restarts, 1);
    // p 50 once (r 81), p 75 four times (r 8, 52, 47 refused, r 88 admitted).
    assert_eq!(counts.draws, [(50, (1, 0)), (75, (4, 3))].into());
}

/// Lines of a log by what they say, for the kinds that are not counted.
fn kinds(log: &[u8]) -> BTreeMap<&'static str, u32> {
    use ServerLogMessage as M;
    let mut kinds = BTreeMap::new();
    let mut parser = LogLines::new();
    parser.feed(log, |line| {
        let kind = match parse_line(line).message {
            M::Stopped => "stopped",
            M::Restarting => "restarting",
            M::ThrottlingBegan => "throttling began",
            M::ThrottlingContinues { .. } => "throttling continues",
            M::ThrottlingEnded { dropped: 16 } => "throttling ended after 16",
            M::ThrottlingEnded { .. } => "throttling ended",
            M::InvalidUser { .. } => "invalid user",
            M::Prohibited { .. } => "prohibited",
            M::TooManyAuthenticationFailures => "too many failures",
            M::SessionEnded { .. } => "session ended",
            M::ReceivedDisconnect { .. } => "received disconnect",
            M::Disconnected { .. } => "disconnected",
            M::ConnectionEnded { reset, .. } if reset => "connection reset",
            M::ConnectionEnded { .. } => "connection closed",
            M::LeftBeforeIdentification { reset } if reset => "reset before identification",
            M::LeftBeforeIdentification { .. } => "left before identification",
            M::ProtocolError { .. } => "protocol error",
            M::Incidental => "incidental",
            M::Penalised { active: false, .. } => "penalty deferred",
            _ => return,
        };
        *kinds.entry(kind).or_default() += 1;
    });
    kinds
}

/// What the releases have in common in the script of situations (`fixtures/README.md`).
fn assert_script(counts: &ServerLogCounts, lines: u64, connections: u64, accepted: u64) {
    assert_eq!(counts.unknown_samples, Vec::<String>::new());
    assert_eq!((counts.lines, counts.unknown_lines), (lines, 0));
    assert_eq!(counts.connections, connections);
    assert_eq!(counts.accepted, accepted);
    assert_eq!(counts.sessions_started, accepted);
    assert_eq!(counts.sessions_refused, 1);
    assert_eq!(
        (
            counts.fork_failures,
            counts.pipe_failures,
            counts.accept_failures
        ),
        (0, 0, 0)
    );
    assert_eq!(counts.wrong_draws, 0);
}

#[test]
fn a_real_log_of_8_4_has_every_drop_and_no_draw_and_no_expired_login() {
    let counts = count(REAL_8_4, 4096);
    assert_script(&counts, 91, 17, 4);
    assert_eq!(counts.drops_by_slots, [(4, 15), (5, 1)].into());
    assert_eq!(counts.draws, BTreeMap::new());
    assert!(!counts.every_drop_forced, "8.4 has no LogVerbose");
    // Five logins expired; the signal handler of this build does not log it.
    assert_eq!(counts.grace_timeouts, 0);
    assert_eq!(counts.authentication_failures, 2);
    assert_eq!(counts.restarts, 2);
    assert_eq!(
        kinds(REAL_8_4),
        [
            ("connection closed", 4),
            ("connection reset", 2),
            ("disconnected", 3),
            ("incidental", 18),
            ("invalid user", 1),
            ("left before identification", 2),
            ("protocol error", 3),
            ("received disconnect", 3),
            ("reset before identification", 1),
            ("restarting", 1),
            ("session ended", 2),
            ("stopped", 1),
            ("throttling began", 1),
            ("throttling ended after 16", 1),
            ("too many failures", 2),
        ]
        .into()
    );
}

/// The causes of a release's drops under the script's own rule, `MaxStartups 3:50:5`.
fn causes(log: &[u8], per_source: bool) -> DropCounts {
    let mut counts = ServerLogCounts::new(Some(DropRule {
        max_startups: Admission::new(MaxStartups::new(3, 50, 5).expect("sshd takes it")),
        per_source,
    }));
    let mut parser = LogLines::new();
    parser.feed(log, |line| {
        counts.fold(&parse_line(line));
    });
    assert_eq!(counts.wrong_draws, 0, "{:?}", counts.wrong_draw_samples);
    counts.drops
}

/// One penalty of each kind; before 10.3 an unknown user earns the one for not attempting authentication.
fn penalties(release: &str) -> BTreeMap<String, u64> {
    let (noauth, invalid) = if release == "10.0" { (2, 0) } else { (1, 1) };
    [
        ("crash", 1),
        ("authfail", 1),
        ("noauth", noauth),
        ("invaliduser", invalid),
        ("grace-exceeded", 1),
        ("refuseconnection", 1),
    ]
    .into_iter()
    .filter(|(_, count)| *count > 0)
    .map(|(reason, count)| (reason.to_owned(), count))
    .collect()
}

#[test]
fn real_logs_of_10_0_10_3_and_10_6_are_counted_line_by_line() {
    for (release, log, lines, by_slots, draws) in [
        (
            "10.0",
            REAL_10_0,
            116,
            vec![(2, 1), (4, 4), (5, 1)],
            vec![(50, (1, 0)), (75, (5, 4))],
        ),
        (
            "10.3",
            REAL_10_3,
            115,
            vec![(2, 1), (3, 3), (4, 1), (5, 1)],
            vec![(50, (4, 3)), (75, (2, 1))],
        ),
        (
            "10.6",
            REAL_10_6,
            112,
            vec![(2, 1), (4, 3), (5, 1)],
            vec![(50, (1, 0)), (75, (4, 3))],
        ),
    ] {
        let counts = count(log, 4096);
        assert_script(&counts, lines, 24, 3);
        assert_eq!(
            counts.drops_by_slots,
            by_slots.into_iter().collect(),
            "{release}"
        );
        assert_eq!(counts.draws, draws.into_iter().collect(), "{release}");
        assert!(counts.every_drop_forced, "{release}");
        assert_eq!(counts.rate_limited_drops, 0, "{release}");
        // Five silent connections, two of the second server, one of the third.
        assert_eq!(counts.grace_timeouts, 8, "{release}");
        assert_eq!(counts.authentication_failures, 3, "{release}");
        assert_eq!(
            (counts.crashes, counts.penalties_activated),
            (1, 6),
            "{release}"
        );
        assert_eq!(counts.restarts, 4, "{release}");
        assert_eq!(counts.drops.penalties, penalties(release), "{release}");
        let kinds = kinds(log);
        for (kind, expected) in [
            ("prohibited", 1),
            ("invalid user", 2),
            ("left before identification", 3),
            ("reset before identification", 1),
            ("protocol error", 3),
            ("restarting", 1),
            ("stopped", 3),
            ("received disconnect", 2),
            ("disconnected", 2),
        ] {
            assert_eq!(kinds.get(kind), Some(&expected), "{release} {kind}");
        }
        for gone in ["throttling began", "throttling ended", "penalty deferred"] {
            assert_eq!(kinds.get(gone), None, "{release} {gone}");
        }
    }
}

#[test]
fn drops_of_a_real_log_are_told_apart_by_slots_and_draw() {
    for (release, log, drawn) in [
        ("10.0", REAL_10_0, 4),
        ("10.3", REAL_10_3, 4),
        ("10.6", REAL_10_6, 3),
    ] {
        let drops = causes(log, true);
        assert_eq!(drops.max_startups_draw, drawn, "{release}");
        assert_eq!(drops.max_startups_full, 1, "{release}");
        assert_eq!(drops.per_source_max_startups, 1, "{release}");
        assert_eq!(drops.max_startups_or_per_source, 0, "{release}");
    }
    let drops = causes(REAL_8_4, false);
    assert_eq!((drops.max_startups_draw, drops.max_startups_full), (15, 1));
}

#[test]
fn rate_limiter_of_10_6_holds_drops_back_and_says_how_many() {
    let counts = count(LIMITS_10_6, 4096);
    assert_eq!(counts.unknown_samples, Vec::<String>::new());
    assert_eq!((counts.lines, counts.server_drops()), (25, 4));
    // Nine were refused.
    assert_eq!(counts.rate_limited_drops, 5);
    assert!(!counts.every_drop_forced);
    assert_eq!(
        (counts.connections, counts.accepted, counts.sessions_started),
        (3, 2, 1)
    );
}

#[test]
fn warning_of_10_6_about_a_classic_key_exchange_is_known() {
    let counts = count(CLASSIC_KEX_10_6, 4096);
    assert_eq!(counts.unknown_samples, Vec::<String>::new());
    assert_eq!(
        (counts.lines, counts.connections, counts.accepted),
        (29, 4, 3)
    );
    assert_eq!(counts.server_drops(), 0);
}

#[test]
fn the_size_of_chunks_makes_no_difference() {
    for log in [REAL_8_4, REAL_9_2, REAL_10_0, REAL_10_3, REAL_10_6] {
        for chunk in [1, 2, 7, 100] {
            assert_eq!(count(log, chunk), count(log, 1 << 20));
        }
    }
}

#[test]
fn lines_that_are_hard_to_bring_about_are_known() {
    let counts = count(RARE, 4096);
    assert_eq!(counts.unknown_samples, Vec::<String>::new());
    assert_eq!(counts.lines, 10);
    assert_eq!((counts.fork_failures, counts.pipe_failures), (1, 1));
    assert_eq!(counts.grace_timeouts, 1);
    assert_eq!(counts.rate_limited_drops, 12);
    assert_eq!(counts.penalties_activated, 0);
    assert_eq!(
        counts.drops.penalties,
        [("table-full".to_owned(), 1), ("other".to_owned(), 1)].into()
    );
    assert_eq!(
        kinds(RARE),
        [
            ("connection reset", 1),
            ("incidental", 1),
            ("penalty deferred", 1),
            ("throttling continues", 1)
        ]
        .into()
    );
}

#[test]
fn drops_of_9_8_are_split_by_cause() {
    let counts = count(WORDED_9_8, 4096);
    assert_eq!(counts.drops.max_startups_or_per_source, 2);
    assert_eq!(
        counts.drops.penalties,
        [("authfail".to_owned(), 1), ("grace-exceeded".to_owned(), 1)].into()
    );
    assert_eq!(counts.grace_timeouts, 1);
    assert_eq!(counts.pipe_failures, 1);
    assert_eq!(counts.crashes, 2);
    assert_eq!(counts.penalties_activated, 1);
    assert_eq!(counts.unknown_samples, Vec::<String>::new());
}

#[test]
fn syslog_lines_are_read_through_their_prefix() {
    let counts = count(SYSLOG, 4096);
    assert_eq!(
        (counts.lines, counts.connections, counts.accepted),
        (6, 1, 1)
    );
    assert_eq!(counts.drops.max_startups_or_per_source, 1);
    assert!(counts.every_drop_forced);
    assert_eq!((counts.restarts, counts.pipe_failures), (1, 1));
    assert_eq!(counts.unknown_samples, Vec::<String>::new());
}

#[test]
fn a_tag_gives_process_and_severity() {
    let event = parse_line(
        "debug3: sshd.c:drop_connection():622 (bin=sshd, pid=77): drop connection #10 from [::1]:5 on [::1]:22 Maxstartups",
    );
    assert_eq!(event.severity, Severity::Debug(3));
    assert_eq!((event.pid, event.forced), (Some(77), true));
    assert_eq!(
        event.message,
        ServerLogMessage::Drop {
            slots: 10,
            source: Peer {
                address: "::1",
                port: 5
            },
            local: Peer {
                address: "::1",
                port: 22
            },
            cause: DropCause::MaxStartups,
        }
    );
}

#[test]
fn unknown_lines_are_kept_and_counted() {
    let counts = count(
        b"something new\r\nConnection from nowhere\r\n\r\nhalf a line",
        3,
    );
    assert_eq!((counts.lines, counts.unknown_lines), (3, 3));
    assert_eq!(
        counts.unknown_samples,
        ["something new", "Connection from nowhere", "half a line"]
    );
}

#[test]
fn a_user_name_cannot_forge_a_drop_or_a_login() {
    let forged = "Invalid user x sshd[1]: drop connection #9 from [1.1.1.1]:9 on [2.2.2.2]:22 past MaxStartups from 127.0.0.1 port 77";
    assert_eq!(
        parse_line(forged).message,
        ServerLogMessage::InvalidUser {
            source: Peer {
                address: "127.0.0.1",
                port: 77
            }
        }
    );
    let forged = "Failed publickey for invalid user a from 9.9.9.9 port 1 ssh2 from 127.0.0.1 port 78 ssh2: ED25519 SHA256:x";
    assert_eq!(
        parse_line(forged).message,
        ServerLogMessage::AuthenticationFailed {
            source: Peer {
                address: "127.0.0.1",
                port: 78
            },
            invalid_user: true
        }
    );
}

#[test]
fn a_line_without_end_cannot_grow_the_parser() {
    let mut parser = LogLines::new();
    for _ in 0..100 {
        parser.feed(&[b'x'; 4096], |_| panic!("no line is complete"));
    }
    let mut lengths = Vec::new();
    parser.feed(b"\n", |line| {
        if let ServerLogMessage::Unknown { text } = parse_line(line).message {
            lengths.push(text.len());
        }
    });
    assert_eq!(lengths, [MAX_LINE_BYTES]);
}

#[test]
fn numbers_no_sshd_would_print_cannot_make_the_counts_grow() {
    let mut log = String::new();
    for slots in 65_530..65_560 {
        log.push_str(&format!(
            "p {slots}, r 1\ndrop connection #{slots} from [::1]:5 on [::1]:22 Maxstartups\n"
        ));
    }
    let counts = count(log.as_bytes(), 4096);
    assert_eq!(counts.draws, [].into());
    assert_eq!(counts.server_drops(), 30);
    assert_eq!(
        counts.drops_by_slots.keys().max(),
        Some(&65_535),
        "{:?}",
        counts.drops_by_slots
    );
    assert_eq!(counts.drops_by_slots[&65_535], 25);
}

proptest! {
    #[test]
    fn hopping_finds_what_the_standard_search_finds(text in "[ a:,é]{0,12}", marker in "[ :,][ a:]{0,2}") {
        prop_assert_eq!(message::at_first(&text, &marker), text.split_once(marker.as_str()));
        prop_assert_eq!(message::at_last(&text, &marker), text.rsplit_once(marker.as_str()));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_no_line_is_lost(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        chunk in 1usize..64,
    ) {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii_end().is_empty()).count();
        let counts = count(&bytes, chunk);
        prop_assert_eq!(counts.lines, lines as u64);
    }

    #[test]
    fn broken_pieces_of_real_lines_never_panic(cut in 0usize..6000, length in 0usize..400, noise in any::<u8>()) {
        let from = cut.min(REAL_9_2.len());
        let mut piece = REAL_9_2[from..(from + length).min(REAL_9_2.len())].to_vec();
        if let Some(byte) = piece.get_mut(length / 2) {
            *byte = noise;
        }
        count(&piece, 13);
    }

    #[test]
    fn any_text_after_a_known_beginning_never_panics(rest in ".{0,80}", pick in 0usize..12) {
        let beginnings = [
            "drop connection #", "Connection from ", "Accepted publickey for ", "Failed none for ",
            "Received disconnect from ", "Starting session: ", "Timeout before authentication for ",
            "sshd.c:f():", "Nov 24 07:18:00 h sshd[1]: ", "exited MaxStartups throttling after ", "p ",
            "Server listening on ",
        ];
        let _ = parse_line(&format!("{}{rest}", beginnings[pick]));
    }
}

#[test]
fn key_of_a_login_is_sshds_own_last_word_and_neither_a_users_name_nor_a_certificates() {
    let login = |rest: &str| {
        let line = format!("Accepted {rest}");
        match parse_line(&line).message {
            ServerLogMessage::Authenticated { source, key, .. } => {
                (source.port, key.map(str::to_owned))
            }
            other => panic!("{other:?}"),
        }
    };
    let key = |text: &str| Some(text.to_owned());
    for (rest, expected) in [
        (
            "publickey for runner from 127.0.0.1 port 5 ssh2: ED25519 SHA256:a+b/c",
            key("SHA256:a+b/c"),
        ),
        (
            "publickey for x from 10.0.0.9 port 9 ssh2: ED25519 SHA256:stolen from 127.0.0.1 port 5 ssh2: RSA MD5:0a:1b",
            key("MD5:0a:1b"),
        ),
        ("password for runner from 127.0.0.1 port 5 ssh2", None),
        (
            "publickey for runner from 127.0.0.1 port 5 ssh2: ED25519-CERT SHA256:a ID SHA256:b (serial 0) CA ED25519 SHA256:c",
            None,
        ),
    ] {
        assert_eq!(login(rest), (5, expected), "{rest}");
    }
}

#[test]
fn penalties_tell_whom_they_shut_out_and_for_how_long() {
    let told = |line: &'static str| match parse_line(line).message {
        ServerLogMessage::Penalised {
            active,
            source,
            length,
        } => (active, source, length.map(|length| length.as_millis())),
        other => panic!("{other:?}"),
    };
    // OpenSSH 10.0 and 10.6.
    for (line, expected) in [
        (
            "srclimit_penalise: ipv4: new 127.0.0.1/32 deferred penalty of 10 seconds for penalty: exceeded LoginGraceTime",
            (false, Some("127.0.0.1"), Some(10_000)),
        ),
        (
            "srclimit_penalise: 127.1.1.2/32: activating ipv4 penalty of 19 seconds for penalty: failed authentication",
            (true, Some("127.1.1.2"), Some(19_000)),
        ),
        (
            "srclimit_penalise: ipv6: new fe80::1/128 active penalty of 86400.000 seconds for penalty: caused crash",
            (true, Some("fe80::1"), Some(86_400_000)),
        ),
        (
            "srclimit_penalise: 127.1.1.2/32: activating ipv4 penalty of 16.873 seconds for penalty: failed authentication",
            (true, Some("127.1.1.2"), Some(16_873)),
        ),
        (
            "srclimit_penalise: ipv4 penalty table full, cannot penalise 127.0.0.1/32 for penalty: caused crash",
            (false, None, None),
        ),
    ] {
        assert_eq!(told(line), expected, "{line}");
    }
}

#[test]
fn look_up_of_keys_by_a_command_is_told_once_however_its_line_is_tagged() {
    let command =
        "AuthorizedKeysCommand command \"/bin/sh /etc/keys.sh\" running as nobody (flags 0x6)";
    for line in [
        format!("misc.c:subprocess():2513 (pid=12): {command}"),
        format!("debug3: subprocess: {command}"),
    ] {
        assert_eq!(
            parse_line(&line).message,
            ServerLogMessage::KeyCommand,
            "{line}"
        );
    }
    assert_eq!(
        parse_line("misc.c:subprocess():2648 (pid=12): AuthorizedKeysCommand pid 77").message,
        ServerLogMessage::Incidental
    );
    // What goes wrong with it is not passed over.
    assert!(matches!(
        parse_line("AuthorizedKeysCommand /bin/sh failed, status 1").message,
        ServerLogMessage::Unknown { .. }
    ));
}
