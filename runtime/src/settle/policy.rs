//! What becomes of a failed attempt.

use std::time::Duration;

use crate::dispatch::backoff;
use crate::manifest::{DeadLetter, Exhausted, OnFailure, Retry, Route, Unhandled};
use crate::outcome::Failure;

/// What becomes of a record whose attempt failed, or that no handler sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Another attempt after this time.
    Retry(Duration),
    /// Settled once its dead letter is acknowledged.
    DeadLetter(&'a DeadLetter),
    /// Settled, counted and logged, nothing more: the manifest says so.
    Drop,
}

/// The pause between attempts at a record that is held, where its class of
/// failure is not one that is retried and so has no longest delay.
const HELD: Duration = Duration::from_secs(60);

/// Decides what follows the failed attempt number `failures` (1 for the first)
/// of a record on `route`. `random`, from 0 to 1, is for the jitter.
///
/// The failure's class has its policy in the manifest; where that gives the
/// record up, the route's dead letter, drop or hold follows. A record that is
/// held is tried again for ever, each time after the longest delay of its class
/// (60 s where there is none): the manifest asks for that in words, its lane
/// waits with it, and its partition's position does not pass it.
///
/// A class without a policy is given up at once. The manifest's check leaves
/// none out, and to retry for no reason could go on without end.
pub fn decide<'a>(route: &'a Route, failure: &Failure, failures: u32, random: f64) -> Decision<'a> {
    match route.on_failure.get(&failure.class) {
        Some(OnFailure::Retry(retry)) => match backoff::delay(retry, failures, failure.retry_after, random) {
            Some(delay) => Decision::Retry(delay),
            None => give_up(route, Some(retry)),
        },
        Some(OnFailure::Drop) => Decision::Drop,
        Some(OnFailure::DeadLetter) | None => give_up(route, None),
    }
}

fn give_up<'a>(route: &'a Route, retry: Option<&Retry>) -> Decision<'a> {
    match &route.dead_letter {
        Exhausted::DeadLetter(to) => Decision::DeadLetter(to),
        Exhausted::Drop => Decision::Drop,
        // A delay of zero would turn a record that is held into a busy loop.
        Exhausted::Hold => {
            Decision::Retry(retry.map(|retry| retry.max_delay).filter(|delay| !delay.is_zero()).unwrap_or(HELD))
        }
    }
}

/// The policy for records that no route takes or that are no events.
impl<'a> From<&'a Unhandled> for Decision<'a> {
    fn from(unhandled: &'a Unhandled) -> Decision<'a> {
        match unhandled {
            Unhandled::DeadLetter(to) => Decision::DeadLetter(to),
            Unhandled::Drop => Decision::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::manifest::{Filter, Ordering, OutputMode, Strategy};
    use crate::outcome::FailureClass;

    const RETRY: Retry = Retry {
        strategy: Strategy::Exponential(2.0),
        max_retries: 3,
        initial_delay: Duration::from_secs(1),
        max_delay: Duration::from_secs(10),
        jitter: 0.0,
    };

    fn dead_letter() -> DeadLetter {
        DeadLetter { topic: "{topic}.dlq".into(), omit_large_values: false }
    }

    fn route(policy: OnFailure, dead_letter: Exhausted) -> Route {
        Route {
            name: "r".into(),
            filter: Filter::All(Vec::new()),
            handler: "h".into(),
            output: None,
            output_mode: OutputMode::Binary,
            ordering: Ordering::Key,
            on_failure: BTreeMap::from([(FailureClass::Failed, policy)]),
            dead_letter,
        }
    }

    fn failure(class: FailureClass) -> Failure {
        Failure { class, reason: "no".into(), retry_after: None }
    }

    /// The decisions after the first, second, ... failure.
    fn decisions(route: &Route, count: u32) -> Vec<Decision<'_>> {
        (1..=count).map(|failures| decide(route, &failure(FailureClass::Failed), failures, 0.5)).collect()
    }

    fn retry(secs: u64) -> Decision<'static> {
        Decision::Retry(Duration::from_secs(secs))
    }

    #[test]
    fn retries_end_in_a_dead_letter() {
        let route = route(OnFailure::Retry(RETRY), Exhausted::DeadLetter(dead_letter()));
        assert_eq!(decisions(&route, 4), [retry(1), retry(2), retry(4), Decision::DeadLetter(&dead_letter())]);
    }

    #[test]
    fn retries_end_in_a_drop_where_the_manifest_says_so() {
        let route = route(OnFailure::Retry(RETRY), Exhausted::Drop);
        assert_eq!(decisions(&route, 4), [retry(1), retry(2), retry(4), Decision::Drop]);
    }

    #[test]
    fn a_record_on_hold_is_never_given_up() {
        let held = route(OnFailure::Retry(RETRY), Exhausted::Hold);
        assert_eq!(decisions(&held, 5), [retry(1), retry(2), retry(4), retry(10), retry(10)]);
        assert_eq!(decide(&held, &failure(FailureClass::Failed), u32::MAX, 0.5), retry(10));
        assert_eq!(decisions(&route(OnFailure::DeadLetter, Exhausted::Hold), 2), [retry(60), retry(60)]);
        let at_once = Retry { max_delay: Duration::ZERO, ..RETRY };
        assert_eq!(decisions(&route(OnFailure::Retry(at_once), Exhausted::Hold), 4)[3], retry(60), "no busy loop");
    }

    #[test]
    fn the_class_decides_before_the_route() {
        let route = route(OnFailure::Drop, Exhausted::DeadLetter(dead_letter()));
        assert_eq!(decisions(&route, 1), [Decision::Drop]);
        let unknown = decide(&route, &failure(FailureClass::Trap), 1, 0.5);
        assert_eq!(unknown, Decision::DeadLetter(&dead_letter()), "a class without a policy is given up");
    }

    #[test]
    fn the_handlers_delay_counts_as_a_retry() {
        let route = route(OnFailure::Retry(RETRY), Exhausted::Drop);
        let asks = Failure { retry_after: Some(Duration::from_secs(7)), ..failure(FailureClass::Failed) };
        assert_eq!(decide(&route, &asks, 3, 0.5), retry(7));
        assert_eq!(decide(&route, &asks, 4, 0.5), Decision::Drop);
    }
}
