//! The handler of the benchmarks that takes every event and does nothing with it.

use outrigger_handler::prelude::*;

/// Does nothing.
#[handler]
pub fn noop(_: &Event) {}
