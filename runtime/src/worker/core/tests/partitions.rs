//! Partitions come and go.

use super::*;

#[test]
fn draining_waits_for_what_runs_and_begins_nothing() {
    let mut rig = Rig::new();
    for (offset, key) in [(0, "a"), (1, "a"), (2, "b"), (3, "c"), (4, "d")] {
        rig.deliver(offset, key, "k");
    }
    assert_eq!(rig.running(), [0, 2, 3]);
    rig.end(3, failed(FailureClass::Failed));
    assert_eq!(rig.running(), [0, 2, 4]);
    rig.core.drain(rig.slot);
    rig.end(4, failed(FailureClass::Rejected));
    rig.end(0, handled(1));
    rig.end(2, failed(FailureClass::Failed));
    rig.advance(5 * SECOND);
    assert_eq!((rig.running().len(), rig.sent.len(), rig.drained.len()), (0, 2, 0), "1 waits, 2 and 3 are parked");
    rig.ack(Ack::Written);
    rig.ack(Ack::Written);
    assert_eq!((rig.drained.first(), rig.running().len()), (Some(&rig.slot), 0));
    assert_eq!(rig.core.release(rig.slot), Some((1, 4)));
    rig.assert_empty_but_account();
}

#[test]
fn what_only_waits_does_not_hold_a_drain_up() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    rig.deliver(1, "b", "k");
    rig.end(0, handled(1));
    rig.end(1, failed(FailureClass::Rejected));
    rig.ack(Ack::Unknown("timed out".into()));
    rig.core.drain(rig.slot);
    rig.pump();
    assert!(rig.drained.is_empty(), "the dead letter has no answer yet");
    rig.ack(Ack::Refused("no".into()));
    assert_eq!(rig.drained, [rig.slot]);
    assert_eq!(rig.core.release(rig.slot), Some((0, 2)));
    rig.assert_empty_but_account();
}

#[test]
fn a_drain_ends_with_the_last_answer_although_another_route_waits() {
    let mut rig = Rig::new();
    // Two records keep the second route's handler busy, so that its run on the third waits.
    for offset in 0..2 {
        rig.deliver(offset, "", "n");
    }
    rig.deliver(2, "", "f");
    rig.end(2, failed(FailureClass::Rejected));
    rig.core.drain(rig.slot);
    rig.end(0, handled(0));
    rig.end(1, handled(0));
    assert!(rig.drained.is_empty());
    rig.ack(Ack::Written);
    assert_eq!(rig.drained.first(), Some(&rig.slot));
}

#[test]
fn an_idle_partition_is_drained_at_once() {
    let mut rig = Rig::new();
    rig.core.drain(rig.slot);
    rig.pump();
    assert_eq!((&rig.drained[..], rig.core.release(rig.slot)), (&[rig.slot][..], Some((0, 0))));
    assert_eq!(rig.core.release(rig.slot), None);
}

#[test]
fn answers_for_a_partition_that_is_gone_are_void() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    rig.deliver(1, "b", "k");
    rig.deliver(2, "c", "k");
    rig.end(0, handled(1));
    rig.end(1, failed(FailureClass::Failed));
    let (call, (token, _)) = (rig.calls.pop().unwrap(), rig.sent.pop_front().unwrap());
    assert_eq!(rig.core.release(rig.slot), Some((0, 3)));
    assert!(rig.account.fence.load(std::sync::atomic::Ordering::Acquire), "guests see it");
    rig.assert_empty_but_account();

    // The slot is used again, and its entries and messages have the same numbers.
    rig.assign_again(0);
    rig.seen.clear();
    rig.deliver(0, "a", "k");
    rig.end(0, handled(1));
    assert_ne!(rig.sent[0].0, token);
    rig.core.called(call.run, handled(0), SECOND);
    rig.core.acknowledged(token, Ack::Written);
    rig.advance(10 * SECOND);
    assert_eq!((rig.seen.len(), rig.position(), rig.running().len()), (0, (0, 1), 0));
    rig.ack(Ack::Written);
    assert_eq!((rig.take_seen(), rig.position()), (vec!["0 handled 1".to_owned()], (1, 0)));
    rig.assert_empty();
}

#[test]
fn a_fenced_call_settles_nothing() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    rig.core.drain(rig.slot);
    rig.end(0, Outcome::Fenced);
    assert_eq!((&rig.drained[..], rig.seen.len(), rig.position()), (&[rig.slot][..], 0, (0, 1)));
}

#[test]
fn an_offset_that_does_not_ascend_is_refused() {
    let mut rig = Rig::new();
    rig.deliver(5, "a", "k");
    for offset in [5, 4] {
        let refused = rig.core.deliver(rig.slot, record(offset, None, Some("k"))).unwrap_err();
        assert_eq!(refused, NotAscending { offset, expected: 6 });
    }
    rig.pump();
    assert_eq!(rig.running(), [5]);
    assert!(rig.account.is_astray(), "the polling thread is told");
}

#[test]
fn other_partitions_go_on_while_one_is_taken_away() {
    let mut rig = Rig::new();
    let (other, account) = (Slot { index: 1, epoch: 9 }, Account::new("t".into(), 1, 0, rig::BUFFER));
    rig.core.assign(other, account.clone());
    for slot in [rig.slot, other] {
        for offset in 0..2 {
            rig.core.deliver(slot, record(offset, Some("a"), Some("k"))).unwrap();
        }
    }
    account.add(2, 1 << 10);
    rig.pump();
    assert_eq!(rig.running(), [0, 0], "a key has a lane in each partition");
    rig.core.release(rig.slot);
    rig.calls.remove(0);
    rig.end(0, handled(0));
    assert_eq!((rig.running(), account.position()), (vec![1], 1));
}

impl Rig {
    /// As [`Rig::assert_empty`], after a release with records that come again.
    fn assert_empty_but_account(&self) {
        rig::assert_empty(&self.core);
    }
}
