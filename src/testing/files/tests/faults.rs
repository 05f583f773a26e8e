//! Each fault does what it says, to the files that it is for, and nothing after it was healed.

use super::super::fault::errno;
use super::*;

fn errno_of<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn after_a_failed_sync_the_next_succeeds_and_the_data_is_gone() {
    let files = SimulatedFiles::default();
    let file = written(&files, "/a", b"x");
    files.fail_syncs_after(0);
    assert_eq!(errno_of(file.sync_data()), Some(errno::EIO));
    files.heal();
    file.sync_data().unwrap();
    assert_eq!(content(&files, "/a").unwrap(), b"x");
    assert!(content(&files.durable(), "/a").unwrap().is_empty());
}

#[test]
fn a_sync_fails_once_for_the_files_that_were_named() {
    let files = SimulatedFiles::default();
    let (log, index) = (written(&files, "/a.log", b"x"), written(&files, "/a.index", b"y"));
    files.inject(Fault::SyncFails, Target::kind(FileKind::Segment), Times::Once);
    index.sync_data().unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    assert_eq!(errno_of(log.sync_data()), Some(errno::EIO));
    log.write_at(1, &[b"z"]).unwrap();
    log.sync_data().unwrap();
    assert_eq!(content(&files.durable(), "/a.log").unwrap(), [0, b'z'], "what the failed sync forgot is a hole");
}

#[test]
fn a_directory_sync_fails_by_itself() {
    let files = SimulatedFiles::default();
    let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
    files.inject(Fault::SyncFails, Target::kind(FileKind::Directory), Times::Once);
    file.sync_data().unwrap();
    assert_eq!(errno_of(files.sync_dir(Path::new("/"))), Some(errno::EIO));
    files.sync_dir(Path::new("/")).unwrap();
    assert_eq!(content(&files.durable(), "/a"), None);
    assert_eq!(content(&files, "/a").unwrap(), b"");
}

#[test]
fn a_lying_sync_says_that_all_is_well_and_moves_nothing() {
    let files = SimulatedFiles::default();
    let file = written(&files, "/a", b"x");
    files.inject(Fault::SyncLies, Target::any(), Times::Always);
    file.sync_data().unwrap();
    assert_eq!((files.dirty_bytes(), files.durable_len(Path::new("/a"))), (1, Some(0)));
    files.heal();
    file.sync_data().unwrap();
    assert_eq!((files.dirty_bytes(), files.durable_len(Path::new("/a"))), (0, Some(1)));
}

#[test]
fn a_failed_write_is_done_in_half() {
    let files = SimulatedFiles::default();
    let file = synced(&files, "/a", b"");
    files.inject(Fault::WriteFails, Target::below("/a"), Times::OnceAfter(1));
    file.write_at(0, &[b"ab"]).unwrap();
    assert_eq!(errno_of(file.write_at(2, &[b"cd", b"ef"])), Some(errno::EIO));
    assert_eq!(content(&files, "/a").unwrap(), b"abcd");
    file.write_at(4, &[b"g"]).unwrap();
    assert_eq!(content(&files, "/a").unwrap(), b"abcdg");
}

#[test]
fn a_full_disk_takes_what_fits_until_something_makes_room() {
    let files = SimulatedFiles::default();
    let (one, other) = (written(&files, "/a", &[1; 60]), written(&files, "/b", &[2; 30]));
    files.set_capacity(Some(100));
    let refused = one.write_at(60, &[&[3; 20]]).unwrap_err();
    assert_eq!((refused.raw_os_error(), refused.kind()), (Some(errno::ENOSPC), io::ErrorKind::StorageFull));
    assert_eq!((content(&files, "/a").unwrap().len(), files.used_bytes()), (70, 100));
    one.write_at(0, &[&[4; 70]]).unwrap();
    assert_eq!(errno_of(one.set_len(71)), Some(errno::ENOSPC));
    assert_eq!(errno_of(files.open(Path::new("/c"), OpenMode::Create)), Some(errno::ENOSPC));
    one.set_len(65).unwrap();
    other.write_at(30, &[&[5; 5]]).unwrap();
    files.remove_file(Path::new("/a")).unwrap();
    assert_eq!(files.used_bytes(), 100, "a file that is open keeps its space");
    drop(one);
    assert_eq!(files.used_bytes(), 35);
    assert_eq!(files.crash_point().random(Survival::Everything, &mut |_| 0).disk().room(), 65);
}

#[test]
fn space_is_counted_through_renames_and_removed_directories() {
    let files = SimulatedFiles::default();
    files.create_dir_all(Path::new("/d")).unwrap();
    for (path, len) in [("/a", 10), ("/b", 5), ("/d/c", 7)] {
        drop(written(&files, path, &vec![1; len]));
    }
    files.rename(Path::new("/b"), Path::new("/a")).unwrap();
    assert_eq!(files.used_bytes(), 12);
    files.remove_dir_all(Path::new("/d")).unwrap();
    assert_eq!(files.used_bytes(), 5);
}

#[test]
fn reads_fail_for_the_files_that_were_named() {
    let files = SimulatedFiles::default();
    let (one, other) = (synced(&files, "/a.index", b"x"), synced(&files, "/b.index", b"y"));
    files.inject(Fault::ReadFails, Target::kind(FileKind::OffsetIndex).and_below("/a.index"), Times::Always);
    assert_eq!(errno_of(one.read_at(0, &mut [0])), Some(errno::EIO));
    assert_eq!(other.read_at(0, &mut [0]).unwrap(), 1);
    files.heal();
    assert_eq!(one.read_at(0, &mut [0]).unwrap(), 1);
}

#[test]
fn a_bad_sector_survives_a_power_cut_and_is_mended_by_a_write_over_it() {
    let files = SimulatedFiles::default();
    synced(&files, "/a", &[1; 2048]);
    files.fail_reads_at(Path::new("/a"), 700);
    let files = files.durable();
    let file = files.open(Path::new("/a"), OpenMode::Write).unwrap();
    let mut buffer = [0; 512];
    assert_eq!(file.read_at(0, &mut buffer).unwrap(), 512);
    assert_eq!(errno_of(file.read_at(1, &mut buffer)), Some(errno::EIO));
    file.write_at(512, &[&[2; 511]]).unwrap();
    assert_eq!(errno_of(file.read_at(512, &mut buffer)), Some(errno::EIO));
    file.write_at(512, &[&[2; 512]]).unwrap();
    assert_eq!(file.read_at(512, &mut buffer).unwrap(), 512);
}

#[test]
fn a_misdirected_write_is_seen_here_and_reaches_the_medium_there() {
    let files = SimulatedFiles::default();
    let one = synced(&files, "/a", b"aaaa");
    synced(&files, "/b", b"bbbb");
    let fault = Fault::WriteMisdirected { to: "/b".into(), position: 1 };
    files.inject(fault, Target::below("/a"), Times::Once);
    one.write_at(0, &[b"xx"]).unwrap();
    assert_eq!(content(&files, "/a").unwrap(), b"xxaa");
    one.sync_data().unwrap();
    let after = files.durable();
    assert_eq!((content(&after, "/a").unwrap(), content(&after, "/b").unwrap()), (b"aaaa".to_vec(), b"bxxb".to_vec()));
    files.evict_clean();
    assert_eq!((content(&files, "/a").unwrap(), content(&files, "/b").unwrap()), (b"aaaa".to_vec(), b"bxxb".to_vec()));
}

#[test]
fn a_lost_write_is_seen_until_memory_is_short() {
    let files = SimulatedFiles::default();
    let file = synced(&files, "/a", b"aaaa");
    files.inject(Fault::WriteLost, Target::any(), Times::Once);
    file.write_at(2, &[b"xx"]).unwrap();
    file.write_at(1, &[b"y"]).unwrap();
    file.sync_data().unwrap();
    assert_eq!(content(&files, "/a").unwrap(), b"ayxx");
    files.evict_clean();
    assert_eq!(content(&files, "/a").unwrap(), b"ayaa");
}

#[test]
fn a_failed_writeback_is_told_once_to_each_descriptor_that_was_open_then() {
    let files = SimulatedFiles::default();
    let file = synced(&files, "/a", b"aaaa");
    let other = files.open(Path::new("/a"), OpenMode::Read).unwrap();
    files.inject(Fault::WritebackFails, Target::any(), Times::Once);
    file.write_at(2, &[b"xx"]).unwrap();
    let later = files.open(Path::new("/a"), OpenMode::Read).unwrap();
    later.sync_data().unwrap();
    assert_eq!(
        (content(&files, "/a").unwrap(), content(&files.durable(), "/a").unwrap()),
        (b"aaxx".into(), b"aaaa".into())
    );
    for told in [file, other] {
        assert_eq!(errno_of(told.sync_data()), Some(errno::EIO));
        told.sync_data().unwrap();
    }
}

#[test]
fn what_waits_for_a_sync_is_not_clean() {
    let files = SimulatedFiles::default();
    let file = synced(&files, "/a", b"aaaa");
    file.write_at(2, &[b"xx"]).unwrap();
    files.evict_clean();
    assert_eq!(content(&files, "/a").unwrap(), b"aaxx");
}

#[test]
fn a_misdirected_read_gives_what_stands_elsewhere() {
    let files = SimulatedFiles::default();
    let one = synced(&files, "/a", b"aaaa");
    synced(&files, "/b", b"bcde");
    files.inject(Fault::ReadMisdirected { from: "/b".into(), position: 2 }, Target::below("/a"), Times::Once);
    let mut buffer = [0; 4];
    assert_eq!((one.read_at(0, &mut buffer).unwrap(), &buffer[..2]), (2, &b"de"[..]));
    assert_eq!((one.read_at(0, &mut buffer).unwrap(), &buffer), (4, b"aaaa"));
}

#[test]
fn an_open_is_denied_and_makes_nothing() {
    let files = SimulatedFiles::default();
    synced(&files, "/a", b"x");
    files.inject(Fault::OpenDenied, Target::any(), Times::Once);
    files.inject(Fault::TooManyOpen, Target::any(), Times::Once);
    assert_eq!(errno_of(files.open(Path::new("/b"), OpenMode::Create)), Some(errno::EACCES));
    assert_eq!(errno_of(files.open(Path::new("/a"), OpenMode::Read)), Some(errno::EMFILE));
    assert!(!files.exists(Path::new("/b")).unwrap());
    assert_eq!(content(&files, "/a").unwrap(), b"x");
}

#[test]
fn a_disk_that_is_only_read_can_be_read() {
    let files = SimulatedFiles::default();
    let file = synced(&files, "/a", b"x");
    files.inject(Fault::ReadOnly, Target::any(), Times::Always);
    let path = Path::new("/a");
    assert_eq!(errno_of(file.write_at(0, &[b"y"])), Some(errno::EROFS));
    assert_eq!(errno_of(file.set_len(0)), Some(errno::EROFS));
    assert_eq!(errno_of(files.open(path, OpenMode::Write)), Some(errno::EROFS));
    assert_eq!(errno_of(files.create_dir_all(Path::new("/d"))), Some(errno::EROFS));
    assert_eq!(errno_of(files.rename(path, Path::new("/b"))), Some(errno::EROFS));
    assert_eq!(errno_of(files.remove_file(path)), Some(errno::EROFS));
    file.sync_data().unwrap();
    assert_eq!(content(&files, "/a").unwrap(), b"x");
}
