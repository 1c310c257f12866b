//! Committing on a thread of its own: a commit can wait without end where the
//! broker does not answer, and the polling thread must not.
//!
//! In: positions, one list at a time. Out: what became of each, or nothing until
//! the caller's deadline: then the outcome is unknown, which is not failed.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};

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
    pub metadata: String,
}

/// What became of one list of positions.
#[derive(Debug, Default)]
pub struct Answer {
    /// Committed.
    pub committed: Vec<Position>,
    /// Refused, each with its reason.
    pub failed: Vec<(Position, String)>,
}

/// One commit at a time.
pub struct Committer {
    jobs: SyncSender<Vec<Position>>,
    answers: Receiver<Answer>,
    busy: bool,
    metrics: Metrics,
    /// The newest committed offset per partition, as the broker has answered.
    committed: HashMap<(Arc<str>, i32), i64>,
}

impl Committer {
    /// Starts the thread. It ends with the committer, unless a commit never returns.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn new<C: ConsumerContext + 'static>(
        consumer: Arc<BaseConsumer<C>>,
        metrics: Metrics,
    ) -> io::Result<Committer> {
        let (jobs, todo) = sync_channel::<Vec<Position>>(1);
        let (done, answers) = sync_channel(1);
        std::thread::Builder::new().name("commit".into()).spawn(move || {
            for positions in todo {
                if done.send(commit(&consumer, positions)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Committer { jobs, answers, busy: false, metrics, committed: HashMap::new() })
    }

    /// Begins to commit what differs from what is committed. False if a commit
    /// is still under way: the next call brings the newer state.
    pub fn start(&mut self, positions: Vec<Position>) -> bool {
        if self.busy {
            return false;
        }
        let changed = self.changed(positions);
        if !changed.is_empty() {
            self.busy = self.jobs.try_send(changed).is_ok();
        }
        true
    }

    /// The answer to what was started, if it is there.
    pub fn answer(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        Some(self.take(answer))
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
        self.busy = self.jobs.try_send(changed).is_ok();
        self.wait(deadline)
    }

    /// The committed offset of a partition, as far as this process knows.
    pub fn committed(&self, topic: &Arc<str>, partition: i32) -> Option<i64> {
        self.committed.get(&(topic.clone(), partition)).copied()
    }

    /// Tells what is committed, from the broker, when a partition is assigned.
    pub fn learn(&mut self, topic: Arc<str>, partition: i32, offset: Option<i64>) {
        match offset {
            Some(offset) => _ = self.committed.insert((topic, partition), offset),
            None => _ = self.committed.remove(&(topic, partition)),
        }
    }

    fn changed(&self, positions: Vec<Position>) -> Vec<Position> {
        let differs = |p: &Position| p.offset >= 0 && self.committed(&p.topic, p.partition) != Some(p.offset);
        positions.into_iter().filter(differs).collect()
    }

    fn wait(&mut self, deadline: Instant) -> Result<Answer, Unanswered> {
        match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(answer) => Ok(self.take(answer)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.metrics.commit(CommitResult::Unknown);
                Err(Unanswered)
            }
        }
    }

    fn take(&mut self, answer: Answer) -> Answer {
        self.busy = false;
        for position in &answer.committed {
            self.committed.insert((position.topic.clone(), position.partition), position.offset);
        }
        self.metrics.commit(if answer.failed.is_empty() { CommitResult::Ok } else { CommitResult::Failed });
        for (position, error) in &answer.failed {
            let Position { topic, partition, offset, .. } = position;
            tracing::warn!(%topic, partition, offset, error, "a commit was refused; it is tried again while the partition is held");
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
fn commit<C: ConsumerContext>(consumer: &BaseConsumer<C>, positions: Vec<Position>) -> Answer {
    if commit_list(consumer, &positions).is_ok() {
        return Answer { committed: positions, failed: Vec::new() };
    }
    let mut answer = Answer::default();
    for position in positions {
        match commit_list(consumer, std::slice::from_ref(&position)) {
            Ok(()) => answer.committed.push(position),
            Err(error) => answer.failed.push((position, error.to_string())),
        }
    }
    answer
}

fn commit_list<C: ConsumerContext>(consumer: &BaseConsumer<C>, positions: &[Position]) -> Result<(), KafkaError> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for position in positions {
        let mut element = list.add_partition(&position.topic, position.partition);
        element.set_offset(Offset::Offset(position.offset))?;
        if !position.metadata.is_empty() {
            element.set_metadata(&position.metadata);
        }
    }
    consumer.commit(&list, CommitMode::Sync)
}
