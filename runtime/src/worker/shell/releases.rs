//! Releases: partitions that go away are drained until a deadline, then interrupted, and
//! what is to be committed for them is answered.

use std::sync::mpsc::SyncSender;
use std::time::Instant;

use super::Worker;
use crate::worker::Released;
use crate::worker::effect::Slot;

/// A release under way.
pub(super) struct Release {
    /// With the number of their records that were never given to the core.
    left: Vec<(Slot, usize)>,
    deadline: Instant,
    answer: SyncSender<Vec<Released>>,
    done: Vec<Released>,
}

impl Release {
    pub(super) fn new(left: Vec<(Slot, usize)>, deadline: Instant, answer: SyncSender<Vec<Released>>) -> Release {
        Release { left, deadline, answer, done: Vec::new() }
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }
}

impl Worker {
    /// Releases what has passed its deadline.
    pub(super) fn overdue(&mut self, now: Instant) {
        let overdue: Vec<(Slot, usize)> =
            self.releases.iter().filter(|r| r.deadline <= now).flat_map(|r| r.left.clone()).collect();
        for (slot, _) in overdue {
            self.release(slot, true);
        }
        // A release of partitions that this worker does not hold ends here too.
        self.answer_releases();
    }

    pub(super) fn release(&mut self, slot: Slot, interrupted: bool) {
        let find = |release: &Release| release.left.iter().position(|(left, _)| *left == slot);
        let Some((release, at)) = self.releases.iter_mut().find_map(|r| find(r).map(|at| (r, at))) else { return };
        let (_, undelivered) = release.left.swap_remove(at);
        if let Some((snapshot, in_map)) = self.core.snapshot(slot)
            && let Some((position, delivered)) = self.core.release(slot)
        {
            let once_more = usize::from(snapshot.position < position);
            let come_again = delivered - in_map + undelivered + once_more;
            release.done.push(Released { slot, snapshot, come_again, in_map, interrupted });
        }
        // Dropping a call interrupts it, also where it waits in the host.
        self.running.retain(|run, handle| {
            if run.slot == slot {
                handle.abort();
            }
            run.slot != slot
        });
        self.answer_releases();
    }

    fn answer_releases(&mut self) {
        self.releases.retain_mut(|release| {
            if release.left.is_empty() {
                // The polling thread may have stopped waiting; then it does not commit for them.
                _ = release.answer.try_send(std::mem::take(&mut release.done));
            }
            !release.left.is_empty()
        });
    }
}
