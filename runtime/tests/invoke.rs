//! One call after the other into a real guest, the probe: what it is given, what
//! it gives back, and how every way to fail is named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use outrigger::manifest::Instance;
use outrigger::outcome::{FailureClass, Outcome};
use support::*;

#[test]
fn an_event_goes_in_and_comes_back_byte_for_byte() {
    let outputs = handled(once(|_| (), "echo", b"{ \"a\": 1.0 }"));
    assert_eq!(outputs.len(), 1);
    let echo = &outputs[0];
    assert_eq!((echo.id.as_str(), echo.source.as_str(), echo.ty.as_str()), ("e-1", "/orders", "echo"));
    assert_eq!((echo.subject.as_deref(), echo.time.as_deref()), (Some("größe"), Some("2026-02-03T04:05:06Z")));
    assert_eq!((echo.datacontenttype.as_deref(), echo.dataschema.as_deref()), (Some("application/json"), None));
    assert_eq!(echo.extensions, [("tenant".to_owned(), "acme".to_owned())]);
    assert_eq!(echo.data.as_deref(), Some(&b"{ \"a\": 1.0 }"[..]));
    assert_eq!((&echo.topic, &echo.key, echo.headers.len()), (&None, &None, 0));
}

#[test]
fn the_delivery_says_where_the_event_came_from() {
    let text = said(once(|_| (), "delivery", b""));
    let headers = "[trace=None, \u{FFFD}name=Some([0, 1])]";
    assert_eq!(text, format!("on-probe orders/3/42 Some(7) Some([107, 101, 121]) 2 {headers}"));
}

#[test]
fn a_handler_can_answer_without_outputs() {
    assert!(handled(once(|_| (), "nothing", b"")).is_empty());
}

#[test]
fn the_failures_that_a_handler_declares() {
    let rejected = failed(once(|_| (), "reject", b""));
    assert_eq!((rejected.class, &*rejected.reason), (FailureClass::Rejected, "no such customer"));
    let retry = failed(once(|_| (), "retry", b""));
    assert_eq!((retry.class, &*retry.reason), (FailureClass::Failed, "not yet"));
    assert_eq!(retry.retry_after, Some(Duration::from_millis(1500)));
    let unavailable = failed(once(|_| (), "unavailable", b""));
    assert_eq!((unavailable.class, &*unavailable.reason), (FailureClass::Dependency, "database down"));
    assert_eq!(unavailable.retry_after, None);
}

#[test]
fn a_panic_a_trap_and_an_exit_are_traps_with_their_reason() {
    fails(once(|_| (), "panic", b""), FailureClass::Trap, "no stock left");
    fails(once(|_| (), "trap", b""), FailureClass::Trap, "panicked: wasm trap: wasm `unreachable`");
    fails(once(|_| (), "exit", b""), FailureClass::Trap, "exit status");
    let long = failed(once(|_| (), "stderr-then-panic", b"")).reason;
    assert!(long.contains("after a long text") && long.len() < 1200, "{long}");
}

#[test]
fn cpu_time_ends_a_loop_long_before_the_timeout() {
    let begun = Instant::now();
    let report = once(|spec| spec.limits.cpu_time = Duration::from_millis(50), "loop", b"");
    assert!(report.cpu >= Duration::from_millis(50), "{:?}", report.cpu);
    assert!(report.cpu < Duration::from_millis(100), "{:?}", report.cpu);
    assert!(begun.elapsed() < Duration::from_secs(4));
    fails(report, FailureClass::Budget, "CPU time budget of 50ms exceeded");
}

#[test]
fn the_timeout_ends_a_loop_and_a_wait() {
    let slow = |spec: &mut outrigger::manifest::Handler| {
        spec.limits.timeout = Duration::from_millis(60);
        spec.limits.cpu_time = Duration::from_secs(60);
    };
    for (ty, data) in [("loop", ""), ("sleep", "10000")] {
        let report = once(slow, ty, data);
        assert!(report.duration >= Duration::from_millis(60) && report.duration < Duration::from_secs(4));
        fails(report, FailureClass::Timeout, "longer than the timeout of 60ms");
    }
}

#[test]
fn a_wait_costs_no_cpu_time() {
    let report = once(|spec| spec.limits.cpu_time = Duration::from_millis(30), "sleep", "100");
    assert!(report.duration >= Duration::from_millis(100));
    assert_eq!(said(report), "done");
}

#[test]
fn every_budget_is_named_with_its_size() {
    fails(once(|_| (), "memory", b""), FailureClass::Budget, "memory budget of 16 MiB exceeded");
    fails(once(|_| (), "recursion", b""), FailureClass::Budget, "stack budget of 512 KiB exceeded");
    let small = once(|spec| spec.limits.input = 1000, "echo", vec![b'x'; 1000]);
    fails(small, FailureClass::Budget, "input budget of 1000 bytes exceeded");
}

/// An instance may hold 1,024 handles, and lives for a hundred times as many calls.
#[test]
fn what_was_used_leaves_no_handle_behind() {
    let pool = pool(|_| ());
    for (what, data, answer) in [
        ("print", "a line", "done"),
        ("log", "a line", "done"),
        ("random", "8", "8"),
        ("sleep", "1", "done"),
        ("powers", "", "nothing"),
    ] {
        block_on(async {
            for _ in 0..1_100 {
                assert_eq!(said(pool.call(call(what, data)).await), answer);
            }
        });
    }
}

#[test]
fn a_denial_that_the_guest_copes_with_is_no_failure() {
    assert_eq!(said(once(|_| (), "polite-memory", b"")), "refused");
}

#[test]
fn outputs_are_limited_in_number_and_size() {
    assert_eq!(handled(once(|_| (), "outputs", b"10")).len(), 10);
    fails(once(|_| (), "outputs", b"11"), FailureClass::Output, "11 outputs, its limit is 10");
    let over = (64 << 10).to_string();
    fails(once(|_| (), "output-bytes", &over), FailureClass::Output, "its limit is 64 KiB");
    assert_eq!(said(once(|_| (), "output-bytes", b"65000")).len(), 65000);
}

/// Pins the message by which wasmtime's fuel error is recognised.
#[test]
fn an_answer_far_over_the_limit_is_not_even_copied() {
    fails(once(|_| (), "output-bytes", b"4000000"), FailureClass::Output, "far more than its output limit of 64 KiB");
    fails(once(|_| (), "outputs", b"3000"), FailureClass::Output, "far more than its output limit of 64 KiB");
}

#[test]
fn a_malformed_output_says_what_is_wrong() {
    fails(once(|_| (), "no-type", b""), FailureClass::Output, "output 1: `type` is empty");
    fails(once(|_| (), "bad-extension", b""), FailureClass::Output, "\"Bad_Name\"");
    fails(once(|_| (), "bad-header", b""), FailureClass::Output, "\"ce_id\"");
    fails(once(|_| (), "bad-utf8", b""), FailureClass::Output, "malformed");
    assert_eq!(handled(once(|_| (), "no-id", b""))[0].id, "");
}

#[test]
fn a_guest_has_no_power_over_anything() {
    assert_eq!(said(once(|_| (), "powers", b"")), "nothing");
}

#[test]
fn random_bytes_are_bounded_per_call() {
    assert_eq!(said(once(|_| (), "random", b"65536")), "65536");
    fails(once(|_| (), "random", b"65537"), FailureClass::Trap, "65536");
}

#[test]
fn warm_instances_are_kept_and_fresh_ones_are_not() {
    for (instance, expected) in [(Instance::Warm, ["1", "2", "3"]), (Instance::Fresh, ["1", "1", "1"])] {
        let pool = pool(|spec| spec.instance = instance);
        for calls in expected {
            assert_eq!(said(block_on(pool.call(call("calls", b"")))), calls, "{instance:?}");
        }
    }
}

#[test]
fn a_failed_call_retires_its_instance_and_an_answered_failure_does_not() {
    let pool = pool(|spec| spec.limits.timeout = Duration::from_millis(200));
    let calls = || said(block_on(pool.call(call("calls", b""))));
    assert_eq!(calls(), "1");
    for ty in ["reject", "retry", "outputs"] {
        block_on(pool.call(call(ty, b"11")));
    }
    assert_eq!(calls(), "5");
    for ty in ["panic", "exit", "loop", "bad-utf8", "memory", "recursion"] {
        assert!(matches!(block_on(pool.call(call(ty, b""))).outcome, Outcome::Failed(_)), "{ty}");
        assert_eq!(calls(), "1", "after {ty}");
    }
}

#[test]
fn an_instance_that_holds_much_memory_is_replaced() {
    let pool = pool(|_| ());
    let hold = |bytes: usize| said(block_on(pool.call(call("hold", bytes.to_string()))));
    hold(2 << 20);
    assert_eq!(said(block_on(pool.call(call("calls", b"")))), "2");
    hold(11 << 20);
    assert_eq!((pool.idle(), pool.in_flight()), (0, 0));
    assert_eq!(said(block_on(pool.call(call("calls", b"")))), "1");
}

#[test]
fn idle_instances_can_be_trimmed() {
    let pool = pool(|_| ());
    block_on(pool.call(call("nothing", b"")));
    pool.trim(Instant::now(), Duration::from_secs(60));
    assert_eq!(pool.idle(), 1);
    pool.trim(Instant::now() + Duration::from_secs(61), Duration::from_secs(60));
    assert_eq!(pool.idle(), 0);
}
