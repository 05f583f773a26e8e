//! What a test does to a node's files, and what readers and nodes then say.

use std::path::PathBuf;

use super::{World, consumer, id};
use crate::model::Offset;
use crate::partition::Event;
use crate::records::split;
use crate::storage::Place;

impl World {
    /// A byte of a node's segment is not what was written.
    pub(in crate::partition::shard::tests) fn flip_byte(&self, node: i32, position: usize) {
        self.flip_bits(node, position, 1);
    }

    pub(in crate::partition::shard::tests) fn flip_bits(&self, node: i32, position: usize, bits: u8) {
        let path = self.segment(node);
        if let Some(disk) = self.disks.get(&node) {
            disk.flip_bits(&path, position, bits);
            return;
        }
        let mut bytes = std::fs::read(&path).expect("it is there");
        bytes[position] ^= bits;
        std::fs::write(&path, bytes).expect("it can be written");
    }

    pub(in crate::partition::shard::tests) fn log_size(&self, node: i32) -> usize {
        let path = self.segment(node);
        match self.disks.get(&node) {
            Some(disk) => disk.size_of(&path),
            None => std::fs::read(path).expect("it is there").len(),
        }
    }

    fn segment(&self, node: i32) -> PathBuf {
        let directory = format!("{}-0", self.name);
        self.root.path().join(node.to_string()).join(directory).join("00000000000000000000.log")
    }

    /// That a node's copy breaks is no failure of the test.
    pub(in crate::partition::shard::tests) fn expect_damage(&mut self, node: i32) {
        self.damaged.insert(node);
    }

    pub(in crate::partition::shard::tests) fn alarms(&mut self, node: i32) -> Vec<String> {
        std::mem::take(&mut self.node(node).alarms)
    }

    /// Where a read from an offset begins, and in which state of the log.
    pub(in crate::partition::shard::tests) fn place_of(&mut self, node: i32, from: i64) -> (u64, Place) {
        let answer = self.read(node, consumer(), from, None, None, None).0.expect("it can be read");
        (answer.generation, answer.plan.expect("there are records").place)
    }

    /// A reader from an offset says that it found damage there.
    pub(in crate::partition::shard::tests) fn doubt(&mut self, node: i32, from: i64) {
        let at = self.place_of(node, from);
        self.inspect(node, at);
    }

    /// The same of the batch at a byte of its only segment.
    pub(in crate::partition::shard::tests) fn doubt_at(&mut self, node: i32, position: usize, base: i64) {
        let (generation, front) = self.place_of(node, 99);
        let position = u64::try_from(position).expect("it fits");
        self.inspect(node, (generation, Place { position, offset: Offset::new(base), ..front }));
    }

    pub(in crate::partition::shard::tests) fn inspect(&mut self, node: i32, (generation, place): (u64, Place)) {
        self.tell(node, Event::Inspect { partition: id(), generation, place });
        self.run();
    }

    /// The CRC that a node tells its leader.
    pub(in crate::partition::shard::tests) fn last_crc(&self, node: i32) -> Option<u32> {
        self.nodes[&node].position.expect("it fetches").last_crc
    }

    pub(in crate::partition::shard::tests) fn crc_of_last_batch(&self, node: i32) -> u32 {
        let bytes = std::fs::read(self.segment(node)).expect("it is there");
        split(bytes.into()).last().expect("it has a batch").expect("a whole one").header().crc
    }

    /// From now on a node's disk fails every read with this error of the system.
    pub(in crate::partition::shard::tests) fn fail_reads(&self, node: i32, error: i32) {
        self.disks[&node].fail_reads(error);
    }

    /// How many bytes a node has read of its simulated disk.
    pub(in crate::partition::shard::tests) fn bytes_read(&self, node: i32) -> u64 {
        self.disks[&node].bytes_read()
    }

    /// A sector of a node's segment on a simulated disk cannot be read.
    pub(in crate::partition::shard::tests) fn lose_sector(&self, node: i32, position: u64) {
        self.disks[&node].fail_reads_at(&self.segment(node), position);
    }

    /// Everything of a node's disk can be read again.
    pub(in crate::partition::shard::tests) fn heal_disk(&self, node: i32) {
        self.disks[&node].heal();
    }

    /// Every entry of a node's index names another place. Says how many there are.
    pub(in crate::partition::shard::tests) fn damage_index(&self, node: i32) -> usize {
        let path = self.segment(node).with_extension("index");
        let mut bytes = std::fs::read(&path).expect("it is there");
        bytes.iter_mut().skip(7).step_by(8).for_each(|byte| *byte ^= 1);
        std::fs::write(&path, &bytes).expect("it can be written");
        bytes.len() / 8
    }
}
