//! DescribeCluster: the brokers, for administration.
//!
//! Invariant: addresses are those of the listener that the request came in on.

use super::call::Caller;
use super::context::{CLUSTER_OPERATIONS, Context, OPERATIONS_UNTOLD};
use crate::machines::metadata::Broker;
use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

/// The endpoint types of KIP-919.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Serves the request.
pub(super) async fn describe_cluster(
    context: Context,
    caller: Caller,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            return refused(ErrorCode::MismatchedEndpointType, "this is a broker's listener, not a controller's");
        }
        _ => return refused(ErrorCode::UnsupportedEndpointType, "the endpoint type is unknown"),
    }
    let image = context.image();
    let is_shown = |broker: &&Broker| request.include_fenced_brokers || !broker.is_fenced();
    let brokers = image.brokers().iter().filter(is_shown);
    let wants_operations = request.include_cluster_authorized_operations;
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: image.cluster().map(|cluster| cluster.to_string()).unwrap_or_default(),
        controller_id: context.any_broker(&image),
        brokers: brokers.filter_map(|broker| describe(broker, &caller.listener)).collect(),
        cluster_authorized_operations: if wants_operations { CLUSTER_OPERATIONS } else { OPERATIONS_UNTOLD },
        ..DescribeClusterResponse::default()
    }
}

fn describe(broker: &Broker, listener: &str) -> Option<DescribeClusterBroker> {
    let listener = broker.listener(listener)?;
    Some(DescribeClusterBroker {
        broker_id: broker.node.get(),
        host: listener.host.clone(),
        port: i32::from(listener.port),
        rack: broker.rack.clone(),
        is_fenced: broker.is_fenced(),
    })
}

fn refused(error_code: ErrorCode, message: &str) -> DescribeClusterResponse {
    DescribeClusterResponse { error_code, error_message: Some(message.to_owned()), ..Default::default() }
}
