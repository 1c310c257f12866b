//! Who asks for a reload, and how they wait for their turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use super::status::{Answer, Status};

/// Requests that wait for their turn; more are refused.
pub(super) const REQUESTS: usize = 16;

/// Why a reload is asked for.
pub(super) enum Request {
    /// Something in a watched folder changed: perhaps nothing that matters.
    Files,
    /// SIGHUP.
    Signal,
    /// The admin API, which waits for the answer.
    Api(SyncSender<Answer>),
    /// The process, or at least this sidecar, ends.
    End,
}

/// Asks the reload thread. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(super) requests: SyncSender<Request>,
    pub(super) status: Status,
}

impl Handle {
    /// Asks for a reload, as SIGHUP does; the answer goes to log and status.
    pub fn signal(&self) {
        // Full: then reloads are waiting already, and they read what is there when they begin.
        _ = self.requests.try_send(Request::Signal);
    }

    /// Reloads and waits for the answer: as long as compiling takes. `None` where too
    /// many others wait, or the process ends.
    pub fn reload(&self) -> Option<Answer> {
        let (answer, answers) = sync_channel(1);
        self.requests.try_send(Request::Api(answer)).ok()?;
        answers.recv().ok()
    }

    /// Ends the thread, after what it does now.
    pub fn end(&self) {
        // Full: then it ends with the polling thread, which takes no generation any more.
        _ = self.requests.try_send(Request::End);
    }

    /// What is current, and how the last reload ended.
    pub fn status(&self) -> &Status {
        &self.status
    }
}

/// What is told that files changed; false: nobody listens any more. Of several hints that
/// wait one is as good as all, and they leave room for who asks for a reload.
pub(super) fn hint(requests: SyncSender<Request>, hinted: Arc<AtomicBool>) -> impl Fn() -> bool {
    move || {
        if hinted.swap(true, Ordering::AcqRel) {
            return true;
        }
        match requests.try_send(Request::Files) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                // Those who wait look at the files too.
                hinted.store(false, Ordering::Release);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }
}

/// The callers that wait already, this one first: one look answers them all.
pub(super) fn all_who_ask(first: SyncSender<Answer>, waiting: &mut VecDeque<Request>) -> Vec<SyncSender<Answer>> {
    let mut asking = vec![first];
    waiting.retain(|request| {
        if let Request::Api(answer) = request {
            asking.push(answer.clone());
        }
        !matches!(request, Request::Api(_))
    });
    asking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_answers_all_who_ask_and_the_others_stay_in_their_order() {
        let (answers, callers): (Vec<_>, Vec<_>) = (0..3).map(|_| sync_channel(1)).unzip();
        let mut api = answers.into_iter().map(Request::Api);
        let Some(Request::Api(first)) = api.next() else { unreachable!() };
        let mut waiting = VecDeque::from([Request::Signal, Request::Files, Request::End]);
        for at in [1, 3] {
            waiting.insert(at, api.next().unwrap());
        }
        for asking in all_who_ask(first, &mut waiting) {
            asking.try_send(Answer::Unchanged(7)).unwrap();
        }
        assert!(callers.iter().all(|caller| caller.try_recv() == Ok(Answer::Unchanged(7))));
        assert!(matches!(waiting.make_contiguous(), [Request::Signal, Request::Files, Request::End]));
    }

    #[test]
    fn hints_leave_room_for_those_who_ask() {
        let (requests, receiver) = sync_channel(REQUESTS);
        let hinted = Arc::new(AtomicBool::new(false));
        let hint = hint(requests.clone(), hinted.clone());
        for _ in 0..3 * REQUESTS {
            assert!(hint());
        }
        assert!(matches!(receiver.try_recv(), Ok(Request::Files)));
        assert!(receiver.try_recv().is_err(), "one stands for all");
        hinted.store(false, Ordering::Release);
        assert!(hint() && receiver.try_recv().is_ok(), "what comes after it was taken is told again");
        hinted.store(false, Ordering::Release);
        for _ in 0..REQUESTS {
            requests.try_send(Request::Signal).unwrap();
        }
        assert!(hint(), "those who wait look at the files too");
        receiver.try_iter().for_each(drop);
        assert!(hint() && receiver.try_recv().is_ok());
        drop(receiver);
        hinted.store(false, Ordering::Release);
        assert!(!hint());
    }
}
