//! The wasmtime engine: its configuration, its pool of slots, its heartbeat.

use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::classify::STACK;
use super::guest::Guest;
use super::limits::{CORE_INSTANCES, MEMORIES, TABLE_ELEMENTS, TABLES};
use super::plumbing;
use super::reclaim::Reclaimer;
use super::ticker::{Pulse, Ticker};
use crate::compile::Compiler;
use crate::manifest::Handler;

/// The native stack of a call: the guest's, and room for the host below it.
const FIBER: usize = 2 * 1024 * 1024;

/// The most instances that slots are reserved for. A memory slot takes 4 GiB of
/// address space; these take a sixteenth of what a process has.
const MAX_INSTANCES: usize = 2048;

/// Slots that are reserved though no handler of the first manifest needs them: a few
/// handlers more, with the default concurrency, on a small machine.
const ROOM: usize = 512;

/// Bookkeeping of one instance, which grows with its functions: over the default
/// of 1 MiB for language interpreters.
const INSTANCE_SIZE: usize = 16 * 1024 * 1024;

/// What free slots keep is cleared in place for the next instance rather than given back:
/// cheaper for handlers that are made for every call. A small one in Rust touches less than
/// this (`outrigger-bench steps --fresh`: more saves nothing, none costs twice the call), and
/// what thousands of slots keep, once they were all in use, is not to fill a pod.
const KEEP_MEMORY: usize = 64 * 1024;
/// The same of a table.
const KEEP_TABLE: usize = 4 * 1024;
/// The same of a stack.
const KEEP_STACK: usize = 16 * 1024;

/// How much the engine must be able to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// Instances that may be alive at a time, over all handlers and workers.
    pub instances: usize,
}

impl Sizing {
    /// For these handlers on this many workers: every call that may be under way,
    /// twice over, so that a new generation can start while the old one ends.
    pub fn of<'a>(handlers: impl IntoIterator<Item = &'a Handler>, workers: usize) -> Sizing {
        let calls = handlers.into_iter().map(|handler| handler.concurrency).sum::<usize>();
        Sizing { instances: calls.saturating_mul(workers).saturating_mul(2).clamp(16, MAX_INSTANCES) }
    }

    /// The same for the handlers of today and of later manifests that need up to twice as much.
    pub fn with_room_to_grow<'a>(handlers: impl IntoIterator<Item = &'a Handler>, workers: usize) -> Sizing {
        let now = Sizing::of(handlers, workers).instances;
        Sizing { instances: now.saturating_mul(2).clamp(ROOM, MAX_INSTANCES) }
    }
}

/// Why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// wasmtime refused the configuration: this machine cannot run it.
    #[error("cannot set up WebAssembly: {0:#}")]
    Configuration(wasmtime::Error),
    /// The system gave no thread for the heartbeat, or for dropping instances.
    #[error("cannot start a thread for WebAssembly: {0}")]
    Thread(#[from] std::io::Error),
}

/// Compiles modules and runs their instances. Cheap to clone; all clones are one
/// engine. The heartbeat's thread ends with the last of them.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    engine: wasmtime::Engine,
    linker: Linker<Guest>,
    ticker: Ticker,
    reclaimer: Reclaimer,
    compiler: Compiler,
}

impl Engine {
    /// Sets WebAssembly up. Slots for instances are reserved ahead; where the
    /// address space for them is refused (a limit of the process), instances are
    /// allocated one by one, which is slower for fresh ones. Modules are compiled in this
    /// process and not kept.
    ///
    /// # Errors
    /// The machine cannot run it, or gives no thread.
    pub fn new(sizing: Sizing) -> Result<Engine, EngineError> {
        Engine::with(sizing, Compiler::default())
    }

    /// As [`Engine::new`], with modules compiled by this compiler.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with(sizing: Sizing, compiler: Compiler) -> Result<Engine, EngineError> {
        let engine = wasmtime::Engine::new(&config(Some(sizing))).or_else(|refused| {
            tracing::warn!(reason = %format_args!("{refused:#}"), "no slots reserved for instances; allocating on demand");
            wasmtime::Engine::new(&config(None)).map_err(EngineError::Configuration)
        })?;
        let linker = plumbing::linker(&engine).map_err(EngineError::Configuration)?;
        let ticker = Ticker::start(engine.clone())?;
        let reclaimer = Reclaimer::start()?;
        Ok(Engine { inner: Arc::new(Inner { engine, linker, ticker, reclaimer, compiler }) })
    }

    /// Makes every guest that computes look at its fence now, not at the next tick.
    pub fn interrupt(&self) {
        self.inner.engine.increment_epoch();
    }

    /// Bounds the files of the modules that are loaded from now on, in bytes.
    pub fn set_module_size(&self, bytes: u64) {
        self.compiler().set_module_size(bytes);
    }

    /// What a compiled module must be for; see `compile`.
    #[cfg(test)]
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        crate::compile::fingerprint(self.wasmtime())
    }

    pub(super) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.inner.engine
    }

    pub(super) fn compiler(&self) -> &Compiler {
        &self.inner.compiler
    }

    pub(super) fn linker(&self) -> &Linker<Guest> {
        &self.inner.linker
    }

    pub(super) fn reclaimer(&self) -> &Reclaimer {
        &self.inner.reclaimer
    }

    pub(super) fn pulse(&self) -> Pulse {
        self.inner.ticker.pulse()
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

/// An engine that only compiles, for all engines of this process and its parent: how
/// instances are allocated does not change the code.
///
/// # Errors
/// The machine cannot run it.
pub(crate) fn engine_that_compiles() -> Result<wasmtime::Engine, EngineError> {
    wasmtime::Engine::new(&config(None)).map_err(EngineError::Configuration)
}

fn config(pool: Option<Sizing>) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        // Calls are synchronous for the guest: without the bookkeeping of the
        // component model's own concurrency they cost a third.
        .concurrency_support(false)
        .max_wasm_stack(STACK)
        .async_stack_size(FIBER)
        // What a stack has touched goes back to the system with its instance, or each slot
        // would keep the deepest call that it has seen for as long as the process lives.
        .async_stack_zeroing(true)
        .memory_init_cow(true);
    let Some(Sizing { instances }) = pool else {
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
        return config;
    };
    // And the one that is being dropped; see `reclaim`.
    let count = u32::try_from(instances.saturating_add(1)).unwrap_or(u32::MAX);
    let mut slots = PoolingAllocationConfig::new();
    slots
        .total_component_instances(count)
        .total_core_instances(count.saturating_mul(CORE_INSTANCES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .total_memories(count.saturating_mul(2))
        .total_tables(count.saturating_mul(4))
        .total_stacks(count)
        .max_memories_per_component(MEMORIES)
        .max_memories_per_module(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_elements(TABLE_ELEMENTS)
        .max_component_instance_size(INSTANCE_SIZE)
        .max_core_instance_size(INSTANCE_SIZE)
        .linear_memory_keep_resident(KEEP_MEMORY)
        .table_keep_resident(KEEP_TABLE)
        .async_stack_keep_resident(KEEP_STACK)
        .pagemap_scan(Enabled::Auto);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(slots));
    config
}

#[cfg(test)]
mod tests {
    use wasmtime::{Instance, Module, Store, Val};

    use super::*;

    /// Slots that attacks have filled hold next to nothing once their instances are gone.
    #[test]
    fn free_slots_give_back_what_was_touched() {
        const INSTANCES: usize = 16;
        let engine = wasmtime::Engine::new(&config(Some(Sizing { instances: INSTANCES }))).unwrap();
        let greedy = wat::parse_str(format!(
            r#"(module
                 (memory 100) (table $t {TABLE_ELEMENTS} funcref) (elem declare func $deep)
                 (func $deep (export "deep") (param $n i32)
                   (if (local.get $n) (then (call $deep (i32.sub (local.get $n) (i32.const 1))))))
                 (func (export "take")
                   (memory.fill (i32.const 0) (i32.const 1) (i32.const 6553600))
                   (table.fill $t (i32.const 0) (ref.func $deep) (i32.const {TABLE_ELEMENTS}))
                   (call $deep (i32.const 8000))))"#
        ));
        let module = Module::new(&engine, greedy.unwrap()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let take = async || {
            let mut store = Store::new(&engine, ());
            store.set_epoch_deadline(1_000_000);
            let instance = Instance::new_async(&mut store, &module, &[]).await.unwrap();
            let take = instance.get_func(&mut store, "take").unwrap();
            take.call_async(&mut store, &[] as &[Val], &mut []).await.unwrap();
            store
        };
        let metrics = engine.pooling_allocator_metrics().unwrap();
        let stores = runtime.block_on(async {
            let mut stores = Vec::new();
            for _ in 0..INSTANCES {
                stores.push(take().await);
            }
            stores
        });
        assert_eq!((metrics.memories(), metrics.tables(), metrics.stacks()), (INSTANCES, INSTANCES, INSTANCES));
        drop(stores);
        assert_eq!((metrics.memories(), metrics.tables(), metrics.stacks()), (0, 0, 0));
        let kept = [
            (metrics.unused_memory_bytes_resident(), KEEP_MEMORY),
            (metrics.unused_table_bytes_resident(), KEEP_TABLE),
            (metrics.unused_stack_bytes_resident().expect("stacks are given back"), KEEP_STACK),
        ];
        for (bytes, each) in kept {
            assert!(bytes <= INSTANCES * each, "{kept:?}");
        }
        let each: usize = kept.iter().map(|(_, each)| each).sum();
        assert!(each <= 100 << 10, "what thousands of them keep is to fit a pod: {each}");
    }
}
