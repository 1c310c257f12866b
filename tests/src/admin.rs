//! Topics: made, changed, cut.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{Kafka, PATIENCE};
use crate::wait::eventually;

impl Kafka {
    /// Creates a topic and waits until it can be used.
    pub fn create_topic(&self, name: &str, partitions: i32) {
        self.create_topic_with(name, partitions, &[]);
    }

    /// Creates a topic with settings of its own, such as `cleanup.policy`, and
    /// waits until it can be used.
    pub fn create_topic_with(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(self.size() as i32));
        topic.config.extend_from_slice(settings);
        let answers = block_on(self.admin().create_topics([&topic], &options())).expect("an answer about the topic");
        answers.into_iter().for_each(|answer| {
            answer.unwrap_or_else(|(topic, code)| panic!("cannot create {topic}: {code}"));
        });
        eventually("a new topic has leaders", PATIENCE, || match self.leaders(name) {
            Some(leaders) if leaders.len() == partitions as usize => Ok(()),
            found => Err(format!("{name}: {found:?}")),
        });
    }

    /// Deletes all records of a partition below an offset, as retention would.
    pub fn delete_records_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut cut = TopicPartitionList::new();
        cut.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        let answers = block_on(self.admin().delete_records(&cut, &options())).expect("an answer about the records");
        answers.elements().iter().for_each(|answer| answer.error().expect("records are deleted"));
    }

    /// Deletes a topic and waits until it is gone.
    pub fn delete_topic(&self, name: &str) {
        let answers = block_on(self.admin().delete_topics(&[name], &options())).expect("an answer about the topic");
        answers.into_iter().for_each(|answer| {
            answer.unwrap_or_else(|(topic, code)| panic!("cannot delete {topic}: {code}"));
        });
        eventually("a deleted topic is gone", PATIENCE, || match self.has_topic(name) {
            true => Err(format!("{name} is there")),
            false => Ok(()),
        });
    }

    /// Adds partitions to a topic, up to so many in all, and waits until they can be used.
    pub fn grow_topic(&self, name: &str, partitions: usize) {
        let grown = NewPartitions::new(name, partitions);
        let answers = block_on(self.admin().create_partitions([&grown], &options())).expect("an answer");
        answers.into_iter().for_each(|answer| {
            answer.unwrap_or_else(|(topic, code)| panic!("cannot add partitions to {topic}: {code}"));
        });
        eventually("new partitions have leaders", PATIENCE, || match self.leaders(name) {
            Some(leaders) if leaders.len() == partitions => Ok(()),
            found => Err(format!("{name}: {found:?}")),
        });
    }

    /// Changes settings of a topic; those that are not named go back to their defaults.
    pub fn set_topic(&self, name: &str, settings: &[(&str, &str)]) {
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(name));
        for &(name, value) in settings {
            change = change.set(name, value);
        }
        let answers = block_on(self.admin().alter_configs([&change], &options())).expect("an answer about the topic");
        answers.into_iter().for_each(|answer| {
            answer.unwrap_or_else(|(_, code)| panic!("cannot change {name}: {code}"));
        });
    }

    /// The partitions of a topic.
    pub(crate) fn partitions(&self, topic: &str) -> Vec<i32> {
        self.leaders(topic).unwrap_or_else(|| panic!("there is no topic {topic}"))
    }

    /// Whether there is such a topic.
    pub fn has_topic(&self, topic: &str) -> bool {
        self.leaders(topic).is_some()
    }

    /// The partitions that have a leader; `None` without such a topic.
    fn leaders(&self, topic: &str) -> Option<Vec<i32>> {
        let consumer = self.consumer("nobody");
        let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).expect("metadata");
        let found = metadata.topics().iter().find(|t| t.name() == topic && t.error().is_none())?;
        Some(found.partitions().iter().filter(|p| p.leader() >= 0).map(|p| p.id()).collect())
    }

    /// A consumer that has subscribed to nothing and commits nothing.
    pub(crate) fn consumer(&self, group: &str) -> BaseConsumer {
        let mut config = self.config();
        config.set("group.id", group).set("enable.auto.commit", "false");
        config.create().expect("a consumer")
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        AdminClient::from_config(&self.config()).expect("an admin client")
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(30))).request_timeout(Some(PATIENCE))
}

/// Drives a future of the admin client, whose own thread completes it; the
/// request's time-out bounds it.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        std::thread::park();
    }
}
