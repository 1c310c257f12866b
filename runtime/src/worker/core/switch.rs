//! From one generation of manifest and modules to the next, between two effects.
//!
//! An attempt belongs to the generation that it began on, to its end: what becomes of
//! its outcome, where its outputs go and what its dead letter says are that
//! generation's. A run that only waits, for its lane, its handler's desk, a closed
//! circuit or its next attempt, goes on in the current one: its route is found by its
//! name, whatever handler and policies that route has now. Its filter is not asked
//! again, and the lanes that the record holds stay those that it entered.
//!
//! A run whose route is gone keeps the generation that had it until its turn comes; if
//! the route is still gone then, the record ends as `unmatched` says.

use std::rc::Rc;
use std::sync::Arc;

use super::super::effect::{Effect, RunId};
use super::super::partition::{NO_ROUTE, Run};
use super::super::plan::Plan;
use super::Core;
use super::desk::Desk;
use crate::outcome::{Failure, FailureClass};
use crate::worker::mutation::mutation;

/// A generation as one worker holds it. It goes with the last run that is on it.
pub struct Generation {
    /// What is decided by.
    pub plan: Arc<Plan>,
    /// By handler: the place of its desk.
    pub(super) desks: Vec<usize>,
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Generation").field(&self.plan.generation).finish()
    }
}

impl Generation {
    pub(super) fn desk_of(&self, route: usize) -> usize {
        self.desks[self.plan.handler_of[route]]
    }
}

impl Core {
    /// The current generation.
    pub fn generation(&self) -> &Rc<Generation> {
        &self.generation
    }

    /// Makes `plan` the current generation. What is under way is left alone. The
    /// effects that are there already must have been taken: see [`Core::has_effects`].
    /// Gives the desks that are new.
    ///
    /// Looks at every run that is not settled: some 10 ns for each.
    pub fn switch(&mut self, plan: Arc<Plan>) -> Vec<usize> {
        let old = self.generation.clone();
        let mut waiting = std::mem::take(&mut self.stranded);
        for &desk in &old.desks {
            waiting.append(&mut self.desks[desk].ready);
        }
        mutation!(SwitchLosesReady => waiting.clear());
        let desks: Vec<usize> = (0..plan.handlers.len()).map(|handler| self.desk_for(&plan, handler)).collect();
        for &desk in &desks {
            self.desks[desk].message_room = Desk::part(self.message_room, desks.len());
        }
        let generation = Rc::new(Generation { plan, desks });
        for &desk in old.desks.iter().filter(|desk| !generation.desks.contains(desk)) {
            self.desks[desk].retired = true;
            Desk::retire(&mut self.desks, desk);
        }
        self.generation = generation;
        self.move_what_waits(&old);
        for id in waiting {
            self.queue(id);
        }
        self.generation.desks.iter().filter(|desk| !old.desks.contains(desk)).copied().collect()
    }

    /// The desk of a handler of a new generation. One that is what it was keeps its
    /// desk, with the calls under way and what is known of its failures.
    fn desk_for(&mut self, plan: &Plan, handler: usize) -> usize {
        let (old, planned) = (&self.generation, &plan.handlers[handler]);
        let same = plan.same_handler(handler, &old.plan).filter(|_| !mutation!(SwitchForgetsCircuit));
        match same.filter(|&same| old.plan.handlers[same].circuit == planned.circuit) {
            Some(same) => old.desks[same],
            None => self.desks.insert(Desk::new(planned, self.message_room, plan.handlers.len(), self.now)),
        }
    }

    /// Moves every run that only waits to the current generation, so that none before
    /// it lives longer than its last attempt; but for runs whose route is gone.
    fn move_what_waits(&mut self, old: &Rc<Generation>) {
        let new = &self.generation;
        let moved: Vec<Option<usize>> =
            old.plan.manifest.routes.iter().map(|route| new.plan.route(&route.name)).collect();
        for partition in self.partitions.iter_mut().flatten() {
            for run in partition.entries.iter_mut().flat_map(|(_, entry)| &mut entry.runs).filter(|r| r.only_waits()) {
                match moved.get(run.route) {
                    Some(Some(route)) if Rc::ptr_eq(&run.generation, old) => {
                        (run.generation, run.route) = (new.clone(), *route);
                    }
                    Some(None) if Rc::ptr_eq(&run.generation, old) => {}
                    _ => run.move_to(new),
                }
            }
        }
    }

    /// A run's turn has come: it waits for its handler, on the current generation.
    pub(super) fn queue(&mut self, id: RunId) {
        self.catch_up(id);
        let current = self.generation.clone();
        let Some(run) = self.run(id) else { return };
        if Rc::ptr_eq(&run.generation, &current) || mutation!(WaitsOnOldGeneration) {
            let desk = run.generation.desk_of(run.route);
            self.desks[desk].ready.push_back(id);
        } else {
            self.stranded.push_back(id);
        }
    }

    /// A run whose attempt is over goes on in the current generation, if that has its route.
    pub(super) fn catch_up(&mut self, id: RunId) {
        let current = self.generation.clone();
        if let Some(run) = self.run(id).filter(|_| !mutation!(WaitsOnOldGeneration)) {
            run.move_to(&current);
        }
    }

    /// Ends the runs whose turn has come and whose route is gone, up to the first effect.
    pub(super) fn end_stranded(&mut self) -> Option<Effect> {
        while self.effects.is_empty() {
            let id = self.stranded.pop_front()?;
            let number = self.generation.plan.generation;
            let Some(partition) = self.partition(id.slot).filter(|partition| !partition.draining) else { continue };
            let run = &partition.entries[id.entry as usize].runs[id.run as usize];
            let name = &run.generation.plan.manifest.routes[run.route].name;
            let reason =
                format!("the route `{name}` was removed while the record waited; generation {number} has none");
            let failure = Failure { class: FailureClass::Unrouted, reason: reason.into(), retry_after: None };
            mutation!(StrandedLost => continue);
            self.unhandled(id, failure);
        }
        self.effects.pop_front()
    }

    pub(super) fn run(&mut self, id: RunId) -> Option<&mut Run> {
        Some(&mut self.partition(id.slot)?.entries.get_mut(id.entry as usize)?.runs[id.run as usize])
    }
}

impl Run {
    fn move_to(&mut self, generation: &Rc<Generation>) {
        if Rc::ptr_eq(&self.generation, generation) {
            return;
        }
        if self.route == NO_ROUTE {
            self.generation = generation.clone();
        } else if let Some(route) = generation.plan.route(&self.generation.plan.manifest.routes[self.route].name) {
            (self.generation, self.route) = (generation.clone(), route);
        }
    }
}
