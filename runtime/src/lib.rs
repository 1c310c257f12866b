//! Outrigger: a Kafka sidecar that runs sandboxed WebAssembly event handlers.

pub mod dev;
pub mod event;
pub mod logging;
pub mod manifest;
pub mod metrics;
pub mod observe;
pub mod outcome;
pub mod probes;
pub mod record;
