//! Edits that break the invariants of a log.

use super::{evidence, some_poll, some_send};
use super::{
    flags, forget_reads, forget_scanned, is_kept, records, records_mut, removed, scan_of, scan_of_mut, scanned,
};
use crate::model::{LeaderEpoch, Offset, PartitionIndex, Sequence};
use crate::verify::Invariant;
use crate::verify::history::{Class, OffsetQuery, PollOutcome, Seen, Send};

/// Puts another value of the same partition in a record's place, as it was written.
fn replace(seen: &mut Seen, send: &Send) {
    (seen.value, seen.digest) = (Some(send.value), send.digest);
}

#[test]
fn another_value_for_one_reader_is_flagged() {
    flags(Invariant::A1, |history, random| {
        let scanned = |offset: Offset, of| {
            scan_of(history, of).is_some_and(|scan| scan.records.iter().any(|seen| seen.offset == offset))
        };
        let poll =
            some_poll(history, random, |poll| records(poll).iter().any(|seen| scanned(seen.offset, poll.partition)))?;
        let partition = history.polls[poll].partition;
        let at = records(&history.polls[poll]).iter().position(|seen| scanned(seen.offset, partition))?;
        let own = records(&history.polls[poll])[at].value;
        let other = some_send(history, random, |send| send.partition == partition && Some(send.value) != own)?;
        let other = history.sends[other].clone();
        replace(&mut records_mut(&mut history.polls[poll])[at], &other);
        Some(())
    });
}

#[test]
fn one_offset_promised_twice_is_flagged() {
    flags(Invariant::A1, |history, random| {
        let first = some_send(history, random, |send| send.class == Class::Ok)?;
        let (partition, offset) = (history.sends[first].partition, history.sends[first].offset);
        let other = some_send(history, random, |send| {
            send.class == Class::Ok && send.partition == partition && send.offset != offset
        })?;
        history.sends[other].offset = offset;
        Some(())
    });
}

#[test]
fn a_lost_acknowledged_write_is_flagged() {
    flags(Invariant::A2, |history, random| {
        let lost = some_send(history, random, |send| is_kept(history, send))?;
        let lost = history.sends[lost].clone();
        forget_scanned(history, &lost);
        Some(())
    });
}

#[test]
fn a_lost_tail_of_acknowledged_writes_is_flagged() {
    flags(Invariant::A2, |history, random| {
        let lost = some_send(history, random, |send| is_kept(history, send))?;
        let (partition, offset) = (history.sends[lost].partition, history.sends[lost].offset?);
        let scan = scan_of_mut(history, partition)?;
        scan.records.retain(|seen| seen.offset < offset);
        scan.end = offset;
        Some(())
    });
}

#[test]
fn a_lost_acknowledged_write_without_a_known_offset_is_flagged() {
    flags(Invariant::A2, |history, random| {
        let lost = some_send(history, random, |send| {
            is_kept(history, send) && removed(history, send.partition) == Offset::ZERO
        })?;
        history.sends[lost].offset = None;
        let lost = history.sends[lost].clone();
        forget_scanned(history, &lost);
        Some(())
    });
}

#[test]
fn an_acknowledged_write_that_readers_pass_over_is_flagged() {
    flags(Invariant::A2w, |history, random| {
        let passed = |send: &Send| {
            history.polls.iter().any(|poll| records(poll).iter().any(|seen| seen.value == Some(send.value)))
        };
        let lost = some_send(history, random, |send| is_kept(history, send) && passed(send))?;
        let lost = history.sends[lost].clone();
        history.scans.clear();
        forget_reads(history, &lost);
        Some(())
    });
}

#[test]
fn an_acknowledged_write_that_no_consumer_is_given_is_flagged() {
    flags(Invariant::A3, |history, random| {
        let unseen = some_send(history, random, |send| is_kept(history, send))?;
        let unseen = history.sends[unseen].clone();
        forget_reads(history, &unseen);
        Some(())
    });
}

#[test]
fn a_value_that_stands_twice_is_flagged() {
    flags(Invariant::A4, |history, random| {
        let once = |send: &Send| send.session.is_some() || send.attempts == 1;
        let twice = some_send(history, random, |send| once(send) && scanned(history, send).is_some())?;
        let twice = history.sends[twice].clone();
        let scan = scan_of_mut(history, twice.partition)?;
        let copy = *scan.records.iter().find(|seen| seen.value == Some(twice.value))?;
        scan.records.push(Seen { offset: scan.end, ..copy });
        scan.end = scan.end.plus(1);
        Some(())
    });
}

#[test]
fn a_value_promised_elsewhere_than_it_stands_is_flagged() {
    flags(Invariant::A4, |history, random| {
        let once = |send: &Send| send.session.is_some() || send.attempts == 1;
        let send = some_send(history, random, |send| once(send) && is_kept(history, send))?;
        history.sends[send].offset = history.sends[send].offset.map(|offset| offset.plus(1));
        Some(())
    });
}

#[test]
fn an_altered_record_is_flagged() {
    flags(Invariant::A5, |history, random| {
        let poll = some_poll(history, random, |poll| !records(poll).is_empty())?;
        let kind = random.below(4);
        let partition = history.polls[poll].partition;
        let records = records_mut(&mut history.polls[poll]);
        let at = random.below(records.len());
        let seen = &mut records[at];
        match kind {
            0 => seen.digest ^= 1,
            1 => seen.value = None,
            2 => seen.wrote_to = Some(crate::model::PartitionId { index: PartitionIndex::new(7), ..partition }),
            _ => seen.value = Some(crate::verify::history::ValueId(u64::MAX)),
        }
        Some(())
    });
}

#[test]
fn a_record_of_another_partition_is_flagged() {
    flags(Invariant::A5, |history, random| {
        let poll = some_poll(history, random, |poll| !records(poll).is_empty())?;
        let partition = history.polls[poll].partition;
        let other = some_send(history, random, |send| send.partition != partition)?;
        let other = history.sends[other].clone();
        let records = records_mut(&mut history.polls[poll]);
        let at = random.below(records.len());
        replace(&mut records[at], &other);
        records[at].wrote_to = Some(other.partition);
        Some(())
    });
}

#[test]
fn a_record_read_before_it_was_written_is_flagged() {
    flags(Invariant::A5, |history, random| {
        let poll = some_poll(history, random, |poll| !records(poll).is_empty())?;
        let (value, at) = (records(&history.polls[poll])[0].value, history.polls[poll].returned);
        let send = some_send(history, random, |send| Some(send.value) == value)?;
        history.sends[send].invoked = at.plus(std::time::Duration::from_nanos(1));
        Some(())
    });
}

#[test]
fn an_altered_record_in_a_replica_is_flagged() {
    flags(Invariant::A5, |history, random| {
        let full: Vec<usize> =
            (0..history.replicas.len()).filter(|at| !history.replicas[*at].batches.is_empty()).collect();
        let dump = &mut history.replicas[*random.pick(&full)?];
        let batch = random.below(dump.batches.len());
        dump.batches[batch].records[0].digest ^= 1;
        Some(())
    });
}

#[test]
fn a_failed_write_that_is_visible_is_flagged() {
    flags(Invariant::A6, |history, random| {
        let failed =
            some_send(history, random, |send| send.class == Class::Fail && scan_of(history, send.partition).is_some())?;
        let failed = history.sends[failed].clone();
        let scan = scan_of_mut(history, failed.partition)?;
        let last = *scan.records.last()?;
        let mut seen = Seen { offset: scan.end, ..last };
        replace(&mut seen, &failed);
        scan.records.push(seen);
        scan.end = scan.end.plus(1);
        Some(())
    });
}

#[test]
fn values_of_a_session_in_another_order_are_flagged() {
    flags(Invariant::A7, |history, random| {
        let first = some_send(history, random, |send| send.class == Class::Ok && send.session.is_some())?;
        let session = history.sends[first].session.map(|(session, _)| session);
        let second = some_send(history, random, |send| {
            let same = send.session.map(|(session, _)| session) == session;
            same && send.class == Class::Ok && send.order != history.sends[first].order
        })?;
        let offset = history.sends[first].offset;
        history.sends[first].offset = history.sends[second].offset;
        history.sends[second].offset = offset;
        Some(())
    });
}

#[test]
fn values_of_a_plain_producer_that_waited_in_another_order_are_flagged() {
    flags(Invariant::A7, |history, random| {
        let first = some_send(history, random, |send| {
            send.class == Class::Ok && send.session.is_none() && send.alone && send.offset > Some(Offset::ZERO)
        })?;
        let Send { client, order, offset, .. } = history.sends[first].clone();
        let next =
            some_send(history, random, |send| send.client == client && send.order > order && send.class == Class::Ok)?;
        history.sends[next].offset = offset.map(|offset| offset.plus(-1));
        Some(())
    });
}

#[test]
fn a_hole_in_a_session_is_flagged() {
    flags(Invariant::A7g, |history, random| {
        let session = |send: &Send| send.session.map(|(session, _)| session);
        let followed = |own: &Send| {
            history.sends.iter().any(|later| {
                session(later) == session(own) && later.order > own.order && scanned(history, later).is_some()
            })
        };
        let missing = some_send(history, random, |send| {
            let stands = scanned(history, send).is_some() && removed(history, send.partition) == Offset::ZERO;
            send.session.is_some() && stands && matches!(send.class, Class::Ok | Class::Info) && followed(send)
        })?;
        (history.sends[missing].class, history.sends[missing].offset) = (Class::Info, None);
        let missing = history.sends[missing].clone();
        forget_reads(history, &missing);
        forget_scanned(history, &missing);
        Some(())
    });
}

#[test]
fn a_later_write_at_an_offset_known_before_is_flagged() {
    flags(Invariant::A8, |history, random| {
        let floor = |send: &Send| {
            let before = evidence(history, send.partition).into_iter().filter(|(at, ..)| *at < send.invoked);
            before.map(|(_, _, offset)| offset).max()
        };
        let late = some_send(history, random, |send| send.class == Class::Ok && floor(send).is_some())?;
        history.sends[late].offset = floor(&history.sends[late]);
        Some(())
    });
}

#[test]
fn a_hole_in_a_replica_is_flagged() {
    flags(Invariant::A9, |history, random| {
        let full: Vec<usize> =
            (0..history.replicas.len()).filter(|at| history.replicas[*at].batches.len() > 1).collect();
        let dump = &mut history.replicas[*random.pick(&full)?];
        dump.batches.remove(random.below(dump.batches.len()));
        Some(())
    });
}

#[test]
fn a_hole_for_a_reader_is_flagged() {
    flags(Invariant::A9, |history, random| {
        let above = |poll: &crate::verify::history::Poll| {
            records(poll).iter().position(|seen| seen.offset >= removed(history, poll.partition))
        };
        let poll = some_poll(history, random, |poll| above(poll).is_some())?;
        let at = above(&history.polls[poll])?;
        records_mut(&mut history.polls[poll]).remove(at);
        Some(())
    });
}

#[test]
fn a_hole_in_the_end_is_flagged() {
    flags(Invariant::A9, |history, random| {
        let full: Vec<usize> = (0..history.scans.len()).filter(|at| !history.scans[*at].records.is_empty()).collect();
        let scan = &mut history.scans[*random.pick(&full)?];
        scan.records.remove(random.below(scan.records.len()));
        Some(())
    });
}

#[test]
fn an_epoch_that_falls_is_flagged() {
    flags(Invariant::A10, |history, random| {
        let in_later = |scan: &crate::verify::history::FinalScan| {
            (1..scan.records.len()).rfind(|at| scan.records[at - 1].epoch > LeaderEpoch::new(0))
        };
        let late: Vec<usize> = (0..history.scans.len()).filter(|at| in_later(&history.scans[*at]).is_some()).collect();
        let scan = &mut history.scans[*random.pick(&late)?];
        let at = in_later(scan)?;
        scan.records[at].epoch = LeaderEpoch::new(scan.records[at - 1].epoch.get() - 1);
        Some(())
    });
}

#[test]
fn an_epoch_cache_that_was_not_truncated_is_flagged() {
    flags(Invariant::A10, |history, random| {
        let several: Vec<usize> =
            (0..history.replicas.len()).filter(|at| history.replicas[*at].epochs.len() > 1).collect();
        let dump = &mut history.replicas[*random.pick(&several)?];
        let in_records = (1..dump.epochs.len()).find(|at| dump.epochs[*at].1 < dump.end)?;
        dump.epochs.remove(in_records);
        Some(())
    });
}

#[test]
fn a_wrong_end_of_an_epoch_is_flagged() {
    flags(Invariant::A10, |history, random| {
        let judged: Vec<usize> = (0..history.epoch_lookups.len())
            .filter(|at| {
                let lookup = &history.epoch_lookups[*at];
                let Some(scan) = scan_of(history, lookup.partition) else { return false };
                let has = |wanted: &dyn Fn(LeaderEpoch) -> bool| scan.records.iter().any(|seen| wanted(seen.epoch));
                lookup.epoch < lookup.leader_epoch
                    && has(&|epoch| epoch == lookup.leader_epoch)
                    && has(&|epoch| epoch <= lookup.epoch)
            })
            .collect();
        let lookup = &mut history.epoch_lookups[*random.pick(&judged)?];
        lookup.answer = lookup.answer.map(|(epoch, end)| (epoch, end.plus(1)));
        Some(())
    });
}

#[test]
fn one_offset_read_in_two_epochs_is_flagged() {
    flags(Invariant::A10, |history, random| {
        let read_again = |poll: &crate::verify::history::Poll| {
            let scan = scan_of(history, poll.partition);
            scan.is_some_and(|scan| records(poll).first().is_some_and(|seen| seen.offset >= scan.log_start))
        };
        let poll = some_poll(history, random, read_again)?;
        let seen = &mut records_mut(&mut history.polls[poll])[0];
        seen.epoch = seen.epoch.next();
        Some(())
    });
}

#[test]
fn a_shifted_answer_to_a_timestamp_is_flagged() {
    flags(Invariant::A11, |history, random| {
        let asked: Vec<usize> = (0..history.offset_lookups.len())
            .filter(|at| {
                let lookup = &history.offset_lookups[*at];
                let removed = removed(history, lookup.partition);
                let by_time = matches!(lookup.query, OffsetQuery::Timestamp(_));
                by_time
                    && scan_of(history, lookup.partition).is_some()
                    && lookup.answer.is_some_and(|answer| answer >= removed)
            })
            .collect();
        let lookup = &mut history.offset_lookups[*random.pick(&asked)?];
        lookup.answer = lookup.answer.map(|answer| answer.plus(1));
        Some(())
    });
}

#[test]
fn no_answer_to_a_timestamp_that_exists_is_flagged() {
    flags(Invariant::A11, |history, random| {
        let asked: Vec<usize> = (0..history.offset_lookups.len())
            .filter(|at| {
                let lookup = &history.offset_lookups[*at];
                let by_time = matches!(lookup.query, OffsetQuery::Timestamp(_));
                let Some(answer) = lookup.answer.filter(|_| by_time) else { return false };
                let known = evidence(history, lookup.partition)
                    .into_iter()
                    .any(|(at, epoch, offset)| at < lookup.invoked && epoch <= lookup.leader_epoch && offset >= answer);
                known && scan_of(history, lookup.partition).is_some() && answer >= removed(history, lookup.partition)
            })
            .collect();
        history.offset_lookups[*random.pick(&asked)?].answer = None;
        Some(())
    });
}

#[test]
fn a_corrupt_batch_is_flagged() {
    flags(Invariant::A12, |history, random| {
        if random.chance(50) {
            let poll = some_poll(history, random, |_| true)?;
            history.polls[poll].outcome = PollOutcome::Corrupt;
            return Some(());
        }
        let full: Vec<usize> =
            (0..history.replicas.len()).filter(|at| !history.replicas[*at].batches.is_empty()).collect();
        let dump = &mut history.replicas[*random.pick(&full)?];
        let at = random.below(dump.batches.len());
        let batch = &mut dump.batches[at];
        match random.below(3) {
            0 => batch.is_sound = false,
            1 => batch.records.clear(),
            _ => batch.session = batch.session.map(|(session, first)| (session, first.plus(1)))?.into(),
        }
        Some(())
    });
}

#[test]
fn a_skipped_sequence_is_flagged() {
    flags(Invariant::A13, |history, random| {
        let mut followers = Vec::new();
        for (at, dump) in history.replicas.iter().enumerate() {
            for (place, batch) in dump.batches.iter().enumerate() {
                let session = batch.session.map(|(session, _)| session);
                let before = |earlier: &crate::verify::history::DumpedBatch| {
                    session.is_some() && earlier.session.map(|(session, _)| session) == session
                };
                if dump.batches[..place].iter().any(before) {
                    followers.push((at, place));
                }
            }
        }
        let (at, place) = *random.pick(&followers)?;
        let batch = &mut history.replicas[at].batches[place];
        batch.session = batch.session.map(|(session, first)| (session, first.plus(1)));
        Some(())
    });
}

#[test]
fn a_session_that_does_not_begin_with_zero_is_flagged() {
    flags(Invariant::A13, |history, random| {
        let mut firsts = Vec::new();
        for (at, dump) in history.replicas.iter().enumerate() {
            let is_weak = history.sends.iter().any(|send| send.class == Class::Weak && send.session.is_some());
            if removed(history, dump.partition) > Offset::ZERO || is_weak {
                continue;
            }
            let zero = |batch: &crate::verify::history::DumpedBatch| {
                batch.session.is_some_and(|(_, first)| first == Sequence::new(0))
            };
            firsts.extend((0..dump.batches.len()).filter(|place| zero(&dump.batches[*place])).map(|place| (at, place)));
        }
        let (at, place) = *random.pick(&firsts)?;
        let batch = &mut history.replicas[at].batches[place];
        batch.session = batch.session.map(|(session, first)| (session, first.plus(7)));
        Some(())
    });
}
