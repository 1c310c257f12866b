//! The yardstick: what a person would write by hand with rdkafka, in one thread.
//! It decodes no more than it needs, keeps no order beyond that of its one
//! thread, retries nothing and has no dead letters.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext};
use serde::Deserialize;

use crate::events::{self, Input};
use crate::job::{Contender, Job};
use crate::worker::{DEADLINE, Failure, Measured, Stopwatch, Task};

/// How often offsets are committed on the way.
const COMMIT: Duration = Duration::from_secs(5);

/// For the flush of the producer.
const PATIENCE: Duration = Duration::from_secs(60);

/// An event with the fields that are needed, read in one pass.
#[derive(Debug, Deserialize)]
pub struct Event<'e> {
    #[serde(borrow)]
    specversion: Cow<'e, str>,
    #[serde(borrow)]
    id: Cow<'e, str>,
    #[serde(borrow)]
    source: Cow<'e, str>,
    #[serde(borrow, rename = "type")]
    ty: Cow<'e, str>,
    /// What it carries.
    #[serde(borrow)]
    pub data: Input<'e>,
}

/// Counts acknowledgements.
#[derive(Default)]
struct Acks {
    written: AtomicU64,
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_ok() {
            self.written.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads the topic to its end.
///
/// # Errors
/// If anything fails, or if not every output was acknowledged.
pub fn run(task: &Task) -> Result<Measured, Failure> {
    let consumer: BaseConsumer = config(task)
        .set("group.id", &task.group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        // With the default of 1 s a partition stalls whenever its queue was full once.
        .set("fetch.queue.backoff.ms", "5")
        .create()?;
    let producer: ThreadedProducer<Acks> = config(task)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "5")
        .set("message.timeout.ms", "60000")
        .create_with_context(Acks::default())?;
    consumer.subscribe(&[&task.topic])?;

    let (started, mut stopwatch, mut committed) = (Instant::now(), None, Instant::now());
    let (mut read, mut sent) = (0, 0);
    while read < task.events {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            if started.elapsed() > DEADLINE {
                return Err(format!("{read} records after {DEADLINE:?}").into());
            }
            continue;
        };
        let message = message?;
        if stopwatch.is_none() {
            stopwatch = Some(Stopwatch::start()?);
        }
        read += 1;
        let value = message.payload().unwrap_or_default();
        if task.contender == Contender::Bare {
            let event: Event<'_> = serde_json::from_slice(value)?;
            if event.specversion != "1.0" || event.id.is_empty() || event.source.is_empty() || event.ty != events::INPUT
            {
                return Err("not an event of the benchmark".into());
            }
            if task.job == Job::Transform
                && let Some(body) = events::transform(&event.data)?
            {
                publish(&producer, &task.output, &message, &body)?;
                sent += 1;
            }
        }
        // Every 256th record reads the clock.
        if read % 256 == 0 && committed.elapsed() >= COMMIT {
            // What is committed must be published.
            producer.flush(PATIENCE)?;
            consumer.commit_consumer_state(CommitMode::Async)?;
            committed = Instant::now();
        }
    }
    producer.flush(PATIENCE)?;
    consumer.commit_consumer_state(CommitMode::Sync)?;
    let written = producer.context().written.load(Ordering::Relaxed);
    if written != sent {
        return Err(format!("{written} of {sent} outputs were acknowledged").into());
    }
    drop(consumer);
    stopwatch.ok_or("the topic is empty")?.stop()
}

fn config(task: &Task) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &task.servers);
    config
}

/// Hands an output to the producer, as an event in binary mode under the key of its input.
fn publish(
    producer: &ThreadedProducer<Acks>,
    topic: &str,
    input: &BorrowedMessage<'_>,
    body: &[u8],
) -> Result<(), Failure> {
    let id = format!("{}/{}/{}", input.topic(), input.partition(), input.offset());
    let header = |key, value| Header { key, value: Some(value) };
    let headers = OwnedHeaders::new_with_capacity(5)
        .insert(header("ce_specversion", "1.0"))
        .insert(header("ce_id", &*id))
        .insert(header("ce_source", "/bench"))
        .insert(header("ce_type", events::OUTPUT))
        .insert(header("content-type", "application/json"));
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(body).headers(headers);
    record.key = input.key();
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                record = again;
                // The producer's own thread makes room.
                producer.poll(Duration::from_millis(1));
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}
