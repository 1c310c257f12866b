//! Decides which of many repeated lines are written. Pure: the time is an argument.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Lets a line through once per interval and counts the others.
///
/// Memory and output are bounded: it remembers a fixed number of different
/// lines, and lines beyond those share one more place, so at most that number
/// plus one pass in an interval.
#[derive(Debug)]
pub struct Throttle {
    interval: Duration,
    capacity: usize,
    hasher: RandomState,
    lines: HashMap<u64, Line>,
    others: Option<Line>,
}

#[derive(Clone, Copy, Debug)]
struct Line {
    passed: Instant,
    suppressed: u64,
}

/// A line may be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// How many such lines were left out since the last one.
    pub suppressed: u64,
}

impl Throttle {
    /// At most one line per `interval` for each of `capacity` different lines.
    pub fn new(interval: Duration, capacity: usize) -> Throttle {
        Throttle { interval, capacity, hasher: RandomState::new(), lines: HashMap::new(), others: None }
    }

    /// Whether a line may be written at `now`. Lines are the same if their keys are.
    pub fn admit(&mut self, key: &[&str], now: Instant) -> Option<Admitted> {
        let key = self.hasher.hash_one(key);
        if let Some(line) = self.lines.get_mut(&key) {
            return line.admit(now, self.interval);
        }
        let new = Line { passed: now, suppressed: 0 };
        if self.lines.len() >= self.capacity {
            self.forget(now);
        }
        if self.lines.len() < self.capacity {
            self.lines.insert(key, new);
            return Some(Admitted::default());
        }
        match &mut self.others {
            Some(line) => line.admit(now, self.interval),
            others => {
                *others = Some(new);
                Some(Admitted::default())
            }
        }
    }

    /// Makes room: a line that would pass now and left nothing out need not be remembered.
    /// One that has left some out is forgotten an interval later, its count being old news then.
    fn forget(&mut self, now: Instant) {
        let interval = self.interval;
        self.lines.retain(|_, line| {
            let age = now.saturating_duration_since(line.passed);
            age < interval || (line.suppressed > 0 && age < interval * 2)
        });
    }
}

impl Line {
    fn admit(&mut self, now: Instant, interval: Duration) -> Option<Admitted> {
        if now.saturating_duration_since(self.passed) < interval {
            self.suppressed += 1;
            return None;
        }
        let suppressed = self.suppressed;
        *self = Line { passed: now, suppressed: 0 };
        Some(Admitted { suppressed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    #[test]
    fn a_repeated_line_passes_once_per_interval_with_the_count() {
        let mut throttle = Throttle::new(INTERVAL, 4);
        let start = Instant::now();
        assert_eq!(throttle.admit(&["down"], start), Some(Admitted { suppressed: 0 }));
        for second in 1..30 {
            assert_eq!(throttle.admit(&["down"], start + Duration::from_secs(second)), None);
        }
        assert_eq!(throttle.admit(&["other"], start), Some(Admitted { suppressed: 0 }));
        assert_eq!(throttle.admit(&["down"], start + INTERVAL), Some(Admitted { suppressed: 29 }));
        assert_eq!(throttle.admit(&["down"], start + INTERVAL * 2), Some(Admitted { suppressed: 0 }));
    }

    #[test]
    fn different_lines_are_bounded() {
        let mut throttle = Throttle::new(INTERVAL, 4);
        let start = Instant::now();
        let passed = (0..1000).filter(|n| throttle.admit(&[&n.to_string()], start).is_some()).count();
        assert_eq!(passed, 5);
        assert!(throttle.lines.len() <= 4);
        let again = (0..1000).filter(|n| throttle.admit(&[&n.to_string()], start + INTERVAL).is_some()).count();
        assert_eq!(again, 5);
    }

    #[test]
    fn parts_of_a_key_are_kept_apart() {
        let mut throttle = Throttle::new(INTERVAL, 4);
        let now = Instant::now();
        assert!(throttle.admit(&["a", "bc"], now).is_some());
        assert!(throttle.admit(&["ab", "c"], now).is_some());
    }
}
