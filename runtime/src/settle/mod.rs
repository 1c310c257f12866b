//! Settle: what an outcome becomes.
//!
//! In: the outcome of an attempt, with the record and the route it belongs to.
//! Out: the messages to publish before the record is settled, the time of the
//! next attempt, or word that the record is dropped.

pub mod dead_letter;
mod message;
pub mod output;
pub mod policy;
pub mod reason;

pub use message::{Headers, Message};
pub use policy::{Decision, decide};
