//! Calls that are held while their handler fails, and the attempts that probe.
//!
//! A record whose attempt is due while the circuit is open waits at its handler's
//! desk and keeps its lanes. The probe is the record that has waited there longest;
//! one that probed in vain goes to the end, so that another one probes next and a
//! record that fails by itself does not hold the circuit open.
//!
//! Two kinds of failures count for the circuit: the first one of a record, and any by
//! which the handler says that something it depends on is down. What has failed before
//! and fails again is a failure of that record as far as anyone knows: it is one of the
//! record's attempts like any other, opens nothing, and leaves the probe to the next
//! record. So retries of records that fail by themselves hold up nobody, however many
//! there are. (Many such records that fail for the first time, one after the other,
//! look like a handler that fails, and do open it.)
//!
//! A probe whose failure counts for the circuit is not counted as one of its record's
//! attempts. So a dependency that is down, and said to be, uses up no attempt however
//! long that lasts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use slab::Slab;

use super::super::effect::RunId;
use super::super::plan::PlannedHandler;
use super::{Core, Desk, HANDLER_MESSAGE_BYTES, InFlight};
use crate::dispatch::breaker::{Breaker, Change, counts};
use crate::observe::What;
use crate::outcome::{Failure, FailureClass, Outcome};
use crate::worker::mutation::mutation;
use crate::worker::partition::Stage;

impl Desk {
    pub(super) fn new(handler: &PlannedHandler, now: super::Now) -> Desk {
        let breaker = handler.circuit.map(|circuit| Breaker::new(circuit, now.instant));
        Desk {
            ready: VecDeque::new(),
            calling: 0,
            concurrency: handler.concurrency,
            rests: false,
            rested: false,
            begun: [0; 2],
            message_bytes: 0,
            breaker,
            retired: false,
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.breaker.as_ref().is_none_or(Breaker::is_closed)
    }

    /// It uses up its share of the rounds, and what waits for it takes more than a few of
    /// them. (Quick calls use up a share too while there is much to do.)
    pub(super) fn is_slow(&self) -> bool {
        const ROUNDS: usize = 2;
        let [now, before] = self.begun;
        (self.rests || self.rested) && self.ready.len() > ROUNDS * now.max(before)
    }

    /// Lets a desk go that no handler of the current generation has and nobody will come back to.
    pub(super) fn retire(desks: &mut Slab<Desk>, desk: usize) {
        let Desk { retired, calling, message_bytes, .. } = desks[desk];
        if retired && calling == 0 && message_bytes == 0 {
            desks.remove(desk);
        }
    }

    /// Takes the weight of a message that is answered, or forgotten, from its handler's desk.
    pub(super) fn lighten(desks: &mut Slab<Desk>, message: &InFlight) {
        if let Some((desk, weight)) = message.weighs_on {
            desks[desk].message_bytes -= weight;
            Desk::retire(desks, desk);
        }
    }

    pub(super) fn may_call(&self, now: Instant) -> bool {
        mutation!(CallWhileOpen => return self.calling < self.concurrency);
        self.calling < self.concurrency
            && self.message_bytes < HANDLER_MESSAGE_BYTES
            && self.breaker.as_ref().is_none_or(|breaker| breaker.admits(now))
    }

    /// A call's partition is gone: its outcome will be void.
    pub(super) fn given_up(&mut self, probe: bool) {
        mutation!(RevokeKeepsCalls => return);
        self.calling -= 1;
        if let Some(breaker) = self.breaker.as_mut().filter(|_| probe && !mutation!(ProbeNotGivenUp)) {
            breaker.abandoned();
        }
    }
}

impl Core {
    /// Takes note of a call that begins. True: it is a probe.
    pub(super) fn call_begins(&mut self, id: RunId, desk: usize) -> bool {
        let Some(breaker) = &mut self.desks[desk].breaker else { return false };
        let (probe, change) = breaker.begin();
        if probe && let Some(partition) = self.partition(id.slot) {
            partition.entries[id.entry as usize].runs[id.run as usize].stage = Stage::Calling { probe };
        }
        if let Some(change) = change {
            self.circuit_changed(id, change, None);
        }
        probe
    }

    /// Takes note of how a call ended. The answer is `Some` where its failure is not to be counted as
    /// an attempt of the record, with the time until the next probe. Of a handler that was replaced
    /// meanwhile nothing is learnt: its circuit is gone, and the attempt counts like any other.
    pub(super) fn call_ended(&mut self, id: RunId, desk: usize, probe: bool, outcome: &Outcome) -> Option<Duration> {
        if self.desks[desk].retired {
            return None;
        }
        let now = self.now.instant;
        let run = self.partition(id.slot).map(|p| &p.entries[id.entry as usize].runs[id.run as usize]);
        // A record that has failed before fails again whatever the handler does for others,
        // unless the handler says that the fault is not the record's.
        let is_suspect = run.is_some_and(|run| run.failures > 0 || run.probed);
        let breaker = self.desks[desk].breaker.as_mut()?;
        let failed = match outcome {
            Outcome::Handled(_) => None,
            Outcome::Failed(Failure { class, .. }) if !counts(*class) => None,
            Outcome::Failed(Failure { class, .. }) if *class == FailureClass::Dependency || !is_suspect => Some(*class),
            // None of these says anything about the handler.
            Outcome::Failed(_) | Outcome::Busy | Outcome::Fenced => {
                if probe {
                    breaker.abandoned();
                    mutation!(ProbeNeverCounts => return matches!(outcome, Outcome::Failed(_)).then_some(Duration::ZERO));
                }
                return None;
            }
        };
        let change = breaker.ended(probe, failed.is_some(), now)?;
        self.circuit_changed(id, change, failed);
        let Change::Opened { length, .. } = change else { return None };
        mutation!(ProbeCounts => return None);
        if probe && let Some(partition) = self.partition(id.slot) {
            partition.entries[id.entry as usize].runs[id.run as usize].probed = true;
        }
        probe.then_some(length)
    }

    /// The record waits at the desk again, behind all others, with as many attempts as before.
    pub(super) fn probed(&mut self, id: RunId, failure: Failure, delay: Duration) {
        let Failure { class, reason, .. } = failure;
        self.observe(id, What::Probed { class, reason: reason.into_owned(), delay });
        self.queue(id);
    }

    /// When a record that waits may probe. A time that has passed is none: that
    /// record waits for something else, such as room for messages.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        let waiting = self.desks.iter().filter(|(_, desk)| !desk.ready.is_empty());
        let due = waiting.filter_map(|(_, desk)| desk.breaker.as_ref()?.opens_up());
        due.filter(|due| *due > self.now.instant).min()
    }

    fn circuit_changed(&mut self, id: RunId, change: Change, class: Option<FailureClass>) {
        let Some(handler) = self.run(id).and_then(|run| run.generation.plan.handler(run.route)) else { return };
        let handler = handler.name.clone();
        self.observe(id, What::Circuit { handler, change, class });
    }
}
