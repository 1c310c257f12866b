//! Handlers that take all they can get, and those beside them.

use super::*;

/// The handlers' places: they stand in the order of their names.
const G: usize = 0;
const H: usize = 1;

#[test]
fn a_handler_that_rests_begins_no_call_before_the_next_round_and_the_others_do() {
    let mut rig = Rig::new();
    rig.core.begin_round();
    rig.core.rest(H);
    rig.deliver(0, "a", "k");
    rig.deliver(1, "", "n");
    assert_eq!(rig.running(), [1]);
    rig.core.begin_round();
    rig.pump();
    assert_eq!(rig.running(), [1, 0]);
}

#[test]
fn what_waits_for_a_handler_that_rests_in_each_round_does_not_keep_others_out() {
    let mut rig = Rig::new();
    rig.core.rest(G);
    (0..100).for_each(|offset| rig.deliver(offset, "", "n"));
    assert!(rig.core.is_short_of_calls(), "none of them can be called now");
    rig.core.begin_round();
    assert!(rig.core.is_short_of_calls(), "nor does one who rested count before it has shown otherwise");
    rig.core.begin_round();
    assert!(!rig.core.is_short_of_calls());
}

#[test]
fn quick_calls_that_use_up_a_round_keep_more_records_from_being_decoded() {
    let mut rig = Rig::new();
    (0..200).for_each(|offset| rig.deliver(offset, "", "n"));
    rig.core.begin_round();
    (0..90).for_each(|offset| rig.end(offset, handled(0)));
    // The share is used up; of 200, 92 have begun, and none is under way.
    rig.core.rest(G);
    (90..92).for_each(|offset| rig.end(offset, handled(0)));
    assert!(!rig.core.is_short_of_calls(), "what waits is called within the next rounds");
    rig.core.begin_round();
    rig.core.rest(G);
    assert!(!rig.core.is_short_of_calls());
    rig.core.begin_round();
    rig.core.rest(G);
    assert!(rig.core.is_short_of_calls(), "no call began in two rounds");
}

#[test]
fn a_handler_whose_outputs_pile_up_waits_alone() {
    let mut rig = Rig::new();
    let large = Output { ty: "done".into(), data: Some(vec![0; MESSAGE_BYTES / HANDLERS_PART]), ..Output::default() };
    rig.deliver(0, "a", "k");
    rig.end(0, Outcome::Handled(vec![large]));
    rig.deliver(1, "b", "k");
    rig.deliver(2, "", "n");
    assert_eq!(rig.running(), [2], "the other handler's call begins");
    assert!(rig.core.is_short_of_calls());
    rig.ack(Ack::Written);
    assert_eq!(rig.running(), [2, 1]);
    rig.end(2, handled(0));
    rig.end(1, handled(0));
    rig.assert_empty();
}

#[test]
fn many_small_outputs_pile_up_too_and_are_forgotten_with_their_partition() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    rig.end(0, handled((MESSAGE_BYTES / HANDLERS_PART) / MESSAGE_WEIGHT));
    rig.deliver(1, "b", "k");
    assert!(rig.running().is_empty());
    rig.core.release(rig.slot);
    assert_empty(&rig.core);
    rig.assign_again(0);
    rig.deliver(0, "a", "k");
    assert_eq!(rig.running(), [0]);
}

#[test]
fn handlers_whose_messages_pile_up_leave_room_for_the_one_beside_them() {
    for handlers in 1..100 {
        let part = Desk::part(MESSAGE_BYTES, handlers);
        assert!(part * handlers < MESSAGE_BYTES && part <= MESSAGE_BYTES / HANDLERS_PART, "{handlers} of {part}");
    }
}

#[test]
fn dead_letters_that_no_handler_made_hold_no_call_up() {
    let mut rig = Rig::new();
    let value = vec![0; 1 << 20];
    for offset in 0..100 {
        let headers = [("ce_specversion", "1.0"), ("ce_id", "i"), ("ce_source", "/s"), ("ce_type", "u")];
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), Some(value.as_bytes())));
        rig.deliver_record(Record::new(offset, None, None, Some(&value), headers));
    }
    assert_eq!(rig.sent.len(), 100, "more than a producer's queue takes");
    rig.deliver(100, "", "n");
    assert_eq!(rig.running(), [100]);
    rig.end(100, handled(0));
    (0..100).for_each(|_| rig.ack(Ack::Written));
    rig.assert_empty();
}

#[test]
fn dropped_records_end_one_after_the_other_however_many_stand_behind_one() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    // Within one another they would need more than a thread's stack.
    (1..=100_000).for_each(|offset| rig.deliver_record(record(offset, Some("a"), None)));
    rig.end(0, handled(0));
    assert_eq!(rig.position(), (100_001, 0));
    rig.take_seen();
    rig.assert_empty();
}

#[test]
fn what_is_to_be_said_of_dropped_records_comes_before_more_of_them() {
    let mut rig = Rig::new();
    let mut delivered = 0;
    while rig.core.is_short_of_calls() {
        let record = record(delivered, None, None);
        rig.account.add(1, record.size());
        rig.core.deliver(rig.slot, record).unwrap();
        delivered += 1;
        assert!(delivered < 1_000, "nothing holds them up");
    }
    rig.pump();
    assert!(rig.core.is_short_of_calls());
    assert_eq!(rig.take_seen().len() as i64, delivered);
}

#[test]
fn a_handler_whose_calls_end_together_holds_no_other_back() {
    let mut rig = Rig::new();
    let large = || Output { ty: "done".into(), data: Some(vec![0; MESSAGE_BYTES / 2]), ..Output::default() };
    for (offset, key) in [(0, "a"), (1, "b"), (2, "c")] {
        rig.deliver(offset, key, "k");
    }
    (0..3).for_each(|offset| rig.end(offset, Outcome::Handled(vec![large()])));
    rig.deliver(3, "d", "k");
    rig.deliver(4, "", "n");
    assert_eq!(rig.running(), [4], "one and a half times what all may have");
    (0..3).for_each(|_| rig.ack(Ack::Written));
    assert_eq!(rig.running(), [4, 3]);
}
