//! What a refusal of the domain is called on the wire: each once (style rule 22).
//!
//! Invariant: no wildcard arm, so that a new refusal has no code until somebody chose one.

use crate::broker::{NoController, SessionError};
use crate::machines::controller::{ConfigRefusal, ConfigTarget, DeleteRefusal, GrowRefusal, TopicRefusal};
use crate::machines::group;
use crate::partition::{AppendRefusal, ListRefusal, ReadRefusal};
use crate::protocol::ErrorCode;
use crate::records::Refusal;

/// A batch that is not taken.
pub(super) fn of_batch(refusal: &Refusal) -> ErrorCode {
    match refusal {
        // Kafka knows the formats before v2 and refuses them; of a later one it cannot tell what it is.
        Refusal::Magic { magic } if *magic > 2 => ErrorCode::CorruptMessage,
        Refusal::NoBatch { .. }
        | Refusal::Magic { .. }
        | Refusal::SeveralBatches { .. }
        | Refusal::BaseOffset { .. }
        | Refusal::Count { .. }
        | Refusal::Control
        | Refusal::Attributes { .. }
        | Refusal::Producer { .. }
        | Refusal::Records { .. } => ErrorCode::InvalidRecord,
        Refusal::UnsupportedCompression { .. } => ErrorCode::UnsupportedCompressionType,
        Refusal::TooLarge { .. } | Refusal::DecompressedTooLarge { .. } | Refusal::RecodedTooLarge { .. } => {
            ErrorCode::MessageTooLarge
        }
        Refusal::HeaderLength { .. } | Refusal::Crc { .. } | Refusal::Compressed { .. } => ErrorCode::CorruptMessage,
        Refusal::LogAppendTime | Refusal::Timestamps { .. } => ErrorCode::InvalidTimestamp,
        Refusal::SegmentTooSmall { .. } => ErrorCode::RecordListTooLarge,
    }
}

/// A produce that failed.
pub(super) fn of_append(refusal: &AppendRefusal) -> ErrorCode {
    match refusal {
        AppendRefusal::NotLeader => ErrorCode::NotLeaderOrFollower,
        AppendRefusal::FencedEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        AppendRefusal::UnknownEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        // Busy: nothing was written and every client tries again, which is what this code tells it.
        AppendRefusal::NotEnoughReplicas { .. } | AppendRefusal::Busy => ErrorCode::NotEnoughReplicas,
        AppendRefusal::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
        AppendRefusal::TimedOut => ErrorCode::RequestTimedOut,
        AppendRefusal::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendRefusal::ProducerFenced { .. } => ErrorCode::InvalidProducerEpoch,
        AppendRefusal::TransactionState { .. } => ErrorCode::InvalidTxnState,
        AppendRefusal::Marker => ErrorCode::TransactionCoordinatorFenced,
        AppendRefusal::TooLarge => ErrorCode::RecordListTooLarge,
        AppendRefusal::Offline => ErrorCode::KafkaStorageError,
    }
}

/// A fetch that is refused. The image lists the partition, or it would not have come this far: if it is not here, it
/// is somewhere else.
pub(super) fn of_read(refusal: &ReadRefusal) -> ErrorCode {
    match refusal {
        ReadRefusal::UnknownPartition | ReadRefusal::NotLeader => ErrorCode::NotLeaderOrFollower,
        ReadRefusal::FencedEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        ReadRefusal::UnknownEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        ReadRefusal::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadRefusal::Offline => ErrorCode::KafkaStorageError,
        ReadRefusal::Damaged | ReadRefusal::Contradicted => ErrorCode::CorruptMessage,
    }
}

/// ListOffsets or OffsetForLeaderEpoch refused; as for a fetch.
pub(super) fn of_list(refusal: &ListRefusal) -> ErrorCode {
    match refusal {
        ListRefusal::UnknownPartition | ListRefusal::NotLeader => ErrorCode::NotLeaderOrFollower,
        ListRefusal::FencedEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        ListRefusal::UnknownEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        ListRefusal::NotAvailable => ErrorCode::OffsetNotAvailable,
        ListRefusal::Offline => ErrorCode::KafkaStorageError,
    }
}

/// A topic that is not made.
pub(super) fn of_creation(refusal: &TopicRefusal) -> ErrorCode {
    match refusal {
        TopicRefusal::Name(_) | TopicRefusal::Collides { .. } => ErrorCode::InvalidTopicException,
        TopicRefusal::Twice | TopicRefusal::AssignedAndCounted => ErrorCode::InvalidRequest,
        TopicRefusal::AlreadyExists { .. } => ErrorCode::TopicAlreadyExists,
        TopicRefusal::Config(_) => ErrorCode::InvalidConfig,
        TopicRefusal::Partitions { .. } => ErrorCode::InvalidPartitions,
        TopicRefusal::Replicas { .. } | TopicRefusal::TooFewBrokers { .. } => ErrorCode::InvalidReplicationFactor,
        // Retriable for every client, unlike INVALID_REPLICATION_FACTOR (rule S4).
        TopicRefusal::WaitingForBrokers { .. } | TopicRefusal::NobodyActive => ErrorCode::LeaderNotAvailable,
        TopicRefusal::Assignment { .. } => ErrorCode::InvalidReplicaAssignment,
        TopicRefusal::TooManyPartitions { .. } | TopicRefusal::TooLarge { .. } => ErrorCode::PolicyViolation,
    }
}

/// A topic that does not grow.
pub(super) fn of_growth(refusal: &GrowRefusal) -> ErrorCode {
    match refusal {
        GrowRefusal::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
        GrowRefusal::Twice => ErrorCode::InvalidRequest,
        GrowRefusal::NotMore { .. } | GrowRefusal::KeepsGroups => ErrorCode::InvalidPartitions,
        GrowRefusal::AssignmentCount { .. } => ErrorCode::InvalidReplicaAssignment,
        GrowRefusal::Topic(refusal) => of_creation(refusal),
    }
}

/// Configurations that are not altered. What is wrong with one of a broker's is called otherwise than of a topic's, as in
/// Kafka (KAFKA-13609).
pub(super) fn of_alteration(target: &ConfigTarget, refusal: &ConfigRefusal) -> ErrorCode {
    match (refusal, target) {
        (ConfigRefusal::UnknownTopic, _) => ErrorCode::UnknownTopicOrPartition,
        (ConfigRefusal::Config(_), ConfigTarget::Topic(_) | ConfigTarget::Group(_)) => ErrorCode::InvalidConfig,
        (ConfigRefusal::Config(_), ConfigTarget::Cluster | ConfigTarget::Broker(_))
        | (ConfigRefusal::Twice | ConfigRefusal::NotDynamic { .. } | ConfigRefusal::NotPerBroker { .. }, _) => {
            ErrorCode::InvalidRequest
        }
        (ConfigRefusal::NotAList { .. } | ConfigRefusal::MinIsrStays, _) => ErrorCode::InvalidConfig,
        (ConfigRefusal::TooLarge, _) => ErrorCode::PolicyViolation,
    }
}

/// A topic that is not deleted.
pub(super) fn of_deletion(refusal: DeleteRefusal) -> ErrorCode {
    match refusal {
        DeleteRefusal::UnknownName => ErrorCode::UnknownTopicOrPartition,
        DeleteRefusal::UnknownId => ErrorCode::UnknownTopicId,
        DeleteRefusal::Twice | DeleteRefusal::ByNameAndId(_) => ErrorCode::InvalidRequest,
    }
}

/// What is told of a refusal: of a group that is not there in the words that tools show to people.
pub(super) fn told(refusal: &group::Refusal, group: &str) -> String {
    if *refusal == group::Refusal::GroupNotFound { format!("Group {group} not found.") } else { refusal.to_string() }
}

/// A request about a group.
pub(super) fn of_group(refusal: &group::Refusal) -> ErrorCode {
    match refusal {
        group::Refusal::NotCoordinator => ErrorCode::NotCoordinator,
        group::Refusal::Loading => ErrorCode::CoordinatorLoadInProgress,
        group::Refusal::Unavailable => ErrorCode::CoordinatorNotAvailable,
        group::Refusal::GroupId => ErrorCode::InvalidGroupId,
        group::Refusal::UnknownMember => ErrorCode::UnknownMemberId,
        group::Refusal::Generation => ErrorCode::IllegalGeneration,
        group::Refusal::Rebalancing => ErrorCode::RebalanceInProgress,
        group::Refusal::FencedInstance => ErrorCode::FencedInstanceId,
        group::Refusal::Protocol => ErrorCode::InconsistentGroupProtocol,
        group::Refusal::MemberIdRequired(_) => ErrorCode::MemberIdRequired,
        group::Refusal::GroupFull => ErrorCode::GroupMaxSizeReached,
        // What Kafka's coordinator says when its log does not take a record.
        group::Refusal::TooLarge => ErrorCode::UnknownServerError,
        group::Refusal::SessionTimeout => ErrorCode::InvalidSessionTimeout,
        group::Refusal::GroupNotFound => ErrorCode::GroupIdNotFound,
        group::Refusal::NonEmpty => ErrorCode::NonEmptyGroup,
        group::Refusal::SubscribedToTopic => ErrorCode::GroupSubscribedToTopic,
        group::Refusal::FencedEpoch => ErrorCode::FencedMemberEpoch,
        group::Refusal::StaleEpoch => ErrorCode::StaleMemberEpoch,
        group::Refusal::UnreleasedInstance => ErrorCode::UnreleasedInstanceId,
        group::Refusal::Assignor => ErrorCode::UnsupportedAssignor,
        group::Refusal::Regex => ErrorCode::InvalidRegularExpression,
        group::Refusal::TopicGone => ErrorCode::UnknownTopicOrPartition,
        group::Refusal::Version => ErrorCode::UnsupportedVersion,
        group::Refusal::MetadataTooLarge => ErrorCode::OffsetMetadataTooLarge,
    }
}

/// A fetch session that cannot go on.
pub(super) fn of_session(error: SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::Epoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicNaming => ErrorCode::FetchSessionTopicIdError,
    }
}

/// A change that no controller answered.
pub(super) fn of_no_controller(_: NoController) -> ErrorCode {
    ErrorCode::RequestTimedOut
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{InvalidConfig, LeaderEpoch};

    #[test]
    fn what_time_mends_is_retriable_and_what_it_does_not_is_not() {
        assert!(of_append(&AppendRefusal::NotLeader).is_retriable());
        assert!(of_append(&AppendRefusal::Busy).is_retriable());
        assert!(of_append(&AppendRefusal::TimedOut).is_retriable());
        assert!(of_creation(&TopicRefusal::NobodyActive).is_retriable());
        assert!(of_list(&ListRefusal::NotAvailable).is_retriable());
        assert!(of_no_controller(NoController).is_retriable());
        assert!(!of_append(&AppendRefusal::TooLarge).is_retriable());
        assert!(!of_creation(&TopicRefusal::Replicas { replication_factor: 0 }).is_retriable());
    }

    #[test]
    fn a_bad_value_is_called_by_what_it_is_of() {
        let missing = ConfigRefusal::Config(InvalidConfig::Missing { name: "retention.ms".to_owned() });
        let of = |target| of_alteration(&target, &missing);
        assert_eq!(of(ConfigTarget::Topic("t".to_owned())), ErrorCode::InvalidConfig);
        assert_eq!(of(ConfigTarget::Cluster), ErrorCode::InvalidRequest);
        let stays = of_alteration(&ConfigTarget::Cluster, &ConfigRefusal::MinIsrStays);
        assert_eq!(stays, ErrorCode::InvalidConfig);
    }

    #[test]
    fn a_partition_that_the_image_lists_but_this_broker_lacks_is_somewhere_else() {
        assert_eq!(of_read(&ReadRefusal::UnknownPartition), ErrorCode::NotLeaderOrFollower);
        assert_eq!(of_list(&ListRefusal::UnknownPartition), ErrorCode::NotLeaderOrFollower);
        let fenced = ReadRefusal::FencedEpoch { current: LeaderEpoch::new(2) };
        assert_eq!(of_read(&fenced), ErrorCode::FencedLeaderEpoch);
    }
}
