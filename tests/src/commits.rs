//! Commits: what is stored beside the offset of a group.

use std::collections::BTreeMap;

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use crate::kafka::{Kafka, PATIENCE};

impl Kafka {
    /// The metadata of a group's committed offsets, of those partitions of a topic that have one.
    pub fn metadata(&self, group: &str, topic: &str) -> BTreeMap<i32, String> {
        let mut asked = TopicPartitionList::new();
        self.partitions(topic).into_iter().for_each(|p| _ = asked.add_partition(topic, p));
        let answer = self.consumer(group).committed_offsets(asked, PATIENCE).expect("committed offsets");
        let committed = |offset: Offset| offset.to_raw().is_some_and(|at| at >= 0);
        let found = answer.elements().into_iter().filter(|e| committed(e.offset()));
        found.map(|e| (e.partition(), e.metadata().to_owned())).collect()
    }

    /// Commits an offset with metadata for a group without members, as a tool would.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64, metadata: &str) {
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(topic, partition);
        element.set_offset(Offset::Offset(offset)).expect("an offset");
        element.set_metadata(metadata);
        self.consumer(group).commit(&list, CommitMode::Sync).expect("the commit is taken");
    }
}
