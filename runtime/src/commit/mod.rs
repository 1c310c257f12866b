//! Commit: which position of each partition may be committed.
//!
//! In: records as they are delivered, and word of each that is settled. Out:
//! the position up to which everything is settled, and what is settled beyond it.

pub mod committer;
pub mod offsets;
