//! A core with one manifest, driven by hand: what it asks for is collected, what
//! a test says is answered.

use std::path::Path;
use std::sync::LazyLock;

use super::*;
use crate::dispatch::breaker::Change;
use crate::manifest::{self, Buffer, DeadLetter, Exhausted, Manifest, OnFailure, Unhandled};
use crate::worker::plan::ModuleId;

/// Records of type `k` keep the order of their keys, those of type `p` the
/// order of the partition, those of type `n` none; type `f` takes two routes.
/// No route takes type `u`.
const MANIFEST: &str = "\
apiVersion: outrigger/v1
kafka: { bootstrapServers: 'localhost:9092', groupId: group, topics: [t] }
handlers:
  h: { module: h.wasm, concurrency: 3, circuit: CIRCUIT, allow: { topics: [other] } }
  g: { module: g.wasm, concurrency: 2, circuit: CIRCUIT }
defaults:
  output: out
  retry: { strategy: fixed, maxRetries: 2, initialDelay: 1s, maxDelay: 5s, jitter: 0 }
routes:
  - { name: keyed, match: { type: k }, handler: h }
  - { name: partition, match: { type: p }, handler: h, ordering: partition, deadLetter: { topic: big, omitLargeValues: true } }
  - { name: free, match: { type: n }, handler: g, ordering: none, deadLetter: false, exhausted: hold }
  - { name: first, match: { type: f }, handler: h }
  - { name: second, match: { prefix: { type: f } }, handler: g, ordering: none, deadLetter: false, exhausted: drop }
unmatched: deadLetter
undecodable: drop
";

pub const BUFFER: Buffer = Buffer { records: 1000, bytes: 1 << 20 };

/// Names of the variants of [`MANIFEST`]: what a reload changes.
pub const VARIANTS: u64 = 6;

/// The manifest's plan; no call is ever held.
pub fn plan() -> Arc<Plan> {
    static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| plan_of("false"));
    PLAN.clone()
}

/// The same with circuits that open soon: after 4 failures in a row, or 5 of 10 within 10 s; for 2 s, at most 8 s.
pub fn plan_with_circuits() -> Arc<Plan> {
    const CIRCUIT: &str = "{ consecutiveFailures: 4, failingFor: 0s, window: 10s, minimumAttempts: 10, failureRatio: 0.5, openFor: 2s, maxOpenFor: 8s }";
    static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| plan_of(CIRCUIT));
    PLAN.clone()
}

fn plan_of(circuit: &str) -> Arc<Plan> {
    let folder = tempfile::tempdir().unwrap();
    for module in ["h.wasm", "g.wasm"] {
        std::fs::write(folder.path().join(module), b"").unwrap();
    }
    let text = MANIFEST.replace("CIRCUIT", circuit);
    let loaded = manifest::load_str("outrigger.yaml", &text, Path::new(folder.path()), &|_| None);
    Arc::new(Plan::new(1, Arc::new(loaded.unwrap().0), |_| ModuleId { digest: "digest".into(), since: 1 }))
}

/// The generation after `before`, by a variant of the manifest: 0 is as it was; then
/// without the routes `keyed` and `second`, without the handler `g`, with `keyed` at
/// the other handler, with other policies, with one route renamed. `new` says which
/// handlers have another module than before.
pub fn reloaded(before: &Plan, variant: u64, circuits: bool, new: [bool; 2]) -> Arc<Plan> {
    let mut manifest = Manifest::clone(&if circuits { plan_with_circuits() } else { plan() }.manifest);
    match variant {
        1 => manifest.routes.retain(|route| !["keyed", "second"].contains(&&*route.name)),
        2 => {
            manifest.handlers.remove("g");
            manifest.routes.retain(|route| &*route.handler != "g");
        }
        3 => manifest.routes[0].handler = "g".into(),
        4 => {
            for route in &mut manifest.routes {
                route.on_failure.values_mut().for_each(|reaction| *reaction = OnFailure::DeadLetter);
                route.dead_letter = Exhausted::DeadLetter(DeadLetter { topic: "new".into(), omit_large_values: false });
            }
            manifest.unmatched = Unhandled::Drop;
        }
        5 => manifest.routes[0].name = "renamed".into(),
        _ => {}
    }
    let generation = before.generation + 1;
    let id = |name: &str| {
        let is_new = new[usize::from(name == "g")];
        let since =
            before.handlers.iter().find(|handler| &*handler.name == name && !is_new).map(|handler| handler.since);
        ModuleId { digest: "digest".into(), since: since.unwrap_or(generation) }
    };
    Arc::new(Plan::new(generation, Arc::new(manifest), id))
}

/// A record; of no type it is no event.
pub fn record(offset: i64, key: Option<&str>, ty: Option<&str>) -> Record {
    let id = offset.to_string();
    let headers =
        [("ce_specversion", "1.0"), ("ce_id", &*id), ("ce_source", "/s"), ("ce_type", ty.unwrap_or_default())];
    let count = if ty.is_some() { headers.len() } else { 0 };
    let headers = headers[..count].iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
    Record::new(offset, Some(offset), key.map(str::as_bytes), Some(b"value"), headers)
}

pub fn start() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) }
}

/// An outcome with this many outputs.
pub fn handled(outputs: usize) -> Outcome {
    Outcome::Handled(vec![Output { ty: "done".into(), ..Output::default() }; outputs])
}

pub fn failed(class: FailureClass) -> Outcome {
    Outcome::Failed(Failure { class, reason: "no".into(), retry_after: None })
}

/// A core that holds one partition.
pub struct Rig {
    pub core: Core,
    pub now: Now,
    pub slot: Slot,
    pub account: Arc<Account>,
    /// Calls that were asked for and have not ended.
    pub calls: Vec<CallOrder>,
    /// Messages that were asked for and have no answer, in their order.
    pub sent: VecDeque<(Token, Channel)>,
    /// What was observed: offset, what, and for a failure how many attempts.
    pub seen: Vec<String>,
    pub drained: Vec<Slot>,
}

impl Rig {
    pub fn new() -> Rig {
        Rig::observing(true)
    }

    pub fn observing(observing: bool) -> Rig {
        Rig::with(plan(), observing)
    }

    pub fn with(plan: Arc<Plan>, observing: bool) -> Rig {
        let now = start();
        let mut core = Core::new(plan, "group".into(), observing, MESSAGE_BYTES, 1, now);
        let slot = Slot { index: 0, epoch: 1 };
        let account = Account::new("t".into(), 0, 0, BUFFER);
        core.assign(slot, account.clone());
        let (calls, sent, seen, drained) = Default::default();
        Rig { core, now, slot, account, calls, sent, seen, drained }
    }

    /// Gives the slot to a new assignment of the partition that begins at `position`.
    pub fn assign_again(&mut self, position: i64) {
        self.slot.epoch += 1;
        self.account = Account::new("t".into(), 0, position, BUFFER);
        self.core.assign(self.slot, self.account.clone());
    }

    pub fn deliver(&mut self, offset: i64, key: &str, ty: &str) {
        self.deliver_record(record(offset, Some(key).filter(|key| !key.is_empty()), Some(ty)));
    }

    pub fn deliver_record(&mut self, record: Record) {
        self.account.add(1, record.size());
        self.core.deliver(self.slot, record).unwrap();
        self.pump();
    }

    /// Takes everything that the core asks for.
    pub fn pump(&mut self) {
        while let Some(effect) = self.core.next(true) {
            match effect {
                Effect::Call(order) => self.calls.push(order),
                Effect::Publish(token, channel) => self.sent.push_back((token, channel)),
                Effect::Drained(slot) => self.drained.push(slot),
                Effect::Handled { place, outputs } => {
                    self.seen.push(format!("route {} handled {outputs}", place.route))
                }
                Effect::Observe(_, Observation { offset, attempt, what, .. }) => self.seen.push(match what {
                    What::Handled { outputs, .. } => format!("{offset} handled {outputs}"),
                    What::Retry { class, delay, .. } => format!("{offset} retry {class} #{attempt} {delay:?}"),
                    What::DeadLettered { class, topic, .. } => {
                        format!("{offset} dead letter {class} #{attempt} {topic}")
                    }
                    What::Dropped { class, .. } => format!("{offset} dropped {class} #{attempt}"),
                    What::Probed { class, delay, .. } => format!("{offset} probed {class} #{attempt} {delay:?}"),
                    What::Circuit { handler, change, .. } => match change {
                        Change::Opened { why, length } => format!("{handler} open {length:?}: {why}"),
                        change => format!("{handler} {}", change.state()),
                    },
                }),
            }
        }
    }

    /// The offsets of the records whose calls run, in the order they began.
    pub fn running(&self) -> Vec<i64> {
        self.calls.iter().map(|call| call.envelope.record().offset()).collect()
    }

    /// Ends the call of the record at `offset` that began first.
    pub fn end(&mut self, offset: i64, outcome: Outcome) {
        let at = self.running().iter().position(|running| *running == offset).expect("no such call runs");
        let call = self.calls.remove(at);
        self.core.called(call.run, outcome, Duration::from_millis(5));
        self.pump();
    }

    /// Answers the message that was sent first.
    pub fn ack(&mut self, ack: Ack) {
        let (token, _) = self.sent.pop_front().expect("nothing was sent");
        self.core.acknowledged(token, ack);
        self.pump();
    }

    /// The message that was sent first.
    pub fn message(&self) -> (Rc<Message>, Channel) {
        let (token, channel) = self.sent[0];
        (self.core.message(token).unwrap(), channel)
    }

    pub fn advance(&mut self, by: Duration) {
        self.now.instant += by;
        self.now.wall += by;
        self.core.advance(self.now);
        self.pump();
    }

    /// What may be committed, and what waits.
    pub fn position(&self) -> (i64, usize) {
        (self.account.position(), self.account.unsettled())
    }

    /// Drops what was seen so far and returns it.
    pub fn take_seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    /// Nothing is left over of records that are settled.
    pub fn assert_empty(&self) {
        assert_empty(&self.core);
        assert!(self.calls.is_empty() && self.sent.is_empty());
        assert_eq!((self.account.unsettled(), self.account.unsettled_bytes()), (0, 0));
    }
}

/// The core holds no trace of a record.
pub fn assert_empty(core: &Core) {
    assert_eq!((core.messages.len(), core.message_bytes, core.effects.len()), (0, 0, 0));
    assert!(core.parked() == 0, "{} are parked", core.parked());
    assert!(core.stranded.is_empty());
    assert!(core.desks.iter().all(|(_, desk)| !desk.retired && desk.ready.is_empty() && desk.calling == 0));
    assert!(core.desks.iter().all(|(_, desk)| desk.message_bytes == 0));
    for partition in core.partitions.iter().flatten() {
        assert!(partition.entries.is_empty() && partition.lanes.is_empty() && partition.active == 0);
    }
    for channel in [Channel::Outputs, Channel::DeadLetters] {
        assert_eq!(core.trouble(channel), None);
    }
}
