//! Outrigger: a Kafka sidecar that runs sandboxed WebAssembly event handlers.

pub mod decode;
pub mod envelope;
pub mod event;
pub mod invoke;
pub mod manifest;
pub mod observe;
pub mod outcome;
pub mod record;
pub mod route;
