//! The memory budget of one instance.

use wasmtime::ResourceLimiter;

/// Elements that a table may have, whatever the module declares: a Python interpreter
/// needs 7,700, and more than this has no slot in the engine's pool.
pub(super) const TABLE_ELEMENTS: usize = 64 * 1024;

/// What an element of a table costs the host.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// What one instance may consist of: a module with more does not load. QuickJS has 3
/// memories; most have 1. Without these bounds one handler's instances could take the
/// slots that are counted on for another's.
pub(super) const MEMORIES: u32 = 4;
pub(super) const TABLES: u32 = 8;
pub(super) const CORE_INSTANCES: u32 = 32;

/// What a growth was refused for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Linear memory.
    Memory,
    /// A table.
    Table,
    /// A table of more than [`TABLE_ELEMENTS`].
    Elements,
}

/// Sums the linear memories and the tables of one store against one budget.
///
/// wasmtime's own `StoreLimits` looks at each memory alone, so a component of
/// ten memories could take ten times its budget.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit: usize,
    used: usize,
    /// The last growth granted, to be taken back if it fails after all.
    granted: usize,
    denied: Option<Denied>,
}

impl MemoryBudget {
    /// A budget of `limit` bytes, nothing of it used.
    pub(super) fn new(limit: usize) -> MemoryBudget {
        MemoryBudget { limit, used: 0, granted: 0, denied: None }
    }

    /// Bytes in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Forgets what an earlier attempt was denied.
    pub(super) fn begin(&mut self) {
        self.denied = None;
    }

    /// What this attempt was denied first, if anything.
    pub(super) fn denied(&self) -> Option<Denied> {
        self.denied
    }

    fn grow(&mut self, by: usize, what: Denied) -> bool {
        let fits = self.used.checked_add(by).is_some_and(|used| used <= self.limit);
        if fits {
            self.used += by;
            self.granted = by;
        } else {
            self.granted = 0;
            self.denied.get_or_insert(what);
        }
        fits
    }

    fn take_back(&mut self) {
        self.used -= std::mem::take(&mut self.granted);
    }
}

impl ResourceLimiter for MemoryBudget {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.grow(desired.saturating_sub(current), Denied::Memory))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            self.granted = 0;
            self.denied.get_or_insert(Denied::Elements);
            return Ok(false);
        }
        let bytes = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT);
        Ok(self.grow(bytes, Denied::Table))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    // The pool has these bounds too; they hold where instances are allocated on demand.
    fn instances(&self) -> usize {
        CORE_INSTANCES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_share_one_budget() {
        let mut budget = MemoryBudget::new(1000);
        assert!(budget.memory_growing(0, 400, None).unwrap());
        assert!(budget.memory_growing(0, 400, None).unwrap());
        assert!(budget.table_growing(0, 25, None).unwrap());
        assert_eq!((budget.used(), budget.denied()), (1000, None));
        assert!(!budget.table_growing(25, 26, None).unwrap());
        assert!(!budget.memory_growing(400, 401, None).unwrap());
        assert_eq!((budget.used(), budget.denied()), (1000, Some(Denied::Table)));
        budget.begin();
        assert_eq!(budget.denied(), None);
    }

    /// Whether a module is instantiated in a store where nothing else bounds it.
    fn is_taken(items: &str) -> bool {
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, wat::parse_str(format!("(module {items})")).unwrap()).unwrap();
        let mut store = wasmtime::Store::new(&engine, MemoryBudget::new(1 << 30));
        store.limiter(|budget| budget);
        wasmtime::Instance::new(&mut store, &module, &[]).is_ok()
    }

    #[test]
    fn memories_tables_and_instances_have_bounds_without_a_pool() {
        assert!(is_taken(&"(memory 1)".repeat(4)) && !is_taken(&"(memory 1)".repeat(5)));
        assert!(is_taken(&"(table 1 funcref)".repeat(8)) && !is_taken(&"(table 1 funcref)".repeat(9)));
        let engine = wasmtime::Engine::default();
        let module = wasmtime::Module::new(&engine, wat::parse_str("(module)").unwrap()).unwrap();
        let mut store = wasmtime::Store::new(&engine, MemoryBudget::new(1 << 30));
        store.limiter(|budget| budget);
        let made = (0..100).take_while(|_| wasmtime::Instance::new(&mut store, &module, &[]).is_ok());
        assert_eq!(made.count(), CORE_INSTANCES as usize);
    }

    #[test]
    fn a_table_has_a_bound_of_its_own() {
        let mut budget = MemoryBudget::new(1 << 30);
        assert!(budget.table_growing(0, TABLE_ELEMENTS, None).unwrap());
        assert!(!budget.table_growing(TABLE_ELEMENTS, TABLE_ELEMENTS + 1, None).unwrap());
        assert_eq!((budget.used(), budget.denied()), (TABLE_ELEMENTS * TABLE_ELEMENT, Some(Denied::Elements)));
    }

    #[test]
    fn a_growth_that_fails_after_all_is_given_back_once() {
        let mut budget = MemoryBudget::new(1000);
        assert!(budget.memory_growing(0, 600, None).unwrap());
        budget.memory_grow_failed(wasmtime::Error::msg("mmap")).unwrap();
        assert_eq!(budget.used(), 0);
        assert!(budget.memory_growing(0, 600, None).unwrap());
        assert!(!budget.memory_growing(600, 1200, None).unwrap());
        budget.memory_grow_failed(wasmtime::Error::msg("denied")).unwrap();
        assert_eq!(budget.used(), 600);
    }
}
