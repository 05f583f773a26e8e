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
