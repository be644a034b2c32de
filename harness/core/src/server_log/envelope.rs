//! What log writers wrap around a line: stamps, hosts, programs, containers, JSON.
//!
//! Owns the envelopes; the message inside is `line`'s and `message`'s. A line is opened by its own shape, whatever the lines
//! before it were; the form of the last line is only tried first.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};

use super::line::{is_sshd, strip_severity};
use super::message::ServerLogMessage;
use super::stamp::{self, Moment, Written};

/// How many envelopes may be around a line: a prefix of `docker compose`, its JSON, and a stamp of the program itself.
const MOST_LAYERS: usize = 4;

/// A line out of its envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enveloped<'a> {
    /// When it was logged; `None` where nobody stamped it, as in a file of `sshd -E`.
    pub stamp: Option<Moment>,
    /// Where it comes from: the host, or the container or pod.
    pub origin: Option<&'a str>,
    /// The program; `None` where no envelope names it.
    pub program: Option<&'a str>,
    /// Its process.
    pub pid: Option<u32>,
    /// The message.
    pub text: &'a str,
}

impl Enveloped<'_> {
    /// Whether the envelope says that sshd wrote it; `None` where it names no program.
    #[must_use]
    pub fn of_sshd(&self) -> Option<bool> {
        self.program.map(is_sshd)
    }
}

/// Shapes that lines can have; each is told by its first characters, so that no two fit one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// `Mar  6 06:31:31 host sshd[620]: …`, also journald's `short`.
    MonthFirst,
    /// `2026-04-05T06:35:07+02:00 …`: RFC 3339 syslog, journald's `short-iso`, docker's and Kubernetes' stamps, s6's human form.
    Iso,
    /// `Thu Mar  6 06:31:31 2026 auth.err sshd[2690]: …`, journald's `short-full`.
    WeekdayFirst,
    /// `<38>…`.
    Priority,
    /// `{…}`: journald's JSON and docker's json-file.
    Json,
    /// `@400000005f…`.
    Tai64,
    /// `name-1  | …`.
    Compose,
    /// `[pod/name/container] …`.
    Kubectl,
}

impl Form {
    const ALL: [Form; 8] = [
        Form::MonthFirst,
        Form::Iso,
        Form::Json,
        Form::Priority,
        Form::WeekdayFirst,
        Form::Tai64,
        Form::Kubectl,
        Form::Compose,
    ];
}

/// Opens lines.
#[derive(Debug, Clone)]
pub struct Envelopes {
    /// When the log was last written to.
    written: Written,
    /// The form of the last line, by layer.
    last: [Option<Form>; MOST_LAYERS],
}

/// What an outer envelope has said already.
#[derive(Debug, Clone, Copy, Default)]
struct Outer<'a> {
    stamp: Option<Moment>,
    origin: Option<&'a str>,
}

/// One layer taken off.
enum Layer<'a> {
    /// There may be another one inside.
    More(Outer<'a>, Cow<'a, str>),
    /// This was the last.
    Last(Enveloped<'a>),
    /// This was the last, and its parts may have had to be unescaped.
    Journal(Box<Journal<'a>>),
}

/// An entry of journald's.
struct Journal<'a> {
    stamp: Option<Moment>,
    origin: Option<Cow<'a, str>>,
    program: Cow<'a, str>,
    pid: Option<u32>,
    text: Cow<'a, str>,
}

impl Journal<'_> {
    fn line(&self) -> Enveloped<'_> {
        Enveloped {
            stamp: self.stamp,
            origin: self.origin.as_deref(),
            program: Some(&self.program),
            pid: self.pid,
            text: &self.text,
        }
    }
}

impl<'a> Enveloped<'a> {
    /// The line inside of other envelopes.
    fn inside(self, outer: Outer<'a>) -> Self {
        Enveloped {
            stamp: self.stamp.or(outer.stamp),
            // The container tells more servers apart than the host name inside it.
            origin: outer.origin.or(self.origin),
            text: self.text.trim_end(),
            ..self
        }
    }
}

impl Envelopes {
    /// For a log that was last written to at `written` (microseconds since 1970): stamps without a year are of the last year in
    /// which they are not later than that.
    #[must_use]
    pub fn new(written: i64) -> Self {
        Envelopes {
            written: Written::at(written),
            last: [None; MOST_LAYERS],
        }
    }

    /// Opens one line, without its line end, and hands it to `then`. Never fails: a line without an envelope is its own message.
    pub fn open<R>(&mut self, line: &str, then: impl FnOnce(Enveloped<'_>) -> R) -> R {
        let plain = without_colours(line);
        self.layer(0, Outer::default(), plain.trim_end(), then)
    }

    fn layer<R>(
        &mut self,
        depth: usize,
        outer: Outer<'_>,
        line: &str,
        then: impl FnOnce(Enveloped<'_>) -> R,
    ) -> R {
        let Some(last) = self.last.get(depth).copied() else {
            return then(bare(outer, line));
        };
        let taken = last
            .and_then(|form| Some((form, take(form, line, &mut self.written)?)))
            .or_else(|| {
                Form::ALL
                    .into_iter()
                    .filter(|form| Some(*form) != last)
                    .find_map(|form| Some((form, take(form, line, &mut self.written)?)))
            });
        let Some((form, taken)) = taken else {
            return then(bare(outer, line));
        };
        self.last[depth] = Some(form);
        match taken {
            Layer::More(inner, text) => {
                let outer = Outer {
                    stamp: inner.stamp.or(outer.stamp),
                    origin: inner.origin.or(outer.origin),
                };
                self.layer(depth + 1, outer, text.trim_end(), then)
            }
            Layer::Last(line) => then(line.inside(outer)),
            Layer::Journal(entry) => then(entry.line().inside(outer)),
        }
    }
}

/// What is left when no envelope fits any more.
fn bare<'a>(outer: Outer<'a>, text: &'a str) -> Enveloped<'a> {
    Enveloped {
        stamp: outer.stamp,
        origin: outer.origin,
        program: None,
        pid: None,
        text,
    }
}

/// Takes a layer of this form off, if the line has it.
fn take<'a>(form: Form, line: &'a str, written: &mut Written) -> Option<Layer<'a>> {
    match form {
        Form::MonthFirst => {
            let (stamp, rest) = stamp::month_first(line, written)?;
            Some(syslog(stamp, rest))
        }
        Form::WeekdayFirst => {
            let (stamp, rest) = stamp::weekday_first(line)?;
            Some(syslog(stamp, rest))
        }
        Form::Iso => {
            let (stamp, rest) = stamp::iso(line)?;
            Some(after_iso(stamp, rest))
        }
        Form::Priority => priority(line, written),
        Form::Json => json(line),
        Form::Tai64 => {
            let (stamp, rest) = stamp::tai64n(line)?;
            Some(stamped(stamp, rest))
        }
        Form::Compose => compose(line),
        Form::Kubectl => {
            let (name, rest) = line.strip_prefix("[pod/")?.split_once("] ")?;
            Some(named(name, rest))
        }
    }
}

fn named<'a>(origin: &'a str, rest: &'a str) -> Layer<'a> {
    let inner = Outer {
        stamp: None,
        origin: Some(origin),
    };
    Layer::More(inner, Cow::Borrowed(rest))
}

fn stamped(stamp: Moment, rest: &str) -> Layer<'_> {
    let inner = Outer {
        stamp: Some(stamp),
        origin: None,
    };
    Layer::More(inner, Cow::Borrowed(rest))
}

fn last<'a>(stamp: Moment, tagged: Tagged<'a>) -> Layer<'a> {
    Layer::Last(Enveloped {
        stamp: Some(stamp),
        origin: tagged.origin,
        program: Some(tagged.program),
        pid: tagged.pid,
        text: tagged.text,
    })
}

/// `name-1  | …` of `docker compose logs`.
fn compose(line: &str) -> Option<Layer<'_>> {
    let end = line
        .bytes()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        .count();
    let rest = line[end..].trim_start_matches(' ');
    let rest = rest.strip_prefix('|')?;
    // The name is padded, and something is there to be told apart.
    (end > 0 && line.as_bytes().get(end) == Some(&b' ')).then_some(())?;
    Some(named(&line[..end], rest.strip_prefix(' ').unwrap_or(rest)))
}

/// `HOST APP PROCID MSGID SD MSG` after version and stamp (RFC 5424), or an older line behind its priority.
fn priority<'a>(line: &'a str, written: &mut Written) -> Option<Layer<'a>> {
    let (number, rest) = line.strip_prefix('<')?.split_once('>')?;
    (!number.is_empty() && number.len() <= 3 && number.bytes().all(|byte| byte.is_ascii_digit()))
        .then_some(())?;
    let Some(rest) = rest.strip_prefix("1 ") else {
        return take(Form::MonthFirst, rest, written).or_else(|| take(Form::Iso, rest, written));
    };
    let (stamp, rest) = match rest.strip_prefix("- ") {
        Some(rest) => (None, rest),
        None => stamp::iso(rest).map(|(stamp, rest)| (Some(stamp), rest))?,
    };
    let mut words = rest.splitn(5, ' ');
    let mut word = || words.next();
    let (host, program, process) = (word()?, word()?, word()?);
    let (_, rest) = (word()?, word()?);
    let text = after_structured_data(rest)?;
    let known = |word: &'_ str| word != "-";
    Some(Layer::Last(Enveloped {
        stamp,
        origin: known(host).then_some(host),
        program: Some(base_name(program)),
        pid: process.parse().ok(),
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
    }))
}

/// The message after `-` or `[id name="value" …]…`.
fn after_structured_data(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('-') {
        return Some(rest.strip_prefix(' ').unwrap_or(rest));
    }
    text.starts_with('[').then_some(())?;
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b']' if !quoted && text.as_bytes().get(at + 1) != Some(&b'[') => {
                let rest = &text[at + 1..];
                return Some(rest.strip_prefix(' ').unwrap_or(rest));
            }
            _ => {}
        }
    }
    None
}

/// `[host] [facility.level] program[pid]: message`, where a line always has a program; one without is no program's.
fn syslog(stamp: Moment, rest: &str) -> Layer<'_> {
    let nobodys = Tagged {
        at: 0,
        origin: None,
        program: "",
        pid: None,
        text: rest,
    };
    last(stamp, tagged(rest, |_| true).unwrap_or(nobodys))
}

/// Behind a stamp of this form there may be syslog's host and program, or the bare message.
fn after_iso(stamp: Moment, rest: &str) -> Layer<'_> {
    // Kubernetes' files: `stderr F message`.
    for stream in ["stderr ", "stdout "] {
        if let Some(rest) = rest.strip_prefix(stream)
            && let Some(text) = rest.strip_prefix("F ").or_else(|| rest.strip_prefix("P "))
        {
            return stamped(stamp, text);
        }
    }
    // A word with a colon may be sshd's own (`fork: …`); a host and a program it is only where sshd says no such thing.
    let plausible = |tag: &Tagged<'_>| {
        let first = rest.split(' ').next().unwrap_or(rest);
        if tag.pid.is_some() || is_sshd(tag.program) {
            return tag.at == 0 || !PEER_WORDS.contains(&first);
        }
        tag.at > 0 && {
            let (severity, text) = strip_severity(rest);
            severity == super::Severity::Plain
                && matches!(
                    ServerLogMessage::parse(text),
                    ServerLogMessage::Unknown { .. }
                )
        }
    };
    match tagged(rest, plausible) {
        Some(tagged) => last(stamp, tagged),
        None => stamped(stamp, rest),
    }
}

/// First words of sshd's messages with words that the peer chose near the beginning: no hosts, so that a user named
/// `sshd[1]:` cannot make a syslog line of what it is called.
const PEER_WORDS: [&str; 12] = [
    "Accepted",
    "Connection",
    "Disconnected",
    "Disconnecting",
    "Failed",
    "Illegal",
    "Invalid",
    "Login",
    "Postponed",
    "Received",
    "Starting",
    "User",
];

/// A program's tag, and what is around it.
struct Tagged<'a> {
    /// Words before it.
    at: usize,
    origin: Option<&'a str>,
    program: &'a str,
    pid: Option<u32>,
    text: &'a str,
}

/// Finds `program[pid]: ` or `program: ` as the first, second or third word.
fn tagged(rest: &str, plausible: impl Fn(&Tagged<'_>) -> bool) -> Option<Tagged<'_>> {
    let mut from = 0;
    let mut first: Option<&str> = None;
    for at in 0..3 {
        let end = match memchr::memchr(b' ', &rest.as_bytes()[from..]) {
            Some(length) => from + length,
            None => rest.len(),
        };
        let word = &rest[from..end];
        if let Some((program, pid)) = word.strip_suffix(':').and_then(program_and_pid) {
            let found = Tagged {
                at,
                origin: first.filter(|word| at > 0 && !is_facility(word)),
                program,
                pid,
                text: rest.get(end + 1..).unwrap_or(""),
            };
            if plausible(&found) {
                return Some(found);
            }
        }
        first = first.or(Some(word));
        from = end + 1;
        if from >= rest.len() {
            return None;
        }
    }
    None
}

/// `sshd[620]` or `sshd`; a program may be named by its path.
fn program_and_pid(tag: &str) -> Option<(&str, Option<u32>)> {
    let end = tag.bytes().position(|byte| !IN_NAMES[usize::from(byte)]);
    let (name, rest) = tag.split_at(end.unwrap_or(tag.len()));
    let pid = match rest {
        "" => None,
        rest => {
            let pid = rest.strip_prefix('[')?.strip_suffix(']')?;
            Some(pid.parse().ok()?)
        }
    };
    (!name.is_empty()).then(|| (base_name(name), pid))
}

/// Bytes that programs' names are made of: one look for each.
const IN_NAMES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'(' | b')' | b'@' | b'+');
        byte += 1;
    }
    table
};

fn base_name(program: &str) -> &str {
    match memchr::memrchr(b'/', program.as_bytes()) {
        Some(slash) => &program[slash + 1..],
        None => program,
    }
}

/// `auth.err`, as busybox and OpenWrt print facility and level.
fn is_facility(word: &str) -> bool {
    const FACILITIES: [&str; 12] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp",
    ];
    memchr::memchr(b'.', word.as_bytes()).is_some_and(|dot| {
        let facility = &word[..dot];
        FACILITIES.contains(&facility) || facility.starts_with("local") && facility.len() == 6
    })
}

/// Lines of journald's `-o json` and of docker's json-file.
#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow, default, rename = "MESSAGE")]
    message: Option<Text<'a>>,
    #[serde(borrow, default, rename = "SYSLOG_IDENTIFIER")]
    identifier: Option<Text<'a>>,
    #[serde(borrow, default, rename = "_COMM")]
    command: Option<Text<'a>>,
    #[serde(borrow, default, rename = "_PID")]
    pid: Option<Text<'a>>,
    #[serde(borrow, default, rename = "SYSLOG_PID")]
    syslog_pid: Option<Text<'a>>,
    #[serde(borrow, default, rename = "_HOSTNAME")]
    host: Option<Text<'a>>,
    #[serde(borrow, default, rename = "__REALTIME_TIMESTAMP")]
    micros: Option<Text<'a>>,
    #[serde(borrow, default)]
    log: Option<Text<'a>>,
    #[serde(borrow, default)]
    time: Option<Text<'a>>,
}

/// A string, or the bytes that journald prints where a field is not clean UTF-8. Anything else reads as empty.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a field of a journal")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }
            fn visit_i64<E>(self, _: i64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed("")))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed("")))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed("")))
            }
            fn visit_unit<E>(self) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed("")))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Text<'de>, A::Error> {
                let mut bytes = Vec::new();
                while let Some(Element(item)) = items.next_element()? {
                    bytes.extend(item);
                }
                Ok(Text(Cow::Owned(
                    String::from_utf8_lossy(&bytes).into_owned(),
                )))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Text<'de>, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Text(Cow::Borrowed("")))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A byte of such a field; a field that occurs several times is an array of its values, of which none is a byte.
struct Element(Option<u8>);

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Value::deserialize(deserializer)?.as_u64();
        Ok(Element(number.and_then(|number| u8::try_from(number).ok())))
    }
}

fn json(line: &str) -> Option<Layer<'_>> {
    line.starts_with('{').then_some(())?;
    let fields: JsonLine<'_> = serde_json::from_str(line).ok()?;
    if let Some(Text(log)) = fields.log {
        let stamp = fields
            .time
            .and_then(|Text(time)| Some(stamp::iso(&time)?.0));
        let inner = Outer {
            stamp,
            origin: None,
        };
        return Some(Layer::More(inner, log));
    }
    let Text(text) = fields.message?;
    let program = fields.identifier.or(fields.command);
    Some(Layer::Journal(Box::new(Journal {
        stamp: fields
            .micros
            .and_then(|Text(micros)| stamp::unix_micros(&micros)),
        origin: fields.host.map(|Text(host)| host),
        program: program.map_or(Cow::Borrowed(""), |Text(program)| program),
        pid: fields
            .pid
            .or(fields.syslog_pid)
            .and_then(|Text(pid)| pid.parse().ok()),
        text,
    })))
}

/// The line without the colours that `docker compose logs` gives a terminal (`ESC [ … letter`).
fn without_colours(line: &str) -> Cow<'_, str> {
    if memchr::memchr(0x1b, line.as_bytes()).is_none() {
        return Cow::Borrowed(line);
    }
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = match after.strip_prefix('[') {
            Some(sequence) => {
                let end = sequence.find(|c: char| c.is_ascii_alphabetic());
                end.map_or("", |end| &sequence[end + 1..])
            }
            None => after,
        };
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DROP: &str =
        "drop connection #10 from [192.0.2.7]:40001 on [192.0.2.1]:22 past MaxStartups";
    /// 2026-04-05T04:35:07Z.
    const AT: i64 = 1_775_363_707_000_000;

    type Opened = (
        Option<i64>,
        Option<String>,
        Option<String>,
        Option<u32>,
        String,
    );

    fn open(line: &str) -> Opened {
        Envelopes::new(AT).open(line, |it| {
            (
                it.stamp.map(|stamp| stamp.micros),
                it.origin.map(str::to_owned),
                it.program.map(str::to_owned),
                it.pid,
                it.text.to_owned(),
            )
        })
    }

    #[track_caller]
    fn opens(
        line: &str,
        stamp: bool,
        origin: Option<&str>,
        program: Option<&str>,
        pid: Option<u32>,
    ) {
        let expected = (
            stamp.then_some(AT),
            origin.map(str::to_owned),
            program.map(str::to_owned),
            pid,
            DROP.to_owned(),
        );
        assert_eq!(open(line), expected, "{line}");
    }

    #[test]
    fn every_envelope_is_opened() {
        let (host, sshd) = (Some("host-a"), Some("sshd"));
        for line in [
            format!("Apr  5 04:35:07 host-a sshd[1445]: {DROP}"),
            format!("Apr 05 04:35:07 host-a sshd[1445]: {DROP}\r"),
            format!("<38>Apr  5 04:35:07 host-a sshd[1445]: {DROP}"),
            format!("2026-04-05T06:35:07+02:00 host-a sshd[1445]: {DROP}"),
            format!("2026-04-05T06:35:07+0200 host-a sshd[1445]: {DROP}"),
            format!("<38>1 2026-04-05T04:35:07.000Z host-a sshd 1445 - - {DROP}"),
            format!(
                "<38>1 2026-04-05T04:35:07.000Z host-a sshd 1445 - [a@1 b=\"]\\\"\"][c] \u{feff}{DROP}"
            ),
            format!("Apr  5 04:35:07 host-a auth.err sshd[1445]: {DROP}"),
            format!("Sun 2026-04-05 04:35:07 UTC host-a sshd[1445]: {DROP}"),
            format!(
                r#"{{"__REALTIME_TIMESTAMP":"{AT}","_HOSTNAME":"host-a","SYSLOG_IDENTIFIER":"sshd","_PID":"1445","MESSAGE":"{DROP}"}}"#
            ),
            format!(
                r#"{{"MESSAGE":{:?},"_COMM":"sshd","_PID":"1445","_HOSTNAME":"host-a","__REALTIME_TIMESTAMP":"{AT}","A":[1,null,{{}}]}}"#,
                DROP.as_bytes()
            ),
        ] {
            opens(&line, true, host, sshd, Some(1445));
        }
        opens(
            &format!("Apr  5 04:35:07 host-a sshd: {DROP}"),
            true,
            host,
            sshd,
            None,
        );
        opens(
            &format!("Apr  5 04:35:07 auth.err sshd[2690]: {DROP}"),
            true,
            None,
            sshd,
            Some(2690),
        );
        opens(
            &format!("Sun Apr  5 04:35:07 2026 auth.err sshd[2690]: {DROP}"),
            true,
            None,
            sshd,
            Some(2690),
        );
        opens(
            &format!("Apr  5 04:35:07 host-a /usr/lib/openssh/sshd-session[9]: {DROP}"),
            true,
            host,
            Some("sshd-session"),
            Some(9),
        );
        opens(&format!("{DROP}\r"), false, None, None, None);
        for line in [
            format!("2026-04-05T04:35:07.000000000Z {DROP}\r"),
            format!("2026-04-05T04:35:07.000000000Z stderr F {DROP}"),
            format!(
                r#"{{"log":"{DROP}\r\n","stream":"stderr","time":"2026-04-05T04:35:07.000000000Z"}}"#
            ),
            format!(
                "@{:016x}{:08x} {DROP}",
                (1_i64 << 62) + 37 + AT / 1_000_000,
                0
            ),
            format!("2026-04-05 04:35:07.000000000  {DROP}"),
        ] {
            opens(&line, true, None, None, None);
        }
        let (compose, pod) = (Some("bastion-1"), Some("pod/bastion-0/sshd"));
        opens(&format!("bastion-1  | {DROP}"), false, compose, None, None);
        opens(
            &format!("\u{1b}[36mbastion-1  | \u{1b}[0m{DROP}"),
            false,
            compose,
            None,
            None,
        );
        opens(
            &format!("bastion-1  | 2026-04-05T04:35:07.0Z {DROP}"),
            true,
            compose,
            None,
            None,
        );
        opens(
            &format!("[pod/bastion-0/sshd] {DROP}"),
            false,
            pod.map(|pod| &pod[4..]),
            None,
            None,
        );
        opens(
            &format!("[pod/bastion-0/sshd] 2026-04-05T04:35:07.0Z host-a sshd[1445]: {DROP}"),
            true,
            pod.map(|pod| &pod[4..]),
            sshd,
            Some(1445),
        );
    }

    #[test]
    fn form_of_the_line_before_makes_no_difference() {
        let lines = [
            format!("Apr  5 04:35:07 host-a sshd[1445]: {DROP}"),
            format!("2026-04-05T04:35:07.000000000Z {DROP}"),
            format!("2026-04-05T06:35:07+02:00 host-a sshd[1445]: {DROP}"),
            format!("<38>1 2026-04-05T04:35:07Z host-a sshd 1445 - - {DROP}"),
            format!(r#"{{"log":"2026-04-05T04:35:07Z h sshd[1]: {DROP}\n"}}"#),
            format!("bastion-1  | {DROP}"),
            DROP.to_owned(),
        ];
        for before in &lines {
            for line in &lines {
                let mut envelopes = Envelopes::new(AT);
                envelopes.open(before, |_| ());
                let after = envelopes.open(line, |it| (it.stamp, it.pid, it.text.to_owned()));
                let alone =
                    Envelopes::new(AT).open(line, |it| (it.stamp, it.pid, it.text.to_owned()));
                assert_eq!(after, alone, "{before} / {line}");
            }
        }
    }

    #[test]
    fn what_sshd_says_with_a_colon_is_no_program() {
        for text in [
            "fork: Resource temporarily unavailable",
            "kex_exchange_identification: Connection closed by remote host",
            "error: beginning MaxStartups throttling",
            "Starting session: command for job from 192.0.2.7 port 5 id 0",
            "banner exchange: Connection from 192.0.2.7 port 5: invalid format",
            "srclimit_penalise: ipv4: new 192.0.2.7/32 active penalty of 20 seconds for penalty: failed authentication",
        ] {
            let (stamp, _, program, _, message) = open(&format!("2026-04-05T04:35:07Z {text}"));
            assert_eq!((stamp, program, message.as_str()), (Some(AT), None, text));
        }
        let (_, _, program, _, _) = open("2026-04-05T04:35:07Z host-a kernel: something");
        assert_eq!(program.as_deref(), Some("kernel"));
    }

    #[test]
    fn a_user_name_is_neither_host_nor_program() {
        for text in [
            format!("Invalid user sshd[1]: {DROP} from 192.0.2.9 port 7"),
            format!("User sshd[1]: {DROP} not allowed because not listed in AllowUsers"),
        ] {
            let (_, _, program, _, message) = open(&format!("2026-04-05T04:35:07Z {text}"));
            assert_eq!((program, message), (None, text));
        }
        let (_, _, program, _, message) = open("Apr  5 04:35:07 host su[7]: x sshd[1]: y");
        assert_eq!(
            (program.as_deref(), message.as_str()),
            (Some("su"), "x sshd[1]: y")
        );
    }

    #[test]
    fn deep_nesting_ends() {
        let line = "a | ".repeat(100);
        let (_, origin, program, _, _) = open(&line);
        assert_eq!((origin.as_deref(), program), (Some("a"), None));
    }
}
