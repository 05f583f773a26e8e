//! What assignors promise, on random groups and on a few that are written out.

use proptest::prelude::*;

use super::*;

/// A group: how large its topics are, and of each member what it reads and held.
#[derive(Clone, Debug)]
struct Case {
    counts: BTreeMap<TopicId, i32>,
    members: Vec<(MemberId, BTreeSet<TopicId>, BTreeSet<PartitionId>)>,
}

fn topic(number: u8) -> TopicId {
    TopicId::new([number; 16])
}

fn partition(number: u8, index: i32) -> PartitionId {
    PartitionId { topic: topic(number), index: PartitionIndex::new(index) }
}

impl Case {
    fn new(sizes: &[i32], reads: &[Vec<u8>], owned: &[Vec<(u8, i32)>]) -> Self {
        let counts = (0_u8..).zip(sizes).map(|(number, count)| (topic(number), *count)).collect();
        let member = |(at, reads): (usize, &Vec<u8>)| {
            let held = owned.get(at).into_iter().flatten().map(|(number, index)| partition(*number, *index));
            (MemberId::new(&format!("m{at:03}")), reads.iter().copied().map(topic).collect(), held.collect())
        };
        Self { counts, members: reads.iter().enumerate().map(member).collect() }
    }

    fn readers(&self) -> Vec<Reader<'_>> {
        self.members.iter().map(|(member, topics, owned)| Reader { member, instance: None, topics, owned }).collect()
    }

    fn assign(&self, assignor: Assignor) -> Vec<Share> {
        assignor.assign(&self.counts, &self.readers())
    }

    /// The same group once it has what it was given.
    fn with(&self, shares: &[Share]) -> Self {
        let mut next = self.clone();
        next.members.iter_mut().zip(shares).for_each(|((_, _, owned), share)| owned.clone_from(share));
        next
    }

    fn readers_of(&self, topic: TopicId) -> Vec<usize> {
        (0..self.members.len()).filter(|at| self.members[*at].1.contains(&topic)).collect()
    }

    fn check_all_given_once(&self, shares: &[Share]) {
        for (topic, count) in &self.counts {
            let readers = self.readers_of(*topic);
            for id in partitions(*topic, *count) {
                let holders: Vec<usize> = (0..shares.len()).filter(|at| shares[*at].contains(&id)).collect();
                let expected = usize::from(!readers.is_empty());
                assert_eq!(holders.len(), expected, "{id:?} is given once, if anybody reads it");
                assert!(holders.iter().all(|at| readers.contains(at)), "{id:?} is given to a reader");
            }
        }
        let given: usize = shares.iter().map(Share::len).sum();
        let there = self.counts.iter().filter(|(topic, _)| !self.readers_of(**topic).is_empty());
        assert_eq!(i32::try_from(given).unwrap(), there.map(|(_, count)| *count).sum::<i32>());
    }
}

fn case(alike: bool) -> impl Strategy<Value = Case> {
    let sizes = prop::collection::vec(0..12_i32, 1..6);
    (sizes, 1..9_usize).prop_flat_map(move |(sizes, members)| {
        let all: Vec<u8> = (0_u8..).take(sizes.len()).collect();
        let reads = if alike {
            Just(vec![all.clone(); members]).boxed()
        } else {
            prop::collection::vec(prop::sample::subsequence(all.clone(), 0..=all.len()), members).boxed()
        };
        // Partitions beyond the end, and some that two members held.
        let held = (0..u8::try_from(sizes.len()).unwrap(), 0..14_i32);
        let owned = prop::collection::vec(prop::collection::vec(held, 0..20), members);
        (Just(sizes), reads, owned).prop_map(|(sizes, reads, owned)| Case::new(&sizes, &reads, &owned))
    })
}

proptest! {
    #[test]
    fn everything_is_given_once_to_somebody_who_reads_it(case in case(false)) {
        for assignor in [Assignor::Uniform, Assignor::Range] {
            case.check_all_given_once(&case.assign(assignor));
        }
    }

    #[test]
    fn members_that_read_the_same_have_as_much(case in case(true)) {
        let shares = case.assign(Assignor::Uniform);
        case.check_all_given_once(&shares);
        let sizes: Vec<usize> = shares.iter().map(Share::len).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{:?}", sizes);
    }

    #[test]
    fn nobody_gives_away_what_balance_lets_it_keep(case in case(true)) {
        let readers = case.readers();
        let held = kept(&case.counts, &readers);
        let before: Vec<usize> = held.iter().map(Share::len).collect();
        let shares = case.assign(Assignor::Uniform);
        let kept_now = held.iter().zip(&shares).map(|(b, a)| b.intersection(a).count());
        let total: usize = shares.iter().map(Share::len).sum();
        let (least, mut extra) = (total / before.len(), total % before.len());
        let mut bound = 0;
        for held in &before {
            bound += (*held).min(least);
            if *held > least && extra > 0 {
                (bound, extra) = (bound + 1, extra - 1);
            }
        }
        prop_assert_eq!(kept_now.sum::<usize>(), bound);
    }

    #[test]
    fn what_is_settled_stays(case in case(false)) {
        let shares = case.assign(Assignor::Uniform);
        prop_assert_eq!(case.with(&shares).assign(Assignor::Uniform), shares);
        let ranges = case.assign(Assignor::Range);
        prop_assert_eq!(case.with(&ranges).assign(Assignor::Range), ranges);
    }

    #[test]
    fn no_single_move_would_make_unlike_members_more_even(case in case(false)) {
        let shares = case.assign(Assignor::Uniform);
        for (from, share) in shares.iter().enumerate() {
            for id in share {
                for to in case.readers_of(id.topic) {
                    prop_assert!(share.len() <= shares[to].len() + 1, "{:?} could go from {} to {}", id, from, to);
                }
            }
        }
    }
}

#[test]
fn a_member_that_joins_gets_its_part_and_no_more_moves() {
    let owned = [(0..6).map(|at| (0, at)).collect(), (6..12).map(|at| (0, at)).collect(), Vec::new()];
    let case = Case::new(&[12], &[vec![0], vec![0], vec![0]], &owned);
    let shares = case.assign(Assignor::Uniform);
    assert_eq!(shares.iter().map(Share::len).collect::<Vec<_>>(), [4, 4, 4]);
    assert!(shares[..2].iter().zip(&case.members).all(|(share, (_, _, held))| share.is_subset(held)));
}

#[test]
fn more_members_than_partitions_leave_some_without() {
    let case = Case::new(&[2], &vec![vec![0]; 4], &[Vec::new(), Vec::new(), vec![(0, 1)], Vec::new()]);
    let shares = case.assign(Assignor::Uniform);
    assert_eq!(shares.iter().map(Share::len).collect::<Vec<_>>(), [1, 0, 1, 0]);
    assert!(shares[2].contains(&partition(0, 1)), "it keeps what it has");
}

#[test]
fn ranges_of_topics_of_one_size_are_the_same() {
    let case = Case::new(&[5, 5, 3], &vec![vec![0, 1, 2]; 2], &[]);
    let shares = case.assign(Assignor::Range);
    let numbers = |at: usize, number: u8| {
        shares[at].iter().filter(|id| id.topic == topic(number)).map(|id| id.index.get()).collect::<Vec<i32>>()
    };
    for number in [0, 1] {
        assert_eq!((numbers(0, number), numbers(1, number)), (vec![0, 1, 2], vec![3, 4]));
    }
    assert_eq!((numbers(0, 2), numbers(1, 2)), (vec![0, 1], vec![2]));
}

#[test]
fn ranges_follow_instances_when_members_come_back_with_new_ids() {
    let (counts, topics, owned) = (BTreeMap::from([(topic(0), 4)]), BTreeSet::from([topic(0)]), BTreeSet::new());
    let ranges = |ids: [&str; 2]| {
        let instances = [InstanceId::new("i1"), InstanceId::new("i2")];
        let ids = ids.map(MemberId::new);
        let reader =
            |at: usize| Reader { member: &ids[at], instance: Some(&instances[at]), topics: &topics, owned: &owned };
        Assignor::Range.assign(&counts, &[reader(0), reader(1)])
    };
    assert_eq!(ranges(["a", "b"]), ranges(["z", "b"]));
}

#[test]
fn assignors_are_found_by_their_names() {
    for name in Assignor::NAMES {
        assert_eq!(Assignor::named(name).map(Assignor::name), Some(name));
    }
    assert_eq!(Assignor::named("sticky"), None);
}
