//! What a handler may reach beyond its arguments, checked.

use std::collections::BTreeMap;
use std::fmt;

use super::{Origin, Secret};

/// Settings by name. Every value may be a secret, wherever it stands: values of
/// variables and files can be put in anywhere.
pub type Config = BTreeMap<String, Secret>;

/// What a handler may reach beyond its arguments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// Topics that outputs may name, beside the route's.
    pub topics: Vec<String>,
    /// Outgoing HTTP; `None`: not granted.
    pub http: Option<Http>,
    /// A key-value store; `None`: not granted.
    pub key_value: Option<KeyValue>,
}

/// Outgoing HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    /// The servers, none but these.
    pub origins: Vec<Origin>,
    /// Whom servers are vouched for by; `None`: the system's roots.
    pub ca: Option<Certificates>,
    /// Ports that this process itself listens on: at the machine's own addresses
    /// they are reachable only where that address is listed.
    pub own_ports: Vec<u16>,
}

/// Certificates in DER.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificates(pub Vec<Vec<u8>>);

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.0.len())
    }
}

/// The bounds of a key-value store. Each worker has one of its own for each handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// Bytes of keys and values together.
    pub bytes: usize,
    /// Number of keys.
    pub entries: usize,
}
