//! Calls: begun, let go on by turns, and ended.

use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::{AbortHandle, Abortable, Aborted};

use super::{Worker, now};
use crate::invoke::{Call, Report};
use crate::outcome::{Failure, FailureClass, Outcome};
use crate::worker::effect::{CallOrder, Channel, RunId};
use crate::worker::turns::Waited;

/// Effects done in one go before commands, acknowledgements and other calls are looked at.
const TURN: usize = 128;

/// What a call that did not end at once comes to.
pub(super) type Ended = (RunId, Result<Report, Aborted>);
type Running = Pin<Box<dyn Future<Output = Report>>>;

impl Worker {
    /// Lets every handler compute for its share of time, in calls that begin and in
    /// those that go on; true if there may be more to do.
    pub(super) async fn round(&mut self) -> bool {
        self.core.begin_round();
        // New calls and those under way come first by turns: neither can use up
        // the share of the other for long.
        let begin_first = self.calls.begin_round();
        let mut more = false;
        if begin_first {
            self.rest_used_up();
            more = self.act().await;
        }
        self.take_ended().await;
        if !begin_first {
            self.rest_used_up();
            more = self.act().await;
        }
        more || self.calls.used_up().next().is_some()
    }

    /// Begins no more calls of handlers that have used up their share.
    fn rest_used_up(&mut self) {
        self.calls.used_up().for_each(|desk| self.core.rest(desk));
    }

    /// Does what the core says, up to a turn; true if there may be more.
    async fn act(&mut self) -> bool {
        for _ in 0..TURN {
            // Dead letters that wait hold nothing up: what a handler may have of them is bounded.
            let may_call = self.refused[Channel::Outputs as usize].is_empty();
            let Some(effect) = self.core.next(may_call) else { return false };
            if let Some(order) = self.do_at_once(effect) {
                let (desk, began) = (order.desk, Instant::now());
                // Those that have ended have measured themselves.
                let time = self.call(order).await.unwrap_or_else(|| began.elapsed());
                if self.calls.charge(desk, time) {
                    self.core.rest(desk);
                }
            }
        }
        true
    }

    /// Begins a call. How long it took, if it has ended already.
    async fn call(&mut self, order: CallOrder) -> Option<Duration> {
        let CallOrder { run, handler, desk, route, envelope, account, attempt, probe: _ } = order;
        let call = Call {
            envelope,
            route: self.plan.manifest.routes[route].name.clone(),
            topic: account.topic.clone(),
            partition: account.partition,
            attempt,
            generation: self.plan.generation,
            fence: account.fence.clone(),
        };
        let mut running = self.guests[handler].call(call);
        // Most calls end at their first poll, and cost no entry in the set of those that wait.
        match poll_fn(|cx| Poll::Ready(poll_caught(&mut running, cx))).await {
            Poll::Ready(report) => {
                let duration = report.duration;
                self.ended(run, Ok(report));
                Some(duration)
            }
            Poll::Pending => {
                let (handle, registration) = AbortHandle::new_pair();
                let caught = poll_fn(move |cx| poll_caught(&mut running, cx));
                let call = Abortable::new(caught, registration);
                self.running.insert(run, handle);
                self.calls.push(desk, async move { (run, call.await) });
                None
            }
        }
    }

    /// Lets calls go on and takes those that have ended, without waiting.
    async fn take_ended(&mut self) {
        while !self.calls.is_empty() {
            let next = poll_fn(|cx| Poll::Ready(self.calls.poll_next(cx))).await;
            let Poll::Ready(Waited::Ended((run, result))) = next else { return };
            self.ended(run, result);
        }
    }

    pub(super) fn ended(&mut self, run: RunId, result: Result<Report, Aborted>) {
        self.running.remove(&run);
        // Aborted calls belong to partitions that are released.
        let Ok(report) = result else { return };
        // A call that could not begin was none.
        if !matches!(report.outcome, Outcome::Busy)
            && let Some(place) = self.core.place(run)
        {
            self.reporter.called(&place, report.duration);
        }
        // A retry's delay counts from the end of the attempt: the core's time may be as
        // old as the last wait, or as the other calls of this turn took.
        if !matches!(report.outcome, Outcome::Handled(_)) {
            self.core.advance(now());
        }
        self.core.called(run, report.outcome, report.duration);
    }
}

/// Polls a call; a panic of the host inside it ends the call and nothing else.
fn poll_caught(running: &mut Running, cx: &mut std::task::Context<'_>) -> Poll<Report> {
    std::panic::catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx))).unwrap_or_else(|_| {
        let reason = "the host panicked during the call; this is a defect of Outrigger".into();
        let failure = Failure { class: FailureClass::Trap, reason, retry_after: None };
        Poll::Ready(Report { outcome: Outcome::Failed(failure), duration: Duration::ZERO, cpu: Duration::ZERO })
    })
}
