//! A small Kafka client on `protocol` and `transport`, for the command line and for measurements.
