//! Where the values of options come from: the defaults, a file, the environment, the command line; later ones win.
//!
//! Called by `config`, which makes types of the texts, and by whoever describes the configuration. Invariant: every
//! value held is one of its option's kind.

use std::collections::BTreeMap;
use std::fmt;

use super::key::Key;

/// Texts to make a configuration from. None of them is read here: `cli` does that.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The name and the text of the configuration file (TOML).
    pub file: Option<(String, String)>,
    /// The process's environment.
    pub environment: Vec<(String, String)>,
    /// What `--set key=value` gave, in order.
    pub command_line: Vec<String>,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The table.
    Default,
    /// A file.
    File(String),
    /// An environment variable.
    Variable(String),
    /// `--set`.
    CommandLine,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the defaults"),
            Self::File(name) => f.write_str(name),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::CommandLine => f.write_str("--set"),
        }
    }
}

/// Why there are no settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file is no TOML.
    #[error("{file}: {reason}")]
    Syntax {
        /// The file.
        file: String,
        /// What the parser said, with the place.
        reason: String,
    },
    /// There is no such option.
    #[error("{place}: there is no option \"{name}\"{}", did_you_mean(*nearest))]
    Unknown {
        /// Where it stands.
        place: Source,
        /// What was written.
        name: String,
        /// What was probably meant.
        nearest: Option<&'static str>,
    },
    /// The value is not of the option's kind.
    #[error("{place}: \"{name}\" cannot be {value:?}: it must be {expected}")]
    Value {
        /// Where it stands.
        place: Source,
        /// The option.
        name: &'static str,
        /// What was written.
        value: String,
        /// What its values are.
        expected: String,
    },
    /// The value is a date, a table in a list, or the like.
    #[error("{place}: \"{name}\" must be a text, a number, true, false, or a list of these")]
    Shape {
        /// Where it stands.
        place: Source,
        /// The option.
        name: String,
    },
    /// The option stands twice in one place, under one name or two.
    #[error("{place}: \"{name}\" is set twice")]
    Twice {
        /// Where.
        place: Source,
        /// The option.
        name: &'static str,
    },
    /// Two variables set one option.
    #[error("\"{name}\" is set twice: by {first} and by {second}")]
    TwoVariables {
        /// A variable.
        first: Source,
        /// Another.
        second: Source,
        /// The option.
        name: &'static str,
    },
    /// `--set` without an equals sign.
    #[error("--set takes key=value, not {0:?}")]
    NoEquals(String),
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(|| "; reference.toml lists them all".to_owned(), |name| format!("; did you mean \"{name}\"?"))
}

/// An option with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The value; empty when the option has none.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// The value of every option.
#[derive(Clone, Debug)]
pub struct Settings {
    /// By name. Options without an entry have their default.
    set: BTreeMap<&'static str, Setting>,
    /// Variables that begin as ours do and set nothing.
    ignored: Vec<String>,
}

/// What begins the variables that set options.
pub(in crate::node) const VARIABLE_PREFIX: &str = "OTTLA_";

impl Settings {
    /// Puts the sources on top of each other.
    ///
    /// # Errors
    /// The first thing in them that is not understood.
    pub fn read(sources: &Sources) -> Result<Self, SettingsError> {
        let mut settings = Self { set: BTreeMap::new(), ignored: Vec::new() };
        if let Some((name, text)) = &sources.file {
            settings.read_file(name, text)?;
        }
        settings.read_environment(&sources.environment)?;
        for assignment in &sources.command_line {
            let (name, value) =
                assignment.split_once('=').ok_or_else(|| SettingsError::NoEquals(assignment.clone()))?;
            settings.put(find(name.trim(), &Source::CommandLine)?, value, Source::CommandLine)?;
        }
        Ok(settings)
    }

    fn read_file(&mut self, file: &str, text: &str) -> Result<(), SettingsError> {
        let table = text.parse::<toml::Table>().map_err(|error| SettingsError::Syntax {
            file: file.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        let source = Source::File(file.to_owned());
        let mut entries = Vec::new();
        flatten("", table, &source, &mut entries)?;
        for (name, value) in entries {
            let key = find(&name, &source)?;
            if self.set.contains_key(key.name) {
                return Err(SettingsError::Twice { place: source, name: key.name });
            }
            self.put(key, &value, source.clone())?;
        }
        Ok(())
    }

    fn read_environment(&mut self, environment: &[(String, String)]) -> Result<(), SettingsError> {
        for (name, value) in environment.iter().filter(|(name, _)| name.starts_with(VARIABLE_PREFIX)) {
            match Key::of_variable(name) {
                Some(key) => self.put_variable(key, name, value)?,
                // Scripts and compose files have variables of their own that begin alike: not an error, but told.
                None => self.ignored.push(name.clone()),
            }
        }
        Ok(())
    }

    /// Of two variables for one option the environment does not say which is meant: it has no order.
    fn put_variable(&mut self, key: &'static Key, name: &str, value: &str) -> Result<(), SettingsError> {
        let source = Source::Variable(name.to_owned());
        match self.set_by(key.name) {
            Some(other @ Source::Variable(_)) => {
                Err(SettingsError::TwoVariables { first: other.clone(), second: source, name: key.name })
            }
            Some(Source::Default | Source::File(_) | Source::CommandLine) | None => self.put(key, value, source),
        }
    }

    fn put(&mut self, key: &'static Key, value: &str, source: Source) -> Result<(), SettingsError> {
        let value = value.trim();
        if !value.is_empty() && !key.kind.allows(value) {
            let (name, expected) = (key.name, key.kind.expected());
            return Err(SettingsError::Value { place: source, name, value: value.to_owned(), expected });
        }
        self.set.insert(key.name, Setting { value: value.to_owned(), source });
        Ok(())
    }

    /// The value of an option; `None` when it has none. The name must be in the table.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let key = Key::named(name).expect("our own code asks for options that are in the table");
        let value = self.set.get(key.name).map_or(key.default, |setting| setting.value.as_str());
        (!value.is_empty()).then_some(value)
    }

    /// The parts of a list.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<&str> {
        let parts = self.get(name).unwrap_or("").split(',');
        parts.map(str::trim).filter(|part| !part.is_empty()).collect()
    }

    /// Whether somebody set it.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.set.get(name).is_some_and(|setting| !setting.value.is_empty())
    }

    /// Who set it, be it to nothing; `None` when nobody did. The name must be in the table.
    #[must_use]
    pub fn set_by(&self, name: &str) -> Option<&Source> {
        self.set.get(name).map(|setting| &setting.source)
    }

    /// Every option with its value, in the order of the table; for DescribeConfigs and the command line.
    pub fn describe(&self) -> impl Iterator<Item = (&'static Key, Setting)> {
        Key::all().map(|key| {
            let default = || Setting { value: key.default.to_owned(), source: Source::Default };
            (key, self.set.get(key.name).cloned().unwrap_or_else(default))
        })
    }

    /// Variables that begin with `OTTLA_` and set nothing.
    #[must_use]
    pub fn ignored_variables(&self) -> &[String] {
        &self.ignored
    }
}

fn find(name: &str, place: &Source) -> Result<&'static Key, SettingsError> {
    Key::named(name).ok_or_else(|| SettingsError::Unknown {
        place: place.clone(),
        name: name.to_owned(),
        nearest: Key::nearest(name).map(|key| key.name),
    })
}

/// Turns `[a.b] c = 1` and `"a.b.c" = 1` into the same. Nested tables are as deep as the names have dots.
fn flatten(
    prefix: &str,
    table: toml::Table,
    place: &Source,
    entries: &mut Vec<(String, String)>,
) -> Result<(), SettingsError> {
    for (name, value) in table {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(table) => flatten(&name, table, place, entries)?,
            toml::Value::Array(values) => {
                let parts: Option<Vec<String>> = values.into_iter().map(plain).collect();
                let parts = parts.ok_or_else(|| SettingsError::Shape { place: place.clone(), name: name.clone() })?;
                entries.push((name, parts.join(",")));
            }
            value @ (toml::Value::String(_)
            | toml::Value::Integer(_)
            | toml::Value::Float(_)
            | toml::Value::Boolean(_)
            | toml::Value::Datetime(_)) => {
                let text =
                    plain(value).ok_or_else(|| SettingsError::Shape { place: place.clone(), name: name.clone() })?;
                entries.push((name, text));
            }
        }
    }
    Ok(())
}

fn plain(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(is) => Some(is.to_string()),
        toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Settings, SettingsError> {
        Settings::read(&Sources { file: Some(("a.toml".to_owned(), text.to_owned())), ..Sources::default() })
    }

    #[test]
    fn dotted_names_nested_tables_and_lists_mean_the_same() {
        let texts = [
            "\"node.id\" = 7\n\"log.dirs\" = \"/a,/b\"\n\"replica.lag.time.max.ms\" = 9",
            "node.id = 7\nlog.dirs = [\"/a\", \"/b\"]\n[replica.lag]\ntime.max.ms = 9",
        ];
        for text in texts {
            let settings = file(text).expect("valid");
            assert_eq!((settings.get("node.id"), settings.get("replica.lag.time.max.ms")), (Some("7"), Some("9")));
            assert_eq!(settings.list("log.dirs"), ["/a", "/b"]);
        }
    }

    #[test]
    fn the_command_line_wins_over_the_environment_over_the_file_over_the_default() {
        let sources = Sources {
            file: Some(("a.toml".to_owned(), "num.partitions = 2\nnode.id = 2\nmax.connections = 2".to_owned())),
            environment: vec![
                ("OTTLA_NODE_ID".to_owned(), "3".to_owned()),
                ("OTTLA_NUM_PARTITIONS".to_owned(), "3".to_owned()),
                ("OTTLA_LOG".to_owned(), "debug".to_owned()),
                ("OTTLA_IMAGE".to_owned(), "x".to_owned()),
                ("PATH".to_owned(), "/bin".to_owned()),
            ],
            command_line: vec!["num.partitions=4".to_owned()],
        };
        let settings = Settings::read(&sources).expect("valid");
        let values = ["num.partitions", "node.id", "max.connections", "num.shards", "logging.filter"];
        assert_eq!(values.map(|name| settings.get(name)), [Some("4"), Some("3"), Some("2"), Some("0"), Some("debug")]);
        assert_eq!(settings.ignored_variables(), ["OTTLA_IMAGE"]);
    }

    #[test]
    fn what_is_not_understood_is_refused_with_place_and_advice() {
        for (text, words) in [
            ("node.idd = 1", "did you mean \"node.id\"?"),
            ("zookeeper.connect = 'x'", "reference.toml lists them all"),
            ("num.partitions = 0", "it must be a whole number from 1"),
            ("process.roles = 'king'", "controller, broker"),
            ("node.id = 1\n\"broker.id\" = 2", "\"node.id\" is set twice"),
            ("node.id = 1979-05-27", "must be a text, a number"),
            ("node.id = ", "line 1"),
        ] {
            let error = file(text).expect_err(text).to_string();
            assert!(error.contains(words) && error.starts_with("a.toml"), "{error}");
        }
        let bare = Sources { command_line: vec!["node.id".to_owned()], ..Sources::default() };
        assert_eq!(Settings::read(&bare).expect_err("no value"), SettingsError::NoEquals("node.id".to_owned()));
    }

    #[test]
    fn two_variables_that_set_one_option_are_refused() {
        for (first, second) in [("OTTLA_NODE_ID", "OTTLA_BROKER_ID"), ("OTTLA_LOGGING_FILTER", "OTTLA_LOG")] {
            let environment = [first, second].map(|name| (name.to_owned(), "1".to_owned())).to_vec();
            let error = Settings::read(&Sources { environment, ..Sources::default() }).expect_err("which?").to_string();
            assert!([first, second, "is set twice"].iter().all(|word| error.contains(word)), "{error}");
        }
    }
}
