//! The bytes of what is stored and sent, frozen: an openraft upgrade that changes them must be noticed here, not by a
//! cluster of two versions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

use openraft::raft::AppendEntriesRequest;
use openraft::{CommittedLeaderId, EntryPayload};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::world::proposal;
use crate::model::{DirectoryId, LogIndex};
use crate::quorum::envelope::{self, Kind};
use crate::quorum::types::{LogId, Member, Payload, Raft, RaftEntry, Vote};

fn check<T: Serialize + DeserializeOwned + Debug>(kind: Kind, value: &T, expected: &str) {
    let bytes = envelope::encode(kind, value).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected.replace([' ', '\n'], ""), "{value:?}");
    let back: T = envelope::decode(kind, &bytes).unwrap();
    assert_eq!(envelope::encode(kind, &back).unwrap(), bytes);
}

fn log_id(term: u64, node: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(term, node), index)
}

fn entry() -> RaftEntry {
    let proposal = proposal(LogIndex::new(6), "f");
    RaftEntry { log_id: log_id(3, 2, 7), payload: EntryPayload::Normal(Payload(Arc::new(proposal))) }
}

#[test]
fn a_vote_has_the_bytes_it_always_had() {
    let vote = Vote::new_committed(5, 2);
    check(Kind::Vote, &vote, "a700020001 00000011 0500000000000000 0200000000000000 01 cc4088aa");
}

#[test]
fn entries_have_the_bytes_they_always_had() {
    check(
        Kind::Entry,
        &entry(),
        "a700010001 00000043 0300000000000000 0200000000000000 0700000000000000 01000000
         0000000000000000 0600000000000000 0100000000000000 01000000 0100000000000000 66 0100 21c5f8f9",
    );
    let blank = RaftEntry { log_id: log_id(1, 1, 1), payload: EntryPayload::Blank };
    check(
        Kind::Entry,
        &blank,
        "a700010001 0000001c 0100000000000000 0100000000000000 0100000000000000 00000000 e86652b4",
    );
    let member = Member { directory: DirectoryId::new([9; 16]), address: "a:1".to_owned() };
    let members = BTreeMap::from([(1, member)]);
    let membership = openraft::Membership::new(vec![BTreeSet::from([1])], members);
    let membership = RaftEntry { log_id: log_id(0, 0, 0), payload: EntryPayload::Membership(membership) };
    check(
        Kind::Entry,
        &membership,
        "a700010001 0000005f 0000000000000000 0000000000000000 0000000000000000 02000000
         0100000000000000 0100000000000000 0100000000000000
         0100000000000000 0100000000000000 09090909090909090909090909090909 0300000000000000 613a31 c5bd2648",
    );
}

#[test]
fn an_append_request_has_the_bytes_it_always_had() {
    let request = AppendEntriesRequest::<Raft> {
        vote: Vote::new_committed(3, 2),
        prev_log_id: Some(log_id(2, 1, 6)),
        entries: vec![entry()],
        leader_commit: None,
    };
    check(
        Kind::Request,
        &request,
        "a700080001 00000076 0300000000000000 0200000000000000 01
         01 0200000000000000 0100000000000000 0600000000000000 0100000000000000
         0300000000000000 0200000000000000 0700000000000000 01000000
         0000000000000000 0600000000000000 0100000000000000 01000000 0100000000000000 66 0100 00 d4ebe965",
    );
}
