//! One partition's life on this broker, and the shard that owns many of them. Synchronous.
