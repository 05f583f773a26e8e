//! A request frame with a map of where its parts stand, so that a mutation can aim.
//!
//! Written from the layout of a table, by a second encoder as simple as can be (as in `tests/protocol/make.rs`), with
//! values that a broker finds plausible: attacks that are refused at the first byte prove little.

use ottla::codec::{Field, Kind, Versions};
use ottla::protocol::ApiKey;

use crate::apis::Api;
use crate::batches;
use crate::random::Random;
use crate::vocabulary;
use crate::world::World;

/// The size in front of a frame.
pub(crate) const PREFIX: usize = 4;

/// What stands in a range of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The length of a text, of bytes, of a tagged field, or the count of an array or of tags.
    Length,
    /// An integer or a float.
    Number,
    /// The content of a text, bytes or a uuid.
    Content,
    /// An element of an array, whole.
    Element,
}

/// A range of bytes and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) role: Role,
}

/// A whole frame, its size in front.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) key: ApiKey,
    pub(crate) bytes: Vec<u8>,
    pub(crate) spans: Vec<Span>,
    /// Where the body begins.
    pub(crate) body: usize,
}

impl Draft {
    /// A valid request.
    pub(crate) fn valid(api: &Api, version: i16, world: &World, random: &mut Random) -> Self {
        let flexible = version >= api.flexible_from;
        let header = header(api.key, version, flexible, random);
        let body = header.len();
        let mut maker = Maker { api: api.key, version, flexible, world, random, out: header, spans: Vec::new() };
        maker.value(Place { name: "", parent: "" }, &api.kind, Size::Any);
        let Maker { out, spans, .. } = maker;
        let mut draft = Self { key: api.key, bytes: out, spans, body };
        draft.set_prefix();
        draft
    }

    /// Makes the size in front say what follows.
    pub(crate) fn set_prefix(&mut self) {
        set_prefix(&mut self.bytes);
    }
}

/// Makes the size in front of a frame say what follows.
pub(crate) fn set_prefix(frame: &mut [u8]) {
    let size = u32::try_from(frame.len() - PREFIX).expect("attacks are small");
    frame[..PREFIX].copy_from_slice(&size.to_be_bytes());
}

/// The size, and the header up to the body.
pub(crate) fn header(key: ApiKey, version: i16, flexible: bool, random: &mut Random) -> Vec<u8> {
    let mut out = vec![0; PREFIX];
    out.extend_from_slice(&key.number().to_be_bytes());
    out.extend_from_slice(&version.to_be_bytes());
    let correlation = *random.pick(&[0, 1, 7, -1, i32::MAX, i32::MIN]);
    out.extend_from_slice(&correlation.to_be_bytes());
    match random.below(4) {
        0 => out.extend_from_slice(&[0xff, 0xff]),
        1 => out.extend_from_slice(&[0, 0]),
        _ => out.extend_from_slice(b"\0\x0ahostile \xc3\xa9"),
    }
    if flexible {
        out.push(0);
    }
    out
}

/// Where in a message a value stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The field; for an element, its array.
    pub(crate) name: &'a str,
    /// The field that holds the struct.
    pub(crate) parent: &'a str,
}

/// Whether a value may be the default of its field: a tagged field with its default is not written.
#[derive(Clone, Copy, PartialEq)]
enum Size {
    Any,
    NotDefault,
}

struct Maker<'a> {
    api: ApiKey,
    version: i16,
    flexible: bool,
    world: &'a World,
    random: &'a mut Random,
    out: Vec<u8>,
    spans: Vec<Span>,
}

impl Maker<'_> {
    fn value(&mut self, place: Place<'_>, kind: &Kind, size: Size) {
        match kind {
            Kind::Bool => {
                let value = size == Size::NotDefault || self.random.chance(2);
                self.out.push(u8::from(value));
            }
            Kind::I8 => self.number(place, 1, size),
            Kind::I16 | Kind::U16 => self.number(place, 2, size),
            Kind::I32 => self.number(place, 4, size),
            Kind::I64 | Kind::F64 => self.number(place, 8, size),
            Kind::Uuid => {
                let id = self.world.id(self.random);
                self.content(&id);
            }
            Kind::Text => {
                let text = vocabulary::text(self.api, place, self.world, self.random);
                self.length(text.len(), true);
                self.content(text.as_bytes());
            }
            Kind::Bytes => {
                let records = batches::any(self.random);
                self.length(records.len(), false);
                self.content(&records);
            }
            Kind::Array(element) => self.array(place, element, size),
            Kind::Struct(fields) => self.fields(place, fields, size),
        }
    }

    fn array(&mut self, place: Place<'_>, element: &Kind, size: Size) {
        let few = if self.random.chance(8) { 12 } else { 3 };
        let count = self.random.below(few) + usize::from(size == Size::NotDefault || self.random.chance(2));
        self.length(count, false);
        for _ in 0..count {
            let start = self.out.len();
            self.value(place, element, Size::Any);
            self.span(start, Role::Element);
        }
    }

    fn fields(&mut self, place: Place<'_>, fields: &[Field], size: Size) {
        let version = self.version;
        let here = |field: &&Field| field.versions.contains(version);
        for (index, field) in fields.iter().filter(here).filter(|f| f.tag.is_none()).enumerate() {
            let size = if index == 0 { size } else { Size::Any };
            self.field(place.name, field, size);
        }
        if !self.flexible {
            return;
        }
        let tagged: Vec<&Field> = fields.iter().filter(here).filter(|f| f.tag.is_some()).collect();
        let tagged: Vec<&Field> = tagged.into_iter().filter(|_| self.random.chance(2)).collect();
        self.varint(tagged.len());
        for field in tagged {
            self.varint(usize::try_from(field.tag.expect("these are tagged")).expect("tags are small"));
            self.tagged(place.name, field);
        }
    }

    /// The length of a tagged field is known only when the field is written.
    fn tagged(&mut self, parent: &str, field: &Field) {
        let (out, spans) = (std::mem::take(&mut self.out), std::mem::take(&mut self.spans));
        self.field(parent, field, Size::NotDefault);
        let inner = std::mem::replace(&mut self.out, out);
        let inner_spans = std::mem::replace(&mut self.spans, spans);
        self.varint(inner.len());
        let base = self.out.len();
        self.out.extend_from_slice(&inner);
        self.spans.extend(inner_spans.into_iter().map(|s| Span { start: s.start + base, end: s.end + base, ..s }));
    }

    fn field(&mut self, parent: &str, field: &Field, size: Size) {
        let nullable = field.nulls.is_some_and(|nulls: Versions| nulls.contains(self.version));
        let rarely = if field.name == "transactional_id" { 1 } else { 8 };
        if nullable && size == Size::Any && self.random.chance(rarely) {
            return self.null(&field.kind);
        }
        if nullable && matches!(field.kind, Kind::Struct(_)) {
            self.out.push(1);
        }
        self.value(Place { name: field.name, parent }, &field.kind, size);
    }

    fn null(&mut self, kind: &Kind) {
        let start = self.out.len();
        match (kind, self.flexible) {
            (Kind::Struct(_), _) => self.out.push(0xff),
            (_, true) => self.out.push(0),
            (Kind::Text, false) => self.out.extend_from_slice(&[0xff; 2]),
            (_, false) => self.out.extend_from_slice(&[0xff; 4]),
        }
        self.span(start, Role::Length);
    }

    fn number(&mut self, place: Place<'_>, width: usize, size: Size) {
        let start = self.out.len();
        let mut bytes = vocabulary::number(place, self.random).to_be_bytes();
        if size == Size::NotDefault {
            bytes[7] |= 0x35;
        }
        self.out.extend_from_slice(&bytes[8 - width..]);
        self.span(start, Role::Number);
    }

    fn content(&mut self, bytes: &[u8]) {
        let start = self.out.len();
        self.out.extend_from_slice(bytes);
        self.span(start, Role::Content);
    }

    fn length(&mut self, length: usize, text: bool) {
        if self.flexible {
            return self.varint(length + 1);
        }
        let start = self.out.len();
        if text {
            self.out.extend_from_slice(&u16::try_from(length).expect("short").to_be_bytes());
        } else {
            self.out.extend_from_slice(&u32::try_from(length).expect("short").to_be_bytes());
        }
        self.span(start, Role::Length);
    }

    fn varint(&mut self, mut value: usize) {
        let start = self.out.len();
        while value >= 0x80 {
            self.out.push(u8::try_from(value % 0x80).expect("seven bits") | 0x80);
            value /= 0x80;
        }
        self.out.push(u8::try_from(value).expect("seven bits"));
        self.span(start, Role::Length);
    }

    fn span(&mut self, start: usize, role: Role) {
        self.spans.push(Span { start, end: self.out.len(), role });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla::protocol::split_request;

    use super::*;
    use crate::apis;

    #[test]
    fn drafts_of_every_api_and_version_are_requests() {
        let (world, mut random) = (World::imagined(), Random::new(1));
        for api in apis::all() {
            for version in api.versions.min..=api.versions.max {
                for _ in 0..20 {
                    let draft = Draft::valid(&api, version, &world, &mut random);
                    let (header, body) = split_request(Bytes::from(draft.bytes[PREFIX..].to_vec())).expect("a header");
                    assert_eq!((header.api_key, header.api_version), (api.key, version));
                    assert_eq!(body.len(), draft.bytes.len() - draft.body);
                    assert_eq!((api.decode)(version, body), Ok(()), "{} {version}", api.key);
                    assert!(draft.spans.iter().all(|s| draft.body <= s.start && s.end <= draft.bytes.len()));
                }
            }
        }
    }
}
