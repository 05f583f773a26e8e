//! A member of KIP-848: it says in heartbeats what it has, is told what it may have, and gives back what it has to before it
//! takes what is new.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Member, Process, Step, committed, topic};
use crate::machines::group::{Beat, Call, Client, Refusal, Reply, Told};
use crate::model::{GroupEpoch, PartitionId};
use crate::verify::history::{MemberAnswer, MemberRequest};

impl Member {
    /// Its next request.
    pub(super) fn act_consumer(&mut self, is_over: bool) -> (Call, MemberRequest) {
        if self.process().step == Step::Join {
            return self.beat(GroupEpoch::NONE.get());
        }
        if let Some(fetch) = self.fetch() {
            return fetch;
        }
        if !is_over
            && self.chance.one_in(3)
            && let Some(commit) = self.commit()
        {
            return commit;
        }
        // It takes a while to let go of what it reads.
        if self.chance.one_in(3) {
            let process = self.process();
            let leaving = std::mem::take(&mut process.leaving);
            process.owned.retain(|id, _| !leaving.contains(id));
        }
        let epoch = self.process().generation;
        self.beat(epoch)
    }

    /// It leaves, for a while or for good if it is static.
    pub(super) fn leave_consumer(&mut self) -> (Call, MemberRequest) {
        let is_away = self.instance.is_some() && !self.chance.one_in(3);
        self.process().step = Step::Left;
        self.beat(if is_away { GroupEpoch::AWAY.get() } else { GroupEpoch::LEAVING.get() })
    }

    fn beat(&mut self, epoch: i32) -> (Call, MemberRequest) {
        let (group, instance, rebalance_timeout_ms) =
            (self.group.clone(), self.instance.clone(), self.rebalance_timeout_ms);
        let is_chatty = self.chance.one_in(2);
        let process = self.process();
        let is_full = process.is_full || epoch == GroupEpoch::NONE.get();
        let owned: BTreeSet<PartitionId> = process.owned.keys().copied().collect();
        let says = is_full || is_chatty;
        let topics = || BTreeSet::from([Arc::from(topic().as_str())]);
        let beat = Beat {
            group,
            member: process.member.clone(),
            epoch: GroupEpoch::new(epoch),
            instance,
            rack: None,
            client: Client::new("member", "/10.0.0.1"),
            rebalance_timeout_ms: is_full.then_some(rebalance_timeout_ms),
            topics: is_full.then(topics),
            regex: None,
            assignor: None,
            owned: says.then(|| owned.clone()),
        };
        let owned = says.then(|| owned.into_iter().collect());
        (Call::Beat(Box::new(beat)), MemberRequest::Beat { owned })
    }

    /// Takes an answer, and says what was told.
    pub(super) fn take_consumer(&mut self, reply: Reply) -> MemberAnswer {
        match reply {
            Reply::Beat(Ok(told)) => self.told(told),
            Reply::Beat(Err(refusal)) => self.let_go(&refusal),
            Reply::Fetch(Ok(offsets)) => self.take_positions(&offsets),
            Reply::Fetch(Err(refusal)) => self.let_go(&refusal),
            Reply::Commit(outcome) => match committed(outcome) {
                Ok(()) => MemberAnswer::Done,
                Err(refusal) => self.let_go(&refusal),
            },
            Reply::Join(_)
            | Reply::Sync(_)
            | Reply::Heartbeat(_)
            | Reply::Leave(_)
            | Reply::Forget(_)
            | Reply::Describe(_)
            | Reply::DescribeConsumers(_)
            | Reply::List(_)
            | Reply::Survey(_)
            | Reply::Delete(_) => unreachable!("no member asks for that"),
        }
    }

    fn told(&mut self, told: Told) -> MemberAnswer {
        let Told { epoch, assignment, .. } = told;
        let process = self.process();
        if process.step != Step::Left {
            (process.step, process.generation, process.is_full) = (Step::Live, epoch.get(), false);
            if let Some(given) = &assignment {
                process.leaving = process.owned.keys().filter(|id| !given.contains(*id)).copied().collect();
                let new: BTreeMap<PartitionId, _> =
                    given.iter().filter(|id| !process.owned.contains_key(id)).map(|id| (*id, None)).collect();
                process.owned.extend(new);
            }
        }
        let assignment = assignment.map(|given| given.into_iter().collect());
        MemberAnswer::Told { epoch: epoch.get(), assignment }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the others say the same in both protocols")]
    fn let_go(&mut self, refusal: &Refusal) -> MemberAnswer {
        match refusal {
            Refusal::UnknownMember | Refusal::FencedEpoch => {
                let member = self.process().member.clone();
                self.process = Some(Process::new(member));
            }
            // The next heartbeat tells.
            Refusal::StaleEpoch => self.process().is_full = true,
            _ => return self.refused(refusal),
        }
        MemberAnswer::Refused
    }
}
