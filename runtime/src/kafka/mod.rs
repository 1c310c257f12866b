//! The edge to librdkafka: the calls that the `rdkafka` crate does not offer, or
//! offers with a panic on bytes that are legal in Kafka. All `unsafe` code of the
//! way of a record is in this folder.
//!
//! * [`queue`]: one partition's fetch queue, read in batches. Reading each
//!   partition's own queue gives back-pressure without `pause` (which throws the
//!   prefetch away), and says to which partition an error or an end belongs.
//! * [`produce`]: header names as bytes, and no allocation per record beyond
//!   librdkafka's own copy.
//! * [`list`]: partition lists with metadata as bytes.
//! * [`reach`]: brokers given to a client that has forgotten its last one.

pub mod client;
pub mod list;
pub mod produce;
pub mod queue;
pub mod reach;
