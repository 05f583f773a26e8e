//! Writes valid bodies from the layout of a message: a second encoder, as simple as can be, that knows values only as
//! bytes. It writes what a canonical encoder would, so that decoding and encoding again must give the same bytes.

use ottla::codec::{Field, Kind, Versions};

/// A small generator (splitmix64): same seed, same bytes, on every machine.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("a usize fits in 64 bits");
        usize::try_from(self.next() % bound).expect("it is below a usize")
    }

    pub(crate) fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }
}

/// A valid body.
pub(crate) fn body(kind: &Kind, version: i16, flexible: bool, random: &mut Random) -> Vec<u8> {
    let mut maker = Maker { version, flexible, random, out: Vec::new() };
    maker.value("", kind, Size::Any);
    maker.out
}

/// Whether a value may be the default of its field: a tagged field with its default is not written.
#[derive(Clone, Copy, PartialEq)]
enum Size {
    Any,
    NotDefault,
}

struct Maker<'a> {
    version: i16,
    flexible: bool,
    random: &'a mut Random,
    out: Vec<u8>,
}

impl Maker<'_> {
    fn value(&mut self, name: &str, kind: &Kind, size: Size) {
        match kind {
            Kind::Bool => {
                let value = size == Size::NotDefault || self.random.chance(2);
                self.out.push(u8::from(value));
            }
            Kind::I16 if name.ends_with("error_code") => {
                let any = i16::try_from(self.random.below(135)).expect("there are 135 codes") - 1;
                let number = if size == Size::NotDefault { 7 } else { any };
                self.out.extend_from_slice(&number.to_be_bytes());
            }
            Kind::I8 => self.number(1, size),
            Kind::I16 | Kind::U16 => self.number(2, size),
            Kind::I32 => self.number(4, size),
            Kind::I64 | Kind::F64 => self.number(8, size),
            Kind::Uuid => {
                self.number(8, size);
                self.number(8, size);
            }
            Kind::Text => self.text(size),
            Kind::Bytes => self.bytes(size),
            Kind::Array(element) => {
                let count = self.random.below(3) + usize::from(size == Size::NotDefault);
                self.length(count, false);
                for _ in 0..count {
                    self.value("", element, Size::Any);
                }
            }
            Kind::Struct(fields) => self.fields(fields, size),
        }
    }

    fn fields(&mut self, fields: &[Field], size: Size) {
        let version = self.version;
        let here = |field: &&Field| field.versions.contains(version);
        for (index, field) in fields.iter().filter(here).filter(|f| f.tag.is_none()).enumerate() {
            let size = if index == 0 { size } else { Size::Any };
            self.field(field, size);
        }
        if !self.flexible {
            return;
        }
        let mut tagged = Vec::new();
        for field in fields.iter().filter(here) {
            if let Some(tag) = field.tag.filter(|_| self.random.chance(2)) {
                tagged.push((tag, self.aside(|maker| maker.field(field, Size::NotDefault))));
            }
        }
        self.varint(tagged.len());
        for (tag, bytes) in tagged {
            self.varint(usize::try_from(tag).expect("tags are small"));
            self.varint(bytes.len());
            self.out.extend_from_slice(&bytes);
        }
    }

    fn field(&mut self, field: &Field, size: Size) {
        let nullable = field.nulls.is_some_and(|nulls: Versions| nulls.contains(self.version));
        if nullable && size == Size::Any && self.random.chance(3) {
            return self.null(&field.kind);
        }
        if nullable && matches!(field.kind, Kind::Struct(_)) {
            self.out.push(1);
        }
        self.value(field.name, &field.kind, size);
    }

    fn null(&mut self, kind: &Kind) {
        match (kind, self.flexible) {
            (Kind::Struct(_), _) => self.out.push(0xff),
            (_, true) => self.out.push(0),
            (Kind::Text, false) => self.out.extend_from_slice(&[0xff; 2]),
            (_, false) => self.out.extend_from_slice(&[0xff; 4]),
        }
    }

    fn number(&mut self, width: usize, size: Size) {
        let edges: [i64; 5] = [0, -1, 1, i64::MAX, i64::MIN];
        let mut bytes = self.random.next().to_be_bytes();
        if size == Size::Any && self.random.chance(4) {
            bytes = edges[self.random.below(edges.len())].to_be_bytes();
        }
        if size == Size::NotDefault {
            bytes[8 - width] = 0x35;
        }
        self.out.extend_from_slice(&bytes[8 - width..]);
    }

    fn text(&mut self, size: Size) {
        let alphabet: Vec<char> = "abcxyz019._-é漢\u{1f980}\"\\{}[](), :".chars().collect();
        let count = self.random.below(12) + usize::from(size == Size::NotDefault);
        let count = if self.random.chance(40) { 200 } else { count };
        let text: String = (0..count).map(|_| alphabet[self.random.below(alphabet.len())]).collect();
        self.length(text.len(), true);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn bytes(&mut self, size: Size) {
        let count = self.random.below(20) + usize::from(size == Size::NotDefault);
        let count = if self.random.chance(8) { 700 } else { count };
        self.length(count, false);
        for _ in 0..count {
            let byte = self.random.next().to_be_bytes()[0];
            self.out.push(byte);
        }
    }

    fn length(&mut self, length: usize, text: bool) {
        match (self.flexible, text) {
            (true, _) => self.varint(length + 1),
            (false, true) => self.out.extend_from_slice(&u16::try_from(length).expect("short").to_be_bytes()),
            (false, false) => self.out.extend_from_slice(&u32::try_from(length).expect("short").to_be_bytes()),
        }
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push(u8::try_from(value % 0x80).expect("seven bits") | 0x80);
            value /= 0x80;
        }
        self.out.push(u8::try_from(value).expect("seven bits"));
    }

    fn aside(&mut self, write: impl FnOnce(&mut Self)) -> Vec<u8> {
        let before = std::mem::take(&mut self.out);
        write(self);
        std::mem::replace(&mut self.out, before)
    }
}
