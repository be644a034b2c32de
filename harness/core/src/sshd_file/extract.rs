//! What of a user's `sshd_config` can be put before a server of this program, and what cannot and why.
//!
//! Owns that division. Values are those that a release's own sshd says are in force, never those of the text. What names keys,
//! accounts, programs or addresses of the user's machine is never looked at.

use super::{ConfigFile, Directive};
use crate::printable::printable;
use crate::scenario::{InvalidMaxStartups, MaxStartups, SshdConfig, keyword_of_harness};

/// Keywords that decide who is let in, how long and how often: they are run as they are in force.
pub const RUN: [&str; 11] = [
    "LoginGraceTime",
    "MaxAuthTries",
    "MaxSessions",
    "PerSourceMaxStartups",
    "PerSourceNetBlockSize",
    "PerSourcePenalties",
    "PerSourcePenaltyExemptList",
    "ClientAliveInterval",
    "ClientAliveCountMax",
    "ChannelTimeout",
    "UnusedConnectionTimeout",
];

/// Keywords that bear on a login and are not run, and why.
const NOT_RUN: [(&str, &str); 12] = [
    (
        "usepam",
        "the PAM modules of your machine are not here; the time that they take holds a startup slot",
    ),
    (
        "usedns",
        "name servers are not asked; a slow one would hold a startup slot",
    ),
    (
        "authorizedkeyscommand",
        "a program of your machine is never run; `sshd.slow_auth` of a scenario stands for the time it takes",
    ),
    (
        "authorizedprincipalscommand",
        "a program of your machine is never run",
    ),
    ("kexalgorithms", CRYPTO),
    ("ciphers", CRYPTO),
    ("macs", CRYPTO),
    ("hostkeyalgorithms", CRYPTO),
    ("pubkeyacceptedalgorithms", CRYPTO),
    ("allowusers", ACCOUNTS),
    ("allowgroups", ACCOUNTS),
    ("denyusers", ACCOUNTS),
];
const CRYPTO: &str =
    "it changes what a handshake costs, not who is let in; the clients here speak what they speak";
const ACCOUNTS: &str = "the accounts of your machine are not here";
const ELSEWHERE: &str = "it does not bear on which connections are let in";

/// What is not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Keyword, or `Match` with its criteria, as typed but for control characters.
    pub what: String,
    /// Why.
    pub why: String,
}

/// A file as it can be run.
#[derive(Debug, Clone, PartialEq)]
pub struct Extract {
    /// In force.
    pub max_startups: MaxStartups,
    /// Keywords with the values in force.
    pub keywords: Vec<(String, String)>,
    /// What is not run.
    pub left_out: Vec<LeftOut>,
}

/// Why a file cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRunnable {
    /// sshd did not say what is in force.
    #[error("sshd does not say which MaxStartups is in force")]
    NotSaid,
    /// sshd would not work with it.
    #[error("MaxStartups {0}")]
    MaxStartups(#[from] InvalidMaxStartups),
}

/// Divides a file. `settings` is what the server's own sshd says is in force, keywords in lower case; `for_connection` whether it
/// was asked for one, so that what blocks say is among them.
///
/// # Errors
/// [`NotRunnable`] where there is no `MaxStartups` to run.
pub fn extract(
    config: &ConfigFile,
    settings: &[(String, String)],
    for_connection: bool,
) -> Result<Extract, NotRunnable> {
    let in_force = |keyword: &str| {
        settings
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(keyword))
            .map(|(_, value)| value.as_str())
    };
    let max_startups = in_force("maxstartups")
        .ok_or(NotRunnable::NotSaid)?
        .parse::<MaxStartups>()?;
    let mut keywords = Vec::new();
    for keyword in RUN {
        let in_block = |line: &Directive| for_connection && line.sets(keyword);
        if (config.sets(keyword) || config.directives.iter().any(in_block))
            && let Some(value) = in_force(keyword)
        {
            keywords.push((keyword.to_owned(), value.to_owned()));
        }
    }
    let mut left_out: Vec<LeftOut> = Vec::new();
    let mut leave = |what: &str, why: &str| {
        let what = printable(what);
        if !left_out
            .iter()
            .any(|known| known.what.eq_ignore_ascii_case(&what))
        {
            left_out.push(LeftOut {
                what,
                why: why.to_owned(),
            });
        }
    };
    // What blocks say may be in force too where a connection was asked for.
    let applying: Vec<&Directive> = match for_connection {
        true => config.directives.iter().collect(),
        false => config.global().collect(),
    };
    for directive in applying {
        let keyword = directive.keyword.as_str();
        let is = |known: &str| directive.sets(known);
        if RUN.iter().any(|known| is(known)) || is("maxstartups") || is("include") || is("match") {
            continue;
        }
        let off = in_force(keyword).is_some_and(|value| value.eq_ignore_ascii_case("no"));
        if off && (is("usepam") || is("usedns")) {
            // So it is here.
            continue;
        }
        let known = NOT_RUN.iter().find(|(known, _)| is(known));
        let why = known
            .map(|(_, why)| *why)
            .or_else(|| keyword_of_harness(keyword));
        leave(keyword, why.unwrap_or(ELSEWHERE));
    }
    let blocks = config.blocks.iter();
    for block in blocks.filter(|block| !block.is_all && !for_connection) {
        leave(
            &format!("Match {}", block.criteria),
            "a block is for some connections only, and those here are none of them",
        );
    }
    let penalties = in_force("persourcepenalties").is_some_and(|value| value != "no");
    if penalties && !config.sets("PerSourcePenalties") {
        leave(
            "PerSourcePenalties",
            "the file leaves them at the default, which is on; all connections here come from one address, which they would \
             ban before MaxStartups could be seen",
        );
    }
    Ok(Extract {
        max_startups,
        keywords,
        left_out,
    })
}

impl Extract {
    /// Puts it in the place of what a scenario says of `MaxStartups` and of keywords.
    pub fn apply(&self, sshd: &mut SshdConfig) {
        sshd.max_startups = self.max_startups;
        sshd.keywords.clone_from(&self.keywords);
    }
}
