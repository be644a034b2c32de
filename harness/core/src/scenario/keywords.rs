//! `sshd_config` keywords a scenario may set, and those the harness owns.

/// Why a keyword cannot be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeywordError {
    /// The harness sets it.
    #[error("the harness sets this keyword itself: {0}")]
    Owned(&'static str),
    /// Not a word.
    #[error("not a keyword: letters and digits only")]
    NotAKeyword,
    /// sshd would not take it for some connections only.
    #[error(
        "sshd cannot apply this keyword to monitoring connections only; those it can are MaxSessions, MaxAuthTries, ClientAliveInterval, ClientAliveCountMax, ChannelTimeout, UnusedConnectionTimeout, RekeyLimit, PermitTTY, AllowTcpForwarding"
    )]
    NotInMatch,
    /// Would add lines of its own to the file.
    #[error("the value has a line end or is empty")]
    Value,
    /// Given twice, and sshd takes one of them.
    #[error(
        "given twice, `{first}` and `{second}`: sshd takes one of the two lines, and which one differs between releases; keep \
         one, or put both into one value where the keyword takes a list"
    )]
    Twice {
        /// The first, as typed.
        first: String,
        /// The second, as typed.
        second: String,
    },
}

/// A keyword that cannot be set, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{keyword}: {error}")]
pub struct RefusedKeyword {
    /// As typed.
    pub keyword: String,
    /// Why.
    pub error: KeywordError,
}

/// Keywords whose lines sshd adds up (servconf.c; seen with `sshd -T` of 8.4, 9.2, 10.0 and 10.6). Of any other one line
/// counts: the first, of some the last, and of a few that differs between releases. `SetEnv` and `PerSourcePenaltyExemptList`
/// take lists, and one line.
const ADDS_UP: [&str; 7] = [
    "acceptenv",
    "allowgroups",
    "allowusers",
    "denygroups",
    "denyusers",
    "persourcepenalties",
    "subsystem",
];

/// Whether sshd takes every line of a keyword, and not one of them.
#[must_use]
pub fn adds_up(keyword: &str) -> bool {
    ADDS_UP
        .iter()
        .any(|adding| adding.eq_ignore_ascii_case(keyword))
}

/// Keywords the harness owns, lower case, and why.
const OWNED: [(&str, &str); 17] = [
    (
        "maxstartups",
        "use `max_startups`, which is written once and verified",
    ),
    ("port", "the target chooses a free port"),
    ("listenaddress", "the target listens on loopback only"),
    ("addressfamily", "the target listens on loopback only"),
    ("hostkey", "every run has its own host key"),
    ("hostcertificate", "every run has its own host key"),
    ("authorizedkeysfile", "every run has its own user key"),
    ("authorizedkeyscommand", "every run has its own user key"),
    ("pubkeyauthentication", "the client logs in with a key"),
    ("pidfile", "the harness keeps track of the process itself"),
    ("loglevel", "every drop must be in the log"),
    ("logverbose", "every drop must be in the log"),
    ("syslogfacility", "the log goes to a file"),
    (
        "include",
        "what it includes could change the limits under test",
    ),
    ("match", "a block would change what follows it"),
    (
        "chrootdirectory",
        "the jobs' directories must be visible to the harness",
    ),
    ("forcecommand", "the jobs' commands must be run as they are"),
];

/// Checks one keyword and its value.
///
/// # Errors
/// [`KeywordError`] when the harness owns it or it could not be written as one line.
pub(super) fn check(keyword: &str, value: &str) -> Result<(), KeywordError> {
    if keyword.is_empty() || !keyword.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(KeywordError::NotAKeyword);
    }
    if value.trim().is_empty() || value.contains(['\n', '\r', '\0']) {
        return Err(KeywordError::Value);
    }
    match keyword_of_harness(keyword) {
        Some(why) => Err(KeywordError::Owned(why)),
        None => Ok(()),
    }
}

/// Why the harness sets a keyword itself; `None` for one that it leaves to scenarios.
#[must_use]
pub fn keyword_of_harness(keyword: &str) -> Option<&'static str> {
    OWNED
        .iter()
        .find(|(owned, _)| owned.eq_ignore_ascii_case(keyword))
        .map(|(_, why)| *why)
}

/// Keywords sshd allows in a `Match` block that bear on connections and sessions (servconf.c, `SSHCFG_MATCH`).
const IN_MATCH: [&str; 9] = [
    "AllowTcpForwarding",
    "ChannelTimeout",
    "ClientAliveCountMax",
    "ClientAliveInterval",
    "MaxAuthTries",
    "MaxSessions",
    "PermitTTY",
    "RekeyLimit",
    "UnusedConnectionTimeout",
];

/// Checks one keyword of a block that applies to monitoring connections only.
///
/// # Errors
/// [`KeywordError`] when sshd would not take it in a `Match` block, or as [`check`].
pub(super) fn check_in_match(keyword: &str, value: &str) -> Result<(), KeywordError> {
    check(keyword, value)?;
    if IN_MATCH
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(keyword))
    {
        Ok(())
    } else {
        Err(KeywordError::NotInMatch)
    }
}
