//! Which limits the simulated server has: what of a scenario's `[sshd]` table the model knows, by release.

use std::time::Duration;

use crate::join::SSH_LISTEN_BACKLOG;
use crate::release::Release;
use crate::scenario::{MaxStartups, SlowAuth, SshdConfig};

/// sshd's default `MaxSessions`.
const MAX_SESSIONS: u32 = 10;
/// sshd's default `LoginGraceTime`.
const LOGIN_GRACE: Duration = Duration::from_secs(120);
/// From this release on a random time is added to it (sshd-session.c:main).
const JITTER_SINCE: Release = Release::new(9, 9);
const GRACE_JITTER: Duration = Duration::from_secs(4);

/// Limits.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerSettings {
    /// `MaxStartups`.
    pub max_startups: MaxStartups,
    /// `PerSourceMaxStartups`; `None` without a limit.
    pub per_source_max_startups: Option<u32>,
    /// `MaxSessions`.
    pub max_sessions: u32,
    /// `LoginGraceTime`; `None` waits for ever.
    pub login_grace: Option<Duration>,
    /// Up to this is added to it.
    pub grace_jitter: Duration,
    /// What every login waits for before its keys are known.
    pub slow_auth: Option<SlowAuth>,
    /// Connections that wait to be accepted, beside one more.
    pub backlog: u64,
}

/// A keyword that the model does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the simulated server does not know `{keyword} {value}`: {why}")]
pub struct NotSimulated {
    keyword: String,
    value: String,
    why: &'static str,
}

impl ServerSettings {
    /// Those of a server with nothing but its `MaxStartups`.
    #[must_use]
    pub fn of(max_startups: MaxStartups) -> Self {
        ServerSettings {
            max_startups,
            per_source_max_startups: None,
            max_sessions: MAX_SESSIONS,
            login_grace: Some(LOGIN_GRACE),
            grace_jitter: Duration::ZERO,
            slow_auth: None,
            backlog: SSH_LISTEN_BACKLOG,
        }
    }

    /// Those of a scenario's server.
    ///
    /// # Errors
    /// [`NotSimulated`] for a keyword that would change what happens and that the model knows nothing of.
    pub fn of_scenario(sshd: &SshdConfig, release: Release) -> Result<Self, NotSimulated> {
        let mut settings = ServerSettings {
            slow_auth: sshd.slow_auth,
            grace_jitter: match release >= JITTER_SINCE {
                true => GRACE_JITTER,
                false => Duration::ZERO,
            },
            ..ServerSettings::of(sshd.max_startups)
        };
        for (keyword, value) in &sshd.keywords {
            let refuse = |why| NotSimulated {
                keyword: keyword.clone(),
                value: value.clone(),
                why,
            };
            let number = || {
                value
                    .trim()
                    .parse::<u32>()
                    .map_err(|_| refuse("it is no number"))
            };
            match keyword.to_ascii_lowercase().as_str() {
                "maxsessions" => settings.max_sessions = number()?,
                "logingracetime" => {
                    let seconds = seconds(value).ok_or_else(|| refuse("it is no time"))?;
                    settings.login_grace = (seconds > 0).then(|| Duration::from_secs(seconds));
                }
                "persourcemaxstartups" => {
                    settings.per_source_max_startups = match value.trim() {
                        none if none.eq_ignore_ascii_case("none") => None,
                        _ => Some(number()?),
                    }
                }
                "persourcepenalties" if value.trim().eq_ignore_ascii_case("no") => {}
                // Nothing about them changes who is admitted, or what a login costs.
                "usedns"
                | "usepam"
                | "clientaliveinterval"
                | "clientalivecountmax"
                | "persourcenetblocksize"
                | "maxauthtries"
                | "tcpkeepalive"
                | "printmotd"
                | "x11forwarding"
                | "allowtcpforwarding"
                | "acceptenv" => {}
                _ => return Err(refuse("use a real server (`--target docker` or `local`)")),
            }
        }
        if let Some((keyword, value)) = sshd.monitoring_keywords.first() {
            return Err(NotSimulated {
                keyword: keyword.clone(),
                value: value.clone(),
                why: "it is for monitoring connections only",
            });
        }
        Ok(settings)
    }
}

/// A time as sshd_config(5) writes it (TIME FORMATS): `120`, `2m`, `1h30m`.
fn seconds(text: &str) -> Option<u64> {
    let (mut total, mut number) = (0_u64, String::new());
    for character in text.trim().chars() {
        let unit = match character.to_ascii_lowercase() {
            digit if digit.is_ascii_digit() => {
                number.push(digit);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    match number.is_empty() {
        true => Some(total),
        false => total.checked_add(number.parse().ok()?),
    }
}
