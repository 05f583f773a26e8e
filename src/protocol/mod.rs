//! Kafka frames, headers and messages, for every supported version.
