//! What the simulation knows of every record, and of the broker.

use smallvec::SmallVec;

use super::*;
use crate::worker::plan::PlannedHandler;

/// Types of records and the routes that take them; `None` is a record that is no event.
pub const KINDS: [(Option<&str>, &[&str]); 6] = [
    (Some("k"), &["keyed"]),
    (Some("p"), &["partition"]),
    (Some("n"), &["free"]),
    (Some("f"), &["first", "second"]),
    (Some("u"), &[""]),
    (None, &[""]),
];

/// The name of a route of some generation, or of none.
pub fn known_route(name: &str) -> &'static str {
    let all = KINDS.iter().flat_map(|(_, routes)| *routes).chain(&["renamed"]);
    all.copied().find(|known| *known == name).expect("a route of some generation")
}

/// A call that was asked for and has not ended.
pub struct Calling {
    pub order: CallOrder,
    pub route: &'static str,
    /// What it began on.
    pub handler: PlannedHandler,
}

impl std::ops::Deref for Calling {
    type Target = CallOrder;

    fn deref(&self) -> &CallOrder {
        &self.order
    }
}

/// A record in a partition's log.
#[derive(Clone, Copy)]
pub struct Logged {
    pub offset: i64,
    pub key: Option<&'static str>,
    pub kind: usize,
}

/// How far a run has come, as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stage {
    Waiting,
    Calling,
    /// The attempt failed; what follows has not been said.
    Failed,
    Publishing {
        left: usize,
        refused: bool,
    },
    /// All outputs are written, or there are none.
    Done,
    DeadLettering,
    DeadLettered,
    Settled,
}

/// A run in the model: its stage, and the attempts that failed.
#[derive(Clone)]
pub struct Run {
    pub stage: Stage,
    /// What its last attempt was made on.
    pub plan: Option<Arc<Plan>>,
    pub failures: u32,
    /// Its call probes a circuit; and it has done so in vain before.
    pub probe: bool,
    pub probed: bool,
    /// Of the last failure.
    pub class: FailureClass,
}

impl Run {
    pub fn new(stage: Stage, failures: u32) -> Run {
        Run { stage, plan: None, failures, probe: false, probed: false, class: FailureClass::Unrouted }
    }

    /// Whether the attempt that failed last is none of the record's attempts.
    pub fn is_free(&self) -> bool {
        let counts = matches!(self.class, FailureClass::Failed | FailureClass::Trap | FailureClass::Timeout);
        self.probe && (self.class == FailureClass::Dependency || (counts && !self.probed && self.failures == 0))
    }
}

/// A record that was delivered under the current assignment.
pub struct Delivered {
    pub logged: Logged,
    /// By the names of their routes.
    pub runs: SmallVec<[(&'static str, Run); 2]>,
}

impl Delivered {
    pub fn is_settled(&self) -> bool {
        self.runs.iter().all(|(_, run)| run.stage == Stage::Settled)
    }

    pub fn run(&mut self, route: &str) -> Option<&mut Run> {
        self.runs.iter_mut().find(|(name, _)| *name == route).map(|(_, run)| run)
    }

    pub fn claims_partition(&self) -> bool {
        self.logged.kind == 1
    }

    pub fn claims_key(&self) -> Option<&'static str> {
        self.logged.key.filter(|_| matches!(self.logged.kind, 0 | 1 | 3))
    }

    /// As long as it is not settled.
    pub fn holds_up(&self, other: &Delivered) -> bool {
        let partition = self.claims_partition() && other.claims_partition();
        let key = self.claims_key().is_some() && self.claims_key() == other.claims_key();
        partition || key
    }
}

/// The broker's side of a partition, and the assignment to the worker if there is one.
pub struct Part {
    pub log: Vec<Logged>,
    pub committed: i64,
    pub stored: Stored,
    pub settled: BTreeSet<i64>,
    pub held: Option<Held>,
}

pub struct Held {
    pub slot: Slot,
    pub account: Arc<Account>,
    pub start: i64,
    /// Index of the next record in the log.
    pub next: usize,
    pub records: BTreeMap<i64, Delivered>,
    /// Those that are not settled.
    pub open: BTreeSet<i64>,
    pub known: Known,
    pub draining: bool,
    pub drained: bool,
    pub fenced: bool,
    /// Messages that are not handed out, since it is fenced: they get no answer.
    pub withheld: usize,
}

impl Held {
    /// What may be committed, counted by hand.
    pub fn committable(&self) -> i64 {
        self.open.first().copied().unwrap_or_else(|| self.last().map_or(self.start, |last| last + 1))
    }

    /// The last record delivered.
    pub fn last(&self) -> Option<i64> {
        self.records.keys().last().copied()
    }

    /// Every offset above `base` that is settled, as far as a map can know.
    pub fn settled_beyond(&self, base: i64) -> Vec<i64> {
        let delivered = self.records.iter().filter(|(_, record)| record.is_settled()).map(|(offset, _)| *offset);
        let last = self.last().unwrap_or(base);
        let to_come = self.known.settled.iter().copied().filter(|offset| *offset > last);
        delivered.filter(|offset| *offset > base).chain(to_come).collect()
    }

    /// The attempts that have failed of records that are not settled, by offset and route.
    pub fn failures(&self) -> BTreeMap<(i64, &'static str), u32> {
        let last = self.last().unwrap_or(self.start);
        let of = |(offset, record): (&i64, &Delivered)| {
            let open = record
                .runs
                .iter()
                .filter(|(route, run)| run.failures > 0 && run.stage != Stage::Settled && !route.is_empty());
            open.map(|(route, run)| ((*offset, *route), run.failures)).collect::<SmallVec<[_; 2]>>()
        };
        let to_come = self.known.failures.iter().filter(|((offset, _), _)| *offset > last).map(|(k, v)| (*k, *v));
        self.records.iter().flat_map(of).chain(to_come).collect()
    }
}

/// What is stored with a committed offset.
#[derive(Clone, Default)]
pub struct Stored {
    pub metadata: Vec<u8>,
    /// Whether its map, if it has one, was made by a worker for that offset.
    pub honest: bool,
}

/// What a new assignment is told by the offset map that it begins with.
#[derive(Default)]
pub struct Known {
    /// The map's text, if it was taken for a good one.
    pub text: Option<Arc<str>>,
    pub honest: bool,
    /// What it calls settled; empty where it is not honest.
    pub settled: BTreeSet<i64>,
    /// The attempts that have failed, by offset and route.
    pub failures: BTreeMap<(i64, &'static str), u32>,
}

/// A message that was sent and not answered.
pub struct Sent {
    pub token: Token,
    pub channel: Channel,
    pub slot: Slot,
    pub offset: i64,
    pub route: &'static str,
}

impl Part {
    /// A log of so many records, with gaps.
    pub fn new(rng: &mut Rng, records: usize) -> Part {
        let mut offset = rng.i64(0..5);
        let log = (0..records).map(|_| {
            offset += if rng.u32(..4) == 0 { rng.i64(2..9) } else { 1 };
            let key = [None, Some("a"), Some("b"), Some("c")][rng.usize(..4)];
            Logged { offset, key, kind: rng.usize(..KINDS.len()) }
        });
        Part { log: log.collect(), committed: 0, stored: Stored::default(), settled: BTreeSet::new(), held: None }
    }
}
