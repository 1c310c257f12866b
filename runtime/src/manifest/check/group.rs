//! Properties of the consumer group that depend on each other: the group protocol,
//! and what each protocol lets its members say.
//!
//! As in [`super::properties`], no message holds a value.

use std::collections::BTreeMap;

use super::Check;
use crate::manifest::model::CONSUMER_PROTOCOL;
use crate::manifest::read::{Field, Problem};

const PROTOCOL: &str = "group.protocol";
const STRATEGY: &str = "partition.assignment.strategy";
const ASSIGNOR: &str = "group.remote.assignor";

/// What the brokers decide under the consumer protocol; librdkafka refuses to start
/// where a member says it. With what to do instead.
const BROKERS_DECIDE: [(&str, &str); 3] = [
    (
        "session.timeout.ms",
        "remove it and set `group.consumer.session.timeout.ms` at the brokers, for all groups or this one",
    ),
    (
        "heartbeat.interval.ms",
        "remove it and set `group.consumer.heartbeat.interval.ms` at the brokers, for all groups or this one",
    ),
    (STRATEGY, "remove it; `group.remote.assignor: uniform` or `range` chooses among the brokers' own"),
];

/// Strategies of the classic protocol, and whether a rebalance by them is cooperative.
const STRATEGIES: [(&str, bool); 3] = [("range", false), ("roundrobin", false), ("cooperative-sticky", true)];

impl Check<'_> {
    /// Holds the properties of the group against each other.
    pub fn group(self, properties: &BTreeMap<String, Field<String>>) {
        let given = |name: &str| properties.get(name).and_then(Field::given);
        if given(PROTOCOL).is_some_and(|protocol| protocol.value.eq_ignore_ascii_case(CONSUMER_PROTOCOL)) {
            for (name, instead) in BROKERS_DECIDE {
                if let Some(given) = given(name) {
                    let message = format!("`{name}` cannot be set with `{PROTOCOL}: consumer`: the brokers decide it");
                    self.problems.error(given.key, message, instead);
                }
            }
            return;
        }
        if let Some(assignor) = given(ASSIGNOR) {
            let message = format!("`{ASSIGNOR}` has a meaning only with `{PROTOCOL}: consumer`");
            self.problems.add(
                Problem::warning(assignor.key, message)
                    .help(format!("use `{STRATEGY}`, or add `{PROTOCOL}: consumer`")),
            );
        }
        let Some(strategy) = given(STRATEGY) else { return };
        let kind = |name: &str| STRATEGIES.iter().find(|(known, _)| *known == name.trim()).map(|(_, kind)| *kind);
        let kinds: Option<Vec<bool>> = strategy.value.split(',').map(kind).collect();
        match kinds {
            None => {
                let message = format!("`{STRATEGY}` names a strategy that does not exist");
                self.problems.error(strategy.at, message, "write `cooperative-sticky`, `range` or `roundrobin`");
            }
            Some(kinds) if kinds.contains(&true) && kinds.contains(&false) => {
                let message = format!("`{STRATEGY}` mixes cooperative and eager strategies");
                let help = "a running group cannot change from one to the other: stop all its members, then start them with the new one";
                self.problems.error(strategy.at, message, help);
            }
            Some(_) => {}
        }
    }
}
