//! The stated bound on the memory of all instances.

use std::collections::BTreeMap;

use super::Check;
use crate::manifest::memory::GuestMemory;
use crate::manifest::model::Handler;
use crate::manifest::raw;
use crate::manifest::units::show_size;

impl Check<'_> {
    /// Compares what the handlers may take together with what the manifest says there is for them.
    pub fn memory_budget(self, raw: &raw::Manifest, handlers: &BTreeMap<String, Handler>, workers: Option<usize>) {
        let Some(given) = raw.memory_budget.given() else { return };
        let budget = self.size(&raw.memory_budget, 0, 1 << 20..=1 << 50) as u64;
        let memory = GuestMemory::of(handlers, workers);
        // Zero: it is no size, and that has been said.
        if budget > 0 && memory.total() > budget {
            let total = show_size(memory.total());
            let message = format!("the handlers' instances may hold {total}, more than `memoryBudget` allows");
            let help = format!("{}: lower `limits.memory`, `concurrency` or `workers`", memory.parts());
            self.problems.error(given.at, message, help);
        }
    }
}
