use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings() -> Circuit {
    Circuit {
        consecutive_failures: 3,
        failing_for: Duration::ZERO,
        failure_ratio: 0.5,
        window: 10 * SECOND,
        minimum_attempts: 6,
        open_for: 2 * SECOND,
        max_open_for: 7 * SECOND,
    }
}

/// A breaker that is open since `now`.
fn open(now: Instant) -> Breaker {
    let mut breaker = Breaker::new(settings(), now);
    assert_eq!(breaker.ended(false, true, now), None);
    assert_eq!(breaker.ended(false, true, now), None);
    let opened = Change::Opened { why: Why::InARow(3), length: 2 * SECOND };
    assert_eq!(breaker.ended(false, true, now), Some(opened));
    breaker
}

#[test]
fn a_burst_of_failures_is_none_in_a_row_before_it_has_lasted() {
    let now = Instant::now();
    let mut breaker = Breaker::new(Circuit { failing_for: SECOND, minimum_attempts: 1000, ..settings() }, now);
    let at = |millis| now + Duration::from_millis(millis);
    for _ in 0..100 {
        assert_eq!(breaker.ended(false, true, at(999)), None);
    }
    assert_eq!(breaker.ended(false, true, at(1998)), None, "counted from the first failure, not from the start");
    assert_eq!(breaker.ended(false, false, at(1998)), None);
    assert_eq!(breaker.ended(false, true, at(1998)), None, "a success begins it anew");
    assert_eq!(breaker.ended(false, true, at(2998)), None, "two are too few, however long they last");
    let opened = Change::Opened { why: Why::InARow(3), length: 2 * SECOND };
    assert_eq!(breaker.ended(false, true, at(2998)), Some(opened));
}

#[test]
fn opens_after_failures_in_a_row_and_closes_after_a_probe() {
    let now = Instant::now();
    let mut breaker = open(now);
    let due = now + 2 * SECOND;
    assert_eq!((breaker.opens_up(), breaker.admits(due - Duration::from_nanos(1))), (Some(due), false));
    assert!(breaker.admits(due));
    assert_eq!(breaker.begin(), (true, Some(Change::HalfOpened)));
    assert!(!breaker.admits(due), "one probe at a time");
    assert_eq!(breaker.ended(true, false, due), Some(Change::Closed));
    assert!(breaker.is_closed());
    assert_eq!(breaker.begin(), (false, None));
    assert_eq!(breaker.ended(false, true, due), None, "it counts from zero");
}

#[test]
fn a_success_ends_the_row() {
    let now = Instant::now();
    let mut breaker = Breaker::new(settings(), now);
    for _ in 0..20 {
        assert_eq!(breaker.ended(false, false, now), None);
    }
    for failed in [true, true, false, true, true, false] {
        assert_eq!(breaker.ended(false, failed, now), None);
    }
}

#[test]
fn opens_at_the_share_of_enough_attempts() {
    let now = Instant::now();
    let mut breaker = Breaker::new(settings(), now);
    for failed in [true, false, true, false, true] {
        assert_eq!(breaker.ended(false, failed, now), None);
    }
    assert_eq!(breaker.ended(false, false, now), None, "3 of 6, but the last one worked");
    let opened = Change::Opened { why: Why::Share { failed: 4, attempts: 7 }, length: 2 * SECOND };
    assert_eq!(breaker.ended(false, true, now), Some(opened));
}

#[test]
fn attempts_that_have_left_the_window_do_not_count() {
    let now = Instant::now();
    let mut breaker = Breaker::new(settings(), now);
    for failed in [true, true, false, true, true, false] {
        assert_eq!(breaker.ended(false, failed, now), None, "the last failure was the fifth attempt");
    }
    assert_eq!(breaker.ended(false, true, now + 10 * SECOND), None);
    assert_eq!(breaker.window.total, Count { attempts: 1, failed: 1 });
}

#[test]
fn stays_open_longer_and_longer_up_to_the_bound() {
    let mut now = Instant::now();
    let mut breaker = open(now);
    for seconds in [4, 7, 7] {
        now = breaker.opens_up().unwrap();
        breaker.begin();
        let length = seconds * SECOND;
        assert_eq!(breaker.ended(true, true, now), Some(Change::Opened { why: Why::Probe, length }));
        assert_eq!(breaker.opens_up(), Some(now + length));
    }
    now += 7 * SECOND;
    breaker.begin();
    breaker.ended(true, false, now);
    let again = (0..3).find_map(|_| breaker.ended(false, true, now));
    assert_eq!(again, Some(Change::Opened { why: Why::InARow(3), length: 2 * SECOND }), "and begins anew");
}

#[test]
fn what_began_before_it_opened_changes_nothing() {
    let now = Instant::now();
    let mut breaker = open(now);
    assert_eq!(breaker.ended(false, false, now), None);
    let due = now + 2 * SECOND;
    breaker.begin();
    for failed in [true, false] {
        assert_eq!((breaker.ended(false, failed, due), breaker.admits(due)), (None, false));
    }
    assert_eq!(breaker.ended(true, false, due), Some(Change::Closed));
}

#[test]
fn a_probe_that_says_nothing_gives_its_turn_away() {
    let now = Instant::now();
    let mut breaker = open(now);
    breaker.begin();
    breaker.abandoned();
    assert!(breaker.admits(now));
    assert_eq!(breaker.begin(), (true, None), "it was half-open already");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pass(u64),
    Begin,
    /// Ends the call that began this many calls ago.
    End(usize, bool),
    Abandon,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..2500_u64).prop_map(Step::Pass),
        6 => Just(Step::Begin),
        6 => (0..4_usize, prop::bool::weighted(0.6)).prop_map(|(ago, failed)| Step::End(ago, failed)),
        1 => Just(Step::Abandon),
    ]
}

/// The same with a list of every attempt, looked through each time.
struct Model {
    start: Instant,
    /// Since the circuit was last closed.
    ended: Vec<(Instant, bool)>,
    open: Option<(Instant, Duration)>,
    probing: bool,
}

impl Model {
    fn slice(&self, at: Instant) -> u128 {
        at.duration_since(self.start).as_nanos() / SECOND.as_nanos()
    }

    fn must_open(&self, now: Instant) -> bool {
        let row = self.ended.iter().rev().take_while(|(_, failed)| *failed).count();
        let recent = |at: &Instant| self.slice(now) - self.slice(*at) < SLICES as u128;
        let recent: Vec<bool> = self.ended.iter().filter(|(at, _)| recent(at)).map(|(_, failed)| *failed).collect();
        let failed = recent.iter().filter(|failed| **failed).count();
        row >= 3 || (recent.len() >= 6 && failed * 2 >= recent.len())
    }
}

proptest! {
    #[test]
    fn agrees_with_a_list_of_all_attempts(steps in prop::collection::vec(step(), 0..300)) {
        let start = Instant::now();
        let (mut now, mut breaker) = (start, Breaker::new(settings(), start));
        let mut model = Model { start, ended: Vec::new(), open: None, probing: false };
        // Calls under way: whether each is the probe.
        let mut calls: Vec<bool> = Vec::new();
        for step in steps {
            match step {
                Step::Pass(millis) => now += Duration::from_millis(millis),
                Step::Begin if breaker.admits(now) => {
                    let (probe, change) = breaker.begin();
                    prop_assert_eq!(probe, model.open.is_some());
                    prop_assert_eq!(change.is_some_and(|change| change != Change::HalfOpened), false);
                    model.probing = probe;
                    calls.push(probe);
                }
                Step::Begin => {}
                Step::End(ago, failed) if ago < calls.len() => {
                    let probe = calls.remove(calls.len() - 1 - ago);
                    let change = breaker.ended(probe, failed, now);
                    let expected = match model.open {
                        None => {
                            model.ended.push((now, failed));
                            let opens = failed && model.must_open(now);
                            model.open = opens.then_some((now + 2 * SECOND, 2 * SECOND));
                            opens
                        }
                        Some((_, length)) if probe => {
                            model.probing = false;
                            let length = (length * 2).min(7 * SECOND);
                            model.open = failed.then_some((now + length, length));
                            model.ended.clear();
                            true
                        }
                        Some(_) => false,
                    };
                    prop_assert_eq!(change.is_some(), expected);
                    let length = match change {
                        Some(Change::Opened { length, .. }) => Some(length),
                        _ => None,
                    };
                    prop_assert_eq!(length, model.open.map(|(_, length)| length).filter(|_| expected));
                }
                Step::End(..) => {}
                Step::Abandon => {
                    if let Some(at) = calls.iter().position(|probe| *probe) {
                        calls.remove(at);
                        breaker.abandoned();
                        model.probing = false;
                        // Another one may probe at once.
                        model.open = model.open.map(|(_, length)| (now, length));
                    }
                }
            }
            let admits = model.open.is_none_or(|(until, _)| until <= now && !model.probing);
            prop_assert_eq!((breaker.admits(now), breaker.is_closed()), (admits, model.open.is_none()));
            prop_assert!(calls.iter().filter(|probe| **probe).count() <= 1);
        }
    }
}
