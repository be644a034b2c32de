//! A scenario with some of its keys changed, each named by its dotted path.
//!
//! Owns which paths there are: the mirror's schema says it, so that no second list can go stale. What a value must be is the
//! reader's to say: the changed scenario is read as any file is, and everything that is not changed stays as it was.

use serde_json::{Map, Value};

use super::client;
use super::config::{Life, Scenario, StrategyConfig};
use super::problem::ScenarioErrors;
use super::tunables;
use crate::nearest::nearest;
use crate::sweep::Setting;

/// Why a scenario cannot be changed like that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaryError {
    /// There is no such key.
    #[error("unknown key `{key}`: {help}")]
    UnknownKey {
        /// As written.
        key: String,
        /// A near one, or where the keys are listed.
        help: String,
    },
    /// There is such a key, but it is not one to vary.
    #[error("`{key}` cannot be varied: {why}")]
    NotVaried {
        /// As written.
        key: String,
        /// Why, and what to do instead.
        why: String,
    },
    /// Two names of one key.
    #[error("`{first}` and `{second}` are the same key: leave one of them out")]
    Twice {
        /// As written first.
        first: String,
        /// … and then.
        second: String,
    },
    /// What results is no valid scenario.
    #[error("{0}")]
    Invalid(ScenarioErrors),
}

impl Scenario {
    /// The scenario with these keys changed.
    ///
    /// A key is a dotted path of the scenario's file (`tasks`, `job.duration`, `sshd.options.LoginGraceTime`), a key of `[sshd]`
    /// alone (`max_startups`), or one of a strategy: `NAME.poll_interval` of that one, `poll_interval` of every strategy that uses it.
    ///
    /// # Errors
    /// [`VaryError`]; where the value is at fault, every problem of the changed scenario with its place in its TOML.
    pub fn varied(&self, settings: &[Setting]) -> Result<Scenario, VaryError> {
        let keys = Keys::new();
        let mut places: Vec<(&Setting, Place)> = Vec::new();
        for setting in settings {
            let place = keys.place(self, &setting.key)?;
            if let Some((first, _)) = places.iter().find(|(_, other)| other.meets(&place)) {
                return Err(VaryError::Twice {
                    first: first.key.clone(),
                    second: setting.key.clone(),
                });
            }
            places.push((setting, place));
        }
        // It was written by `to_toml` a moment ago.
        let mut file: toml::Table = self.to_toml().parse().unwrap_or_default();
        for (setting, place) in places {
            place.set(&mut file, &setting.value);
        }
        let origin = match settings {
            [] => self.name.clone(),
            _ => format!("{} with {}", self.name, crate::sweep::label(settings)),
        };
        let text = toml::to_string_pretty(&file).unwrap_or_default();
        let mut scenario = Scenario::parse(&origin, &text).map_err(VaryError::Invalid)?;
        scenario.folder.clone_from(&self.folder);
        Ok(scenario)
    }
}

/// Where a key's value goes.
struct Place {
    /// The tables above it; for a tunable none.
    tables: Vec<&'static str>,
    key: String,
    /// The strategies that it is a tunable of.
    strategies: Vec<usize>,
    /// The types it may have, in the words of JSON Schema.
    types: Vec<String>,
}

impl Place {
    fn meets(&self, other: &Place) -> bool {
        let same = self.tables == other.tables && self.key.eq_ignore_ascii_case(&other.key);
        let shared = self.strategies.is_empty()
            || self
                .strategies
                .iter()
                .any(|it| other.strategies.contains(it));
        same && self.strategies.is_empty() == other.strategies.is_empty() && shared
    }

    fn set(&self, file: &mut toml::Table, text: &str) {
        let value = self.value(text);
        if self.strategies.is_empty() {
            let mut table = file;
            for name in &self.tables {
                let below = table
                    .entry(*name)
                    .or_insert_with(|| toml::Value::Table(toml::Table::new()));
                match below {
                    toml::Value::Table(below) => table = below,
                    // The mirror writes nothing else there.
                    _ => return,
                }
            }
            // sshd takes its keywords in any case, and one of two spellings would be a second line.
            table.retain(|name, _| !name.eq_ignore_ascii_case(&self.key));
            table.insert(self.key.clone(), value);
            return;
        }
        let strategies = file.get_mut("strategy").and_then(toml::Value::as_array_mut);
        for (index, strategy) in strategies.into_iter().flatten().enumerate() {
            if let (true, toml::Value::Table(table)) = (self.strategies.contains(&index), strategy)
            {
                table.insert(self.key.clone(), value.clone());
            }
        }
    }

    /// The text as what the key wants, where it can be that; otherwise as text, of which the reader then says what is wrong.
    fn value(&self, text: &str) -> toml::Value {
        let may_be = |wanted: &str| self.types.iter().any(|it| it == wanted);
        if may_be("integer")
            && let Ok(number) = text.replace('_', "").parse()
        {
            return toml::Value::Integer(number);
        }
        if may_be("number")
            && let Ok(number) = text.replace('_', "").parse::<f64>()
            && number.is_finite()
        {
            return toml::Value::Float(number);
        }
        if may_be("boolean")
            && let Ok(yes) = text.parse()
        {
            return toml::Value::Boolean(yes);
        }
        if may_be("array") && text.starts_with('[') {
            let parsed: Option<toml::Table> = format!("list = {text}").parse().ok();
            if let Some(list) = parsed.and_then(|mut table| table.remove("list")) {
                return list;
            }
        }
        toml::Value::String(text.to_owned())
    }
}

/// The tables of a scenario file whose keys are values, and the two of `[sshd]` whose keys are sshd's.
const TABLES: [&str; 4] = ["arrival", "job", "holders", "sshd"];
const KEYWORDS: [&str; 2] = ["options", "monitoring_options"];

/// What is known of a scenario file's keys.
struct Keys {
    schema: Value,
}

impl Keys {
    fn new() -> Self {
        Keys {
            schema: super::schema::value(),
        }
    }

    /// The definition that a schema refers to, or itself.
    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| self.schema.pointer(pointer))
            .unwrap_or(schema)
    }

    /// The keys of a table; of the file itself without a name. Of `strategy` those of each.
    fn keys(&self, table: Option<&str>) -> Map<String, Value> {
        let schema = match table {
            None => &self.schema,
            Some(name) => {
                let table = self.resolved(&self.schema["properties"][name]);
                match table.get("items") {
                    Some(items) => self.resolved(items),
                    None => table,
                }
            }
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        properties.cloned().unwrap_or_default()
    }

    fn types(&self, schema: &Value) -> Vec<String> {
        let schema = self.resolved(schema);
        let words = |value: &Value| match value {
            Value::String(word) => vec![word.clone()],
            Value::Array(words) => words
                .iter()
                .filter_map(|word| word.as_str().map(str::to_owned))
                .collect(),
            _ => Vec::new(),
        };
        let mut types = schema.get("type").map(words).unwrap_or_default();
        for alternatives in ["anyOf", "oneOf"] {
            let alternatives = schema.get(alternatives).and_then(Value::as_array);
            for alternative in alternatives.into_iter().flatten() {
                types.extend(self.types(alternative));
            }
        }
        types
    }

    fn place(&self, scenario: &Scenario, written: &str) -> Result<Place, VaryError> {
        let not_varied = |why: &str| VaryError::NotVaried {
            key: written.to_owned(),
            why: why.to_owned(),
        };
        let in_table = |tables: &[&'static str], key: &str, schema: &Value| {
            let types = self.types(schema);
            if types.iter().any(|it| it == "object") {
                let keys = format!("it is a table; name a key in it, such as `{written}.KEY`");
                return Err(not_varied(&keys));
            }
            Ok(Place {
                tables: tables.to_vec(),
                key: key.to_owned(),
                strategies: Vec::new(),
                types,
            })
        };
        let words: Vec<&str> = written.split('.').collect();
        match words[..] {
            ["name" | "description"] => {
                return Err(not_varied("it names the scenario and changes nothing"));
            }
            ["gate" | "expectation", ..] => {
                return Err(not_varied(
                    "thresholds judge a run and change nothing in it; use `--threshold`",
                ));
            }
            ["strategy"] => {
                return Err(not_varied(
                    "which strategies run is chosen with `strategy=NAME`",
                ));
            }
            [key] => {
                if let Some(schema) = self.keys(None).get(key) {
                    return in_table(&[], key, schema);
                }
                let sshd = self.keys(Some("sshd"));
                if let Some(schema) = sshd.get(key).filter(|_| !KEYWORDS.contains(&key)) {
                    return in_table(&["sshd"], key, schema);
                }
                if let Some(schema) = self.keys(Some("strategy")).get(key) {
                    return self.tunable(scenario, written, None, key, schema);
                }
            }
            ["sshd", table, keyword] if !keyword.is_empty() => {
                if let Some(table) = KEYWORDS.into_iter().find(|it| *it == table) {
                    return Ok(Place {
                        tables: vec!["sshd", table],
                        key: keyword.to_owned(),
                        strategies: Vec::new(),
                        types: ["boolean", "array"].map(str::to_owned).to_vec(),
                    });
                }
            }
            [table, key] if TABLES.contains(&table) => {
                let table = TABLES.into_iter().find(|it| *it == table);
                if let Some((table, schema)) =
                    table.and_then(|table| Some((table, self.keys(Some(table)).get(key)?.clone())))
                {
                    return in_table(&[table], key, &schema);
                }
            }
            ["strategy", name, key] | [name, key] => {
                let known = scenario
                    .strategies
                    .iter()
                    .any(|strategy| strategy.name.0 == name);
                if let (true, Some(schema)) = (known, self.keys(Some("strategy")).get(key)) {
                    return self.tunable(scenario, written, Some(name), key, schema);
                }
            }
            _ => {}
        }
        Err(VaryError::UnknownKey {
            key: written.to_owned(),
            help: self.help(scenario, written),
        })
    }

    /// A key of one strategy, or of every one that uses it.
    fn tunable(
        &self,
        scenario: &Scenario,
        written: &str,
        of: Option<&str>,
        key: &str,
        schema: &Value,
    ) -> Result<Place, VaryError> {
        let not_varied = |why: String| VaryError::NotVaried {
            key: written.to_owned(),
            why,
        };
        if ["kind", "name"].contains(&key) {
            return Err(not_varied(
                "give the scenario a strategy of each kind, and choose with `strategy=NAME`"
                    .to_owned(),
            ));
        }
        let types = self.types(schema);
        if types.iter().any(|it| it == "object") {
            return Err(not_varied("it is a table".to_owned()));
        }
        let meant = || {
            let strategies = scenario.strategies.iter().enumerate();
            strategies.filter(|(_, strategy)| of.is_none_or(|name| strategy.name.0 == name))
        };
        let strategies: Vec<usize> = meant()
            .filter(|(_, strategy)| uses(strategy, key))
            .map(|(index, _)| index)
            .collect();
        match (strategies.is_empty(), meant().next()) {
            (true, Some(_)) if client::KEYS.contains(&key) => Err(not_varied(
                "only a client under test (`kind = \"command\"`) has it".to_owned(),
            )),
            (true, Some((_, first))) => Err(not_varied(tunables::why_unused(first.kind, key))),
            _ => Ok(Place {
                tables: Vec::new(),
                key: key.to_owned(),
                strategies,
                types,
            }),
        }
    }

    /// What may have been meant.
    fn help(&self, scenario: &Scenario, written: &str) -> String {
        let mut known: Vec<String> = crate::sweep::OTHER_KEYS.map(str::to_owned).to_vec();
        known.extend(self.keys(None).keys().cloned());
        for table in TABLES {
            known.extend(
                self.keys(Some(table))
                    .keys()
                    .map(|key| format!("{table}.{key}")),
            );
        }
        known.extend(self.keys(Some("sshd")).keys().cloned());
        for key in self.keys(Some("strategy")).keys() {
            for strategy in scenario.strategies.iter().filter(|it| uses(it, key)) {
                known.push(format!("{}.{key}", strategy.name));
                known.push(key.clone());
            }
        }
        match nearest(written, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "`sshchurn scenario show {}` lists the keys, such as `tasks`, `job.duration` and `sshd.max_startups`; a keyword of \
                 sshd_config is `sshd.options.KEYWORD`",
                scenario.name
            ),
        }
    }
}

fn uses(strategy: &StrategyConfig, key: &str) -> bool {
    match strategy.kind.life() {
        Life::Program if client::KEYS.contains(&key) => true,
        _ => tunables::is_used(strategy.kind, key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::setting;

    const TEXT: &str = "name = \"small\"\ntasks = 3\n[job]\nduration = \"1s\"\n[[strategy]]\nkind = \"per-command\"\n[[strategy]]\n\
                        kind = \"reused-session\"\n[[strategy]]\nkind = \"stalled\"\n[sshd]\nmax_startups = \"10:30:100\"\n\
                        [sshd.options]\nLoginGraceTime = 30\n";

    fn small() -> Scenario {
        Scenario::parse("small", TEXT).expect("valid")
    }

    fn changed(settings: &[(&str, &str)]) -> Result<Scenario, VaryError> {
        let settings: Vec<Setting> = settings
            .iter()
            .map(|(key, value)| setting(key, value))
            .collect();
        small().varied(&settings)
    }

    #[test]
    fn every_kind_of_key_is_set_by_its_path_and_nothing_else_changes() {
        assert_eq!(changed(&[]).expect("the same"), small());
        let mut expected = small();
        expected.tasks = 60;
        expected.time_scale = 0.5;
        expected.sshd.max_startups = "5:50:10".parse().expect("three numbers");
        expected.sshd.separate_cores = true;
        let plain = [
            ("tasks", "60"),
            ("time_scale", "0.5"),
            ("max_startups", "5:50:10"),
            ("sshd.separate_cores", "true"),
        ];
        assert_eq!(changed(&plain).expect("valid"), expected);
        let scenario = changed(&[
            ("job.duration", "2s"),
            ("holders.count", "4"),
            ("slow_auth", "300ms"),
            ("sshd.options.logingracetime", "20"),
            ("arrival.shape", "ramp"),
            ("arrival.over", "3s"),
        ])
        .expect("valid");
        assert_eq!(scenario.job.duration.as_secs(), 2);
        assert_eq!(scenario.holders.map(|holders| holders.count), Some(4));
        assert_eq!(
            scenario.sshd.slow_auth.map(|slow| slow.mean.as_millis()),
            Some(300)
        );
        assert_eq!(scenario.sshd.keyword("LoginGraceTime"), Some("20"));
    }

    #[test]
    fn tunable_without_a_name_is_set_where_it_is_used_and_with_one_only_there() {
        let seconds = |scenario: &Scenario| -> Vec<u64> {
            let of = |strategy: &StrategyConfig| strategy.tunables.poll_interval.as_secs();
            scenario.strategies.iter().map(of).collect()
        };
        let before = seconds(&small());
        assert_eq!(
            seconds(&changed(&[("poll_interval", "7s")]).expect("valid")),
            [7, 7, before[2]]
        );
        for key in [
            "per-command.poll_interval",
            "strategy.per-command.poll_interval",
        ] {
            assert_eq!(
                seconds(&changed(&[(key, "7s")]).expect("valid")),
                [7, before[1], before[2]]
            );
        }
    }

    #[test]
    fn wrong_keys_and_values_are_told_with_their_place_and_the_fix() {
        for (settings, words) in [
            (&[("taks", "3")][..], &["unknown key `taks`", "`tasks`"][..]),
            (
                &[("job.durration", "3s")],
                &["did you mean `job.duration`?"],
            ),
            (
                &[("per-comand.poll_interval", "3s")],
                &["`per-command.poll_interval`"],
            ),
            (&[("qqq", "3")], &["sshchurn scenario show small"]),
            (&[("job", "3")], &["it is a table", "`job.KEY`"]),
            (
                &[("stalled.poll_interval", "3s")],
                &["`stalled` runs no job"],
            ),
            (
                &[("reused-session.command_attempts", "3")],
                &["only `per-command` does"],
            ),
            (
                &[("strategy.per-command.kind", "one-shot")],
                &["strategy=NAME"],
            ),
            (&[("gate", "attempts > 0")], &["--threshold"]),
            (
                &[("tasks", "many")],
                &["small with tasks=many", "a whole number is needed"],
            ),
            (
                &[("tasks", "0")],
                &["0 is out of range", "from 1 to 100000"],
            ),
            (&[("poll_interval", "3")], &["strategy[1].poll_interval"]),
            (&[("max_startups", "10:30")], &["sshd.max_startups"]),
            (
                &[
                    ("max_startups", "1:30:10"),
                    ("sshd.max_startups", "1:30:10"),
                ],
                &["`max_startups` and `sshd.max_startups` are the same key"],
            ),
            (
                &[("poll_interval", "3s"), ("per-command.poll_interval", "3s")],
                &["are the same key"],
            ),
        ] {
            let told = changed(settings).expect_err("refused").to_string();
            for word in words {
                assert!(told.contains(word), "{word:?} in {told}");
            }
        }
    }
}
