//! What the polling thread shares with the consumer's callbacks, and what the client tells
//! of itself: log lines, errors, statistics. The rebalances are in `rebalance`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;

use super::assignment::Assignment;
use super::watch::Watch;
use crate::commit::committer::Committer;
use crate::kafka::reach::{Reach, Statistics};
use crate::logging::KafkaLog;
use crate::manifest::Manifest;
use crate::probes::{Component, Health};
use crate::worker::total::Total;

/// Makes running guests look at their fences.
pub type Interrupt = Arc<dyn Fn() + Send + Sync>;

/// What the polling thread and its callbacks work with. The locks are taken by
/// that one thread only, and never held across a call of `poll`.
pub struct Context {
    /// Of the current generation.
    manifest: Mutex<Arc<Manifest>>,
    /// What all partitions have in memory.
    pub(super) total: Arc<Total>,
    assignment: Mutex<Assignment<Context>>,
    committer: OnceLock<Mutex<Committer>>,
    consumer: OnceLock<Weak<BaseConsumer<Context>>>,
    fatal: Mutex<Option<String>>,
    pub(super) interrupt: Interrupt,
    pub(super) health: Health,
    log: Arc<KafkaLog>,
    reach: Reach,
    watch: Mutex<Watch>,
    /// What is wrong with the consumer is that no broker can be reached.
    is_cut_off: AtomicBool,
    /// The polling thread.
    pub(super) thread: std::thread::Thread,
}

impl Context {
    /// A context for the consumer that is made on this thread.
    pub fn new(
        manifest: Arc<Manifest>,
        assignment: Assignment<Context>,
        interrupt: Interrupt,
        health: Health,
        log: Arc<KafkaLog>,
    ) -> Context {
        Context {
            total: Total::new(manifest.total_bytes),
            reach: Reach::new(&manifest.kafka.bootstrap_servers),
            watch: Mutex::default(),
            manifest: Mutex::new(manifest),
            assignment: Mutex::new(assignment),
            committer: OnceLock::new(),
            consumer: OnceLock::new(),
            fatal: Mutex::default(),
            interrupt,
            health,
            log,
            is_cut_off: AtomicBool::new(false),
            thread: std::thread::current(),
        }
    }

    /// Connects the context with the consumer it was given to; before it subscribes.
    pub fn attach(&self, consumer: &Arc<BaseConsumer<Context>>, committer: Committer) {
        self.reach.attach(consumer.client());
        _ = self.consumer.set(Arc::downgrade(consumer));
        _ = self.committer.set(Mutex::new(committer));
    }

    /// The consumer; `None` before [`Context::attach`].
    pub(super) fn consumer(&self) -> Option<Arc<BaseConsumer<Context>>> {
        self.consumer.get().and_then(Weak::upgrade)
    }

    /// The partitions held.
    pub fn assignment(&self) -> MutexGuard<'_, Assignment<Context>> {
        locked(&self.assignment)
    }

    /// The committer; `None` before [`Context::attach`].
    pub fn committer(&self) -> Option<MutexGuard<'_, Committer>> {
        self.committer.get().map(locked)
    }

    /// A new generation is current.
    pub fn set_manifest(&self, manifest: Arc<Manifest>) {
        *locked(&self.manifest) = manifest;
    }

    pub(super) fn manifest(&self) -> Arc<Manifest> {
        locked(&self.manifest).clone()
    }

    /// The group was joined, and said what this member is to read.
    pub(super) fn joined(&self) {
        locked(&self.watch).joined();
        self.health.ready(Component::Assigned);
        self.health.ready(Component::Consumer);
    }

    /// The group, or one of its topics, is refused: that a broker can be reached does not mend it.
    pub fn refused(&self, error: &KafkaError) {
        self.is_cut_off.store(false, Ordering::Relaxed);
        self.health.not_ready(Component::Consumer, error);
    }

    /// Why the process has to end, if it has to.
    pub fn fatal(&self) -> Option<String> {
        locked(&self.fatal).clone()
    }

    /// Says that the process has to end; the first reason counts.
    pub fn fail(&self, reason: String) {
        tracing::error!("{reason}");
        locked(&self.fatal).get_or_insert(reason);
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.log.line(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.is_cut_off.store(true, Ordering::Relaxed);
            self.health.not_ready(Component::Consumer, format!("no broker can be reached: {reason}"));
        }
        self.log.error(&error, reason);
    }

    fn stats_raw(&self, json: &[u8]) {
        let Some(statistics) = Statistics::read(json) else { return };
        self.reach.look(&statistics);
        let Some(group) = &statistics.cgrp else { return };
        // A member without a partition gets no record and makes no commit that shows that it
        // works again.
        let holds = || self.assignment().held().iter().any(|held| held.account.position() >= 0);
        if self.is_cut_off.load(Ordering::Relaxed) && group.is_joined() && statistics.is_connected() && !holds() {
            self.is_cut_off.store(false, Ordering::Relaxed);
            self.health.ready(Component::Consumer);
        }
        let missing = locked(&self.watch).see(group.state == "up", statistics.is_connected(), Instant::now());
        if let Some(missing) = missing {
            self.fail(format!(
                "a broker is connected, and yet the group's coordinator is missing for {} s (its state: {}); a new process may find it",
                missing.as_secs(),
                group.state
            ));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
