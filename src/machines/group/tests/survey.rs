//! What operators follow: groups and their offsets, a part at a time.

use super::*;

fn committed(bench: &mut Bench, name: &str, topics: &[(&str, i64)]) {
    let commit = Commit {
        identity: Identity { group: GroupId::new(name), ..identity("", -1) },
        knows_kip_848: false,
        offsets: topics.iter().map(|(topic, offset)| commit_of(topic, *offset)).collect(),
    };
    assert_eq!(bench.ask(Call::Commit(commit)).commit().map(|all| all.len()), Ok(topics.len()));
}

fn survey(bench: &mut Bench, after: Option<&str>, groups_max: usize, offsets_max: usize) -> Surveyed {
    let after = after.map(GroupId::new);
    bench.ask(Call::Survey(Survey { after, groups_max, offsets_max })).survey().expect("it is told")
}

fn names(surveyed: &Surveyed) -> Vec<&str> {
    surveyed.groups.iter().map(|group| group.group.as_str()).collect()
}

/// "a" and "z" have only committed, "g" is stable, "m" has members and no facts yet.
fn bench() -> Bench {
    let mut bench = Bench::new();
    committed(&mut bench, "z", &[("t", 1)]);
    committed(&mut bench, "a", &[("t", 7), ("u", 8)]);
    bench.stable(&["x", "y"]);
    bench.call(Call::Join(Join {
        group: GroupId::new("m"),
        fresh: id("young"),
        requires_known_member: false,
        ..join("")
    }));
    bench
}

#[test]
fn every_group_is_told_once_with_its_state_its_members_and_its_offsets() {
    let mut bench = bench();
    let told = survey(&mut bench, None, 100, 100);
    let rows: Vec<_> = told.groups.iter().map(|g| (g.group.as_str(), g.state, g.members, g.offset_count)).collect();
    let expected = [
        ("a", GroupState::Empty, 0, 2),
        ("g", GroupState::Stable, 2, 0),
        ("m", GroupState::PreparingRebalance, 1, 0),
        ("z", GroupState::Empty, 0, 1),
    ];
    assert_eq!((rows, told.is_last), (expected.to_vec(), true));
    let index = PartitionIndex::new(0);
    let of_a = vec![(topic("t"), index, Offset::new(7)), (topic("u"), index, Offset::new(8))];
    assert_eq!(told.groups[0].offsets, Some(of_a));
    assert_eq!((&*told.groups[1].protocol_type, &*told.groups[3].protocol_type), ("consumer", ""));
}

#[test]
fn parts_follow_each_other_without_gap_or_overlap() {
    let mut bench = bench();
    let (mut found, mut after) = (Vec::new(), None::<String>);
    loop {
        let part = survey(&mut bench, after.as_deref(), 1, 100);
        found.extend(names(&part).into_iter().map(str::to_owned));
        after = found.last().cloned();
        if part.is_last {
            break;
        }
    }
    assert_eq!(found, ["a", "g", "m", "z"]);
    assert_eq!(survey(&mut bench, Some("z"), 1, 100), Surveyed { groups: Vec::new(), is_last: true });
}

#[test]
fn a_group_whose_offsets_are_more_than_there_is_room_for_gives_none_and_their_count() {
    let mut bench = bench();
    let told = survey(&mut bench, None, 100, 1);
    let given: Vec<_> = told.groups.iter().map(|g| (g.offset_count, g.offsets.as_ref().map_or(9, Vec::len))).collect();
    assert_eq!(given, [(2, 9), (0, 0), (0, 0), (1, 1)]);
}

#[test]
fn one_turn_gives_no_more_groups_than_its_bound() {
    let mut bench = Bench::new();
    for number in 0..=Survey::GROUPS_MAX {
        committed(&mut bench, &format!("g{number:06}"), &[("t", 1)]);
    }
    let told = survey(&mut bench, None, usize::MAX, 0);
    assert_eq!((told.groups.len(), told.is_last), (Survey::GROUPS_MAX, false));
}
