//! Says when this node's `min.insync.replicas` is not the one that counts.
//!
//! Called by `running`. Invariant: it changes nothing; the value that the first active controller wrote into the
//! metadata log counts on every node, as in Kafka since 4.0 (rule R13).

use std::sync::Arc;

use tokio::sync::watch;
use tracing::warn;

use crate::machines::metadata::{ConfigResource, Image};

/// The name of the configuration.
pub(super) const MIN_ISR: &str = "min.insync.replicas";

/// Waits until the cluster has a value, and warns once when this node is configured with another.
pub(super) async fn compare_min_isr(configured: String, images: watch::Receiver<Arc<Image>>) {
    if let Some(in_force) = overruling(&configured, images).await {
        warn!(
            configured,
            in_force,
            "this node's min.insync.replicas does not count: the cluster has kept the value of its first start"
        );
    }
}

/// The cluster's value, if it is another. `None` also when the quorum ends before there is one.
async fn overruling(configured: &str, mut images: watch::Receiver<Arc<Image>>) -> Option<String> {
    let in_force = |image: &Image| image.configs().get(&ConfigResource::Cluster, MIN_ISR).map(str::to_owned);
    let image = images.wait_for(|image| in_force(image).is_some()).await.ok()?;
    in_force(&image).filter(|in_force| in_force != configured)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::metadata::Record;

    async fn check(configured: &str, expected: Option<&str>) {
        let value = Some("1".to_owned());
        let set = Record::ConfigSet { resource: ConfigResource::Cluster, name: MIN_ISR.to_owned(), value };
        let (publish, images) = watch::channel(Arc::new(Image::default()));
        let publish = async move { publish.send_replace(Arc::new(Image::default().with(&[set]))) };
        let (overruled, _) = tokio::join!(overruling(configured, images), publish);
        assert_eq!(overruled.as_deref(), expected);
    }

    #[tokio::test]
    async fn the_value_of_the_cluster_is_told_when_it_is_another() {
        check("1", None).await;
        check("2", Some("1")).await;
    }

    #[tokio::test]
    async fn a_quorum_that_ends_without_a_value_has_nothing_to_tell() {
        let (_, images) = watch::channel(Arc::new(Image::default()));
        assert_eq!(overruling("2", images).await, None);
    }
}
