//! The lag of the partitions held: how far the settled position is behind the end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::BaseConsumer;

use super::assignment::Held;
use super::context::Context;
use crate::kafka::list;
use crate::metrics::Metrics;

/// Sets the lag of every partition held. What is not known is absent, which is not 0.
pub(super) fn measure(consumer: &BaseConsumer<Context>, held: &[Held<Context>], metrics: &Metrics) {
    let now = SystemTime::now();
    for held in held {
        let account = &held.account;
        let (topic, partition) = (&account.topic, account.partition);
        let unsettled = account.unsettled();
        let position = account.position();
        // What came last says nothing of now.
        if held.trouble.is_some() {
            metrics.set_lag(topic, partition, None, None);
            continue;
        }
        // At the end, what trails are control records, which nobody handles.
        let caught_up = held.at_end && unsettled == 0;
        let end = list::cached_end(consumer, topic, partition).filter(|_| position >= 0);
        let records = if caught_up { Some(0) } else { end.map(|end| (end - position).max(unsettled as i64)) };
        let age = match account.oldest_ms() {
            _ if caught_up => Some(Duration::ZERO),
            Some(ms) if unsettled > 0 => Some(age(now, ms)),
            _ => None,
        };
        metrics.set_lag(topic, partition, records, age);
    }
}

/// A timestamp in the future is a clock that is ahead: no age.
fn age(now: SystemTime, timestamp_ms: i64) -> Duration {
    let then = UNIX_EPOCH + Duration::from_millis(u64::try_from(timestamp_ms).unwrap_or_default());
    now.duration_since(then).unwrap_or_default()
}
