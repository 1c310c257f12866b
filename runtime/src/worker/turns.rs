//! Calls under way that did not end at their first poll, and each handler's share of
//! the worker's time.
//!
//! A worker works in rounds. In each, every handler may compute for one [`SLICE`], in
//! calls that begin and in those that go on together. Whatever a handler's guests do,
//! be it a loop in a thousand calls, calls that end just before they are interrupted,
//! or short naps with much work between, the others wait for one slice per round and
//! such handler, and not for each of its calls. What a handler took beyond its slice it
//! owes: it rests in the rounds that follow until the others could have had as much.
//! Rounds in which nobody else has work cost next to nothing, so no time is wasted.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt};

/// How long a handler may compute in a round. The call that crosses it goes on to its
/// end or to the next tick of the epoch, so a handler takes twice that at most.
const SLICE: Duration = Duration::from_millis(1);

/// The most that a handler owes of later rounds. More than any host function or
/// instruction takes; a machine that stood still for a minute is nobody's debt.
const MOST_OWED: Duration = SLICE.saturating_mul(100);

/// What became of waiting for a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited<T> {
    /// It has ended.
    Ended(T),
    /// Some handler has used up its slice, or none has a call under way: the others
    /// have nothing to do, and the next round may begin.
    NextRound,
}

/// Calls under way, by handler.
pub(super) struct Turns<T> {
    /// Each handler's calls are in a set of their own: those of one that wait for its
    /// next slice do not stand before another's. Bounded by the handlers' concurrency.
    handlers: Vec<Handler<T>>,
    /// Calls in all sets.
    calls: usize,
    begin_first: bool,
}

struct Handler<T> {
    calls: FuturesUnordered<Pin<Box<dyn Future<Output = T>>>>,
    share: Rc<Share>,
}

/// A handler's share of a round.
#[derive(Default)]
struct Share {
    /// Time used, with what is owed from earlier rounds.
    used: Cell<Duration>,
    /// Calls that could go on and found nothing left, in their order.
    held: RefCell<Vec<Waker>>,
}

impl Share {
    fn is_used_up(&self) -> bool {
        self.used.get() >= SLICE
    }

    fn charge(&self, time: Duration) {
        self.used.set(self.used.get() + time);
    }

    /// Gives it another slice, which pays what it owes first.
    fn begin_round(&self) {
        self.used.set(self.used.get().min(MOST_OWED + SLICE).saturating_sub(SLICE));
        if !self.is_used_up() {
            self.held.borrow_mut().drain(..).for_each(Waker::wake);
        }
    }
}

impl<T: 'static> Turns<T> {
    /// No calls.
    pub(super) fn new() -> Turns<T> {
        Turns { handlers: Vec::new(), calls: 0, begin_first: false }
    }

    /// Gives every handler its slice. True in every other round: then calls are to
    /// begin before those under way go on.
    pub(super) fn begin_round(&mut self) -> bool {
        self.handlers.iter().for_each(|handler| handler.share.begin_round());
        self.begin_first = !self.begin_first;
        self.begin_first
    }

    /// Charges a handler for a call's first poll; true once its slice is used up.
    pub(super) fn charge(&mut self, handler: usize, time: Duration) -> bool {
        let share = &self.handler(handler).share;
        share.charge(time);
        share.is_used_up()
    }

    /// Forgets what is owed at a place: another handler has come to it.
    pub(super) fn forgive(&mut self, handler: usize) {
        self.handler(handler).share.used.set(Duration::ZERO);
    }

    /// The handlers that have used up their slices.
    pub(super) fn used_up(&self) -> impl Iterator<Item = usize> {
        let used_up = |(n, handler): (usize, &Handler<T>)| handler.share.is_used_up().then_some(n);
        self.handlers.iter().enumerate().filter_map(used_up)
    }

    /// Takes a call that waits. It goes on while its handler has time left.
    pub(super) fn push(&mut self, handler: usize, call: impl Future<Output = T> + 'static) {
        self.calls += 1;
        let handler = self.handler(handler);
        let share = Rc::clone(&handler.share);
        let mut call = Box::pin(call);
        handler.calls.push(Box::pin(poll_fn(move |cx| {
            if share.is_used_up() {
                share.held.borrow_mut().push(cx.waker().clone());
                return Poll::Pending;
            }
            let began = Instant::now();
            let polled = call.as_mut().poll(cx);
            share.charge(began.elapsed());
            polled
        })));
    }

    /// Whether no call waits.
    pub(super) fn is_empty(&self) -> bool {
        self.calls == 0
    }

    /// Waits until a call ends, or until a handler has used up its slice.
    pub(super) async fn next(&mut self) -> Waited<T> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Lets the calls go on that can.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Waited<T>> {
        for handler in &mut self.handlers {
            // Once more for those that were to go on at once: they stand behind the others
            // that are held, or they would be the first again in the next round.
            for _ in 0..2 {
                if let Poll::Ready(Some(ended)) = handler.calls.poll_next_unpin(cx) {
                    self.calls -= 1;
                    return Poll::Ready(Waited::Ended(ended));
                }
                if !handler.share.is_used_up() {
                    break;
                }
            }
        }
        // What is held is woken by the next round and by nothing else.
        if self.is_empty() || self.used_up().next().is_some() {
            return Poll::Ready(Waited::NextRound);
        }
        Poll::Pending
    }

    fn handler(&mut self, handler: usize) -> &mut Handler<T> {
        if self.handlers.len() <= handler {
            let none = || Handler { calls: FuturesUnordered::new(), share: Rc::default() };
            self.handlers.resize_with(handler + 1, none);
        }
        &mut self.handlers[handler]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call that computes for a while in each of its polls, and ends with the last one.
    fn computing(polls: u32, time: Duration, log: &Rc<Cell<u32>>) -> impl Future<Output = u32> + 'static {
        let (mut left, log) = (polls, Rc::clone(log));
        poll_fn(move |cx| {
            let end = Instant::now() + time;
            while Instant::now() < end {}
            log.set(log.get() + 1);
            left -= 1;
            cx.waker().wake_by_ref();
            if left == 0 { Poll::Ready(polls) } else { Poll::Pending }
        })
    }

    fn poll(turns: &mut Turns<u32>) -> Poll<Waited<u32>> {
        turns.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn many_calls_of_a_handler_have_one_slice_in_a_round_and_all_get_theirs() {
        let (mut turns, polls) = (Turns::new(), Rc::new(Cell::new(0)));
        // As long as a slice: each call that goes on uses it up.
        (0..100).for_each(|_| turns.push(0, computing(2, SLICE, &polls)));
        let quick = Rc::new(Cell::new(0));
        turns.push(1, computing(1, Duration::ZERO, &quick));
        turns.begin_round();
        assert_eq!(poll(&mut turns), Poll::Ready(Waited::Ended(1)));
        let (mut rounds, mut ended) = (1, 0);
        while !turns.is_empty() {
            match poll(&mut turns) {
                Poll::Ready(Waited::Ended(_)) => ended += 1,
                waited => {
                    assert_eq!(waited, Poll::Ready(Waited::NextRound));
                    rounds += 1;
                    turns.begin_round();
                }
            }
            assert!(polls.get() <= rounds, "one of a hundred in each round");
            assert!(ended == 0 || polls.get() > 100, "each had one turn before any has two");
        }
        assert_eq!((ended, polls.get()), (100, 200));
    }

    #[test]
    fn a_handler_rests_until_the_others_could_have_had_as_much() {
        let (mut turns, polls, others) = (Turns::new(), Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        turns.push(0, computing(2, 5 * SLICE, &polls));
        turns.push(1, computing(1, Duration::ZERO, &others));
        turns.begin_round();
        while poll(&mut turns) != Poll::Ready(Waited::NextRound) {}
        for owed in (1..5).rev() {
            turns.begin_round();
            turns.push(1, computing(1, Duration::ZERO, &others));
            while poll(&mut turns) != Poll::Ready(Waited::NextRound) {}
            assert_eq!(polls.get(), 1, "it owes {owed} slices more");
        }
        assert_eq!(others.get(), 5, "the other had a turn in each round");
        let owed = (0..200).find(|_| {
            turns.begin_round();
            poll(&mut turns) == Poll::Ready(Waited::Ended(2))
        });
        assert!(owed.is_some(), "a debt ends, however long the machine stood still");
    }

    #[test]
    fn what_calls_use_as_they_begin_counts_for_those_that_go_on() {
        let (mut turns, polls) = (Turns::new(), Rc::new(Cell::new(0)));
        turns.push(0, computing(1, Duration::ZERO, &polls));
        turns.begin_round();
        assert!(!turns.charge(0, SLICE / 2));
        assert!(turns.charge(0, SLICE / 2));
        assert_eq!(turns.used_up().collect::<Vec<_>>(), [0]);
        assert_eq!((poll(&mut turns), polls.get()), (Poll::Ready(Waited::NextRound), 0));
        turns.begin_round();
        assert_eq!((poll(&mut turns), polls.get()), (Poll::Ready(Waited::Ended(1)), 1));
        assert!(turns.is_empty());
    }

    #[test]
    fn who_comes_to_a_place_owes_nothing_there() {
        let mut turns = Turns::<u32>::new();
        assert!(turns.charge(3, 50 * SLICE));
        turns.begin_round();
        turns.forgive(3);
        assert_eq!(turns.used_up().next(), None);
    }

    #[test]
    fn each_of_two_rounds_lets_others_go_first() {
        let mut turns = Turns::<u32>::new();
        let first: Vec<bool> = (0..4).map(|_| turns.begin_round()).collect();
        assert_eq!(first, [true, false, true, false]);
    }
}
