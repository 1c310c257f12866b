//! The core, path by path, and all paths together in a [`simulation`].

mod circuits;
mod generations;
mod map;
mod partitions;
mod publishing;
pub(in crate::worker) mod rig;
mod simulation;
mod turns;

use super::desk::Desk;
use super::messages::{HANDLERS_PART, MESSAGE_BYTES, MESSAGE_WEIGHT, PUBLISH_RETRY, PUBLISH_RETRY_MAX};
use super::*;
use crate::observe::{Observation, What};
use crate::outcome::Output;
use crate::settle::Message;
use crate::worker::account::Account;
use crate::worker::effect::{Ack, Channel};
use rig::{Rig, assert_empty, failed, handled, record};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_record_without_outputs_is_settled_by_its_answer() {
    let mut rig = Rig::new();
    rig.deliver(7, "a", "k");
    assert_eq!((rig.running(), rig.position()), (vec![7], (0, 1)));
    rig.end(7, handled(0));
    assert_eq!((rig.take_seen(), rig.position()), (vec!["7 handled 0".to_owned()], (8, 0)));
    rig.assert_empty();
}

#[test]
fn a_success_that_nobody_watches_is_only_counted() {
    let mut rig = Rig::observing(false);
    rig.deliver(0, "a", "k");
    rig.deliver(1, "a", "k");
    rig.end(0, handled(0));
    rig.end(1, failed(FailureClass::Failed));
    assert_eq!(rig.seen, ["route 0 handled 0", "1 retry failed #1 1s"], "failures always are observed");
}

#[test]
fn the_position_follows_the_lowest_record_that_is_not_settled() {
    let mut rig = Rig::new();
    for (offset, key) in [(3, "a"), (10, "b"), (11, "c")] {
        rig.deliver(offset, key, "k");
    }
    rig.end(10, handled(0));
    assert_eq!(rig.position(), (3, 2));
    rig.end(3, handled(0));
    assert_eq!(rig.position(), (11, 1));
    rig.end(11, handled(0));
    assert_eq!(rig.position(), (12, 0));
}

#[test]
fn a_record_that_two_routes_take_is_settled_by_the_later_one() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "f");
    rig.deliver(1, "a", "k");
    assert_eq!(rig.running(), [0, 0], "both routes, and the next record of the key waits for both");
    rig.end(0, failed(FailureClass::Rejected));
    assert_eq!((rig.running(), rig.position()), (vec![0], (0, 2)));
    rig.end(0, handled(0));
    assert_eq!(rig.take_seen(), ["0 dropped rejected #1", "0 handled 0"]);
    assert_eq!((rig.running(), rig.position()), (vec![1], (1, 1)));
}

#[test]
fn what_is_no_event_and_what_no_route_takes_follow_their_policies() {
    let mut rig = Rig::new();
    rig.deliver_record(record(0, Some("a"), None));
    assert_eq!((rig.take_seen(), rig.position()), (vec!["0 dropped undecodable #0".to_owned()], (1, 0)));
    rig.deliver(1, "a", "u");
    let (message, channel) = rig.message();
    assert_eq!(
        (&*message.topic, channel, message.value.as_deref()),
        ("t.dlq", Channel::DeadLetters, Some(&b"value"[..]))
    );
    assert_eq!(message.headers.last("outrigger-failure-class"), Some(&b"unrouted"[..]));
    assert_eq!(rig.position(), (1, 1), "not settled before its dead letter is written");
    rig.ack(Ack::Written);
    assert_eq!((rig.take_seen(), rig.position()), (vec!["1 dead letter unrouted #0 t.dlq".to_owned()], (2, 0)));
    rig.assert_empty();
}

#[test]
fn a_retry_keeps_the_lane_of_its_key_and_no_other() {
    let mut rig = Rig::new();
    for (offset, key) in [(0, "a"), (1, "a"), (2, "b")] {
        rig.deliver(offset, key, "k");
    }
    rig.end(0, failed(FailureClass::Failed));
    assert_eq!((rig.running(), rig.core.parked()), (vec![2], 1));
    rig.end(2, handled(0));
    rig.advance(SECOND - Duration::from_nanos(1));
    assert_eq!(rig.running(), [0; 0]);
    assert_eq!(rig.core.next_due(), Some(rig.now.instant + Duration::from_nanos(1)));
    rig.advance(Duration::from_nanos(1));
    assert_eq!((rig.running(), rig.calls[0].attempt), (vec![0], 2));
    rig.end(0, handled(0));
    assert_eq!((rig.running(), rig.position()), (vec![1], (1, 1)));
}

#[test]
fn a_record_without_a_key_waits_for_no_other() {
    let mut rig = Rig::new();
    rig.deliver(0, "", "k");
    rig.deliver(1, "", "k");
    assert_eq!(rig.running(), [0, 1]);
}

#[test]
fn under_partition_order_one_record_runs_at_a_time() {
    let mut rig = Rig::new();
    for (offset, key, ty) in [(0, "a", "p"), (1, "b", "p"), (2, "b", "k"), (3, "a", "n")] {
        rig.deliver(offset, key, ty);
    }
    assert_eq!(rig.running(), [0, 3], "1 waits for the partition, 2 for its key");
    rig.end(0, handled(0));
    assert_eq!(rig.running(), [3, 1]);
    rig.end(1, handled(0));
    assert_eq!(rig.running(), [3, 2]);
}

#[test]
fn a_record_whose_retries_are_used_up_is_dead_lettered() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    for attempt in 1..=2 {
        rig.end(0, failed(FailureClass::Failed));
        assert_eq!(rig.take_seen(), [format!("0 retry failed #{attempt} 1s")]);
        rig.advance(SECOND);
    }
    rig.end(0, failed(FailureClass::Timeout));
    let (message, channel) = rig.message();
    assert_eq!((&*message.topic, channel), ("t.dlq", Channel::DeadLetters));
    for (header, value) in
        [("outrigger-attempts", "3"), ("outrigger-route", "keyed"), ("outrigger-failure-class", "timeout")]
    {
        assert_eq!(message.headers.last(header), Some(value.as_bytes()));
    }
    assert_eq!(message.headers.last("outrigger-first-attempt"), Some(&b"2023-11-14T22:13:19.995Z"[..]));
    assert_eq!((rig.seen.len(), rig.position()), (0, (0, 1)), "not settled before it is written");
    rig.ack(Ack::Written);
    assert_eq!(rig.take_seen(), ["0 dead letter timeout #3 t.dlq"]);
    assert_eq!(rig.position(), (1, 0));
    rig.assert_empty();
}

#[test]
fn a_record_on_hold_is_tried_again_for_ever() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "n");
    rig.deliver(1, "a", "n");
    rig.end(1, handled(0));
    for attempt in 1..=20 {
        rig.end(0, failed(FailureClass::Failed));
        assert_eq!(rig.seen.pop().unwrap(), format!("0 retry failed #{attempt} {}s", if attempt <= 2 { 1 } else { 5 }));
        rig.advance(5 * SECOND);
    }
    assert_eq!((rig.running(), rig.position()), (vec![0], (0, 1)));
}

#[test]
fn a_call_that_the_host_could_not_begin_is_nobodys_failure() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    for _ in 0..10 {
        rig.end(0, Outcome::Busy);
        assert_eq!((rig.running(), rig.core.parked()), (vec![], 1));
        rig.advance(HOST_RETRY);
        assert_eq!(rig.calls[0].attempt, 1);
    }
    rig.end(0, handled(0));
    assert_eq!(rig.take_seen(), ["0 handled 0"]);
    rig.assert_empty();
}

#[test]
fn a_handlers_calls_stay_within_its_concurrency() {
    let mut rig = Rig::new();
    for offset in 0..10 {
        rig.deliver(offset, "", "k");
    }
    assert_eq!(rig.running(), [0, 1, 2]);
    rig.end(1, failed(FailureClass::Failed));
    assert_eq!(rig.running(), [0, 2, 3]);
    rig.end(0, handled(1));
    assert_eq!(rig.running(), [2, 3, 4], "a call that waits for its outputs runs no more");
}

#[test]
fn handlers_take_turns() {
    let mut rig = Rig::new();
    // The turns are seen where nothing is taken in between.
    for offset in 0..6 {
        let record = record(offset, None, Some(if offset < 3 { "k" } else { "n" }));
        rig.account.add(1, record.size());
        rig.core.deliver(rig.slot, record).unwrap();
    }
    rig.pump();
    let mut handlers: Vec<usize> = rig.calls.iter().map(|call| call.handler).collect();
    handlers.truncate(4);
    handlers.dedup();
    assert_eq!(handlers.len(), 4, "{handlers:?} begin in turns");
}

#[test]
fn no_call_begins_while_the_shell_takes_none() {
    let mut rig = Rig::new();
    rig.deliver(0, "", "k");
    rig.end(0, handled(1));
    rig.core.deliver(rig.slot, record(1, None, Some("k"))).unwrap();
    rig.core.acknowledged(rig.sent[0].0, Ack::Written);
    assert!(matches!(rig.core.next(false), Some(Effect::Observe(..))), "what must go on does");
    assert!(rig.core.next(false).is_none());
    assert!(matches!(rig.core.next(true), Some(Effect::Call(_))));
}

#[test]
fn more_records_are_wanted_while_few_calls_wait_for_nothing_but_their_turn() {
    let mut rig = Rig::new();
    let mut next = 0..;
    let mut deliver = |rig: &mut Rig, count: usize, key: Option<&str>, ty: &str| {
        for offset in next.by_ref().take(count) {
            let record = record(offset, key, Some(ty));
            rig.account.add(1, record.size());
            rig.core.deliver(rig.slot, record).unwrap();
        }
    };
    deliver(&mut rig, 100, Some("a"), "k");
    assert!(rig.core.is_short_of_calls(), "all but one wait for their key");
    deliver(&mut rig, CALLS_AHEAD - 1, None, "k");
    assert!(!rig.core.is_short_of_calls());
    rig.pump();
    assert_eq!(rig.running().len(), 3);
    assert!(
        rig.core.is_short_of_calls(),
        "the handler has all its calls under way; the other one must not wait for it"
    );
    deliver(&mut rig, CALLS_AHEAD, None, "n");
    assert!(!rig.core.is_short_of_calls());
}
