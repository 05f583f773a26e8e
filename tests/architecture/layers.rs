//! The import rules of ARCHITECTURE.md: which room may name which. Think hard before changing this table.

use crate::source;

/// Room, and the rooms that it may import. `machines` has a rule of its own below.
const RULES: &[(&str, &[&str])] = &[
    ("probe", &[]),
    ("codec", &[]),
    ("telemetry", &[]),
    ("threads", &["probe"]),
    ("model", &["codec"]),
    ("records", &["codec", "model"]),
    ("machines", &["probe", "codec", "model"]),
    ("env", &["model"]),
    ("protocol", &["codec", "model", "records"]),
    ("storage", &["probe", "codec", "model", "records", "env"]),
    ("partition", &["probe", "codec", "model", "records", "machines", "storage", "env"]),
    ("transport", &["model", "protocol", "env", "telemetry", "threads"]),
    (
        "quorum",
        &["probe", "codec", "model", "records", "machines", "storage", "transport", "env", "telemetry", "threads"],
    ),
    (
        "broker",
        &[
            "probe",
            "model",
            "records",
            "protocol",
            "machines",
            "storage",
            "partition",
            "transport",
            "quorum",
            "env",
            "telemetry",
            "threads",
        ],
    ),
    ("api", &["codec", "model", "records", "protocol", "machines", "partition", "broker", "transport", "telemetry"]),
    ("admin", &["model", "records", "machines", "partition", "broker", "telemetry"]),
    ("verify", &["model"]),
    (
        "testing",
        &["probe", "model", "records", "machines", "storage", "partition", "env", "verify", "quorum", "broker"],
    ),
    ("node", ALL),
    ("cli", ALL),
    ("lib", ALL),
    ("main", ALL),
];

const ALL: &[&str] = &[
    "probe",
    "verify",
    "codec",
    "telemetry",
    "threads",
    "model",
    "records",
    "machines",
    "env",
    "protocol",
    "storage",
    "partition",
    "transport",
    "quorum",
    "broker",
    "api",
    "admin",
    "testing",
    "node",
    "cli",
];

/// Outside crates that stop at a wall: the crate, and the rooms that may name it.
const WALLS: &[(&str, &[&str])] = &[
    ("openraft", &["quorum"]),
    ("sled", &["quorum"]),
    ("bincode", &["quorum"]),
    ("axum", &["admin", "node"]),
    ("turmoil", &["transport"]),
    ("tokio", &["threads", "transport", "quorum", "broker", "api", "admin", "node", "cli"]),
    ("rustix", &["env", "node", "cli"]),
    ("getrandom", &["env"]),
];

/// Every `name::` that follows `crate::` or `ottla::`, braces included, with the line that it stands on.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate::", "ottla::"] {
        for (at, _) in code.match_indices(root) {
            let line = code[..at].matches('\n').count() + 1;
            let rest = &code[at + root.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let group = &group[..source::block_end(rest, 0).saturating_sub(2).min(group.len())];
                found.extend(heads_of_group(group).into_iter().map(|name| (line, name)));
            } else {
                found.push((line, word(rest)));
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn heads_of_group(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut heads = Vec::new();
    let mut start = 0;
    for (i, c) in group.char_indices().chain(std::iter::once((group.len(), ','))) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                heads.push(word(group[start..i].trim()));
                start = i + 1;
            }
            _ => {}
        }
    }
    heads.retain(|h| !h.is_empty());
    heads
}

#[test]
fn each_room_imports_only_what_stands_below_it() {
    let mut broken = Vec::new();
    for file in source::all().into_iter().filter(|file| !file.is_test()) {
        let Some((_, allowed)) = RULES.iter().find(|(room, _)| *room == file.room()) else {
            panic!("src/{}: the room '{}' is not in the table of layers.rs", file.path, file.room());
        };
        for (line, name) in imports(&file.code) {
            let known = ALL.contains(&name.as_str());
            if known && name != file.room() && !allowed.contains(&name.as_str()) {
                broken.push(format!("src/{}:{line}: {} may not import {name}", file.path, file.room()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn a_machine_imports_no_sibling_but_controller_and_group_metadata() {
    let mut broken = Vec::new();
    for file in source::all().into_iter().filter(|f| f.room() == "machines") {
        let machine = file.path.split('/').nth(1).unwrap_or_default().to_owned();
        for (at, _) in file.code.match_indices("machines::") {
            let sibling = word(&file.code[at + "machines::".len()..]);
            let own = sibling == machine || machine.ends_with(".rs");
            let allowed = sibling == "metadata" && ["controller", "group"].contains(&machine.as_str());
            let is_machine =
                ["metadata", "controller", "replication", "group", "transaction"].contains(&sibling.as_str());
            if is_machine && !own && !allowed {
                broken.push(format!("src/{}: {machine} may not import {sibling}", file.path));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn foreign_crates_stop_at_their_walls() {
    let mut broken = Vec::new();
    for file in source::all().into_iter().filter(|file| !file.is_test()) {
        for (krate, rooms) in WALLS {
            if rooms.contains(&file.room()) || matches!(file.room(), "lib" | "main") {
                continue;
            }
            for (line, text) in file.code_lines() {
                let names = text
                    .match_indices(&format!("{krate}::"))
                    .any(|(at, _)| !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
                if names {
                    broken.push(format!("src/{}:{line}: only {rooms:?} may name {krate}", file.path));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_finder_of_imports_sees_each_form() {
    let code =
        "use crate::model::{Offset};\nuse crate::{env::Files, storage::{Log, DataDir}};\nlet x = crate::quorum::f();";
    let names: Vec<String> = imports(code).into_iter().map(|(_, n)| n).collect();
    assert_eq!(names, ["model", "env", "storage", "quorum"]);
}
