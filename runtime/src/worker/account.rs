//! What the polling thread and the worker both know of one assigned partition.
//! Plain atomics: each is written by one side and read by the other. What is too
//! large for one, the offset maps, passes once per assignment and once per commit.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::total::Total;
use crate::commit::map::{ALWAYS_FIT, OffsetMap};
use crate::commit::metadata;
use crate::manifest::Buffer;
use crate::worker::mutation::mutation;

/// What is to be committed for a partition, all of one moment: a map holds only
/// beside the position that it was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The offset to commit.
    pub position: i64,
    /// The text of the offset map, where one is needed.
    pub map: Option<Arc<str>>,
}

/// One assignment of one partition. A later assignment of the same partition has another.
#[derive(Debug)]
pub struct Account {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Set when the partition was taken away: guests see it and stop.
    pub fence: Arc<AtomicBool>,
    limit: Buffer,
    /// What all partitions have in memory.
    total: Arc<Total>,
    /// Settled bytes that the total does not know of yet; only the worker writes it.
    kept_back: AtomicUsize,
    records: AtomicUsize,
    bytes: AtomicUsize,
    /// Of these records, those that the worker has not looked at yet.
    unread: AtomicUsize,
    span: AtomicUsize,
    blocked: AtomicBool,
    /// There was room but for the total: reading goes on once nothing is under way.
    held_up: AtomicBool,
    astray: AtomicBool,
    position: AtomicI64,
    oldest_ms: AtomicI64,
    /// Whether the worker is to publish a snapshot.
    asked: AtomicBool,
    /// The most characters of a map's text.
    map_limit: AtomicUsize,
    /// The map that was stored with the position, until the worker takes it.
    map: Mutex<Option<OffsetMap>>,
    /// What the worker published last. Locked once per commit by either side.
    published: Mutex<Option<Snapshot>>,
}

/// No timestamp.
const NONE: i64 = i64::MIN;

/// How far reading may run ahead of the lowest record that is not settled, in
/// multiples of the bound on records: each record in between costs 16 bytes, settled or not.
/// Never further than what an offset map can always say of the records in between.
const SPAN: usize = 8;

/// Records that wait for the worker's first look. Those that are looked at long after
/// they were copied have left the processor's cache: ten thousand of them instead of
/// a few hundred cost a fifth of the throughput (docs/benchmarks.md).
const READ_AHEAD: usize = 256;

impl Account {
    /// A partition that was assigned at `position`, the next offset to read, and that
    /// shares no bound with others.
    pub fn new(topic: Arc<str>, partition: i32, position: i64, limit: Buffer) -> Arc<Account> {
        Account::sharing(Total::new(usize::MAX), topic, partition, position, limit)
    }

    /// The same with a bound on all partitions whose accounts share `total`.
    pub fn sharing(total: Arc<Total>, topic: Arc<str>, partition: i32, position: i64, limit: Buffer) -> Arc<Account> {
        Arc::new(Account {
            topic,
            partition,
            fence: Arc::new(AtomicBool::new(false)),
            limit,
            total,
            kept_back: AtomicUsize::new(0),
            records: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            span: AtomicUsize::new(0),
            blocked: AtomicBool::new(false),
            held_up: AtomicBool::new(false),
            astray: AtomicBool::new(false),
            position: AtomicI64::new(position),
            oldest_ms: AtomicI64::new(NONE),
            asked: AtomicBool::new(false),
            map_limit: AtomicUsize::new(metadata::map_limit(metadata::MAX)),
            map: Mutex::default(),
            published: Mutex::default(),
        })
    }

    /// Adds the map that was stored with the position, and its text; before the worker has the account.
    pub fn remember(&self, map: OffsetMap, text: Arc<str>) {
        self.publish(Snapshot { position: map.base, map: Some(text) });
        *locked(&self.map) = Some(map);
    }

    /// See [`Account::remember`]; it is there once.
    pub fn take_map(&self) -> Option<OffsetMap> {
        locked(&self.map).take()
    }

    /// How many more records may be read now. The bounds on bytes are passed by at
    /// most one batch. 0 marks the partition as blocked until the worker has freed
    /// half of each of its own bounds; or, where only the total is reached, until that
    /// has come down or nothing of this partition is under way.
    ///
    /// So a partition that has nothing under way always has room: those that stand
    /// still cannot stop the others, however much of the total they hold. The total
    /// is passed by at most one batch for each partition.
    pub fn room(&self) -> usize {
        let room = self.own_room();
        if room == 0 || self.total.has_room() {
            return room;
        }
        if self.records.load(Acquire) > 0 {
            // Sequentially consistent, as is `release`, for the same reason as below.
            self.held_up.store(true, SeqCst);
            if self.records.load(SeqCst) > 0 {
                return 0;
            }
        }
        room
    }

    fn own_room(&self) -> usize {
        if !self.blocked.load(Acquire) {
            let room = self.room_now();
            if room > 0 {
                return room;
            }
            // Sequentially consistent, as is `release`: either the worker sees the mark,
            // or this thread sees below what the worker has released. With anything
            // weaker both may miss the other, and a partition whose records are all
            // settled would stay blocked for ever.
            self.blocked.store(true, SeqCst);
        }
        if self.below_half() {
            self.blocked.store(false, Release);
            return self.room_now();
        }
        0
    }

    fn room_now(&self) -> usize {
        if self.bytes.load(Acquire) >= self.limit.bytes || self.span.load(Acquire) >= self.span_limit() {
            return 0;
        }
        let records = self.limit.records.saturating_sub(self.records.load(Acquire));
        records.min(READ_AHEAD.saturating_sub(self.unread.load(Acquire)))
    }

    /// Whether reading waits for records to be settled. A worker that is busy holds
    /// reading up too, for moments; that is not meant.
    pub fn is_full(&self) -> bool {
        let by_total = || self.held_up.load(Acquire) && self.total.is_full() && self.unsettled() > 0;
        (self.blocked.load(Acquire) && !self.is_half_free()) || by_total()
    }

    /// Counts records that are handed to the worker.
    pub fn add(&self, records: usize, bytes: usize) {
        self.records.fetch_add(records, AcqRel);
        self.unread.fetch_add(records, AcqRel);
        self.bytes.fetch_add(bytes, AcqRel);
        self.total.add(bytes);
    }

    /// Counts one record that the worker looks at. True as for [`Account::release`].
    pub fn look_at(&self) -> bool {
        self.unread.fetch_sub(1, SeqCst);
        self.unblock()
    }

    /// Counts settled records off. True when a blocked partition, this one or where
    /// the total was reached any, may be read again: the polling thread is then to be woken.
    /// Only the partition's worker calls this.
    pub fn release(&self, records: usize, bytes: usize) -> bool {
        let left = self.records.fetch_sub(records, SeqCst) - records;
        self.bytes.fetch_sub(bytes, SeqCst);
        let total = self.release_total(bytes, left == 0);
        let empty = self.held_up.load(SeqCst) && self.records.load(SeqCst) == 0 && self.held_up.swap(false, AcqRel);
        self.unblock() | total | empty
    }

    /// Takes bytes off the total, in portions: each time would have the workers wait
    /// for each other. What is kept back is told at the latest with the last record.
    fn release_total(&self, bytes: usize, all: bool) -> bool {
        let kept_back = self.kept_back.load(Relaxed) + bytes;
        let tell = all || kept_back >= self.total.portion();
        self.kept_back.store(if tell { 0 } else { kept_back }, Relaxed);
        tell && self.total.sub(kept_back)
    }

    fn unblock(&self) -> bool {
        self.blocked.load(SeqCst) && self.below_half() && self.blocked.swap(false, AcqRel)
    }

    fn below_half(&self) -> bool {
        self.unread.load(SeqCst) <= READ_AHEAD / 2 && self.is_half_free()
    }

    fn is_half_free(&self) -> bool {
        self.records.load(SeqCst) <= self.limit.records / 2
            && self.bytes.load(SeqCst) <= self.limit.bytes / 2
            // It falls in leaps, when the lowest record is settled, so a little is enough here.
            && self.span.load(Acquire) <= self.span_limit() / 8 * 7
    }

    fn span_limit(&self) -> usize {
        (self.limit.records * SPAN).min(ALWAYS_FIT - READ_AHEAD)
    }

    /// Says that a record came at an offset that was passed already: what follows it
    /// cannot be taken, and the partition has to begin anew.
    pub fn go_astray(&self) {
        self.astray.store(true, Release);
    }

    /// See [`Account::go_astray`].
    pub fn is_astray(&self) -> bool {
        self.astray.load(Acquire)
    }

    /// Records delivered and not settled.
    pub fn unsettled(&self) -> usize {
        self.records.load(Acquire)
    }

    /// Bytes of the records delivered and not settled.
    pub fn unsettled_bytes(&self) -> usize {
        self.bytes.load(Acquire)
    }

    /// The worker's word on what may be committed, and on how many records from there on it keeps track of.
    pub fn set_position(&self, position: i64, span: usize) {
        self.set_span(span);
        self.position.store(position, Release);
    }

    /// The second part of that alone: a record came.
    pub fn set_span(&self, span: usize) {
        self.span.store(span, Release);
    }

    /// Records from the position on that the worker keeps track of, settled ones included.
    pub fn span(&self) -> usize {
        self.span.load(Acquire)
    }

    /// What may be committed: every lower record is settled.
    pub fn position(&self) -> i64 {
        self.position.load(Acquire)
    }

    /// Asks the worker for a snapshot. False if it was asked already and has not answered.
    pub fn ask(&self) -> bool {
        !self.asked.swap(true, AcqRel)
    }

    /// Whether a snapshot was asked for since the last call.
    pub fn take_asked(&self) -> bool {
        self.asked.swap(false, AcqRel)
    }

    /// Says how many characters a map's text may have.
    pub fn limit_map(&self, characters: usize) {
        self.map_limit.store(characters, Relaxed);
    }

    /// See [`Account::limit_map`].
    pub fn map_limit(&self) -> usize {
        self.map_limit.load(Relaxed)
    }

    /// The worker's answer to [`Account::ask`].
    pub fn publish(&self, snapshot: Snapshot) {
        *locked(&self.published) = Some(snapshot);
    }

    /// What is to be committed: the last snapshot with its map, where there is one;
    /// otherwise the position as it is now. It never goes back.
    pub fn to_commit(&self) -> Snapshot {
        // In this order: a snapshot that is published after this look is not below it.
        let position = self.position();
        let published = locked(&self.published).clone().filter(|snapshot| snapshot.map.is_some());
        mutation!(SnapshotOfTwoMoments => return Snapshot { position, map: published.and_then(|snapshot| snapshot.map) });
        published.unwrap_or(Snapshot { position, map: None })
    }

    /// The timestamp of the lowest record that is not settled, as of the worker's last look.
    pub fn set_oldest_ms(&self, timestamp_ms: Option<i64>) {
        self.oldest_ms.store(timestamp_ms.unwrap_or(NONE), Release);
    }

    /// See [`Account::set_oldest_ms`].
    pub fn oldest_ms(&self) -> Option<i64> {
        Some(self.oldest_ms.load(Acquire)).filter(|&ms| ms != NONE)
    }
}

impl Drop for Account {
    /// What a partition held in memory when it was taken away is in no memory any
    /// more. Nobody is woken: a rebalance goes on for longer than the polling thread sleeps.
    fn drop(&mut self) {
        self.total.sub(*self.bytes.get_mut() + *self.kept_back.get_mut());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
