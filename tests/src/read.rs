//! Records, and reading a topic to its end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{Kafka, PATIENCE};

/// A record. `None` is Kafka's null, which is not the same as empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Where it was read.
    pub topic: String,
    /// Where it was read; negative in a record to produce whose key decides.
    pub partition: i32,
    /// Where it was read.
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// In their order; names may repeat.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record to produce, whose key decides about the partition.
    pub fn new(key: Option<&[u8]>, value: Option<&[u8]>) -> Record {
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        Record { partition: -1, key, value, ..Record::default() }
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> Record {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }

    /// Names the partition to produce to.
    pub fn to_partition(mut self, partition: i32) -> Record {
        self.partition = partition;
        self
    }

    /// The text of the first header of this name, if it is not null and is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(n, _)| n == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    /// What a dead letter says of its failure: the text of the last header
    /// `outrigger-<name>`, since the original may have had one of that name.
    pub fn failure(&self, name: &str) -> Option<&str> {
        let of_name = |header: &&(String, _)| header.0.strip_prefix("outrigger-") == Some(name);
        let (_, value) = self.headers.iter().rfind(of_name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    /// The value as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        self.value.as_deref().and_then(|value| serde_json::from_slice(value).ok()).unwrap_or_default()
    }

    /// `topic/partition/offset`: the record's name.
    pub fn position(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }
}

/// What a reader of a topic with transactions sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Only what was committed, or written without a transaction.
    ReadCommitted,
    /// Everything.
    ReadUncommitted,
}

impl Kafka {
    /// All committed records of a topic that are there now, each partition in its order.
    pub fn read_all(&self, topic: &str) -> Vec<Record> {
        self.read_all_as(topic, Isolation::ReadCommitted)
    }

    /// All records of a topic that are there now, each partition in its order.
    pub fn read_all_as(&self, topic: &str, isolation: Isolation) -> Vec<Record> {
        let mut config = self.config();
        config.set("group.id", "nobody").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        config.set("fetch.wait.max.ms", "10");
        config.set(
            "isolation.level",
            match isolation {
                Isolation::ReadCommitted => "read_committed",
                Isolation::ReadUncommitted => "read_uncommitted",
            },
        );
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut from = TopicPartitionList::new();
        let mut unfinished: BTreeSet<i32> = self.partitions(topic).into_iter().collect();
        for &partition in &unfinished {
            from.add_partition_offset(topic, partition, Offset::Beginning).expect("the beginning");
        }
        consumer.assign(&from).expect("an assignment");

        let (mut records, start) = (Vec::new(), Instant::now());
        while !unfinished.is_empty() {
            assert!(start.elapsed() < PATIENCE, "{topic}: partitions {unfinished:?} were not read to their end");
            match consumer.poll(Duration::from_millis(200)) {
                None => {}
                Some(Ok(message)) => records.push(owned(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    unfinished.remove(&partition);
                }
                // On a machine that stood still for a while: it connects again by itself.
                Some(Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure,
                ))) => {}
                Some(Err(error)) => panic!("cannot read {topic}: {error}"),
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

fn owned(message: &BorrowedMessage<'_>) -> Record {
    let header = |h: Header<'_, &[u8]>| (h.key.to_owned(), h.value.map(<[u8]>::to_vec));
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(|headers| headers.iter().map(header).collect()).unwrap_or_default(),
    }
}

pub(crate) fn headers_of(headers: &[(String, Option<Vec<u8>>)]) -> OwnedHeaders {
    headers.iter().fold(OwnedHeaders::new_with_capacity(headers.len()), |all, (key, value)| {
        all.insert(Header { key, value: value.as_ref() })
    })
}
