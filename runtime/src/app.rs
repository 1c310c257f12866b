//! The composition root: builds every part and connects them.
//!
//! ```text
//!              commands              calls
//!   source  ------------>  worker  ---------->  guests (invoke)
//!   thread  <------------  threads <----------
//!      |      accounts        |   ^
//!      | commits     messages |   | acknowledgements
//!      v                      v   |
//!   committer               publisher
//! ```
//!
//! Beside them the reload thread builds generations, and hands each to the source,
//! which passes it on to the workers.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::admin::{self, AdminServer};
use crate::compile::Compiler;
use crate::invoke::{Engine, EngineError};
use crate::logging::KafkaLog;
use crate::manifest::Manifest;
use crate::metrics::Metrics;
use crate::observe::Observation;
use crate::probes::{self, Component, Health, ProbeServer};
use crate::publish::{Inbox, Publisher};
use crate::reload::{self, BuildError, Builder, Current, Sources};
use crate::source::{self, Order, Stopped};
use crate::worker::core::{Core, MESSAGE_BYTES};
use crate::worker::plan::{ModuleId, Plan};
use crate::worker::report::{Reporter, Troubles};
use crate::worker::{self, Built, Guests};

/// A thread that has not said so for this long is not alive.
const ALIVE: Duration = Duration::from_secs(60);

/// What is not in the manifest.
#[derive(Default)]
pub struct Options {
    /// Gets one observation per outcome. Workers wait for it when it is full.
    pub observer: Option<SyncSender<Observation>>,
    /// Runs handlers instead of their modules, which are then neither loaded nor reloaded: for measuring the host alone.
    pub guests: Option<Guests>,
    /// Compiles the handlers' modules. The default does so in this process and keeps nothing.
    pub compiler: Compiler,
    /// Where manifest and modules are read anew when they change; `None`: never.
    pub reload: Option<Sources>,
}

/// Why the sidecar did not start. Nothing has been consumed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The sandbox cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A handler's module is not usable.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// librdkafka refuses what `kafka.properties` say.
    #[error("kafka: {0}")]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// A thread or a socket.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A defect: two metrics of one name.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// A sidecar that runs.
pub struct Sidecar {
    source: JoinHandle<Result<Stopped, String>>,
    orders: SyncSender<Order>,
    workers: Vec<JoinHandle<()>>,
    metrics: Metrics,
    reload: Option<reload::Handle>,
    _admin: Option<AdminServer>,
    _probes: Option<ProbeServer>,
}

impl Sidecar {
    /// Loads the handlers, then connects. Returns as soon as everything runs;
    /// readiness says when partitions are assigned.
    ///
    /// # Errors
    /// If a handler cannot be loaded or a part cannot be set up: then nothing has connected.
    pub fn start(manifest: Manifest, options: Options) -> Result<Sidecar, StartError> {
        let manifest = Arc::new(manifest);
        let count = worker_count(&manifest);
        let (metrics, health, log) = (Metrics::new()?, Health::new(), Arc::new(KafkaLog::default()));

        metrics.queue_limit_bytes.set(manifest.total_bytes.try_into().unwrap_or(i64::MAX));

        // Handlers first: a bad one is known before anything connects.
        let (first, loaded) = first_generation(&manifest, count, options.guests, options.compiler)?;
        let engine = loaded.as_ref().map(|(builder, _)| builder.engine().clone());
        health.ready(Component::Handlers);
        let bound = manifest.admin.as_ref().map(|admin| admin::bind(admin.listen)).transpose()?;
        let probes = manifest.probes.map(|addr| probes::start(addr, health.clone(), metrics.clone())).transpose()?;

        let inboxes: Arc<[Inbox]> = (0..count).map(|_| Inbox::default()).collect();
        let publisher = Arc::new(Publisher::new(&manifest.kafka, inboxes.clone(), metrics.clone(), log.clone())?);
        // Bounded by the accounts: a record is only sent when its partition has room.
        #[allow(clippy::disallowed_methods)]
        let (commands, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        // One generation at most, since each is waited for, and the order to stop.
        let (orders, take_orders) = sync_channel(2);
        let parts = source::Parts {
            manifest: manifest.clone(),
            workers: commands,
            interrupt: Arc::new(move || engine.iter().for_each(Engine::interrupt)),
            orders: take_orders,
            metrics: metrics.clone(),
            health: health.clone(),
            log,
            heart: health.watch("source", ALIVE),
        };
        let source = thread::Builder::new().name("source".into()).spawn(move || source::run(parts))?;

        let troubles = Troubles::new(health.clone(), count);
        let group: Arc<str> = manifest.kafka.group_id.as_str().into();
        let worker = |(number, commands)| {
            let observer = options.observer.clone();
            let reporter = Reporter::new(number, &first.plan, &metrics, troubles.clone(), observer, Instant::now());
            let (plan, group, observes) = (first.plan.clone(), group.clone(), reporter.observes());
            // The producers' queues are the process's.
            let room = MESSAGE_BYTES / count;
            let parts = worker::Parts {
                number: number as u8,
                core: Box::new(move |now| Core::new(plan, group, observes, room, fastrand::u64(..), now)),
                generation: first.clone(),
                publisher: publisher.clone(),
                inboxes: inboxes.clone(),
                commands,
                reporter,
                heart: health.watch(format!("worker-{number}"), ALIVE),
                wake_reader: source.thread().clone(),
            };
            thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
                if let Err(error) = worker::run(parts) {
                    // Its commands end with it, and the source ends the process.
                    tracing::error!(%error, "a worker cannot run");
                }
            })
        };
        let workers = receivers.into_iter().enumerate().map(worker).collect::<Result<_, _>>()?;

        let sources = options.reload.zip(loaded);
        let reload = sources.map(|(sources, (builder, current))| {
            let (orders, source, metrics) = (orders.clone(), source.thread().clone(), metrics.clone());
            reload::start(reload::Parts { sources, builder, current, orders, source, metrics, health })
        });
        let reload = reload.transpose()?;
        let serve =
            |((listener, admin), reload): ((_, _), &reload::Handle)| admin::start(listener, admin, reload.clone());
        let admin = bound.zip(manifest.admin.as_ref()).zip(reload.as_ref()).map(serve).transpose()?;
        Ok(Sidecar { source, orders, workers, metrics, reload, _admin: admin, _probes: probes })
    }

    /// Asks for a reload. `None`: this sidecar does not reload.
    pub fn reload(&self) -> Option<&reload::Handle> {
        self.reload.as_ref()
    }

    /// Whether it ended by itself: [`Sidecar::stop`] then says why.
    pub fn has_ended(&self) -> bool {
        self.source.is_finished()
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Commits, drains, commits and leaves the group, within `within`.
    pub fn stop(self, within: Duration) -> Stopped {
        if let Some(reload) = &self.reload {
            reload.end();
        }
        let thread: Thread = self.source.thread().clone();
        // A source that has ended takes no orders.
        _ = self.orders.try_send(Order::Stop(Instant::now() + within));
        thread.unpark();
        let stopped = match self.source.join() {
            Ok(Ok(stopped)) => stopped,
            Ok(Err(failure)) => Stopped { failure: Some(failure), committed: false, come_again: 0 },
            Err(_) => {
                let failure = Some("the polling thread panicked; this is a defect of Outrigger".to_owned());
                Stopped { failure, committed: false, come_again: 0 }
            }
        };
        // Told to stop, they end at their next turn. One that hangs in a guest is left behind.
        for worker in self.workers.into_iter().filter(JoinHandle::is_finished) {
            _ = worker.join();
        }
        stopped
    }
}

fn worker_count(manifest: &Manifest) -> usize {
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    manifest.workers.unwrap_or_else(cores).clamp(1, usize::from(u8::MAX))
}

/// A generation, and where handlers are modules what builds the next ones.
type First = (Arc<Built>, Option<(Builder, Current)>);

/// The generation to begin with, and what builds the next ones where handlers are modules.
fn first_generation(
    manifest: &Arc<Manifest>,
    workers: usize,
    guests: Option<Guests>,
    compiler: Compiler,
) -> Result<First, StartError> {
    if let Some(guests) = guests {
        let plan = Arc::new(Plan::new(1, manifest.clone(), |_| ModuleId { digest: "".into(), since: 1 }));
        return Ok((Arc::new(Built { plan, guests }), None));
    }
    let mut builder = Builder::new(manifest, workers, compiler)?;
    let first = builder.build(manifest, &Default::default(), None)?;
    Ok((first.built.clone(), Some((builder, first))))
}
