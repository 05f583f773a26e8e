//! A partition's log on disk, and the data directory that holds many of them. Synchronous.
