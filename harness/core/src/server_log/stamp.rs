//! Time stamps of log lines, as log writers print them.
//!
//! Owns their forms. Reads no clock: where a stamp has no year, the caller says when the log was last written.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// TAI is this far ahead of UTC, seconds; unchanged since 2017. s6 stamps TAI; daemontools and runit leave the leap seconds out, so
/// that their stamps come out 27 s early.
const TAI_MINUS_UTC: i64 = 37;
/// What a TAI64 label begins with: the second 0 of 1970.
const TAI64_BASE: i64 = 1 << 62;
/// A stamp without a year is of the last year in which it is no later than the log's own end and this, microseconds. A
/// clock, or a time zone that is not known, may be ahead by that much.
const AHEAD: i64 = 26 * 3600 * 1_000_000;

/// When a line was logged. In documents it is RFC 3339, without the `Z` where the time zone is not known.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct Moment {
    /// Microseconds since 1970: in UTC if `zoned`, else by the clock on the wall of whoever logged it.
    pub micros: i64,
    /// Whether the stamp named its time zone.
    pub zoned: bool,
}

impl Moment {
    /// Whole seconds since 1970.
    #[must_use]
    pub fn second(self) -> i64 {
        self.micros.div_euclid(1_000_000)
    }

    /// Time from an earlier moment, microseconds; negative when it is a later one.
    #[must_use]
    pub fn since(self, earlier: Moment) -> i64 {
        self.micros.saturating_sub(earlier.micros)
    }

    /// The moment this many seconds before.
    #[must_use]
    pub fn before(self, seconds: i64) -> Moment {
        Moment {
            micros: self
                .micros
                .saturating_sub(seconds.saturating_mul(1_000_000)),
            ..self
        }
    }

    fn parts(self) -> Option<OffsetDateTime> {
        OffsetDateTime::from_unix_timestamp(self.second()).ok()
    }

    /// The day, `2026-04-05`.
    #[must_use]
    pub fn date(self) -> String {
        self.parts().map_or_else(String::new, |at| {
            format!(
                "{:04}-{:02}-{:02}",
                at.year(),
                u8::from(at.month()),
                at.day()
            )
        })
    }

    /// The time of day to the second, `06:35:07`; with a `Z` where it is UTC.
    #[must_use]
    pub fn clock(self) -> String {
        let zone = if self.zoned { "Z" } else { "" };
        self.parts().map_or_else(String::new, |at| {
            format!(
                "{:02}:{:02}:{:02}{zone}",
                at.hour(),
                at.minute(),
                at.second()
            )
        })
    }
}

/// RFC 3339 to the second, without the `Z` where the time zone is not known.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T{}", self.date(), self.clock())
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> String {
        let fraction = moment.micros.rem_euclid(1_000_000);
        if fraction == 0 {
            return moment.to_string();
        }
        let zone = if moment.zoned { "Z" } else { "" };
        let clock = moment.clock();
        let clock = clock.trim_end_matches('Z');
        format!("{}T{clock}.{fraction:06}{zone}", moment.date())
    }
}

/// The text is no moment of such a document.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no time stamp")]
pub struct InvalidMoment(String);

impl TryFrom<String> for Moment {
    type Error = InvalidMoment;

    fn try_from(text: String) -> Result<Self, InvalidMoment> {
        match iso(&text) {
            Some((moment, "")) => Ok(moment),
            _ => Err(InvalidMoment(text)),
        }
    }
}

/// `n` decimal digits at `at`.
fn digits(text: &[u8], at: usize, n: usize) -> Option<u32> {
    text.get(at..at + n)?.iter().try_fold(0_u32, |sum, byte| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + u32::from(byte - b'0'))
    })
}

/// `HH:MM:SS[.frac]` at the beginning: microseconds of the day, and what follows.
fn time_of_day(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    (bytes.get(2) == Some(&b':') && bytes.get(5) == Some(&b':')).then_some(())?;
    let (hour, minute, second) = (
        digits(bytes, 0, 2)?,
        digits(bytes, 3, 2)?,
        digits(bytes, 6, 2)?,
    );
    // A leap second is the one before.
    (hour < 24 && minute < 60 && second <= 60).then_some(())?;
    let whole = i64::from(hour * 3600 + minute * 60 + second.min(59)) * 1_000_000;
    let rest = &text[8..];
    if !rest.starts_with(['.', ',']) {
        return Some((whole, rest));
    }
    let length = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
    let mut fraction = 0;
    for place in 0..6 {
        let digit = match rest.as_bytes().get(1 + place) {
            Some(byte) if place < length => i64::from(byte - b'0'),
            _ => 0,
        };
        fraction = fraction * 10 + digit;
    }
    Some((whole + fraction, &rest[1 + length..]))
}

/// Microseconds from 1970 to the beginning of a day.
fn day(year: i32, month: u32, day: u32) -> Option<i64> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date = Date::from_calendar_date(year, month, u8::try_from(day).ok()?).ok()?;
    let midnight = PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc();
    Some(midnight.unix_timestamp() * 1_000_000)
}

/// `Z`, `+02:00`, `+0200` or `+02` at the beginning: microseconds east of UTC.
fn zone(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    let sign = match bytes.first()? {
        b'Z' => return Some((0, &text[1..])),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = digits(bytes, 1, 2)?;
    let (minutes, end) = if bytes.get(3) == Some(&b':') {
        (digits(bytes, 4, 2)?, 6)
    } else {
        digits(bytes, 3, 2).map_or((0, 3), |minutes| (minutes, 5))
    };
    Some((
        sign * i64::from(hours * 60 + minutes) * 60_000_000,
        text.get(end..)?,
    ))
}

/// `2026-04-05T06:35:07[.frac][zone]`, also with a space between date and time: RFC 3339, journald's `short-iso`, docker,
/// s6's human form.
pub(super) fn iso(text: &str) -> Option<(Moment, &str)> {
    let bytes = text.as_bytes();
    let shaped = bytes.get(4) == Some(&b'-')
        && bytes.get(7) == Some(&b'-')
        && matches!(bytes.get(10), Some(b'T' | b' '));
    shaped.then_some(())?;
    let date = day(
        i32::try_from(digits(bytes, 0, 4)?).ok()?,
        digits(bytes, 5, 2)?,
        digits(bytes, 8, 2)?,
    )?;
    let (clock, rest) = time_of_day(text.get(11..)?)?;
    let (east, rest) = match zone(rest) {
        Some((east, rest)) => (Some(east), rest),
        None => (None, rest),
    };
    Some((
        Moment {
            micros: date + clock - east.unwrap_or(0),
            zoned: east.is_some(),
        },
        gap(rest)?,
    ))
}

/// When a log was last written to: what tells the year of stamps that have none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// No stamp is later, microseconds since 1970.
    latest: i64,
    /// The year of that.
    year: i32,
    /// The last stamp, as it was written and what it was read as: a busy log has many lines of one second.
    last: Option<([u8; MONTH_FIRST], Moment)>,
}

/// Bytes of `Mar  6 06:31:31 `, the space after it included.
const MONTH_FIRST: usize = 16;

impl Written {
    /// At this many microseconds since 1970.
    pub(super) fn at(micros: i64) -> Self {
        let latest = Moment {
            micros: micros.saturating_add(AHEAD),
            zoned: true,
        };
        Written {
            latest: latest.micros,
            year: latest.parts().map_or(1970, OffsetDateTime::year),
            last: None,
        }
    }
}

/// `Mar  6 06:31:31`, also with a zero before the day or a fraction: syslog's old form, and journald's `short`.
pub(super) fn month_first<'a>(text: &'a str, written: &mut Written) -> Option<(Moment, &'a str)> {
    let head = text.as_bytes().first_chunk::<MONTH_FIRST>();
    if let (Some(head), Some((same, moment))) = (head, &written.last)
        && head == same
    {
        return Some((*moment, gap(&text[MONTH_FIRST - 1..])?));
    }
    let (month, (number, clock), rest) = month_day_time(text)?;
    // The 29th of February is in every fourth year only.
    let micros = (0..5).find_map(|back| {
        let micros = day(written.year - back, month, number)? + clock;
        (micros <= written.latest).then_some(micros)
    })?;
    let moment = Moment {
        micros,
        zoned: false,
    };
    let after = gap(rest)?;
    if let Some(head) = head
        && text.len() - rest.len() == MONTH_FIRST - 1
    {
        written.last = Some((*head, moment));
    }
    Some((moment, after))
}

/// `Thu Mar  6 06:31:31 2026` (ctime(3), OpenWrt's `logread`) or `Thu 2026-03-06 06:31:31 CET` (journald's `short-full`).
pub(super) fn weekday_first(text: &str) -> Option<(Moment, &str)> {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let name = text.get(..3)?;
    DAYS.contains(&name).then_some(())?;
    let rest = text[3..].strip_prefix(' ')?;
    if let Some((moment, rest)) = iso(rest) {
        let (zone, rest) = rest.split_once(' ')?;
        let zoned = matches!(zone, "UTC" | "GMT");
        return Some((Moment { zoned, ..moment }, rest));
    }
    let (month, (number, clock), rest) = month_day_time(rest)?;
    let rest = rest.strip_prefix(' ')?;
    let year = i32::try_from(digits(rest.as_bytes(), 0, 4)?).ok()?;
    Some((
        Moment {
            micros: day(year, month, number)? + clock,
            zoned: false,
        },
        gap(rest.get(4..)?)?,
    ))
}

/// Month, day of it with the microseconds of that day, and what follows.
fn month_day_time(text: &str) -> Option<(u32, (u32, i64), &str)> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let name = text.get(..3)?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let bytes = text.as_bytes();
    let (number, length) = match bytes.get(3..6)? {
        [b' ', b' ', digit] if digit.is_ascii_digit() => (u32::from(digit - b'0'), 6),
        [b' ', digit, b' '] if digit.is_ascii_digit() => (u32::from(digit - b'0'), 5),
        [b' ', ..] => (digits(bytes, 4, 2)?, 6),
        _ => return None,
    };
    let (clock, rest) = time_of_day(text.get(length..)?.strip_prefix(' ')?)?;
    Some((u32::try_from(month).ok()? + 1, (number, clock), rest))
}

/// `@400000005f…`: a TAI64N label, as s6-log, multilog and svlogd print it.
pub(super) fn tai64n(text: &str) -> Option<(Moment, &str)> {
    let label = text.strip_prefix('@')?.get(..24)?;
    label
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then_some(())?;
    let seconds = i64::from_str_radix(&label[..16], 16).ok()?;
    let nanos = i64::from_str_radix(&label[16..], 16).ok()?;
    let seconds = seconds
        .checked_sub(TAI64_BASE)?
        .checked_sub(TAI_MINUS_UTC)?;
    // Nobody logged before 1970, and what does not fit was no stamp.
    (0..1 << 40).contains(&seconds).then_some(())?;
    (nanos < 1_000_000_000).then_some(())?;
    Some((
        Moment {
            micros: seconds * 1_000_000 + nanos / 1000,
            zoned: true,
        },
        gap(&text[25..])?,
    ))
}

/// Microseconds since 1970 in decimal, as journald's JSON has them.
pub(super) fn unix_micros(text: &str) -> Option<Moment> {
    let micros: i64 = text.parse().ok()?;
    (0..1 << 60).contains(&micros).then_some(Moment {
        micros,
        zoned: true,
    })
}

/// What stands between a stamp and the rest: spaces, or nothing at the end.
fn gap(rest: &str) -> Option<&str> {
    match rest.as_bytes().first() {
        None => Some(rest),
        Some(b' ' | b'\t') => Some(rest.trim_start_matches([' ', '\t'])),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITTEN: &str = "2026-04-05T04:35:07Z";

    fn micros() -> i64 {
        iso(WRITTEN).expect("a stamp").0.micros
    }

    fn written() -> Written {
        Written::at(micros())
    }

    #[test]
    fn every_form_gives_the_same_moment() {
        let expected = micros();
        for (text, zoned) in [
            ("2026-04-05T04:35:07Z m", true),
            ("2026-04-05T06:35:07+02:00 m", true),
            ("2026-04-05T06:35:07+0200 m", true),
            ("2026-04-05T00:05:07-0430 m", true),
            ("2026-04-05T06:35:07+02 m", true),
            ("2026-04-05T04:35:07.000000Z m", true),
            ("2026-04-05 04:35:07.000000000  m", false),
        ] {
            let (moment, rest) = iso(text).expect(text);
            assert_eq!(
                (moment.micros, moment.zoned, rest),
                (expected, zoned, "m"),
                "{text}"
            );
        }
        for text in [
            "Apr  5 04:35:07 m",
            "Apr 05 04:35:07 m",
            "Apr 5 04:35:07.000 m",
        ] {
            let (moment, rest) = month_first(text, &mut written()).expect(text);
            assert_eq!(
                (moment.micros, moment.zoned, rest),
                (expected, false, "m"),
                "{text}"
            );
        }
        for text in [
            "Sun Apr  5 04:35:07 2026 m",
            "Sun 2026-04-05 04:35:07 UTC m",
        ] {
            let (moment, rest) = weekday_first(text).expect(text);
            assert_eq!((moment.micros, rest), (expected, "m"), "{text}");
        }
        let label = format!(
            "@{:016x}{:08x} m",
            TAI64_BASE + 37 + expected / 1_000_000,
            0
        );
        assert_eq!(
            tai64n(&label).map(|(moment, _)| moment.micros),
            Some(expected)
        );
        assert_eq!(
            unix_micros(&expected.to_string()).map(|m| m.micros),
            Some(expected)
        );
        assert_eq!(
            iso(WRITTEN)
                .map(|(moment, _)| moment.to_string())
                .as_deref(),
            Some(WRITTEN)
        );
    }

    #[test]
    fn a_stamp_without_a_year_is_of_the_last_year_that_fits() {
        for (text, year) in [
            ("Apr  5 23:00:00 m", 2026),
            ("Apr  7 23:00:00 m", 2025),
            ("Dec 31 23:59:59 m", 2025),
            ("Feb 29 12:00:00 m", 2024),
        ] {
            let (moment, _) = month_first(text, &mut written()).expect(text);
            assert!(
                moment.date().starts_with(&year.to_string()),
                "{text}: {moment}"
            );
        }
    }

    #[test]
    fn what_is_no_stamp_is_none() {
        for text in [
            "",
            "2026-13-05T04:35:07Z m",
            "2026-02-30T04:35:07Z m",
            "2026-04-05T24:35:07Z m",
            "2026-04-05T04:35:07Zm",
            "2026-04-05T04:3",
            "Apr 31 04:35:07 m",
            "Apr  5 04:35 m",
            "April 5 04:35:07",
            "Sun Apr  5 04:35:07",
            "@40000000 m",
            "@zz00000067c9e3a300000000 m",
            "@400000ü067c9e3a3000000000",
        ] {
            assert_eq!(iso(text), None, "{text}");
            assert_eq!(month_first(text, &mut written()), None, "{text}");
            assert_eq!(weekday_first(text), None, "{text}");
            assert_eq!(tai64n(text), None, "{text}");
        }
    }
}
