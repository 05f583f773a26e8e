//! What can be wrong with bytes from outside.

/// Why bytes are not the value they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end inside a value.
    #[error("a value needs {needed} bytes, {remaining} remain")]
    Short {
        /// What the value takes.
        needed: usize,
        /// What there is.
        remaining: usize,
    },
    /// A length below the -1 that stands for null.
    #[error("the length {length} is negative")]
    NegativeLength {
        /// The length as read.
        length: i32,
    },
    /// A null where the version has none.
    #[error("null stands where a value must")]
    Null,
    /// A text longer than any may be.
    #[error("a text has {length} bytes, more than a text may")]
    TextTooLong {
        /// Its length as claimed.
        length: usize,
    },
    /// An array claims more elements than the bytes can hold.
    #[error("an array claims {count} elements, {remaining} bytes remain")]
    ArrayTooLong {
        /// The count as claimed.
        count: usize,
        /// The bytes that would have to hold them.
        remaining: usize,
    },
    /// All arrays of the message together have more elements than is allowed.
    #[error("a message has too many array elements")]
    TooManyElements,
    /// A variable-length integer that is too long, too large or padded.
    #[error("a variable-length integer is malformed")]
    Varint,
    /// A text that is not UTF-8.
    #[error("a text is not UTF-8")]
    Utf8,
    /// Tagged fields that do not rise strictly.
    #[error("the tagged field {tag} comes after {previous}")]
    TagOrder {
        /// The tag out of place.
        tag: u32,
        /// The tag before it.
        previous: u32,
    },
    /// A tagged field whose value does not fill the size it claims.
    #[error("the tagged field {tag} claims {claimed} bytes, its value takes {used}")]
    TagSize {
        /// The tag.
        tag: u32,
        /// What it claims.
        claimed: usize,
        /// What its value took.
        used: usize,
    },
    /// Bytes after the end of the message.
    #[error("{remaining} bytes follow the message")]
    Trailing {
        /// How many.
        remaining: usize,
    },
    /// A version that the message does not have.
    #[error("version {version} is not supported")]
    Version {
        /// The version asked for.
        version: i16,
    },
}
