//! What a message looks like, as a value: for the documents written from the tables and for tests that must make
//! messages they do not know.

use std::ops::{Bound, RangeBounds};

/// An unbroken run of versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first.
    pub min: i16,
    /// The last.
    pub max: i16,
}

impl Versions {
    /// Every version there can be.
    pub const ALL: Self = Self { min: 0, max: i16::MAX };

    /// The versions of a range in a table.
    ///
    /// # Panics
    /// When the range leaves an end out: tables write `..=12`.
    #[must_use]
    pub fn of(range: &impl RangeBounds<i16>) -> Self {
        let min = match range.start_bound() {
            Bound::Included(min) => *min,
            Bound::Unbounded => Self::ALL.min,
            Bound::Excluded(_) => unreachable!("no range of Rust's syntax leaves its start out"),
        };
        let max = match range.end_bound() {
            Bound::Included(max) => *max,
            Bound::Unbounded => Self::ALL.max,
            Bound::Excluded(_) => panic!("a table writes its ranges with the end included"),
        };
        Self { min, max }
    }

    /// Whether `version` is one of them.
    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

/// The type of a value on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One byte, 0 or 1.
    Bool,
    /// A signed byte.
    I8,
    /// A 16-bit integer.
    I16,
    /// An unsigned 16-bit integer.
    U16,
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 64-bit float.
    F64,
    /// Sixteen bytes.
    Uuid,
    /// A length and UTF-8.
    Text,
    /// A length and bytes; records too.
    Bytes,
    /// A count and elements.
    Array(Box<Kind>),
    /// Fields, and in flexible versions tagged fields.
    Struct(Vec<Field>),
}

/// A field of a message or of a struct in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name, Kafka's in snake case.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The versions that have it.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nulls: Option<Versions>,
    /// Its tag, if it is a tagged field.
    pub tag: Option<u32>,
}
