//! The `kafka` section.

use std::collections::BTreeMap;

use super::topics::Topics;
use super::{Check, properties};
use crate::manifest::model;
use crate::manifest::raw;
use crate::manifest::read::{Field, Given};

impl Check<'_> {
    pub fn kafka(self, kafka: &Given<raw::Kafka>, topics: &Topics) -> Option<model::Kafka> {
        let raw = &kafka.value;
        let help = "write `bootstrapServers: localhost:9092`";
        let servers = self.require(&raw.bootstrap_servers, "bootstrapServers", kafka.key, help);
        let servers = servers.map(|servers| self.servers(servers));
        let group = self.require(&raw.group_id, "groupId", kafka.key, "name the consumer group: `groupId: my-service`");
        if let Some(group) = group.filter(|group| group.value.is_empty() || group.value.trim() != group.value) {
            let message = "a consumer group is not empty and does not begin or end with a space";
            self.problems.error(group.at, message, "name the consumer group: `groupId: my-service`");
        }
        let properties = raw.properties.value().map(|given| self.properties(given)).unwrap_or_default();
        Some(model::Kafka {
            bootstrap_servers: servers?,
            group_id: group?.value.clone(),
            topics: topics.checked(),
            properties,
            start_from: raw.start_from.value().map_or(model::StartFrom::Earliest, |given| (*given).into()),
            on_offset_lost: raw.on_offset_lost.value().map_or(model::OnOffsetLost::Stop, |given| (*given).into()),
        })
    }

    fn servers(self, given: &Given<String>) -> String {
        let servers: Vec<&str> = given.value.split(',').map(str::trim).collect();
        if !servers.iter().all(|server| is_server(server)) {
            let message = format!("`{}` is not a list of brokers", given.shown());
            self.problems.error(
                given.at,
                message,
                "write host:port, several separated by commas: kafka-1:9092,kafka-2:9092",
            );
        }
        servers.join(",")
    }

    fn properties(self, given: &BTreeMap<String, Field<String>>) -> BTreeMap<String, model::Secret> {
        self.group(given);
        let mut checked = BTreeMap::new();
        for (name, field) in given {
            let Some(value) = field.given() else { continue };
            match properties::check(name, &value.value) {
                Ok(()) => {
                    checked.insert(name.clone(), model::Secret::new(value.value.clone()));
                }
                Err(wrong) => self.problems.error(value.key, wrong.message, wrong.help),
            }
        }
        checked
    }
}

/// `host`, `host:port` or `[address]:port`, with or without `protocol://`.
fn is_server(server: &str) -> bool {
    let (_, address) = server.split_once("://").unwrap_or(("", server));
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':')),
        None => match address.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, None),
        },
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
    !host.is_empty()
        && host.chars().all(legal)
        && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

impl From<raw::StartFrom> for model::StartFrom {
    fn from(raw: raw::StartFrom) -> Self {
        match raw {
            raw::StartFrom::Earliest => model::StartFrom::Earliest,
            raw::StartFrom::Latest => model::StartFrom::Latest,
        }
    }
}

impl From<raw::OnOffsetLost> for model::OnOffsetLost {
    fn from(raw: raw::OnOffsetLost) -> Self {
        match raw {
            raw::OnOffsetLost::Stop => model::OnOffsetLost::Stop,
            raw::OnOffsetLost::Earliest => model::OnOffsetLost::Earliest,
            raw::OnOffsetLost::Latest => model::OnOffsetLost::Latest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_server;

    #[test]
    fn servers() {
        for server in ["localhost:9092", "kafka", "10.0.0.1:1", "[::1]:9092", "SASL_SSL://k-0.k:9093"] {
            assert!(is_server(server), "{server}");
        }
        for server in ["", ":9092", "localhost:", "localhost:0", "localhost:99999", "a b:1", "a/b:1"] {
            assert!(!is_server(server), "{server}");
        }
    }
}
