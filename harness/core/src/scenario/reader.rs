//! A collecting reader over spanned TOML: every problem is noted and reading goes on.
//!
//! The keys a table knows are the keys it is asked for, so that no second list can go stale; what is left over at the
//! end is unknown, and the nearest known key is offered.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::units::{parse_bytes, parse_duration};
use crate::nearest::nearest;

/// Where problems go.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(super) fn add(&self, span: Range<usize>, message: String, help: Option<String>) {
        self.0.borrow_mut().push(Problem {
            message,
            help,
            span,
            other: None,
        });
    }

    /// The same of two places.
    fn add_both(
        &self,
        span: Range<usize>,
        other: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        self.0.borrow_mut().push(Problem {
            message,
            help,
            span,
            other: Some(other),
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    pub(super) fn into_inner(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// A text with its place.
pub(super) type Text = (String, Range<usize>);

/// One table being read.
pub(super) struct Table<'t, 'i> {
    table: &'t DeTable<'i>,
    span: Range<usize>,
    path: String,
    problems: &'t Problems,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t, 'i> Table<'t, 'i> {
    pub(super) fn new(
        table: &'t DeTable<'i>,
        span: Range<usize>,
        path: &str,
        problems: &'t Problems,
    ) -> Self {
        Table {
            table,
            span,
            path: path.to_owned(),
            problems,
            asked: RefCell::default(),
        }
    }

    /// The value of a key, which is thereby known.
    pub(super) fn value(&self, key: &'static str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Notes a problem at the value of a key, or at the table when the key is missing.
    pub(super) fn problem(&self, key: &str, message: &str, help: Option<String>) {
        let span = self
            .table
            .get(key)
            .map_or_else(|| self.span.clone(), Spanned::span);
        self.problems
            .add(span, format!("{}: {message}", self.path_of(key)), help);
    }

    pub(super) fn required(&self, key: &'static str, example: &str) -> bool {
        let there = self.table.contains_key(key);
        if !there {
            self.asked.borrow_mut().push(key);
            self.problem(key, "this key is missing", Some(format!("add `{example}`")));
        }
        there
    }

    pub(super) fn string(&self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            other => self.wrong_type(key, "a string", other),
        }
    }

    /// A list of texts.
    pub(super) fn strings(&self, key: &'static str) -> Option<Vec<String>> {
        let texts = self.strings_in_place(key)?;
        Some(texts.into_iter().map(|(text, _)| text).collect())
    }

    /// A list of texts, each with its place.
    pub(super) fn strings_in_place(
        &self,
        key: &'static str,
    ) -> Option<Vec<(String, Range<usize>)>> {
        let value = self.value(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong_type(key, "a list of strings", value.get_ref());
        };
        let mut texts = Vec::new();
        for item in items.iter() {
            match item.get_ref() {
                DeValue::String(text) => texts.push((text.clone().into_owned(), item.span())),
                other => {
                    let message = format!(
                        "{}: {} in a list of strings",
                        self.path_of(key),
                        other.type_str()
                    );
                    self.problems
                        .add(item.span(), message, Some("put it in quotes".to_owned()));
                    return None;
                }
            }
        }
        Some(texts)
    }

    pub(super) fn boolean(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(yes) => Some(*yes),
            other => self.wrong_type(key, "`true` or `false`", other),
        }
    }

    pub(super) fn integer<T: TryFrom<i128>>(
        &self,
        key: &'static str,
        range: RangeInclusive<i128>,
    ) -> Option<T> {
        let value = self.value(key)?;
        let DeValue::Integer(number) = value.get_ref() else {
            return self.wrong_type(key, "a whole number", value.get_ref());
        };
        let parsed = i128::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok();
        match parsed
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
        {
            Some(number) => Some(number),
            None => {
                self.problem(
                    key,
                    &format!("{} is out of range", number.as_str()),
                    Some(format!("from {} to {}", range.start(), range.end())),
                );
                None
            }
        }
    }

    /// Milliseconds in order, at most `most` of them, none later than `latest`.
    pub(super) fn offsets_ms(
        &self,
        key: &'static str,
        most: usize,
        latest: u64,
    ) -> Option<Vec<Duration>> {
        let value = self.value(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong_type(key, "a list of whole numbers", value.get_ref());
        };
        if items.is_empty() || items.len() > most {
            let message = format!("{} starts", items.len());
            self.problem(key, &message, Some(format!("from 1 to {most}")));
            return None;
        }
        let mut offsets: Vec<Duration> = Vec::with_capacity(items.len());
        for item in items.iter() {
            let number = match item.get_ref() {
                DeValue::Integer(number) => {
                    let digits = number.as_str().replace('_', "");
                    u64::from_str_radix(&digits, number.radix()).ok()
                }
                _ => None,
            };
            let offset = number.filter(|number| *number <= latest);
            let offset = offset.map(Duration::from_millis);
            let Some(offset) = offset.filter(|it| offsets.last().is_none_or(|last| last <= it))
            else {
                let message = format!("{}: no such start", self.path_of(key));
                let help = format!(
                    "whole milliseconds from 0 to {latest}, none smaller than the one before"
                );
                self.problems.add(item.span(), message, Some(help));
                return None;
            };
            offsets.push(offset);
        }
        Some(offsets)
    }

    /// A number that lies within `bounds` (said in words for the message).
    pub(super) fn number(
        &self,
        key: &'static str,
        within: impl Fn(f64) -> bool,
        bounds: &str,
    ) -> Option<f64> {
        let value = self.value(key)?;
        let parsed: Option<f64> = match value.get_ref() {
            DeValue::Integer(number) => number.as_str().replace('_', "").parse().ok(),
            DeValue::Float(number) => number.as_str().replace('_', "").parse().ok(),
            other => return self.wrong_type(key, "a number", other),
        };
        match parsed.filter(|number| number.is_finite() && within(*number)) {
            Some(number) => Some(number),
            None => {
                self.problem(
                    key,
                    "this number is out of range",
                    Some(format!("it must be {bounds}")),
                );
                None
            }
        }
    }

    pub(super) fn duration(&self, key: &'static str) -> Option<Duration> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) => match parse_duration(text) {
                Ok(duration) => Some(duration),
                Err(error) => {
                    self.problem(key, &error.to_string(), None);
                    None
                }
            },
            DeValue::Integer(number) => {
                self.problem(
                    key,
                    "a duration needs a unit",
                    Some(format!(
                        "write `{key} = \"{}s\"` (units: ms, s, m, h)",
                        number.as_str()
                    )),
                );
                None
            }
            other => self.wrong_type(key, "a duration such as \"5s\"", other),
        }
    }

    /// One duration or a list of them, at least one; zero is one too.
    pub(super) fn durations(&self, key: &'static str) -> Option<Vec<Duration>> {
        if !matches!(self.value(key)?.get_ref(), DeValue::Array(_)) {
            return self.duration(key).map(|one| vec![one]);
        }
        let texts = self.strings_in_place(key)?;
        if texts.is_empty() {
            self.problem(
                key,
                "an empty list",
                Some(format!("{key} = [\"1s\", \"2s\"]")),
            );
            return None;
        }
        texts
            .into_iter()
            .map(|(text, span)| match parse_duration(&text) {
                Ok(duration) => Some(duration),
                Err(error) => {
                    self.note(span, format!("{}: {error}", self.path_of(key)), None);
                    None
                }
            })
            .collect()
    }

    /// A duration that must not be zero.
    pub(super) fn positive_duration(&self, key: &'static str) -> Option<Duration> {
        let duration = self.duration(key)?;
        if duration.is_zero() {
            self.problem(key, "must be longer than zero", None);
            return None;
        }
        Some(duration)
    }

    /// A number of bytes, at most `most`.
    pub(super) fn bytes(&self, key: &'static str, most: u64) -> Option<u64> {
        match self.table.get(key).map(Spanned::get_ref) {
            Some(DeValue::String(text)) => {
                self.asked.borrow_mut().push(key);
                match parse_bytes(text) {
                    Ok(bytes) if bytes <= most => Some(bytes),
                    Ok(_) => {
                        self.problem(
                            key,
                            &format!("`{text}` is out of range"),
                            Some(format!("at most {most} bytes")),
                        );
                        None
                    }
                    Err(error) => {
                        self.problem(key, &error.to_string(), None);
                        None
                    }
                }
            }
            _ => self.integer(key, 0..=i128::from(most)),
        }
    }

    /// One of a closed set of words.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.string(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let help = match nearest(&text, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`? The choices are {}", list(&known)),
            None => format!("the choices are {}", list(&known)),
        };
        self.problem(key, &format!("`{text}` is not known"), Some(help));
        None
    }

    /// A table below this one; an absent one reads as empty.
    pub(super) fn table(&self, key: &'static str) -> Option<Table<'t, 'i>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Table::new(
                table,
                value.span(),
                &self.path_of(key),
                self.problems,
            )),
            other => self.wrong_type(key, &format!("a table `[{}]`", self.path_of(key)), other),
        }
    }

    /// An array of tables below this one.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'t, 'i>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            let _: Option<()> =
                self.wrong_type(key, &format!("tables `[[{key}]]`"), value.get_ref());
            return Vec::new();
        };
        let mut tables = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    let path = format!("{}[{}]", self.path_of(key), index + 1);
                    tables.push(Table::new(table, item.span(), &path, self.problems));
                }
                other => self.problems.add(
                    item.span(),
                    format!(
                        "{}: {} instead of a table",
                        self.path_of(key),
                        other.type_str()
                    ),
                    Some(format!("write it as `[[{key}]]`")),
                ),
            }
        }
        tables
    }

    /// All entries as texts, for tables whose keys are not ours.
    pub(super) fn entries(&self) -> Vec<(String, Range<usize>, String)> {
        self.in_order(|key, value| {
            self.scalar(value).or_else(|| {
                self.not_a_scalar(
                    key,
                    value,
                    "instead of a string, a whole number or a boolean",
                )
            })
        })
    }

    /// The same where an entry may also be a list of such texts: each text with its place.
    pub(super) fn entries_with_lists(&self) -> Vec<(String, Range<usize>, Vec<Text>)> {
        const INSTEAD: &str = "instead of a string, a whole number, a boolean, or a list of these";
        self.in_order(|key, value| {
            let place = |value: &Spanned<DeValue<'_>>| {
                let text = self.scalar(value)?;
                Some((text, value.span()))
            };
            let DeValue::Array(items) = value.get_ref() else {
                return match place(value) {
                    Some(text) => Some(vec![text]),
                    None => self.not_a_scalar(key, value, INSTEAD),
                };
            };
            let mut texts = Vec::new();
            for item in items.iter() {
                match place(item) {
                    Some(text) => texts.push(text),
                    None => return self.not_a_scalar(key, item, INSTEAD),
                }
            }
            Some(texts)
        })
    }

    /// What `read` makes of the entries, in the order of the text; the table itself sorts by name.
    fn in_order<T>(
        &self,
        read: impl Fn(&str, &Spanned<DeValue<'i>>) -> Option<T>,
    ) -> Vec<(String, Range<usize>, T)> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .filter_map(|(key, value)| {
                let read = read(key.get_ref(), value)?;
                Some((key.get_ref().clone().into_owned(), key.span(), read))
            })
            .collect();
        entries.sort_by_key(|(_, span, _)| span.start);
        entries
    }

    fn scalar(&self, value: &Spanned<DeValue<'_>>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            DeValue::Integer(number) => Some(number.as_str().to_owned()),
            DeValue::Boolean(true) => Some("yes".to_owned()),
            DeValue::Boolean(false) => Some("no".to_owned()),
            _ => None,
        }
    }

    fn not_a_scalar<T>(&self, key: &str, value: &Spanned<DeValue<'_>>, instead: &str) -> Option<T> {
        let (path, found) = (&self.path, value.get_ref().type_str());
        self.problems.add(
            value.span(),
            format!("{path}.{key}: {found} {instead}"),
            None,
        );
        None
    }

    /// Ends the reading: what was not asked for is unknown.
    pub(super) fn finish(self) {
        let known = self.asked.borrow();
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let help = match nearest(name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the keys here are {}", list(&known)),
            };
            self.problems.add(
                key.span(),
                format!("{}: unknown key", self.path_of(name)),
                Some(help),
            );
        }
    }

    /// Notes a problem at a place of the text.
    pub(super) fn note(&self, span: Range<usize>, message: String, help: Option<String>) {
        self.problems.add(span, message, help);
    }

    /// Notes a problem of two places.
    pub(super) fn note_both(
        &self,
        span: Range<usize>,
        other: Range<usize>,
        message: String,
        help: Option<String>,
    ) {
        self.problems.add_both(span, other, message, help);
    }

    /// Whether a key has this text.
    pub(super) fn is(&self, key: &str, text: &str) -> bool {
        matches!(self.table.get(key).map(Spanned::get_ref), Some(DeValue::String(it)) if it == text)
    }

    /// Whether a key is given, without making it known.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn wrong_type<T>(&self, key: &str, wanted: &str, found: &DeValue<'_>) -> Option<T> {
        self.problem(
            key,
            &format!("{wanted} is needed, not {}", article(found.type_str())),
            None,
        );
        None
    }
}

fn article(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

fn list(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}
