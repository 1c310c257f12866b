//! What is current and how the last reload ended: for the admin API, the metrics and
//! the detail of readiness.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::{Current, Parts};
use crate::metrics::{Metrics, ReloadResult};
use crate::worker::plan::Plan;

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This generation is current from now on.
    Switched(u64),
    /// What is there is what runs already.
    Unchanged(u64),
    /// This generation goes on, for that reason. It holds no secret.
    Failed(u64, String),
}

impl Answer {
    fn result(&self) -> ReloadResult {
        match self {
            Answer::Switched(_) => ReloadResult::Switched,
            Answer::Unchanged(_) => ReloadResult::Unchanged,
            Answer::Failed(..) => ReloadResult::Failed,
        }
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let (Answer::Switched(generation) | Answer::Unchanged(generation) | Answer::Failed(generation, _)) = self;
        let reason = match self {
            Answer::Failed(_, reason) => Some(reason),
            Answer::Switched(_) | Answer::Unchanged(_) => None,
        };
        json!({ "result": self.result().as_str(), "generation": generation, "reason": reason })
    }
}

/// The state of reloading. Cheap to clone; all clones show the same.
#[derive(Clone, Debug)]
pub struct Status {
    shared: Arc<Mutex<Shown>>,
}

#[derive(Debug)]
struct Shown {
    plan: Arc<PlanShown>,
    last: Option<(Answer, SystemTime)>,
}

#[derive(Debug)]
struct PlanShown {
    generation: u64,
    /// Name, digest, and the generation since which it is that.
    handlers: Vec<(Arc<str>, Arc<str>, u64)>,
    routes: Vec<Arc<str>>,
}

impl PlanShown {
    fn of(plan: &Plan) -> Arc<PlanShown> {
        Arc::new(PlanShown {
            generation: plan.generation,
            handlers: plan.handlers.iter().map(|h| (h.name.clone(), h.digest.clone(), h.since)).collect(),
            routes: plan.manifest.routes.iter().map(|route| route.name.clone()).collect(),
        })
    }
}

impl Status {
    pub(super) fn new(current: &Current, metrics: &Metrics) -> Status {
        let plan = PlanShown::of(&current.built.plan);
        plan.count(metrics, None);
        metrics.warm_up_seconds.set(current.warm_up.as_secs_f64());
        Status { shared: Arc::new(Mutex::new(Shown { plan, last: None })) }
    }

    /// Takes note of how a reload ended.
    pub(super) fn said(&self, answer: &Answer, parts: &Parts) {
        parts.metrics.reloaded(answer.result());
        let mut shown = self.shown();
        if let Answer::Switched(_) = answer {
            let plan = PlanShown::of(&parts.current.built.plan);
            plan.count(&parts.metrics, Some(&shown.plan));
            parts.metrics.warm_up_seconds.set(parts.current.warm_up.as_secs_f64());
            shown.plan = plan;
        }
        parts.health.reload(match answer {
            Answer::Failed(_, reason) => Some(reason.clone()),
            Answer::Switched(_) | Answer::Unchanged(_) => None,
        });
        shown.last = Some((answer.clone(), SystemTime::now()));
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let shown = self.shown();
        let handlers = shown.plan.handlers.iter().map(|(name, digest, since)| {
            (name.to_string(), json!({ "digest": digest.as_ref(), "sinceGeneration": since }))
        });
        let last = shown.last.as_ref().map(|(answer, when)| {
            let mut json = answer.to_json();
            json["secondsAgo"] = when.elapsed().unwrap_or_default().as_secs().into();
            json
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "generation": shown.plan.generation,
            "handlers": handlers.collect::<serde_json::Map<_, _>>(),
            "routes": shown.plan.routes.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
            "lastReload": last,
        })
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PlanShown {
    fn count(&self, metrics: &Metrics, before: Option<&PlanShown>) {
        let names = |(name, digest, _): &(Arc<str>, Arc<str>, u64)| (name.to_string(), digest.to_string());
        let gone: Vec<_> = before.into_iter().flat_map(|before| before.handlers.iter().map(names)).collect();
        metrics.set_generation(self.generation, &gone, &self.handlers.iter().map(names).collect::<Vec<_>>());
    }
}
