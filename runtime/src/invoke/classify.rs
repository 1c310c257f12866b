//! From the end of a call to its outcome.

use std::borrow::Cow;
use std::time::Duration;

use wasmtime::component::ResourceTableError;
use wasmtime::{Error, PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use super::bindings::{FailureResult, RetryResult};
use super::guest::HANDLES;
use super::http::Exceeded;
use super::interrupt::Interrupt;
use super::limits::{Denied, TABLE_ELEMENTS};
use crate::manifest::Limits;
use crate::outcome::{Failure, FailureClass, Outcome, REASON};

/// The stack of a guest, a constant of the engine.
pub(super) const STACK: usize = 512 * 1024;

/// How wasmtime says that a guest handed over more than the host allows. The
/// type is private there, so only the message tells; a test pins it.
const FUEL_EXHAUSTED: &str = "fuel allocated for hostcalls has been exhausted";

/// What wasmtime says of results that break the canonical ABI.
const MALFORMED: [&str; 4] = ["out of bounds of memory", "pointer not aligned", "discriminant", "not a valid `char`"];

/// How wasmtime says that a guest holds as many component handles as the store allows:
/// it has no type for it either, and a test pins it too.
const HANDLES_EXHAUSTED: &str = "store handle limit exceeded";

/// What is known of a failed attempt beside its error.
pub(super) struct Circumstances<'a> {
    pub limits: &'a Limits,
    /// What the attempt was denied, if anything.
    pub denied: Option<Denied>,
    /// The budget of HTTP that it exceeded, if any.
    pub http: Option<Exceeded>,
    /// The last of its standard error.
    pub stderr: &'a dyn Fn() -> String,
}

/// The outcome of a call that ended in an error.
pub(super) fn of_error(error: &Error, circumstances: &Circumstances<'_>) -> Outcome {
    let limits = circumstances.limits;
    match error.downcast_ref::<Interrupt>() {
        Some(Interrupt::Fenced) => return Outcome::Fenced,
        Some(Interrupt::CpuTime) => return over_budget("CPU time", format!("{:?}", limits.cpu_time)),
        None => {}
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return Outcome::Busy;
    }
    let memory = Bytes(limits.memory);
    match circumstances.denied {
        Some(Denied::Memory) => return over_budget("memory", memory.to_string()),
        Some(Denied::Table) => return over_budget("memory", format!("{memory} (by a table)")),
        Some(Denied::Elements) => return over_budget("table", format!("{TABLE_ELEMENTS} elements")),
        None => {}
    }
    if let Some(budget) = circumstances.http {
        return http_exceeded(budget, limits);
    }
    let text = format!("{error:#}");
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) || text.contains(HANDLES_EXHAUSTED) {
        return over_budget("handle", format!("{HANDLES} handles"));
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        let mut reason = format!("the handler ended itself with exit status {status}");
        append(&mut reason, &(circumstances.stderr)());
        return failed(FailureClass::Trap, reason);
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        if *trap == Trap::StackOverflow {
            return over_budget("stack", Bytes(STACK).to_string());
        }
        let what = if *trap == Trap::UnreachableCodeReached { "panicked" } else { "trapped" };
        let mut reason = format!("the handler {what}");
        let stderr = (circumstances.stderr)();
        if stderr.is_empty() {
            append(&mut reason, &trap.to_string());
        } else {
            append(&mut reason, &stderr);
        }
        return failed(FailureClass::Trap, reason);
    }
    if text.contains(FUEL_EXHAUSTED) {
        let what = "returned, or passed to the host in one call, far more than its output limit of";
        return failed(FailureClass::Output, format!("the handler {what} {}", Bytes(limits.output)));
    }
    if error.downcast_ref::<std::str::Utf8Error>().is_some() || MALFORMED.iter().any(|known| text.contains(known)) {
        return failed(FailureClass::Output, format!("the handler returned a malformed value: {text}"));
    }
    failed(FailureClass::Trap, format!("the call was ended by the host: {text}"))
}

/// The outcome of a call that was under way at its deadline.
pub(super) fn timed_out(limits: &Limits) -> Outcome {
    failed(FailureClass::Timeout, format!("longer than the timeout of {:?}", limits.timeout))
}

/// The outcome of a call in which the host panicked.
pub(super) fn panicked(message: &str) -> Outcome {
    failed(FailureClass::Trap, format!("the host panicked during the call, which is a bug of Outrigger: {message}"))
}

/// The outcome of a call whose input is too large.
pub(super) fn input_too_large(size: usize, limits: &Limits) -> Outcome {
    let limit = Bytes(limits.input);
    failed(
        FailureClass::Budget,
        format!("input budget of {limit} exceeded: the event and its delivery have {size} bytes"),
    )
}

/// The outcome of an attempt that sent or received more than it may.
pub(super) fn http_exceeded(budget: Exceeded, limits: &Limits) -> Outcome {
    match budget {
        Exceeded::Requests => over_budget("HTTP request", limits.http_requests.to_string()),
        Exceeded::RequestBytes => over_budget("HTTP request bytes", Bytes(limits.http_request_bytes).to_string()),
        Exceeded::ResponseBytes => over_budget("HTTP response bytes", Bytes(limits.http_response_bytes).to_string()),
    }
}

/// The outcome of a handler that answered with a failure.
pub(super) fn of_answer(answer: FailureResult) -> Outcome {
    let (class, reason, after) = match answer {
        FailureResult::Retry(RetryResult { reason, after_ms }) => (FailureClass::Failed, reason, after_ms),
        FailureResult::Unavailable(RetryResult { reason, after_ms }) => (FailureClass::Dependency, reason, after_ms),
        FailureResult::Reject(reason) => (FailureClass::Rejected, reason, None),
    };
    let retry_after = after.map(|ms| Duration::from_millis(ms.into()));
    Outcome::Failed(Failure { class, reason: Cow::Owned(cut(reason)), retry_after })
}

/// The outcome of a handler whose outputs cannot be published.
pub(super) fn bad_output(reason: String) -> Outcome {
    failed(FailureClass::Output, reason)
}

fn over_budget(budget: &str, size: String) -> Outcome {
    failed(FailureClass::Budget, format!("{budget} budget of {size} exceeded"))
}

fn failed(class: FailureClass, reason: String) -> Outcome {
    Outcome::Failed(Failure { class, reason: Cow::Owned(cut(reason)), retry_after: None })
}

/// The beginning of a reason, in memory of its own size.
fn cut(reason: String) -> String {
    if reason.len() <= REASON { reason } else { reason[..reason.floor_char_boundary(REASON)].to_owned() }
}

fn append(reason: &mut String, more: &str) {
    if !more.is_empty() {
        reason.push_str(": ");
        reason.push_str(more);
    }
}

/// A number of bytes for people: in the largest binary unit that divides it.
pub(super) struct Bytes(pub usize);

impl std::fmt::Display for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.0;
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
            Some((unit, name)) => write!(f, "{} {name}", bytes / unit),
            None => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        memory: 64 << 20,
        cpu_time: Duration::from_millis(500),
        timeout: Duration::from_secs(5),
        input: 1 << 20,
        output: 1 << 20,
        outputs: 100,
        http_requests: 2,
        http_request_bytes: 1 << 20,
        http_response_bytes: 1 << 20,
    };

    fn reason(error: impl Into<Error>, denied: Option<Denied>, stderr: &str) -> (Option<FailureClass>, String) {
        let circumstances = Circumstances { limits: &LIMITS, denied, http: None, stderr: &|| stderr.to_owned() };
        match of_error(&error.into(), &circumstances) {
            Outcome::Failed(failure) => (Some(failure.class), failure.reason.into_owned()),
            other => (None, format!("{other:?}")),
        }
    }

    #[test]
    fn our_own_interrupts_come_before_everything_else() {
        let denied = Some(Denied::Memory);
        assert_eq!(reason(Interrupt::Fenced, denied, "x"), (None, "Fenced".into()));
        let cpu = reason(Interrupt::CpuTime, denied, "x");
        assert_eq!(cpu, (Some(FailureClass::Budget), "CPU time budget of 500ms exceeded".into()));
    }

    #[test]
    fn a_trap_after_a_denial_is_out_of_budget() {
        let oom = reason(Trap::UnreachableCodeReached, Some(Denied::Memory), "memory allocation failed");
        assert_eq!(oom, (Some(FailureClass::Budget), "memory budget of 64 MiB exceeded".into()));
        let table = reason(I32Exit(1), Some(Denied::Table), "");
        assert_eq!(table.1, "memory budget of 64 MiB (by a table) exceeded");
    }

    #[test]
    fn a_budget_of_http_is_named_whatever_the_guest_did_then() {
        let over = |budget| {
            let circumstances =
                Circumstances { limits: &LIMITS, denied: None, http: Some(budget), stderr: &String::new };
            match of_error(&Trap::UnreachableCodeReached.into(), &circumstances) {
                Outcome::Failed(Failure { class: FailureClass::Budget, reason, .. }) => reason.into_owned(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(over(Exceeded::Requests), "HTTP request budget of 2 exceeded");
        assert_eq!(over(Exceeded::RequestBytes), "HTTP request bytes budget of 1 MiB exceeded");
        assert_eq!(over(Exceeded::ResponseBytes), "HTTP response bytes budget of 1 MiB exceeded");
    }

    #[test]
    fn a_panic_carries_the_end_of_stderr() {
        let panic = reason(Trap::UnreachableCodeReached, None, "panicked at src/lib.rs:7: no stock");
        assert_eq!(panic.0, Some(FailureClass::Trap));
        assert_eq!(panic.1, "the handler panicked: panicked at src/lib.rs:7: no stock");
        let other = reason(Trap::IntegerDivisionByZero, None, "");
        assert_eq!(other.1, "the handler trapped: wasm trap: integer divide by zero");
        let exit = reason(I32Exit(3), None, "bye");
        assert_eq!(exit.1, "the handler ended itself with exit status 3: bye");
        assert_eq!(reason(Trap::StackOverflow, None, "").1, "stack budget of 512 KiB exceeded");
    }

    #[test]
    fn a_reason_is_cut_and_keeps_no_more_memory_than_that() {
        let long = || format!("x{}", "é".repeat(1 << 20));
        let retry = |reason| FailureResult::Retry(RetryResult { reason, after_ms: None });
        for outcome in [of_answer(FailureResult::Reject(long())), of_answer(retry(long())), bad_output(long())] {
            let Outcome::Failed(Failure { reason: Cow::Owned(reason), .. }) = outcome else { panic!("{outcome:?}") };
            assert_eq!(reason, long()[..REASON - 1], "at a boundary between characters");
            assert!(reason.capacity() <= REASON);
        }
        let short = of_answer(FailureResult::Reject("no stock".to_owned()));
        assert!(matches!(short, Outcome::Failed(Failure { reason, .. }) if reason == "no stock"));
    }

    #[test]
    fn a_budget_is_named_in_its_own_unit() {
        let names = [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1536 bytes"), (2048, "2 KiB"), (1 << 30, "1 GiB")];
        for (bytes, name) in names {
            assert_eq!(Bytes(bytes).to_string(), name);
        }
    }
}
