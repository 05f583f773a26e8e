//! One option: its name, what its values are, its default and its meaning.

use super::table::TABLE;

/// A short name for the variable that one sets by hand most often.
const LOG_VARIABLE: &str = "OTTLA_LOG";
const LOG_OPTION: &str = "logging.filter";

/// What an option is about; `reference.toml` has a part for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Who the node is and where its data lies.
    Node,
    /// Where it listens and how others reach it.
    Listeners,
    /// The metadata quorum and the detection of failures.
    Quorum,
    /// How topics are made.
    Topics,
    /// Groups of consumers and what they commit.
    Groups,
    /// How followers fetch.
    Replication,
    /// Defaults of topic configurations.
    Log,
    /// Bounds of connections and requests.
    Network,
    /// Log lines and threads.
    Process,
}

/// What values an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// true or false.
    Boolean,
    /// A whole number within bounds.
    Number {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A fraction from 0 to 1.
    Ratio,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Words of these, separated by commas, or none.
    Words(&'static [&'static str]),
    /// Any text.
    Text,
    /// Texts separated by commas.
    List,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name, as Kafka has it where Kafka has it.
    pub name: &'static str,
    /// Another name that means the same; empty for none.
    pub alias: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The value when nobody sets one; empty for none.
    pub default: &'static str,
    /// A value to show where there is no default; empty where the option may stay unset.
    pub example: &'static str,
    /// The topic configuration whose default it is; empty for none.
    pub topic: &'static str,
    /// What it means, for people.
    pub doc: &'static str,
}

impl Section {
    /// Its heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Node => "The node",
            Self::Listeners => "Listeners",
            Self::Quorum => "Metadata quorum and failure detection",
            Self::Topics => "New topics",
            Self::Groups => "Groups of consumers",
            Self::Replication => "Replication",
            Self::Log => "Logs of partitions; most are defaults that a topic may override",
            Self::Network => "Connections and requests",
            Self::Process => "Threads and log lines",
        }
    }
}

impl Key {
    /// The option of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        Self::all().find(|key| key.name == name || (!key.alias.is_empty() && key.alias == name))
    }

    /// All of them, in the order in which they are explained.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        TABLE.iter().flat_map(|(_, keys)| keys.iter())
    }

    /// With another name.
    pub(super) const fn alias(self, alias: &'static str) -> Self {
        Self { alias, ..self }
    }

    /// With a value to show.
    pub(super) const fn example(self, example: &'static str) -> Self {
        Self { example, ..self }
    }

    /// As the default of a topic configuration.
    pub(super) const fn topic(self, topic: &'static str) -> Self {
        Self { topic, ..self }
    }

    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        variable(self.name)
    }

    /// The option whose environment variable that is.
    #[must_use]
    pub fn of_variable(name: &str) -> Option<&'static Self> {
        if name == LOG_VARIABLE {
            return Self::named(LOG_OPTION);
        }
        Self::all().find(|key| key.variable() == name || (!key.alias.is_empty() && variable(key.alias) == name))
    }

    /// The option whose name is nearest to `name`, if one is near.
    #[must_use]
    pub fn nearest(name: &str) -> Option<&'static Self> {
        let nearest = Self::all().map(|key| (distance(name, key.name), key)).min_by_key(|(distance, _)| *distance);
        nearest.filter(|(distance, key)| *distance <= 1 + key.name.len() / 4).map(|(_, key)| key)
    }
}

impl Kind {
    /// Whether `value` is one of its values. Whitespace around it has been cut.
    #[must_use]
    pub fn allows(self, value: &str) -> bool {
        match self {
            Self::Boolean => matches!(value, "true" | "false"),
            Self::Number { min, max } => value.parse().is_ok_and(|number: i64| (min..=max).contains(&number)),
            Self::Ratio => value.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio)),
            Self::Word(words) => words.contains(&value),
            Self::Words(words) => value.is_empty() || value.split(',').all(|word| words.contains(&word.trim())),
            Self::Text | Self::List => true,
        }
    }

    /// What its values are, for people.
    #[must_use]
    pub fn expected(self) -> String {
        match self {
            Self::Boolean => "true or false".to_owned(),
            Self::Number { min, max: i64::MAX } => format!("a whole number of at least {min}"),
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Ratio => "a fraction from 0 to 1".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Words(words) => format!("any of {}, separated by commas", words.join(", ")),
            Self::Text => "a text".to_owned(),
            Self::List => "texts, separated by commas".to_owned(),
        }
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, alias: "", kind, default, example: "", topic: "", doc }
}

/// A switch.
pub(super) const fn flag(name: &'static str, default: bool, doc: &'static str) -> Key {
    key(name, Kind::Boolean, if default { "true" } else { "false" }, doc)
}

/// A whole number from the first to the second of `bounds`.
pub(super) const fn number(name: &'static str, default: &'static str, bounds: (i64, i64), doc: &'static str) -> Key {
    key(name, Kind::Number { min: bounds.0, max: bounds.1 }, default, doc)
}

/// A fraction.
pub(super) const fn ratio(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    key(name, Kind::Ratio, default, doc)
}

/// One of some words.
pub(super) const fn word(
    name: &'static str,
    default: &'static str,
    words: &'static [&'static str],
    doc: &'static str,
) -> Key {
    key(name, Kind::Word(words), default, doc)
}

/// Any of some words.
pub(super) const fn words(
    name: &'static str,
    default: &'static str,
    words: &'static [&'static str],
    doc: &'static str,
) -> Key {
    key(name, Kind::Words(words), default, doc)
}

/// Any text.
pub(super) const fn text(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    key(name, Kind::Text, default, doc)
}

/// A list of texts.
pub(super) const fn list(name: &'static str, default: &'static str, doc: &'static str) -> Key {
    key(name, Kind::List, default, doc)
}

fn variable(name: &str) -> String {
    format!("OTTLA_{}", name.replace(['.', '-'], "_").to_uppercase())
}

/// How many letters must be put in, taken out or changed to make one of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, other) in to.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_and_variables_are_told_apart() {
        let names = Key::all().flat_map(|key| [key.name, key.alias]).filter(|name| !name.is_empty());
        let names: Vec<_> = names.collect();
        let distinct: BTreeSet<_> = names.iter().map(|name| variable(name)).collect();
        assert_eq!(distinct.len(), names.len());
    }

    #[test]
    fn every_default_and_example_is_a_value_of_its_kind() {
        for key in Key::all() {
            for value in [key.default, key.example] {
                assert!(value.is_empty() || key.kind.allows(value), "{} = {value}", key.name);
            }
        }
    }

    #[test]
    fn a_slip_of_the_pen_finds_the_key_and_nonsense_finds_none() {
        assert_eq!(Key::nearest("default.replication.facter").map(|key| key.name), Some("default.replication.factor"));
        assert_eq!(Key::nearest("node_id").map(|key| key.name), Some("node.id"));
        assert!(Key::nearest("zookeeper.connect").is_none());
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
