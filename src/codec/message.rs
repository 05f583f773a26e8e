//! The table that declares a message, and what every message can do.
//!
//! ```text
//! message! {
//!     /// What it is for.
//!     ListOffsetsResponse, versions 1..=11, flexible from 6 {
//!         throttle_time_ms: i32, in 2..;
//!         topics: Vec<Topic>;
//!     }
//!     /// A struct in it.
//!     Topic {
//!         name: Option<String>, null in 10..;
//!         leader_epoch: i32 = -1, in 4..=9;
//!         current_leader: Leader, in 10.., tag 0;
//!     }
//! }
//! ```
//!
//! A message without a flexible version is `never flexible`. A field is `name: type`, then in this order, each optional:
//! `= default`, `in` the versions that have it, `null in` the versions in which an `Option` may be null (without it:
//! all), `tag` its number among the tagged fields. Fields stand in wire order, tagged ones in the order of their tags.

use bytes::Bytes;

use super::{DecodeError, ELEMENTS_MAX, Form, Reader, Versions, Wire, Writer};

/// The body of a request or a response.
pub trait Message: Wire + Default {
    /// The versions that its table describes.
    const VERSIONS: Versions;

    /// The first version with compact lengths and tagged fields.
    const FLEXIBLE_FROM: i16;

    /// The encoding of one version.
    #[must_use]
    fn form(version: i16) -> Form {
        Form { version, flexible: version >= Self::FLEXIBLE_FROM }
    }

    /// Reads a body from a peer that is not trusted: at most `ELEMENTS_MAX` array elements.
    ///
    /// # Errors
    /// When the version is not in the table, or the bytes are not exactly one body of it.
    fn decode_body(version: i16, body: Bytes) -> Result<Self, DecodeError> {
        Self::decode_bounded(version, body, ELEMENTS_MAX)
    }

    /// Reads a body with another bound on array elements.
    ///
    /// # Errors
    /// As `decode_body`.
    fn decode_bounded(version: i16, body: Bytes, elements_max: usize) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(DecodeError::Version { version });
        }
        let mut reader = Reader::with_elements_max(body, elements_max);
        let message = Self::decode(&mut reader, Self::form(version))?;
        reader.finish()?;
        Ok(message)
    }

    /// Reads a body that bytes of no meaning may follow.
    ///
    /// # Errors
    /// As `decode_body`, but for those bytes.
    fn decode_front(version: i16, body: Bytes) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(version) {
            return Err(DecodeError::Version { version });
        }
        Self::decode(&mut Reader::with_elements_max(body, ELEMENTS_MAX), Self::form(version))
    }

    /// Writes the body.
    ///
    /// # Panics
    /// When the version is not in the table: it comes from a header that was checked, or from our own choice.
    fn encode_body(&self, version: i16, writer: &mut Writer) {
        assert!(Self::VERSIONS.contains(version), "a message is encoded in a version of its table");
        self.encode(writer, Self::form(version));
    }
}

/// Declares a message and the structs in it; see the file's comment.
macro_rules! message {
    () => {};
    (
        $(#[$doc:meta])*
        $name:ident, versions $min:literal ..= $max:literal, flexible from $flexible:literal { $($table:tt)* }
        $($rest:tt)*
    ) => {
        $crate::codec::fields! { $(#[$doc])* $name { $($table)* } }
        impl $crate::codec::Message for $name {
            const VERSIONS: $crate::codec::Versions = $crate::codec::Versions { min: $min, max: $max };
            const FLEXIBLE_FROM: i16 = $flexible;
        }
        $crate::codec::message! { $($rest)* }
    };
    (
        $(#[$doc:meta])*
        $name:ident, versions $min:literal ..= $max:literal, never flexible { $($table:tt)* }
        $($rest:tt)*
    ) => {
        $crate::codec::message! {
            $(#[$doc])*
            $name, versions $min ..= $max, flexible from 0x7fff { $($table)* }
            $($rest)*
        }
    };
    ($(#[$doc:meta])* $name:ident { $($table:tt)* } $($rest:tt)*) => {
        $crate::codec::fields! { $(#[$doc])* $name { $($table)* } }
        $crate::codec::message! { $($rest)* }
    };
}

/// One struct of a table: its type, its defaults and its wire form.
macro_rules! fields {
    (
        $(#[$doc:meta])*
        $name:ident { $(
            $(#[$field_doc:meta])*
            $field:ident : $type:ty
                $(= $default:expr)? $(, in $in:expr)? $(, null in $null:expr)? $(, tag $tag:literal)? ;
        )* }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, reason = "a field is what the protocol guide says it is")]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::codec::field!(@default $($default)?),)* }
            }
        }

        impl $crate::codec::Wire for $name {
            fn kind() -> $crate::codec::Kind {
                $crate::codec::Kind::Struct(vec![$($crate::codec::Field {
                    name: stringify!($field),
                    kind: <$type as $crate::codec::Wire>::kind(),
                    versions: $crate::codec::field!(@versions $($in)?),
                    nulls: $crate::codec::field!(@nulls $type $(, $null)?),
                    tag: $crate::codec::field!(@tag $($tag)?),
                },)*])
            }

            fn size_min(form: $crate::codec::Form) -> usize {
                let mut size = usize::from(form.flexible);
                $($crate::codec::field!(@size size, $type, form, [$($in)?] [$($null)?] [$($tag)?]);)*
                size
            }

            fn decode(
                reader: &mut $crate::codec::Reader,
                form: $crate::codec::Form,
            ) -> Result<Self, $crate::codec::DecodeError> {
                let mut value = Self::default();
                $($crate::codec::field!(@decode value.$field, reader, form, [$($in)?] [$($null)?] [$($tag)?]);)*
                if form.flexible {
                    let mut tags = $crate::codec::TagReader::new(reader)?;
                    while let Some(tag) = tags.next(reader)? {
                        $($crate::codec::field!(@decode_tag value.$field, tag, reader, form, [$($in)?] [$($tag)?]);)*
                        tag.skip(reader)?;
                    }
                }
                Ok(value)
            }

            fn encode(&self, writer: &mut $crate::codec::Writer, form: $crate::codec::Form) {
                $($crate::codec::field!(@encode self.$field, writer, form, [$($in)?] [$($null)?] [$($tag)?]);)*
                if form.flexible {
                    #[allow(unused_mut, reason = "a struct without tagged fields changes nothing")]
                    let mut tags = $crate::codec::TagWriter::new();
                    $($crate::codec::field!(@encode_tag self.$field, tags, form, [$($default)?] [$($in)?] [$($tag)?]);)*
                    tags.finish(writer);
                }
            }
        }

        impl $crate::codec::Nullable for $name {}
    };
}

/// One field's part in each function of its struct.
macro_rules! field {
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };

    (@versions) => { $crate::codec::Versions::ALL };
    (@versions $in:expr) => { $crate::codec::Versions::of(&$in) };

    (@nulls $type:ty) => {
        <$type as $crate::codec::Wire>::NULLABLE.then_some($crate::codec::Versions::ALL)
    };
    (@nulls $type:ty, $null:expr) => { Some($crate::codec::Versions::of(&$null)) };

    (@tag) => { None };
    (@tag $tag:literal) => { Some($tag) };

    (@within $form:ident, []) => { true };
    (@within $form:ident, [$in:expr]) => { ($in).contains(&$form.version) };

    (@size $size:ident, $type:ty, $form:ident, $in:tt [] []) => {
        if $crate::codec::field!(@within $form, $in) {
            $size += <$type as $crate::codec::Wire>::size_min($form);
        }
    };
    (@size $size:ident, $type:ty, $form:ident, $in:tt [$null:expr] []) => {
        if $crate::codec::field!(@within $form, $in) {
            $size += <$type as $crate::codec::Optional>::size_min_any($form);
        }
    };
    (@size $size:ident, $type:ty, $form:ident, $in:tt $null:tt [$tag:literal]) => {};

    (@decode $place:expr, $reader:ident, $form:ident, $in:tt [] []) => {
        if $crate::codec::field!(@within $form, $in) {
            $place = $crate::codec::Wire::decode($reader, $form)?;
        }
    };
    (@decode $place:expr, $reader:ident, $form:ident, $in:tt $null:tt []) => {
        if $crate::codec::field!(@within $form, $in) {
            $place = if $crate::codec::field!(@within $form, $null) {
                $crate::codec::Wire::decode($reader, $form)?
            } else {
                $crate::codec::Optional::decode_present($reader, $form)?
            };
        }
    };
    (@decode $place:expr, $reader:ident, $form:ident, $in:tt $null:tt [$tag:literal]) => {};

    (@decode_tag $place:expr, $found:ident, $reader:ident, $form:ident, $in:tt []) => {};
    (@decode_tag $place:expr, $found:ident, $reader:ident, $form:ident, $in:tt [$tag:literal]) => {
        if $found.number == $tag && $crate::codec::field!(@within $form, $in) {
            $place = $found.decode($reader, $form)?;
            continue;
        }
    };

    (@encode $place:expr, $writer:ident, $form:ident, $in:tt [] []) => {
        if $crate::codec::field!(@within $form, $in) {
            $crate::codec::Wire::encode(&$place, $writer, $form);
        }
    };
    (@encode $place:expr, $writer:ident, $form:ident, $in:tt $null:tt []) => {
        if $crate::codec::field!(@within $form, $in) {
            if $crate::codec::field!(@within $form, $null) {
                $crate::codec::Wire::encode(&$place, $writer, $form);
            } else {
                $crate::codec::Optional::encode_or_empty(&$place, $writer, $form);
            }
        }
    };
    (@encode $place:expr, $writer:ident, $form:ident, $in:tt $null:tt [$tag:literal]) => {};

    (@encode_tag $place:expr, $tags:ident, $form:ident, $default:tt $in:tt []) => {};
    (@encode_tag $place:expr, $tags:ident, $form:ident, [$($default:expr)?] $in:tt [$tag:literal]) => {
        if $crate::codec::field!(@within $form, $in) {
            $tags.put($tag, &$place, &$crate::codec::field!(@default $($default)?), $form);
        }
    };
}

pub(crate) use {field, fields, message};
