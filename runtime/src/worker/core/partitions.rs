//! Partitions come, drain and go; and what all of them hold.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::desk::Desk;
use super::messages::InFlight;
use super::{Core, Parked};
use crate::worker::account::Account;
use crate::worker::effect::{Effect, RunId, Slot};
use crate::worker::mutation::mutation;
use crate::worker::partition::{Partition, Stage};

impl Core {
    /// Takes a partition that was assigned. The slot's place must be free: the
    /// polling thread hands places out and gets them back with the positions.
    pub fn assign(&mut self, slot: Slot, account: Arc<Account>) {
        let index = slot.index as usize;
        if self.partitions.len() <= index {
            self.partitions.resize_with(index + 1, || None);
        }
        self.remove(slot.index);
        self.partitions[index] = Some(Partition::new(slot.epoch, account));
    }

    /// Begins no new attempt for the partition and forgets what only waits;
    /// [`Effect::Drained`] follows once nothing is under way.
    pub fn drain(&mut self, slot: Slot) {
        let Some(partition) = self.partition(slot) else { return };
        partition.draining = true;
        // A message that waits to be published again would hold the drain up for nothing.
        for key in self.keys_of_messages(|message| message.run.slot == slot && message.waiting) {
            self.forget_message(key);
        }
        self.check_drained(slot);
    }

    /// Lets the partition go, whatever is under way, and returns the position to
    /// commit and the number of records from there on that were delivered. Answers that come later are void.
    pub fn release(&mut self, slot: Slot) -> Option<(i64, usize)> {
        mutation!(RevokeForgetsLane => self.partition(slot)?.forget_what_waits());
        let offsets = &self.partition(slot)?.offsets;
        let released = (offsets.committable(), offsets.span());
        self.remove(slot.index);
        Some(released)
    }

    fn remove(&mut self, index: u32) {
        let Some(partition) = self.partitions.get_mut(index as usize).and_then(Option::take) else { return };
        partition.account.fence.store(true, Ordering::Release);
        for (_, entry) in &partition.entries {
            for run in &entry.runs {
                if let Stage::Calling { probe } = run.stage {
                    let desk = run.generation.desk_of(run.route);
                    self.desks[desk].given_up(probe);
                    Desk::retire(&mut self.desks, desk);
                }
            }
        }
        let gone = |run: &RunId| run.slot.index == index;
        for (_, desk) in &mut self.desks {
            desk.ready.retain(|run| !gone(run));
        }
        self.stranded.retain(|run| !gone(run));
        for key in self.keys_of_messages(|message| gone(&message.run)) {
            self.take_message(key);
        }
        let messages = &self.messages;
        self.parked.retain(|parked| match parked {
            Parked::Attempt(run) => !gone(run),
            Parked::Publish(token) => messages.get(token.key as usize).is_some_and(|m| m.tag == token.tag),
        });
    }

    fn keys_of_messages(&self, which: impl Fn(&InFlight) -> bool) -> Vec<usize> {
        self.messages.iter().filter(|(_, message)| which(message)).map(|(key, _)| key).collect()
    }

    pub(super) fn check_drained(&mut self, slot: Slot) {
        if let Some(partition) = self.partition(slot)
            && partition.draining
            // Who begins them looks again.
            && !partition.begins
            && (partition.is_quiet() || mutation!(DrainedTooEarly))
        {
            self.effects.push_back(Effect::Drained(slot));
        }
    }

    /// Bytes and records delivered and not settled, over all partitions.
    pub fn queued(&self) -> (usize, usize) {
        self.accounts().fold((0, 0), |(bytes, records), account| {
            (bytes + account.unsettled_bytes(), records + account.unsettled())
        })
    }

    /// The accounts of this worker's partitions.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.partitions.iter().flatten().map(|partition| &partition.account)
    }

    /// Tells each account the timestamp of its lowest unsettled record; costs a look at every one of them.
    pub fn report_oldest(&self) {
        for partition in self.partitions.iter().flatten() {
            partition.account.set_oldest_ms(partition.oldest_ms());
        }
    }

    /// A partition that is still what it was when the slot was handed out.
    pub(super) fn partition(&mut self, slot: Slot) -> Option<&mut Partition> {
        let partition = self.partitions.get_mut(slot.index as usize)?.as_mut();
        partition.filter(|partition| partition.epoch == slot.epoch || mutation!(EpochIgnored))
    }
}
