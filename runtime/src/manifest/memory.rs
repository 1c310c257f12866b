//! What the handlers' instances may hold in memory together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::thread;

use super::model::{Handler, Manifest};
use super::units::show_size;

/// The memory that all instances may have at once: handlers x workers x instances x
/// memory. It is a bound and not a reservation: an instance takes what it touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestMemory {
    /// Worker threads.
    pub workers: usize,
    /// Whether the manifest says how many: otherwise they are this machine's cores.
    pub workers_stated: bool,
    /// Each handler's name, instances per worker, and bytes per instance; the largest first.
    pub handlers: Vec<(Arc<str>, usize, usize)>,
}

impl Manifest {
    /// What the instances of its handlers may hold.
    pub fn guest_memory(&self) -> GuestMemory {
        GuestMemory::of(&self.handlers, self.workers)
    }
}

impl GuestMemory {
    pub(super) fn of(handlers: &BTreeMap<String, Handler>, workers: Option<usize>) -> GuestMemory {
        let share = |handler: &Handler| (handler.name.clone(), handler.concurrency, handler.limits.memory);
        let mut handlers: Vec<_> = handlers.values().map(share).collect();
        // Those that matter first, in the order of the names where they are equal.
        handlers.sort_by_key(|(_, instances, memory)| std::cmp::Reverse(instances.saturating_mul(*memory)));
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        GuestMemory { workers: workers.unwrap_or_else(cores), workers_stated: workers.is_some(), handlers }
    }

    /// Bytes in all.
    pub fn total(&self) -> u64 {
        let bytes = |(_, instances, memory): &(Arc<str>, usize, usize)| instances.saturating_mul(*memory) as u64;
        self.handlers.iter().map(bytes).sum::<u64>().saturating_mul(self.workers as u64)
    }

    /// The parts of the sum, for people.
    pub fn parts(&self) -> String {
        let part = |(name, instances, memory): &(Arc<str>, usize, usize)| {
            format!("`{name}` {instances} x {}", show_size(*memory as u64))
        };
        let parts: Vec<String> = self.handlers.iter().map(part).collect();
        let unstated = if self.workers_stated { "" } else { ", as this machine has cores" };
        let workers = if self.workers == 1 { "worker" } else { "workers" };
        format!("{} {workers}{unstated}, on each {}", self.workers, parts.join(" + "))
    }
}

impl fmt::Display for GuestMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", show_size(self.total()), self.parts())
    }
}
