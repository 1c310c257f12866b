//! Dropping instances that hold much memory, where no worker waits for it.
//!
//! Giving dirty memory back to the system takes the kernel a tenth of a millisecond or
//! more per MiB, and nothing interrupts it: a guest that fills its memory in each call
//! would hold up the other handlers of its worker by several milliseconds each time.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use wasmtime::Store;

use super::guest::Guest;

/// Bytes of memory and tables from which on an instance is dropped elsewhere. Below, the
/// way there costs more than it saves.
const LARGE: usize = 4 * 1024 * 1024;

/// Where large instances are dropped. Its thread ends with the last clone.
#[derive(Clone)]
pub(super) struct Reclaimer {
    /// Without room: it takes an instance only while it has none. So at most one instance
    /// is alive beyond those that handlers may have; while that one is being dropped,
    /// others are dropped where they are.
    to: SyncSender<Store<Guest>>,
}

impl Reclaimer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives none.
    pub(super) fn start() -> std::io::Result<Reclaimer> {
        let (to, stores) = sync_channel(0);
        let drop_all = move |stores: Receiver<Store<Guest>>| stores.into_iter().for_each(drop);
        thread::Builder::new().name("reclaim".into()).spawn(move || drop_all(stores))?;
        Ok(Reclaimer { to })
    }

    /// Drops a store: elsewhere, if it is large and the thread is free.
    pub(super) fn drop_store(&self, store: Store<Guest>) {
        if store.data().memory.used() >= LARGE {
            // It comes back where the thread is busy, and is dropped here.
            drop(self.to.try_send(store));
        }
    }
}
