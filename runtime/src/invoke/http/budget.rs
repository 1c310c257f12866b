//! What one attempt may send and receive.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::manifest::Limits;

/// A budget of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::invoke) enum Exceeded {
    /// The number of requests.
    Requests,
    /// The bytes of the requests.
    RequestBytes,
    /// The bytes of the responses.
    ResponseBytes,
}

/// What an attempt has sent and received. Its requests hold on to it for as long
/// as they are open, in the guest's hands or on the wire.
#[derive(Debug)]
pub(in crate::invoke) struct Attempt {
    deadline: Instant,
    limits: [usize; 3],
    used: [AtomicUsize; 3],
    exceeded: Mutex<Option<Exceeded>>,
    over: AtomicBool,
}

impl Attempt {
    /// An attempt that has to answer by `deadline`.
    pub(super) fn new(limits: &Limits, deadline: Instant) -> Attempt {
        Attempt {
            deadline,
            limits: [limits.http_requests, limits.http_request_bytes, limits.http_response_bytes],
            used: Default::default(),
            exceeded: Mutex::new(None),
            over: AtomicBool::new(false),
        }
    }

    /// When it has to have answered.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes from a budget. `false`: it is exceeded, now or before.
    pub(super) fn take(&self, budget: Exceeded, amount: usize) -> bool {
        let (used, limit) = (&self.used[budget as usize], self.limits[budget as usize]);
        // The count stops at the largest number: one that went round would be a way past the limit.
        let add = |used: usize| Some(used.saturating_add(amount));
        let before = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).unwrap_or(usize::MAX);
        let fits = before.saturating_add(amount) <= limit;
        if !fits {
            self.exceed(budget);
        }
        fits
    }

    /// Says that a budget is exceeded.
    pub(super) fn exceed(&self, budget: Exceeded) {
        self.exceeded.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(budget);
    }

    /// What is left of a budget.
    pub(super) fn left(&self, budget: Exceeded) -> usize {
        self.limits[budget as usize].saturating_sub(self.used[budget as usize].load(Ordering::Relaxed))
    }

    /// The budget that was exceeded first.
    pub(super) fn exceeded(&self) -> Option<Exceeded> {
        *self.exceeded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the guest is gone: what it has not sent completely is broken
    /// off, so that no server takes a part for the whole.
    pub(super) fn give_up(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the guest is gone.
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Whether a request of this attempt is still open. Of one that the guest just
/// cancelled it may say so for another moment.
pub(super) fn has_open_requests(attempt: &Arc<Attempt>) -> bool {
    Arc::strong_count(attempt) > 1
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn attempt() -> Attempt {
        let limits = Limits {
            memory: 0,
            cpu_time: Duration::ZERO,
            timeout: Duration::ZERO,
            input: 0,
            output: 0,
            outputs: 0,
            http_requests: 2,
            http_request_bytes: 100,
            http_response_bytes: 1000,
        };
        Attempt::new(&limits, Instant::now())
    }

    #[test]
    fn each_budget_counts_alone_and_the_first_exceeded_is_named() {
        let attempt = attempt();
        assert!(attempt.take(Exceeded::Requests, 1) && attempt.take(Exceeded::Requests, 1));
        assert!(attempt.take(Exceeded::RequestBytes, 100) && attempt.take(Exceeded::ResponseBytes, 999));
        assert_eq!(attempt.exceeded(), None);
        assert!(!attempt.take(Exceeded::ResponseBytes, 2));
        assert!(!attempt.take(Exceeded::Requests, 1));
        assert_eq!(attempt.exceeded(), Some(Exceeded::ResponseBytes));
    }

    #[test]
    fn a_budget_does_not_wrap_around() {
        let attempt = attempt();
        assert!(!attempt.take(Exceeded::RequestBytes, usize::MAX));
        assert!(!attempt.take(Exceeded::RequestBytes, usize::MAX));
        assert!(!attempt.take(Exceeded::RequestBytes, 1));
    }

    #[test]
    fn a_request_is_open_while_it_is_held() {
        let attempt = Arc::new(attempt());
        let request = Arc::clone(&attempt);
        assert!(has_open_requests(&attempt));
        drop(request);
        assert!(!has_open_requests(&attempt));
    }
}
