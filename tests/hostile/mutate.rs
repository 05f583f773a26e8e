//! What a mutation does to a request: blind to it, aimed at its parts, or aimed at its header.
//!
//! The size in front is put right afterwards, so that the bytes reach the decoder; lies in the size itself are attacks
//! on the connection and stand in `streams`.

use std::ops::Range;

use crate::draft::{Draft, PREFIX, Role, Span};
use crate::random::Random;

/// Where the parts of a header stand in a frame.
const KEY: usize = PREFIX;
const VERSION: usize = PREFIX + 2;
const CORRELATION: usize = PREFIX + 4;
const CLIENT_ID: usize = PREFIX + 8;

/// Changes a request; the second may lend it parts.
pub(crate) type Mutation = fn(&mut Draft, &Draft, &mut Random);

/// Every mutation with its name.
pub(crate) const ALL: &[(&str, Mutation)] = &[
    ("bit flips", bit_flips),
    ("noise", noise),
    ("edge values anywhere", edge_values),
    ("lengths nudged", length_nudged),
    ("lengths extreme", length_extreme),
    ("numbers extreme", number_extreme),
    ("truncated", truncated),
    ("spliced", spliced),
    ("trailing bytes", trailing),
    ("parts swapped", parts_swapped),
    ("part removed", part_removed),
    ("elements repeated", element_repeated),
    ("unknown api", unknown_api),
    ("another api", another_api),
    ("unsupported version", unsupported_version),
    ("another version", another_version),
    ("client id", client_id),
    ("header tags", header_tags),
    ("invalid text", invalid_text),
    ("correlation id", correlation),
];

impl Draft {
    /// Replaces a range; what the map says of the bytes behind it stays true.
    fn replace(&mut self, range: Range<usize>, with: &[u8]) {
        let (start, end) = (range.start, range.end);
        self.bytes.splice(range, with.iter().copied());
        let moved = |at: usize| if at >= end { at - end + start + with.len() } else { at };
        for span in &mut self.spans {
            *span = Span { start: moved(span.start), end: moved(span.end), ..*span };
        }
        let size = self.bytes.len();
        self.spans.retain(|span| span.start <= span.end && span.end <= size);
        self.body = self.body.min(size);
    }

    fn any(&self, role: Role, random: &mut Random) -> Option<Span> {
        let spans: Vec<Span> = self.spans.iter().copied().filter(|span| span.role == role).collect();
        if spans.is_empty() { None } else { Some(*random.pick(&spans)) }
    }

    /// A place behind the size.
    fn place(&self, random: &mut Random) -> usize {
        PREFIX + random.below((self.bytes.len() - PREFIX).max(1))
    }

    /// Overwrites, as far as there are bytes.
    fn overwrite(&mut self, at: usize, with: &[u8]) {
        for (byte, new) in self.bytes.iter_mut().skip(at).zip(with) {
            *byte = *new;
        }
    }
}

fn bit_flips(draft: &mut Draft, _: &Draft, random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = draft.place(random);
        let bit = 1 << random.below(8);
        if let Some(byte) = draft.bytes.get_mut(at) {
            *byte ^= bit;
        }
    }
}

fn noise(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let at = draft.place(random);
    let count = 1 + random.below(16);
    let bytes = random.bytes(count);
    draft.overwrite(at, &bytes);
}

fn edge_values(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let edges: [&[u8]; 8] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
        &[0x7f, 0xf8, 0, 0, 0, 0, 0, 1],
        &[0x7f, 0xff],
    ];
    let at = draft.place(random);
    draft.overwrite(at, random.piece(&edges));
}

/// The length of a part, a little off.
fn length_nudged(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let Some(span) = draft.any(Role::Length, random) else { return bit_flips(draft, &draft.clone(), random) };
    let last = span.end - 1;
    let nudge = *random.pick(&[1, 2, 0xff, 0xfe, 8, 0xf8]);
    draft.bytes[last] = draft.bytes[last].wrapping_add(nudge);
}

fn length_extreme(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let Some(span) = draft.any(Role::Length, random) else { return edge_values(draft, &draft.clone(), random) };
    let values: &[&[u8]] = match span.end - span.start {
        2 => &[&[0x7f, 0xff], &[0xff, 0xff], &[0xff, 0xfe], &[0x80, 0], &[0, 0]],
        4 => &[
            &[0x7f, 0xff, 0xff, 0xff],
            &[0xff; 4],
            &[0xff, 0xff, 0xff, 0xfe],
            &[0x80, 0, 0, 0],
            &[0, 0x0f, 0x42, 0x40],
            &[0; 4],
        ],
        _ => &[
            &[0],
            &[1],
            &[0xff, 0xff, 0xff, 0xff, 0x0f],
            &[0xff, 0xff, 0xff, 0xff, 0x07],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x80, 0x80, 0x80, 0x80, 0x00],
            &[0x81, 0x00],
            &[0xc1, 0x84, 0x3d],
        ],
    };
    let value = random.piece(values);
    draft.replace(span.start..span.end, value);
}

fn number_extreme(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let Some(span) = draft.any(Role::Number, random) else { return bit_flips(draft, &draft.clone(), random) };
    let width = span.end - span.start;
    let edge: i64 = *random.pick(&[0, 1, -1, -2, i64::MAX, i64::MIN, 0x7fff_ffff_ffff_fffe, 1 << 31, 1 << 15]);
    let high = random.chance(2);
    let bytes = edge.to_be_bytes();
    // An edge of eight bytes has an edge of the narrower type at either end.
    let part = if high { &bytes[..width.min(8)] } else { &bytes[8 - width.min(8)..] };
    draft.overwrite(span.start, part);
}

fn truncated(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let at = draft.place(random);
    let end = draft.bytes.len();
    draft.replace(at.max(PREFIX + 1)..end.max(PREFIX + 1).min(end), &[]);
}

/// The front of this request and the end of another.
fn spliced(draft: &mut Draft, other: &Draft, random: &mut Random) {
    let (at, from) = (draft.place(random), other.place(random));
    let end = draft.bytes.len();
    draft.replace(at..end, &other.bytes[from..]);
}

fn trailing(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let count = 1 + random.below(40);
    let bytes = if random.chance(2) { vec![0; count] } else { random.bytes(count) };
    let end = draft.bytes.len();
    draft.replace(end..end, &bytes);
}

/// Two parts of the body in each other's place.
fn parts_swapped(draft: &mut Draft, _: &Draft, random: &mut Random) {
    if draft.spans.len() < 2 {
        return bit_flips(draft, &draft.clone(), random);
    }
    let (one, two) = (*random.pick(&draft.spans), *random.pick(&draft.spans));
    let (first, second) = if one.start <= two.start { (one, two) } else { (two, one) };
    if first.end > second.start {
        return;
    }
    let moved = draft.bytes[first.start..first.end].to_vec();
    let taken = draft.bytes[second.start..second.end].to_vec();
    draft.replace(second.start..second.end, &moved);
    draft.replace(first.start..first.end, &taken);
}

fn part_removed(draft: &mut Draft, _: &Draft, random: &mut Random) {
    if draft.spans.is_empty() {
        return truncated(draft, &draft.clone(), random);
    }
    let span = *random.pick(&draft.spans);
    draft.replace(span.start..span.end, &[]);
}

/// The same topic or partition many times, and counted: a sound request but for its sense.
fn element_repeated(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let Some(element) = draft.any(Role::Element, random) else { return trailing(draft, &draft.clone(), random) };
    let copies = if random.chance(30) { 100 } else { 1 + random.below(3) };
    let copy = draft.bytes[element.start..element.end].repeat(copies);
    let count = draft.spans.iter().copied().rfind(|span| span.role == Role::Length && span.end == element.start);
    draft.replace(element.end..element.end, &copy);
    // An earlier mutation may have taken its bytes.
    let Some(count) = count.filter(|span| span.start < span.end) else { return };
    let width = count.end - count.start;
    if width == 4 {
        let old = u32::from_be_bytes(draft.bytes[count.start..count.end].try_into().expect("four bytes"));
        let new = old.wrapping_add(u32::try_from(copies).expect("few"));
        draft.overwrite(count.start, &new.to_be_bytes());
    } else {
        let old = draft.bytes[count.start];
        let new = old.saturating_add(u8::try_from(copies).expect("few")).min(0x7f);
        draft.overwrite(count.start, &[new]);
    }
}

fn unknown_api(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let key: i16 = *random.pick(&[-1, 4, 5, 6, 7, 93, 1_000, i16::MAX, i16::MIN]);
    draft.overwrite(KEY, &key.to_be_bytes());
}

/// The body of one API under the number of another; of those that are not served, too.
fn another_api(draft: &mut Draft, other: &Draft, random: &mut Random) {
    let any = i16::try_from(random.below(93)).expect("small");
    let key = if random.chance(2) { other.key.number() } else { any };
    draft.overwrite(KEY, &key.to_be_bytes());
}

fn unsupported_version(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let version: i16 = *random.pick(&[-1, 19, 20, 99, i16::MAX, i16::MIN, 0]);
    draft.overwrite(VERSION, &version.to_be_bytes());
}

/// The body of one version under the number of another.
fn another_version(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let version = i16::try_from(random.below(19)).expect("small");
    draft.overwrite(VERSION, &version.to_be_bytes());
}

fn client_id(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let ids: [&[u8]; 6] =
        [&[0xff, 0xfe], &[0x80, 0], &[0x7f, 0xff], &[0, 2, 0xff, 0xfe], &[0, 3, 0xe2, 0x80, 0xae], &[0, 1, 0]];
    if draft.bytes.len() > CLIENT_ID + 2 {
        let old = i16::from_be_bytes([draft.bytes[CLIENT_ID], draft.bytes[CLIENT_ID + 1]]);
        let end = CLIENT_ID + 2 + usize::try_from(old).unwrap_or(0);
        if random.chance(8) {
            let long = [&[0x7f, 0xff][..], &[b'c'; 0x7fff]].concat();
            return draft.replace(CLIENT_ID..end.min(draft.bytes.len()), &long);
        }
        draft.replace(CLIENT_ID..end.min(draft.bytes.len()), random.piece(&ids));
    }
}

/// Tagged fields of the header: unknown ones must be skipped, lies must not.
fn header_tags(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let tags: [&[u8]; 8] = [
        &[1, 5, 1, 0],
        &[2, 5, 1, 0, 9, 0],
        &[2, 5, 0, 5, 0],
        &[2, 9, 0, 5, 0],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[1, 0, 0xff, 0xff, 0xff, 0xff, 0x07],
        &[1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0],
    ];
    let tags = random.piece(&tags);
    draft.replace(draft.body - 1..draft.body, tags);
}

fn invalid_text(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let Some(span) = draft.any(Role::Content, random) else { return noise(draft, &draft.clone(), random) };
    let bytes: [&[u8]; 4] = [&[0xff, 0xfe], &[0xc0, 0x80], &[0xed, 0xa0, 0x80], &[0xf4, 0x90, 0x80, 0x80]];
    let bytes = random.piece(&bytes);
    draft.overwrite(span.start, &bytes[..bytes.len().min(span.end - span.start)]);
}

fn correlation(draft: &mut Draft, _: &Draft, random: &mut Random) {
    let bytes = random.bytes(4);
    draft.overwrite(CORRELATION, &bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apis;
    use crate::world::World;

    #[test]
    fn every_mutation_leaves_a_frame() {
        let (world, mut random, apis) = (World::imagined(), Random::new(3), apis::all());
        for (name, mutation) in ALL {
            for _ in 0..400 {
                let api = random.pick(&apis);
                let other = Draft::valid(random.pick(&apis), api.versions.max.min(0), &world, &mut random);
                let mut draft = Draft::valid(api, api.versions.max, &world, &mut random);
                for _ in 0..3 {
                    mutation(&mut draft, &other, &mut random);
                }
                draft.set_prefix();
                assert!(draft.bytes.len() > PREFIX, "{name}");
            }
        }
    }
}
