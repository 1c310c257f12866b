//! What the process counts, for Prometheus.
//!
//! A counter counts what happened, when it happened; what is unknown has no
//! series. `docs/metrics.md` says of each metric what it means, and a test
//! keeps the two in step.
//!
//! On the hot path workers count in plain integers of their own
//! ([`RouteMetrics`]) and add them to the shared counters once per batch.

use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::outcome::FailureClass;

mod worker;

pub use worker::{CircuitMetrics, RouteMetrics, Share, WorkerMetrics};

/// The content type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = prometheus::TEXT_FORMAT;

/// The `route` label of what no route took. Prometheus treats an empty label
/// as an absent one, and no route can have this name.
const NO_ROUTE: &str = "";

/// Upper bounds in seconds: a warm handler takes some 10 µs, a time-out may be a minute.
const DURATION_BUCKETS: [f64; 18] = [
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
    20.0, 60.0,
];

/// How a commit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitResult {
    /// The broker took it.
    Ok,
    /// The broker refused it.
    Failed,
    /// No answer before the deadline: it may have been taken.
    Unknown,
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReloadResult {
    /// A new generation is current.
    Switched,
    /// There was nothing new.
    Unchanged,
    /// The generation before goes on.
    Failed,
}

/// Every metric of the process, in a registry of its own. Cloning is cheap and
/// gives the same metrics.
///
/// Label values come from the manifest, the assignment or a fixed set, so the
/// number of series is bounded by them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    records: IntCounterVec,
    events: IntCounterVec,
    failures: IntCounterVec,
    outputs: IntCounterVec,
    durations: HistogramVec,
    dead_letters: IntCounterVec,
    commits: IntCounterVec,
    lag_records: IntGaugeVec,
    lag_seconds: GaugeVec,
    retries_waiting: IntGauge,
    queue_bytes: IntGauge,
    queue_records: IntGauge,
    paused_partitions: IntGauge,
    /// The manifest's bound on the bytes of records read and not settled.
    pub queue_limit_bytes: IntGauge,
    reloads: IntCounterVec,
    generation: IntGauge,
    /// How long it took to make the instances of the current generation's `warmUp`.
    pub warm_up_seconds: Gauge,
    handler_info: IntGaugeVec,
    circuits_open: IntGaugeVec,
    circuit_changes: IntCounterVec,
    /// Messages, outputs and dead letters alike, that the producer reported as not written.
    pub publish_errors: IntCounter,
    /// Bytes that guests wrote to stdout, stderr or the log beyond their budget.
    pub guest_log_bytes_dropped: IntCounter,
}

impl Metrics {
    /// Creates and registers all metrics.
    ///
    /// # Errors
    /// Only if two metrics have the same name, which the tests exclude.
    pub fn new() -> Result<Metrics, prometheus::Error> {
        let r = Registry::new();
        let durations = HistogramOpts::new(
            "outrigger_handler_duration_seconds",
            "Wall time of handler calls, failed ones included.",
        )
        .buckets(DURATION_BUCKETS.to_vec());
        let metrics = Metrics {
            records: counters(&r, "records_total", "Records read.", &["topic"])?,
            events: counters(&r, "events_total", "What became of events, per route.", &["route", "outcome"])?,
            failures: counters(&r, "failures_total", "Failed attempts and refused records.", &["route", "class"])?,
            outputs: counters(&r, "outputs_total", "Outputs that the broker acknowledged.", &["route"])?,
            durations: HistogramVec::new(durations, &["handler"])?,
            dead_letters: counters(&r, "dead_letters_total", "Dead letters that the broker acknowledged.", &["class"])?,
            commits: counters(&r, "commits_total", "Offset commits by result.", &["result"])?,
            lag_records: IntGaugeVec::new(
                Opts::new("outrigger_consumer_lag_records", "Records from the first unsettled one to the log's end."),
                &["topic", "partition"],
            )?,
            lag_seconds: GaugeVec::new(
                Opts::new("outrigger_consumer_lag_seconds", "Age of the lowest unsettled record."),
                &["topic", "partition"],
            )?,
            retries_waiting: gauge(&r, "retries_waiting", "Attempts and messages that wait to be tried again.")?,
            queue_bytes: gauge(&r, "queue_bytes", "Bytes of records read and not settled.")?,
            queue_records: gauge(&r, "queue_records", "Records read and not settled.")?,
            paused_partitions: gauge(&r, "paused_partitions", "Partitions whose reading is paused.")?,
            queue_limit_bytes: gauge(&r, "queue_limit_bytes", "The bound on outrigger_queue_bytes.")?,
            reloads: counters(&r, "reloads_total", "Reloads of manifest and modules by result.", &["result"])?,
            generation: gauge(&r, "generation", "The number of the current generation.")?,
            warm_up_seconds: Gauge::new(
                "outrigger_warm_up_seconds",
                "Time that warmUp took for the current generation.",
            )?,
            handler_info: IntGaugeVec::new(
                Opts::new("outrigger_handler_info", "Always 1; the labels say which module a handler runs."),
                &["handler", "digest"],
            )?,
            circuits_open: IntGaugeVec::new(
                Opts::new("outrigger_circuits_open", "Workers that hold the handler's calls."),
                &["handler"],
            )?,
            circuit_changes: counters(&r, "circuit_changes_total", "Changes of circuits.", &["handler", "state"])?,
            publish_errors: counter(&r, "publish_errors_total", "Messages reported as not written.")?,
            guest_log_bytes_dropped: counter(&r, "guest_log_bytes_dropped_total", "Log bytes of guests over budget.")?,
            registry: r,
        };
        let info = Opts::new("outrigger_build_info", "Always 1; the label says which build runs.")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        let info = Gauge::with_opts(info)?;
        info.set(1.0);
        metrics.registry.register(Box::new(info))?;
        metrics.registry.register(Box::new(metrics.durations.clone()))?;
        metrics.registry.register(Box::new(metrics.lag_records.clone()))?;
        metrics.registry.register(Box::new(metrics.lag_seconds.clone()))?;
        metrics.registry.register(Box::new(metrics.circuits_open.clone()))?;
        metrics.registry.register(Box::new(metrics.handler_info.clone()))?;
        metrics.registry.register(Box::new(metrics.warm_up_seconds.clone()))?;
        for result in [ReloadResult::Switched, ReloadResult::Unchanged, ReloadResult::Failed] {
            metrics.reloads.with_label_values(&[result.as_str()]);
        }
        for result in [CommitResult::Ok, CommitResult::Failed, CommitResult::Unknown] {
            metrics.commits.with_label_values(&[result.as_str()]);
        }
        Ok(metrics)
    }

    /// The counter of records read from `topic`; add to it once per batch.
    pub fn records(&self, topic: &str) -> IntCounter {
        self.records.with_label_values(&[topic])
    }

    /// The counter of what became of a route's events: `handled`, `retried`,
    /// `dead_lettered` or `dropped`. Workers add to it once per batch, and before they wait.
    pub fn events(&self, route: &str, outcome: &str) -> IntCounter {
        self.events.with_label_values(&[route, outcome])
    }

    /// A worker's counters for a route and its handler. Its series exist from
    /// now on, at 0, so that the first failure shows as an increase.
    pub fn route(&self, route: &str, handler: &str) -> RouteMetrics {
        use FailureClass::{Budget, Dependency, Failed, Output, Rejected, Timeout, Trap};
        let mut metrics = RouteMetrics::new(self, route, Some(handler));
        for class in [Rejected, Failed, Dependency, Trap, Timeout, Budget, Output] {
            metrics.count_of(class);
        }
        metrics
    }

    /// A worker's counters for what no route took: undecodable and unrouted records.
    pub fn unrouted(&self) -> RouteMetrics {
        let mut metrics = RouteMetrics::new(self, NO_ROUTE, None);
        metrics.count_of(FailureClass::Undecodable);
        metrics.count_of(FailureClass::Unrouted);
        metrics
    }

    /// A worker's share of what is said of a handler's circuits. Its series exist from now on, at 0.
    pub fn circuit(&self, handler: &str) -> CircuitMetrics {
        let changes = |state| self.circuit_changes.with_label_values(&[handler, state]);
        CircuitMetrics {
            open: Share::of(&self.circuits_open.with_label_values(&[handler])),
            changes: ["open", "half-open", "closed"].map(|state| (state, changes(state))),
        }
    }

    /// A worker's shares of the gauges that all workers add up to.
    pub fn worker(&self) -> WorkerMetrics {
        WorkerMetrics {
            retries_waiting: Share::of(&self.retries_waiting),
            queue_bytes: Share::of(&self.queue_bytes),
            queue_records: Share::of(&self.queue_records),
            paused_partitions: Share::of(&self.paused_partitions),
        }
    }

    /// Counts a reload.
    pub fn reloaded(&self, result: ReloadResult) {
        self.reloads.with_label_values(&[result.as_str()]).inc();
    }

    /// Says which generation is current, and which module, by its digest, each handler
    /// runs. `gone` are the handlers and digests of the one before.
    pub fn set_generation(&self, number: u64, gone: &[(String, String)], handlers: &[(String, String)]) {
        self.generation.set(number.try_into().unwrap_or(i64::MAX));
        for (handler, digest) in gone.iter().filter(|gone| !handlers.contains(gone)) {
            // An error says that it is gone already.
            _ = self.handler_info.remove_label_values(&[handler, digest]);
        }
        for (handler, digest) in handlers {
            self.handler_info.with_label_values(&[handler, digest]).set(1);
        }
    }

    /// Counts a commit's answer.
    pub fn commit(&self, result: CommitResult) {
        self.commits.with_label_values(&[result.as_str()]).inc();
    }

    /// Sets the lag of a partition. A part that is not known loses its series
    /// rather than show an old value or 0.
    pub fn set_lag(&self, topic: &str, partition: i32, records: Option<i64>, age: Option<Duration>) {
        let partition = partition.to_string();
        let labels = [topic, &partition];
        // Removing reports an error where there is nothing to remove, which is what is wanted.
        match records {
            Some(records) => self.lag_records.with_label_values(&labels).set(records),
            None => _ = self.lag_records.remove_label_values(&labels),
        }
        match age {
            Some(age) => self.lag_seconds.with_label_values(&labels).set(age.as_secs_f64()),
            None => _ = self.lag_seconds.remove_label_values(&labels),
        }
    }

    /// Removes the series of a partition that was taken away: another member
    /// of the group reports it now.
    pub fn remove_partition(&self, topic: &str, partition: i32) {
        self.set_lag(topic, partition, None, None);
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If a metric cannot be written in that format.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    let counters = IntCounterVec::new(Opts::new(format!("outrigger_{name}"), help), labels)?;
    registry.register(Box::new(counters.clone()))?;
    Ok(counters)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
    let counter = IntCounter::new(format!("outrigger_{name}"), help)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let gauge = IntGauge::new(format!("outrigger_{name}"), help)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

impl ReloadResult {
    /// The value of the `result` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            ReloadResult::Switched => "switched",
            ReloadResult::Unchanged => "unchanged",
            ReloadResult::Failed => "failed",
        }
    }
}

impl CommitResult {
    /// The value of the `result` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            CommitResult::Ok => "ok",
            CommitResult::Failed => "failed",
            CommitResult::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests;
