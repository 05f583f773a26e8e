//! Primitive wire types of the Kafka protocol and the table that declares a message field by field.
