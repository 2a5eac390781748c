//! Layers of values: what the file, the environment and the flags say, each with its origin.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use toml::{Value, de::DeTable};

use super::{
    ConfigError, Origin, Shown,
    section::{Section, Setting},
    value::{FromValue, Shape},
};

/// Variables begin with this.
pub(super) const PREFIX: &str = "SYMBOLON_";
/// How deep tables can be.
const DEPTH_MAX: usize = 4;
/// The most tables of one kind that a file declares: clients, rules.
const TABLES_MAX: usize = 10_000;

type Key = Vec<String>;

/// A value and where it comes from.
#[derive(Debug, Clone)]
struct Given {
    value: Value,
    origin: Origin,
}

/// Everything that somebody said, by key, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Layers {
    sections: &'static [Section],
    given: BTreeMap<Key, Given>,
    errors: Vec<ConfigError>,
}

/// A key as it is written in TOML.
pub(super) fn written<S: AsRef<str>>(key: &[S]) -> String {
    let bare = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
    };
    let part = |part: &S| match part.as_ref() {
        part if bare(part) || part == "*" => part.to_owned(),
        part => format!("{part:?}"),
    };
    key.iter().map(part).collect::<Vec<_>>().join(".")
}

fn fits(section: &Section, at: &[String]) -> bool {
    let part_fits = |(pattern, part): (&&str, &String)| match *pattern {
        "*" => true,
        "#" => !part.is_empty() && part.bytes().all(|digit| digit.is_ascii_digit()),
        pattern => pattern == part,
    };
    section.at.len() == at.len() && section.at.iter().zip(at).all(part_fits)
}

fn setting(sections: &'static [Section], key: &[String]) -> Option<&'static Setting> {
    let (name, at) = key.split_last()?;
    let here = sections.iter().filter(|section| fits(section, at));
    here.flat_map(|section| section.settings).find(|setting| setting.name == name)
}

fn is_table(sections: &[Section], key: &[String]) -> bool {
    let begins = |section: &Section| {
        section.at.get(..key.len()).is_some_and(|at| fits(&Section { at, ..*section }, key))
    };
    sections.iter().any(begins)
}

impl Layers {
    /// Nobody has said anything yet about these sections.
    pub(super) const fn new(sections: &'static [Section]) -> Self {
        Self { sections, given: BTreeMap::new(), errors: Vec::new() }
    }

    /// Takes a file.
    pub(super) fn file(&mut self, path: &Path, text: &str) {
        let parsed = DeTable::parse(text).and_then(|lines| Ok((text.parse()?, lines)));
        let (table, spans): (toml::Table, _) = match parsed {
            Ok(parsed) => parsed,
            Err(error) => {
                // The error's own text shows the line, and the line may hold a secret.
                let before = error.span().and_then(|span| text.as_bytes().get(..span.start));
                let line = before.unwrap_or_default().iter().filter(|b| **b == b'\n').count() + 1;
                self.errors.push(ConfigError {
                    origin: Some(Origin::File { path: path.to_owned(), line }),
                    ..ConfigError::new(
                        "config_syntax",
                        format!("the file is no TOML: {}", error.message()),
                        "Mend that line; https://toml.io shows the format.",
                    )
                });
                return;
            }
        };
        let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
        let mut lines = BTreeMap::new();
        number(spans.get_ref(), &ends, &mut Vec::new(), &mut lines);
        self.table(table, &mut Vec::new(), &|key| Origin::File {
            path: path.to_owned(),
            line: lines.get(key).copied().unwrap_or(1),
        });
    }

    fn table(&mut self, table: toml::Table, at: &mut Key, origin: &dyn Fn(&[String]) -> Origin) {
        for (name, value) in table {
            at.push(name);
            match value {
                Value::Array(tables) if self.is_numbered(at, &tables) => {
                    for (number, table) in (1..).zip(tables) {
                        let Value::Table(inner) = table else { continue };
                        at.push(format!("{number}"));
                        // `[[rule]]` with nothing in it asks for a login everywhere.
                        match inner.is_empty() {
                            true => self.put(at.clone(), Value::Table(inner), origin(at)),
                            false => self.table(inner, at, origin),
                        }
                        at.pop();
                    }
                }
                // `[client.shop]` with nothing in it is a client that lacks its kind.
                Value::Table(inner)
                    if setting(self.sections, at).is_none()
                        && !inner.is_empty()
                        && at.len() < DEPTH_MAX =>
                {
                    self.table(inner, at, origin);
                }
                value => self.put(at.clone(), value, origin(at)),
            }
            at.pop();
        }
    }

    /// Whether it is `[[rule]]`: tables that are told apart by their numbers, from 1.
    fn is_numbered(&self, at: &Key, tables: &[Value]) -> bool {
        let mut first = at.clone();
        first.push("1".to_owned());
        setting(self.sections, at).is_none()
            && is_table(self.sections, &first)
            && !tables.is_empty()
            && tables.iter().all(Value::is_table)
    }

    /// Takes the variables of the environment. Those that are not ours are left alone.
    pub(super) fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if rest == "CONFIG" || is_service_link(rest) {
                continue;
            }
            let key: Key = rest.to_ascii_lowercase().split("__").map(str::to_owned).collect();
            self.text(key, &text, Origin::Variable(name));
        }
    }

    /// Takes settings by their keys with dots, as text.
    pub(super) fn texts<K: AsRef<str>>(&mut self, settings: &[(K, String)], origin: &Origin) {
        for (key, value) in settings {
            let key = key.as_ref().split('.').map(str::to_owned).collect();
            self.text(key, value, origin.clone());
        }
    }

    fn text(&mut self, key: Key, text: &str, origin: Origin) {
        let trimmed = text.trim();
        let value = match setting(self.sections, &key).map(|setting| setting.shape) {
            Some(Shape::Integer) => trimmed.parse().map(Value::Integer).ok(),
            Some(Shape::Boolean) => trimmed.parse().map(Value::Boolean).ok(),
            Some(Shape::List) => {
                let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
                Some(Value::Array(items.map(Value::from).collect()))
            }
            _ => None,
        };
        self.put(key, value.unwrap_or_else(|| Value::from(text)), origin);
    }

    fn put(&mut self, key: Key, value: Value, origin: Origin) {
        let empty_table = value.as_table().is_some_and(toml::Table::is_empty);
        if setting(self.sections, &key).is_some() || (empty_table && is_table(self.sections, &key))
        {
            self.given.insert(key, Given { value, origin });
            return;
        }
        let (cause, fix) = if is_table(self.sections, &key) {
            ("this is a table, not a setting".to_owned(), "Give its settings instead.".to_owned())
        } else {
            ("there is no such setting".to_owned(), suggestion(self.sections, &key))
        };
        let error = ConfigError::new("config_unknown_key", cause, fix);
        self.errors.push(error.at(written(&key), Some(origin)));
    }

    /// The names of the tables below this one: of the clients, of the rules. Too many are an error and never left out: a
    /// client that is not declared is removed, a rule that is not read does not protect.
    pub(super) fn names(&mut self, table: &str, fix: &str) -> BTreeSet<String> {
        let here = self.given.keys().filter(|key| key.len() > 1 && key[0] == table);
        let names: BTreeSet<String> = here.map(|key| key[1].clone()).collect();
        if names.len() > TABLES_MAX {
            let cause = format!("{} {table}s are more than {TABLES_MAX}", names.len());
            let error = ConfigError::new("config_invalid_value", cause, fix);
            self.errors.push(error.at(table, None));
            return BTreeSet::new();
        }
        names
    }

    /// Reads the values.
    pub(super) fn reader(&mut self) -> Reader<'_> {
        let errors = std::mem::take(&mut self.errors);
        Reader { layers: self, errors, shown: Vec::new() }
    }
}

/// Kubernetes sets `SYMBOLON_SERVICE_HOST`, `SYMBOLON_PORT_8080_TCP` and the like beside a service called `symbolon`.
fn is_service_link(rest: &str) -> bool {
    rest.starts_with("SERVICE_") || rest == "PORT" || rest.starts_with("PORT_")
}

/// Finds the line of every key; `ends` is where lines end.
fn number(table: &DeTable<'_>, ends: &[usize], at: &mut Key, lines: &mut BTreeMap<Key, usize>) {
    for (name, value) in table {
        at.push(name.get_ref().to_string());
        lines.insert(at.clone(), ends.partition_point(|end| *end < name.span().start) + 1);
        if let Some(inner) = value.get_ref().as_table().filter(|_| at.len() < DEPTH_MAX) {
            number(inner, ends, at, lines);
        }
        let items = value.get_ref().as_array().filter(|_| at.len() < DEPTH_MAX);
        for (position, item) in (1..).zip(items.into_iter().flatten()) {
            let Some(inner) = item.get_ref().as_table() else { continue };
            at.push(format!("{position}"));
            number(inner, ends, at, lines);
            at.pop();
        }
        at.pop();
    }
}

/// Names the setting that was probably meant.
fn suggestion(sections: &[Section], key: &[String]) -> String {
    let asked = written(key);
    if key.last().is_some_and(|name| name == "secret" || name == "client_secret") {
        return "Secrets stand in no configuration: use secret_sha256, or secret_file.".to_owned();
    }
    let mut best: Option<(usize, String)> = None;
    let mut consider = |distance: usize, length: usize, candidate: String| {
        if distance <= (length / 3).max(1) && best.as_ref().is_none_or(|best| distance < best.0) {
            best = Some((distance, candidate));
        }
    };
    for section in sections {
        let at = section.at.iter().zip(key.iter().map(String::as_str).chain(["NAME"; DEPTH_MAX]));
        let at: Vec<&str> =
            at.map(|(part, name)| if matches!(*part, "*" | "#") { name } else { part }).collect();
        for setting in section.settings {
            let mut full = at.clone();
            full.push(setting.name);
            let candidate = written(&full);
            consider(
                strsim::damerau_levenshtein(&asked, &candidate),
                asked.len(),
                candidate.clone(),
            );
            // The right name in the wrong table.
            if let Some(name) = key.last().filter(|_| !section.at.contains(&"*")) {
                let distance = strsim::damerau_levenshtein(name, setting.name) + 1;
                consider(distance, name.len(), candidate);
            }
        }
    }
    match best {
        Some((_, candidate)) => format!("Did you mean `{candidate}`?"),
        None => "`symbolon config reference` lists all settings.".to_owned(),
    }
}

/// Reads typed values out of [`Layers`], and collects what is wrong with them.
#[derive(Debug)]
pub(super) struct Reader<'l> {
    layers: &'l Layers,
    pub(super) errors: Vec<ConfigError>,
    pub(super) shown: Vec<Shown>,
}

impl Reader<'_> {
    fn key(at: &[&str], setting: &Setting) -> Key {
        at.iter().copied().chain([setting.name]).map(str::to_owned).collect()
    }

    /// Where the value of a setting comes from; of a table, where it begins.
    pub(super) fn origin(&self, key: &[&str]) -> Origin {
        let key: Key = key.iter().copied().map(str::to_owned).collect();
        let inside =
            self.layers.given.range(key.clone()..).take_while(|(at, _)| at.starts_with(&key));
        inside.map(|(_, given)| given.origin.clone()).min().unwrap_or(Origin::Default)
    }

    /// Reports that a value, or several together, cannot be.
    pub(super) fn refuse(
        &mut self,
        key: &[&str],
        cause: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let error = ConfigError::new("config_invalid_value", cause, fix);
        self.errors.push(error.at(written(key), Some(self.origin(key))));
    }

    /// The value of a setting; `None` after an error.
    pub(super) fn get<T: FromValue>(&mut self, at: &[&str], setting: &Setting) -> Option<T> {
        let key = Self::key(at, setting);
        let given = self.layers.given.get(&key);
        let default = || setting.default.and_then(toml_value);
        let value = given.map(|given| given.value.clone()).or_else(default);
        let origin = given.map_or(Origin::Default, |given| given.origin.clone());
        let text = match &value {
            Some(_) if setting.secret => Some("(not shown)".to_owned()),
            value => value.as_ref().map(Value::to_string),
        };
        self.shown.push(Shown { key: written(&key), value: text, origin: origin.clone() });
        let (code, cause, origin) = match value.as_ref().map(T::from_value) {
            Some(Ok(value)) => return Some(value),
            Some(Err(cause)) => ("config_invalid_value", cause, origin),
            None => match T::missing() {
                Some(value) => return Some(value),
                None => {
                    let cause = "this setting has no default".to_owned();
                    ("config_missing", cause, self.origin(at))
                }
            },
        };
        let example = setting.default.unwrap_or(setting.example);
        let fix = format!("Write {}, such as {}.", T::NAME, example.trim_matches('"'));
        self.errors.push(ConfigError::new(code, cause, fix).at(written(&key), Some(origin)));
        None
    }

    /// The value, if it lies within its bounds.
    pub(super) fn bounded<T: FromValue + PartialOrd>(
        &mut self,
        at: &[&str],
        setting: &Setting,
        value: Option<T>,
        least: &str,
        most: &str,
    ) -> Option<T> {
        let value = value?;
        if setting.default.is_none() && !self.layers.given.contains_key(&Self::key(at, setting)) {
            return Some(value);
        }
        let bound = |text: &str| toml_value(text).and_then(|bound| T::from_value(&bound).ok());
        let below = bound(least).is_some_and(|least| value < least);
        let above = bound(most).is_some_and(|most| value > most);
        if !below && !above {
            return Some(value);
        }
        let cause = if below { "the value is too small" } else { "the value is too large" };
        let [least, most] = [least, most].map(|bound| bound.trim_matches('"'));
        let mut key = at.to_vec();
        key.push(setting.name);
        self.refuse(&key, cause, format!("Choose {least} to {most}."));
        None
    }
}

/// A value written in TOML.
pub(super) fn toml_value(text: &str) -> Option<Value> {
    use serde::Deserialize;
    Value::deserialize(toml::de::ValueDeserializer::parse(text).ok()?).ok()
}
