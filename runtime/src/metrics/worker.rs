//! The parts of the metrics that a worker owns: it counts in them without
//! sharing anything, and adds them to the process's metrics once per batch.

use std::time::Duration;

use prometheus::local::{LocalHistogram, LocalIntCounter};
use prometheus::{IntCounter, IntGauge};

use super::Metrics;
use crate::dispatch::breaker::Change;
use crate::outcome::FailureClass;

/// One worker's counters for one route. What it counts shows after
/// [`RouteMetrics::flush`], or when it is dropped.
#[derive(Debug)]
pub struct RouteMetrics {
    handled: LocalIntCounter,
    retried: LocalIntCounter,
    dead_lettered: LocalIntCounter,
    dropped: LocalIntCounter,
    outputs: Option<LocalIntCounter>,
    durations: Option<LocalHistogram>,
    /// Failures and dead letters of the classes seen so far: at most one entry per class.
    classes: Vec<(FailureClass, LocalIntCounter, LocalIntCounter)>,
    route: String,
    handler: Option<String>,
    shared: Metrics,
}

impl RouteMetrics {
    pub(super) fn new(shared: &Metrics, route: &str, handler: Option<&str>) -> RouteMetrics {
        let events = |outcome: &str| shared.events.with_label_values(&[route, outcome]).local();
        RouteMetrics {
            handled: events("handled"),
            retried: events("retried"),
            dead_lettered: events("dead_lettered"),
            dropped: events("dropped"),
            outputs: handler.map(|_| shared.outputs.with_label_values(&[route]).local()),
            durations: handler.map(|handler| shared.durations.with_label_values(&[handler]).local()),
            classes: Vec::new(),
            route: route.to_owned(),
            handler: handler.map(str::to_owned),
            shared: shared.clone(),
        }
    }

    pub(super) fn count_of(&mut self, class: FailureClass) -> &mut (FailureClass, LocalIntCounter, LocalIntCounter) {
        let at = self.classes.iter().position(|(of, ..)| *of == class).unwrap_or_else(|| {
            let failures = self.shared.failures.with_label_values(&[&self.route, class.as_str()]).local();
            let dead_letters = self.shared.dead_letters.with_label_values(&[class.as_str()]).local();
            self.classes.push((class, failures, dead_letters));
            self.classes.len() - 1
        });
        &mut self.classes[at]
    }

    /// Whether these are a route's with this handler.
    pub fn is_of(&self, route: &str, handler: &str) -> bool {
        self.route == route && self.handler.as_deref() == Some(handler)
    }

    /// A call of the handler ended, well or not, after this wall time.
    pub fn called(&mut self, duration: Duration) {
        if let Some(durations) = &self.durations {
            durations.observe(duration.as_secs_f64());
        }
    }

    /// An attempt failed, or a record was refused before any attempt.
    pub fn failed(&mut self, class: FailureClass) {
        self.count_of(class).1.inc();
    }

    /// A failed attempt will be followed by another.
    pub fn retried(&mut self) {
        self.retried.inc();
    }

    /// The handler answered, and all its outputs are acknowledged.
    pub fn handled(&mut self, outputs: usize) {
        self.handled.inc();
        if let Some(counter) = &self.outputs {
            counter.inc_by(outputs as u64);
        }
    }

    /// The dead letter is acknowledged.
    pub fn dead_lettered(&mut self, class: FailureClass) {
        self.dead_lettered.inc();
        self.count_of(class).2.inc();
    }

    /// Settled without a trace, as the manifest says.
    pub fn dropped(&mut self) {
        self.dropped.inc();
    }

    /// Adds what was counted since the last call to the shared counters. To be
    /// called once per batch, and before a worker waits.
    pub fn flush(&mut self) {
        for counter in [&self.handled, &self.retried, &self.dead_lettered, &self.dropped] {
            counter.flush();
        }
        self.outputs.iter().for_each(|counter| counter.flush());
        self.durations.iter().for_each(|durations| durations.flush());
        for (_, failures, dead_letters) in &self.classes {
            failures.flush();
            dead_letters.flush();
        }
    }
}

impl Drop for RouteMetrics {
    fn drop(&mut self) {
        self.flush();
    }
}

/// One worker's shares of the process-wide gauges.
#[derive(Debug)]
pub struct WorkerMetrics {
    /// Attempts and messages that wait to be tried again.
    pub retries_waiting: Share,
    /// Bytes of records delivered to the worker and not settled.
    pub queue_bytes: Share,
    /// Records delivered to the worker and not settled.
    pub queue_records: Share,
    /// The worker's partitions whose reading is paused.
    pub paused_partitions: Share,
}

/// What one worker says of one handler's circuit.
#[derive(Debug)]
pub struct CircuitMetrics {
    pub(super) open: Share,
    pub(super) changes: [(&'static str, IntCounter); 3],
}

impl CircuitMetrics {
    /// Counts a change. Until it is closed again, a half-open circuit holds all calls but one and counts as open.
    pub fn changed(&mut self, change: Change) {
        self.open.set(usize::from(change != Change::Closed));
        for (state, counter) in &self.changes {
            if *state == change.state() {
                counter.inc();
            }
        }
    }
}

/// A part of a gauge: the gauge shows the sum of all its shares. A share that
/// is dropped is taken off, so that a worker that ends leaves nothing behind.
#[derive(Debug)]
pub struct Share {
    gauge: IntGauge,
    value: i64,
}

impl Share {
    pub(super) fn of(gauge: &IntGauge) -> Share {
        Share { gauge: gauge.clone(), value: 0 }
    }

    /// Sets this share; costs nothing while the value stays the same.
    pub fn set(&mut self, value: usize) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        if value != self.value {
            self.gauge.add(value - self.value);
            self.value = value;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.gauge.sub(self.value);
    }
}
