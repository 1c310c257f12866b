//! Drives the future of one guest call: measures its CPU time, ends it at its
//! deadline, and catches a panic of the host.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;

use super::meter::{Clock, Meter};

/// How a call's future ended.
pub(super) enum End<T> {
    /// By itself.
    Done(wasmtime::Result<T>),
    /// It was still under way at the deadline.
    TimedOut,
    /// The host panicked in it; with the panic's message.
    Panicked(String),
}

/// Polls `call` until it ends or the deadline has passed, from `now` on.
///
/// A timer is made only if the first poll does not finish the call: most do. A
/// guest that computes past the deadline is stopped when it next yields, within
/// a tick of its turn.
///
/// After anything but `Done(Ok)` the caller drops the store.
pub(super) async fn drive<T>(
    call: impl Future<Output = wasmtime::Result<T>>,
    meter: &Meter,
    clock: &Clock,
    now: Instant,
    deadline: Instant,
) -> End<T> {
    let mut call = pin!(call);
    let mut timer = pin!(None::<tokio::time::Sleep>);
    let mut now = Some(now);
    let _abandon = Abandon(meter);
    poll_fn(|cx| {
        meter.resume(clock, now.take().unwrap_or_else(Instant::now));
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx)));
        meter.pause(clock);
        match polled {
            Ok(Poll::Ready(result)) => return Poll::Ready(End::Done(result)),
            Ok(Poll::Pending) => {}
            Err(panic) => return Poll::Ready(End::Panicked(message(&*panic))),
        }
        if timer.is_none() {
            timer.set(Some(tokio::time::sleep_until(deadline.into())));
        }
        match timer.as_mut().as_pin_mut() {
            Some(timer) => timer.poll(cx).map(|()| End::TimedOut),
            None => Poll::Pending,
        }
    })
    .await
}

/// Gives the call's turn back when its future is dropped half-way.
struct Abandon<'a>(&'a Meter);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::Semaphore;

    use super::super::ticker::Ticker;
    use super::*;

    fn driven<T>(call: impl Future<Output = wasmtime::Result<T>>, timeout: Duration) -> End<T> {
        let ticker = Ticker::start(wasmtime::Engine::default()).unwrap();
        let (clock, meter) = (Clock::new(ticker.pulse()), Meter::new(Arc::new(Semaphore::new(1))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let now = Instant::now();
        runtime.block_on(drive(call, &meter, &clock, now, now + timeout))
    }

    #[test]
    fn a_panic_of_the_host_ends_the_call_and_nothing_else() {
        let end = driven(async { panic!("a bug in {}", "a host function") }, Duration::from_secs(5));
        assert!(matches!(end, End::<()>::Panicked(message) if message == "a bug in a host function"));
        let end = driven(
            async {
                tokio::task::yield_now().await;
                panic!("later")
            },
            Duration::from_secs(5),
        );
        assert!(matches!(end, End::<()>::Panicked(message) if message == "later"));
    }

    /// As a guest does that naps in time for each tick.
    #[test]
    fn what_computes_between_ticks_is_charged_from_its_second_poll_on() {
        // It does not tick: no call has begun.
        let ticker = Ticker::start(wasmtime::Engine::default()).unwrap();
        let (clock, meter) = (Clock::new(ticker.pulse()), Meter::new(Arc::new(Semaphore::new(1))));
        let compute = || {
            let end = Instant::now() + Duration::from_millis(1);
            while Instant::now() < end {}
        };
        let mut left = 20;
        let napping = poll_fn(move |cx| {
            compute();
            left -= 1;
            cx.waker().wake_by_ref();
            if left == 0 { Poll::Ready(Ok(())) } else { Poll::Pending }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let now = Instant::now();
        meter.reset();
        runtime.block_on(drive(napping, &meter, &clock, now, now + Duration::from_secs(60)));
        assert!(meter.used() >= Duration::from_millis(10), "{:?}", meter.used());
        meter.reset();
        runtime.block_on(drive(
            poll_fn(|_| {
                compute();
                Poll::Ready(Ok(()))
            }),
            &meter,
            &clock,
            now,
            now + Duration::from_secs(60),
        ));
        assert!(meter.used() < Duration::from_millis(1), "one poll without a tick is not measured");
    }

    #[test]
    fn a_call_that_is_done_at_its_first_poll_is_not_late() {
        assert!(matches!(driven(ready(Ok(7)), Duration::ZERO), End::Done(Ok(7))));
        assert!(matches!(driven(pending::<wasmtime::Result<()>>(), Duration::ZERO), End::TimedOut));
    }
}
