//! The real `outrigger` binary against real Apache Kafka.
//!
//! One test binary, so that all tests share one broker; the files are in the
//! order of a reader's questions.
// Helpers of tests fail tests: a panic with a message is their error.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;
