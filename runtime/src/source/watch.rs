//! Notices a consumer that has lost its group for good although the cluster is there.
//! Pure: the time is an argument.
//!
//! In: what the client's statistics say of the group, and joins. Out: that the process
//! has to end, so that a new one joins.

use std::time::{Duration, Instant};

/// How long the group's coordinator may be missing while a broker is connected. A
/// coordinator that moves, or loads its offsets, is there within a minute.
const LIMIT: Duration = Duration::from_secs(300);

/// Whether the group can still be reached.
///
/// Only a consumer that has joined in this process can be given up: where the
/// coordinator is missing for everyone, a new process waits for it as well, and a
/// restart each few minutes would mend nothing.
#[derive(Debug, Default)]
pub struct Watch {
    has_joined: bool,
    missing_since: Option<Instant>,
}

impl Watch {
    /// The group has been joined.
    pub fn joined(&mut self) {
        self.has_joined = true;
        self.missing_since = None;
    }

    /// Takes in what the statistics say: whether the coordinator is connected, and
    /// whether a broker is. `Some` with the time that it has been missing once that
    /// is too long.
    pub fn see(&mut self, has_coordinator: bool, has_broker: bool, now: Instant) -> Option<Duration> {
        if has_coordinator || !has_broker || !self.has_joined {
            self.missing_since = None;
            return None;
        }
        let missing = now.saturating_duration_since(*self.missing_since.get_or_insert(now));
        (missing >= LIMIT).then_some(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> (Watch, Instant) {
        let mut watch = Watch::default();
        watch.joined();
        (watch, Instant::now())
    }

    #[test]
    fn a_coordinator_that_stays_away_ends_the_process() {
        let (mut watch, start) = watch();
        assert_eq!(watch.see(true, true, start), None);
        assert_eq!(watch.see(false, true, start + SECOND), None);
        assert_eq!(watch.see(false, true, start + LIMIT), None);
        assert_eq!(watch.see(false, true, start + SECOND + LIMIT), Some(LIMIT));
    }

    #[test]
    fn one_that_comes_back_begins_anew_and_so_does_a_cluster_that_is_gone() {
        for (coordinator, broker) in [(true, true), (false, false)] {
            let (mut watch, start) = watch();
            watch.see(false, true, start);
            watch.see(coordinator, broker, start + LIMIT / 2);
            assert_eq!(watch.see(false, true, start + LIMIT), None);
            assert_eq!(watch.see(false, true, start + LIMIT * 2), Some(LIMIT));
        }
    }

    #[test]
    fn a_process_that_never_joined_waits() {
        let (mut watch, start) = (Watch::default(), Instant::now());
        assert_eq!(watch.see(false, true, start), None);
        assert_eq!(watch.see(false, true, start + LIMIT * 2), None);
    }
}
