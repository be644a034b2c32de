//! The same diagnosis in every format.

use super::*;
use crate::schema::assert_conforms;
use sshchurn_core::diagnosis::{ArrivalWindow, Diagnoser, Diagnosis, DiagnosisThreshold, judge};
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::scenario::Scenario;

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

/// The scenario of a log's arrivals.
fn recorded(log: &str, max_startups: Option<&str>) -> RecordedScenario {
    let mut diagnoser = Diagnoser::new(None, None).collecting(ArrivalWindow::default());
    diagnoser.begin_file(1_775_367_307_000_000);
    for line in log.lines() {
        diagnoser.line(line);
    }
    let arrivals = diagnoser.take_arrivals().expect("asked for");
    let max_startups = max_startups.map(|text| text.parse().expect("a value"));
    let scenario = scenario(
        "recorded",
        &["auth.log".to_owned()],
        &arrivals.expect("arrivals"),
        &diagnoser.finish().drops,
        max_startups,
    );
    let read = Scenario::parse("recorded.toml", &scenario.toml);
    let read = read.unwrap_or_else(|errors| panic!("{}\n{}", errors.render(), scenario.toml));
    assert_eq!(read.name, "recorded");
    scenario
}

const INFO: &str = "\
Apr  5 04:35:00 host sshd[620]: Accepted publickey for job from 192.0.2.7 port 5 ssh2: ED25519 SHA256:abc
Apr  5 04:35:07 host sshd[620]: error: beginning MaxStartups throttling
Apr  5 04:35:07 host sshd[620]: drop connection #10 from [192.0.2.7]:40001 on [192.0.2.1]:22 past MaxStartups
Apr  5 04:38:38 host sshd[620]: exited MaxStartups throttling after 00:03:31, 6 connections dropped
";

#[test]
fn scenario_of_a_log_says_what_the_log_does_not() {
    insta::assert_snapshot!(recorded(INFO, None).toml);
    let said = recorded(INFO, None).said;
    assert!(
        said.contains("2 arrivals") && said.contains("a lower bound"),
        "{said}"
    );
}

#[test]
fn what_is_said_of_a_scenario_is_what_its_comments_say() {
    let connection =
        "Apr  5 04:35:00 host sshd[620]: Connection from 192.0.2.9 port 5 on 192.0.2.1 port 22\n";
    let said = recorded(connection, None).said;
    assert!(
        said.contains("1 arrival") && !said.contains("a lower bound"),
        "{said}"
    );
    // A burst of 10.0's, of which more may never have been reported.
    let burst = "Apr  5 04:35:01 host sshd[620]: drop connection #10 from [192.0.2.7]:1 on [192.0.2.1]:22 MaxStartups\n";
    let bare = "Connection from 192.0.2.9 port 6 on 192.0.2.1 port 22\n";
    let log = format!("{connection}{}{}", burst.repeat(3), bare.repeat(2));
    let scenario = recorded(&log, None);
    assert!(
        scenario.said.contains("4 arrivals") && scenario.said.contains(", a lower bound"),
        "{}",
        scenario.said
    );
    let more = "2 more have no time stamp and are not among them";
    assert!(scenario.said.contains(more), "{}", scenario.said);
    assert!(scenario.toml.contains(more), "{}", scenario.toml);
    assert!(
        scenario.toml.contains("3 of at least 3 refusals"),
        "{}",
        scenario.toml
    );
}

#[test]
fn a_part_of_a_log_that_may_hide_refusals_is_named_as_that() {
    let log = "2026-04-05T04:35:00Z a sshd[6]: Connection from 192.0.2.9 port 5 on 192.0.2.1 port 22\n\
               2026-04-05T04:35:01Z b sshd[7]: Accepted password for x from 192.0.2.7 port 5 ssh2\n";
    let said = sample(log, &["server_drops == 0"]);
    assert_eq!(
        said.answer[0],
        "This log shows no refusals between 2026-04-05 04:35:00Z and 04:35:01Z, but a part of it may hide them all, so it cannot tell."
    );
    assert!(
        said.limits.iter().any(|it| it.contains("one host")),
        "{said:?}"
    );
    assert_eq!(said.exit, ExitCode::Inconclusive);
}

#[test]
fn scenario_has_the_max_startups_that_the_user_or_the_slots_name() {
    let with = |log: &str, known| {
        let toml = recorded(log, known).toml;
        let (_, value) = toml.split_once("max_startups = ").expect("a value");
        value.trim().to_owned()
    };
    assert_eq!(with(INFO, None), "\"10:30:100\"");
    assert_eq!(with(INFO, Some("20:30:60")), "\"20:30:60\"");
    assert_eq!(with(&INFO.replace("#10", "#4"), None), "\"4:30:100\"");
    assert_eq!(with(&INFO.replace("#10", "#250"), None), "\"10:30:250\"");
}

#[test]
fn logs_whose_times_cannot_be_compared_say_so() {
    let reversed: Vec<&str> = INFO.lines().rev().collect();
    let said = sample(&reversed.join("\n"), &[]);
    assert!(
        said.limits.iter().any(|it| it.contains("tac LOG")),
        "{said:?}"
    );
    let mixed = INFO.replace("Apr  5 04:35:00", "2026-04-05T02:35:00+02:00");
    let said = sample(&mixed, &[]);
    assert!(
        said.limits
            .iter()
            .any(|it| it.contains("cannot be compared")),
        "{said:?}"
    );
    assert!(
        said.answer[0].starts_with("sshd refused 6 connections, all by"),
        "{said:?}"
    );
}
