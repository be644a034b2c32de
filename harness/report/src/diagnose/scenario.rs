//! The arrivals of a log as a scenario that repeats them.
//!
//! Owns the file's text: what a log does not say is said in it, beside the value that was chosen instead.

use std::fmt::Write as _;
use std::time::Duration;

use super::story::{when, when_after};
use crate::view::words::counted;
use sshchurn_core::diagnosis::{AdmittedBy, Arrivals, Drops};
use sshchurn_core::printable::printable;
use sshchurn_core::scenario::MaxStartups;

/// sshd's default.
const DEFAULT: (u32, u32, u32) = (10, 30, 100);
/// What a run may need beyond its last arrival.
const MARGIN: Duration = Duration::from_secs(600);
/// Longest line of numbers, characters.
const WIDTH: usize = 110;

/// A scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedScenario {
    /// The file.
    pub toml: String,
    /// One line for a person who has just written it.
    pub said: String,
}

/// Writes the scenario of this name. `drops` are those of the whole log, `max_startups` the server's where the user knows it.
#[must_use]
pub fn scenario(
    name: &str,
    inputs: &[String],
    arrivals: &Arrivals,
    drops: &Drops,
    max_startups: Option<MaxStartups>,
) -> RecordedScenario {
    let tasks = arrivals.offsets.len() as u64;
    let span = match when_after(arrivals.first, arrivals.last) {
        to if arrivals.first.second() == arrivals.last.second() => format!("at {to}"),
        to => format!("between {} and {to}", when(arrivals.first)),
    };
    let first = when(arrivals.first);
    let lasts = arrivals.offsets.last().copied().unwrap_or(0);
    let lasts = Duration::from_micros(u64::try_from(lasts).unwrap_or(0)) + arrivals.step;
    let logs: Vec<String> = inputs.iter().map(|input| printable(input)).collect();
    let mut toml = format!(
        "# {} {span}, found by `sshchurn diagnose` in: {}\n#\n",
        counted(tasks, "arrival"),
        logs.join(", ")
    );
    for paragraph in comments(arrivals, drops) {
        comment(&mut toml, &paragraph);
    }
    let _ = write!(
        toml,
        "name = \"{name}\"\n\
         description = \"{} as a log has them from {first} on\"\n\
         max_duration = \"{}s\"\n\n\
         # `tasks` follows from the number of offsets; the first is {first}.\n\
         [arrival]\n\
         shape = \"recorded\"\n",
        counted(tasks, "arrival"),
        (lasts + MARGIN).as_secs()
    );
    if arrivals.step >= Duration::from_secs(1) {
        toml.push_str(
            "# The log's clock has whole seconds. Where in a second a connection came is not known: it is drawn uniformly, by the seed,\n\
             # and anew in each round.\n\
             resolution = \"1s\"\n",
        );
    }
    toml.push_str("offsets_ms = [");
    numbers(
        &mut toml,
        arrivals.offsets.iter().map(|offset| offset / 1000),
    );
    toml.push_str("]\n\n[[strategy]]\nkind = \"one-shot\"\ncommand = \"true\"\n\n[sshd]\n");
    let (value, why) = setting(arrivals, max_startups);
    comment(&mut toml, &why);
    let _ = writeln!(toml, "max_startups = \"{value}\"");
    let mut said = format!("{} {span}", counted(tasks, "arrival"));
    if arrivals.admitted_by == AdmittedBy::Logins || hides_refusals(drops) {
        said.push_str(", a lower bound");
    }
    if arrivals.left_out > 0 {
        let _ = write!(
            said,
            "; {} left out: choose another part with --from and --to",
            counted(arrivals.left_out, "later one")
        );
    }
    if arrivals.unstamped > 0 {
        let _ = write!(said, "; {}", unstamped(arrivals.unstamped));
    }
    let _ = write!(said, "; a round takes {}", duration(lasts));
    RecordedScenario { toml, said }
}

/// Whether refusals have no line of their own, or may have none.
fn hides_refusals(drops: &Drops) -> bool {
    drops.listed < drops.total || drops.at_least()
}

fn unstamped(count: u64) -> String {
    let (have, are) = if count == 1 {
        ("has", "is")
    } else {
        ("have", "are")
    };
    format!("{count} more {have} no time stamp and {are} not among them")
}

fn comments(arrivals: &Arrivals, drops: &Drops) -> Vec<String> {
    let mut comments = Vec::new();
    comments.push(match arrivals.admitted_by {
        AdmittedBy::Connections => format!(
            "{} had been let in (`Connection from`) and {} refused (`drop connection`).",
            arrivals.admitted, arrivals.refused
        ),
        AdmittedBy::Logins => format!(
            "{} had logged in (`Accepted`) and {} had been refused (`drop connection`). Their number is a lower bound: at this LogLevel \
             the log has no line for a connection that was let in and did not log in. LogLevel VERBOSE has one for each (`Connection \
             from`). A login is logged when it has succeeded, so it came a little earlier than it is here.",
            arrivals.admitted, arrivals.refused
        ),
    });
    if hides_refusals(drops) {
        let of = if drops.at_least() { "at least " } else { "" };
        comments.push(format!(
            "{} of {of}{} in the whole log have a line of their own. The others are not among the arrivals.",
            drops.listed,
            counted(drops.total, "refusal")
        ));
    }
    if arrivals.left_out > 0 {
        comments.push(format!(
            "The log has {} more after the last one here.",
            arrivals.left_out
        ));
    }
    if arrivals.unstamped > 0 {
        comments.push(format!(
            "In the whole log {}.",
            unstamped(arrivals.unstamped)
        ));
    }
    comments.push(
        "Each arrival is a client with one connection, one command and one try. All of them log in, at the speed of the machine the \
         scenario runs on; who they were and how long each took is not repeated. `sshd.slow_auth` makes logins slower."
            .to_owned(),
    );
    comments
}

/// `MaxStartups`, and where it comes from.
fn setting(arrivals: &Arrivals, known: Option<MaxStartups>) -> (String, String) {
    if let Some(known) = known {
        return (
            known.to_string(),
            "As given with `--max-startups`.".to_owned(),
        );
    }
    let (start, rate, full) = DEFAULT;
    let default = format!("{start}:{rate}:{full}");
    let Some((least, most)) = arrivals.slots.filter(|(least, _)| *least > 0) else {
        return (
            default,
            "The log does not name MaxStartups; this is sshd's default. Put the server's own value here.".to_owned(),
        );
    };
    let seen = if least == most {
        format!("It refused with {least} startup slots in use")
    } else {
        format!("It refused with {least} to {most} startup slots in use")
    };
    if least >= start && most <= full {
        return (
            default,
            format!(
                "The log does not name MaxStartups; this is sshd's default. {seen}, which fits it and other values. Put the server's own \
                 value here."
            ),
        );
    }
    let value = format!("{}:{rate}:{}", least.min(start), most.max(full));
    (
        value,
        format!(
            "The log does not name MaxStartups. {seen}, so it is not sshd's default of {default}: `start` is at most {least}, and `full` \
             at least {most}. (PerSourceMaxStartups refuses in the same words, with any number in use.) The rest is the default's. Put the \
             server's own value here."
        ),
    )
}

/// A paragraph as comment lines.
fn comment(toml: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            toml.push_str(&line);
            toml.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    toml.push_str(&line);
    toml.push('\n');
}

fn numbers(toml: &mut String, numbers: impl Iterator<Item = i64>) {
    let mut length = WIDTH;
    for number in numbers {
        let number = number.to_string();
        if length + number.len() + 2 > WIDTH {
            toml.push_str("\n ");
            length = 1;
        }
        let _ = write!(toml, " {number},");
        length += number.len() + 2;
    }
    toml.push('\n');
}

fn duration(lasts: Duration) -> String {
    match lasts.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
