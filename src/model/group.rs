//! The names of groups and of who is in them.
//!
//! Invariant: none; Kafka allows any text. They are shared, as they stand in many places at once.

use std::fmt;
use std::sync::Arc;

use super::number;

/// Declares a name of which nothing is asked.
macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(from = "String", into = "String")]
        pub struct $name(Arc<str>);
        impl $name {
            /// Takes a text.
            #[must_use]
            pub fn new(text: &str) -> Self {
                Self(text.into())
            }
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> Self {
                (*name.0).to_owned()
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text! {
    /// `group.id`.
    GroupId
}
text! {
    /// Names a member for as long as it is in its group: minted by the coordinator, or by a KIP-848 client.
    MemberId
}
text! {
    /// `group.instance.id`: names a static member over its restarts (KIP-345).
    InstanceId
}
number! {
    /// Rises with every rebalance of a classic group; -1 on the wire means none.
    Generation(i32)
}

number! {
    /// Numbers the states of a group of KIP-848, and says which of them a member or an assignment has reached.
    GroupEpoch(i32)
}

impl GroupEpoch {
    /// Before the first state; a member that says it joins.
    pub const NONE: Self = Self::new(0);
    /// What a member says that leaves.
    pub const LEAVING: Self = Self::new(-1);
    /// What a static member says that leaves for a while, and where it stands meanwhile.
    pub const AWAY: Self = Self::new(-2);

    /// The next one; after 2^31-1 they begin anew.
    #[must_use]
    pub fn next(self) -> Self {
        Self::new(self.get().checked_add(1).unwrap_or(1))
    }
}

impl Generation {
    /// Before the first rebalance.
    pub const NONE: Self = Self::new(0);

    /// The next one; after 2^31-1 they begin anew.
    #[must_use]
    pub fn next(self) -> Self {
        Self::new(self.get().checked_add(1).unwrap_or(1))
    }
}

impl GroupId {
    /// The partition of `__consumer_offsets` that keeps the group, of `count`: by the hash of Java's strings, as clients and
    /// tools reckon it. `i32::MIN` counts as 0.
    #[must_use]
    pub fn partition(&self, count: i32) -> i32 {
        java_hash(&self.0).checked_abs().unwrap_or(0) % count.max(1)
    }
}

/// `String.hashCode`: over the UTF-16 code units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_javas() {
        // By jshell.
        for (text, hash) in [
            ("", 0),
            ("a", 97),
            ("group", 98_629_247),
            ("my-group", -1_906_497_762),
            ("polygenelubricants", i32::MIN),
            ("Grüße", 69_215_351),
            ("\u{1F980}", 1_772_802),
        ] {
            assert_eq!(java_hash(text), hash, "{text}");
        }
        assert_eq!(GroupId::new("polygenelubricants").partition(50), 0);
        assert_eq!(GroupId::new("group").partition(50), 47);
    }
}
