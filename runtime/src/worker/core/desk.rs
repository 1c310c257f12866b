//! A handler's desk: what waits for the handler on this worker, how much of it is under
//! way, and whether its next call may begin.

use std::collections::VecDeque;
use std::time::Instant;

use slab::Slab;

use super::messages::{HANDLERS_PART, InFlight};
use super::{Core, Now};
use crate::dispatch::breaker::Breaker;
use crate::worker::effect::RunId;
use crate::worker::mutation::mutation;
use crate::worker::plan::PlannedHandler;

/// A handler's queue within this worker. A handler keeps its desk from generation to
/// generation as long as it stays what it is.
pub(super) struct Desk {
    pub(super) ready: VecDeque<RunId>,
    pub(super) calling: usize,
    /// It has used up its share of this round: its next call begins in another one.
    pub(super) rests: bool,
    /// It had used up its share of the round before.
    rested: bool,
    /// Calls that began in this round, and in the one before.
    begun: [usize; 2],
    /// Weight of its messages without an answer.
    pub(super) message_bytes: usize,
    /// How many of them no call may add to.
    pub(super) message_room: usize,
    /// Calls that may be under way.
    concurrency: usize,
    /// `None`: its calls are never held.
    pub(super) breaker: Option<Breaker>,
    /// No handler of the current generation is called here: it goes with its last call.
    pub(super) retired: bool,
}

impl Desk {
    /// The desk of one of so many handlers; `message_room` is that of the worker.
    pub(super) fn new(handler: &PlannedHandler, message_room: usize, handlers: usize, now: Now) -> Desk {
        let breaker = handler.circuit.map(|circuit| Breaker::new(circuit, now.instant));
        Desk {
            ready: VecDeque::new(),
            calling: 0,
            concurrency: handler.concurrency,
            rests: false,
            rested: false,
            begun: [0; 2],
            message_bytes: 0,
            message_room: Desk::part(message_room, handlers),
            breaker,
            retired: false,
        }
    }

    /// What one of so many handlers may have, so that all the others leave it that much.
    pub(super) fn part(message_room: usize, handlers: usize) -> usize {
        message_room / HANDLERS_PART.max(handlers + 1)
    }

    /// Runs that wait for nothing but their turn, which comes within a few rounds.
    pub(super) fn callable(&self) -> usize {
        let is_closed = self.breaker.as_ref().is_none_or(Breaker::is_closed);
        if self.has_room() && is_closed && !self.is_slow() { self.ready.len() } else { 0 }
    }

    /// It uses up its share of the rounds, and what waits for it takes more than a few of
    /// them. (Quick calls use up a share too while there is much to do.)
    fn is_slow(&self) -> bool {
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
        self.has_room() && self.breaker.as_ref().is_none_or(|breaker| breaker.admits(now))
    }

    fn has_room(&self) -> bool {
        self.calling < self.concurrency && self.message_bytes < self.message_room
    }

    /// What it has of messages beyond what it may have when a call begins.
    pub(super) fn over_its_room(&self) -> usize {
        self.message_bytes.saturating_sub(self.message_room)
    }

    pub(super) fn call_begins(&mut self) {
        self.calling += 1;
        self.begun[0] += 1;
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
    /// Begins a round, in which every handler has the same share of the worker's time.
    pub fn begin_round(&mut self) {
        for (_, desk) in &mut self.desks {
            desk.rested = std::mem::take(&mut desk.rests);
            desk.begun = [0, desk.begun[0]];
        }
    }

    /// Begins no more calls at a desk in this round: its handler has used up its share.
    pub fn rest(&mut self, desk: usize) {
        // It may have gone with its last call.
        if let Some(desk) = self.desks.get_mut(desk) {
            desk.rests = true;
        }
    }
}
