//! What an offset map does to the records of a new assignment.
// One run of settled offsets is a list of one range.
#![allow(clippy::single_range_in_vec_init)]

use super::*;
use crate::commit::map::{Identity, OffsetMap};
use crate::commit::metadata::{MAX, map_limit};
use crate::worker::account::Snapshot;

const HERE: Identity<'_> = Identity { group: "group", topic: "t", partition: 0 };

impl Rig {
    fn snapshot(&mut self) -> Snapshot {
        self.core.snapshot(self.slot).unwrap().0
    }

    fn map(&mut self) -> OffsetMap {
        OffsetMap::decode(&self.snapshot().map.expect("there is a map"), HERE).unwrap()
    }

    /// Lets the partition go and takes it again with what is to be committed for it.
    fn restart(&mut self) {
        let snapshot = self.snapshot();
        let map = snapshot.map.as_ref().map(|text| OffsetMap::decode(text, HERE).unwrap());
        self.restart_with(snapshot.position, map);
    }

    fn restart_with(&mut self, position: i64, map: Option<OffsetMap>) {
        self.core.release(self.slot);
        self.calls.clear();
        self.slot.epoch += 1;
        self.account = Account::new("t".into(), 0, position, rig::BUFFER);
        if let Some(map) = map {
            let text = map.encode(HERE, map_limit(MAX)).unwrap().text;
            self.account.remember(map, text);
        }
        self.core.assign(self.slot, self.account.clone());
    }

    /// Records of keys of their own.
    fn deliver_all(&mut self, offsets: std::ops::Range<i64>) {
        offsets.for_each(|offset| self.deliver(offset, &format!("{offset}"), "k"));
    }
}

#[test]
fn what_is_settled_beyond_the_position_is_not_called_again() {
    let mut rig = Rig::new();
    rig.deliver_all(0..3);
    rig.end(1, handled(0));
    rig.deliver_all(3..6);
    rig.end(3, handled(0));
    assert_eq!((rig.map().base, rig.map().settled), (0, vec![1..2, 3..4]));
    rig.restart();
    rig.deliver_all(0..5);
    assert_eq!((rig.running(), rig.position()), (vec![0, 2, 4], (0, 3)));
    rig.end(0, handled(0));
    assert_eq!(rig.position(), (2, 2), "1 counts as settled");
}

#[test]
fn where_nothing_is_settled_beyond_the_position_there_is_no_map() {
    let mut rig = Rig::new();
    rig.deliver_all(0..3);
    assert_eq!(rig.snapshot(), Snapshot { position: 0, map: None });
    rig.end(0, handled(0));
    assert_eq!(rig.snapshot(), Snapshot { position: 1, map: None });
}

#[test]
fn what_has_not_come_yet_stays_in_the_map() {
    let mut rig = Rig::new();
    let map = OffsetMap { base: 0, head_ms: 0, settled: vec![2..5, 8..9], attempts: vec![] };
    rig.restart_with(0, Some(map.clone()));
    assert_eq!(rig.map(), map, "nothing has come yet");
    rig.deliver_all(0..3);
    rig.end(1, handled(0));
    assert_eq!(rig.map().settled, [1..5, 8..9]);
    rig.end(0, handled(0));
    // All that came are settled: the last one marks where the map goes on.
    assert_eq!((rig.map().base, rig.map().settled), (2, vec![3..5, 8..9]));
    rig.deliver_all(3..9);
    assert_eq!((rig.running(), rig.map().settled), (vec![5, 6, 7], vec![8..9]));
    assert!(rig.core.partitions[0].as_ref().unwrap().known.is_none(), "it has said all");
}

#[test]
fn a_map_of_another_first_record_is_void() {
    for (base, head_ms) in [(0, 1), (1, 0)] {
        let mut rig = Rig::new();
        rig.restart_with(base, Some(OffsetMap { base, head_ms, settled: vec![2..5], attempts: vec![] }));
        rig.deliver_all(base..4);
        assert_eq!(rig.running(), (base..4).take(3).collect::<Vec<_>>(), "all are called");
        assert_eq!((rig.account.to_commit().map, rig.snapshot().map), (None, None));
    }
}

#[test]
fn attempts_that_failed_before_count() {
    let mut rig = Rig::new();
    rig.deliver(0, "a", "k");
    for _ in 0..2 {
        rig.end(0, failed(FailureClass::Failed));
        rig.restart();
        rig.deliver(0, "a", "k");
    }
    rig.seen.clear();
    assert_eq!(rig.calls[0].attempt, 3);
    rig.end(0, failed(FailureClass::Failed));
    assert_eq!(rig.message().0.headers.last("outrigger-attempts"), Some(&b"3"[..]));
    rig.ack(Ack::Written);
    assert_eq!((rig.take_seen(), rig.position()), (vec!["0 dead letter failed #3 t.dlq".to_owned()], (1, 0)));
    rig.assert_empty();
}
