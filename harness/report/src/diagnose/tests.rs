//! The same diagnosis in every format.

use super::*;
use crate::schema::assert_conforms;
use sshchurn_core::diagnosis::{Diagnoser, Diagnosis, DiagnosisThreshold, judge};
use sshchurn_core::exit_code::ExitCode;

/// An hour of a busy host: an episode with its total, a burst of 10.0's making, a penalty, logins, a loss, a client's log.
const LOG: &str = "\
2026-04-05T04:35:00Z host sshd[620]: Server listening on 0.0.0.0 port 22.
2026-04-05T04:35:07Z host sshd[620]: error: beginning MaxStartups throttling
2026-04-05T04:35:07Z host sshd[620]: drop connection #10 from [192.0.2.7]:40001 on [192.0.2.1]:22 past MaxStartups
2026-04-05T04:38:38Z host sshd[620]: exited MaxStartups throttling after 00:03:31, 6 connections dropped
2026-04-05T04:40:00Z other sshd[9]: drop connection #0 from [192.0.2.8]:40002 on [192.0.2.2]:22 penalty: failed authentication
2026-04-05T04:50:00Z other sshd-session[9]: Accepted publickey for job from 192.0.2.7 port 5 ssh2: ED25519 SHA256:abc
2026-04-05T04:50:00Z other sshd-session[9]: Accepted publickey for job from 192.0.2.7 port 6 ssh2: ED25519 SHA256:abc
2026-04-05T05:00:00Z other sshd[9]: fork: Resource temporarily unavailable
2026-04-05T05:00:00Z other sshd-session[9]: Login restricted for user b|b from 192.0.2.7: <b>|x
2026-04-05T05:10:00Z other cron[1]: nothing
2026-04-05T05:35:00Z job airflow[1]: Error reading SSH protocol banner
";

fn diagnosis(log: &str) -> Diagnosis {
    let mut diagnoser = Diagnoser::new(None, None);
    for line in log.lines() {
        diagnoser.line(line);
    }
    diagnoser.finish()
}

fn sample(log: &str, thresholds: &[&str]) -> DiagnoseReport {
    let diagnosis = diagnosis(log);
    let thresholds: Vec<DiagnosisThreshold> = thresholds
        .iter()
        .map(|text| DiagnosisThreshold::parse(text).expect(text))
        .collect();
    let judged = judge(&thresholds, &diagnosis);
    report(vec!["auth.log".to_owned()], diagnosis, judged)
}

const OF_ALL: [&str; 3] = [
    "server_drops == 0",
    "server_drops <= 10",
    "grace_timeouts <= 3",
];

#[test]
fn text_says_the_answer_first() {
    insta::assert_snapshot!(text(&sample(LOG, &OF_ALL)));
}

#[test]
fn markdown_says_the_same() {
    insta::assert_snapshot!(markdown(&sample(LOG, &OF_ALL)));
}

#[test]
fn page_is_rendered_and_what_peers_chose_is_escaped() {
    let page = html(&sample(LOG, &OF_ALL));
    for words in [
        "sshd refused 7 connections",
        "FAIL (exit 1)",
        "192.0.2.8",
        "Login restricted for user NAME from ADDR: &lt;b&gt;|x",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(
        !page.contains("not rendered") && !page.contains("<b>"),
        "{page}"
    );
}

#[test]
fn document_is_what_its_schema_says_and_reads_back() {
    for (log, thresholds) in [(LOG, &OF_ALL[..]), ("", &[]), ("hello\n", &OF_ALL)] {
        let report = sample(log, thresholds);
        let document = json(&report);
        assert_conforms::<DiagnoseReport>(&document);
        let back: DiagnoseReport = serde_json::from_str(&document).expect("reads back");
        assert_eq!(back, report);
    }
}

#[test]
fn exit_code_follows_the_thresholds() {
    for (thresholds, exit) in [
        (&[][..], ExitCode::Success),
        (&["server_drops == 7"], ExitCode::Success),
        (
            &["server_drops == 7", "server_drops == 0"],
            ExitCode::GateFailed,
        ),
        (&["grace_timeouts == 0"], ExitCode::Inconclusive),
        (
            &["grace_timeouts == 0", "server_drops > 7"],
            ExitCode::GateFailed,
        ),
    ] {
        assert_eq!(sample(LOG, thresholds).exit, exit, "{thresholds:?}");
    }
    assert_eq!(sample("hello\n", &[]).exit, ExitCode::Inconclusive);
    let client = "kex_exchange_identification: Connection closed by remote host\n";
    assert_eq!(sample(client, &[]).exit, ExitCode::Success);
    assert_eq!(
        sample("hello\n", &["server_drops == 0"]).exit,
        ExitCode::Inconclusive
    );
}

#[test]
fn answer_names_what_is_not_known() {
    let lost = format!(
        "{LOG}2026-04-05T05:36:00Z host rsyslogd: imuxsock lost 12 messages from pid 620 due to rate-limiting\n"
    );
    let drop = "drop connection #1 from [192.0.2.7]:1 on [192.0.2.1]:22 MaxStartups\n";
    for (log, first) in [
        (
            String::new(),
            "There is no line from sshd in this input, so nothing can be said about what it refused.",
        ),
        (
            "Connection from 192.0.2.7 port 5 on 192.0.2.1 port 22\n".to_owned(),
            "sshd refused nobody.",
        ),
        (
            "Accepted password for x from 192.0.2.7 port 5 ssh2\n".to_owned(),
            "This log shows no refusals, but at LogLevel INFO it may hide them all, so it cannot tell.",
        ),
        (
            drop.to_owned(),
            "sshd refused 1 connection, by MaxStartups.",
        ),
        (
            drop.repeat(2),
            "sshd refused 2 connections, all by MaxStartups.",
        ),
        (
            lost,
            "sshd refused at least 7 connections between 2026-04-05 04:35:00Z and 05:00:00Z: 6 by MaxStartups, 1 by PerSourcePenalties.",
        ),
    ] {
        assert_eq!(sample(&log, &[]).answer[0], first);
    }
}

#[test]
fn what_a_peer_chose_cannot_steer_a_terminal() {
    let log = "Server listening on :: port 22.\nsomething \u{7} \u{9b}31m new\n";
    let text = text(&sample(log, &[]));
    assert!(text.contains("something"), "{text}");
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n'),
        "{text:?}"
    );
}
