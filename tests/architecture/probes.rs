//! Every mutant stands at a guard, every mark at a branch, and every rule has a mutant or a reason to have none.

use std::collections::BTreeSet;
use std::path::Path;

use ottla::probe::{Mark, Mutant, Plane};

use crate::source::{self, Source};

/// Fewer would not show that the simulation finds what is wrong.
const MUTANTS_MIN: usize = 40;

/// Where a mutant of whole nodes has its scenario.
const SCENARIOS: &[&str] = &["src/quorum/tests/guards.rs", "tests/simulation_nodes/scenario.rs"];

/// Where the mutants stand whose absence few runs of the simulation notice, as its list `HARD`.
const HARD: &str = "tests/simulation/mutants.rs";

/// Their unit tests, which `scripts/mutants-unit` sees fail: `<mutant> <test> # <why no run shows it>`, a line each.
const GUARDED: &str = "tests/simulation/guarded.txt";

/// The rules of `docs/RULES.md` without a mutant, and why.
const UNPLANTED: &[(&str, &str)] = &[
    ("R13", "is planted with the re-evaluation of ELRs at a change of min.insync.replicas"),
    ("R17", "nothing can ask for an unclean election yet; that none takes place is R11's AnyReplicaLeads"),
    ("R22", "comes with reassignment"),
];

#[test]
fn every_mutant_and_every_mark_stands_somewhere() {
    let sources = source::all();
    let mutants = Mutant::ALL.iter().map(|mutant| format!("Mutant::{mutant:?}"));
    let marks = Mark::ALL.iter().map(|mark| format!("Mark::{mark:?}"));
    let missing: Vec<String> = mutants.chain(marks).filter(|name| !sources.iter().any(|f| plants(f, name))).collect();
    assert!(missing.is_empty(), "declared in src/probe and found nowhere else: {}", missing.join(", "));
}

/// Whether the code of a file names it, outside of its tests.
fn plants(file: &Source, name: &str) -> bool {
    let is_whole = |at: usize| !file.code[at + name.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    file.room() != "probe" && !file.is_test() && file.code.match_indices(name).any(|(at, _)| is_whole(at))
}

#[test]
fn every_mutant_of_whole_nodes_has_a_scenario() {
    let scenarios: String = SCENARIOS.iter().map(|path| read(path)).collect();
    let of_nodes = Mutant::ALL.iter().filter(|mutant| mutant.plane() == Plane::Nodes);
    let is_needed = |mutant: &Mutant| scenarios.contains(&format!("Mutant::{mutant:?},"));
    let missing: Vec<&Mutant> = of_nodes.filter(|mutant| !is_needed(mutant)).collect();
    assert!(missing.is_empty(), "without a scenario in {SCENARIOS:?}: {missing:?}");
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect("it is there, in UTF-8")
}

#[test]
fn every_mutant_that_the_simulation_hardly_finds_has_a_unit_test_or_a_reason() {
    let (hard, guarded) = (hard(), guarded());
    let names: Vec<&str> = guarded.iter().map(|(mutant, _)| mutant.as_str()).collect();
    let strange: Vec<&&str> = names.iter().filter(|name| !hard.iter().any(|mutant| mutant.name() == **name)).collect();
    assert!(strange.is_empty(), "in {GUARDED}, and not in HARD of {HARD}: {strange:?}");
    for mutant in hard {
        let lines = names.iter().filter(|name| **name == mutant.name()).count();
        assert!(lines == 1, "{mutant:?} wants one line in {GUARDED}: {lines} lines");
    }
}

#[test]
fn every_test_that_misses_a_guard_is_there() {
    let sources = source::all();
    for (mutant, test) in guarded() {
        let (room, function) = (test.split("::").next().unwrap(), test.rsplit("::").next().unwrap());
        let holds = |file: &Source| file.room() == room && file.text.contains(&format!("fn {function}()"));
        assert!(sources.iter().any(holds), "{mutant}: no test {test}");
    }
}

/// The mutants of the list `HARD`.
fn hard() -> Vec<Mutant> {
    let text = read(HARD);
    let (_, list) = text.split_once("const HARD: &[Mutant] = &[").expect("HARD is a list");
    let (list, _) = list.split_once("];").expect("a list ends");
    let names = list.split(',').filter_map(|entry| entry.trim().strip_prefix("Mutant::"));
    names.map(|name| Mutant::named(name).expect("it compiles")).collect()
}

/// The mutants and the tests of the table, each with a reason.
fn guarded() -> Vec<(String, String)> {
    let line = |line: &str| {
        let (pair, reason) = line.split_once(" # ").unwrap_or_else(|| panic!("{GUARDED}: no reason in {line:?}"));
        assert!(!reason.trim().is_empty(), "{GUARDED}: no reason in {line:?}");
        let (mutant, test) = pair.trim().split_once(' ').unwrap_or_else(|| panic!("{GUARDED}: no test in {line:?}"));
        (mutant.to_owned(), test.trim().to_owned())
    };
    read(GUARDED).lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(line).collect()
}

#[test]
fn names_are_told_apart() {
    let mutants: BTreeSet<&str> = Mutant::ALL.iter().map(|mutant| mutant.name()).collect();
    let whats: BTreeSet<&str> = Mutant::ALL.iter().map(|mutant| mutant.what()).collect();
    let marks: BTreeSet<&str> = Mark::ALL.iter().map(|mark| mark.name()).collect();
    assert_eq!((mutants.len(), whats.len(), marks.len()), (Mutant::ALL.len(), Mutant::ALL.len(), Mark::ALL.len()));
    assert!(Mutant::ALL.iter().all(|mutant| Mutant::named(mutant.name()) == Some(*mutant)));
}

#[test]
fn there_are_enough_mutants_and_each_says_what_falls() {
    assert!(Mutant::ALL.len() >= MUTANTS_MIN, "{} mutants", Mutant::ALL.len());
    for mutant in Mutant::ALL {
        let falls = mutant.falls();
        assert!(!falls.is_empty() && falls.iter().all(|name| is_invariant(name)), "{mutant:?}: {falls:?}");
        assert!(is_rule(mutant.rule()) || is_ticket(mutant.rule()), "{mutant:?}: {}", mutant.rule());
    }
}

#[test]
fn every_rule_has_a_mutant_or_a_reason() {
    let planted: BTreeSet<&str> = Mutant::ALL.iter().map(|mutant| mutant.rule()).collect();
    let rules = (1..=23).map(|number| format!("R{number}")).chain((1..=18).map(|number| format!("S{number}")));
    for rule in rules {
        let excused = UNPLANTED.iter().any(|(unplanted, _)| *unplanted == rule);
        assert!(excused != planted.contains(rule.as_str()), "{rule} is to be planted, or excused, and not both");
    }
}

/// A rule of `docs/RULES.md`.
fn is_rule(text: &str) -> bool {
    let number = |letter: char| text.strip_prefix(letter).and_then(|number| number.parse::<u32>().ok());
    number('R').is_some_and(|n| (1..=23).contains(&n)) || number('S').is_some_and(|n| (1..=18).contains(&n))
}

/// A proposal for Kafka, or a bug of it.
fn is_ticket(text: &str) -> bool {
    let number = ["KIP-", "KAFKA-"].iter().find_map(|prefix| text.strip_prefix(prefix));
    number.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// An invariant of the checker: a letter, a number, and a letter for a variant.
fn is_invariant(text: &str) -> bool {
    let (letter, rest) = text.split_at(1);
    let number = rest.trim_end_matches(|c: char| c.is_ascii_lowercase());
    "ABCDEFL".contains(letter) && number.parse::<u32>().is_ok_and(|n| n > 0) && rest.len() - number.len() <= 1
}
