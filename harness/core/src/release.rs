//! Which OpenSSH release a server is, as far as keywords and log lines depend on it.
//!
//! Owns reading it out of what programs print and people write. It must not run any program.

use std::fmt;
use std::str::FromStr;

/// An OpenSSH portable release; the patch level says nothing about behaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release {
    /// 9 of 9.2p1.
    pub major: u32,
    /// 2 of 9.2p1.
    pub minor: u32,
}

impl Release {
    /// A release by its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32) -> Self {
        Release { major, minor }
    }

    /// Finds the release in an identification string, in what `sshd -V` prints, or in the usage message older
    /// releases print instead (`sshd -V` is since 8.9).
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        let numbers = release_word(text)?.strip_prefix(PREFIX)?;
        let (major, rest) = numbers.split_once('.')?;
        let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(Release {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

/// Text that names no release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a release of OpenSSH such as `9.8`")]
pub struct InvalidRelease(String);

impl FromStr for Release {
    type Err = InvalidRelease;

    /// Reads `9.8`. A patch level (`9.8p1`) is refused: nothing here depends on it, and it would promise more.
    fn from_str(text: &str) -> Result<Self, InvalidRelease> {
        let invalid = || InvalidRelease(text.to_owned());
        // `u32::from_str` takes a sign, a release has none.
        let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => digits.parse().map_err(|_| invalid()),
            false => Err(invalid()),
        };
        let (major, minor) = text.split_once('.').ok_or_else(invalid)?;
        Ok(Release::new(number(major)?, number(minor)?))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

const PREFIX: &str = "OpenSSH_";

/// The word that names the release, `OpenSSH_9.2p1`, in any text that has one.
#[must_use]
pub fn release_word(text: &str) -> Option<&str> {
    let from = text.find(PREFIX)?;
    text[from..]
        .split(|c: char| c.is_whitespace() || c == ',')
        .next()
        .filter(|word| word.len() > PREFIX.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_found_in_identification_version_and_usage_text() {
        for (text, release) in [
            ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u5", Release::new(9, 2)),
            ("SSH-2.0-OpenSSH_for_Windows_9.5", Release::new(0, 0)),
            (
                "OpenSSH_10.0p2 Debian-7, OpenSSL 3.5.1 1 Jul 2025",
                Release::new(10, 0),
            ),
            (
                "OpenSSH_9.2, OpenSSL 3.0.19 27 Jan 2026",
                Release::new(9, 2),
            ),
            (
                "unknown option -- V\nOpenSSH_8.4p1 Debian-5+deb11u3, OpenSSL 1.1.1w  11 Sep 2023\nusage: sshd [-46DdeiqTt]",
                Release::new(8, 4),
            ),
            ("OpenSSH_7.4p1, OpenSSL 1.0.2k-fips", Release::new(7, 4)),
        ] {
            let expected = (release != Release::new(0, 0)).then_some(release);
            assert_eq!(Release::find(text), expected, "{text}");
        }
    }

    #[test]
    fn text_without_a_release_has_none() {
        for text in [
            "",
            "SSH-2.0-dropbear_2022.83",
            "OpenSSH_",
            "OpenSSH_x.1",
            "OpenSSH_9",
        ] {
            assert_eq!(Release::find(text), None, "{text}");
        }
    }

    #[test]
    fn release_is_read_as_people_write_it_and_nothing_else() {
        assert_eq!("9.8".parse(), Ok(Release::new(9, 8)));
        assert_eq!("10.0".parse(), Ok(Release::new(10, 0)));
        for text in [
            "",
            "9",
            "9.",
            ".8",
            "9.8p1",
            "9.8.1",
            "+9.8",
            "9.-8",
            "OpenSSH_9.8",
            " 9.8",
        ] {
            assert!(text.parse::<Release>().is_err(), "{text}");
        }
    }

    #[test]
    fn releases_order_by_number_not_by_text() {
        assert!(Release::new(10, 0) > Release::new(9, 9));
        assert!(Release::new(8, 10) > Release::new(8, 9));
    }
}
