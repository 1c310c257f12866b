//! Outrigger: a Kafka sidecar that runs sandboxed WebAssembly event handlers.

pub mod cli;
pub mod event;
pub mod manifest;
pub mod observe;
pub mod outcome;
pub mod record;
