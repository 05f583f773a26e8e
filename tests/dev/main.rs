//! `ottla dev` as a process, with what surrounds it.

mod cluster;

use crate::cluster::{Dev, eventually};

#[tokio::test]
async fn a_closed_terminal_does_not_take_the_cluster_down_with_a_killed_node() {
    let data = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::start(data.path(), 2, &[]).await;
    drop(dev.stderr());
    let pid = dev.pid(1);
    dev.kill(1);
    eventually("dev takes note of the end", || !std::fs::exists(format!("/proc/{pid}")).expect("/proc is there")).await;
    let answer = dev.restart(1).await;
    assert_eq!(answer, "started node 1\n");
    dev.stop().await;
}

#[tokio::test]
async fn a_directory_that_nobody_named_is_told() {
    let parent = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::start_temporary(parent.path()).await;
    let told = dev.complaint().await;
    let entry = std::fs::read_dir(parent.path()).expect("there").next().expect("made before it is told").expect("read");
    let path = entry.path().canonicalize().expect("there");
    assert_eq!(told, format!("ottla dev: the data is in {}, removed at the end", path.display()));
    dev.stop().await;
    assert!(!path.exists());
}

#[tokio::test]
async fn the_command_that_starts_a_killed_node_again_is_told_whole() {
    let data = tempfile::tempdir().expect("a directory");
    let mut dev = Dev::start(data.path(), 1, &[]).await;
    dev.kill(1);
    let told = dev.complaint().await;
    let path = data.path().canonicalize().expect("there");
    assert!(told.contains(&format!("`ottla dev restart 1 --data {}`", path.display())), "{told}");
    dev.stop().await;
}

#[tokio::test]
async fn other_voters_than_those_of_the_founding_are_told_once() {
    let data = tempfile::tempdir().expect("a directory");
    let words = "controller.quorum.voters does not name the voters of the quorum";
    let dev = Dev::start(data.path(), 2, &[]).await;
    dev.stop().await;
    let dev = Dev::start(data.path(), 2, &[]).await;
    assert!(!dev.log(1).contains(words), "{}", dev.log(1));
    dev.stop().await;
    let dev = Dev::spawn(data.path(), 1, &[]);
    eventually("the other voters are told", || dev.log(1).contains(words)).await;
    let log = dev.log(1);
    let told: Vec<_> = log.lines().filter(|line| line.contains(words)).collect();
    let both = "configured={NodeId(1)} quorum={NodeId(1), NodeId(2)}";
    assert!(told.len() == 1 && told[0].contains(both), "{told:?}");
    dev.stop().await;
}

#[tokio::test]
async fn another_min_isr_than_that_of_the_first_start_is_told_once() {
    let data = tempfile::tempdir().expect("a directory");
    let words = "this node's min.insync.replicas does not count";
    let dev = Dev::start(data.path(), 1, &["min.insync.replicas=1"]).await;
    assert!(!dev.log(1).contains(words), "{}", dev.log(1));
    dev.stop().await;
    let dev = Dev::start(data.path(), 1, &["min.insync.replicas=2"]).await;
    eventually("the other value is told", || dev.log(1).contains(words)).await;
    assert_eq!(dev.log(1).matches(words).count(), 1);
    dev.stop().await;
}
