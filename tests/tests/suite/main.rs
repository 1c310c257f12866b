//! The real `outrigger` binary against real Apache Kafka.
//!
//! One test binary, so that all tests share one broker.
// Helpers of tests fail tests: a panic with a message is their error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod circuits;
mod compile;
mod dead_letters;
mod harness;
mod http;
mod keys;
mod main_job;
mod map;
mod memory;
mod offsets;
mod rebalance;
mod restart;
mod routes;
mod start;

/// Jobs on the Kafka that all tests share.
mod job {
    pub use outrigger_tests::PATIENCE;

    pub type Job = outrigger_tests::Job<'static>;
}
