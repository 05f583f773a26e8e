//! Brings the `Debug` output of our messages and of the oracle's into one form, so that each field can be compared by
//! its name: equal bytes alone would not show two fields of one type that changed places.

use ottla::model::TopicId;

/// The names and values of a message, without type names, newtypes and the fields in `skipped`. All that is empty, null
/// included, is written alike: the bytes tell those apart.
pub(crate) fn plain(debug: &str, skipped: &[&str]) -> String {
    let mut parser = Parser { rest: debug, skipped };
    let plain = parser.value();
    assert_eq!(parser.rest, "", "all of it was read");
    plain
}

const EMPTY: &str = "-";

struct Parser<'a> {
    rest: &'a str,
    skipped: &'a [&'a str],
}

impl<'a> Parser<'a> {
    fn value(&mut self) -> String {
        if self.rest.starts_with('[') {
            return self.list("[", "]");
        }
        if self.rest.starts_with('{') {
            return self.list("{", "}");
        }
        if self.rest.starts_with('"') || self.rest.starts_with("b\"") {
            return self.quoted();
        }
        let word = self.word();
        if self.rest.starts_with(" {") {
            self.eat(" ");
            return self.structure();
        }
        if self.rest.starts_with('(') {
            self.eat("(");
            let value = self.value();
            self.eat(")");
            return value;
        }
        match word {
            "None" => EMPTY.to_owned(),
            _ => uuid(word).unwrap_or_else(|| word.to_owned()),
        }
    }

    fn structure(&mut self) -> String {
        self.eat("{ ");
        let mut fields = Vec::new();
        loop {
            let name = self.word();
            self.eat(": ");
            let value = self.value();
            if !self.skipped.contains(&name) {
                fields.push(format!("{name}={value}"));
            }
            if self.rest.starts_with(" }") {
                self.eat(" }");
                return format!("{{{}}}", fields.join(" "));
            }
            self.eat(", ");
        }
    }

    fn list(&mut self, open: &str, close: &str) -> String {
        self.eat(open);
        let mut values = Vec::new();
        while !self.rest.starts_with(close) {
            let mut value = self.value();
            // An entry of a map.
            if self.rest.starts_with(": ") {
                self.eat(": ");
                value = format!("{value}={}", self.value());
            }
            values.push(value);
            if self.rest.starts_with(", ") {
                self.eat(", ");
            }
        }
        self.eat(close);
        if values.is_empty() { EMPTY.to_owned() } else { format!("[{}]", values.join(" ")) }
    }

    fn quoted(&mut self) -> String {
        let start = self.rest.find('"').expect("it starts with a quote") + 1;
        let mut escaped = false;
        let mut ends = self.rest[start..].char_indices().filter(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let (length, _) = ends.next().expect("a quote is closed");
        let text = &self.rest[start..start + length];
        self.rest = &self.rest[start + length + 1..];
        if text.is_empty() { EMPTY.to_owned() } else { format!("{text:?}") }
    }

    fn word(&mut self) -> &'a str {
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = self.rest.find(|c| !part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        assert!(!word.is_empty(), "a word stands at {:.40}", self.rest);
        self.rest = rest;
        word
    }

    fn eat(&mut self, expected: &str) {
        self.rest = self.rest.strip_prefix(expected).unwrap_or_else(|| panic!("{expected} at {:.40}", self.rest));
    }
}

/// The oracle prints a uuid in hexadecimal with dashes, we in Kafka's base64.
fn uuid(word: &str) -> Option<String> {
    let digits: String = word.chars().filter(|c| *c != '-').collect();
    if word.len() != 36 || digits.len() != 32 {
        return None;
    }
    let number = u128::from_str_radix(&digits, 16).ok()?;
    Some(TopicId::new(number.to_be_bytes()).to_string())
}

#[test]
fn both_spellings_of_a_message_become_one() {
    let theirs = "Request { name: Some(TopicName(\"a\\\"b\")), id: BrokerId(-1), list: [], other: b\"\", \
                  topic: 00000000-0000-0000-0000-000000000000, unknown_tagged_fields: {7: b\"x\"} }";
    let ours = "MyRequest { name: \"a\\\"b\", id: -1, list: None, other: None, topic: AAAAAAAAAAAAAAAAAAAAAA }";
    assert_eq!(plain(theirs, &["unknown_tagged_fields"]), plain(ours, &[]));
}
