//! Where the reading of a partition begins.
//!
//! The decision is pure ([`decide`]); [`Positions::resolve`] asks the broker for
//! what it needs, in one request of each kind for all partitions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

use crate::commit::map::{Identity, OffsetMap};
use crate::commit::metadata::Metadata;
use crate::kafka::list;
use crate::manifest::{Kafka, OnOffsetLost, StartFrom};

/// For each request to the broker.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The offsets that a partition's log holds: the first one, and the one after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The oldest record's offset, or the end where there is none.
    pub start: i64,
    /// The offset that the next record will have (the last stable one, for transactions).
    pub end: i64,
}

/// Where to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the committed offset.
    Committed(i64),
    /// For the first time, here.
    First(i64),
    /// The committed offset is not in the log any more; on here, as the manifest says.
    Moved {
        /// Where reading goes on.
        to: i64,
        /// What was lost, for the log.
        what: String,
    },
    /// The committed offset is not in the log any more, and the manifest says to stop.
    Lost(String),
}

/// Decides where a partition begins. `since` is where the group's own beginning
/// falls in this partition, if the group has read other partitions of the topic before.
pub fn decide(
    committed: Option<i64>,
    log: Log,
    start_from: StartFrom,
    since: Option<i64>,
    on_lost: OnOffsetLost,
) -> Start {
    let Some(committed) = committed else {
        return Start::First(match (since, start_from) {
            // A partition that appeared later: nothing in it is older than the group.
            (Some(since), _) => since,
            (None, StartFrom::Earliest) => log.start,
            (None, StartFrom::Latest) => log.end,
        });
    };
    let what = if committed < log.start {
        format!(
            "{} records are gone: committed offset {committed}, the log starts at {}",
            log.start - committed,
            log.start
        )
    } else if committed > log.end {
        format!(
            "committed offset {committed} is behind the log's end {}: the topic was created again or truncated",
            log.end
        )
    } else {
        return Start::Committed(committed);
    };
    lost(what, log, on_lost)
}

/// Decides where a partition goes on that stood at `left` when its client, or its records,
/// said that this is no place in the log any more. Where it is one by now, another log has
/// grown past it: what that one has below was never read, and is not passed over in silence.
pub fn decide_again(left: i64, log: Log, on_lost: OnOffsetLost) -> Start {
    match decide(Some(left), log, StartFrom::Earliest, None, on_lost) {
        Start::Committed(_) => {
            let Log { start, end } = log;
            let what = format!(
                "position {left} was out of the log's range and is in it again, between {start} and {end}: the topic was created again or truncated, and written on"
            );
            lost(what, log, on_lost)
        }
        decided => decided,
    }
}

fn lost(what: String, log: Log, on_lost: OnOffsetLost) -> Start {
    match on_lost {
        OnOffsetLost::Stop => Start::Lost(what),
        OnOffsetLost::Earliest => Start::Moved { to: log.start, what },
        OnOffsetLost::Latest => Start::Moved { to: log.end, what },
    }
}

/// A partition with its beginning.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// What its log holds.
    pub log: Log,
    /// Where reading begins.
    pub start: Start,
    /// What is committed, if anything.
    pub committed: Option<i64>,
    /// What is stored beside it; empty where it is not Outrigger's.
    pub stored: Metadata,
    /// What is settled beyond the beginning, as far as can be said before its first record comes.
    pub map: Option<OffsetMap>,
    /// When the group began with the topic, in milliseconds since the Unix epoch; stored beside every commit.
    pub began_ms: Option<i64>,
}

/// Finds the beginnings of partitions.
pub struct Positions<'a, C: ConsumerContext> {
    /// The group's consumer.
    pub consumer: &'a BaseConsumer<C>,
    /// The manifest's section.
    pub kafka: &'a Kafka,
    /// Now, in milliseconds since the Unix epoch.
    pub now_ms: i64,
}

impl<C: ConsumerContext> Positions<'_, C> {
    /// Resolves all partitions of `wanted`, and returns with them the list to
    /// assign: as it was read, leader epochs included, with the offsets decided.
    /// `left` is where this process stood in them when it lost its place; see [`decide_again`].
    ///
    /// # Errors
    /// If the broker did not answer, or not for every partition.
    pub fn resolve(
        &self,
        wanted: &TopicPartitionList,
        left: Option<i64>,
    ) -> Result<(TopicPartitionList, Vec<Resolved>), KafkaError> {
        let mut assign = self.consumer.committed_offsets(wanted.clone(), TIMEOUT)?;
        let starts = self.log_offsets(wanted, Offset::Beginning)?;
        let ends = self.log_offsets(wanted, Offset::End)?;
        let mut resolved = Vec::new();
        let mut began: HashMap<String, Option<i64>> = HashMap::new();
        for entry in list::entries(&assign) {
            if let Some(error) = entry.error {
                return Err(KafkaError::OffsetFetch(error));
            }
            let key = (entry.topic.to_owned(), entry.partition);
            let (Some(&start), Some(&end)) = (starts.get(&key), ends.get(&key)) else {
                return Err(KafkaError::OffsetFetch(rdkafka::types::RDKafkaErrorCode::NoOffset));
            };
            let committed = (entry.offset >= 0).then_some(entry.offset);
            let start_from = self.start_from(entry.topic);
            let stored = Metadata::parse(entry.metadata).unwrap_or_else(|why| {
                tracing::warn!(
                    topic = entry.topic,
                    partition = entry.partition,
                    "the metadata of the committed offset is not used: {why}"
                );
                Metadata::default()
            });
            let (mut began_here, mut since) = (stored.began_ms, None);
            if committed.is_none() && left.is_none() && start_from == StartFrom::Latest {
                let known = match began.get(entry.topic) {
                    Some(known) => *known,
                    None => {
                        let known = self.group_began(entry.topic)?;
                        began.insert(entry.topic.to_owned(), known);
                        known
                    }
                };
                if let Some(began) = known {
                    since = Some(self.offset_at(&key.0, key.1, began)?.unwrap_or(end).max(start));
                }
                began_here = Some(known.filter(|&ms| ms > 0).unwrap_or(self.now_ms));
            }
            let (log, on_lost) = (Log { start, end }, self.kafka.on_offset_lost);
            let start = match left {
                Some(left) => decide_again(left, log, on_lost),
                None => decide(committed, log, start_from, since, on_lost),
            };
            let (topic, partition) = (Arc::from(entry.topic), entry.partition);
            let map = self.map(&stored, &start, entry.topic, partition, end);
            resolved.push(Resolved { topic, partition, log, start, committed, stored, map, began_ms: began_here });
        }
        for partition in &resolved {
            if let Start::Committed(offset) | Start::First(offset) | Start::Moved { to: offset, .. } = partition.start {
                assign.set_partition_offset(&partition.topic, partition.partition, Offset::Offset(offset))?;
            }
        }
        Ok((assign, resolved))
    }

    fn map(&self, stored: &Metadata, start: &Start, topic: &str, partition: i32, end: i64) -> Option<OffsetMap> {
        let Start::Committed(committed) = *start else { return None };
        let identity = Identity { group: &self.kafka.group_id, topic, partition };
        stored.trusted_map(identity, committed, end).unwrap_or_else(|why| {
            tracing::warn!(%topic, partition, "the offset map is not used, and settled records may come again: {why}");
            None
        })
    }

    fn start_from(&self, topic: &str) -> StartFrom {
        let own = self.kafka.topics.iter().find(|entry| entry.name == topic).and_then(|entry| entry.start_from);
        let pattern =
            || self.kafka.topics.iter().filter(|entry| entry.name.starts_with('^')).find_map(|e| e.start_from);
        own.or_else(pattern).unwrap_or(self.kafka.start_from)
    }

    /// When the group began with a topic: the mark beside its commits; 0 where it
    /// has committed without one; `None` where it has committed nothing.
    fn group_began(&self, topic: &str) -> Result<Option<i64>, KafkaError> {
        let metadata = self.consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        let mut all = TopicPartitionList::new();
        for partition in metadata.topics().iter().filter(|t| t.name() == topic).flat_map(|t| t.partitions()) {
            all.add_partition(topic, partition.id());
        }
        let all = self.consumer.committed_offsets(all, TIMEOUT)?;
        let marks = list::entries(&all).filter(|entry| entry.offset >= 0);
        let began = |metadata| Metadata::parse(metadata).ok().and_then(|metadata| metadata.began_ms);
        Ok(marks.map(|entry| began(entry.metadata).unwrap_or(0)).min())
    }

    /// The first offset at or after a time; `None` if there is none yet.
    fn offset_at(&self, topic: &str, partition: i32, ms: i64) -> Result<Option<i64>, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(ms))?;
        let list = self.consumer.offsets_for_times(list, TIMEOUT)?;
        Ok(list::entries(&list).map(|entry| entry.offset).find(|&offset| offset >= 0))
    }

    /// One end of every log. ListOffsets takes -2 and -1 for times, and
    /// librdkafka passes them on, so one request per broker answers for all partitions.
    fn log_offsets(
        &self,
        wanted: &TopicPartitionList,
        which: Offset,
    ) -> Result<HashMap<(String, i32), i64>, KafkaError> {
        let mut list = TopicPartitionList::new();
        for entry in list::entries(wanted) {
            list.add_partition_offset(entry.topic, entry.partition, which)?;
        }
        let list = self.consumer.offsets_for_times(list, TIMEOUT)?;
        let answered = list::entries(&list).filter(|entry| entry.error.is_none() && entry.offset >= 0);
        Ok(answered.map(|entry| ((entry.topic.to_owned(), entry.partition), entry.offset)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: Log = Log { start: 100, end: 200 };

    fn at(committed: Option<i64>, on_lost: OnOffsetLost) -> Start {
        decide(committed, LOG, StartFrom::Earliest, None, on_lost)
    }

    #[test]
    fn a_committed_offset_in_the_log_is_where_it_goes_on() {
        for committed in [100, 150, 200] {
            assert_eq!(at(Some(committed), OnOffsetLost::Stop), Start::Committed(committed));
        }
    }

    #[test]
    fn an_offset_out_of_the_log_is_decided_on_and_counted() {
        let Start::Lost(what) = at(Some(40), OnOffsetLost::Stop) else { panic!() };
        assert!(what.starts_with("60 records are gone"), "{what}");
        assert!(matches!(at(Some(40), OnOffsetLost::Earliest), Start::Moved { to: 100, .. }));
        assert!(matches!(at(Some(201), OnOffsetLost::Latest), Start::Moved { to: 200, .. }));
        let Start::Lost(what) = at(Some(201), OnOffsetLost::Stop) else { panic!() };
        assert!(what.contains("created again"), "{what}");
    }

    #[test]
    fn a_place_that_was_lost_is_not_trusted_again() {
        let again = |left, on_lost| decide_again(left, LOG, on_lost);
        for left in [100, 150, 200] {
            let Start::Lost(what) = again(left, OnOffsetLost::Stop) else { panic!("{left}") };
            assert!(what.contains("is in it again, between 100 and 200"), "{what}");
            assert!(matches!(again(left, OnOffsetLost::Earliest), Start::Moved { to: 100, .. }));
            assert!(matches!(again(left, OnOffsetLost::Latest), Start::Moved { to: 200, .. }));
        }
        for left in [40, 201] {
            assert_eq!(again(left, OnOffsetLost::Stop), at(Some(left), OnOffsetLost::Stop));
        }
    }

    #[test]
    fn start_from_counts_once_per_group() {
        let first = |from, since| decide(None, LOG, from, since, OnOffsetLost::Stop);
        assert_eq!(first(StartFrom::Earliest, None), Start::First(100));
        assert_eq!(first(StartFrom::Latest, None), Start::First(200));
        assert_eq!(first(StartFrom::Latest, Some(120)), Start::First(120), "the group began before this partition");
    }
}
