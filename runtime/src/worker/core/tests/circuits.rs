//! A handler that fails: its calls are held, and nothing else is.

use super::rig::plan_with_circuits;
use super::*;

const OPENED: &str = "h open 2s: 4 attempts in a row failed";

fn rig() -> Rig {
    Rig::with(plan_with_circuits(), true)
}

/// A rig whose handler `h` failed on the records 0 to 3, each with a key of its own:
/// the circuit is open, and they wait for their retries in one second.
fn open() -> Rig {
    let mut rig = rig();
    for offset in 0..4 {
        rig.deliver(offset, &format!("key-{offset}"), "k");
    }
    for offset in 0..4 {
        rig.end(offset, failed(FailureClass::Dependency));
    }
    let seen = rig.take_seen();
    assert_eq!(seen[..2], ["0 retry dependency #1 1s", "1 retry dependency #1 1s"]);
    assert_eq!(seen[3..], [OPENED, "3 retry dependency #1 1s"], "what opens it keeps its policy");
    rig
}

#[test]
fn no_attempt_is_used_up_while_the_circuit_is_open() {
    let mut rig = open();
    rig.deliver(4, "key-4", "k");
    assert_eq!(rig.core.next_due(), Some(rig.now.instant + SECOND), "the retries");
    rig.advance(SECOND);
    assert_eq!(rig.running(), [0; 0], "retries that are due wait at the desk");
    assert_eq!((rig.core.parked(), rig.core.next_due()), (0, Some(rig.now.instant + SECOND)), "the probe");
    rig.advance(SECOND);
    assert_eq!((rig.running(), rig.calls[0].probe), (vec![4], true), "what has waited longest probes, alone");
    assert_eq!((rig.take_seen(), rig.core.next_due()), (vec!["h half-open".to_owned()], None));
    let mut wait = 4;
    for probe in [4, 0, 1, 2, 3, 4, 0] {
        assert_eq!(rig.running(), [probe], "the probe goes round");
        rig.end(probe, failed(FailureClass::Dependency));
        let attempt = if probe == 4 { 1 } else { 2 };
        let opened = format!("h open {wait}s: the trial call failed");
        assert_eq!(rig.take_seen(), [opened, format!("{probe} probed dependency #{attempt} {wait}s")]);
        rig.advance(wait * SECOND - Duration::from_nanos(1));
        assert_eq!(rig.running(), [0; 0]);
        rig.advance(Duration::from_nanos(1));
        assert_eq!(rig.take_seen(), ["h half-open"]);
        wait = 8;
    }
    assert_eq!(rig.running(), [1]);
    rig.end(1, handled(0));
    assert_eq!(rig.take_seen()[..2], ["h closed", "1 handled 0"]);
    assert_eq!(rig.running(), [2, 3, 4], "as many as it may call");
    assert_eq!(rig.calls.iter().map(|call| call.attempt).collect::<Vec<_>>(), [2, 2, 1]);
}

#[test]
fn other_handlers_go_on_and_records_are_still_read() {
    let mut rig = open();
    for offset in 4..500 {
        rig.core.deliver(rig.slot, record(offset, None, Some("k"))).unwrap();
    }
    assert!(rig.core.is_short_of_calls(), "what is held is nothing to call");
    rig.deliver(500, "key-0", "n");
    assert_eq!(rig.running(), [500]);
    rig.deliver(501, "x", "f");
    assert_eq!(rig.running(), [500, 501], "one of its two routes");
    rig.end(501, handled(0));
    assert_eq!(rig.take_seen(), ["501 handled 0"]);
}

#[test]
fn a_record_that_fails_by_itself_does_not_hold_the_circuit_open() {
    let mut rig = open();
    rig.advance(2 * SECOND);
    rig.end(0, failed(FailureClass::Trap));
    assert_eq!(rig.take_seen(), ["h half-open", "0 retry trap #2 1s"], "it has its retries as usual");
    assert_eq!((rig.running(), rig.calls[0].probe), (vec![1], true), "and another one probes at once");
    rig.end(1, handled(0));
    assert_eq!(rig.take_seen(), ["h closed", "1 handled 0"]);
    assert_eq!(rig.running(), [2, 3]);
}

#[test]
fn records_that_fail_again_and_again_open_nothing() {
    let mut rig = rig();
    for offset in 0..3 {
        rig.deliver(offset, "", "k");
    }
    for _ in 0..3 {
        assert_eq!(rig.running(), [0, 1, 2]);
        (0..3).for_each(|offset| rig.end(offset, failed(FailureClass::Failed)));
        rig.advance(SECOND);
    }
    let opened = rig.take_seen().into_iter().find(|seen| seen.contains("open"));
    assert_eq!(opened, None, "nine failures in a row, of three records");
    rig.deliver(3, "", "k");
    rig.end(3, failed(FailureClass::Failed));
    assert_eq!(rig.take_seen()[0], OPENED, "the fourth record's first one");
}

#[test]
fn a_record_that_alone_is_left_and_traps_comes_to_its_end() {
    let mut rig = open();
    rig.core.release(rig.slot);
    rig.assign_again(0);
    rig.deliver(0, "a", "k");
    rig.advance(2 * SECOND);
    for (seen, wait) in [("0 probed trap #1 4s", 4), ("0 retry trap #1 1s", 1), ("0 retry trap #2 1s", 1), ("", 0)] {
        assert_eq!(rig.running(), [0]);
        rig.take_seen();
        rig.end(0, failed(FailureClass::Trap));
        assert_eq!(rig.take_seen().last().map_or("", |seen| seen), seen);
        rig.advance(wait * SECOND);
    }
    rig.ack(Ack::Written);
    assert_eq!(rig.take_seen(), ["0 dead letter trap #3 t.dlq"]);
}

#[test]
fn an_event_that_is_rejected_shows_that_the_handler_works() {
    let mut rig = open();
    rig.advance(2 * SECOND);
    rig.end(0, failed(FailureClass::Rejected));
    assert_eq!(rig.take_seen()[..2], ["h half-open", "h closed"]);
    assert_eq!(rig.running(), [1, 2, 3]);
}

#[test]
fn rejected_events_do_not_open_it() {
    let mut rig = rig();
    for offset in 0..30 {
        rig.deliver(offset, "", "k");
        rig.end(offset, failed(FailureClass::Rejected));
        assert_eq!(rig.seen, [""; 0]);
    }
}

#[test]
fn a_probe_whose_partition_is_taken_away_gives_its_turn_to_another() {
    let mut rig = open();
    let (other, account) = (Slot { index: 1, epoch: 9 }, Account::new("t".into(), 1, 0, rig::BUFFER));
    rig.core.assign(other, account);
    rig.core.deliver(other, record(70, None, Some("k"))).unwrap();
    rig.advance(2 * SECOND);
    let probe = rig.calls.pop().unwrap();
    let slot = if probe.run.slot == other { other } else { rig.slot };
    rig.core.release(slot);
    rig.pump();
    assert_eq!((rig.calls.len(), rig.calls[0].probe), (1, true));
    rig.core.called(probe.run, handled(0), SECOND);
    rig.pump();
    assert_eq!(rig.calls.len(), 1, "its answer is void");
}

#[test]
fn a_probe_that_could_not_begin_gives_its_turn_to_another() {
    let mut rig = open();
    rig.advance(2 * SECOND);
    rig.end(0, Outcome::Busy);
    assert_eq!((rig.running(), rig.calls[0].probe), (vec![1], true));
    assert_eq!(rig.take_seen(), ["h half-open"], "it was half-open already");
}

#[test]
fn a_probe_that_waits_for_room_wakes_nobody() {
    let mut rig = open();
    rig.now.instant += 2 * SECOND;
    rig.core.advance(rig.now);
    assert!(rig.core.next(false).is_none());
    assert_eq!(rig.core.next_due(), None, "a time that has passed would keep the worker awake");
}
