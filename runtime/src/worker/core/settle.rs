//! What becomes of a run: handled, tried again, dead-lettered, dropped; and the
//! one exit of every record.

use std::time::Duration;

use super::super::effect::{Channel, Effect, Place, RunId};
use super::super::partition::Stage;
use super::{Core, Parked};
use crate::manifest::{DeadLetter, Unhandled};
use crate::observe::{Observation, What};
use crate::outcome::{Failure, FailureClass};
use crate::settle::dead_letter::{self, Attempts, Origin};
use crate::settle::{Decision, decide};
use crate::worker::mutation::mutation;

impl Core {
    pub(super) fn unhandled(&mut self, id: RunId, failure: Failure) {
        let policy = match failure.class {
            FailureClass::Undecodable => &self.generation.plan.manifest.undecodable,
            _ => &self.generation.plan.manifest.unmatched,
        };
        match policy.clone() {
            Unhandled::DeadLetter(to) => self.dead_letter(id, failure, &to),
            Unhandled::Drop => self.drop_record(id, failure),
        }
    }

    pub(super) fn handled(&mut self, id: RunId, outputs: usize, duration: Duration) {
        if self.observing {
            self.observe(id, What::Handled { outputs, duration });
        } else {
            let Some(place) = self.place(id) else { return };
            self.effects.push_back(Effect::Handled { place, outputs });
        }
        self.settle(id);
    }

    pub(super) fn failed(&mut self, id: RunId, failure: Failure, duration: Duration) {
        let began = self.now.wall.checked_sub(duration).unwrap_or(self.now.wall);
        let random = self.random.f64();
        mutation!(DecidedByOtherGeneration => self.catch_up(id));
        let Some(run) = self.run(id) else { return };
        let generation = run.generation.clone();
        run.failures = run.failures.saturating_add(1);
        run.first_attempt.get_or_insert(began);
        run.last_attempt = Some(began);
        match decide(&generation.plan.manifest.routes[run.route], &failure, run.failures, random) {
            Decision::Retry(delay) => {
                run.stage = Stage::Parked;
                if !mutation!(RetryLost) {
                    self.parked.push(self.now.instant + delay, Parked::Attempt(id));
                }
                let Failure { class, reason, .. } = failure;
                self.observe(id, What::Retry { class, reason: reason.into_owned(), delay });
                self.catch_up(id);
                mutation!(RetryFreesLane => self.leave_lanes(id));
            }
            Decision::DeadLetter(to) => self.dead_letter(id, failure, to),
            Decision::Drop => self.drop_record(id, failure),
        }
    }

    pub(super) fn dead_letter(&mut self, id: RunId, failure: Failure, to: &DeadLetter) {
        let (group, wall) = (self.group.clone(), self.now.wall);
        let Some(partition) = self.partition(id.slot) else { return };
        let entry = &mut partition.entries[id.entry as usize];
        let run = &mut entry.runs[id.run as usize];
        let plan = run.generation.plan.clone();
        let (route, handler) = (plan.manifest.routes.get(run.route), plan.handler(run.route));
        let origin = Origin {
            topic: &partition.account.topic,
            partition: partition.account.partition,
            group: &group,
            route: route.map(|route| &*route.name),
            handler: handler.map(|handler| &*handler.name),
            module_digest: handler.map(|handler| &*handler.digest),
            generation: plan.generation,
        };
        let attempts = Attempts {
            count: run.failures,
            first: run.first_attempt.unwrap_or(wall),
            last: run.last_attempt.unwrap_or(wall),
        };
        let message = dead_letter::build(entry.body.record(), origin, &failure, attempts, to);
        run.stage = Stage::DeadLettering(Box::new(failure));
        partition.active += 1;
        self.hand_out(id, message, Channel::DeadLetters, to.omit_large_values);
        mutation!(SettleBeforeDeadLetter => self.settle(id));
    }

    pub(super) fn drop_record(&mut self, id: RunId, failure: Failure) {
        let Failure { class, reason, .. } = failure;
        self.observe(id, What::Dropped { class, reason: reason.into_owned() });
        self.settle(id);
    }

    /// The one exit: a run is done, and with the last one its record is settled
    /// and the next records of its lanes begin.
    pub(super) fn settle(&mut self, id: RunId) {
        let Some(partition) = self.partition(id.slot) else { return };
        let entry = &mut partition.entries[id.entry as usize];
        entry.runs[id.run as usize].stage = Stage::Settled;
        entry.open -= 1;
        if entry.open > 0 && !mutation!(SettleByFirstRoute) {
            return;
        }
        let entry = partition.entries.remove(id.entry as usize);
        if let Err(twice) = partition.offsets.settle(entry.seq) {
            // Cannot happen while entries are removed here alone; the position stays where it was.
            tracing::error!(%twice, "a record was settled twice");
        }
        partition.account.set_position(partition.offsets.committable(), partition.offsets.span());
        let bytes = if mutation!(BytesLeak) { 0 } else { entry.body.record().size() };
        let wake = partition.account.release(1, bytes);
        mutation!(SettleTwice => partition.account.release(1, bytes));
        self.wake_reader |= wake;
        self.leave_lanes(id);
        self.check_drained(id.slot);
    }

    /// Takes a record out of its lanes, and begins those whose turn has come. One of them may
    /// be settled at once, as what is dropped is, and the one behind it with it: they are begun
    /// one after the other and not one within the other, for they may be as many as there are.
    fn leave_lanes(&mut self, id: RunId) {
        let Some(partition) = self.partition(id.slot) else { return };
        partition.turns.extend(partition.lanes.leave(id.entry));
        if std::mem::replace(&mut partition.begins, true) {
            return;
        }
        while let Some(next) = self.partition(id.slot).and_then(|partition| partition.turns.pop_front()) {
            self.begin(id.slot, next);
        }
        if let Some(partition) = self.partition(id.slot) {
            partition.begins = false;
        }
    }

    pub(super) fn observe(&mut self, id: RunId, what: What) {
        let Some(partition) = self.partition(id.slot) else { return };
        let entry = &partition.entries[id.entry as usize];
        let run = &entry.runs[id.run as usize];
        let plan = &run.generation.plan;
        let failed_now = matches!(what, What::Retry { .. } | What::DeadLettered { .. } | What::Dropped { .. });
        let observation = Observation {
            route: plan.manifest.routes.get(run.route).map(|route| route.name.clone()),
            topic: partition.account.topic.clone(),
            partition: partition.account.partition,
            offset: entry.body.record().offset(),
            id: entry.body.event().map(|envelope| envelope.id().to_owned()),
            generation: plan.generation,
            module: plan.handler(run.route).map(|handler| handler.digest.clone()),
            attempt: if failed_now { run.failures } else { run.failures + 1 },
            what,
        };
        let place = Place { generation: run.generation.clone(), route: run.route };
        self.effects.push_back(Effect::Observe(place, observation));
    }
}
