//! The document and its sentences, of probes of simulated servers.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::schema::assert_conforms;
use sshchurn_core::exit_code::ExitCode;
use sshchurn_core::model::{Admission, Decision};
use sshchurn_core::probing::{Bounds, End, Failure, Met, Prober, Step};

const OPENSSH_9_2: &str = "SSH-2.0-OpenSSH_9.2p1 Debian-2";
const OPENSSH_10_6: &str = "SSH-2.0-OpenSSH_10.6";
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Probes a server that obeys `setting` (none: it lets everybody in), and lets a source hold so many.
fn probed(setting: Option<&str>, per_source: u32, bounds: Bounds) -> Prober {
    let rule = setting.map(|setting| Admission::new(setting.parse().expect("valid")));
    // Knuth's generator (MMIX): no crate for a dozen probes.
    let mut state = 7_u64;
    let mut admits = |held: u32| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let draw = u32::try_from((state >> 33) % 100).expect("below 100");
        rule.is_none_or(|rule| rule.decide(held, draw) == Decision::Accept)
    };
    let mut prober = Prober::new(bounds);
    loop {
        match prober.step() {
            Step::Try => match prober.held() < per_source && admits(prober.held()) {
                true => prober.admitted(),
                false => prober.refused(),
            },
            Step::TryElsewhere => {
                let admitted = admits(prober.held());
                prober.elsewhere(admitted);
            }
            Step::Release => prober.released(),
            Step::LetGo => prober.let_go(),
            Step::Over => return prober,
        }
    }
}

fn bounds() -> Bounds {
    Bounds {
        connections: 10_000,
        held: 200,
        repeats: true,
        elsewhere: true,
    }
}

fn told(prober: &Prober, met: &Met, identification: &str) -> ProbeReport {
    let report = report(&ProbeFacts {
        address: ([127, 0, 0, 1], 22).into(),
        prober,
        met,
        identification: Some(identification),
        elsewhere: Some(OTHER),
        own_limit: None,
        warnings: &[],
    });
    assert_conforms::<ProbeReport>(&json(&report));
    report
}

fn met() -> Met {
    Met {
        texts: [("Exceeded MaxStartups".to_owned(), 12)].into(),
        round_trip: Some(Duration::from_micros(70)),
        took: Duration::from_millis(21_400),
        ..Met::default()
    }
}

#[test]
fn answer_comes_first_with_its_intervals_and_the_evidence_after_it() {
    let prober = probed(Some("10:30:100"), u32::MAX, bounds());
    let report = told(&prober, &met(), OPENSSH_9_2);
    assert_eq!(report.exit, ExitCode::Success);
    assert_eq!(report.kind, ProbeKind::MaxStartups);
    insta::assert_snapshot!(text(&report));
}

#[test]
fn hard_limit_says_that_rate_and_full_cannot_be_seen_whatever_made_it() {
    for (setting, at) in [("30:100:60", 30), ("20:30:20", 20)] {
        let prober = probed(Some(setting), u32::MAX, bounds());
        let report = told(&prober, &met(), OPENSSH_9_2);
        assert_eq!(report.exit, ExitCode::Success);
        let said = text(&report);
        for words in [
            format!("hard limit {at}"),
            "rate cannot be seen".to_owned(),
            "full cannot be seen".to_owned(),
            "It is no limit per source: from 127.0.0.2 20 of 20 were refused too".to_owned(),
        ] {
            assert!(said.contains(&words), "{words}: {said}");
        }
        assert_eq!((report.rate_percent, report.full), (None, None));
    }
}

#[test]
fn limit_per_source_is_named_and_is_no_answer() {
    let prober = probed(Some("10:30:100"), 8, bounds());
    let report = told(&prober, &met(), OPENSSH_9_2);
    assert_eq!(report.exit, ExitCode::Inconclusive);
    let said = text(&report);
    assert!(said.contains("PerSourceMaxStartups 8"), "{said}");
    assert!(said.contains("127.0.0.2 is let in"), "{said}");

    let prober = probed(Some("10:30:100"), 40, bounds());
    let report = told(&prober, &met(), OPENSSH_9_2);
    assert_eq!(report.other_limit.map(|limit| limit.held), Some(40));
    assert_eq!((report.max_startups.clone(), report.full), (None, None));
    let said = text(&report);
    assert!(
        said.contains("full cannot be seen from this address"),
        "{said}"
    );
}

#[test]
fn another_server_is_named_and_no_number_is_made_up_for_it() {
    let prober = probed(None, u32::MAX, bounds());
    for (identification, words) in [
        ("SSH-2.0-Go", "introduces itself as `SSH-2.0-Go`"),
        (
            OPENSSH_9_2,
            "a start of 200 or more; rate and full cannot be seen",
        ),
    ] {
        let report = told(&prober, &met(), identification);
        assert_eq!(report.exit, ExitCode::Inconclusive);
        let said = text(&report);
        assert!(
            said.contains("200 connections were held") && said.contains(words),
            "{said}"
        );
    }
    let prober = probed(Some("5:100:9"), u32::MAX, bounds());
    let report = told(&prober, &met(), "SSH-2.0-dropbear_2022.83");
    assert_eq!(report.exit, ExitCode::Inconclusive);
    let said = text(&report);
    assert!(
        said.contains("It is no MaxStartups") && said.contains("dropbear"),
        "{said}"
    );
}

#[test]
fn what_refuses_an_idle_client_is_said_by_what_the_release_can_do() {
    let prober = probed(Some("10:30:100"), 0, bounds());
    assert_eq!(prober.end(), Some(End::RefusedIdle));
    for (identification, bans) in [(OPENSSH_9_2, false), (OPENSSH_10_6, true)] {
        let report = told(&prober, &met(), identification);
        assert_eq!(report.exit, ExitCode::Inconclusive);
        let said = text(&report);
        assert!(said.contains("30 of 30 were refused already"), "{said}");
        assert_eq!(said.contains("banned"), bans, "{said}");
    }
}

#[test]
fn climbs_without_a_key_say_which_ban_they_have_earned() {
    let once = Bounds {
        repeats: false,
        ..bounds()
    };
    let prober = probed(Some("30:100:60"), u32::MAX, once);
    for (identification, left, words) in [
        (OPENSSH_9_2, 30, "has no penalty"),
        (OPENSSH_10_6, 30, "bans this address for some 30 s"),
        (OPENSSH_10_6, 15, "bans nobody"),
    ] {
        let met = Met {
            left_silent: left,
            ..met()
        };
        let said = text(&told(&prober, &met, identification));
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn whatever_cut_a_climb_short_is_said() {
    let prober = probed(Some("10:30:100"), u32::MAX, bounds());
    let failed = |own, in_kernel| Met {
        failed: Some(Failure {
            metric: "banner_timeout",
            held: 12,
            own,
            in_kernel,
        }),
        ..met()
    };
    let lost = Met {
        lost_after: vec![Duration::from_secs(5), Duration::from_secs(6)],
        renewed: 3,
        ..met()
    };
    let wordless = Met {
        wordless: 4,
        ..met()
    };
    for (met, words) in [
        (failed(true, false), "limit of open files"),
        (
            failed(false, true),
            "listen queue was full: that is not MaxStartups",
        ),
        (
            failed(false, false),
            "neither let in nor refused (banner_timeout)",
        ),
        (
            lost,
            "after 5.0 s, which cut 2 climbs short: LoginGraceTime",
        ),
        (wordless, "4 connections were closed without sshd's words"),
    ] {
        let said = text(&told(&prober, &met, OPENSSH_9_2));
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn bound_that_ended_it_is_said_and_too_wide_an_interval_is_no_answer() {
    let few = Bounds {
        connections: 30,
        ..bounds()
    };
    let prober = probed(Some("10:30:100"), u32::MAX, few);
    let report = told(&prober, &met(), OPENSSH_9_2);
    assert_eq!(report.exit, ExitCode::Inconclusive);
    let said = text(&report);
    assert!(
        said.contains("not known closely") && said.contains("--max-connections"),
        "{said}"
    );
}
