//! Reads the sources and finds what is code in them: comments, strings and test modules are blanked out.

use std::fs;
use std::path::{Path, PathBuf};

/// One file under `src/`.
pub(crate) struct Source {
    /// Relative to `src/`, for example `storage/log.rs`.
    pub(crate) path: String,
    /// The text as it stands.
    pub(crate) text: String,
    /// The text with comments, strings and `#[cfg(test)]` items blanked, line for line.
    pub(crate) code: String,
    /// Whether its parent declares it for tests only.
    is_declared_test: bool,
}

impl Source {
    /// The room that the file stands in: the first part of its path, without `.rs`.
    pub(crate) fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// Whether the whole file is test code: a `tests` module, or one that is declared under `#[cfg(test)]`.
    pub(crate) fn is_test(&self) -> bool {
        self.is_declared_test || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The lines that hold code, with their numbers from 1.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(i, line)| (i + 1, line)).filter(|(_, line)| !line.trim().is_empty())
    }
}

/// All sources of the package, in order of their paths.
pub(crate) fn all() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    paths.sort();
    let mut sources: Vec<Source> = paths.into_iter().map(|path| read(&root, &path)).collect();
    let tests: Vec<String> = sources.iter().flat_map(declared_tests).collect();
    for source in &mut sources {
        source.is_declared_test = tests.iter().any(|module| {
            source.path.starts_with(&format!("{module}.rs")) || source.path.starts_with(&format!("{module}/"))
        });
    }
    sources
}

/// The modules that a file declares under `#[cfg(test)]`, as paths below `src/` without `.rs`.
fn declared_tests(source: &Source) -> Vec<String> {
    let own = source.path.trim_end_matches(".rs");
    let directory = match own.strip_suffix("/mod") {
        Some(parent) => parent.to_owned(),
        None if own == "lib" => String::new(),
        None => own.to_owned(),
    };
    let lines: Vec<&str> = source.text.lines().map(str::trim).collect();
    let declared = lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]");
    let name = |line: &str| line.split("mod ").nth(1)?.strip_suffix(';').map(str::to_owned);
    declared
        .filter_map(|pair| name(pair[1]))
        .map(|module| format!("{directory}/{module}").trim_start_matches('/').to_owned())
        .collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("src can be listed") {
        let path = entry.expect("src can be listed").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|e| e == "rs") {
            paths.push(path);
        }
    }
}

fn read(root: &Path, path: &Path) -> Source {
    let text = fs::read_to_string(path).expect("a source is UTF-8");
    let relative = path.strip_prefix(root).expect("it was found below src");
    let code = without_tests(&blank(&text));
    Source { path: relative.to_string_lossy().replace('\\', "/"), text, code, is_declared_test: false }
}

/// Blanks comments and the insides of strings and characters; keeps the lines.
pub(crate) fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let end = if rest.starts_with(b"//") {
            at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())
        } else if rest.starts_with(b"/*") {
            find(text, at + 2, "*/") + 2
        } else if let Some(hashes) = raw_string(bytes, at) {
            let close = format!("\"{}", "#".repeat(hashes));
            find(text, at + hashes + 2, &close) + close.len()
        } else if rest[0] == b'"' {
            string_end(bytes, at)
        } else if let Some(end) = character_end(text, at) {
            end
        } else {
            out.push(rest[0]);
            at += 1;
            continue;
        };
        let end = end.min(bytes.len());
        out.extend(bytes[at..end].iter().map(|b| if *b == b'\n' { b'\n' } else { b' ' }));
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn find(text: &str, from: usize, what: &str) -> usize {
    let bytes = text.as_bytes();
    (from..bytes.len()).find(|at| bytes[*at..].starts_with(what.as_bytes())).unwrap_or(bytes.len())
}

fn raw_string(bytes: &[u8], at: usize) -> Option<usize> {
    let before_is_word =
        at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') && bytes[at - 1] != b'b';
    if bytes[at] != b'r' || before_is_word {
        return None;
    }
    let hashes = bytes[at + 1..].iter().take_while(|b| **b == b'#').count();
    (bytes.get(at + 1 + hashes) == Some(&b'"')).then_some(hashes)
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The end of a character literal at `at`; `None` when it is a lifetime or no quote.
fn character_end(text: &str, at: usize) -> Option<usize> {
    let rest = text.as_bytes();
    if rest[at] != b'\'' || !text.is_char_boundary(at) {
        return None;
    }
    if rest.get(at + 1) == Some(&b'\\') {
        return Some(find(text, at + 3, "'") + 1);
    }
    let character = text[at + 1..].chars().next()?;
    let close = at + 1 + character.len_utf8();
    (rest.get(close) == Some(&b'\'')).then_some(close + 1)
}

/// Blanks every item behind `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(start) = out.find("#[cfg(test)]") {
        let semicolon = out[start..].find(';').map_or(out.len(), |i| start + i + 1);
        let end = match out[start..].find('{') {
            Some(open) if start + open < semicolon => block_end(&out, start + open),
            _ => semicolon,
        };
        let blanked: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blanked);
    }
    out
}

/// One past the brace that closes the one at `open`.
pub(crate) fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (i, b) in code.bytes().enumerate().skip(open) {
        match b {
            b'{' => depth += 1,
            b'}' if depth == 1 => return i + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}
