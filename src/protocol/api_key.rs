//! The APIs of Kafka 4.3 and what their numbers alone decide: the versions of the headers.
//!
//! Which of them this broker serves, and in which versions, is the table of `api`, not this one.
//!
//! Invariant: `messages` agrees with this table on the first flexible version; checked when it is compiled.

use std::fmt;

/// Declares the APIs: name, number, first flexible version.
macro_rules! keys {
    ($($name:ident = $number:literal, $($flexible:ident)+ $($from:literal)?;)*) => {
        /// An API of the Kafka protocol.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ApiKey {
            $(
                #[doc = concat!("Number ", stringify!($number), ".")]
                $name = $number,
            )*
        }

        impl ApiKey {
            /// Every API, by number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its number on the wire.
            #[must_use]
            pub const fn number(self) -> i16 {
                match self {
                    $(Self::$name => $number,)*
                }
            }

            /// The API of a number; 4 to 7 belonged to APIs that Kafka 4.0 removed.
            #[must_use]
            pub const fn from_number(number: i16) -> Option<Self> {
                match number {
                    $($number => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Its name in Kafka's documents.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// The first version with compact lengths and tagged fields; `i16::MAX` when there is none.
            #[must_use]
            pub const fn flexible_from(self) -> i16 {
                match self {
                    $(Self::$name => keys!(@from $($from)?),)*
                }
            }
        }
    };
    (@from) => { i16::MAX };
    (@from $from:literal) => { $from };
}

keys! {
    Produce = 0, flexible from 9;
    Fetch = 1, flexible from 12;
    ListOffsets = 2, flexible from 6;
    Metadata = 3, flexible from 9;
    OffsetCommit = 8, flexible from 8;
    OffsetFetch = 9, flexible from 6;
    FindCoordinator = 10, flexible from 3;
    JoinGroup = 11, flexible from 6;
    Heartbeat = 12, flexible from 4;
    LeaveGroup = 13, flexible from 4;
    SyncGroup = 14, flexible from 4;
    DescribeGroups = 15, flexible from 5;
    ListGroups = 16, flexible from 3;
    SaslHandshake = 17, never flexible;
    ApiVersions = 18, flexible from 3;
    CreateTopics = 19, flexible from 5;
    DeleteTopics = 20, flexible from 4;
    DeleteRecords = 21, flexible from 2;
    InitProducerId = 22, flexible from 2;
    OffsetForLeaderEpoch = 23, flexible from 4;
    AddPartitionsToTxn = 24, flexible from 3;
    AddOffsetsToTxn = 25, flexible from 3;
    EndTxn = 26, flexible from 3;
    WriteTxnMarkers = 27, flexible from 1;
    TxnOffsetCommit = 28, flexible from 3;
    DescribeAcls = 29, flexible from 2;
    CreateAcls = 30, flexible from 2;
    DeleteAcls = 31, flexible from 2;
    DescribeConfigs = 32, flexible from 4;
    AlterConfigs = 33, flexible from 2;
    AlterReplicaLogDirs = 34, flexible from 2;
    DescribeLogDirs = 35, flexible from 2;
    SaslAuthenticate = 36, flexible from 2;
    CreatePartitions = 37, flexible from 2;
    CreateDelegationToken = 38, flexible from 2;
    RenewDelegationToken = 39, flexible from 2;
    ExpireDelegationToken = 40, flexible from 2;
    DescribeDelegationToken = 41, flexible from 2;
    DeleteGroups = 42, flexible from 2;
    ElectLeaders = 43, flexible from 2;
    IncrementalAlterConfigs = 44, flexible from 1;
    AlterPartitionReassignments = 45, flexible from 0;
    ListPartitionReassignments = 46, flexible from 0;
    OffsetDelete = 47, never flexible;
    DescribeClientQuotas = 48, flexible from 1;
    AlterClientQuotas = 49, flexible from 1;
    DescribeUserScramCredentials = 50, flexible from 0;
    AlterUserScramCredentials = 51, flexible from 0;
    Vote = 52, flexible from 0;
    BeginQuorumEpoch = 53, flexible from 1;
    EndQuorumEpoch = 54, flexible from 1;
    DescribeQuorum = 55, flexible from 0;
    AlterPartition = 56, flexible from 0;
    UpdateFeatures = 57, flexible from 0;
    Envelope = 58, flexible from 0;
    FetchSnapshot = 59, flexible from 0;
    DescribeCluster = 60, flexible from 0;
    DescribeProducers = 61, flexible from 0;
    BrokerRegistration = 62, flexible from 0;
    BrokerHeartbeat = 63, flexible from 0;
    UnregisterBroker = 64, flexible from 0;
    DescribeTransactions = 65, flexible from 0;
    ListTransactions = 66, flexible from 0;
    AllocateProducerIds = 67, flexible from 0;
    ConsumerGroupHeartbeat = 68, flexible from 0;
    ConsumerGroupDescribe = 69, flexible from 0;
    ControllerRegistration = 70, flexible from 0;
    GetTelemetrySubscriptions = 71, flexible from 0;
    PushTelemetry = 72, flexible from 0;
    AssignReplicasToDirs = 73, flexible from 0;
    ListConfigResources = 74, flexible from 0;
    DescribeTopicPartitions = 75, flexible from 0;
    ShareGroupHeartbeat = 76, flexible from 0;
    ShareGroupDescribe = 77, flexible from 0;
    ShareFetch = 78, flexible from 0;
    ShareAcknowledge = 79, flexible from 0;
    AddRaftVoter = 80, flexible from 0;
    RemoveRaftVoter = 81, flexible from 0;
    UpdateRaftVoter = 82, flexible from 0;
    InitializeShareGroupState = 83, flexible from 0;
    ReadShareGroupState = 84, flexible from 0;
    WriteShareGroupState = 85, flexible from 0;
    DeleteShareGroupState = 86, flexible from 0;
    ReadShareGroupStateSummary = 87, flexible from 0;
    StreamsGroupHeartbeat = 88, flexible from 0;
    StreamsGroupDescribe = 89, flexible from 0;
    DescribeShareGroupOffsets = 90, flexible from 0;
    AlterShareGroupOffsets = 91, flexible from 0;
    DeleteShareGroupOffsets = 92, flexible from 0;
}

impl ApiKey {
    /// Whether the body of that version, and so its header, is flexible.
    #[must_use]
    pub const fn is_flexible(self, version: i16) -> bool {
        version >= self.flexible_from()
    }

    /// The version of a request's header: 2 has tagged fields, 1 has none.
    #[must_use]
    pub const fn request_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) { 2 } else { 1 }
    }

    /// The version of a response's header: 1 has tagged fields, 0 has none. An `ApiVersions` response has 0 always: its
    /// reader does not know yet what the broker speaks.
    #[must_use]
    pub const fn response_header_version(self, version: i16) -> i16 {
        if self.is_flexible(version) && !matches!(self, Self::ApiVersions) { 1 } else { 0 }
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_names_one_api_and_back() {
        for number in i16::MIN..=i16::MAX {
            if let Some(key) = ApiKey::from_number(number) {
                assert_eq!(key.number(), number);
            }
        }
        assert_eq!(ApiKey::ALL.len(), 89);
        assert_eq!(ApiKey::from_number(4), None);
        assert_eq!(ApiKey::from_number(18).map(ApiKey::name), Some("ApiVersions"));
    }

    #[test]
    fn headers_follow_the_flexible_versions_but_for_api_versions() {
        assert_eq!((ApiKey::Produce.request_header_version(8), ApiKey::Produce.response_header_version(8)), (1, 0));
        assert_eq!((ApiKey::Produce.request_header_version(9), ApiKey::Produce.response_header_version(9)), (2, 1));
        let api_versions = ApiKey::ApiVersions;
        assert_eq!((api_versions.request_header_version(4), api_versions.response_header_version(4)), (2, 0));
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
    }
}
