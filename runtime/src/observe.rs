//! What the way of a record says about itself, for `outrigger dev`: one
//! observation per outcome and per change of a circuit.

use std::sync::Arc;
use std::time::Duration;

use crate::dispatch::breaker::Change;
use crate::outcome::FailureClass;

/// Something that happened to one record.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The route; `None` where no route took the record.
    pub route: Option<Arc<str>>,
    /// Where the record came from.
    pub topic: Arc<str>,
    /// Where the record came from.
    pub partition: i32,
    /// Where the record came from.
    pub offset: i64,
    /// The event's id, if it could be decoded.
    pub id: Option<String>,
    /// The generation that the attempt was made on; of the decision where none was made.
    pub generation: u64,
    /// The SHA-256 of the handler's module in hexadecimal; `None` where no route took the record.
    pub module: Option<Arc<str>>,
    /// 1 for the first attempt; 0 where nothing was attempted.
    pub attempt: u32,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// The handler answered and its outputs, if any, are acknowledged.
    Handled {
        /// How many were published.
        outputs: usize,
        /// Of the call.
        duration: Duration,
    },
    /// An attempt failed; another follows.
    Retry {
        /// Of the failure.
        class: FailureClass,
        /// Of the failure.
        reason: String,
        /// Until the next attempt.
        delay: Duration,
    },
    /// An attempt that probed an open circuit failed. It is not counted as one of
    /// the record's attempts; another follows once the circuit is closed or it is
    /// this record's turn to probe again.
    Probed {
        /// Of the failure.
        class: FailureClass,
        /// Of the failure.
        reason: String,
        /// Until the next probe, of this record or another.
        delay: Duration,
    },
    /// A circuit changed with this record's attempt.
    Circuit {
        /// Whose circuit, on the record's worker.
        handler: Arc<str>,
        /// What became of it.
        change: Change,
        /// Of the attempt's failure, where one opened it.
        class: Option<FailureClass>,
    },
    /// The dead letter is acknowledged.
    DeadLettered {
        /// Of the failure.
        class: FailureClass,
        /// Of the failure.
        reason: String,
        /// Where it was written.
        topic: String,
    },
    /// Settled without a trace, as the manifest says.
    Dropped {
        /// Of the failure.
        class: FailureClass,
        /// Of the failure.
        reason: String,
    },
}

/// So much of a module's digest as tells it from others in a log line.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}
