//! Regular expressions that stand for topics.
//!
//! Kafka has RE2; this is its kin in Rust: linear in what it reads, without back references. A name matches as a whole.
//! Invariant: what one compiles to is bounded, so that no member makes the coordinator large or slow.

use regex::{Regex, RegexBuilder};

/// The longest expression, in bytes.
const LENGTH_MAX: usize = 4 << 10;
/// What one may compile to, and what its matcher may remember, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// How deep groups may be nested.
const NESTED_MAX: u32 = 64;

/// A regular expression that was compiled.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Regex);

impl Pattern {
    /// Compiles one; `None` when it is none, or too large.
    pub(super) fn new(text: &str) -> Option<Self> {
        if text.len() > LENGTH_MAX {
            return None;
        }
        let text = unquoted(text);
        // By itself first: what follows could close what it leaves open.
        compile(&text)?;
        compile(&format!(r"\A(?:{text})\z")).map(Self)
    }

    /// Whether a name is one that it stands for.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.0.is_match(name)
    }
}

/// The same with `\Q…\E`, in which nothing has a meaning, in our engine's words: RE2 and Java's `Pattern.quote` have it.
fn unquoted(text: &str) -> String {
    let mut found = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        found.push(character);
        if character != '\\' {
            continue;
        }
        match characters.as_str().strip_prefix('Q') {
            Some(rest) => {
                found.pop();
                let (quoted, behind) = rest.split_once(r"\E").unwrap_or((rest, ""));
                found.push_str(&regex::escape(quoted));
                characters = behind.chars();
            }
            None => found.extend(characters.next()),
        }
    }
    found
}

fn compile(text: &str) -> Option<Regex> {
    let mut builder = RegexBuilder::new(text);
    builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).nest_limit(NESTED_MAX);
    builder.build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_as_a_whole() {
        let matches = |regex: &str, name: &str| Pattern::new(regex).expect("it compiles").matches(name);
        assert!(matches("orders-.*", "orders-eu") && !matches("orders-.*", "my-orders-eu"));
        assert!(matches("a|b", "b") && !matches("a|b", "ab"), "alternatives stay within the whole");
        assert!(matches("^t[0-9]+$", "t12") && !matches("t", "tt"));
        assert!(matches("(?i)ORDERS", "orders"));
    }

    #[test]
    fn what_is_quoted_has_no_meaning() {
        let matches = |regex: &str, name: &str| Pattern::new(regex).expect("it compiles").matches(name);
        assert!(matches(r"\Qa.b\E", "a.b") && !matches(r"\Qa.b\E", "axb"));
        assert!(matches(r"\Qa.\E.*\Q|\E", "a.xyz|") && matches(r"\Q(", "("), "parts of it, or up to the end");
        assert!(!matches(r"\\Qx", "x") && matches(r"\.Q\+", ".Q+"), "what is escaped begins no quotation");
    }

    #[test]
    fn what_is_none_or_too_large_is_refused() {
        for regex in ["(", "[a", "*", "a)(b", r"(a)\1", "(?=a)b", &"a".repeat(5_000), "((a{1,500}){1,500}){1,500}"] {
            assert!(Pattern::new(regex).is_none(), "{regex}");
        }
    }
}
