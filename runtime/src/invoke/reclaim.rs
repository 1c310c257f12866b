//! Dropping instances that hold much memory, where no worker waits for it.
//!
//! Giving dirty memory back to the system takes the kernel a tenth of a millisecond or
//! more per MiB, and nothing interrupts it: a guest that fills its memory in each call
//! would hold up the other handlers of its worker by several milliseconds each time.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use wasmtime::Store;

use super::guest::Guest;

/// Bytes of memory and tables from which on an instance is dropped elsewhere. Below, the
/// way there costs more than it saves.
pub(super) const LARGE: usize = 4 * 1024 * 1024;

/// Drops stores on a thread of its own, which ends with the last clone.
pub(super) struct Reclaimer<T = Store<Guest>> {
    /// Without room: it takes a store only while the thread has none. So at most one
    /// instance is alive beyond those that handlers may have.
    to: SyncSender<T>,
}

impl<T> Clone for Reclaimer<T> {
    fn clone(&self) -> Self {
        Reclaimer { to: self.to.clone() }
    }
}

impl<T: Send + 'static> Reclaimer<T> {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub(super) fn start() -> std::io::Result<Self> {
        let (to, stores) = sync_channel(0);
        thread::Builder::new().name("reclaim".into()).spawn(move || stores.into_iter().for_each(drop))?;
        Ok(Reclaimer { to })
    }

    /// Drops a store: on the thread if that is free, or else here.
    pub(super) fn drop_store(&self, store: T) {
        // It comes back where the thread is busy.
        drop(self.to.try_send(store));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;
    use std::time::{Duration, Instant};

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
    fn a_store_is_dropped_on_the_thread_if_it_is_free_and_here_if_not() {
        let reclaimer = Reclaimer::start().unwrap();
        let (names, dropped) = sync_channel(1);
        let elsewhere = Some("reclaim".to_owned());
        // The thread may not have begun yet; what comes before is dropped here.
        let until = Instant::now() + Duration::from_secs(10);
        let busy = loop {
            assert!(Instant::now() < until, "the thread takes nothing");
            let (wait, waits) = sync_channel(1);
            match reclaimer.to.try_send(Told(names.clone(), waits)) {
                Ok(()) => break wait,
                Err(back) => drop((wait, back)),
            }
            assert_ne!(dropped.recv().unwrap(), elsewhere);
        };
        assert_eq!(dropped.recv().unwrap(), elsewhere);
        let (wait, waits) = sync_channel(1);
        drop(wait);
        reclaimer.drop_store(Told(names, waits));
        assert_ne!(dropped.recv().unwrap(), elsewhere, "it is still busy with the first");
        drop(busy);
    }
}
