use std::time::Duration;

use super::*;
use crate::outcome::FailureClass;

const CLASS: FailureClass = FailureClass::Rejected;

fn handled(outputs: usize) -> What {
    What::Handled { outputs, duration: Duration::ZERO }
}

fn retry() -> What {
    What::Retry { class: CLASS, reason: String::new(), delay: Duration::ZERO }
}

fn dead_letter() -> What {
    What::DeadLettered { class: CLASS, reason: String::new(), topic: "t.dlq".to_owned() }
}

fn observed(route: Option<&str>, offset: i64, what: What) -> Observation {
    let (route, topic) = (route.map(Arc::from), "t".into());
    Observation { route, topic, partition: 0, offset, id: None, generation: 1, module: None, attempt: 1, what }
}

/// Four records: two routes take the first, the second is retried and given up,
/// the third is dropped, and no route takes the fourth.
fn run() -> (Tally, Facts) {
    let mut tally = Tally::default();
    let dropped = What::Dropped { class: FailureClass::Unrouted, reason: String::new() };
    for observation in [
        observed(Some("a"), 0, handled(2)),
        observed(Some("b"), 0, retry()),
        observed(Some("a"), 1, retry()),
        observed(Some("a"), 1, retry()),
        observed(Some("a"), 1, dead_letter()),
        observed(Some("b"), 0, handled(1)),
        observed(Some("b"), 2, dropped.clone()),
        observed(None, 3, dropped),
    ] {
        tally.add(&observation);
    }
    let offsets = |entries: &[(&str, &[i64])]| {
        entries.iter().map(|(topic, offsets)| ((*topic).to_owned(), offsets.to_vec())).collect::<Offsets>()
    };
    let facts = Facts {
        produced: 4,
        sources: vec!["t".to_owned()],
        ends: offsets(&[("t", &[4, 0]), ("t.dlq", &[0, 1]), ("out", &[1, 2])]),
        committed: offsets(&[("t", &[4, 0])]),
    };
    (tally, facts)
}

#[test]
fn a_run_that_adds_up_has_no_problems() {
    let (tally, facts) = run();
    assert_eq!(tally.problems(&facts), Vec::<String>::new());
    assert!(facts.caught_up());
    let expected = "\
route            in  handled  retried  dead-lettered  dropped  outputs
a                 2        1        2              1        0        2
b                 2        1        1              0        1        1
(no route)        1        0        0              0        1        0
total             5        2        3              1        2        3
records: 4 produced, 4 to consume, 4 committed";
    assert_eq!(tally.table(&facts), expected);
}

#[test]
fn an_event_that_was_begun_and_not_settled_is_a_problem() {
    let (mut tally, facts) = run();
    tally.add(&observed(Some("b"), 3, retry()));
    assert_eq!(tally.problems(&facts), ["b: 3 events in, but 2 settled"]);
}

#[test]
fn a_record_that_was_never_seen_is_a_problem() {
    let (tally, mut facts) = run();
    facts.produced = 5;
    facts.ends.insert("t".to_owned(), vec![5, 0]);
    assert_eq!(tally.problems(&facts), ["5 records to consume, but 4 settled", "t/0: committed 4 of 5"]);
    assert!(!facts.caught_up());
}

#[test]
fn a_commit_that_is_behind_or_ahead_is_a_problem() {
    for wrong in [3, 5] {
        let (tally, mut facts) = run();
        facts.committed.insert("t".to_owned(), vec![wrong, 0]);
        assert_eq!(tally.problems(&facts), [format!("t/0: committed {wrong} of 4")]);
    }
    let (tally, mut facts) = run();
    facts.committed.clear();
    assert_eq!(tally.problems(&facts), ["t/0: committed 0 of 4"]);
}

#[test]
fn outputs_that_are_not_in_the_topics_are_a_problem() {
    let (tally, mut facts) = run();
    facts.ends.insert("out".to_owned(), vec![1, 1]);
    assert_eq!(tally.problems(&facts), ["3 outputs and 1 dead letters, but the topics hold 3 such records"]);
    facts.ends.insert("out".to_owned(), vec![2, 2]);
    facts.ends.insert("t.dlq".to_owned(), vec![0, 0]);
    assert_eq!(tally.problems(&facts), ["t.dlq: 1 dead letters, but the topic holds 0 records"]);
}

#[test]
fn what_is_settled_twice_counts_once_and_is_a_problem() {
    let (mut tally, mut facts) = run();
    tally.add(&observed(Some("a"), 0, handled(2)));
    facts.ends.insert("out".to_owned(), vec![3, 2]);
    assert_eq!(tally.problems(&facts), ["a: 1 events were settled more than once"]);
    assert_eq!(tally.total().handled, 2);
}
