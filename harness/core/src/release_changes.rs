//! What changed between OpenSSH releases, as far as it changes a measurement: who is admitted, how long a place is held, what the
//! log says, whom sshd bans.
//!
//! Owns the one table of it, and the choice of the release that stands nearest to another. From OpenSSH's sources, tag by tag
//! (V_7_4_P1 to V_10_5_P1), and for 10.6 from what was seen of it. What distributions change besides is not in it.

use crate::manifest::{ReleaseDifference, Substitution};
use crate::release::Release;

/// The oldest and the newest release that the table knows.
pub const KNOWN: (Release, Release) = (Release::new(7, 4), Release::new(10, 6));

/// Something that sshd does in some releases and not in others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The first release that does it.
    pub since: Release,
    /// The first that does it no more; `None` where all later ones do.
    pub until: Option<Release>,
    /// What it does.
    pub what: &'static str,
    /// What that does to a measurement.
    pub effect: &'static str,
}

const fn since(major: u32, minor: u32, what: &'static str, effect: &'static str) -> Change {
    Change {
        since: Release::new(major, minor),
        until: None,
        what,
        effect,
    }
}

impl Change {
    const fn until(self, major: u32, minor: u32) -> Change {
        Change {
            until: Some(Release::new(major, minor)),
            ..self
        }
    }

    /// Whether a release does it.
    #[must_use]
    pub fn is_in(&self, release: Release) -> bool {
        release >= self.since && self.until.is_none_or(|until| release < until)
    }

    /// The releases that do it, in words: `since 9.8`, `8.9`, `8.5 to 8.8`.
    #[must_use]
    pub fn releases(&self) -> String {
        match self.until.map(before) {
            None => format!("since {}", self.since),
            Some(last) if last == self.since => last.to_string(),
            Some(last) => format!("{} to {last}", self.since),
        }
    }
}

/// The release before one. OpenSSH counts to x.9, then comes the next major number.
const fn before(release: Release) -> Release {
    match release.minor {
        0 => Release::new(release.major - 1, 9),
        minor => Release::new(release.major, minor - 1),
    }
}

/// By the first release that does it.
pub const CHANGES: &[Change] = &[
    since(
        7,
        8,
        "every authentication request is answered after some 5 to 9 ms at least",
        "a login holds its place longer",
    ),
    since(
        8,
        2,
        "a refused client reads a text",
        "before, a refusal looks like any other close",
    ),
    since(
        8,
        2,
        "the listener's title shows the places in use",
        "before, there is no peak of them",
    ),
    since(
        8,
        4,
        "the log says when throttling begins and ends, and at INFO shows only the first refusal of an episode",
        "before, refusals are logged at VERBOSE only, each of them",
    ),
    since(
        8,
        5,
        "PerSourceMaxStartups, PerSourceNetBlockSize",
        "before, no address has a limit of its own",
    ),
    since(
        8,
        5,
        "LogVerbose",
        "before, draws are not logged, so there is no admission curve",
    ),
    since(
        8,
        5,
        "a connection that comes when the listener is out of descriptors is never closed",
        "its client waits, where it would read an end in other releases",
    )
    .until(8, 9),
    since(
        8,
        9,
        "nobody gets in when `full` and the listening sockets are more than the open files allowed",
        "other releases let `full` be larger",
    )
    .until(9, 0),
    since(
        9,
        0,
        "sntrup761x25519 is the first key exchange offered",
        "a login takes more CPU, with clients that know it",
    ),
    since(
        9,
        5,
        "of PerSourceMaxStartups given twice the first counts",
        "before, the last",
    ),
    since(
        9,
        5,
        "the first request of a login, `none`, is answered without the delay",
        "a login holds its place some ms less",
    ),
    since(
        9,
        5,
        "clients that leave before their identification string are logged at VERBOSE",
        "before, at ERROR",
    ),
    since(
        9,
        8,
        "PerSourcePenalties, on unless the configuration says no",
        "an address whose logins fail is refused altogether for a while",
    ),
    since(
        9,
        8,
        "a refused client reads `Not allowed at this time`, for every limit",
        "before, `Exceeded MaxStartups`",
    ),
    since(
        9,
        8,
        "each connection executes sshd-session",
        "a login takes more CPU",
    ),
    since(
        9,
        8,
        "a connection that fails keeps its place until its process has ended",
        "before, until its socket is closed",
    ),
    since(
        9,
        8,
        "the listener logs expired logins, without their port",
        "before, the connection's own process, with it",
    ),
    since(
        9,
        8,
        "a login never gives back its place of PerSourceMaxStartups",
        "with that limit an address is refused for good after so many logins",
    )
    .until(10, 1),
    since(
        9,
        8,
        "a login that expires earns its address the penalty of a crash, 90 s",
        "other releases ban such an address for less, or not at once",
    )
    .until(10, 0),
    since(
        9,
        9,
        "LoginGraceTime is up to 4 s longer, at random",
        "clients that stay silent hold their places longer",
    ),
    since(
        10,
        0,
        "each connection executes sshd-auth as well",
        "a login takes more CPU",
    ),
    since(
        10,
        0,
        "mlkem768x25519 is the first key exchange offered, and finite-field ones are off",
        "a login costs another amount of CPU, and old clients find no key exchange",
    ),
    since(
        10,
        0,
        "the log holds refusals back: some three of a burst are written",
        "without LogVerbose their number is not in the log",
    ),
    since(
        10,
        0,
        "a refusal is logged without the word `past`",
        "a search of the log for it finds nothing",
    ),
    since(
        10,
        1,
        "of MaxStartups given twice the first counts",
        "before, the last",
    ),
    since(
        10,
        1,
        "penalties in force are logged at INFO",
        "before, at VERBOSE",
    ),
    since(
        10,
        1,
        "MaxStartups with one number leaves `start` at 10",
        "other releases take the number for both `start` and `full`",
    )
    .until(10, 3),
    since(
        10,
        3,
        "an unknown user earns a penalty of its own, `invaliduser`",
        "before, `authfail` or `noauth`",
    ),
    since(
        10,
        3,
        "penalties may have fractions of a second",
        "before, whole seconds",
    ),
    since(
        10,
        6,
        "a refusal is logged as `MaxStartups`, no longer `Maxstartups`",
        "a search of the log that minds capitals finds nothing",
    ),
];

/// Whether there is such a release and the table knows it.
#[must_use]
pub fn is_known(release: Release) -> bool {
    release.minor <= 9 && (KNOWN.0..=KNOWN.1).contains(&release)
}

/// What one of two releases does and the other does not.
pub fn differences(one: Release, other: Release) -> impl Iterator<Item = &'static Change> {
    CHANGES
        .iter()
        .filter(move |change| change.is_in(one) != change.is_in(other))
}

/// The release among those that are there that differs in the fewest points; of several the nearest by number, and then the
/// newer. `None` for one that the table does not know.
#[must_use]
pub fn nearest(asked: Release, there: impl IntoIterator<Item = Release>) -> Option<Release> {
    let number = |release: Release| release.major * 10 + release.minor;
    let apart = |release: &Release| {
        (
            differences(asked, *release).count(),
            number(asked).abs_diff(number(*release)),
            std::cmp::Reverse(*release),
        )
    };
    is_known(asked)
        .then(|| there.into_iter().min_by_key(apart))
        .flatten()
}

/// What there is to say of a run on `ran` where `asked` was asked for; `None` where they are the same.
#[must_use]
pub fn substitution(asked: Release, ran: Release) -> Option<Substitution> {
    let difference = |change: &Change| ReleaseDifference {
        releases: change.releases(),
        what: change.what.to_owned(),
        effect: change.effect.to_owned(),
    };
    (asked != ran).then(|| Substitution {
        asked: asked.to_string(),
        ran: ran.to_string(),
        differences: differences(asked, ran).map(difference).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(text: &str) -> Release {
        text.parse().expect("a release")
    }

    fn there() -> [Release; 5] {
        ["8.4", "9.2", "10.0", "10.3", "10.6"].map(release)
    }

    #[test]
    fn nearest_release_is_the_one_with_the_fewest_differences_and_not_across_a_cliff() {
        for (asked, taken) in [
            ("8.0", "8.4"),
            // LogVerbose and the limits by source came with 8.5: what later ones changed is less.
            ("8.5", "9.2"),
            ("8.7", "9.2"),
            ("8.9", "9.2"),
            ("9.6", "9.2"),
            ("9.7", "9.2"),
            // Penalties, another text, another process.
            ("9.8", "10.0"),
            ("9.9", "10.0"),
            ("10.1", "10.3"),
            ("10.2", "10.3"),
            ("10.5", "10.3"),
        ] {
            assert_eq!(
                nearest(release(asked), there()),
                Some(release(taken)),
                "{asked}"
            );
        }
        for same in there() {
            assert_eq!(nearest(same, there()), Some(same));
        }
    }

    #[test]
    fn nearest_is_chosen_among_those_that_are_there() {
        assert_eq!(
            nearest(release("9.6"), [release("10.0")]),
            Some(release("10.0"))
        );
        assert_eq!(nearest(release("9.6"), []), None);
        // The same by the table: the nearer number, then the newer.
        let pair = [release("9.3"), release("9.4")];
        assert_eq!(nearest(release("9.2"), pair), Some(release("9.3")));
        let around = [release("9.2"), release("9.4")];
        assert_eq!(nearest(release("9.3"), around), Some(release("9.4")));
    }

    #[test]
    fn release_that_never_was_or_is_not_known_has_no_nearest() {
        for none in ["7.0", "7.3", "7.10", "8.10", "10.7", "11.3"] {
            assert_eq!(nearest(release(none), there()), None, "{none}");
        }
    }

    #[test]
    fn what_came_and_went_between_two_releases_is_no_difference_of_them() {
        let told = |one, other| -> Vec<String> {
            differences(release(one), release(other))
                .map(Change::releases)
                .collect()
        };
        assert_eq!(told("8.7", "9.2"), ["8.5 to 8.8", "since 9.0"]);
        assert_eq!(told("8.9", "9.2"), ["8.9", "since 9.0"]);
        assert_eq!(told("9.2", "9.4"), Vec::<String>::new());
        assert!(!told("10.0", "10.3").contains(&"10.1 to 10.2".to_owned()));
        assert!(told("10.2", "10.3").contains(&"10.1 to 10.2".to_owned()));
        assert_eq!(told("9.2", "10.0"), told("10.0", "9.2"));
    }

    #[test]
    fn table_is_in_order_and_within_what_it_says_it_knows() {
        assert!(CHANGES.is_sorted_by_key(|change| change.since));
        for change in CHANGES {
            assert!(is_known(change.since), "{change:?}");
            if let Some(until) = change.until {
                assert!(is_known(until) && until > change.since, "{change:?}");
            }
        }
    }

    #[test]
    fn substitution_names_both_and_every_difference_and_there_is_none_of_the_same() {
        assert_eq!(substitution(release("9.2"), release("9.2")), None);
        let made = substitution(release("8.9"), release("9.2")).expect("another");
        let lines = made.lines();
        assert!(
            lines[0].contains("this is OpenSSH 9.2, not the 8.9"),
            "{lines:?}"
        );
        assert_eq!(lines.len(), 3);
        for (line, word) in lines[1..].iter().zip(["open files", "sntrup761x25519"]) {
            assert!(line.contains(word), "{word} in {line}");
        }
        let made = substitution(release("9.3"), release("9.2")).expect("another");
        assert!(
            made.lines()[1].contains("no difference is known"),
            "{made:?}"
        );
    }
}
