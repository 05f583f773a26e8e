//! Listeners, their advertised addresses, and the voters of the quorum.
//!
//! Invariant: a listener that clients or nodes are told of has an address that they can dial.

use crate::model::NodeId;
use crate::transport::{HostPort, HostPortError};

use super::settings::Settings;

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Its name.
    pub name: String,
    /// Where it is bound.
    pub bind: HostPort,
    /// Where others reach it. Port 0 stands for the port that was bound.
    pub advertised: HostPort,
}

impl ListenerConfig {
    /// Whether others can dial what it advertises.
    #[must_use]
    pub fn advertised_is_dialable(&self) -> bool {
        is_dialable(&self.advertised)
    }
}

/// The listeners of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listeners {
    /// For clients and for the brokers' fetches; none on a node that is only a controller.
    pub client: Vec<ListenerConfig>,
    /// The name of the one of these over which brokers fetch; `None` on a node that is only a controller.
    pub inter_broker: Option<String>,
    /// For the nodes of the cluster among themselves.
    pub controller: ListenerConfig,
}

/// Why the listeners or the voters cannot be as they are written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ListenerError {
    /// An entry is not of its form.
    #[error("{key}: {entry:?} is not of the form {form}")]
    Form {
        /// The option.
        key: &'static str,
        /// The entry.
        entry: String,
        /// What it should be.
        form: &'static str,
    },
    /// An address is not understood.
    #[error("{key}: {reason}")]
    Address {
        /// The option.
        key: &'static str,
        /// Why.
        reason: HostPortError,
    },
    /// A name, a port or a node stands twice.
    #[error("{key}: {what} stands twice")]
    Twice {
        /// The option.
        key: &'static str,
        /// What.
        what: String,
    },
    /// A name that is no listener.
    #[error("{key}: there is no listener {name:?} in listeners")]
    NoListener {
        /// The option.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// A node without the listener that all nodes need.
    #[error(
        "listeners: every node needs the listener {name:?}, over which nodes speak among themselves \
         (add {name}://0.0.0.0:9093)"
    )]
    NoController {
        /// Its name.
        name: String,
    },
    /// A broker without a listener for clients.
    #[error("listeners: a broker needs a listener for clients besides {controller:?}")]
    NoClient {
        /// The only one there is.
        controller: String,
    },
    /// A controller with a listener for clients.
    #[error("listeners: a node that is only a controller serves no clients, remove {name:?}")]
    ClientOnController {
        /// The listener.
        name: String,
    },
    /// More than one listener for nodes.
    #[error("controller.listener.names: exactly one name for now, not {count}")]
    ControllerNames {
        /// How many there are.
        count: usize,
    },
    /// An address that cannot be dialled.
    #[error(
        "advertised.listeners: {address} of listener {name:?} is no address that others can dial; add {name}://host:port"
    )]
    NotDialable {
        /// The listener.
        name: String,
        /// Its address.
        address: HostPort,
    },
    /// A protocol that is not there yet.
    #[error("listener {name:?} has the protocol {protocol}: only PLAINTEXT is there for now")]
    Protocol {
        /// The listener.
        name: String,
        /// The protocol.
        protocol: String,
    },
    /// The brokers' listener is the nodes' one.
    #[error("inter.broker.listener.name: {name:?} is the controllers' listener; brokers fetch over one for clients")]
    InterBroker {
        /// The listener.
        name: String,
    },
}

const ENTRY_FORM: &str = "NAME://host:port";
const VOTER_FORM: &str = "id@host:port";

impl Listeners {
    /// Reads them from the settings of a node that is a broker or only a controller.
    pub(in crate::node) fn read(settings: &Settings, is_broker: bool) -> Result<Self, ListenerError> {
        let bound = entries(settings, "listeners")?;
        let advertised = entries(settings, "advertised.listeners")?;
        check_protocols(settings, &bound)?;
        if let Some((name, _)) = advertised.iter().find(|(name, _)| !has(&bound, name)) {
            return Err(ListenerError::NoListener { key: "advertised.listeners", name: name.clone() });
        }
        let names = settings.list("controller.listener.names");
        let &[controller] = names.as_slice() else {
            return Err(ListenerError::ControllerNames { count: names.len() });
        };
        let mut listeners = Vec::new();
        for (name, bind) in bound {
            let told = advertised.iter().find(|(told, _)| *told == name).map(|(_, address)| address.clone());
            let advertised = told.unwrap_or_else(|| bind.clone());
            listeners.push(ListenerConfig { name, bind, advertised });
        }
        let (mut controllers, client): (Vec<_>, Vec<_>) =
            listeners.into_iter().partition(|listener| listener.name == controller);
        let mut controller = controllers.pop().ok_or(ListenerError::NoController { name: controller.to_owned() })?;
        check_clients(&client, &controller, is_broker)?;
        let inter_broker = inter_broker(settings, &client, &controller)?;
        let near = client.iter().find(|listener| Some(&listener.name) == inter_broker.as_ref());
        if let Some(near) = near
            && !controller.advertised_is_dialable()
        {
            // Where the other brokers reach this one, the other nodes do too.
            controller.advertised.host.clone_from(&near.advertised.host);
        }
        Ok(Self { client, inter_broker, controller })
    }
}

fn has(entries: &[(String, HostPort)], name: &str) -> bool {
    entries.iter().any(|(entry, _)| entry == name)
}

fn entries(settings: &Settings, key: &'static str) -> Result<Vec<(String, HostPort)>, ListenerError> {
    let mut entries: Vec<(String, HostPort)> = Vec::new();
    for entry in settings.list(key) {
        let form = || ListenerError::Form { key, entry: entry.to_owned(), form: ENTRY_FORM };
        let (name, address) = entry.split_once("://").ok_or_else(form)?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if !is_name {
            return Err(form());
        }
        let address: HostPort = address.parse().map_err(|reason| ListenerError::Address { key, reason })?;
        if has(&entries, name) {
            return Err(ListenerError::Twice { key, what: format!("the name {name:?}") });
        }
        let is_taken = |other: &HostPort| other.port != 0 && *other == address;
        if key == "listeners" && entries.iter().any(|(_, other)| is_taken(other)) {
            return Err(ListenerError::Twice { key, what: format!("the address {address}") });
        }
        entries.push((name.to_owned(), address));
    }
    Ok(entries)
}

fn check_protocols(settings: &Settings, bound: &[(String, HostPort)]) -> Result<(), ListenerError> {
    const KEY: &str = "listener.security.protocol.map";
    let mut mapped = Vec::new();
    for entry in settings.list(KEY) {
        let pair = entry.split_once(':').filter(|(name, protocol)| !name.is_empty() && !protocol.is_empty());
        let form = || ListenerError::Form { key: KEY, entry: entry.to_owned(), form: "NAME:PROTOCOL" };
        mapped.push(pair.ok_or_else(form)?);
    }
    for (name, _) in bound {
        let mapped = mapped.iter().find(|(listener, _)| listener == name).map(|(_, protocol)| *protocol);
        // Kafka takes a name that is a protocol for that protocol.
        let is_protocol = matches!(name.as_str(), "SSL" | "SASL_PLAINTEXT" | "SASL_SSL");
        let protocol = mapped.unwrap_or(if is_protocol { name } else { "PLAINTEXT" });
        if protocol != "PLAINTEXT" {
            return Err(ListenerError::Protocol { name: name.clone(), protocol: protocol.to_owned() });
        }
    }
    Ok(())
}

fn check_clients(client: &[ListenerConfig], controller: &ListenerConfig, is_broker: bool) -> Result<(), ListenerError> {
    match client.first() {
        None if is_broker => return Err(ListenerError::NoClient { controller: controller.name.clone() }),
        Some(listener) if !is_broker => {
            return Err(ListenerError::ClientOnController { name: listener.name.clone() });
        }
        None | Some(_) => {}
    }
    match client.iter().find(|listener| !is_dialable(&listener.advertised)) {
        Some(ListenerConfig { name, advertised, .. }) => {
            Err(ListenerError::NotDialable { name: name.clone(), address: advertised.clone() })
        }
        None => Ok(()),
    }
}

/// Whether others can dial that address: not "every interface".
fn is_dialable(address: &HostPort) -> bool {
    !matches!(address.host.as_str(), "" | "0.0.0.0" | "::" | "::0")
}

fn inter_broker(
    settings: &Settings,
    client: &[ListenerConfig],
    controller: &ListenerConfig,
) -> Result<Option<String>, ListenerError> {
    let first = client.first().map(|listener| listener.name.clone());
    let Some(name) = settings.get("inter.broker.listener.name") else { return Ok(first) };
    if name == controller.name {
        return Err(ListenerError::InterBroker { name: name.to_owned() });
    }
    let is_there = client.iter().any(|listener| listener.name == name) || client.is_empty();
    if !is_there {
        return Err(ListenerError::NoListener { key: "inter.broker.listener.name", name: name.to_owned() });
    }
    Ok(first.map(|_| name.to_owned()))
}

/// Reads `controller.quorum.voters`.
pub(in crate::node) fn parse_voters(settings: &Settings) -> Result<Vec<(NodeId, HostPort)>, ListenerError> {
    const KEY: &str = "controller.quorum.voters";
    let mut voters: Vec<(NodeId, HostPort)> = Vec::new();
    for entry in settings.list(KEY) {
        let form = || ListenerError::Form { key: KEY, entry: entry.to_owned(), form: VOTER_FORM };
        let (id, address) = entry.split_once('@').ok_or_else(form)?;
        let id = id.parse().ok().filter(|id: &i32| *id >= 0).map(NodeId::new).ok_or_else(form)?;
        let address: HostPort = address.parse().map_err(|reason| ListenerError::Address { key: KEY, reason })?;
        if !is_dialable(&address) || address.port == 0 {
            return Err(form());
        }
        if voters.iter().any(|(other, _)| *other == id) {
            return Err(ListenerError::Twice { key: KEY, what: format!("node {id}") });
        }
        if voters.iter().any(|(_, other)| *other == address) {
            return Err(ListenerError::Twice { key: KEY, what: format!("the address {address}") });
        }
        voters.push((id, address));
    }
    voters.sort_unstable();
    Ok(voters)
}
