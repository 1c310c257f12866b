//! What a handler may reach: `allow`, `config`, `secrets`, `env`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

use super::Check;
use crate::manifest::Secret;
use crate::manifest::model::{self, Certificates, Config};
use crate::manifest::origin::{Host, Origin};
use crate::manifest::raw;
use crate::manifest::read::{Field, Given, Problem, io_reason};

/// The largest file of certificates: a system's whole set has a quarter of this.
const MAX_CA_FILE: u64 = 1 << 20;

/// The longest name of a setting or a variable.
const MAX_NAME: usize = 200;

type Settings = Field<BTreeMap<String, Field<String>>>;

/// Tells every handler that may dial which ports are the process's own.
pub(super) fn reserve_ports(
    handlers: &mut BTreeMap<String, model::Handler>,
    listen: impl IntoIterator<Item = SocketAddr>,
) {
    let ports: Vec<u16> = listen.into_iter().map(|address| address.port()).collect();
    for http in handlers.values_mut().filter_map(|handler| handler.allow.http.as_mut()) {
        http.own_ports.clone_from(&ports);
    }
}

impl Check<'_> {
    pub fn allow(self, allow: &raw::Allow) -> model::Allow {
        let topics = allow.topics.value().map_or(&[][..], Vec::as_slice).iter().filter_map(Field::given);
        let topics = topics.filter(|topic| self.topic_name(&topic.value, topic.shown(), topic.at));
        model::Allow {
            topics: topics.map(|topic| topic.value.clone()).collect(),
            http: self.http(allow),
            key_value: allow.key_value.value().map(|bounds| model::KeyValue {
                bytes: self.size(&bounds.bytes, 1 << 20, 1..=1 << 30),
                entries: self.count(&bounds.entries, 10_000, 1..=10_000_000),
            }),
        }
    }

    fn http(self, allow: &raw::Allow) -> Option<model::Http> {
        let ca = allow.http_ca.given();
        let Some(list) = allow.http.given() else {
            if let (Some(ca), true) = (ca, allow.http.is_absent()) {
                let help = "add `http`, the list of the servers";
                self.problems.error(ca.key, "`httpCa` stands here without `http`", help);
            }
            return None;
        };
        let mut origins: Vec<Origin> = Vec::new();
        for entry in list.value.iter().filter_map(Field::given) {
            match self.origin(entry) {
                Some(origin) if origins.contains(&origin) => {
                    let message = format!("`{}` is allowed twice", entry.shown());
                    self.problems.add(Problem::warning(entry.at, message).help("remove one of them"));
                }
                Some(origin) => origins.push(origin),
                None => {}
            }
        }
        Some(model::Http { origins, ca: ca.and_then(|ca| self.certificates(ca)), own_ports: Vec::new() })
    }

    fn origin(self, entry: &Given<String>) -> Option<Origin> {
        match Origin::parse(&entry.value) {
            Err(wrong) => {
                let message = format!("`{}` cannot be allowed: {wrong}", entry.shown());
                self.problems.error(entry.at, message, wrong.help());
                None
            }
            Ok(Origin { scheme, host: Host::Name(name), port })
                if &*name == "localhost" || name.ends_with(".localhost") =>
            {
                let message = format!("`{}` cannot be allowed: it is this machine, by a name", entry.shown());
                let help =
                    format!("write the address, here and in the handler: {}://127.0.0.1:{port}", scheme.as_str());
                self.problems.error(entry.at, message, help);
                None
            }
            Ok(origin) => Some(origin),
        }
    }

    fn certificates(self, given: &Given<String>) -> Option<Certificates> {
        let path = self.base.join(&given.value);
        let read = || -> Result<Certificates, String> {
            let size = std::fs::metadata(&path).map_err(|error| io_reason(&error))?.len();
            if size > MAX_CA_FILE {
                return Err("it is larger than 1 MiB".to_owned());
            }
            let text = std::fs::read(&path).map_err(|error| io_reason(&error))?;
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
            let found = found.map_err(|error| format!("it is not PEM: {error}"))?;
            let mut roots = RootCertStore::empty();
            for certificate in &found {
                roots.add(certificate.clone()).map_err(|error| format!("a certificate cannot be used: {error}"))?;
            }
            if found.is_empty() {
                return Err("there is no certificate in it".to_owned());
            }
            Ok(Certificates(found.into_iter().map(|certificate| certificate.to_vec()).collect()))
        };
        let wrong = |why: String| {
            let message = format!("the certificates `{}` cannot be used: {why}", given.shown());
            let help = "name a PEM file of the authority's certificates, relative to the manifest's folder";
            self.problems.error(given.at, message, help);
        };
        read().map_err(wrong).ok()
    }

    /// `config` and `secrets` together.
    pub fn config(self, raw: &raw::Handler) -> Option<Config> {
        if raw.config.is_absent() && raw.secrets.is_absent() {
            return None;
        }
        let name = |name: &str| !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
        let help = "a name has 1 to 200 characters, none of them a control character";
        let mut config = self.settings(&raw.config, name, help);
        let secrets = self.settings(&raw.secrets, name, help);
        let Some(given) = raw.secrets.value() else { return Some(config) };
        for (name, value) in secrets {
            if config.insert(name.clone(), value).is_some()
                && let Some(twice) = given.get(&name).and_then(Field::given)
            {
                let message = "this name stands under `config` and under `secrets`";
                self.problems.error(twice.key, message, "keep one of them: the handler asks for both in one place");
            }
        }
        Some(config)
    }

    /// The environment variables.
    pub fn env(self, field: &Settings) -> Config {
        let name = |name: &str| {
            name.len() <= MAX_NAME
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && !name.is_empty()
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let help = "use letters, digits and `_`, not beginning with a digit";
        let env = self.settings(field, name, help);
        for (name, value) in &env {
            let given = field.value().and_then(|given| given.get(name)).and_then(Field::given);
            if let Some(given) = given.filter(|_| value.reveal().contains('\0')) {
                self.problems.error(given.at, "a NUL character cannot stand in a variable", "remove it");
            }
        }
        env
    }

    fn settings(self, field: &Settings, is_name: impl Fn(&str) -> bool, help: &str) -> Config {
        let Some(settings) = field.value() else { return Config::new() };
        let given = settings.iter().filter_map(|(name, value)| Some((name, value.given()?)));
        let named = given.filter(|(name, value)| {
            let legal = is_name(name);
            if !legal {
                self.problems.error(value.key, "this is not a name", help);
            }
            legal
        });
        named.map(|(name, value)| (name.clone(), Secret::new(value.value.clone()))).collect()
    }
}
