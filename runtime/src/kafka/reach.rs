//! Keeps a client able to reach the cluster: librdkafka can forget its last broker.
//!
//! It drops every broker that an answer to a metadata request does not name. A single
//! broker that shuts down names none, not even itself. librdkafka then drops its last
//! one and schedules a new start from the bootstrap servers, but the thread that is
//! handling that answer may cancel it at once (`rd_kafka_handle_Metadata` calls
//! `rd_kafka_rebootstrap_tmr_stop` after the decommissioned broker's thread has called
//! `rd_kafka_rebootstrap`; librdkafka 2.12.1). Such a client knows no broker, asks
//! none, and never connects again: no error comes, only silence.
//!
//! In: the client's statistics. Out: the bootstrap servers given to it once more where
//! it knows no broker, and what the group's state is.
#![allow(unsafe_code)] // librdkafka's C interface; each block says why it is sound.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicPtr, Ordering};

use rdkafka::ClientContext;
use rdkafka::bindings as sys;
use rdkafka::client::Client;
use serde::Deserialize;

/// What of a client's statistics is looked at.
#[derive(Debug, Deserialize)]
pub struct Statistics {
    brokers: HashMap<String, Broker>,
    /// The consumer group; absent for a producer.
    pub cgrp: Option<Group>,
}

#[derive(Debug, Deserialize)]
struct Broker {
    source: String,
    state: String,
}

/// Where a consumer stands in its group.
#[derive(Debug, Deserialize)]
pub struct Group {
    /// `up` where the coordinator is known and connected, otherwise what is waited for.
    pub state: String,
    /// `steady` where the group has been joined and no rebalance is under way.
    #[serde(default)]
    join_state: String,
}

impl Group {
    /// Whether the group has been joined, and its coordinator is connected.
    pub fn is_joined(&self) -> bool {
        self.state == "up" && self.join_state == "steady"
    }
}

impl Statistics {
    /// Reads them; `None` if they are not what librdkafka documents.
    pub fn read(json: &[u8]) -> Option<Statistics> {
        serde_json::from_slice(json).ok()
    }

    /// Those that lead to the cluster: the coordinator's own connection goes to one of them.
    fn known(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values().filter(|broker| matches!(&*broker.source, "learned" | "configured"))
    }

    /// Whether a broker of the cluster is connected.
    pub fn is_connected(&self) -> bool {
        self.known().any(|broker| broker.state == "UP")
    }
}

/// The way from a client's callback back to the client, and to its first brokers.
pub struct Reach {
    client: AtomicPtr<sys::rd_kafka_t>,
    servers: CString,
}

impl Reach {
    /// For a client with these bootstrap servers.
    pub fn new(bootstrap_servers: &str) -> Reach {
        // The client itself has been given them, so there is no NUL in them.
        Reach { client: AtomicPtr::default(), servers: CString::new(bootstrap_servers).unwrap_or_default() }
    }

    /// Says which client it is; what comes before that is only looked at.
    pub fn attach<C: ClientContext>(&self, client: &Client<C>) {
        self.client.store(client.native_ptr(), Ordering::Release);
    }

    /// Looks at the client's statistics and, where it knows no broker, gives it the
    /// bootstrap servers again. To be called from the client's own callback only:
    /// it is alive as long as that runs.
    pub fn look(&self, statistics: &Statistics) {
        let client = self.client.load(Ordering::Acquire);
        if client.is_null() || statistics.known().next().is_some() {
            return;
        }
        // SAFETY: the client is alive, since one of its callbacks runs; the text ends
        // with a NUL. librdkafka copies it and keeps the copy, a few bytes each time.
        let added = unsafe { sys::rd_kafka_brokers_add(client, self.servers.as_ptr()) };
        tracing::warn!(added, "the client knew no broker any more; it begins again with the bootstrap servers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Statistics {
        Statistics::read(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_client_with_no_broker_but_its_coordinators_place_is_seen() {
        let coordinator = r#""GroupCoordinator": { "source": "logical", "state": "TRY_CONNECT", "nodeid": -1 }"#;
        let stuck = read(&format!(
            r#"{{ "name": "c", "brokers": {{ {coordinator} }}, "topics": {{}}, "cgrp": {{ "state": "query-coord", "join_state": "steady" }} }}"#
        ));
        assert_eq!(stuck.known().count(), 0);
        let group = stuck.cgrp.unwrap();
        assert_eq!((&*group.state, group.is_joined()), ("query-coord", false));
        let down = r#""127.0.0.1:9092/bootstrap": { "source": "configured", "state": "DOWN" }"#;
        let trying = read(&format!(r#"{{ "brokers": {{ {coordinator}, {down} }} }}"#));
        assert_eq!((trying.known().count(), trying.is_connected(), trying.cgrp.is_none()), (1, false, true));
        let up = r#""127.0.0.1:9092/1": { "source": "learned", "state": "UP" }"#;
        assert!(read(&format!(r#"{{ "brokers": {{ {coordinator}, {up} }} }}"#)).is_connected());
        let joined = |join_state| {
            read(&format!(r#"{{ "brokers": {{}}, "cgrp": {{ "state": "up", "join_state": "{join_state}" }} }}"#))
        };
        assert!(joined("steady").cgrp.unwrap().is_joined() && !joined("wait-join").cgrp.unwrap().is_joined());
    }

    #[test]
    fn what_is_no_statistics_is_nothing() {
        assert!(Statistics::read(b"{}").is_none());
        assert!(Statistics::read(b"\xff").is_none());
    }

    /// The client forgets nothing by itself here, so the statistics are made up: what is
    /// tested is that a live client takes the servers, and tries them.
    #[test]
    fn a_client_that_knows_no_broker_tries_the_bootstrap_servers_again() {
        use rdkafka::config::ClientConfig;
        use rdkafka::producer::{BaseProducer, Producer};
        use std::time::Duration;

        struct Seen(std::sync::Mutex<Vec<Statistics>>);
        impl ClientContext for Seen {
            fn stats_raw(&self, json: &[u8]) {
                self.0.lock().unwrap().extend(Statistics::read(json));
            }
        }
        impl rdkafka::producer::ProducerContext for Seen {
            type DeliveryOpaque = ();
            fn delivery(&self, _: &rdkafka::message::DeliveryResult<'_>, (): ()) {}
        }
        let mut config = ClientConfig::new();
        config.set("statistics.interval.ms", "20");
        let producer: BaseProducer<Seen> = config.create_with_context(Seen(Default::default())).unwrap();
        let known = |producer: &BaseProducer<Seen>| loop {
            producer.poll(Duration::from_millis(100));
            if let Some(seen) = producer.context().0.lock().unwrap().pop() {
                return seen;
            }
        };
        let without = known(&producer);
        assert_eq!(without.known().count(), 0);
        let reach = Reach::new("127.0.0.1:1");
        reach.look(&without);
        reach.attach(producer.client());
        reach.look(&without);
        producer.context().0.lock().unwrap().clear();
        let with = (0..100).map(|_| known(&producer)).find(|seen| seen.known().count() == 1);
        assert!(with.is_some());
    }
}
