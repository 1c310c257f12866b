//! What an offset map says of a partition's records that have not come yet.
//!
//! In: the map that was stored with the committed offset, and each record as it is
//! delivered. Out: which of them are settled already, and how many attempts of the
//! others have failed. The first record decides whether the map holds at all.

use std::collections::VecDeque;
use std::ops::Range;

use crate::commit::map::{Attempts, OffsetMap, Refused};
use crate::worker::mutation::mutation;

/// A map's part above the last record delivered.
#[derive(Debug)]
pub(super) struct Known {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing has been delivered yet.
    Candidate(OffsetMap),
    /// The first record was the one that the map was made with.
    Confirmed {
        settled: VecDeque<Range<i64>>,
        attempts: VecDeque<Attempts>,
        /// The last record delivered and its timestamp.
        last: (i64, Option<i64>),
    },
}

impl Known {
    /// Of a map whose first record has still to come.
    pub fn new(map: OffsetMap) -> Known {
        Known { state: State::Candidate(map) }
    }

    /// Takes the next record delivered, of a higher offset than the one before,
    /// and says whether it is settled.
    ///
    /// # Errors
    /// If it is the first one, and not the one that the map was made with: the map is void.
    pub fn pass(&mut self, offset: i64, timestamp_ms: Option<i64>) -> Result<bool, Refused> {
        if let State::Candidate(map) = &mut self.state {
            if !mutation!(OtherRecordTrusted) {
                map.begins_with(offset, timestamp_ms)?;
            }
            let settled = std::mem::take(&mut map.settled).into();
            let attempts = std::mem::take(&mut map.attempts).into();
            self.state = State::Confirmed { settled, attempts, last: (offset, timestamp_ms) };
        }
        let State::Confirmed { settled, attempts, last } = &mut self.state else { return Ok(false) };
        *last = (offset, timestamp_ms);
        while attempts.front().is_some_and(|attempts| attempts.offset < offset) {
            attempts.pop_front();
        }
        while settled.front().is_some_and(|run| run.end <= offset) {
            settled.pop_front();
        }
        match settled.front_mut() {
            Some(run) if run.start <= offset => {
                run.start = offset + 1;
                if run.is_empty() {
                    settled.pop_front();
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Takes out what is known of the record that came last.
    pub fn take_attempts(&mut self) -> impl Iterator<Item = Attempts> {
        let (attempts, of) = match &mut self.state {
            State::Confirmed { attempts, last, .. } => (Some(attempts), last.0),
            State::Candidate(_) => (None, 0),
        };
        attempts
            .into_iter()
            .flat_map(move |attempts| std::iter::from_fn(move || attempts.pop_front_if(|next| next.offset <= of)))
    }

    /// Whether the first record has come.
    pub fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Confirmed { .. })
    }

    /// Whether nothing is known of any record that is still to come.
    pub fn is_over(&self) -> bool {
        matches!(&self.state, State::Confirmed { settled, attempts, .. } if settled.is_empty() && attempts.is_empty())
    }

    /// Settled offsets above the last record delivered.
    pub fn settled(&self) -> impl Iterator<Item = Range<i64>> {
        let settled = match &self.state {
            State::Confirmed { settled, .. } => Some(settled),
            State::Candidate(_) => None,
        };
        settled.into_iter().flatten().cloned()
    }

    /// Attempts of records above the last one delivered.
    pub fn attempts(&self) -> impl Iterator<Item = Attempts> {
        let attempts = match &self.state {
            State::Confirmed { attempts, .. } => Some(attempts),
            State::Candidate(_) => None,
        };
        attempts.into_iter().flatten().copied()
    }

    /// The last record delivered and its timestamp.
    pub fn last(&self) -> Option<(i64, i64)> {
        match self.state {
            State::Confirmed { last: (offset, Some(ms)), .. } => Some((offset, ms)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let tried = |offset| Attempts { offset, route: 1, failures: 2 };
        let (settled, attempts) = (vec![11..13, 15..20], vec![tried(10), tried(14), tried(14), tried(30)]);
        Known::new(OffsetMap { base: 10, head_ms: 5, settled, attempts })
    }

    fn pass(known: &mut Known, offset: i64) -> (bool, usize) {
        (known.pass(offset, Some(5)).unwrap(), known.take_attempts().count())
    }

    #[test]
    fn records_are_passed_over_as_the_map_says() {
        let mut known = known();
        assert!(!known.is_confirmed() && !known.is_over());
        assert_eq!(pass(&mut known, 10), (false, 1));
        assert!(known.is_confirmed());
        assert_eq!(pass(&mut known, 12), (true, 0), "11 is gone from the log");
        assert_eq!(pass(&mut known, 13), (false, 0));
        assert_eq!(pass(&mut known, 14), (false, 2));
        assert_eq!(pass(&mut known, 15), (true, 0));
        assert_eq!(known.settled().collect::<Vec<_>>(), vec![16..20]);
        assert_eq!((known.attempts().count(), known.last(), known.is_over()), (1, Some((15, 5)), false));
        assert_eq!(pass(&mut known, 21), (false, 0));
        assert_eq!(pass(&mut known, 31), (false, 0));
        assert!(known.is_over());
    }

    #[test]
    fn another_first_record_makes_it_void() {
        assert!(known().pass(11, Some(5)).is_err());
        assert!(known().pass(10, Some(6)).is_err());
        assert!(known().pass(10, None).is_err());
    }
}
