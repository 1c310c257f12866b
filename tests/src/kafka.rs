//! Apache Kafka as a test sees it: a broker and what can be asked of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use crate::broker::{Broker, Setup};
use crate::install::FEW_PAUSES;
use crate::process::{at_exit, free_port};
use crate::proxy::Proxy;
use crate::read::{Record, headers_of};
use crate::wait::eventually;

/// What an acknowledgement, an answer or a commit may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A Kafka of our own, one broker unless it was started as a cluster; it ends when
/// this is dropped, or with the process.
pub struct Kafka {
    address: String,
    brokers: Vec<Mutex<Option<Broker>>>,
    proxy: Option<Proxy>,
}

impl Kafka {
    /// The broker that all tests of a test binary share: give topics and groups
    /// names of their own ([`Kafka::unique`]). The first call starts it.
    pub fn shared() -> &'static Kafka {
        static SHARED: OnceLock<Kafka> = OnceLock::new();
        SHARED.get_or_init(|| {
            // Statics are not dropped.
            at_exit(|| {
                if let Some(kafka) = SHARED.get() {
                    kafka.kill();
                }
            });
            Kafka::start()
        })
    }

    /// A broker for one test, which may kill it.
    pub fn start() -> Kafka {
        Kafka::start_on(free_port())
    }

    /// A broker to measure latencies with: it takes 2 GiB, and seldom stops to collect garbage.
    pub fn start_for_latencies() -> Kafka {
        Kafka::set_up(Setup { port: free_port(), jvm: &FEW_PAUSES, ..Setup::default() }, None)
    }

    /// A broker on a port that the test has chosen before with [`free_port`].
    pub fn start_on(port: u16) -> Kafka {
        Kafka::set_up(Setup { port, ..Setup::default() }, None)
    }

    /// A broker with settings of its own.
    pub fn start_with(settings: &[(&str, &str)]) -> Kafka {
        let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        Kafka::set_up(Setup { port: free_port(), settings, ..Setup::default() }, None)
    }

    /// A broker with settings of its own, that clients can also reach through a
    /// proxy ([`Kafka::proxy`]), which can disturb them.
    pub fn start_behind_proxy(settings: &[(&str, &str)]) -> Kafka {
        let listen = free_port();
        let proxy = Proxy::start(listen);
        let settings = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let proxied = Some((listen, proxy.port()));
        Kafka::set_up(Setup { port: free_port(), proxied, settings, ..Setup::default() }, Some(proxy))
    }

    fn set_up(setup: Setup, proxy: Option<Proxy>) -> Kafka {
        Kafka::of(vec![Broker::start(&setup)], proxy)
    }

    /// A Kafka of these brokers, which run.
    pub(crate) fn of(brokers: Vec<Broker>, proxy: Option<Proxy>) -> Kafka {
        let addresses: Vec<String> = brokers.iter().map(Broker::address).collect();
        let brokers = brokers.into_iter().map(|broker| Mutex::new(Some(broker))).collect();
        Kafka { address: addresses.join(","), brokers, proxy }
    }

    /// How many brokers there are, those that are away included.
    pub(crate) fn size(&self) -> usize {
        self.brokers.len()
    }

    /// The proxy before this broker.
    ///
    /// # Panics
    /// If it was not started with [`Kafka::start_behind_proxy`].
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("a broker that was started behind a proxy")
    }

    /// The only broker.
    fn with_broker<T>(&self, act: impl FnOnce(&mut Broker) -> T) -> T {
        assert_eq!(self.size(), 1, "of a cluster, one broker must be named");
        self.with_node(1, act)
    }

    pub(crate) fn with_node<T>(&self, node: i32, act: impl FnOnce(&mut Broker) -> T) -> T {
        let mut broker = self.brokers[node as usize - 1].lock().unwrap_or_else(PoisonError::into_inner);
        act(broker.as_mut().expect("a broker that was not killed"))
    }

    /// Kills every broker; the data are gone.
    pub fn kill(&self) {
        for broker in &self.brokers {
            broker.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
    }

    /// Freezes the broker: its connections stay, and nothing is answered.
    pub fn freeze(&self) {
        self.with_broker(|broker| broker.signal(libc::SIGSTOP));
    }

    /// Whether the broker answers a question within this time.
    pub fn answers(&self, within: Duration) -> bool {
        rdkafka::consumer::Consumer::fetch_metadata(&self.consumer("nobody"), Some("nothing"), within).is_ok()
    }

    /// Lets a frozen broker go on.
    pub fn thaw(&self) {
        self.with_broker(|broker| broker.signal(libc::SIGCONT));
    }

    /// Ends the broker in order; its data stay for [`Kafka::start_again`].
    pub fn stop(&self) {
        self.with_broker(Broker::stop);
    }

    /// Kills the broker; its data stay for [`Kafka::start_again`].
    pub fn crash(&self) {
        self.with_broker(Broker::crash);
    }

    /// Starts a broker that was stopped or crashed, with its data and ports.
    pub fn start_again(&self) {
        self.with_broker(Broker::start_again);
    }

    /// Gives a broker that was stopped settings that count from its next start on.
    pub fn configure(&self, settings: &[(&str, &str)]) {
        self.with_broker(|broker| broker.configure(settings));
    }

    /// What a broker that was stopped has written down of the producers to the first
    /// partition of a topic.
    pub fn producer_state(&self, topic: &str) -> Vec<u8> {
        std::fs::read(self.producer_state_file(topic)).expect("the producers' state")
    }

    /// Puts another such state in the place of the last one.
    pub fn set_producer_state(&self, topic: &str, state: &[u8]) {
        std::fs::write(self.producer_state_file(topic), state).expect("the producers' state");
    }

    /// The newest one: they are named after the offset that they were written at.
    fn producer_state_file(&self, topic: &str) -> PathBuf {
        let folder = self.with_broker(|broker| broker.log_of(topic, 0));
        let files = std::fs::read_dir(&folder).expect("the partition's folder");
        let files = files.map(|file| file.expect("a file").path());
        let states = files.filter(|file| file.extension().is_some_and(|extension| extension == "snapshot"));
        states.max().unwrap_or_else(|| panic!("no state of producers in {}", folder.display()))
    }

    /// The bootstrap servers.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `name` with a suffix that no other test uses.
    pub fn unique(name: &str) -> String {
        format!("{name}-{:08x}", fastrand::u32(..))
    }

    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    /// Produces records and waits until all are acknowledged. Records of one
    /// partition keep their order. A record's `partition`, where it is not
    /// negative, is used, otherwise the key decides; `topic` and `offset` are ignored.
    pub fn produce(&self, topic: &str, records: impl IntoIterator<Item = Record>) {
        let producer = self.producer(None);
        send_all(&producer, topic, records);
    }

    /// Produces records in one transaction and commits it.
    pub fn produce_in_transaction(&self, topic: &str, records: impl IntoIterator<Item = Record>) {
        self.transaction(topic, records).commit_transaction(PATIENCE).expect("the transaction is committed");
    }

    /// Produces records in one transaction and aborts it: they are in the log,
    /// and nobody who reads committed records may see them.
    pub fn produce_aborted(&self, topic: &str, records: impl IntoIterator<Item = Record>) {
        self.transaction(topic, records).abort_transaction(PATIENCE).expect("the transaction is aborted");
    }

    fn transaction(&self, topic: &str, records: impl IntoIterator<Item = Record>) -> BaseProducer<Acks> {
        let producer = self.producer(Some(&Kafka::unique("transaction")));
        producer.init_transactions(PATIENCE).expect("transactions are ready");
        producer.begin_transaction().expect("a transaction");
        send_all(&producer, topic, records);
        producer
    }

    fn producer(&self, transactional_id: Option<&str>) -> BaseProducer<Acks> {
        let mut config = self.config();
        config.set("enable.idempotence", "true").set("linger.ms", "5").set("message.timeout.ms", "60000");
        config.set("queue.buffering.max.messages", "200000").set("message.max.bytes", "4000000");
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
        }
        config.create_with_context(Acks::default()).expect("a producer")
    }

    /// The committed offsets of a group, of those partitions of a topic that have one.
    pub fn committed(&self, group: &str, topic: &str) -> BTreeMap<i32, i64> {
        let consumer = self.consumer(group);
        let mut asked = rdkafka::TopicPartitionList::new();
        self.partitions(topic).into_iter().for_each(|p| {
            asked.add_partition(topic, p);
        });
        // The group's coordinator may be on its way, after a broker's start.
        let answer = eventually("the committed offsets are told", PATIENCE, || {
            let answer = rdkafka::consumer::Consumer::committed_offsets(&consumer, asked.clone(), PATIENCE);
            answer.map_err(|error| error.to_string())
        });
        let found = answer.elements();
        found.iter().filter_map(|e| Some((e.partition(), e.offset().to_raw().filter(|&at| at >= 0)?))).collect()
    }

    /// The metadata of a group's committed offsets, of those partitions of a topic that have one.
    pub fn metadata(&self, group: &str, topic: &str) -> BTreeMap<i32, String> {
        let mut asked = rdkafka::TopicPartitionList::new();
        self.partitions(topic).into_iter().for_each(|p| _ = asked.add_partition(topic, p));
        let answer = rdkafka::consumer::Consumer::committed_offsets(&self.consumer(group), asked, PATIENCE);
        let found = answer
            .expect("committed offsets")
            .elements()
            .into_iter()
            .map(|element| {
                let committed = element.offset().to_raw().is_some_and(|at| at >= 0);
                (element.partition(), committed.then(|| element.metadata().to_owned()))
            })
            .collect::<Vec<_>>();
        found.into_iter().filter_map(|(partition, metadata)| Some((partition, metadata?))).collect()
    }

    /// Commits an offset with metadata for a group without members, as other tools do.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64, metadata: &str) {
        let mut list = rdkafka::TopicPartitionList::new();
        let mut element = list.add_partition(topic, partition);
        element.set_offset(rdkafka::Offset::Offset(offset)).expect("an offset");
        element.set_metadata(metadata);
        let consumer = self.consumer(group);
        rdkafka::consumer::Consumer::commit(&consumer, &list, rdkafka::consumer::CommitMode::Sync).expect("a commit");
    }

    /// Where the next record of each partition of a topic will be.
    pub fn ends(&self, topic: &str) -> BTreeMap<i32, i64> {
        self.ranges(topic).into_iter().map(|(partition, (_, end))| (partition, end)).collect()
    }

    /// The first offset and the end of each partition of a topic.
    pub fn ranges(&self, topic: &str) -> BTreeMap<i32, (i64, i64)> {
        let consumer = self.consumer("nobody");
        // A partition's leader may be on its way, in a cluster.
        let range = |partition| {
            eventually("a partition's ends are told", PATIENCE, || {
                let answer = rdkafka::consumer::Consumer::fetch_watermarks(&consumer, topic, partition, PATIENCE);
                answer.map_err(|error| error.to_string())
            })
        };
        self.partitions(topic).into_iter().map(|partition| (partition, range(partition))).collect()
    }

    /// `Ok` when the group has committed the end of every partition of the
    /// topic, otherwise what is missing: for [`crate::eventually`].
    pub fn committed_all(&self, group: &str, topic: &str) -> Result<(), String> {
        let (committed, mut ends) = (self.committed(group, topic), self.ends(topic));
        // A partition without a record needs no commit.
        ends.retain(|partition, end| *end > 0 || committed.contains_key(partition));
        if committed == ends { Ok(()) } else { Err(format!("committed {committed:?} of {ends:?}")) }
    }
}

/// Counts what was not written.
#[derive(Default)]
struct Acks {
    failed: Mutex<Option<KafkaError>>,
}

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        if let Err((error, _)) = result {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
    }
}

fn send_all(producer: &BaseProducer<Acks>, topic: &str, records: impl IntoIterator<Item = Record>) {
    for record in records {
        let mut to_send = BaseRecord::<[u8], [u8]>::to(topic).headers(headers_of(&record.headers));
        to_send.key = record.key.as_deref();
        to_send.payload = record.value.as_deref();
        to_send.partition = (record.partition >= 0).then_some(record.partition);
        to_send.timestamp = record.timestamp_ms;
        let start = Instant::now();
        while let Err((error, again)) = producer.send(to_send) {
            let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
            assert!(full && start.elapsed() < PATIENCE, "cannot produce to {topic}: {error}");
            producer.poll(Duration::from_millis(100));
            to_send = again;
        }
    }
    producer.flush(PATIENCE).expect("all records are acknowledged");
    let failed = producer.context().failed.lock().unwrap_or_else(PoisonError::into_inner).take();
    assert!(failed.is_none(), "a record was not written to {topic}: {failed:?}");
}
