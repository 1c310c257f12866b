//! How much of all partitions together is in memory: the bound that their accounts share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};

/// Bytes of the records that were read and not settled, over all partitions of the
/// process. The polling thread adds and asks; workers take off, in portions, since
/// this is the one number that all of them write.
#[derive(Debug)]
pub struct Total {
    limit: usize,
    bytes: AtomicUsize,
    /// The limit was reached, and the bytes have not come down since.
    full: AtomicBool,
}

/// The largest portion in which a worker takes bytes off.
const PORTION: usize = 64 << 10;

impl Total {
    /// Nothing in memory yet; at most `limit` bytes and what the accounts' rules add.
    pub fn new(limit: usize) -> Arc<Total> {
        Arc::new(Total { limit, bytes: AtomicUsize::new(0), full: AtomicBool::new(false) })
    }

    /// Whether reading may go on, as far as the total decides. Once the limit is
    /// reached it may not, until the bytes have come down to three quarters of it.
    /// Only the polling thread asks.
    pub(super) fn has_room(&self) -> bool {
        if !self.full.load(Acquire) {
            if self.bytes.load(Acquire) < self.limit {
                return true;
            }
            // Sequentially consistent, as is `sub`: either the worker sees the mark, or
            // this thread sees what the worker took off. Otherwise both might miss the
            // other, and nobody would wake this thread.
            self.full.store(true, SeqCst);
        }
        if self.is_low() {
            self.full.store(false, Release);
            return true;
        }
        false
    }

    /// Whether the limit was reached and reading waits for it.
    pub(super) fn is_full(&self) -> bool {
        self.full.load(Acquire) && !self.is_low()
    }

    /// Counts bytes that were read.
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, AcqRel);
    }

    /// Counts bytes off. True where reading waited for that: the polling thread is to be woken.
    pub(super) fn sub(&self, bytes: usize) -> bool {
        self.bytes.fetch_sub(bytes, SeqCst);
        self.full.load(SeqCst) && self.is_low() && self.full.swap(false, AcqRel)
    }

    /// How many bytes a worker may keep back before it takes them off: so few that a
    /// hundred partitions of it together are no quarter of the limit.
    pub(super) fn portion(&self) -> usize {
        PORTION.min(self.limit / 512)
    }

    fn is_low(&self) -> bool {
        self.bytes.load(SeqCst) <= self.limit - self.limit / 4
    }

    /// Bytes in memory; up to a portion for each partition too high.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Acquire)
    }
}
