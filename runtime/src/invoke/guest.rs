//! What the host keeps for one instance: its store's data.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use super::capabilities::{Grants, Shared};
use super::http::{self, Denied, Outgoing};
use super::interrupt::Watch;
use super::keyvalue;
use super::limits::MemoryBudget;
use super::meter::Meter;
use super::output_log::Log;
use super::plumbing;
use crate::manifest::Limits;

/// Handles that an instance may hold of the host: streams, pollables, sockets.
/// A handler needs a handful; each costs the host about a hundred bytes.
pub(super) const HANDLES: usize = 1024;

/// A store's data.
pub(super) struct Guest {
    /// Dropped before the table: see there. `None`: nothing may be sent.
    pub http: Option<Outgoing>,
    wasi: WasiCtx,
    table: ResourceTable,
    http_ctx: WasiHttpCtx,
    denied: Denied,
    config: Arc<WasiConfigVariables>,
    store: Option<keyvalue::Shared>,
    pub memory: MemoryBudget,
    pub log: Arc<Log>,
    pub meter: Arc<Meter>,
    pub watch: Watch,
}

impl Guest {
    /// The data of a new store, without a call.
    pub(super) fn new(limits: &Limits, grants: &Grants, shared: &Shared, log: Arc<Log>, meter: Arc<Meter>) -> Guest {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        let mut http_ctx = WasiHttpCtx::new();
        http_ctx.set_field_size_limit(http::FIELD_BYTES);
        let mut guest = Guest {
            http: None,
            wasi: plumbing::powerless(&log, grants.env()),
            table,
            http_ctx,
            denied: Denied,
            config: grants.config().cloned().unwrap_or_default(),
            store: shared.store.clone(),
            memory: MemoryBudget::new(limits.memory),
            log,
            meter,
            watch: Watch { fence: Arc::new(AtomicBool::new(false)), cpu_time: limits.cpu_time },
        };
        guest.connect(limits, shared);
        guest
    }

    /// Lets it send what is granted from now on, by its worker's client.
    pub(super) fn connect(&mut self, limits: &Limits, shared: &Shared) {
        let outgoing = |client| Outgoing::new(client, limits, Arc::clone(&self.log));
        self.http = shared.client.clone().map(outgoing);
    }

    /// What `wasi:config` answers.
    pub(super) fn config(&self) -> &WasiConfigVariables {
        &self.config
    }

    /// What `wasi:keyvalue` works on.
    pub(super) fn key_value(&mut self) -> keyvalue::View<'_> {
        keyvalue::View { store: self.store.as_ref(), table: &mut self.table }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let hooks: &mut dyn WasiHttpHooks = match &mut self.http {
            Some(http) => http,
            None => &mut self.denied,
        };
        WasiHttpCtxView { hooks, table: &mut self.table, ctx: &mut self.http_ctx }
    }
}
