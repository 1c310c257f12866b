//! A cluster of three brokers, of which any one may go away: who leads what, and
//! the end and the return of a single broker.

use std::collections::BTreeMap;

use rdkafka::consumer::Consumer;

use crate::broker::{Broker, Member, Setup};
use crate::kafka::{Kafka, PATIENCE};
use crate::process::free_port;
use crate::wait::eventually;

/// Three have a majority without any one of them.
const BROKERS: usize = 3;

/// A broker that died is noticed after 6 s, and one that is back leads again what it
/// led at first: so leaders move with each end and with each return.
const SETTINGS: [(&str, &str); 3] = [
    ("broker.session.timeout.ms", "6000"),
    ("leader.imbalance.check.interval.seconds", "2"),
    ("leader.imbalance.per.broker.percentage", "0"),
];

impl Kafka {
    /// Three brokers, each of them a controller too. Every topic, those of Kafka
    /// itself included, has three copies of which two must be in sync.
    pub fn start_cluster() -> Kafka {
        let controllers: Vec<u16> = (0..BROKERS).map(|_| free_port()).collect();
        let setup = |node| Setup {
            port: free_port(),
            settings: SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            member: Some(Member { node, controllers: controllers.clone() }),
            ..Setup::default()
        };
        // Side by side: none accepts connections before two of them have met.
        let brokers = std::thread::scope(|scope| {
            let started: Vec<_> =
                (1..=BROKERS as u32).map(setup).map(|s| scope.spawn(move || Broker::start(&s))).collect();
            started.into_iter().map(|broker| broker.join().expect("a broker")).collect()
        });
        Kafka::of(brokers, None)
    }

    /// The numbers of the brokers, from 1.
    pub fn nodes(&self) -> Vec<i32> {
        (1..=self.size() as i32).collect()
    }

    /// Ends one broker in order: it hands over what it leads before.
    pub fn stop_node(&self, node: i32) {
        self.with_node(node, Broker::stop);
    }

    /// Kills one broker.
    pub fn crash_node(&self, node: i32) {
        self.with_node(node, Broker::crash);
    }

    /// Starts a broker that was stopped or killed; the others may still lack its copies.
    pub fn start_node_again(&self, node: i32) {
        self.with_node(node, Broker::start_again);
    }

    /// The broker that leads each partition of a topic; -1 where none does.
    pub fn leaders_of(&self, topic: &str) -> BTreeMap<i32, i32> {
        self.partitions_of(topic, |partition| partition.leader())
    }

    /// Waits until every partition of a topic has a copy in sync on every broker.
    pub fn wait_in_sync(&self, topic: &str) {
        eventually("all copies are in sync", PATIENCE, || {
            let copies = self.partitions_of(topic, |partition| partition.isr().len());
            if copies.values().all(|&copies| copies == self.size()) {
                Ok(())
            } else {
                Err(format!("{topic}: {copies:?}"))
            }
        });
    }

    /// The broker that coordinates a group: the leader of the partition of
    /// `__consumer_offsets` that the group's name is hashed to. -1 where there is none.
    pub fn coordinator(&self, group: &str) -> i32 {
        let leaders = self.leaders_of(OFFSETS);
        // As Java hashes a string; Kafka makes 0 of the number that has no absolute value.
        let hash = group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()));
        let partition = hash.checked_abs().unwrap_or(0) % i32::try_from(leaders.len()).expect("a count of partitions");
        leaders[&partition]
    }

    fn partitions_of<T>(
        &self,
        topic: &str,
        of: impl Fn(&rdkafka::metadata::MetadataPartition) -> T,
    ) -> BTreeMap<i32, T> {
        let consumer = self.consumer("nobody");
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
        let topics = metadata.topics().iter().filter(|found| found.name() == topic);
        topics.flat_map(|topic| topic.partitions()).map(|partition| (partition.id(), of(partition))).collect()
    }
}

/// The topic that commits are kept in.
const OFFSETS: &str = "__consumer_offsets";
