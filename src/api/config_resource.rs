//! What has configurations, as requests name it: by the number of a type and a name.
//!
//! Called by `describe_configs` and `incremental_alter_configs`. Invariant: a broker speaks for itself and for the
//! defaults of all brokers, never for another one.

use crate::model::NodeId;
use crate::protocol::ErrorCode;

/// The types of resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResourceType {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
    Group,
}

impl ResourceType {
    /// The type of a number.
    pub(super) fn of(number: i8) -> Result<Self, Fault> {
        match number {
            2 => Ok(Self::Topic),
            4 => Ok(Self::Broker),
            8 => Ok(Self::BrokerLogger),
            16 => Ok(Self::ClientMetrics),
            32 => Ok(Self::Group),
            _ => Err(Fault::invalid(format!("resource type {number} is unknown"))),
        }
    }
}

/// Why a resource is neither described nor altered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

impl Fault {
    /// The request makes no sense.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidRequest, message: message.into() }
    }
}

/// Which brokers a resource of their type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brokers {
    /// All of them, by their defaults.
    All,
    /// This one.
    Own,
}

impl Brokers {
    /// Those of a name, asked of broker `own`.
    pub(super) fn named(name: &str, own: NodeId) -> Result<Self, Fault> {
        if name.is_empty() {
            return Ok(Self::All);
        }
        if name.parse() == Ok(own.get()) {
            return Ok(Self::Own);
        }
        Err(Fault::invalid(format!("this is broker {own}, not '{name}'; ask that one")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_asked_for_itself_or_for_all() {
        let named = |name| Brokers::named(name, NodeId::new(2)).map_err(|fault| fault.code);
        assert_eq!(named(""), Ok(Brokers::All));
        assert_eq!(named("2"), Ok(Brokers::Own));
        for other in ["1", "-2", "two", " "] {
            assert_eq!(named(other), Err(ErrorCode::InvalidRequest), "{other}");
        }
    }

    #[test]
    fn a_type_that_nobody_knows_is_refused() {
        assert_eq!(ResourceType::of(2), Ok(ResourceType::Topic));
        assert_eq!(ResourceType::of(32), Ok(ResourceType::Group));
        for unknown in [0, 1, 3, -1, 64] {
            assert_eq!(ResourceType::of(unknown).map_err(|fault| fault.code), Err(ErrorCode::InvalidRequest));
        }
    }
}
