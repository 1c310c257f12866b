//! The harness of the end-to-end tests: the real `outrigger` binary beside a
//! real Apache Kafka, and means to say what must have come of every record.
//!
//! ```no_run
//! use outrigger_tests::{Event, Kafka, Ledger, Sidecar};
//!
//! let kafka = Kafka::shared();
//! kafka.create_topic("orders", 6);
//! kafka.produce("orders", (0..100).map(|n| Event::new(format!("order-{n}")).key("k").record()));
//! let mut sidecar = Sidecar::with("kafka: …").on(kafka).start();
//! sidecar.wait_ready();
//! sidecar.wait_caught_up("orders", 6);
//! Ledger::read(kafka, "orders", "orders.out", "orders.dlq").must_balance();
//! sidecar.terminate().must_succeed();
//! ```
//!
//! What goes wrong in here is a failed test, so everything panics with a message
//! instead of returning errors. Everything that waits has a deadline, and
//! everything that is started ends with the test process, however that ends.
// A test's helpers fail the test: a panic with a message is their error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod admin;
mod audit;
mod broker;
mod clock;
mod cluster;
mod commits;
mod event;
mod guests;
mod install;
mod job;
mod kafka;
mod ledger;
mod log;
mod metrics;
mod process;
mod program;
mod protocol;
mod proxy;
mod read;
mod server;
mod sidecar;
mod stolen;
mod wait;

pub use audit::Audit;
pub use clock::WallClock;
pub use commits::Commit;
pub use event::{Event, Expect};
pub use guests::guest;
pub use job::{Job, PATIENCE};
pub use kafka::Kafka;
pub use ledger::{Kind, Ledger, Problem, Tally};
pub use metrics::Metrics;
pub use process::free_port;
pub use program::{Options, Side, conclude, table};
pub use proxy::{Network, Proxy};
pub use read::{Isolation, Record};
pub use server::{Manner, Server};
pub use sidecar::{Exit, Running, Sidecar};
pub use stolen::ProcessorTime;
pub use wait::{eventually, let_it_last};
