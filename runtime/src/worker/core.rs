//! The worker's core: takes records, outcomes, acknowledgements and time, and
//! says what is to be done. Everything that decides the way of a record inside a
//! worker is here; it does no I/O, reads no clock and holds no channel.
//!
//! A record's way through it: [`Core::deliver`] decodes, routes and queues it in
//! its lanes; [`Core::next`] hands out its call; [`Core::called`] takes the
//! outcome; [`Core::acknowledged`] what became of its outputs or its dead letter;
//! and `settle` counts it as settled, the one exit. What becomes of outcomes is in
//! `core/settle.rs`, messages on their way are in `core/messages.rs`, what waits for a
//! handler in `core/desk.rs`, calls that are held while it fails in `core/circuit.rs`.
//! Partitions come and go in `core/partitions.rs`, what is to be committed for them is in
//! `core/map.rs`, and what a new generation of manifest and modules means for what is
//! there in `core/switch.rs`.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use slab::Slab;
use smallvec::SmallVec;

use super::effect::{CallOrder, Effect, Place, RunId, Slot, Token};
use super::partition::{Body, Entry, Partition, Run, Stage};
use super::plan::Plan;
use crate::commit::offsets::NotAscending;
use crate::dispatch::lanes::Claim;
use crate::dispatch::retry_queue::RetryQueue;
use crate::envelope::Envelope;
use crate::manifest::Ordering;
use crate::outcome::{Failure, FailureClass, Outcome};
use crate::record::Record;
use crate::worker::mutation::mutation;

/// How long a worker waits before it tries again what failed for a reason of the host or the broker.
const HOST_RETRY: Duration = Duration::from_millis(10);

/// Runs that wait for nothing but their turn, above which no more records are decoded:
/// those that are called soon after are still in the processor's cache.
const CALLS_AHEAD: usize = 64;

mod circuit;
mod desk;
mod map;
mod messages;
mod partitions;
mod settle;
mod switch;

pub use switch::Generation;

use desk::Desk;
use messages::InFlight;
pub use messages::MESSAGE_BYTES;

/// The time, handed in.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For what is due.
    pub instant: Instant,
    /// For what people read.
    pub wall: SystemTime,
}

/// One worker's state.
pub struct Core {
    /// The current one.
    generation: Rc<Generation>,
    group: Arc<str>,
    now: Now,
    partitions: Vec<Option<Partition>>,
    /// By the places that each generation knows them by.
    desks: Slab<Desk>,
    /// The handler of the current generation whose desk is asked first, so that a busy handler does not hold the others up.
    turn: usize,
    /// Runs whose turn has come and whose route is gone: they end as `unmatched` says.
    stranded: VecDeque<RunId>,
    parked: RetryQueue<Parked>,
    messages: Slab<InFlight>,
    /// What they count in all: see [`InFlight`].
    message_bytes: usize,
    /// How much of that no call may add to.
    message_room: usize,
    next_tag: u32,
    effects: VecDeque<Effect>,
    hasher: RandomState,
    random: fastrand::Rng,
    /// Whether each success is worth an [`Effect::Observe`]; failures always are.
    observing: bool,
    /// Per channel: messages that could not be written and are tried again, and why.
    stuck: [(usize, String); 2],
    scratch_routes: Vec<usize>,
    wake_reader: bool,
}

/// What waits for a time.
enum Parked {
    Attempt(RunId),
    Publish(Token),
}

impl Core {
    /// A worker without partitions. It begins no call while `message_room` bytes of its
    /// messages are without an answer: its part of [`MESSAGE_BYTES`].
    pub fn new(plan: Arc<Plan>, group: Arc<str>, observing: bool, message_room: usize, seed: u64, now: Now) -> Core {
        let mut desks = Slab::new();
        let handlers = plan.handlers.len();
        let desk = |handler| Desk::new(handler, message_room, handlers, now);
        let places = plan.handlers.iter().map(|handler| desks.insert(desk(handler))).collect();
        Core {
            generation: Rc::new(Generation { plan, desks: places }),
            group,
            now,
            partitions: Vec::new(),
            desks,
            turn: 0,
            stranded: VecDeque::new(),
            parked: RetryQueue::new(),
            messages: Slab::new(),
            message_bytes: 0,
            message_room,
            next_tag: 0,
            effects: VecDeque::new(),
            hasher: RandomState::new(),
            random: fastrand::Rng::with_seed(seed),
            observing,
            stuck: Default::default(),
            scratch_routes: Vec::new(),
            wake_reader: false,
        }
    }

    // ---- records come in ----

    /// Whether records are to be delivered: there is not enough to do for a while. What was
    /// said of earlier ones is done first, as records that are dropped leave nothing else.
    /// A handler with all its calls under way does not count, nor one whose calls are
    /// held, nor one that needs more than a few rounds for what waits for it: that
    /// must not hold the other handlers' records up.
    pub fn is_short_of_calls(&self) -> bool {
        let callable = self.desks.iter().map(|(_, desk)| desk.callable());
        self.effects.len() + self.stranded.len() + callable.sum::<usize>() < CALLS_AHEAD
    }

    /// Takes one record: decode, route, dispatch.
    ///
    /// # Errors
    /// If the record's offset is not above the last one's: the partition has to be assigned anew.
    pub fn deliver(&mut self, slot: Slot, record: Record) -> Result<(), NotAscending> {
        let Some(partition) = self.partition(slot) else { return Ok(()) };
        let wake = partition.account.look_at();
        let seq = partition.offsets.deliver(record.offset()).inspect_err(|_| partition.account.go_astray())?;
        let known = partition.known.is_some();
        partition.account.set_span(partition.offsets.span());
        self.wake_reader |= wake;
        if known && self.passes_over(slot, seq, &record) {
            return Ok(());
        }
        let (body, failure) = match Envelope::decode(record) {
            Ok(envelope) => (Body::Event(Rc::new(envelope)), None),
            Err(refused) => {
                let (record, why) = *refused;
                let failure =
                    Failure { class: FailureClass::Undecodable, reason: why.to_string().into(), retry_after: None };
                (Body::Raw(Rc::new(record)), Some(failure))
            }
        };
        let mut routes = std::mem::take(&mut self.scratch_routes);
        routes.clear();
        if let Some(envelope) = body.event() {
            self.generation.plan.router.matching(envelope, &mut routes);
        }
        let claim = self.claim(&routes, body.record());
        let generation = &self.generation;
        let runs: SmallVec<[Run; 1]> = if routes.is_empty() {
            let failure = failure.unwrap_or(Failure {
                class: FailureClass::Unrouted,
                reason: "no route takes this event".into(),
                retry_after: None,
            });
            [Run::refused(generation.clone(), failure)].into()
        } else {
            routes.iter().map(|&route| Run::new(generation.clone(), route)).collect()
        };
        self.scratch_routes = routes;

        let Some(partition) = self.partition(slot) else { return Ok(()) };
        let open = runs.len();
        let id = partition.entries.insert(Entry { seq, body, runs, open }) as u32;
        let begins = partition.lanes.enter(id, claim);
        if known {
            self.recall_attempts(slot, id);
        }
        if begins {
            self.begin(slot, id);
        }
        Ok(())
    }

    /// The lanes that a record holds: the strictest ordering among its routes
    /// applies. A record that no route takes follows those of its key, so that
    /// dead letters keep their order too.
    fn claim(&self, routes: &[usize], record: &Record) -> Claim {
        let ordering = routes.iter().map(|&route| self.generation.plan.manifest.routes[route].ordering).max();
        let ordered = ordering.is_none_or(|ordering| ordering >= Ordering::Key);
        Claim {
            // Two keys with one hash share a lane: they wait for each other, and nothing worse.
            key: record.key().filter(|_| ordered && !mutation!(KeyForgotten)).map(|key| self.hasher.hash_one(key)),
            partition: ordering == Some(Ordering::Partition) && !mutation!(PartitionOrderForgotten),
        }
    }

    fn begin(&mut self, slot: Slot, entry: u32) {
        let Some(partition) = self.partitions[slot.index as usize].as_mut() else { return };
        let runs = &mut partition.entries[entry as usize].runs;
        if let Stage::Refused(failure) = std::mem::replace(&mut runs[0].stage, Stage::Waiting) {
            return self.unhandled(RunId { slot, entry, run: 0 }, *failure);
        }
        for run in 0..runs.len() as u32 {
            self.queue(RunId { slot, entry, run });
        }
    }

    // ---- calls go out, outcomes come in ----

    /// The next thing to do. `may_call` is false while the shell cannot take more
    /// calls: then only what must go on does.
    pub fn next(&mut self, may_call: bool) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if !may_call || self.is_full_of_messages() {
            return None;
        }
        if let Some(effect) = self.end_stranded() {
            return Some(effect);
        }
        let handlers = self.generation.desks.len();
        for step in 0..handlers {
            let handler = (self.turn + step) % handlers;
            let desk = self.generation.desks[handler];
            while !self.desks[desk].rests && self.desks[desk].may_call(self.now.instant) {
                let Some(id) = self.desks[desk].ready.pop_front() else { break };
                let Some(partition) = self.partition(id.slot) else { continue };
                // What waits when a partition drains is forgotten with it.
                if partition.draining && !mutation!(CallWhileDraining) {
                    continue;
                }
                let entry = &mut partition.entries[id.entry as usize];
                let run = &mut entry.runs[id.run as usize];
                let Some(envelope) = entry.body.event().cloned() else { continue };
                run.stage = Stage::Calling { probe: false };
                partition.active += 1;
                let mut order = CallOrder {
                    run: id,
                    handler,
                    desk,
                    route: run.route,
                    envelope,
                    account: partition.account.clone(),
                    attempt: run.failures + 1,
                    probe: false,
                };
                self.desks[desk].call_begins();
                self.turn = handler + 1;
                order.probe = self.call_begins(id, desk);
                return Some(Effect::Call(order));
            }
        }
        None
    }

    /// Whether messages without an answer leave no room for another call's. A handler whose
    /// calls end together may have more than its part: the others do not wait for that.
    fn is_full_of_messages(&self) -> bool {
        self.message_bytes >= self.message_room && {
            let desks = self.generation.desks.iter().map(|&desk| &self.desks[desk]);
            let over: usize = desks.map(Desk::over_its_room).sum();
            self.message_bytes.saturating_sub(over) >= self.message_room
        }
    }

    /// Takes the outcome of a call. An outcome for a partition that is gone is void.
    pub fn called(&mut self, id: RunId, outcome: Outcome, duration: Duration) {
        let Some(partition) = self.partition(id.slot) else { return };
        let run = &mut partition.entries[id.entry as usize].runs[id.run as usize];
        let probe = matches!(std::mem::replace(&mut run.stage, Stage::Waiting), Stage::Calling { probe: true });
        let desk = run.generation.desk_of(run.route);
        partition.active -= 1;
        self.desks[desk].calling -= 1;
        let length = self.call_ended(id, desk, probe, &outcome);
        Desk::retire(&mut self.desks, desk);
        match outcome {
            Outcome::Handled(outputs) if outputs.is_empty() => self.handled(id, 0, duration),
            Outcome::Handled(outputs) => self.publish_outputs(id, outputs, duration),
            Outcome::Failed(failure) => match length {
                Some(length) => self.probed(id, failure, length),
                None => self.failed(id, failure, duration),
            },
            Outcome::Busy => {
                if let Some(run) = self.run(id) {
                    run.stage = Stage::Parked;
                }
                self.catch_up(id);
                self.parked.push(self.now.instant + HOST_RETRY, Parked::Attempt(id));
            }
            // The partition is being taken away; it is released next.
            Outcome::Fenced => {}
        }
        self.check_drained(id.slot);
    }

    // ---- time ----

    /// Moves the time forward and takes up what is due.
    pub fn advance(&mut self, now: Now) {
        self.now = now;
        while let Some(parked) = self.parked.pop_due(now.instant) {
            match parked {
                Parked::Attempt(id) => {
                    let Some(partition) = self.partition(id.slot) else { continue };
                    partition.entries[id.entry as usize].runs[id.run as usize].stage = Stage::Waiting;
                    self.queue(id);
                }
                Parked::Publish(token) => {
                    if self.in_flight(token).is_some() {
                        let in_flight = &mut self.messages[token.key as usize];
                        in_flight.waiting = false;
                        let channel = in_flight.channel;
                        self.effects.push_back(Effect::Publish(token, channel));
                    }
                }
            }
        }
    }

    /// When [`Core::advance`], or after it [`Core::next`], has something to do next.
    pub fn next_due(&self) -> Option<Instant> {
        self.parked.next_due().into_iter().chain(self.next_probe()).min()
    }

    // ---- what others want to know ----

    /// Whether the polling thread waits for room that has come free since the last call.
    pub fn take_wake_reader(&mut self) -> bool {
        std::mem::take(&mut self.wake_reader)
    }

    /// Whether [`Core::next`] has something to hand out besides calls.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Where the attempt of a run is made that is under way.
    pub fn place(&mut self, id: RunId) -> Option<Place> {
        let run = &self.partition(id.slot)?.entries.get(id.entry as usize)?.runs[id.run as usize];
        Some(Place { generation: run.generation.clone(), route: run.route })
    }

    /// Attempts and messages that wait for a time.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }
}

#[cfg(test)]
pub(super) mod tests;
