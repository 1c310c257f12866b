//! CPU time of a call, and whose turn it is among calls that compute for long.
//!
//! Reading a thread's CPU clock is a system call, dearer than a small handler.
//! It is read only where a tick was crossed, or a call is polled again: a shorter call
//! pays nothing and is charged nothing, and what it used is charged to the one among
//! many that happens to cross a tick.

use std::cell::Cell;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ticker::Pulse;

/// What one call has used so far. Shared between the store, whose epoch callback
/// charges it, and the future that drives the call; both are on one thread, but
/// wasmtime asks store data to be `Send`, hence the atomics.
pub(super) struct Meter {
    used: AtomicU64,
    slice: Mutex<Slice>,
    /// The call was polled before. Most never are again, and those pay nothing.
    again: AtomicBool,
    turn: Turn,
}

/// Where the time that is not charged yet began.
#[derive(Clone, Copy)]
struct Slice {
    cpu: Duration,
    wall: Instant,
}

impl Meter {
    /// A meter at zero, whose call takes turns with those of the same `turns`.
    pub(super) fn new(turns: Arc<Semaphore>) -> Meter {
        let slice = Slice { cpu: Duration::ZERO, wall: Instant::now() };
        Meter {
            used: AtomicU64::new(0),
            slice: Mutex::new(slice),
            again: AtomicBool::new(false),
            turn: Turn::new(turns),
        }
    }

    /// CPU time charged to this call.
    pub(super) fn used(&self) -> Duration {
        Duration::from_nanos(self.used.load(Ordering::Relaxed))
    }

    /// Begins a call.
    pub(super) fn reset(&self) {
        self.used.store(0, Ordering::Relaxed);
        self.again.store(false, Ordering::Relaxed);
    }

    /// Begins a poll of the call's future.
    pub(super) fn resume(&self, clock: &Clock, wall: Instant) {
        *self.slice.lock().unwrap_or_else(PoisonError::into_inner) = Slice { cpu: clock.recent(), wall };
    }

    /// Ends a poll of the call's future: charges it if it crossed a tick, or if it is not the
    /// first. A guest sees where the ticks are, and could compute between them for ever.
    pub(super) fn pause(&self, clock: &Clock) {
        if self.again.swap(true, Ordering::Relaxed) || clock.is_stale() {
            self.charge();
        }
        if !self.turn.yielding.load(Ordering::Relaxed) {
            // Done, or waiting for the host: others may compute meanwhile.
            self.turn.end();
        }
    }

    /// Charges the time since the slice began and returns the sum.
    ///
    /// The slice's CPU reading may be up to a tick older than the slice, and its
    /// wall time includes what other threads took from this one. Both are upper
    /// bounds, so the smaller one counts.
    pub(super) fn charge(&self) -> Duration {
        let mut slice = self.slice.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Slice { cpu: thread_cpu_time(), wall: Instant::now() };
        let spent = now.cpu.saturating_sub(slice.cpu).min(now.wall.saturating_duration_since(slice.wall));
        *slice = now;
        let spent = u64::try_from(spent.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.used.fetch_add(spent, Ordering::Relaxed).saturating_add(spent))
    }

    /// Lets the other calls of the worker run, and waits for this call's turn
    /// among those of its handler that compute for long.
    pub(super) fn yield_turn(self: &Arc<Meter>) -> impl Future<Output = ()> + Send + 'static {
        let meter = Arc::clone(self);
        async move {
            meter.turn.yielding.store(true, Ordering::Relaxed);
            meter.turn.end();
            meter.turn.begin().await;
            // Not a wake-up of its own task: that would keep Tokio from looking
            // at I/O and timers for many rounds.
            tokio::task::yield_now().await;
            meter.turn.yielding.store(false, Ordering::Relaxed);
        }
    }

    /// Forgets a turn whose call was dropped half-way.
    pub(super) fn abandon(&self) {
        self.turn.yielding.store(false, Ordering::Relaxed);
        self.turn.end();
    }
}

/// One call's place in the queue of its handler. Of the calls of one handler
/// that have used up a slice, only one is runnable at a time: a loop on a
/// thousand keys gets one turn per round, not a thousand.
struct Turn {
    turns: Arc<Semaphore>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    yielding: AtomicBool,
}

impl Turn {
    fn new(turns: Arc<Semaphore>) -> Turn {
        Turn { turns, permit: Mutex::new(None), yielding: AtomicBool::new(false) }
    }

    async fn begin(&self) {
        // The semaphore is fair and never closed.
        let permit = Arc::clone(&self.turns).acquire_owned().await.ok();
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = permit;
    }

    fn end(&self) {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// One thread's CPU clock, read at most once per tick.
pub(super) struct Clock {
    pulse: Pulse,
    read_at: Cell<Option<u64>>,
    reading: Cell<Duration>,
}

impl Clock {
    /// A clock that has not been read yet.
    pub(super) fn new(pulse: Pulse) -> Clock {
        Clock { pulse, read_at: Cell::new(None), reading: Cell::new(Duration::ZERO) }
    }

    /// The calls that the clock is kept for.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.pulse
    }

    fn is_stale(&self) -> bool {
        self.read_at.get() != Some(self.pulse.ticks())
    }

    /// A reading at most a tick old.
    fn recent(&self) -> Duration {
        let ticks = self.pulse.ticks();
        if self.read_at.replace(Some(ticks)) != Some(ticks) {
            self.reading.set(thread_cpu_time());
        }
        self.reading.get()
    }
}

/// The CPU time that this thread has used.
#[allow(unsafe_code, reason = "libc's call takes a pointer; no dependency that wraps it is used otherwise")]
fn thread_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local variable of the type that the call fills in.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    debug_assert_eq!(answer, 0, "the clock exists on every system that this builds for");
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}
