//! Everything together, at random: records of every kind, calls that end in any
//! order and in any way, answers that come late or not at all, time, and
//! partitions that drain, go and come back; in every second seed handlers fail for
//! a while, and circuits hold their calls. A model beside the core knows what
//! has happened to every record from what went in and out alone, and is held
//! against the core at every step: [`model`]. Partitions come back, also to another
//! worker after a crash, with what was last committed, or with metadata that is
//! damaged or lies: [`restart`].
//!
//! A seed that fails is printed; `OUTRIGGER_SEED=<seed>` runs that one alone, and
//! `OUTRIGGER_SEEDS=<count>` that many instead of 100,000 (`make simulate SEEDS=<count>`).
//! That bugs are found is shown by making some on purpose: [`mutations`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{AddAssign, Range};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::*};

use fastrand::Rng;

use super::rig::{BUFFER, assert_empty, failed, handled, plan, plan_with_circuits, record, start};
use super::*;
use crate::dispatch::breaker::Change;

const SEEDS: u64 = 100_000;
const STEPS: usize = 150;

mod model;
mod mutations;
mod restart;

use model::{Delivered, Held, KINDS, Known, Part, Run, Sent, Stage, Stored, route_name};

struct World {
    rng: Rng,
    core: Core,
    now: Now,
    parts: Vec<Part>,
    calls: Vec<CallOrder>,
    sent: Vec<Sent>,
    epoch: u32,
    plan: Arc<Plan>,
    /// By handler: every attempt fails.
    down: [bool; 2],
    circuits: [Circuit; 2],
    happened: Happened,
}

/// What is to happen often, or the seeds prove little.
#[derive(Clone, Copy, Debug, Default)]
struct Happened {
    opened: usize,
    closed: usize,
    free: usize,
    /// Probes that failed and did count.
    counted: usize,
}

/// A circuit as its changes tell.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Circuit {
    Closed,
    Open(Instant),
    HalfOpen,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng::with_seed(seed);
        let now = start();
        let plan = if seed % 2 == 1 { plan_with_circuits() } else { plan() };
        let core = Core::new(plan.clone(), "group".into(), true, rng.u64(..), now);
        let parts = (0..3).map(|_| Part::new(&mut rng)).collect();
        World {
            rng,
            core,
            now,
            parts,
            calls: Vec::new(),
            sent: Vec::new(),
            epoch: 0,
            plan,
            down: [false; 2],
            circuits: [Circuit::Closed; 2],
            happened: Happened::default(),
        }
    }

    fn step(&mut self) {
        let part = self.rng.usize(..self.parts.len());
        match self.rng.u32(..100) {
            0..40 => self.deliver(part),
            40..62 => self.end_a_call(false),
            62..82 => self.answer_a_message(false),
            82..92 => {
                // Long enough for a probe now and then.
                let by = Duration::from_millis(self.rng.u64(..6000));
                self.pass(by);
            }
            92..94 => self.drain(part),
            94..96 => self.release(part),
            96 if self.rng.bool() => {
                let handler = self.rng.usize(..2);
                self.down[handler] = !self.down[handler];
            }
            96 => self.commit(part),
            97 => match self.rng.u32(..8) {
                0 => self.crash(),
                1 | 2 => self.fence(part),
                _ => self.assign(part),
            },
            _ => self.assign(part),
        }
        let may_call = self.rng.u32(..5) > 0;
        self.pump(may_call);
        self.check();
    }

    fn deliver(&mut self, number: usize) {
        let part = &mut self.parts[number];
        let Some(held) = part.held.as_mut().filter(|held| !held.draining) else { return };
        for _ in 0..self.rng.usize(1..4) {
            let Some(&logged) = part.log.get(held.next) else { return };
            held.next += 1;
            let (ty, routes) = KINDS[logged.kind];
            let stage = match ty.is_some() && !routes[0].is_empty() {
                _ if held.known.settled.contains(&logged.offset) => Stage::Settled,
                true => Stage::Waiting,
                false => Stage::Failed,
            };
            let failures = |route| held.known.failures.get(&(logged.offset, route)).copied().unwrap_or_default();
            let runs = routes.iter().map(|&route| (route, Run::new(stage, failures(route)))).collect();
            if stage != Stage::Settled {
                held.open.insert(logged.offset);
            }
            held.records.insert(logged.offset, Delivered { logged, runs });
            let record = record(logged.offset, logged.key, ty);
            held.account.add(1, record.size());
            self.core.deliver(held.slot, record).unwrap();
        }
    }

    fn end_a_call(&mut self, well: bool) {
        if self.calls.is_empty() {
            return;
        }
        let call = self.calls.swap_remove(self.rng.usize(..self.calls.len()));
        let outputs = self.rng.usize(..4);
        let (outcome, stage) = match self.rng.u32(..12) {
            _ if well => (handled(0), Stage::Done),
            draw if self.down[call.handler] && draw < 10 => (
                failed([FailureClass::Dependency, FailureClass::Timeout, FailureClass::Trap][draw as usize % 3]),
                Stage::Failed,
            ),
            0..5 if outputs == 0 => (handled(0), Stage::Done),
            0..5 => (handled(outputs), Stage::Publishing { left: outputs, refused: false }),
            5 => {
                let Outcome::Handled(mut outputs) = handled(2) else { unreachable!() };
                outputs[1].topic = Some("forbidden".into());
                (Outcome::Handled(outputs), Stage::Failed)
            }
            6..8 => (failed(FailureClass::Failed), Stage::Failed),
            8 => (failed(FailureClass::Rejected), Stage::Failed),
            9 => (failed(FailureClass::Dependency), Stage::Failed),
            10 => (Outcome::Busy, Stage::Waiting),
            _ if self.is_going(call.run.slot) => (Outcome::Fenced, Stage::Waiting),
            _ => (failed(FailureClass::Trap), Stage::Failed),
        };
        if let Some(run) = self.run(call.run.slot, call.envelope.record().offset(), route_name(call.route)) {
            assert_eq!(run.stage, Stage::Calling);
            run.stage = stage;
            run.class = match &outcome {
                Outcome::Failed(failure) => failure.class,
                // If it comes to a failure, of what was to be published.
                _ => FailureClass::Output,
            };
        }
        let duration = Duration::from_millis(self.rng.u64(..100));
        self.core.called(call.run, outcome, duration);
    }

    fn answer_a_message(&mut self, well: bool) {
        if self.sent.is_empty() {
            return;
        }
        let Sent { token, channel, slot, offset, route } = self.sent.swap_remove(self.rng.usize(..self.sent.len()));
        let ack = match self.rng.u32(..10) {
            0..6 => Ack::Written,
            _ if well => Ack::Written,
            6..8 => Ack::Unknown("timed out".into()),
            8 => Ack::TooLarge("too large".into()),
            _ => Ack::Refused("no such topic".into()),
        };
        if let Some(run) = self.run(slot, offset, route) {
            match (&mut run.stage, &ack) {
                (stage @ Stage::DeadLettering, Ack::Written) => *stage = Stage::DeadLettered,
                (Stage::DeadLettering, _) | (Stage::Publishing { .. }, Ack::Unknown(_)) => {}
                (Stage::Publishing { left, refused }, ack) => {
                    *left -= 1;
                    *refused |= *ack != Ack::Written;
                    if *left == 0 {
                        run.stage = if *refused { Stage::Failed } else { Stage::Done };
                    }
                }
                (stage, _) => panic!("{channel:?} of a run that is {stage:?}"),
            }
        }
        self.core.acknowledged(token, ack);
    }

    fn pass(&mut self, by: Duration) {
        self.now.instant += by;
        self.now.wall += by;
        self.core.advance(self.now);
    }

    fn drain(&mut self, number: usize) {
        if let Some(held) = &mut self.parts[number].held
            && !held.draining
        {
            held.draining = true;
            self.core.drain(held.slot);
        }
    }

    /// The polling thread has lost the partition; the worker has not been told yet.
    fn fence(&mut self, number: usize) {
        if let Some(held) = &mut self.parts[number].held {
            held.account.fence.store(true, Release);
            held.fenced = true;
        }
    }

    fn pump(&mut self, may_call: bool) {
        while let Some(effect) = self.core.next(may_call) {
            match effect {
                Effect::Call(order) => self.begins(order),
                Effect::Publish(token, channel) => self.sends(token, channel),
                Effect::Observe(_, observation) => self.observes(&observation),
                Effect::Handled { .. } => panic!("successes are observed"),
                Effect::Drained(slot) => {
                    if let Some(held) = self.held(slot) {
                        assert!(held.draining, "nobody asked for it");
                        held.drained = true;
                    }
                    assert_eq!(self.under_way(slot), 0, "something is under way");
                }
            }
        }
    }

    fn begins(&mut self, order: CallOrder) {
        let (slot, offset) = (order.run.slot, order.envelope.record().offset());
        let held = self.held(slot).expect("a call for a partition that is gone");
        assert!(!held.draining, "a call for a partition that drains");
        let this = &held.records[&offset];
        for earlier in held.open.range(..offset) {
            assert!(!held.records[earlier].holds_up(this), "{offset} begins before {earlier} is settled");
        }
        let now = self.now.instant;
        let (circuit, probe) = (self.circuits[order.handler], order.probe);
        match circuit {
            Circuit::Closed => assert!(!probe, "a probe of a closed circuit"),
            Circuit::Open(until) => assert!(probe && until <= now, "a call while the circuit is open"),
            Circuit::HalfOpen => {
                let another =
                    self.calls.iter().find(|c| c.probe && c.handler == order.handler && self.holds(c.run.slot));
                assert!(probe && another.is_none(), "two calls while the circuit is half-open");
            }
        }
        let run = self.run(slot, offset, route_name(order.route)).unwrap();
        assert_eq!((run.stage, run.failures + 1), (Stage::Waiting, order.attempt));
        (run.stage, run.probe) = (Stage::Calling, probe);
        self.calls.push(order);
    }

    fn sends(&mut self, token: Token, channel: Channel) {
        let message = self.core.in_flight(token).expect("a message that is in flight").message.clone();
        let id = std::str::from_utf8(message.headers.last("outrigger-id").unwrap()).unwrap();
        let parts: Vec<&str> = id.split('/').collect();
        let (number, offset): (usize, i64) = (parts[2].parse().unwrap(), parts[3].parse().unwrap());
        let route = parts.get(4).copied().unwrap_or_default();
        let route = KINDS.iter().flat_map(|(_, routes)| *routes).find(|known| **known == route).unwrap();
        let held = self.parts[number].held.as_mut().expect("a message of a partition that is gone");
        let (slot, fenced) = (held.slot, held.fenced);
        assert_eq!(self.core.message(token).is_none(), fenced, "whether it is withheld");
        held.withheld += usize::from(fenced);
        let run = self.run(slot, offset, route).unwrap();
        let free = run.is_free();
        match (channel, &mut run.stage) {
            (Channel::Outputs, Stage::Publishing { .. }) | (Channel::DeadLetters, Stage::DeadLettering) => {}
            (Channel::DeadLetters, stage @ Stage::Failed) if !free => {
                *stage = Stage::DeadLettering;
                run.failures += 1;
            }
            (channel, stage) => panic!("{channel:?} of a run that is {stage:?}"),
        }
        assert!(self.sent.iter().all(|sent| sent.token != token), "it is on its way already");
        if !fenced {
            self.sent.push(Sent { token, channel, slot, offset, route });
        }
    }

    fn observes(&mut self, observation: &Observation) {
        let Observation { route, partition, offset, what, .. } = observation;
        if let What::Circuit { handler, change, .. } = what {
            let handler = self.plan.handlers.iter().position(|planned| planned.name == *handler).unwrap();
            self.happened.opened += usize::from(matches!(change, Change::Opened { .. }));
            self.happened.closed += usize::from(*change == Change::Closed);
            self.circuits[handler] = match change {
                Change::Opened { length, .. } => Circuit::Open(self.now.instant + *length),
                Change::HalfOpened => Circuit::HalfOpen,
                Change::Closed => Circuit::Closed,
            };
            return;
        }
        let part = &mut self.parts[*partition as usize];
        let held = part.held.as_mut().expect("an observation of a partition that is gone");
        let record = held.records.get_mut(offset).unwrap();
        let route = route.as_deref().unwrap_or_default();
        let may_drop = route == "second" || record.logged.kind == 5;
        let run = record.run(route).unwrap();
        let free = run.is_free();
        run.stage = match (what, run.stage) {
            (What::Handled { .. }, Stage::Done) | (What::DeadLettered { .. }, Stage::DeadLettered) => Stage::Settled,
            (What::Dropped { .. }, Stage::Failed) if may_drop && !free => Stage::Settled,
            (What::Retry { .. }, Stage::Failed) if !free => {
                self.happened.counted += usize::from(run.probe && run.probed && run.class != FailureClass::Output);
                run.failures += 1;
                Stage::Waiting
            }
            (What::Probed { .. }, Stage::Failed) if free => {
                self.happened.free += 1;
                run.probed = true;
                Stage::Waiting
            }
            (what, stage) => panic!("{partition}/{offset} {route}: {what:?} of a run that is {stage:?}"),
        };
        if record.is_settled() {
            held.open.remove(offset);
            part.settled.insert(*offset);
        }
    }

    /// What holds at every step.
    fn check(&mut self) {
        for held in self.parts.iter().filter_map(|part| part.held.as_ref()) {
            assert!(held.account.position() <= held.committable(), "the position passes a record that is not settled");
            assert_eq!(held.account.unsettled(), held.open.len());
            assert_eq!(held.draining && self.under_way(held.slot) == 0, held.drained, "whether it is drained");
        }
        for (handler, planned) in self.plan.handlers.iter().enumerate() {
            let running = self.calls.iter().filter(|c| c.handler == handler && self.holds(c.run.slot)).count();
            assert!(running <= planned.concurrency, "{running} calls of handler {handler}");
        }
    }

    /// From here on everything works, and in the end every record is settled.
    fn finish(mut self) -> Happened {
        self.down = [false; 2];
        for number in 0..self.parts.len() {
            // The others go on with what is parked, in flight and under way.
            if self.rng.bool() || self.parts[number].held.as_ref().is_some_and(|held| held.draining || held.fenced) {
                self.release(number);
            }
            self.assign(number);
        }
        for _ in 0..1000 {
            (0..self.parts.len()).for_each(|number| self.deliver(number));
            while !self.calls.is_empty() || !self.sent.is_empty() {
                self.end_a_call(true);
                self.answer_a_message(true);
                self.pump(true);
                self.check();
            }
            self.pass(PUBLISH_RETRY_MAX);
            self.pump(true);
            let idle = |p: &Part| p.held.as_ref().is_some_and(|held| held.next == p.log.len() && held.open.is_empty());
            if self.parts.iter().all(idle) {
                break;
            }
        }
        assert_empty(&self.core);
        assert!(self.core.partitions.iter().flatten().all(|partition| partition.known.is_none()));
        for part in &self.parts {
            let held = part.held.as_ref().unwrap();
            assert_eq!((held.account.unsettled(), held.account.unsettled_bytes()), (0, 0));
            assert_eq!(held.account.position(), held.committable());
            assert!(part.log.iter().all(|logged| part.settled.contains(&logged.offset)), "every record is settled");
        }
        self.happened
    }

    /// Calls and messages of an assignment that have no answer.
    fn under_way(&self, slot: Slot) -> usize {
        let calls = self.calls.iter().filter(|call| call.run.slot == slot).count();
        let withheld = self.parts.iter().filter_map(|part| part.held.as_ref()).find(|held| held.slot == slot);
        calls + self.sent.iter().filter(|sent| sent.slot == slot).count() + withheld.map_or(0, |held| held.withheld)
    }

    fn is_going(&mut self, slot: Slot) -> bool {
        self.held(slot).is_some_and(|held| held.draining || held.fenced)
    }

    fn held(&mut self, slot: Slot) -> Option<&mut Held> {
        self.parts.iter_mut().filter_map(|part| part.held.as_mut()).find(|held| held.slot == slot)
    }

    fn holds(&self, slot: Slot) -> bool {
        self.parts.iter().filter_map(|part| part.held.as_ref()).any(|held| held.slot == slot)
    }

    fn run(&mut self, slot: Slot, offset: i64, route: &str) -> Option<&mut Run> {
        self.held(slot)?.records.get_mut(&offset)?.run(route)
    }
}

impl AddAssign for Happened {
    fn add_assign(&mut self, other: Happened) {
        self.opened += other.opened;
        self.closed += other.closed;
        self.free += other.free;
        self.counted += other.counted;
    }
}

/// One seed from beginning to end. Panics where something does not hold.
fn simulate(seed: u64) -> Happened {
    let mut world = World::new(seed);
    (0..3).for_each(|number| world.assign(number));
    (0..STEPS).for_each(|_| world.step());
    world.finish()
}

/// The seeds that have not begun. Where one panics, it is printed and no other begins.
struct Seeds {
    next: AtomicU64,
    end: u64,
}

impl Seeds {
    fn run(&self) -> Happened {
        struct Running<'a>(&'a Seeds, u64);
        impl Drop for Running<'_> {
            fn drop(&mut self) {
                if std::thread::panicking() {
                    eprintln!("failed with OUTRIGGER_SEED={}", self.1);
                    self.0.next.store(self.0.end, Relaxed);
                }
            }
        }
        let mut all = Happened::default();
        loop {
            let seed = self.next.fetch_add(1, Relaxed);
            if seed >= self.end {
                return all;
            }
            let _running = Running(self, seed);
            all += simulate(seed);
        }
    }
}

/// All seeds, on all cores.
fn simulate_all(seeds: Range<u64>) -> Happened {
    let seeds = Seeds { next: AtomicU64::new(seeds.start), end: seeds.end };
    let mut all = Happened::default();
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(|| seeds.run())).collect();
        threads.into_iter().for_each(|thread| all += thread.join().expect("a seed failed"));
    });
    all
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|value| value.parse().expect(variable))
}

#[test]
fn no_record_is_skipped_doubled_or_out_of_order_whatever_happens() {
    if let Some(seed) = number("OUTRIGGER_SEED") {
        simulate_all(seed..seed + 1);
        return;
    }
    let count = number("OUTRIGGER_SEEDS").unwrap_or(SEEDS);
    let began = Instant::now();
    let all = simulate_all(0..count);
    println!("{count} seeds in {:.1?}: {all:?}", began.elapsed());
    let often = [all.opened, all.closed, all.free, 100 * all.counted].into_iter().min();
    assert!(often >= Some(count as usize / 5), "{all:?}");
}
