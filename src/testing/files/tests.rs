//! What simulated files do, and what a power cut may and may not do to them.

mod faults;
mod property;
mod rest;

use super::*;

fn content(files: &SimulatedFiles, path: &str) -> Option<Vec<u8>> {
    let file = files.open(Path::new(path), OpenMode::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    let count = file.read_at(0, &mut bytes).unwrap();
    assert_eq!(count, bytes.len());
    Some(bytes)
}

/// A new file, with its name durable and its bytes not.
fn written(files: &SimulatedFiles, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = files.open(Path::new(path), OpenMode::Create).unwrap();
    files.sync_dir(Path::new(path).parent().unwrap()).unwrap();
    file.write_at(0, &[bytes]).unwrap();
    file
}

/// A file that is durable.
fn synced(files: &SimulatedFiles, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = written(files, path, bytes);
    file.sync_data().unwrap();
    file
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
fn an_unsynced_write_may_be_lost_or_torn_or_have_only_its_length() {
    let files = SimulatedFiles::default();
    let file = written(&files, "/a", &[7; 1024]);
    let point = files.crash_point();
    assert_eq!(point.ways(), [5]);
    assert!(content(&point.after(&[0]), "/a").unwrap().is_empty());
    assert_eq!(content(&point.after(&[1]), "/a").unwrap(), [7; 1024]);
    assert_eq!(content(&point.after(&[2]), "/a").unwrap(), [7; 512]);
    assert_eq!(content(&point.after(&[3]), "/a").unwrap(), [[0; 512], [7; 512]].concat());
    assert_eq!(content(&point.after(&[4]), "/a").unwrap(), [0; 1024]);
    file.sync_data().unwrap();
    file.write_at(0, &[&[8; 100]]).unwrap();
    assert_eq!(files.crash_point().ways(), [2], "a sector that was there is old or new");
}

#[test]
fn a_rename_happens_or_not() {
    let files = SimulatedFiles::default();
    synced(&files, "/a", b"old");
    synced(&files, "/b", b"new");
    files.rename(Path::new("/b"), Path::new("/a")).unwrap();
    let point = files.crash_point();
    assert_eq!(content(&point.after(&[0]), "/a").unwrap(), b"old");
    assert_eq!(content(&point.after(&[1]), "/a").unwrap(), b"new");
    assert_eq!(content(&point.after(&[1]), "/b"), None);
}

#[test]
fn a_directory_is_removed_entry_by_entry() {
    let files = SimulatedFiles::default();
    files.create_dir_all(Path::new("/d/e")).unwrap();
    files.sync_dir(Path::new("/")).unwrap();
    files.sync_dir(Path::new("/d")).unwrap();
    synced(&files, "/d/a", b"a");
    synced(&files, "/d/e/b", b"b");
    files.remove_dir_all(Path::new("/d")).unwrap();
    assert_eq!(files.files_under(Path::new("/")), []);
    let point = files.crash_point();
    assert_eq!(point.ways(), [2, 2, 2, 2]);
    assert_eq!(content(&point.after(&[1, 0, 0, 0]), "/d/a"), None);
    assert_eq!(content(&point.after(&[1, 0, 0, 0]), "/d/e/b").unwrap(), b"b");
    assert_eq!(content(&point.after(&[0, 0, 0, 0]), "/d/a").unwrap(), b"a");
}

#[test]
fn after_a_power_cut_nothing_is_locked_and_nothing_waits() {
    let files = SimulatedFiles::default();
    let _lock = Files::lock(&files, Path::new("/lock")).unwrap();
    written(&files, "/a", b"x");
    let after = files.crash_point().random(Survival::Everything, &mut |_| 0);
    assert_eq!((after.dirty_bytes(), content(&after, "/a").unwrap()), (0, b"x".to_vec()));
    assert!(Files::lock(&after, Path::new("/lock")).is_ok());
}

#[test]
fn a_lock_is_held_once_and_given_up_with_its_guard() {
    let files = SimulatedFiles::default();
    let held = Files::lock(&files, Path::new("/lock")).unwrap();
    let refused = Files::lock(&files.clone(), Path::new("/lock")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
    assert!(files.exists(Path::new("/lock")).unwrap());
    drop(held);
    assert!(Files::lock(&files, Path::new("/lock")).is_ok());
}

#[test]
fn files_that_nobody_can_reach_are_given_up_and_open_ones_are_not() {
    let files = SimulatedFiles::default();
    let kept = synced(&files, "/kept", b"kept");
    let unnamed = synced(&files, "/unnamed", b"unnamed");
    files.remove_file(Path::new("/unnamed")).unwrap();
    for round in 0_u32..1000 {
        let bytes = round.to_be_bytes();
        files.open(Path::new("/x.tmp"), OpenMode::Create).unwrap().write_at(0, &[&bytes]).unwrap();
        files.rename(Path::new("/x.tmp"), Path::new("/x")).unwrap();
        files.sync_dir(Path::new("/")).unwrap();
    }
    assert!(files.disk().count() < 200, "{} files are kept", files.disk().count());
    assert_eq!(content(&files, "/x").unwrap(), 999_u32.to_be_bytes());
    let mut bytes = [0; 7];
    assert_eq!((kept.read_at(0, &mut bytes).unwrap(), &bytes[..4]), (4, &b"kept"[..]));
    assert_eq!((unnamed.read_at(0, &mut bytes).unwrap(), &bytes), (7, b"unnamed"));
}

#[test]
fn a_random_power_cut_leaves_as_much_as_it_is_told_to() {
    let files = SimulatedFiles::default();
    let file = synced(&files, "/a", &[1; 10]);
    for i in 1..5_u8 {
        file.write_at(u64::from(i) * 10, &[&[i + 1; 10]]).unwrap();
    }
    let point = files.crash_point();
    let len = |survival, pick: &mut dyn FnMut(usize) -> usize| content(&point.random(survival, pick), "/a").unwrap();
    assert_eq!(len(Survival::Nothing, &mut |_| 0), [1; 10]);
    assert_eq!(len(Survival::Everything, &mut |_| 0).len(), 50);
    assert_eq!(len(Survival::Prefix, &mut |n| if n == 5 { 2 } else { 0 }), [[1; 10], [2; 10], [3; 10]].concat());
    assert_eq!(len(Survival::Prefix, &mut |_| 2), [[1; 10], [2; 10], [3; 10], [0; 10]].concat());
    let mut draws = [0, 1, 0, 2].into_iter();
    let any = len(Survival::Any, &mut |_| draws.next().unwrap());
    assert_eq!(any, [&[1; 10][..], &[0; 10], &[3; 10], &[0; 10], &[0; 10]].concat());
}

#[test]
fn a_random_power_cut_tears_a_write_at_any_sector() {
    let files = SimulatedFiles::default();
    written(&files, "/a", &[7; 2000]);
    let mut draws = [5, 1, 0, 1, 0].into_iter();
    let after = files.crash_point().random(Survival::Any, &mut |_| draws.next().unwrap());
    assert_eq!(content(&after, "/a").unwrap(), [[7; 512], [0; 512], [7; 512]].concat());
}

#[test]
fn outcomes_are_told_apart_as_the_files_that_they_are() {
    let files = SimulatedFiles::default();
    let file = synced(&files, "/a", &[1; 700]);
    files.rename(Path::new("/a"), Path::new("/b")).unwrap();
    file.write_at(100, &[&[2; 1000]]).unwrap();
    files.create_dir_all(Path::new("/d")).unwrap();
    written(&files, "/d/e", b"x");
    file.set_len(1100).unwrap();
    file.set_len(1000).unwrap();
    let point = files.crash_point();
    let ways = point.ways();
    let mut outcomes = point.outcomes();
    let mut digests = BTreeMap::new();
    for mut number in 0..ways.iter().product::<usize>() {
        let digit = |n: &usize| {
            let digit = number % n;
            number /= n;
            digit
        };
        let ends: Vec<usize> = ways.iter().map(digit).collect();
        let digest = outcomes.digest(&ends);
        let after = point.after(&ends);
        assert_eq!((digest, outcomes.after(&ends).digest()), (after.digest(), after.digest()));
        let shown: Vec<_> = after.files_under(Path::new("/"));
        let bytes: Vec<_> = shown.iter().map(|(path, _)| content(&after, path.to_str().unwrap())).collect();
        let directory = after.exists(Path::new("/d")).unwrap();
        assert_eq!(
            digests.entry(digest).or_insert((shown.clone(), bytes.clone(), directory)),
            &(shown, bytes, directory)
        );
    }
    assert!(digests.len() > 50, "{} of {ways:?}", digests.len());
}
