//! Builds the process from its configuration and takes it down again.
