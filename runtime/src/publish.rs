//! Publishing: outputs and dead letters on their way to the broker, and the
//! acknowledgements on their way back.
//!
//! In: a message and a token. Out: exactly one [`Ack`] for each message that was
//! taken, in the inbox of the worker that the token names.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

use crate::kafka::reach::{Reach, Statistics};
use crate::kafka::{self, produce};
use crate::logging::KafkaLog;
use crate::manifest::Kafka;
use crate::metrics::Metrics;
use crate::settle::Message;
use crate::worker::effect::{Ack, Channel, Token};

/// After this a message whose fate is open is reported as such, and published again.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(15);

/// Bytes of a message that has its batch for itself: the most that librdkafka knows. With its
/// own bound, 1,000,000, it would refuse records as dead letters that it has consumed.
const LARGEST: &str = "1000000000";

/// The least time from the making of a producer to that of its successor. A fatal error may
/// have a cause that stays, such as a permission that is missing; then every message
/// meets it, and without this each would make a client with threads and connections.
const RENEWAL: Duration = Duration::from_secs(1);

/// A worker's acknowledgements. Bounded by what the worker has handed out.
#[derive(Debug, Default)]
pub struct Inbox {
    acks: Mutex<Vec<(Token, Ack)>>,
    filled: Notify,
}

impl Inbox {
    fn put(&self, token: Token, ack: Ack) {
        let mut acks = self.acks.lock().unwrap_or_else(PoisonError::into_inner);
        acks.push((token, ack));
        // The worker takes all there is: it is woken for the first one only.
        if acks.len() == 1 {
            drop(acks);
            self.filled.notify_one();
        }
    }

    /// Takes all that is there; `into` must be empty and its memory is used for the next ones.
    pub fn take(&self, into: &mut Vec<(Token, Ack)>) {
        std::mem::swap(&mut *self.acks.lock().unwrap_or_else(PoisonError::into_inner), into);
    }

    /// Waits until there is something to take.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}

/// Why a message was not taken.
#[derive(Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The producer's queue is full: try again after the next acknowledgement.
    Full,
    /// It will not be taken as it is, or not now: as if this had been its acknowledgement.
    Failed(Ack),
}

/// The producers of the process: one for outputs and one for dead letters, so
/// that neither waits behind the other, and for each a second one that puts every
/// message into a batch of its own. It is made when a batch was too large.
pub struct Publisher {
    together: [Producer; 2],
    alone: [Producer; 2],
}

/// Whether messages share a batch. A topic's `max.message.bytes` holds for batches,
/// and librdkafka neither knows it nor divides a batch that was refused: it reports
/// every message of it as too large, however small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Batches {
    Shared,
    Single,
}

impl Batches {
    /// What an error means for a message that was handed to a producer with such batches.
    fn ack(self, error: RDKafkaErrorCode) -> Ack {
        match ack(error) {
            // Said of the batch, or of what librdkafka puts into one: the message may well be
            // small enough.
            Ack::TooLarge(_) if self == Batches::Shared => Ack::BatchTooLarge,
            ack => ack,
        }
    }
}

struct Producer {
    kafka: Kafka,
    channel: Channel,
    inboxes: Arc<[Inbox]>,
    metrics: Metrics,
    log: Arc<KafkaLog>,
    batches: Batches,
    /// `None` before the first message.
    current: Mutex<Option<Current>>,
}

/// The client that takes the messages, and when it was made.
struct Current {
    client: Arc<ThreadedProducer<Context>>,
    made: Instant,
}

impl Current {
    fn new(client: ThreadedProducer<Context>) -> Current {
        Current { client: Arc::new(client), made: Instant::now() }
    }
}

struct Context {
    reach: Reach,
    batches: Batches,
    inboxes: Arc<[Inbox]>,
    log: Arc<KafkaLog>,
    metrics: Metrics,
}

impl Publisher {
    /// Connects in the background.
    ///
    /// # Errors
    /// If librdkafka refuses the configuration.
    pub fn new(kafka: &Kafka, inboxes: Arc<[Inbox]>, metrics: Metrics, log: Arc<KafkaLog>) -> KafkaResult<Publisher> {
        let producer = |channel, batches| Producer {
            kafka: kafka.clone(),
            channel,
            inboxes: inboxes.clone(),
            metrics: metrics.clone(),
            log: log.clone(),
            batches,
            current: Mutex::default(),
        };
        let both = |batches| [producer(Channel::Outputs, batches), producer(Channel::DeadLetters, batches)];
        let publisher = Publisher { together: both(Batches::Shared), alone: both(Batches::Single) };
        // Now, so that a configuration that is refused is known at the start.
        publisher.together.iter().try_for_each(|producer| producer.current().map(drop))?;
        Ok(publisher)
    }

    /// Hands a message to a producer, which copies it. `worker` gets the
    /// acknowledgement. With `alone` it shares its batch with no other message.
    ///
    /// # Errors
    /// The message was not taken, and no acknowledgement will come.
    pub fn publish(
        &self,
        channel: Channel,
        message: &Message,
        alone: bool,
        worker: u8,
        token: Token,
    ) -> Result<(), NotTaken> {
        let producers = if alone { &self.alone } else { &self.together };
        producers[channel as usize].send(message, token.pack(worker))
    }
}

impl Producer {
    /// The client of now; made if there is none yet.
    fn current(&self) -> KafkaResult<Arc<ThreadedProducer<Context>>> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(current) => Ok(current.client.clone()),
            None => Ok(current.insert(Current::new(self.client()?)).client.clone()),
        }
    }

    fn client(&self) -> KafkaResult<ThreadedProducer<Context>> {
        let role = match self.channel {
            Channel::Outputs => "outputs",
            Channel::DeadLetters => "dead-letters",
        };
        let Producer { batches, inboxes, log, metrics, .. } = self;
        let context = Context {
            reach: Reach::new(&self.kafka.bootstrap_servers),
            batches: *batches,
            inboxes: inboxes.clone(),
            log: log.clone(),
            metrics: metrics.clone(),
        };
        let mut config = kafka::client::producer(&self.kafka, role, MESSAGE_TIMEOUT);
        if *batches == Batches::Single {
            config.set("batch.num.messages", "1").set("linger.ms", "0");
            // Only the topic says how large a message may be. Here, as librdkafka makes its
            // buffers for shared batches as large as this allows.
            if !self.kafka.properties.contains_key("message.max.bytes") {
                config.set("message.max.bytes", LARGEST);
            }
        }
        let client: ThreadedProducer<Context> = config.create_with_context(context)?;
        client.context().reach.attach(client.client());
        Ok(client)
    }

    fn send(&self, message: &Message, token: usize) -> Result<(), NotTaken> {
        let producer = self.current().map_err(|error| NotTaken::Failed(Ack::Unknown(error.to_string())))?;
        let (key, value) = (message.key.as_deref(), message.value.as_deref());
        match produce::produce(producer.client(), &message.topic, key, value, message.headers.iter(), token) {
            Ok(()) => Ok(()),
            Err(RDKafkaErrorCode::QueueFull) => Err(NotTaken::Full),
            Err(error) => {
                if let Some((_, why)) = produce::fatal_error(producer.client()) {
                    self.renew(&producer, &why);
                }
                self.metrics.publish_errors.inc();
                Err(NotTaken::Failed(self.batches.ack(error)))
            }
        }
    }

    /// Replaces a producer that ended with a fatal error. What the old one held is
    /// purged and reported as unknown, and so published again on the new one. One that is
    /// younger than [`RENEWAL`] stays and refuses until a later message finds it old enough.
    fn renew(&self, failed: &Arc<ThreadedProducer<Context>>, why: &str) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |current: &Current| Arc::ptr_eq(&current.client, failed) && current.made.elapsed() >= RENEWAL;
        if !current.as_ref().is_some_and(is_due) {
            return;
        }
        match self.client() {
            Ok(new) => {
                tracing::error!(why, channel = ?self.channel, "the producer ended with a fatal error; a new one takes over");
                let old = current.replace(Current::new(new));
                // Dropping waits for its reports, which a worker must not.
                std::thread::spawn(move || drop(old));
            }
            // The old one stays and refuses; the next message tries again.
            Err(error) => tracing::error!(why, %error, "the producer ended with a fatal error and cannot be replaced"),
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.log.line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.log.error(&error, reason);
    }

    fn stats_raw(&self, json: &[u8]) {
        if let Some(statistics) = Statistics::read(json) {
            self.reach.look(&statistics);
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    // Runs on the producer's thread and must not panic.
    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let (worker, token) = Token::unpack(token);
        let ack = match result {
            Ok(_) => Ack::Written,
            Err((error, _)) => {
                self.metrics.publish_errors.inc();
                self.batches.ack(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown))
            }
        };
        if let Some(inbox) = self.inboxes.get(worker as usize) {
            inbox.put(token, ack);
        }
    }
}

/// What a producer's error means for the message.
fn ack(error: RDKafkaErrorCode) -> Ack {
    use RDKafkaErrorCode::*;
    let reason = error.to_string();
    match error {
        MessageSizeTooLarge | InvalidMessageSize => Ack::TooLarge(reason),
        UnknownTopic
        | UnknownTopicOrPartition
        | UnknownPartition
        | InvalidTopic
        | TopicAuthorizationFailed
        | PolicyViolation
        | InvalidRecord
        | InvalidTimestamp
        | InvalidArgument => Ack::Refused(reason),
        // Among them: timed out and purged, which say nothing about whether it was written.
        _ => Ack::Unknown(reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_written_is_unknown() {
        for error in [RDKafkaErrorCode::MessageTimedOut, RDKafkaErrorCode::PurgeInflight, RDKafkaErrorCode::Fatal] {
            assert!(matches!(ack(error), Ack::Unknown(_)), "{error}");
        }
        assert!(matches!(ack(RDKafkaErrorCode::MessageSizeTooLarge), Ack::TooLarge(_)));
        assert!(matches!(ack(RDKafkaErrorCode::UnknownTopic), Ack::Refused(_)));
    }

    #[test]
    fn an_inbox_gives_everything_once() {
        let inbox = Inbox::default();
        let token = |key| Token::unpack(key).1;
        inbox.put(token(1), Ack::Written);
        inbox.put(token(2), Ack::Refused("no".into()));
        let mut taken = Vec::new();
        inbox.take(&mut taken);
        assert_eq!(taken, [(token(1), Ack::Written), (token(2), Ack::Refused("no".into()))]);
        taken.clear();
        inbox.take(&mut taken);
        assert!(taken.is_empty());
    }
}
