//! Values with units: durations and byte counts, to and from text.

use std::time::Duration;

/// Why a text is no value with a unit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No unit.
    #[error("`{0}` has no unit; write a unit: {1}")]
    Missing(String, &'static str),
    /// An unknown unit.
    #[error("`{0}` is not a unit; the units are {1}")]
    Unknown(String, &'static str),
    /// Not a number.
    #[error("`{0}` is not a number with a unit such as {1}")]
    NotANumber(String, &'static str),
    /// Too large or negative.
    #[error("`{0}` is out of range")]
    OutOfRange(String),
}

const DURATION_UNITS: &str = "ms, s, m or h (`250ms`, `5s`, `3m`)";
const BYTE_UNITS: &str = "B, KiB, MiB or GiB (`64KiB`)";

/// Parses a duration such as `250ms`, `1.5s`, `3m` or `1h`.
///
/// # Errors
/// [`UnitError`] naming the units there are.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let (number, unit) = split(text, DURATION_UNITS)?;
    let factor =
        nanoseconds_of(unit).ok_or_else(|| UnitError::Unknown(unit.to_owned(), DURATION_UNITS))?;
    // Rounded to the microsecond, so that 0.1 s is not 100 000 001 ns; what would come to nothing is no duration.
    let micros = (number * factor / 1e3).round();
    if !(0.0..1e15).contains(&micros) || (micros == 0.0 && number > 0.0) {
        return Err(UnitError::OutOfRange(text.to_owned()));
    }
    Ok(Duration::from_micros(micros as u64))
}

/// Nanoseconds of a unit of time: in scenarios, in options and in thresholds the same.
pub(crate) fn nanoseconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" | "min" => 6e10,
        "h" => 3.6e12,
        _ => return None,
    })
}

/// A duration in the largest unit that shows it exactly.
pub(super) fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    for (unit, size) in [
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1000),
    ] {
        if micros > 0 && micros.is_multiple_of(size) {
            return format!("{}{unit}", micros / size);
        }
    }
    format!("{}ms", micros as f64 / 1000.0)
}

/// Parses a byte count with a unit, `64KiB`.
///
/// # Errors
/// [`UnitError`] naming the units there are.
pub(super) fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let (number, unit) = split(text, BYTE_UNITS)?;
    let factor = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        other => return Err(UnitError::Unknown(other.to_owned(), BYTE_UNITS)),
    };
    let bytes = number * factor;
    // 2^53: beyond it a float no longer counts single bytes.
    if bytes.fract() != 0.0 || !(0.0..9_007_199_254_740_992.0).contains(&bytes) {
        return Err(UnitError::OutOfRange(text.to_owned()));
    }
    Ok(bytes as u64)
}

fn split<'t>(text: &'t str, units: &'static str) -> Result<(f64, &'t str), UnitError> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim();
    let number: f64 = number
        .parse()
        .map_err(|_| UnitError::NotANumber(text.to_owned(), units))?;
    if number < 0.0 {
        return Err(UnitError::OutOfRange(text.to_owned()));
    }
    if unit.is_empty() {
        return Err(UnitError::Missing(text.to_owned(), units));
    }
    Ok((number, unit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_in_all_units() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("0.1 s"), Ok(Duration::from_millis(100)));
        assert_eq!(parse_duration("3m"), Ok(Duration::from_secs(180)));
        assert_eq!(parse_duration("5min"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
        assert_eq!(parse_duration("1h"), Ok(Duration::from_secs(3600)));
    }

    #[test]
    fn wrong_durations_say_what_is_wrong() {
        assert!(matches!(parse_duration("5"), Err(UnitError::Missing(..))));
        assert!(matches!(
            parse_duration("5 sec"),
            Err(UnitError::Unknown(..))
        ));
        assert!(matches!(
            parse_duration("fast"),
            Err(UnitError::NotANumber(..))
        ));
        assert!(matches!(
            parse_duration("1ns"),
            Err(UnitError::OutOfRange(..))
        ));
        assert!(matches!(
            parse_duration("-5s"),
            Err(UnitError::OutOfRange(..))
        ));
        assert!(matches!(
            parse_duration("1e99h"),
            Err(UnitError::Unknown(..))
        ));
    }

    #[test]
    fn bytes_are_read_in_all_units() {
        assert_eq!(parse_bytes("64KiB"), Ok(65_536));
        assert_eq!(parse_bytes("12B"), Ok(12));
        assert!(matches!(parse_bytes("64KB"), Err(UnitError::Unknown(..))));
    }

    proptest! {
        #[test]
        fn durations_read_back(micros in 0_u64..10_000_000_000_000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
