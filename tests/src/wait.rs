//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// Polls `check` until it answers `Ok`, and returns its answer.
///
/// # Panics
/// When `deadline` has passed, with `what` was waited for and the last thing
/// that `check` said was the matter.
#[track_caller]
pub fn eventually<T>(what: &str, deadline: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match check() {
            Ok(done) => return done,
            Err(seen) if start.elapsed() >= deadline => panic!("not within {deadline:?}: {what}; last seen: {seen}"),
            // The one sleep of a test that waits: the conditions are those of other
            // processes, which nothing in this one can wake us for.
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Lets a fault last: the one thing that is a time by its nature. Not for waiting
/// until something has happened; that is [`eventually`].
pub fn let_it_last(fault: Duration) {
    std::thread::sleep(fault);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_what_the_check_returned() {
        let mut calls = 0;
        let answer = eventually("three calls", Duration::from_secs(5), || {
            calls += 1;
            if calls == 3 { Ok("done") } else { Err(format!("{calls} calls")) }
        });
        assert_eq!((answer, calls), ("done", 3));
    }

    #[test]
    #[should_panic(expected = "not within 1ms: the impossible; last seen: no")]
    fn says_what_it_last_saw() {
        eventually::<()>("the impossible", Duration::from_millis(1), || Err("no".to_owned()));
    }
}
