//! IncrementalAlterConfigs: settings of topics and groups, and the defaults of all brokers; the controller decides, this file
//! translates.
//!
//! Invariant: every resource of the request is answered, in its order; one that is named more than once is altered by
//! none of its mentions. When this answers, this node knows what was changed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::call::Caller;
use super::config_resource::{Brokers, Fault, ResourceType};
use super::context::Context;
use super::error;
use crate::broker::{AlteredConfigs, NoController};
use crate::machines::controller::{AlterConfigs, AlterationScope, ConfigAlteration, ConfigChange, ConfigTarget};
use crate::model::{GroupId, NodeId, TopicName};
use crate::protocol::ErrorCode;
use crate::protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};

/// How long the controller may take: the request has no timeout of its own, and clients wait for half a minute.
const TIMEOUT_MS: i32 = 30_000;

/// What is done with a setting.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Serves the request.
pub(super) async fn incremental_alter_configs(
    context: Context,
    caller: Caller,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let within = context.change_wait(TIMEOUT_MS, &caller);
    let (mut resources, mut faults) = (Vec::new(), Vec::new());
    for alteration in alterations(&request.resources, context.broker().node()) {
        match alteration {
            Ok(alteration) => {
                resources.push(alteration);
                faults.push(None);
            }
            Err(fault) => faults.push(Some(fault)),
        }
    }
    let order = AlterConfigs { resources, validate_only: request.validate_only, settled: Vec::new() };
    let decided = decide(&context, order, within).await;
    let responses = responses(request.resources, faults, decided);
    IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
}

async fn decide(context: &Context, order: AlterConfigs, within: Duration) -> Result<AlteredConfigs, NoController> {
    if order.resources.is_empty() {
        return Ok(AlteredConfigs::new());
    }
    context.broker().alter_configs(order, within).await
}

/// What each resource asks for, of broker `own`.
fn alterations(resources: &[AlterConfigsResource], own: NodeId) -> Vec<Result<ConfigAlteration, Fault>> {
    let mut seen = BTreeSet::new();
    let named = |resource: &AlterConfigsResource| (resource.resource_type, resource.resource_name.clone());
    let repeated: BTreeSet<_> = resources.iter().map(named).filter(|name| !seen.insert(name.clone())).collect();
    let alteration = |resource: &AlterConfigsResource| match repeated.contains(&named(resource)) {
        true => Err(Fault::invalid("the request names this resource more than once")),
        false => alteration(resource, own),
    };
    resources.iter().map(alteration).collect()
}

fn alteration(resource: &AlterConfigsResource, own: NodeId) -> Result<ConfigAlteration, Fault> {
    let target = target(resource, own)?;
    let changes = resource.configs.iter().map(|config| Ok((config.name.clone(), change(config)?)));
    Ok(ConfigAlteration {
        target,
        changes: changes.collect::<Result<_, Fault>>()?,
        scope: AlterationScope::Incremental,
    })
}

fn target(resource: &AlterConfigsResource, own: NodeId) -> Result<ConfigTarget, Fault> {
    let name = resource.resource_name.as_str();
    match ResourceType::of(resource.resource_type)? {
        ResourceType::Topic if name.is_empty() => {
            Err(Fault::invalid("topics have no defaults of their own; those of all brokers are theirs"))
        }
        ResourceType::Topic => match TopicName::new(name) {
            Ok(_) => Ok(ConfigTarget::Topic(name.to_owned())),
            Err(cause) => Err(Fault { code: ErrorCode::InvalidTopicException, message: cause.to_string() }),
        },
        ResourceType::Broker => Ok(match Brokers::named(name, own)? {
            Brokers::All => ConfigTarget::Cluster,
            Brokers::Own => ConfigTarget::Broker(own),
        }),
        ResourceType::BrokerLogger => Err(Fault::invalid("log levels cannot be changed while the broker runs")),
        ResourceType::ClientMetrics => Err(Fault::invalid("this broker takes no metrics of clients")),
        ResourceType::Group if name.is_empty() => Err(group_without_name()),
        ResourceType::Group => Ok(ConfigTarget::Group(GroupId::new(name))),
    }
}

fn group_without_name() -> Fault {
    Fault::invalid("groups have no defaults of their own; those of the brokers (group.consumer.*) are theirs")
}

fn change(config: &AlterableConfig) -> Result<ConfigChange, Fault> {
    let name = &config.name;
    let value = || config.value.clone().ok_or_else(|| Fault::invalid(format!("'{name}' needs a value")));
    match config.config_operation {
        SET => value().map(ConfigChange::Set),
        DELETE => Ok(ConfigChange::Delete),
        APPEND => value().map(ConfigChange::Append),
        SUBTRACT => value().map(ConfigChange::Subtract),
        other => Err(Fault::invalid(format!("operation {other} on '{name}' is unknown"))),
    }
}

/// One answer for each resource, given what became of those without a fault, in their order.
fn responses(
    asked: Vec<AlterConfigsResource>,
    faults: Vec<Option<Fault>>,
    decided: Result<AlteredConfigs, NoController>,
) -> Vec<AlterConfigsResourceResponse> {
    let mut decided = decided.map(Vec::into_iter);
    let mut outcome = || match &mut decided {
        Ok(outcomes) => match outcomes.next().ok_or(NoController) {
            Ok((_, Ok(()))) => None,
            Ok((target, Err(refusal))) => {
                Some(Fault { code: error::of_alteration(&target, &refusal), message: refusal.to_string() })
            }
            Err(cause) => Some(unanswered(cause)),
        },
        Err(cause) => Some(unanswered(*cause)),
    };
    let response = |(resource, fault): (AlterConfigsResource, Option<Fault>)| {
        let AlterConfigsResource { resource_type, resource_name, .. } = resource;
        let (error_code, error_message) = match fault.or_else(&mut outcome) {
            None => (ErrorCode::None, None),
            Some(fault) => (fault.code, Some(fault.message)),
        };
        AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name }
    };
    asked.into_iter().zip(faults).map(response).collect()
}

fn unanswered(cause: NoController) -> Fault {
    Fault { code: error::of_no_controller(cause), message: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machines::controller::ConfigRefusal;

    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;

    fn resource(resource_type: i8, name: &str, configs: Vec<AlterableConfig>) -> AlterConfigsResource {
        AlterConfigsResource { resource_type, resource_name: name.to_owned(), configs }
    }

    fn config(config_operation: i8, value: Option<&str>) -> AlterableConfig {
        AlterableConfig { name: "x".to_owned(), config_operation, value: value.map(str::to_owned) }
    }

    /// What the resources become: their targets, or the codes of their faults.
    fn targets(resources: &[AlterConfigsResource]) -> Vec<Result<ConfigTarget, ErrorCode>> {
        let alterations = alterations(resources, NodeId::new(1)).into_iter();
        alterations.map(|alteration| alteration.map(|a| a.target).map_err(|fault| fault.code)).collect()
    }

    #[test]
    fn each_resource_becomes_its_target_or_is_refused() {
        let invalid = || Err(ErrorCode::InvalidRequest);
        let cases = [
            (TOPIC, "t", Ok(ConfigTarget::Topic("t".to_owned()))),
            (TOPIC, "", invalid()),
            (TOPIC, "a/b", Err(ErrorCode::InvalidTopicException)),
            (BROKER, "", Ok(ConfigTarget::Cluster)),
            (BROKER, "1", Ok(ConfigTarget::Broker(NodeId::new(1)))),
            (BROKER, "2", invalid()),
            (8, "1", invalid()),
            (16, "m", invalid()),
            (32, "g", Ok(ConfigTarget::Group(GroupId::new("g")))),
            (32, "", invalid()),
            (99, "t", invalid()),
        ];
        for (resource_type, name, expected) in cases {
            assert_eq!(targets(&[resource(resource_type, name, Vec::new())]), [expected], "{resource_type} '{name}'");
        }
    }

    #[test]
    fn a_resource_that_is_named_twice_is_altered_by_neither_mention() {
        let named = |name| resource(TOPIC, name, Vec::new());
        let t = Err(ErrorCode::InvalidRequest);
        let u = Ok(ConfigTarget::Topic("u".to_owned()));
        assert_eq!(targets(&[named("t"), named("u"), named("t")]), [t.clone(), u, t]);
        let broker = resource(BROKER, "", Vec::new());
        assert!(targets(&[resource(TOPIC, "t", Vec::new()), broker]).iter().all(Result::is_ok));
    }

    #[test]
    fn only_a_deletion_needs_no_value() {
        let changed = |operation, value| change(&config(operation, value)).map_err(|fault| fault.code);
        let invalid = || Err(ErrorCode::InvalidRequest);
        assert_eq!(changed(SET, Some("5")), Ok(ConfigChange::Set("5".to_owned())));
        assert_eq!(changed(APPEND, Some("5")), Ok(ConfigChange::Append("5".to_owned())));
        assert_eq!(changed(SUBTRACT, Some("5")), Ok(ConfigChange::Subtract("5".to_owned())));
        assert_eq!(changed(DELETE, None), Ok(ConfigChange::Delete));
        assert_eq!(changed(DELETE, Some("5")), Ok(ConfigChange::Delete));
        for operation in [SET, APPEND, SUBTRACT, 4, -1] {
            assert_eq!(changed(operation, None), invalid(), "{operation}");
        }
        let configs = vec![config(SET, Some("5")), config(SET, None)];
        assert_eq!(targets(&[resource(TOPIC, "t", configs)]), [Err(ErrorCode::InvalidRequest)]);
    }

    #[test]
    fn every_resource_is_answered_in_its_order() {
        let asked = || vec![resource(TOPIC, "a", vec![]), resource(32, "g", vec![]), resource(TOPIC, "b", vec![])];
        let told = |decided| {
            let faults = vec![None, Some(Fault::invalid("no")), None];
            let responses = responses(asked(), faults, decided).into_iter();
            responses.map(|r| (r.resource_name, r.error_code, r.error_message.is_some())).collect::<Vec<_>>()
        };
        let topic = |name: &str| ConfigTarget::Topic(name.to_owned());
        let decided = vec![(topic("a"), Ok(())), (topic("b"), Err(ConfigRefusal::UnknownTopic))];
        let group = ("g".to_owned(), ErrorCode::InvalidRequest, true);
        let unknown = ("b".to_owned(), ErrorCode::UnknownTopicOrPartition, true);
        assert_eq!(told(Ok(decided)), [("a".to_owned(), ErrorCode::None, false), group.clone(), unknown]);
        let late = |name: &str| (name.to_owned(), ErrorCode::RequestTimedOut, true);
        assert_eq!(told(Err(NoController)), [late("a"), group, late("b")]);
    }
}
