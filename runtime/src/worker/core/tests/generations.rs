//! New generations: what goes on as it was, what takes the new one, what ends.

use super::rig::{Rig, failed, handled, plan, plan_with_circuits, reloaded};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl Rig {
    /// Goes over to a variant of the manifest; see [`reloaded`].
    fn reload(&mut self, variant: u64, new: [bool; 2]) {
        let circuits = self.core.generation().plan.handlers[0].circuit.is_some();
        let next = reloaded(&self.core.generation().plan, variant, circuits, new);
        self.core.switch(next);
        self.pump();
    }

    fn header(&self, name: &str) -> String {
        String::from_utf8(self.message().0.headers.last(name).unwrap().to_vec()).unwrap()
    }
}

#[test]
fn an_attempt_is_settled_by_the_generation_that_it_began_on() {
    let mut rig = Rig::new();
    rig.deliver(1, "a", "k");
    // Now every failure is dead-lettered at once; the attempt knows retries.
    rig.reload(4, [true, true]);
    rig.end(1, failed(FailureClass::Failed));
    assert_eq!(rig.take_seen(), ["1 retry failed #1 1s"]);
    rig.advance(SECOND);
    rig.end(1, failed(FailureClass::Failed));
    assert_eq!((&*rig.message().0.topic, &*rig.header("outrigger-generation")), ("new", "2"));
    rig.ack(Ack::Written);
    assert_eq!(rig.take_seen(), ["1 dead letter failed #2 new"]);
    rig.assert_empty();
}

#[test]
fn a_record_whose_route_is_gone_ends_as_unmatched_says() {
    let mut rig = Rig::new();
    rig.deliver(1, "a", "k");
    rig.deliver(2, "a", "k");
    rig.end(1, failed(FailureClass::Failed));
    rig.reload(1, [false, false]);
    assert!(rig.sent.is_empty(), "it waits for its retry, and the other one for it");
    rig.advance(SECOND);
    let said = ["failure-class", "route", "attempts"].map(|name| rig.header(&format!("outrigger-{name}")));
    assert_eq!(said, ["unrouted", "keyed", "1"]);
    assert!(rig.header("outrigger-reason").contains("the route `keyed` was removed while the record waited"));
    rig.ack(Ack::Written);
    rig.ack(Ack::Written);
    assert_eq!(rig.position(), (3, 0));
    rig.assert_empty();
}

#[test]
fn a_route_that_is_back_in_time_is_taken_up_again() {
    let mut rig = Rig::new();
    rig.deliver(1, "a", "k");
    rig.end(1, failed(FailureClass::Failed));
    rig.reload(1, [false, false]);
    rig.reload(0, [false, false]);
    rig.advance(SECOND);
    assert_eq!((rig.running(), rig.calls[0].attempt), (vec![1], 2));
    rig.end(1, handled(0));
    rig.assert_empty();
}

#[test]
fn what_waits_goes_to_the_handler_that_its_route_has_now() {
    let mut rig = Rig::new();
    for offset in 1..=5 {
        rig.deliver(offset, &offset.to_string(), "k");
    }
    assert_eq!(rig.running(), [1, 2, 3], "three calls at a time");
    rig.reload(3, [false, false]);
    assert_eq!(rig.running(), [1, 2, 3, 4, 5], "the other handler has room");
    let plan = rig.core.generation().plan.clone();
    assert_eq!(&*plan.handlers[rig.calls[4].handler].name, "g");
}

#[test]
fn nothing_of_a_generation_is_left_after_its_last_attempt() {
    let mut rig = Rig::with(plan(), true);
    rig.deliver(1, "a", "k");
    rig.deliver(2, "a", "k");
    let old = Rc::downgrade(rig.core.generation());
    rig.reload(0, [true, true]);
    assert!(old.upgrade().is_some());
    rig.end(1, handled(0));
    assert!(old.upgrade().is_none(), "the record that waited is on the new one");
    assert_eq!(rig.core.desks.len(), 2);
    rig.end(2, handled(0));
    rig.assert_empty();
}

#[test]
fn the_desks_that_a_switch_makes_are_named() {
    let mut rig = Rig::new();
    let before = rig.core.generation().desks.clone();
    let next = |rig: &Rig, new| reloaded(&rig.core.generation().plan, 0, false, new);
    let same = next(&rig, [false, false]);
    assert_eq!(rig.core.switch(same), [0; 0]);
    let one = next(&rig, [true, false]);
    let new = rig.core.switch(one);
    let after = rig.core.generation().desks.clone();
    // The one handler keeps its desk, the other one has a new one.
    assert_eq!(new.len(), 1, "{before:?} {after:?}");
    assert!(after.contains(&new[0]) && !before.contains(&new[0]), "{new:?} {before:?} {after:?}");
}

#[test]
fn a_circuit_stays_with_a_handler_that_stays_and_goes_with_one_that_is_replaced() {
    for (new, held) in [([false, false], true), ([true, false], false)] {
        let mut rig = Rig::with(plan_with_circuits(), true);
        for offset in 1..=4 {
            rig.deliver(offset, "", "k");
            rig.end(offset, failed(FailureClass::Trap));
        }
        rig.deliver(5, "", "k");
        assert!(rig.running().is_empty(), "the circuit is open");
        rig.reload(0, new);
        assert_eq!(rig.running().is_empty(), held);
    }
}
