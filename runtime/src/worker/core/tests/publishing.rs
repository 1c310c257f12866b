//! What becomes of a record through the answers to its messages.

use super::*;

fn refused() -> Ack {
    Ack::Refused("no such topic".into())
}

fn unknown() -> Ack {
    Ack::Unknown("timed out".into())
}

#[test]
fn a_record_is_settled_when_all_its_outputs_are_written() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    rig.deliver(1, "a", "k");
    rig.end(0, handled(3));
    assert_eq!(rig.sent.len(), 3);
    for left in [2, 1] {
        rig.ack(Ack::Written);
        assert_eq!((rig.running().len(), rig.position(), rig.sent.len()), (0, (0, 2), left));
    }
    rig.ack(Ack::Written);
    assert_eq!((rig.take_seen(), rig.running(), rig.position()), (vec!["0 handled 3".to_owned()], vec![1], (1, 1)));
}

#[test]
fn nothing_is_published_of_an_answer_that_cannot_be_written() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    let Outcome::Handled(mut outputs) = handled(2) else { unreachable!() };
    outputs[1].topic = Some("forbidden".into());
    rig.end(0, Outcome::Handled(outputs));
    assert_eq!((rig.sent.len(), rig.seen.len(), rig.position()), (0, 1, (0, 1)));
    assert!(rig.seen[0].contains("output #1"), "{:?}", rig.seen);
}

#[test]
fn an_unknown_answer_publishes_again_without_another_call() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    rig.end(0, handled(2));
    let (message, _) = rig.message();
    rig.ack(unknown());
    rig.ack(Ack::Written);
    assert_eq!(rig.position(), (0, 1));
    assert!(rig.core.trouble(Channel::Outputs).unwrap().contains("timed out"));
    assert_eq!(rig.core.trouble(Channel::DeadLetters), None);
    let mut delay = PUBLISH_RETRY;
    for _ in 0..12 {
        rig.advance(delay - Duration::from_nanos(1));
        assert!(rig.sent.is_empty());
        rig.advance(Duration::from_nanos(1));
        assert_eq!((rig.sent.len(), rig.running().len()), (1, 0));
        assert_eq!(rig.message().0, message, "byte for byte");
        rig.ack(unknown());
        delay = (delay * 2).min(PUBLISH_RETRY_MAX);
    }
    rig.advance(PUBLISH_RETRY_MAX);
    rig.ack(Ack::Written);
    assert_eq!((rig.take_seen(), rig.position()), (vec!["0 handled 2".to_owned()], (1, 0)), "and no attempt failed");
    rig.assert_empty();
}

#[test]
fn a_refused_output_fails_the_attempt_once_every_answer_is_in() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    rig.end(0, handled(3));
    rig.ack(Ack::TooLarge("too large".into()));
    rig.ack(unknown());
    rig.ack(refused());
    assert_eq!((rig.seen.len(), rig.running().len()), (0, 0), "one answer is missing");
    rig.advance(PUBLISH_RETRY);
    rig.ack(Ack::Written);
    assert!(rig.take_seen()[0].contains("output #1"), "one failure for three answers");
    assert_eq!((rig.position(), rig.core.trouble(Channel::Outputs)), ((0, 1), None));
}

#[test]
fn a_dead_letter_is_never_given_up() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    rig.deliver(1, "a", "k");
    rig.end(0, failed(FailureClass::Rejected));
    for ack in [refused(), unknown(), Ack::TooLarge("too large".into()), refused()] {
        rig.ack(ack);
        let trouble = rig.core.trouble(Channel::DeadLetters).unwrap();
        assert!(trouble.starts_with("cannot write to t.dlq: "), "{trouble}");
        assert_eq!((rig.position(), rig.running().len(), rig.seen.len()), ((0, 2), 0, 0));
        rig.advance(PUBLISH_RETRY_MAX);
    }
    rig.ack(Ack::Written);
    assert_eq!(rig.core.trouble(Channel::DeadLetters), None);
    assert_eq!((rig.take_seen(), rig.running()), (vec!["0 dead letter rejected #1 t.dlq".to_owned()], vec![1]));
}

#[test]
fn a_dead_letter_too_large_loses_its_value_where_the_manifest_says_so() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "p");
    rig.end(0, failed(FailureClass::Rejected));
    assert_eq!(rig.message().0.value.as_deref(), Some(&b"value"[..]));
    rig.ack(Ack::TooLarge("too large".into()));
    let (message, _) = rig.message();
    assert_eq!((&message.value, message.headers.last("outrigger-value-omitted")), (&None, Some(&b"5"[..])));
    assert_eq!((rig.core.parked(), rig.core.trouble(Channel::DeadLetters)), (0, None), "at once");
    rig.ack(Ack::TooLarge("still too large".into()));
    assert_eq!(rig.core.parked(), 1, "there is nothing more to leave out");
    rig.advance(PUBLISH_RETRY);
    rig.ack(Ack::Written);
    rig.assert_empty();
}

/// Two small outputs were reported as too large because their batch was.
#[test]
fn what_was_in_a_batch_that_was_too_large_is_published_alone() {
    for outcome in [handled(1), failed(FailureClass::Rejected)] {
        let mut rig = Rig::new();
        rig.deliver(0, "a", "p");
        rig.end(0, outcome);
        let (token, (whole, channel)) = (rig.sent[0].0, rig.message());
        assert!(!rig.core.is_alone(token));
        rig.ack(Ack::BatchTooLarge);
        assert_eq!((rig.sent.len(), rig.running().len(), rig.seen.len()), (1, 0, 0), "at once, without another call");
        assert_eq!((rig.message(), rig.core.trouble(channel)), ((whole, channel), None), "its value is left in");
        assert!(rig.core.is_alone(rig.sent[0].0));
        rig.ack(Ack::Written);
        assert_eq!(rig.position(), (1, 0));
        rig.assert_empty();
    }
}

#[test]
fn no_call_begins_while_too_much_waits_to_be_written() {
    let mut rig = Rig::new();
    for offset in 0..3 {
        rig.deliver(offset, "", "n");
    }
    let large = Output { ty: "done".into(), data: Some(vec![0; MESSAGE_BYTES]), ..Output::default() };
    rig.end(0, Outcome::Handled(vec![large]));
    assert_eq!(rig.running(), [1], "2 waits although there is a place");
    rig.ack(Ack::Written);
    assert_eq!(rig.running(), [1, 2]);
}

#[test]
fn nothing_is_handed_out_for_a_partition_that_is_fenced() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    rig.end(0, handled(1));
    assert!(rig.core.message(rig.sent[0].0).is_some());
    rig.account.fence.store(true, std::sync::atomic::Ordering::Release);
    assert!(rig.core.message(rig.sent[0].0).is_none());
}
