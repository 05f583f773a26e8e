//! Writes `cluster-config/reference.toml` from the table, so that it cannot go stale: a test compares them.

use std::fmt::Write as _;

use super::key::{Key, Kind};
use super::table::TABLE;

/// How wide a comment is.
const COMMENT_WIDTH: usize = 100;

const HEAD: &str = "\
# Every option of a node, with its default. Written from the table in src/node/options; do not edit.
#
# An option is set in the file given to `ottla server --config`, by the environment variable named with it, or by
# `--set key=value`; the command line wins over the environment, the environment over the file. Names may be written
# as here, or as nested tables. An unknown name is an error. What is commented out has no default; what is required
# has a value here that makes this file a valid configuration of a single node.
";

/// The text of `reference.toml`.
#[must_use]
pub fn reference() -> String {
    let mut text = HEAD.to_owned();
    for (section, keys) in TABLE {
        let rule = "-".repeat(COMMENT_WIDTH - 6 - section.title().len());
        write!(text, "\n# --- {} {rule}\n", section.title()).expect("writing to a String cannot fail");
        for key in *keys {
            describe(key, &mut text);
        }
    }
    text
}

fn describe(key: &Key, text: &mut String) {
    let mut line = String::from("#");
    text.push('\n');
    for word in key.doc.split_whitespace() {
        if line.len() + word.len() > COMMENT_WIDTH {
            text.push_str(&line);
            text.push_str("\n#");
            line.clear();
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    write!(text, "\n# {}; {}", key.kind.expected(), key.variable()).expect("writing to a String cannot fail");
    for (label, value) in [("also", key.alias), ("default of the topic configuration", key.topic)] {
        if !value.is_empty() {
            write!(text, "; {label} {value}").expect("writing to a String cannot fail");
        }
    }
    let (mark, value) = match (key.default, key.example) {
        ("", "") => ("# ", ""),
        ("", example) => ("", example),
        (default, _) => ("", default),
    };
    let quote = match key.kind {
        Kind::Boolean | Kind::Number { .. } | Kind::Ratio if !value.is_empty() => "",
        Kind::Boolean | Kind::Number { .. } | Kind::Ratio => "\"",
        Kind::Word(_) | Kind::Words(_) | Kind::Text | Kind::List => "\"",
    };
    write!(text, "\n{mark}\"{}\" = {quote}{value}{quote}\n", key.name).expect("writing to a String cannot fail");
}
