//! The `circuit` of a handler.

use std::time::Duration;

use super::{Check, HOUR, SECOND};
use crate::manifest::model;
use crate::manifest::raw;
use crate::manifest::read::{Field, Given, Problem};

const BUILT_IN: model::Circuit = model::Circuit {
    consecutive_failures: 20,
    failing_for: SECOND,
    failure_ratio: 0.5,
    window: Duration::from_secs(30),
    minimum_attempts: 50,
    open_for: Duration::from_secs(30),
    max_open_for: Duration::from_secs(300),
};

/// The shortest that a circuit is open: a probe more often than that is no pause.
const SHORTEST: Duration = Duration::from_millis(100);

impl Check<'_> {
    /// The circuit that a handler asks for; `None`: it has none.
    pub fn circuit(self, field: &Field<raw::Circuit>) -> Option<model::Circuit> {
        match field.given() {
            None => Some(BUILT_IN),
            Some(Given { value: raw::Circuit::On(table), .. }) => Some(self.circuit_table(table)),
            Some(Given { value: raw::Circuit::Off(false), .. }) => None,
            Some(Given { value: raw::Circuit::Off(true), at, .. }) => {
                let help = "remove the key for the defaults, or write what differs: `circuit: { openFor: 10s }`";
                self.problems.error(*at, "`true` says nothing: a handler has a circuit unless it is `false`", help);
                None
            }
        }
    }

    fn circuit_table(self, raw: &raw::CircuitTable) -> model::Circuit {
        let count = |field, default: u32| self.count(field, default as usize, 1..=1_000_000) as u32;
        let open_for = self.duration(&raw.open_for, BUILT_IN.open_for, SHORTEST..=HOUR);
        let longest = self.optional_duration(&raw.max_open_for, SHORTEST..=24 * HOUR);
        if let Some(given) = raw.max_open_for.given().filter(|_| longest.is_some_and(|longest| longest < open_for)) {
            let message = "`maxOpenFor` is shorter than `openFor` (30s by default)";
            self.problems.error(given.at, message, "set both, the longer one as maxOpenFor");
        }
        let consecutive_failures = count(&raw.consecutive_failures, BUILT_IN.consecutive_failures);
        let minimum_attempts = count(&raw.minimum_attempts, BUILT_IN.minimum_attempts);
        if let (Some(ratio), true) = (raw.failure_ratio.given(), consecutive_failures == 1) {
            let message = "`failureRatio` is never reached: with `consecutiveFailures: 1` the first failure opens it";
            self.problems.add(Problem::warning(ratio.key, message).help("remove it, or raise consecutiveFailures"));
        }
        model::Circuit {
            consecutive_failures,
            failing_for: self.duration(&raw.failing_for, BUILT_IN.failing_for, Duration::ZERO..=HOUR),
            failure_ratio: self.number(&raw.failure_ratio, 0.01..=1.0).unwrap_or(BUILT_IN.failure_ratio),
            window: self.duration(&raw.window, BUILT_IN.window, SECOND..=HOUR),
            minimum_attempts,
            open_for,
            max_open_for: longest.unwrap_or(BUILT_IN.max_open_for.max(open_for)),
        }
    }
}
