//! Committing on a thread of its own: a commit can wait without end where the
//! broker does not answer, and the polling thread must not.
//!
//! In: positions, one list at a time. Out: what became of each, or nothing until
//! the caller's deadline: then the outcome is unknown, which is not failed.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::metadata::{self, Metadata};
use crate::metrics::{CommitResult, Metrics};

/// A position to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The next offset to read after a restart.
    pub offset: i64,
    /// What is stored beside it.
    pub metadata: Metadata,
}

/// What became of one list of positions.
#[derive(Debug, Default)]
pub struct Answer {
    /// Committed.
    pub committed: Vec<Position>,
    /// Refused, each with its reason.
    pub failed: Vec<(Position, KafkaError)>,
    /// Bytes of the shortest metadata that the broker found too large; its
    /// position was committed without a map then.
    pub too_large: Option<usize>,
}

/// A list to commit, for the thread.
struct Job {
    positions: Vec<Position>,
    /// Set when nobody waits any more: partitions may have been revoked since, and
    /// no new commit may name one of them.
    late: Arc<AtomicBool>,
}

/// One commit at a time.
pub struct Committer {
    jobs: SyncSender<Job>,
    answers: Receiver<Answer>,
    busy: bool,
    /// Of the job under way.
    late: Arc<AtomicBool>,
    /// When it began, or the last one.
    began: Instant,
    metrics: Metrics,
    /// The newest committed offset per partition with its metadata, as the broker has answered.
    committed: HashMap<(Arc<str>, i32), (i64, Metadata)>,
    /// The most bytes of metadata that the broker is known to take.
    metadata_limit: usize,
}

impl Committer {
    /// Starts the thread, which keeps the consumer: both live until the process ends.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn new<C: ConsumerContext + 'static>(
        consumer: Arc<BaseConsumer<C>>,
        metrics: Metrics,
    ) -> io::Result<Committer> {
        Committer::with(move |positions| commit_list(&consumer, positions), metrics)
    }

    /// The committer around whatever commits one list and waits for its answer.
    fn with(
        commit_list: impl Fn(&[Position]) -> Result<(), KafkaError> + Send + 'static,
        metrics: Metrics,
    ) -> io::Result<Committer> {
        let (jobs, todo) = sync_channel::<Job>(1);
        let (done, answers) = sync_channel(1);
        std::thread::Builder::new().name("commit".into()).spawn(move || {
            for job in todo {
                if done.send(commit(&commit_list, job)).is_err() {
                    return;
                }
            }
        })?;
        let (late, committed, metadata_limit) = (Arc::default(), HashMap::new(), metadata::MAX);
        Ok(Committer { jobs, answers, busy: false, late, began: Instant::now(), metrics, committed, metadata_limit })
    }

    /// Begins to commit what differs from what is committed, or with `unchanged`
    /// that as well. False if a commit is still under way: the next call brings
    /// the newer state.
    pub fn start(&mut self, positions: Vec<Position>, unchanged: bool) -> bool {
        if self.busy {
            return false;
        }
        let changed = match unchanged {
            true => positions.into_iter().filter(|position| position.offset >= 0).collect(),
            false => self.changed(positions),
        };
        if !changed.is_empty() {
            self.send(changed);
        }
        true
    }

    fn send(&mut self, positions: Vec<Position>) {
        (self.late, self.began) = (Arc::default(), Instant::now());
        self.busy = self.jobs.try_send(Job { positions, late: self.late.clone() }).is_ok();
    }

    /// The answer to what was started, if it is there.
    pub fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        Some(self.take(answer))
    }

    /// When the commit began that was answered last.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Commits what differs from what is committed, and waits for the answer.
    ///
    /// # Errors
    /// [`Unanswered`] at the deadline: it may or may not have been committed.
    pub fn commit_by(&mut self, positions: Vec<Position>, deadline: Instant) -> Result<Answer, Unanswered> {
        if self.busy {
            self.wait(deadline)?;
        }
        let changed = self.changed(positions);
        if changed.is_empty() {
            return Ok(Answer::default());
        }
        self.send(changed);
        self.wait(deadline)
    }

    /// What is under way names no partition by itself any more, but ends with its next answer:
    /// some of its partitions may be another member's now.
    pub fn give_up(&self) {
        self.late.store(true, Ordering::Release);
    }

    /// The committed offset of a partition, as far as this process knows.
    pub fn committed(&self, topic: &Arc<str>, partition: i32) -> Option<i64> {
        self.committed.get(&(topic.clone(), partition)).map(|(offset, _)| *offset)
    }

    /// The most characters of an offset map's text that the broker is known to take.
    pub fn map_limit(&self) -> usize {
        metadata::map_limit(self.metadata_limit)
    }

    /// Tells what is committed, from the broker, when a partition is assigned.
    pub fn learn(&mut self, topic: Arc<str>, partition: i32, committed: Option<(i64, Metadata)>) {
        match committed {
            Some(committed) => _ = self.committed.insert((topic, partition), committed),
            None => _ = self.committed.remove(&(topic, partition)),
        }
    }

    fn changed(&self, mut positions: Vec<Position>) -> Vec<Position> {
        positions.retain(|position| {
            let committed = self.committed.get(&(position.topic.clone(), position.partition));
            let same = |(offset, metadata): &(i64, Metadata)| {
                (*offset, &metadata.map) == (position.offset, &position.metadata.map)
            };
            position.offset >= 0 && !committed.is_some_and(same)
        });
        positions
    }

    fn wait(&mut self, deadline: Instant) -> Result<Answer, Unanswered> {
        match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(answer) => Ok(self.take(answer)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.give_up();
                self.metrics.commit(CommitResult::Unknown);
                Err(Unanswered)
            }
        }
    }

    fn take(&mut self, answer: Answer) -> Answer {
        self.busy = false;
        for Position { topic, partition, offset, metadata } in &answer.committed {
            self.committed.insert((topic.clone(), *partition), (*offset, metadata.clone()));
        }
        if let Some(bytes) = answer.too_large {
            if self.metadata_limit == metadata::MAX {
                tracing::warn!(
                    bytes,
                    "the broker takes only shorter metadata (offset.metadata.max.bytes): offset maps are cut, and after a crash more records that are settled come again"
                );
            }
            // Its limit is not said; a few halvings find it.
            self.metadata_limit = self.metadata_limit.min(bytes / 2);
        }
        self.metrics.commit(if answer.failed.is_empty() { CommitResult::Ok } else { CommitResult::Failed });
        for (position, error) in &answer.failed {
            let Position { topic, partition, offset, .. } = position;
            tracing::warn!(%topic, partition, offset, %error, "a commit was refused; it is tried again while the partition is held");
        }
        answer
    }
}

/// No answer came until the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker did not answer the commit in time; it may or may not have taken it")]
pub struct Unanswered;

/// Commits all together. librdkafka stamps one partition's error on all of them,
/// so on any error each is committed singly, and has an answer of its own.
fn commit(commit_list: &impl Fn(&[Position]) -> Result<(), KafkaError>, job: Job) -> Answer {
    let Job { positions, late } = job;
    let Err(error) = commit_list(&positions) else { return Answer { committed: positions, ..Answer::default() } };
    let mut answer = Answer::default();
    for mut position in positions {
        if late.load(Ordering::Acquire) {
            answer.failed.push((position, error.clone()));
            continue;
        }
        match commit_one(commit_list, &mut position, &late, &mut answer.too_large) {
            Ok(()) => answer.committed.push(position),
            Err(error) => answer.failed.push((position, error)),
        }
    }
    answer
}

/// Commits one position: without its map where the broker finds that too large, and
/// without anything beside it if need be, since the position counts for more.
fn commit_one(
    commit_list: &impl Fn(&[Position]) -> Result<(), KafkaError>,
    position: &mut Position,
    late: &AtomicBool,
    too_large: &mut Option<usize>,
) -> Result<(), KafkaError> {
    let refused = |error: &KafkaError| error.rdkafka_error_code() == Some(RDKafkaErrorCode::OffsetMetadataTooLarge);
    loop {
        match commit_list(std::slice::from_ref(position)) {
            Ok(()) => return Ok(()),
            Err(error) => {
                let bytes = position.metadata.to_string().len();
                if !refused(&error) || bytes == 0 || late.load(Ordering::Acquire) {
                    return Err(error);
                }
                *too_large = Some(too_large.map_or(bytes, |least| least.min(bytes)));
                // Twice at most: there is nothing left to leave out then.
                if position.metadata.map.take().is_none() {
                    position.metadata = Metadata::default();
                }
            }
        }
    }
}

fn commit_list<C: ConsumerContext>(consumer: &BaseConsumer<C>, positions: &[Position]) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for position in positions {
        let mut element = list.add_partition(&position.topic, position.partition);
        element.set_offset(Offset::Offset(position.offset))?;
        let metadata = position.metadata.to_string();
        if !metadata.is_empty() {
            element.set_metadata(metadata);
        }
    }
    consumer.commit(&list, CommitMode::Sync)
}

#[cfg(test)]
mod tests;
