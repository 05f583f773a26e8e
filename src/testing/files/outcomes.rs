//! Tells the outcomes of one power cut apart without making each of them.
//!
//! Called by the suite of crash states: most ways in which operations can end leave what others leave, too. What waits
//! for one file ends in few ways, so each way is carried out once and remembered. Invariant: the digest of an outcome
//! is that of the files it would be.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use super::SimulatedFiles;
use super::change::{End, Image, NodeNumber, as_u64};
use super::crash::CrashPoint;
use super::disk::ROOT;

/// See the file's comment.
#[derive(Debug)]
pub struct Outcomes<'a> {
    point: &'a CrashPoint,
    nodes: Vec<Own>,
}

/// What can become of one file or directory.
#[derive(Debug)]
struct Own {
    /// Which of the waiting operations change it.
    operations: Vec<usize>,
    /// What they leave, by their ends.
    variants: BTreeMap<Vec<u8>, Variant>,
}

#[derive(Debug)]
struct Variant {
    image: Arc<Image>,
    mark: u64,
}

impl<'a> Outcomes<'a> {
    pub(super) fn new(point: &'a CrashPoint) -> Self {
        let own = |_: &Arc<Image>| Own { operations: Vec::new(), variants: BTreeMap::new() };
        let mut nodes: Vec<Own> = point.images.iter().map(own).collect();
        for (at, operation) in point.pending.iter().enumerate() {
            nodes[operation.node].operations.push(at);
        }
        Self { point, nodes }
    }

    /// What [`SimulatedFiles::digest`] would say of the outcome.
    pub fn digest(&mut self, ends: &[usize]) -> u64 {
        let own_ends = self.resolve(ends);
        self.tree(ROOT, &own_ends)
    }

    /// As [`CrashPoint::after`].
    #[must_use]
    pub fn after(&mut self, ends: &[usize]) -> SimulatedFiles {
        let own_ends = self.resolve(ends);
        let image = |(own, ends): (&Own, &Vec<u8>)| own.variants[ends].image.clone();
        self.point.files(self.nodes.iter().zip(&own_ends).map(image).collect())
    }

    /// How the operations of each node end; what that leaves is there then.
    fn resolve(&mut self, ends: &[usize]) -> Vec<Vec<u8>> {
        assert_eq!(ends.len(), self.point.pending.len(), "each operation ends in one way");
        let point = self.point;
        let resolve = |(node, own): (NodeNumber, &mut Own)| {
            let own_ends = own.operations.iter().map(|at| u8::try_from(ends[*at]).expect("ways are few"));
            let own_ends: Vec<u8> = own_ends.collect();
            if !own.variants.contains_key(&own_ends) {
                own.variants.insert(own_ends.clone(), Variant::new(point, node, &own.operations, ends));
            }
            own_ends
        };
        self.nodes.iter_mut().enumerate().map(resolve).collect()
    }

    fn tree(&self, node: NodeNumber, own_ends: &[Vec<u8>]) -> u64 {
        let variant = &self.nodes[node].variants[&own_ends[node]];
        join(variant.mark, &variant.image, &mut |entry| self.tree(entry, own_ends))
    }
}

impl Variant {
    fn new(point: &CrashPoint, node: NodeNumber, operations: &[usize], ends: &[usize]) -> Self {
        let mut image = point.images[node].clone();
        for at in operations {
            let change = &point.pending[*at].change;
            let end = change.ends()[ends[*at]];
            if end != End::Lost {
                change.apply_ended(Arc::make_mut(&mut image), end);
            }
        }
        let mark = mark(&image);
        Self { image, mark }
    }
}

/// The digest of what stands at and below a node.
pub(super) fn digest<'a>(node: NodeNumber, image_of: &dyn Fn(NodeNumber) -> &'a Image) -> u64 {
    let image = image_of(node);
    join(mark(image), image, &mut |entry| digest(entry, image_of))
}

/// What an image has by itself: the bytes of a file, the names in a directory.
fn mark(image: &Image) -> u64 {
    let mut hasher = DefaultHasher::new();
    match image {
        Image::File(content) => {
            hasher.write_u64(as_u64(content.len()));
            content.pages().for_each(|page| hasher.write(page));
        }
        Image::Directory(entries) => {
            for name in entries.keys() {
                hasher.write_usize(name.len());
                hasher.write(name.as_bytes());
            }
        }
    }
    hasher.finish()
}

fn join(mark: u64, image: &Image, digest_of: &mut dyn FnMut(NodeNumber) -> u64) -> u64 {
    let seed = if image.is_directory() { !mark } else { mark };
    image.entries().fold(seed, |sum, (_, entry)| {
        let mixed = (sum.rotate_left(23) ^ digest_of(entry)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed ^ (mixed >> 29)
    })
}
