//! What releases make of the same line where they disagree: the one table of it, from reading servconf.c of each release.
//!
//! Owns the keywords of admission only (`MaxStartups`, `PerSourceMaxStartups`, `PerSourceNetBlockSize`): every other keyword that
//! the program tells is parsed alike in all releases from 8.4 on, and one that a release does not know is sshd's to name. It
//! answers for releases that cannot be run here, and explains those that can. Where a release's own `sshd -T` is to be had, that
//! is the answer, and this table is held against it.

use super::line;
use super::{ConfigFile, Directive};
use crate::release::Release;

/// Whether the table speaks of a release: 8.4 to 10.6, each of which was read, or asked (10.6).
#[must_use]
pub fn covers(release: Release) -> bool {
    matches!(
        (release.major, release.minor),
        (8, 4..=9) | (9, 0..=9) | (10, 0..=6)
    )
}

/// Since when `PerSourceMaxStartups` and `PerSourceNetBlockSize` are known.
const PER_SOURCE: Release = Release::new(8, 5);
/// Up to 9.1 sshd takes a `MaxStartups` of 0, and dies of it later.
const ZERO_REFUSED: Release = Release::new(9, 2);
/// f98031773.
const PER_SOURCE_FIRST: Release = Release::new(9, 5);
/// 683d0abe5, bz3859.
const FIRST: Release = Release::new(10, 1);
const ONE_NUMBER_BROKEN: Release = Release::new(10, 1);
/// 78d549857, bz3941.
const ONE_NUMBER_MENDED: Release = Release::new(10, 3);

/// Which of several lines with the same keyword counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// The first.
    First,
    /// The last.
    Last,
}

/// The release from which on the first of several lines with this keyword counts; before it the last does. `None` for a keyword
/// whose first line counts on all.
#[must_use]
pub fn first_counts_since(keyword: &str) -> Option<Release> {
    match keyword.to_ascii_lowercase().as_str() {
        "maxstartups" | "persourcenetblocksize" => Some(FIRST),
        "persourcemaxstartups" => Some(PER_SOURCE_FIRST),
        _ => None,
    }
}

/// Which of several lines with this keyword counts on a release.
#[must_use]
pub fn counts(keyword: &str, release: Release) -> Counts {
    match first_counts_since(keyword) {
        Some(since) if release < since => Counts::Last,
        Some(_) | None => Counts::First,
    }
}

/// Whether a single number is read as `10:30:N` (10.1 and 10.2).
#[must_use]
pub fn misreads_one_number(release: Release) -> bool {
    (ONE_NUMBER_BROKEN..ONE_NUMBER_MENDED).contains(&release)
}

/// A `MaxStartups` as sshd holds it: also one that it cannot work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    start: i32,
    rate: i32,
    full: i32,
}

impl std::fmt::Display for Held {
    /// As `sshd -T` prints it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.start, self.rate, self.full)
    }
}

/// servconf.c `fill_default_server_options`.
const DEFAULT: Held = Held {
    start: 10,
    rate: 30,
    full: 100,
};
/// servconf.c: not set yet.
const UNSET: i32 = -1;

/// What a release makes of a file, by the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<'f> {
    /// `MaxStartups` in force.
    pub max_startups: Held,
    /// `PerSourceMaxStartups` in force, as typed; `None` where the release does not know it.
    pub per_source: Option<String>,
    /// Lines of these keywords at which the release ends, with why.
    pub fatal: Vec<(&'f Directive, Fatal)>,
}

/// Why a line ends sshd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fatal {
    /// The keyword is not to be set for some connections only.
    InMatch,
    /// The release does not know the keyword.
    Unknown,
    /// The value cannot be read.
    Value,
}

/// Reads the lines about admission as a release does (8.4 and later).
#[must_use]
pub fn reading(config: &ConfigFile, release: Release) -> Reading<'_> {
    let mut startups = Held {
        start: UNSET,
        rate: UNSET,
        full: UNSET,
    };
    let mut per_source = None;
    let mut fatal = Vec::new();
    for directive in &config.directives {
        let is_startups = directive.sets("MaxStartups");
        let is_source = directive.sets("PerSourceMaxStartups");
        let is_block = directive.sets("PerSourceNetBlockSize");
        if !(is_startups || is_source || is_block) {
            continue;
        }
        if !is_startups && release < PER_SOURCE {
            fatal.push((directive, Fatal::Unknown));
            continue;
        }
        if directive
            .block
            .is_some_and(|block| !config.blocks[block].is_all)
        {
            fatal.push((directive, Fatal::InMatch));
            continue;
        }
        let words = line::arguments(&directive.rest, release);
        let Some([value]) = words.as_deref() else {
            fatal.push((directive, Fatal::Value));
            continue;
        };
        let read = if is_startups {
            read_startups(value, release, &mut startups)
        } else if is_source {
            read_source(value).map(|()| {
                if per_source.is_none() || counts("PerSourceMaxStartups", release) == Counts::Last {
                    per_source = Some(value.clone());
                }
            })
        } else {
            read_net_block(value)
        };
        if read.is_none() {
            fatal.push((directive, Fatal::Value));
        }
    }
    let filled = |value: i32, default: i32| if value == UNSET { default } else { value };
    Reading {
        max_startups: Held {
            start: filled(startups.start, DEFAULT.start),
            rate: filled(startups.rate, DEFAULT.rate),
            full: filled(startups.full, DEFAULT.full),
        },
        per_source: (release >= PER_SOURCE)
            .then(|| per_source.unwrap_or_else(|| "none".to_owned())),
        fatal,
    }
}

/// servconf.c, `case sMaxStartups`; `None` where it is fatal.
fn read_startups(value: &str, release: Release, held: &mut Held) -> Option<()> {
    let (numbers, _) = scanned(value, 3);
    let read = match numbers[..] {
        [start, rate, full] => {
            if start > full || !(1..=100).contains(&rate) {
                return None;
            }
            Held { start, rate, full }
        }
        [one] => Held {
            start: match misreads_one_number(release) {
                true => UNSET,
                false => one,
            },
            // Up to 10.0 what an earlier line has set stays: the numbers are read into their places.
            rate: match counts("MaxStartups", release) {
                Counts::Last => held.rate,
                Counts::First => UNSET,
            },
            full: one,
        },
        _ => return None,
    };
    if release >= ZERO_REFUSED && (numbers[0] <= 0 || read.full <= 0) {
        return None;
    }
    if held.full == UNSET || counts("MaxStartups", release) == Counts::Last {
        *held = read;
    }
    Some(())
}

fn read_source(value: &str) -> Option<()> {
    match value {
        "none" => Some(()),
        number => number.parse::<i32>().ok().filter(|n| *n >= 0).map(drop),
    }
}

fn read_net_block(value: &str) -> Option<()> {
    match scanned(value, 2).0[..] {
        [four] => (0..=32).contains(&four).then_some(()),
        [four, six] => ((0..=32).contains(&four) && (0..=128).contains(&six)).then_some(()),
        _ => None,
    }
}

/// sscanf(3) with `%d:%d…`: up to `most` numbers, and what it did not look at. A number too large for an `int` is cut off, as
/// glibc does it.
pub(super) fn scanned(text: &str, most: usize) -> (Vec<i32>, &str) {
    let mut numbers = Vec::new();
    let mut left = text;
    while numbers.len() < most {
        let from = match numbers.is_empty() {
            true => left,
            false => match left.strip_prefix(':') {
                Some(after) => after,
                None => break,
            },
        };
        let from = from.trim_start();
        let unsigned = from.strip_prefix(['+', '-']).unwrap_or(from);
        let digits = unsigned
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(unsigned.len());
        if digits == 0 {
            break;
        }
        let (number, after) = from.split_at(from.len() - unsigned.len() + digits);
        let long = number.parse::<i128>().unwrap_or(i128::MAX);
        let long = long.clamp(i64::MIN.into(), i64::MAX.into());
        #[allow(clippy::cast_possible_truncation)]
        numbers.push(long as i32);
        left = after;
    }
    (numbers, left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sshd_file::tests::config;

    fn release(text: &str) -> Release {
        text.parse().expect("a release")
    }

    /// `MaxStartups` in force on a release, or that the file ends it.
    fn on(text: &str, at: &str) -> String {
        let config = config(text);
        let reading = reading(&config, release(at));
        match reading.fatal.is_empty() {
            true => reading.max_startups.to_string(),
            false => "fatal".to_owned(),
        }
    }

    /// Every row in every column, also those of releases that no image brings: 8.7, 10.1 and 10.2.
    #[test]
    fn lines_mean_on_each_release_what_its_source_says() {
        const ALL: [&str; 8] = ["8.4", "8.7", "9.2", "10.0", "10.1", "10.2", "10.3", "10.6"];
        let same = |value| [value; 8];
        let (a, b) = ("10:30:60", "fatal");
        for (text, values) in [
            (
                "MaxStartups 10:30:60\nPort 1\nMaxStartups 500\n",
                [
                    "500:30:500",
                    "500:30:500",
                    "500:30:500",
                    "500:30:500",
                    a,
                    a,
                    a,
                    a,
                ],
            ),
            (
                "MaxStartups 500\n",
                [
                    "500:30:500",
                    "500:30:500",
                    "500:30:500",
                    "500:30:500",
                    "10:30:500",
                    "10:30:500",
                    "500:30:500",
                    "500:30:500",
                ],
            ),
            (
                "MaxStartups 5:50:60\nMaxStartups 70\n",
                [
                    "70:50:70", "70:50:70", "70:50:70", "70:50:70", "5:50:60", "5:50:60",
                    "5:50:60", "5:50:60",
                ],
            ),
            (
                "Match user x\n  X11Forwarding no\nMaxStartups 10:30:60\n",
                same(b),
            ),
            (
                "MaxStartups 9:9:9\nMatch all\nMaxStartups 10:30:60\n",
                [a, a, a, a, "9:9:9", "9:9:9", "9:9:9", "9:9:9"],
            ),
            ("\tmaxstartups\t10:30:60\n", same(a)),
            ("MaxStartups=10:30:60\n", same(a)),
            ("MaxStartups \"10:30:60\"\n", same(a)),
            ("MaxStartups '10:30:60'\n", [b, a, a, a, a, a, a, a]),
            ("MaxStartups 10:30:60 # why\n", same(a)),
            ("MaxStartups 10:30:60x\n", same(a)),
            ("MaxStartups 10:30:60:90\n", same(a)),
            (
                "MaxStartups 10,30,60\n",
                [
                    "10:30:10", "10:30:10", "10:30:10", "10:30:10", "10:30:10", "10:30:10",
                    "10:30:10", "10:30:10",
                ],
            ),
            ("MaxStartups 10:30\n", same(b)),
            ("MaxStartups 60:30:10\n", same(b)),
            ("MaxStartups 10:0:100\n", same(b)),
            ("MaxStartups none\n", same(b)),
            ("MaxStartups\n", same(b)),
            ("MaxStartups \"\"\n", same(b)),
            ("MaxStartups 0\n", ["0:30:0", "0:30:0", b, b, b, b, b, b]),
            ("", same("10:30:100")),
        ] {
            for (at, value) in ALL.into_iter().zip(values) {
                assert_eq!(on(text, at), value, "{text:?} on {at}");
            }
        }
    }

    #[test]
    fn limits_per_source_are_unknown_before_8_5_and_the_last_counts_before_9_5() {
        let twice = config("PerSourceMaxStartups 5\nPerSourceMaxStartups 9\n");
        assert_eq!(reading(&twice, release("8.4")).per_source, None);
        assert_eq!(reading(&twice, release("8.4")).fatal.len(), 2);
        for (at, value) in [("9.2", "9"), ("9.4", "9"), ("9.5", "5"), ("10.6", "5")] {
            let read = reading(&twice, release(at));
            assert_eq!(read.per_source.as_deref(), Some(value), "{at}");
        }
        for (at, expected) in [("10.0", Counts::Last), ("10.1", Counts::First)] {
            assert_eq!(counts("persourcenetblocksize", release(at)), expected);
        }
        assert_eq!(counts("LoginGraceTime", release("8.4")), Counts::First);
        for (at, known) in [
            ("8.3", false),
            ("8.4", true),
            ("8.10", false),
            ("10.6", true),
            ("10.7", false),
        ] {
            assert_eq!(covers(release(at)), known, "{at}");
        }
    }

    #[test]
    fn numbers_are_scanned_as_sscanf_does() {
        for (text, numbers, left) in [
            ("10:30:60:90", &[10, 30, 60][..], ":90"),
            ("10: 30:+60", &[10, 30, 60], ""),
            ("10:", &[10], ":"),
            ("0x10", &[0], "x10"),
            ("4294967306", &[10], ""),
            ("-5", &[-5], ""),
            ("none", &[], "none"),
        ] {
            assert_eq!(scanned(text, 3), (numbers.to_vec(), left), "{text}");
        }
    }
}
