//! What a worker says about itself: metrics, log lines, and what `outrigger dev` shows.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use super::core::Core;
use super::effect::{Channel, Place};
use super::plan::Plan;
use crate::dispatch::breaker::Change;
use crate::manifest::Route;
use crate::metrics::{CircuitMetrics, Metrics, RouteMetrics, WorkerMetrics};
use crate::observe::{Observation, What, short};
use crate::outcome::FailureClass;
use crate::probes::{Component, Health};
use crate::settle::reason::printable;

/// Log lines about failures per second and worker; more are counted and summed up.
const LINES: u32 = 50;

/// Bytes of a reason and of an event's id in a log line: records and handlers make them.
const REASON: usize = 1024;
const ID: usize = 256;

/// How often the age of the lowest unsettled record is looked up.
const OLDEST: Duration = Duration::from_secs(1);

/// Which workers cannot write, and why: readiness is the sum of them.
#[derive(Debug)]
pub struct Troubles {
    health: Health,
    of: Mutex<Vec<[Option<String>; 2]>>,
}

impl Troubles {
    /// None yet, of this many workers.
    pub fn new(health: Health, workers: usize) -> Arc<Troubles> {
        health.ready(Component::Producer);
        health.ready(Component::DeadLetters);
        Arc::new(Troubles { health, of: Mutex::new(vec![[None, None]; workers]) })
    }

    /// Says in the detail of readiness why a worker holds a handler's calls, or that it does not.
    fn circuit(&self, worker: usize, handler: &str, why: Option<String>) {
        self.health.circuit(handler, worker, why);
    }

    fn set(&self, worker: usize, channel: Channel, trouble: Option<&str>) {
        let mut of = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        if of[worker][channel as usize].as_deref() == trouble {
            return;
        }
        of[worker][channel as usize] = trouble.map(str::to_owned);
        let component = match channel {
            Channel::Outputs => Component::Producer,
            Channel::DeadLetters => Component::DeadLetters,
        };
        match of.iter().find_map(|troubles| troubles[channel as usize].as_ref()) {
            Some(reason) => self.health.not_ready(component, reason),
            None => self.health.ready(component),
        }
        if let Some(reason) = trouble {
            tracing::warn!("{reason}; records wait until it works");
        }
    }
}

/// One worker's reporter.
pub struct Reporter {
    worker: usize,
    plan: Arc<Plan>,
    metrics: Metrics,
    /// In the order of the plan's routes.
    routes: Vec<RouteMetrics>,
    /// Of attempts that end after their generation's end, until the next flush.
    past: Vec<RouteMetrics>,
    unrouted: RouteMetrics,
    /// In the order of the plan's handlers.
    circuits: Vec<CircuitMetrics>,
    shares: WorkerMetrics,
    swallowed: IntCounter,
    troubles: Arc<Troubles>,
    observer: Option<SyncSender<Observation>>,
    lines: u32,
    suppressed: u64,
    second: Instant,
    oldest: Instant,
}

impl Reporter {
    /// A reporter for worker number `worker`. The observer, if any, gets every
    /// observation; it must keep up, since a worker waits for it.
    pub fn new(
        worker: usize,
        plan: &Arc<Plan>,
        metrics: &Metrics,
        troubles: Arc<Troubles>,
        observer: Option<SyncSender<Observation>>,
        now: Instant,
    ) -> Reporter {
        Reporter {
            worker,
            plan: plan.clone(),
            metrics: metrics.clone(),
            routes: plan.manifest.routes.iter().map(|route| metrics.route(&route.name, &route.handler)).collect(),
            past: Vec::new(),
            unrouted: metrics.unrouted(),
            circuits: plan.handlers.iter().map(|handler| metrics.circuit(&handler.name)).collect(),
            shares: metrics.worker(),
            swallowed: metrics.guest_log_bytes_dropped.clone(),
            troubles,
            observer,
            lines: 0,
            suppressed: 0,
            second: now,
            oldest: now,
        }
    }

    /// Whether every success is to be observed too.
    pub fn observes(&self) -> bool {
        self.observer.is_some()
    }

    /// A new generation is current. What the one before has said must have been reported.
    pub fn switch(&mut self, plan: &Arc<Plan>) {
        let old = std::mem::replace(&mut self.plan, plan.clone());
        let mut routes: Vec<_> = std::mem::take(&mut self.routes).into_iter().map(Some).collect();
        let mut circuits: Vec<_> = std::mem::take(&mut self.circuits).into_iter().map(Some).collect();
        let kept = |route: &Route| {
            old.manifest.routes.iter().position(|other| other.name == route.name && other.handler == route.handler)
        };
        for route in &plan.manifest.routes {
            let kept = kept(route).and_then(|at| routes[at].take());
            self.routes.push(kept.unwrap_or_else(|| self.metrics.route(&route.name, &route.handler)));
        }
        for (handler, planned) in plan.handlers.iter().enumerate() {
            let same = plan.same_handler(handler, &old).filter(|&at| old.handlers[at].circuit == planned.circuit);
            let kept = same.and_then(|at| circuits[at].take());
            self.circuits.push(kept.unwrap_or_else(|| self.metrics.circuit(&planned.name)));
        }
        // A circuit that is gone holds nothing any more.
        for (handler, _) in old.handlers.iter().zip(circuits).filter(|(_, circuit)| circuit.is_some()) {
            self.troubles.circuit(self.worker, &handler.name, None);
        }
    }

    /// A call ended.
    pub fn called(&mut self, place: &Place, duration: Duration) {
        self.route(place).called(duration);
    }

    /// Guests wrote so many bytes beyond what their logs let through.
    pub fn swallowed(&self, bytes: u64) {
        self.swallowed.inc_by(bytes);
    }

    /// A success that nobody watches.
    pub fn handled(&mut self, place: &Place, outputs: usize) {
        self.route(place).handled(outputs);
    }

    /// Counts, logs and shows what happened.
    pub fn observe(&mut self, place: &Place, observation: Observation) {
        let counters = self.route(place);
        match &observation.what {
            What::Handled { outputs, .. } => counters.handled(*outputs),
            What::Retry { class, .. } | What::Probed { class, .. } => {
                counters.failed(*class);
                counters.retried();
            }
            What::DeadLettered { class, .. } => {
                counters.failed(*class);
                counters.dead_lettered(*class);
            }
            What::Dropped { class, .. } => {
                counters.failed(*class);
                counters.dropped();
            }
            What::Circuit { handler, change, class } => self.circuit(&observation, handler, *change, *class),
        }
        self.log(&observation);
        if let Some(observer) = &self.observer
            && let Err(TrySendError::Full(observation)) = observer.try_send(observation)
        {
            // Only the development view observes; waiting for the terminal is what it wants.
            _ = observer.send(observation);
        }
    }

    fn route(&mut self, place: &Place) -> &mut RouteMetrics {
        let Some(route) = place.plan().manifest.routes.get(place.route) else { return &mut self.unrouted };
        if place.plan().generation == self.plan.generation {
            return &mut self.routes[place.route];
        }
        // An attempt that ends after its generation counts under its own names.
        let current = self.plan.manifest.routes.iter();
        match current.clone().position(|other| other.name == route.name && other.handler == route.handler) {
            Some(at) => &mut self.routes[at],
            None => {
                let at = self.past.iter().position(|past| past.is_of(&route.name, &route.handler));
                let at = at.unwrap_or_else(|| {
                    self.past.push(self.metrics.route(&route.name, &route.handler));
                    self.past.len() - 1
                });
                &mut self.past[at]
            }
        }
    }

    /// Counts and logs a circuit's change: one line for each, whatever else is left out.
    fn circuit(&mut self, observation: &Observation, handler: &Arc<str>, change: Change, class: Option<FailureClass>) {
        let (worker, generation) = (self.worker, observation.generation);
        let module = observation.module.as_deref().map_or("-", short);
        if let Some(at) = self.plan.handlers.iter().position(|planned| planned.name == *handler) {
            self.circuits[at].changed(change);
        }
        match change {
            Change::Opened { why, length } => {
                let class = class.map_or("-", FailureClass::as_str);
                tracing::warn!(%handler, worker, generation, module, class, open_for = ?length, "circuit open: {why}; its calls are held");
                self.troubles.circuit(worker, handler, Some(format!("{why}, the last with class {class}")));
            }
            Change::HalfOpened => {
                tracing::info!(%handler, worker, generation, module, "circuit half-open: one trial call")
            }
            Change::Closed => {
                tracing::info!(%handler, worker, generation, module, "circuit closed: the trial call was answered; calls go on");
                self.troubles.circuit(worker, handler, None);
            }
        }
    }

    fn log(&mut self, observation: &Observation) {
        if matches!(observation.what, What::Handled { .. } | What::Circuit { .. }) {
            return;
        }
        if self.lines >= LINES {
            self.suppressed += 1;
            return;
        }
        self.lines += 1;
        let Observation { route, topic, partition, offset, id, generation, module, attempt, what } = observation;
        let module = module.as_deref().map_or("-", short);
        let (route, id) = (route.as_deref().unwrap_or("-"), id.as_deref().unwrap_or("-"));
        let id = &id[..id.floor_char_boundary(ID)];
        let said = |reason: &str| printable(reason, REASON);
        match what {
            What::Handled { .. } | What::Circuit { .. } => {}
            What::Probed { class, reason, delay } => {
                tracing::info!(route, %topic, partition, offset, id, attempt, generation, module, %class, ?delay, "trial call failed, does not count: {}", said(reason));
            }
            What::Retry { class, reason, delay } => {
                tracing::info!(route, %topic, partition, offset, id, attempt, generation, module, %class, ?delay, "attempt failed, will retry: {}", said(reason));
            }
            What::DeadLettered { class, reason, topic: to } => {
                tracing::warn!(route, %topic, partition, offset, id, attempt, generation, module, %class, to, "dead-lettered: {}", said(reason));
            }
            // As the manifest says of what no route wants: perhaps most of a topic.
            What::Dropped { class: class @ FailureClass::Unrouted, reason } => {
                tracing::debug!(route, %topic, partition, offset, id, attempt, generation, module, %class, "dropped: {}", said(reason));
            }
            What::Dropped { class, reason } => {
                tracing::warn!(route, %topic, partition, offset, id, attempt, generation, module, %class, "dropped: {}", said(reason));
            }
        }
    }

    /// Brings the shared metrics up to date; to be called before the worker waits.
    pub fn report(&mut self, core: &mut Core, now: Instant) {
        self.routes.iter_mut().for_each(RouteMetrics::flush);
        self.past.clear();
        self.unrouted.flush();
        let (bytes, records) = core.queued();
        self.shares.queue_bytes.set(bytes);
        self.shares.queue_records.set(records);
        self.shares.retries_waiting.set(core.parked());
        self.shares.paused_partitions.set(core.accounts().filter(|account| account.is_full()).count());
        for channel in [Channel::Outputs, Channel::DeadLetters] {
            self.troubles.set(self.worker, channel, core.trouble(channel));
        }
        if now >= self.oldest + OLDEST {
            self.oldest = now;
            core.report_oldest();
        }
        if now >= self.second + Duration::from_secs(1) {
            if self.suppressed > 0 {
                tracing::warn!(suppressed = self.suppressed, "more failures than can be logged one by one");
            }
            (self.lines, self.suppressed, self.second) = (0, 0, now);
        }
    }
}
