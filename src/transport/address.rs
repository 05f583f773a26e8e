//! A peer's address as a person writes it: a host, resolved anew at every dial, and a port.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `host:port`; an IPv6 host stands in brackets. The host is a name or an address and may be empty ("all interfaces").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPort {
    /// The name or address, without brackets.
    pub host: String,
    /// The TCP port; 0 lets the system choose where one listens.
    pub port: u16,
}

/// Why a text is no `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostPortError {
    /// There is no port.
    #[error("{0:?} has no port: write host:port")]
    NoPort(String),
    /// The port is no number from 0 to 65535.
    #[error("{0:?} has a port that is no number from 0 to 65535")]
    BadPort(String),
    /// The host holds what no host name does.
    #[error("{0:?} has a host with a character that no host name has")]
    BadHost(String),
}

impl HostPort {
    /// One from its parts.
    #[must_use]
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl FromStr for HostPort {
    type Err = HostPortError;

    fn from_str(text: &str) -> Result<Self, HostPortError> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| HostPortError::NoPort(text.to_owned()))?;
        let port = port.parse().map_err(|_| HostPortError::BadPort(text.to_owned()))?;
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let is_address = bracketed.is_some_and(|h| h.chars().all(|c| c.is_ascii_hexdigit() || ":.%".contains(c)));
        let is_name = host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        if !is_address && !is_name {
            return Err(HostPortError::BadHost(text.to_owned()));
        }
        Ok(Self::new(bracketed.unwrap_or(host), port))
    }
}

impl TryFrom<String> for HostPort {
    type Error = HostPortError;

    fn try_from(text: String) -> Result<Self, HostPortError> {
        text.parse()
    }
}

impl From<HostPort> for String {
    fn from(address: HostPort) -> Self {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_parses_back() {
        for text in ["n1:9093", "127.0.0.1:1", "[::1]:9093", ":9092", "a-b_c.example:65535"] {
            let parsed: HostPort = text.parse().expect("a valid address");
            assert_eq!(parsed.to_string(), text);
        }
        for text in ["n1", "n1:", "n1:70000", "a b:1", "::1:9093", "[x]:1", "http://n1:9093"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }
}
