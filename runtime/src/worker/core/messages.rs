//! Messages on their way: outputs and dead letters that were handed out and wait
//! for their acknowledgement, or wait to be handed out again.

use std::rc::Rc;
use std::time::Duration;

use smallvec::SmallVec;

use super::super::effect::{Ack, Channel, Effect, RunId, Token};
use super::super::partition::{Publishing, Stage};
use super::desk::Desk;
use super::{Core, Parked};
use crate::observe::What;
use crate::outcome::{Failure, FailureClass, Output};
use crate::settle::output::{self, Input};
use crate::settle::{Message, dead_letter};
use crate::worker::mutation::mutation;

/// Before a message is handed out again; doubled each time, up to the longest pause.
pub(super) const PUBLISH_RETRY: Duration = Duration::from_millis(500);
pub(super) const PUBLISH_RETRY_MAX: Duration = Duration::from_secs(30);

/// Bytes of messages without an answer, of all workers together, above which no call
/// begins: what a producer's queue takes, so that it does not fill. The bounds on records do
/// not bound their outputs, which pile up while a broker does not answer.
pub const MESSAGE_BYTES: usize = 64 << 20;

/// The messages of one handler may have this part of it, or less where there are as many
/// handlers, so that those that return much do not hold another one's calls back.
pub(super) const HANDLERS_PART: usize = 4;

/// What a message counts at least: a queue is full of many small ones too.
pub(super) const MESSAGE_WEIGHT: usize = 512;

/// A message that was handed out and not answered, or waits to be handed out again.
pub(super) struct InFlight {
    pub(super) tag: u32,
    pub(super) run: RunId,
    /// Whose it is, and what it counts there. None: a record that no route took.
    pub(super) weighs_on: Option<(usize, usize)>,
    /// What it counts for the worker. A dead letter that is no handler's counts nothing: no
    /// call has made it, so none is to wait for it. The bounds on records bound those.
    pub(super) counts: usize,
    pub(super) message: Rc<Message>,
    pub(super) channel: Channel,
    /// How often its answer was "unknown" or, for a dead letter, anything but "written".
    pub(super) troubles: u32,
    omit_large_value: bool,
    /// It waits to be handed out again.
    pub(super) waiting: bool,
    /// It shares its batch with no other message.
    alone: bool,
}

impl Core {
    pub(super) fn publish_outputs(&mut self, id: RunId, outputs: Vec<Output>, duration: Duration) {
        let group = self.group.clone();
        let Some(partition) = self.partition(id.slot) else { return };
        let entry = &mut partition.entries[id.entry as usize];
        let (generation, route) = (&entry.runs[id.run as usize].generation, entry.runs[id.run as usize].route);
        let (spec, handler) = (&generation.plan.manifest.routes[route], generation.plan.handler(route));
        let topics = handler.map_or(&[][..], |handler| &handler.topics);
        let input = Input {
            group: &group,
            topic: &partition.account.topic,
            partition: partition.account.partition,
            record: entry.body.record(),
        };
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
                mutation!(SettleBeforeOutputs => self.handled(id, outputs, duration));
            }
        }
    }

    pub(super) fn hand_out(&mut self, run: RunId, message: Message, channel: Channel, omit_large_value: bool) {
        self.next_tag = Token::next_tag(self.next_tag);
        let tag = self.next_tag;
        let weighs_on = self.desk_of(run).map(|desk| (desk, message.size().max(MESSAGE_WEIGHT)));
        let is_counted = channel == Channel::Outputs || weighs_on.is_some();
        let counts = if is_counted { message.size() } else { 0 };
        self.message_bytes += counts;
        weighs_on.iter().for_each(|&(desk, weight)| self.desks[desk].message_bytes += weight);
        let message = Rc::new(message);
        let key = self.messages.insert(InFlight {
            tag,
            run,
            weighs_on,
            counts,
            message,
            channel,
            troubles: 0,
            omit_large_value,
            waiting: false,
            alone: false,
        }) as u32;
        self.effects.push_back(Effect::Publish(Token { key, tag }, channel));
    }

    /// The message of a token that is in flight, to be handed to its producer.
    /// None once the partition is fenced: nothing more is published for it.
    pub fn message(&self, token: Token) -> Option<Rc<Message>> {
        let in_flight = self.in_flight(token)?;
        let partition = self.partitions.get(in_flight.run.slot.index as usize)?.as_ref()?;
        let fenced = partition.account.fence.load(std::sync::atomic::Ordering::Acquire);
        (!fenced || mutation!(PublishAfterFence)).then(|| in_flight.message.clone())
    }

    /// Whether a message must not share its batch: it was in one that was too large.
    pub fn is_alone(&self, token: Token) -> bool {
        self.in_flight(token).is_some_and(|in_flight| in_flight.alone)
    }

    pub(super) fn in_flight(&self, token: Token) -> Option<&InFlight> {
        self.messages.get(token.key as usize).filter(|in_flight| in_flight.tag == token.tag || mutation!(TagIgnored))
    }

    /// Takes what became of a message. An answer for a partition that is gone is void.
    pub fn acknowledged(&mut self, token: Token, ack: Ack) {
        if self.in_flight(token).is_none() {
            return;
        }
        let in_flight = &mut self.messages[token.key as usize];
        match (in_flight.channel, ack) {
            (_, Ack::Written) => {
                let done = self.take_message(token.key as usize);
                self.written(done);
            }
            // At once, and neither trouble nor a failed attempt: the others of its batch may be the reason.
            (channel, Ack::BatchTooLarge) => {
                in_flight.alone = true;
                self.effects.push_back(Effect::Publish(token, channel));
            }
            (Channel::Outputs, Ack::Unknown(_)) if mutation!(UnknownIsWritten) => {
                self.acknowledged(token, Ack::Written)
            }
            (Channel::DeadLetters, _) if mutation!(DeadLetterGivenUp) => self.acknowledged(token, Ack::Written),
            // Published again without an end: the record waits with it, its position does not pass it.
            (Channel::Outputs, Ack::Unknown(reason)) => self.publish_again(token, reason),
            (Channel::Outputs, Ack::TooLarge(reason) | Ack::Refused(reason)) => {
                let done = self.take_message(token.key as usize);
                let topic = &done.message.topic;
                self.output_done(
                    done.run,
                    Some(format!("the output for topic {topic} could not be published: {reason}")),
                );
            }
            (Channel::DeadLetters, Ack::TooLarge(_))
                if in_flight.omit_large_value && in_flight.message.value.is_some() =>
            {
                let message = Message::clone(&in_flight.message);
                in_flight.message = Rc::new(dead_letter::without_value(message));
                let counts = in_flight.counts.min(in_flight.message.size());
                self.message_bytes -= in_flight.counts - counts;
                in_flight.counts = counts;
                self.effects.push_back(Effect::Publish(token, Channel::DeadLetters));
            }
            // A dead letter is never given up: it waits and is tried again, without
            // an end, and readiness says so meanwhile.
            (Channel::DeadLetters, Ack::Unknown(reason) | Ack::TooLarge(reason) | Ack::Refused(reason)) => {
                self.publish_again(token, reason);
            }
        }
    }

    /// Takes a message out, with all that is counted of it.
    pub(super) fn take_message(&mut self, key: usize) -> InFlight {
        let done = self.messages.remove(key);
        self.message_bytes -= done.counts;
        Desk::lighten(&mut self.desks, &done);
        if done.troubles > 0 {
            self.troubled(done.channel, -1);
        }
        done
    }

    pub(super) fn publish_again(&mut self, token: Token, reason: String) {
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

    pub(super) fn written(&mut self, done: InFlight) {
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

    pub(super) fn output_done(&mut self, id: RunId, refused: Option<String>) {
        let Some(partition) = self.partition(id.slot) else { return };
        partition.active -= 1;
        let run = &mut partition.entries[id.entry as usize].runs[id.run as usize];
        let Stage::Publishing(publishing) = &mut run.stage else { return };
        publishing.left -= 1;
        if let Some(reason) = refused.filter(|_| !mutation!(RefusedIsWritten)) {
            publishing.failure.get_or_insert(Failure {
                class: FailureClass::Output,
                reason: reason.into(),
                retry_after: None,
            });
        }
        if publishing.left == 0 || mutation!(SettleByFirstOutput) {
            let (outputs, duration, failure) = (publishing.outputs, publishing.duration, publishing.failure.take());
            match failure {
                None => self.handled(id, outputs, duration),
                Some(failure) => self.failed(id, failure, duration),
            }
        }
        self.check_drained(id.slot);
    }

    pub(super) fn forget_message(&mut self, key: usize) {
        let message = self.take_message(key);
        if let Some(partition) = self.partition(message.run.slot) {
            partition.active -= 1;
        }
    }

    /// The desk that a run's messages weigh on: none for a record that no route took, and
    /// for what ends on a generation that is past.
    fn desk_of(&mut self, run: RunId) -> Option<usize> {
        let current = self.generation.clone();
        let run = self.run(run).filter(|run| Rc::ptr_eq(&run.generation, &current))?;
        let handler = current.plan.handler_of.get(run.route)?;
        Some(current.desks[*handler])
    }

    pub(super) fn troubled(&mut self, channel: Channel, by: isize) {
        let count = &mut self.stuck[channel as usize].0;
        *count = count.saturating_add_signed(by);
    }

    /// Why messages of this channel cannot be written, if some wait for that.
    pub fn trouble(&self, channel: Channel) -> Option<&str> {
        let (count, reason) = &self.stuck[channel as usize];
        (*count > 0).then_some(reason)
    }
}
