//! Outrigger: a Kafka sidecar that runs sandboxed WebAssembly event handlers.
//!
//! The way of one record, in the order of the modules below: [`source`] polls and
//! copies it out, [`decode`] reads it as a CloudEvent, [`route`] says which
//! handlers take it, [`dispatch`] when, [`invoke`] calls one under its limits,
//! [`settle`] says what the outcome becomes, [`publish`] writes outputs and dead
//! letters, and [`commit`] tells Kafka. [`worker`] is where they meet; [`app`]
//! builds everything and connects it.

// The seven steps.
pub mod commit;
pub mod decode;
pub mod dispatch;
pub mod invoke;
pub mod publish;
pub mod route;
pub mod settle;
pub mod source;

// What carries a record from step to step.
pub mod envelope;
pub mod event;
pub mod observe;
pub mod outcome;
pub mod record;
pub mod worker;

// What surrounds them.
pub mod admin;
pub mod app;
pub mod cli;
pub mod compile;
pub mod dev;
mod digest;
pub mod kafka;
pub mod logging;
pub mod manifest;
pub mod metrics;
pub mod probes;
pub mod reload;
mod server;
