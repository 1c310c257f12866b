//! What a module may import beyond the plumbing: what the manifest grants its
//! handler, and nothing else.
//!
//! Each module is linked with a linker of its own, which holds the plumbing and
//! what is granted. What is not granted is not there: no check at run time could
//! be forgotten.

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime_wasi_config::{WasiConfig, WasiConfigVariables};

use super::guest::Guest;
use super::http::{self, Client, Grant, Resolve};
use super::{keyvalue, plumbing};
use crate::manifest::{Config, Handler, KeyValue};

/// `wasi:config` as the host provides it. A pre-release has one name.
const CONFIG: &str = "wasi:config/store@0.2.0-rc.1";

/// `wasi:keyvalue` likewise.
const KEY_VALUE: [&str; 3] =
    ["wasi:keyvalue/store@0.2.0-draft", "wasi:keyvalue/atomics@0.2.0-draft", "wasi:keyvalue/batch@0.2.0-draft"];

/// The interfaces of `wasi:http`, at any version 0.2.x.
const HTTP: [&str; 2] = ["types", "outgoing-handler"];

/// What a handler is granted.
pub(super) struct Grants {
    http: Option<Grant>,
    config: Option<Arc<WasiConfigVariables>>,
    env: Config,
    key_value: Option<KeyValue>,
}

/// What the instances of one worker share of it.
#[derive(Clone)]
pub(super) struct Shared {
    /// `None`: not granted, or nothing may be sent.
    pub client: Option<Arc<Client>>,
    pub store: Option<keyvalue::Shared>,
}

impl Shared {
    /// For instances that are only tried: they send nothing.
    pub(super) fn for_trial(grants: &Grants) -> Shared {
        Shared { client: None, store: grants.key_value.map(keyvalue::Shared::new) }
    }

    /// For the instances of one worker.
    pub(super) fn for_worker(grants: &Grants, resolver: Arc<dyn Resolve>) -> Shared {
        let client = grants.http.as_ref().map(|grant| Client::new(grant, resolver));
        Shared { client, ..Shared::for_trial(grants) }
    }
}

impl Grants {
    /// What the manifest grants.
    ///
    /// # Errors
    /// It cannot be granted on this machine.
    pub(super) fn of(handler: &Handler) -> Result<Grants, String> {
        let variables = |config: &Config| {
            let pairs = config.iter().map(|(name, value)| (name.as_str(), value.reveal()));
            Arc::new(WasiConfigVariables::from_iter(pairs))
        };
        Ok(Grants {
            http: handler.allow.http.as_ref().map(Grant::new).transpose()?,
            config: handler.config.as_ref().map(variables),
            env: handler.env.clone(),
            key_value: handler.allow.key_value,
        })
    }

    /// The environment variables.
    pub(super) fn env(&self) -> &Config {
        &self.env
    }

    /// What `wasi:config` answers.
    pub(super) fn config(&self) -> Option<&Arc<WasiConfigVariables>> {
        self.config.as_ref()
    }

    /// Bytes that a guest may hand to the host in one call, for what is granted.
    pub(super) fn largest_argument(&self) -> usize {
        self.key_value.map_or(0, |bounds| bounds.bytes)
    }

    /// The plumbing and what is granted.
    ///
    /// # Errors
    /// Only a conflict of names, which would be a mistake of the host.
    pub(super) fn linker(&self, plumbing: &Linker<Guest>) -> wasmtime::Result<Linker<Guest>> {
        let mut linker = plumbing.clone();
        if self.http.is_some() {
            http::add_to_linker(&mut linker)?;
        }
        if self.config.is_some() {
            wasmtime_wasi_config::add_to_linker(&mut linker, |guest: &mut Guest| WasiConfig::new(guest.config()))?;
        }
        if self.key_value.is_some() {
            keyvalue::add_to_linker(&mut linker)?;
        }
        Ok(linker)
    }

    /// Whether an import of this name is refused to the handler `name`, and why:
    /// with the line of the manifest that would grant it.
    pub(super) fn refusal(&self, import: &str, name: &str) -> Option<String> {
        let (interface, version) = import.split_once('@').unwrap_or((import, ""));
        let (package, interface) = interface.split_once('/').unwrap_or((interface, ""));
        let stable = version.starts_with("0.2.") && !version.contains('-');
        let (exact, granted, line, provided) = match package {
            "wasi:http" => (
                stable && HTTP.contains(&interface),
                self.http.is_some(),
                format!("handlers.{name}.allow.http: [\"https://api.example.com\"]"),
                "wasi:http/outgoing-handler and wasi:http/types at versions 0.2.x".to_owned(),
            ),
            "wasi:config" => (
                import == CONFIG,
                self.config.is_some(),
                format!("handlers.{name}.config: {{ key: value }}"),
                CONFIG.to_owned(),
            ),
            "wasi:keyvalue" => (
                KEY_VALUE.contains(&import),
                self.key_value.is_some(),
                format!("handlers.{name}.allow.keyValue: {{ bytes: 1MiB }}"),
                KEY_VALUE.join(", "),
            ),
            _ => return plumbing::refusal(import),
        };
        match (exact, granted) {
            (true, true) => None,
            (true, false) => Some(format!("it is a capability, which the manifest grants with `{line}`")),
            (false, _) => Some(format!("the host provides {provided}; build the handler with that interface")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Http;

    fn grants(all: bool) -> Grants {
        Grants {
            http: all.then(|| Grant::new(&Http::default()).unwrap()),
            config: all.then(Arc::default),
            env: Config::new(),
            key_value: all.then_some(KeyValue { bytes: 1, entries: 1 }),
        }
    }

    const CAPABILITIES: [(&str, &str); 7] = [
        ("wasi:http/outgoing-handler@0.2.0", "handlers.h.allow.http: ["),
        ("wasi:http/types@0.2.12", "handlers.h.allow.http: ["),
        ("wasi:config/store@0.2.0-rc.1", "handlers.h.config: {"),
        ("wasi:keyvalue/store@0.2.0-draft", "handlers.h.allow.keyValue: {"),
        ("wasi:keyvalue/atomics@0.2.0-draft", "handlers.h.allow.keyValue: {"),
        ("wasi:keyvalue/batch@0.2.0-draft", "handlers.h.allow.keyValue: {"),
        ("wasi:http/types@0.2.6", "handlers.h.allow.http: ["),
    ];

    #[test]
    fn what_is_not_granted_is_refused_with_the_line_that_would_grant_it() {
        for (import, line) in CAPABILITIES {
            let refused = grants(false).refusal(import, "h").unwrap_or_default();
            assert!(refused.contains(line), "{import}: {refused}");
            assert_eq!(grants(true).refusal(import, "h"), None, "{import}");
        }
    }

    #[test]
    fn near_misses_are_told_what_there_is() {
        for (import, provided) in [
            ("wasi:http/incoming-handler@0.2.0", "wasi:http/outgoing-handler"),
            ("wasi:http/handler@0.3.0", "0.2.x"),
            ("wasi:http/types@0.2.0-rc-2023-11-10", "0.2.x"),
            ("wasi:config/runtime@0.2.0-draft", "wasi:config/store@0.2.0-rc.1"),
            ("wasi:config/store@0.2.0-draft", "wasi:config/store@0.2.0-rc.1"),
            ("wasi:config/store", "wasi:config/store@0.2.0-rc.1"),
            ("wasi:keyvalue/store@0.2.0-draft2", "wasi:keyvalue/store@0.2.0-draft"),
            ("wasi:keyvalue/watcher@0.2.0-draft", "wasi:keyvalue/store@0.2.0-draft"),
        ] {
            let refused = grants(true).refusal(import, "h").unwrap_or_default();
            assert!(refused.contains(provided), "{import}: {refused}");
        }
    }
}
