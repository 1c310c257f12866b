//! The worker's core: takes records, outcomes, acknowledgements and time, and
//! says what is to be done. Everything that decides the way of a record inside a
//! worker is here; it does no I/O, reads no clock and holds no channel.
//!
//! A record's way through it: [`Core::deliver`] decodes, routes and queues it in
//! its lanes; [`Core::next`] hands out its call; [`Core::called`] takes the
//! outcome; [`Core::acknowledged`] what became of its outputs or its dead letter;
//! and `settle` counts it as settled, the one exit.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use slab::Slab;
use smallvec::SmallVec;

use super::account::Account;
use super::effect::{Ack, CallOrder, Channel, Effect, RunId, Slot, Token};
use super::partition::{Body, Entry, NO_ROUTE, Partition, Publishing, Run, Stage};
use super::plan::Plan;
use crate::commit::offsets::NotAscending;
use crate::dispatch::lanes::Claim;
use crate::dispatch::retry_queue::RetryQueue;
use crate::envelope::Envelope;
use crate::manifest::{DeadLetter, Ordering, Unhandled};
use crate::observe::{Observation, What};
use crate::outcome::{Failure, FailureClass, Outcome, Output};
use crate::record::Record;
use crate::settle::dead_letter::{self, Attempts, Origin};
use crate::settle::output::{self, Input};
use crate::settle::{Decision, Message, decide};

/// How long a worker waits before it tries again what failed for a reason of the host or the broker.
const HOST_RETRY: Duration = Duration::from_millis(10);
const PUBLISH_RETRY: Duration = Duration::from_millis(500);
const PUBLISH_RETRY_MAX: Duration = Duration::from_secs(30);

/// Bytes of messages without an answer above which no call begins. The bounds on
/// records do not bound their outputs, which pile up while a broker does not answer.
const MESSAGE_BYTES: usize = 64 << 20;

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
    plan: Arc<Plan>,
    group: Arc<str>,
    now: Now,
    partitions: Vec<Option<Partition>>,
    desks: Vec<Desk>,
    /// The desk that is asked first, so that a busy handler does not hold the others up.
    turn: usize,
    parked: RetryQueue<Parked>,
    messages: Slab<InFlight>,
    /// Bytes of these messages.
    message_bytes: usize,
    next_tag: u32,
    effects: VecDeque<Effect>,
    hasher: RandomState,
    random: fastrand::Rng,
    /// Whether each success is worth an [`Effect::Observe`]; failures always are.
    observing: bool,
    /// Per channel: messages that could not be written and are tried again, and why.
    stuck: [(usize, String); 2],
    scratch_routes: Vec<usize>,
    scratch_ready: Vec<u32>,
    wake_reader: bool,
}

/// A handler's queue within this worker.
#[derive(Default)]
struct Desk {
    ready: VecDeque<RunId>,
    calling: usize,
}

/// What waits for a time.
enum Parked {
    Attempt(RunId),
    Publish(Token),
}

/// A message that was handed out and not answered, or waits to be handed out again.
struct InFlight {
    tag: u32,
    run: RunId,
    message: Rc<Message>,
    channel: Channel,
    /// How often its answer was "unknown" or, for a dead letter, anything but "written".
    troubles: u32,
    omit_large_value: bool,
    /// It waits to be handed out again.
    waiting: bool,
}

impl Core {
    /// A worker without partitions.
    pub fn new(plan: Arc<Plan>, group: Arc<str>, observing: bool, seed: u64, now: Now) -> Core {
        let desks = plan.handlers.iter().map(|_| Desk::default()).collect();
        Core {
            plan,
            group,
            now,
            partitions: Vec::new(),
            desks,
            turn: 0,
            parked: RetryQueue::new(),
            messages: Slab::new(),
            message_bytes: 0,
            next_tag: 0,
            effects: VecDeque::new(),
            hasher: RandomState::new(),
            random: fastrand::Rng::with_seed(seed),
            observing,
            stuck: Default::default(),
            scratch_routes: Vec::new(),
            scratch_ready: Vec::new(),
            wake_reader: false,
        }
    }

    // ---- partitions come and go ----

    /// Takes a partition that was assigned. The slot's place must be free: the
    /// polling thread hands places out and gets them back with the positions.
    pub fn assign(&mut self, slot: Slot, account: Arc<Account>) {
        let index = slot.index as usize;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        self.remove(slot.index);
        self.partitions[index] = Some(Partition::new(slot.epoch, account));
    }

    /// Begins no new attempt for the partition and forgets what only waits;
    /// [`Effect::Drained`] follows once nothing is under way.
    pub fn drain(&mut self, slot: Slot) {
        let Some(partition) = self.partition(slot) else { return };
        partition.draining = true;
        // A message that waits to be published again would hold the drain up for nothing.
        let waiting: Vec<usize> =
            self.messages.iter().filter(|(_, m)| m.run.slot == slot && m.waiting).map(|(k, _)| k).collect();
        for key in waiting {
            self.forget_message(key);
        }
        self.check_drained(slot);
    }

    fn forget_message(&mut self, key: usize) {
        let message = self.messages.remove(key);
        self.message_bytes -= message.message.size();
        if message.troubles > 0 {
            self.troubled(message.channel, -1);
        }
        if let Some(partition) = self.partition(message.run.slot) {
            partition.active -= 1;
        }
    }

    fn troubled(&mut self, channel: Channel, by: isize) {
        let count = &mut self.stuck[channel as usize].0;
        *count = count.saturating_add_signed(by);
    }

    /// Lets the partition go, whatever is under way, and returns the position to
    /// commit and the number of records from there on that were delivered. Answers that come later are void.
    pub fn release(&mut self, slot: Slot) -> Option<(i64, usize)> {
        let offsets = &self.partition(slot)?.offsets;
        let released = (offsets.committable(), offsets.span());
        self.remove(slot.index);
        Some(released)
    }

    fn remove(&mut self, index: u32) {
        let Some(partition) = self.partitions.get_mut(index as usize).and_then(Option::take) else { return };
        partition.account.fence.store(true, std::sync::atomic::Ordering::Release);
        for (_, entry) in &partition.entries {
            for run in &entry.runs {
                if matches!(run.stage, Stage::Calling) {
                    self.desks[self.plan.handler_of[run.route]].calling -= 1;
                }
            }
        }
        let gone = |run: &RunId| run.slot.index == index;
        for desk in &mut self.desks {
            desk.ready.retain(|run| !gone(run));
        }
        let (stuck, message_bytes) = (&mut self.stuck, &mut self.message_bytes);
        self.messages.retain(|_, message| {
            if gone(&message.run) {
                *message_bytes -= message.message.size();
                stuck[message.channel as usize].0 -= usize::from(message.troubles > 0);
            }
            !gone(&message.run)
        });
        let messages = &self.messages;
        self.parked.retain(|parked| match parked {
            Parked::Attempt(run) => !gone(run),
            Parked::Publish(token) => messages.get(token.key as usize).is_some_and(|m| m.tag == token.tag),
        });
    }

    // ---- records come in ----

    /// Takes one record: decode, route, dispatch.
    ///
    /// # Errors
    /// If the record's offset is not above the last one's: the partition has to be assigned anew.
    pub fn deliver(&mut self, slot: Slot, record: Record) -> Result<(), NotAscending> {
        let Some(partition) = self.partition(slot) else { return Ok(()) };
        let seq = partition.offsets.deliver(record.offset()).inspect_err(|_| partition.account.go_astray())?;
        let (body, failure) = match Envelope::decode(record) {
            Ok(envelope) => (Body::Event(Rc::new(envelope)), None),
            Err((record, why)) => {
                let failure =
                    Failure { class: FailureClass::Undecodable, reason: why.to_string().into(), retry_after: None };
                (Body::Raw(Rc::new(record)), Some(failure))
            }
        };
        let mut routes = std::mem::take(&mut self.scratch_routes);
        routes.clear();
        if let Some(envelope) = body.event() {
            self.plan.router.matching(envelope, &mut routes);
        }
        let taken = !routes.is_empty();
        let claim = if taken { self.claim(&routes, body.record()) } else { Claim { key: None, partition: false } };
        let runs: SmallVec<[Run; 1]> =
            if taken { routes.iter().map(|&route| Run::new(route)).collect() } else { [Run::new(NO_ROUTE)].into() };
        self.scratch_routes = routes;

        let Some(partition) = self.partition(slot) else { return Ok(()) };
        let open = runs.len();
        let id = partition.entries.insert(Entry { seq, body, runs, open }) as u32;
        let begins = partition.lanes.enter(id, claim);
        if !taken {
            let failure = failure.unwrap_or(Failure {
                class: FailureClass::Unrouted,
                reason: "no route takes this event".into(),
                retry_after: None,
            });
            self.unhandled(RunId { slot, entry: id, run: 0 }, failure);
        } else if begins {
            self.begin(slot, id);
        }
        Ok(())
    }

    /// The lanes that a record holds: the strictest ordering among its routes applies.
    fn claim(&self, routes: &[usize], record: &Record) -> Claim {
        let ordering = routes.iter().map(|&route| self.plan.manifest.routes[route].ordering).max();
        let ordered = ordering.is_some_and(|ordering| ordering >= Ordering::Key);
        Claim {
            // Two keys with one hash share a lane: they wait for each other, and nothing worse.
            key: record.key().filter(|_| ordered).map(|key| self.hasher.hash_one(key)),
            partition: ordering == Some(Ordering::Partition),
        }
    }

    fn begin(&mut self, slot: Slot, entry: u32) {
        let Some(partition) = self.partitions[slot.index as usize].as_ref() else { return };
        for (run, state) in partition.entries[entry as usize].runs.iter().enumerate() {
            let id = RunId { slot, entry, run: run as u32 };
            self.desks[self.plan.handler_of[state.route]].ready.push_back(id);
        }
    }

    fn unhandled(&mut self, id: RunId, failure: Failure) {
        let policy = match failure.class {
            FailureClass::Undecodable => &self.plan.manifest.undecodable,
            _ => &self.plan.manifest.unmatched,
        };
        match policy.clone() {
            Unhandled::DeadLetter(to) => self.dead_letter(id, failure, &to),
            Unhandled::Drop => self.drop_record(id, failure),
        }
    }

    // ---- calls go out, outcomes come in ----

    /// The next thing to do. `may_call` is false while the shell cannot take more
    /// calls: then only what must go on does.
    pub fn next(&mut self, may_call: bool) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        if !may_call || self.message_bytes >= MESSAGE_BYTES {
            return None;
        }
        for step in 0..self.desks.len() {
            let handler = (self.turn + step) % self.desks.len();
            while self.desks[handler].calling < self.plan.handlers[handler].concurrency {
                let Some(id) = self.desks[handler].ready.pop_front() else { break };
                let Some(partition) = self.partition(id.slot) else { continue };
                // What waits when a partition drains is forgotten with it.
                if partition.draining {
                    continue;
                }
                let entry = &mut partition.entries[id.entry as usize];
                let run = &mut entry.runs[id.run as usize];
                let Some(envelope) = entry.body.event().cloned() else { continue };
                run.stage = Stage::Calling;
                partition.active += 1;
                let order = CallOrder {
                    run: id,
                    handler,
                    route: run.route,
                    envelope,
                    account: partition.account.clone(),
                    attempt: run.failures + 1,
                };
                self.desks[handler].calling += 1;
                self.turn = handler + 1;
                return Some(Effect::Call(order));
            }
        }
        None
    }

    /// Takes the outcome of a call. An outcome for a partition that is gone is void.
    pub fn called(&mut self, id: RunId, outcome: Outcome, duration: Duration) {
        let Some(partition) = self.partition(id.slot) else { return };
        let run = &mut partition.entries[id.entry as usize].runs[id.run as usize];
        run.stage = Stage::Waiting;
        let route = run.route;
        partition.active -= 1;
        self.desks[self.plan.handler_of[route]].calling -= 1;
        match outcome {
            Outcome::Handled(outputs) if outputs.is_empty() => self.handled(id, 0, duration),
            Outcome::Handled(outputs) => self.publish_outputs(id, route, outputs, duration),
            Outcome::Failed(failure) => self.failed(id, failure, duration),
            Outcome::Busy => self.parked.push(self.now.instant + HOST_RETRY, Parked::Attempt(id)),
            // The partition is being taken away; it is released next.
            Outcome::Fenced => {}
        }
        self.check_drained(id.slot);
    }

    fn publish_outputs(&mut self, id: RunId, route: usize, outputs: Vec<Output>, duration: Duration) {
        let plan = self.plan.clone();
        let Some(partition) = self.partition(id.slot) else { return };
        let entry = &mut partition.entries[id.entry as usize];
        let input = Input {
            topic: &partition.account.topic,
            partition: partition.account.partition,
            record: entry.body.record(),
        };
        let spec = &plan.manifest.routes[route];
        let topics = &plan.handlers[plan.handler_of[route]].topics;
        let messages: Result<SmallVec<[Message; 1]>, Failure> = outputs
            .into_iter()
            .enumerate()
            .map(|(index, output)| output::encode(output, spec, topics, &input, index))
            .collect();
        match messages {
            // Nothing is published for an attempt that failed: all are encoded before the first goes out.
            Err(failure) => self.failed(id, failure, duration),
            Ok(messages) => {
                let outputs = messages.len();
                let publishing = Publishing { left: outputs, outputs, duration, failure: None };
                entry.runs[id.run as usize].stage = Stage::Publishing(Box::new(publishing));
                partition.active += outputs;
                for message in messages {
                    self.hand_out(id, message, Channel::Outputs, false);
                }
            }
        }
    }

    fn hand_out(&mut self, run: RunId, message: Message, channel: Channel, omit_large_value: bool) {
        self.next_tag = Token::next_tag(self.next_tag);
        let tag = self.next_tag;
        self.message_bytes += message.size();
        let message = Rc::new(message);
        let key = self.messages.insert(InFlight {
            tag,
            run,
            message,
            channel,
            troubles: 0,
            omit_large_value,
            waiting: false,
        }) as u32;
        self.effects.push_back(Effect::Publish(Token { key, tag }, channel));
    }

    /// The message of a token that is in flight, to be handed to its producer.
    /// None once the partition is fenced: nothing more is published for it.
    pub fn message(&self, token: Token) -> Option<Rc<Message>> {
        let in_flight = self.in_flight(token)?;
        let partition = self.partitions.get(in_flight.run.slot.index as usize)?.as_ref()?;
        let fenced = partition.account.fence.load(std::sync::atomic::Ordering::Acquire);
        (!fenced).then(|| in_flight.message.clone())
    }

    fn in_flight(&self, token: Token) -> Option<&InFlight> {
        self.messages.get(token.key as usize).filter(|in_flight| in_flight.tag == token.tag)
    }

    /// Takes what became of a message. An answer for a partition that is gone is void.
    pub fn acknowledged(&mut self, token: Token, ack: Ack) {
        if self.in_flight(token).is_none() {
            return;
        }
        let in_flight = &mut self.messages[token.key as usize];
        match (in_flight.channel, ack) {
            (_, Ack::Written) => {
                let done = self.take_message(token);
                self.written(done);
            }
            // Published again without an end: the record waits with it, its position does not pass it.
            (Channel::Outputs, Ack::Unknown(reason)) => self.publish_again(token, reason),
            (Channel::Outputs, Ack::TooLarge(reason) | Ack::Refused(reason)) => {
                let done = self.take_message(token);
                let topic = &done.message.topic;
                self.output_done(
                    done.run,
                    Some(format!("the output for topic {topic} could not be published: {reason}")),
                );
            }
            (Channel::DeadLetters, Ack::TooLarge(_))
                if in_flight.omit_large_value && in_flight.message.value.is_some() =>
            {
                let whole = in_flight.message.size();
                let message = Message::clone(&in_flight.message);
                in_flight.message = Rc::new(dead_letter::without_value(message));
                self.message_bytes = self.message_bytes - whole + in_flight.message.size();
                self.effects.push_back(Effect::Publish(token, Channel::DeadLetters));
            }
            // A dead letter is never given up: it waits and is tried again, without
            // an end, and readiness says so meanwhile.
            (Channel::DeadLetters, Ack::Unknown(reason) | Ack::TooLarge(reason) | Ack::Refused(reason)) => {
                self.publish_again(token, reason);
            }
        }
    }

    fn take_message(&mut self, token: Token) -> InFlight {
        let done = self.messages.remove(token.key as usize);
        self.message_bytes -= done.message.size();
        if done.troubles > 0 {
            self.troubled(done.channel, -1);
        }
        done
    }

    fn publish_again(&mut self, token: Token, reason: String) {
        let in_flight = &mut self.messages[token.key as usize];
        in_flight.troubles += 1;
        in_flight.waiting = true;
        let (slot, channel, troubles) = (in_flight.run.slot, in_flight.channel, in_flight.troubles);
        self.stuck[channel as usize].1 = format!("cannot write to {}: {reason}", in_flight.message.topic);
        if troubles == 1 {
            self.troubled(channel, 1);
        }
        if self.partition(slot).is_some_and(|partition| partition.draining) {
            self.forget_message(token.key as usize);
            return self.check_drained(slot);
        }
        let delay = PUBLISH_RETRY * (1 << (troubles - 1).min(6));
        self.parked.push(self.now.instant + delay.min(PUBLISH_RETRY_MAX), Parked::Publish(token));
    }

    fn written(&mut self, done: InFlight) {
        match done.channel {
            Channel::Outputs => self.output_done(done.run, None),
            Channel::DeadLetters => {
                let Some(partition) = self.partition(done.run.slot) else { return };
                partition.active -= 1;
                let run = &mut partition.entries[done.run.entry as usize].runs[done.run.run as usize];
                if let Stage::DeadLettering(failure) = std::mem::replace(&mut run.stage, Stage::Waiting) {
                    let what = What::DeadLettered {
                        class: failure.class,
                        reason: failure.reason.into_owned(),
                        topic: done.message.topic.to_string(),
                    };
                    self.observe(done.run, what);
                }
                self.settle(done.run);
                // The record may have other runs that only wait.
                self.check_drained(done.run.slot);
            }
        }
    }

    fn output_done(&mut self, id: RunId, refused: Option<String>) {
        let Some(partition) = self.partition(id.slot) else { return };
        partition.active -= 1;
        let run = &mut partition.entries[id.entry as usize].runs[id.run as usize];
        let Stage::Publishing(publishing) = &mut run.stage else { return };
        publishing.left -= 1;
        if let Some(reason) = refused {
            publishing.failure.get_or_insert(Failure {
                class: FailureClass::Output,
                reason: reason.into(),
                retry_after: None,
            });
        }
        if publishing.left == 0 {
            let (outputs, duration, failure) = (publishing.outputs, publishing.duration, publishing.failure.take());
            match failure {
                None => self.handled(id, outputs, duration),
                Some(failure) => self.failed(id, failure, duration),
            }
        }
        self.check_drained(id.slot);
    }

    // ---- settle ----

    fn handled(&mut self, id: RunId, outputs: usize, duration: Duration) {
        if self.observing {
            self.observe(id, What::Handled { outputs, duration });
        } else {
            let route = self.route_of(id);
            self.effects.push_back(Effect::Handled { route, outputs });
        }
        self.settle(id);
    }

    fn failed(&mut self, id: RunId, failure: Failure, duration: Duration) {
        let began = self.now.wall.checked_sub(duration).unwrap_or(self.now.wall);
        let random = self.random.f64();
        let plan = self.plan.clone();
        let Some(partition) = self.partition(id.slot) else { return };
        let run = &mut partition.entries[id.entry as usize].runs[id.run as usize];
        run.failures = run.failures.saturating_add(1);
        run.first_attempt.get_or_insert(began);
        run.last_attempt = Some(began);
        match decide(&plan.manifest.routes[run.route], &failure, run.failures, random) {
            Decision::Retry(delay) => {
                run.stage = Stage::Parked;
                self.parked.push(self.now.instant + delay, Parked::Attempt(id));
                let Failure { class, reason, .. } = failure;
                self.observe(id, What::Retry { class, reason: reason.into_owned(), delay });
            }
            Decision::DeadLetter(to) => self.dead_letter(id, failure, to),
            Decision::Drop => self.drop_record(id, failure),
        }
    }

    fn dead_letter(&mut self, id: RunId, failure: Failure, to: &DeadLetter) {
        let (plan, group, wall) = (self.plan.clone(), self.group.clone(), self.now.wall);
        let Some(partition) = self.partition(id.slot) else { return };
        let entry = &mut partition.entries[id.entry as usize];
        let run = &mut entry.runs[id.run as usize];
        let route = plan.manifest.routes.get(run.route);
        let handler = plan.handler_of.get(run.route).map(|&handler| &plan.handlers[handler]);
        let origin = Origin {
            topic: &partition.account.topic,
            partition: partition.account.partition,
            group: &group,
            route: route.map(|route| &*route.name),
            handler: handler.map(|handler| &*handler.name),
            module_digest: handler.map(|handler| &*handler.digest),
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
    }

    fn drop_record(&mut self, id: RunId, failure: Failure) {
        let Failure { class, reason, .. } = failure;
        self.observe(id, What::Dropped { class, reason: reason.into_owned() });
        self.settle(id);
    }

    /// The one exit: a run is done, and with the last one its record is settled
    /// and the next records of its lanes begin.
    fn settle(&mut self, id: RunId) {
        let Some(partition) = self.partition(id.slot) else { return };
        let entry = &mut partition.entries[id.entry as usize];
        entry.runs[id.run as usize].stage = Stage::Settled;
        entry.open -= 1;
        if entry.open > 0 {
            return;
        }
        let entry = partition.entries.remove(id.entry as usize);
        if let Err(twice) = partition.offsets.settle(entry.seq) {
            // Cannot happen while entries are removed here alone; the position stays where it was.
            tracing::error!(%twice, "a record was settled twice");
        }
        partition.account.set_position(partition.offsets.committable(), partition.offsets.span());
        let wake = partition.account.release(1, entry.body.record().size());
        let mut ready = std::mem::take(&mut self.scratch_ready);
        ready.clear();
        if let Some(partition) = self.partition(id.slot) {
            partition.lanes.leave(id.entry, &mut ready);
        }
        for &next in &ready {
            self.begin(id.slot, next);
        }
        self.scratch_ready = ready;
        self.wake_reader |= wake;
        self.check_drained(id.slot);
    }

    fn check_drained(&mut self, slot: Slot) {
        if let Some(partition) = self.partition(slot)
            && partition.draining
            && partition.is_quiet()
        {
            self.effects.push_back(Effect::Drained(slot));
        }
    }

    // ---- time ----

    /// Moves the time forward and takes up what is due.
    pub fn advance(&mut self, now: Now) {
        self.now = now;
        while let Some(parked) = self.parked.pop_due(now.instant) {
            match parked {
                Parked::Attempt(id) => {
                    let Some(partition) = self.partition(id.slot) else { continue };
                    let run = &mut partition.entries[id.entry as usize].runs[id.run as usize];
                    run.stage = Stage::Waiting;
                    let route = run.route;
                    self.desks[self.plan.handler_of[route]].ready.push_back(id);
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

    /// When [`Core::advance`] has something to do next.
    pub fn next_due(&self) -> Option<Instant> {
        self.parked.next_due()
    }

    // ---- what others want to know ----

    /// Why messages of this channel cannot be written, if some wait for that.
    pub fn trouble(&self, channel: Channel) -> Option<&str> {
        let (count, reason) = &self.stuck[channel as usize];
        (*count > 0).then_some(reason)
    }

    /// Whether the polling thread waits for room that has come free since the last call.
    pub fn take_wake_reader(&mut self) -> bool {
        std::mem::take(&mut self.wake_reader)
    }

    /// Whether [`Core::next`] has something to hand out besides calls.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The route of a run that is not settled.
    pub fn route(&mut self, id: RunId) -> Option<usize> {
        Some(self.route_of(id)).filter(|&route| route != NO_ROUTE)
    }

    /// Attempts and messages that wait for a time.
    pub fn parked(&self) -> usize {
        self.parked.len()
    }

    /// Bytes and records delivered and not settled, over all partitions.
    pub fn queued(&self) -> (usize, usize) {
        self.accounts().fold((0, 0), |(bytes, records), account| {
            (bytes + account.unsettled_bytes(), records + account.unsettled())
        })
    }

    /// The accounts of this worker's partitions.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.partitions.iter().flatten().map(|partition| &partition.account)
    }

    /// Tells each account the timestamp of its lowest unsettled record; costs a look at every one of them.
    pub fn report_oldest(&self) {
        for partition in self.partitions.iter().flatten() {
            partition.account.set_oldest_ms(partition.oldest_ms());
        }
    }

    fn partition(&mut self, slot: Slot) -> Option<&mut Partition> {
        self.partitions.get_mut(slot.index as usize)?.as_mut().filter(|partition| partition.epoch == slot.epoch)
    }

    fn route_of(&mut self, id: RunId) -> usize {
        self.partition(id.slot).map_or(NO_ROUTE, |p| p.entries[id.entry as usize].runs[id.run as usize].route)
    }

    fn observe(&mut self, id: RunId, what: What) {
        let plan = self.plan.clone();
        let Some(partition) = self.partition(id.slot) else { return };
        let entry = &partition.entries[id.entry as usize];
        let run = &entry.runs[id.run as usize];
        let failed_now = !matches!(what, What::Handled { .. });
        let observation = Observation {
            route: plan.manifest.routes.get(run.route).map(|route| route.name.clone()),
            topic: partition.account.topic.clone(),
            partition: partition.account.partition,
            offset: entry.body.record().offset(),
            id: entry.body.event().map(|envelope| envelope.id().to_owned()),
            attempt: if failed_now { run.failures } else { run.failures + 1 },
            what,
        };
        let route = run.route;
        self.effects.push_back(Effect::Observe(route, observation));
    }
}

#[cfg(test)]
mod tests;
