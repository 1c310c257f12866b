//! Why an event was not handled.

use std::fmt;
use std::time::Duration;

use crate::DataError;

/// Why an event was not handled. Nothing is published for it; the route's
/// policy for the class decides what follows.
///
/// Reasons are for people: they go into the log and, in the end, into the dead
/// letter. The host cuts them at 1 KiB.
///
/// There are deliberately few conversions into this type: an I/O error may pass
/// or be for good, and only the handler knows which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may work the next time: class `failed`, tried again as the route says.
    Retry(Retry),
    /// Something that the handler depends on is down: class `dependency`. Try
    /// again, and count it against the dependency rather than the event.
    Unavailable(Retry),
    /// It will never work, for this event is wrong: class `rejected`.
    Reject(String),
}

/// A wish to be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// Why.
    pub reason: String,
    /// When, in milliseconds from now; `None`: as the route's retry policy says.
    pub after_ms: Option<u32>,
}

impl Failure {
    /// It may work the next time.
    pub fn retry(reason: impl Into<String>) -> Failure {
        Failure::Retry(Retry { reason: reason.into(), after_ms: None })
    }

    /// Something that the handler depends on is down.
    pub fn unavailable(reason: impl Into<String>) -> Failure {
        Failure::Unavailable(Retry { reason: reason.into(), after_ms: None })
    }

    /// The event is wrong and will never work.
    pub fn reject(reason: impl Into<String>) -> Failure {
        Failure::Reject(reason.into())
    }

    /// Asks for the next attempt after `delay` instead of the policy's; the
    /// policy's longest delay and number of attempts still hold. In whole
    /// milliseconds, rounded up. A rejection is not tried again, and stays as it is.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Failure {
        if let Failure::Retry(retry) | Failure::Unavailable(retry) = &mut self {
            let millis = delay.as_nanos().div_ceil(1_000_000);
            retry.after_ms = Some(u32::try_from(millis).unwrap_or(u32::MAX));
        }
        self
    }

    /// The reason, without the class.
    pub fn reason(&self) -> &str {
        match self {
            Failure::Retry(retry) | Failure::Unavailable(retry) => &retry.reason,
            Failure::Reject(reason) => reason,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self {
            Failure::Retry(_) => "retry",
            Failure::Unavailable(_) => "unavailable",
            Failure::Reject(_) => "rejected",
        };
        write!(f, "{class}: {}", self.reason())
    }
}

impl std::error::Error for Failure {}

/// Data that does not fit today will not fit tomorrow: a rejection.
impl From<DataError> for Failure {
    fn from(error: DataError) -> Failure {
        Failure::Reject(error.into_message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_is_rounded_up_and_kept_in_range() {
        let after = |delay| match Failure::retry("r").after(delay) {
            Failure::Retry(retry) => retry.after_ms,
            other => panic!("{other:?}"),
        };
        assert_eq!(after(Duration::from_millis(250)), Some(250));
        assert_eq!(after(Duration::from_nanos(1)), Some(1));
        assert_eq!(after(Duration::ZERO), Some(0));
        assert_eq!(after(Duration::MAX), Some(u32::MAX));
    }

    #[test]
    fn a_rejection_takes_no_delay() {
        assert_eq!(Failure::reject("no").after(Duration::from_secs(1)), Failure::Reject("no".into()));
        assert_eq!(Failure::reject("no").to_string(), "rejected: no");
    }
}
