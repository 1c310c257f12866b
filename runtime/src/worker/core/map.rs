//! The offset map at the worker: what one says of a new assignment's records, and
//! what is to be stored with the next commit.

use super::super::account::Snapshot;
use super::super::effect::Slot;
use super::super::partition::{NO_ROUTE, Partition};
use super::Core;
use crate::commit::map::{Attempts, Identity, OffsetMap, Text};
use crate::commit::offsets::Seq;
use crate::record::Record;
use crate::worker::mutation::mutation;

impl Core {
    /// Settles a delivered record that the partition's map calls settled; true if
    /// it was one. A map that was made with another first record is let go of.
    pub(super) fn passes_over(&mut self, slot: Slot, seq: Seq, record: &Record) -> bool {
        let Some(partition) = self.partition(slot) else { return false };
        let Some(known) = partition.known.as_mut() else { return false };
        let account = &partition.account;
        let (topic, number, first) = (&account.topic, account.partition, !known.is_confirmed());
        match known.pass(record.offset(), record.timestamp_ms()) {
            Ok(settled) => {
                if first && known.settled().next().is_some() {
                    let settled: u64 = known.settled().map(|run| run.start.abs_diff(run.end)).sum();
                    tracing::info!(%topic, partition = number, settled, "records beyond the committed offset are settled already and are passed over");
                }
                if !settled {
                    return false;
                }
            }
            Err(why) => {
                tracing::warn!(%topic, partition = number, "the offset map is not used, and settled records may come again: {why}");
                partition.known = None;
                account.publish(Snapshot { position: partition.offsets.committable(), map: None });
                return false;
            }
        }
        if known.is_over() {
            partition.known = None;
        }
        if let Err(twice) = partition.offsets.settle(seq) {
            // Cannot happen: the record was delivered just now.
            tracing::error!(%twice, "a record was settled twice");
        }
        partition.account.set_position(partition.offsets.committable(), partition.offsets.span());
        let bytes = if mutation!(PassedOverLeak) { 0 } else { record.size() };
        let wake = partition.account.release(1, bytes);
        self.wake_reader |= wake;
        true
    }

    /// Gives the runs of a record that was delivered just now the attempts that have failed before.
    pub(super) fn recall_attempts(&mut self, slot: Slot, entry: u32) {
        let plan = self.generation.plan.clone();
        let Some(partition) = self.partition(slot) else { return };
        let Some(known) = partition.known.as_mut() else { return };
        let runs = &mut partition.entries[entry as usize].runs;
        for Attempts { route, failures, .. } in known.take_attempts().filter(|_| !mutation!(AttemptsNotRecalled)) {
            for run in runs.iter_mut().filter(|run| plan.route_digests.get(run.route) == Some(&route)) {
                run.failures = failures;
            }
        }
        if known.is_over() {
            partition.known = None;
        }
    }

    /// Publishes what is to be committed, for every partition whose account was asked.
    pub fn publish_snapshots(&self) {
        for partition in self.partitions.iter().flatten() {
            if partition.account.take_asked() {
                partition.account.publish(self.snapshot_of(partition).0);
            }
        }
    }

    /// What is to be committed for a partition, all of one moment, and how many of
    /// the records delivered its map calls settled.
    pub fn snapshot(&mut self, slot: Slot) -> Option<(Snapshot, usize)> {
        self.partition(slot)?;
        self.partitions.get(slot.index as usize)?.as_ref().map(|partition| self.snapshot_of(partition))
    }

    fn snapshot_of(&self, partition: &Partition) -> (Snapshot, usize) {
        let (account, offsets, known) = (&partition.account, &partition.offsets, partition.known.as_ref());
        if known.is_some_and(|known| !known.is_confirmed()) {
            // Nothing has come yet: what is stored is still the whole truth.
            return (account.to_commit(), 0);
        }
        let plain = (Snapshot { position: offsets.committable(), map: None }, 0);
        // A map is made for the lowest record that is not settled. Where all that came
        // are settled and the map of before says more of what follows, the last record
        // takes that place and would come once more: better than all of those.
        let head = match partition.lowest() {
            Some(entry) => entry.body.record().timestamp_ms().map(|ms| (plain.0.position, ms)),
            None => known.and_then(|known| known.last()),
        };
        let Some((base, head_ms)) = head else { return plain };
        let mut map = OffsetMap { base, head_ms, settled: Vec::new(), attempts: Vec::new() };
        offsets.settled_beyond().for_each(|offset| map.push(offset..offset + 1));
        let delivered: u64 = map.settled.iter().map(|run| run.start.abs_diff(run.end)).sum();
        let mut to_come = 0;
        for (_, entry) in &partition.entries {
            let tried = entry.runs.iter().filter(|run| run.failures > 0 && run.route != NO_ROUTE && !run.is_settled());
            map.attempts.extend(tried.map(|run| Attempts {
                offset: entry.body.record().offset(),
                route: run.generation.plan.route_digests[run.route],
                failures: run.failures,
            }));
        }
        map.attempts.sort_unstable_by_key(|attempts| attempts.offset);
        if let Some(known) = known {
            for run in known.settled() {
                to_come += run.start.abs_diff(run.end);
                map.push(run);
            }
            map.attempts.extend(known.attempts());
        }
        mutation!(MapLosesLast => crate::worker::mutation::lose_last(&mut map));
        mutation!(MapHasOneMore => crate::worker::mutation::one_more(&mut map));
        mutation!(AttemptsNotStored => map.attempts.clear());
        if map.settled.is_empty() && map.attempts.is_empty() {
            return plain;
        }
        let identity = Identity { group: &self.group, topic: &account.topic, partition: account.partition };
        match map.encode(identity, account.map_limit()) {
            Some(Text { text, left_out }) => {
                // The highest are left out, and those that have still to come are above the others.
                let in_map = delivered.saturating_sub(left_out.saturating_sub(to_come));
                (Snapshot { position: base, map: Some(text) }, in_map as usize)
            }
            None => plain,
        }
    }
}
