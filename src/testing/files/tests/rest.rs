//! Damage at rest, copies, and looks from outside.

use super::*;

#[test]
fn a_flipped_bit_is_seen_and_survives_a_power_cut() {
    let files = SimulatedFiles::default();
    synced(&files, "/a", &[0; 3]);
    files.flip_bits(Path::new("/a"), 1, 0x40);
    assert_eq!(content(&files, "/a").unwrap(), [0, 0x40, 0]);
    assert_eq!(content(&files.durable(), "/a").unwrap(), [0, 0x40, 0]);
}

#[test]
fn garbage_stays_within_the_file() {
    let files = SimulatedFiles::default();
    synced(&files, "/a", &[0; 5]);
    let mut byte = 0;
    let mut next = || {
        byte += 1;
        byte
    };
    files.garble(Path::new("/a"), 2..4, &mut next);
    files.garble(Path::new("/a"), 4..9, &mut next);
    assert_eq!(content(&files, "/a").unwrap(), [0, 0, 1, 2, 3]);
    assert_eq!(content(&files.durable(), "/a").unwrap(), [0, 0, 1, 2, 3]);
}

#[test]
fn what_is_cut_or_deleted_at_rest_does_not_come_back() {
    let files = SimulatedFiles::default();
    synced(&files, "/a", b"abc");
    written(&files, "/b", b"def");
    files.open(Path::new("/c"), OpenMode::Create).unwrap();
    files.truncate_at_rest(Path::new("/a"), 1);
    files.truncate_at_rest(Path::new("/a"), 2);
    files.delete_at_rest(Path::new("/b"));
    files.delete_at_rest(Path::new("/c"));
    let all = files.crash_point().random(Survival::Everything, &mut |_| 0);
    for files in [files.clone(), files.durable(), all] {
        assert_eq!(files.files_under(Path::new("/")), [(PathBuf::from("/a"), 1)]);
        assert_eq!(files.used_bytes(), 1);
    }
}

#[test]
fn two_directories_have_each_others_place() {
    let files = SimulatedFiles::default();
    files.create_dir_all(Path::new("/d")).unwrap();
    files.create_dir_all(Path::new("/e")).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    synced(&files, "/d/a", b"a");
    files.swap_at_rest(Path::new("/d"), Path::new("/e"));
    for files in [files.clone(), files.durable()] {
        assert_eq!(files.files_under(Path::new("/")), [(PathBuf::from("/e/a"), 1)]);
    }
}

#[test]
fn a_wiped_disk_is_empty_and_what_was_open_is_stale() {
    let files = SimulatedFiles::default();
    let file = synced(&files, "/a", b"a");
    files.wipe();
    let new = synced(&files, "/b", b"b");
    let stale = file.write_at(0, &[b"x"]).unwrap_err();
    assert_eq!(stale.raw_os_error(), Some(errno::ESTALE));
    drop(file);
    new.write_at(1, &[b"c"]).unwrap();
    assert_eq!(files.files_under(Path::new("/")), [(PathBuf::from("/b"), 2)]);
    assert_eq!(files.used_bytes(), 2);
}

#[test]
fn a_snapshot_is_another_disk_and_can_be_played_back() {
    let files = SimulatedFiles::default();
    let file = written(&files, "/a", b"old");
    let old = files.snapshot();
    file.write_at(0, &[b"newer"]).unwrap();
    assert_eq!(content(&old, "/a").unwrap(), b"old");
    assert_eq!(content(&old.durable(), "/a").unwrap(), b"old");
    files.restore(&old);
    assert_eq!(content(&files, "/a").unwrap(), b"old");
    assert_eq!(files.digest(), old.digest());
    written(&files, "/a", b"x");
    assert_eq!(content(&old, "/a").unwrap(), b"old");
}

#[test]
fn what_is_durable_can_be_told_from_outside() {
    let files = SimulatedFiles::default();
    files.create_dir_all(Path::new("/d")).unwrap();
    let file = files.open(Path::new("/d/a"), OpenMode::Create).unwrap();
    file.write_at(0, &[b"abc"]).unwrap();
    let path = Path::new("/d/a");
    assert_eq!((files.durable_len(path), files.dirty_bytes()), (None, 3));
    file.sync_data().unwrap();
    files.sync_dir(Path::new("/d")).unwrap();
    assert_eq!((files.durable_len(path), files.dirty_bytes()), (None, 0), "the directory's name is not durable");
    files.sync_dir(Path::new("/")).unwrap();
    file.write_at(3, &[b"d"]).unwrap();
    assert_eq!((files.durable_len(path), files.size_of(path), files.dirty_bytes()), (Some(3), 4, 1));
    assert_eq!(content(&files.durable(), "/d/a").unwrap(), b"abc");
    let traffic = Traffic { writes: 2, bytes_written: 4, syncs: 3, bytes_synced: 3, ..Traffic::default() };
    assert_eq!(files.traffic(), traffic);
}

#[test]
fn the_same_bytes_in_other_places_have_another_digest() {
    let disk = |path: &str, bytes: &[u8]| {
        let files = SimulatedFiles::default();
        written(&files, path, bytes);
        files.digest()
    };
    assert_eq!(disk("/a", b"x"), disk("/a", b"x"));
    assert_ne!(disk("/a", b"x"), disk("/b", b"x"));
    assert_ne!(disk("/a", b"x"), disk("/a", b"y"));
    assert_ne!(disk("/a", b"x"), disk("/a", b"x\0"));
}

#[test]
fn a_file_bears_the_time_of_its_last_write() {
    let files = SimulatedFiles::default();
    files.set_clock(1000);
    let file = synced(&files, "/a", b"x");
    files.set_clock(2000);
    assert_eq!(files.modified(Path::new("/a")).unwrap(), 1000);
    file.write_at(1, &[b"y"]).unwrap();
    assert_eq!(files.modified(Path::new("/a")).unwrap(), 2000);
    assert_eq!(files.durable().modified(Path::new("/a")).unwrap(), 1000);
}
