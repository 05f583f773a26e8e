//! The pure rooms hold no clock, chance, async, lock, log or unordered map.

use crate::source;

const PURE: &[&str] = &["codec", "model", "records", "protocol", "machines", "verify"];
const SYNCHRONOUS: &[&str] = &["storage", "partition", "env"];

/// What no pure room may hold, and why.
const IMPURE: &[(&str, &str)] = &[
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("std::fs", "files stop at storage"),
    ("std::net", "sockets stop at transport"),
    ("std::thread", "threads belong to broker and node"),
    ("async ", "no async below transport"),
    (".await", "no async below transport"),
    ("Mutex", "one owner per thing"),
    ("RwLock", "one owner per thing"),
    ("tracing::", "machines return facts; shells log them"),
];

#[test]
fn pure_rooms_touch_nothing_of_the_world() {
    check(PURE, IMPURE);
}

#[test]
fn machines_and_partition_iterate_in_order_only() {
    check(
        &["machines", "partition"],
        &[("HashMap", "iteration order must not depend on chance"), ("HashSet", "as HashMap")],
    );
}

#[test]
fn synchronous_rooms_hold_no_async() {
    check(SYNCHRONOUS, &[("async ", "no async below transport"), (".await", "no async below transport")]);
}

#[test]
fn nobody_names_the_file_system_but_env() {
    let rooms = ["storage", "partition", "transport", "quorum", "broker", "api", "admin"];
    check(&rooms, &[("std::fs::", "files come from env::Files")]);
}

fn check(rooms: &[&str], banned: &[(&str, &str)]) {
    let mut broken = Vec::new();
    for file in source::all().iter().filter(|f| rooms.contains(&f.room()) && !f.is_test()) {
        for (line, text) in file.code_lines() {
            for (word, reason) in banned.iter().filter(|(word, _)| text.contains(word)) {
                broken.push(format!("src/{}:{line}: `{}`: {reason}", file.path, word.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
