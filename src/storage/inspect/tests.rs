//! Promises of reads and looks at a log in whose files something stands that was not written.

use crate::model::{LeaderEpoch, Offset};
use crate::records::IntactCheck;
use crate::storage::FirstBatch;
use crate::storage::tests::{batch_of, now, open, small};

#[test]
fn a_flipped_epoch_is_seen_also_in_the_last_batch_of_a_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut log, _) = open(dir.path(), small());
    for epoch in [1, 1, 1, 3] {
        log.begin_epoch(LeaderEpoch::new(epoch));
        log.append(&batch_of(1, 100, 0), LeaderEpoch::new(epoch), now(0)).unwrap();
    }
    log.rest_now(now(0)).unwrap();
    let path = dir.path().join("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    let size = bytes.len() / 4;
    // The second batch's 1 becomes 3, which is an epoch of the log, too.
    bytes[size + 15] ^= 2;
    std::fs::write(&path, bytes).unwrap();
    let plan = log.read(Offset::new(1), Offset::new(4), size, FirstBatch::Whole).unwrap();
    let read = plan.read().unwrap();
    assert_eq!(read.len(), size);
    assert!(IntactCheck::new(plan.expected).feed(&read).is_err());
}
