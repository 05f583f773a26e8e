//! File and function sizes, module comments, and words that must not stay in the code.

use crate::source::{self, Source};

/// Code lines of a file, tests and comments not counted (style rule 8).
const FILE_LINES_MAX: usize = 500;
/// Lines of a function from its `fn` to its closing brace, blank and comment lines not counted.
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn no_file_holds_more_than_one_idea_could() {
    let long: Vec<String> = source::all()
        .iter()
        .filter(|f| !f.is_test())
        .map(|f| (f, f.code_lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(f, lines)| format!("src/{}: {lines} code lines, more than {FILE_LINES_MAX}", f.path))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn no_function_is_longer_than_a_page() {
    let long: Vec<String> = source::all().iter().flat_map(long_functions).collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

fn long_functions(file: &Source) -> Vec<String> {
    let mut long = Vec::new();
    for (at, _) in file.code.match_indices("fn ") {
        let before = file.code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(open) = body_open(&file.code[at..]) else { continue };
        let body = &file.code[at..source::block_end(&file.code, at + open)];
        let lines = body.lines().filter(|l| !l.trim().is_empty()).count();
        if lines > FUNCTION_LINES_MAX {
            let line = file.code[..at].matches('\n').count() + 1;
            long.push(format!("src/{}:{line}: a function of {lines} lines, more than {FUNCTION_LINES_MAX}", file.path));
        }
    }
    long
}

/// Where the body of the function at the front of `code` opens; `None` for a signature without one.
fn body_open(code: &str) -> Option<usize> {
    let mut depth = 0_i32;
    for (i, c) in code.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' if depth == 0 => return Some(i),
            ';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn each_file_says_what_it_is_for() {
    let silent: Vec<String> = source::all()
        .iter()
        .filter(|f| !f.text.starts_with("//! "))
        .map(|f| format!("src/{}: no //! comment", f.path))
        .collect();
    assert!(silent.is_empty(), "{}", silent.join("\n"));
}

#[test]
fn no_promise_stays_in_the_code() {
    let words = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("];
    let mut broken = Vec::new();
    for file in source::all() {
        for (i, line) in file.text.lines().enumerate() {
            for word in words.iter().filter(|w| line.contains(**w)) {
                broken.push(format!("src/{}:{}: {word}", file.path, i + 1));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_room_is_a_bag() {
    let bags = ["util", "utils", "common", "helpers", "helper", "misc", "types_common"];
    for file in source::all() {
        let named = file.path.trim_end_matches(".rs").split('/').any(|part| bags.contains(&part));
        assert!(!named, "src/{}: name the file for its idea (style rule 2)", file.path);
    }
}
