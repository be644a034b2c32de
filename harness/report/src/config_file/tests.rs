//! The conclusion, the two renderings and the schema, of files that were never read from a disk.

use super::*;
use crate::schema::assert_conforms;
use sshchurn_core::sshd_file::{At, SourceFile, Texts};

struct Nothing;

impl Texts for Nothing {
    type Error = std::convert::Infallible;

    fn matching(&mut self, _: &str, _: At<'_>) -> Result<Vec<SourceFile>, Self::Error> {
        Ok(Vec::new())
    }
}

fn config(text: &str) -> ConfigFile {
    let main = SourceFile {
        name: "sshd_config".to_owned(),
        text: text.to_owned(),
    };
    match ConfigFile::read(main, &mut Nothing) {
        Ok(config) => config,
        Err(never) => match never {},
    }
}

fn release(text: &str) -> Release {
    text.parse().expect("a release")
}

/// What an sshd says that finds nothing wrong.
fn asked(config: &ConfigFile, at: &str, max_startups: &str) -> ReleaseReading {
    let settings = [
        ("maxstartups".to_owned(), max_startups.to_owned()),
        ("logingracetime".to_owned(), "30".to_owned()),
    ];
    let program = format!("OpenSSH_{at}p1");
    ReleaseReading::asked(config, release(at), &program, &[], &settings, &[])
}

fn exit(text: &str, expected: Option<&str>, readings: &[(&str, &str)]) -> i32 {
    let config = config(text);
    let releases = readings
        .iter()
        .map(|(at, value)| asked(&config, at, value))
        .collect();
    let expected = expected.map(|value| value.parse().expect("valid"));
    let check = ConfigFileCheck::new(&config, None, expected, releases);
    i32::from(check.exit().code())
}

#[test]
fn exit_says_whether_what_is_in_force_is_what_is_written() {
    for (code, text, expected, readings) in [
        (
            0,
            "MaxStartups 10:30:60\n",
            None,
            &[("9.2", "10:30:60"), ("10.6", "10:30:60")][..],
        ),
        (
            0,
            "MaxStartups 10:30:60\n",
            Some("10:30:60"),
            &[("9.2", "10:30:60")],
        ),
        (
            1,
            "MaxStartups 10:30:60\n",
            Some("10:30:100"),
            &[("9.2", "10:30:60")],
        ),
        // Swallowed.
        (1, "MaxStartups 10,30,60\n", None, &[("9.2", "10:30:10")]),
        (1, "MaxStartups 10:30:60x\n", None, &[("9.2", "10:30:60")]),
        // A duplicate matters where the releases that are asked disagree.
        (
            0,
            "MaxStartups 10:30:60\nMaxStartups 500\n",
            None,
            &[("9.2", "500:30:500")],
        ),
        (
            1,
            "MaxStartups 10:30:60\nMaxStartups 500\n",
            None,
            &[("9.2", "500:30:500"), ("10.6", "10:30:60")],
        ),
        // One number matters where it is misread.
        (0, "MaxStartups 500\n", None, &[("10.0", "500:30:500")]),
        (1, "MaxStartups 500\n", None, &[("10.1", "10:30:500")]),
        // It is taken, and does not do what it says.
        (1, "MaxStartups 0\n", None, &[("8.4", "0:30:0")]),
        (1, "MaxStartups -5\n", None, &[("8.4", "-5:30:-5")]),
        (1, "MaxStartups -1\n", None, &[("8.4", "10:30:100")]),
    ] {
        assert_eq!(
            exit(text, expected, readings),
            code,
            "{text:?} {readings:?}"
        );
    }
}

#[test]
fn source_alone_is_never_agreement_but_can_be_a_difference_or_a_refusal() {
    for (code, text) in [
        (3, "MaxStartups 10:30:60\n"),
        (1, "MaxStartups 500\n"),
        (2, "Match user x\nMaxStartups 10:30:60\n"),
        (2, "MaxStartups 60:30:10\n"),
    ] {
        let config = config(text);
        let reading = ReleaseReading::from_source(&config, release("10.1"));
        let check = ConfigFileCheck::new(&config, None, None, vec![reading]);
        assert_eq!(i32::from(check.exit().code()), code, "{text:?}: {check:#?}");
        assert!(super::text(&check).contains("from OpenSSH's source, not run"));
    }
}

#[test]
fn release_that_was_not_asked_is_never_agreement_beside_one_that_was() {
    for (code, text, value) in [
        (3, "MaxStartups 10:30:60\n", "10:30:60"),
        // The source is enough for a difference.
        (1, "MaxStartups 500\n", "500:30:500"),
    ] {
        let config = config(text);
        let readings = vec![
            asked(&config, "9.2", value),
            ReleaseReading::from_source(&config, release("10.1")),
        ];
        let check = ConfigFileCheck::new(&config, None, None, readings);
        assert_eq!(i32::from(check.exit().code()), code, "{text:?}: {check:#?}");
        let told = check.reasons.iter();
        let told: Vec<_> = told
            .filter(|reason| reason.contains("was not asked"))
            .collect();
        match code {
            3 => assert!(
                told.len() == 1 && told[0].starts_with("OpenSSH 10.1 was not asked"),
                "{told:?}"
            ),
            _ => assert!(told.is_empty(), "{told:?}"),
        }
    }
}

#[test]
fn value_that_no_listener_works_with_is_named_with_the_releases_that_take_it() {
    let config = config("MaxStartups 0\n");
    let readings = ["8.4", "9.1"].map(|at| asked(&config, at, "0:30:0"));
    let check = ConfigFileCheck::new(&config, None, None, readings.to_vec());
    let reasons = &check.reasons;
    assert!(
        reasons
            .iter()
            .any(|reason| reason.starts_with("MaxStartups 0:30:0 on 8.4 and 9.1: `start` and")),
        "{reasons:?}"
    );
    assert!(reasons[0].contains("is not above 0"), "{reasons:?}");
}

/// A file with one of everything.
fn rich() -> ConfigFileCheck {
    let config = config(
        "MaxStartups 10,30,60\nFoo yes\nLoginGraceTime 30\nRSAAuthentication yes\nHostKey /etc/ssh/key\nMatch user deploy\n\
         \tMaxSessions 2\nMaxStartups 5:30:10\n",
    );
    let at = |line| Some(Place { file: 0, line });
    let complaints = [
        (at(2), "Bad configuration option: Foo"),
        (at(4), "Deprecated option RSAAuthentication"),
        (
            at(8),
            "Directive 'MaxStartups' is not allowed within a Match block",
        ),
    ]
    .map(|(place, said)| Complaint {
        place,
        said: said.to_owned(),
    });
    let settings = [
        ("maxstartups".to_owned(), "10:30:10".to_owned()),
        ("logingracetime".to_owned(), "30".to_owned()),
        ("maxsessions".to_owned(), "10".to_owned()),
    ];
    let withheld = [Place { file: 0, line: 5 }];
    let nine = ReleaseReading::asked(
        &config,
        release("9.2"),
        "OpenSSH_9.2p1",
        &complaints,
        &settings,
        &withheld,
    );
    let ten = ReleaseReading::from_source(&config, release("10.1"));
    ConfigFileCheck::new(&config, None, None, vec![nine, ten])
}

#[test]
fn text_names_every_problem_and_what_would_be_in_force_without_it() {
    insta::assert_snapshot!(text(&rich()));
}

#[test]
fn document_is_what_its_schema_says() {
    assert_conforms::<ConfigFileCheck>(&json(&rich()));
}
