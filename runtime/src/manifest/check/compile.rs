//! The `compile` section.

use std::time::Duration;

use super::{Check, HOUR, SECOND};
use crate::manifest::model;
use crate::manifest::raw;
use crate::manifest::read::{Field, Given, Problem};

/// Below this not even an empty module compiles.
const LEAST_MEMORY: u64 = 16 << 20;

/// The largest sizes: a module is read into memory, and so is what it becomes.
const MOST_MEMORY: u64 = 64 << 30;
const LARGEST_MODULE: u64 = 512 << 20;

impl Check<'_> {
    /// How modules are compiled.
    pub fn compile(self, field: &Field<raw::Compile>) -> model::Compile {
        let built_in = model::Compile::default();
        let Some(raw) = field.value() else { return built_in };
        let bytes = |field, default: u64, range| self.size(field, default as usize, range) as u64;
        let longest = |field, default: Duration| self.duration(field, default, SECOND..=HOUR);
        let cpu_time = longest(&raw.cpu_time, built_in.cpu_time);
        let timeout = longest(&raw.timeout, built_in.timeout);
        if let Some(given) = raw.cpu_time.given().filter(|_| cpu_time > timeout) {
            let message = "`cpuTime` is longer than `timeout` (5m by default), so it is never reached";
            self.problems.add(Problem::warning(given.at, message).help("make it shorter, or `timeout` longer"));
        }
        model::Compile {
            cache: raw.cache.given().map_or(built_in.cache, |given| self.cache(given)),
            cache_size: bytes(&raw.cache_size, built_in.cache_size, 1 << 20..=1 << 40),
            compiled_only: raw.compiled_only.value().copied().unwrap_or(built_in.compiled_only),
            module_size: bytes(&raw.module_size, built_in.module_size, 1 << 10..=LARGEST_MODULE),
            timeout,
            cpu_time,
            memory: bytes(&raw.memory, built_in.memory, LEAST_MEMORY..=MOST_MEMORY),
        }
    }

    fn cache(self, given: &Given<String>) -> model::CacheFolder {
        match given.value.as_str() {
            "none" => model::CacheFolder::None,
            "" => {
                self.problems.error(given.at, "the path is empty", "name a folder, or write `cache: none`");
                model::CacheFolder::None
            }
            folder => model::CacheFolder::At(self.base.join(folder)),
        }
    }
}
