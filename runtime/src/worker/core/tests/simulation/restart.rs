//! Partitions go and come back: what is committed for them, and what they begin with.
// One run of settled offsets is a list of one range.
#![allow(clippy::single_range_in_vec_init)]

use super::*;
use crate::commit::map::{Identity, OffsetMap, Refused, route_digest};
use crate::commit::metadata::{MAX, Metadata, map_limit};
use crate::worker::account::Snapshot;
use crate::worker::mutation::Mutation::{self, *};

fn identity(number: usize) -> Identity<'static> {
    Identity { group: "group", topic: "t", partition: number as i32 }
}

impl World {
    /// A partition comes, with what is stored beside its committed offset or with
    /// something else.
    pub fn assign(&mut self, number: usize) {
        let taken: Vec<u32> = self.parts.iter().filter_map(|p| p.held.as_ref()).map(|held| held.slot.index).collect();
        if self.parts[number].held.is_some() {
            return;
        }
        let stored = self.found(number);
        let part = &mut self.parts[number];
        self.epoch += 1;
        let index = (0..).find(|index| !taken.contains(index)).unwrap();
        let slot = Slot { index, epoch: self.epoch };
        let start = part.committed;
        let account = Account::new("t".into(), number as i32, start, BUFFER);
        let log_end = part.log.last().unwrap().offset + 1;
        let metadata = Metadata::parse(&stored.metadata).unwrap_or_default();
        let mut known = Known { honest: stored.honest, ..Known::default() };
        if let Ok(Some(map)) = trusted(&metadata, number, start, log_end) {
            account.remember(map.clone(), metadata.map.clone().unwrap());
            known.text = metadata.map;
            if stored.honest {
                known.settled = map.settled.iter().cloned().flatten().collect();
                known.failures = failures(&map);
            }
        }
        account.limit_map(if self.rng.u32(..4) == 0 { self.rng.usize(..120) } else { map_limit(MAX) });
        let next = part.log.partition_point(|logged| logged.offset < start);
        self.core.assign(slot, account.clone());
        let (records, open) = Default::default();
        let (draining, drained, fenced, withheld) = (false, false, false, 0);
        part.held =
            Some(Held { slot, account, start, next, records, open, known, draining, drained, fenced, withheld });
    }

    /// What an assignment finds beside the committed offset: mostly what was stored.
    fn found(&mut self, number: usize) -> Stored {
        let rng = &mut self.rng;
        let stored = self.parts[number].stored.clone();
        let map = |stored: &Stored| {
            let text = Metadata::parse(&stored.metadata).unwrap_or_default().map?;
            OffsetMap::decode(&text, identity(number)).ok()
        };
        let Some(mut map) = map(&stored) else { return stored };
        let lie = |metadata: Vec<u8>| Stored { metadata, honest: false };
        match rng.u32(..16) {
            // Of the record at the base: the topic was deleted and created again.
            0 => {
                map.head_ms += 1;
                map.settled = vec![map.base + 1..self.parts[number].log.last().unwrap().offset + 1];
            }
            // Of the log's end: it was cut.
            1 => map.push(1 << 40..(1 << 40) + 1),
            // Another offset was committed with it.
            2 => {
                map.base -= 1;
                map.head_ms -= 1;
            }
            3 => {
                let other = (number + 1) % self.parts.len();
                let mut metadata = self.parts[other].stored.metadata.clone();
                // The other's offset was copied too.
                if let Some(text) = map.encode(identity(other), MAX) {
                    metadata = Metadata { began_ms: None, map: Some(text.text) }.to_string().into();
                }
                return lie(metadata);
            }
            4 => {
                let mut metadata = stored.metadata.clone();
                let at = rng.usize(..metadata.len());
                metadata[at] ^= 1 << rng.u32(..8);
                // Where what was changed is not the map, the map is as good as before.
                let text = |bytes: &[u8]| Metadata::parse(bytes).unwrap_or_default().map;
                let honest = stored.honest && text(&metadata) == text(&stored.metadata);
                return Stored { metadata, honest };
            }
            5 => return lie(vec![rng.u8(..); rng.usize(..200)]),
            _ => return stored,
        }
        let text = map.encode(identity(number), map_limit(MAX)).map(|text| text.text);
        lie(Metadata { began_ms: Some(1), map: text }.to_string().into())
    }

    /// A partition is taken away: in good order after a drain, or at any time.
    /// Its position is committed, or not, as after a crash. Answers still come.
    pub fn release(&mut self, number: usize) {
        let Some(held) = self.parts[number].held.as_ref() else { return };
        let (slot, committable) = (held.slot, held.committable());
        let (snapshot, in_map) = self.core.snapshot(slot).expect("it is held");
        self.check_snapshot(number, &snapshot, in_map);
        let (position, come_again) = self.core.release(slot).expect("it is held");
        assert_eq!(position, committable, "the position to commit");
        let part = &mut self.parts[number];
        let held = part.held.take().unwrap();
        assert_eq!(come_again, held.records.range(position..).count());
        if self.rng.bool() {
            self.store(number, &held, snapshot);
        }
    }

    /// A step of the commits that are made now and then: the worker is asked,
    /// answers some time, and what it answered last is committed.
    pub fn commit(&mut self, number: usize) {
        for number in 0..self.parts.len() {
            if let Some(held) = self.parts[number].held.as_ref().filter(|held| !held.fenced) {
                held.account.ask();
            }
        }
        if self.rng.bool() {
            self.core.publish_snapshots();
        }
        let Some(held) = self.parts[number].held.take() else { return };
        if !held.fenced && self.rng.bool() {
            let snapshot = held.account.to_commit();
            assert!(snapshot.position >= self.parts[number].committed, "it goes back");
            self.store(number, &held, snapshot);
        }
        self.parts[number].held = Some(held);
    }

    /// The worker is gone with all that it knew; another one begins with what is committed.
    pub fn crash(&mut self) {
        self.core = Core::new(self.plan.clone(), "group".into(), true, MESSAGE_BYTES, self.rng.u64(..), self.now);
        self.circuits = [Circuit::Closed; 2];
        self.calls.clear();
        self.sent.clear();
        self.parts.iter_mut().for_each(|part| part.held = None);
    }

    /// Commits, and holds what is committed against what has happened.
    fn store(&mut self, number: usize, held: &Held, snapshot: Snapshot) {
        let part = &mut self.parts[number];
        let Snapshot { position, map } = snapshot;
        let skipped = part.log.iter().map(|l| l.offset).find(|o| *o < position && !part.settled.contains(o));
        assert_eq!(skipped, None, "it is committed and not settled");
        // A map that was found and not yet held against the first record goes back as it came.
        let unproved = map.is_some() && map == held.known.text;
        if let Some(text) = map.as_deref().filter(|_| !unproved) {
            let map = OffsetMap::decode(text, identity(number)).unwrap();
            map.fits(position, i64::MAX).unwrap();
            let wrong = map.settled.into_iter().flatten().find(|offset| !part.settled.contains(offset));
            assert_eq!(wrong, None, "the map calls it settled");
        }
        part.committed = position;
        let metadata = Metadata { began_ms: Some(1), map }.to_string().into();
        part.stored = Stored { metadata, honest: !unproved || held.known.honest };
    }

    /// A snapshot of this moment says all that there is to say, as far as there is room.
    fn check_snapshot(&self, number: usize, snapshot: &Snapshot, in_map: usize) {
        let held = self.parts[number].held.as_ref().unwrap();
        let Some(last) = held.last() else {
            let found = Snapshot { position: held.start, map: held.known.text.clone() };
            return assert_eq!((snapshot, in_map), (&found, 0), "nothing has come, so it is as it was");
        };
        let Some(text) = &snapshot.map else {
            assert_eq!((snapshot.position, in_map), (held.committable(), 0));
            let (settled, failures) = (held.settled_beyond(snapshot.position), held.failures());
            let nothing = settled.is_empty() && failures.is_empty();
            return assert!(nothing || held.account.map_limit() < 120, "no map of {settled:?}, {failures:?}");
        };
        let map = OffsetMap::decode(text, identity(number)).unwrap();
        let all_settled = held.records.values().all(Delivered::is_settled);
        assert_eq!(
            (map.base, snapshot.position),
            (snapshot.position, if all_settled { last } else { held.committable() })
        );
        // Records carry their offsets for timestamps.
        assert_eq!(map.head_ms, map.base);
        let settled: Vec<i64> = map.settled.iter().cloned().flatten().collect();
        let (all, failures, tried) = (held.settled_beyond(map.base), held.failures(), failures(&map));
        assert_eq!(Some(&settled[..]), all.get(..settled.len()), "the lowest ones");
        assert_eq!(in_map, settled.iter().filter(|offset| **offset <= last).count());
        assert!(tried.iter().all(|(run, count)| failures.get(run) == Some(count)), "{tried:?} of {failures:?}");
        if held.account.map_limit() >= 120 {
            assert_eq!((settled.len(), tried.len()), (all.len(), failures.len()), "there is room for all");
        }
    }
}

/// The map as the source would trust it; here are the mutations of the source.
fn trusted(metadata: &Metadata, number: usize, start: i64, log_end: i64) -> Result<Option<OffsetMap>, Refused> {
    if !Mutation::any_is_in_force() {
        return metadata.trusted_map(identity(number), start, log_end);
    }
    let read = |number| OffsetMap::decode(metadata.map.as_deref().unwrap_or_default(), identity(number));
    let numbers = if OtherPartitionTrusted.is_in_force() { 0..3 } else { number..number + 1 };
    let Some(map) = numbers.into_iter().find_map(|number| read(number).ok()) else { return Ok(None) };
    let (base, end) = (map.base, i64::MAX);
    map.fits(
        if OtherOffsetTrusted.is_in_force() { base } else { start },
        if BeyondLogTrusted.is_in_force() { end } else { log_end },
    )?;
    Ok(Some(map))
}

fn failures(map: &OffsetMap) -> BTreeMap<(i64, &'static str), u32> {
    let names = KINDS.iter().flat_map(|(_, routes)| *routes).chain(&["renamed"]);
    let name = |digest| *names.clone().find(|name| route_digest(name) == digest).unwrap();
    map.attempts.iter().map(|attempts| ((attempts.offset, name(attempts.route)), attempts.failures)).collect()
}
