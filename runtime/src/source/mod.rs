//! Source: one thread owns the consumer. It polls, copies records out to the
//! worker that owns their partition, and commits what the workers have settled.
//!
//! In: the subscription. Out: [`Command`](crate::worker::Command)s to the workers,
//! commits to Kafka. It never waits for a worker while it polls; a full partition
//! is simply not read, and its fetching stops by itself.

mod assignment;
mod context;
mod lag;
mod position;
mod rebalance;
mod watch;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

pub use assignment::{Assignment, Commands};
pub use context::{Context, Interrupt};

use crate::commit::committer::Committer;
use crate::kafka::queue::Bell;
use crate::kafka::{client, produce};
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::probes::{Component, Health, Heart};
use crate::worker::Built;

/// The longest time without a look at the consumer's own queue, which rebalances come through.
const IDLE: Duration = Duration::from_millis(100);
/// Events of the consumer's own queue that are served in one go.
const EVENTS: usize = 64;
/// How long before a commit the workers are asked what is to be committed, at most.
const ASK: Duration = Duration::from_millis(200);
/// How often lag is measured and readiness looked at.
const MEASURE: Duration = Duration::from_secs(1);

/// What the polling thread is told.
pub enum Order {
    /// Commit, drain, commit, leave, all before this time.
    Stop(Instant),
    /// Make this generation current: at every worker, and here.
    Switch {
        /// The generation.
        built: Arc<Built>,
        /// Gets one answer: it is done, or why it cannot be, with nothing changed.
        done: SyncSender<Result<(), String>>,
    },
}

/// How the polling thread ended.
#[derive(Debug)]
pub struct Stopped {
    /// Why, if it was not told to.
    pub failure: Option<String>,
    /// Whether the last commit was answered, and with success.
    pub committed: bool,
    /// Records that were delivered and will come again: exact where the last
    /// commit was answered with every offset map in it, otherwise at most this many.
    pub come_again: u64,
}

/// What the polling thread is made of.
pub struct Parts {
    /// The checked manifest.
    pub manifest: Arc<Manifest>,
    /// The workers.
    pub workers: Vec<Commands>,
    /// Makes running guests look at their fences.
    pub interrupt: Interrupt,
    /// Orders from outside. The sender wakes this thread after sending.
    pub orders: Receiver<Order>,
    /// What is counted.
    pub metrics: Metrics,
    /// What readiness goes by.
    pub health: Health,
    /// Where the client's log lines go.
    pub log: Arc<crate::logging::KafkaLog>,
    /// Says that the thread is alive.
    pub heart: Heart,
}

struct Source {
    consumer: Arc<BaseConsumer<Context>>,
    /// Rings when the consumer's own queue is no longer empty.
    bell: Arc<Bell>,
    parts: Parts,
    next_commit: Instant,
    /// When the workers are asked for it; `None` once they are.
    next_ask: Option<Instant>,
    next_measure: Instant,
}

/// Runs the source on this thread until it is told to stop or cannot go on.
///
/// # Errors
/// If librdkafka refuses the configuration or the subscription.
pub fn run(parts: Parts) -> Result<Stopped, String> {
    let assignment = Assignment::new(parts.workers.clone(), parts.metrics.clone());
    let (manifest, interrupt) = (parts.manifest.clone(), parts.interrupt.clone());
    let context = Context::new(manifest, assignment, interrupt, parts.health.clone(), parts.log.clone());
    let config = client::consumer(&parts.manifest.kafka);
    let mut consumer: BaseConsumer<Context> =
        config.create_with_context(context).map_err(|error| format!("the consumer cannot be made: {error}"))?;
    let bell = Bell::new(std::thread::current());
    let rings = bell.clone();
    consumer.set_nonempty_callback(move || rings.ring());
    let consumer = Arc::new(consumer);
    let committer = Committer::new(consumer.clone(), parts.metrics.clone())
        .map_err(|error| format!("the commit thread cannot be started: {error}"))?;
    consumer.context().attach(&consumer, committer);
    consumer
        .subscribe(&names(&parts.manifest))
        .map_err(|error| format!("the topics cannot be subscribed to: {error}"))?;
    parts.health.not_ready(Component::Assigned, "no partitions have been assigned yet");
    parts.health.not_ready(Component::Consumer, "the group has not been joined yet");
    let now = Instant::now();
    let mut source = Source { consumer, bell, parts, next_commit: now, next_ask: None, next_measure: now + MEASURE };
    source.plan_commit(now);
    Ok(source.poll())
}

impl Source {
    fn poll(mut self) -> Stopped {
        loop {
            let now = Instant::now();
            self.parts.heart.beat(now);
            match self.parts.orders.try_recv() {
                Ok(Order::Stop(deadline)) => return self.stop(deadline, None),
                // Whoever gave the order may have gone.
                Ok(Order::Switch { built, done }) => _ = done.try_send(self.switch(&built)),
                Err(_) => {}
            }
            self.poll_group();
            if self.consumer.context().assignment().has_lost_a_worker() {
                self.consumer.context().fail("a worker has ended".to_owned());
            }
            // Before anything is read: the failure may be about where a partition begins.
            if let Some(reason) = self.consumer.context().fatal() {
                let deadline = now + self.parts.manifest.shutdown_timeout;
                return self.stop(deadline, Some(reason));
            }
            let busy = self.read();
            if self.next_ask.is_some_and(|at| now >= at) {
                self.ask();
                self.next_ask = None;
            }
            if now >= self.next_commit {
                self.commit();
                self.plan_commit(now);
            }
            if now >= self.next_measure {
                self.measure();
                self.next_measure = now + MEASURE;
            }
            if !busy {
                let next = self.next_ask.unwrap_or(self.next_commit).min(self.next_measure);
                let until = next.saturating_duration_since(Instant::now());
                std::thread::park_timeout(until.min(IDLE));
            }
        }
    }

    /// Goes over to a new generation, all in one turn of this thread: no record of a
    /// topic that is new comes before its routes, and none of a topic that is gone is
    /// read once they are gone. Partitions come and go in the rebalance that follows,
    /// each with its position.
    fn switch(&mut self, built: &Arc<Built>) -> Result<(), String> {
        let context = self.consumer.context().clone();
        let (old, new) = (&self.parts.manifest, &built.plan.manifest);
        if names(old) != names(new) {
            let refused = |error| format!("the topics cannot be subscribed to: {error}");
            self.consumer.subscribe(&names(new)).map_err(refused)?;
        }
        context.assignment().switch(built);
        context.set_manifest(new.clone());
        if old.commit_interval != new.commit_interval {
            self.parts.manifest = new.clone();
            self.plan_commit(Instant::now());
        }
        self.parts.manifest = new.clone();
        Ok(())
    }

    /// Looks at the consumer's own queue: rebalances run in here, errors come out.
    fn poll_group(&self) {
        // Each poll serves one event, and a rebalance may stand behind many others.
        let polls = if self.bell.answer() { EVENTS } else { 1 };
        (0..polls).for_each(|_| self.poll_once());
    }

    fn poll_once(&self) {
        match self.consumer.poll(Duration::ZERO) {
            None => {}
            Some(Err(error)) => self.group_error(&error),
            Some(Ok(message)) => {
                // Queues are split before partitions are assigned. Should one come
                // this way all the same, it must not be skipped.
                let (topic, partition) = (rdkafka::Message::topic(&message), rdkafka::Message::partition(&message));
                let reason = format!("{topic}/{partition}: a record came past its partition's queue");
                self.consumer.context().fail(reason);
            }
        }
    }

    fn group_error(&self, error: &KafkaError) {
        let context = self.consumer.context();
        if let KafkaError::MessageConsumptionFatal(code) = error {
            let why = produce::fatal_error(self.consumer.client()).map_or(code.to_string(), |(_, why)| why);
            context.fail(format!("the consumer ended with a fatal error: {why}"));
            return;
        }
        match error.rdkafka_error_code() {
            // Reported once for each, by the context.
            Some(
                RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve,
            ) => {}
            Some(RDKafkaErrorCode::PollExceeded) => {
                tracing::error!(
                    "max.poll.interval.ms was exceeded and the group moved on; partitions are taken away and assigned anew"
                );
            }
            _ => {
                self.parts.log.error(error, &error.to_string());
                context.refused(error);
            }
        }
    }

    /// Reads the partitions' queues; true if there was something.
    fn read(&self) -> bool {
        let context = self.consumer.context();
        let reading = context.assignment().read();
        for (topic, partition) in &reading.astray {
            context.relocate(&self.consumer, topic, *partition);
        }
        for (topic, partition, error, text) in &reading.errors {
            match error {
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::NoOffset => {
                    tracing::warn!(%topic, partition, ?error, "{text}");
                    context.relocate(&self.consumer, topic, *partition);
                }
                error => {
                    let reason = format!("{topic}/{partition}: {text}");
                    self.parts.log.error(&KafkaError::MessageConsumption(*error), &reason);
                    self.parts.health.not_ready(Component::Consumer, reason);
                }
            }
        }
        if reading.records > 0 && context.assignment().trouble().is_none() {
            self.parts.health.ready(Component::Consumer);
        }
        reading.records > 0 || !reading.errors.is_empty()
    }

    fn plan_commit(&mut self, now: Instant) {
        let interval = self.parts.manifest.commit_interval;
        self.next_commit = now + interval;
        self.next_ask = Some(self.next_commit - ASK.min(interval / 2));
    }

    /// Asks the workers for what is to be committed next.
    fn ask(&self) {
        let context = self.consumer.context();
        if let Some(committer) = context.committer() {
            context.assignment().ask(committer.map_limit());
        }
    }

    fn commit(&self) {
        let context = self.consumer.context();
        let positions = context.assignment().positions();
        if let Some(mut committer) = context.committer() {
            self.answered(&mut committer);
            // Nothing may have been settled since the consumer was last in trouble, and no
            // record may come: then the positions as they are, committed once more, say
            // whether it works again.
            let unchanged = !self.parts.health.is_component_ready(Component::Consumer);
            // Where one is under way, the next round brings what is newest then.
            committer.start(positions, unchanged);
        }
    }

    /// Takes the answer to the last commit, if it is there.
    fn answered(&self, committer: &mut Committer) {
        let Some(answer) = committer.answer() else { return };
        let context = self.consumer.context();
        let mut assignment = context.assignment();
        for position in &answer.committed {
            assignment.is_taken(position, committer.began());
        }
        for (position, error) in answer.failed.iter().filter(|(_, error)| is_not_permitted(error)) {
            assignment.is_refused(position, &error.to_string());
        }
        match assignment.trouble() {
            Some(trouble) => self.parts.health.not_ready(Component::Consumer, trouble),
            None if answer.committed.is_empty() => {}
            None => self.parts.health.ready(Component::Consumer),
        }
    }

    fn measure(&self) {
        let context = self.consumer.context();
        if let Some(mut committer) = context.committer() {
            self.answered(&mut committer);
            let assignment = context.assignment();
            lag::measure(&self.consumer, assignment.held(), &self.parts.metrics);
        }
    }

    /// Commits, drains, commits and leaves the group, in time.
    fn stop(self, deadline: Instant, failure: Option<String>) -> Stopped {
        let context = self.consumer.context().clone();
        let whole = deadline.saturating_duration_since(Instant::now());
        self.parts.health.not_ready(Component::Assigned, "stopping");
        self.commit();
        let drain_until = deadline - whole / 4;
        let released = context.release_all(drain_until);
        let held = released.len();
        let interrupted = released.iter().filter(|(_, word)| word.interrupted).count();
        let mut come_again: u64 = released.iter().map(|(_, word)| word.come_again as u64).sum();
        let in_maps: u64 = released.iter().map(|(_, word)| word.in_map as u64).sum();
        let positions: Vec<_> = released.into_iter().map(|(position, _)| position).collect();
        let mut committed = true;
        if let Some(mut committer) = context.committer() {
            let answer = committer.commit_by(positions.clone(), deadline - whole / 10);
            committed = answer.as_ref().is_ok_and(|answer| answer.failed.is_empty());
            // Some maps may be stored all the same: this many at most.
            if !committed || answer.is_ok_and(|answer| answer.too_large.is_some()) {
                come_again += in_maps;
            }
            if !committed {
                let behind = |p: &crate::commit::committer::Position| {
                    committer.committed(&p.topic, p.partition).map_or(p.offset, |at| p.offset - at).max(0) as u64
                };
                come_again += positions.iter().map(behind).sum::<u64>();
            }
        }
        context.assignment().stop_workers();
        self.leave(deadline);
        tracing::info!(partitions = held, interrupted, committed, come_again, "stopped reading and committed");
        self.parts.heart.beat(Instant::now());
        Stopped { failure, committed, come_again }
    }

    /// Leaves the group.
    fn leave(&self, deadline: Instant) {
        if let Err(error) = self.consumer.close_queue() {
            tracing::warn!(%error, "the group could not be left; the broker notices by the session's timeout");
            return;
        }
        // Nor is it dropped later: dropping waits for the group to let it go.
        std::mem::forget(self.consumer.clone());
        while !self.consumer.closed() && Instant::now() < deadline {
            self.consumer.poll(Duration::from_millis(20));
        }
    }
}

/// Whether this lasts until somebody permits it. Other commits fail in passing, as while the
/// group rebalances.
fn is_not_permitted(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{GroupAuthorizationFailed, TopicAuthorizationFailed};
    matches!(error.rdkafka_error_code(), Some(GroupAuthorizationFailed | TopicAuthorizationFailed))
}

/// What is subscribed to.
fn names(manifest: &Manifest) -> Vec<&str> {
    manifest.kafka.topics.iter().map(|topic| topic.name.as_str()).collect()
}
