//! The offsets of one partition that are delivered and not yet settled.

use std::collections::VecDeque;

use crate::worker::mutation::mutation;

/// A delivered record's place in its partition's [`Offsets`]: the first record
/// delivered is number 0, the next one 1, whatever their offsets are. It means
/// nothing to the tracker of another assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

/// A record came at or below an offset that the partition has passed already.
/// Committing by such a delivery could skip records; the assignment has to
/// begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("offset {offset} was delivered where {expected} or a higher one had to come")]
pub struct NotAscending {
    /// The offset that came.
    pub offset: i64,
    /// The lowest offset that could have come.
    pub expected: i64,
}

/// A record was settled that is settled already, or that this tracker never
/// handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record number {} of the assignment is settled already or was never delivered", .0.0)]
pub struct SettledTwice(pub Seq);

/// What one assignment of a partition has delivered and settled.
///
/// Records settle in any order. The position to commit follows the offsets that
/// were delivered and never counts over others, since compaction and
/// transactions leave gaps. Every operation takes constant time, amortised.
/// Memory is 16 bytes for each record from the lowest unsettled one up, settled
/// ones included: who delivers bounds that distance.
#[derive(Clone, Debug)]
pub struct Offsets {
    start: i64,
    last: Option<i64>,
    /// The number of the record at the front of `window`.
    front: u64,
    /// From the lowest unsettled record up; the front is never settled.
    window: VecDeque<Slot>,
    unsettled: usize,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    offset: i64,
    settled: bool,
}

impl Offsets {
    /// A partition of which nothing is delivered yet, read from `position`.
    ///
    /// A negative position stands for one that is not known, as librdkafka's
    /// logical offsets do. It comes back from [`committable`](Self::committable)
    /// until the first record is delivered, and must not be committed.
    pub fn starting_at(position: i64) -> Offsets {
        Offsets { start: position, last: None, front: 0, window: VecDeque::new(), unsettled: 0 }
    }

    /// Takes note of a delivered record. Offsets ascend strictly, from the start
    /// position on; gaps are legal. After an error nothing has changed.
    pub fn deliver(&mut self, offset: i64) -> Result<Seq, NotAscending> {
        let expected = self.end();
        if offset < expected || self.last == Some(offset) {
            return Err(NotAscending { offset, expected });
        }
        let seq = Seq(self.front + self.window.len() as u64);
        self.window.push_back(Slot { offset, settled: false });
        self.last = Some(offset);
        self.unsettled += 1;
        Ok(seq)
    }

    /// Takes note that a record is settled. After an error nothing has changed.
    pub fn settle(&mut self, seq: Seq) -> Result<(), SettledTwice> {
        let slot = seq
            .0
            .checked_sub(self.front)
            .and_then(|index| usize::try_from(index).ok())
            .and_then(|index| self.window.get_mut(index));
        match slot {
            Some(slot) if !slot.settled => slot.settled = true,
            _ => return Err(SettledTwice(seq)),
        }
        self.unsettled -= 1;
        while self.window.front().is_some_and(|slot| slot.settled) {
            self.window.pop_front();
            self.front += 1;
        }
        Ok(())
    }

    /// The position to commit: the lowest delivered offset that is not settled;
    /// where all are settled, the last delivered one plus 1; where nothing was
    /// delivered, the start position. It never goes back.
    pub fn committable(&self) -> i64 {
        mutation!(CommitPastHead => return self.window.front().map_or_else(|| self.end(), |slot| slot.offset + 1));
        mutation!(CommitPastEnd => return self.window.front().map_or(self.end() + 1, |slot| slot.offset));
        self.window.front().map_or_else(|| self.end(), |slot| slot.offset)
    }

    /// Records that are kept track of: from the lowest unsettled one up, settled ones included.
    pub fn span(&self) -> usize {
        self.window.len()
    }

    /// How many delivered records are not settled.
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// The delivered record of the lowest offset that is not settled.
    pub fn lowest_unsettled(&self) -> Option<(Seq, i64)> {
        self.window.front().map(|slot| (Seq(self.front), slot.offset))
    }

    /// The offset delivered last.
    pub fn last_delivered(&self) -> Option<i64> {
        self.last
    }

    /// The settled offsets above [`committable`](Self::committable), ascending:
    /// what a restart would deliver again although it is done.
    pub fn settled_beyond(&self) -> impl Iterator<Item = i64> {
        self.window.iter().filter(|slot| slot.settled).map(|slot| slot.offset)
    }

    /// Behind the last delivered record. No log reaches `i64::MAX`, where it stops.
    fn end(&self) -> i64 {
        self.last.map_or(self.start, |last| last.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_delivered_commits_the_start() {
        let offsets = Offsets::starting_at(40);
        assert_eq!(offsets.committable(), 40);
        assert_eq!((offsets.unsettled(), offsets.lowest_unsettled(), offsets.last_delivered()), (0, None, None));
    }

    #[test]
    fn a_gap_is_not_counted_over() {
        let mut offsets = Offsets::starting_at(40);
        let first = offsets.deliver(45).unwrap();
        assert_eq!(offsets.committable(), 45);
        let second = offsets.deliver(99).unwrap();
        offsets.settle(first).unwrap();
        assert_eq!(offsets.committable(), 99);
        offsets.settle(second).unwrap();
        assert_eq!(offsets.committable(), 100);
    }

    #[test]
    fn an_unsettled_record_holds_the_position() {
        let mut offsets = Offsets::starting_at(0);
        let seqs: Vec<Seq> = (0..5).map(|offset| offsets.deliver(offset).unwrap()).collect();
        for seq in [1, 3, 4] {
            offsets.settle(seqs[seq]).unwrap();
        }
        assert_eq!(offsets.committable(), 0);
        assert_eq!(offsets.settled_beyond().collect::<Vec<_>>(), [1, 3, 4]);
        offsets.settle(seqs[0]).unwrap();
        assert_eq!((offsets.committable(), offsets.unsettled()), (2, 1));
        assert_eq!(offsets.lowest_unsettled(), Some((seqs[2], 2)));
    }

    #[test]
    fn a_record_settles_once() {
        let mut offsets = Offsets::starting_at(0);
        let first = offsets.deliver(0).unwrap();
        let second = offsets.deliver(1).unwrap();
        offsets.settle(second).unwrap();
        assert_eq!(offsets.settle(second), Err(SettledTwice(second)), "while it is in the window");
        offsets.settle(first).unwrap();
        assert_eq!(offsets.settle(first), Err(SettledTwice(first)), "after it left the window");
        assert_eq!(offsets.settle(Seq(2)), Err(SettledTwice(Seq(2))), "before it was delivered");
        assert_eq!((offsets.committable(), offsets.unsettled()), (2, 0));
    }

    #[test]
    fn what_is_passed_is_refused() {
        let mut offsets = Offsets::starting_at(10);
        assert_eq!(offsets.deliver(9), Err(NotAscending { offset: 9, expected: 10 }));
        offsets.deliver(10).unwrap();
        assert_eq!(offsets.deliver(10), Err(NotAscending { offset: 10, expected: 11 }));
        assert_eq!(offsets.unsettled(), 1);
        let mut offsets = Offsets::starting_at(0);
        offsets.deliver(i64::MAX).unwrap();
        assert!(offsets.deliver(i64::MAX).is_err());
    }

    #[test]
    fn an_unknown_start_ends_with_the_first_record() {
        let mut offsets = Offsets::starting_at(-1001);
        assert_eq!(offsets.committable(), -1001);
        offsets.deliver(7).unwrap();
        assert_eq!(offsets.committable(), 7);
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// This far above the lowest legal offset.
        Deliver(i64),
        /// One of those delivered so far, settled or not.
        Settle(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop_oneof![3 => Just(0i64), 1 => 0..50i64, 1 => -3..0i64].prop_map(Step::Deliver),
            any::<prop::sample::Index>().prop_map(Step::Settle),
        ]
    }

    proptest! {
        /// Against a list of every record ever delivered.
        #[test]
        fn agrees_with_a_plain_list(start in 0..1000i64, steps in prop::collection::vec(step(), 0..200)) {
            let mut offsets = Offsets::starting_at(start);
            let mut all: Vec<(Seq, i64, bool)> = Vec::new();
            let mut committed = start;
            for step in steps {
                match step {
                    Step::Deliver(above) => {
                        let next = all.last().map_or(start, |(_, last, _)| last + 1);
                        let delivered = offsets.deliver(next + above);
                        prop_assert_eq!(delivered.is_ok(), above >= 0);
                        if let Ok(seq) = delivered {
                            all.push((seq, next + above, false));
                        }
                    }
                    Step::Settle(index) if !all.is_empty() => {
                        let (seq, _, settled) = index.get(&all);
                        prop_assert_eq!(offsets.settle(*seq).is_ok(), !settled);
                        let index = index.index(all.len());
                        all[index].2 = true;
                    }
                    Step::Settle(_) => {}
                }
                let lowest = all.iter().find(|(_, _, settled)| !settled);
                let last = all.last().map(|(_, offset, _)| *offset);
                let expected = lowest.map_or(last.map_or(start, |last| last + 1), |(_, offset, _)| *offset);
                let beyond = all.iter().filter(|(_, offset, settled)| *settled && *offset > expected);
                prop_assert_eq!(offsets.committable(), expected);
                prop_assert!(expected >= committed, "it went back");
                prop_assert_eq!(offsets.lowest_unsettled(), lowest.map(|(seq, offset, _)| (*seq, *offset)));
                prop_assert_eq!(offsets.unsettled(), all.iter().filter(|(_, _, settled)| !settled).count());
                prop_assert_eq!(offsets.last_delivered(), last);
                prop_assert!(offsets.settled_beyond().eq(beyond.map(|(_, offset, _)| *offset)));
                committed = expected;
            }
        }
    }
}
