//! Real and worded samples of sshd's log, release by release, and bytes that are no log at all.

use proptest::prelude::*;

use super::*;

const REAL_9_2: &[u8] = include_bytes!("fixtures/openssh-9.2-real.log");
const WORDED_8_4: &[u8] = include_bytes!("fixtures/openssh-8.4-worded.log");
const WORDED_9_8: &[u8] = include_bytes!("fixtures/openssh-9.8-worded.log");
const WORDED_10_0: &[u8] = include_bytes!("fixtures/openssh-10.0-worded.log");
const WORDED_10_6: &[u8] = include_bytes!("fixtures/openssh-10.6-worded.log");

fn count(log: &[u8], chunk: usize) -> ServerLogCounts {
    let mut parser = ServerLogParser::new();
    let mut counts = ServerLogCounts::new(None);
    for part in log.chunks(chunk) {
        parser.feed(part, |event| counts.fold(event));
    }
    parser.finish(|event| counts.fold(event));
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

#[test]
fn the_size_of_chunks_makes_no_difference() {
    for chunk in [1, 2, 7, 100] {
        assert_eq!(count(REAL_9_2, chunk), count(REAL_9_2, 1 << 20));
    }
}

#[test]
fn drops_of_8_4_are_read_without_tags() {
    let counts = count(WORDED_8_4, 4096);
    assert_eq!(counts.server_drops(), 3);
    assert!(!counts.every_drop_forced);
    assert_eq!(counts.grace_timeouts, 1);
    assert_eq!(counts.fork_failures, 1);
    assert_eq!(counts.unknown_samples, Vec::<String>::new());
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
fn drops_that_10_0_rate_limits_are_read_from_their_forced_lines() {
    let counts = count(WORDED_10_0, 4096);
    assert_eq!(counts.drops.max_startups_or_per_source, 4);
    assert_eq!(
        counts
            .ports
            .iter()
            .filter(|(_, lines)| lines.drops > 0)
            .map(|(port, _)| *port)
            .collect::<Vec<_>>(),
        [40001, 40002, 40003, 40004]
    );
    assert!(counts.every_drop_forced);
    assert_eq!(counts.rate_limited_drops, 37);
    assert_eq!(counts.draws, [(30, (1, 1))].into());
    assert_eq!(counts.unknown_samples, Vec::<String>::new());
}

#[test]
fn syslog_lines_of_10_6_are_read_through_their_prefix() {
    let counts = count(WORDED_10_6, 4096);
    assert_eq!(counts.connections, 1);
    assert_eq!(counts.accepted, 1);
    assert_eq!(
        counts.drops.penalties,
        [
            ("invaliduser".to_owned(), 1),
            ("table-full".to_owned(), 1),
            ("refuseconnection".to_owned(), 1),
            ("other".to_owned(), 1)
        ]
        .into()
    );
    assert_eq!(counts.drops.max_startups_or_per_source, 1);
    assert_eq!(counts.pipe_failures, 1);
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
    let mut parser = ServerLogParser::new();
    for _ in 0..100 {
        parser.feed(&[b'x'; 4096], |_| panic!("no line is complete"));
    }
    let mut lengths = Vec::new();
    parser.feed(b"\n", |event| {
        if let ServerLogMessage::Unknown { text } = event.message {
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
