//! The error codes of the Kafka protocol.
//!
//! `api` and `admin` map failures of the domain to these; nothing below them knows a code.
//!
//! Invariant: a code's number, name and meaning never change; the table only grows.

use std::fmt;

use crate::codec::{DecodeError, Form, Kind, Reader, Wire, Writer};

/// Declares the codes: variant, number, Kafka's name, whether a client may try again, what it means.
macro_rules! codes {
    ($($(#[$attribute:meta])? $variant:ident = $number:literal, $name:literal, $retry:ident, $message:literal;)*) => {
        /// What went wrong, as a client is told.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub enum ErrorCode {
            $(
                #[doc = $message]
                $(#[$attribute])?
                $variant = $number,
            )*
        }

        impl ErrorCode {
            /// Every code, by number.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its number on the wire.
            #[must_use]
            pub const fn number(self) -> i16 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            /// The code of a number.
            #[must_use]
            pub const fn from_number(number: i16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its name in Kafka's documents.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it means, in a few words.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self {
                    $(Self::$variant => $message,)*
                }
            }

            /// Whether Kafka's clients send the request again.
            #[must_use]
            pub const fn is_retriable(self) -> bool {
                match self {
                    $(Self::$variant => codes!(@$retry),)*
                }
            }
        }
    };
    (@retriable) => { true };
    (@fatal) => { false };
}

codes! {
    UnknownServerError = -1, "UNKNOWN_SERVER_ERROR", fatal, "the broker failed for a reason it has no code for";
    #[default]
    None = 0, "NONE", fatal, "no error";
    OffsetOutOfRange = 1, "OFFSET_OUT_OF_RANGE", fatal, "the offset is not within the partition's log";
    CorruptMessage = 2, "CORRUPT_MESSAGE", retriable,
        "a batch fails its checksum, is malformed, or lacks the key that a compacted topic needs";
    UnknownTopicOrPartition = 3, "UNKNOWN_TOPIC_OR_PARTITION", retriable,
        "this broker does not host the topic or partition";
    InvalidFetchSize = 4, "INVALID_FETCH_SIZE", fatal, "the fetch size is not valid";
    LeaderNotAvailable = 5, "LEADER_NOT_AVAILABLE", retriable,
        "an election is under way and the partition has no leader yet";
    NotLeaderOrFollower = 6, "NOT_LEADER_OR_FOLLOWER", retriable,
        "this broker does not lead the partition, or holds no replica of it";
    RequestTimedOut = 7, "REQUEST_TIMED_OUT", retriable, "the request was not completed in time";
    BrokerNotAvailable = 8, "BROKER_NOT_AVAILABLE", fatal, "the broker is not available";
    ReplicaNotAvailable = 9, "REPLICA_NOT_AVAILABLE", retriable,
        "the broker holds no available replica of the partition";
    MessageTooLarge = 10, "MESSAGE_TOO_LARGE", fatal, "a batch is larger than the topic takes";
    StaleControllerEpoch = 11, "STALE_CONTROLLER_EPOCH", fatal, "the controller has moved to a newer epoch";
    OffsetMetadataTooLarge = 12, "OFFSET_METADATA_TOO_LARGE", fatal, "the metadata of a committed offset is too long";
    NetworkException = 13, "NETWORK_EXCEPTION", retriable, "the connection to the broker was lost";
    CoordinatorLoadInProgress = 14, "COORDINATOR_LOAD_IN_PROGRESS", retriable,
        "the coordinator is still reading its log";
    CoordinatorNotAvailable = 15, "COORDINATOR_NOT_AVAILABLE", retriable, "no coordinator is available";
    NotCoordinator = 16, "NOT_COORDINATOR", retriable, "this broker is not the coordinator";
    InvalidTopicException = 17, "INVALID_TOPIC_EXCEPTION", fatal,
        "the topic's name is not allowed or the operation is not allowed on it";
    RecordListTooLarge = 18, "RECORD_LIST_TOO_LARGE", fatal, "the records are larger than one segment";
    NotEnoughReplicas = 19, "NOT_ENOUGH_REPLICAS", retriable, "fewer replicas are in sync than the topic's minimum";
    NotEnoughReplicasAfterAppend = 20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", retriable,
        "the records were written, but fewer replicas are in sync than the topic's minimum";
    InvalidRequiredAcks = 21, "INVALID_REQUIRED_ACKS", fatal, "acks must be -1, 0 or 1";
    IllegalGeneration = 22, "ILLEGAL_GENERATION", fatal, "the generation of the group is not the current one";
    InconsistentGroupProtocol = 23, "INCONSISTENT_GROUP_PROTOCOL", fatal,
        "the member supports no protocol that all others support";
    InvalidGroupId = 24, "INVALID_GROUP_ID", fatal, "the group id is not allowed";
    UnknownMemberId = 25, "UNKNOWN_MEMBER_ID", fatal, "the coordinator does not know the member";
    InvalidSessionTimeout = 26, "INVALID_SESSION_TIMEOUT", fatal, "the session timeout is outside the broker's bounds";
    RebalanceInProgress = 27, "REBALANCE_IN_PROGRESS", fatal, "the group is rebalancing";
    InvalidCommitOffsetSize = 28, "INVALID_COMMIT_OFFSET_SIZE", fatal, "the committed offsets do not fit into a record";
    TopicAuthorizationFailed = 29, "TOPIC_AUTHORIZATION_FAILED", fatal, "the principal may not use the topic";
    GroupAuthorizationFailed = 30, "GROUP_AUTHORIZATION_FAILED", fatal, "the principal may not use the group";
    ClusterAuthorizationFailed = 31, "CLUSTER_AUTHORIZATION_FAILED", fatal,
        "the principal may not do this to the cluster";
    InvalidTimestamp = 32, "INVALID_TIMESTAMP", fatal, "a record's timestamp is outside the topic's bounds";
    UnsupportedSaslMechanism = 33, "UNSUPPORTED_SASL_MECHANISM", fatal, "the broker does not offer this SASL mechanism";
    IllegalSaslState = 34, "ILLEGAL_SASL_STATE", fatal, "the request does not fit the state of the SASL exchange";
    UnsupportedVersion = 35, "UNSUPPORTED_VERSION", fatal, "the broker does not support this version of the request";
    TopicAlreadyExists = 36, "TOPIC_ALREADY_EXISTS", fatal, "a topic of this name exists";
    InvalidPartitions = 37, "INVALID_PARTITIONS", fatal, "the number of partitions is not valid";
    InvalidReplicationFactor = 38, "INVALID_REPLICATION_FACTOR", fatal,
        "the replication factor is below one or above the number of brokers";
    InvalidReplicaAssignment = 39, "INVALID_REPLICA_ASSIGNMENT", fatal, "the assignment of replicas is not valid";
    InvalidConfig = 40, "INVALID_CONFIG", fatal, "the configuration is not valid";
    NotController = 41, "NOT_CONTROLLER", retriable, "this node is not the active controller";
    InvalidRequest = 42, "INVALID_REQUEST", fatal, "the request is malformed or asks for what cannot be";
    UnsupportedForMessageFormat = 43, "UNSUPPORTED_FOR_MESSAGE_FORMAT", fatal,
        "the message format on the broker cannot answer the request";
    PolicyViolation = 44, "POLICY_VIOLATION", fatal, "a policy of the cluster refuses the request";
    OutOfOrderSequenceNumber = 45, "OUT_OF_ORDER_SEQUENCE_NUMBER", fatal,
        "a sequence number does not follow the producer's last one";
    DuplicateSequenceNumber = 46, "DUPLICATE_SEQUENCE_NUMBER", fatal,
        "the broker has already written a batch of this sequence number";
    InvalidProducerEpoch = 47, "INVALID_PRODUCER_EPOCH", fatal, "the producer's epoch is older than its current one";
    InvalidTxnState = 48, "INVALID_TXN_STATE", fatal, "the transaction's state does not allow this";
    InvalidProducerIdMapping = 49, "INVALID_PRODUCER_ID_MAPPING", fatal,
        "the producer id is not the one of this transactional id";
    InvalidTransactionTimeout = 50, "INVALID_TRANSACTION_TIMEOUT", fatal,
        "the transaction timeout is above the broker's maximum";
    ConcurrentTransactions = 51, "CONCURRENT_TRANSACTIONS", retriable, "the transaction is still being completed";
    TransactionCoordinatorFenced = 52, "TRANSACTION_COORDINATOR_FENCED", fatal,
        "a newer transaction coordinator exists";
    TransactionalIdAuthorizationFailed = 53, "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", fatal,
        "the principal may not use the transactional id";
    SecurityDisabled = 54, "SECURITY_DISABLED", fatal, "security is not enabled on the broker";
    OperationNotAttempted = 55, "OPERATION_NOT_ATTEMPTED", fatal,
        "the operation was not tried: another one of the request failed";
    KafkaStorageError = 56, "KAFKA_STORAGE_ERROR", retriable, "a disk of the broker failed";
    LogDirNotFound = 57, "LOG_DIR_NOT_FOUND", fatal, "the broker has no such log directory, or none that is usable";
    SaslAuthenticationFailed = 58, "SASL_AUTHENTICATION_FAILED", fatal, "authentication failed";
    UnknownProducerId = 59, "UNKNOWN_PRODUCER_ID", fatal, "the broker has no state of this producer id";
    ReassignmentInProgress = 60, "REASSIGNMENT_IN_PROGRESS", fatal, "the partition is already being reassigned";
    DelegationTokenAuthDisabled = 61, "DELEGATION_TOKEN_AUTH_DISABLED", fatal, "delegation tokens are not enabled";
    DelegationTokenNotFound = 62, "DELEGATION_TOKEN_NOT_FOUND", fatal, "the delegation token does not exist";
    DelegationTokenOwnerMismatch = 63, "DELEGATION_TOKEN_OWNER_MISMATCH", fatal,
        "the delegation token belongs to somebody else";
    DelegationTokenRequestNotAllowed = 64, "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", fatal,
        "delegation tokens cannot be requested on this connection";
    DelegationTokenAuthorizationFailed = 65, "DELEGATION_TOKEN_AUTHORIZATION_FAILED", fatal,
        "the principal may not use the delegation token";
    DelegationTokenExpired = 66, "DELEGATION_TOKEN_EXPIRED", fatal, "the delegation token has expired";
    InvalidPrincipalType = 67, "INVALID_PRINCIPAL_TYPE", fatal, "the principal's type is not supported";
    NonEmptyGroup = 68, "NON_EMPTY_GROUP", fatal, "the group still has members";
    GroupIdNotFound = 69, "GROUP_ID_NOT_FOUND", fatal, "the group does not exist";
    FetchSessionIdNotFound = 70, "FETCH_SESSION_ID_NOT_FOUND", retriable, "the fetch session does not exist";
    InvalidFetchSessionEpoch = 71, "INVALID_FETCH_SESSION_EPOCH", retriable, "the fetch session is at another epoch";
    ListenerNotFound = 72, "LISTENER_NOT_FOUND", retriable, "the leader has no endpoint on this listener";
    TopicDeletionDisabled = 73, "TOPIC_DELETION_DISABLED", fatal, "deleting topics is not enabled";
    FencedLeaderEpoch = 74, "FENCED_LEADER_EPOCH", retriable,
        "the leader epoch of the request is older than the broker's";
    UnknownLeaderEpoch = 75, "UNKNOWN_LEADER_EPOCH", retriable,
        "the leader epoch of the request is newer than the broker's";
    UnsupportedCompressionType = 76, "UNSUPPORTED_COMPRESSION_TYPE", fatal,
        "the request's version cannot carry the compression type in use";
    StaleBrokerEpoch = 77, "STALE_BROKER_EPOCH", fatal, "the broker's epoch is not the one of its current registration";
    OffsetNotAvailable = 78, "OFFSET_NOT_AVAILABLE", retriable, "the leader does not yet know its high watermark";
    MemberIdRequired = 79, "MEMBER_ID_REQUIRED", fatal, "the member must join again with the id given to it";
    PreferredLeaderNotAvailable = 80, "PREFERRED_LEADER_NOT_AVAILABLE", retriable,
        "the preferred leader is not available";
    GroupMaxSizeReached = 81, "GROUP_MAX_SIZE_REACHED", fatal, "the group has as many members as it may have";
    FencedInstanceId = 82, "FENCED_INSTANCE_ID", fatal, "another member joined under this static instance id";
    EligibleLeadersNotAvailable = 83, "ELIGIBLE_LEADERS_NOT_AVAILABLE", retriable,
        "no replica that may lead is available";
    ElectionNotNeeded = 84, "ELECTION_NOT_NEEDED", retriable,
        "the partition already has the leader that the election would give";
    NoReassignmentInProgress = 85, "NO_REASSIGNMENT_IN_PROGRESS", fatal, "the partition is not being reassigned";
    GroupSubscribedToTopic = 86, "GROUP_SUBSCRIBED_TO_TOPIC", fatal, "the group still reads the topic";
    InvalidRecord = 87, "INVALID_RECORD", fatal, "a record is not valid";
    UnstableOffsetCommit = 88, "UNSTABLE_OFFSET_COMMIT", retriable, "a transaction still holds the offset to be read";
    ThrottlingQuotaExceeded = 89, "THROTTLING_QUOTA_EXCEEDED", retriable,
        "the quota of the operation is used up for now";
    ProducerFenced = 90, "PRODUCER_FENCED", fatal, "a newer producer uses this transactional id";
    ResourceNotFound = 91, "RESOURCE_NOT_FOUND", fatal, "the resource does not exist";
    DuplicateResource = 92, "DUPLICATE_RESOURCE", fatal, "the resource is given twice";
    UnacceptableCredential = 93, "UNACCEPTABLE_CREDENTIAL", fatal, "the credential does not meet the requirements";
    InconsistentVoterSet = 94, "INCONSISTENT_VOTER_SET", fatal, "the set of voters is not the expected one";
    InvalidUpdateVersion = 95, "INVALID_UPDATE_VERSION", fatal, "the feature level of the update is not valid";
    FeatureUpdateFailed = 96, "FEATURE_UPDATE_FAILED", fatal, "the features could not be updated";
    PrincipalDeserializationFailure = 97, "PRINCIPAL_DESERIALIZATION_FAILURE", fatal,
        "the principal of a forwarded request could not be read";
    SnapshotNotFound = 98, "SNAPSHOT_NOT_FOUND", fatal, "the snapshot does not exist";
    PositionOutOfRange = 99, "POSITION_OUT_OF_RANGE", fatal, "the position is outside the snapshot";
    UnknownTopicId = 100, "UNKNOWN_TOPIC_ID", retriable, "this broker does not host a topic of this id";
    DuplicateBrokerRegistration = 101, "DUPLICATE_BROKER_REGISTRATION", fatal,
        "another broker is registered under this id";
    BrokerIdNotRegistered = 102, "BROKER_ID_NOT_REGISTERED", fatal, "the broker's id is not registered";
    InconsistentTopicId = 103, "INCONSISTENT_TOPIC_ID", retriable, "the topic's id and its name do not belong together";
    InconsistentClusterId = 104, "INCONSISTENT_CLUSTER_ID", fatal,
        "the cluster id of the request is not the one of this cluster";
    TransactionalIdNotFound = 105, "TRANSACTIONAL_ID_NOT_FOUND", fatal, "the transactional id does not exist";
    FetchSessionTopicIdError = 106, "FETCH_SESSION_TOPIC_ID_ERROR", retriable,
        "the topics of the fetch session are by id, those of the request by name, or the reverse";
    IneligibleReplica = 107, "INELIGIBLE_REPLICA", fatal, "the replica may not join the in-sync replicas";
    NewLeaderElected = 108, "NEW_LEADER_ELECTED", fatal, "a new leader was elected while the request was handled";
    OffsetMovedToTieredStorage = 109, "OFFSET_MOVED_TO_TIERED_STORAGE", fatal, "the offset was moved to tiered storage";
    FencedMemberEpoch = 110, "FENCED_MEMBER_EPOCH", fatal, "the member's epoch is older than the group's";
    UnreleasedInstanceId = 111, "UNRELEASED_INSTANCE_ID", fatal, "another member still uses the static instance id";
    UnsupportedAssignor = 112, "UNSUPPORTED_ASSIGNOR", fatal, "the assignor is not supported";
    StaleMemberEpoch = 113, "STALE_MEMBER_EPOCH", fatal, "the member's epoch is not the one of the commit";
    MismatchedEndpointType = 114, "MISMATCHED_ENDPOINT_TYPE", fatal,
        "the request was sent to a controller but is for brokers, or the reverse";
    UnsupportedEndpointType = 115, "UNSUPPORTED_ENDPOINT_TYPE", fatal, "the endpoint type is not supported";
    UnknownControllerId = 116, "UNKNOWN_CONTROLLER_ID", fatal, "the controller's id is not known";
    UnknownSubscriptionId = 117, "UNKNOWN_SUBSCRIPTION_ID", fatal, "the subscription id of the telemetry is not known";
    TelemetryTooLarge = 118, "TELEMETRY_TOO_LARGE", fatal, "the telemetry is larger than the broker takes";
    InvalidRegistration = 119, "INVALID_REGISTRATION", fatal, "the registration of the node is not valid";
    TransactionAbortable = 120, "TRANSACTION_ABORTABLE", fatal, "the transaction must be aborted";
    InvalidRecordState = 121, "INVALID_RECORD_STATE", fatal, "the record's state does not allow the acknowledgement";
    ShareSessionNotFound = 122, "SHARE_SESSION_NOT_FOUND", retriable, "the share session does not exist";
    InvalidShareSessionEpoch = 123, "INVALID_SHARE_SESSION_EPOCH", retriable, "the share session is at another epoch";
    FencedStateEpoch = 124, "FENCED_STATE_EPOCH", fatal, "the epoch of the share state is older than the coordinator's";
    InvalidVoterKey = 125, "INVALID_VOTER_KEY", fatal, "the key of the voter is not the one of the receiver";
    DuplicateVoter = 126, "DUPLICATE_VOTER", fatal, "the voter is already in the set";
    VoterNotFound = 127, "VOTER_NOT_FOUND", fatal, "the voter is not in the set";
    InvalidRegularExpression = 128, "INVALID_REGULAR_EXPRESSION", fatal, "the regular expression is not valid";
    RebootstrapRequired = 129, "REBOOTSTRAP_REQUIRED", fatal, "the client must bootstrap again";
    StreamsInvalidTopology = 130, "STREAMS_INVALID_TOPOLOGY", fatal, "the topology of the streams group is not valid";
    StreamsInvalidTopologyEpoch = 131, "STREAMS_INVALID_TOPOLOGY_EPOCH", fatal,
        "the epoch of the streams group's topology is not valid";
    StreamsTopologyFenced = 132, "STREAMS_TOPOLOGY_FENCED", fatal,
        "the epoch of the streams group's topology is not the current one";
    ShareSessionLimitReached = 133, "SHARE_SESSION_LIMIT_REACHED", retriable,
        "the broker has as many share sessions as it may have";
}

impl ErrorCode {
    /// Whether it says that all went well.
    #[must_use]
    pub const fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.number())
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Two bytes. A number that is not in the table, from a newer broker, reads as `UnknownServerError`, as in Kafka.
impl Wire for ErrorCode {
    fn kind() -> Kind {
        Kind::I16
    }

    fn size_min(_form: Form) -> usize {
        2
    }

    fn decode(reader: &mut Reader, _form: Form) -> Result<Self, DecodeError> {
        Ok(Self::from_number(reader.i16()?).unwrap_or(Self::UnknownServerError))
    }

    fn encode(&self, writer: &mut Writer, _form: Form) {
        writer.put_i16(self.number());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_run_from_minus_one_without_a_gap() {
        let numbers: Vec<_> = ErrorCode::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(numbers, (-1..=133).collect::<Vec<_>>());
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_number(code.number()), Some(*code));
        }
        assert_eq!(ErrorCode::from_number(-2), None);
    }

    #[test]
    fn a_code_tells_its_name_and_whether_to_try_again() {
        assert_eq!(ErrorCode::default(), ErrorCode::None);
        assert_eq!(ErrorCode::NotLeaderOrFollower.name(), "NOT_LEADER_OR_FOLLOWER");
        assert_eq!(format!("{:?}", ErrorCode::OffsetOutOfRange), "OFFSET_OUT_OF_RANGE(1)");
        assert!(ErrorCode::NotLeaderOrFollower.is_retriable());
        assert!(!ErrorCode::OffsetOutOfRange.is_retriable());
        assert_eq!(ErrorCode::ALL.iter().filter(|code| code.is_retriable()).count(), 32);
    }
}
