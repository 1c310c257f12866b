//! What the host keeps for one instance: its store's data.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::interrupt::Watch;
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
    wasi: WasiCtx,
    table: ResourceTable,
    pub memory: MemoryBudget,
    pub log: Arc<Log>,
    pub meter: Arc<Meter>,
    pub watch: Watch,
}

impl Guest {
    /// The data of a new store, without a call.
    pub(super) fn new(limits: &Limits, log: Arc<Log>, meter: Arc<Meter>) -> Guest {
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES);
        Guest {
            wasi: plumbing::powerless(&log),
            table,
            memory: MemoryBudget::new(limits.memory),
            log,
            meter,
            watch: Watch { fence: Arc::new(AtomicBool::new(false)), cpu_time: limits.cpu_time },
        }
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}
