//! The rebalance callbacks: partitions come and go on the polling thread, inside
//! its call of `poll`.
//!
//! Assign: the committed offsets are read, decided on, first positions are
//! committed, each partition gets a worker, and the list that was read is
//! assigned. Revoke: workers drain until the deadline, positions are committed,
//! the partitions go. Lost: nothing is waited for and nothing committed.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::KafkaResult;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};

use super::context::Context;
use super::position::{Positions, Resolved, Start};
use crate::commit::committer::Position;
use crate::commit::metadata::Metadata;
use crate::kafka::list;
use crate::kafka::queue::{Bell, PartitionQueue};
use crate::probes::Component;
use crate::worker::Released;
use crate::worker::account::Account;

/// How long the commit of a revoke may take.
const COMMIT: Duration = Duration::from_secs(3);

impl Context {
    fn assign(&self, consumer: &Arc<BaseConsumer<Context>>, wanted: &TopicPartitionList) -> KafkaResult<()> {
        if wanted.count() == 0 {
            return hand_over(consumer, wanted);
        }
        let manifest = self.manifest();
        let positions = Positions { consumer, kafka: &manifest.kafka, now_ms: now_ms() };
        match positions.resolve(wanted, None) {
            Ok((list, resolved)) => {
                self.take(consumer, &resolved);
                self.commit_first(&resolved);
                hand_over(consumer, &list)
            }
            Err(error) => {
                // librdkafka then reads the stored offsets itself, and goes on trying.
                tracing::warn!(%error, "the committed offsets could not be read in time; the partitions start at what is stored");
                let mut list = TopicPartitionList::new();
                for entry in list::entries(wanted) {
                    list.add_partition_offset(entry.topic, entry.partition, Offset::Stored)?;
                    // What is known of an earlier assignment may not be true any more.
                    if let Some(mut committer) = self.committer() {
                        committer.learn(entry.topic.into(), entry.partition, None);
                    }
                    let account = self.account(entry.topic.into(), entry.partition, -1);
                    self.hold(consumer, account, None);
                }
                hand_over(consumer, &list)
            }
        }
    }

    fn take(&self, consumer: &Arc<BaseConsumer<Context>>, resolved: &[Resolved]) {
        for Resolved { topic, partition, start, committed, stored, map, began_ms, .. } in resolved {
            let position = match start {
                Start::Committed(offset) => *offset,
                Start::First(offset) => *offset,
                Start::Moved { to, what } => {
                    tracing::warn!(%topic, partition, to, "{what}; reading goes on as onOffsetLost says");
                    *to
                }
                Start::Lost(what) => {
                    self.fail(format!(
                        "{topic}/{partition}: {what}; set kafka.onOffsetLost to earliest or latest to go on"
                    ));
                    -1
                }
            };
            if let Some(mut committer) = self.committer() {
                committer.learn(topic.clone(), *partition, committed.map(|offset| (offset, stored.clone())));
            }
            let account = self.account(topic.clone(), *partition, position);
            if let (Some(map), Some(text)) = (map, &stored.map) {
                account.remember(map.clone(), text.clone());
            }
            self.hold(consumer, account, *began_ms);
        }
    }

    fn account(&self, topic: Arc<str>, partition: i32, position: i64) -> Arc<Account> {
        Account::sharing(self.total.clone(), topic, partition, position, self.manifest().buffer)
    }

    fn hold(&self, consumer: &Arc<BaseConsumer<Context>>, account: Arc<Account>, began_ms: Option<i64>) {
        let (topic, partition) = (account.topic.clone(), account.partition);
        if let Some(committer) = self.committer() {
            account.limit_map(committer.map_limit());
        }
        // A partition that was taken away without a word comes back while it is held.
        // Two holders would share one queue, and each would commit past the other's records.
        self.let_go(|t, p| t == &*topic && p == partition);
        self.assignment().discard();
        // The queue leaves the consumer's before the partition is assigned, so that
        // no record takes the other way.
        let bell = Bell::new(self.thread.clone());
        match PartitionQueue::split(consumer, &topic, partition, bell) {
            Some(queue) => {
                let left = !self.manifest().kafka.consumes(&topic);
                self.assignment().add(account, queue, began_ms, left);
            }
            None => self.fail(format!("{topic}/{partition}: the client has no queue for this partition")),
        }
    }

    /// Fences partitions that are lost already: nothing is waited for or committed.
    fn let_go(&self, which: impl Fn(&str, i32) -> bool) {
        let mut assignment = self.assignment();
        if assignment.held().iter().any(|held| which(&held.account.topic, held.account.partition)) {
            if let Some(committer) = self.committer() {
                committer.give_up();
            }
            assignment.release(which, Instant::now(), &*self.interrupt);
        }
    }

    /// A start position counts once: it is committed now, so that a crash before
    /// the first record is settled does not begin elsewhere.
    fn commit_first(&self, resolved: &[Resolved]) {
        let first = resolved.iter().filter_map(|r| match r.start {
            Start::First(offset) | Start::Moved { to: offset, .. } => Some(Position {
                topic: r.topic.clone(),
                partition: r.partition,
                offset,
                metadata: Metadata { began_ms: r.began_ms, map: None },
            }),
            Start::Committed(_) | Start::Lost(_) => None,
        });
        self.commit(first.collect(), "the start positions");
    }

    fn commit(&self, positions: Vec<Position>, what: &str) {
        // Nor is an earlier commit waited for, where there is nothing to commit.
        if positions.is_empty() {
            return;
        }
        let Some(mut committer) = self.committer() else { return };
        if let Err(unanswered) = committer.commit_by(positions, Instant::now() + COMMIT) {
            tracing::warn!("{what}: {unanswered}");
        }
    }

    /// Lets every partition go: what runs may finish until the deadline.
    pub fn release_all(&self, deadline: Instant) -> Vec<(Position, Released)> {
        self.assignment().release(|_, _| true, deadline, &*self.interrupt)
    }

    /// Finds a new place for a partition whose position is out of its log's range,
    /// as `onOffsetLost` says. What was delivered before is let go: it belongs to
    /// another log or comes again.
    pub fn relocate(&self, consumer: &Arc<BaseConsumer<Context>>, topic: &str, partition: i32) {
        let which = |t: &str, p: i32| t == topic && p == partition;
        let released = self.assignment().release(which, Instant::now(), &*self.interrupt);
        self.assignment().discard();
        // Its position says where it stood; the broker's word on the committed offset may be
        // older. A map would say of a log that was cut and written anew what held for the old one.
        let without_map = |(position, _): (Position, Released)| Position {
            metadata: Metadata { map: None, ..position.metadata },
            ..position
        };
        let stood = released.into_iter().map(without_map).find(|position| position.offset >= 0);
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition(topic, partition);
        let manifest = self.manifest();
        let positions = Positions { consumer, kafka: &manifest.kafka, now_ms: now_ms() };
        let left = stood.as_ref().map(|position| position.offset);
        let place = positions.resolve(&wanted, left).and_then(|(_, mut resolved)| {
            if let Some(stood) = stood {
                for partition in &mut resolved {
                    partition.began_ms = partition.began_ms.or(stood.metadata.began_ms);
                }
                // Of a log whose beginning went past it, it says how much was lost, after a restart
                // too. Any other log is not the one that it is a place in.
                if resolved.iter().all(|partition| stood.offset < partition.log.start) {
                    self.commit(vec![stood], "the position before the gap");
                }
            }
            self.take(consumer, &resolved);
            self.commit_first(&resolved);
            self.reassign(consumer, &wanted)
        });
        if let Err(error) = place {
            self.fail(format!(
                "{topic}/{partition}: the position is out of range and no other could be found: {error}"
            ));
        }
    }

    /// Begins the fetching of `moved` anew at its account's position. Seeking is
    /// refused after an error has stopped the fetching.
    fn reassign(&self, consumer: &Arc<BaseConsumer<Context>>, moved: &TopicPartitionList) -> KafkaResult<()> {
        let cooperative = matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let moved_keys: Vec<_> = list::entries(moved).map(|entry| (entry.topic.to_owned(), entry.partition)).collect();
        let mut list = TopicPartitionList::new();
        for held in self.assignment().held() {
            let (topic, partition) = (&*held.account.topic, held.account.partition);
            if !cooperative || moved_keys.iter().any(|(t, p)| t == topic && *p == partition) {
                let offset = if held.next < 0 { Offset::Stored } else { Offset::Offset(held.next) };
                list.add_partition_offset(topic, partition, offset)?;
            }
        }
        if cooperative {
            consumer.incremental_unassign(moved)?;
            consumer.incremental_assign(&list)
        } else {
            consumer.assign(&list)
        }
    }

    fn revoke(&self, consumer: &Arc<BaseConsumer<Context>>, gone: &TopicPartitionList) {
        let began = Instant::now();
        let lost = consumer.assignment_lost();
        let deadline = if lost { began } else { began + self.manifest().drain_timeout };
        let gone: Vec<_> = list::entries(gone).map(|entry| (entry.topic.to_owned(), entry.partition)).collect();
        // A lost list may name fewer partitions than are lost. Without incremental
        // assignment all go at once, whatever the list says.
        let all = !matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let which = |topic: &str, partition: i32| all || gone.iter().any(|(t, p)| t == topic && *p == partition);
        if lost && let Some(committer) = self.committer() {
            committer.give_up();
        }
        let released = self.assignment().release(which, deadline, &*self.interrupt);
        let interrupted = released.iter().filter(|(_, word)| word.interrupted).count();
        if !lost {
            let positions = released.into_iter().map(|(position, _)| position).collect();
            self.commit(positions, "the positions of revoked partitions");
        }
        if lost {
            // The group has moved on, and it may take long until it is joined again.
            self.health.not_ready(Component::Assigned, "the partitions were lost; the group is not joined again yet");
        }
        tracing::info!(partitions = gone.len(), lost, interrupted, took = ?began.elapsed(), "partitions revoked");
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, _: &BaseConsumer<Context>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let Some(consumer) = self.consumer() else { return };
        match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                if let Err(error) = self.assign(&consumer, list) {
                    self.fail(format!("an assignment of {} partitions could not be taken: {error}", list.count()));
                    return;
                }
                let held = self.assignment().held().len();
                tracing::info!(new = list.count(), held, "partitions assigned");
                self.joined();
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => {
                self.revoke(&consumer, list);
                let result = match consumer.rebalance_protocol() {
                    RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                    RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.unassign(),
                };
                if let Err(error) = result {
                    self.fail(format!("revoked partitions could not be given back: {error}"));
                }
                self.assignment().discard();
            }
            error => {
                // No partition can be relied on: fenced as on a lost assignment.
                let error = RDKafkaErrorCode::from(error);
                tracing::error!(%error, "rebalance failed; every partition is let go");
                if let Some(committer) = self.committer() {
                    committer.give_up();
                }
                self.assignment().release(|_, _| true, Instant::now(), &*self.interrupt);
                if let Err(error) = consumer.unassign() {
                    self.fail(format!("partitions could not be given back: {error}"));
                }
                self.assignment().discard();
            }
        }
    }
}

fn hand_over(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_assign(list),
        RebalanceProtocol::Eager | RebalanceProtocol::None => consumer.assign(list),
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
