//! Each judgement must be able to fail.

use super::*;
use crate::event::Event;

/// Three events of one key at the offsets 3, 5 and 9, of which the second is to end nowhere.
fn inputs() -> Vec<Record> {
    let event = |offset, event: Event| Record { topic: "in".to_owned(), partition: 0, offset, ..event.record() };
    vec![
        event(3, Event::new("a").key("k")),
        event(5, Event::new("b").key("l").expect(Expect::Nothing)),
        event(9, Event::new("c").key("k")),
    ]
}

fn arrivals(of: &[(i64, i64)]) -> HashMap<Position, i64> {
    of.iter().map(|&(offset, at)| ((0, offset), at)).collect()
}

fn commit(offset: i64, at_ms: i64) -> Commit {
    let (group, topic) = ("g".to_owned(), "in".to_owned());
    Commit { group, topic, partition: 0, offset, metadata: Vec::new(), at_ms }
}

fn early(arrived: &[(i64, i64)], commits: &[Commit]) -> Vec<String> {
    early_where(arrived, commits, |_| false)
}

fn early_where(arrived: &[(i64, i64)], commits: &[Commit], deleted: impl Fn(Position) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    // Here the metadata are the offsets themselves, one a byte.
    let beyond = |commit: &Commit| commit.metadata.iter().map(|&offset| offset.into()).collect();
    judge_commits(&inputs(), &arrivals(arrived), commits, beyond, deleted, &mut problems);
    assert!(problems.iter().all(|problem| problem.kind == Kind::CommittedTooEarly));
    problems.into_iter().map(|problem| problem.text).collect()
}

#[test]
fn a_commit_of_what_has_arrived_is_the_truth() {
    let commits = [commit(0, 1), commit(3, 1), commit(4, 100), commit(9, 100), commit(10, 120), commit(10, 300)];
    assert_eq!(early(&[(3, 100), (9, 120)], &commits), [""; 0]);
    // Of another partition, or of a topic without records.
    assert_eq!(early(&[], &[Commit { partition: 1, ..commit(7, 1) }]), [""; 0]);
}

#[test]
fn a_commit_past_a_record_that_arrived_later_is_found() {
    let found = early(&[(3, 100), (9, 120)], &[commit(4, 99), commit(9, 99), commit(10, 110)]);
    assert_eq!(
        found,
        [
            "partition 0 committed at 4: offset 3 was settled 1 ms later",
            "partition 0 committed at 10: offset 9 was settled 10 ms later",
        ]
    );
}

#[test]
fn a_commit_past_a_record_that_never_arrived_is_found() {
    let found = early(&[(9, 120)], &[commit(3, 500), commit(10, 500)]);
    assert_eq!(found, ["partition 0 committed at 10: offset 3 was settled never"]);
}

#[test]
fn a_map_that_names_what_is_not_settled_is_found() {
    let with_map = |at_ms, map: &[u8]| Commit { metadata: map.to_vec(), ..commit(3, at_ms) };
    assert_eq!(early(&[(3, 100), (9, 120)], &[with_map(1, &[5]), with_map(120, &[5, 9])]), [""; 0]);
    assert_eq!(
        early(&[(9, 120)], &[with_map(119, &[9]), with_map(500, &[3]), with_map(500, &[7])]),
        [
            "partition 0 committed at 3: offset 9 of its map was settled 1 ms later",
            "partition 0 committed at 3: offset 3 of its map was settled never",
            "partition 0 committed at 3: offset 7 of its map, which is no record, was settled never",
        ]
    );
}

#[test]
fn a_map_may_name_what_was_deleted_since() {
    let with_map = |map: &[u8]| Commit { metadata: map.to_vec(), ..commit(3, 500) };
    let deleted = |(partition, offset): Position| partition == 0 && offset < 8;
    assert_eq!(
        early_where(&[(9, 120)], &[with_map(&[3]), with_map(&[7]), with_map(&[8])], deleted),
        [
            "partition 0 committed at 3: offset 3 of its map was settled never",
            "partition 0 committed at 3: offset 8 of its map, which is no record, was settled never",
        ]
    );
}

fn disorder(arrived: &[(i64, i64)]) -> Vec<String> {
    let mut problems = Vec::new();
    judge_order(&inputs(), &arrivals(arrived), &mut problems);
    problems.into_iter().map(|problem| problem.text).collect()
}

#[test]
fn a_record_that_arrives_before_an_earlier_one_of_its_key_is_found() {
    assert_eq!(disorder(&[(3, 100), (5, 1), (9, 100)]), [""; 0]);
    assert_eq!(disorder(&[(3, 100), (9, 99)]), ["in/0/9 of the key k arrived 1 ms before offset 3"]);
}
