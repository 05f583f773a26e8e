//! Every mutant stands at a guard, every mark at a branch, and every rule has a mutant or a reason to have none.

use std::collections::BTreeSet;
use std::path::Path;

use ottla::probe::{Mark, Mutant, Plane};

use crate::source::{self, Source};

/// Fewer would not show that the simulation finds what is wrong.
const MUTANTS_MIN: usize = 40;

/// Where a mutant of whole nodes has its scenario.
const SCENARIOS: &[&str] = &["src/quorum/tests/guards.rs", "tests/simulation_nodes/scenario.rs"];

/// The rules of `docs/RULES.md` without a mutant, and why.
const UNPLANTED: &[(&str, &str)] = &[
    ("R13", "is planted with the re-evaluation of ELRs at a change of min.insync.replicas"),
    ("R17", "nothing can ask for an unclean election yet; that none takes place is R11's AnyReplicaLeads"),
    ("R22", "comes with reassignment"),
    ("S6", "comes with groups"),
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
    let read = |path: &&str| std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let scenarios: String = SCENARIOS.iter().map(read).collect();
    let of_nodes = Mutant::ALL.iter().filter(|mutant| mutant.plane() == Plane::Nodes);
    let is_needed = |mutant: &Mutant| scenarios.contains(&format!("Mutant::{mutant:?},"));
    let missing: Vec<&Mutant> = of_nodes.filter(|mutant| !is_needed(mutant)).collect();
    assert!(missing.is_empty(), "without a scenario in {SCENARIOS:?}: {missing:?}");
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
