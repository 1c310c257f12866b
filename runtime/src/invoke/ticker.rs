//! The heartbeat of the engine: a thread that advances the epoch every
//! millisecond while a guest runs, and sleeps while none does.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

/// The length of a guest's time slice.
const TICK: Duration = Duration::from_millis(1);

/// Ticks without a guest before the thread sleeps: a steady trickle of events
/// must not pay for a wake-up each.
const LINGER: u32 = 10;

/// Owns the thread and ends it.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    ticks: AtomicU64,
    asleep: AtomicBool,
    stop: AtomicBool,
    /// One counter per pool, so that workers do not share a cache line.
    running: Mutex<Vec<Weak<AtomicUsize>>>,
}

impl Shared {
    fn is_idle(&self) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|pool| pool.strong_count() > 0);
        running.iter().all(|pool| pool.upgrade().is_none_or(|calls| calls.load(Ordering::SeqCst) == 0))
    }
}

impl Ticker {
    /// Starts the thread, asleep.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(engine: wasmtime::Engine) -> std::io::Result<Ticker> {
        let shared = Arc::new(Shared {
            ticks: AtomicU64::new(0),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            running: Mutex::default(),
        });
        let thread = thread::Builder::new().name("epoch".into()).spawn({
            let shared = Arc::clone(&shared);
            move || tick(&shared, &engine)
        })?;
        Ok(Ticker { shared, thread: Some(thread) })
    }

    /// A counter of calls that keeps the ticker awake while it is above zero.
    pub(super) fn pulse(&self) -> Pulse {
        let calls = Arc::new(AtomicUsize::new(0));
        let mut running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.push(Arc::downgrade(&calls));
        let thread = self.thread.as_ref().map(|thread| thread.thread().clone());
        Pulse { calls, shared: Arc::clone(&self.shared), thread }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot have panicked, and there is nothing to do if it had.
            drop(thread.join());
        }
    }
}

fn tick(shared: &Shared, engine: &wasmtime::Engine) {
    let mut idle = 0;
    while !shared.stop.load(Ordering::SeqCst) {
        if idle < LINGER {
            thread::park_timeout(TICK);
            shared.ticks.fetch_add(1, Ordering::Relaxed);
            engine.increment_epoch();
            idle = if shared.is_idle() { idle + 1 } else { 0 };
            continue;
        }
        // A call that begins either sees `asleep` and wakes this thread, or is
        // seen by this second look: both sides write first and read then.
        shared.asleep.store(true, Ordering::SeqCst);
        if shared.is_idle() && !shared.stop.load(Ordering::SeqCst) {
            thread::park();
        }
        shared.asleep.store(false, Ordering::SeqCst);
        idle = 0;
    }
}

/// One pool's calls under way.
pub(super) struct Pulse {
    calls: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    thread: Option<Thread>,
}

impl Pulse {
    /// Counts a call until the guard is dropped, and wakes the ticker.
    pub(super) fn begin(&self) -> Beat {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            // Time went on while the ticker slept: whoever compares ticks must see that.
            self.shared.ticks.fetch_add(1, Ordering::Relaxed);
            if let Some(thread) = &self.thread {
                thread.unpark();
            }
        }
        Beat(Arc::clone(&self.calls))
    }

    /// Calls under way.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Ticks so far. Equal numbers mean less than about a tick in between.
    pub(super) fn ticks(&self) -> u64 {
        self.shared.ticks.load(Ordering::Relaxed)
    }
}

/// A call under way.
pub(super) struct Beat(Arc<AtomicUsize>);

impl Drop for Beat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Waits for a condition, up to a time that only a broken ticker needs.
    fn eventually(condition: impl Fn() -> bool) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        while !condition() {
            if Instant::now() > end {
                return false;
            }
            thread::yield_now();
        }
        true
    }

    #[test]
    fn it_ticks_while_a_call_runs_sleeps_when_none_does_and_wakes_again() {
        let ticker = Ticker::start(wasmtime::Engine::default()).unwrap();
        let pulse = ticker.pulse();
        for _ in 0..3 {
            let beat = pulse.begin();
            let before = pulse.ticks();
            // More than it would linger for without the call.
            assert!(eventually(|| pulse.ticks() > before + u64::from(LINGER) * 2));
            drop(beat);
            assert!(eventually(|| ticker.shared.asleep.load(Ordering::SeqCst)));
        }
        assert_eq!(pulse.calls(), 0);
    }

    #[test]
    fn a_call_that_begins_while_it_sleeps_counts_as_a_tick() {
        let ticker = Ticker::start(wasmtime::Engine::default()).unwrap();
        let pulse = ticker.pulse();
        assert!(eventually(|| ticker.shared.asleep.load(Ordering::SeqCst)));
        let before = pulse.ticks();
        let _beat = pulse.begin();
        assert!(pulse.ticks() > before);
    }

    #[test]
    fn its_thread_ends_with_it_awake_or_asleep() {
        let ticker = Ticker::start(wasmtime::Engine::default()).unwrap();
        let pulse = ticker.pulse();
        let _beat = pulse.begin();
        drop(ticker);
        assert_eq!(Arc::strong_count(&pulse.shared), 1);
    }
}
