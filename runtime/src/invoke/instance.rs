//! One instance of a module in a store of its own.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio::sync::Semaphore;
use wasmtime::{AsContextMut, Store};

use super::bindings::{Answer, DeliveryParam, EventParam, Handle};
use super::capabilities::Shared;
use super::classify::Circumstances;
use super::guest::Guest;
use super::http::{Exceeded, Outgoing};
use super::interrupt::on_epoch;
use super::load::Module;
use super::meter::Meter;
use super::output_log::Log;
use super::outputs;
use super::reclaim::{LARGE, Reclaimer};

/// Component handles that an instance may hold at a time.
const HANDLES: usize = 1024;

/// A store that is dropped where nobody waits for it, if it is large.
struct Held {
    /// `None` only while it is being dropped.
    store: Option<Store<Guest>>,
    reclaimer: Reclaimer,
}

impl Deref for Held {
    type Target = Store<Guest>;

    #[allow(clippy::expect_used, reason = "only `drop` takes it, and nothing follows that")]
    fn deref(&self) -> &Store<Guest> {
        self.store.as_ref().expect("held until dropped")
    }
}

impl DerefMut for Held {
    #[allow(clippy::expect_used, reason = "as above")]
    fn deref_mut(&mut self) -> &mut Store<Guest> {
        self.store.as_mut().expect("held until dropped")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(store) = self.store.take().filter(|store| store.data().memory.used() >= LARGE) {
            self.reclaimer.drop_used(store);
        }
    }
}

/// An instance, started by its first call and under that call's limits, or before it
/// (`start`) and under the same.
pub(super) struct Instance {
    store: Held,
    handle: Option<Handle>,
    pub meter: Arc<Meter>,
    pub log: Arc<Log>,
    /// Calls that it has answered.
    pub calls: u32,
}

impl Instance {
    /// A store under the module's limits, without an instance in it yet.
    pub(super) fn new(module: &Module, shared: &Shared, turns: Arc<Semaphore>) -> Instance {
        let log = Arc::new(Log::new(Arc::clone(module.name()), module.digest(), Arc::clone(module.log_rate())));
        let meter = Arc::new(Meter::new(turns));
        let limits = module.limits();
        let guest = Guest::new(limits, module.grants(), shared, Arc::clone(&log), Arc::clone(&meter));
        let mut store = Store::new(module.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        store.epoch_deadline_callback(on_epoch);
        store.set_hostcall_fuel(outputs::fuel(limits).saturating_add(module.grants().largest_argument()));
        store.set_max_component_handles(HANDLES);
        let store = Held { store: Some(store), reclaimer: module.reclaimer().clone() };
        Instance { store, handle: None, meter, log, calls: 0 }
    }

    /// Drops it where nobody waits for it, however small it is: many are let go of at once.
    pub(super) fn drop_idle(mut self) {
        if let Some(store) = self.store.store.take() {
            self.store.reclaimer.drop_idle(store);
        }
    }

    /// Gives it what it was made without, so that it could send nothing as it started.
    pub(super) fn connect(&mut self, module: &Module, shared: &Shared) {
        self.store.data_mut().connect(module.limits(), shared);
    }

    /// Begins an attempt that has to answer by `deadline`.
    pub(super) fn begin(&mut self, fence: Arc<AtomicBool>, route: &Arc<str>, generation: u64, deadline: Instant) {
        self.meter.reset();
        self.log.begin(route, generation);
        let guest = self.store.data_mut();
        guest.memory.begin();
        guest.watch.fence = fence;
        if let Some(http) = &mut guest.http {
            http.begin(deadline);
        }
        // The store would trap at once without one; from here on the callback renews it.
        self.store.set_epoch_deadline(1);
    }

    /// Instantiates the module if that has not happened yet.
    ///
    /// # Errors
    /// A limit, a trap, or no free slot; the store is to be dropped.
    pub(super) async fn start(&mut self, module: &Module) -> wasmtime::Result<Handle> {
        if let Some(handle) = self.handle {
            return Ok(handle);
        }
        let instance = module.pre().instantiate_async(&mut *self.store).await?;
        let handle = Handle::of(&instance, &mut *self.store, module.export())?;
        self.handle = Some(handle);
        Ok(handle)
    }

    /// Compares the handler's type with the contract.
    ///
    /// # Errors
    /// Says where they differ.
    pub(super) fn check_type(&mut self, handle: Handle) -> wasmtime::Result<()> {
        handle.check(&mut *self.store)
    }

    /// Calls the handler.
    ///
    /// # Errors
    /// As [`Instance::start`], and whatever ended the call; the store is to be dropped.
    pub(super) async fn call(
        &mut self,
        module: &Module,
        event: EventParam<'_>,
        delivery: DeliveryParam<'_>,
    ) -> wasmtime::Result<Answer> {
        let handle = self.start(module).await?;
        handle.call(self.store.as_context_mut(), event, delivery).await
    }

    /// What is known of the attempt beside its error.
    pub(super) fn circumstances<'a>(&self, module: &'a Module, stderr: &'a dyn Fn() -> String) -> Circumstances<'a> {
        let guest = self.store.data();
        Circumstances { limits: module.limits(), denied: guest.memory.denied(), http: self.exceeded(), stderr }
    }

    /// The budget of HTTP that the attempt exceeded.
    pub(super) fn exceeded(&self) -> Option<Exceeded> {
        self.store.data().http.as_ref()?.exceeded()
    }

    /// Whether a request of the attempt has not ended.
    pub(super) fn has_open_requests(&self) -> bool {
        self.store.data().http.as_ref().is_some_and(Outgoing::has_open_requests)
    }

    /// Bytes of memory and tables that it holds.
    pub(super) fn memory(&self) -> usize {
        self.store.data().memory.used()
    }
}
