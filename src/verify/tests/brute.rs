//! A second judge, for small histories: loops over everything, sorts and remembers nothing. Written from the statements
//! of the invariants, not from the first judge's code, so that the two are wrong in different ways.

use std::collections::BTreeSet;

use crate::model::{Instant, Offset, PartitionId};
use crate::verify::history::{
    AdministrationKind, Class, FinalScan, NodeEventKind, OffsetQuery, Poll, PollOutcome, Seen, Send,
};
use crate::verify::{Expectations, FlushPromise, History, Invariant, Retention, UncleanElection};

/// What it judges.
pub(super) const JUDGED: &[Invariant] = &[
    Invariant::A1,
    Invariant::A2,
    Invariant::A2w,
    Invariant::A3,
    Invariant::A4,
    Invariant::A5,
    Invariant::A6,
    Invariant::A7,
    Invariant::A7g,
    Invariant::A8,
    Invariant::A9,
    Invariant::B1,
    Invariant::B2,
    Invariant::B3,
    Invariant::B5,
    Invariant::B9,
];

/// Which invariants a history breaks.
pub(super) fn judge(history: &History, expectations: &Expectations) -> BTreeSet<Invariant> {
    let judge = Judge { history, expectations };
    let rows: [(Invariant, bool); 16] = [
        (Invariant::A1, judge.a1()),
        (Invariant::A2, judge.a2()),
        (Invariant::A2w, judge.a2w()),
        (Invariant::A3, judge.a3()),
        (Invariant::A4, judge.a4()),
        (Invariant::A5, judge.a5()),
        (Invariant::A6, judge.a6()),
        (Invariant::A7, judge.a7()),
        (Invariant::A7g, judge.a7g()),
        (Invariant::A8, judge.a8()),
        (Invariant::A9, judge.a9()),
        (Invariant::B1, judge.b1()),
        (Invariant::B2, judge.b2()),
        (Invariant::B3, judge.b3()),
        (Invariant::B5, judge.b5()),
        (Invariant::B9, judge.b9()),
    ];
    rows.into_iter().filter(|(_, broken)| *broken).map(|(invariant, _)| invariant).collect()
}

struct Judge<'h> {
    history: &'h History,
    expectations: &'h Expectations,
}

/// A record that somebody was given: by whom, of which partition.
type Sighting<'h> = (PartitionId, &'h Seen, Option<&'h Poll>);

fn brought(poll: &Poll) -> &[Seen] {
    if let PollOutcome::Records { records, .. } = &poll.outcome { records } else { &[] }
}

fn next_of(poll: &Poll) -> Option<Offset> {
    if let PollOutcome::Records { next, .. } = &poll.outcome { Some(*next) } else { None }
}

impl<'h> Judge<'h> {
    /// Losing acknowledged records is allowed.
    fn lossy(&self) -> bool {
        let dark = self.history.node_events.iter().any(|event| event.what == NodeEventKind::PowerLost);
        self.expectations.unclean_election == UncleanElection::Allowed
            || self.expectations.flush == FlushPromise::PageCache && dark
    }

    fn sightings(&self) -> Vec<Sighting<'h>> {
        let mut all: Vec<Sighting<'h>> = Vec::new();
        for poll in &self.history.polls {
            for seen in brought(poll) {
                all.push((poll.partition, seen, Some(poll)));
            }
        }
        for scan in &self.history.scans {
            for seen in &scan.records {
                all.push((scan.partition, seen, None));
            }
        }
        all
    }

    /// Where a value was seen in its own partition; by readers of the run, and in the end.
    fn places(&self, send: &Send, only_in_the_end: bool) -> Vec<Offset> {
        let own = |sighting: &Sighting<'_>| sighting.0 == send.partition && sighting.1.value == Some(send.value);
        let all = self.sightings().into_iter().filter(own);
        all.filter(|sighting| !only_in_the_end || sighting.2.is_none()).map(|sighting| sighting.1.offset).collect()
    }

    /// The one place that stands for a value.
    fn place(&self, send: &Send) -> Option<Offset> {
        if self.lossy() {
            return self.places(send, true).into_iter().min();
        }
        let told = if send.class == Class::Ok { send.offset } else { None };
        told.or_else(|| self.places(send, false).into_iter().min())
    }

    /// The partition's end, unless its topic may have been deleted.
    fn end(&self, partition: PartitionId) -> Option<&'h FinalScan> {
        for asked in &self.history.administrations {
            if let AdministrationKind::DeleteTopic { topic } = asked.what
                && topic == partition.topic
                && asked.class != Class::Fail
            {
                return None;
            }
        }
        self.history.scans.iter().find(|scan| scan.partition == partition)
    }

    /// Everything below may legally be gone at a moment.
    fn gone_below(&self, partition: PartitionId, moment: Option<Instant>) -> Offset {
        let mut below = Offset::ZERO;
        for asked in &self.history.administrations {
            if let AdministrationKind::DeleteRecords { partition: of, before } = asked.what
                && of == partition
                && asked.class != Class::Fail
                && moment.is_none_or(|moment| asked.invoked <= moment)
            {
                below = below.max(before);
            }
        }
        if self.expectations.retention == Retention::Limited {
            for poll in self.history.polls.iter().filter(|poll| poll.partition == partition) {
                if let PollOutcome::Records { log_start, .. } = poll.outcome {
                    below = below.max(log_start);
                }
            }
            for lookup in self.history.offset_lookups.iter().filter(|lookup| lookup.partition == partition) {
                if let (OffsetQuery::Earliest, Some(start)) = (lookup.query, lookup.answer) {
                    below = below.max(start);
                }
            }
            for scan in self.history.scans.iter().filter(|scan| scan.partition == partition) {
                below = below.max(scan.log_start);
            }
            for dump in self.history.replicas.iter().filter(|dump| dump.partition == partition) {
                below = below.max(dump.log_start);
            }
        }
        below
    }

    fn in_the_end(&self, scan: &FinalScan, offset: Offset) -> Vec<&'h Seen> {
        let scans = self.history.scans.iter().find(|own| own.partition == scan.partition);
        scans.into_iter().flat_map(|scan| &scan.records).filter(|seen| seen.offset == offset).collect()
    }

    fn a1(&self) -> bool {
        let seen = self.sightings();
        if self.lossy() {
            return seen.iter().any(|a| {
                seen.iter().any(|b| {
                    let (x, y) = (a.1, b.1);
                    let differ = x.value.is_some() && y.value.is_some() && x.value != y.value;
                    a.0 == b.0 && x.offset == y.offset && x.epoch == y.epoch && differ
                })
            });
        }
        let mut claims = Vec::new();
        for (partition, seen, _) in seen {
            claims.extend(seen.value.map(|value| (partition, seen.offset, value)));
        }
        for send in &self.history.sends {
            let sure = send.class == Class::Ok
                || send.class == Class::Weak && send.attempts == 1 && !self.places(send, false).is_empty();
            if let Some(offset) = send.offset.filter(|_| sure) {
                claims.push((send.partition, offset, send.value));
            }
        }
        claims.iter().any(|a| claims.iter().any(|b| a.0 == b.0 && a.1 == b.1 && a.2 != b.2))
    }

    fn a2(&self) -> bool {
        let lost = |send: &Send| {
            let Some(scan) = self.end(send.partition) else { return false };
            let gone = self.gone_below(send.partition, None);
            match send.offset {
                Some(offset) => {
                    let there = self.in_the_end(scan, offset).iter().any(|seen| seen.value == Some(send.value));
                    offset >= gone && !there
                }
                None => gone == Offset::ZERO && self.places(send, true).is_empty(),
            }
        };
        !self.lossy() && self.history.sends.iter().any(|send| send.class == Class::Ok && lost(send))
    }

    fn a2w(&self) -> bool {
        let passed = |send: &Send, offset: Offset| {
            self.history.polls.iter().any(|poll| {
                poll.partition == send.partition
                    && poll.position <= offset
                    && next_of(poll).is_some_and(|next| next > offset)
            })
        };
        let lost = |send: &Send| {
            let Some(offset) = send.offset.filter(|_| send.class == Class::Ok) else { return false };
            offset >= self.gone_below(send.partition, None)
                && self.places(send, false).is_empty()
                && passed(send, offset)
        };
        !self.lossy() && self.history.sends.iter().any(lost)
    }

    /// Where a consumer began that polls after the healing: the first poll of its last incarnation.
    fn begins(&self, partition: PartitionId, healed: Instant) -> Vec<Offset> {
        let polls: Vec<&Poll> = self.history.polls.iter().filter(|poll| poll.partition == partition).collect();
        let mut begins = Vec::new();
        for poll in &polls {
            let of_client: Vec<&&Poll> = polls.iter().filter(|other| other.client == poll.client).collect();
            let last = of_client.last().map(|last| last.incarnation);
            let mut own: Vec<&&&Poll> = Vec::new();
            for other in of_client.iter().rev() {
                if Some(other.incarnation) != last {
                    break;
                }
                own.push(other);
            }
            if own.iter().any(|poll| poll.invoked >= healed) {
                begins.extend(own.last().map(|first| first.position));
            }
        }
        begins
    }

    fn a3(&self) -> bool {
        let recovery = self.expectations.bounds.recovery;
        let Some(healed) = self.history.healed_at else { return false };
        let ended = self.history.ended_at;
        if self.lossy() || healed.plus(recovery) > ended {
            return false;
        }
        self.history.sends.iter().any(|send| {
            let due = send.returned.is_some_and(|at| at.plus(recovery) <= ended);
            let read = self.sightings().iter().any(|sighting| {
                let own = sighting.0 == send.partition && sighting.1.value == Some(send.value);
                own && sighting.2.is_some()
            });
            let (Some(_), Some(stands)) = (self.end(send.partition), self.places(send, true).into_iter().min()) else {
                return false;
            };
            let began = self.begins(send.partition, healed).into_iter().any(|begin| begin <= stands);
            send.class == Class::Ok && due && !read && began
        })
    }

    fn a4(&self) -> bool {
        self.history.sends.iter().any(|send| {
            if send.session.is_none() && send.attempts > 1 {
                return false;
            }
            let mut places = self.places(send, self.lossy());
            let told = match send.class {
                Class::Ok => true,
                Class::Weak => send.attempts == 1,
                Class::Fail | Class::Info => false,
            };
            if !self.lossy() && told && !places.is_empty() {
                places.extend(send.offset);
            }
            places.iter().any(|a| places.iter().any(|b| a != b))
        })
    }

    fn is_phantom(&self, partition: PartitionId, seen: &Seen, read_at: Instant) -> bool {
        let Some(send) = self.history.sends.iter().find(|send| Some(send.value) == seen.value) else { return true };
        send.partition != partition
            || seen.wrote_to != Some(partition)
            || send.invoked > read_at
            || send.digest != seen.digest
    }

    fn a5(&self) -> bool {
        let ended = self.history.ended_at;
        let read = self.sightings().into_iter();
        let mut dumped = self.history.replicas.iter().flat_map(|dump| {
            let sound = dump.batches.iter().filter(|batch| batch.is_sound);
            sound.flat_map(|batch| &batch.records).map(|seen| (dump.partition, seen))
        });
        let mut read = read.map(|(partition, seen, poll)| (partition, seen, poll.map_or(ended, |poll| poll.returned)));
        read.any(|(partition, seen, at)| self.is_phantom(partition, seen, at))
            || dumped.any(|(partition, seen)| self.is_phantom(partition, seen, ended))
    }

    fn a6(&self) -> bool {
        self.history.sends.iter().any(|send| send.class == Class::Fail && !self.places(send, false).is_empty())
    }

    fn a7(&self) -> bool {
        let proven = |send: &Send| send.class == Class::Ok || !self.places(send, false).is_empty();
        let sends = &self.history.sends;
        let of_sessions = sends.iter().any(|first| {
            sends.iter().any(|second| {
                let same = first.partition == second.partition
                    && first.session.is_some()
                    && first.session.map(|(session, _)| session) == second.session.map(|(session, _)| session);
                let both = proven(first) && proven(second) && first.order < second.order;
                let places = self.place(first).zip(self.place(second));
                same && both && places.is_some_and(|(a, b)| a >= b)
            })
        });
        let of_plain = sends.iter().any(|first| {
            sends.iter().any(|second| {
                let plain = first.session.is_none() && second.session.is_none() && first.client == second.client;
                let waited = first.alone && first.class == Class::Ok && first.order < second.order;
                let mut places = self.places(second, false);
                places.extend(second.offset.filter(|_| second.class == Class::Ok));
                let before = first.offset.is_some_and(|first| places.into_iter().any(|place| place <= first));
                plain && first.partition == second.partition && waited && before
            })
        });
        of_sessions || !self.lossy() && of_plain
    }

    fn a7g(&self) -> bool {
        if self.lossy() {
            return false;
        }
        let sends = &self.history.sends;
        sends.iter().any(|missing| {
            let Some((session, _)) = missing.session.filter(|_| missing.class == Class::Info) else { return false };
            if self.end(missing.partition).is_none() || self.place(missing).is_some() {
                return false;
            }
            let own: Vec<&Send> = sends
                .iter()
                .filter(|send| send.partition == missing.partition)
                .filter(|send| send.session.map(|(session, _)| session) == Some(session))
                .collect();
            let earlier = own.iter().filter(|send| send.order < missing.order);
            let least = earlier.filter_map(|send| self.place(send)).max().map_or(Offset::ZERO, |last| last.plus(1));
            // The next of the session that has a place tells; one that does not stand in the end tells nothing.
            let mut later: Vec<&&Send> =
                own.iter().filter(|send| send.order > missing.order && self.place(send).is_some()).collect();
            later.sort_by_key(|send| send.order);
            let tells = later.first().is_some_and(|next| !self.places(next, true).is_empty());
            tells && least >= self.gone_below(missing.partition, None)
        })
    }

    /// An offset that was known to be committed: when, and by whom.
    fn known(&self, partition: PartitionId) -> Vec<(Instant, Option<crate::model::LeaderEpoch>, Offset)> {
        let mut known = Vec::new();
        for send in self.history.sends.iter().filter(|send| send.partition == partition && send.class == Class::Ok) {
            if let (Some(at), Some(offset)) = (send.returned, send.offset) {
                known.push((at, send.answered_by.map(|(_, epoch)| epoch), offset));
            }
        }
        for poll in self.history.polls.iter().filter(|poll| poll.partition == partition) {
            for seen in brought(poll) {
                known.push((poll.returned, Some(poll.leader_epoch), seen.offset));
            }
        }
        known
    }

    fn a8(&self) -> bool {
        let late = |send: &Send| {
            let mut places = self.places(send, false);
            places.extend(send.offset.filter(|_| send.class == Class::Ok));
            let known = self.known(send.partition);
            known.iter().any(|(at, _, offset)| *at < send.invoked && places.iter().any(|place| place <= offset))
        };
        !self.lossy() && self.history.sends.iter().any(late)
    }

    fn a9(&self) -> bool {
        let in_dumps = self.history.replicas.iter().any(|dump| {
            let parted = dump.batches.windows(2).any(|pair| pair[1].base != pair[0].last.plus(1));
            let begins_late = dump.batches.first().is_some_and(|first| first.base > dump.log_start);
            let ends_elsewhere = match dump.batches.last() {
                Some(last) => last.last.plus(1) != dump.end,
                None => dump.log_start != dump.end,
            };
            parted || begins_late || ends_elsewhere
        });
        let misses = |offsets: &[Offset], start: Offset, end: Offset| {
            let last = offsets.iter().map(|offset| offset.plus(1)).chain([end]).max().unwrap_or(end);
            (start.get()..last.get()).any(|offset| !offsets.contains(&Offset::new(offset)))
        };
        // A hole ends where a later record, or the end, stands; what comes out of order fills what is before it.
        let in_scans = self.history.scans.iter().enumerate().any(|(at, scan)| {
            let is_first = self.history.scans.iter().position(|own| own.partition == scan.partition) == Some(at);
            let offsets: Vec<Offset> = scan.records.iter().map(|seen| seen.offset).collect();
            is_first && misses(&offsets, scan.log_start, scan.end)
        });
        let in_polls = self.history.polls.iter().any(|poll| {
            let Some(next) = next_of(poll) else { return false };
            let start = poll.position.max(self.gone_below(poll.partition, Some(poll.returned)));
            let offsets: Vec<Offset> = brought(poll).iter().map(|seen| seen.offset).collect();
            let mut passed = start;
            offsets.iter().copied().chain([next]).any(|offset| {
                let hole = passed < offset;
                passed = passed.max(offset.plus(1));
                hole
            })
        });
        in_dumps || in_scans || in_polls
    }

    fn b1(&self) -> bool {
        self.history.polls.iter().any(|poll| {
            let offsets: Vec<Offset> = brought(poll).iter().map(|seen| seen.offset).collect();
            let falls = (1..offsets.len()).any(|at| offsets[at] <= offsets[at - 1]);
            falls || offsets.first().is_some_and(|first| *first < poll.position)
        })
    }

    /// Polls of one incarnation on one partition, the earlier first.
    fn pairs(&self) -> Vec<(&'h Poll, &'h Poll)> {
        let polls = &self.history.polls;
        let mut pairs = Vec::new();
        for (at, later) in polls.iter().enumerate() {
            for earlier in &polls[..at] {
                let same = (earlier.client, earlier.incarnation) == (later.client, later.incarnation);
                if same && earlier.partition == later.partition {
                    pairs.push((earlier, later));
                }
            }
        }
        pairs
    }

    fn b2(&self) -> bool {
        self.pairs().into_iter().any(|(earlier, later)| {
            brought(earlier).iter().any(|a| brought(later).iter().any(|b| b.offset <= a.offset))
        })
    }

    fn b3(&self) -> bool {
        let skips = |partition: PartitionId, from: Offset, to: Offset| {
            let scan = self.end(partition);
            scan.is_some_and(|scan| scan.records.iter().any(|seen| from <= seen.offset && seen.offset < to))
        };
        let within = self.history.polls.iter().any(|poll| {
            let Some(next) = next_of(poll) else { return false };
            let mut from = poll.position;
            brought(poll).iter().map(|seen| seen.offset).chain([next]).any(|offset| {
                let skipped = skips(poll.partition, from, offset);
                from = from.max(offset.plus(1));
                skipped
            })
        });
        let answered: Vec<(&Poll, &Poll)> =
            self.pairs().into_iter().filter(|(a, b)| next_of(a).is_some() && next_of(b).is_some()).collect();
        let between = answered.iter().any(|(earlier, later)| {
            // Only the last before it.
            let is_last = !answered.iter().any(|(other, of)| {
                std::ptr::eq(*of, *later)
                    && answered.iter().any(|(x, y)| std::ptr::eq(*x, *earlier) && std::ptr::eq(*y, *other))
            });
            let from = next_of(earlier).unwrap_or(Offset::ZERO);
            is_last && skips(later.partition, from, later.position)
        });
        within || between
    }

    fn b5(&self) -> bool {
        let behind = |lookup: &crate::verify::history::OffsetLookup| {
            let Some(answer) = lookup.answer.filter(|_| lookup.query == OffsetQuery::Latest) else { return false };
            self.known(lookup.partition).iter().any(|(at, epoch, offset)| {
                *at < lookup.invoked && epoch.is_some_and(|epoch| epoch <= lookup.leader_epoch) && answer <= *offset
            })
        };
        !self.lossy() && self.history.offset_lookups.iter().any(behind)
    }

    fn b9(&self) -> bool {
        let lost = |(partition, seen, poll): &Sighting<'_>| {
            let Some(scan) = self.end(*partition).filter(|_| poll.is_some()) else { return false };
            let there = self.in_the_end(scan, seen.offset);
            let stays = there.iter().any(|own| seen.value.is_none() || own.value == seen.value);
            seen.offset >= self.gone_below(*partition, None) && !stays
        };
        !self.lossy() && self.sightings().iter().any(lost)
    }
}
