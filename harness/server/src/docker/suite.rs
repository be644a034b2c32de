//! The OpenSSH releases that can be had as an image, and the Debian suites that carry them.
//!
//! The one table of them. What a suite really brings is checked when an image is made (`image`): a suite moves on, the
//! table does not.

use crate::{ServerError, too_old};
use sshchurn_core::manifest::Substitution;
use sshchurn_core::release::Release;
use sshchurn_core::release_changes;

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

    /// The suite with the release that is nearest to one, among those with at least `least`, and what to say where it is
    /// another. `None` for a release that never was or is not known.
    #[must_use]
    pub fn nearest(
        release: Release,
        least: Option<Release>,
    ) -> Option<(Self, Option<Substitution>)> {
        let there = Suite::ALL.map(Suite::release).into_iter();
        let allowed = there.filter(|there| least.is_none_or(|least| *there >= least));
        let ran = release_changes::nearest(release, allowed)?;
        Some((Suite::of(ran)?, release_changes::substitution(release, ran)))
    }

    /// The suite that serves a request: the one of `release` or the nearest to it, or the oldest that satisfies `least`, or
    /// the default.
    ///
    /// # Errors
    /// [`ServerError::Unavailable`] where none does.
    pub fn serving(
        release: Option<Release>,
        least: Option<Release>,
    ) -> Result<(Self, Option<Substitution>), ServerError> {
        match (release, least) {
            (Some(release), Some(least)) if release < least => Err(too_old(
                &format!("OpenSSH {release} in a container"),
                least,
                "leave `--release` away, or ask for a newer one",
            )),
            (Some(release), _) => {
                Suite::nearest(release, least).ok_or_else(|| ServerError::Unavailable {
                    what: Suite::unknown(release),
                    fix: String::from("ask for one of them"),
                })
            }
            (None, Some(least)) => match Suite::at_least(least) {
                Some(suite) => Ok((suite, None)),
                None => Err(ServerError::Unavailable {
                    what: format!(
                        "no image of OpenSSH {least} or newer is known; the releases to be had are {}",
                        Suite::releases()
                    ),
                    fix: String::from("use `--target local` on a machine that has it"),
                }),
            },
            (None, None) => Ok((Suite::DEFAULT, None)),
        }
    }

    /// Why a release has no image and no nearest one, with those that there are.
    #[must_use]
    pub fn unknown(release: Release) -> String {
        let (first, last) = release_changes::KNOWN;
        format!(
            "OpenSSH {release} is no release between {first} and {last}, so what is nearest to it is not known; there are images of {}",
            Suite::releases()
        )
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
    fn release_without_an_image_is_served_by_the_nearest_that_the_scenario_allows_and_that_is_said()
    {
        let served = |release, least: Option<Release>| {
            let (suite, substitution) = Suite::serving(Some(release), least).expect("served");
            (suite, substitution.map(|made| (made.asked, made.ran)))
        };
        let said = |asked: &str, ran: &str| Some((asked.to_owned(), ran.to_owned()));
        assert_eq!(served(Release::new(9, 2), None), (Suite::Bookworm, None));
        assert_eq!(
            served(Release::new(9, 6), None),
            (Suite::Bookworm, said("9.6", "9.2"))
        );
        // One that the scenario can be run on, although another is nearer.
        assert_eq!(
            served(Release::new(9, 6), Some(Release::new(9, 5))),
            (Suite::Trixie, said("9.6", "10.0"))
        );
        for (release, least) in [
            (Release::new(7, 0), None),
            (Release::new(11, 3), None),
            (Release::new(9, 2), Some(Release::new(9, 8))),
        ] {
            assert!(Suite::serving(Some(release), least).is_err(), "{release}");
        }
        let known = Suite::ALL.map(Suite::release);
        assert!(known.into_iter().all(release_changes::is_known));
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
