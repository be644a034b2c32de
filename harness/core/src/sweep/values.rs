//! What is varied, as the command line says it: `KEY=V1,V2,...`, and `FROM..TO:STEP` for numbers.
//!
//! Owns that form and the cross product. Whether a value suits its key is the scenario's to say.

use std::collections::BTreeSet;

use super::Setting;

/// Most values of one key.
pub const MOST_VALUES: usize = 10_000;

/// A key and its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// The key, as written.
    pub key: String,
    /// Its values in the order given, ranges written out; at least one, all different.
    pub values: Vec<String>,
}

/// What is wrong with a `--vary`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AxisError {
    /// Not of the form.
    #[error("write it as `KEY=V1,V2,…`, such as `tasks=30,60` or `tasks=30..120:30`")]
    Form,
    /// Two commas in a row, or one at an end.
    #[error("a value is empty; separate values by one comma each, or write an empty one as \"\"")]
    Empty,
    /// A quotation mark that is not closed, or not around a whole value.
    #[error("a value with a comma in it stands in quotes, as a whole: `KEY=\"a,b\",c`")]
    Quotes,
    /// Begins like a range and is none.
    #[error(
        "`{0}` is no range: write `FROM..TO:STEP` with plain numbers, such as 30..120:30; values with a unit are written out, 1s,2s,3s"
    )]
    Range(String),
    /// Would never end, or has nothing in it.
    #[error("`{0}`: a range goes up by a step above 0; write values that go down one by one")]
    Direction(String),
    /// More than anybody runs.
    #[error("more than {MOST_VALUES} values; take a larger step")]
    TooMany,
    /// Twice the same.
    #[error("`{0}` is there twice; for more than one run of each point use `--repeats`")]
    Repeated(String),
}

impl Axis {
    /// Reads `KEY=V1,V2,...`.
    ///
    /// # Errors
    /// [`AxisError`].
    pub fn parse(text: &str) -> Result<Axis, AxisError> {
        let (key, values) = text.split_once('=').ok_or(AxisError::Form)?;
        let key = key.trim();
        if key.is_empty() || key.contains(char::is_whitespace) || values.trim().is_empty() {
            return Err(AxisError::Form);
        }
        let mut all = Vec::new();
        for item in items(values)? {
            match item {
                Item::Quoted(value) => all.push(value),
                Item::Plain(value) if value.is_empty() => return Err(AxisError::Empty),
                Item::Plain(value) => match range(&value)? {
                    Some(values) => all.extend(values),
                    None => all.push(value),
                },
            }
            if all.len() > MOST_VALUES {
                return Err(AxisError::TooMany);
            }
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = all.iter().find(|value| !seen.insert(value.as_str())) {
            return Err(AxisError::Repeated(twice.clone()));
        }
        Ok(Axis {
            key: key.to_owned(),
            values: all,
        })
    }
}

/// Two `--vary` of one key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is varied twice; put all its values into one `--vary`")]
pub struct RepeatedKey(String);

/// Every combination of one value of each axis; the last axis changes fastest.
///
/// # Errors
/// [`RepeatedKey`].
pub fn grid(axes: &[Axis]) -> Result<Vec<Vec<Setting>>, RepeatedKey> {
    let mut points: Vec<Vec<Setting>> = vec![Vec::new()];
    let mut keys = BTreeSet::new();
    for axis in axes {
        if !keys.insert(&axis.key) {
            return Err(RepeatedKey(axis.key.clone()));
        }
        let with = |point: &Vec<Setting>| {
            let point = point.clone();
            axis.values.iter().map(move |value| {
                let mut point = point.clone();
                point.push(super::setting(&axis.key, value));
                point
            })
        };
        points = points.iter().flat_map(with).collect();
    }
    Ok(points)
}

enum Item {
    Plain(String),
    Quoted(String),
}

/// What stands between the commas; one in quotes, or in the brackets of a list, separates nothing.
fn items(text: &str) -> Result<Vec<Item>, AxisError> {
    let mut items = Vec::new();
    let mut rest = text.trim();
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let (value, after) = quoted.split_once('"').ok_or(AxisError::Quotes)?;
            items.push(Item::Quoted(value.to_owned()));
            rest = match after.trim_start() {
                "" => return Ok(items),
                after => after
                    .strip_prefix(',')
                    .ok_or(AxisError::Quotes)?
                    .trim_start(),
            };
            continue;
        }
        let end = match rest.starts_with('[').then(|| rest.find(']')).flatten() {
            Some(closed) => rest[closed..].find(',').map(|comma| closed + comma),
            None => rest.find(','),
        };
        let (value, after) = end.map_or((rest, None), |end| (&rest[..end], Some(&rest[end + 1..])));
        items.push(Item::Plain(value.trim().to_owned()));
        match after {
            None => return Ok(items),
            Some(after) => rest = after.trim_start(),
        }
    }
}

/// The values of a range; `None` where the text is none. Its end belongs to it where the steps reach it.
fn range(text: &str) -> Result<Option<Vec<String>>, AxisError> {
    let Some((from, rest)) = text.split_once("..") else {
        return Ok(None);
    };
    if !from
        .trim_start_matches('-')
        .starts_with(|c: char| c.is_ascii_digit())
    {
        return Ok(None);
    }
    let malformed = || AxisError::Range(text.to_owned());
    let (to, step) = match rest.split_once(':') {
        Some((to, step)) => (to, Some(step)),
        None => (rest, None),
    };
    // In whole units of the last decimal place, so that 0.1..0.3:0.1 has 0.3 in it.
    let parts: Option<Vec<(&str, u32)>> = [Some(from), Some(to), step]
        .into_iter()
        .flatten()
        .map(|part| {
            let places = part.split_once('.').map_or(0, |(_, places)| places.len());
            u32::try_from(places)
                .ok()
                .filter(|places| *places <= 9)
                .map(|places| (part, places))
        })
        .collect();
    let parts = parts.ok_or_else(malformed)?;
    let places = parts.iter().map(|(_, places)| *places).max().unwrap_or(0);
    if step.is_none() && places > 0 {
        return Err(malformed());
    }
    let whole = |text: &str| units(text, places).ok_or_else(malformed);
    let (from, to) = (whole(from)?, whole(to)?);
    let step = step.map_or(Ok(1), whole)?;
    if step <= 0 || to < from {
        return Err(AxisError::Direction(text.to_owned()));
    }
    if (to - from) / step >= MOST_VALUES as i128 {
        return Err(AxisError::TooMany);
    }
    let mut values = Vec::new();
    let mut value = from;
    while value <= to {
        values.push(decimal(value, places));
        value += step;
    }
    Ok(Some(values))
}

/// A decimal number in units of its last place.
fn units(text: &str, places: u32) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.len() <= 18 && part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return None;
    }
    if digits.contains('.') && fraction.is_empty() {
        return None;
    }
    let width = usize::try_from(places).ok()?;
    let all: i128 = format!("{whole}{fraction:0<width$}").parse().ok()?;
    Some(if negative { -all } else { all })
}

fn decimal(units: i128, places: u32) -> String {
    if places == 0 {
        return units.to_string();
    }
    let scale = 10_i128.pow(places);
    let sign = if units < 0 { "-" } else { "" };
    let width = places as usize;
    let (whole, fraction) = (units.abs() / scale, units.abs() % scale);
    let text = format!("{sign}{whole}.{fraction:0width$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(text: &str) -> Vec<String> {
        Axis::parse(text).expect("an axis").values
    }

    #[test]
    fn values_are_separated_by_commas_and_ranges_are_written_out() {
        assert_eq!(values("tasks=30"), ["30"]);
        assert_eq!(values("tasks = 30, 60 ,90"), ["30", "60", "90"]);
        assert_eq!(values("tasks=30..120:30"), ["30", "60", "90", "120"]);
        assert_eq!(values("tasks=30..100:30,200"), ["30", "60", "90", "200"]);
        assert_eq!(values("tasks=1..4"), ["1", "2", "3", "4"]);
        assert_eq!(values("time_scale=0.1..0.3:0.1"), ["0.1", "0.2", "0.3"]);
        assert_eq!(values("x=-1..1:0.5"), ["-1", "-0.5", "0", "0.5", "1"]);
        assert_eq!(
            values("max_startups=10:30:100,20:30:200"),
            ["10:30:100", "20:30:200"]
        );
        assert_eq!(
            values("sshd.options.PerSourcePenalties=\"crash:3,noauth:5\",no"),
            ["crash:3,noauth:5", "no"]
        );
        assert_eq!(
            values("spacing=[\"1s\",\"2s\"],3s"),
            ["[\"1s\",\"2s\"]", "3s"]
        );
        assert_eq!(
            values("per-command.command=\"../tool\",a..b"),
            ["../tool", "a..b"]
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_the_fix() {
        for (text, expected) in [
            ("tasks", AxisError::Form),
            ("=3", AxisError::Form),
            ("tasks=", AxisError::Form),
            ("a b=3", AxisError::Form),
            ("tasks=1,,2", AxisError::Empty),
            ("tasks=1,", AxisError::Empty),
            ("a=\"x", AxisError::Quotes),
            ("a=\"x\"y", AxisError::Quotes),
            (
                "poll_interval=1s..5s:1s",
                AxisError::Range("1s..5s:1s".to_owned()),
            ),
            ("tasks=1..", AxisError::Range("1..".to_owned())),
            ("x=0.5..2", AxisError::Range("0.5..2".to_owned())),
            ("tasks=9..1:2", AxisError::Direction("9..1:2".to_owned())),
            ("tasks=1..9:0", AxisError::Direction("1..9:0".to_owned())),
            ("tasks=1..99999999", AxisError::TooMany),
            ("tasks=30,30", AxisError::Repeated("30".to_owned())),
            ("tasks=30..90:30,60", AxisError::Repeated("60".to_owned())),
        ] {
            assert_eq!(Axis::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn grid_is_every_combination_once_and_its_last_key_changes_fastest() {
        let axes = ["tasks=1,2", "seed=7,8,9"].map(|text| Axis::parse(text).expect("an axis"));
        let labels: Vec<String> = grid(&axes)
            .expect("two keys")
            .iter()
            .map(|it| crate::sweep::label(it))
            .collect();
        assert_eq!(
            labels,
            [
                "tasks=1, seed=7",
                "tasks=1, seed=8",
                "tasks=1, seed=9",
                "tasks=2, seed=7",
                "tasks=2, seed=8",
                "tasks=2, seed=9"
            ]
        );
        assert_eq!(grid(&[]), Ok(vec![Vec::new()]));
        let twice = [axes[0].clone(), axes[0].clone()];
        assert_eq!(grid(&twice), Err(RepeatedKey("tasks".to_owned())));
    }

    proptest! {
        #[test]
        fn range_has_every_step_and_nothing_beyond_its_end(from in -500_i64..500, steps in 0_i64..200, step in 1_i64..50, short in 0_i64..50) {
            let to = from + steps * step + short.min(step - 1);
            let values: Vec<i64> = values(&format!("x={from}..{to}:{step}"))
                .iter()
                .map(|value| value.parse().expect("a number"))
                .collect();
            let expected: Vec<i64> = (0..=steps).map(|index| from + index * step).collect();
            prop_assert_eq!(values, expected);
        }
    }
}
