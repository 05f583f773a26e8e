//! One file per Kafka API: decode, ask the broker, encode.
