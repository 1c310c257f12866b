//! The dead letter of a record that is given up.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::StaticFormatDescription;
use time::macros::format_description;

use super::message::{Headers, Id, Message};
use super::reason::printable;
use crate::manifest::DeadLetter;
use crate::outcome::Failure;
use crate::record::Record;

/// The headers that a dead letter has beside those of its record. Numbers are
/// decimal, times RFC 3339 in UTC with milliseconds.
pub mod header {
    /// The record's topic.
    pub const TOPIC: &str = "outrigger-topic";
    /// The record's partition.
    pub const PARTITION: &str = "outrigger-partition";
    /// The record's offset.
    pub const OFFSET: &str = "outrigger-offset";
    /// The record's timestamp in milliseconds since the Unix epoch, if it has one.
    pub const TIMESTAMP: &str = "outrigger-timestamp";
    /// The consumer group that gave the record up.
    pub const GROUP: &str = "outrigger-group";
    /// The route, if one took the record.
    pub const ROUTE: &str = "outrigger-route";
    /// The route's handler.
    pub const HANDLER: &str = "outrigger-handler";
    /// The digest of the handler's module.
    pub const MODULE_DIGEST: &str = "outrigger-module-digest";
    /// The generation of manifest and modules that the last attempt was made on, counted
    /// from 1 by the process that wrote this; where none was made, that decided.
    pub const GENERATION: &str = "outrigger-generation";
    /// How often the handler was tried; 0 where no handler saw the record.
    pub const ATTEMPTS: &str = "outrigger-attempts";
    /// When the first attempt began, if there was one.
    pub const FIRST_ATTEMPT: &str = "outrigger-first-attempt";
    /// When the last attempt began, if there was one.
    pub const LAST_ATTEMPT: &str = "outrigger-last-attempt";
    /// The class of the last failure, by its name in the manifest.
    pub const FAILURE_CLASS: &str = "outrigger-failure-class";
    /// The reason of the last failure, on one line, at most 1 KiB.
    pub const REASON: &str = "outrigger-reason";
    /// `group/topic/partition/offset/route` of the record, to drop doubles by; without
    /// the last part where no route took it.
    pub const ID: &str = crate::settle::message::ID;
    /// The size in bytes of a value that was left out.
    pub const VALUE_OMITTED: &str = "outrigger-value-omitted";
}

/// Where a dead letter comes from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The record's topic.
    pub topic: &'a str,
    /// The record's partition.
    pub partition: i32,
    /// The consumer group.
    pub group: &'a str,
    /// The route, if one took the record.
    pub route: Option<&'a str>,
    /// The route's handler.
    pub handler: Option<&'a str>,
    /// The digest of the handler's module as people compare it: in hexadecimal.
    pub module_digest: Option<&'a str>,
    /// See [`header::GENERATION`].
    pub generation: u64,
}

/// The attempts that were made at a record.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    /// How many; 0 where no handler saw the record, and then the times mean nothing.
    pub count: u32,
    /// When the first one began.
    pub first: SystemTime,
    /// When the last one began.
    pub last: SystemTime,
}

/// Bytes of the reason in a dead letter.
const REASON_LIMIT: usize = 1024;

const TIME: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// The dead letter of a record: key, value and headers byte for byte as they
/// were, and behind them the headers of [`header`]. An event stays an event, as
/// its `ce_` headers are among those kept.
///
/// A record that is a dead letter itself, replayed, keeps the headers of its
/// earlier rounds; this round's stand behind them and begin with
/// [`header::TOPIC`], so the last header of that name begins the last round.
pub fn build(record: &Record, origin: Origin<'_>, failure: &Failure, attempts: Attempts, to: &DeadLetter) -> Message {
    // Nineteen short headers of our own and a reason, rarely its whole limit.
    let mut headers = Headers::with_capacity(record.headers().len() + 19, record.bytes().len().min(4096) + 1024);
    for (name, value) in record.headers() {
        headers.push(name, value);
    }
    headers.push_text(header::TOPIC, origin.topic);
    headers.push_text(header::PARTITION, origin.partition);
    headers.push_text(header::OFFSET, record.offset());
    if let Some(timestamp) = record.timestamp_ms() {
        headers.push_text(header::TIMESTAMP, timestamp);
    }
    headers.push_text(header::GROUP, origin.group);
    let of_route = [
        (header::ROUTE, origin.route),
        (header::HANDLER, origin.handler),
        (header::MODULE_DIGEST, origin.module_digest),
    ];
    for (name, value) in of_route {
        if let Some(value) = value {
            headers.push_text(name, value);
        }
    }
    headers.push_text(header::GENERATION, origin.generation);
    headers.push_text(header::ATTEMPTS, attempts.count);
    if attempts.count > 0 {
        for (name, time) in [(header::FIRST_ATTEMPT, attempts.first), (header::LAST_ATTEMPT, attempts.last)] {
            if let Some(time) = rfc3339(time) {
                headers.push_text(name, time);
            }
        }
    }
    headers.push_text(header::FAILURE_CLASS, failure.class);
    headers.push_text(header::REASON, printable(&failure.reason, REASON_LIMIT));
    let id = Id {
        group: origin.group,
        topic: origin.topic,
        partition: origin.partition,
        offset: record.offset(),
        route: origin.route,
        index: None,
    };
    headers.push_text(header::ID, id);
    Message {
        topic: to.topic_for(origin.topic).into(),
        key: record.key().map(<[u8]>::to_vec),
        value: record.value().map(<[u8]>::to_vec),
        headers,
    }
}

/// The dead letter with its value left out and the value's size in a header:
/// for a record too large for its dead-letter topic. One without a value comes
/// back as it is.
pub fn without_value(mut message: Message) -> Message {
    if let Some(value) = message.value.take() {
        message.headers.push_text(header::VALUE_OMITTED, value.len());
    }
    message
}

/// `None` for a clock outside the years 0 to 9999.
fn rfc3339(time: SystemTime) -> Option<String> {
    let nanoseconds = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i128::try_from(after.as_nanos()).ok()?,
        Err(before) => -i128::try_from(before.duration().as_nanos()).ok()?,
    };
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?.format(&TIME).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::outcome::FailureClass;

    const ORIGIN: Origin<'static> = Origin {
        topic: "orders",
        partition: 3,
        group: "shop",
        route: Some("order-created"),
        handler: Some("enrich"),
        module_digest: Some("sha256:ab12"),
        generation: 7,
    };

    fn attempts(count: u32) -> Attempts {
        let first = UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        Attempts { count, first, last: first + Duration::from_secs(90) }
    }

    fn failure(reason: &str) -> Failure {
        Failure { class: FailureClass::Rejected, reason: reason.to_owned().into(), retry_after: None }
    }

    fn to() -> DeadLetter {
        DeadLetter { topic: "{topic}.dlq".into(), omit_large_values: true }
    }

    fn record<'a>(key: Option<&[u8]>, value: Option<&[u8]>, headers: &'a [(&'a [u8], Option<&'a [u8]>)]) -> Record {
        Record::new(42, Some(1_600_000_000_000), key, value, headers.iter().copied())
    }

    /// The headers as text, one a line.
    fn text(message: &Message) -> String {
        let line = |(name, value): (&[u8], Option<&[u8]>)| {
            let value = value.map_or("(null)".into(), String::from_utf8_lossy);
            format!("{}: {value}\n", String::from_utf8_lossy(name))
        };
        message.headers.iter().map(line).collect()
    }

    #[test]
    fn it_tells_where_it_comes_from_and_why() {
        let record = record(Some(b"k"), Some(b"{}"), &[(b"ce_id", Some(b"1")), (b"trace", None)]);
        let message = build(&record, ORIGIN, &failure("total is\nnegative"), attempts(6), &to());
        assert_eq!(&*message.topic, "orders.dlq");
        assert_eq!((message.key.as_deref(), message.value.as_deref()), (Some(&b"k"[..]), Some(&b"{}"[..])));
        insta::assert_snapshot!(text(&message), @r"
        ce_id: 1
        trace: (null)
        outrigger-topic: orders
        outrigger-partition: 3
        outrigger-offset: 42
        outrigger-timestamp: 1600000000000
        outrigger-group: shop
        outrigger-route: order-created
        outrigger-handler: enrich
        outrigger-module-digest: sha256:ab12
        outrigger-generation: 7
        outrigger-attempts: 6
        outrigger-first-attempt: 2023-11-14T22:13:20.123Z
        outrigger-last-attempt: 2023-11-14T22:14:50.123Z
        outrigger-failure-class: rejected
        outrigger-reason: total is\nnegative
        outrigger-id: shop/orders/3/42/order-created
        ");
    }

    #[test]
    fn what_is_not_known_is_not_there() {
        let record = Record::new(42, None, None, None, [].into_iter());
        let origin = Origin { route: None, handler: None, module_digest: None, ..ORIGIN };
        let message = build(&record, origin, &failure("not an event"), attempts(0), &to());
        assert_eq!((&message.key, &message.value), (&None, &None));
        insta::assert_snapshot!(text(&message), @r"
        outrigger-topic: orders
        outrigger-partition: 3
        outrigger-offset: 42
        outrigger-group: shop
        outrigger-generation: 7
        outrigger-attempts: 0
        outrigger-failure-class: rejected
        outrigger-reason: not an event
        outrigger-id: shop/orders/3/42
        ");
    }

    #[test]
    fn a_second_round_keeps_the_first() {
        let once = [(&b"outrigger-reason"[..], Some(&b"once"[..])), (b"outrigger-topic", Some(b"orders"))];
        let record = record(None, None, &once);
        let origin = Origin { topic: "orders.dlq", ..ORIGIN };
        let message = build(&record, origin, &failure("twice"), attempts(1), &to());
        assert_eq!(message.headers.iter().take(2).collect::<Vec<_>>(), once);
        assert_eq!(message.headers.last(header::REASON), Some(&b"twice"[..]));
        assert_eq!(message.headers.last(header::TOPIC), Some(&b"orders.dlq"[..]));
    }

    #[test]
    fn a_long_reason_is_cut() {
        let reason = "ü".repeat(5000);
        let message = build(&record(None, None, &[]), ORIGIN, &failure(&reason), attempts(1), &to());
        let shown = String::from_utf8(message.headers.last(header::REASON).unwrap().to_vec()).unwrap();
        assert!(shown.len() <= 1024 && shown.len() > 1000 && shown.ends_with("ü…"));
    }

    #[test]
    fn a_value_left_out_leaves_its_size() {
        let message = build(&record(None, Some(&[0; 5000]), &[]), ORIGIN, &failure("x"), attempts(1), &to());
        let message = without_value(message);
        assert_eq!(message.value, None);
        assert_eq!(message.headers.last(header::VALUE_OMITTED), Some(&b"5000"[..]));
        assert_eq!(without_value(message.clone()), message);
    }

    #[test]
    fn a_clock_that_is_wrong_stops_nothing() {
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_millis(1)).as_deref(), Some("1969-12-31T23:59:59.999Z"));
        assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(1 << 40)), None);
    }

    proptest! {
        #[test]
        fn the_original_is_kept_byte_for_byte(
            key in any::<Option<Vec<u8>>>(),
            value in any::<Option<Vec<u8>>>(),
            headers in prop::collection::vec((any::<Vec<u8>>(), any::<Option<Vec<u8>>>()), 0..6),
            reason in any::<String>(),
        ) {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
            let record = record(key.as_deref(), value.as_deref(), &headers);
            let message = build(&record, ORIGIN, &failure(&reason), attempts(1), &to());
            prop_assert_eq!(&message.key, &key);
            prop_assert_eq!(&message.value, &value);
            prop_assert_eq!(message.headers.iter().take(headers.len()).collect::<Vec<_>>(), headers);
        }
    }
}
