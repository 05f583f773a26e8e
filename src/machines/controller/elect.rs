//! elect
