//! Commit: which position of each partition may be committed.
//!
//! In: records as they are delivered, and word of each that is settled. Out:
//! the position up to which everything is settled, and what is settled beyond
//! it: the [`map`] that is stored in the commit's [`metadata`].

pub mod committer;
pub mod map;
pub mod metadata;
pub mod offsets;
