//! The answer and what limits it, in sentences.
//!
//! Owns the words. What is not seen is said not to be seen, and what else would look the same is named.

use super::document::{ProbeFacts, says_enough};
use crate::view::words::counted;
use sshchurn_core::model::{PenaltyRule, drop_probability_percent};
use sshchurn_core::probing::{CurveFit, End, Estimate, Finding, HardLimit};
use sshchurn_core::release::Release;

/// From here on sshd bans sources, by default (srclimit.c).
const PENALTIES: Release = Release::new(9, 8);
/// From here on there is a limit per source.
const PER_SOURCE: Release = Release::new(8, 5);

/// What the probe says, the plainest first.
pub(super) fn answer(facts: &ProbeFacts<'_>, finding: &Finding) -> Vec<String> {
    let mut said = match finding {
        Finding::Curve(curve) if curve.misfit => misfit(curve),
        Finding::Curve(curve) => of_curve(facts, curve),
        Finding::HardLimit(limit) => hard_limit(facts, limit),
        Finding::NoLimit { held } => no_limit(facts, *held),
        Finding::RefusedIdle { tries, refused } => vec![
            format!(
                "MaxStartups cannot be told: with no connection held, {refused} of {tries} were refused already."
            ),
            idle_reasons(facts),
        ],
        Finding::Nothing => nothing(facts),
    };
    if facts.prober.end() == Some(End::Interrupted) {
        said.insert(
            0,
            "Interrupted: this is what was seen until then.".to_owned(),
        );
    }
    said
}

/// `start 10, 9 to 11`.
fn interval(name: &str, estimate: &Estimate, unit: &str) -> String {
    let Estimate { value, low, high } = estimate;
    match high {
        Some(high) if high == low => format!("{name} {value}{unit}"),
        Some(high) => format!("{name} {value}{unit}, {low} to {high}"),
        None => format!("{name} {value}{unit}, {low} or more"),
    }
}

fn intervals(curve: &CurveFit) -> String {
    format!(
        "{}; {}; {}",
        interval("start", &curve.start, ""),
        interval("rate", &curve.rate, " %"),
        interval("full", &curve.full, "")
    )
}

fn of_curve(facts: &ProbeFacts<'_>, curve: &CurveFit) -> Vec<String> {
    let setting = curve.setting();
    let Some(cap) = curve.cap else {
        if !says_enough(curve) {
            return vec![format!(
                "MaxStartups is not known closely; most likely {setting} ({}).",
                intervals(curve)
            )];
        }
        return vec![
            format!("MaxStartups {setting} ({}).", intervals(curve)),
            format!(
                "The first {} connections that have not logged in yet always get in; from {} on {} % are refused, rising to \
                 all at {}.",
                setting.start, setting.start, setting.rate, setting.full
            ),
        ];
    };
    let elsewhere = admitted_elsewhere(facts);
    let who = match elsewhere {
        Some(source) => format!(
            "That is a limit per source (PerSourceMaxStartups {}): a connection from {source} was let in.",
            cap.at
        ),
        None => format!(
            "That is no end of a curve, which would still let {} % in: most likely a limit per source (PerSourceMaxStartups \
             {}).",
            100 - drop_probability_percent(cap.at, setting).min(100),
            cap.at
        ),
    };
    vec![
        format!(
            "Another limit than MaxStartups refuses everything from {} held on: full cannot be seen from this address.",
            cap.at
        ),
        who,
        format!(
            "Below it: {}; {}; the slope there leads to {}.",
            interval("start", &curve.start, ""),
            interval("rate", &curve.rate, " %"),
            interval("full", &curve.full, "")
        ),
    ]
}

fn misfit(curve: &CurveFit) -> Vec<String> {
    vec![
        format!(
            "The answers fit no MaxStartups: even under the most likely one, {}, they would come by chance once in ten thousand \
             times.",
            curve.setting()
        ),
        "Connections of others that come and go do that, and so does another limit. Try again at a quieter time."
            .to_owned(),
    ]
}

/// The other address, if it was let in where we were refused.
fn admitted_elsewhere(facts: &ProbeFacts<'_>) -> Option<std::net::IpAddr> {
    let (_, seen) = facts.prober.from_elsewhere()?;
    facts.elsewhere.filter(|_| seen.refused < seen.trials)
}

fn hard_limit(facts: &ProbeFacts<'_>, limit: &HardLimit) -> Vec<String> {
    let HardLimit { at, refused, .. } = limit;
    if let Some(source) = admitted_elsewhere(facts) {
        return vec![
            format!(
                "hard limit {at} for this address: from {at} held on everything is refused, and a connection from {source} is \
                 let in. That is a limit per source (PerSourceMaxStartups {at})."
            ),
            format!(
                "MaxStartups lets at least {at} in; its start, rate and full cannot be seen from one address."
            ),
        ];
    }
    if facts.is_other_server() {
        return vec![
            format!(
                "hard limit {at}: from {at} held on everything is refused. It is no MaxStartups: {}.",
                introduces(facts)
            ),
            "There is neither start nor rate nor full in such a server.".to_owned(),
        ];
    }
    let mut said = vec![
        format!(
            "hard limit {at}, full cannot be seen, rate cannot be seen: every connection is let in until {at} are held, and every \
             one is refused from then on ({refused} of {refused}; a rate below {} % is ruled out).",
            limit.least_rate
        ),
        format!("{at}:100:FULL with any full, and {at}:RATE:{at} with any rate, answer alike."),
    ];
    said.extend(per_source_excluded(facts, *at));
    said
}

/// Whether it may be a limit that only this address meets.
fn per_source_excluded(facts: &ProbeFacts<'_>, at: u32) -> Option<String> {
    if facts.release().is_some_and(|release| release < PER_SOURCE) {
        return None;
    }
    let other = facts.elsewhere.zip(facts.prober.from_elsewhere());
    Some(match other {
        Some((source, (_, seen))) => format!(
            "It is no limit per source: from {source} {} of {} were refused too, {}.",
            seen.refused,
            seen.trials,
            match facts.address.ip().is_loopback() {
                true => "unless a forwarder listens there for a server elsewhere",
                false => "unless that server takes both addresses for one (PerSourceNetBlockSize)",
            }
        ),
        None => format!(
            "A limit per source (PerSourceMaxStartups {at}) looks the same; `--other-source` with another address of this \
             machine would tell."
        ),
    })
}

fn introduces(facts: &ProbeFacts<'_>) -> String {
    match facts.introduced_as() {
        Some(line) => format!("the server introduces itself as `{line}`, and not as OpenSSH"),
        None => "the server has not introduced itself".to_owned(),
    }
}

fn no_limit(facts: &ProbeFacts<'_>, held: u32) -> Vec<String> {
    let mut said = vec![format!(
        "No limit was met: {held} connections were held at a time, and none was refused."
    )];
    said.push(match facts.is_other_server() {
        true => format!(
            "There is no MaxStartups to be found: {}.",
            introduces(facts)
        ),
        false => format!(
            "MaxStartups has a start of {held} or more; rate and full cannot be seen. `--max-held` lets the probe go further."
        ),
    });
    said
}

/// Why an idle client is refused.
fn idle_reasons(facts: &ProbeFacts<'_>) -> String {
    let mut reasons = vec!["others hold the slots"];
    match facts.release() {
        Some(release) if release < PENALTIES => {}
        _ => reasons.insert(0, "this address is banned (PerSourcePenalties)"),
    }
    if facts.release().is_none_or(|release| release >= PER_SOURCE) {
        reasons.push("a limit per source counts others behind the same address");
    }
    format!(
        "From outside these look the same: {}. The server's log tells them apart (`sshchurn diagnose`).",
        reasons.join(", or ")
    )
}

fn nothing(facts: &ProbeFacts<'_>) -> Vec<String> {
    let discarded = facts.prober.climbs().iter().any(|climb| climb.discarded);
    match discarded {
        true => vec![
            "MaxStartups cannot be told: after a climb the server refused this address even with nothing held, so that what ended \
             the climb may have been the same."
                .to_owned(),
            format!(
                "{} Or it is OpenSSH 9.8 to 10.0 with PerSourceMaxStartups, where finished logins keep their place.",
                idle_reasons(facts)
            ),
        ],
        false => vec!["MaxStartups cannot be told: no connection was answered.".to_owned()],
    }
}

/// What limits the answer.
pub(super) fn notes(facts: &ProbeFacts<'_>, finding: &Finding) -> Vec<String> {
    let mut notes: Vec<String> = facts.warnings.to_vec();
    let answered = matches!(finding, Finding::Curve(_) | Finding::HardLimit(_));
    if matches!(finding, Finding::Curve(curve) if !curve.misfit) {
        notes.push("The intervals hold the truth in 95 of 100 probes.".to_owned());
    }
    if answered {
        notes.push(
            "Connections of others that had not logged in yet count too: they make start and full look smaller by as many."
                .to_owned(),
        );
    }
    if facts.is_other_server() && matches!(finding, Finding::Curve(_)) {
        notes.push(format!(
            "It draws as OpenSSH does, but {}.",
            introduces(facts)
        ));
    }
    notes.extend(cut_short(facts));
    notes.extend(ended(facts, finding));
    if facts.prober.climbs().iter().any(|climb| climb.discarded)
        && !matches!(finding, Finding::Nothing)
    {
        notes.push(format!(
            "In the end the server refused this address even with nothing held; that climb and the one before it are not counted. {}",
            idle_reasons(facts)
        ));
    }
    notes.extend(left_silent(facts));
    notes
}

/// What cut climbs short.
fn cut_short(facts: &ProbeFacts<'_>) -> Vec<String> {
    let met = facts.met;
    let mut notes = Vec::new();
    if let Some(after) = met.lost_after.iter().min() {
        let climbs = counted(met.lost_after.len() as u64, "climb");
        notes.push(format!(
            "The server ended a held connection after {:.1} s, which cut {climbs} short: LoginGraceTime is not longer than that. {}",
            after.as_secs_f64(),
            match met.renewed {
                0 => String::new(),
                renewed => format!("{renewed} were replaced before it could end them."),
            }
        ));
    }
    if met.wordless > 0 {
        notes.push(format!(
            "{} closed without sshd's words for a refusal, and are not counted: sshd could not serve them, or something before it \
             closed them.",
            match met.wordless {
                1 => "1 connection was".to_owned(),
                many => format!("{many} connections were"),
            }
        ));
    }
    if let Some(failed) = met.failed {
        let held = failed.held;
        notes.push(match () {
            () if failed.own => format!(
                "This client could make no further connection with {held} held: raise its limit of open files (`ulimit -n`)."
            ),
            () if failed.in_kernel => format!(
                "With {held} held the server's kernel kept a connection from sshd, whose listen queue was full: that is not \
                 MaxStartups."
            ),
            () => format!(
                "With {held} held a connection was neither let in nor refused ({}): sshd was too slow, its listen queue was full, or \
                 the path dropped it.",
                failed.metric
            ),
        });
    }
    if let (count @ 1.., last) = met.logins_failed {
        notes.push(format!(
            "{} of connections that had been held failed ({}): on OpenSSH 9.8 and later each counts against this address.",
            counted(u64::from(count), "login"),
            last.unwrap_or("unknown")
        ));
    }
    if let Some(most) = facts.own_limit {
        notes.push(format!(
            "This client's limit of open files lets it hold {most} connections; `ulimit -Hn` as root raises it."
        ));
    }
    notes
}

/// Which bound ended it, where more would tell more.
fn ended(facts: &ProbeFacts<'_>, finding: &Finding) -> Option<String> {
    let why = match facts.prober.end()? {
        End::Told | End::Interrupted | End::RefusedIdle | End::Failed => return None,
        End::MostHeld => match finding {
            Finding::NoLimit { .. } => return None,
            _ => "more connections would have to be held (`--max-held`)".to_owned(),
        },
        End::Connections => format!(
            "{} were begun, and no more may be (`--max-connections`)",
            counted(u64::from(facts.prober.begun()), "connection")
        ),
        End::Time => "the time was up (`--within`)".to_owned(),
        End::OneClimb => "without a key there is one climb (`--user`, `--key`)".to_owned(),
        End::CutShort => "climbs were cut short time and again".to_owned(),
    };
    Some(format!(
        "The intervals are as wide as they are since {why}."
    ))
}

/// What connections cost that left without having logged in.
fn left_silent(facts: &ProbeFacts<'_>) -> Option<String> {
    let count = facts.met.left_silent;
    if count == 0 {
        return None;
    }
    let left = match count {
        1 => "1 connection left".to_owned(),
        many => format!("{many} connections left"),
    };
    let Some(release) = facts.release() else {
        return Some(format!(
            "{left} without logging in. OpenSSH 9.8 and later bans an address for that (PerSourcePenalties: a second for each, from \
             16 on)."
        ));
    };
    if release < PENALTIES {
        return Some(format!(
            "{left} without logging in; OpenSSH {release} has no penalty for that."
        ));
    }
    Some(
        match PenaltyRule::of_silent_clients(release).ban_of(count) {
            Some(seconds) => format!(
                "{left} without logging in. By default that bans this address for some {seconds:.0} s from then on \
             (PerSourcePenalties noauth), unless that server has other penalties."
            ),
            None => format!(
                "{left} without logging in. By default that bans nobody: more than 15 in a row do (PerSourcePenalties noauth)."
            ),
        },
    )
}
