//! What the worker's core asks to be done: the core decides, the shell does.

use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use super::account::Account;
use super::core::Generation;
use super::plan::Plan;
use crate::envelope::Envelope;
use crate::observe::Observation;

/// Names one assignment of a partition to this worker. A slot is used again
/// after a revoke, an epoch never: whatever carries an older one is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot {
    /// The place in the worker's table.
    pub index: u32,
    /// Of the assignment, unique in the process.
    pub epoch: u32,
}

/// Names a run: one route's work on one record, over all its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RunId {
    /// The partition.
    pub slot: Slot,
    /// The record among those of the partition that are not settled.
    pub entry: u32,
    /// The route among those that took the record.
    pub run: u32,
}

/// Names a message that waits for its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token {
    pub(super) key: u32,
    pub(super) tag: u32,
}

impl Token {
    const TAG_BITS: u32 = 24;

    /// Packs the token and its worker into what a producer carries along.
    pub fn pack(self, worker: u8) -> usize {
        (worker as usize) << 56 | (self.tag as usize) << 32 | self.key as usize
    }

    /// The worker and the token of [`Token::pack`].
    pub fn unpack(packed: usize) -> (u8, Token) {
        let tag = (packed >> 32) as u32 & ((1 << Self::TAG_BITS) - 1);
        ((packed >> 56) as u8, Token { key: packed as u32, tag })
    }

    /// The tag after `tag`: a key is used again, a pair of key and tag not before 16 million others.
    pub(super) fn next_tag(tag: u32) -> u32 {
        (tag + 1) & ((1 << Self::TAG_BITS) - 1)
    }
}

/// Which producer a message goes to: dead letters do not wait behind outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    /// What handlers returned.
    Outputs,
    /// What was given up.
    DeadLetters,
}

/// Something to do.
pub enum Effect {
    /// Call a handler; answer with [`super::core::Core::called`].
    Call(CallOrder),
    /// Hand the token's message to a producer; answer with [`super::core::Core::acknowledged`].
    Publish(Token, Channel),
    /// Count, log and show what happened.
    Observe(Place, Observation),
    /// Count a success that nobody watches.
    Handled {
        /// Where.
        place: Place,
        /// How many were published.
        outputs: usize,
    },
    /// The partition that was told to drain has nothing under way any more.
    Drained(Slot),
}

/// A route of a generation, or none of it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Of the attempt; where none was made, of the decision.
    pub generation: Rc<Generation>,
    /// Index of the route; beyond them where no route took the record.
    pub route: usize,
}

impl Place {
    /// The plan of the place's generation.
    pub fn plan(&self) -> &Plan {
        &self.generation.plan
    }
}

/// A call to make, on the current generation.
pub struct CallOrder {
    /// To name in the answer.
    pub run: RunId,
    /// Index of the handler.
    pub handler: usize,
    /// What stands for the handler over generations, as long as it stays what it is.
    pub desk: usize,
    /// Index of the route.
    pub route: usize,
    /// The event.
    pub envelope: Rc<Envelope>,
    /// The partition it came from.
    pub account: Arc<Account>,
    /// 1 for the first.
    pub attempt: u32,
    /// Whether it probes its handler's circuit.
    pub probe: bool,
}

/// What became of a message that was handed to a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ack {
    /// The broker has it, on every replica that counts.
    Written,
    /// It may have been written or not, or was not for a passing reason: it is to be published again.
    Unknown(String),
    /// The broker did not take the batch that it was in: it is to be published alone.
    BatchTooLarge,
    /// The broker will not take it: too large.
    TooLarge(String),
    /// The broker will not take it: no such topic, no right to write to it, and so on.
    Refused(String),
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Effect::Call(call) => f.debug_tuple("Call").field(&call.run).field(&call.attempt).finish(),
            Effect::Publish(token, channel) => f.debug_tuple("Publish").field(token).field(channel).finish(),
            Effect::Observe(_, observation) => f.debug_tuple("Observe").field(&observation.what).finish(),
            Effect::Handled { place, .. } => f.debug_tuple("Handled").field(&place.route).finish(),
            Effect::Drained(slot) => f.debug_tuple("Drained").field(slot).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_packing() {
        for (worker, key, tag) in [(0, 0, 0), (255, u32::MAX, (1 << 24) - 1), (3, 77, 9)] {
            let token = Token { key, tag };
            assert_eq!(Token::unpack(token.pack(worker)), (worker, token));
        }
        assert_eq!(Token::next_tag((1 << 24) - 1), 0);
    }
}
