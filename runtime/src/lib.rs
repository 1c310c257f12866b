//! Outrigger: a Kafka sidecar that runs sandboxed WebAssembly event handlers.

pub mod commit;
pub mod dispatch;
pub mod event;
pub mod kafka;
pub mod manifest;
pub mod observe;
pub mod outcome;
pub mod record;
pub mod settle;
