//! What of the scenario's `sshd_config` keywords the stand-in honours, and what it ignores, loudly.
//!
//! Owns reading `LoginGraceTime` and `MaxSessions` as sshd's servconf.c and misc.c do. It must not start
//! anything.

use std::net::IpAddr;
use std::time::Duration;

use crate::ServerError;
use sshchurn_core::model::Admission;
use sshchurn_core::scenario::{MONITORING_SOURCE, SshdConfig};

/// sshd's defaults (servconf.c:fill_default_server_options).
const LOGIN_GRACE_TIME: Duration = Duration::from_secs(120);
const MAX_SESSIONS: u32 = 10;

/// The settings of the stand-in: everything it can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// `MaxStartups`.
    pub admission: Admission,
    /// `LoginGraceTime`; `None` where it is off (0).
    pub login_grace_time: Option<Duration>,
    /// `MaxSessions`: session channels open at once on one connection; 0 refuses them all.
    pub max_sessions: u32,
    /// `MaxSessions` of connections from [`MONITORING_SOURCE`], where the scenario sets it apart.
    pub monitoring_max_sessions: u32,
    /// Keywords of the scenario that have no effect here, as it spells them.
    pub ignored: Vec<(String, String)>,
}

impl EmbeddedSettings {
    /// Takes what the stand-in knows out of the scenario's keywords.
    ///
    /// # Errors
    /// [`ServerError::ConfigRefused`] for a value sshd would refuse too.
    pub fn read(sshd: &SshdConfig) -> Result<Self, ServerError> {
        let grace = match sshd.keyword("LoginGraceTime") {
            Some(text) => parse_time(text).ok_or_else(|| ServerError::ConfigRefused {
                detail: format!("LoginGraceTime `{text}`: invalid time value."),
            })?,
            None => LOGIN_GRACE_TIME,
        };
        let max_sessions = parse_max_sessions(sshd.keyword("MaxSessions"), MAX_SESSIONS)?;
        let monitoring = sshd
            .monitoring_keywords
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case("MaxSessions"))
            .map(|(_, value)| value.as_str());
        let monitoring_max_sessions = parse_max_sessions(monitoring, max_sessions)?;
        let ignored = sshd
            .keywords
            .iter()
            .filter(|(key, _)| {
                !["LoginGraceTime", "MaxSessions"]
                    .iter()
                    .any(|known| key.eq_ignore_ascii_case(known))
            })
            .chain(
                sshd.monitoring_keywords
                    .iter()
                    .filter(|(key, _)| !key.eq_ignore_ascii_case("MaxSessions")),
            )
            .cloned()
            .collect();
        Ok(EmbeddedSettings {
            admission: Admission::new(sshd.max_startups),
            login_grace_time: (!grace.is_zero()).then_some(grace),
            max_sessions,
            monitoring_max_sessions,
            ignored,
        })
    }

    /// `MaxSessions` for a connection from `source`.
    #[must_use]
    pub fn max_sessions_of(&self, source: IpAddr) -> u32 {
        if source == IpAddr::V4(MONITORING_SOURCE) {
            self.monitoring_max_sessions
        } else {
            self.max_sessions
        }
    }

    /// The settings in force as `sshd -T` prints them, `MaxStartups` left out.
    #[must_use]
    pub fn effective(&self) -> Vec<(String, String)> {
        let grace = self.login_grace_time.map_or(0, |grace| grace.as_secs());
        vec![
            (String::from("logingracetime"), grace.to_string()),
            (String::from("maxsessions"), self.max_sessions.to_string()),
        ]
    }

    /// The settings in force as the text of an `sshd_config`.
    #[must_use]
    pub fn as_sshd_config(&self) -> String {
        let grace = self.login_grace_time.map_or(0, |grace| grace.as_secs());
        let mut text = format!(
            "# Settings of sshchurn's embedded stand-in, which is not OpenSSH and read no file.\n\
             MaxStartups {}\nLoginGraceTime {grace}\nMaxSessions {}\n",
            self.admission.max_startups(),
            self.max_sessions,
        );
        for (key, value) in &self.ignored {
            text.push_str(&format!("# ignored: {key} {value}\n"));
        }
        text
    }

    /// What a reader of the report must know, each a full sentence with its remedy.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = vec![String::from(
            "The server under test is sshchurn's embedded stand-in, not OpenSSH: it has OpenSSH's admission rule, \
             LoginGraceTime and MaxSessions, but neither its process model nor its cost per handshake, and it shares \
             the CPUs of the client; use `--target docker` or `--target local` for figures about a real sshd.",
        )];
        if !self.ignored.is_empty() {
            let list: Vec<String> = self
                .ignored
                .iter()
                .map(|(key, value)| format!("`{key} {value}`"))
                .collect();
            warnings.push(format!(
                "The embedded stand-in IGNORED these sshd_config settings of the scenario: {}; use `--target docker` \
                 or `--target local`, or take them out of the scenario.",
                list.join(", ")
            ));
        }
        warnings
    }
}

/// A time as misc.c:convtime reads it: numbers, each with an optional unit `s`, `m`, `h`, `d`, `w` in either
/// case, added up; a number without unit is seconds.
fn parse_time(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut number: Option<u64> = None;
    for character in text.chars() {
        if let Some(digit) = character.to_digit(10) {
            number = Some(
                number
                    .unwrap_or(0)
                    .checked_mul(10)?
                    .checked_add(u64::from(digit))?,
            );
            continue;
        }
        let unit = match character.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        seconds = seconds.checked_add(number.take()?.checked_mul(unit)?)?;
    }
    match number {
        Some(rest) => seconds = seconds.checked_add(rest)?,
        None if text.is_empty() => return None,
        None => {}
    }
    // sshd keeps it in an int.
    i32::try_from(seconds).ok()?;
    Some(Duration::from_secs(seconds))
}

fn parse_max_sessions(text: Option<&str>, default: u32) -> Result<u32, ServerError> {
    match text {
        Some(text) => text.parse().map_err(|_| ServerError::ConfigRefused {
            detail: format!("MaxSessions `{text}`: invalid integer value."),
        }),
        None => Ok(default),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(keywords: &[(&str, &str)]) -> Result<EmbeddedSettings, ServerError> {
        EmbeddedSettings::read(&SshdConfig {
            keywords: keywords
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            ..SshdConfig::of("10:30:100".parse().expect("valid"))
        })
    }

    #[test]
    fn defaults_are_those_of_sshd() {
        let settings = settings(&[]).expect("valid");
        assert_eq!(settings.login_grace_time, Some(Duration::from_secs(120)));
        assert_eq!(settings.max_sessions, 10);
        assert_eq!(settings.warnings().len(), 1);
    }

    #[test]
    fn login_grace_time_takes_units_and_zero_turns_it_off() {
        for (text, seconds) in [
            ("90", 90),
            ("2m", 120),
            ("1h30m", 5_400),
            ("1W", 604_800),
            ("1m5", 65),
        ] {
            let settings = settings(&[("logingracetime", text)]).expect(text);
            assert_eq!(
                settings.login_grace_time,
                Some(Duration::from_secs(seconds)),
                "{text}"
            );
        }
        assert_eq!(
            settings(&[("LoginGraceTime", "0")])
                .expect("valid")
                .login_grace_time,
            None
        );
    }

    #[test]
    fn values_sshd_would_refuse_are_refused() {
        for (key, value) in [
            ("LoginGraceTime", ""),
            ("LoginGraceTime", "2x"),
            ("LoginGraceTime", "m"),
            ("LoginGraceTime", "99999999999"),
            ("MaxSessions", "many"),
        ] {
            assert!(
                matches!(
                    settings(&[(key, value)]),
                    Err(ServerError::ConfigRefused { .. })
                ),
                "{key} {value}"
            );
        }
    }

    #[test]
    fn first_of_two_values_wins() {
        let settings = settings(&[("MaxSessions", "3"), ("maxsessions", "7")]).expect("valid");
        assert_eq!(settings.max_sessions, 3);
        assert!(settings.ignored.is_empty());
    }

    #[test]
    fn keywords_without_effect_are_named_in_a_warning() {
        let settings =
            settings(&[("PerSourceMaxStartups", "4"), ("MaxSessions", "0")]).expect("valid");
        assert_eq!(settings.max_sessions, 0);
        let warnings = settings.warnings();
        assert!(
            warnings[1].contains("`PerSourceMaxStartups 4`"),
            "{warnings:?}"
        );
        assert!(
            settings
                .as_sshd_config()
                .contains("# ignored: PerSourceMaxStartups 4")
        );
    }
}
