//! What a power cut may and may not do to simulated files.

use super::*;

fn content(files: &SimulatedFiles, path: &str) -> Option<Vec<u8>> {
    let file = files.open(Path::new(path), OpenMode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    Some(bytes)
}

#[test]
fn a_file_is_there_after_a_power_cut_only_if_its_directory_was_synced_too() {
    let files = SimulatedFiles::default();
    let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
    file.write_at(0, &[b"x"]).unwrap();
    file.sync_data().unwrap();
    let point = files.crash_point();
    assert_eq!(content(&point.after(&[0]), "/a"), None);
    assert_eq!(content(&point.after(&[1]), "/a").unwrap(), b"x");
    files.sync_dir(Path::new("/")).unwrap();
    assert!(files.crash_point().ways().is_empty());
}

#[test]
fn an_unsynced_write_may_be_lost_or_torn() {
    let files = SimulatedFiles::default();
    let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    file.write_at(0, &[&[7; 1024]]).unwrap();
    let point = files.crash_point();
    assert_eq!(point.ways(), [4]);
    assert!(content(&point.after(&[0]), "/a").unwrap().is_empty());
    assert_eq!(content(&point.after(&[2]), "/a").unwrap(), [7; 512]);
    assert_eq!(content(&point.after(&[3]), "/a").unwrap(), [[0; 512], [7; 512]].concat());
}

#[test]
fn a_rename_happens_or_not() {
    let files = SimulatedFiles::default();
    files.open(Path::new("/a"), OpenMode::Create).unwrap().write_at(0, &[b"old"]).unwrap();
    files.open(Path::new("/b"), OpenMode::Create).unwrap().write_at(0, &[b"new"]).unwrap();
    for path in ["/a", "/b"] {
        files.open(Path::new(path), OpenMode::Write).unwrap().sync_data().unwrap();
    }
    files.sync_dir(Path::new("/")).unwrap();
    files.rename(Path::new("/b"), Path::new("/a")).unwrap();
    let point = files.crash_point();
    assert_eq!(content(&point.after(&[0]), "/a").unwrap(), b"old");
    assert_eq!(content(&point.after(&[1]), "/a").unwrap(), b"new");
    assert_eq!(content(&point.after(&[1]), "/b"), None);
}

#[test]
fn after_a_failed_sync_the_next_succeeds_and_the_data_is_gone() {
    let files = SimulatedFiles::default();
    let file = files.open(Path::new("/a"), OpenMode::Create).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    file.write_at(0, &[b"x"]).unwrap();
    files.fail_syncs_after(0);
    assert!(file.sync_data().is_err());
    files.heal();
    file.sync_data().unwrap();
    assert!(content(&files.crash_point().after(&[]), "/a").unwrap().is_empty());
}
