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

use std::time::{Duration, Instant};

use super::super::effect::RunId;
use super::Core;
use crate::dispatch::breaker::{Change, counts};
use crate::observe::What;
use crate::outcome::{Failure, FailureClass, Outcome};
use crate::worker::mutation::mutation;
use crate::worker::partition::Stage;

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
