//! The ledger must see every way in which a run can fail to add up.

use super::*;
use crate::event::Event;

fn input(offset: i64, event: Event) -> Record {
    Record { topic: "in".to_owned(), partition: 0, offset, ..event.record() }
}

/// What the guest makes of it.
fn output(at: i64, of: &Record) -> Record {
    let id = of.text("ce_id").unwrap();
    let key = of.key.as_deref().map(String::from_utf8_lossy);
    let echo = serde_json::json!({ "id": id, "key": key, "partition": of.partition, "offset": of.offset });
    let value = echo.to_string().into_bytes();
    Record { topic: "out".to_owned(), partition: 0, offset: at, ..Record::new(of.key.as_deref(), Some(&value)) }
}

fn dead_letter(at: i64, of: &Record, class: &str) -> Record {
    let mut letter = Record { topic: "dlq".to_owned(), offset: at, ..of.clone() };
    let (partition, offset) = (of.partition.to_string(), of.offset.to_string());
    for (name, value) in [
        ("topic", "in"),
        ("partition", &partition),
        ("offset", &offset),
        ("group", "g"),
        ("failure-class", class),
        ("reason", "because"),
    ] {
        letter = letter.header(&format!("outrigger-{name}"), Some(value.as_bytes()));
    }
    letter
}

/// Two events of one key that are handled and one that is rejected, as they must end.
fn balanced() -> Ledger {
    let inputs = vec![
        input(3, Event::new("a").key("k")),
        input(5, Event::new("b").key("k")),
        input(9, Event::new("c").key("k").rejected()),
    ];
    let outputs = vec![output(0, &inputs[0]), output(1, &inputs[1])];
    let dead_letters = vec![dead_letter(0, &inputs[2], "rejected")];
    Ledger { inputs, outputs, dead_letters, deleted_below: BTreeMap::new() }
}

#[track_caller]
fn must_find(ledger: &Ledger, problem: &str) {
    let problems = ledger.check().expect_err("it does not add up");
    assert!(problems.iter().any(|p| p.contains(problem)), "{problems:?}");
}

#[test]
fn what_adds_up_balances() {
    let tally = balanced().must_balance();
    assert_eq!(tally, Tally { inputs: 3, outputs: 2, dead_letters: 1, duplicates: 0 });
}

#[test]
fn duplicates_are_counted_and_do_not_disturb_the_order() {
    let mut ledger = balanced();
    ledger.outputs.push(output(2, &ledger.inputs[0]));
    ledger.dead_letters.push(dead_letter(1, &ledger.inputs[2], "rejected"));
    assert_eq!(ledger.must_balance().duplicates, 2);
}

#[test]
fn a_lost_record_is_found() {
    let mut ledger = balanced();
    ledger.outputs.remove(1);
    must_find(&ledger, "in/0/5: expected Output; output: false");
    let mut ledger = balanced();
    ledger.dead_letters.clear();
    must_find(&ledger, "in/0/9: expected DeadLetter(\"rejected\"); output: false, dead letter: false");
}

#[test]
fn a_record_in_two_places_is_found() {
    let mut ledger = balanced();
    ledger.dead_letters.push(dead_letter(1, &ledger.inputs[0], "failed"));
    must_find(&ledger, "in/0/3: expected Output; output: true, dead letter: true");
}

#[test]
fn a_record_that_comes_of_nothing_is_found() {
    let mut ledger = balanced();
    ledger.inputs.remove(0);
    must_find(&ledger, "out/0/0: comes of nothing");
    // Unless it is known to have been deleted.
    ledger.deleted_below.insert(0, 4);
    ledger.must_balance();
    ledger.deleted_below.insert(0, 3);
    must_find(&ledger, "out/0/0: comes of nothing");
}

#[test]
fn a_wrong_order_within_a_key_is_found() {
    let mut ledger = balanced();
    ledger.outputs = vec![output(0, &ledger.inputs[1]), output(1, &ledger.inputs[0])];
    must_find(&ledger, "outputs of the key k: offset 3 of partition 0 after 5");
    // Another key, or none, follows nothing.
    for key in [Some(b"l".to_vec()), None] {
        ledger.inputs[1].key = key;
        ledger.outputs = vec![output(0, &ledger.inputs[1]), output(1, &ledger.inputs[0])];
        ledger.must_balance();
    }
}

#[test]
fn a_dead_letter_of_the_class_output_is_no_output() {
    let mut ledger = balanced();
    ledger.inputs[2] = input(9, Event::new("c").key("k").expect(Expect::DeadLetter("output".to_owned())));
    ledger.dead_letters = vec![dead_letter(0, &ledger.inputs[2], "output")];
    assert_eq!(ledger.must_balance().dead_letters, 1);
}

#[test]
fn another_class_of_failure_is_found() {
    let mut ledger = balanced();
    ledger.dead_letters = vec![dead_letter(0, &ledger.inputs[2], "trap")];
    must_find(&ledger, "class Some(\"trap\") instead of rejected");
}

#[test]
fn a_dead_letter_that_differs_by_a_byte_is_found() {
    type Change = fn(&mut Record);
    let changes: [(Change, &str); 6] = [
        (|letter| letter.key = Some(Vec::new()), "key Some([]) instead of"),
        (|letter| letter.value = None, "another value"),
        (|letter| letter.headers[0].1 = None, "headers"),
        (|letter| letter.headers.swap(1, 2), "headers"),
        (|letter| drop(letter.headers.remove(0)), "headers"),
        (|letter| drop(letter.headers.pop()), "no header outrigger-reason"),
    ];
    for (change, problem) in changes {
        let mut ledger = balanced();
        change(&mut ledger.dead_letters[0]);
        must_find(&ledger, problem);
    }
}

#[test]
fn an_output_with_another_key_or_id_is_found() {
    let mut ledger = balanced();
    ledger.outputs[0].key = None;
    must_find(&ledger, "in/0/3 became");
    let mut ledger = balanced();
    ledger.outputs[0] = output(0, &input(3, Event::new("z").key("k")));
    must_find(&ledger, "in/0/3 became");
}
