//! New generations, as the model sees them.

use smallvec::SmallVec;

use super::*;
use crate::outcome::Failure;
use crate::settle::{Decision, decide};

/// The place of a handler in [`HANDLERS`].
pub fn handler_index(name: &str) -> usize {
    HANDLERS.iter().position(|handler| *handler == name).expect("a handler")
}

/// The routes of a generation that take a record of this kind; the empty one where none does.
pub fn routes_of(plan: &Plan, kind: usize) -> SmallVec<[&'static str; 2]> {
    let now = |route: &&'static str| match plan.route(route) {
        Some(_) => Some(*route),
        None => (*route == "keyed" && plan.route("renamed").is_some()).then_some("renamed"),
    };
    let routes: SmallVec<[&str; 2]> = KINDS[kind].1.iter().filter_map(now).collect();
    if routes.is_empty() { [""].into_iter().collect() } else { routes }
}

impl World {
    /// A new generation becomes current, as in a worker: what the one before said is done first.
    pub fn reload(&mut self) {
        self.pump(false);
        let (variant, new) = (self.rng.u64(..VARIANTS), [self.rng.u32(..8) == 0, self.rng.u32(..8) == 0]);
        let next = reloaded(&self.plan, variant, self.with_circuits, new);
        let old = std::mem::replace(&mut self.plan, next);
        self.happened.reloads += 1;
        for (index, name) in HANDLERS.iter().enumerate() {
            let since = |plan: &Plan| plan.handlers.iter().find(|h| &*h.name == *name).map(|h| h.since);
            if since(&old) == since(&self.plan) {
                continue;
            }
            // Another module, and with it another circuit; what probed the old one tells nothing any more.
            self.circuits[index] = Circuit::Closed;
            let probes = self.calls.iter_mut().filter(|call| call.order.probe && &*call.handler.name == *name);
            let probes: Vec<_> = probes.map(|c| (c.run.slot, c.envelope.record().offset(), c.route)).collect();
            for (slot, offset, route) in probes {
                if let Some(run) = self.run(slot, offset, route) {
                    run.probe = false;
                }
            }
        }
        self.core.switch(self.plan.clone());
    }
}

impl Run {
    /// What the generation of its last attempt says of its failure.
    pub fn decision(&self, route: &str) -> Decision<'_> {
        let plan = self.plan.as_ref().expect("an attempt was made");
        let spec = &plan.manifest.routes[plan.route(route).expect("the attempt's route")];
        let failure = Failure { class: self.class, reason: "no".into(), retry_after: None };
        decide(spec, &failure, self.failures + 1, 0.5)
    }
}
