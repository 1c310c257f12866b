//! How an attempt ended: what `invoke` hands to `settle`.

use std::borrow::Cow;
use std::fmt;

/// An attempt's end.
#[derive(Debug)]
pub enum Outcome {
    /// The handler answered `ok`; these are to be published before the record counts as handled.
    Handled(Vec<Output>),
    /// It did not.
    Failed(Failure),
    /// The host could not begin the call (no instance slot free): nobody's
    /// failure, no attempt used; try again when a call ends.
    Busy,
    /// The call was interrupted because its partition was taken away: nothing is settled.
    Fenced,
}

/// Bytes of a reason that a guest has a part in.
pub const REASON: usize = 4 * 1024;

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What policy, metrics and the dead letter go by.
    pub class: FailureClass,
    /// For people; from the guest or the host; not escaped. What a guest says is cut after
    /// [`REASON`] bytes: failures wait in memory, and stand in logs.
    pub reason: Cow<'static, str>,
    /// The delay that the handler asked for.
    pub retry_after: Option<std::time::Duration>,
}

/// The classes of failure, one policy each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureClass {
    /// The record is not a CloudEvent that this version reads.
    Undecodable,
    /// No route takes the event.
    Unrouted,
    /// The handler said that the event is wrong.
    Rejected,
    /// The handler asked for another attempt.
    Failed,
    /// The handler said that something it depends on is down.
    Dependency,
    /// The guest trapped, panicked or exited.
    Trap,
    /// Longer than the handler's `timeout`.
    Timeout,
    /// Over a budget: memory, CPU time, stack, input, HTTP.
    Budget,
    /// What it returned is too large, malformed, not allowed, or could not be published.
    Output,
}

impl FailureClass {
    /// Every class, in the order of the documentation.
    pub const ALL: [FailureClass; 9] = [
        FailureClass::Undecodable,
        FailureClass::Unrouted,
        FailureClass::Rejected,
        FailureClass::Failed,
        FailureClass::Dependency,
        FailureClass::Trap,
        FailureClass::Timeout,
        FailureClass::Budget,
        FailureClass::Output,
    ];

    /// The name in the manifest, in metrics and in dead letters.
    pub const fn as_str(self) -> &'static str {
        match self {
            FailureClass::Undecodable => "undecodable",
            FailureClass::Unrouted => "unrouted",
            FailureClass::Rejected => "rejected",
            FailureClass::Failed => "failed",
            FailureClass::Dependency => "dependency",
            FailureClass::Trap => "trap",
            FailureClass::Timeout => "timeout",
            FailureClass::Budget => "budget",
            FailureClass::Output => "output",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An event that a handler wants published. Checked against the handler's
/// limits already; not yet against its topics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Unique within `source`. The host replaces an empty one by the deterministic id.
    pub id: String,
    /// The CloudEvents attribute.
    pub source: String,
    /// The CloudEvents attribute.
    pub ty: String,
    /// The CloudEvents attribute.
    pub subject: Option<String>,
    /// The CloudEvents attribute.
    pub time: Option<String>,
    /// The CloudEvents attribute.
    pub datacontenttype: Option<String>,
    /// The CloudEvents attribute.
    pub dataschema: Option<String>,
    /// Extension attributes.
    pub extensions: Vec<(String, String)>,
    /// The payload.
    pub data: Option<Vec<u8>>,
    /// `None`: the route's output topic.
    pub topic: Option<String>,
    /// `None`: the input's key.
    pub key: Option<Vec<u8>>,
    /// Further headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}
