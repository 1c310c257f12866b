//! librdkafka's properties: which of them a manifest may set.
//!
//! No message holds a value, and none of librdkafka's own messages is passed
//! on, because they do.

use rdkafka::config::ClientConfig;

use crate::manifest::hints;
use crate::manifest::read::is_plain;

/// Properties on which Outrigger's guarantees rest: name, reason, what to do instead.
const OWNED: [(&str, &str, &str); 30] = [
    ("bootstrap.servers", "it is a key of its own", "use `kafka.bootstrapServers`"),
    ("metadata.broker.list", "it is a key of its own", "use `kafka.bootstrapServers`"),
    ("group.id", "it is a key of its own", "use `kafka.groupId`"),
    ("auto.offset.reset", "a lost offset must not be jumped over silently", "use `startFrom` and `onOffsetLost`"),
    ("enable.auto.commit", "only settled records are committed", "remove it"),
    ("auto.commit.enable", "only settled records are committed", "remove it"),
    ("auto.commit.interval.ms", "only settled records are committed", "use `commitInterval`"),
    ("enable.auto.offset.store", "only settled records are committed", "remove it"),
    ("offset.store.method", "offsets are kept by the brokers", "remove it"),
    ("offset.store.path", "offsets are kept by the brokers", "remove it"),
    ("enable.partition.eof", "lag is told by it", "remove it"),
    ("group.protocol.type", "there is one type of consumer group", "remove it"),
    ("isolation.level", "records of aborted transactions must not be handled", "remove it"),
    ("enable.idempotence", "outputs must not be doubled by the producer", "remove it"),
    ("acks", "an output counts once all replicas have it", "remove it"),
    ("request.required.acks", "an output counts once all replicas have it", "remove it"),
    ("max.in.flight", "outputs must keep their order", "remove it"),
    ("max.in.flight.requests.per.connection", "outputs must keep their order", "remove it"),
    ("retries", "an output is sent until `message.timeout.ms`", "set `message.timeout.ms`"),
    ("message.send.max.retries", "an output is sent until `message.timeout.ms`", "set `message.timeout.ms`"),
    ("transactional.id", "transactions are not supported by this version", "remove it"),
    ("enable.gapless.guarantee", "a failed output is published again instead", "remove it"),
    ("delivery.report.only.error", "every output must be reported", "remove it"),
    ("dr_cb", "callbacks cannot be set", "remove it"),
    ("dr_msg_cb", "callbacks cannot be set", "remove it"),
    ("statistics.interval.ms", "the client's health is told by the statistics", "remove it"),
    ("log_level", "logs follow Outrigger's own level", "remove it"),
    ("plugin.library.paths", "native code would run outside every sandbox", "remove it"),
    ("topic.blacklist", "it would hide topics that the manifest names", "remove it from `topics` instead"),
    ("client.software.name", "the brokers are told what they talk to", "use `client.id`"),
];

/// Properties that are often set, for suggestions.
const COMMON: [&str; 31] = [
    "client.id",
    "client.rack",
    "compression.type",
    "debug",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.wait.max.ms",
    "group.instance.id",
    "group.protocol",
    "linger.ms",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "partition.assignment.strategy",
    "queue.buffering.max.kbytes",
    "queued.max.messages.kbytes",
    "receive.message.max.bytes",
    "sasl.mechanism",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.keystore.password",
];

/// Why a property is refused.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    pub message: String,
    pub help: String,
}

/// Whether a manifest may set this property to this value. librdkafka is asked
/// for what it knows; nothing connects.
pub(super) fn check(name: &str, value: &str) -> Result<(), Refused> {
    if let Some((_, reason, instead)) = OWNED.iter().find(|(owned, ..)| *owned == name) {
        let message = format!("Outrigger sets `{name}` itself: {reason}");
        return Err(Refused { message, help: (*instead).to_owned() });
    }
    if !is_plain(name) {
        // It may be a name and a value with the space between them forgotten.
        let message = "this is not the name of a property".to_owned();
        return Err(Refused { message, help: "write `name: value`, with a space after the colon".to_owned() });
    }
    // A text with a zero byte has no form in C.
    if value.contains('\0') {
        let message = format!("the value of `{name}` is not valid");
        return Err(Refused { message, help: "remove the zero byte".to_owned() });
    }
    let known = |value: &str| ClientConfig::new().set(name, value).create_native_config();
    let Err(error) = known(value) else { return Ok(()) };
    let unknown = matches!(error, rdkafka::error::KafkaError::ClientConfig(result, ..)
        if result == rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN);
    if unknown {
        let help = match hints::nearest(name, &COMMON) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "librdkafka's CONFIGURATION.md lists them all".to_owned(),
        };
        return Err(Refused { message: format!("librdkafka has no property `{name}`"), help });
    }
    let help = "librdkafka's CONFIGURATION.md says what it accepts; the value is not shown here";
    Err(Refused { message: format!("librdkafka does not accept this value of `{name}`"), help: help.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_ones_are_known_to_librdkafka() {
        for name in COMMON {
            let refused = check(name, "\u{1}");
            let unknown = refused.is_err_and(|refused| refused.message.contains("no property"));
            assert!(!unknown, "{name}");
        }
    }

    #[test]
    fn owned_ones_are_refused_with_a_reason() {
        let refused = check("enable.auto.commit", "true").unwrap_err();
        assert_eq!(refused.message, "Outrigger sets `enable.auto.commit` itself: only settled records are committed");
    }

    #[test]
    fn names_and_values_are_checked_and_values_never_shown() {
        assert_eq!(check("sasl.password", "hunter2"), Ok(()));
        assert_eq!(check("socket.keepalive.enable", "true"), Ok(()));
        let refused = check("sasl.pasword", "hunter2").unwrap_err();
        assert_eq!(refused.help, "did you mean `sasl.password`?");
        for (name, value) in [("security.protocol", "hunter2"), ("linger.ms", "hunter2"), ("a\0b", "hunter2")] {
            let refused = check(name, value).unwrap_err();
            assert!(!format!("{refused:?}").contains("hunter2"), "{refused:?}");
        }
    }
}
