//! The neighbour's load: events at a fixed rate, whatever becomes of them, and how long
//! each took from its record being available to being settled.
//!
//! Both ends are the broker's own times: that of the input record and that of its output,
//! in topics with `LogAppendTime`. They are exact to a millisecond, and contain nothing of
//! how this program sends and reads. Beside them, on this program's clock and finer: from
//! the moment when the event was due to be sent to the one when its output was read here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use outrigger_tests::{Kafka, Record};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

/// How often events are handed to the producer: those that are due by then.
const STEP: Duration = Duration::from_millis(1);

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Milliseconds since 1970.
pub fn millis(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis()
}

/// One event of the neighbour that was settled.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was due.
    pub due: Instant,
    /// From available to settled, by the broker.
    pub settled: Duration,
    /// From due to seen, by this program.
    pub seen: Duration,
}

/// A dead letter of an attack.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ended {
    pub route: String,
    pub class: String,
    pub reason: String,
}

/// The last attempt of a dead letter; times since midnight.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub began: Duration,
    /// The dead letter is written.
    pub settled: Duration,
}

/// What the outputs and dead letters say, as it comes in.
pub struct Seen {
    began: Instant,
    samples: Mutex<Vec<Sample>>,
    ended: Mutex<HashMap<Ended, Vec<Attempt>>>,
    stop: AtomicBool,
}

impl Seen {
    pub fn new() -> Seen {
        Seen { began: Instant::now(), samples: Mutex::default(), ended: Mutex::default(), stop: AtomicBool::new(false) }
    }

    /// The neighbour's events that were due between these times.
    pub fn between(&self, from: Instant, to: Instant) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.iter().filter(|sample| (from..to).contains(&sample.due)).copied().collect()
    }

    /// How many of the neighbour's events are settled.
    pub fn count(&self) -> usize {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The dead letters of a route, of each kind.
    pub fn ended(&self, route: &str) -> Vec<(Ended, Vec<Attempt>)> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let of_route = ended.iter().filter(|(ended, _)| ended.route == route);
        of_route.map(|(ended, attempts)| (ended.clone(), attempts.clone())).collect()
    }

    /// Ends what runs.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Reads both topics until it is stopped.
    pub fn watch(&self, kafka: &Kafka, output: &str, dead_letters: &str, partitions: i32) {
        let mut config = config(kafka);
        config.set("group.id", "nobody").set("enable.auto.commit", "false").set("fetch.wait.max.ms", "100");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(output, 0, Offset::Beginning).expect("the beginning");
        for partition in 0..partitions {
            from.add_partition_offset(dead_letters, partition, Offset::Beginning).expect("the beginning");
        }
        consumer.assign(&from).expect("an assignment");
        while !self.is_stopped() {
            match consumer.poll(Duration::from_millis(50)) {
                Some(Ok(message)) if message.topic() == output => self.output(&message),
                Some(Ok(message)) => self.dead_letter(&message),
                // It connects again by itself.
                Some(Err(_)) | None => {}
            }
        }
    }

    fn output(&self, message: &BorrowedMessage<'_>) {
        let now = Instant::now();
        let data = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
        let number = |text: &str| text.parse::<u64>().ok();
        let due = data.split_whitespace().find_map(|pair| number(pair.strip_prefix("due=")?));
        let available = header(message, "ce_available").and_then(|text| number(&text));
        let (Some(due), Some(available), Some(settled)) = (due, available, message.timestamp().to_millis()) else {
            panic!("the neighbour's output says nothing of its times: {data:?}");
        };
        let due = self.began + Duration::from_micros(due);
        let settled = Duration::from_millis(u64::try_from(settled).unwrap_or(0).saturating_sub(available));
        let sample = Sample { due, settled, seen: now.saturating_duration_since(due) };
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }

    fn dead_letter(&self, message: &BorrowedMessage<'_>) {
        let text = |name: &str| header(message, name).unwrap_or_default();
        let reason = text("outrigger-reason");
        let ended = Ended { route: text("outrigger-route"), class: text("outrigger-failure-class"), reason };
        let began = text("outrigger-last-attempt");
        let began = time_of_day(&began).unwrap_or_else(|| panic!("a dead letter's attempt began at {began:?}"));
        let settled = message.timestamp().to_millis().unwrap_or(0).unsigned_abs() % DAY_MILLIS;
        let attempt = Attempt { began, settled: Duration::from_millis(settled) };
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).entry(ended).or_default().push(attempt);
    }

    /// Sends the neighbour's events at this rate until it is stopped; returns how many.
    pub fn send(&self, kafka: &Kafka, topic: &str, rate: f64) -> u64 {
        let producer = producer(kafka);
        let (began, mut sent) = (Instant::now(), 0_u64);
        while !self.is_stopped() {
            // Open loop: what is due is sent, however late this thread comes to it.
            while began.elapsed().as_secs_f64() * rate > sent as f64 {
                let due = began + Duration::from_secs_f64(sent as f64 / rate);
                self.send_one(&producer, topic, due, sent);
                sent += 1;
            }
            producer.poll(Duration::ZERO);
            std::thread::sleep(STEP);
        }
        producer.flush(Duration::from_secs(30)).expect("all events are written");
        sent
    }

    /// Sends so many at once.
    pub fn burst(&self, kafka: &Kafka, topic: &str, count: u64) {
        let producer = producer(kafka);
        (0..count).for_each(|n| self.send_one(&producer, topic, Instant::now(), n));
        producer.flush(Duration::from_secs(30)).expect("all events are written");
    }

    fn send_one(&self, producer: &BaseProducer, topic: &str, due: Instant, number: u64) {
        let due = due.saturating_duration_since(self.began).as_micros();
        let record = event("neighbour", number, &format!("key-{}", number % 97), &format!("do=neighbour due={due}"));
        send(producer, topic, &record);
    }
}

/// An event in binary mode.
pub fn event(ty: &str, number: u64, key: &str, data: &str) -> Record {
    Record::new(Some(key.as_bytes()), Some(data.as_bytes()))
        .header("ce_specversion", Some(b"1.0"))
        .header("ce_id", Some(format!("{ty}-{number}").as_bytes()))
        .header("ce_source", Some(b"/hostile"))
        .header("ce_type", Some(ty.as_bytes()))
        .header("content-type", Some(b"text/plain"))
}

/// Hands a record to the producer, and waits where its queue is full.
pub fn send(producer: &BaseProducer, topic: &str, record: &Record) {
    let headers = record.headers.iter().fold(rdkafka::message::OwnedHeaders::new(), |all, (key, value)| {
        all.insert(rdkafka::message::Header { key, value: value.as_ref() })
    });
    let mut to_send = BaseRecord::<[u8], [u8]>::to(topic).headers(headers);
    to_send.key = record.key.as_deref();
    to_send.payload = record.value.as_deref();
    while let Err((_, again)) = producer.send(to_send) {
        producer.poll(Duration::from_millis(10));
        to_send = again;
    }
}

/// A producer that waits for nothing.
pub fn producer(kafka: &Kafka) -> BaseProducer {
    config(kafka).set("linger.ms", "0").create().expect("a producer")
}

fn config(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka.address());
    config
}

/// The text of the last header of this name: a dead letter's own stand last.
fn header(message: &BorrowedMessage<'_>, name: &str) -> Option<String> {
    let headers = message.headers()?;
    let found = headers.iter().filter(|header| header.key == name).last()?;
    Some(String::from_utf8_lossy(found.value?).into_owned())
}

/// Since midnight, of a time in UTC as dead letters have it.
fn time_of_day(text: &str) -> Option<Duration> {
    let (_, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut parts = time.splitn(3, ':');
    let mut whole = || parts.next()?.parse::<u32>().ok();
    let minutes = whole()? * 60 + whole()?;
    let seconds: f64 = parts.next()?.parse().ok()?;
    Some(Duration::from_secs(60) * minutes + Duration::from_secs_f64(seconds))
}
