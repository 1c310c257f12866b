//! One assigned partition as its worker sees it: lanes, offsets, and the records
//! that are not settled.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use slab::Slab;
use smallvec::SmallVec;

use super::account::Account;
use super::core::Generation;
use super::known::Known;
use crate::commit::offsets::{Offsets, Seq};
use crate::dispatch::lanes::Lanes;
use crate::envelope::Envelope;
use crate::outcome::Failure;
use crate::record::Record;

/// The route of a run that no route made: an undecodable or unrouted record on its way to its policy's end.
pub(super) const NO_ROUTE: usize = usize::MAX;

/// A partition of this worker.
pub(super) struct Partition {
    pub epoch: u32,
    pub account: Arc<Account>,
    pub offsets: Offsets,
    pub lanes: Lanes,
    /// Records whose turn has come and that have not begun.
    pub turns: VecDeque<u32>,
    /// They are being begun.
    pub begins: bool,
    pub entries: Slab<Entry>,
    /// Calls under way and messages without an answer.
    pub active: usize,
    /// No new attempt begins.
    pub draining: bool,
    /// What an offset map says of records still to come.
    pub known: Option<Box<Known>>,
}

/// A record that is not settled.
pub(super) struct Entry {
    pub seq: Seq,
    pub body: Body,
    pub runs: SmallVec<[Run; 1]>,
    /// Runs that are not settled.
    pub open: usize,
}

/// The record, decoded where it could be.
#[derive(Clone)]
pub(super) enum Body {
    Event(Rc<Envelope>),
    Raw(Rc<Record>),
}

impl Body {
    pub fn record(&self) -> &Record {
        match self {
            Body::Event(envelope) => envelope.record(),
            Body::Raw(record) => record,
        }
    }

    pub fn event(&self) -> Option<&Rc<Envelope>> {
        match self {
            Body::Event(envelope) => Some(envelope),
            Body::Raw(_) => None,
        }
    }
}

/// One route's work on one record.
pub(super) struct Run {
    /// What it runs on: that of its attempt while one is under way, and otherwise the
    /// current one, or the last one that had its route.
    pub generation: Rc<Generation>,
    /// Index of the route in that generation, or [`NO_ROUTE`].
    pub route: usize,
    /// Attempts that failed.
    pub failures: u32,
    /// When the first attempt that failed began.
    pub first_attempt: Option<SystemTime>,
    /// When the last attempt that failed began.
    pub last_attempt: Option<SystemTime>,
    /// An attempt of it has probed a circuit and failed without being counted.
    pub probed: bool,
    pub stage: Stage,
}

/// Where a run stands.
pub(super) enum Stage {
    /// Waits for its lane or for its handler.
    Waiting,
    /// Undecodable or unrouted: waits for its lane, and then for its policy's end.
    Refused(Box<Failure>),
    /// A call is under way.
    Calling {
        /// It tells whether the handler's circuit closes.
        probe: bool,
    },
    /// The handler answered; its outputs wait for their acknowledgements.
    Publishing(Box<Publishing>),
    /// Waits for its next attempt.
    Parked,
    /// Its dead letter waits for its acknowledgement.
    DeadLettering(Box<Failure>),
    /// Done.
    Settled,
}

/// Outputs on their way.
pub(super) struct Publishing {
    /// Not acknowledged yet.
    pub left: usize,
    /// All of them.
    pub outputs: usize,
    /// Of the call.
    pub duration: Duration,
    /// The first refusal: decided on when every answer is in.
    pub failure: Option<Failure>,
}

impl Run {
    pub fn new(generation: Rc<Generation>, route: usize) -> Run {
        Run {
            generation,
            route,
            failures: 0,
            first_attempt: None,
            last_attempt: None,
            probed: false,
            stage: Stage::Waiting,
        }
    }

    pub fn is_settled(&self) -> bool {
        matches!(self.stage, Stage::Settled)
    }

    /// Nothing of it is under way: its next attempt will be on the generation of then.
    pub fn only_waits(&self) -> bool {
        matches!(self.stage, Stage::Waiting | Stage::Parked | Stage::Refused(_))
    }

    /// The run of a record that no route takes.
    pub fn refused(generation: Rc<Generation>, failure: Failure) -> Run {
        Run { stage: Stage::Refused(Box::new(failure)), ..Run::new(generation, NO_ROUTE) }
    }
}

impl Partition {
    pub fn new(epoch: u32, account: Arc<Account>) -> Partition {
        Partition {
            epoch,
            offsets: Offsets::starting_at(account.position()),
            lanes: Lanes::new(),
            turns: VecDeque::new(),
            begins: false,
            entries: Slab::new(),
            active: 0,
            draining: false,
            known: account.take_map().map(|map| Box::new(Known::new(map))),
            account,
        }
    }

    /// Nothing is under way that an answer is expected of.
    pub fn is_quiet(&self) -> bool {
        self.active == 0
    }

    /// The lowest record that is not settled; costs a look at every one of them.
    pub fn lowest(&self) -> Option<&Entry> {
        self.entries.iter().map(|(_, entry)| entry).min_by_key(|entry| entry.seq)
    }

    /// The timestamp of that record.
    pub fn oldest_ms(&self) -> Option<i64> {
        self.lowest()?.body.record().timestamp_ms()
    }
}
