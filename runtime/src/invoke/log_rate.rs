//! How much of what a handler writes becomes log lines.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Bytes of guest output per handler and second that become log lines.
pub(super) const RATE: usize = 64 * 1024;

/// What a line counts beside its bytes: handler, route, module and time stand on each.
pub(super) const FRAME: usize = 128;

/// The rate of one handler, over all of its instances and workers.
#[derive(Debug)]
pub(super) struct Rate {
    window: Mutex<Window>,
    swallowed: AtomicU64,
    /// Of these, what nobody has been told of.
    untold: AtomicU64,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    used: usize,
    swallowed: usize,
}

impl Rate {
    pub(super) fn new() -> Rate {
        let window = Window { began: Instant::now(), used: 0, swallowed: 0 };
        Rate { window: Mutex::new(window), swallowed: AtomicU64::new(0), untold: AtomicU64::new(0) }
    }

    /// Bytes swallowed since the handler was loaded.
    pub(super) fn swallowed(&self) -> u64 {
        self.swallowed.load(Ordering::Relaxed)
    }

    /// Bytes swallowed since this was last asked: each is told once, whoever asks.
    pub(super) fn take_swallowed(&self) -> u64 {
        self.untold.swap(0, Ordering::Relaxed)
    }

    /// Asks for a line of `bytes`: whether it fits, and how many bytes were swallowed in
    /// the window that this request ended.
    pub(super) fn take(&self, bytes: usize, now: Instant) -> (bool, usize) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let mut missed = 0;
        if now.saturating_duration_since(window.began) >= Duration::from_secs(1) {
            missed = window.swallowed;
            *window = Window { began: now, used: 0, swallowed: 0 };
        }
        let fits = window.used + bytes + FRAME <= RATE;
        if fits {
            window.used += bytes + FRAME;
        } else {
            // An empty one is something, too.
            self.count_swallowed(&mut window, bytes.max(1));
        }
        (fits, missed)
    }

    /// Swallows bytes whatever there is room for.
    pub(super) fn swallow(&self, bytes: usize) {
        self.count_swallowed(&mut self.window.lock().unwrap_or_else(PoisonError::into_inner), bytes);
    }

    fn count_swallowed(&self, window: &mut Window, bytes: usize) {
        window.swallowed += bytes;
        self.swallowed.fetch_add(bytes as u64, Ordering::Relaxed);
        self.untold.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_rate_is_swallowed_counted_and_reported_in_the_next_window() {
        let rate = Rate::new();
        let now = Instant::now();
        assert_eq!(rate.take(RATE - FRAME, now), (true, 0));
        assert_eq!(rate.take(1, now), (false, 0));
        assert_eq!(rate.take(2, now), (false, 0));
        assert_eq!(rate.take(1, now + Duration::from_secs(1)), (true, 3));
        assert_eq!(rate.take(1, now + Duration::from_secs(1)), (true, 0));
        assert_eq!((rate.swallowed(), rate.take_swallowed(), rate.take_swallowed()), (3, 3, 0));
    }

    #[test]
    fn lines_without_bytes_are_bounded_too() {
        let rate = Rate::new();
        let now = Instant::now();
        let written = (0..100_000).filter(|_| rate.take(0, now).0).count();
        // 64 KiB of 128 bytes each.
        assert_eq!((written, rate.swallowed()), (512, 100_000 - 512));
    }
}
