//! What sessions promise (KIP-227).

use super::*;

fn partition(index: i32) -> SessionPartition {
    SessionPartition { topic: SessionTopic::Id(TopicId::new([7; 16])), index }
}

fn fetch(index: i32, offset: i64) -> SessionFetch {
    SessionFetch {
        partition: partition(index),
        offset: Offset::new(offset),
        leader_epoch: None,
        last_fetched_epoch: None,
        last_crc: None,
        bytes_max: 1 << 20,
    }
}

fn request(id: i32, epoch: i32, indexes: &[i32]) -> SessionRequest {
    let fetches = indexes.iter().map(|index| fetch(*index, 0)).collect();
    SessionRequest { id, epoch, by_id: true, is_follower: false, fetches, forgotten: Vec::new() }
}

fn told(high_watermark: i64) -> Told {
    let high_watermark = Offset::new(high_watermark);
    Told { high_watermark, log_start: Offset::ZERO, has_records: false, is_urgent: false, is_error: false }
}

fn at(seconds: u64) -> Instant {
    Instant::ZERO.plus(Duration::from_secs(seconds))
}

fn begin(sessions: &FetchSessions, request: SessionRequest, now: Instant, random: u64) -> i32 {
    let open = sessions.open(request, now).expect("a full fetch needs no session");
    let all = vec![told(0); open.reads.len()];
    sessions.close(open, &all, now, random).id
}

fn indexes(open: &OpenFetch) -> Vec<i32> {
    open.reads.iter().map(|read| read.partition.index).collect()
}

#[test]
fn a_session_tells_only_what_has_changed() {
    let sessions = FetchSessions::new(10);
    let id = begin(&sessions, request(0, 0, &[0, 1, 2]), at(0), 4);
    assert_eq!(id, 5);
    let open = sessions.open(request(id, 1, &[]), at(1)).unwrap();
    assert_eq!(indexes(&open), [0, 1, 2]);
    let closed = sessions.close(open, &[told(0), told(3), told(0)], at(1), 0);
    assert_eq!((closed.id, closed.is_told), (id, vec![false, true, false]));
    let open = sessions.open(request(id, 2, &[]), at(1)).unwrap();
    assert_eq!(sessions.close(open, &[told(0), told(3), told(0)], at(1), 0).is_told, [false; 3]);
}

#[test]
fn what_was_served_goes_behind_what_was_not() {
    let sessions = FetchSessions::new(10);
    let id = begin(&sessions, request(0, 0, &[0, 1, 2]), at(0), 4);
    let open = sessions.open(request(id, 1, &[]), at(1)).unwrap();
    let served = Told { has_records: true, ..told(0) };
    assert_eq!(sessions.close(open, &[served, told(0), told(0)], at(1), 0).is_told, [true, false, false]);
    assert_eq!(indexes(&sessions.open(request(id, 2, &[]), at(1)).unwrap()), [1, 2, 0]);
}

#[test]
fn after_an_error_a_partition_is_told_again() {
    let sessions = FetchSessions::new(10);
    let id = begin(&sessions, request(0, 0, &[0]), at(0), 4);
    let error = Told { high_watermark: Offset::new(-1), log_start: Offset::ZERO, is_error: true, ..told(0) };
    for (epoch, answer, is_told) in [(1, error, true), (2, error, true), (3, told(0), true), (4, told(0), false)] {
        let open = sessions.open(request(id, epoch, &[]), at(1)).unwrap();
        assert_eq!(sessions.close(open, &[answer], at(1), 0).is_told, [is_told], "epoch {epoch}");
    }
}

#[test]
fn requests_change_and_forget_partitions() {
    let sessions = FetchSessions::new(10);
    let id = begin(&sessions, request(0, 0, &[0, 1]), at(0), 4);
    let mut change = request(id, 1, &[]);
    change.fetches = vec![fetch(1, 50), fetch(2, 0)];
    change.forgotten = vec![partition(0), partition(9)];
    let open = sessions.open(change, at(1)).unwrap();
    assert_eq!(open.reads, [fetch(1, 50), fetch(2, 0)]);
    drop(open);
    let mut last = request(id, 2, &[]);
    last.forgotten = vec![partition(1), partition(2)];
    let open = sessions.open(last, at(1)).unwrap();
    assert!(open.reads.is_empty());
    assert_eq!(sessions.close(open, &[], at(1), 0).id, 0);
    assert_eq!(sessions.open(request(id, 3, &[]), at(1)).unwrap_err(), SessionError::NotFound);
}

#[test]
fn a_request_that_does_not_fit_is_refused() {
    let sessions = FetchSessions::new(10);
    let id = begin(&sessions, request(0, 0, &[0]), at(0), 4);
    assert_eq!(sessions.open(request(id + 1, 1, &[]), at(1)).unwrap_err(), SessionError::NotFound);
    assert_eq!(sessions.open(request(id, 2, &[]), at(1)).unwrap_err(), SessionError::Epoch);
    let by_name = SessionRequest { by_id: false, ..request(id, 1, &[]) };
    assert_eq!(sessions.open(by_name, at(1)).unwrap_err(), SessionError::TopicNaming);
    assert!(sessions.open(request(id, 1, &[]), at(1)).is_ok());
}

#[test]
fn a_final_request_closes_its_session_and_a_first_one_replaces_it() {
    let sessions = FetchSessions::new(10);
    let id = begin(&sessions, request(0, 0, &[0]), at(0), 4);
    let other = begin(&sessions, request(id, 0, &[0]), at(0), 40);
    assert_eq!(sessions.open(request(id, 1, &[]), at(1)).unwrap_err(), SessionError::NotFound);
    let open = sessions.open(request(other, -1, &[0]), at(1)).unwrap();
    let closed = sessions.close(open, &[told(0)], at(1), 0);
    assert_eq!((closed.id, closed.is_told), (0, vec![true]));
    assert_eq!(sessions.open(request(other, 1, &[]), at(1)).unwrap_err(), SessionError::NotFound);
}

#[test]
fn a_partition_named_twice_is_read_once() {
    let sessions = FetchSessions::new(10);
    let mut twice = request(0, -1, &[0, 1]);
    twice.fetches.push(fetch(0, 9));
    assert_eq!(sessions.open(twice, at(0)).unwrap().reads, [fetch(0, 9), fetch(1, 0)]);
}

#[test]
fn an_epoch_wraps_to_one() {
    let mut session = Session::new(true, &[fetch(0, 0)], &[told(0)]);
    for epoch in [1, 2] {
        assert_eq!(session.advance(epoch, true), Ok(()));
    }
    let mut last = Session::new(true, &[], &[]);
    last.set_epoch(i32::MAX);
    assert_eq!(last.advance(i32::MAX, true), Ok(()));
    assert_eq!(last.advance(1, true), Ok(()));
}

#[test]
fn a_full_table_keeps_the_worthier_sessions() {
    let sessions = FetchSessions::new(2);
    let large = begin(&sessions, request(0, 0, &[0, 1]), at(0), 1);
    let small = begin(&sessions, request(0, 0, &[0]), at(0), 2);
    // Young sessions of clients stay, whoever of their kind comes.
    assert_eq!(begin(&sessions, request(0, 0, &[0, 1, 2]), at(10), 3), 0);
    // A follower displaces the smallest of them.
    let follower = SessionRequest { is_follower: true, ..request(0, 0, &[0]) };
    let follower = begin(&sessions, follower, at(10), 4);
    assert_ne!(follower, 0);
    assert_eq!(sessions.open(request(small, 1, &[]), at(11)).unwrap_err(), SessionError::NotFound);
    // Used lately but old, a smaller one is displaced; the follower is not.
    for (id, epoch) in [(large, 1), (follower, 1)] {
        assert!(sessions.open(request(id, epoch, &[]), at(125)).is_ok());
    }
    assert_eq!(begin(&sessions, request(0, 0, &[0, 1]), at(126), 5), 0);
    assert_ne!(begin(&sessions, request(0, 0, &[0, 1, 2]), at(126), 6), 0);
    assert_eq!(sessions.open(request(large, 2, &[]), at(126)).unwrap_err(), SessionError::NotFound);
    assert!(sessions.open(request(follower, 2, &[]), at(126)).is_ok());
}

#[test]
fn an_idle_session_makes_room_for_anybody() {
    let sessions = FetchSessions::new(1);
    let idle = begin(&sessions, request(0, 0, &[0, 1]), at(0), 1);
    assert_eq!(begin(&sessions, request(0, 0, &[0]), at(120), 2), 0);
    assert_ne!(begin(&sessions, request(0, 0, &[0]), at(121), 2), 0);
    assert_eq!(sessions.open(request(idle, 1, &[]), at(121)).unwrap_err(), SessionError::NotFound);
}

#[test]
fn an_id_in_use_is_not_given_again() {
    let sessions = FetchSessions::new(10);
    let last = u64::from(i32::MAX.unsigned_abs()) - 1;
    assert_eq!(begin(&sessions, request(0, 0, &[0]), at(0), last), i32::MAX);
    assert_eq!(begin(&sessions, request(0, 0, &[0]), at(0), last), 1);
}

#[test]
fn the_sessions_of_clients_hold_a_bounded_number_of_partitions_together() {
    let sessions = FetchSessions::bounded(10, 5);
    let first = begin(&sessions, request(0, 0, &[0, 1, 2]), at(0), 1);
    assert_ne!(first, 0);
    assert_eq!(begin(&sessions, request(0, 0, &[0, 1, 2]), at(0), 2), 0, "it would be one too many");
    let follower = SessionRequest { is_follower: true, ..request(0, 0, &[0, 1, 2]) };
    assert_ne!(begin(&sessions, follower, at(0), 3), 0, "followers are bounded by their replicas");
    let grown = sessions.open(request(first, 1, &[3, 4, 5]), at(0));
    assert_eq!(grown.err(), Some(SessionError::NotFound));
    assert_ne!(begin(&sessions, request(0, 0, &[0, 1, 2]), at(0), 4), 0, "the one that grew has made room");
}

#[test]
fn sessions_of_clients_that_are_gone_make_room_for_new_ones() {
    let sessions = FetchSessions::bounded(10, 5);
    assert_ne!(begin(&sessions, request(0, 0, &[0, 1, 2, 3, 4]), at(0), 1), 0);
    assert_eq!(begin(&sessions, request(0, 0, &[0]), at(1), 2), 0);
    assert_ne!(begin(&sessions, request(0, 0, &[0]), at(3600), 3), 0);
}

#[test]
fn no_session_holds_what_can_be_no_topic() {
    let sessions = FetchSessions::new(10);
    let named = |length: usize| {
        let topic = SessionTopic::Name(Arc::from("x".repeat(length)));
        SessionFetch { partition: SessionPartition { topic, index: 0 }, ..fetch(0, 0) }
    };
    let first = |length| SessionRequest { by_id: false, fetches: vec![named(length)], ..request(0, 0, &[]) };
    assert_eq!(begin(&sessions, first(250), at(0), 1), 0);
    let id = begin(&sessions, first(249), at(0), 1);
    let more = SessionRequest { by_id: false, fetches: vec![named(250)], ..request(id, 1, &[]) };
    assert_eq!(sessions.open(more, at(0)).err(), Some(SessionError::NotFound));
    assert_eq!(sessions.open(request(id, 1, &[]), at(0)).err(), Some(SessionError::NotFound));
}

#[test]
fn a_session_answers_one_request_at_a_time() {
    let sessions = FetchSessions::new(10);
    let id = begin(&sessions, request(0, 0, &[0]), at(0), 4);
    let open = sessions.open(request(id, 1, &[]), at(0)).unwrap();
    assert_eq!(sessions.open(request(id, 2, &[]), at(0)).err(), Some(SessionError::Epoch));
    sessions.close(open, &[told(0)], at(0), 0);
    // Nor does one that was given up stand in the way.
    drop(sessions.open(request(id, 2, &[]), at(0)).unwrap());
    assert!(sessions.open(request(id, 3, &[]), at(0)).is_ok());
}

#[test]
fn a_session_that_does_not_fit_displaces_nobody() {
    let sessions = FetchSessions::bounded(100, 10);
    let large = begin(&sessions, request(0, 0, &[0, 1, 2, 3, 4, 5, 6]), at(0), 1);
    let small: Vec<i32> = (0..3).map(|index| begin(&sessions, request(0, 0, &[index]), at(0), 100)).collect();
    for id in small.iter().chain([&large]) {
        sessions.open(request(*id, 1, &[]), at(130)).unwrap();
    }
    assert_eq!(begin(&sessions, request(0, 0, &[0, 1, 2, 3, 4]), at(131), 7), 0);
    assert!(small.iter().all(|id| sessions.open(request(*id, 2, &[]), at(132)).is_ok()));
}
