//! How the clients are configured, and which properties are not the manifest's to set.

use std::ffi::OsString;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::manifest::Kafka;

/// What both kinds of client share: brokers, identity, the manifest's properties.
/// These go over `config`, which has the defaults of the one kind. They are set where
/// they stay: read back from a `ClientConfig`, passwords are a placeholder.
fn base(mut config: ClientConfig, kafka: &Kafka, role: &str) -> ClientConfig {
    config.set("client.id", format!("outrigger-{role}"));
    config.set_log_level(RDKafkaLogLevel::Info);
    config.set("log.connection.close", "false");
    if let Some(place) = authorities(kafka, |name| std::env::var_os(name)) {
        config.set("ssl.ca.location", place);
    }
    for (name, value) in &kafka.properties {
        if applies(name, role) {
            config.set(name, value.reveal());
        }
    }
    config.set("bootstrap.servers", &kafka.bootstrap_servers);
    // For `reach`, which looks whether the client still knows a broker.
    config.set("statistics.interval.ms", "5000");
    config
}

/// Where to look for the certificate authorities of brokers that are reached over TLS.
/// OpenSSL goes by its variables, and without them by the place of its own build, where
/// there are none: then librdkafka is told to look where distributions have them.
fn authorities(kafka: &Kafka, env: impl Fn(&str) -> Option<OsString>) -> Option<&'static str> {
    let protocol = kafka.properties.get("security.protocol")?.reveal();
    let has_tls = ["ssl", "sasl_ssl"].iter().any(|tls| protocol.eq_ignore_ascii_case(tls));
    let are_named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().any(|name| env(name).is_some());
    (has_tls && !are_named).then_some("probe")
}

/// Properties that only one kind of client knows: the other would warn about them.
fn applies(name: &str, role: &str) -> bool {
    const CONSUMER: &[&str] = &[
        "fetch.",
        "queued.",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "max.poll.interval.ms",
        "group.",
        "partition.assignment.strategy",
        "isolation.level",
        "check.crcs",
        "max.partition.fetch.bytes",
    ];
    const PRODUCER: &[&str] = &[
        "queue.buffering.",
        "linger.ms",
        "batch.",
        "compression.",
        "message.timeout.ms",
        "delivery.timeout.ms",
        "request.required.acks",
        "request.timeout.ms",
        "partitioner",
        "sticky.partitioning.linger.ms",
        "retries",
        "message.send.max.retries",
    ];
    let others = if role == "consumer" { PRODUCER } else { CONSUMER };
    !others.iter().any(|prefix| name.starts_with(prefix))
}

/// The consumer's configuration.
pub fn consumer(kafka: &Kafka) -> ClientConfig {
    let mut defaults = ClientConfig::new();
    // Each partition's queue is read on its own, so these bounds hold per partition.
    defaults.set("queued.max.messages.kbytes", "2048");
    defaults.set("queued.min.messages", "20000");
    // With the default of 1 s a partition stalls whenever its queue was full once.
    defaults.set("fetch.queue.backoff.ms", "5");
    // The default is range, which takes every partition away at each rebalance. Under
    // the consumer protocol the brokers assign, and librdkafka refuses a strategy.
    if !kafka.has_consumer_protocol() {
        defaults.set("partition.assignment.strategy", "cooperative-sticky");
    }
    defaults.set("isolation.level", "read_committed");
    // Partitions that are added are seen within this time; the default is 5 minutes.
    defaults.set("topic.metadata.refresh.interval.ms", "30000");
    let mut config = base(defaults, kafka, "consumer");
    config.set("group.id", &kafka.group_id);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("enable.partition.eof", "true");
    // A position that is out of range is an error that is decided on, not a silent jump.
    config.set("auto.offset.reset", "error");
    config
}

/// The configuration of a producer; `role` is `outputs` or `dead-letters`.
pub fn producer(kafka: &Kafka, role: &str, message_timeout: Duration) -> ClientConfig {
    let mut defaults = ClientConfig::new();
    defaults.set("linger.ms", "5");
    // The default is 1 GiB.
    defaults.set("queue.buffering.max.kbytes", "65536");
    // No bound on their number: the workers bound the bytes, and count small ones for more.
    defaults.set("queue.buffering.max.messages", "0");
    // How the Java clients choose a partition for a key, so that co-partitioned topics stay so.
    defaults.set("partitioner", "murmur2_random");
    defaults.set("message.timeout.ms", message_timeout.as_millis().to_string());
    // A topic that is not there is refused by name, well before the message times out.
    defaults.set("topic.metadata.propagation.max.ms", "5000");
    // And it is found soon after it has been made.
    defaults.set("topic.metadata.refresh.interval.ms", "10000");
    let mut config = base(defaults, kafka, role);
    config.set("enable.idempotence", "true");
    config.set("acks", "all");
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{OnOffsetLost, Secret, StartFrom};

    fn kafka(properties: &[(&str, &str)]) -> Kafka {
        Kafka {
            bootstrap_servers: "localhost:9092".to_owned(),
            group_id: "group".to_owned(),
            topics: Vec::new(),
            properties: properties.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect(),
            start_from: StartFrom::Earliest,
            on_offset_lost: OnOffsetLost::Stop,
        }
    }

    /// As librdkafka has it; the `rdkafka` crate shows no passwords.
    fn value(config: &ClientConfig, name: &str) -> String {
        config.create_native_config().unwrap().get(name).unwrap()
    }

    #[test]
    fn passwords_reach_the_clients() {
        let passwords = [("sasl.password", "hunter2"), ("ssl.key.password", "hunter3")];
        for config in [consumer(&kafka(&passwords)), producer(&kafka(&passwords), "outputs", Duration::from_secs(1))] {
            for (name, expected) in passwords {
                assert_eq!(value(&config, name), expected);
            }
        }
    }

    #[test]
    fn the_authorities_of_the_system_are_looked_for() {
        let found = |protocol, variable: &'static str| {
            authorities(&kafka(&[("security.protocol", protocol)]), move |name| (name == variable).then(OsString::new))
        };
        assert_eq!((found("ssl", ""), found("SASL_SSL", "")), (Some("probe"), Some("probe")));
        assert_eq!((found("ssl", "SSL_CERT_FILE"), found("ssl", "SSL_CERT_DIR")), (None, None));
        assert_eq!((found("sasl_plaintext", ""), found("plaintext", "")), (None, None));
        assert_eq!(authorities(&kafka(&[]), |_| None), None);
        let named = consumer(&kafka(&[("security.protocol", "ssl"), ("ssl.ca.location", "/ca.pem")]));
        assert_eq!(value(&named, "ssl.ca.location"), "/ca.pem");
    }

    #[test]
    fn properties_count_more_than_defaults_and_less_than_what_is_owned() {
        let set = [("queued.max.messages.kbytes", "77"), ("linger.ms", "78"), ("client.id", "mine")];
        let (consumer, producer) = (consumer(&kafka(&set)), producer(&kafka(&set), "outputs", Duration::from_secs(1)));
        assert_eq!(value(&consumer, "queued.max.messages.kbytes"), "77");
        assert_eq!(value(&producer, "linger.ms"), "78");
        assert_eq!((value(&consumer, "client.id"), value(&producer, "client.id")), ("mine".into(), "mine".into()));
        let owned = kafka(&[("enable.auto.commit", "true"), ("bootstrap.servers", "elsewhere:1")]);
        let config = super::consumer(&owned);
        assert_eq!(value(&config, "enable.auto.commit"), "false");
        assert_eq!(value(&config, "bootstrap.servers"), "localhost:9092");
    }
}
