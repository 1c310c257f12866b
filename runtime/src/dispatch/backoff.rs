//! How long a failed attempt waits for the next one.

use std::time::Duration;

use crate::manifest::{Retry, Strategy};

/// The time until the next attempt, or `None` where there is none: the strategy
/// is none, or `failures` has passed the retries allowed.
///
/// `failures` counts the failed attempts so far, this one included. `asked` is
/// the delay that the handler asked for: it replaces the strategy's, is cut to
/// the longest delay, and is not jittered, since to come early would break what
/// the dependency asked for. `random`, from 0 to 1, moves the strategy's delay
/// within its jitter, as far down as up.
///
/// The longest delay is never exceeded: near it the middle of the jitter moves
/// down instead of its upper part being cut off, so that records that failed
/// together do not come back together.
pub fn delay(retry: &Retry, failures: u32, asked: Option<Duration>, random: f64) -> Option<Duration> {
    if retry.strategy == Strategy::None || failures > retry.max_retries {
        return None;
    }
    if let Some(asked) = asked {
        return Some(asked.min(retry.max_delay));
    }
    let growing = match retry.strategy {
        Strategy::None => return None,
        Strategy::Fixed => retry.initial_delay,
        Strategy::Linear => retry.initial_delay.saturating_mul(failures),
        Strategy::Exponential(factor) => exponential(retry, factor, failures),
    };
    let jitter = if retry.jitter.is_nan() { 0.0 } else { retry.jitter.clamp(0.0, 1.0) };
    let random = if random.is_nan() { 0.5 } else { random.clamp(0.0, 1.0) };
    let middle = growing.min(scaled(retry.max_delay, 1.0 / (1.0 + jitter)));
    // Rounding may pass the longest delay by a nanosecond.
    Some(scaled(middle, 1.0 + jitter * (2.0 * random - 1.0)).min(retry.max_delay))
}

/// The initial delay, times `factor` for each failure after the first.
fn exponential(retry: &Retry, factor: f64, failures: u32) -> Duration {
    let doublings = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    scaled(retry.initial_delay, factor.powi(doublings))
}

/// `duration * factor`; the longest duration there is where that is too large or
/// no number.
fn scaled(duration: Duration, factor: f64) -> Duration {
    if duration.is_zero() || factor == 1.0 {
        return duration;
    }
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::num::f64::ANY;
    use proptest::prelude::{Just, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
    use proptest::strategy::Strategy as _;

    use super::delay;
    use crate::manifest::{Retry, Strategy};

    fn retry(strategy: Strategy) -> Retry {
        Retry {
            strategy,
            max_retries: 10,
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
            jitter: 0.0,
        }
    }

    fn seconds(retry: &Retry) -> Vec<u64> {
        (1..).map_while(|failures| delay(retry, failures, None, 0.9)).map(|delay| delay.as_secs()).collect()
    }

    #[test]
    fn the_strategies_grow_as_they_say() {
        assert_eq!(seconds(&retry(Strategy::Exponential(2.0))), [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(seconds(&retry(Strategy::Linear)), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(seconds(&retry(Strategy::Fixed)), [1; 10]);
        assert!(seconds(&retry(Strategy::None)).is_empty());
        assert!(seconds(&Retry { max_retries: 0, ..retry(Strategy::Fixed) }).is_empty());
    }

    #[test]
    fn what_the_handler_asks_for_is_taken_up_to_the_longest_delay() {
        let jittered = Retry { jitter: 0.5, ..retry(Strategy::Exponential(2.0)) };
        let ask = |secs, failures| delay(&jittered, failures, Some(Duration::from_secs(secs)), 0.1);
        assert_eq!(ask(7, 3), Some(Duration::from_secs(7)));
        assert_eq!(ask(0, 3), Some(Duration::ZERO));
        assert_eq!(ask(600, 3), Some(Duration::from_secs(60)));
        assert_eq!(ask(7, 11), None, "it buys no further attempt");
        assert_eq!(delay(&retry(Strategy::None), 1, Some(Duration::ZERO), 0.0), None);
    }

    #[test]
    fn jitter_goes_as_far_down_as_up() {
        let retry = Retry { jitter: 0.2, ..retry(Strategy::Fixed) };
        let at = |random| delay(&retry, 1, None, random).map(|delay| delay.as_millis());
        assert_eq!([at(0.0), at(0.5), at(1.0)], [Some(800), Some(1000), Some(1200)]);
    }

    #[test]
    fn jitter_stays_symmetric_at_the_longest_delay() {
        let retry = Retry { jitter: 0.2, ..retry(Strategy::Exponential(2.0)) };
        let at = |random| delay(&retry, 9, None, random).map(|delay| delay.as_millis());
        assert_eq!([at(0.0), at(0.5), at(1.0)], [Some(40_000), Some(50_000), Some(60_000)]);
    }

    fn any_strategy() -> impl proptest::strategy::Strategy<Value = Strategy> {
        prop_oneof![
            ANY.prop_map(Strategy::Exponential),
            (1.0..10.0).prop_map(Strategy::Exponential),
            Just(Strategy::Linear),
            Just(Strategy::Fixed),
            Just(Strategy::None),
        ]
    }

    proptest! {
        /// Whatever the numbers, it answers, and keeps to the longest delay.
        #[test]
        fn never_longer_than_the_longest(
            strategy in any_strategy(),
            initial_delay in any::<Duration>(),
            max_delay in any::<Duration>(),
            max_retries in any::<u32>(),
            jitter in ANY,
            failures in any::<u32>(),
            asked in any::<Option<Duration>>(),
            random in ANY,
        ) {
            let retry = Retry { strategy, max_retries, initial_delay, max_delay, jitter };
            let delay = delay(&retry, failures, asked, random);
            prop_assert_eq!(delay.is_none(), strategy == Strategy::None || failures > max_retries);
            prop_assert!(delay.is_none_or(|delay| delay <= max_delay));
        }

        /// With sensible numbers it is the strategy's delay within its jitter.
        #[test]
        fn agrees_with_multiplying_step_by_step(
            factor in 1.0..4.0f64,
            initial in 1..10_000u64,
            failures in 1..=10u32,
            jitter in 0.0..=1.0f64,
            random in 0.0..=1.0f64,
        ) {
            let retry = Retry {
                initial_delay: Duration::from_millis(initial),
                max_delay: Duration::from_secs(1_000_000_000),
                jitter,
                ..retry(Strategy::Exponential(factor))
            };
            let mut expected = initial as f64 / 1000.0;
            for _ in 1..failures {
                expected *= factor;
            }
            expected *= 1.0 - jitter + 2.0 * jitter * random;
            let delay = delay(&retry, failures, None, random).unwrap().as_secs_f64();
            prop_assert!((delay - expected).abs() <= expected * 1e-9 + 1e-8, "{delay} for {expected}");
        }
    }
}
