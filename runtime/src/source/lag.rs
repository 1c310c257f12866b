//! What is known of the partitions held: positions, ends, lag.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::BaseConsumer;

use super::assignment::Held;
use super::rebalance::Context;
use crate::commit::committer::Committer;
use crate::kafka::list;
use crate::metrics::Metrics;

/// What is known of one partition. Absent is unknown, which is not 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFacts {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Every lower record is settled.
    pub position: i64,
    /// As the broker last answered.
    pub committed: Option<i64>,
    /// Records delivered and not settled.
    pub unsettled: usize,
    /// Records from the position to the log's end.
    pub lag: Option<i64>,
}

/// The facts as of the last measurement, for whoever asks.
#[derive(Debug, Default)]
pub struct Facts {
    partitions: Mutex<Vec<PartitionFacts>>,
}

impl Facts {
    /// The partitions held, as of the last measurement.
    pub fn partitions(&self) -> Vec<PartitionFacts> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn update(
        &self,
        consumer: &BaseConsumer<Context>,
        held: &[Held<Context>],
        committer: &Committer,
        metrics: &Metrics,
    ) {
        let now = SystemTime::now();
        let facts = held.iter().map(|held| {
            let account = &held.account;
            let (topic, partition) = (&account.topic, account.partition);
            let unsettled = account.unsettled();
            let position = account.position();
            // At the end, what trails are control records, which nobody handles.
            let caught_up = held.at_end && unsettled == 0;
            let end = list::cached_end(consumer, topic, partition).filter(|_| position >= 0);
            let lag = if caught_up { Some(0) } else { end.map(|end| (end - position).max(unsettled as i64)) };
            let age = match account.oldest_ms() {
                _ if caught_up => Some(Duration::ZERO),
                Some(ms) if unsettled > 0 => Some(age(now, ms)),
                _ => None,
            };
            metrics.set_lag(topic, partition, lag, age);
            PartitionFacts {
                topic: topic.to_string(),
                partition,
                position,
                committed: committer.committed(topic, partition),
                unsettled,
                lag,
            }
        });
        *self.partitions.lock().unwrap_or_else(PoisonError::into_inner) = facts.collect();
    }

    pub(super) fn ended(&self) {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// A timestamp in the future is a clock that is ahead: no age.
fn age(now: SystemTime, timestamp_ms: i64) -> Duration {
    let then = UNIX_EPOCH + Duration::from_millis(u64::try_from(timestamp_ms).unwrap_or_default());
    now.duration_since(then).unwrap_or_default()
}
