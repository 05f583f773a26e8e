//! Edits that break the invariants of what consumers see.

use super::{
    evidence, flags, flags_among, records, records_mut, removed, run, scan_of, scan_of_mut, some_poll, with_leases,
};
use crate::model::{Instant, Offset, Timestamp};
use crate::verify::history::{Administration, AdministrationKind, Class, OffsetQuery, Poll, PollOutcome, Seen};
use crate::verify::{Bounds, History, Invariant, Retention};

/// What an answer tells.
fn watermarks(poll: &mut Poll) -> Option<(&mut Offset, &mut Offset, &mut Offset)> {
    match &mut poll.outcome {
        PollOutcome::Records { high_watermark, last_stable, log_start, .. } => {
            Some((log_start, last_stable, high_watermark))
        }
        PollOutcome::OutOfRange | PollOutcome::Corrupt => None,
    }
}

fn watermark(poll: &Poll) -> Option<Offset> {
    match poll.outcome {
        PollOutcome::Records { high_watermark, .. } => Some(high_watermark),
        PollOutcome::OutOfRange | PollOutcome::Corrupt => None,
    }
}

/// Two polls of a client from one node in one epoch, after the end of all faults, so that no restart is between.
fn succession(history: &History) -> Option<(usize, usize)> {
    let healed = history.healed_at?;
    let late = |poll: &Poll| poll.invoked > healed && watermark(poll).is_some();
    let places: Vec<usize> = (0..history.polls.len()).filter(|at| late(&history.polls[*at])).collect();
    let same = |a: &Poll, b: &Poll| {
        (a.client, a.node, a.partition, a.leader_epoch) == (b.client, b.node, b.partition, b.leader_epoch)
    };
    places.iter().enumerate().find_map(|(at, first)| {
        let next = places[at + 1..].iter().find(|next| {
            let (a, b) = (&history.polls[*first], &history.polls[**next]);
            (a.client, a.node, a.partition) == (b.client, b.node, b.partition)
        })?;
        same(&history.polls[*first], &history.polls[*next]).then_some((*first, *next))
    })
}

#[test]
fn a_poll_in_another_order_is_flagged() {
    flags(Invariant::B1, |history, random| {
        let poll = some_poll(history, random, |poll| records(poll).len() > 1)?;
        records_mut(&mut history.polls[poll]).reverse();
        Some(())
    });
}

#[test]
fn a_record_below_the_position_is_flagged() {
    flags(Invariant::B1, |history, random| {
        let poll = some_poll(history, random, |poll| !records(poll).is_empty())?;
        history.polls[poll].position = records(&history.polls[poll])[0].offset.plus(1);
        Some(())
    });
}

#[test]
fn a_record_that_comes_again_is_flagged() {
    flags(Invariant::B2, |history, random| {
        let key = |poll: &Poll| (poll.client, poll.incarnation, poll.partition);
        let later = some_poll(history, random, |poll| {
            let own = |other: &&Poll| key(other) == key(poll) && other.returned < poll.returned;
            watermark(poll).is_some() && history.polls.iter().filter(own).any(|other| !records(other).is_empty())
        })?;
        let (own, at) = (key(&history.polls[later]), history.polls[later].returned);
        let earlier =
            some_poll(history, random, |poll| key(poll) == own && poll.returned < at && !records(poll).is_empty())?;
        let again = records(&history.polls[earlier])[0];
        history.polls[later].position = again.offset;
        records_mut(&mut history.polls[later]).insert(0, again);
        Some(())
    });
}

#[test]
fn a_record_that_a_consumer_is_not_given_is_flagged() {
    flags(Invariant::B3, |history, random| {
        let above = |poll: &Poll| {
            let start = scan_of(history, poll.partition)?.log_start;
            records(poll).iter().position(|seen| seen.offset >= start)
        };
        let poll = some_poll(history, random, |poll| above(poll).is_some())?;
        let at = above(&history.polls[poll])?;
        records_mut(&mut history.polls[poll]).remove(at);
        Some(())
    });
}

#[test]
fn a_poll_that_is_left_out_is_flagged() {
    flags(Invariant::B3, |history, random| {
        let key = |poll: &Poll| (poll.client, poll.incarnation, poll.partition);
        let follows =
            |poll: &Poll| {
                let before = history.polls.iter().any(|other| {
                    key(other) == key(poll) && other.returned < poll.invoked && watermark(other).is_some()
                });
                let after = history.polls.iter().any(|other| {
                    key(other) == key(poll) && other.invoked > poll.returned && watermark(other).is_some()
                });
                before && after
            };
        let brings = |poll: &Poll| {
            let start = scan_of(history, poll.partition).map(|scan| scan.log_start);
            start.is_some_and(|start| records(poll).last().is_some_and(|seen| seen.offset >= start))
        };
        let poll = some_poll(history, random, |poll| brings(poll) && follows(poll))?;
        history.polls.remove(poll);
        Some(())
    });
}

#[test]
fn a_high_watermark_that_falls_is_flagged() {
    flags(Invariant::B4, |history, _| {
        let (first, second) = succession(history)?;
        let lower = watermark(&history.polls[first])?.plus(-1);
        *watermarks(&mut history.polls[second])?.2 = lower;
        Some(())
    });
}

#[test]
fn a_latest_offset_behind_an_acknowledgement_is_flagged() {
    flags(Invariant::B5, |history, random| {
        let mut behind = Vec::new();
        for (at, lookup) in history.offset_lookups.iter().enumerate().filter(|(_, l)| l.query == OffsetQuery::Latest) {
            let known = evidence(history, lookup.partition).into_iter();
            let before = known.filter(|(at, epoch, _)| *at < lookup.invoked && *epoch <= lookup.leader_epoch);
            behind.extend(before.map(|(_, _, offset)| (at, offset)));
        }
        let (at, offset) = *random.pick(&behind)?;
        history.offset_lookups[at].answer = Some(offset);
        Some(())
    });
}

#[test]
fn watermarks_out_of_order_are_flagged() {
    flags(Invariant::B6, |history, random| {
        let poll = some_poll(history, random, |poll| watermark(poll).is_some())?;
        let kind = random.below(3);
        let (start, stable, high) = watermarks(&mut history.polls[poll])?;
        match kind {
            0 => *stable = high.plus(1),
            1 => *start = stable.plus(1),
            _ => *high = stable.plus(-1),
        }
        Some(())
    });
}

#[test]
fn a_record_above_the_high_watermark_is_flagged() {
    flags(Invariant::B6, |history, random| {
        let poll = some_poll(history, random, |poll| !records(poll).is_empty())?;
        let last = records(&history.polls[poll]).last()?.offset;
        let (start, stable, high) = watermarks(&mut history.polls[poll])?;
        (*start, *stable, *high) = ((*start).min(last), last, last);
        Some(())
    });
}

#[test]
fn a_start_that_falls_is_flagged() {
    flags(Invariant::B6, |history, _| {
        let (first, second) = succession(history)?;
        let start = watermark(&history.polls[first])?;
        *watermarks(&mut history.polls[first])?.0 = start;
        *watermarks(&mut history.polls[second])?.0 = start.plus(-1);
        Some(())
    });
}

#[test]
fn a_replica_with_its_high_watermark_above_its_end_is_flagged() {
    flags(Invariant::B6, |history, random| {
        let at = random.below(history.replicas.len());
        let dump = &mut history.replicas[at];
        dump.high_watermark = dump.end.plus(1);
        Some(())
    });
}

/// Whether a leader that must know better answered this poll: somebody with no newer epoch had told of this position.
fn is_known(history: &History, poll: &Poll) -> bool {
    let mut known = evidence(history, poll.partition).into_iter();
    let reaches = |(at, epoch, offset): (Instant, _, Offset)| {
        at < poll.invoked && epoch <= poll.leader_epoch && offset.plus(1) >= poll.position
    };
    poll.as_leader && known.any(reaches) && poll.position >= removed(history, poll.partition)
}

#[test]
fn an_offset_that_exists_and_is_out_of_range_is_flagged() {
    // Age takes what it likes.
    let unlimited = |seed: u64| {
        let mut runs = (0..).map(|number| run(seed * 100 + number));
        runs.find(|(_, expectations)| expectations.retention == Retention::Unlimited).expect("most are")
    };
    flags_among(Invariant::B7, unlimited, |history, random| {
        let lives = |poll: &Poll| scan_of(history, poll.partition).is_some();
        let poll = some_poll(history, random, |poll| lives(poll) && is_known(history, poll))?;
        history.polls[poll].outcome = PollOutcome::OutOfRange;
        Some(())
    });
}

#[test]
fn no_latest_offset_where_there_is_one_is_flagged() {
    flags(Invariant::B7, |history, random| {
        let mut wrong = Vec::new();
        for (at, lookup) in history.offset_lookups.iter().enumerate() {
            let known = evidence(history, lookup.partition)
                .into_iter()
                .any(|(at, epoch, _)| at < lookup.invoked && epoch <= lookup.leader_epoch);
            let by_time = matches!(lookup.query, OffsetQuery::Timestamp(_));
            if known && !by_time && scan_of(history, lookup.partition).is_some() {
                wrong.push(at);
            }
        }
        history.offset_lookups[*random.pick(&wrong)?].answer = None;
        Some(())
    });
}

/// Lowers the end that a late answer tells below something that was long known.
fn lower_a_late_end(history: &mut History, random: &mut crate::verify::tests::random::Random) -> Option<()> {
    let bound = Bounds::default().stale;
    let healed = history.healed_at?.plus(bound);
    let known = |poll: &Poll| {
        let old = |(at, ..): &(Instant, _, Offset)| at.plus(bound) < poll.invoked;
        evidence(history, poll.partition).into_iter().filter(old).map(|(_, _, offset)| offset).max()
    };
    let late = |poll: &Poll| poll.invoked > healed && watermark(poll).is_some() && known(poll).is_some();
    let poll = some_poll(history, random, late)?;
    let offset = known(&history.polls[poll])?;
    *watermarks(&mut history.polls[poll])?.2 = offset;
    Some(())
}

#[test]
fn a_read_that_is_stale_long_after_healing_is_flagged() {
    flags(Invariant::B8, lower_a_late_end);
}

#[test]
fn any_stale_read_of_a_leader_is_flagged_where_there_are_leases() {
    flags_among(Invariant::B8, with_leases, |history, random| {
        let known = |poll: &Poll| {
            let before = |(at, ..): &(Instant, _, Offset)| *at < poll.invoked;
            evidence(history, poll.partition).into_iter().filter(before).map(|(_, _, offset)| offset).max()
        };
        let poll =
            some_poll(history, random, |poll| poll.as_leader && watermark(poll).is_some() && known(poll).is_some())?;
        let offset = known(&history.polls[poll])?;
        *watermarks(&mut history.polls[poll])?.2 = offset;
        Some(())
    });
}

#[test]
fn a_record_that_was_read_and_does_not_stay_is_flagged() {
    flags(Invariant::B9, |history, random| {
        let above = |poll: &Poll| {
            let start = removed(history, poll.partition);
            let lasts = scan_of(history, poll.partition).is_some();
            records(poll).iter().copied().find(|seen| lasts && seen.offset >= start)
        };
        let poll = some_poll(history, random, |poll| above(poll).is_some())?;
        let (gone, partition) = (above(&history.polls[poll])?, history.polls[poll].partition);
        let scan = scan_of_mut(history, partition)?;
        if random.chance(50) {
            scan.records.retain(|seen| seen.offset < gone.offset);
            scan.end = gone.offset;
        } else {
            scan.records.retain(|seen| seen.offset != gone.offset);
        }
        Some(())
    });
}

#[test]
fn a_record_that_changes_between_reads_is_flagged() {
    flags(Invariant::B10, |history, random| {
        let again = |poll: &Poll, seen: &Seen| {
            let scan = scan_of(history, poll.partition);
            scan.is_some_and(|scan| scan.records.iter().any(|other| other.offset == seen.offset))
        };
        let place = |poll: &Poll| records(poll).iter().position(|seen| again(poll, seen));
        let poll = some_poll(history, random, |poll| place(poll).is_some())?;
        let at = place(&history.polls[poll])?;
        let seen = &mut records_mut(&mut history.polls[poll])[at];
        match random.below(2) {
            0 => seen.timestamp = Timestamp::new(seen.timestamp.get() + 1),
            _ => seen.digest ^= 4,
        }
        Some(())
    });
}

/// Legal histories without retention by age.
fn unlimited(seed: u64) -> (History, crate::verify::Expectations) {
    let options = super::Options { retention: false, ..super::Options::any(&mut super::Random::new(seed)) };
    let (history, expectations) = super::run_with(seed, options);
    assert_eq!(expectations.retention, Retention::Unlimited);
    (history, expectations)
}

#[test]
fn a_start_that_no_deletion_explains_is_flagged() {
    flags_among(Invariant::B11, unlimited, |history, random| {
        let poll = some_poll(history, random, |poll| {
            watermark(poll).is_some_and(|high| high > removed(history, poll.partition))
        })?;
        let high = watermark(&history.polls[poll])?;
        *watermarks(&mut history.polls[poll])?.0 = high;
        Some(())
    });
}

#[test]
fn a_record_below_a_promised_deletion_is_flagged() {
    flags_among(Invariant::B11, unlimited, |history, random| {
        let healed = history.healed_at?;
        let poll = some_poll(history, random, |poll| poll.invoked > healed && !records(poll).is_empty())?;
        let Poll { partition, invoked, .. } = history.polls[poll];
        let before = records(&history.polls[poll])[0].offset.plus(1);
        let at = Instant::from_nanos(invoked.as_nanos() - 1);
        let what = AdministrationKind::DeleteRecords { partition, before };
        history.administrations.push(Administration { what, invoked: at, returned: Some(at), class: Class::Ok });
        Some(())
    });
}

#[test]
fn a_promised_deletion_that_is_undone_is_flagged() {
    flags_among(Invariant::B11, unlimited, |history, random| {
        let at = random.below(history.scans.len());
        let (partition, before) = (history.scans[at].partition, history.scans[at].log_start.plus(1));
        let at = history.ended_at;
        let what = AdministrationKind::DeleteRecords { partition, before };
        history.administrations.push(Administration { what, invoked: at, returned: Some(at), class: Class::Ok });
        Some(())
    });
}
