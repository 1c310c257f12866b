//! Dropping instances that hold much memory, where no worker waits for it.
//!
//! Giving dirty memory back to the system takes the kernel a tenth of a millisecond or
//! more per MiB, and nothing interrupts it: a guest that fills its memory in each call
//! would hold up the other handlers of its worker by several milliseconds each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use wasmtime::Store;

use super::guest::Guest;

/// Bytes of memory and tables from which on an instance is dropped elsewhere. Below, the
/// way there costs more than it saves.
pub(super) const LARGE: usize = 4 * 1024 * 1024;

/// Drops stores on a thread of its own, which ends with the last clone.
pub(super) struct Reclaimer<T = Store<Guest>> {
    /// Unbounded by itself: only instances come that were there before, each with its slot.
    to: Sender<T>,
    /// Stores that were handed over and are not dropped yet.
    waiting: Arc<AtomicUsize>,
}

impl<T> Clone for Reclaimer<T> {
    fn clone(&self) -> Self {
        Reclaimer { to: self.to.clone(), waiting: self.waiting.clone() }
    }
}

impl<T: Send + 'static> Reclaimer<T> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub(super) fn start() -> std::io::Result<Self> {
        // What bounds it stands at `to`.
        #[allow(clippy::disallowed_methods)]
        let (to, stores) = channel::<T>();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = waiting.clone();
        let drop_each = move || {
            for store in stores {
                drop(store);
                left.fetch_sub(1, Ordering::AcqRel);
            }
        };
        thread::Builder::new().name("reclaim".into()).spawn(drop_each)?;
        Ok(Reclaimer { to, waiting })
    }

    /// Drops the store of a call that has ended: on the thread if that is free, or else here.
    /// So handlers that fill their memory in every call have at most one instance more than
    /// they may, and pay for the others.
    pub(super) fn drop_used(&self, store: T) {
        if self.waiting.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.hand_over(store);
        }
    }

    /// Drops a store that was idle, on the thread, in its turn: where a whole pool goes at
    /// once, that is too much for the worker. It is no more memory than was there before.
    pub(super) fn drop_idle(&self, store: T) {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.hand_over(store);
    }

    fn hand_over(&self, store: T) {
        // It comes back, and is dropped here, should the thread have ended by a panic.
        drop(self.to.send(store));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// Says on which thread it is dropped, and then waits.
    struct Told(SyncSender<Option<String>>, Receiver<()>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(thread::current().name().map(str::to_owned)).unwrap();
            // Ends at once where nobody holds the other end.
            _ = self.1.recv();
        }
    }

    #[test]
    fn what_was_used_is_dropped_on_the_thread_if_it_is_free_and_here_if_not() {
        let (reclaimer, elsewhere) = (Reclaimer::start().unwrap(), Some("reclaim".to_owned()));
        let (names, dropped) = sync_channel(1);
        let (busy, waits) = sync_channel(1);
        reclaimer.drop_used(Told(names.clone(), waits));
        assert_eq!(dropped.recv().unwrap(), elsewhere);
        let at_once = || Told(names.clone(), sync_channel(1).1);
        reclaimer.drop_used(at_once());
        assert_ne!(dropped.recv().unwrap(), elsewhere, "it is still busy with the first");
        drop(busy);
    }

    #[test]
    fn what_was_idle_waits_for_the_thread() {
        let (reclaimer, elsewhere) = (Reclaimer::start().unwrap(), Some("reclaim".to_owned()));
        let (names, dropped) = sync_channel(8);
        let (busy, waits) = sync_channel(1);
        reclaimer.drop_idle(Told(names.clone(), waits));
        assert_eq!(dropped.recv().unwrap(), elsewhere);
        for _ in 0..2 {
            reclaimer.drop_idle(Told(names.clone(), sync_channel(1).1));
        }
        assert!(dropped.try_recv().is_err(), "they wait while it is busy");
        drop(busy);
        assert_eq!([dropped.recv().unwrap(), dropped.recv().unwrap()], [elsewhere.clone(), elsewhere]);
    }
}
