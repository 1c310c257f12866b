//! A Kafka broker inside the process: librdkafka's mock cluster, for development.
//!
//! It keeps 5 MiB or 100,000 records of a partition and forgets everything at the end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use super::samples::Sample;

/// For one question to the broker, which is in the same process.
const ANSWER: Duration = Duration::from_secs(5);

/// Why the broker does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The library reported an error.
    #[error("the embedded broker cannot {0}: {1}")]
    Kafka(&'static str, KafkaError),
    /// The mock cluster is not there.
    #[error("the embedded broker did not start")]
    NotStarted,
    /// Samples could not be produced.
    #[error("{failed} of {total} sample events could not be produced: {first}")]
    NotProduced {
        /// How many.
        failed: u64,
        /// Of how many.
        total: u64,
        /// The first reason.
        first: String,
    },
    /// More samples than the broker keeps.
    #[error(
        "the sample events do not fit: the embedded broker keeps 5 MiB or 100,000 records of a partition; give fewer events or more --partitions"
    )]
    TooMuch,
}

/// Offsets per topic and partition.
pub type Offsets = BTreeMap<String, Vec<i64>>;

/// A running broker; it ends when it is dropped.
pub struct Broker {
    bootstrap_servers: String,
    /// Looks at offsets; it never joins the group.
    reader: BaseConsumer,
    partitions: i32,
    /// The cluster belongs to this client, so it is dropped last.
    producer: BaseProducer<Reports>,
}

/// Counts what the broker acknowledged.
#[derive(Default)]
struct Reports {
    delivered: AtomicU64,
    failed: AtomicU64,
    first: Mutex<Option<String>>,
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => self.delivered.fetch_add(1, Ordering::Relaxed),
            Err((error, _)) => {
                let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
                first.get_or_insert_with(|| error.to_string());
                self.failed.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

impl Broker {
    /// Starts a broker with these topics. `group` is whose commits
    /// [`Broker::committed`] reads; `partitions` is the number per topic.
    ///
    /// # Errors
    /// If librdkafka cannot start it or create a topic.
    pub fn start<'a>(
        group: &str,
        partitions: i32,
        topics: impl IntoIterator<Item = &'a str>,
    ) -> Result<Broker, BrokerError> {
        let starting = |error| BrokerError::Kafka("start", error);
        let producer: BaseProducer<Reports> = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            // Keeps the order of a partition's records even when a request is sent again.
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .create_with_context(Reports::default())
            .map_err(starting)?;
        let cluster = producer.client().mock_cluster().ok_or(BrokerError::NotStarted)?;
        for topic in topics {
            cluster.create_topic(topic, partitions, 1).map_err(|error| BrokerError::Kafka("create a topic", error))?;
        }
        let bootstrap_servers = cluster.bootstrap_servers();
        drop(cluster);
        assign_at_once(&producer);
        let reader = ClientConfig::new()
            .set("bootstrap.servers", &bootstrap_servers)
            .set("group.id", group)
            .create()
            .map_err(starting)?;
        Ok(Broker { bootstrap_servers, reader, partitions, producer })
    }

    /// Where clients find it.
    pub fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }

    /// Produces the samples in their order, which the partitions keep per key.
    ///
    /// # Errors
    /// If the broker did not acknowledge all of them by `deadline`, or could not keep them all.
    pub fn produce(&self, samples: &[Sample], deadline: Instant) -> Result<(), BrokerError> {
        let producing = |error| BrokerError::Kafka("take the sample events", error);
        for sample in samples {
            let headers = OwnedHeaders::new_with_capacity(sample.headers.len());
            let headers = sample
                .headers
                .iter()
                .fold(headers, |headers, (name, value)| headers.insert(Header { key: name, value: value.as_deref() }));
            let mut record = BaseRecord::<[u8], [u8]>::to(&sample.topic).headers(headers);
            record.key = sample.key.as_deref();
            record.payload = sample.value.as_deref();
            while let Err((error, back)) = self.producer.send(record) {
                let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                if !full || Instant::now() >= deadline {
                    return Err(producing(error));
                }
                self.producer.poll(Duration::from_millis(50));
                record = back;
            }
        }
        self.producer.flush(deadline.saturating_duration_since(Instant::now())).map_err(producing)?;
        let reports = self.producer.context();
        let failed = reports.failed.load(Ordering::Relaxed);
        if failed > 0 {
            let first = reports.first.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default();
            return Err(BrokerError::NotProduced { failed, total: samples.len() as u64, first });
        }
        let mut topics: Vec<&str> = samples.iter().map(|sample| sample.topic.as_str()).collect();
        topics.sort_unstable();
        topics.dedup();
        for topic in topics {
            for partition in 0..self.partitions {
                if self.watermarks(topic, partition)?.0 > 0 {
                    return Err(BrokerError::TooMuch);
                }
            }
        }
        Ok(())
    }

    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), BrokerError> {
        self.reader
            .fetch_watermarks(topic, partition, ANSWER)
            .map_err(|error| BrokerError::Kafka("say how many records there are", error))
    }

    /// Every topic's end offsets. The log begins at 0, so they are also the
    /// numbers of records ever written.
    ///
    /// # Errors
    /// If the broker does not answer.
    pub fn ends(&self) -> Result<Offsets, BrokerError> {
        let metadata =
            self.reader.fetch_metadata(None, ANSWER).map_err(|error| BrokerError::Kafka("list its topics", error))?;
        let ends = metadata.topics().iter().map(|topic| {
            let partitions = 0..topic.partitions().len() as i32;
            let ends = partitions.map(|partition| Ok(self.watermarks(topic.name(), partition)?.1));
            Ok((topic.name().to_owned(), ends.collect::<Result<_, BrokerError>>()?))
        });
        ends.collect()
    }

    /// What the group has committed; 0 where it has committed nothing.
    ///
    /// # Errors
    /// If the broker does not answer.
    pub fn committed<'a>(&self, topics: impl IntoIterator<Item = &'a str>) -> Result<Offsets, BrokerError> {
        let reading = |error| BrokerError::Kafka("say what is committed", error);
        let mut asked = TopicPartitionList::new();
        for topic in topics {
            asked.add_partition_range(topic, 0, self.partitions - 1);
        }
        let mut offsets = Offsets::new();
        // Offsets alone: commit metadata may be bytes that the library cannot show.
        for element in self.reader.committed_offsets(asked, ANSWER).map_err(reading)?.elements() {
            element.error().map_err(reading)?;
            let partitions = offsets.entry(element.topic().to_owned()).or_default();
            partitions.push(if let Offset::Offset(offset) = element.offset() { offset } else { 0 });
        }
        Ok(offsets)
    }
}

/// The mock waits 3 s for further members before the first assignment; here there are none.
#[expect(unsafe_code, reason = "the safe wrapper does not offer this setting")]
fn assign_at_once(producer: &BaseProducer<Reports>) {
    // SAFETY: the client is alive for both calls, the cluster belongs to it, and
    // the setter takes the cluster's own lock.
    unsafe {
        let cluster = rdkafka::bindings::rd_kafka_handle_mock_cluster(producer.client().native_ptr());
        if !cluster.is_null() {
            rdkafka::bindings::rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::consumer::CommitMode;

    use super::*;

    fn sample(key: &str, value: &str) -> Sample {
        let headers = vec![("h".to_owned(), None), ("i".to_owned(), Some(b"x".to_vec()))];
        let (key, value) = (Some(key.as_bytes().to_vec()), Some(value.as_bytes().to_vec()));
        Sample { line: 1, topic: "t".to_owned(), key, headers, value }
    }

    #[test]
    fn samples_keep_their_order_per_key_and_commits_can_be_read() {
        let broker = Broker::start("g", 3, ["t", "empty"]).unwrap();
        let samples: Vec<_> = (0..300).map(|n| sample(&format!("k{}", n % 7), &n.to_string())).collect();
        broker.produce(&samples, Instant::now() + Duration::from_secs(20)).unwrap();
        let ends = broker.ends().unwrap();
        assert_eq!(ends["t"].iter().sum::<i64>(), 300);
        assert_eq!(ends["empty"], [0, 0, 0]);
        assert_eq!(
            broker.committed(["t", "empty"]).unwrap(),
            Offsets::from([("t".to_owned(), vec![0, 0, 0]), ("empty".to_owned(), vec![0, 0, 0]),])
        );

        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap_servers())
            .set("group.id", "g")
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "false")
            .create()
            .unwrap();
        consumer.subscribe(&["t"]).unwrap();
        let (began, mut first, mut last) = (Instant::now(), None, BTreeMap::new());
        for _ in 0..300 {
            use rdkafka::Message;
            let record = loop {
                assert!(began.elapsed() < Duration::from_secs(30), "records are missing");
                if let Some(record) = consumer.poll(Duration::from_millis(100)) {
                    break record.unwrap();
                }
            };
            first.get_or_insert_with(|| began.elapsed());
            let value: usize = std::str::from_utf8(record.payload().unwrap()).unwrap().parse().unwrap();
            let before = last.insert(record.key().unwrap().to_vec(), value);
            assert!(before < Some(value), "{value} came after {before:?}");
            assert_eq!(rdkafka::message::Headers::count(record.headers().unwrap()), 2);
        }
        assert!(first.unwrap() < Duration::from_millis(2500), "the first assignment waited: {first:?}");
        consumer.commit_consumer_state(CommitMode::Sync).unwrap();
        assert_eq!(broker.committed(["t"]).unwrap()["t"], ends["t"]);
    }

    #[test]
    fn more_than_the_broker_keeps_is_an_error() {
        let broker = Broker::start("g", 1, ["t"]).unwrap();
        let large = "x".repeat(900_000);
        let samples: Vec<_> = (0..7).map(|_| sample("k", &large)).collect();
        let error = broker.produce(&samples, Instant::now() + Duration::from_secs(20)).unwrap_err();
        assert!(matches!(error, BrokerError::TooMuch), "{error}");
    }
}
