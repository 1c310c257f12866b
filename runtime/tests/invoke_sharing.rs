//! Calls that overlap on one worker: time slices, fences, limits on how many.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use outrigger::invoke::{Engine, Pool, Sizing};
use outrigger::manifest::Handler;
use outrigger::outcome::{FailureClass, Outcome};
use support::*;

fn patient(spec: &mut Handler) {
    spec.limits.cpu_time = Duration::from_secs(30);
    spec.limits.timeout = Duration::from_secs(60);
}

/// Waits until a call of the pool has begun.
async fn begun(pool: &Pool) {
    while pool.in_flight() == 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_loop_does_not_starve_other_handlers_nor_timers() {
    let looping = pool(|spec| spec.limits.cpu_time = Duration::from_millis(400));
    let other = pool(|_| ());
    block_on(async {
        let endless = tokio::task::spawn_local(looping.call(call("loop", b"")));
        begun(&looping).await;
        let mut answered = 0;
        while !endless.is_finished() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            handled(other.call(call("nothing", b"")).await);
            answered += 1;
        }
        fails(endless.await.unwrap(), FailureClass::Budget, "CPU time");
        // One in about two milliseconds where the machine is idle.
        assert!(answered >= 20, "{answered}");
    });
}

#[test]
fn many_loops_of_one_handler_share_one_turn_per_round() {
    const LOOPS: usize = 8;
    let (many, one) = (pool(patient), pool(patient));
    let cpu = block_on(async {
        let calls: Vec<_> = (0..LOOPS).map(|_| call("loop", b"").with_fence_after(MOMENT * 10)).collect();
        let calls: Vec<_> = calls.into_iter().map(|call| tokio::task::spawn_local(many.call(call))).collect();
        let single = one.call(call("loop", b"").with_fence_after(MOMENT * 10)).await.cpu;
        let many = join_all(calls).await.into_iter().map(|report| report.unwrap().cpu).sum::<Duration>();
        (single, many)
    });
    // With a turn for each loop it would have a ninth of the thread; it has half.
    let share = cpu.0.as_secs_f64() / (cpu.0 + cpu.1).as_secs_f64();
    assert!(share > 0.3, "{share} of {cpu:?}");
}

/// Long against a time slice, short for a person.
const MOMENT: Duration = Duration::from_millis(50);

trait WithFence {
    fn with_fence_after(self, delay: Duration) -> Self;
}

impl WithFence for outrigger::invoke::Call {
    fn with_fence_after(self, delay: Duration) -> Self {
        let fence = self.fence.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(delay).await;
            fence.store(true, Ordering::Relaxed);
        });
        self
    }
}

#[test]
fn a_fence_ends_a_loop_within_a_moment_and_before_its_budget() {
    let pool = pool(patient);
    block_on(async {
        let call = call("loop", b"");
        let begun = Instant::now();
        let report = pool.call(call.with_fence_after(MOMENT)).await;
        assert!(matches!(report.outcome, Outcome::Fenced), "{report:?}");
        assert!(begun.elapsed() < Duration::from_secs(5));
    });
}

#[test]
fn a_call_that_is_fenced_already_does_not_begin() {
    let pool = pool(|_| ());
    let fenced = call("nothing", b"");
    fenced.fence.store(true, Ordering::Relaxed);
    let report = block_on(pool.call(fenced));
    assert!(matches!(report.outcome, Outcome::Fenced));
    assert_eq!(pool.idle(), 0);
}

#[test]
fn a_call_over_the_concurrency_is_busy_and_nobody_failed() {
    let pool = pool(|spec| spec.concurrency = 2);
    block_on(async {
        let waiting: Vec<_> = (0..2).map(|_| tokio::task::spawn_local(pool.call(call("sleep", b"50")))).collect();
        while pool.in_flight() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(pool.call(call("nothing", b"")).await.outcome, Outcome::Busy));
        for ended in join_all(waiting).await {
            handled(ended.unwrap());
        }
        handled(pool.call(call("nothing", b"")).await);
        assert_eq!((pool.idle(), pool.in_flight()), (2, 0));
    });
}

#[test]
fn a_call_without_a_free_slot_is_busy_and_goes_through_later() {
    // One slot more than instances: for the one that is being dropped.
    let module = Engine::new(Sizing { instances: 1 }).unwrap().load(&spec()).unwrap();
    let pool = Pool::new(module);
    block_on(async {
        let waiting: Vec<_> = (0..2).map(|_| tokio::task::spawn_local(pool.call(call("sleep", b"50")))).collect();
        while pool.in_flight() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(matches!(pool.call(call("nothing", b"")).await.outcome, Outcome::Busy));
        for ended in join_all(waiting).await {
            handled(ended.unwrap());
        }
        handled(pool.call(call("nothing", b"")).await);
    });
}

#[test]
fn waiting_calls_overlap() {
    let pool = pool(|_| ());
    let begun = Instant::now();
    block_on(async {
        let waiting = (0..8).map(|_| pool.call(call("sleep", b"300")));
        for report in join_all(waiting).await {
            assert_eq!(said(report), "done");
        }
    });
    assert!(begun.elapsed() < Duration::from_millis(8 * 300), "{:?}", begun.elapsed());
}

#[test]
fn dropping_the_future_interrupts_the_call_and_frees_its_place() {
    let pool = pool(|spec| {
        patient(spec);
        spec.concurrency = 1;
    });
    block_on(async {
        for ty in ["loop", "sleep"] {
            let running = tokio::task::spawn_local(pool.call(call(ty, b"60000")));
            begun(&pool).await;
            running.abort();
            assert!(running.await.unwrap_err().is_cancelled());
            assert_eq!((pool.in_flight(), pool.idle()), (0, 0), "{ty}");
            handled(pool.call(call("nothing", b"")).await);
            pool.trim(Instant::now() + Duration::from_secs(1), Duration::ZERO);
        }
    });
}

#[test]
fn a_call_keeps_its_pool_and_its_engine_alive() {
    let call = pool(|_| ()).call(call("sleep", b"20"));
    assert_eq!(said(block_on(call)), "done");
}
