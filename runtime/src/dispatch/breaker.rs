//! The circuit breaker of a handler: when attempts fail one after the other, or
//! too many of them, it holds the handler's calls for a while and then lets one
//! of them probe.
//!
//! In: whether each attempt failed. Out: whether a call may begin, and the
//! [`Change`]s of the circuit. Which failures count is [`counts`].

use std::fmt;
use std::time::{Duration, Instant};

use crate::manifest::Circuit;
use crate::outcome::FailureClass;

/// Slices of the window: what is older than the window goes slice by slice.
const SLICES: usize = 10;

/// One handler's circuit on one worker.
///
/// Closed, every call may begin. It opens when `consecutiveFailures` attempts in a
/// row failed and none succeeded for `failingFor` (a burst of bad records is over
/// sooner, and no reason to hold those behind it), or `failureRatio` of at least `minimumAttempts` within the window.
/// Open, no call begins for `openFor`; then one probes. Answered, it closes the
/// circuit, which counts from zero; failed, it opens it again for twice the time,
/// up to `maxOpenFor`.
///
/// What had begun before the circuit opened says nothing about it afterwards. Attempts
/// that say nothing about the handler at all are not told to it.
#[derive(Debug)]
pub struct Breaker {
    settings: Circuit,
    state: State,
    /// Attempts in a row that failed.
    consecutive: u32,
    /// When the first of them ended.
    failing_since: Instant,
    window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// No call begins until then. `length`: how long it is open this time.
    Open {
        until: Instant,
        length: Duration,
    },
    /// Time for a probe; `probing`: it is under way.
    HalfOpen {
        probing: bool,
        length: Duration,
    },
}

/// What became of a circuit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Calls are held.
    Opened {
        /// What opened it.
        why: Why,
        /// Until the probe.
        length: Duration,
    },
    /// One call probes.
    HalfOpened,
    /// Calls go on.
    Closed,
}

/// What opened a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// So many attempts in a row failed.
    InARow(u32),
    /// So many of the attempts within the window failed.
    Share {
        /// Attempts that failed.
        failed: u32,
        /// All of them.
        attempts: u32,
    },
    /// The trial call failed.
    Probe,
}

/// Whether a failure of this class says that the handler does not work.
///
/// Not those that are about the record or about its outputs: a handler that
/// rejects an event has done its work, and what it returned can be refused by
/// Outrigger or by a broker for reasons that holding calls does not mend.
pub const fn counts(class: FailureClass) -> bool {
    match class {
        FailureClass::Failed
        | FailureClass::Dependency
        | FailureClass::Trap
        | FailureClass::Timeout
        | FailureClass::Budget => true,
        FailureClass::Undecodable | FailureClass::Unrouted | FailureClass::Rejected | FailureClass::Output => false,
    }
}

impl Breaker {
    /// A closed circuit. `now` is where the window's slices begin.
    pub fn new(settings: Circuit, now: Instant) -> Breaker {
        let window = Window::new(settings.window, now);
        Breaker { settings, state: State::Closed, consecutive: 0, failing_since: now, window }
    }

    /// Whether calls begin without a question.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether a call may begin now.
    pub fn admits(&self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open { until, .. } => until <= now,
            State::HalfOpen { probing, .. } => !probing,
        }
    }

    /// When the next probe may begin; `None` unless the circuit is open.
    pub fn opens_up(&self) -> Option<Instant> {
        match self.state {
            State::Open { until, .. } => Some(until),
            State::Closed | State::HalfOpen { .. } => None,
        }
    }

    /// Takes note of a call that begins, which [`Breaker::admits`] allowed. True: it
    /// is the probe, and [`Breaker::ended`] or [`Breaker::abandoned`] must follow.
    pub fn begin(&mut self) -> (bool, Option<Change>) {
        match self.state {
            State::Closed => (false, None),
            State::Open { length, .. } => {
                self.state = State::HalfOpen { probing: true, length };
                (true, Some(Change::HalfOpened))
            }
            State::HalfOpen { length, .. } => {
                self.state = State::HalfOpen { probing: true, length };
                (true, None)
            }
        }
    }

    /// Takes note of how an attempt ended; `probe`: what [`Breaker::begin`] said of it.
    pub fn ended(&mut self, probe: bool, failed: bool, now: Instant) -> Option<Change> {
        match self.state {
            State::Closed => self.count(failed, now),
            State::HalfOpen { length, .. } if probe && failed => {
                let length = (length * 2).min(self.settings.max_open_for);
                Some(self.open(Why::Probe, length, now))
            }
            State::HalfOpen { .. } if probe => {
                self.state = State::Closed;
                self.consecutive = 0;
                self.window.clear();
                Some(Change::Closed)
            }
            // It had begun before the circuit opened.
            State::HalfOpen { .. } | State::Open { .. } => None,
        }
    }

    /// The probe ended without a word about the handler: it could not begin, or its
    /// partition was taken away. Another one may probe at once.
    pub fn abandoned(&mut self) {
        if let State::HalfOpen { probing, .. } = &mut self.state {
            *probing = false;
        }
    }

    fn count(&mut self, failed: bool, now: Instant) -> Option<Change> {
        self.window.add(failed, now);
        if !failed {
            self.consecutive = 0;
            return None;
        }
        if self.consecutive == 0 {
            self.failing_since = now;
        }
        self.consecutive = self.consecutive.saturating_add(1);
        let lasts = now.saturating_duration_since(self.failing_since) >= self.settings.failing_for;
        let (settings, total) = (&self.settings, self.window.total);
        let share = f64::from(total.failed) >= settings.failure_ratio * f64::from(total.attempts);
        let why = if self.consecutive >= settings.consecutive_failures && lasts {
            Why::InARow(self.consecutive)
        } else if total.attempts >= settings.minimum_attempts && share {
            Why::Share { failed: total.failed, attempts: total.attempts }
        } else {
            return None;
        };
        Some(self.open(why, self.settings.open_for, now))
    }

    fn open(&mut self, why: Why, length: Duration, now: Instant) -> Change {
        self.state = State::Open { until: now + length, length };
        Change::Opened { why, length }
    }
}

/// Attempts of the last while, in slices.
#[derive(Debug)]
struct Window {
    slice: Duration,
    /// A ring; `current` is the slice that is counted in.
    slices: [Count; SLICES],
    current: usize,
    /// When the current slice ends.
    ends: Instant,
    /// The sum of the slices.
    total: Count,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    attempts: u32,
    failed: u32,
}

impl Window {
    fn new(length: Duration, now: Instant) -> Window {
        // Not zero, or the slices would never end.
        let slice = (length / SLICES as u32).max(Duration::from_micros(1));
        Window { slice, slices: Default::default(), current: 0, ends: now + slice, total: Count::default() }
    }

    fn add(&mut self, failed: bool, now: Instant) {
        if now >= self.ends {
            self.turn(now);
        }
        for count in [&mut self.slices[self.current], &mut self.total] {
            count.attempts = count.attempts.saturating_add(1);
            count.failed = count.failed.saturating_add(u32::from(failed));
        }
    }

    /// Moves on to the slice of `now`, and forgets those that have left the window.
    fn turn(&mut self, now: Instant) {
        let passed = now.duration_since(self.ends).as_nanos() / self.slice.as_nanos() + 1;
        for _ in 0..passed.min(SLICES as u128) {
            self.current = (self.current + 1) % SLICES;
            self.slices[self.current] = Count::default();
        }
        self.total = self.slices.iter().fold(Count::default(), |sum, slice| Count {
            attempts: sum.attempts.saturating_add(slice.attempts),
            failed: sum.failed.saturating_add(slice.failed),
        });
        let into = now.duration_since(self.ends).as_nanos() % self.slice.as_nanos();
        self.ends = now + self.slice - Duration::from_nanos(into as u64);
    }

    fn clear(&mut self) {
        self.slices = Default::default();
        self.total = Count::default();
    }
}

impl Change {
    /// The circuit's state after it, as logs, metrics and readiness name it.
    pub const fn state(self) -> &'static str {
        match self {
            Change::Opened { .. } => "open",
            Change::HalfOpened => "half-open",
            Change::Closed => "closed",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::InARow(1) => write!(f, "an attempt failed"),
            Why::InARow(count) => write!(f, "{count} attempts in a row failed"),
            Why::Share { failed, attempts } => write!(f, "{failed} of the last {attempts} attempts failed"),
            Why::Probe => write!(f, "the trial call failed"),
        }
    }
}

#[cfg(test)]
mod tests;
