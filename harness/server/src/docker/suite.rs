//! The OpenSSH releases that can be had as an image, and the Debian suites that carry them.
//!
//! The one table of them. What a suite really brings is checked when an image is made (`image`): a suite moves on, the
//! table does not.

use crate::{ServerError, too_old};
use sshchurn_core::release::Release;

/// A Debian suite, and with it one release of OpenSSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// Debian 11.
    Bullseye,
    /// Debian 12.
    Bookworm,
    /// Debian 13.
    Trixie,
    /// Debian 13 with the newer OpenSSH of its backports.
    TrixieBackports,
    /// The next Debian.
    Forky,
}

impl Suite {
    /// All suites, by ascending release.
    pub const ALL: [Suite; 5] = [
        Suite::Bullseye,
        Suite::Bookworm,
        Suite::Trixie,
        Suite::TrixieBackports,
        Suite::Forky,
    ];

    /// The suite where nobody asks for a release.
    pub const DEFAULT: Suite = Suite::Bookworm;

    /// Debian's name of the suite.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Suite::Bullseye => "bullseye",
            Suite::Bookworm => "bookworm",
            Suite::Trixie => "trixie",
            Suite::TrixieBackports => "trixie-backports",
            Suite::Forky => "forky",
        }
    }

    /// The release it carries.
    #[must_use]
    pub const fn release(self) -> Release {
        match self {
            Suite::Bullseye => Release::new(8, 4),
            Suite::Bookworm => Release::new(9, 2),
            Suite::Trixie => Release::new(10, 0),
            Suite::TrixieBackports => Release::new(10, 3),
            Suite::Forky => Release::new(10, 6),
        }
    }

    /// Tag of the base image `debian:…`. Backports are a source added to the suite they are for.
    #[must_use]
    pub const fn base_tag(self) -> &'static str {
        match self {
            Suite::Bullseye => "bullseye-slim",
            Suite::Bookworm => "bookworm-slim",
            Suite::Trixie | Suite::TrixieBackports => "trixie-slim",
            Suite::Forky => "forky-slim",
        }
    }

    /// The suite that carries exactly this release.
    #[must_use]
    pub fn of(release: Release) -> Option<Self> {
        Suite::ALL
            .into_iter()
            .find(|suite| suite.release() == release)
    }

    /// The suite with the oldest release that is at least `least`.
    #[must_use]
    pub fn at_least(least: Release) -> Option<Self> {
        Suite::ALL
            .into_iter()
            .find(|suite| suite.release() >= least)
    }

    /// The suite that serves a request: the one of `release`, or the oldest that satisfies `least`, or the default.
    pub(super) fn serving(
        release: Option<Release>,
        least: Option<Release>,
    ) -> Result<Self, ServerError> {
        let unknown = |release: Release, which: &str| ServerError::Unavailable {
            what: format!(
                "no image of OpenSSH {release}{which} is known; the releases to be had are {}",
                Suite::releases()
            ),
            fix: String::from(
                "ask for one of them, or use `--target local` on a machine that has it",
            ),
        };
        let suite = match (release, least) {
            (Some(release), _) => Suite::of(release).ok_or_else(|| unknown(release, ""))?,
            (None, Some(least)) => {
                Suite::at_least(least).ok_or_else(|| unknown(least, " or newer"))?
            }
            (None, _) => Suite::DEFAULT,
        };
        match least {
            Some(least) if suite.release() < least => Err(too_old(
                &format!("OpenSSH {} in a container", suite.release()),
                least,
                "leave `--release` away, or ask for a newer one",
            )),
            _ => Ok(suite),
        }
    }

    /// The known releases in words: `8.4, 9.2, …`.
    #[must_use]
    pub fn releases() -> String {
        Suite::ALL
            .map(|suite| suite.release().to_string())
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_in_the_order_of_their_releases_and_each_is_found_by_its_own() {
        assert!(
            Suite::ALL
                .windows(2)
                .all(|pair| pair[0].release() < pair[1].release())
        );
        for suite in Suite::ALL {
            assert_eq!(Suite::of(suite.release()), Some(suite));
        }
        assert_eq!(Suite::of(Release::new(9, 8)), None);
    }

    #[test]
    fn least_release_takes_the_oldest_that_satisfies_it() {
        for (least, suite) in [
            (Release::new(7, 4), Some(Suite::Bullseye)),
            (Release::new(8, 4), Some(Suite::Bullseye)),
            (Release::new(8, 5), Some(Suite::Bookworm)),
            (Release::new(9, 8), Some(Suite::Trixie)),
            (Release::new(10, 1), Some(Suite::TrixieBackports)),
            (Release::new(10, 6), Some(Suite::Forky)),
            (Release::new(10, 7), None),
        ] {
            assert_eq!(Suite::at_least(least), suite, "{least}");
        }
    }

    #[test]
    fn base_image_of_backports_is_that_of_the_suite_below() {
        assert_eq!(Suite::TrixieBackports.base_tag(), Suite::Trixie.base_tag());
        for suite in Suite::ALL {
            let below = suite.as_str().trim_end_matches("-backports");
            assert_eq!(suite.base_tag(), format!("{below}-slim"));
        }
    }
}
