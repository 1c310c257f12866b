//! Whether the process is alive and ready, as its parts report it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// What must work for the process to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The group has answered: partitions are assigned, or there are none for this member.
    Assigned,
    /// Every handler of the current generation is loaded and was tried.
    Handlers,
    /// Outputs can be published.
    Producer,
    /// Dead letters can be written.
    DeadLetters,
    /// Records can be read and offsets committed.
    Consumer,
}

impl Component {
    const ALL: [Component; 5] =
        [Component::Assigned, Component::Handlers, Component::Producer, Component::DeadLetters, Component::Consumer];

    /// The name in `/readyz`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Component::Assigned => "assigned",
            Component::Handlers => "handlers",
            Component::Producer => "producer",
            Component::DeadLetters => "dead_letters",
            Component::Consumer => "consumer",
        }
    }
}

/// The health of the process. Cloning is cheap and gives the same health.
#[derive(Clone, Debug)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    /// Per component, in the order of `Component::ALL`: why it is not ready.
    not_ready: Mutex<[Option<String>; 5]>,
    hearts: Mutex<Vec<Arc<Beats>>>,
    /// By handler and worker: why its calls are held.
    circuits: Mutex<BTreeMap<String, BTreeMap<usize, String>>>,
    /// Why the last change of manifest or modules is not taken over.
    reload: Mutex<Option<String>>,
}

/// When a thread last said that it is alive.
#[derive(Debug)]
struct Beats {
    name: String,
    deadline: Duration,
    /// Milliseconds since `Shared::began`.
    last: AtomicU64,
}

/// An answer to a probe.
pub(super) struct Report {
    pub ok: bool,
    /// A JSON object.
    pub body: String,
}

impl Default for Health {
    fn default() -> Health {
        Health::new()
    }
}

impl Health {
    /// No component is ready yet, and no thread is watched.
    pub fn new() -> Health {
        let not_ready = Mutex::new(std::array::from_fn(|_| Some("not started yet".to_owned())));
        Health {
            shared: Arc::new(Shared {
                began: Instant::now(),
                not_ready,
                hearts: Mutex::default(),
                circuits: Mutex::default(),
                reload: Mutex::default(),
            }),
        }
    }

    /// Says that a component works.
    pub fn ready(&self, component: Component) {
        locked(&self.shared.not_ready)[component as usize] = None;
    }

    /// Says that a component does not work, and why. The reason is shown to whoever
    /// may ask the probes: it must hold no secret.
    pub fn not_ready(&self, component: Component, reason: impl Display) {
        locked(&self.shared.not_ready)[component as usize] = Some(reason.to_string());
    }

    /// Says why a worker holds a handler's calls, or with `None` that it does not. It
    /// shows in the detail of readiness and changes nothing else: an orchestrator
    /// that took the process away, or restarted it, would not mend what the handler
    /// depends on, and the other handlers work. The same as above holds for the reason.
    pub fn circuit(&self, handler: &str, worker: usize, why: Option<String>) {
        let mut circuits = locked(&self.shared.circuits);
        let workers = circuits.entry(handler.to_owned()).or_default();
        match why {
            Some(why) => _ = workers.insert(worker, why),
            None => _ = workers.remove(&worker),
        }
        circuits.retain(|_, workers| !workers.is_empty());
    }

    /// Says why a change of manifest or modules is not taken over, or with `None` that
    /// what is there is what runs. Like a circuit it shows and changes nothing: the
    /// generation before goes on.
    pub fn reload(&self, why: Option<String>) {
        *locked(&self.shared.reload) = why;
    }

    /// Whether this component is ready.
    pub fn is_component_ready(&self, component: Component) -> bool {
        locked(&self.shared.not_ready)[component as usize].is_none()
    }

    /// Whether every component is ready.
    pub fn is_ready(&self) -> bool {
        locked(&self.shared.not_ready).iter().all(Option::is_none)
    }

    /// Watches a thread: from now on it must beat at least once per `deadline`,
    /// or the process counts as stuck. The thread keeps the heart; see [`Heart`].
    pub fn watch(&self, name: impl Into<String>, deadline: Duration) -> Heart {
        let beats = Arc::new(Beats { name: name.into(), deadline, last: AtomicU64::new(0) });
        locked(&self.shared.hearts).push(beats.clone());
        let heart = Heart { beats, shared: self.shared.clone() };
        heart.beat(Instant::now());
        heart
    }

    /// What `/livez` answers at `now`.
    pub(super) fn liveness(&self, now: Instant) -> Report {
        let now = self.shared.since_began(now);
        let mut stuck = Vec::new();
        let mut threads = Map::new();
        for beats in locked(&self.shared.hearts).iter() {
            let silent = now.saturating_sub(beats.last.load(Ordering::Relaxed));
            threads.insert(beats.name.clone(), json!({ "silentMs": silent }));
            if u128::from(silent) > beats.deadline.as_millis() {
                stuck.push(Value::from(beats.name.clone()));
            }
        }
        let ok = stuck.is_empty();
        Report { ok, body: json!({ "live": ok, "stuck": stuck, "threads": threads }).to_string() }
    }

    /// What `/readyz` answers.
    pub(super) fn readiness(&self) -> Report {
        let not_ready = locked(&self.shared.not_ready);
        let describe = |component: Component| {
            let detail = match &not_ready[component as usize] {
                None => json!({ "ready": true }),
                Some(reason) => json!({ "ready": false, "reason": reason }),
            };
            (component.as_str().to_owned(), detail)
        };
        let components = Component::ALL.into_iter().map(describe).collect::<Map<_, _>>();
        let ok = not_ready.iter().all(Option::is_none);
        let describe = |(handler, workers): (&String, &BTreeMap<usize, String>)| {
            let reason = workers.values().next();
            (handler.clone(), json!({ "heldOnWorkers": workers.len(), "reason": reason }))
        };
        let circuits = locked(&self.shared.circuits).iter().map(describe).collect::<Map<_, _>>();
        let reload = locked(&self.shared.reload).clone();
        let body = json!({ "ready": ok, "components": components, "circuits": circuits, "reloadFailed": reload });
        Report { ok, body: body.to_string() }
    }
}

impl Shared {
    fn since_began(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }
}

/// A panic while one of these locks is held leaves nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A watched thread's own end. Dropping it ends the watch, since a thread may
/// end in good order, but not while the thread panics: then it stays, and falls silent.
#[derive(Debug)]
pub struct Heart {
    beats: Arc<Beats>,
    shared: Arc<Shared>,
}

impl Heart {
    /// Says that the thread is alive at `now`. One atomic store.
    pub fn beat(&self, now: Instant) {
        self.beats.last.store(self.shared.since_began(now), Ordering::Relaxed);
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            locked(&self.shared.hearts).retain(|beats| !Arc::ptr_eq(beats, &self.beats));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_every_component_is_and_only_then() {
        let health = Health::new();
        for component in Component::ALL {
            assert!(!health.readiness().ok);
            health.ready(component);
        }
        assert!(health.is_ready() && health.readiness().ok);
        health.not_ready(Component::DeadLetters, "shop.orders.dlq: unknown topic");
        let report = health.readiness();
        let body: Value = serde_json::from_str(&report.body).unwrap();
        assert!(!report.ok);
        assert_eq!(body["components"]["dead_letters"]["reason"], "shop.orders.dlq: unknown topic");
        assert_eq!(body["components"]["consumer"], json!({ "ready": true }));
    }

    #[test]
    fn an_open_circuit_shows_and_changes_nothing() {
        let health = Health::new();
        Component::ALL.into_iter().for_each(|component| health.ready(component));
        let circuits = || {
            let report = health.readiness();
            assert!(report.ok);
            serde_json::from_str::<Value>(&report.body).unwrap()["circuits"].clone()
        };
        assert_eq!(circuits(), json!({}));
        health.circuit("enrich", 1, Some("20 attempts in a row failed".to_owned()));
        health.circuit("enrich", 0, Some("the trial call failed".to_owned()));
        assert_eq!(circuits(), json!({ "enrich": { "heldOnWorkers": 2, "reason": "the trial call failed" } }));
        health.circuit("enrich", 0, None);
        assert_eq!(circuits()["enrich"]["heldOnWorkers"], 1);
        health.circuit("enrich", 1, None);
        assert_eq!(circuits(), json!({}));
    }

    #[test]
    fn a_thread_that_misses_its_deadline_is_named() {
        let health = Health::new();
        let start = Instant::now();
        let poll = health.watch("poll", Duration::from_secs(10));
        let worker = health.watch("worker-0", Duration::from_secs(2));
        poll.beat(start);
        worker.beat(start);
        assert!(health.liveness(start + Duration::from_secs(2)).ok);
        let report = health.liveness(start + Duration::from_secs(5));
        let body: Value = serde_json::from_str(&report.body).unwrap();
        assert!(!report.ok);
        assert_eq!(body["stuck"], json!(["worker-0"]));
        worker.beat(start + Duration::from_secs(5));
        assert!(health.liveness(start + Duration::from_secs(5)).ok);
        drop((poll, worker));
        assert!(health.liveness(start + Duration::from_secs(500)).ok);
    }

    #[test]
    fn a_thread_that_panics_counts_as_stuck() {
        let health = Health::new();
        let heart = health.watch("worker-0", Duration::from_secs(2));
        let panicked = std::thread::spawn(move || {
            let _heart = heart;
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert!(panicked.join().is_err());
        assert!(!health.liveness(Instant::now() + Duration::from_secs(60)).ok);
    }
}
