//! The `sshd_config` of a real sshd under test: written in one place, and read back from `sshd -T`.
//!
//! Owns which keywords are written, for which release, and that each of them occurs once, unless sshd adds its lines up:
//! which of two lines wins differs between releases (`MaxStartups`: the last up to 10.0, the first from 10.1). `containers/README.md` explains
//! every line. It must not run sshd or touch a file.

use super::ServerError;
use sshchurn_core::release::Release;
use sshchurn_core::scenario::{MONITORING_SOURCE, SshdConfig, adds_up};

/// Where things are, as sshd sees them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paths<'a> {
    /// The one host key.
    pub(super) host_key: &'a str,
    /// The user's keys; absolute, so that no home directory matters.
    pub(super) authorized_keys: &'a str,
    /// What is asked for them instead.
    pub(super) key_command: Option<KeyCommand<'a>>,
}

/// A script that prints the keys. sshd wants a command to be root's, in folders of root's: the shell is.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyCommand<'a> {
    /// Its file.
    pub(super) script: &'a str,
    /// Who runs it.
    pub(super) user: &'a str,
}

/// What the server listens on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listen<'a> {
    pub(super) address: &'a str,
    pub(super) port: u16,
}

/// Keywords written once by the harness, whatever a scenario says.
const OWNED: [&str; 12] = [
    "addressfamily",
    "authorizedkeysfile",
    "hostkey",
    "include",
    "listenaddress",
    "loglevel",
    "logverbose",
    "match",
    "maxstartups",
    "pidfile",
    "port",
    "pubkeyauthentication",
];

/// Functions of sshd.c whose every line is logged, whatever the level and the rate limiter of 10.0 say. The second one
/// shows the random draw behind each refusal.
const LOG_VERBOSE: &str = "sshd.c:drop_connection():*,sshd.c:should_drop_connection():*";
/// And those of misc.c that say each time that a user's keys are asked for.
const LOG_KEY_COMMAND: &str = ",misc.c:subprocess():*";

/// Since when a keyword is known; before that sshd refuses the whole file.
mod since {
    use super::Release;

    pub(super) const LOG_VERBOSE: Release = Release::new(8, 5);
    pub(super) const PER_SOURCE_MAX_STARTUPS: Release = Release::new(8, 5);
    pub(super) const KBD_INTERACTIVE: Release = Release::new(8, 7);
    pub(super) const PER_SOURCE_PENALTIES: Release = Release::new(9, 8);
    /// From here on every drop is logged at VERBOSE; 10.0 needs `LogVerbose` for it again.
    pub(super) const EVERY_DROP: Release = Release::new(7, 4);
}

/// Whether every refusal is in the log of a server of this release with the configuration written here.
pub(super) fn logs_every_drop(release: Release) -> bool {
    release >= since::EVERY_DROP
}

/// The text of an `sshd_config`. A scenario's keywords take the place of the defaults; the harness's own stay.
pub(super) fn render(
    sshd: &SshdConfig,
    release: Release,
    listen: Listen<'_>,
    paths: Paths<'_>,
) -> String {
    let mut lines = vec![
        ("Port", listen.port.to_string()),
        ("ListenAddress", listen.address.to_owned()),
        ("HostKey", quoted(paths.host_key)),
        ("PidFile", String::from("none")),
        ("PubkeyAuthentication", String::from("yes")),
        ("MaxStartups", sshd.max_startups.to_string()),
        ("LogLevel", String::from("VERBOSE")),
    ];
    // Tokens are expanded in both (sshd_config(5), TOKENS).
    let file = |path: &str| quoted(&path.replace('%', "%%"));
    match paths.key_command {
        None => lines.push(("AuthorizedKeysFile", file(paths.authorized_keys))),
        Some(command) => lines.extend([
            ("AuthorizedKeysFile", String::from("none")),
            (
                "AuthorizedKeysCommand",
                format!("/bin/sh {}", file(command.script)),
            ),
            ("AuthorizedKeysCommandUser", command.user.to_owned()),
        ]),
    }
    if release >= since::LOG_VERBOSE {
        let asked = paths.key_command.map_or("", |_| LOG_KEY_COMMAND);
        lines.push(("LogVerbose", format!("{LOG_VERBOSE}{asked}")));
    }
    let mut defaults = vec![
        ("LoginGraceTime", "120"),
        ("MaxSessions", "10"),
        ("MaxAuthTries", "6"),
        ("UseDNS", "no"),
        ("UsePAM", "no"),
        ("StrictModes", "no"),
        ("PermitRootLogin", "prohibit-password"),
        ("PasswordAuthentication", "no"),
        if release >= since::KBD_INTERACTIVE {
            ("KbdInteractiveAuthentication", "no")
        } else {
            ("ChallengeResponseAuthentication", "no")
        },
        ("PermitUserRC", "no"),
        ("PrintMotd", "no"),
        ("PrintLastLog", "no"),
        ("X11Forwarding", "no"),
        ("AllowTcpForwarding", "no"),
        ("AllowAgentForwarding", "no"),
    ];
    if release >= since::PER_SOURCE_MAX_STARTUPS {
        defaults.push(("PerSourceMaxStartups", "none"));
    }
    if release >= since::PER_SOURCE_PENALTIES {
        defaults.push(("PerSourcePenalties", "no"));
    }
    for (keyword, value) in defaults {
        if sshd.keyword(keyword).is_none() {
            lines.push((keyword, value.to_owned()));
        }
    }
    for (keyword, value) in wanted(&sshd.keywords) {
        lines.push((keyword, value.to_owned()));
    }
    let mut text = String::from("# Written by sshchurn for one run.\n");
    for (keyword, value) in lines {
        text.push_str(&format!("{keyword} {value}\n"));
    }
    if !sshd.monitoring_keywords.is_empty() {
        // Last: a block reaches to the end of the file.
        text.push_str(&format!("Match Address {MONITORING_SOURCE}\n"));
        for (keyword, value) in wanted(&sshd.monitoring_keywords) {
            text.push_str(&format!("    {keyword} {value}\n"));
        }
    }
    text
}

/// An argument that may hold spaces (sshd_config(5): double quotes).
pub(super) fn quoted(argument: &str) -> String {
    if argument.contains(|c: char| c.is_whitespace() || c == '\'') {
        format!("\"{argument}\"")
    } else {
        argument.to_owned()
    }
}

/// A scenario's keywords without those of the harness; of a keyword that cannot be given twice, the first.
fn wanted(keywords: &[(String, String)]) -> Vec<(&str, &str)> {
    let mut kept: Vec<(&str, &str)> = Vec::new();
    for (keyword, value) in keywords {
        let same = |other: &&str| keyword.eq_ignore_ascii_case(other);
        let repeated = kept.iter().any(|(earlier, _)| same(earlier));
        if OWNED.iter().any(same) || (repeated && !adds_up(keyword)) {
            continue;
        }
        kept.push((keyword, value));
    }
    kept
}

/// What `sshd -T` says of settings that bear on admission, cost or the log.
const TOLD: [&str; 21] = [
    "persourcemaxstartups",
    "persourcenetblocksize",
    "persourcepenalties",
    "persourcepenaltyexemptlist",
    "logingracetime",
    "maxauthtries",
    "maxsessions",
    "loglevel",
    "logverbose",
    "usepam",
    "usedns",
    "strictmodes",
    "clientaliveinterval",
    "clientalivecountmax",
    "unusedconnectiontimeout",
    "channeltimeout",
    "tcpkeepalive",
    "rekeylimit",
    "kexalgorithms",
    "ciphers",
    "macs",
];

/// The configuration in force, from the output of `sshd -T`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effective {
    /// `start:rate:full`.
    pub(super) max_startups: String,
    /// What bears on the run, and whatever the scenario set; keyword in lower case.
    pub(super) settings: Vec<(String, String)>,
}

/// The lines of `sshd -T`: keyword in lower case, value.
pub(super) fn settings(dump: &str) -> Vec<(String, String)> {
    dump.lines()
        .filter_map(|line| line.trim().split_once(' '))
        .map(|(keyword, value)| (keyword.to_ascii_lowercase(), value.trim().to_owned()))
        .collect()
}

/// Reads `sshd -T` and checks that `MaxStartups` is what was asked for. Keywords are compared without regard to case:
/// 10.4 and later print them in mixed case.
///
/// # Errors
/// [`ServerError::ConfigDiffers`] when it is something else.
pub(super) fn verify(sshd: &SshdConfig, dump: &str) -> Result<Effective, ServerError> {
    let settings = settings(dump);
    let requested = sshd.max_startups.to_string();
    let effective = settings
        .iter()
        .find(|(keyword, _)| keyword == "maxstartups")
        .map_or("(not printed)", |(_, value)| value);
    if effective != requested {
        return Err(ServerError::ConfigDiffers {
            keyword: String::from("MaxStartups"),
            requested,
            effective: effective.to_owned(),
        });
    }
    let told = |keyword: &str| TOLD.contains(&keyword) || sshd.keyword(keyword).is_some();
    Ok(Effective {
        max_startups: requested,
        settings: settings
            .into_iter()
            .filter(|(keyword, _)| told(keyword))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sshchurn_core::scenario::MaxStartups;

    const LISTEN: Listen<'static> = Listen {
        address: "127.0.0.1",
        port: 40_022,
    };
    const PATHS: Paths<'static> = Paths {
        host_key: "/run/private/host_key",
        authorized_keys: "/run/private/authorized_keys",
        key_command: None,
    };

    fn sshd(keywords: &[(&str, &str)]) -> SshdConfig {
        SshdConfig {
            keywords: keywords
                .iter()
                .map(|(keyword, value)| ((*keyword).to_owned(), (*value).to_owned()))
                .collect(),
            ..SshdConfig::of(MaxStartups::new(10, 30, 100).expect("sshd takes it"))
        }
    }

    fn rendered(sshd: &SshdConfig, major: u32, minor: u32) -> String {
        render(sshd, Release::new(major, minor), LISTEN, PATHS)
    }

    fn count(text: &str, keyword: &str) -> usize {
        text.lines()
            .filter(|line| {
                line.split_whitespace()
                    .next()
                    .is_some_and(|word| word.eq_ignore_ascii_case(keyword))
            })
            .count()
    }

    #[test]
    fn release_8_4_gets_no_keyword_it_does_not_know() {
        insta::assert_snapshot!(rendered(&sshd(&[]), 8, 4));
    }

    #[test]
    fn release_9_2_logs_every_drop_and_has_no_limit_per_source() {
        insta::assert_snapshot!(rendered(&sshd(&[]), 9, 2));
    }

    #[test]
    fn release_10_0_has_no_penalties_either() {
        insta::assert_snapshot!(rendered(&sshd(&[]), 10, 0));
    }

    #[test]
    fn scenario_takes_the_place_of_defaults_and_not_of_what_the_harness_owns() {
        let sshd = sshd(&[
            ("maxsessions", "2"),
            ("PerSourcePenalties", "authfail:1s"),
            ("PerSourcePenalties", "noauth:2s"),
            ("MaxStartups", "1:1:1"),
            ("LoginGraceTime", "7"),
            ("logingracetime", "9"),
        ]);
        let text = rendered(&sshd, 9, 9);
        for (keyword, times) in [
            ("MaxSessions", 1),
            ("MaxStartups", 1),
            ("LoginGraceTime", 1),
            ("PerSourcePenalties", 2),
        ] {
            assert_eq!(count(&text, keyword), times, "{keyword} in\n{text}");
        }
        assert!(text.contains("MaxStartups 10:30:100\n"));
        assert!(text.contains("maxsessions 2\n"));
        assert!(text.contains("LoginGraceTime 7\n"));
        assert!(!text.contains("PerSourcePenalties no\n"));
    }

    #[test]
    fn keywords_of_monitoring_connections_come_last_in_a_block() {
        let mut sshd = sshd(&[("MaxSessions", "5")]);
        sshd.monitoring_keywords = vec![(String::from("MaxSessions"), String::from("0"))];
        let text = rendered(&sshd, 9, 2);
        assert!(
            text.ends_with("Match Address 127.0.0.2\n    MaxSessions 0\n"),
            "{text}"
        );
    }

    #[test]
    fn dump_is_read_whatever_the_case_of_its_keywords() {
        for dump in [
            "port 22\nmaxstartups 10:30:100\nmaxsessions 10\nbanner none\n",
            "Port 22\nMaxStartups 10:30:100\nMaxSessions 10\nBanner none\n",
        ] {
            let effective = verify(&sshd(&[("Banner", "none")]), dump).expect("as asked");
            assert_eq!(effective.max_startups, "10:30:100");
            assert_eq!(
                effective.settings,
                [
                    (String::from("maxsessions"), String::from("10")),
                    (String::from("banner"), String::from("none")),
                ]
            );
        }
    }

    #[test]
    fn another_max_startups_than_asked_for_is_an_error_and_so_is_none() {
        for (dump, found) in [
            ("maxstartups 10:30:60\n", "10:30:60"),
            ("port 22\n", "(not printed)"),
        ] {
            match verify(&sshd(&[]), dump) {
                Err(ServerError::ConfigDiffers { effective, .. }) => assert_eq!(effective, found),
                other => panic!("{other:?}"),
            }
        }
    }
}
